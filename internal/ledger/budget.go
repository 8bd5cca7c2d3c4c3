package ledger

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

// askedAtOnce bounds how many of those who lack room are asked when there may be
// more, so that the cost does not grow with their number.
const askedAtOnce = 4

// budget shares the room for drafts. A namespace may have as much as it leaves
// free, a webhook as much as its namespace may still take, and the events of one
// namespace as much as the webhook may still take: part of the room stays free, and
// one source alone gets a quarter of all. It is the dynamic threshold of Choudhury and Hahne for buffers of switches.
type budget struct {
	capacity   int
	drafts     int
	namespaces map[string]int
	webhooks   map[types.NamespacedName]int
	sources    map[source]int
	// short are the events that found no room. They take turns in the order in which
	// the room is shared: namespaces, their webhooks, the namespaces of the events.
	short fair.Ring[string, *fair.Ring[types.NamespacedName, *fair.Ring[string, *line]]]
}

// source is a webhook and a namespace whose events it gets.
type source struct {
	webhook   types.NamespacedName
	namespace string
}

// line is a line of events, each of which stands in it once.
type line = fair.Ring[types.UID, struct{}]

func newBudget(capacity int) *budget {
	return &budget{
		capacity:   max(capacity, 1),
		namespaces: map[string]int{},
		webhooks:   map[types.NamespacedName]int{},
		sources:    map[source]int{},
	}
}

// free is how much room nobody has taken.
func (b *budget) free() int { return b.capacity - b.drafts }

// room is how many more drafts of a source there may be.
func (b *budget) room(s source) int {
	return b.free() - b.namespaces[s.webhook.Namespace] - b.webhooks[s.webhook] - b.sources[s]
}

// take takes room for one draft.
func (b *budget) take(s source) {
	b.drafts++
	b.namespaces[s.webhook.Namespace]++
	b.webhooks[s.webhook]++
	b.sources[s]++
}

// giveBack gives back what take took.
func (b *budget) giveBack(s source) {
	b.drafts--
	decrement(b.namespaces, s.webhook.Namespace)
	decrement(b.webhooks, s.webhook)
	decrement(b.sources, s)
}

func decrement[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] == 0 {
		delete(counts, key)
	}
}

// await remembers an event that found no room.
func (b *budget) await(s source, event types.UID) {
	webhooks := member(&b.short, s.webhook.Namespace)
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
	webhooks, ok := b.short.Get(s.webhook.Namespace)
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
		b.short.Remove(s.webhook.Namespace)
	}
}

// call returns events that may go on, and forgets them. It is called whenever there
// may be more room, and asks a few sources in their turns, until as many events are
// called as there are places. Nobody is forgotten: as long as there is a draft, it
// will be stored, withdrawn or refused, each of which calls again, and when there is
// none left, everybody is called.
func (b *budget) call() []types.UID {
	c := called{}
	for asked := 0; b.short.Len() > 0; asked++ {
		if b.drafts > 0 && (asked == askedAtOnce || len(c.events) >= b.free()) {
			break
		}
		b.ask(&c)
	}
	return c.events
}

// ask calls events of the source whose turn it is, the first ones first, as many as
// there is room for, if that is as much as it has taken. Less would not be worth the
// work, nor would a single place in a namespace that has taken many.
func (b *budget) ask(c *called) {
	namespace, webhooks := b.short.First()
	taken := b.namespaces[namespace]
	if b.free()-taken < max(taken/8, 1) { // no source of the namespace has room enough
		b.short.Pass(true)
		return
	}
	webhook, sources := webhooks.First()
	from, events := sources.First()
	s := source{webhook, from}
	if room := b.room(s); room >= max(b.sources[s], taken/8, 1) {
		for range min(room, events.Len()) {
			event, _ := events.First()
			events.Pass(false)
			c.add(event)
		}
	}
	sources.Pass(events.Len() > 0)
	webhooks.Pass(sources.Len() > 0)
	b.short.Pass(webhooks.Len() > 0)
}

// called are events in the order in which they were called, each of them once.
type called struct {
	events []types.UID
	in     map[types.UID]struct{}
}

func (c *called) add(event types.UID) {
	if _, ok := c.in[event]; ok {
		return
	}
	if c.in == nil {
		c.in = map[types.UID]struct{}{}
	}
	c.in[event] = struct{}{}
	c.events = append(c.events, event)
}
