// Package webhookdelivery makes deliveries: it sends pending ones and stores them with
// their outcome, and sends stored ones again when that is due or asked for.
package webhookdelivery

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiver"
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

// Sender sends one request and tells how it went.
type Sender interface {
	Send(ctx context.Context, request sending.Request) sending.Exchange
}

// Reconciler makes deliveries. A worker that has a delivery's key is the only one to
// decide on it. Its exported fields are set before Setup.
type Reconciler struct {
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader   client.Reader
	Clock       clock.Clock
	Recorder    events.EventRecorder
	Writer      Writer
	Limiter     WriteLimiter
	Sender      Sender
	Ledger      *ledger.Ledger
	Events      *eventcache.Cache
	Enqueuer    *enqueue.Enqueuer
	Queue       *queue.Queue
	Receivers   *receiver.Registry
	Credentials *credentials.Reader
	Filters     *matching.Filters
	Metrics     *Metrics
	// MaxWaiting bounds how many deliveries of one Webhook may wait.
	MaxWaiting int
	// CheckLease returns an error when this process may no longer be the leader.
	CheckLease func() error
	// LeaseRenewed returns when the lease was last renewed, which tells that the API
	// server stores things. Nil without a lease.
	LeaseRenewed func() time.Time
	// Drain is how long requests that are under way may go on when the operator is told
	// to stop.
	Drain time.Duration
	// RefuseAfter is for how long a delivery is tried to be stored, while the API server
	// stores other things, before it counts as refused.
	RefuseAfter time.Duration

	storer     *storer
	leadsSince time.Time
}

// Setup adds the controller to a manager.
func (r *Reconciler) Setup(mgr ctrl.Manager, workers int) error {
	r.storer = r.newStorer()
	if err := r.storer.followWebhooks(mgr.GetCache()); err != nil {
		return fmt.Errorf("watching webhooks: %w", err)
	}
	c, err := controller.NewTyped("webhookdelivery", mgr, controller.TypedOptions[queue.Request]{
		Reconciler:              r,
		MaxConcurrentReconciles: workers,
		RateLimiter:             enqueue.Backoff[queue.Request](),
		NewQueue: func(
			name string, limiter workqueue.TypedRateLimiter[queue.Request],
		) workqueue.TypedRateLimitingInterface[queue.Request] {
			return enqueue.RateLimited(name, r.Queue, limiter)
		},
	})
	if err != nil {
		return err
	}
	return c.Watch(r.Enqueuer.Deliveries.OnStart(r.begin))
}

// Unstored returns how many deliveries a try to store has failed for.
func (r *Reconciler) Unstored() int {
	if r.storer == nil { // before Setup
		return 0
	}
	return r.storer.failures.count()
}

// begin waits until the deliveries in store are known, and then enqueues all that
// something may be done for.
func (r *Reconciler) begin(ctx context.Context) error {
	if err := r.Ledger.WaitSynced(ctx); err != nil {
		return err
	}
	r.leadsSince = r.Clock.Now()
	for _, webhook := range r.Ledger.Webhooks() {
		r.Enqueuer.EnqueueUnfinishedDeliveries(webhook)
	}
	return nil
}

// Reconcile implements reconcile.TypedReconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request queue.Request) (reconcile.Result, error) {
	if ctx.Err() != nil {
		return reconcile.Result{}, nil //nolint:nilerr // the operator was told to stop: no send begins
	}
	entry, ok := r.Ledger.Get(request.Key())
	if !ok {
		r.storer.drop(ledger.Entry{Key: request.Key()})
		return reconcile.Result{}, nil
	}
	webhook, err := r.webhook(ctx, entry)
	if err != nil {
		return reconcile.Result{}, err
	}
	if webhook == nil && entry.WebhookUID != "" {
		r.storer.drop(entry)
	}
	if done, result, err := r.storer.resume(ctx, request.Key()); done {
		return result, err
	}
	if entry.Pending != nil {
		return r.first(ctx, request, *entry.Pending, webhook)
	}
	return r.again(ctx, request, entry, webhook)
}

// webhook returns the Webhook of a delivery, or nil if it is gone: one of the
// same name but another UID is another one.
func (r *Reconciler) webhook(ctx context.Context, e ledger.Entry) (*v1alpha1.Webhook, error) {
	w := &v1alpha1.Webhook{}
	if err := r.Client.Get(ctx, e.Webhook, w); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if w.UID != e.WebhookUID {
		return nil, nil
	}
	return w, nil
}

