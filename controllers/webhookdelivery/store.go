package webhookdelivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/ledger"
)

// Writer stores deliveries. A patch fails with a conflict where the one in store is not
// as base any more: a process that only believes in its lease does not write over newer
// attempts.
type Writer interface {
	CreateDelivery(ctx context.Context, d *v1alpha1.WebhookDelivery) error
	PatchDelivery(ctx context.Context, base, d *v1alpha1.WebhookDelivery) error
	// LastWrite returns when the last write succeeded.
	LastWrite() time.Time
}

// WriteLimiter makes a write when it is the turn of the event's namespace.
type WriteLimiter interface {
	Do(namespace string, write func() error) error
}

// goingTimeout bounds a try to store a delivery whose Webhook is being deleted.
const goingTimeout = 5 * time.Second

// storer stores deliveries. What was sent once must be stored once, so it settles lost
// answers instead of repeating them, tries again while the API server cannot answer, and
// keeps what it refuses until it takes it.
type storer struct {
	client    client.Client
	apiReader client.Reader
	clock     clock.Clock
	recorder  events.EventRecorder
	writer    Writer
	limiter   WriteLimiter
	ledger    *ledger.Ledger
	events    *eventcache.Cache
	metrics   *Metrics
	failures  writeFailures
	// drain is for how long it goes on when the operator is told to stop.
	drain       time.Duration
	refuseAfter time.Duration
	// leaseRenewed returns when the lease was last renewed; nil without a lease.
	leaseRenewed func() time.Time

	// underway are the writes that a worker is about to make, with what ends that.
	underway sync.Map
}

// storeMargin is what deliveries get, after the last request has ended, to be stored when
// the operator stops.
const storeMargin = 4 * time.Second

func (r *Reconciler) newStorer() *storer {
	return &storer{
		client: r.Client, apiReader: r.APIReader, clock: r.Clock, recorder: r.Recorder, writer: r.Writer, limiter: r.Limiter,
		ledger: r.Ledger, events: r.Events, metrics: r.Metrics,
		drain: r.Drain + storeMargin, refuseAfter: r.RefuseAfter, leaseRenewed: r.LeaseRenewed,
	}
}

// write is a write that is to be made.
type write struct {
	// base is what is in store; nil if nothing is.
	base     *v1alpha1.WebhookDelivery
	delivery *v1alpha1.WebhookDelivery
	// operation is "create" or "update", as it was asked for.
	operation string
	// owner is the UID of the Webhook that the delivery goes with; empty for an orphan.
	owner types.UID
	// deleted is set once it turned out that somebody has deleted the delivery.
	deleted bool
	// postponed is how often the worker has left the write and gone on.
	postponed int
	// begun is when the first try was made, and failing when the first one failed.
	begun, failing time.Time
}

// retryDelays space the tries while the API server cannot answer.
func retryDelays() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 1 << 30, Cap: 5 * time.Second}
}

// create stores a delivery for the first time.
func (s *storer) create(ctx context.Context, d *v1alpha1.WebhookDelivery) (reconcile.Result, error) {
	return s.store(ctx, &write{delivery: d, operation: "create", owner: ownerOf(d), begun: s.clock.Now()})
}

// update stores what was added to a delivery. base is the delivery as it was read.
func (s *storer) update(ctx context.Context, base, d *v1alpha1.WebhookDelivery) (reconcile.Result, error) {
	return s.store(ctx, &write{base: base, delivery: d, operation: "update", owner: ownerOf(d), begun: s.clock.Now()})
}

// resume goes on with a delivery that could not be stored. done is false where there is
// none.
func (s *storer) resume(ctx context.Context, key types.NamespacedName) (done bool, _ reconcile.Result, _ error) {
	w, ok := s.failures.write(key)
	if !ok {
		return false, reconcile.Result{}, nil
	}
	result, err := s.store(ctx, w)
	return true, result, err
}

