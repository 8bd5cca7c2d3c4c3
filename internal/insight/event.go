package insight

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// view is what could be read about an event.
type view struct {
	event      *v1alpha1.WebhookEvent
	webhooks   []v1alpha1.Webhook
	deliveries []v1alpha1.WebhookDelivery
	// webhooksOf and deliveriesOf tell the namespaces of which all Webhooks, and all
	// deliveries of the event, are known.
	webhooksOf, deliveriesOf map[string]bool
	// only is the name of the one Webhook that is asked about; empty for all.
	only   string
	signs  signs
	system string
	now    time.Time
}

// of is what became of the event at each Webhook, in the order of an answer.
func (v *view) of() []EventWebhook {
	var all []EventWebhook
	seen := map[Ref]bool{} // deliveries that are dealt with
	for i := range v.webhooks {
		w := &v.webhooks[i]
		if !v.asked(w.Name) {
			continue
		}
		row := EventWebhook{Webhook: refOf(w)}
		if d := v.deliveryOf(w); d != nil {
			seen[refOf(d)] = true
			row.Delivery, row.Finding = d.Name, OfDelivery(d, w, v.now)
		} else {
			row.Finding = v.without(w)
			seen[Ref{w.Namespace, delivery.Name(v.event, w)}] = true
		}
		all = append(all, row)
	}
	for i := range v.deliveries {
		d := &v.deliveries[i]
		name := d.Spec.WebhookRef.Name
		if ref := refOf(d); !seen[ref] && v.asked(name) {
			seen[ref] = true
			row := EventWebhook{Webhook: Ref{d.Namespace, name}, Delivery: d.Name}
			if row.Finding = OfRecord(d, v.now); v.webhooksOf[d.Namespace] {
				row.Finding = OfDelivery(d, nil, v.now)
				if row.Reason != v1alpha1.ReasonWebhookGone {
					row.Message = sentence(row.Message, v.gone(name))
				}
			}
			all = append(all, row)
		}
	}
	all = append(all, v.named(seen)...)
	slices.SortStableFunc(all, func(a, b EventWebhook) int {
		return cmp.Or(
			cmp.Compare(rank(a.Finding), rank(b.Finding)),
			cmp.Compare(v.foreign(a.Webhook), v.foreign(b.Webhook)),
			cmp.Compare(a.Webhook.Name, b.Webhook.Name),
		)
	})
	return all
}

func (v *view) asked(name string) bool { return v.only == "" || v.only == name }

func (v *view) foreign(w Ref) int {
	if w.Namespace == v.event.Namespace {
		return 0
	}
	return 1
}

// order is that of an answer: what needs somebody comes first, then the near misses.
var order = []Outcome{Failed, Waiting, Unknown, Removed, Delivered, NotFollowed}

// nearest orders reasons by how near they are to a match, as an event's status does.
var nearest = []string{
	ReasonEditedLater, string(v1alpha1.UnmatchedFilterInvalid), string(v1alpha1.UnmatchedFilterError), string(v1alpha1.UnmatchedFilter),
	string(v1alpha1.UnmatchedDisabled), string(v1alpha1.UnmatchedDeleting),
	string(v1alpha1.UnmatchedCreatedLater), string(v1alpha1.UnmatchedScope), string(v1alpha1.UnmatchedTrigger),
}

func rank(f Finding) int {
	if i := slices.Index(order, f.Outcome); i >= 0 && f.Outcome != NotFollowed {
		return i
	}
	near := slices.Index(nearest, f.Reason)
	if near < 0 {
		near = len(nearest)
	}
	return len(order) + near
}

// deliveryOf returns the record of the event at a Webhook, or nil.
func (v *view) deliveryOf(w *v1alpha1.Webhook) *v1alpha1.WebhookDelivery {
	for i := range v.deliveries {
		d := &v.deliveries[i]
		if d.Namespace == w.Namespace && d.Spec.WebhookRef.UID == w.UID && d.Spec.EventRef.UID == v.event.UID {
			return d
		}
	}
	return nil
}

// then returns why the operator said that a Webhook of a name does not get the event.
func (v *view) then(name string) (v1alpha1.Unmatched, bool) {
	for _, u := range v.event.Status.Unmatched {
		if slices.Contains(u.Webhooks, name) {
			return u, true
		}
	}
	return v1alpha1.Unmatched{}, false
}

