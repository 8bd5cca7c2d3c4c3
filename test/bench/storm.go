package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// delays are what the events of a steady load meet, in milliseconds, pair by
// pair.
type delays struct {
	request distributions // from an event's creation to each of its requests
	seen    distributions // from an event's creation until a bare watch shows it
	own     distributions // from then to each of its requests
}

// storms are the delays in a namespace while the others are quiet, and while
// very many events come to one of them.
type storms struct {
	with, without delays
	first, rest   distributions // with.request, of the events created while the storm's were, and after that
	nobody        distributions // until a bare watch shows it, while the storm's are created and no operator runs
	created, took []float64     // seconds until the storm's events were created, and delivered
	cut           []float64     // watches that the API server has ended for being slow
}

// quietShare is the part of what the bare client stores that the quiet namespace has: one
// that wanted half of it would be no quieter than the storm.
const quietShare = 0.2

// quietPace is at how many events a second the quiet namespace has that.
func (b *bench) quietPace() float64 {
	return min(eventsPerSecond, quietShare*b.rate/float64(b.webhooks))
}

// quietScene starts the operator, and makes the namespace that is measured beside another.
func (b *bench) quietScene(ctx context.Context, s *store) (*scene, error) {
	if err := b.startOperator(ctx, s); err != nil {
		return nil, err
	}
	if err := b.receivers.answerIn(0); err != nil {
		return nil, err
	}
	return b.newScene(ctx, s, b.webhooks)
}

// storm measures a quiet namespace, first by itself and then beside a storm.
func (b *bench) storm(ctx context.Context, s *store) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := b.stormForNobody(ctx, s); err != nil {
		return err
	}
	quiet, err := b.quietScene(ctx, s)
	if err != nil {
		return err
	}
	loud, err := b.newScene(ctx, s, b.webhooks, func(i int, w *v1alpha1.Webhook) {
		w.Spec.URL = b.receivers.url(manyWebhooks - 1 - i) // not those of the quiet one
	})
	if err != nil {
		return err
	}
	loud.client = s.crowd
	for _, c := range []*scene{loud, quiet} {
		if err := b.warmUp(ctx, c); err != nil {
			return err
		}
	}
	seen, err := sight(ctx, quiet, "")
	if err != nil {
		return err
	}
	all, err := b.paced(ctx, quiet, b.quietPace(), b.steady())
	if err != nil {
		return err
	}
	f := &b.figures.storm
	if err := b.addDelays(ctx, quiet, all, seen, &f.without); err != nil {
		return err
	}
	b.Say("no storm     event created → request: %s", describe(f.without.request.latest()))
	return b.besideStorm(ctx, quiet, loud, seen)
}

// stormForNobody measures how late a bare watch is while a storm's events are
// being created and no operator does anything about them.
func (b *bench) stormForNobody(ctx context.Context, s *store) error {
	if err := s.stop(); err != nil {
		return err
	}
	quiet, err := b.newScene(ctx, s, 0)
	if err != nil {
		return err
	}
	loud, err := b.newScene(ctx, s, 0)
	if err != nil {
		return err
	}
	loud.client = s.crowd
	seen, err := sight(ctx, quiet, "")
	if err != nil {
		return err
	}
	all, err := b.pacedBeside(ctx, quiet, b.quietPace(), func() error { return b.burst(ctx, loud, b.crowd, nil) })
	if err != nil {
		return err
	}
	watched, err := seen.times(ctx, all)
	if err != nil {
		return err
	}
	b.figures.storm.nobody.add(watched)
	b.Say("for nobody   event created → seen: %s", describe(watched))
	return errors.Join(
		s.deleteAll(ctx, quiet.namespace, "WebhookEvent"),
		s.deleteAll(ctx, loud.namespace, "WebhookEvent"),
		b.rest(ctx),
	)
}

