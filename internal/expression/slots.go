package expression

import (
	"runtime"
	"sync"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

// running bounds how many expressions are compiled, and templates and rules evaluated, at a
// time, and so the memory of all of them. filtering does so for filters, which are quick and
// do not wait for the others. They have half of the cores: a namespace may have seconds of
// them, and all else has to go on beside it.
var (
	running   = newSlots(runtime.GOMAXPROCS(0))
	filtering = newSlots(max(1, runtime.GOMAXPROCS(0)/2))
)

// slots let so many work at a time. Who waits has a turn by namespace: hundreds of the
// deliveries of one may want the slowest template, each for MaxTime.
type slots struct {
	mu      sync.Mutex
	free    int
	waiting fair.Queue[string, chan struct{}]
}

func newSlots(n int) *slots { return &slots{free: n} }

// take waits for a slot; give gives it back.
func (s *slots) take(namespace string) {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	s.waiting.Push(namespace, turn)
	s.mu.Unlock()
	<-turn
}

func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting.Len() == 0 {
		s.free++
		return
	}
	close(s.waiting.Pop())
}
