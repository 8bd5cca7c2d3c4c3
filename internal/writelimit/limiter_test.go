package writelimit

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fixture has writes that end when they are told to.
type fixture struct {
	*Limiter
	t *testing.T
	// underWay are the writes of a flow that have begun and not ended.
	underWay map[string][]chan struct{}
	mu       sync.Mutex
	all      sync.WaitGroup
}

// run runs a test in a bubble, in which Wait returns once every write has begun or
// waits for its turn.
func run(t *testing.T, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{Limiter: New(), t: t, underWay: map[string][]chan struct{}{}}
		test(f)
		f.Open()
		for left := true; left; {
			synctest.Wait()
			left = false
			for flow := range f.underWay {
				if f.busy(flow) > 0 {
					left = true
					f.finish(flow)
				}
			}
		}
		f.all.Wait()
		if len(f.flows) != 0 || f.waiting.Len() != 0 {
			t.Errorf("left: %d flows, %d of them waiting", len(f.flows), f.waiting.Len())
		}
	})
}

// want brings so many writes of a flow.
func (f *fixture) want(flow string, n int) {
	for range n {
		f.all.Go(func() {
			_ = f.Do(flow, func() error {
				end := make(chan struct{})
				f.mu.Lock()
				f.underWay[flow] = append(f.underWay[flow], end)
				f.mu.Unlock()
				<-end
				return nil
			})
		})
	}
	synctest.Wait()
}

// finish ends the oldest write of a flow that is under way.
func (f *fixture) finish(flow string) {
	f.t.Helper()
	f.mu.Lock()
	writes := f.underWay[flow]
	if len(writes) == 0 {
		f.mu.Unlock()
		f.t.Fatalf("no write of %s is under way", flow)
	}
	f.underWay[flow] = writes[1:]
	f.mu.Unlock()
	close(writes[0])
	synctest.Wait()
}

func (f *fixture) busy(flow string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.underWay[flow])
}

func (f *fixture) expect(flow string, n int) {
	f.t.Helper()
	if got := f.busy(flow); got != n {
		f.t.Fatalf("%d writes of %s are under way, want %d", got, flow, n)
	}
}

func TestLightFlowsDoNotWait(t *testing.T) {
	run(t, func(f *fixture) {
		f.want("heavy", 500)
		for i := range 50 {
			flow := fmt.Sprint("light", i)
			f.want(flow, alwaysLight)
			f.expect(flow, alwaysLight)
		}
		f.want("less", 250) // half as many as the one that has most
		f.expect("less", 250)
	})
}

// Its first writes begin before anybody can know how many will come; when they have
// ended, a heavy flow is inside the window.
func TestHeavyFlowIsBounded(t *testing.T) {
	run(t, func(f *fixture) {
		f.want("light", 1)
		f.want("heavy", 500)
		for f.busy("heavy") > window {
			f.finish("heavy")
		}
		f.expect("heavy", window)
		for range 100 {
			f.finish("heavy")
			f.expect("heavy", window)
		}
		time.Sleep(10 * alone) // while the API server stands still nobody comes
		f.finish("light")
		f.expect("heavy", window)
		time.Sleep(alone / 2)
		f.want("light", 1)
		f.finish("light")
		time.Sleep(alone / 2)
		f.finish("heavy")
		f.expect("heavy", window)
		time.Sleep(alone)
		f.finish("heavy")
		f.expect("heavy", 500-alwaysLight-102) // it is alone
	})
}

func TestFlowThatIsAloneIsNotBounded(t *testing.T) {
	run(t, func(f *fixture) {
		time.Sleep(alone)
		f.want("first", 1)
		f.finish("first")
		time.Sleep(alone)
		f.want("first", 100)
		f.expect("first", 100)
	})
}

func TestHeavyFlowsShareTheWindow(t *testing.T) {
	run(t, func(f *fixture) {
		flows := []string{"a", "b", "c", "d"}
		for _, flow := range flows {
			f.want(flow, 100)
		}
		for range 90 { // the first ones began before anybody knew how many would come
			for _, flow := range flows {
				f.finish(flow)
			}
		}
		total := 0
		for _, flow := range flows {
			total += f.busy(flow)
			if f.busy(flow) == 0 {
				t.Errorf("%s has no write under way", flow)
			}
		}
		if total > window {
			t.Errorf("%d writes are under way, want at most %d", total, window)
		}
	})
}

// Where the writes of one flow take much longer, such as by an admission webhook, they
// do not take all the room.
func TestSlowWritesLeaveRoomForOthers(t *testing.T) {
	run(t, func(f *fixture) {
		f.want("light", 1)
		f.want("slow", 150)
		for f.busy("slow") > window { // those that came while it was light, among others
			f.finish("slow")
		}
		f.expect("slow", window) // it has them all
		f.want("fast", 200)
		for f.busy("fast") > window/2 { // those that came while it was light
			f.finish("fast")
		}
		for range 40 {
			f.expect("fast", window/2)
			f.finish("fast")
		}
		f.expect("slow", window)
		f.finish("slow")
		f.expect("slow", window-1) // more than its part it does not get back
	})
}

func TestOpenLetsAllThrough(t *testing.T) {
	run(t, func(f *fixture) {
		f.want("other", 300)
		f.want("heavy", 300)
		if f.busy("heavy") == 300 {
			t.Fatal("nothing waits")
		}
		f.Open()
		synctest.Wait()
		f.expect("heavy", 300)
		f.want("other", 20) // and what comes then
		f.expect("other", 320)
	})
}

// A write that panics has ended.
func TestPanicLeavesNothingBehind(t *testing.T) {
	run(t, func(f *fixture) {
		for range 2 * window {
			func() {
				defer func() { _ = recover() }()
				_ = f.Do("music", func() error { panic("in a write") })
			}()
		}
	})
}

func TestEveryWriteGetsThrough(t *testing.T) {
	l := New()
	refused := errors.New("refused")
	var all sync.WaitGroup
	for i := range 2000 {
		all.Go(func() {
			want := []error{nil, refused}[i%2]
			if err := l.Do(string(rune('a'+i%7*i%3)), func() error { return want }); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
	all.Wait()
	if len(l.flows) != 0 || l.waiting.Len() != 0 {
		t.Errorf("left: %d flows, %d of them waiting", len(l.flows), l.waiting.Len())
	}
}