// first makes the first attempt of a pending delivery, unless that has to wait, and
// stores the delivery with what came of it.
func (r *Reconciler) first(
	ctx context.Context, request queue.Request, pending ledger.Pending, w *v1alpha1.Webhook,
) (reconcile.Result, error) {
	e, err := r.eventOf(ctx, pending)
	if err != nil {
		return reconcile.Result{}, err
	}
	// An event that was deleted is withdrawn, and a Webhook counts as it is now.
	if w == nil || e == nil || !e.DeletionTimestamp.IsZero() {
		r.Ledger.Withdraw(request.Key())
		return reconcile.Result{}, nil
	}
	if verdict, _ := r.Filters.Turn(e, nil).Match(w, pending.Replay); !verdict.Follows() {
		r.Ledger.Withdraw(request.Key())
		return reconcile.Result{}, nil
	}
	if stored, err := r.storedBefore(ctx, request.Key(), e); stored || err != nil {
		return reconcile.Result{}, err
	}

	body, err := payload.Render(e, payload.WebhookID(w))
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("rendering the payload of event %s: %w", e.Name, err)
	}
	d := delivery.New(e, w, body)
	with, wait, err := r.credentialsOf(ctx, w)
	if err != nil {
		return reconcile.Result{}, err
	}
	if wait == nil {
		wait = paused(w)
	}
	switch {
	case wait != nil:
	case fanout.Refused(e) || r.storer.failures.storeFailing(w.Namespace):
		wait = storedFirst
	case !r.Queue.HasSlot(request):
		wait = cmp.Or(r.Receivers.Of(w).WaitReason(), receiver.Busy)
	default:
		if made, later, err := r.attempt(ctx, request, d, w, with, v1alpha1.CauseInitial); !made || err != nil {
			return later, err // with an error, the limiter of the queue says when to try again
		}
	}
	if wait != nil {
		delivery.Wait(d, *wait, r.Clock.Now())
	}
	r.failIfTooManyWait(d, request.Webhook)
	return r.storer.create(ctx, d)
}

// eventOf returns the event of a pending delivery, or nil if it is gone.
func (r *Reconciler) eventOf(ctx context.Context, pending ledger.Pending) (*v1alpha1.WebhookEvent, error) {
	known, ok := r.Events.Get(pending.EventUID)
	if !ok {
		return nil, nil
	}
	return known.Load(ctx, r.APIReader)
}

// failIfTooManyWait makes a delivery that would wait a failed one, where too many do already:
// a person can resend it.
func (r *Reconciler) failIfTooManyWait(d *v1alpha1.WebhookDelivery, webhook types.NamespacedName) {
	if d.Status.Result == v1alpha1.DeliveryWaiting && r.Ledger.CountsOf(webhook, d.Spec.WebhookRef.UID).Waiting >= r.MaxWaiting {
		delivery.GiveUp(d, v1alpha1.ReasonOverflow, fmt.Sprintf("%d deliveries of the webhook are waiting already", r.MaxWaiting), r.Clock.Now())
	}
}

// storedBefore reads whether a process before this one has stored a delivery that
// the watch does not show yet.
func (r *Reconciler) storedBefore(
	ctx context.Context, key types.NamespacedName, e *v1alpha1.WebhookEvent,
) (bool, error) {
	if e.CreationTimestamp.After(r.leadsSince.Add(takeoverMargin)) {
		return false, nil
	}
	d := &v1alpha1.WebhookDelivery{}
	if err := r.APIReader.Get(ctx, key, d); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	r.Ledger.Observe(d)
	return true, nil
}

