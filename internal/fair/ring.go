// Package fair shares something among keys: their items round robin (Ring, Queue,
// WorkQueue), or a capacity by dynamic thresholds (Shares).
package fair

// Ring is a map that is visited round robin: a member that was visited goes to the end. Every operation takes constant time. The zero value
// is an empty ring.
type Ring[K comparable, V any] struct {
	members map[K]*member[K, V]
	first   *member[K, V] // its previous is the last
}

// member is linked in a circle, in the order of the turns.
type member[K comparable, V any] struct {
	key            K
	value          V
	previous, next *member[K, V]
}

// Len is the number of members.
func (r *Ring[K, V]) Len() int { return len(r.members) }

// Get returns the value of a member.
func (r *Ring[K, V]) Get(key K) (value V, ok bool) {
	if m, ok := r.members[key]; ok {
		return m.value, true
	}
	return value, false
}

// Add puts a member at the end, unless it is there already.
func (r *Ring[K, V]) Add(key K, value V) {
	if _, ok := r.members[key]; ok {
		return
	}
	if r.members == nil {
		r.members = map[K]*member[K, V]{}
	}
	m := &member[K, V]{key: key, value: value}
	m.previous, m.next = m, m
	if r.first == nil {
		r.first = m
	} else {
		m.previous, m.next = r.first.previous, r.first
		m.previous.next, m.next.previous = m, m
	}
	r.members[key] = m
}

// Remove takes a member out.
func (r *Ring[K, V]) Remove(key K) {
	m, ok := r.members[key]
	if !ok {
		return
	}
	delete(r.members, key)
	m.previous.next, m.next.previous = m.next, m.previous
	switch {
	case m.next == m:
		r.first, r.members = nil, nil // gives the memory back
	case r.first == m:
		r.first = m.next
	}
}

// MoveBack puts a member at the end. It must be there.
func (r *Ring[K, V]) MoveBack(key K) {
	value := r.members[key].value
	r.Remove(key)
	r.Add(key, value)
}

// First returns the member whose turn it is. The ring must not be empty.
func (r *Ring[K, V]) First() (K, V) { return r.first.key, r.first.value }

// Advance ends the turn of the first member, which goes to the end, or out of the ring
// unless it stays.
func (r *Ring[K, V]) Advance(stays bool) {
	if stays {
		r.first = r.first.next
	} else {
		r.Remove(r.first.key)
	}
}
