package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/program"
)

const (
	// logName is the file that collects the operator's output.
	logName = "bench-operator.log"
	// pause lets etcd and the API server come to rest after a clean-up.
	pause = 2 * time.Second
)

// bench is one run of the program.
type bench struct {
	options
	*program.Console
	receivers *receivers
	figures   figures
	profiles  profiles
	giveUp    context.CancelCauseFunc // ends the measurement

	number int          // of the latest scene
	event  atomic.Int64 // number of the latest event
	rate   float64      // of the bare client, in deliveries a second
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	b := &bench{options: o, Console: program.NewConsole(out)}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(o.Out, logName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir := filepath.Join(o.Out, "bench-store")
	unlock, err := controlplane.Scratch(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)); unlock() }()
	b.Say("%d cores, load average %s", runtime.NumCPU(), load())
	if b.receivers, err = startReceivers(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.receivers.close()) }()

	bounded, cancel := context.WithTimeoutCause(ctx, o.budget, errors.New("the time is over"))
	defer cancel()
	measuring, giveUp := context.WithCancelCause(bounded)
	defer giveUp(nil)
	b.giveUp = giveUp
	if err := b.measureAll(measuring, dir); err != nil {
		if bounded.Err() == nil || ctx.Err() != nil {
			return err
		}
		b.Say("%v; this is what was measured until then: %v", context.Cause(bounded), err)
	}
	b.Say("load average %s", load())
	return b.report()
}

// measureAll takes all figures that are wanted, and leaves nothing running.
func (b *bench) measureAll(ctx context.Context, dir string) (err error) {
	b.Say("starting a control plane: etcd with fsync, kube-apiserver")
	s, err := openStore(ctx, b.options, filepath.Join(dir, "empty"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := b.calibrate(ctx, s); err != nil {
		return err
	}
	// What leaves many records behind comes after what is compared: the store is
	// slower for a while after they were deleted.
	if b.wants(rowFast, rowSlow, rowLatency, rowWrites) {
		if err := b.repeat(func(pair int) error { return b.round(ctx, s, pair) }); err != nil {
			return err
		}
	}
	if b.wants(rowExpressions) {
		if err := b.repeat(func(pair int) error { return b.expressions(ctx, s, pair) }); err != nil {
			return err
		}
	}
	if b.wants(rowDear) {
		if err := b.repeat(func(int) error { return b.dearFilters(ctx, s) }); err != nil {
			return err
		}
	}
	if b.wants(rowIsolation) {
		if err := b.repeat(func(pair int) error { return b.isolate(ctx, s, pair) }); err != nil {
			return err
		}
	}
	if b.wants(rowMemory, rowFull, rowStart, rowSize) {
		if err := s.stop(); err != nil {
			return err
		}
		if err := b.withRecords(ctx, s, filepath.Join(dir, "full")); err != nil {
			return err
		}
	}
	if b.wants(rowEvents) {
		if err := errors.Join(s.stop(), b.withEvents(ctx, filepath.Join(dir, "events"))); err != nil {
			return err
		}
	}
	if b.wants(rowRetention) {
		if err := errors.Join(s.clean(ctx), b.withRetention(ctx, s, filepath.Join(dir, "retention"))); err != nil {
			return err
		}
	}
	if b.wants(rowStorm) {
		if err := s.clean(ctx); err != nil {
			return err
		}
		if err := b.repeat(func(int) error { return b.storm(ctx, s) }); err != nil {
			return err
		}
	}
	if err := s.stop(); err != nil {
		return err
	}
	if b.wants(rowBridge) {
		if err := errors.Join(s.clean(ctx), b.withBridge(ctx, s, filepath.Join(dir, "bridge"))); err != nil {
			return err
		}
	}
	if b.wants(rowTrickle) {
		if err := b.withTrickle(ctx, filepath.Join(dir, "trickle")); err != nil {
			return err
		}
	}
	if b.wants(rowDead) {
		return b.withDead(ctx, filepath.Join(dir, "dead"))
	}
	return nil
}

// repeat does something as often as there are to be pairs, or as the time
// allows, but once at least.
func (b *bench) repeat(do func(pair int) error) error {
	var longest time.Duration
	for i := range b.pairs {
		if b.budget-b.Elapsed() < longest {
			b.Say("no time for more: %d of %d", i, b.pairs)
			return nil
		}
		b.Say("pair %d of %d", i+1, b.pairs)
		began := time.Now()
		if err := do(i); err != nil {
			return err
		}
		longest = max(longest, time.Since(began))
	}
	return nil
}

// calibrate warms the control plane up and finds out how many events make a
// phase.
func (b *bench) calibrate(ctx context.Context, s *store) error {
	const deliveries = 800
	t, err := b.bare(ctx, s, b.webhooks, max(deliveries/b.webhooks, 1))
	if err != nil {
		return err
	}
	b.rate = t.perSecond()
	return s.clean(ctx)
}

// count is how many events make a phase with so many Webhooks.
func (b *bench) count(webhooks int) int {
	if b.events > 0 {
		return b.events
	}
	return max(int(b.rate*b.length.Seconds()/float64(webhooks)), 10)
}

// inTurns does both parts of a pair. The second one goes first in every other pair,
// so that what drifts does not favour either.
func inTurns(pair int, first, second func() error) error {
	if pair%2 == 1 {
		first, second = second, first
	}
	if err := first(); err != nil {
		return err
	}
	return second()
}

// round is one pair of each figure that needs no full store: what the bare
// client does and what the operator does.
func (b *bench) round(ctx context.Context, s *store, pair int) error {
	return inTurns(pair, func() error {
		if err := errors.Join(s.clean(ctx), s.stop()); err != nil {
			return err
		}
		return b.bareRound(ctx, s)
	}, func() error {
		if err := s.clean(ctx); err != nil {
			return err
		}
		if err := b.startOperator(ctx, s); err != nil {
			return err
		}
		return b.operatorRound(ctx, s)
	})
}

func (b *bench) bareRound(ctx context.Context, s *store) error {
	f := &b.figures
	// The operator's half has a rest before it too.
	if err := sleep(ctx, pause); err != nil {
		return err
	}
	if b.wants(rowFast, rowSlow, rowWrites) {
		r, err := b.bare(ctx, s, b.webhooks, b.count(b.webhooks))
		if err != nil {
			return err
		}
		f.few.bare.add(r)
	}
	if b.wants(rowSlow) {
		r, err := b.bare(ctx, s, manyWebhooks, b.count(manyWebhooks))
		if err != nil {
			return err
		}
		f.many.bare.add(r)
	}
	if b.wants(rowLatency) {
		return b.watchLatency(ctx, s)
	}
	return nil
}

func (b *bench) operatorRound(ctx context.Context, s *store) error {
	f := &b.figures
	if b.wants(rowFast, rowWrites) {
		r, err := b.deliver(ctx, s, b.webhooks, b.count(b.webhooks), 0)
		if err != nil {
			return err
		}
		f.few.ours.add(r)
	}
	if b.wants(rowSlow) {
		r, err := b.deliver(ctx, s, b.webhooks, b.count(b.webhooks), b.delay)
		if err != nil {
			return err
		}
		f.slow.ours.add(r)
		if r, err = b.deliver(ctx, s, manyWebhooks, b.count(manyWebhooks), b.delay); err != nil {
			return err
		}
		f.many.ours.add(r)
	}
	if b.wants(rowLatency, rowWrites) {
		return b.requestLatency(ctx, s)
	}
	return nil
}
