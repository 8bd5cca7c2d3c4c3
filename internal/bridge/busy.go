package bridge

import (
	"context"
	"sync"
)

// busy are the events that somebody is working on. The zero value is ready for use.
type busy struct {
	mu   sync.Mutex
	with map[int64]chan struct{} // closed when the one who works on it is done
}

// lock waits until nobody else works on an event, or the context ends.
func (b *busy) lock(ctx context.Context, eventID int64) error {
	for {
		b.mu.Lock()
		done, ok := b.with[eventID]
		if !ok {
			if b.with == nil {
				b.with = map[int64]chan struct{}{}
			}
			b.with[eventID] = make(chan struct{})
			b.mu.Unlock()
			return nil
		}
		b.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// unlock lets the next one work on an event.
func (b *busy) unlock(eventID int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.with[eventID])
	delete(b.with, eventID)
}
