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

// isolation compares how the well-behaved receivers fare while the other two
// behave, and while they do not: first under a steady load, then in a burst.
func (b *bench) isolation(ctx context.Context, s *store) error {
	for _, k := range []struct {
		name      string
		misbehave bool
		into      *isolation
	}{{"20 behave", false, &b.figures.isolation.bare}, {"2 do not", true, &b.figures.isolation.ours}} {
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
		if k.misbehave {
			if err := b.receivers.script(wellBehaved, "hang"); err != nil {
				return err
			}
			if err := b.receivers.script(wellBehaved+1, "500"); err != nil {
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
		k.into.add(times, rate)
		b.say("%-11s  the 18 others: %s; in a burst %.0f/s", k.name, describe(times), rate)
	}
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
