package main

import (
	"context"
	"net/http"
	"time"
)

const (
	// badShare is the share of writes that go wrong.
	badShare = 0.2
	// requestsPerDelivery is how many requests a delivery may cost, all told: its
	// record and a share of its event's status, reads of what may be stored
	// already, and all of that again where it went wrong. A loop without pauses
	// makes thousands.
	requestsPerDelivery = 8
	// quietTime is how long the operator is watched doing nothing afterwards, and
	// quietMost how many requests per second it may make then.
	quietTime = 2 * time.Second
	quietMost = 10
	// quietPatience is how long the last statuses of events that went wrong may
	// take to be written again.
	quietPatience = 10 * time.Second
)

// badAnswers is F6: a fifth of the writes are refused, and a fifth are carried
// out without an answer.
func badAnswers(ctx context.Context, t *trial) error {
	p, kubeconfig, err := t.proxy()
	if err != nil {
		return err
	}
	op := t.replica("operator", kubeconfig)
	if err := op.start(ctx); err != nil {
		return err
	}
	codes := []int{http.StatusConflict, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusGatewayTimeout}
	for _, f := range []struct {
		name   string
		faults faults
	}{
		{"refused with 409, 429, 500 or 504", faults{refused: badShare, codes: codes}},
		{"carried out and not answered", faults{dropped: badShare}},
	} {
		t.say("%.0f %% of the writes %s", 100*badShare, f.name)
		if err := answerBadly(ctx, t, p, f.faults); err != nil {
			return err
		}
	}
	return becomesQuiet(ctx, t, p)
}

// becomesQuiet watches that the operator does next to nothing once everything is
// done.
func becomesQuiet(ctx context.Context, t *trial, p *proxy) error {
	for began := time.Now(); ; {
		before := p.count().requests
		if err := sleep(ctx, quietTime); err != nil {
			return err
		}
		idle := p.count().requests - before
		if idle <= quietMost*int(quietTime.Seconds()) {
			return nil
		}
		if time.Since(began) > quietPatience {
			t.fail("still %d requests in %v, %v after everything was done", idle, quietTime, time.Since(began).Round(time.Second))
			return nil
		}
	}
}

func answerBadly(ctx context.Context, t *trial, p *proxy, f faults) error {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut})
	if err != nil {
		return err
	}
	before, began := p.count(), time.Now()
	p.set(f)
	l.begin(ctx, pick(t.options, 200, 100), fullSpeed)
	if err := t.judge(ctx, l, 0); err != nil {
		return err
	}
	p.set(faults{})
	after := p.count()
	requests, bad := after.requests-before.requests, after.refused+after.dropped-before.refused-before.dropped
	t.runs += bad
	if bad == 0 {
		t.fail("no write went wrong")
	}
	if most := requestsPerDelivery * l.total(); requests > most {
		t.fail("%d requests for %d deliveries, more than %d: a hot loop", requests, l.total(), most)
	}
	t.note("%d requests for %d deliveries, %.0f/s, of which %d went wrong",
		requests, l.total(), float64(requests)/time.Since(began).Seconds(), bad)
	return nil
}

// brokenWatches is F7: watches are cut again and again, and then kept away while
// events are created and etcd forgets the version that they would resume from.
func brokenWatches(ctx context.Context, t *trial) error {
	p, kubeconfig, err := t.proxy()
	if err != nil {
		return err
	}
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	op := t.replica("operator", kubeconfig)
	if err := op.start(ctx); err != nil {
		return err
	}
	events := pick(t.options, 200, 100)
	l.begin(ctx, events*3/4, 40)
	for range pick(t.options, 15, 6) {
		if err := sleep(ctx, t.between(50*time.Millisecond, 500*time.Millisecond)); err != nil {
			return err
		}
		t.runs += p.cutWatches("")
	}
	if err := l.created(ctx); err != nil {
		return err
	}
	watched := []string{"webhooks", "webhookevents", "webhookdeliveries"}
	if err := p.steady(ctx, watched...); err != nil {
		return err
	}
	t.say("%d watches cut; now they are kept away", t.runs)

	release := p.hold(watched...)
	defer release()
	l.begin(ctx, events-events*3/4, fullSpeed)
	if err := l.created(ctx); err != nil {
		return err
	}
	if err := t.forgetVersions(ctx); err != nil {
		return err
	}
	release()
	released := time.Now()
	t.runs++
	if err := t.judge(ctx, l, 0); err != nil {
		return err
	}
	counts := p.count()
	t.note("%d watches cut, %d told that their version is too old; all was delivered %.1f s after that",
		counts.cut, counts.expired, time.Since(released).Seconds())
	if counts.expired == 0 {
		t.fail("no watch was told that its version is too old")
	}
	return nil
}
