package eventcache

import (
	"container/heap"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// none is the place of an event that is not finished.
const none = -1

// byAge is a heap of finished events, the oldest on top.
type byAge []*entry

func (h byAge) Len() int           { return len(h) }
func (h byAge) Less(i, j int) bool { return h[i].created < h[j].created }
func (h byAge) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = int32(i), int32(j) //nolint:gosec // far fewer
}

func (h *byAge) Push(e any) {
	e.(*entry).place = int32(len(*h)) //nolint:gosec // far fewer
	*h = append(*h, e.(*entry))
}

func (h *byAge) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.place = none
	return e
}

func (c *Cache) joinFinished(e *entry) {
	if e.place == none {
		heap.Push(&c.finished, e)
	}
}

func (c *Cache) leaveFinished(e *entry) {
	if e.place != none {
		heap.Remove(&c.finished, int(e.place))
	}
}

// Oldest returns up to n finished events that were created no later than a time,
// the oldest first and without those to leave out, and, where there are none, when
// the oldest was created: zero if there is none at all.
func (c *Cache) Oldest(n int, created time.Time, leaveOut func(types.UID) bool) (due []Event, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var taken []*entry
	for len(due) < n && len(c.finished) > 0 && c.finished[0].created <= created.Unix() {
		e := c.finished[0]
		if !leaveOut(e.uid) {
			due = append(due, e.event())
		}
		taken = append(taken, heap.Pop(&c.finished).(*entry))
	}
	for _, e := range taken {
		heap.Push(&c.finished, e)
	}
	if len(due) == 0 && len(c.finished) > 0 {
		next = toTime(c.finished[0].created)
	}
	return due, next
}
