package main

import (
	"context"
	"time"
)

const (
	// wellBehaved receivers come first; of the last two, one hangs and one fails
	// at once.
	wellBehaved = manyWebhooks - 2
	// share of what the bare client stores that the paced load asks for.
	share = 0.4
)

// isolate compares how the well-behaved receivers fare while the other two behave,
// and while they do not.
func (b *bench) isolate(ctx context.Context, s *store, pair int) error {
	f := &b.figures.isolation
	return inTurns(pair,
		func() error { return b.besideTwo(ctx, s, "20 behave", &f.bare) },
		func() error { return b.besideTwo(ctx, s, "2 do not", &f.ours, "hang", "500") })
}

// besideTwo measures the well-behaved receivers while the other two answer as
// scripted, if they are: first under a steady load, then in a burst. Nothing is in
// store that an earlier one has left: a receiver that fails is tried again for hours.
func (b *bench) besideTwo(ctx context.Context, s *store, name string, into *isolation, scripts ...string) error {
	if err := s.clean(ctx); err != nil {
		return err
	}
	if err := b.startOperator(ctx, s); err != nil {
		return err
	}
	if err := b.receivers.answerIn(0); err != nil {
		return err
	}
	c, err := b.newScene(ctx, s, manyWebhooks)
	if err != nil {
		return err
	}
	if err := b.warmUp(ctx, c); err != nil {
		return err
	}
	for i, script := range scripts {
		if err := b.receivers.script(wellBehaved+i, script); err != nil {
			return err
		}
	}
	all, err := b.paced(ctx, c, share*b.rate/manyWebhooks, b.length)
	if err != nil {
		return err
	}
	arrivals, err := b.awaitArrivals(ctx, len(all), wellBehaved)
	if err != nil {
		return err
	}
	times := latencies(c, all, arrivals)
	rate, err := b.burstRate(ctx, c)
	if err != nil {
		return err
	}
	into.add(times, rate)
	b.Say("%-11s  the 18 others: %s; in a burst %.0f/s", name, describe(times), rate)
	return nil
}

// burstRate is how many requests a second come to the well-behaved receivers
// while many events wait.
func (b *bench) burstRate(ctx context.Context, c *scene) (float64, error) {
	events := b.count(manyWebhooks)
	b.receivers.forget()
	began := time.Now()
	if err := b.burst(ctx, c, events, nil); err != nil {
		return 0, err
	}
	arrivals, err := b.awaitArrivals(ctx, events, wellBehaved)
	if err != nil {
		return 0, err
	}
	last := began
	for _, a := range arrivals {
		if a.at.After(last) {
			last = a.at
		}
	}
	return float64(len(arrivals)) / last.Sub(began).Seconds(), nil
}

// isolation is what the well-behaved receivers got, pair by pair.
type isolation struct {
	times [][]float64 // of each request, in milliseconds
	rates []float64   // requests a second
}

func (i *isolation) add(times []float64, rate float64) {
	i.times = append(i.times, times)
	i.rates = append(i.rates, rate)
}
