package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	receivers "github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// The others' latencies may grow by a factor or by so much: this is about
	// being held up, which takes seconds; make bench measures.
	latencyFactor                    = 2
	latencySlackP50, latencySlackP99 = 100 * time.Millisecond, 500 * time.Millisecond

	// flapPatience is long enough for probes of a circuit that has opened,
	// which come half a minute apart at most.
	flapPatience = 3 * time.Minute
)

// badReceivers is F9: one receiver hangs, one fails, one flaps. The others do not
// notice, and the one that flaps gets everything in the end.
func badReceivers(ctx context.Context, t *trial) error {
	op := t.replica("operator", t.install.Kubeconfig)
	if err := op.start(ctx); err != nil {
		return err
	}
	// A machine that is busy with something else only ever adds to latencies, so
	// one comparison that went well is enough.
	const rounds = 3
	for round := 1; ; round++ {
		undisturbed, err := t.allWell(ctx)
		if err != nil {
			return err
		}
		n, disturbed, err := t.someBad(ctx)
		if err != nil {
			return err
		}
		noticed := disturbed.p50 > max(latencyFactor*undisturbed.p50, undisturbed.p50+latencySlackP50) ||
			disturbed.p99 > max(latencyFactor*undisturbed.p99, undisturbed.p99+latencySlackP99)
		t.say("round %d: the others: %v, and %v when nobody misbehaves", round, disturbed, undisturbed)
		if noticed && round < rounds {
			if err := n.discard(ctx); err != nil {
				return err
			}
			continue
		}
		t.note("the others: %v, and %v when nobody misbehaves", disturbed, undisturbed)
		if noticed {
			t.fail("the others notice, %d times of %d", round, rounds)
		}
		began := time.Now()
		if err := t.judge(ctx, n.flapping, 0); err != nil {
			return err
		}
		t.note("the flapping one had everything %.1f s later", time.Since(began).Seconds())
		return n.bad.recorded(ctx)
	}
}

// allWell runs the load when nobody misbehaves: what more load costs is another
// matter than what bad receivers cost.
func (t *trial) allWell(ctx context.Context) (latencies, error) {
	n, err := t.neighbours(ctx)
	if err != nil {
		return latencies{}, err
	}
	l, err := n.run(ctx)
	if err != nil {
		return latencies{}, err
	}
	return l, errors.Join(t.judge(ctx, n.bad, 0), t.judge(ctx, n.flapping, 0))
}

// someBad runs the same load beside receivers that misbehave.
func (t *trial) someBad(ctx context.Context) (*neighbours, latencies, error) {
	n, err := t.neighbours(ctx)
	if err != nil {
		return nil, latencies{}, err
	}
	n.bad.receiver.Script("/webhook-0", receiver.Answer{Hang: true})
	n.bad.receiver.Script("/webhook-1", receiver.Answer{Status: 500})
	n.flapping.receiver.Script("/webhook-0", t.flaps(2*n.events)...)
	t.runs++
	l, err := n.run(ctx)
	return n, l, err
}

// neighbours are loads that share an operator, each in a namespace of its own.
type neighbours struct {
	// good ones accept everything; bad are two Webhooks, flapping one.
	good, bad, flapping *load
	events              int
}

func (t *trial) neighbours(ctx context.Context) (*neighbours, error) {
	n := &neighbours{events: pick(t.options, 200, 60)}
	var errs [3]error
	n.good, errs[0] = t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 5 * time.Millisecond})
	n.bad, errs[1] = t.newLoad(ctx, loadOptions{webhooks: 2, change: func(w *v1alpha1.WebhookSpec) { w.TimeoutSeconds = 5 }})
	n.flapping, errs[2] = t.newLoad(ctx, loadOptions{webhooks: 1, patience: flapPatience})
	return n, errors.Join(errs[:]...)
}

// discard removes what the bad ones have left, so that the next round has as much
// to do as this one.
func (n *neighbours) discard(ctx context.Context) error {
	return errors.Join(n.bad.discard(ctx), n.flapping.discard(ctx))
}

// run lets events happen in all of them, waits until the good ones are done, and
// returns how long their requests took to arrive.
func (n *neighbours) run(ctx context.Context) (latencies, error) {
	const rate = 10
	for _, l := range []*load{n.bad, n.flapping, n.good} {
		l.begin(ctx, n.events, rate)
	}
	if err := n.good.trial.judge(ctx, n.good, 0); err != nil {
		return latencies{}, err
	}
	return n.good.latencies()
}

// flaps draws a script: so many answers, in runs of up to three failures and two
// successes, one longer run of failures that opens a circuit and fails its first
// probe, and successes for ever after.
func (t *trial) flaps(answers int) []receiver.Answer {
	var all []receiver.Answer
	opens := t.rng.IntN(answers / 2)
	for opened := false; len(all) < answers; {
		failures := 1 + t.rng.IntN(3)
		if !opened && len(all) >= opens {
			failures, opened = receivers.FailureThreshold+1, true
		}
		for range failures {
			all = append(all, receiver.Answer{Status: 500})
		}
		for range 1 + t.rng.IntN(2) {
			all = append(all, receiver.Answer{})
		}
	}
	return append(all, receiver.Answer{})
}

// latencies are the times from asking for an event to the arrival of its first
// request.
type latencies struct{ p50, p99 time.Duration }

func (l latencies) String() string {
	return fmt.Sprintf("p50 %d ms, p99 %d ms", l.p50.Milliseconds(), l.p99.Milliseconds())
}

func (l *load) latencies() (latencies, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	seen := map[pair]bool{}
	for _, a := range l.receiver.AllArrivals() {
		p := pair{number(a), a.Path[1:]}
		if posted, ok := l.acknowledged[p]; ok && !seen[p] {
			seen[p] = true
			all = append(all, a.Time.Sub(posted))
		}
	}
	if len(all) == 0 {
		return latencies{}, fmt.Errorf("nothing arrived in %s", l.namespace)
	}
	slices.Sort(all)
	return latencies{p50: all[len(all)/2], p99: all[len(all)*99/100]}, nil
}

// recorded waits until everything that cannot be delivered has a record that says
// so, and exactly one. Then it removes it all, so that it does not occupy the
// scenarios that follow.
func (l *load) recorded(ctx context.Context) error {
	if err := l.created(ctx); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	var c count
	err := wait.PollUntilContextCancel(waiting, time.Second, true, func(context.Context) (bool, error) {
		var records v1alpha1.WebhookDeliveryList
		if err := l.trial.install.Client.List(waiting, &records, client.InNamespace(l.namespace)); err != nil {
			return false, err
		}
		c = tally(l.acknowledged, nil, records.Items)
		return len(records.Items) >= len(l.acknowledged), nil
	})
	if err != nil {
		l.trial.fail("not every delivery to the bad receivers has its record: %v", err)
	}
	if len(c.oddities) > 0 {
		l.trial.fail("%s", few(c.oddities))
	}
	total := l.receiver.Total()
	l.trial.note("%d records of what cannot be delivered, after %d requests", c.pairs, total.Requests)
	return l.discard(ctx)
}
