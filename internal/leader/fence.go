// Package leader fences sends by the leader's lease. A process that was stopped
// and woken up believes in its lease for a while although another one leads
// already; the fence knows better.
package leader

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/clock"
)

// noticeTime is what another process gets to notice that its lease was deleted. It
// looks at each renewal.
const noticeTime = 5 * time.Second

// margin is how long before the end of the lease the last send may begin.
const margin = 2 * time.Second

// noSpace is what etcd says in the error that the API server passes on. There is no
// code for it.
const noSpace = "database space exceeded"

// ErrExpired says that another process may lead by now.
var ErrExpired = errors.New("the lease may have passed to another process")

// Fence is a lock that remembers when its last successful renewal began.
type Fence struct {
	resourcelock.Interface
	duration time.Duration
	clock    clock.Clock

	full       chan struct{}
	fullWrites atomic.Int64

	mu      sync.Mutex
	renewed time.Time
}

// New puts a fence around a lock whose lease lasts for the given duration.
func New(lock resourcelock.Interface, duration time.Duration, c clock.Clock) *Fence {
	return &Fence{Interface: lock, duration: duration, clock: c, full: make(chan struct{}, 1)}
}

// Renewed returns when the last successful renewal began; the zero time while the
// lease is not held.
func (f *Fence) Renewed() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.renewed
}

// Full tells, with each write that fails for it, that etcd has no space left.
func (f *Fence) Full() <-chan struct{} { return f.full }

// FullWrites returns how many writes have failed for it.
func (f *Fence) FullWrites() int64 { return f.fullWrites.Load() }

// Create implements resourcelock.Interface. Where somebody has deleted the lease,
// another process may hold it in good faith: it gets the time to notice before
// this one leads.
func (f *Fence) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := f.remember(r, func() error { return f.Interface.Create(ctx, r) })
	if err != nil {
		return err
	}
	timer := f.clock.NewTimer(noticeTime)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Update implements resourcelock.Interface.
func (f *Fence) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return f.remember(r, func() error { return f.Interface.Update(ctx, r) })
}

// Get implements resourcelock.Interface. Whoever sees another holder knows that
// the lease is lost, long before giving up to renew it.
func (f *Fence) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	r, raw, err := f.Interface.Get(ctx)
	if err == nil && r.HolderIdentity != "" && r.HolderIdentity != f.Identity() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.renewed = time.Time{}
	}
	return r, raw, err
}

// remember notes the time before the write: others count from the write itself,
// so this process never believes for longer than they wait.
func (f *Fence) remember(r resourcelock.LeaderElectionRecord, write func() error) error {
	began := f.clock.Now()
	err := write()
	if err != nil && strings.Contains(err.Error(), noSpace) {
		f.fullWrites.Add(1)
		select {
		case f.full <- struct{}{}:
		default: // it has been told and nobody has heard it yet
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.HolderIdentity == "": // given back
		f.renewed = time.Time{}
	case err == nil && r.HolderIdentity == f.Identity():
		f.renewed = began
	}
	return err
}

// Check returns ErrExpired unless the lease is held for certain. It asks both the
// monotonic clock and the wall clock: the first stands still while a machine
// sleeps, the second may be set back.
func (f *Fence) Check() error {
	renewed := f.Renewed()
	now := f.clock.Now()
	limit := f.duration - margin
	if renewed.IsZero() || now.Sub(renewed) >= limit || now.Round(0).Sub(renewed.Round(0)) >= limit {
		return ErrExpired
	}
	return nil
}
