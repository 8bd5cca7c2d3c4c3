package insight

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// Event says what became of an event at each Webhook of its namespace and of the system
// namespace, or at those of one name. It makes five requests: for the event, and for the
// Webhooks and the event's deliveries in either namespace. Where no operator has looked
// at the event for ten seconds, there is one more for the lease and one for the metadata
// of each 500 events of the namespace, until one of them shows that an operator works.
//
// Deliveries are found by the label that the operator gives them, which tells of more
// than the 50 that an event's status names, and of those in the system namespace.
func (r *Reader) Event(ctx context.Context, key types.NamespacedName, webhook string) (*Event, error) {
	e := &v1alpha1.WebhookEvent{}
	switch err := r.Client.Get(ctx, key, e); {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return r.withoutEvent(ctx, key, webhook, err)
	case err != nil:
		return nil, fmt.Errorf("reading event %s: %w", key.Name, err)
	}
	v := &view{
		event: e, only: webhook, now: r.Now(), system: r.systemNamespace(),
		webhooksOf: map[string]bool{}, deliveriesOf: map[string]bool{},
	}
	answer := &Event{Object: e, Event: refOf(e)}
	namespaces := []string{e.Namespace}
	if v.system != e.Namespace {
		namespaces = append(namespaces, v.system)
	}
	for _, namespace := range namespaces {
		notes, err := r.collect(ctx, v, namespace)
		if err != nil {
			return nil, err
		}
		answer.Notes = append(answer.Notes, notes...)
	}
	if err := r.look(ctx, v, answer); err != nil {
		return nil, err
	}
	answer.Webhooks = v.of()
	answer.Finding = v.sum(answer.Webhooks)
	answer.Notes = append(answer.Notes, v.notes()...)
	return answer, nil
}

// collect reads the Webhooks of a namespace, and the event's deliveries in it.
func (r *Reader) collect(ctx context.Context, v *view, namespace string) (notes []string, _ error) {
	allowed := func(err error, what string) (bool, error) {
		switch {
		case err == nil:
			return true, nil
		case !apierrors.IsForbidden(err):
			return false, fmt.Errorf("listing %s of the namespace %s: %w", what, namespace, err)
		case namespace != v.event.Namespace:
			if what == "webhooks" {
				notes = append(notes, "webhooks of the namespace "+namespace+
					", which follow the events of every namespace, are not told of: you may not read them")
			}
		default:
			notes = append(notes, "you may not read "+what+" of the namespace "+namespace+": the role view (or horizon-webhook-viewer) allows it")
		}
		return false, nil
	}
	var webhooks v1alpha1.WebhookList
	ok, err := allowed(r.Client.List(ctx, &webhooks, client.InNamespace(namespace)), "webhooks")
	if err != nil {
		return nil, err
	}
	v.webhooksOf[namespace] = ok
	v.webhooks = append(v.webhooks, webhooks.Items...)

	var deliveries v1alpha1.WebhookDeliveryList
	ok, err = allowed(r.Client.List(ctx, &deliveries, client.InNamespace(namespace),
		client.MatchingLabels{v1alpha1.LabelEventUID: string(v.event.UID)}), "webhookdeliveries")
	if err != nil {
		return nil, err
	}
	v.deliveriesOf[namespace] = ok
	v.deliveries = append(v.deliveries, deliveries.Items...)
	return notes, nil
}

// look gathers what tells whether an operator works, where none has looked at the event.
func (r *Reader) look(ctx context.Context, v *view, answer *Event) error {
	e := v.event
	created := e.CreationTimestamp.Time
	if e.Status.ObservedGeneration >= 1 || v.now.Sub(created) <= soon {
		return nil
	}
	for i := range v.webhooks {
		w := &v.webhooks[i]
		if at := lastStatus(w); at.After(v.signs.wrote) {
			v.signs.wrote = at
		}
		if matching.Match(w, e).Follows() {
			v.signs.underWay = max(v.signs.underWay, timeout(w))
		}
	}
	var err error
	if v.signs.lease, err = r.Lease(ctx); err != nil {
		return err
	}
	if v.signs.lease.Forbidden {
		answer.Notes = append(answer.Notes, v.signs.lease.Words(v.now))
	}
	if v.signs.lease.Found || v.signs.wrote.After(created) {
		return nil
	}
	at, err := r.lastSign(ctx, e.Namespace, created)
	if err != nil && !apierrors.IsForbidden(err) {
		return fmt.Errorf("listing events: %w", err)
	}
	if at.After(v.signs.wrote) {
		v.signs.wrote = at
	}
	return nil
}

// timeout is how long a request to a Webhook may take; the default is that of the CRD.
func timeout(w *v1alpha1.Webhook) time.Duration {
	if w.Spec.TimeoutSeconds > 0 {
		return time.Duration(w.Spec.TimeoutSeconds) * time.Second
	}
	return 30 * time.Second
}

