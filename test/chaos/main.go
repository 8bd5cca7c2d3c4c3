// Chaos tries what the operator promises while things break: a real API server,
// an etcd that waits for the disk, the operator as a process of its own, and
// receivers that keep a journal of what arrived. Processes are killed, paused and
// told to stop, answers are lost, permissions withdrawn and space used up; after
// that every event whose creation was acknowledged must have come to each of its
// Webhooks, and have one record there.
//
// It prints a line for each scenario, with what was lost and what came twice, and
// ends with "N passed, N failed". When things break is drawn from a seed, which is
// printed and can be given again.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/horizoncd/webhook-operator/test/program"
)

// options are the command line.
type options struct {
	program.Flags

	short  bool
	seed   uint64
	bridge string   // the program of the bridge
	only   []string // the scenarios to run; empty: all
}

func main() {
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	os.Exit(program.Run("chaos", func(ctx context.Context) error { return run(ctx, os.Stdout, o) }))
}

func parseOptions(args []string) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("chaos", flag.ExitOnError)
	o.Add(flags, "bin/webhook-operator", "the operators' logs, chaos-*.log")
	flags.BoolVar(&o.short, "short", false, "end within five minutes: less load, fewer and shorter faults")
	flags.Uint64Var(&o.seed, "seed", 0, "what random choices are drawn from; 0: a new one")
	flags.StringVar(&o.bridge, "bridge", "bin/horizon-bridge", "the program of the bridge from Horizon")
	flags.StringVar(&only, "only", "", "scenarios to run, separated by commas, such as F1,F6; default all")
	_ = flags.Parse(args) // exits by itself
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	var ids []string
	for _, s := range scenarios {
		ids = append(ids, s.id)
	}
	var err error
	if o.only, err = program.Choose(only, ids); err != nil {
		return o, err
	}
	for o.seed == 0 {
		o.seed = uint64(rand.Uint32()) // short enough to be typed
	}
	return o, nil
}

// wants tells whether a scenario is to be run.
func (o options) wants(s scenario) bool { return len(o.only) == 0 || slices.Contains(o.only, s.id) }

// pick returns the first value in the long form and the second one in the short.
func pick[T any](o options, long, short T) T {
	if o.short {
		return short
	}
	return long
}
