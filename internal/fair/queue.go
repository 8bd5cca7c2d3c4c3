package fair

// FIFO is a first-in, first-out list that gives its memory back. The zero value is
// empty.
type FIFO[T any] struct {
	items []T
	head  int
}

// Len is the number of items.
func (f *FIFO[T]) Len() int { return len(f.items) - f.head }

// Push puts an item at the end.
func (f *FIFO[T]) Push(v T) { f.items = append(f.items, v) }

// First returns the first item. There must be one.
func (f *FIFO[T]) First() T { return f.items[f.head] }

// Pop takes the first item out. There must be one.
func (f *FIFO[T]) Pop() T {
	v := f.items[f.head]
	var zero T
	f.items[f.head] = zero
	f.head++
	if f.head == len(f.items) {
		f.items, f.head = nil, 0
	} else if f.head > 64 && f.head > len(f.items)/2 {
		f.items, f.head = append([]T(nil), f.items[f.head:]...), 0
	}
	return v
}

// Queue is round robin by key. Among the items of a key, it is first in, first out. The zero value is empty.
type Queue[K comparable, T any] struct {
	keys  Ring[K, *FIFO[T]]
	total int
}

// Len is the number of items.
func (q *Queue[K, T]) Len() int { return q.total }

// Push puts an item behind those of its key.
func (q *Queue[K, T]) Push(key K, item T) {
	items, ok := q.keys.Get(key)
	if !ok {
		items = &FIFO[T]{}
		q.keys.Add(key, items)
	}
	items.Push(item)
	q.total++
}

// First returns the first item of the key whose turn it is. There must be one.
func (q *Queue[K, T]) First() T {
	_, items := q.keys.First()
	return items.First()
}

// Pop takes out the first item of the key whose turn it is. There must be one.
func (q *Queue[K, T]) Pop() T {
	_, items := q.keys.First()
	item := items.Pop()
	q.total--
	q.keys.Advance(items.Len() > 0)
	return item
}
