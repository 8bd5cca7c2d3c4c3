// Package enqueue carries what the caches see to the queues of the controllers.
package enqueue

import (
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/queue"
)

// retentionDelay gathers what retention looks at together. It is in no hurry:
// nothing goes in its first 15 minutes.
const retentionDelay = 10 * time.Second

// Event asks for a look at a WebhookEvent. Its namespace is what the queues of events
// are fair by.
type Event struct {
	Namespace string
	UID       types.UID
}

// Enqueuer has a source for the queue of each controller, and fills them with what
// changes in its two caches. As long as a controller has not started, because another
// replica leads, its source carries nothing; it begins with all there is.
type Enqueuer struct {
	Deliveries  Source[queue.Request]
	FanOut      Source[Event]
	EventStatus Source[Event]
	Filters     Source[Event]
	Webhooks    Source[reconcile.Request]
	Retention   Source[reconcile.Request]
	// Replays carries what concerns the Webhooks of FollowReplay only.
	Replays Source[reconcile.Request]

	Events *eventcache.Cache
	Ledger *ledger.Ledger

	clock clock.PassiveClock
	// replaying are the names of Webhooks.
	replaying sync.Map
}

// New returns an enqueuer with its caches, which are empty. There is room for
// maxPending pending deliveries. The caches are filled namespace by namespace, or,
// where none is named, for all at once.
func New(clock clock.PassiveClock, maxPending int, namespaces ...string) *Enqueuer {
	e := &Enqueuer{clock: clock}
	e.Events = eventcache.New(e, clock, namespaces...)
	e.Ledger = ledger.New(e, maxPending, namespaces...)
	return e
}

var (
	_ ledger.Listener     = &Enqueuer{}
	_ eventcache.Listener = &Enqueuer{}
)

// DeliveryChanged implements ledger.Listener.
func (e *Enqueuer) DeliveryChanged(d ledger.Entry) {
	request := queue.Request{Webhook: d.Webhook, Delivery: d.Key.Name}
	if wait := d.State.NextAttempt.Sub(e.clock.Now()); d.Pending == nil && !d.State.Resend && wait > 0 {
		e.Deliveries.AddAfter(request, wait)
		return
	}
	e.Deliveries.Add(request)
}

// DeliveryRemoved implements ledger.Listener.
func (e *Enqueuer) DeliveryRemoved(d ledger.Entry) {
	e.Events.DeliveryRemoved(d.EventUID, d.Key, d.State.Result)
}

// EventChanged implements ledger.Listener.
func (e *Enqueuer) EventChanged(event types.UID) {
	if known, ok := e.Events.Get(event); ok {
		e.EventStatus.Add(eventOf(known))
	}
}

// RoomAvailable implements ledger.Listener.
func (e *Enqueuer) RoomAvailable(event types.UID) { e.EnqueueFanOut(event) }

// EnqueueFanOut has an event fanned out, whether or not it is finished. One that is gone
// is left out.
func (e *Enqueuer) EnqueueFanOut(event types.UID) {
	if known, ok := e.Events.Get(event); ok {
		e.FanOut.Add(eventOf(known))
	}
}

// WebhookChanged implements ledger.Listener.
func (e *Enqueuer) WebhookChanged(webhook types.NamespacedName) {
	e.Webhooks.Add(reconcile.Request{NamespacedName: webhook})
	e.RetainLater(webhook)
	if _, ok := e.replaying.Load(webhook); ok {
		e.Replays.Add(reconcile.Request{NamespacedName: webhook})
	}
}

// FollowReplay has Replays told of a Webhook's deliveries, until UnfollowReplay.
func (e *Enqueuer) FollowReplay(webhook types.NamespacedName) { e.replaying.Store(webhook, nil) }

// UnfollowReplay ends FollowReplay.
func (e *Enqueuer) UnfollowReplay(webhook types.NamespacedName) { e.replaying.Delete(webhook) }

// EventAdded implements eventcache.Listener.
func (e *Enqueuer) EventAdded(event eventcache.Event) {
	if !event.Finished {
		e.FanOut.Add(eventOf(event))
	}
}

// EventUpdated implements eventcache.Listener.
func (e *Enqueuer) EventUpdated(event eventcache.Event) { e.EventStatus.Add(eventOf(event)) }

// EventRemoved implements eventcache.Listener.
func (e *Enqueuer) EventRemoved(event eventcache.Event) { e.EventStatus.Add(eventOf(event)) }

// RetainLater has retention look at the deliveries of a Webhook.
func (e *Enqueuer) RetainLater(webhook types.NamespacedName) {
	e.Retention.AddAfter(reconcile.Request{NamespacedName: webhook}, retentionDelay)
}

// EnqueueUnfinishedDeliveries enqueues the deliveries of a Webhook that something may be
// done for, the oldest first.
func (e *Enqueuer) EnqueueUnfinishedDeliveries(webhook types.NamespacedName) {
	unfinished := slices.DeleteFunc(e.Ledger.OfWebhook(webhook), func(d ledger.Entry) bool { return !d.NeedsAttention() })
	slices.SortFunc(unfinished, ledger.ByAge)
	for _, d := range unfinished {
		e.DeliveryChanged(d)
	}
}

func eventOf(e eventcache.Event) Event { return Event{e.Key.Namespace, e.UID} }
