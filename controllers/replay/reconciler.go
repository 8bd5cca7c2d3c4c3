// Package replay catches Webhooks up: it holds one that is annotated with a time against
// the events since then, the oldest first, and has those fanned out to it that it follows
// and has no delivery for.
package replay

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/rematch"
	"github.com/horizoncd/webhook-operator/internal/replay"
)

const (
	// statusInterval is how far apart writes of numbers are. What a process that ends
	// has done since the last one is looked at again.
	statusInterval = 5 * time.Second
	// margin is how much later than the beginning events may have been created that a
	// replay looks at, and how much earlier its own deliveries: the clocks of the API
	// servers may differ. What comes after it is fanned out as always.
	margin = 15 * time.Second
)

// Reconciler replays events. The progress of a replay is in memory, and in the status of
// its Webhook for whoever takes over. Its exported fields are set before Setup.
type Reconciler struct {
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader client.Reader
	Clock     clock.PassiveClock
	Recorder  events.EventRecorder
	Ledger    *ledger.Ledger
	Events    *eventcache.Cache
	Enqueuer  *enqueue.Enqueuer
	Rematches *rematch.Set
	// SystemNamespace is empty where it is not watched.
	SystemNamespace string
	// MaxAge is the age beyond which an event that nobody worked on expires.
	MaxAge time.Duration
	// Settling is how long after its beginning a replay may end, and how long before it
	// events are old that are looked at until then: watches of different kinds are not
	// ordered, so an event from before it may be seen a while after it.
	Settling time.Duration

	// runs are of *run, by the name of the Webhook.
	runs sync.Map
}

// run is a replay that is under way. One worker at a time has it.
type run struct {
	webhook types.UID
	// status is what is in store, and written when this process wrote numbers into it.
	status  *v1alpha1.ReplayStatus
	written time.Time
	*replay.Progress
	// next are the events to look at next, and more is how many come after these.
	next []eventcache.Position
	more int
	// reached is until when all events were looked at, last.
	reached time.Time
	// resumed is set where deliveries of this replay may be in store already.
	resumed bool
	// lastAttempt is the latest attempt to the Webhook before the replay, as far as it is
	// known.
	lastAttempt time.Time
	// began is when the Webhook was found to take events, last; zero while it does not.
	began time.Time
}

// Setup adds the controller to a manager.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	asked := predicate.NewPredicateFuncs(func(o client.Object) bool {
		w, ok := o.(*v1alpha1.Webhook)
		return ok && replay.Asked(w)
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("replay").
		For(&v1alpha1.Webhook{}, builder.WithPredicates(asked)).
		WatchesRawSource(r.Enqueuer.Replays.OnStart(r.begin)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 2,
			RateLimiter:             enqueue.Backoff[reconcile.Request](),
			NewQueue:                enqueue.ByNamespace(func(w reconcile.Request) string { return w.Namespace }),
		}).
		Complete(r)
}

