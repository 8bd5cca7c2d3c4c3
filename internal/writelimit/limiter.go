// Package writelimit bounds how many writes heavy flows have under way at the API server
// beside others, so that a storm of events in one namespace does not make everything slow
// that the API server does for the rest.
package writelimit

import (
	"sync"
	"time"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

const (
	// window is how many writes heavy flows may have under way together. It was measured:
	// docs/decisions/0013-a-window-of-writes.md.
	window = 8
	// alwaysLight is how many writes, under way and waiting, always leave a flow light. A
	// flow with more is light if it has at most half as many as the one with the most.
	alwaysLight = 4
	// alone is how long after the last write of another one a flow counts as alone.
	alone = time.Second
)

// Limiter lets the writes of light flows through at once. Heavy flows share a window,
// round robin by flow. A flow that is alone is not bounded: with more writes at once the
// whole is faster, since etcd stores several with one flush of the disk.
type Limiter struct {
	mu    sync.Mutex
	flows map[string]*flow
	// waiting are the flows that have writes which wait.
	waiting fair.Ring[string, *flow]
	open    bool
	// latest is the flow that wanted a write last, and shared is when another one than
	// the latest was last seen.
	latest string
	shared time.Time
}

// flow has the writes of one namespace.
type flow struct {
	wanted int // writes under way and waiting
	places int // of the window
	// waiting are told whether they have a place in the window.
	waiting fair.FIFO[chan bool]
}

// New returns a limiter that nothing waits at.
func New() *Limiter { return &Limiter{flows: map[string]*flow{}} }

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
func (l *Limiter) begin(name string) (limited bool) {
	turn := make(chan bool, 1)
	l.mu.Lock()
	f, ok := l.flows[name]
	if !ok {
		f = &flow{}
		l.flows[name] = f
	}
	f.wanted++
	f.waiting.Push(turn)
	l.waiting.Add(name, f)
	l.see(name)
	l.admit()
	l.mu.Unlock()
	return <-turn
}

func (l *Limiter) end(name string, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.see(l.latest) // the others' writes may have taken long
	f := l.flows[name]
	if limited {
		f.places--
	}
	if f.wanted--; f.wanted == 0 {
		delete(l.flows, name)
	}
	l.admit()
}

// see takes in that a flow has a write.
func (l *Limiter) see(flow string) {
	if flow != l.latest || len(l.flows) > 1 {
		l.latest, l.shared = flow, time.Now()
	}
}

// rules returns up to how many writes a flow is light, how many places a heavy one may
// have, and how many places are free. A heavy flow may have an equal part of the window.
// It may hold more, from when it was the only one. That excess takes no place from the
// others, since its writes may hang.
func (l *Limiter) rules() (light, each, free int) {
	light = alwaysLight
	for _, f := range l.flows {
		light = max(light, f.wanted/2)
	}
	heavy := 0
	for _, f := range l.flows {
		if f.wanted > light {
			heavy++
		}
	}
	each, free = (window+heavy-1)/max(heavy, 1), window
	for _, f := range l.flows {
		free -= min(f.places, each)
	}
	return light, each, free
}

// admit lets begin what may. Whatever waits is admitted in the end: places become free
// when writes end.
func (l *Limiter) admit() {
	bounded := !l.open && time.Since(l.shared) < alone
	light, each, free := l.rules()
	for skipped := 0; skipped < l.waiting.Len(); {
		_, f := l.waiting.First()
		limited := bounded && f.wanted > light
		if limited && (f.places >= each || free <= 0) {
			l.waiting.Advance(true)
			skipped++
			continue
		}
		skipped = 0
		if limited {
			f.places++
			free--
		}
		f.waiting.Pop() <- limited
		l.waiting.Advance(f.waiting.Len() > 0)
	}
}
