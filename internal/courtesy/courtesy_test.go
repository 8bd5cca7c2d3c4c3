package courtesy

import (
	"errors"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

var errRefused = errors.New("refused")

// manyWrites are more than any test ends.
const manyWrites = 500

// fixture is a gate on a virtual clock, and the writes that came to it, by
// namespace, the oldest first.
type fixture struct {
	*Gate
	clock  *clocktesting.FakePassiveClock
	writes map[string][]*turn
}

func newFixture() *fixture {
	now := clocktesting.NewFakePassiveClock(time.Now())
	return &fixture{Gate: New(now), clock: now, writes: map[string][]*turn{}}
}

func (f *fixture) step(d time.Duration) { f.clock.SetTime(f.clock.Now().Add(d)) }

// want brings so many writes of a namespace.
func (f *fixture) want(namespace string, n int) {
	for range n {
		w := &turn{open: make(chan struct{})}
		f.queue(namespace, w)
		f.writes[namespace] = append(f.writes[namespace], w)
	}
}

// underWay is how many writes of a namespace have begun and not ended.
func (f *fixture) underWay(namespace string) (n int) {
	for _, w := range f.writes[namespace] {
		select {
		case <-w.open:
			n++
		default:
		}
	}
	return n
}

// finish ends the oldest write of a namespace.
func (f *fixture) finish(t *testing.T, namespace string) {
	t.Helper()
	if f.underWay(namespace) == 0 {
		t.Fatalf("no write of %s is under way", namespace)
	}
	w := f.writes[namespace][0]
	f.writes[namespace] = f.writes[namespace][1:]
	f.end(w, true)
}

// drain ends writes of a namespace until so many are under way: its first ones go
// before anybody knows that it has many.
func (f *fixture) drain(t *testing.T, namespace string, n int) {
	t.Helper()
	for range 100 {
		if f.underWay(namespace) <= n {
			break
		}
		f.finish(t, namespace)
	}
	f.expect(t, namespace, n)
}

func (f *fixture) expect(t *testing.T, namespace string, n int) {
	t.Helper()
	if got := f.underWay(namespace); got != n {
		t.Fatalf("%d writes of %s are under way, want %d", got, namespace, n)
	}
}

func TestOneNamespaceAloneWritesAsItLikes(t *testing.T) {
	f := newFixture()
	f.want("alone", 100)
	f.expect(t, "alone", 100)
}

// While another namespace writes now and then, a storm has few writes under way,
// and the other one all that it wants.
func TestFewWritesGoBeforeMany(t *testing.T) {
	f := newFixture()
	f.want("quiet", 1)
	f.step(10 * time.Millisecond)
	f.finish(t, "quiet")
	f.want("loud", 100)
	f.drain(t, "loud", fewestWrites)
	f.want("quiet", 10)
	f.expect(t, "quiet", 10)
	f.step(20 * time.Millisecond)
	f.finish(t, "loud")
	f.expect(t, "loud", 5) // half as many as the other one
	for range 10 {
		f.finish(t, "quiet")
	}
	f.drain(t, "loud", fewestWrites)

	// Once nobody else has written for a while, the rest may go on.
	f.step(lasts)
	f.finish(t, "loud")
	f.expect(t, "loud", len(f.writes["loud"]))
}

// Where all have few writes, nobody waits.
func TestFewWritesOfManyDoNotWait(t *testing.T) {
	f := newFixture()
	for _, namespace := range []string{"a", "b", "c"} {
		f.want(namespace, fewAnyway)
		f.expect(t, namespace, fewAnyway)
	}
}

// Where several have many writes, they take turns.
func TestManyWritesTakeTurns(t *testing.T) {
	f := newFixture()
	begun := f.crowd(t, "a", "b")
	for i := range 100 {
		f.finish(t, []string{"a", "b"}[i%2])
	}
	a, b := f.begun("a")-begun["a"], f.begun("b")-begun["b"]
	if a+b < 99 || max(a, b)-min(a, b) > 2 {
		t.Errorf("%d writes of one and %d of the other have begun, want them to take turns", a, b)
	}
}

// Where the writes of one take much longer than another's, such as by an admission
// webhook, they do not take all the room.
func TestSlowWritesLeaveRoomForOthers(t *testing.T) {
	f := newFixture()
	f.crowd(t, "slow", "fast")
	for range 100 {
		f.finish(t, "fast")
		f.expect(t, "fast", fewAnyway)
		f.expect(t, "slow", fewAnyway)
	}
}

// crowd brings many writes of two namespaces, and ends those that began before
// anybody knew that both have many. It returns how many have begun then.
func (f *fixture) crowd(t *testing.T, a, b string) map[string]int {
	t.Helper()
	f.want("other", 1) // so that neither of them is alone
	f.want(a, manyWrites)
	f.want(b, manyWrites)
	f.finish(t, "other")
	f.drain(t, b, fewAnyway)
	f.drain(t, a, fewAnyway)
	return map[string]int{a: f.begun(a), b: f.begun(b)}
}

// begun is how many of manyWrites of a namespace have begun.
func (f *fixture) begun(namespace string) int {
	return manyWrites - len(f.writes[namespace]) + f.underWay(namespace)
}

// While the API server stands still, nobody comes, and those that want many must
// not take that for being alone.
func TestStandstillDoesNotOpenTheGate(t *testing.T) {
	f := newFixture()
	f.want("quiet", 2)
	f.want("loud", 245)
	f.drain(t, "loud", fewestWrites)
	f.step(10 * lasts)
	f.finish(t, "quiet")
	f.expect(t, "loud", fewestWrites)
	f.finish(t, "quiet")
	f.expect(t, "loud", fewestWrites) // it was there a moment ago
	f.step(lasts)
	f.finish(t, "loud")
	f.expect(t, "loud", len(f.writes["loud"]))
}

// One that has fallen behind catches up: a storm's narrow window is not for both.
func TestWhoFellBehindCatchesUp(t *testing.T) {
	f := newFixture()
	f.want("quiet", 1)
	f.step(10 * time.Millisecond)
	f.finish(t, "quiet")
	f.want("loud", 100)
	f.drain(t, "loud", fewestWrites)
	f.want("quiet", 80) // nearly as much as the other one
	for len(f.writes["quiet"]) > len(f.writes["loud"])/few {
		quiet, loud := f.underWay("quiet"), f.underWay("loud")
		if quiet+loud < 2*fewAnyway {
			t.Fatalf("%d and %d writes are under way while %d are left", quiet, loud, len(f.writes["quiet"]))
		}
		f.step(20 * time.Millisecond) // slow, so the window stays narrow
		if loud > quiet {
			f.finish(t, "loud")
			f.want("loud", 1)
		} else {
			f.finish(t, "quiet")
		}
	}
	for range len(f.writes["quiet"]) {
		f.finish(t, "quiet")
	}
	f.drain(t, "loud", fewestWrites)
}

// The window is as wide as the API server is about as fast as for one write alone.
func TestWindowFollowsTheAPIServer(t *testing.T) {
	f := newFixture()
	f.want("quiet", 1)
	f.step(10 * time.Millisecond)
	f.finish(t, "quiet")
	f.want("loud", 2000)
	f.drain(t, "loud", fewestWrites)
	for range mostWrites * steps {
		f.step(100 * time.Microsecond)
		f.finish(t, "loud")
	}
	f.expect(t, "loud", mostWrites) // none took longer than one alone

	for i := range 2 * mostWrites * steps {
		if i%50 == 0 { // the other one is still there
			f.want("quiet", 1)
			f.finish(t, "loud")
			f.finish(t, "quiet")
		}
		f.step(10 * time.Millisecond) // while others are under way, too
		f.finish(t, "loud")
	}
	f.expect(t, "loud", fewestWrites)
}

// What is refused at once, or comes while others write, is no measure.
func TestWindowStaysNarrowUntilOneWroteAlone(t *testing.T) {
	f := newFixture()
	f.want("quiet", 1)
	f.want("loud", 500)
	f.step(time.Minute) // both at once
	f.finish(t, "quiet")
	for range 20 {
		f.step(time.Millisecond)
		f.want("quiet", 1)
		f.finish(t, "quiet")
		f.finish(t, "loud")
	}
	if f.window != fewestWrites {
		t.Errorf("the window is %v", f.window)
	}
	alone := newFixture()
	alone.want("quiet", 1)
	w := alone.writes["quiet"][0]
	alone.step(time.Minute)
	alone.end(w, false)
	if alone.alone != 0 {
		t.Errorf("a refusal counts as %v", alone.alone)
	}
}

func TestStopLetsEverybodyPass(t *testing.T) {
	f := newFixture()
	f.want("quiet", 1)
	f.want("loud", 500)
	if f.underWay("loud") == 500 {
		t.Fatal("nothing waits")
	}
	f.Open()
	f.expect(t, "loud", 500)
	f.want("loud", 20) // and whoever comes then
	f.expect(t, "loud", 520)
}

// A write that panics has ended.
func TestPanicLeavesNothingBehind(t *testing.T) {
	g := newFixture().Gate
	func() {
		defer func() { _ = recover() }()
		_ = g.Do("music", func() error { panic("in a write") })
	}()
	if len(g.tenants) != 0 || g.busy != 0 {
		t.Errorf("left: %d namespaces, %d busy", len(g.tenants), g.busy)
	}
}

// Nobody has to wait for ever, whoever comes and goes.
func TestEveryoneGetsThrough(t *testing.T) {
	g := newFixture().Gate
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			want := []error{nil, errRefused}[i%2]
			if err := g.Do(string(rune('a'+i%7*i%3)), func() error { return want }); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
	all.Wait()
	if len(g.tenants) != 0 || len(g.waiting) != 0 || g.busy != 0 || g.sharing != 0 {
		t.Errorf("left: %d namespaces, %d turns, %d busy, %d sharing", len(g.tenants), len(g.waiting), g.busy, g.sharing)
	}
}
