package ledger

import "k8s.io/apimachinery/pkg/types"

// budget shares the room for drafts. A namespace may have as much as it leaves
// free, and a webhook as much as its namespace may still take: whoever comes last
// finds room, however much the others pile up, and one alone has a third of all.
// It is the dynamic threshold of Choudhury and Hahne for buffers of switches.
type budget struct {
	capacity int
	drafts   int
	tenants  map[string]int
	webhooks map[types.NamespacedName]int
	// short are the events that found no room, by the webhook they lacked it
	// for.
	short map[types.NamespacedName]*line
}

// line is a line of events, each of which stands in it once.
type line struct {
	events []types.UID
	in     map[types.UID]struct{}
}

func newBudget(capacity int) *budget {
	return &budget{
		capacity: capacity,
		tenants:  map[string]int{},
		webhooks: map[types.NamespacedName]int{},
		short:    map[types.NamespacedName]*line{},
	}
}

// room is how many more drafts of a webhook there may be.
func (b *budget) room(webhook types.NamespacedName) int {
	free := b.capacity - b.drafts
	return free - b.tenants[webhook.Namespace] - b.webhooks[webhook]
}

// take takes room for one draft.
func (b *budget) take(webhook types.NamespacedName) {
	b.drafts++
	b.tenants[webhook.Namespace]++
	b.webhooks[webhook]++
}

// giveBack gives back what take took.
func (b *budget) giveBack(webhook types.NamespacedName) {
	b.drafts--
	if b.tenants[webhook.Namespace]--; b.tenants[webhook.Namespace] == 0 {
		delete(b.tenants, webhook.Namespace)
	}
	if b.webhooks[webhook]--; b.webhooks[webhook] == 0 {
		delete(b.webhooks, webhook)
	}
}

// await remembers an event that found no room.
func (b *budget) await(webhook types.NamespacedName, event types.UID) {
	waiting, ok := b.short[webhook]
	if !ok {
		waiting = &line{in: map[types.UID]struct{}{}}
		b.short[webhook] = waiting
	}
	if _, ok := waiting.in[event]; ok {
		return
	}
	waiting.in[event] = struct{}{}
	waiting.events = append(waiting.events, event)
}

// call returns the events that may go on, and forgets them: those of each webhook
// that has as much room left as it has taken, the first ones first, as many as
// there is room for. Less would not be worth the work, nor would a single place in
// a namespace that has taken many. It is called whenever there may be more room, so
// that nobody is forgotten.
func (b *budget) call() []types.UID {
	var events []types.UID
	var called map[types.UID]struct{}
	for webhook, waiting := range b.short {
		room := b.room(webhook)
		if room < max(b.webhooks[webhook], b.tenants[webhook.Namespace]/8, 1) {
			continue
		}
		if called == nil {
			called = map[types.UID]struct{}{}
		}
		n := min(room, len(waiting.events))
		for _, event := range waiting.events[:n] {
			delete(waiting.in, event)
			if _, ok := called[event]; !ok {
				called[event] = struct{}{}
				events = append(events, event)
			}
		}
		waiting.events = waiting.events[n:]
		if len(waiting.events) == 0 {
			delete(b.short, webhook)
		}
	}
	return events
}
