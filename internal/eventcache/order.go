package eventcache

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Position is a place in the order of events: by the second of their creation, then by
// namespace and name. An empty Key is before all events of its second.
type Position struct {
	Created time.Time
	Key     types.NamespacedName
	// UID says which event it is. It has no part in the order.
	UID types.UID
}

// After returns the first n events behind a position, in order, and how many more there
// are: of a namespace, or of all where that is empty, and created no later than a time.
// It looks at all events that are known, without holding anybody up, and keeps n of them.
func (c *Cache) After(namespace string, position Position, until time.Time, n int) (next []Position, more int) {
	c.mu.RLock()
	all := slices.AppendSeq(make([]*entry, 0, len(c.events)), maps.Values(c.events))
	c.mu.RUnlock() // an entry's place and name never change
	var (
		first  = firstEntries{}
		after  = entry{created: position.Created.Unix(), namespace: position.Key.Namespace, name: position.Key.Name}
		latest = until.Unix()
	)
	for _, e := range all {
		switch {
		case e.created < after.created, e.created > latest, namespace != "" && e.namespace != namespace, e.compare(&after) <= 0:
			continue
		case len(first) < n:
			heap.Push(&first, e)
			continue
		case n > 0 && e.compare(first[0]) < 0:
			first[0] = e
			heap.Fix(&first, 0)
		}
		more++
	}
	slices.SortFunc(first, (*entry).compare)
	for _, e := range first {
		next = append(next, Position{Created: toTime(e.created), Key: e.key(), UID: e.uid})
	}
	return next, more
}

// compare compares the places of two events.
func (e *entry) compare(other *entry) int {
	return cmp.Or(cmp.Compare(e.created, other.created), cmp.Compare(e.namespace, other.namespace), cmp.Compare(e.name, other.name))
}

// firstEntries is a heap of events, the last one on top.
type firstEntries []*entry

func (h firstEntries) Len() int           { return len(h) }
func (h firstEntries) Less(i, j int) bool { return h[i].compare(h[j]) > 0 }
func (h firstEntries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *firstEntries) Push(e any)        { *h = append(*h, e.(*entry)) }
func (h *firstEntries) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	*h = (*h)[:last]
	return e
}
