package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// takeoverMost is how long the others may take to go on after a leader that
	// had no chance to give its lease back.
	takeoverMost = 20 * time.Second
	// handoverMost is how long they may take after one that had.
	handoverMost = 10 * time.Second
	// stopMost is how long an operator may take to end when asked to.
	stopMost = 20 * time.Second

	// settlingRequests is how long requests of a process that was killed may
	// take to be read from their connections.
	settlingRequests = 100 * time.Millisecond
)

// killAtRandom is F1: kill -9 at random moments, again and again, and of the
// leader of two.
func killAtRandom(ctx context.Context, t *trial) error {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	op := t.replica("alone", t.install.Kubeconfig)
	if err := op.start(ctx); err != nil {
		return err
	}
	l.begin(ctx, pick(t.options, 400, 120), 50)
	kills := pick(t.options, 8, 4)
	moments := make([]int, kills)
	for i := range moments {
		moments[i] = t.moment(l, 0.02, 0.95)
	}
	slices.Sort(moments)
	for _, n := range moments {
		if err := l.reach(ctx, n); err != nil {
			return err
		}
		if err := sleep(ctx, t.between(0, 100*time.Millisecond)); err != nil {
			return err
		}
		if err := op.kill(); err != nil {
			return err
		}
		t.runs++
		t.say("killed after %d of %d deliveries", l.receiver.Total().Accepted, l.total())
		if err := op.restart(ctx, t.between(0, 500*time.Millisecond)); err != nil {
			return err
		}
	}
	if err := t.judge(ctx, l, kills*everyone); err != nil {
		return err
	}
	if err := op.close(); err != nil {
		return err
	}
	return killLeader(ctx, t)
}

func killLeader(ctx context.Context, t *trial) error {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	replicas, err := t.deploy(ctx, "a", "b")
	if err != nil {
		return err
	}
	first, err := leader(ctx, replicas...)
	if err != nil {
		return err
	}
	if err := l.burst(ctx, pick(t.options, 200, 100)); err != nil {
		return err
	}
	if err := first.kill(); err != nil {
		return err
	}
	killed := time.Now()
	t.runs++
	t.say("killed the leader, %s, after %d of %d deliveries", first.name, l.receiver.Total().Accepted, l.total())
	if err := sleep(ctx, settlingRequests); err != nil {
		return err
	}
	took, err := l.next(ctx, l.requests(), killed, 2*takeoverMost)
	if err != nil {
		t.fail("after the kill of the leader: %v", err)
	} else {
		t.note("the standby took over after %.1f s", took.Seconds())
		if took > takeoverMost {
			t.fail("the standby took over after %.1f s, not %v", took.Seconds(), takeoverMost)
		}
	}
	return t.judge(ctx, l, everyone)
}

// trap calls a function at the next request that gets to a point of its life.
type trap struct {
	mu    sync.Mutex
	point point
	shut  func()
}

// point is one in the life of a request at a receiver.
type point int

const (
	// arrivalPoint is when the receiver has got it.
	arrivalPoint point = iota
	// answerPoint is when the answer is on its way.
	answerPoint
)

func (p point) String() string { return [...]string{"had got a request", "had answered 200"}[p] }

// set sets the trap and returns a channel that is closed when it has shut.
func (s *trap) set(at point, do func()) <-chan struct{} {
	done := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.point = at
	s.shut = func() { defer close(done); do() }
	return done
}

func (s *trap) at(p point) func(receiver.Arrival) {
	return func(receiver.Arrival) {
		s.mu.Lock()
		shut := s.shut
		if s.point != p {
			shut = nil
		}
		if shut != nil {
			s.shut = nil
		}
		s.mu.Unlock()
		if shut != nil {
			shut()
		}
	}
}

