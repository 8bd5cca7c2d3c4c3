package fair

import (
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

// WorkQueue is an order for client-go's queues: keys take turns (round robin), and
// within a key who came first is first. A queue has a lock of its own, so WorkQueue
// needs none.
type WorkQueue[T any] struct {
	// Key tells the key of an item, such as its namespace.
	Key func(T) string

	queue Queue[string, T]
}

var _ workqueue.Queue[types.NamespacedName] = &WorkQueue[types.NamespacedName]{}

// Touch implements workqueue.Queue: an item that is added again keeps its place.
func (q *WorkQueue[T]) Touch(T) {}

// Push implements workqueue.Queue.
func (q *WorkQueue[T]) Push(item T) { q.queue.Push(q.Key(item), item) }

// Len implements workqueue.Queue.
func (q *WorkQueue[T]) Len() int { return q.queue.Len() }

// Pop implements workqueue.Queue.
func (q *WorkQueue[T]) Pop() T { return q.queue.Pop() }
