package fairqueue

import (
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

// Turns is an order for client-go's queues: namespaces take turns, and within a
// namespace who came first is first. A queue has a lock of its own, so Turns needs
// none.
type Turns[T any] struct {
	// NamespaceOf tells the namespace of an item.
	NamespaceOf func(T) string

	queue fair.Queue[string, T]
}

var _ workqueue.Queue[types.NamespacedName] = &Turns[types.NamespacedName]{}

// Touch implements workqueue.Queue: an item that is added again keeps its place.
func (t *Turns[T]) Touch(T) {}

// Push implements workqueue.Queue.
func (t *Turns[T]) Push(item T) { t.queue.Push(t.NamespaceOf(item), item) }

// Len implements workqueue.Queue.
func (t *Turns[T]) Len() int { return t.queue.Len() }

// Pop implements workqueue.Queue.
func (t *Turns[T]) Pop() T { return t.queue.Pop() }
