// Package writelimit bounds how many writes heavy flows have under way at the API
// server beside others, so that a storm of events in one namespace does not make
// everything slow that the API server does for the rest.
package writelimit

import (
	"sync"
	"time"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

const (
	// Window is what heavy flows share. It was measured, and so was what a light flow is:
	// docs/decisions/0020-a-fixed-window-of-writes.md.
	Window = 8
	// Light is how many writes a flow may have, under way and waiting, and be light,
	// whatever the others have. Beyond it, it is if it has at most half as many as the
	// flow that has most.
	Light = 4
	// alone is how long after the last write of another one a flow counts as alone.
	alone = time.Second
)

// Limiter lets the writes of light flows through at once. Those of heavy flows take
// turns by flow (round robin) for the places of a window, of which each flow may have
// as many as it leaves free: a flow whose writes take long keeps room for the others.
// A flow that is alone is not bounded: with more writes at once the whole is faster,
// since etcd stores several with one flush of the disk.
type Limiter struct {
	mu     sync.Mutex
	window fair.Shares[string] // by flow
	wanted map[string]int      // writes of a flow, under way and waiting
	// waiting are the writes that wait, by flow. What they wait for tells whether they
	// have a place in the window.
	waiting fair.Ring[string, *fair.FIFO[chan bool]]
	open    bool
	// latest is the flow that wanted a write last, and shared is when another one than
	// the latest was last seen.
	latest string
	shared time.Time
}

// New returns a limiter that nothing waits at.
func New() *Limiter {
	return &Limiter{window: fair.Shares[string]{Capacity: Window}, wanted: map[string]int{}}
}

// Do makes a write of a flow when it may begin, and returns its error.
func (l *Limiter) Do(flow string, write func() error) error {
	limited := l.begin(flow)
	defer l.end(flow, limited) // also if it panics
	return write()
}

// Open lets everything through from now on: the process stops, and what was sent has
// little time left to be stored.
func (l *Limiter) Open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
	l.admit()
}

// begin returns when a write may begin, and whether it has a place in the window.
func (l *Limiter) begin(flow string) (limited bool) {
	l.mu.Lock()
	l.wanted[flow]++
	l.see(flow)
	writes, ok := l.waiting.Get(flow)
	if !ok {
		writes = &fair.FIFO[chan bool]{}
		l.waiting.Add(flow, writes)
	}
	turn := make(chan bool, 1)
	writes.Push(turn)
	l.admit()
	l.mu.Unlock()
	return <-turn
}

func (l *Limiter) end(flow string, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.see(l.latest) // the others' writes may have taken long
	if l.wanted[flow]--; l.wanted[flow] == 0 {
		delete(l.wanted, flow)
	}
	if limited {
		l.window.Release(flow)
	}
	l.admit()
}

// see takes in that a flow has a write.
func (l *Limiter) see(flow string) {
	if flow != l.latest || len(l.wanted) > 1 {
		l.latest, l.shared = flow, time.Now()
	}
}

// admit lets begin what may. There is room in the window for a flow when nothing is
// taken, so whatever waits is admitted in the end.
func (l *Limiter) admit() {
	bounded := !l.open && time.Since(l.shared) < alone
	light := Light
	for _, n := range l.wanted {
		light = max(light, n/2)
	}
	for skipped := 0; skipped < l.waiting.Len(); {
		flow, writes := l.waiting.First()
		limited := bounded && l.wanted[flow] > light
		if limited && l.window.Room(flow) <= 0 {
			l.waiting.Pass(true)
			skipped++
			continue
		}
		skipped = 0
		if limited {
			l.window.Take(flow)
		}
		writes.Pop() <- limited
		l.waiting.Pass(writes.Len() > 0)
	}
}
