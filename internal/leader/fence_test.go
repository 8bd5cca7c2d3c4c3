package leader

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
	clocktesting "k8s.io/utils/clock/testing"
)

// lock is a lock whose writes take a while and may fail.
type lock struct {
	resourcelock.Interface
	clock *clocktesting.FakeClock
	takes time.Duration
	err   error
	seen  string
}

func (l *lock) Identity() string { return "me" }
func (l *lock) Update(context.Context, resourcelock.LeaderElectionRecord) error {
	l.clock.Step(l.takes)
	return l.err
}
func (l *lock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	return &resourcelock.LeaderElectionRecord{HolderIdentity: l.seen}, nil, nil
}
func (l *lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, r)
}

// create creates a lease, with all the time that it takes.
func create(f *Fence, l *lock, r resourcelock.LeaderElectionRecord) {
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Create(context.Background(), r) }()
	for {
		select {
		case <-done:
			return
		default:
		}
		if l.clock.HasWaiters() {
			l.clock.Step(noticeTime)
		}
		time.Sleep(time.Millisecond)
	}
}

// A lease that was deleted may still be held in good faith.
func TestWhoeverCreatesTheLeaseWaits(t *testing.T) {
	l := &lock{clock: clocktesting.NewFakeClock(time.Now())}
	f := New(l, 15*time.Second, l.clock)
	began := l.clock.Now()
	create(f, l, resourcelock.LeaderElectionRecord{HolderIdentity: "me"})
	if got := l.clock.Since(began); got < noticeTime {
		t.Errorf("it leads after %v, want %v at least", got, noticeTime)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Create(ctx, resourcelock.LeaderElectionRecord{HolderIdentity: "me"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Create = %v when it is told to stop, want %v", err, context.Canceled)
	}
}

func TestFence(t *testing.T) {
	const duration = 15 * time.Second
	mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}
	tests := map[string]struct {
		do   func(f *Fence, l *lock)
		want error
	}{
		"never held": {
			do:   func(*Fence, *lock) {},
			want: ErrExpired,
		},
		"just acquired": {
			do: func(f *Fence, l *lock) { create(f, l, mine) },
		},
		"renewed again and again": {
			do: func(f *Fence, l *lock) {
				for range 10 {
					_ = f.Update(context.Background(), mine)
					l.clock.Step(10 * time.Second)
				}
			},
		},
		"just before the margin": {
			do: func(f *Fence, l *lock) {
				_ = f.Update(context.Background(), mine)
				l.clock.Step(duration - margin - time.Millisecond)
			},
		},
		"within the margin": {
			do: func(f *Fence, l *lock) {
				_ = f.Update(context.Background(), mine)
				l.clock.Step(duration - margin)
			},
			want: ErrExpired,
		},
		"a slow renewal counts from its beginning": {
			do: func(f *Fence, l *lock) {
				l.takes = duration - margin
				_ = f.Update(context.Background(), mine)
			},
			want: ErrExpired,
		},
		"a failed renewal does not count": {
			do: func(f *Fence, l *lock) {
				_ = f.Update(context.Background(), mine)
				l.clock.Step(duration - margin - time.Second)
				l.err = errors.New("no answer")
				_ = f.Update(context.Background(), mine)
				l.clock.Step(2 * time.Second)
			},
			want: ErrExpired,
		},
		"somebody else was seen to hold it": {
			do: func(f *Fence, l *lock) {
				_ = f.Update(context.Background(), mine)
				l.seen = "another"
				_, _, _ = f.Get(context.Background())
			},
			want: ErrExpired,
		},
		"seen to be held": {
			do: func(f *Fence, l *lock) {
				_ = f.Update(context.Background(), mine)
				l.seen = "me"
				_, _, _ = f.Get(context.Background())
			},
		},
		"given back": {
			do: func(f *Fence, _ *lock) {
				_ = f.Update(context.Background(), mine)
				_ = f.Update(context.Background(), resourcelock.LeaderElectionRecord{})
			},
			want: ErrExpired,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakeClock(time.Now())
			l := &lock{clock: clock}
			f := New(l, duration, clock)
			test.do(f, l)
			if err := f.Check(); !errors.Is(err, test.want) {
				t.Errorf("Check() = %v, want %v", err, test.want)
			}
		})
	}
}

func TestFullStoreIsTold(t *testing.T) {
	mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}
	l := &lock{clock: clocktesting.NewFakeClock(time.Now())}
	f := New(l, 15*time.Second, l.clock)
	told := func() bool {
		select {
		case <-f.Full():
			return true
		default:
			return false
		}
	}
	l.err = errors.New("the server is busy")
	_ = f.Update(context.Background(), mine)
	if told() {
		t.Error("told of another error")
	}
	l.err = errors.New("Internal error occurred: etcdserver: mvcc: database space exceeded")
	for range 3 { // although nobody listens
		_ = f.Update(context.Background(), mine)
	}
	if !told() {
		t.Error("not told")
	}
	if told() {
		t.Error("told once more than tried since")
	}
	create(f, l, mine)
	if !told() {
		t.Error("not told again")
	}
	if got := f.FullWrites(); got != 4 {
		t.Errorf("counted %d writes that failed for want of space, want 4", got)
	}
}
