package enqueue

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

// Source is a source of a controller that others add requests to. What is added before
// the controller has started is dropped. The zero value is ready for use.
type Source[T comparable] struct {
	mu    sync.RWMutex
	queue workqueue.TypedRateLimitingInterface[T]
}

// OnStart returns what a controller watches. When that starts, requests are let
// through, and then begin runs, which may block until the controller can work.
func (s *Source[T]) OnStart(begin func(context.Context) error) source.TypedSource[T] {
	return source.TypedFunc[T](func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[T]) error {
		s.mu.Lock()
		s.queue = queue
		s.mu.Unlock()
		return begin(ctx)
	})
}

// Add adds a request.
func (s *Source[T]) Add(request T) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.queue != nil {
		s.queue.Add(request)
	}
}

// AddAfter adds a request after a while.
func (s *Source[T]) AddAfter(request T, wait time.Duration) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.queue != nil {
		s.queue.AddAfter(request, wait)
	}
}

// Backoff spaces the tries of what failed. The longest wait is what the operator may
// take to go on after an outage.
func Backoff[T comparable]() workqueue.TypedRateLimiter[T] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[T](50*time.Millisecond, 30*time.Second)
}

// ByNamespace makes queues that are round robin by namespace, so that one that asks for
// much does not delay the others. In a namespace they are first in, first out: a priority
// queue would put what a start finds behind all that happens since.
func ByNamespace[T comparable](
	namespace func(T) string,
) func(name string, limiter workqueue.TypedRateLimiter[T]) workqueue.TypedRateLimitingInterface[T] {
	return func(name string, limiter workqueue.TypedRateLimiter[T]) workqueue.TypedRateLimitingInterface[T] {
		base := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[T]{Name: name, Queue: &fair.WorkQueue[T]{Key: namespace}})
		return RateLimited(name, base, limiter)
	}
}

// RateLimited puts the delaying and rate-limiting layers of client-go on a queue that
// has an order of its own.
func RateLimited[T comparable](
	name string, queue workqueue.TypedInterface[T], limiter workqueue.TypedRateLimiter[T],
) workqueue.TypedRateLimitingInterface[T] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[T]{
		Name:          name,
		DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[T]{Name: name, Queue: queue}),
	})
}
