package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

const (
	// usualFilter and usualTemplate are such as teams write, and let each event pass.
	usualFilter   = `event.cluster.env == "online" && !event.user.email.endsWith("@bot")`
	usualTemplate = `{
  "msgtype": "markdown",
  "markdown": {
    "title": event.cluster.name,
    "text": "### " + escape.markdown(event.cluster.name) + "\n" + event.eventType + " by " + escape.markdown(event.user.name)
  },
  "at": {"isAtAll": false}
}`
	// dearWebhooks have the dearest filter that is allowed, and dearEvents come to them.
	dearWebhooks = 200
	dearEvents   = 100
)

// expressions compares the operator's deliveries with a filter and a template on every
// Webhook with those without.
func (b *bench) expressions(ctx context.Context, s *store, pair int) error {
	f := &b.figures.expressions
	measure := func(into *bursts, adjust ...func(int, *v1alpha1.Webhook)) func() error {
		return func() error {
			if err := s.clean(ctx); err != nil {
				return err
			}
			if err := b.startOperator(ctx, s); err != nil {
				return err
			}
			if err := b.rest(ctx); err != nil {
				return err
			}
			c, err := b.newScene(ctx, s, b.webhooks, adjust...)
			if err != nil {
				return err
			}
			t, err := b.deliverTo(ctx, c, b.count(b.webhooks), 0)
			if err != nil {
				return err
			}
			into.add(t)
			return nil
		}
	}
	return inTurns(pair, measure(&f.bare), measure(&f.ours, func(_ int, w *v1alpha1.Webhook) {
		w.Spec.Filter, w.Spec.Payload = usualFilter, &v1alpha1.PayloadSettings{Template: usualTemplate}
	}))
}

func (b *bench) expressionRow() row {
	f := b.figures.expressions
	own := func(all bursts) []float64 {
		return mapped(all, func(t throughput) float64 { return t.cpu.operator })
	}
	ours, bare := own(f.ours), own(f.bare)
	return row{
		ID: rowExpressions, Name: fmt.Sprintf("operator's CPU for a delivery with filter and template, %d webhooks, beyond one without", b.webhooks),
		Unit: "ms", Goal: 0.05, values: of(ours, bare, difference),
		Note: fmt.Sprintf("%.2f ms, without %.2f ms; all processes' CPU %.1f ms, without %.1f ms; %.0f deliveries/s, without %.0f/s",
			median(ours), median(bare), median(f.ours.cpu()), median(f.bare.cpu()), median(f.ours.rates()), median(f.bare.rates())),
	}
}

// dear are the delays in a namespace while nothing else happens, and while events come to
// another one whose Webhooks have dear filters.
type dear struct {
	with, without delays
	took          []float64 // seconds until the other namespace's events were decided
	filter        []float64 // milliseconds that one filter takes
}

// dearFilters measures a quiet namespace beside Webhooks with the dearest filters.
func (b *bench) dearFilters(ctx context.Context, s *store) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.clean(ctx); err != nil {
		return err
	}
	quiet, err := b.quietScene(ctx, s)
	if err != nil {
		return err
	}
	text, took, err := dearest(quiet.event(1))
	if err != nil {
		return err
	}
	loud, err := b.newScene(ctx, s, dearWebhooks, func(_ int, w *v1alpha1.Webhook) { w.Spec.Filter = text })
	if err != nil {
		return err
	}
	loud.client = s.crowd
	if err := b.warmUp(ctx, quiet); err != nil {
		return err
	}
	seen, err := sight(ctx, quiet, "")
	if err != nil {
		return err
	}
	f := &b.figures.dear
	all, err := b.paced(ctx, quiet, b.quietPace(), b.steady())
	if err != nil {
		return err
	}
	if err := b.addDelays(ctx, quiet, all, seen, &f.without); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeoutCause(ctx, 2*patience, errors.New("dear filters take too long"))
	defer cancel()
	decided, err := sight(ctx, loud, v1alpha1.EventUnmatched)
	if err != nil {
		return err
	}
	began := time.Now()
	if all, err = b.pacedBeside(ctx, quiet, b.quietPace(), func() error {
		return errors.Join(b.burst(ctx, loud, dearEvents, nil), decided.wait(ctx, dearEvents))
	}); err != nil {
		return err
	}
	f.took, f.filter = append(f.took, decided.last.Sub(began).Seconds()), append(f.filter, milliseconds(took))
	if err := b.addDelays(ctx, quiet, all, seen, &f.with); err != nil {
		return err
	}
	b.Say("dear filters event created → request: %s, alone %s; %d events for %d webhooks, of whose filters each takes %.2f ms, decided in %.1f s",
		describe(f.with.request.latest()), describe(f.without.request.latest()), dearEvents, dearWebhooks, milliseconds(took), f.took[len(f.took)-1])
	return nil
}

// dearest is the filter that takes the longest time of those that may be evaluated. It is
// false for the event.
func dearest(e *v1alpha1.WebhookEvent) (text string, took time.Duration, _ error) {
	in := expression.Input{Event: payload.EventOf(e)}
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	for _, inner := range []string{
		`i * 1000 + j + i + j + i + j >= 0`,
		`event.cluster.env + event.user.email != ""`,
		`!event.user.email.matches("(a|b)*(.*)*c")`,
		`[i, j, i, j].size() == 4`,
		`{"a": i, "b": j}.size() == 2`,
	} {
		nested := func(n int) (string, *expression.Filter, error) {
			text := fmt.Sprintf("!%s.all(i, %s.all(j, %s))", list(n), list(n), inner)
			filter, err := expression.CompileFilter(text)
			if err == nil {
				_, err = filter.Matches(in)
			}
			return text, filter, err
		}
		// The longest lists that do not cost too much.
		n := sort.Search(100, func(n int) bool { _, _, err := nested(n + 1); return err != nil })
		candidate, filter, err := nested(n)
		if err != nil {
			return "", 0, err
		}
		least := time.Hour
		for range 10 {
			began := time.Now()
			if _, err := filter.Matches(in); err != nil {
				return "", 0, err
			}
			least = min(least, time.Since(began))
		}
		if least > took {
			text, took = candidate, least
		}
	}
	if text == "" {
		return "", 0, errors.New("no filter is allowed")
	}
	return text, took, nil
}

func (b *bench) dearRows() []row {
	f := &b.figures.dear
	var all []row
	for _, q := range []struct {
		name    string
		q, goal float64
		note    string
	}{
		{"p50", 0.5, 20, fmt.Sprintf("%.0f events/s beside %d events for %d webhooks whose filter takes %.2f ms each, decided in %.1f s",
			b.quietPace(), dearEvents, dearWebhooks, median(f.filter), median(f.took))},
		{"p99", 0.99, 300, fmt.Sprintf("event created → shown by a bare watch: %s, alone %s; from there to the request: %s, alone %s",
			f.with.seen.describe(), f.without.seen.describe(), f.with.own.describe(), f.without.own.describe())},
	} {
		with, without := f.with.request.quantiles(q.q), f.without.request.quantiles(q.q)
		all = append(all, row{
			ID: rowDear + "-" + q.name, Name: fmt.Sprintf("event created → request, %s beside %d webhooks with the dearest filter in another namespace", q.name, dearWebhooks),
			Unit: "ms", Goal: q.goal, values: with, Note: fmt.Sprintf("alone %.1f ms; %s", median(without), q.note),
		})
	}
	return all
}
