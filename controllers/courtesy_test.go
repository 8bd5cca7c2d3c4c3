package controllers

import (
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

// crowd begins so many writes of a namespace and counts those that may go on.
func crowd(c *courtesy, namespace string, n int, under *atomic.Int32) (ends chan func()) {
	ends = make(chan func(), n)
	for range n {
		go func() {
			end := c.begin(namespace)
			under.Add(1)
			ends <- end
		}()
	}
	return ends
}

func eventually(t *testing.T, n *atomic.Int32, want int32) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); n.Load() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d writes are under way, want %d", n.Load(), want)
		}
	}
}

func TestOneNamespaceAloneWritesAsItLikes(t *testing.T) {
	c := newCourtesy(clocktesting.NewFakePassiveClock(time.Now()))
	var under atomic.Int32
	crowd(c, "alone", 100, &under)
	eventually(t, &under, 100)
}

func TestSeveralNamespacesTakeTurns(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(time.Now())
	c := newCourtesy(now)
	c.begin("quiet")()
	var loud, quiet atomic.Int32
	ends := crowd(c, "loud", 100, &loud)
	eventually(t, &loud, courteousWrites)
	crowd(c, "quiet", 1, &quiet)
	time.Sleep(10 * time.Millisecond)
	if quiet.Load() != 0 {
		t.Fatal("more writes are under way than courtesy allows")
	}
	(<-ends)() // one or two turns later it is the quiet one's
	(<-ends)()
	eventually(t, &quiet, 1)

	// Once nobody else has written for a while, the rest may go on.
	now.SetTime(now.Now().Add(courtesyLasts))
	(<-ends)()
	eventually(t, &loud, 100)
}
