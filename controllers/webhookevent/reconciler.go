// Package webhookevent fans events out: it makes a pending delivery for every Webhook that
// matches, and tells in the event's status what became of them.
package webhookevent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/rematch"
)

// countsInterval is how far apart writes of mere counts are.
const countsInterval = 10 * time.Second

// Writer writes the status of an event. It fails with a conflict where the one in store
// is not as base any more.
type Writer interface {
	PatchEventStatus(ctx context.Context, base, e *v1alpha1.WebhookEvent) error
}

// WriteLimiter makes a write when it is the turn of the event's namespace.
type WriteLimiter interface {
	Do(namespace string, write func() error) error
}

// Reconciler fans events out and keeps their status. These are two controllers: a status
// is a write, and nothing that is to be sent waits for one. Its exported fields are set
// before Setup.
type Reconciler struct {
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader client.Reader
	Clock     clock.PassiveClock
	Writer    Writer
	Limiter   WriteLimiter
	Ledger    *ledger.Ledger
	Events    *eventcache.Cache
	Enqueuer  *enqueue.Enqueuer
	Rematches *rematch.Set
	Filters   *matching.Filters
	// Handled counts the events that were worked on, by result.
	Handled *prometheus.CounterVec
	// SystemNamespace is empty where it is not watched.
	SystemNamespace string
	// MaxAge is the age beyond which an event that nobody worked on expires.
	MaxAge time.Duration

	// counted is when the counts of a waiting event were last written, by its UID.
	counted sync.Map
}

// Setup adds the controllers to a manager.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	for _, c := range []struct {
		name      string
		workers   int
		reconcile reconcile.TypedFunc[enqueue.Event]
		from      *enqueue.Source[enqueue.Event]
		begin     func(context.Context) error
	}{
		{"webhookevent", 4, r.FanOut, &r.Enqueuer.FanOut, r.enqueueUnfinishedEvents},
		{"webhookevent-filters", 2, r.AskFilters, &r.Enqueuer.Filters, r.enqueueUnfinishedEvents},
		{"webhookevent-status", 32, r.ReconcileStatus, &r.Enqueuer.EventStatus, r.enqueueStatuses},
	} {
		made, err := controller.NewTyped(c.name, mgr, controller.TypedOptions[enqueue.Event]{
			Reconciler:              c.reconcile,
			MaxConcurrentReconciles: c.workers,
			RateLimiter:             enqueue.Backoff[enqueue.Event](),
			NewQueue:                enqueue.ByNamespace(func(e enqueue.Event) string { return e.Namespace }),
		})
		if err != nil {
			return err
		}
		if err := made.Watch(c.from.OnStart(c.begin)); err != nil {
			return err
		}
	}
	return nil
}

// enqueueUnfinishedEvents enqueues, when this process has become the leader, all events that
// are not finished, the oldest first, and those that a Webhook may have missed. It does so
// for fan-out and for filters: where the other one had not started yet, nothing reached it.
func (r *Reconciler) enqueueUnfinishedEvents(ctx context.Context) error {
	if err := r.synced(ctx); err != nil {
		return err
	}
	var unfinished []eventcache.Event
	for e := range r.Events.All() {
		if !e.Finished {
			unfinished = append(unfinished, e)
		}
	}
	slices.SortFunc(unfinished, func(a, b eventcache.Event) int { return a.Created.Compare(b.Created) })
	for _, e := range unfinished {
		r.Enqueuer.EventAdded(e)
	}
	for _, uid := range r.Rematches.Events() {
		r.Enqueuer.EnqueueFanOut(uid)
	}
	return nil
}

// enqueueStatuses enqueues all events whose status may have to change: what happened
// before this controller had started was dropped.
func (r *Reconciler) enqueueStatuses(ctx context.Context) error {
	if err := r.synced(ctx); err != nil {
		return err
	}
	for e := range r.Events.All() {
		if !e.Finished || r.countsDiffer(e) || len(r.Rematches.Of(e.UID).Late()) > 0 {
			r.Enqueuer.EventUpdated(e)
		}
	}
	return nil
}

