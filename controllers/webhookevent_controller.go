package controllers

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/dispatch"
	"github.com/horizoncd/webhook-operator/internal/fairqueue"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/record"
)

const (
	// lateWindow is how young a Webhook has to be, when the operator starts, to
	// be held against the events that were dispatched before.
	lateWindow = 10 * time.Minute
	// countsInterval is how far apart writes of mere counts are.
	countsInterval = 10 * time.Second
)

// eventReconciler fans events out: it drafts a delivery for every Webhook that
// matches, and tells in the event's status what became of them. These are two
// controllers: a status is a write, and nothing that is to be sent waits for one.
type eventReconciler struct {
	*shared
	// systemNamespace is empty where it is not watched.
	systemNamespace string
	maxAge          time.Duration
	ttl             time.Duration

	late   lateWebhooks
	writes ownWrites[*v1alpha1.WebhookEvent]
	// counted is when the counts of a waiting event were last written.
	counted sync.Map
}

func (r *eventReconciler) setup(mgr ctrl.Manager) error {
	options := func(workers int) controller.Options {
		return controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             failureBackoff[reconcile.Request](),
			NewQueue:                namespacesTakeTurns,
		}
	}
	if err := ctrl.NewControllerManagedBy(mgr).
		Named("webhookevent").
		Watches(&v1alpha1.WebhookEvent{}, r.followEvents()).
		Watches(&v1alpha1.Webhook{}, handler.Funcs{CreateFunc: r.webhookAppeared}).
		WatchesRawSource(r.router.events.source(r.ledger.WaitSynced)).
		WithOptions(options(4)).
		Complete(reconcile.Func(r.fanOut)); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("webhookevent-status").
		WatchesRawSource(r.router.statuses.source(r.tellAll)).
		WithOptions(options(32)).
		Complete(reconcile.Func(r.tell))
}

// namespacesTakeTurns makes a queue in which a namespace with many events does not
// hold up the others. In a namespace, first come is first served: a priority queue
// would put what a start finds behind all that happens since.
func namespacesTakeTurns(
	name string, limiter workqueue.TypedRateLimiter[reconcile.Request],
) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	turns := &fairqueue.Turns[reconcile.Request]{NamespaceOf: func(r reconcile.Request) string { return r.Namespace }}
	base := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[reconcile.Request]{Name: name, Queue: turns})
	return queueOn(name, base, limiter)
}

// followEvents fans out what appears, looks at what has changed, and keeps the names
// of events for the ledger.
func (r *eventReconciler) followEvents() handler.EventHandler {
	request := func(e client.Object) reconcile.Request {
		key := client.ObjectKeyFromObject(e)
		r.router.keys.Store(e.GetUID(), key)
		return reconcile.Request{NamespacedName: key}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			queue.Add(request(e.Object))
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if now := e.ObjectNew.(*v1alpha1.WebhookEvent); !r.writes.seen(now) {
				r.router.statuses.add(request(now))
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			uid := e.Object.GetUID()
			r.router.keys.Delete(uid)
			r.counted.Delete(uid)
			r.writes.forget(uid)
			r.late.forget(uid)
		},
	}
}

// webhookAppeared holds a new Webhook against the events that may have overtaken
// it: watches of different kinds are not ordered. So does a start for Webhooks
// that are young: the process before may have dispatched events without having
// seen them.
func (r *eventReconciler) webhookAppeared(
	ctx context.Context, e event.CreateEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request],
) {
	if e.IsInInitialList && r.clock.Since(e.Object.GetCreationTimestamp().Time) >= lateWindow {
		return
	}
	if err := r.holdAgainstPast(ctx, e.Object.(*v1alpha1.Webhook)); err != nil {
		log.FromContext(ctx).Error(err, "a new webhook could not be held against past events", "webhook", e.Object.GetName())
	}
}

func (r *eventReconciler) holdAgainstPast(ctx context.Context, w *v1alpha1.Webhook) error {
	var scope []client.ListOption
	if w.Namespace != r.systemNamespace {
		scope = append(scope, client.InNamespace(w.Namespace))
	}
	events, err := r.events(ctx, scope...)
	if err != nil {
		return err
	}
	for i := range events {
		e := &events[i]
		if _, ok := matching.Match(w, e); ok {
			r.late.add(e.UID, w.UID)
			r.router.events.add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e)})
		}
	}
	return nil
}

// fanOut drafts what an event still lacks.
func (r *eventReconciler) fanOut(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	e, plan, late, err := r.plan(ctx, request)
	if e == nil || err != nil {
		return reconcile.Result{}, err
	}
	r.addDrafts(e, plan.Missing, late)
	r.late.settle(e.UID, late)
	if len(plan.Missing) == 0 { // else the ledger tells when they are stored
		r.router.statuses.add(request)
	}
	return reconcile.Result{}, nil
}

// tellAll looks at all events: what was to be told before this controller had
// started was not heard.
func (r *eventReconciler) tellAll(ctx context.Context) error {
	if err := r.ledger.WaitSynced(ctx); err != nil {
		return err
	}
	events, err := r.events(ctx)
	if err != nil {
		return err
	}
	for i := range events {
		r.router.statuses.add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&events[i])})
	}
	return nil
}

