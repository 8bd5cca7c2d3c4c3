// Bench measures the operator against its yardsticks: a real API server, an
// etcd that waits for the disk, the operator as a process of its own, receivers
// as another. Each figure is the median of pairs, the operator's run beside its
// yardstick's. It prints a table, and writes that as JSON and what it has seen
// as charts.
//
// One machine runs everything at once, so ratios mean something and absolute
// numbers only beside each other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/test/program"
)

// options are the command line.
type options struct {
	program.Flags

	short    bool
	profile  bool          // take CPU profiles
	pairs    int           // of a yardstick and the operator
	length   time.Duration // of one phase, roughly
	budget   time.Duration // of all
	events   int           // of one phase; 0: as many as fit into length
	webhooks int           // that follow each event
	delay    time.Duration // that a slow receiver takes to answer
	records  int           // in the store that is not empty
	finished int           // events in a store of finished events
	crowd    int           // events of a storm
	waiting  int           // deliveries that wait for a dead receiver
	hang     bool          // the dead receiver hangs instead of refusing connections
	// trickling is for how long a receiver takes less than there is for it.
	trickling time.Duration
	bridge    string // the program of the bridge
	rows      string
}

// Rows that can be chosen.
const (
	rowFast      = "fast"
	rowSlow      = "slow"
	rowLatency   = "latency"
	rowWrites    = "writes"
	rowIsolation = "isolation"
	rowStorm     = "storm"
	rowDead      = "dead"
	rowMemory    = "memory"
	rowFull      = "full"
	rowStart     = "start"
	rowSize      = "size"
	rowEvents    = "events"
	rowRetention = "retention"
	rowBridge    = "bridge"
	rowTrickle   = "trickle"
	// With filters and templates, and beside very dear filters.
	rowExpressions = "expressions"
	rowDear        = "dear"
)

var allRows = []string{rowFast, rowSlow, rowLatency, rowWrites, rowStorm, rowIsolation, rowDead, rowMemory, rowFull, rowStart, rowSize, rowEvents, rowRetention, rowBridge, rowExpressions, rowDear}

// askedRows are measured where they are asked for: they take long.
var askedRows = []string{rowTrickle}

// manyWebhooks is how many follow an event where there are to be many.
const manyWebhooks = 20

func main() {
	if len(os.Args) == 2 && os.Args[1] == receiversCommand {
		if err := playReceivers(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "receivers:", err)
			os.Exit(1)
		}
		return
	}
	o, err := parseOptions()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	os.Exit(program.Run("bench", func(ctx context.Context) error { return run(ctx, os.Stdout, o) }))
}

func parseOptions() (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	o.Add(flags, "bin/webhook-operator", "bench.json and the charts")
	flags.BoolVar(&o.short, "short", false, "end within three minutes: fewer pairs, shorter phases, nothing that needs a full store")
	flags.IntVar(&o.pairs, "pairs", 5, "how many pairs of operator and yardstick")
	flags.DurationVar(&o.length, "length", 6*time.Second, "how long a phase is to take, roughly")
	flags.DurationVar(&o.budget, "budget", time.Hour, "how long all may take; what does not fit is left out")
	flags.IntVar(&o.events, "events", 0, "events of a phase; 0: as many as the bare client manages in --length")
	flags.IntVar(&o.webhooks, "webhooks", 4, "webhooks that follow each event")
	flags.DurationVar(&o.delay, "delay", 20*time.Millisecond, "how long slow receivers take to answer")
	flags.IntVar(&o.records, "records", 50000, "records in the store that is not empty")
	flags.IntVar(&o.finished, "finished-events", 20000, "finished events in the store that is full of them")
	flags.IntVar(&o.crowd, "storm", 5000, "events of a storm")
	flags.IntVar(&o.waiting, "waiting", 10000, "deliveries that wait for a receiver that is dead")
	flags.BoolVar(&o.hang, "dead-hangs", false, "let the dead receiver hang instead of refusing connections")
	flags.DurationVar(&o.trickling, "trickle", 10*time.Minute, "for how long a receiver takes 0.4 of 20 requests a second")
	flags.StringVar(&o.bridge, "bridge", "bin/horizon-bridge", "the program of the bridge from Horizon")
	flags.StringVar(&o.rows, "rows", "", "rows to measure, separated by commas; default all of "+strings.Join(allRows, ",")+"; and "+strings.Join(askedRows, ","))
	flags.BoolVar(&o.profile, "profile", false, "take CPU profiles of the throughput phases, which cost a few percent themselves")
	_ = flags.Parse(os.Args[1:]) // exits by itself
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.short {
		setUnless(given["pairs"], &o.pairs, 2)
		setUnless(given["length"], &o.length, 2*time.Second)
		setUnless(given["budget"], &o.budget, 170*time.Second)
		setUnless(given["records"], &o.records, 5000)
		setUnless(given["finished-events"], &o.finished, 2000)
		setUnless(given["waiting"], &o.waiting, 1000)
		setUnless(given["storm"], &o.crowd, 400)
		setUnless(given["rows"], &o.rows, strings.Join(allRows[:6], ","))
	}
	if o.rows == "" {
		o.rows = strings.Join(allRows, ",")
	}
	for row := range strings.SplitSeq(o.rows, ",") {
		if !slices.Contains(allRows, row) && !slices.Contains(askedRows, row) {
			return o, fmt.Errorf("there is no row %q; rows are %s", row, strings.Join(append(slices.Clone(allRows), askedRows...), ","))
		}
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.pairs < 1 || o.events < 0 || o.records < 1 || o.crowd < 1 || o.waiting < 1 || o.length <= 0 || o.delay < 0:
		return o, errors.New("--pairs, --records, --storm, --waiting and --length must be positive, --events and --delay not negative")
	case o.webhooks < 1 || o.webhooks > manyWebhooks:
		return o, fmt.Errorf("--webhooks must be from 1 to %d", manyWebhooks)
	}
	return o, nil
}

func setUnless[T any](given bool, value *T, to T) {
	if !given {
		*value = to
	}
}

func (o options) wants(rows ...string) bool {
	chosen := strings.Split(o.rows, ",")
	return slices.ContainsFunc(rows, func(row string) bool { return slices.Contains(chosen, row) })
}