// killAtRequests is F2: kill -9 exactly when a receiver has got the request, and
// just after its 200. The Webhook that it is about has one request under way at a
// time, so that each kill can repeat one at most.
func killAtRequests(ctx context.Context, t *trial) error {
	s := &trap{}
	repeats := pick(t.options, 6, 3)
	probe, err := t.newLoad(ctx, loadOptions{
		webhooks: 1,
		change:   func(w *v1alpha1.WebhookSpec) { w.MaxInFlight = 1 },
		receiver: receiver.Options{OnArrival: s.at(arrivalPoint), OnAnswer: s.at(answerPoint)},
	})
	if err != nil {
		return err
	}
	beside, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	op := t.replica("operator", t.install.Kubeconfig)
	if err := op.start(ctx); err != nil {
		return err
	}
	events := pick(t.options, 200, 100)
	kills := 2 * repeats
	beside.begin(ctx, events, float64(events)/float64(kills))
	probe.begin(ctx, 8*kills, 10)

	points := make([]point, kills)
	for i := range points {
		points[i] = point(i % 2)
	}
	t.rng.Shuffle(kills, func(i, j int) { points[i], points[j] = points[j], points[i] })
	for _, at := range points {
		accepted := probe.receiver.Total().Accepted
		if err := probe.reach(ctx, min(accepted+1+t.rng.IntN(4), probe.total()-1)); err != nil {
			return err
		}
		// None, or long enough for the answer to be read, but hardly to be stored.
		pause := t.between(0, 3*time.Millisecond)
		var killed error
		done := s.set(at, func() {
			if at == answerPoint {
				_ = sleep(ctx, pause)
			}
			killed = op.kill()
		})
		select {
		case <-done:
		case <-time.After(reachPatience):
			return fmt.Errorf("no request came to %s", probe.namespace)
		}
		if killed != nil {
			return killed
		}
		t.runs++
		t.say("killed when the receiver %v", at)
		if err := op.restart(ctx, t.between(0, 200*time.Millisecond)); err != nil {
			return err
		}
	}
	if err := t.judge(ctx, probe, kills); err != nil {
		return err
	}
	t.note("%d kills of either kind", repeats)
	return t.judgeAside(ctx, beside, kills*everyone)
}

// terminate is F3: SIGTERM under load. Requests under way are recorded, and the
// lease is given back, so that the other replica need not wait for it.
func terminate(ctx context.Context, t *trial) error {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 200 * time.Millisecond})
	if err != nil {
		return err
	}
	replicas, err := t.deploy(ctx, "a", "b")
	if err != nil {
		return err
	}
	var longest, longestStop time.Duration
	for range pick(t.options, 4, 2) {
		leading, err := leader(ctx, replicas...)
		if err != nil {
			return err
		}
		if err := l.burst(ctx, pick(t.options, 100, 60)); err != nil {
			return err
		}
		op, before := leading.life(), l.receiver.Total()
		began := time.Now()
		if err := op.Terminate(); err != nil {
			return err
		}
		t.runs++
		select {
		case <-op.Done():
		case <-time.After(stopMost):
			t.fail("it has not ended %v after SIGTERM", stopMost)
			return op.Kill()
		}
		stopped := time.Since(began)
		if state := op.State(); state != "exit status 0" {
			t.fail("after SIGTERM: %s", state)
		}
		took, err := l.next(ctx, l.requests(), began, 2*takeoverMost)
		if err != nil {
			t.fail("after SIGTERM: %v", err)
		} else if took > handoverMost {
			t.fail("the other took over after %.1f s, not %v", took.Seconds(), handoverMost)
		}
		t.say("stopped %s with %d requests under way: ended after %.1f s, the other delivers after %.1f s",
			leading.name, before.InFlight, stopped.Seconds(), took.Seconds())
		longest, longestStop = max(longest, took), max(longestStop, stopped)
		// The next one to be stopped needs somebody to hand over to.
		if err := leading.start(ctx); err != nil {
			return err
		}
		if err := l.reachAll(ctx); err != nil {
			return err
		}
	}
	t.note("ended within %.1f s, the other delivered within %.1f s", longestStop.Seconds(), longest.Seconds())
	return t.judge(ctx, l, 0)
}