// again looks at a stored delivery: a retry may be due, a resend asked for, or
// its time may be over. Metadata answers most requests; what is to be changed is
// read from the API server first.
func (r *Reconciler) again(
	ctx context.Context, request queue.Request, entry ledger.Entry, w *v1alpha1.Webhook,
) (reconcile.Result, error) {
	if w == nil && entry.WebhookUID != "" {
		return reconcile.Result{}, nil // it goes with its owner
	}
	blocked := w != nil && (paused(w) != nil || !w.DeletionTimestamp.IsZero())
	switch decision := retry.Decide(entry.State, w, blocked, r.Clock.Now()); {
	case w == nil && entry.State.Resend: // whoever asked for it is told why not
	case decision.Action == retry.Wait:
		return r.requeue(decision), nil
	case decision.Action == retry.Send && r.storer.failures.storeFailing(request.Key().Namespace):
		return reconcile.Result{RequeueAfter: refusedInterval}, nil
	}
	d := &v1alpha1.WebhookDelivery{}
	if err := r.APIReader.Get(ctx, request.Key(), d); err != nil {
		if apierrors.IsNotFound(err) {
			r.Ledger.Remove(request.Key(), "")
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r.Ledger.Observe(d)

	base := d.DeepCopy()
	if w == nil {
		return r.orphan(ctx, base, d)
	}
	decision := retry.Decide(delivery.StateOf(d), w, blocked, r.Clock.Now())
	if decision.Action != retry.Send {
		return r.waitOrGiveUp(ctx, base, d, decision)
	}
	if !delivery.Genuine(d, w) {
		log.FromContext(ctx).Info("Not sending delivery that was not made for its webhook", "webhook", w.Name, "delivery", d.Name)
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
	if !r.Queue.HasSlot(request) {
		r.Queue.Add(request) // it was pending when it was handed out, or has more time now
		return reconcile.Result{}, nil
	}
	if made, later, err := r.attempt(ctx, request, d, w, with, decision.Cause); !made || err != nil {
		return later, err
	}
	return r.storer.update(ctx, base, d)
}

// unsendable lets a delivery wait that cannot be sent, or gives it up when its time
// is over. A resend that was asked for does not count then: it would begin at once.
func (r *Reconciler) unsendable(
	ctx context.Context, base, d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook,
) (reconcile.Result, error) {
	state := delivery.StateOf(d)
	state.Resend = false
	return r.waitOrGiveUp(ctx, base, d, retry.Decide(state, w, true, r.Clock.Now()))
}

// Why a resend is refused.
const (
	orphaned   = "the delivery was orphaned: the webhook that it belonged to is gone, and no other one gets it"
	notGenuine = "the delivery was not made for the webhook that owns it"
)

// orphan gives up a delivery that waits although its Webhook is gone, and refuses
// resends of it.
func (r *Reconciler) orphan(ctx context.Context, base, d *v1alpha1.WebhookDelivery) (reconcile.Result, error) {
	if ownerOf(d) != "" { // since a moment ago; the ledger has told so
		return reconcile.Result{}, nil
	}
	return r.refuseResend(ctx, base, d, nil, orphaned)
}

// refuseResend is unsendable for what nothing can be sent of for good: a resend that
// was asked for is answered, once for each value.
func (r *Reconciler) refuseResend(
	ctx context.Context, base, d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, why string,
) (reconcile.Result, error) {
	if !delivery.ResendPending(d.Annotations) {
		return r.unsendable(ctx, base, d, w)
	}
	r.recordRefusedResend(d, why)
	delivery.RefuseResend(d)
	if decision := retry.Decide(delivery.StateOf(d), w, true, r.Clock.Now()); decision.Action == retry.GiveUp {
		delivery.GiveUp(d, decision.Reason, givenUp[decision.Reason], r.Clock.Now())
	}
	return r.storer.update(ctx, base, d)
}

func (r *Reconciler) waitOrGiveUp(
	ctx context.Context, base, d *v1alpha1.WebhookDelivery, decision retry.Decision,
) (reconcile.Result, error) {
	if decision.Action == retry.GiveUp {
		delivery.GiveUp(d, decision.Reason, givenUp[decision.Reason], r.Clock.Now())
		return r.storer.update(ctx, base, d)
	}
	return r.requeue(decision), nil
}

// requeue returns when to look at a delivery again that has to wait.
func (r *Reconciler) requeue(decision retry.Decision) reconcile.Result {
	if decision.Action != retry.Wait { // its time has come meanwhile
		return reconcile.Result{RequeueAfter: time.Millisecond}
	}
	if decision.At.IsZero() {
		return reconcile.Result{}
	}
	return reconcile.Result{RequeueAfter: max(decision.At.Sub(r.Clock.Now()), time.Millisecond)}
}
