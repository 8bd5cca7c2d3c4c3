package fair

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// ringModel is a ring that is too simple to be wrong.
type ringModel []int

func TestRingLikeTheModel(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var r Ring[int, int]
		var m ringModel
		for range 300 {
			key := chance.IntN(8)
			at := slices.Index(m, key)
			switch chance.IntN(3) {
			case 0:
				r.Add(key, 10*key)
				if at < 0 {
					m = append(m, key)
				}
			case 1:
				r.Remove(key)
				if at >= 0 {
					m = slices.Delete(m, at, at+1)
				}
			case 2:
				if len(m) == 0 {
					continue
				}
				stays := chance.IntN(4) > 0
				r.Advance(stays)
				first := m[0]
				m = m[1:]
				if stays {
					m = append(m, first)
				}
			}
			compareRing(t, &r, m)
		}
	}
}

func compareRing(t *testing.T, r *Ring[int, int], m ringModel) {
	t.Helper()
	if r.Len() != len(m) {
		t.Fatalf("Len() = %d, want %d", r.Len(), len(m))
	}
	if len(m) == 0 && r.members != nil {
		t.Fatal("an empty ring keeps its memory")
	}
	for key := range 8 {
		value, ok := r.Get(key)
		if want := slices.Contains(m, key); ok != want || ok && value != 10*key {
			t.Fatalf("Get(%d) = %d, %t, want it: %t", key, value, ok, want)
		}
	}
	for _, want := range m { // all around, so that it is as before
		key, value := r.First()
		if key != want || value != 10*want {
			t.Fatalf("First() = %d, %d, want %d", key, value, want)
		}
		r.Advance(true)
	}
}

func TestAddedOnce(t *testing.T) {
	var r Ring[string, int]
	r.Add("a", 1)
	r.Add("b", 2)
	r.Add("a", 3) // keeps its place and its value
	if key, value := r.First(); key != "a" || value != 1 || r.Len() != 2 {
		t.Errorf("First() = %s, %d, of %d", key, value, r.Len())
	}
}

func TestKeysTakeTurns(t *testing.T) {
	var q Queue[string, int]
	for i := range 100 {
		q.Push("loud", i)
	}
	take := func(n int) (got []int) {
		for range n {
			got = append(got, q.Pop())
		}
		return got
	}
	if got, want := take(2), []int{0, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	q.Push("quiet", 1000)
	q.Push("third", 2000)
	q.Push("third", 2001)
	if got, want := take(7), []int{2, 1000, 2000, 3, 2001, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := q.Len(); got != 94 {
		t.Errorf("Len() = %d, want 94", got)
	}
	for i, got := range take(94) {
		if got != i+6 {
			t.Fatalf("got %d as number %d, want %d", got, i, i+6)
		}
	}
	if q.Len() != 0 || q.keys.Len() != 0 {
		t.Errorf("left: %d items of %d keys", q.Len(), q.keys.Len())
	}
}

// What was queued long ago must not stay in memory, and nothing is lost when it goes.
func TestFIFOGivesMemoryBack(t *testing.T) {
	var f FIFO[int]
	pushed, popped := 0, 0
	for range 10000 {
		f.Push(pushed)
		f.Push(pushed + 1)
		pushed += 2
		if f.Len() > 200 {
			for range 200 {
				if got := f.Pop(); got != popped {
					t.Fatalf("got %d, want %d", got, popped)
				}
				popped++
			}
		}
		if len(f.items) > 1000 {
			t.Fatalf("%d items in memory for %d in the list", len(f.items), f.Len())
		}
	}
}