func (r *Reconciler) synced(ctx context.Context) error {
	if err := r.Events.WaitSynced(ctx); err != nil {
		return err
	}
	return r.Ledger.WaitSynced(ctx)
}

func (r *Reconciler) countsDiffer(e eventcache.Event) bool {
	return e.CountsDiffer(r.Ledger.OfEvent(e.UID))
}

// FanOut makes the pending deliveries that an event still lacks.
func (r *Reconciler) FanOut(ctx context.Context, request enqueue.Event) (reconcile.Result, error) {
	seen, err := r.observe(ctx, request.UID, time.Now)
	if seen == nil || err != nil {
		r.forgetGone(request.UID)
		return reconcile.Result{}, err
	}
	for _, w := range seen.plan.Missing {
		// Where there is no room, the ledger tells when there is some.
		r.Ledger.Add(types.NamespacedName{Namespace: w.Namespace, Name: delivery.Name(seen.event, w)}, seen.pendingOf(w))
	}
	switch {
	case seen.plan.Undecided:
		r.Enqueuer.Filters.Add(request)
	case len(seen.plan.Missing) == 0: // else the ledger tells when they are stored
		r.Enqueuer.EventStatus.Add(request)
	}
	return reconcile.Result{}, nil
}

// AskFilters asks all filters for an event that takes fan-out too long, and leads back there.
// No more of these events are under way at a time than there are workers, so that what their
// filters said is still known when fan-out asks for it.
func (r *Reconciler) AskFilters(ctx context.Context, request enqueue.Event) (reconcile.Result, error) {
	if _, err := r.observe(ctx, request.UID, nil); err != nil {
		return reconcile.Result{}, err
	}
	r.Enqueuer.FanOut.Add(request)
	return reconcile.Result{}, nil
}

// ReconcileStatus writes the status of an event where it differs.
func (r *Reconciler) ReconcileStatus(ctx context.Context, request enqueue.Event) (reconcile.Result, error) {
	seen, err := r.observe(ctx, request.UID, time.Now)
	if seen == nil || err != nil {
		r.forgetGone(request.UID)
		return reconcile.Result{}, err
	}
	if len(seen.plan.Missing) > 0 || seen.plan.Undecided { // again, it may be: a pending one was withdrawn
		r.Enqueuer.FanOut.Add(request)
	}
	if seen.plan.Undecided {
		return reconcile.Result{}, nil // fan-out leads here again
	}
	return r.write(ctx, seen)
}

// forgetGone forgets an event if it is gone.
func (r *Reconciler) forgetGone(uid types.UID) {
	if _, ok := r.Events.Get(uid); !ok {
		r.counted.Delete(uid)
		r.Rematches.Forget(uid)
	}
}

// observation is what was seen of an event, and what is to be done for it.
type observation struct {
	event *v1alpha1.WebhookEvent
	known eventcache.Event
	// late are the Webhooks that the event was, or may have been, dispatched without,
	// replays those of them that somebody wants it to be sent to.
	late, replays map[types.UID]bool
	entries       []ledger.Entry
	plan          fanout.Plan
}

// observe looks at an event. It returns nil if that is gone or going, or if it is
// finished and nothing about it has changed. now is what the turn of filters goes by.
func (r *Reconciler) observe(ctx context.Context, uid types.UID, now func() time.Time) (*observation, error) {
	// Read before the event: a delivery that goes in between is among those removed.
	entries := r.Ledger.OfEvent(uid)
	known, ok := r.Events.Get(uid)
	if !ok {
		return nil, nil
	}
	// Read before the Webhooks are listed: one that appears in between must not
	// count as late and yet be missing from the list.
	pairs := r.Rematches.Of(uid)
	late := pairs.Late()
	if known.Finished && len(late) == 0 && !r.countsDiffer(known) {
		return nil, nil
	}
	e, err := known.Load(ctx, r.APIReader)
	if err != nil {
		return nil, err
	}
	if e == nil || !e.DeletionTimestamp.IsZero() {
		r.Rematches.Forget(uid) // a finalizer may keep it for long
		return nil, nil
	}
	webhooks, err := r.candidates(ctx, e)
	if err != nil {
		return nil, err
	}
	plan := fanout.Make(fanout.View{
		Event: e, Webhooks: webhooks, Match: r.Filters.Turn(e, now).Match,
		Late: late, Replays: pairs.Replays, Entries: entries, Removed: known.Removed,
		MaxAge: r.MaxAge, Now: r.Clock.Now(),
	})
	return &observation{event: e, known: known, late: late, replays: pairs.Replays, entries: entries, plan: plan}, nil
}

