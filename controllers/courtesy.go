package controllers

import (
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/internal/fairqueue"
)

const (
	// courteousWrites is how many writes are under way at once while more than
	// one namespace has some.
	courteousWrites = 16
	// courtesyLasts is for how long another namespace counts after its last
	// write.
	courtesyLasts = time.Second
)

// courtesy bounds the writes that are under way, while several namespaces have
// some, and lets namespaces take turns. More at once make the whole faster, but
// everything else that the API server does slower: in a storm of events in one
// namespace, it shows the others' events late. A namespace that is alone may have
// as many as it likes.
type courtesy struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	busy    int
	waiting fairqueue.Turns[turn]
	latest  string    // namespace
	changed time.Time // when it was another one last
}

// turn is a write that waits for its turn.
type turn struct {
	namespace string
	open      chan struct{}
}

func newCourtesy(c clock.PassiveClock) *courtesy {
	return &courtesy{clock: c, waiting: fairqueue.Turns[turn]{NamespaceOf: func(t turn) string { return t.namespace }}}
}

// begin waits until a write for a namespace may begin. The function that it returns
// is to be called when the write has ended.
func (c *courtesy) begin(namespace string) (end func()) {
	c.mu.Lock()
	if namespace != c.latest {
		if c.latest != "" {
			c.changed = c.clock.Now()
		}
		c.latest = namespace
	}
	t := turn{namespace: namespace, open: make(chan struct{})}
	c.waiting.Push(t)
	c.admit()
	c.mu.Unlock()
	<-t.open
	return c.end
}

func (c *courtesy) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
	c.admit()
}

// admit lets in whoever may begin. What waits is asked again when a write ends, and
// one is under way whenever something waits.
func (c *courtesy) admit() {
	several := c.clock.Since(c.changed) < courtesyLasts
	for c.waiting.Len() > 0 && (!several || c.busy < courteousWrites) {
		c.busy++
		close(c.waiting.Pop().open)
	}
}
