package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/fair"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/record"
)

// countsInterval is how far apart writes of mere counts are.
const countsInterval = 10 * time.Second

// eventRequest asks for a look at an event.
type eventRequest struct {
	Namespace string
	UID       types.UID
}

// eventReconciler fans events out: it drafts a delivery for every Webhook that
// matches, and tells in the event's status what became of them. These are two
// controllers: a status is a write, and nothing that is to be sent waits for one.
type eventReconciler struct {
	*shared
	maxAge time.Duration

	// counted is when the counts of a waiting event were last written.
	counted sync.Map
}

func (r *eventReconciler) setup(mgr ctrl.Manager) error {
	for _, c := range []struct {
		name      string
		workers   int
		reconcile reconcile.TypedFunc[eventRequest]
		from      *inlet[eventRequest]
		begin     func(context.Context) error
	}{
		{"webhookevent", 4, r.fanOut, &r.router.fanOut, r.fanOutAll},
		{"webhookevent-status", 32, r.tell, &r.router.statuses, r.tellAll},
	} {
		made, err := controller.NewTyped(c.name, mgr, controller.TypedOptions[eventRequest]{
			Reconciler:              c.reconcile,
			MaxConcurrentReconciles: c.workers,
			RateLimiter:             failureBackoff[eventRequest](),
			NewQueue:                namespacesTakeTurns,
		})
		if err != nil {
			return err
		}
		if err := made.Watch(c.from.source(c.begin)); err != nil {
			return err
		}
	}
	return nil
}

// namespacesTakeTurns makes a queue in which a namespace with many events does not
// hold up the others. In a namespace, first come is first served: a priority queue
// would put what a start finds behind all that happens since.
func namespacesTakeTurns(
	name string, limiter workqueue.TypedRateLimiter[eventRequest],
) workqueue.TypedRateLimitingInterface[eventRequest] {
	turns := &fair.WorkQueue[eventRequest]{Key: func(r eventRequest) string { return r.Namespace }}
	base := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[eventRequest]{Name: name, Queue: turns})
	return queueOn(name, base, limiter)
}

// fanOutAll looks, when this process has become the leader, at all events that are
// not finished, the oldest first, and at those that a Webhook may have missed.
func (r *eventReconciler) fanOutAll(ctx context.Context) error {
	if err := r.synced(ctx); err != nil {
		return err
	}
	var open []eventcache.Event
	for e := range r.events.All() {
		if !e.Finished {
			open = append(open, e)
		}
	}
	slices.SortFunc(open, func(a, b eventcache.Event) int { return a.Created.Compare(b.Created) })
	for _, e := range open {
		r.router.fanOut.add(eventRequest{e.Key.Namespace, e.UID})
	}
	for _, uid := range r.rematches.all() {
		r.router.toEvent(&r.router.fanOut, uid)
	}
	return nil
}

// tellAll looks at all events that there is something to tell of: what was to be
// told before this controller had started was not heard.
func (r *eventReconciler) tellAll(ctx context.Context) error {
	if err := r.synced(ctx); err != nil {
		return err
	}
	for e := range r.events.All() {
		if !e.Finished || r.recount(e) {
			r.router.statuses.add(eventRequest{e.Key.Namespace, e.UID})
		}
	}
	return nil
}

func (r *eventReconciler) synced(ctx context.Context) error {
	if err := r.events.WaitSynced(ctx); err != nil {
		return err
	}
	return r.ledger.WaitSynced(ctx)
}

// recount tells whether the counts of an event are not those of its deliveries any
// more, such as after a resend.
func (r *shared) recount(e eventcache.Event) bool {
	counts, _ := fanout.Count(e.Counts, nil, e.Key.Namespace, r.ledger.OfEvent(e.UID), e.Removed)
	return counts != e.Counts
}

// fanOut drafts what an event still lacks.
func (r *eventReconciler) fanOut(ctx context.Context, request eventRequest) (reconcile.Result, error) {
	look, err := r.look(ctx, request.UID)
	if look == nil || err != nil {
		r.forgetGone(request.UID)
		return reconcile.Result{}, err
	}
	for _, w := range look.plan.Missing {
		// Where there is no room, the ledger tells when there is some.
		r.ledger.Add(types.NamespacedName{Namespace: w.Namespace, Name: record.Name(look.event, w)}, draftOf(look.event, w))
	}
	if len(look.plan.Missing) == 0 { // else the ledger tells when they are stored
		r.router.statuses.add(request)
	}
	return reconcile.Result{}, nil
}

// tell writes the status of an event.
func (r *eventReconciler) tell(ctx context.Context, request eventRequest) (reconcile.Result, error) {
	look, err := r.look(ctx, request.UID)
	if look == nil || err != nil {
		r.forgetGone(request.UID)
		return reconcile.Result{}, err
	}
	if len(look.plan.Missing) > 0 { // again, it may be: a draft was withdrawn
		r.router.fanOut.add(request)
	}
	return r.write(ctx, look)
}