// dealtWith are the late Webhooks that have their delivery, or get none.
func (o *observation) dealtWith() map[types.UID]bool {
	done := maps.Clone(o.late)
	for _, w := range o.plan.Missing {
		delete(done, w.UID)
	}
	for _, entry := range o.entries {
		if entry.Pending != nil {
			delete(done, entry.WebhookUID)
		}
	}
	return done
}

// candidates are the Webhooks of the event's namespace and of the system's.
func (r *Reconciler) candidates(ctx context.Context, e *v1alpha1.WebhookEvent) ([]v1alpha1.Webhook, error) {
	namespaces := []string{e.Namespace}
	if r.SystemNamespace != "" && e.Namespace != r.SystemNamespace {
		namespaces = append(namespaces, r.SystemNamespace)
	}
	var all []v1alpha1.Webhook
	for _, namespace := range namespaces {
		var list v1alpha1.WebhookList
		if err := r.Client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing webhooks: %w", err)
		}
		all = append(all, list.Items...)
	}
	return all, nil
}

func (o *observation) pendingOf(w *v1alpha1.Webhook) ledger.Pending {
	return ledger.Pending{
		Event: client.ObjectKeyFromObject(o.event), EventUID: o.event.UID,
		Webhook: client.ObjectKeyFromObject(w), WebhookUID: w.UID, Replay: o.replays[w.UID],
	}
}

// write stores a status that differs.
func (r *Reconciler) write(ctx context.Context, seen *observation) (reconcile.Result, error) {
	base, uid := seen.event, seen.event.UID
	switch fanout.Compare(base, seen.plan.Status) {
	case fanout.Same:
		r.Rematches.Settle(uid, seen.dealtWith())
		return reconcile.Result{}, nil
	case fanout.Minor:
		if last, ok := r.counted.Load(uid); ok {
			if wait := countsInterval - r.Clock.Since(last.(time.Time)); wait > 0 {
				return reconcile.Result{RequeueAfter: wait}, nil
			}
		}
	case fanout.Major:
	}
	e := base.DeepCopy()
	e.Status = seen.plan.Status
	err := r.Limiter.Do(e.Namespace, func() error { return r.Writer.PatchEventStatus(ctx, base, e) })
	if err != nil {
		// A conflict means that the cache lags behind.
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: time.Second}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("writing the status of event %s: %w", e.Name, err))
	}
	r.Events.Assume(e, seen.known.Removed)
	r.Rematches.Settle(uid, seen.dealtWith())
	if !fanout.Dispatched(base) && fanout.Dispatched(e) {
		r.count(e)
	}
	if fanout.Finished(e) {
		r.counted.Delete(uid)
	} else {
		r.counted.Store(uid, r.Clock.Now())
	}
	return reconcile.Result{}, nil
}

// count counts an event that nothing more is made of.
func (r *Reconciler) count(e *v1alpha1.WebhookEvent) {
	switch e.Status.Result {
	case v1alpha1.EventExpired:
		r.Handled.WithLabelValues(v1alpha1.ReasonExpired).Inc()
	case v1alpha1.EventUnmatched:
		r.Handled.WithLabelValues(v1alpha1.ReasonNothingToDeliver).Inc()
	case v1alpha1.EventPending, v1alpha1.EventWaiting, v1alpha1.EventSucceeded, v1alpha1.EventFailed:
		r.Handled.WithLabelValues(v1alpha1.ReasonDispatched).Inc()
	}
}
