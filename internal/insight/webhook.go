package insight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
)

// OfWebhook says how a Webhook fares, as far as the Webhook itself tells: the gravest
// comes first, and one that all is well where it is.
func OfWebhook(w *v1alpha1.Webhook, now time.Time) []Finding {
	var all []Finding
	add := func(findings ...*Finding) {
		for _, f := range findings {
			if f != nil {
				all = append(all, *f)
			}
		}
	}
	add(stopped(w, now), unready(w))
	all = append(all, mistakes(w)...)
	add(unreceptive(w, now), overflowing(w), filterFailing(w))
	told := func(reason string) bool {
		return slices.ContainsFunc(all, func(f Finding) bool { return f.Reason == reason })
	}
	healthy := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
	if healthy != nil && healthy.Status == metav1.ConditionFalse && !told(healthy.Reason) {
		all = append(all, unhealthy(w, healthy))
	}
	if len(all) > 0 {
		return all
	}
	f := Finding{Outcome: Working}
	if ready := current(w, v1alpha1.ConditionReady); ready != nil {
		f.Reason, f.Message = ready.Reason, ready.Message
	}
	if healthy != nil {
		f.Reason, f.Message = healthy.Reason, sentence(f.Message, healthy.Message)
	}
	if limit := limited(w); limit != "" {
		f.Message = sentence(f.Message, "deliveries wait for "+limit)
	}
	if f.Message == "" {
		f = Finding{Outcome: Unknown, Reason: ReasonNotObserved, Message: "no operator has looked at the webhook as it is now"}
	}
	return []Finding{f}
}

func overflowing(w *v1alpha1.Webhook) *Finding {
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionOverflowing)
	if c == nil || c.Status != metav1.ConditionTrue {
		return nil
	}
	return &Finding{Outcome: Troubled, Reason: c.Reason, Message: c.Message,
		Help: "once the receiver accepts deliveries again: " + command("resend", w.Namespace, "--webhook "+w.Name, "--failed")}
}

// unhealthy is what Healthy says where nothing else has said it.
func unhealthy(w *v1alpha1.Webhook, c *metav1.Condition) Finding {
	f := Finding{Outcome: Troubled, Reason: c.Reason, Message: c.Message}
	if c.ObservedGeneration != w.Generation {
		f.Message += "; the webhook has been edited since, and is tried anew"
		return f
	}
	switch c.Reason {
	case v1alpha1.ReasonFailing, v1alpha1.ReasonRejected:
		f.Help = "see what was sent and answered: " + command("logs", w.Namespace, w.Name)
	case v1alpha1.ReasonEgressDenied:
		f.Outcome = Stopped
		f.Help = "an administrator can allow the address (--egress-allow of the operator); then " +
			command("resend", w.Namespace, "--webhook "+w.Name, "--failed")
	}
	return f
}

// Webhook says how a Webhook fares, and what waits for it and why. It makes one request
// for the Webhook, one for the metadata of each 500 of its deliveries, one for each
// delivery that it names (MaxWaiting at most), and one for the lease where no operator has
// looked at the Webhook.
func (r *Reader) Webhook(ctx context.Context, key types.NamespacedName) (*Webhook, error) {
	w := &v1alpha1.Webhook{}
	if err := r.Client.Get(ctx, key, w); err != nil {
		return nil, fmt.Errorf("reading webhook %s: %w", key.Name, err)
	}
	now := r.Now()
	answer := &Webhook{Object: w, Webhook: refOf(w), Findings: OfWebhook(w, now)}
	if f, err := r.unseen(ctx, w, now); err != nil {
		return nil, err
	} else if f != nil {
		answer.Findings = slices.DeleteFunc(answer.Findings, func(f Finding) bool { return f.Reason == ReasonNotObserved })
		answer.Findings = append([]Finding{*f}, answer.Findings...)
	}
	answer.Finding = answer.Findings[0]
	err := r.waitingOf(ctx, w, answer, now)
	if apierrors.IsForbidden(err) {
		answer.Notes = append(answer.Notes, "you may not read webhookdeliveries of the namespace "+key.Namespace+
			", so what waits is not told: the role view (or horizon-webhook-viewer) allows it")
		err = nil
	}
	return answer, err
}

// unseen tells of a Webhook that no operator has looked at as it is, or nil.
func (r *Reader) unseen(ctx context.Context, w *v1alpha1.Webhook, now time.Time) (*Finding, error) {
	if w.Status.ObservedGeneration >= w.Generation || !w.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	since, what := w.CreationTimestamp.Time, "the webhook"
	if last := lastEdit(w); w.Generation > 1 && last.at.After(since) {
		since, what = last.at, "the webhook as it was last edited"
	}
	s := signs{wrote: lastStatus(w)}
	if now.Sub(since) > soon {
		var err error
		if s.lease, err = r.Lease(ctx); err != nil {
			return nil, err
		}
	}
	f := s.unobserved(what, since, now, r.systemNamespace())
	if f.Reason == ReasonNoOperator {
		f.Outcome = Stopped
	}
	return &f, nil
}

// waitingMetadata is what metadata tells of a delivery that is yet to be sent.
type waitingMetadata struct {
	name   string
	resend bool
	next   time.Time // zero: as soon as nothing holds it
}

// waitingOf counts what waits for a Webhook, and names what is due first.
func (r *Reader) waitingOf(ctx context.Context, w *v1alpha1.Webhook, answer *Webhook, now time.Time) error {
	var all []waitingMetadata
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookDeliveryList"))
	options := &client.ListOptions{Namespace: w.Namespace, Limit: pageSize}
	client.MatchingLabels{v1alpha1.LabelWebhook: w.Name}.ApplyToList(options)
	for {
		if err := r.Client.List(ctx, list, options); err != nil {
			return fmt.Errorf("listing the deliveries of webhook %s: %w", w.Name, err)
		}
		for i := range list.Items {
			if d, ok := waits(&list.Items[i]); ok {
				all = append(all, d)
				answer.Count.add(d, now)
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b waitingMetadata) int {
		if a.resend != b.resend {
			if a.resend {
				return -1
			}
			return 1
		}
		return cmp.Or(a.next.Compare(b.next), cmp.Compare(a.name, b.name))
	})
	for _, named := range all[:min(len(all), MaxWaiting)] {
		d := &v1alpha1.WebhookDelivery{}
		err := r.Client.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: named.name}, d)
		switch {
		case apierrors.IsNotFound(err): // removed meanwhile
			continue
		case err != nil:
			return fmt.Errorf("reading delivery %s: %w", named.name, err)
		}
		answer.Waiting = append(answer.Waiting, WaitingDelivery{Name: named.name, Finding: OfDelivery(d, w, now)})
	}
	return nil
}

// waits tells whether something is yet to be sent of a delivery.
func waits(d *metav1.PartialObjectMetadata) (waitingMetadata, bool) {
	m := waitingMetadata{name: d.Name, resend: delivery.ResendPending(d.Annotations)}
	next, err := time.Parse(time.RFC3339, d.Annotations[v1alpha1.AnnotationNextAttempt])
	if err == nil {
		m.next = next
	}
	return m, m.resend || err == nil || d.Labels[v1alpha1.LabelResult] == string(v1alpha1.DeliveryWaiting)
}

func (c *WaitingCount) add(d waitingMetadata, now time.Time) {
	switch {
	case d.resend:
		c.Resends++
	case d.next.After(now):
		c.Later++
	default:
		c.Due++
	}
}
