// Package courtesy keeps the many writes of one namespace from being in the way of
// the few of others.
package courtesy

import (
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// mostWrites is how many writes those that want many may have under way
	// together, while more than one namespace has some.
	mostWrites = 16
	// mostOfFew is how many those that want few may have.
	mostOfFew = 32
	// fewestWrites is how many those that want many may have together, however slow
	// the API server is.
	fewestWrites = 1
	// slower is how much longer than one write alone takes half of all writes may
	// take, for those that want many to have one more.
	slower = 1.1
	// steps is how many more writes must have been fast than slow, or the other way
	// round, for the window to change by one: single ones vary a lot.
	steps = 16
	// few is which part of what the namespace with the most writes wants is little:
	// it need not wait for those that want many.
	few = 2
	// fewAnyway is how many are few whatever others want.
	fewAnyway = 4
	// lasts is for how long another namespace counts after its last write.
	lasts = time.Second
)

// Gate bounds the writes that are under way while several namespaces have some.
// More at once make the whole faster, but everything else that the API server does
// slower: in a storm of events in one namespace, it shows the others' events late.
// So those that want many writes share a window that is as wide as the API server
// answers about as fast as ever, and take turns; those that want few go before
// them. A namespace that is alone may have as many as it likes.
type Gate struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	begun   int
	busy    int
	sharing int                // of busy, those that take room in the window
	tenants map[string]*tenant // by namespace
	// waiting are the namespaces that have something waiting, in the order of their
	// turns.
	waiting []*tenant
	latest  string    // namespace that came
	came    time.Time // when it did
	met     time.Time // when one came last while, or soon after, another one did
	// window is how many writes those that want many may have under way.
	window float64
	// alone is how long half of the writes take, at most, while nobody else wants one.
	alone   time.Duration
	stopped bool
}

// tenant is a namespace that has writes.
type tenant struct {
	namespace string
	busy      int
	waiting   []*turn
}

func (t *tenant) wanted() int { return t.busy + len(t.waiting) }

// wantsMany tells whether what a namespace wants is not little beside the most that
// one wants.
func (t *tenant) wantsMany(most int) bool { return t.wanted() > fewAnyway && t.wanted() > most/few }

// turn is a write that waits or is under way.
type turn struct {
	by     *tenant
	open   chan struct{}
	began  time.Time
	number int // it is the so-many-th of all that began
	// only is set if there was no other one when it began, and shares if it takes
	// room in the window.
	only, shares bool
}

// New returns a gate that nobody has passed.
func New(c clock.PassiveClock) *Gate {
	return &Gate{clock: c, tenants: map[string]*tenant{}, window: fewestWrites}
}

// Do makes a write for a namespace once it may begin, and returns its error. Of a
// write that fails, the time is not learned: how fast a refusal is tells nothing.
func (g *Gate) Do(namespace string, write func() error) error {
	w := &turn{open: make(chan struct{})}
	g.queue(namespace, w)
	<-w.open
	done := false
	defer func() { g.end(w, done) }() // also if it panics
	err := write()
	done = err == nil
	return err
}

// Open lets everybody pass from now on: the operator stops, and what was sent has
// little time left to be stored.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	g.admit()
}

func (g *Gate) queue(namespace string, w *turn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	by, ok := g.tenants[namespace]
	if !ok {
		by = &tenant{namespace: namespace}
		g.tenants[namespace] = by
	}
	now := g.clock.Now()
	if g.latest != namespace && now.Sub(g.came) < lasts || len(g.tenants) > 1 {
		g.met = now
	}
	g.latest, g.came = namespace, now
	if len(by.waiting) == 0 {
		g.waiting = append(g.waiting, by)
	}
	w.by = by
	by.waiting = append(by.waiting, w)
	g.admit()
}

func (g *Gate) end(w *turn, done bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if done {
		g.learn(g.clock.Since(w.began), w.only && w.number == g.begun)
	}
	if len(g.tenants) > 1 {
		g.met = g.clock.Now() // what now ends may have waited for long
	}
	g.busy--
	if w.shares {
		g.sharing--
	}
	w.by.busy--
	if w.by.wanted() == 0 {
		delete(g.tenants, w.by.namespace)
	}
	g.admit()
}

// learn takes in how long a write took. The window grows while most writes are
// fast, and shrinks while most are slow.
func (g *Gate) learn(took time.Duration, only bool) {
	switch {
	case only && g.alone == 0:
		g.alone = took
	case only && len(g.waiting) == 0:
		// While others wait, the API server may have much else to do: a storm's
		// events are being created.
		if took > g.alone {
			g.alone += g.alone / steps
		} else {
			g.alone -= g.alone / steps
		}
	}
	if g.alone == 0 || !g.several() || g.sharing < int(g.window) {
		return // there is nothing to compare with, or nobody waits for the window
	}
	step := 1.0 / steps
	if took > time.Duration(slower*float64(g.alone)) {
		step = -step
	}
	g.window = min(max(g.window+step, fewestWrites), mostWrites)
}

// several tells whether more than one namespace writes, or did a moment ago. While
// the API server stands still nobody comes, but those that came are still there.
func (g *Gate) several() bool {
	return !g.stopped && (len(g.tenants) > 1 || g.clock.Since(g.met) < lasts)
}

// demand tells what the namespace with the most writes wants, and how many writes
// those that want many may have under way together, and each of them: if the writes
// of one take much longer than another's, they would fill the room in the end, for
// all that they take turns. Where several want many, there is room for as many as
// are few for each of them: one that has fallen behind while the API server stood
// still looks like a storm, and would stay behind in a window that is narrow for the
// sake of others.
func (g *Gate) demand() (most, window, each int) {
	for _, t := range g.tenants {
		most = max(most, t.wanted())
	}
	crowd := 0
	for _, t := range g.tenants {
		if t.wantsMany(most) {
			crowd++
		}
	}
	window = int(g.window)
	if crowd > 1 {
		window = max(window, min(crowd*fewAnyway, mostWrites))
	}
	return most, window, (window + crowd - 1) / max(crowd, 1)
}

// admit lets in whoever may begin. What waits is asked again when a write ends, and
// one is under way whenever something waits.
func (g *Gate) admit() {
	several := g.several()
	most, window, each := g.demand()
	for i := 0; i < len(g.waiting); {
		by := g.waiting[i]
		shares := by.wantsMany(most)
		before := g.busy - g.sharing // of those that want few
		full := before >= mostOfFew
		if shares { // they may have half as many as those in any case
			full = g.sharing >= max(window, before/2) || by.busy >= max(each, before/2)
		}
		if several && full {
			i++
			continue
		}
		w := by.waiting[0]
		by.waiting = by.waiting[1:]
		g.waiting = slices.Delete(g.waiting, i, i+1)
		if len(by.waiting) > 0 {
			g.waiting = append(g.waiting, by)
		}
		g.begun++
		g.busy++
		by.busy++
		w.number, w.began, w.only, w.shares = g.begun, g.clock.Now(), g.busy == 1, shares
		if shares {
			g.sharing++
		}
		close(w.open)
	}
}
