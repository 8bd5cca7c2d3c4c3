package forward

import (
	"context"
	"sync"
	"sync/atomic"

	"k8s.io/utils/lru"
)

// Queue holds items until the receiver has taken those before them. It is bounded: whoever
// puts something into a full one waits, and the API server keeps what comes meanwhile.
type Queue struct {
	items chan Item
	// Behind, if given, is called when a quarter of the queue is taken, with how many wait,
	// and once with 0 when none does any more.
	Behind func(waiting int)

	mu      sync.Mutex
	behind  bool
	dropped atomic.Int64
}

// NewQueue returns a queue of so many items.
func NewQueue(capacity int) *Queue { return &Queue{items: make(chan Item, capacity)} }

// Put adds an item, and waits for room. It fails when ctx ends.
func (q *Queue) Put(ctx context.Context, item Item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case q.items <- item:
		q.look()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Waiting is how many items were not posted so far.
func (q *Queue) Waiting() int { return len(q.items) + int(q.dropped.Load()) }

// Run takes items out in their order until ctx ends, and has so many posted at a time. It
// returns when none is under way.
func (q *Queue) Run(ctx context.Context, atOnce int, post func(Item)) {
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case item := <-q.items:
					if ctx.Err() != nil { // both were ready
						q.dropped.Add(1)
						return
					}
					post(item)
					q.look()
				}
			}
		})
	}
	workers.Wait()
}

// look tells Behind when the queue fills, and when it is empty again.
func (q *Queue) look() {
	if q.Behind == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := len(q.items)
	switch {
	case !q.behind && waiting >= max(cap(q.items)/4, 2):
		q.behind = true
		q.Behind(waiting)
	case q.behind && waiting == 0:
		q.behind = false
		q.Behind(0)
	}
}

// Seen remembers what was handled, the latest so many.
type Seen struct{ known *lru.Cache }

// NewSeen remembers so many.
func NewSeen(size int) *Seen { return &Seen{lru.New(size)} }

// Add tells whether a key is new, and remembers it.
func (s *Seen) Add(key string) bool {
	if _, known := s.known.Get(key); known {
		return false
	}
	s.known.Add(key, nil)
	return true
}

// Has tells whether a key is remembered.
func (s *Seen) Has(key string) bool {
	_, known := s.known.Get(key)
	return known
}
