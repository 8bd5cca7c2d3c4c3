package credentials

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

const (
	// recheckInterval is how long after it was read a mistake is looked at again while
	// somebody may be mending it.
	recheckInterval = 20 * time.Second
	// rechecksPerSecond bounds how many mistakes are looked at again, in all: a
	// thousand Webhooks without their Secret would make 50 reads a second otherwise.
	rechecksPerSecond = 20
	// recheckBurst lets the few Webhooks of one event be looked at together.
	recheckBurst = 5
)

// NewRecheckLimit returns the limit that a Reader and a RecheckQueue share.
func NewRecheckLimit() flowcontrol.RateLimiter {
	return flowcontrol.NewTokenBucketRateLimiter(rechecksPerSecond, recheckBurst)
}

// RecheckQueue holds the Webhooks that lack something which may still come. Each is
// handed out recheckInterval after it was added, within the limit. Namespaces take
// turns, so one with thousands of such Webhooks delays none but its own.
type RecheckQueue struct {
	limit flowcontrol.RateLimiter
	queue workqueue.TypedDelayingInterface[types.NamespacedName]
}

// NewRecheckQueue returns a queue. Run must be called to end what it starts.
func NewRecheckQueue(limit flowcontrol.RateLimiter) *RecheckQueue {
	turns := &fair.WorkQueue[types.NamespacedName]{Key: func(n types.NamespacedName) string { return n.Namespace }}
	return &RecheckQueue{limit: limit, queue: workqueue.NewTypedDelayingQueueWithConfig(
		workqueue.TypedDelayingQueueConfig[types.NamespacedName]{
			Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[types.NamespacedName]{Queue: turns}),
		})}
}

// Add adds a Webhook. One that is in the queue already keeps its place.
func (q *RecheckQueue) Add(webhook types.NamespacedName) { q.queue.AddAfter(webhook, recheckInterval) }

// Run hands Webhooks to recheck until ctx ends. Those that need it no longer are
// passed over and do not count.
func (q *RecheckQueue) Run(ctx context.Context, needed func(types.NamespacedName) bool, recheck func(types.NamespacedName)) {
	defer context.AfterFunc(ctx, q.queue.ShutDown)()
	for {
		webhook, stopped := q.queue.Get()
		if stopped {
			return
		}
		if needed(webhook) && q.limit.Wait(ctx) == nil {
			recheck(webhook)
		}
		q.queue.Done(webhook)
	}
}
