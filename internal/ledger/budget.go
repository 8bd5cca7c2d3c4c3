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
	// for, in the order in which they came.
	short map[types.NamespacedName][]types.UID
}

func newBudget(capacity int) *budget {
	return &budget{
		capacity: capacity,
		tenants:  map[string]int{},
		webhooks: map[types.NamespacedName]int{},
		short:    map[types.NamespacedName][]types.UID{},
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

// lacked remembers an event that found no room.
func (b *budget) lacked(webhook types.NamespacedName, event types.UID) {
	b.short[webhook] = append(b.short[webhook], event)
}

// called returns the events that may go on, and forgets them: those of each
// webhook that has as much room left as it has taken, as many as there is room
// for. Less would not be worth the work. It is called whenever there may be more
// room, so that nobody is forgotten.
func (b *budget) called() []types.UID {
	var events []types.UID
	for webhook, waiting := range b.short {
		room := b.room(webhook)
		if room < max(b.webhooks[webhook], 1) {
			continue
		}
		n := min(room, len(waiting))
		events = append(events, waiting[:n]...)
		if n == len(waiting) {
			delete(b.short, webhook)
		} else {
			b.short[webhook] = waiting[n:]
		}
	}
	return events
}
