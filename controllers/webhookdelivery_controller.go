package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/record"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// takeoverMargin is for how long after this process has begun to lead events may
// have been worked on by the one before: what it sent last may be stored late,
// and the clocks of the API servers may differ.
const takeoverMargin = 15 * time.Second

// refusedInterval is how far apart looks at a delivery are that is not sent
// because its outcome could not be stored.
const refusedInterval = 5 * time.Second

// closedInterval is how long a delivery stays out of the queue where its receiver took
// requests when a worker got the delivery, and no longer did when it was to be sent.
const closedInterval = time.Second

// notMade is the result where an attempt was not made. With an error, the limiter of
// the queue says when to try again.
func notMade(err error) (reconcile.Result, error) {
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: closedInterval}, nil
}

// Sender sends one request and tells how it went.
type Sender interface {
	Send(ctx context.Context, request sending.Request) sending.Exchange
}

// deliveryReconciler makes deliveries: it sends drafts and stores them with their
// outcome, and sends stored ones again when that is due or asked for. A worker
// that holds a delivery's key is the only one to decide on it.
type deliveryReconciler struct {
	*shared
	records *recordWriter
	sender  Sender
	// mayLead returns an error when this process may no longer be the leader.
	mayLead func() error
	drain   time.Duration

	leadsSince time.Time
}

func (r *deliveryReconciler) setup(mgr ctrl.Manager, workers int) error {
	c, err := controller.NewTyped("webhookdelivery", mgr, controller.TypedOptions[queue.Request]{
		Reconciler:              r,
		MaxConcurrentReconciles: workers,
		RateLimiter:             failureBackoff[queue.Request](),
		NewQueue: func(
			name string, limiter workqueue.TypedRateLimiter[queue.Request],
		) workqueue.TypedRateLimitingInterface[queue.Request] {
			return queueOn(name, r.queue, limiter)
		},
	})
	if err != nil {
		return err
	}
	return c.Watch(r.router.deliveries.source(r.begin))
}

// begin waits until the deliveries in store are known, and then looks at all that
// need something.
func (r *deliveryReconciler) begin(ctx context.Context) error {
	if err := r.ledger.WaitSynced(ctx); err != nil {
		return err
	}
	r.leadsSince = r.clock.Now()
	for _, webhook := range r.ledger.Webhooks() {
		wake(r.router, r.ledger, webhook)
	}
	return nil
}

// wake looks again at the deliveries of a webhook that need something, the oldest
// first.
func wake(to *router, from *ledger.Ledger, webhook types.NamespacedName) {
	needy := slices.DeleteFunc(from.OfWebhook(webhook), func(e ledger.Entry) bool { return !e.NeedsAttention() })
	slices.SortFunc(needy, ledger.ByAge)
	for _, e := range needy {
		to.DeliveryChanged(e)
	}
}

// Reconcile implements reconcile.TypedReconciler.
func (r *deliveryReconciler) Reconcile(ctx context.Context, request queue.Request) (reconcile.Result, error) {
	if ctx.Err() != nil {
		return reconcile.Result{}, nil //nolint:nilerr // the operator was told to stop: no send begins
	}
	entry, ok := r.ledger.Get(request.Key())
	if !ok {
		r.records.drop(ledger.Entry{Key: request.Key()})
		return reconcile.Result{}, nil
	}
	webhook, err := r.webhook(ctx, entry)
	if err != nil {
		return reconcile.Result{}, err
	}
	if webhook == nil && entry.WebhookUID != "" {
		r.records.drop(entry)
	}
	if done, result, err := r.records.resume(ctx, request.Key()); done {
		return result, err
	}
	if entry.Draft != nil {
		return r.first(ctx, request, *entry.Draft, webhook)
	}
	return r.again(ctx, request, entry, webhook)
}

// webhook returns the Webhook of a delivery, or nil if it is gone: one of the
// same name but another UID is another one.
func (r *deliveryReconciler) webhook(ctx context.Context, e ledger.Entry) (*v1alpha1.Webhook, error) {
	w := &v1alpha1.Webhook{}
	if err := r.client.Get(ctx, e.Webhook, w); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if w.UID != e.WebhookUID {
		return nil, nil
	}
	return w, nil
}