// tell writes the status of an event, and sees to its end.
func (r *eventReconciler) tell(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	e, plan, _, err := r.plan(ctx, request)
	if e == nil || err != nil {
		return reconcile.Result{}, err
	}
	if len(plan.Missing) > 0 { // again, it may be: somebody has deleted a record
		r.router.events.add(request)
	}
	return r.write(ctx, e, plan)
}

// plan returns an event, nil if it is gone or going, what is to be done for it, and
// the Webhooks that this takes in although they appeared late.
func (r *eventReconciler) plan(
	ctx context.Context, request reconcile.Request,
) (*v1alpha1.WebhookEvent, dispatch.Plan, map[types.UID]bool, error) {
	e := &v1alpha1.WebhookEvent{}
	if err := r.client.Get(ctx, request.NamespacedName, e); err != nil {
		return nil, dispatch.Plan{}, nil, client.IgnoreNotFound(err)
	}
	if !e.DeletionTimestamp.IsZero() {
		return nil, dispatch.Plan{}, nil, nil
	}
	e = r.writes.of(e)
	// Read before the Webhooks are listed: one that appears in between must not
	// count as late and yet be missing from the list.
	late := maps.Clone(r.late.of(e.UID))
	webhooks, err := r.candidates(ctx, e)
	if err != nil {
		return nil, dispatch.Plan{}, nil, err
	}
	return e, dispatch.Make(dispatch.View{
		Event: e, Webhooks: webhooks, Late: late, Entries: r.ledger.OfEvent(e.UID),
		MaxAge: r.maxAge, Now: r.clock.Now(),
	}), late, nil
}

// addDrafts takes those for which there is no room out of what is dealt with; the
// ledger tells when there is some. The others are: if they stayed, one whose record
// retention has deleted meanwhile would be drafted again.
func (r *eventReconciler) addDrafts(e *v1alpha1.WebhookEvent, webhooks []*v1alpha1.Webhook, dealtWith map[types.UID]bool) {
	for _, w := range webhooks {
		key := types.NamespacedName{Namespace: w.Namespace, Name: record.Name(e, w)}
		if !r.ledger.Add(key, draftOf(e, w)) {
			delete(dealtWith, w.UID)
		}
	}
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

// write stores a status that differs, or removes an event whose time is over.
func (r *eventReconciler) write(ctx context.Context, e *v1alpha1.WebhookEvent, plan dispatch.Plan) (reconcile.Result, error) {
	switch dispatch.Compare(e, plan.Status) {
	case dispatch.Same:
		return r.expire(ctx, e, len(plan.Missing) > 0)
	case dispatch.Minor:
		if last, ok := r.counted.Load(e.UID); ok {
			if wait := countsInterval - r.clock.Since(last.(time.Time)); wait > 0 {
				return reconcile.Result{RequeueAfter: wait}, nil
			}
		}
	case dispatch.Major:
	}
	base := e.DeepCopy()
	e.Status = plan.Status
	ended := !dispatch.Dispatched(base) && dispatch.Dispatched(e)
	err := r.courtesy.Do(e.Namespace, func() error { return r.writer.PatchEventStatus(ctx, base, e) })
	if err != nil {
		// A conflict means that the cache lags behind.
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: time.Second}, nil
		}
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("writing the status of event %s: %w", e.Name, err))
	}
	r.writes.put(e)
	if ended {
		r.meters.event(e)
	}
	if dispatch.Finished(e) {
		r.counted.Delete(e.UID)
	} else {
		r.counted.Store(e.UID, r.clock.Now())
	}
	return r.expire(ctx, e, len(plan.Missing) > 0)
}

// expire deletes an event some time after nothing more happens to it.
func (r *eventReconciler) expire(ctx context.Context, e *v1alpha1.WebhookEvent, missing bool) (reconcile.Result, error) {
	if !dispatch.Finished(e) || missing || r.ttl <= 0 {
		return reconcile.Result{}, nil
	}
	if wait := r.ttl - r.clock.Since(e.CreationTimestamp.Time); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	err := r.client.Delete(ctx, e, client.Preconditions{UID: &e.UID})
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

// lateWebhooks are pairs of an event and a Webhook that may not have been known
// when the event was dispatched.
type lateWebhooks struct {
	mu     sync.Mutex
	events map[types.UID]map[types.UID]bool
}

func (l *lateWebhooks) add(event, webhook types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events == nil {
		l.events = map[types.UID]map[types.UID]bool{}
	}
	// A copy, because of hands the maps out.
	webhooks := map[types.UID]bool{webhook: true}
	maps.Copy(webhooks, l.events[event])
	l.events[event] = webhooks
}

// settle drops the pairs that were dealt with, and keeps those added since.
func (l *lateWebhooks) settle(event types.UID, dealtWith map[types.UID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := maps.Clone(l.events[event])
	maps.DeleteFunc(rest, func(webhook types.UID, _ bool) bool { return dealtWith[webhook] })
	if len(rest) == 0 {
		delete(l.events, event)
		return
	}
	l.events[event] = rest
}

func (l *lateWebhooks) of(event types.UID) map[types.UID]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[event]
}

func (l *lateWebhooks) forget(event types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.events, event)
}
