// Hostile plays to a running operator what strangers and careless tenants do to
// it: receivers that answer with anything but HTTP or say again what is secret, URLs,
// fields, Secrets and expressions that cannot be used or want more time and memory than
// there is, forged records, floods, annotations without end, and addresses and names that
// nobody may reach through it. There are a real API server, the operator as a process of
// its own with the permissions that it is installed with, receivers on loopback, and a
// nameserver of this program's own: the operator is built with testdata/overlay.json, and
// asks that one.
//
// It prints a line for each input that was not stood and one for each group, and
// ends with "N passed, N failed".
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"

	"github.com/horizoncd/webhook-operator/test/program"
)

// options are the command line.
type options struct {
	program.Flags

	only []string // the groups to play; empty: all
}

func main() {
	o, err := parseOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(2)
	}
	os.Exit(program.Run("hostile", func(ctx context.Context) error { return run(ctx, os.Stdout, o) }))
}

func parseOptions() (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("hostile", flag.ExitOnError)
	o.Add(flags, "bin/build/hostile-operator", "the operator's log, "+logName)
	flags.StringVar(&only, "only", "", "groups to play, separated by commas, such as answers,urls; default all")
	_ = flags.Parse(os.Args[1:]) // exits by itself
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	var err error
	if o.only, err = program.Choose(only, names); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, nil
}

func (o options) wants(g group) bool { return len(o.only) == 0 || slices.Contains(o.only, g.name) }
