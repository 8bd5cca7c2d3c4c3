package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
)

// eventsPerSecond is the pace at which latencies are taken.
const eventsPerSecond = 20

// steady is how long that pace is kept up.
func (b *bench) steady() time.Duration { return b.length + b.length/2 }

// rest lets a burst pass that was measured before: etcd and the API server have
// garbage to collect, and counts in statuses are written up to 10 s late.
func (b *bench) rest(ctx context.Context) error { return sleep(ctx, 2*b.length) }

// watchLatency takes the time from the request that creates an event until a
// bare watch shows it.
func (b *bench) watchLatency(ctx context.Context, s *store) error {
	c, err := b.newScene(ctx, s, 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := b.rest(ctx); err != nil {
		return err
	}
	seen, err := sight(ctx, c, "")
	if err != nil {
		return err
	}
	all, err := b.paced(ctx, c, eventsPerSecond, b.steady())
	if err != nil {
		return err
	}
	times, err := seen.times(ctx, all)
	if err != nil {
		return err
	}
	b.figures.latency.bare.add(times)
	b.Say("bare watch   event created → seen: %s", describe(times))
	return nil
}

// requestLatency takes the time from the request that creates an event until the
// first bytes of the operator's request have come to each receiver.
func (b *bench) requestLatency(ctx context.Context, s *store) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := b.newScene(ctx, s, b.webhooks)
	if err != nil {
		return err
	}
	if err := b.receivers.answerIn(0); err != nil {
		return err
	}
	if err := b.warmUp(ctx, c); err != nil {
		return err
	}
	if err := b.rest(ctx); err != nil {
		return err
	}
	statuses, err := countStatusWrites(ctx, c)
	if err != nil {
		return err
	}
	all, err := b.paced(ctx, c, eventsPerSecond, b.steady())
	if err != nil {
		return err
	}
	arrivals, err := b.awaitArrivals(ctx, len(all), b.webhooks)
	if err != nil {
		return err
	}
	times := latencies(c, all, arrivals)
	b.figures.latency.ours.add(times)
	// The first write needs not wait for anything.
	most := float64(b.webhooks) * (1 + b.steady().Seconds()/10)
	b.figures.statusWrites = append(b.figures.statusWrites, float64(statuses.Load())/most)
	b.Say("operator     event created → request: %s", describe(times))
	return nil
}

// countStatusWrites counts what is written to the status of a scene's Webhooks,
// until ctx ends. Nobody writes anything else to them.
func countStatusWrites(ctx context.Context, c *scene) (*atomic.Int64, error) {
	w, err := c.store.admin.Watch(ctx, &v1alpha1.WebhookList{}, client.InNamespace(c.namespace))
	if err != nil {
		return nil, fmt.Errorf("watching webhooks: %w", err)
	}
	count := &atomic.Int64{}
	go func() {
		defer w.Stop()
		for change := range w.ResultChan() {
			if change.Type == watch.Modified {
				count.Add(1)
			}
		}
	}()
	return count, nil
}

// warmUp lets the operator deliver a few events of a scene first.
func (b *bench) warmUp(ctx context.Context, c *scene) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, err := sight(ctx, c, v1alpha1.EventSucceeded)
	if err != nil {
		return err
	}
	if err := b.burst(ctx, c, warmUps, nil); err != nil {
		return err
	}
	if err := ended.wait(ctx, warmUps); err != nil {
		return err
	}
	b.receivers.forget()
	return sleep(ctx, time.Second)
}

// requests are the events that requests with a scene's Webhooks are about, by
// webhook-id.
func (c *scene) requests(all []created) map[string]created {
	byID := map[string]created{}
	for _, e := range all {
		for _, w := range c.webhooks {
			byID[delivery.MessageID(e.event.UID, w.UID)] = e
		}
	}
	return byID
}

// latencies are the times from each event's creation to each arrival, in
// milliseconds.
func latencies(c *scene, all []created, arrivals []arrival) []float64 {
	requests := c.requests(all)
	var times []float64
	for _, a := range arrivals {
		if e, ok := requests[a.id]; ok {
			times = append(times, milliseconds(a.at.Sub(e.posted)))
		}
	}
	return times
}