// first makes a draft's first attempt, unless it has to wait, and stores the
// delivery with what came of it.
func (r *deliveryReconciler) first(
	ctx context.Context, request queue.Request, draft ledger.Draft, w *v1alpha1.Webhook,
) (reconcile.Result, error) {
	e, err := r.eventOf(ctx, draft)
	if err != nil {
		return reconcile.Result{}, err
	}
	// An event that was deleted is withdrawn, and a Webhook counts as it is now.
	if w == nil || e == nil || !e.DeletionTimestamp.IsZero() {
		r.ledger.Withdraw(request.Key())
		return reconcile.Result{}, nil
	}
	if _, ok := matching.Match(w, e); !ok {
		r.ledger.Withdraw(request.Key())
		return reconcile.Result{}, nil
	}
	if stored, err := r.storedBefore(ctx, request.Key(), e); stored || err != nil {
		return reconcile.Result{}, err
	}

	body, err := payload.Render(e, payload.WebhookID(w))
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("rendering the payload of event %s: %w", e.Name, err)
	}
	d := record.New(e, w, body)
	with, hold, err := r.credentialsOf(ctx, w)
	if err != nil {
		return reconcile.Result{}, err
	}
	if hold == nil {
		hold = paused(w)
	}
	switch {
	case hold != nil:
	case fanout.Refused(e) || r.refusals.lately(w.Namespace):
		hold = &reason{v1alpha1.ReasonStoredFirst, "the record is stored before anything is sent, since another one could not be stored"}
	case !r.queue.HasSlot(request):
		hold = cmp.Or(r.endpoints.of(w).holds(), receiverBusy)
	default:
		if made, err := r.attempt(ctx, request, d, w, with, v1alpha1.CauseInitial); !made || err != nil {
			return notMade(err)
		}
	}
	if hold != nil {
		record.Hold(d, hold.reason, hold.message, r.clock.Now())
	}
	r.bound(d, request.Webhook)
	return r.records.create(ctx, d)
}

// eventOf returns the event of a draft, or nil if it is gone.
func (r *deliveryReconciler) eventOf(ctx context.Context, draft ledger.Draft) (*v1alpha1.WebhookEvent, error) {
	known, ok := r.events.Get(draft.EventUID)
	if !ok {
		return nil, nil
	}
	return r.whole(ctx, known)
}

// bound makes a delivery that would wait a failed one, where too many do already:
// a person can resend it.
func (r *deliveryReconciler) bound(d *v1alpha1.WebhookDelivery, webhook types.NamespacedName) {
	if d.Status.Result == v1alpha1.DeliveryWaiting && r.ledger.CountsOf(webhook, d.Spec.WebhookRef.UID).Waiting >= r.maxWaiting {
		record.GiveUp(d, v1alpha1.ReasonOverflow, fmt.Sprintf("%d deliveries of the webhook are waiting already", r.maxWaiting), r.clock.Now())
	}
}

// storedBefore reads whether a process before this one has stored a delivery that
// the watch does not show yet.
func (r *deliveryReconciler) storedBefore(
	ctx context.Context, key types.NamespacedName, e *v1alpha1.WebhookEvent,
) (bool, error) {
	if e.CreationTimestamp.After(r.leadsSince.Add(takeoverMargin)) {
		return false, nil
	}
	d := &v1alpha1.WebhookDelivery{}
	if err := r.live.Get(ctx, key, d); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	r.ledger.Observe(d)
	return true, nil
}

