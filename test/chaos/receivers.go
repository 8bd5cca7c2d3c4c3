package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
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
	events, rate := pick(t.options, 200, 100), 20.0
	alone, err := goodLoad(ctx, t, events, rate)
	if err != nil {
		return err
	}
	undisturbed, err := alone.latencies()
	if err != nil {
		return err
	}
	t.say("without them: %v", undisturbed)

	// The bad ones are in a namespace of their own, and get there first.
	bad, err := t.newLoad(ctx, loadOptions{webhooks: 2, change: func(w *v1alpha1.WebhookSpec) { w.TimeoutSeconds = 5 }})
	if err != nil {
		return err
	}
	bad.receiver.Script("/webhook-0", receiver.Answer{Hang: true})
	bad.receiver.Script("/webhook-1", receiver.Answer{Status: 500})
	flapping, err := t.newLoad(ctx, loadOptions{webhooks: 1, patience: flapPatience})
	if err != nil {
		return err
	}
	flapping.receiver.Script("/webhook-0", t.flaps(2*events)...)
	bad.begin(ctx, events, rate)
	flapping.begin(ctx, events, rate)
	beside, err := goodLoad(ctx, t, events, rate)
	if err != nil {
		return err
	}
	disturbed, err := beside.latencies()
	if err != nil {
		return err
	}
	t.runs = 3
	t.say("with them: %v", disturbed)
	t.note("the others: %v, without the bad ones %v", disturbed, undisturbed)
	if disturbed.p50 > max(latencyFactor*undisturbed.p50, undisturbed.p50+latencySlackP50) ||
		disturbed.p99 > max(latencyFactor*undisturbed.p99, undisturbed.p99+latencySlackP99) {
		t.fail("the others notice: %v, without the bad ones %v", disturbed, undisturbed)
	}
	began := time.Now()
	if err := t.judge(ctx, flapping, 0); err != nil {
		return err
	}
	t.note("the flapping one had everything %.1f s after its last event", time.Since(began).Seconds())
	return bad.recorded(ctx)
}

// goodLoad makes a load whose receivers accept everything, and waits until it is
// done.
func goodLoad(ctx context.Context, t *trial, events int, rate float64) (*load, error) {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 5 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	l.begin(ctx, events, rate)
	return l, t.judge(ctx, l, 0)
}

// flaps draws a script: so many answers, in runs of up to three failures and two
// successes, one longer run of failures that opens a circuit, and successes for
// ever after.
func (t *trial) flaps(answers int) []receiver.Answer {
	var all []receiver.Answer
	opens := t.rng.IntN(answers / 2)
	for opened := false; len(all) < answers; {
		failures := 1 + t.rng.IntN(3)
		if !opened && len(all) >= opens {
			failures, opened = 8, true
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
	err := poll(waiting, time.Second, func() (bool, error) {
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
