package ledger

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

// askedAtOnce bounds how many sources of waiters are asked when there may be more room,
// so that the cost does not grow with their number.
const askedAtOnce = 4

// budget shares the room for pending deliveries: among namespaces, in each of them among
// its webhooks, and for each of those among the namespaces of the events.
type budget struct {
	shares fair.Shares[source]
	// waiters are the events that found no room, round robin in the order in which the
	// room is shared.
	waiters fair.Ring[string, *fair.Ring[types.NamespacedName, *fair.Ring[string, *line]]]
}

// source is a webhook and a namespace whose events it gets, or a group of them: all
// of the webhook, or all of its namespace.
type source struct {
	webhook   types.NamespacedName
	namespace string
}

// path is that of a source in the shares.
func (s source) path() [3]source {
	return [...]source{groupOf(s.webhook.Namespace), {webhook: s.webhook}, s}
}

// groupOf is what the webhooks of a namespace have in common.
func groupOf(namespace string) source {
	return source{webhook: types.NamespacedName{Namespace: namespace}}
}

// line is a line of events, each of which stands in it once.
type line = fair.Ring[types.UID, struct{}]

func newBudget(capacity int) *budget {
	return &budget{shares: fair.Shares[source]{Capacity: max(capacity, 1)}}
}

// pending is how many there are.
func (b *budget) pending() int { return b.shares.Capacity - b.shares.Free() }

// room is how many more pending deliveries of a source there may be.
func (b *budget) room(s source) int {
	path := s.path()
	return b.shares.Room(path[:]...)
}

// take takes room for one pending delivery.
func (b *budget) take(s source) {
	path := s.path()
	b.shares.Take(path[:]...)
}

// release gives back what take took.
func (b *budget) release(s source) {
	path := s.path()
	b.shares.Release(path[:]...)
}

// enqueue remembers an event that found no room.
func (b *budget) enqueue(s source, event types.UID) {
	webhooks := member(&b.waiters, s.webhook.Namespace)
	sources := member(webhooks, s.webhook)
	member(sources, s.namespace).Add(event, struct{}{})
}

// member returns a member of a ring, which is added if need be.
func member[K comparable, V any](ring *fair.Ring[K, *V], key K) *V {
	value, ok := ring.Get(key)
	if !ok {
		value = new(V)
		ring.Add(key, value)
	}
	return value
}

// forget drops an event that needs no room any more.
func (b *budget) forget(s source, event types.UID) {
	webhooks, ok := b.waiters.Get(s.webhook.Namespace)
	if !ok {
		return
	}
	sources, ok := webhooks.Get(s.webhook)
	if !ok {
		return
	}
	events, ok := sources.Get(s.namespace)
	if !ok {
		return
	}
	if events.Remove(event); events.Len() == 0 {
		sources.Remove(s.namespace)
	}
	if sources.Len() == 0 {
		webhooks.Remove(s.webhook)
	}
	if webhooks.Len() == 0 {
		b.waiters.Remove(s.webhook.Namespace)
	}
}

// wake returns events that may go on, and forgets them. It is called whenever there
// may be more room, and asks a few sources, round robin, until as many events are woken
// as there are places. Nobody is forgotten: as long as there is a pending delivery, it
// will be stored, withdrawn or refused, each of which wakes some, and when there is none
// left, all are woken.
func (b *budget) wake() []types.UID {
	c := woken{}
	for asked := 0; b.waiters.Len() > 0; asked++ {
		if b.pending() > 0 && (asked == askedAtOnce || len(c.events) >= b.shares.Free()) {
			break
		}
		b.ask(&c)
	}
	return c.events
}

// ask wakes events of the source whose turn it is, the first ones first, as many as
// there is room for, if that is as much as it has taken. Less would not be worth the
// work, nor would a single place in a namespace that has taken many.
func (b *budget) ask(c *woken) {
	namespace, webhooks := b.waiters.First()
	taken := b.shares.Used(groupOf(namespace))
	if b.shares.Room(groupOf(namespace)) < max(taken/8, 1) { // no source of the namespace has room enough
		b.waiters.Advance(true)
		return
	}
	webhook, sources := webhooks.First()
	from, events := sources.First()
	s := source{webhook, from}
	if room := b.room(s); room >= max(b.shares.Used(s), taken/8, 1) {
		for range min(room, events.Len()) {
			event, _ := events.First()
			events.Advance(false)
			c.add(event)
		}
	}
	sources.Advance(events.Len() > 0)
	webhooks.Advance(sources.Len() > 0)
	b.waiters.Advance(webhooks.Len() > 0)
}

// woken are events in the order in which they were woken, each of them once.
type woken struct {
	events []types.UID
	in     map[types.UID]struct{}
}

func (c *woken) add(event types.UID) {
	if _, ok := c.in[event]; ok {
		return
	}
	if c.in == nil {
		c.in = map[types.UID]struct{}{}
	}
	c.in[event] = struct{}{}
	c.events = append(c.events, event)
}
