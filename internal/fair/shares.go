package fair

// Shares divides a capacity by dynamic thresholds (Choudhury and Hahne, for the
// buffers of switches): each user may have as much as is free. So one alone gets half
// of the capacity, two a third each, and there is room for one that comes. A user can
// be of a group, and that of another one: then it may have as much as its group may
// still take. A path names the groups, the outermost first, and at last the user. The
// zero value has no capacity.
type Shares[K comparable] struct {
	Capacity int
	total    int
	used     map[K]int
}

// Free is how much nobody has taken.
func (s *Shares[K]) Free() int { return s.Capacity - s.total }

// Used is how much a user or a group has taken.
func (s *Shares[K]) Used(key K) int { return s.used[key] }

// Room is how much more the user at the end of a path may take. It is negative where
// others have taken since what was free.
func (s *Shares[K]) Room(path ...K) int {
	room := s.Free()
	for _, key := range path {
		room -= s.used[key]
	}
	return room
}

// Take takes one for the user at the end of a path, whether there is room or not.
func (s *Shares[K]) Take(path ...K) {
	if s.used == nil {
		s.used = map[K]int{}
	}
	s.total++
	for _, key := range path {
		s.used[key]++
	}
}

// Release gives back what Take took.
func (s *Shares[K]) Release(path ...K) {
	s.total--
	for _, key := range path {
		if s.used[key]--; s.used[key] == 0 {
			delete(s.used, key)
		}
	}
}
