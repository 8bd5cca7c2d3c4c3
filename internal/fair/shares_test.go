package fair

import "testing"

// fill takes as much as there is room for, the users in turn.
func fill(s *Shares[string], paths ...[]string) {
	for taken := true; taken; {
		taken = false
		for _, path := range paths {
			if s.Room(path...) > 0 {
				s.Take(path...)
				taken = true
			}
		}
	}
}

func TestUsersShare(t *testing.T) {
	for users, want := range map[int]int{1: 8, 2: 5, 3: 4, 7: 2} { // parts of 16, one more than there are users
		s := &Shares[string]{Capacity: 16}
		var paths [][]string
		for i := range users {
			paths = append(paths, []string{string(rune('a' + i))})
		}
		fill(s, paths...)
		for _, path := range paths {
			if got := s.Used(path[0]); got != want && got != want+1 {
				t.Errorf("%d users: %s has %d, want %d", users, path[0], got, want)
			}
		}
		if s.Free() == 0 {
			t.Errorf("%d users: nothing is free for one that comes", users)
		}
	}
}

func TestGroupsShare(t *testing.T) {
	s := &Shares[string]{Capacity: 90}
	var crowd [][]string
	for i := range 20 {
		crowd = append(crowd, []string{"crowded", string(rune('a' + i))})
	}
	fill(s, crowd...)
	if got := s.Used("crowded"); got > 45 {
		t.Errorf("20 users of one group have %d of 90, want half at most", got)
	}
	free := s.Free()
	fill(s, []string{"quiet", "z"})
	if got := s.Used("z"); got < free/3-1 {
		t.Errorf("one of another group gets %d of %d", got, free)
	}
}

func TestReleasedSharesLeaveNothing(t *testing.T) {
	s := &Shares[string]{Capacity: 9}
	s.Take("g", "a")
	s.Take("g", "b")
	if got := s.Room("g", "a"); got != 9-2-2-1 {
		t.Errorf("Room() = %d, want 4", got)
	}
	s.Release("g", "a")
	s.Release("g", "b")
	if len(s.used) != 0 || s.Free() != 9 {
		t.Errorf("left: %v, %d free", s.used, s.Free())
	}
}
