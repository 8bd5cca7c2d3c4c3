package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/program"
)

// scenario is a fault and what is expected of the operator under it.
type scenario struct {
	id, title string
	play      func(context.Context, *trial) error

	// control says which control plane of its own it is played on; nil: the one
	// that most scenarios share.
	control func(*clusterOptions)
	// beside names another scenario that it is played at the same time as, if
	// both are wanted: both wait for leases most of the time.
	beside string
}

// scenarios in the order in which they run.
var scenarios = []scenario{
	{id: "F1", title: "kill -9 at random moments", play: killAtRandom},
	{id: "F2", title: "kill -9 at a request and after its 200", play: killAtRequests},
	{id: "F3", title: "SIGTERM under load", play: terminate},
	{id: "F4", title: "API server paused, killed and restarted", play: apiServerAway},
	{id: "F5", title: "etcd killed and restarted", play: etcdAway},
	{id: "F6", title: "writes refused, answers dropped", play: badAnswers},
	{id: "F7", title: "watches dropped, and expired", play: brokenWatches},
	{id: "F8", title: "leader paused, its Lease deleted", play: leaderPaused},
	{id: "F9", title: "one hangs, one fails, one flaps", play: badReceivers},
	{id: "F10", title: "etcd full, then freed", play: etcdFull, control: smallQuota, beside: "F4"},
	{id: "F11", title: "permission to write withdrawn", play: permissionWithdrawn},
	{id: "F12", title: "webhooks created or edited, then events", play: appliedTogether},
	{id: "F13", title: "bridge, API server and Horizon killed", play: bridgeKilled, control: func(*clusterOptions) {}},
	{id: "F14", title: "leaders and API server lost amid a rate limit", play: rateLimit},
	{id: "F15", title: "upgraded, rolled back, both versions at once", play: upgrade, control: func(*clusterOptions) {}},
}

// limit is what one scenario may take: a guard against one that never ends.
const limit = 8 * time.Minute

// verdict is what came of a scenario.
type verdict struct {
	scenario scenario

	// runs counts faults.
	runs            int
	lost            int
	duplicates      int
	duplicatesBound int
	notes, problems []string
	took            time.Duration
}

func (v *verdict) failed() bool { return len(v.problems) > 0 }

// row is the verdict as a row of a table.
func (v *verdict) row() string {
	outcome, rest := "passed", v.notes
	if v.failed() {
		outcome, rest = "FAILED", append([]string{"why: " + strings.Join(v.problems, "; ")}, v.notes...)
	}
	return fmt.Sprintf("%s\t%s\t%s\truns %d\tlost %d\tduplicates %d (bound %d)\t%.0f s\t%s",
		v.scenario.id, outcome, v.scenario.title, v.runs, v.lost, v.duplicates, v.duplicatesBound,
		v.took.Seconds(), strings.Join(rest, "; "))
}

// trial is a scenario that is being played.
type trial struct {
	*cluster
	verdict

	rng      *rand.Rand // used by the scenario's own goroutine only
	replicas []*replica
	loads    []*load
	proxies  []*proxy
}

// chaos is one run of the program.
type chaos struct {
	options
	*program.Console
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	c := &chaos{options: o, Console: program.NewConsole(out)}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return err
	}
	dir := filepath.Join(o.Out, "chaos-store")
	unlock, err := controlplane.Scratch(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)); unlock() }()
	c.Say("seed %d, %d cores", o.seed, runtime.NumCPU())

	verdicts, err := c.playAll(ctx, dir)
	if err != nil {
		return err
	}
	return c.report(verdicts)
}

