package ledger

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// item is an Entry as it is kept. There is one for every record in store, nearly
// all of them finished, so what several share is kept once and times are numbers.
type item struct {
	name    string
	uid     types.UID
	owner   types.UID // shared with the other items of the webhook
	webhook *webhook
	event   *event
	draft   *Draft
	version uint64
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
	// underway is how many of them are drafts that were not refused.
	underway int32
}

// settled tells whether nothing more is to come of the event for now.
func (e *event) settled() bool { return e.underway == 0 }

// webhook is what the items of a webhook's name share.
type webhook struct {
	name   types.NamespacedName
	owners []types.UID
	counts Counts
	items  []*item
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
		Webhook:    i.webhook.name,
		WebhookUID: i.owner,
		EventUID:   i.event.uid,
		Finished:   toTime(i.finished),
		Draft:      i.draft,
	}
	e.State.Result = resultCodes[i.result]
	e.State.NextAttempt = toTime(i.nextAttempt)
	e.State.Since = toTime(i.since)
	e.State.Resend = i.resend
	return e
}

func (i *item) key() types.NamespacedName {
	return types.NamespacedName{Namespace: i.webhook.name.Namespace, Name: i.name}
}

// insert takes in an entry that is not known yet.
func (l *Ledger) insert(e Entry, version uint64) *item {
	i := &item{
		// A copy, so that no longer text that the name was cut from stays.
		name:        strings.Clone(e.Key.Name),
		uid:         e.UID,
		draft:       e.Draft,
		version:     version,
		nextAttempt: fromTime(e.State.NextAttempt),
		since:       fromTime(e.State.Since),
		finished:    fromTime(e.Finished),
		result:      result(max(0, slices.Index(resultCodes, e.State.Result))), //nolint:gosec // four of them
		resend:      e.State.Resend,
	}
	i.webhook = l.webhook(e.Webhook)
	i.owner = i.webhook.share(e.WebhookUID)
	i.event = l.event(e.EventUID)
	i.webhookPlace = int32(len(i.webhook.items)) //nolint:gosec // far fewer
	i.webhook.items = append(i.webhook.items, i)
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
	i.webhook.items = leave(i.webhook.items, i, func(i *item) *int32 { return &i.webhookPlace })
	if len(i.webhook.items) == 0 {
		delete(l.webhooks, i.webhook.name)
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

// share returns an equal UID that others have already. A name has few owners in
// its life.
func (w *webhook) share(owner types.UID) types.UID {
	if n := slices.Index(w.owners, owner); n >= 0 {
		return w.owners[n]
	}
	w.owners = append(w.owners, owner)
	return owner
}

func (l *Ledger) count(i *item, n int) {
	if i.draft != nil {
		if i.draft.Refused == "" {
			i.event.underway += int32(n) //nolint:gosec // 1 or -1
		}
		if n > 0 {
			l.budget.take(i.webhook.name)
		} else {
			l.budget.giveBack(i.webhook.name)
		}
		return
	}
	for _, counts := range []*Counts{&i.webhook.counts, &l.total} {
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
