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
	"strings"

	"github.com/horizoncd/webhook-operator/test/program"
)

// options are the command line.
type options struct {
	binary, root, logs string

	short bool
	seed  uint64
	only  []string // the scenarios to run; empty: all
	args  []string // further ones of the operator
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
	var only, operatorArgs string
	flags := flag.NewFlagSet("chaos", flag.ExitOnError)
	flags.StringVar(&o.binary, "operator", "bin/webhook-operator", "the operator's program")
	flags.StringVar(&o.root, "root", ".", "the directory of the repository")
	flags.StringVar(&o.logs, "out", "bin", "the directory for the operators' logs, chaos-*.log")
	flags.BoolVar(&o.short, "short", false, "end within five minutes: less load, fewer and shorter faults")
	flags.Uint64Var(&o.seed, "seed", 0, "what random choices are drawn from; 0: a new one")
	flags.StringVar(&only, "only", "", "scenarios to run, separated by commas, such as F1,F6; default all")
	flags.StringVar(&operatorArgs, "operator-args", "", "further flags of the operator, separated by spaces")
	_ = flags.Parse(args) // exits by itself
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	o.args = strings.Fields(operatorArgs)
	if only != "" {
		o.only = strings.Split(strings.ToUpper(only), ",")
	}
	for _, id := range o.only {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.id == id }) {
			return o, fmt.Errorf("there is no scenario %q; there are %s to %s", id, scenarios[0].id, scenarios[len(scenarios)-1].id)
		}
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
