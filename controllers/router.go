package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/queue"
)

// retentionDelay gathers what retention looks at together. It is in no hurry:
// nothing goes in its first 15 minutes.
const retentionDelay = 10 * time.Second

// router carries what the ledger tells to the queues of the controllers. As long
// as a controller has not started, because another replica leads, nothing is
// carried to it; when it starts, it begins with all there is.
type router struct {
	clock clock.PassiveClock

	deliveries inlet[queue.Request]
	fanOut     inlet[eventRequest]
	statuses   inlet[eventRequest]
	webhooks   inlet[reconcile.Request]
	retention  inlet[reconcile.Request]

	// events tells of the events, whose names metadata of deliveries lacks.
	events *eventcache.Cache
}

func newRouter(namespaces ...string) *router {
	r := &router{clock: clock.RealClock{}}
	r.events = eventcache.New(r, r.clock, namespaces...)
	return r
}

var (
	_ ledger.Listener     = &router{}
	_ eventcache.Listener = &router{}
)

// DeliveryChanged implements ledger.Listener.
func (r *router) DeliveryChanged(e ledger.Entry) {
	request := queue.Request{Webhook: e.Webhook, Delivery: e.Key.Name}
	if wait := e.State.NextAttempt.Sub(r.clock.Now()); e.Draft == nil && !e.State.Resend && wait > 0 {
		r.deliveries.addAfter(request, wait)
		return
	}
	r.deliveries.add(request)
}

// RecordRemoved implements ledger.Listener.
func (r *router) RecordRemoved(e ledger.Entry) {
	r.events.RecordRemoved(e.EventUID, e.Key, e.State.Result)
}

// EventChanged implements ledger.Listener.
func (r *router) EventChanged(event types.UID) { r.toEvent(&r.statuses, event) }

// RoomFor implements ledger.Listener.
func (r *router) RoomFor(event types.UID) { r.toEvent(&r.fanOut, event) }

func (r *router) toEvent(to *inlet[eventRequest], event types.UID) {
	if e, ok := r.events.Get(event); ok {
		to.add(eventRequest{e.Key.Namespace, e.UID})
	}
}

// EventAdded implements eventcache.Listener.
func (r *router) EventAdded(e eventcache.Event) {
	if !e.Finished {
		r.fanOut.add(eventRequest{e.Key.Namespace, e.UID})
	}
}

// EventUpdated implements eventcache.Listener.
func (r *router) EventUpdated(e eventcache.Event) {
	r.statuses.add(eventRequest{e.Key.Namespace, e.UID})
}

// EventRemoved implements eventcache.Listener.
func (r *router) EventRemoved(e eventcache.Event) {
	r.statuses.add(eventRequest{e.Key.Namespace, e.UID})
}

// WebhookChanged implements ledger.Listener.
func (r *router) WebhookChanged(webhook types.NamespacedName) {
	r.webhooks.add(reconcile.Request{NamespacedName: webhook})
	r.retention.addAfter(reconcile.Request{NamespacedName: webhook}, retentionDelay)
}

// inlet is the way into the queue of a controller, once that has started.
type inlet[T comparable] struct {
	mu    sync.RWMutex
	queue workqueue.TypedRateLimitingInterface[T]
}

// source returns a source that opens the inlet when the controller starts, and
// then runs begin, which may block until the controller can work.
func (i *inlet[T]) source(begin func(context.Context) error) source.TypedSource[T] {
	return source.TypedFunc[T](func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[T]) error {
		i.mu.Lock()
		i.queue = queue
		i.mu.Unlock()
		return begin(ctx)
	})
}

func (i *inlet[T]) add(item T) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.queue != nil {
		i.queue.Add(item)
	}
}

func (i *inlet[T]) addAfter(item T, wait time.Duration) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.queue != nil {
		i.queue.AddAfter(item, wait)
	}
}