// besideStorm measures the quiet namespace from the first event of the storm
// until the last one is delivered.
func (b *bench) besideStorm(ctx context.Context, quiet, loud *scene, seen *sightings) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, errors.New("a storm takes too long"))
	defer cancel()
	ended, err := sight(ctx, loud, v1alpha1.EventSucceeded)
	if err != nil {
		return err
	}
	cut, err := loud.store.cutWatches(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	var creation time.Duration
	all, err := b.pacedBeside(ctx, quiet, b.quietPace(), func() error {
		err := b.burst(ctx, loud, b.crowd, nil)
		creation = time.Since(began)
		return errors.Join(err, ended.wait(ctx, warmUps+b.crowd))
	})
	if err != nil {
		return err
	}
	cutSince, err := loud.store.cutWatches(ctx)
	if err != nil {
		return err
	}
	f := &b.figures.storm
	f.cut = append(f.cut, cutSince-cut)
	if err := b.addDelays(ctx, quiet, all, seen, &f.with); err != nil {
		return err
	}
	var first, rest []created
	for _, e := range all {
		if e.posted.Before(began.Add(creation)) {
			first = append(first, e)
		} else {
			rest = append(rest, e)
		}
	}
	arrivals, _ := b.receivers.look()
	f.first.add(latencies(quiet, first, arrivals))
	f.rest.add(latencies(quiet, rest, arrivals))
	f.created = append(f.created, creation.Seconds())
	f.took = append(f.took, ended.last.Sub(began).Seconds())
	b.Say("storm        event created → request: %s; once the storm's were created: %s; %d events created in %.1f s, delivered in %.1f s; %.0f watches cut",
		describe(f.with.request.latest()), describe(f.rest.latest()), b.crowd, creation.Seconds(), ended.last.Sub(began).Seconds(), cutSince-cut)
	return nil
}

// cutWatches is how many watches the API server has ended because they could not
// keep up. Those of the operator may be among them.
func (s *store) cutWatches(ctx context.Context) (float64, error) {
	f, err := s.apiServerMetrics(ctx)
	return f.sum("apiserver_terminated_watchers_total"), err
}

// addDelays waits for the requests of a scene's events, and adds what they and a
// bare watch have met.
func (b *bench) addDelays(ctx context.Context, c *scene, all []created, seen *sightings, into *delays) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("requests take too long"))
	defer cancel()
	requests := c.requests(all)
	arrivals, err := b.awaitRequests(ctx, len(requests), func(a arrival) bool { _, ok := requests[a.id]; return ok })
	if err != nil {
		return err
	}
	watched, err := seen.times(ctx, all)
	if err != nil {
		return err
	}
	var own []float64
	for _, a := range arrivals {
		at, err := seen.of(ctx, requests[a.id].event.UID)
		if err != nil {
			return err
		}
		own = append(own, milliseconds(a.at.Sub(at)))
	}
	into.request.add(latencies(c, all, arrivals))
	into.seen.add(watched)
	into.own.add(own)
	return nil
}

func (b *bench) stormRows() []row {
	f := &b.figures.storm
	var all []row
	for _, q := range []struct {
		name string
		q    float64
		note string
	}{
		{"p50", 0.5, fmt.Sprintf("%.0f events/s beside %d events created in %.1f s, their deliveries stored after %.1f s; while they were created: %s; after that: %s",
			b.quietPace(), b.crowd, median(f.created), median(f.took), f.first.describe(), f.rest.describe())},
		{"p99", 0.99, fmt.Sprintf("event created → shown by a bare watch: %s, without the storm %s, while as many were created and no operator ran %s; from there to the request: %s, without %s; watches that the API server cut for being slow: %.0f",
			f.with.seen.describe(), f.without.seen.describe(), f.nobody.describe(), f.with.own.describe(), f.without.own.describe(), median(f.cut))},
	} {
		with, without := f.with.request.quantiles(q.q), f.without.request.quantiles(q.q)
		all = append(all, row{
			ID: rowStorm + "-" + q.name, Name: fmt.Sprintf("event created → request, %s beside a storm in another namespace", q.name),
			Unit: "×", Goal: 1.5, values: of(with, without, ratio),
			Note: fmt.Sprintf("%.1f ms, without the storm %.1f ms; %s", median(with), median(without), q.note),
		})
	}
	return all
}
