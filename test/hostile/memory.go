package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// heapMost is how much the operator's heap may grow while all receivers misbehave
	// at once, or everything comes at once, and goroutinesMost how many more may be
	// left.
	heapMost       = 64 << 20
	goroutinesMost = 50
)

// watchMemory returns a function that tells what the operator's memory has done
// since.
func (t *session) watchMemory(ctx context.Context) (func(context.Context) ([]string, error), error) {
	before, err := t.gauge(ctx, "go_memstats_heap_inuse_bytes")
	if err != nil {
		return nil, err
	}
	goroutines, err := t.gauge(ctx, "go_goroutines")
	if err != nil {
		return nil, err
	}
	watching, cancel := context.WithCancel(ctx)
	peak := make(chan float64, 1)
	go func() {
		most := before
		_ = wait.PollUntilContextCancel(watching, interval, true, func(context.Context) (bool, error) {
			now, err := t.gauge(watching, "go_memstats_heap_inuse_bytes")
			most = max(most, now)
			return false, err
		})
		peak <- most
	}()
	return func(ctx context.Context) ([]string, error) {
		cancel()
		most := <-peak
		var problems []string
		if most > before+heapMost {
			problems = append(problems, fmt.Sprintf("the heap grew from %.0f to %.0f MiB", before/(1<<20), most/(1<<20)))
		}
		waiting, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var left float64
		err := wait.PollUntilContextCancel(waiting, interval, true, func(context.Context) (bool, error) {
			var err error
			left, err = t.gauge(waiting, "go_goroutines")
			return left <= goroutines+goroutinesMost, err
		})
		if err != nil {
			problems = append(problems, fmt.Sprintf("%.0f goroutines are left of %.0f: %v", left, goroutines, err))
		}
		t.Say("%s: the operator's heap grew from %.0f to %.0f MiB at most, goroutines from %.0f to %.0f", t.group, before/(1<<20), most/(1<<20), goroutines, left)
		return problems, nil
	}, nil
}

// gauge is one of the operator's metrics.
func (t *session) gauge(ctx context.Context, name string) (float64, error) {
	text, err := t.op.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("the operator has no metric %s", name)
	}
	return strconv.ParseFloat(found[1], 64)
}
