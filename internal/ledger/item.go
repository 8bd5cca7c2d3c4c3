package ledger

import (
	"slices"
	"strings"
	"time"
	"unique"

	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// item is an Entry as it is kept. There is one for every delivery in store, nearly
// all of them finished, so what several share is kept once and times are numbers.
type item struct {
	name  string
	uid   types.UID
	owner *owner
	event *event
	// namespace is the event's. It is not kept with the event: what says so is a
	// label, and that of a delivery in one namespace must not count in another.
	namespace unique.Handle[string]
	pending   *Pending
	version   uint64
	// Nanoseconds since 1970; 0 is none.
	nextAttempt, since, finished int64
	// Places in the lists of event and webhook, so that leaving them is cheap.
	eventPlace, webhookPlace int32
	result                   result
	resend                   bool
}

// event is what the items of an event share.
type event struct {
	uid   types.UID
	items []*item
	// underway is how many of them are pending and were not refused.
	underway int32
}

// settled tells whether nothing more is to come of the event for now.
func (e *event) settled() bool { return e.underway == 0 }

// webhook is what the items of a webhook's name share.
type webhook struct {
	name   types.NamespacedName
	owners []*owner
	items  []*item
}

// owner is one of the Webhooks that have had a name, or none, of those deliveries
// that were orphaned.
type owner struct {
	uid     types.UID
	webhook *webhook
	counts  Counts
	items   int
}

// result is a DeliveryResult in one byte.
type result uint8

var resultCodes = []v1alpha1.DeliveryResult{"", v1alpha1.DeliveryWaiting, v1alpha1.DeliverySucceeded, v1alpha1.DeliveryFailed}

// entry returns what is known in the form that it is asked for.
func (i *item) entry() Entry {
	e := Entry{
		Key:        i.key(),
		UID:        i.uid,
		Version:    i.version,
		Webhook:    i.owner.webhook.name,
		WebhookUID: i.owner.uid,
		EventUID:   i.event.uid,
		Finished:   toTime(i.finished),
		Pending:    i.pending,

		EventNamespace: i.namespace.Value(),
	}
	e.State.Result = resultCodes[i.result]
	e.State.NextAttempt = toTime(i.nextAttempt)
	e.State.Since = toTime(i.since)
	e.State.Resend = i.resend
	return e
}

func (i *item) key() types.NamespacedName {
	return types.NamespacedName{Namespace: i.owner.webhook.name.Namespace, Name: i.name}
}

// insert takes in an entry that is not known yet.
func (l *Ledger) insert(e Entry, version uint64) *item {
	i := &item{
		// A copy, so that no longer text that the name was cut from stays.
		name:        strings.Clone(e.Key.Name),
		uid:         e.UID,
		namespace:   unique.Make(e.EventNamespace),
		pending:     e.Pending,
		version:     version,
		nextAttempt: fromTime(e.State.NextAttempt),
		since:       fromTime(e.State.Since),
		finished:    fromTime(e.Finished),
		result:      result(max(0, slices.Index(resultCodes, e.State.Result))), //nolint:gosec // four of them
		resend:      e.State.Resend,
	}
	w := l.webhook(e.Webhook)
	i.owner = w.owner(e.WebhookUID)
	i.owner.items++
	i.event = l.event(e.EventUID)
	i.webhookPlace = int32(len(w.items)) //nolint:gosec // far fewer
	w.items = append(w.items, i)
	i.eventPlace = int32(len(i.event.items)) //nolint:gosec // far fewer
	i.event.items = append(i.event.items, i)
	l.entries[i.key()] = i
	l.count(i, 1)
	return i
}

// remove forgets an item. What it pointed to can still be read from it.
func (l *Ledger) remove(i *item) {
	delete(l.entries, i.key())
	l.count(i, -1)
	i.event.items = leave(i.event.items, i, func(i *item) *int32 { return &i.eventPlace })
	if len(i.event.items) == 0 {
		delete(l.events, i.event.uid)
	}
	w := i.owner.webhook
	w.items = leave(w.items, i, func(i *item) *int32 { return &i.webhookPlace })
	if i.owner.items--; i.owner.items == 0 {
		w.owners = slices.DeleteFunc(w.owners, func(o *owner) bool { return o == i.owner })
	}
	if len(w.items) == 0 {
		delete(l.webhooks, w.name)
	}
}

// leave takes an item out of a list by putting the last one in its place.
func leave(list []*item, i *item, place func(*item) *int32) []*item {
	last := len(list) - 1
	at := *place(i)
	list[at] = list[last]
	*place(list[at]) = at
	list[last] = nil
	return list[:last]
}

func (l *Ledger) event(uid types.UID) *event {
	e, ok := l.events[uid]
	if !ok {
		e = &event{uid: uid}
		l.events[uid] = e
	}
	return e
}

func (l *Ledger) webhook(name types.NamespacedName) *webhook {
	w, ok := l.webhooks[name]
	if !ok {
		w = &webhook{name: name}
		l.webhooks[name] = w
	}
	return w
}

// owner returns the owner with a UID. Few have the same name.
func (w *webhook) owner(uid types.UID) *owner {
	if o := w.known(uid); o != nil {
		return o
	}
	o := &owner{uid: uid, webhook: w}
	w.owners = append(w.owners, o)
	return o
}

// known returns nil where nothing is known of an owner.
func (w *webhook) known(uid types.UID) *owner {
	for _, o := range w.owners {
		if o.uid == uid {
			return o
		}
	}
	return nil
}

func (l *Ledger) count(i *item, n int) {
	if i.pending != nil {
		if i.pending.Refused == "" {
			i.event.underway += int32(n) //nolint:gosec // 1 or -1
		}
		if n > 0 {
			l.budget.take(i.pending.source())
		} else {
			l.budget.release(i.pending.source())
		}
		return
	}
	for _, counts := range []*Counts{&i.owner.counts, &l.total} {
		switch resultCodes[i.result] {
		case v1alpha1.DeliverySucceeded:
			counts.Succeeded += n
		case v1alpha1.DeliveryFailed:
			counts.Failed += n
		case v1alpha1.DeliveryWaiting, "": // about to wait
			counts.Waiting += n
		}
	}
}

func toTime(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds)
}

func fromTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