// playAll plays all scenarios that are wanted, and leaves nothing running.
func (c *chaos) playAll(ctx context.Context, dir string) (_ []*verdict, err error) {
	var shared *cluster
	defer func() {
		if shared != nil {
			err = errors.Join(err, shared.close())
		}
	}()
	var wanted []scenario
	for _, s := range scenarios {
		if c.wants(s) {
			wanted = append(wanted, s)
		}
	}
	verdicts := make([]*verdict, len(wanted))
	var beside sync.WaitGroup
	defer beside.Wait()
	for i, s := range wanted {
		if verdicts[i] != nil {
			continue
		}
		if s.control == nil && shared == nil {
			c.Say("starting a control plane: etcd with fsync, kube-apiserver")
			if shared, err = c.openCluster(ctx, filepath.Join(dir, "shared"), clusterOptions{}); err != nil {
				return nil, err
			}
		}
		for j, other := range wanted {
			if other.beside == s.id {
				verdicts[j] = &verdict{}
				beside.Go(func() { *verdicts[j] = *c.playOne(ctx, other, nil, dir) })
			}
		}
		verdicts[i] = c.playOne(ctx, s, shared, dir)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	beside.Wait()
	return verdicts, ctx.Err()
}

// playOne plays one scenario and puts everything in order after it.
func (c *chaos) playOne(ctx context.Context, s scenario, shared *cluster, dir string) *verdict {
	began := time.Now()
	v := c.try(ctx, s, shared, dir)
	v.took = time.Since(began)
	outcome := "passed"
	if v.failed() {
		outcome = "FAILED: " + strings.Join(v.problems, "; ")
	}
	if ctx.Err() == nil {
		c.Say("%-3s %s", s.id, outcome)
	}
	return v
}

func (c *chaos) try(ctx context.Context, s scenario, shared *cluster, dir string) *verdict {
	t := &trial{cluster: shared, verdict: verdict{scenario: s}}
	if shared == nil {
		t.cluster = &cluster{chaos: c} // to be able to speak
	}
	t.rng = rand.New(rand.NewPCG(c.seed, seedOf(s.id)))
	c.Say("%-3s %s", s.id, s.title)
	if s.control != nil {
		var o clusterOptions
		s.control(&o)
		c.Say("%-3s starting a control plane of its own", s.id)
		own, err := c.openCluster(ctx, filepath.Join(dir, s.id), o)
		if err != nil {
			t.fail("%v", err)
			return &t.verdict
		}
		defer func() {
			if err := own.close(); err != nil {
				t.fail("%v", err)
			}
		}()
		t.cluster = own
	}
	bounded, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not over after %v", limit))
	defer cancel()
	err := t.prepare(bounded)
	if err == nil {
		err = s.play(bounded, t)
	}
	if err != nil && ctx.Err() == nil { // an interruption is nobody's fault
		t.fail("%v", err)
	}
	cancel() // nothing more is created, or started again
	t.end(ctx)
	return &t.verdict
}

// seedOf makes a number of a scenario's name, so that it draws the same whether
// others run before it or not.
func seedOf(id string) uint64 {
	var n uint64
	for _, b := range []byte(id) {
		n = n<<8 | uint64(b)
	}
	return n
}

// report prints a line for each verdict, and how many there are of each kind.
func (c *chaos) report(verdicts []*verdict) error {
	fmt.Fprintln(c.Console)
	w := tabwriter.NewWriter(c.Console, 0, 0, 2, ' ', 0)
	failed := 0
	for _, v := range verdicts {
		fmt.Fprintln(w, v.row())
		if v.failed() {
			failed++
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		fmt.Fprintf(c.Console, "\nto see it again: make chaos SEED=%d%s; the operators' logs are %s\n",
			c.seed, map[bool]string{true: " SHORT=1"}[c.short], filepath.Join(c.Out, logPattern))
	}
	fmt.Fprintf(c.Console, "\n%d passed, %d failed\n", len(verdicts)-failed, failed)
	if failed > 0 {
		return program.ErrFailed
	}
	return nil
}

// say prints a line of progress of the scenario.
func (t *trial) say(format string, args ...any) {
	t.chaos.Say("%-3s %s", t.scenario.id, fmt.Sprintf(format, args...))
}

// note adds to what the verdict tells.
func (t *trial) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// fail makes the scenario fail, which goes on: what else it finds helps to
// understand.
func (t *trial) fail(format string, args ...any) {
	t.problems = append(t.problems, fmt.Sprintf(format, args...))
	t.say("NOT SO: %s", t.problems[len(t.problems)-1])
}

// between draws a length of time.
func (t *trial) between(least, most time.Duration) time.Duration {
	return least + time.Duration(t.rng.Int64N(int64(most-least)+1))
}

// moment draws how far a load is to have come when something happens to it: a
// number of accepted deliveries from one share of all to another.
func (t *trial) moment(l *load, from, to float64) int {
	return int(float64(l.total()) * (from + (to-from)*t.rng.Float64()))
}

// prepare removes what earlier scenarios and runs have left.
func (t *trial) prepare(ctx context.Context) error {
	old, err := filepath.Glob(filepath.Join(t.Out, "chaos-"+t.scenario.id+"-*.log"))
	for _, path := range old {
		err = errors.Join(err, os.Remove(path))
	}
	return errors.Join(err, t.forgetLease(ctx))
}

// end stops all that the scenario has started, and mends what it broke.
func (t *trial) end(ctx context.Context) {
	var errs []error
	for _, r := range t.replicas {
		errs = append(errs, r.close())
	}
	for _, l := range t.loads {
		errs = append(errs, l.close())
	}
	for _, p := range t.proxies {
		errs = append(errs, p.close())
	}
	if ctx.Err() == nil {
		errs = append(errs, t.mend(ctx))
	}
	// What could not be delivered would be tried again while others are played.
	for _, l := range t.loads {
		if t.failed() && ctx.Err() == nil {
			errs = append(errs, l.discard(ctx))
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.fail("cleaning up: %v", err)
	}
}

// operator returns the options of an operator with a log of its own.
func (t *trial) operator(name, kubeconfig string, args ...string) operator.Options {
	return operator.Options{
		Binary: t.Operator, Kubeconfig: kubeconfig,
		Log:  filepath.Join(t.Out, fmt.Sprintf("chaos-%s-%s.log", t.scenario.id, name)),
		Args: append(args, t.Args()...),
	}
}

// sleep waits for a while, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
