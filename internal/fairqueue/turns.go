package fairqueue

import (
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

// Turns is an order for client-go's queues: namespaces take turns, and within a
// namespace who came first is first. A queue has a lock of its own, so Turns needs
// none.
type Turns[T any] struct {
	// NamespaceOf tells the namespace of an item.
	NamespaceOf func(T) string

	lines map[string]*fifo[T]
	turns fifo[string]
	total int
}

var _ workqueue.Queue[types.NamespacedName] = &Turns[types.NamespacedName]{}

// Touch implements workqueue.Queue: an item that is added again keeps its place.
func (t *Turns[T]) Touch(T) {}

// Push implements workqueue.Queue.
func (t *Turns[T]) Push(item T) {
	namespace := t.NamespaceOf(item)
	line, ok := t.lines[namespace]
	if !ok {
		if t.lines == nil {
			t.lines = map[string]*fifo[T]{}
		}
		line = &fifo[T]{}
		t.lines[namespace] = line
		t.turns.push(namespace)
	}
	line.push(item)
	t.total++
}

// Len implements workqueue.Queue.
func (t *Turns[T]) Len() int { return t.total }

// Pop implements workqueue.Queue.
func (t *Turns[T]) Pop() T {
	namespace := t.turns.pop()
	line := t.lines[namespace]
	item := line.pop()
	t.total--
	if line.len() == 0 {
		delete(t.lines, namespace)
	} else {
		t.turns.push(namespace)
	}
	return item
}