// notes are what else is worth knowing of an event.
func (v *view) notes() []string {
	var notes []string
	e := v.event
	if !e.DeletionTimestamp.IsZero() {
		notes = append(notes, "the event is being deleted, since "+when(e.DeletionTimestamp.Time, v.now))
	}
	if at, ok := matching.RestoredFrom(e); ok {
		notes = append(notes, "the event is a copy of an earlier one, from a backup for instance, and counts as of "+stamp(at))
	}
	var more int32
	for _, u := range e.Status.Unmatched {
		more += u.Count - int32(len(u.Webhooks)) //nolint:gosec // at most 50
	}
	if more > 0 && v.only == "" && !v.webhooksOf[e.Namespace] {
		notes = append(notes, fmt.Sprintf("%d more webhooks did not follow the event, which its status does not name", more))
	}
	if c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDelivered); fanout.Dispatched(e) && c != nil &&
		c.Reason == v1alpha1.ReasonRecordRefused {
		notes = append(notes, c.Message)
	}
	return notes
}

// withoutEvent tells what the records say of an event that is gone or may not be read:
// they name it.
func (r *Reader) withoutEvent(ctx context.Context, key types.NamespacedName, webhook string, cause error) (*Event, error) {
	var deliveries v1alpha1.WebhookDeliveryList
	err := r.Client.List(ctx, &deliveries, client.InNamespace(key.Namespace), client.MatchingFields{"spec.eventRef.name": key.Name})
	if err != nil || len(deliveries.Items) == 0 {
		return nil, fmt.Errorf("reading event %s: %w", key.Name, cause)
	}
	now := r.Now()
	answer := &Event{Event: Ref(key)}
	known := map[string]*v1alpha1.Webhook{}
	var webhooks v1alpha1.WebhookList
	listed := r.Client.List(ctx, &webhooks, client.InNamespace(key.Namespace))
	for i := range webhooks.Items {
		known[webhooks.Items[i].Name] = &webhooks.Items[i]
	}
	for i := range deliveries.Items {
		d := &deliveries.Items[i]
		name := d.Spec.WebhookRef.Name
		if d.Spec.EventRef.Namespace != key.Namespace || webhook != "" && webhook != name {
			continue
		}
		row := EventWebhook{Webhook: Ref{d.Namespace, name}, Delivery: d.Name}
		if row.Finding = OfRecord(d, now); listed == nil {
			row.Finding = OfDelivery(d, known[name], now)
		}
		answer.Webhooks = append(answer.Webhooks, row)
	}
	why := "the event has been removed, by age (--event-ttl of the operator) or by hand"
	answer.Finding = Finding{Outcome: Removed, Reason: ReasonEventRemoved}
	if apierrors.IsForbidden(cause) {
		why = "you may not read webhookevents of the namespace " + key.Namespace + ": the role view (or horizon-webhook-viewer) allows it"
		answer.Finding = Finding{Outcome: Unknown, Reason: ReasonNotPermitted}
	}
	happened := func(d v1alpha1.WebhookDelivery) bool { return d.Spec.EventType != v1alpha1.EventTypeTest }
	if apierrors.IsNotFound(cause) && len(answer.Webhooks) > 0 && !slices.ContainsFunc(deliveries.Items, happened) {
		answer.Finding = total(answer.Webhooks)
		answer.Notes = append(answer.Notes, "this is no event: kubectl horizon test has sent it")
		return answer, nil
	}
	answer.Message = fmt.Sprintf("%s; %s left of it", why, count(len(answer.Webhooks), "record is", "records are"))
	return answer, nil
}

// Delivery says what a delivery means. It makes two requests: for it and for its Webhook.
func (r *Reader) Delivery(ctx context.Context, key types.NamespacedName) (*Delivery, error) {
	d := &v1alpha1.WebhookDelivery{}
	if err := r.Client.Get(ctx, key, d); err != nil {
		return nil, fmt.Errorf("reading delivery %s: %w", key.Name, err)
	}
	answer := &Delivery{
		Object: d, Delivery: refOf(d),
		Webhook: Ref{d.Namespace, d.Spec.WebhookRef.Name}, Event: Ref{d.Spec.EventRef.Namespace, d.Spec.EventRef.Name},
	}
	w := &v1alpha1.Webhook{}
	switch err := r.Client.Get(ctx, types.NamespacedName(answer.Webhook), w); {
	case err == nil:
		answer.Finding = OfDelivery(d, w, r.Now())
	case apierrors.IsNotFound(err):
		answer.Finding = OfDelivery(d, nil, r.Now())
	case apierrors.IsForbidden(err):
		answer.Finding = OfRecord(d, r.Now())
		answer.Notes = append(answer.Notes, "you may not read webhooks of the namespace "+key.Namespace+
			": this is what the record says, and the role view (or horizon-webhook-viewer) allows more")
	default:
		return nil, fmt.Errorf("reading webhook %s: %w", answer.Webhook.Name, err)
	}
	return answer, nil
}