// without says why there is no record of the event at a Webhook.
func (v *view) without(w *v1alpha1.Webhook) Finding {
	e := v.event
	own := w.Namespace == e.Namespace
	verdict := matching.Match(w, e)
	matches := verdict.Follows()
	u, named := v1alpha1.Unmatched{}, false
	if own {
		u, named = v.then(w.Name)
	}
	switch {
	case e.Status.Result == v1alpha1.EventExpired && matches:
		return expired(e)
	case own && slices.Contains(e.Status.Deliveries, delivery.Name(e, w)):
		return v.lost(w.Namespace)
	case !matches && named && u.Reason != verdict.Reason:
		now := unfollowed(w, e, verdict, v.now)
		now.Reason, now.Message = string(u.Reason), sentence(words(u, w.Name), "as it is now, "+now.Message)
		return now
	case !matches:
		return unfollowed(w, e, verdict, v.now)
	case !fanout.Dispatched(e):
		return v.pending(w)
	case named:
		return v.edited(w, words(u, w.Name))
	case !v.deliveriesOf[w.Namespace]:
		return v.notPermitted(w.Namespace)
	case w.Status.ObservedGeneration < w.Generation: // the event may have been dispatched without it
		return Finding{Outcome: Waiting, Reason: ReasonNotObserved, Help: ifItLasts(e.Namespace),
			Message: "no operator has looked at the webhook as it is now, which follows such events"}
	case own && len(e.Status.Deliveries) < fanout.MaxNames || v.editOf(w).manager != "":
		return v.edited(w, "it did not follow the event when that was dispatched")
	default:
		return v.lost(w.Namespace)
	}
}

// words is what the operator wrote about a Webhook that did not match. The message is that
// of the first one of the reason.
func words(u v1alpha1.Unmatched, webhook string) string {
	text := "it did not follow the event when that was dispatched (" + string(u.Reason)
	if u.Message != "" && u.Webhooks[0] == webhook {
		text += ": " + u.Message
	}
	return text + ")"
}

// editOf returns the last edit of a Webhook if that is from after the event, and an empty
// one if it is not known. Times are whole seconds, so one in the event's second counts.
func (v *view) editOf(w *v1alpha1.Webhook) edit {
	last := lastEdit(w)
	if w.Generation < 2 || last.at.Before(v.event.CreationTimestamp.Time) {
		return edit{}
	}
	return last
}

// edited is about a Webhook that matches now and did not then.
func (v *view) edited(w *v1alpha1.Webhook, then string) Finding {
	how := "it has been edited since"
	if last := v.editOf(w); last.manager != "" {
		how = fmt.Sprintf("it was edited at %s by %s", when(last.at, v.now), last.manager)
	}
	return Finding{Outcome: NotFollowed, Reason: ReasonEditedLater, Message: then + "; " + how + ", and follows such events now",
		Help: replay(refOf(w), v.event) + " brings this event"}
}

// lost is about a record that was there.
func (v *view) lost(namespace string) Finding {
	if !v.deliveriesOf[namespace] {
		return v.notPermitted(namespace)
	}
	message := "its record was there and has been removed, by retention (spec.retention of the webhook) or by hand"
	c := v.event.Status.Counts
	if namespace == v.event.Namespace && c.Waiting == 0 && c.Failed == 0 && c.Succeeded > 0 {
		message = "it was delivered; " + message
	}
	return Finding{Outcome: Removed, Reason: ReasonRecordRemoved, Message: message}
}

func (v *view) notPermitted(namespace string) Finding {
	return Finding{Outcome: Unknown, Reason: ReasonNotPermitted, Message: "you may not read webhookdeliveries of the namespace " + namespace,
		Help: "ask for the role view (or horizon-webhook-viewer) there"}
}

// pending is about a Webhook whose delivery is yet to be made.
func (v *view) pending(w *v1alpha1.Webhook) Finding {
	if f := v.undispatched(); f != nil {
		return *f
	}
	f := Finding{Outcome: Waiting, Reason: v1alpha1.ReasonDispatching,
		Message: "its first request is under way or queued, and is recorded when it ends"}
	if h := hold(w, v.now); h != nil {
		f.Reason, f.Message, f.Detail, f.Help, f.Next = h.Reason, h.Message, h.Detail, h.Help, h.Next
	}
	return f
}

// undispatched says why an event is not dispatched, where that concerns all its Webhooks:
// nobody has looked at it, or records of it are refused. Otherwise it is nil.
func (v *view) undispatched() *Finding {
	e := v.event
	switch {
	case fanout.Refused(e):
		c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
		return &Finding{Outcome: Waiting, Reason: c.Reason, Message: c.Message,
			Help: "a quota, a policy or an admission webhook refuses the operator's records: ask an administrator to let it store them"}
	case e.Status.ObservedGeneration < 1 && !fanout.Dispatched(e):
		f := v.signs.unobserved("the event", e.CreationTimestamp.Time, v.now, v.system)
		return &f
	}
	return nil
}

func expired(e *v1alpha1.WebhookEvent) Finding {
	f := Finding{Outcome: Failed, Reason: v1alpha1.ReasonExpired, Message: "the event was too old when it was first worked on",
		Help: "whoever wants it sent creates it anew, under another name and with a later spec.time"}
	if c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched); c != nil {
		f.Message = "the event was " + c.Message
	}
	return f
}

// recordName takes the name of a delivery apart (internal/delivery.Name).
var recordName = regexp.MustCompile(`^(.+)-[0-9a-f]{8}-[0-9a-f]{16}$`)

