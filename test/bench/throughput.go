package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/operator"
)

// warmUps are the events that open connections before time is taken.
const warmUps = 20

// patience is far beyond what a phase takes.
const patience = 3 * time.Minute

// throughput is how one burst of events went.
type throughput struct {
	deliveries int
	webhooks   int
	length     time.Duration   // from the first event's creation to the last event's end
	ends       []time.Duration // of each event, when it was seen to be dispatched and delivered
	writes     writes
	cpu        meters // per delivery, in milliseconds
	told       told
}

func (t throughput) perSecond() float64 { return float64(t.deliveries) / t.length.Seconds() }

// bare lets the bare client store the deliveries of so many events.
func (b *bench) bare(ctx context.Context, s *store, webhooks, events int) (throughput, error) {
	c, err := b.newScene(ctx, s, webhooks)
	if err != nil {
		return throughput{}, err
	}
	if err := b.receivers.answerIn(0); err != nil {
		return throughput{}, err
	}
	y, running, err := b.startBareClient(ctx, c, events+warmUps)
	if err != nil {
		return throughput{}, err
	}
	t, err := b.measure(running, c, events, y.take)
	if err := errors.Join(y.stop(), err); err != nil {
		return throughput{}, fmt.Errorf("the bare client: %w", err)
	}
	return t, nil
}

// deliver lets the operator deliver so many events in a scene of their own.
func (b *bench) deliver(ctx context.Context, s *store, webhooks, events int, delay time.Duration) (throughput, error) {
	c, err := b.newScene(ctx, s, webhooks)
	if err != nil {
		return throughput{}, err
	}
	return b.deliverTo(ctx, c, events, delay)
}

// deliverTo lets the operator deliver so many events of a scene.
func (b *bench) deliverTo(ctx context.Context, c *scene, events int, delay time.Duration) (throughput, error) {
	if err := b.receivers.answerIn(delay); err != nil {
		return throughput{}, err
	}
	t, err := b.measure(ctx, c, events, nil)
	if err != nil {
		return throughput{}, err
	}
	arrivals, err := b.awaitArrivals(ctx, events, len(c.webhooks))
	if err != nil {
		return throughput{}, err
	}
	if len(arrivals) != t.deliveries {
		return throughput{}, fmt.Errorf("%d requests for %d deliveries", len(arrivals), t.deliveries)
	}
	return t, nil
}

// measure creates events and sees them to their end.
func (b *bench) measure(ctx context.Context, c *scene, events int, next func(created)) (t throughput, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("a phase takes too long"))
	defer cancel()
	if err := c.store.deleteAll(ctx, c.namespace, "WebhookEvent"); err != nil { // of an earlier burst
		return t, err
	}
	ended, err := sight(ctx, c, v1alpha1.EventSucceeded)
	if err != nil {
		return t, err
	}
	if err := errors.Join(b.burst(ctx, c, warmUps, next), ended.wait(ctx, warmUps)); err != nil {
		return t, err
	}
	if err := sleep(ctx, time.Second); err != nil { // what follows from the first deliveries, such as Webhook status
		return t, err
	}
	before, err := b.read(ctx, c.store)
	if err != nil {
		return t, err
	}
	b.receivers.forget()
	profiled := b.takeProfiles(ctx, c.store, next != nil)
	began := time.Now()
	if err := errors.Join(b.burst(ctx, c, events, next), ended.wait(ctx, warmUps+events)); err != nil {
		return t, err
	}
	profiled()
	after, err := b.read(ctx, c.store)
	if err != nil {
		return t, err
	}
	t.webhooks, t.deliveries = len(c.webhooks), events*len(c.webhooks)
	t.length, t.writes = ended.last.Sub(began), after.writes.since(before.writes)
	t.cpu, t.told = after.per(t.deliveries, before.meters), after.told.since(before.told)
	for _, at := range ended.at {
		if at.After(began) {
			t.ends = append(t.ends, at.Sub(began))
		}
	}
	slices.Sort(t.ends)
	who := "bare client"
	if next == nil {
		who = "operator"
	}
	b.Say("%-11s  %2d webhooks: %4.0f deliveries/s; CPU ms per delivery: %v", who, t.webhooks, t.perSecond(), t.cpu)
	return t, nil
}

// launch starts the operator while an event waits for it, and returns once that
// is delivered, with the time it took until the request came to its receiver.
func (b *bench) launch(ctx context.Context, s *store, env ...string) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("the start takes too long"))
	defer cancel()
	c, err := b.newScene(ctx, s, 1)
	if err != nil {
		return 0, err
	}
	ended, err := sight(ctx, c, v1alpha1.EventSucceeded)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(b.receivers.answerIn(0), b.burst(ctx, c, 1, nil)); err != nil {
		return 0, err
	}
	b.receivers.forget()
	o := s.options
	o.Env = env
	began := time.Now()
	if s.op, err = operator.Launch(o); err != nil {
		return 0, err
	}
	s.stopped = make(chan struct{})
	go b.lookAfter(s.op, s.stopped)
	if err := errors.Join(s.op.WaitReady(ctx), ended.wait(ctx, 1)); err != nil {
		return 0, err
	}
	arrivals, err := b.awaitArrivals(ctx, 1, 1)
	if err != nil {
		return 0, err
	}
	return arrivals[0].at.Sub(began), nil
}

// lookAfter ends the measurement when the operator ends by itself.
func (b *bench) lookAfter(op *operator.Operator, stopped <-chan struct{}) {
	select {
	case <-stopped:
	case <-op.Done():
		select {
		case <-stopped:
		default:
			b.giveUp(fmt.Errorf("the operator has ended by itself: %s; see %s", op.State(), logName))
		}
	}
}

// startOperator starts the operator and lets it settle. One that runs goes on: it
// would take longer to settle than to be measured.
func (b *bench) startOperator(ctx context.Context, s *store) error {
	if s.op != nil {
		return nil
	}
	if _, err := b.launch(ctx, s); err != nil {
		return fmt.Errorf("starting the operator: %w", err)
	}
	b.Say("the operator has started, and settles")
	return sleep(ctx, settling)
}