// again looks at a stored delivery: a retry may be due, a resend asked for, or
// its time may be over. Metadata answers most requests; what is to be changed is
// read from the API server first.
func (r *deliveryReconciler) again(
	ctx context.Context, request queue.Request, entry ledger.Entry, w *v1alpha1.Webhook,
) (reconcile.Result, error) {
	if w == nil && entry.WebhookUID != "" {
		return reconcile.Result{}, nil // it goes with its owner
	}
	held := w != nil && (paused(w) != nil || !w.DeletionTimestamp.IsZero())
	switch step := retry.Next(entry.State, w, held, r.clock.Now()); {
	case w == nil && entry.State.Resend: // whoever asked for it is told why not
	case step.Deed == retry.Rest:
		return r.rest(step), nil
	case step.Deed == retry.Send && r.refusals.lately(request.Key().Namespace):
		return reconcile.Result{RequeueAfter: refusedInterval}, nil
	}
	d := &v1alpha1.WebhookDelivery{}
	if err := r.live.Get(ctx, request.Key(), d); err != nil {
		if apierrors.IsNotFound(err) {
			r.ledger.Remove(request.Key(), "")
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r.ledger.Observe(d)

	base := d.DeepCopy()
	if w == nil {
		return r.orphan(ctx, base, d)
	}
	step := retry.Next(record.StateOf(d), w, held, r.clock.Now())
	if step.Deed != retry.Send {
		return r.restOrGiveUp(ctx, base, d, step)
	}
	if !record.Genuine(d, w) {
		log.FromContext(ctx).Info("a delivery that does not fit its webhook is not sent", "webhook", w.Name, "delivery", d.Name)
		return r.refuseResend(ctx, base, d, w, notGenuine)
	}
	with, problem, err := r.credentialsOf(ctx, w)
	if err != nil {
		return reconcile.Result{}, err
	}
	if problem != nil {
		// The webhook controller wakes its deliveries when it can be sent to.
		return r.unsendable(ctx, base, d, w)
	}
	if !r.queue.HasSlot(request) {
		r.queue.Add(request) // it was a draft when it was handed out, or has more time now
		return reconcile.Result{}, nil
	}
	if made, err := r.attempt(ctx, request, d, w, with, step.Cause); !made || err != nil {
		return notMade(err)
	}
	return r.records.update(ctx, base, d)
}

// unsendable lets a delivery wait that cannot be sent, or gives it up when its time
// is over. A resend that was asked for does not count then: it would begin at once.
func (r *deliveryReconciler) unsendable(
	ctx context.Context, base, d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook,
) (reconcile.Result, error) {
	state := record.StateOf(d)
	state.Resend = false
	return r.restOrGiveUp(ctx, base, d, retry.Next(state, w, true, r.clock.Now()))
}

// Why a resend is refused.
const (
	orphaned   = "the delivery was orphaned: the webhook that it belonged to is gone, and no other one gets it"
	notGenuine = "the delivery was not made for the webhook that owns it"
)

// orphan gives up a delivery that waits although its Webhook is gone, and refuses
// resends of it.
func (r *deliveryReconciler) orphan(ctx context.Context, base, d *v1alpha1.WebhookDelivery) (reconcile.Result, error) {
	if ownerOf(d) != "" { // since a moment ago; the ledger has told so
		return reconcile.Result{}, nil
	}
	return r.refuseResend(ctx, base, d, nil, orphaned)
}

// refuseResend is unsendable for what nothing can be sent of for good: a resend that
// was asked for is answered, once for each value.
func (r *deliveryReconciler) refuseResend(
	ctx context.Context, base, d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, why string,
) (reconcile.Result, error) {
	if !record.ResendPending(d.Annotations) {
		return r.unsendable(ctx, base, d, w)
	}
	r.notify.resendRefused(d, why)
	record.RefuseResend(d)
	if step := retry.Next(record.StateOf(d), w, true, r.clock.Now()); step.Deed == retry.GiveUp {
		record.GiveUp(d, step.Reason, givenUp[step.Reason], r.clock.Now())
	}
	return r.records.update(ctx, base, d)
}

func (r *deliveryReconciler) restOrGiveUp(
	ctx context.Context, base, d *v1alpha1.WebhookDelivery, step retry.Step,
) (reconcile.Result, error) {
	if step.Deed == retry.GiveUp {
		record.GiveUp(d, step.Reason, givenUp[step.Reason], r.clock.Now())
		return r.records.update(ctx, base, d)
	}
	return r.rest(step), nil
}

func (r *deliveryReconciler) rest(step retry.Step) reconcile.Result {
	if step.Deed != retry.Rest { // its time has come meanwhile
		return reconcile.Result{RequeueAfter: time.Millisecond}
	}
	if step.At.IsZero() {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(step.At.Sub(r.clock.Now()), time.Millisecond)}
}
