package main

import (
	"context"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// median is the middle of values, NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// quantile is the smallest value that at least the share q of values does not
// exceed, NaN of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(max(int(math.Ceil(q*float64(len(sorted))))-1, 0), len(sorted)-1)]
}

// once are the values of a figure that is measured once, if it was.
func once(measured bool, value float64) []float64 {
	if !measured {
		return nil
	}
	return []float64{value}
}

// of combines the members of each pair.
func of(ours, bare []float64, combine func(ours, bare float64) float64) []float64 {
	combined := make([]float64, min(len(ours), len(bare)))
	for i := range combined {
		combined[i] = combine(ours[i], bare[i])
	}
	return combined
}

func percent(ours, bare float64) float64    { return 100 * ours / bare }
func ratio(ours, bare float64) float64      { return ours / bare }
func difference(ours, bare float64) float64 { return ours - bare }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// each does n things by several workers, and gives up at the first error.
func each(ctx context.Context, workers, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(workers, n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// sleep waits, unless the context ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// load is the machine's load average, as far as it tells.
func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(data))
	if err != nil || len(fields) < 3 {
		return "unknown"
	}
	return strings.Join(fields[:3], " ")
}