// store tries until the delivery is stored or refused, or its Webhook is gone. The
// worker keeps its slot meanwhile: while nothing can be stored, nothing more is
// sent.
func (s *storer) store(ctx context.Context, w *write) (reconcile.Result, error) {
	ctx, cancel := withGracePeriod(ctx, s.drain)
	defer cancel()
	s.underway.Store(w, cancel)
	defer s.underway.Delete(w)
	if w.postponed > 0 && s.ownerGone(w) { // a finalizer keeps it; nobody will say so again
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, goingTimeout)
		defer done()
	}
	delays := retryDelays()
	for {
		err := s.try(ctx, w)
		outcome := classify(err)
		switch {
		case outcome == stored:
			s.done(w)
			return reconcile.Result{}, nil
		case outcome == tooLarge && delivery.Shrink(w.delivery):
			continue
		}
		s.failed(w, err)
		switch {
		case s.ownerGone(w):
			return s.later(w), nil
		case outcome != unanswered || s.stuck(w, err):
			return s.postpone(ctx, w, err), nil
		}
		timer := s.clock.NewTimer(delays.Step())
		select {
		case <-ctx.Done():
			timer.Stop()
			if s.ownerGone(w) {
				return s.later(w), nil
			}
			return reconcile.Result{}, fmt.Errorf("storing delivery %s: %w", w.delivery.Name, err)
		case <-timer.C():
		}
	}
}

// failed keeps a write that a try has failed for.
func (s *storer) failed(w *write, err error) {
	now := s.clock.Now()
	if w.failing.IsZero() {
		w.failing = now
	}
	s.failures.keep(w)
	if !errors.Is(err, errAgain) {
		s.failures.failed(w.delivery.Namespace, now)
	}
}

// stuck tells whether to leave a delivery that the API server gives no good answer
// for: it has had none for refuseAfter, or none of its namespace had, in which
// the API server stored other things, or says itself that it is another server that
// fails. If it stores nothing at all, or asks for fewer requests, waiting is right.
func (s *storer) stuck(w *write, err error) bool {
	if apierrors.IsTooManyRequests(err) {
		return false
	}
	if w.postponed > 0 {
		return true
	}
	now := s.clock.Now()
	if now.Sub(s.lastWrite()) > answersWithin && !admissionFailed(err) {
		s.failures.storesNothing(now)
	}
	return now.Sub(s.failures.since(w)) >= s.refuseAfter
}

// lastWrite is when the API server has last stored something for this process.
func (s *storer) lastWrite() time.Time {
	last := s.writer.LastWrite()
	if s.leaseRenewed != nil {
		if renewed := s.leaseRenewed(); renewed.After(last) {
			return renewed
		}
	}
	return last
}

// try makes one write. Where the answer says that somebody else was there, it
// reads what is in store and settles the difference.
func (s *storer) try(ctx context.Context, w *write) error {
	attempted := w.delivery.DeepCopy()
	err := s.writeLimited(ctx, w.base, attempted)
	switch {
	case err == nil:
		w.delivery = attempted
		return nil
	case denied(err): // whatever code an admission webhook denies it with
		return err
	case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err), apierrors.IsNotFound(err) && w.base != nil:
		return s.compare(ctx, w, err)
	}
	return err
}

// writeLimited makes a write when it is the turn of the event's namespace, whoever
// follows it.
func (s *storer) writeLimited(ctx context.Context, base, d *v1alpha1.WebhookDelivery) error {
	return s.limiter.Do(d.Spec.EventRef.Namespace, func() error {
		if base == nil {
			return s.writer.CreateDelivery(ctx, d)
		}
		return s.writer.PatchDelivery(ctx, base, d)
	})
}

// compare settles the difference between what is in store and what was to be
// stored, which a write was answered with conflict for.
func (s *storer) compare(ctx context.Context, w *write, conflict error) error {
	current := &v1alpha1.WebhookDelivery{}
	err := s.apiReader.Get(ctx, client.ObjectKeyFromObject(w.delivery), current)
	if apierrors.IsNotFound(err) && w.base == nil {
		return fmt.Errorf("%w: %w", errAgain, conflict) // it was deleted between the two
	}
	if apierrors.IsNotFound(err) {
		w.deleted = true
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case !delivery.SameDelivery(current, w.delivery):
		return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource(),
			w.delivery.Name, fmt.Errorf("another object has this name"))
	case delivery.SameAttempts(current, w.delivery):
		w.delivery = current // the answer to an earlier try was lost
		return nil
	case w.base == nil && len(current.Status.History) == 0, w.base != nil && delivery.SameAttempts(current, w.base):
		// Only labels, annotations or a note that it waits have changed.
		w.base = current
		next := current.DeepCopy()
		delivery.CarryOver(w.delivery, next)
		w.delivery = next
		return fmt.Errorf("%w: %w", errAgain, conflict)
	default:
		// Another process has gone on with the delivery. What it wrote stands.
		log.FromContext(ctx).Info("Delivery was sent by two processes", "namespace", w.delivery.Namespace, "delivery", w.delivery.Name)
		w.delivery = current
		return nil
	}
}

