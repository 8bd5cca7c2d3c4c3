package main

import (
	"context"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// The rate limit of F14. Its span is longer than a handover takes, so that what the leader
// before has sent matters.
const (
	limitRequests = 60
	limitSpan     = 3 * time.Second
)

func rateLimited(w *v1alpha1.WebhookSpec) {
	w.RateLimit = &v1alpha1.RateLimit{Requests: limitRequests, PerSeconds: int32(limitSpan.Seconds())}
}

// rateLimit is F14: while a backlog waits for its rate limit, the leader of two is told to
// stop, the next one is killed, and the API server is paused; and an operator without a
// lease is killed and started again at once, within the span of the limit.
func rateLimit(ctx context.Context, t *trial) error {
	if err := rateLimitedLeaders(ctx, t); err != nil {
		return err
	}
	return rateLimitedRestart(ctx, t)
}

// backlogOf makes a load of one Webhook with a rate limit and creates its events at once.
func (t *trial) backlogOf(ctx context.Context, events int) (*load, error) {
	l, err := t.newLoad(ctx, loadOptions{webhooks: 1, delay: 50 * time.Millisecond, change: rateLimited, patience: 3 * time.Minute})
	if err != nil {
		return nil, err
	}
	l.begin(ctx, events, fullSpeed)
	return l, nil
}

func rateLimitedLeaders(ctx context.Context, t *trial) error {
	replicas, err := t.deploy(ctx, "a", "b")
	if err != nil {
		return err
	}
	for _, r := range replicas {
		r.supervise(ctx)
	}
	if _, err := leader(ctx, replicas...); err != nil {
		return err
	}
	l, err := t.backlogOf(ctx, pick(t.options, 1000, 300))
	if err != nil {
		return err
	}
	var killed []time.Time
	faults := []struct {
		name     string
		from, to float64
		do       func() error
	}{
		{"the leader was told to stop", 0.15, 0.3, func() error {
			r, err := leader(ctx, replicas...)
			if err != nil {
				return err
			}
			op := r.life()
			if err := op.Terminate(); err != nil {
				return err
			}
			<-op.Done()
			return nil
		}},
		{"the leader was killed", 0.4, 0.55, func() error {
			r, err := leader(ctx, replicas...)
			if err != nil {
				return err
			}
			killed = append(killed, time.Now())
			return r.kill()
		}},
		{"the API server was paused for 5 s", 0.65, 0.8, func() error {
			if err := t.cp.APIServer.Pause(); err != nil {
				return err
			}
			if err := sleep(ctx, 5*time.Second); err != nil {
				return err
			}
			return t.cp.APIServer.Resume()
		}},
	}
	for _, f := range faults {
		if err := l.reach(ctx, t.moment(l, f.from, f.to)); err != nil {
			return err
		}
		before := l.receiver.Total()
		if err := f.do(); err != nil {
			return err
		}
		t.runs++
		t.say("%s, after %d of %d deliveries", f.name, before.Accepted, l.total())
	}
	if err := l.reachAll(ctx); err != nil {
		t.fail("%v", err)
	}
	t.keepsLimit(l, killed)
	const repeating = 2 // faults after which something may be sent again
	return t.judge(ctx, l, repeating*inFlight)
}

func rateLimitedRestart(ctx context.Context, t *trial) error {
	for _, r := range t.replicas {
		if err := r.close(); err != nil {
			return err
		}
	}
	op := t.replica("alone", t.install.Kubeconfig)
	if err := op.start(ctx); err != nil {
		return err
	}
	l, err := t.backlogOf(ctx, pick(t.options, 400, 150))
	if err != nil {
		return err
	}
	var killed []time.Time
	for range 2 {
		if err := l.reach(ctx, l.receiver.Total().Accepted+limitRequests/2); err != nil {
			return err
		}
		if err := sleep(ctx, t.between(0, limitSpan/2)); err != nil {
			return err
		}
		killed = append(killed, time.Now())
		if err := op.kill(); err != nil {
			return err
		}
		t.runs++
		t.say("killed after %d of %d deliveries", l.receiver.Total().Accepted, l.total())
		if err := op.restart(ctx, 0); err != nil {
			return err
		}
	}
	if err := l.reachAll(ctx); err != nil {
		t.fail("%v", err)
	}
	t.keepsLimit(l, killed)
	return t.judge(ctx, l, len(killed)*inFlight)
}

// keepsLimit holds what arrived against the rate limit: no span may have more, but for the
// requests that were under way when a process was killed in it, which its successor cannot
// know of.
func (t *trial) keepsLimit(l *load, killed []time.Time) {
	most, mostKilled := fullest(l.receiver.AllArrivals(), killed)
	t.note("at most %d in %v, and %d where a process was killed meanwhile (limit %d, and %d)",
		most, limitSpan, mostKilled, limitRequests, limitRequests+inFlight)
	if most > limitRequests || mostKilled > limitRequests+inFlight {
		t.fail("%d requests came within %v, and %d where a process was killed meanwhile", most, limitSpan, mostKilled)
	}
	if most < limitRequests/2 {
		t.fail("only %d requests came within %v: the limit was not reached", most, limitSpan)
	}
}

// fullest returns the most requests that came within the span of the limit, and those in
// which a process was killed.
func fullest(all []receiver.Arrival, killed []time.Time) (most, mostKilled int) {
	first := 0
	for i, a := range all {
		for a.Time.Sub(all[first].Time) >= limitSpan {
			first++
		}
		n, within := i-first+1, false
		for _, at := range killed {
			within = within || at.After(a.Time.Add(-limitSpan)) && at.Before(a.Time)
		}
		if within {
			mostKilled = max(mostKilled, n)
		} else {
			most = max(most, n)
		}
	}
	return most, mostKilled
}