// named is about what only the event's status names.
func (v *view) named(seen map[Ref]bool) []EventWebhook {
	e := v.event
	var rows []EventWebhook
	for _, u := range e.Status.Unmatched {
		for _, name := range u.Webhooks {
			if !v.asked(name) || v.webhook(name) != nil {
				continue
			}
			f := Finding{Outcome: NotFollowed, Reason: string(u.Reason), Message: words(u, name)}
			if v.webhooksOf[e.Namespace] {
				f.Message += "; it has been deleted since"
			}
			rows = append(rows, EventWebhook{Webhook: Ref{e.Namespace, name}, Finding: f})
		}
	}
	for _, record := range e.Status.Deliveries {
		parts := recordName.FindStringSubmatch(record)
		if parts == nil || seen[Ref{e.Namespace, record}] || !v.asked(parts[1]) {
			continue
		}
		row := EventWebhook{Webhook: Ref{e.Namespace, parts[1]}, Finding: v.lost(e.Namespace)}
		if v.webhooksOf[e.Namespace] && v.deliveriesOf[e.Namespace] {
			row.Reason, row.Message = ReasonWebhookDeleted, "its record was there and was removed with its webhook: "+v.gone(parts[1])
			if v.webhook(parts[1]) != nil {
				row.Reason = ReasonWebhookReplaced
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// gone says that a Webhook of the event's namespace is gone.
func (v *view) gone(name string) string {
	if w := v.webhook(name); w != nil {
		return fmt.Sprintf("that webhook was deleted, and another one of its name was created at %s, which does not get what was the first one's",
			when(w.CreationTimestamp.Time, v.now))
	}
	return "that webhook has been deleted"
}

// webhook returns the Webhook of a name in the event's namespace, or nil.
func (v *view) webhook(name string) *v1alpha1.Webhook {
	for i := range v.webhooks {
		if w := &v.webhooks[i]; w.Name == name && w.Namespace == v.event.Namespace {
			return w
		}
	}
	return nil
}

// sum says what became of an event in all.
func (v *view) sum(rows []EventWebhook) Finding {
	e := v.event
	switch {
	case v.only != "" && len(rows) > 0:
		return rows[0].Finding
	case v.only != "":
		return Finding{Outcome: Unknown, Reason: ReasonNoWebhooks,
			Message: fmt.Sprintf("no webhook %s is known that could follow the event", v.only)}
	case e.Status.Result == v1alpha1.EventExpired:
		return expired(e)
	}
	if f := v.undispatched(); f != nil {
		return *f
	}
	if len(rows) == 0 {
		if !v.webhooksOf[e.Namespace] {
			return Finding{Outcome: Unknown, Reason: ReasonNotPermitted,
				Message: fmt.Sprintf("the event is %s; you may not read more", e.Status.Result)}
		}
		return Finding{Outcome: NotFollowed, Reason: ReasonNoWebhooks, Message: "there is no webhook that could follow it",
			Help: command("create", e.Namespace, "NAME", "--url URL", "--trigger "+e.Spec.EventType)}
	}
	return total(rows)
}

// summed are the API's own words for an event's deliveries in all.
var summed = map[Outcome]string{
	Delivered: v1alpha1.ReasonDelivered, Failed: v1alpha1.ReasonFailed, Waiting: v1alpha1.ReasonWaiting,
}

// total counts what became of an event by outcome: the gravest is that of the event.
func total(rows []EventWebhook) Finding {
	tally := map[Outcome]int{}
	for _, row := range rows {
		tally[row.Outcome]++
	}
	f := Finding{Outcome: NotFollowed}
	for _, outcome := range order {
		if tally[outcome] > 0 {
			f.Outcome = outcome
			break
		}
	}
	var parts []string
	for _, say := range []struct {
		of    Outcome
		words string
	}{
		{Delivered, "delivered to %s"}, {Failed, "failed at %s"}, {Waiting, "waiting for %s"},
		{Removed, "no record left of %s"}, {Unknown, "unknown of %s"},
	} {
		if n := tally[say.of]; n > 0 {
			parts = append(parts, fmt.Sprintf(say.words, count(n, "webhook", "webhooks")))
		}
	}
	if n := tally[NotFollowed]; n > 0 && len(parts) > 0 {
		parts = append(parts, count(n, "webhook does", "webhooks do")+" not follow it")
	}
	first := slices.IndexFunc(rows, func(row EventWebhook) bool { return row.Outcome == f.Outcome })
	switch {
	case len(parts) > 0:
		f.Message = strings.Join(parts, ", ")
	case len(rows) == 1:
		f.Message = rows[0].Webhook.Name + " does not follow it: " + rows[0].Message
	default:
		f.Message = fmt.Sprintf("none of %d webhooks follows it; the nearest is %s: %s", len(rows), rows[0].Webhook.Name, rows[0].Message)
	}
	f.Reason = summed[f.Outcome]
	if f.Outcome != Delivered && tally[f.Outcome] == 1 || f.Outcome == NotFollowed {
		f.Reason, f.Next = rows[first].Reason, rows[first].Next
	}
	return f
}