// begin waits until the events and deliveries in store are known.
func (r *Reconciler) begin(ctx context.Context) error {
	if err := r.Events.WaitSynced(ctx); err != nil {
		return err
	}
	return r.Ledger.WaitSynced(ctx)
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	w := &v1alpha1.Webhook{}
	err := r.Client.Get(ctx, request.NamespacedName, w)
	if apierrors.IsNotFound(err) || err == nil && !w.DeletionTimestamp.IsZero() {
		r.forget(request.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	run := r.run(request.NamespacedName)
	if run == nil || run.webhook != w.UID || run.status.Value != replay.ValueOf(w) {
		run, w, err = r.start(ctx, request.NamespacedName)
		if run == nil || err != nil {
			return againOnConflict(err)
		}
	}
	planned, again, err := r.advance(ctx, w, run)
	if err != nil {
		return reconcile.Result{}, err
	}
	result, err := r.write(ctx, w, run, planned)
	return sooner(result, again), err
}

// againOnConflict lets a write be made again that somebody else came before.
func againOnConflict(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

// sooner returns a result that comes after a time, unless it does before. Zero is
// never.
func sooner(result reconcile.Result, after time.Duration) reconcile.Result {
	if after > 0 && (result.RequeueAfter == 0 || after < result.RequeueAfter) {
		result.RequeueAfter = after
	}
	return result
}

// start begins a replay, goes on with one, or stops it. It returns nil where there is
// nothing more to do. What was written last counts, by whichever process, so it reads the
// Webhook from the API server.
func (r *Reconciler) start(ctx context.Context, name types.NamespacedName) (*run, *v1alpha1.Webhook, error) {
	w := &v1alpha1.Webhook{}
	if err := r.APIReader.Get(ctx, name, w); err != nil {
		return nil, nil, err
	}
	was, known := w.Status.Replay, r.run(name)
	if known != nil && (known.webhook != w.UID || was == nil || was.Value != known.status.Value) {
		known = nil // another one
	}
	if known != nil {
		was = known.describe(was.State, was.Message)
	}
	now := r.Clock.Now()
	planned := replay.Begin(was, replay.ValueOf(w), now)
	if !equality.Semantic.DeepEqual(w.Status.Replay, planned) {
		if err := r.store(ctx, w, planned); err != nil {
			return nil, nil, err
		}
	}
	if replay.Ended(planned) {
		r.forget(name)
		if planned != was && planned.State == v1alpha1.ReplayInvalid {
			r.Recorder.Eventf(w, nil, corev1.EventTypeWarning, "ReplayInvalid", "Replay",
				"nothing is replayed: the annotation %s: %s", v1alpha1.AnnotationReplaySince, planned.Message)
		}
		return nil, nil, nil
	}
	since, err := replay.Since(planned.Value, now)
	if err != nil {
		return nil, nil, fmt.Errorf("going on with the replay of webhook %s: %w", w.Name, err)
	}
	begun := &run{
		webhook: w.UID, status: planned, more: int(planned.Remaining), resumed: was != nil && was.Value == planned.Value,
		Progress: replay.Resume(planned, eventcache.Position{Created: since}),
	}
	if known != nil && begun.resumed {
		begun.lastAttempt = known.lastAttempt
	} else {
		counts := r.Ledger.CountsOf(name, w.UID)
		begun.lastAttempt = replay.LastAttempt(w, planned, begun.resumed, counts.Succeeded+counts.Failed)
	}
	r.runs.Store(name, begun)
	r.Enqueuer.FollowReplay(name)
	return begun, w, nil
}

// describe returns what the status says of a run.
func (run *run) describe(state v1alpha1.ReplayState, message string) *v1alpha1.ReplayStatus {
	s := run.status.DeepCopy()
	s.State, s.Message = state, message
	s.Remaining = int32(len(run.next) + run.more) //nolint:gosec // events fit
	run.Describe(s)
	return s
}

// write stores a status that differs: its end at once, all else not more often than every
// few seconds.
func (r *Reconciler) write(
	ctx context.Context, w *v1alpha1.Webhook, run *run, planned *v1alpha1.ReplayStatus,
) (reconcile.Result, error) {
	if equality.Semantic.DeepEqual(run.status, planned) {
		return reconcile.Result{}, nil
	}
	now := r.Clock.Now()
	if wait := statusInterval - now.Sub(run.written); wait > 0 && !replay.Ended(planned) {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	if err := r.store(ctx, w.DeepCopy(), planned); err != nil {
		return againOnConflict(err) // the cache lags behind
	}
	run.status, run.written = planned, now
	if replay.Ended(planned) {
		r.forget(client.ObjectKeyFromObject(w))
	}
	return reconcile.Result{}, nil
}

// store writes a status, unless the Webhook has changed since it was read.
func (r *Reconciler) store(ctx context.Context, w *v1alpha1.Webhook, planned *v1alpha1.ReplayStatus) error {
	base := w.DeepCopy()
	w.Status.Replay = planned
	if err := r.Client.Status().Patch(ctx, w, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing the replay of webhook %s: %w", w.Name, err)
	}
	return nil
}

func (r *Reconciler) run(name types.NamespacedName) *run {
	known, ok := r.runs.Load(name)
	if !ok {
		return nil
	}
	return known.(*run)
}

func (r *Reconciler) forget(name types.NamespacedName) {
	r.runs.Delete(name)
	r.Enqueuer.UnfollowReplay(name)
}