// forgetGone forgets an event if it is gone.
func (r *eventReconciler) forgetGone(uid types.UID) {
	if _, ok := r.events.Get(uid); !ok {
		r.counted.Delete(uid)
		r.rematches.forget(uid)
	}
}

// look is what was seen of an event, and what is to be done for it.
type look struct {
	event   *v1alpha1.WebhookEvent
	known   eventcache.Event
	late    map[types.UID]bool
	entries []ledger.Entry
	plan    fanout.Plan
}

// look looks at an event. It returns nil if that is gone or going, or if it is
// finished and nothing about it has changed.
func (r *eventReconciler) look(ctx context.Context, uid types.UID) (*look, error) {
	// Read before the event: a record that goes in between is among those removed.
	entries := r.ledger.OfEvent(uid)
	known, ok := r.events.Get(uid)
	if !ok {
		return nil, nil
	}
	// Read before the Webhooks are listed: one that appears in between must not
	// count as late and yet be missing from the list.
	late := r.rematches.of(uid)
	if known.Finished && len(late) == 0 && !r.recount(known) {
		return nil, nil
	}
	e, err := r.whole(ctx, known)
	if err != nil || e == nil || !e.DeletionTimestamp.IsZero() {
		return nil, err
	}
	webhooks, err := r.candidates(ctx, e)
	if err != nil {
		return nil, err
	}
	plan := fanout.Make(fanout.View{
		Event: e, Webhooks: webhooks, Late: late, Entries: entries, Removed: known.Removed,
		MaxAge: r.maxAge, Now: r.clock.Now(),
	})
	return &look{event: e, known: known, late: late, entries: entries, plan: plan}, nil
}

// whole returns all of an event, which is only to be read, or nil if it is gone.
func (r *shared) whole(ctx context.Context, known eventcache.Event) (*v1alpha1.WebhookEvent, error) {
	if known.Object != nil {
		return known.Object, nil
	}
	e := &v1alpha1.WebhookEvent{}
	if err := r.live.Get(ctx, known.Key, e); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if e.UID != known.UID {
		return nil, nil
	}
	return e, nil
}

// dealtWith are the late Webhooks that have their delivery, or get none.
func (l *look) dealtWith() map[types.UID]bool {
	done := maps.Clone(l.late)
	for _, w := range l.plan.Missing {
		delete(done, w.UID)
	}
	for _, entry := range l.entries {
		if entry.Draft != nil {
			delete(done, entry.WebhookUID)
		}
	}
	return done
}

// candidates are the Webhooks of the event's namespace and of the system's.
func (r *eventReconciler) candidates(ctx context.Context, e *v1alpha1.WebhookEvent) ([]v1alpha1.Webhook, error) {
	namespaces := []string{e.Namespace}
	if r.systemNamespace != "" && e.Namespace != r.systemNamespace {
		namespaces = append(namespaces, r.systemNamespace)
	}
	var all []v1alpha1.Webhook
	for _, namespace := range namespaces {
		var list v1alpha1.WebhookList
		if err := r.client.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing webhooks: %w", err)
		}
		all = append(all, list.Items...)
	}
	return all, nil
}

func draftOf(e *v1alpha1.WebhookEvent, w *v1alpha1.Webhook) ledger.Draft {
	return ledger.Draft{
		Event: client.ObjectKeyFromObject(e), EventUID: e.UID,
		Webhook: client.ObjectKeyFromObject(w), WebhookUID: w.UID,
	}
}

// write stores a status that differs.
func (r *eventReconciler) write(ctx context.Context, look *look) (reconcile.Result, error) {
	base, uid := look.event, look.event.UID
	switch fanout.Compare(base, look.plan.Status) {
	case fanout.Same:
		r.rematches.settle(uid, look.dealtWith())
		return reconcile.Result{}, nil
	case fanout.Minor:
		if last, ok := r.counted.Load(uid); ok {
			if wait := countsInterval - r.clock.Since(last.(time.Time)); wait > 0 {
				return reconcile.Result{RequeueAfter: wait}, nil
			}
		}
	case fanout.Major:
	}
	e := base.DeepCopy()
	e.Status = look.plan.Status
	err := r.writes.Do(e.Namespace, func() error { return r.writer.PatchEventStatus(ctx, base, e) })
	if err != nil {
		// A conflict means that the cache lags behind.
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: time.Second}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("writing the status of event %s: %w", e.Name, err))
	}
	r.events.Assume(e, look.known.Removed)
	r.rematches.settle(uid, look.dealtWith())
	if !fanout.Dispatched(base) && fanout.Dispatched(e) {
		r.meters.event(e)
	}
	if fanout.Finished(e) {
		r.counted.Delete(uid)
	} else {
		r.counted.Store(uid, r.clock.Now())
	}
	return reconcile.Result{}, nil
}
