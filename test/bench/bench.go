package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
)

// bench is one run of the program.
type bench struct {
	options
	out       io.Writer
	began     time.Time
	receivers *receivers
	figures   figures

	number int          // of the latest scene
	event  atomic.Int64 // number of the latest event
	rate   float64      // of the bare client, in deliveries a second
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.budget+time.Minute, errors.New("the time for all of it is over"))
	defer cancel()
	b := &bench{options: o, out: out, began: time.Now()}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(o.out, "bench-operator.log")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dir, err := os.MkdirTemp(o.out, "bench-store-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b.say("%d cores, load average %s", runtime.NumCPU(), load())
	if b.receivers, err = startReceivers(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.receivers.close()) }()
	b.say("starting a control plane: etcd with fsync, kube-apiserver")
	s, err := openStore(ctx, o, filepath.Join(dir, "empty"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	if err := b.calibrate(ctx, s); err != nil {
		return err
	}
	if o.wants(rowFast, rowSlow, rowLatency, rowWrites, rowIsolation) {
		if err := b.repeat(ctx, s, func() error { return b.round(ctx, s) }); err != nil {
			return err
		}
	}
	if o.wants(rowMemory, rowFull, rowStart, rowSize) {
		if err := b.withRecords(ctx, s, filepath.Join(dir, "full")); err != nil {
			return err
		}
	}
	b.say("load average %s", load())
	return b.report()
}

// repeat does something as often as there are to be pairs, or as the time
// allows, but once at least, and cleans up between.
func (b *bench) repeat(ctx context.Context, s *store, do func() error) error {
	var longest time.Duration
	for i := range b.pairs {
		left := b.budget - time.Since(b.began)
		if left < longest*11/10 {
			b.say("no time for more: %d of %d", i, b.pairs)
			return nil
		}
		b.say("pair %d of %d", i+1, b.pairs)
		began := time.Now()
		if i > 0 {
			if err := s.clean(ctx); err != nil {
				return err
			}
		}
		if err := do(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		longest = max(longest, time.Since(began))
	}
	return nil
}

// say prints a line of progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, "%6.1f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
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

// round is one pair of each figure that needs no full store: first what the bare
// client does, then what the operator does.
func (b *bench) round(ctx context.Context, s *store) error {
	if err := errors.Join(b.bareRound(ctx, s), s.clean(ctx)); err != nil {
		return err
	}
	if err := b.startOperator(ctx, s); err != nil {
		return err
	}
	return errors.Join(b.operatorRound(ctx, s), s.stop())
}

func (b *bench) bareRound(ctx context.Context, s *store) error {
	f := &b.figures
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
	if b.wants(rowLatency) {
		if err := b.requestLatency(ctx, s); err != nil {
			return err
		}
	}
	if b.wants(rowIsolation) {
		return b.isolation(ctx, s)
	}
	return nil
}
