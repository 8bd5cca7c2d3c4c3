package queue

import (
	stdheap "container/heap"
	"time"
)

// heap has items in the order of a time, and those of the same time in the order in
// which they were added. It implements the interface of container/heap.
type heap struct {
	key   func(*item) time.Time
	place func(*item) *int // where an item keeps its index
	items []*item
}

func byDue() *heap {
	return &heap{key: func(i *item) time.Time { return i.delivery.Due }, place: func(i *item) *int { return &i.dueIndex }}
}

func byExpiry() *heap {
	return &heap{key: func(i *item) time.Time { return i.delivery.Expires }, place: func(i *item) *int { return &i.expiryIndex }}
}

func (h *heap) add(i *item)    { stdheap.Push(h, i) }
func (h *heap) remove(i *item) { stdheap.Remove(h, *h.place(i)) }

// Len implements heap.Interface.
func (h *heap) Len() int { return len(h.items) }

// Less implements heap.Interface.
func (h *heap) Less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	if c := h.key(a).Compare(h.key(b)); c != 0 {
		return c < 0
	}
	return a.number < b.number
}

// Swap implements heap.Interface.
func (h *heap) Swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	*h.place(h.items[i]), *h.place(h.items[j]) = i, j
}

// Push implements heap.Interface.
func (h *heap) Push(x any) {
	*h.place(x.(*item)) = len(h.items)
	h.items = append(h.items, x.(*item))
}

// Pop implements heap.Interface.
func (h *heap) Pop() any {
	last := len(h.items) - 1
	i := h.items[last]
	h.items[last] = nil
	h.items = h.items[:last]
	return i
}