// errAgain makes store try again with what compare has found. Not at once: a
// server that always finds a conflict must not be asked without end.
var errAgain = errors.New("the delivery has changed meanwhile")

func (s *storer) done(w *write) {
	key := client.ObjectKeyFromObject(w.delivery)
	s.failures.drop(key)
	s.failures.stored(w.delivery.Namespace)
	if w.deleted {
		s.ledger.Remove(key, "")
		return
	}
	s.ledger.Assume(w.delivery)
	if w.base == nil || !delivery.SameAttempts(w.base, w.delivery) {
		recordFailure(s.recorder, w.delivery)
	}
	s.metrics.stored(w.operation, w.base, w.delivery, s.clock.Since(w.begun))
}

// drop gives up a delivery that could not be stored and whose Webhook is gone, often
// with its namespace. The event is to tell how it went.
func (s *storer) drop(e ledger.Entry) {
	w := s.failures.drop(e.Key)
	if w != nil {
		s.failures.stored(e.Key.Namespace)
	}
	switch {
	case e.Pending == nil:
	case w != nil:
		s.events.DeliveryRemoved(e.EventUID, e.Key, w.delivery.Status.Result)
	case e.Pending.Refused != "":
		s.events.DeliveryRemoved(e.EventUID, e.Key, v1alpha1.DeliveryWaiting)
	}
}

// postpone tells that the API server refuses a delivery, and frees the worker. The
// event's status says why.
func (s *storer) postpone(ctx context.Context, w *write, err error) reconcile.Result {
	key := client.ObjectKeyFromObject(w.delivery)
	s.metrics.refused.Inc()
	s.ledger.Amend(key, func(d *ledger.Pending) { d.Refused = refusal(err) })
	if n := s.failures.failed(key.Namespace, s.clock.Now()); n.first() && w.postponed == 0 {
		log.FromContext(ctx).Error(err, "Failed to store delivery; others of its namespace are not logged until one is stored",
			"namespace", key.Namespace, "delivery", key.Name)
	}
	return s.later(w)
}

// later frees the worker; the write is tried again ever more rarely.
func (s *storer) later(w *write) reconcile.Result {
	delay := min(time.Second<<min(w.postponed, 6), time.Minute)
	w.postponed++
	return reconcile.Result{RequeueAfter: delay}
}

// ownerOf returns the UID of the Webhook that a delivery goes with.
func ownerOf(d *v1alpha1.WebhookDelivery) types.UID {
	for _, owner := range d.OwnerReferences {
		if owner.Kind == "Webhook" {
			return owner.UID
		}
	}
	return ""
}

// ownerGone tells whether the Webhook of a delivery is gone or going, and the delivery
// with it.
func (s *storer) ownerGone(w *write) bool {
	if w.owner == "" {
		return false
	}
	owner := &v1alpha1.Webhook{}
	err := s.client.Get(context.Background(), types.NamespacedName{Namespace: w.delivery.Namespace, Name: w.delivery.Spec.WebhookRef.Name}, owner)
	return apierrors.IsNotFound(err) || err == nil && (owner.UID != w.owner || !owner.DeletionTimestamp.IsZero())
}

// followWebhooks frees the workers that try to store deliveries of a Webhook when that
// is deleted.
func (s *storer) followWebhooks(webhooks cache.Cache) error {
	informer, err := webhooks.GetInformer(context.Background(), &v1alpha1.Webhook{}, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, now any) {
			was, is := before.(*v1alpha1.Webhook), now.(*v1alpha1.Webhook)
			if was.UID != is.UID || was.DeletionTimestamp.IsZero() && !is.DeletionTimestamp.IsZero() {
				s.ownerLeft(was.UID)
			}
		},
		DeleteFunc: func(last any) {
			if unknown, ok := last.(toolscache.DeletedFinalStateUnknown); ok {
				last = unknown.Obj
			}
			if was, ok := last.(*v1alpha1.Webhook); ok {
				s.ownerLeft(was.UID)
			}
		},
	})
	return err
}

func (s *storer) ownerLeft(uid types.UID) {
	s.underway.Range(func(w, cancel any) bool {
		if w.(*write).owner == uid {
			cancel.(context.CancelFunc)()
		}
		return true
	})
}
