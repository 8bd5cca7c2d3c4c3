package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	manyEvents   = 300
	manyWebhooks = 300
	manyResends  = 500
	// resentRecords are as many as get the resends.
	resentRecords = 100
	// floodWriters write a flood at the same time.
	floodWriters = 16
	// neighbourMost is how long a delivery in another namespace may take meanwhile.
	neighbourMost = 10 * time.Second
	// inFlightMost is how many requests may be under way for one namespace: half of the
	// operator's workers, and perWebhook by default to one receiver.
	inFlightMost = 256
	perWebhook   = 10
	// seriesMost is how many more metrics there may be afterwards.
	seriesMost = 100
)

// flood is what the floods share.
type flood struct {
	*session
	quiet    string // namespace
	receiver *receiver.Receiver
	probes   int
	worst    time.Duration
}

// newFlood makes a quiet namespace with a Webhook, and sends the first event there. Whoever
// gets it closes the receiver.
func (t *session) newFlood(ctx context.Context, o receiver.Options) (f *flood, err error) {
	f = &flood{session: t}
	if f.quiet, err = t.namespace(ctx, "quiet"); err != nil {
		return nil, err
	}
	if f.receiver, err = receiver.Start(o); err != nil {
		return nil, err
	}
	err = t.client.Create(ctx, webhook(f.quiet, "quiet", f.receiver.URL("/quiet")))
	if err == nil {
		err = f.beside(ctx, func(context.Context) error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, f.receiver.Close())
	}
	return f, nil
}

// playFloods lets everything come at once in one namespace, to receivers that hang, and
// something in another one now and then.
func playFloods(ctx context.Context, t *session) (err error) {
	f, err := t.newFlood(ctx, receiver.Options{Lean: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.receiver.Close()) }()
	before := f.worst
	watch, err := t.watchMemory(ctx)
	if err != nil {
		return err
	}
	for _, play := range []struct {
		name string
		this func(context.Context) ([]string, error)
	}{{"events", f.events}, {"webhooks", f.webhooks}, {"resends", f.resends}} {
		f.worst = 0
		problems, err := play.this(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", play.name, err)
		}
		if f.worst > neighbourMost {
			problems = append(problems, fmt.Sprintf("a delivery in another namespace took %v, more than %v; %v before", f.worst, neighbourMost, before))
		}
		t.Say("floods: %s: in another namespace, a delivery took %v at most; %v before", play.name, f.worst.Round(time.Millisecond), before.Round(time.Millisecond))
		t.judge(play.name, problems)
	}
	if err := f.receiver.Close(); err != nil { // so that no connection of it is left
		return err
	}
	problems, err := watch(ctx)
	t.judge("memory", problems)
	return err
}

// beside does something while deliveries are made in the quiet namespace, one after the
// other, the last one after it was done.
func (f *flood) beside(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	over := false
	for !over {
		select {
		case err := <-done:
			if over = true; err != nil {
				return err
			}
		case <-tick.C:
		}
		if err := f.probe(ctx); err != nil {
			cancel()
			if !over {
				err = errors.Join(err, <-done)
			}
			return err
		}
	}
	return nil
}

// probe makes a delivery in the quiet namespace. One that is very late is not waited
// for: it may be so until the flood is over.
func (f *flood) probe(ctx context.Context) error {
	began := time.Now()
	f.probes++
	if err := f.event(ctx, f.quiet, fmt.Sprint("horizon-", f.probes)); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, neighbourMost)
	defer cancel()
	if err := f.receiver.WaitRequests(waiting, "/quiet", f.probes); err != nil && ctx.Err() != nil {
		return err
	}
	f.worst = max(f.worst, time.Since(began))
	return nil
}

// each does something for numbers, several at the same time.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(floodWriters)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

// held answers what comes to paths when the function that it returns is called.
func (f *flood) held(paths ...string) (release func()) {
	until := make(chan struct{})
	for _, path := range paths {
		f.receiver.Script(path, receiver.Answer{Until: until})
	}
	return func() { close(until) }
}

// events are many at once for two Webhooks.
func (f *flood) events(ctx context.Context) ([]string, error) {
	loud, err := f.namespace(ctx, "events")
	if err != nil {
		return nil, err
	}
	var paths []string
	for i := range 2 {
		name := fmt.Sprint("events-", i)
		paths = append(paths, "/"+name)
		w := webhook(loud, name, f.receiver.URL("/"+name))
		w.Spec.TimeoutSeconds = 60
		if err := f.client.Create(ctx, w); err != nil {
			return nil, err
		}
	}
	release := f.held(paths...)
	if err := f.beside(ctx, func(ctx context.Context) error {
		if err := each(ctx, manyEvents, func(ctx context.Context, i int) error { return f.event(ctx, loud, fmt.Sprint("horizon-", i)) }); err != nil {
			return err
		}
		return f.under(ctx, paths, perWebhook*len(paths))
	}); err != nil {
		return nil, err
	}
	release()
	if err := f.beside(ctx, func(ctx context.Context) error { return f.accepted(ctx, paths, manyEvents) }); err != nil {
		return nil, err
	}
	return f.counts(paths, manyEvents, perWebhook), nil
}

// webhooks are more than a namespace may have workers. First an event comes to all of
// them, then more, as long as nobody answers.
func (f *flood) webhooks(ctx context.Context) ([]string, error) {
	const more = 2
	series, err := f.series(ctx)
	if err != nil {
		return nil, err
	}
	loud, err := f.namespace(ctx, "webhooks")
	if err != nil {
		return nil, err
	}
	paths := make([]string, manyWebhooks)
	for i := range paths {
		paths[i] = fmt.Sprint("/webhooks-", i)
	}
	release := f.held(paths...)
	if err := f.beside(ctx, func(ctx context.Context) error {
		if err := each(ctx, manyWebhooks, func(ctx context.Context, i int) error {
			w := webhook(loud, strings.TrimPrefix(paths[i], "/"), f.receiver.URL(paths[i]))
			w.Spec.TimeoutSeconds = 60
			return f.client.Create(ctx, w)
		}); err != nil {
			return err
		}
		if err := f.event(ctx, loud, "to-all"); err != nil {
			return err
		}
		if err := f.under(ctx, paths, inFlightMost-perWebhook); err != nil {
			return err
		}
		for i := range more {
			if err := f.event(ctx, loud, fmt.Sprint("to-all-", i)); err != nil {
				return err
			}
		}
		return f.stored(ctx, loud, paths, 2*manyWebhooks) // not of those that got no worker
	}); err != nil {
		return nil, err
	}
	release()
	if err := f.beside(ctx, func(ctx context.Context) error { return f.accepted(ctx, paths, 1+more) }); err != nil {
		return nil, err
	}
	problems := f.counts(paths, 1+more, 1+more)
	after, err := f.series(ctx)
	if after > series+seriesMost {
		problems = append(problems, fmt.Sprintf("%d metrics, %d before", after, series))
	}
	return problems, err
}

// resends are many for the records of some events.
func (f *flood) resends(ctx context.Context) ([]string, error) {
	const path = "/events-0"
	var records []v1alpha1.WebhookDelivery
	look := func(ctx context.Context) error {
		var list v1alpha1.WebhookDeliveryList
		err := f.client.List(ctx, &list, client.InNamespace("hostile-floods-events"), client.MatchingLabels{v1alpha1.LabelWebhook: path[1:]})
		records = list.Items
		return err
	}
	if err := f.until(ctx, "all records", func(ctx context.Context) (bool, error) {
		err := look(ctx)
		return len(records) == manyEvents, err
	}); err != nil {
		return nil, err
	}
	some := records[:resentRecords]
	if err := f.beside(ctx, func(ctx context.Context) error {
		if err := each(ctx, manyResends, func(ctx context.Context, i int) error {
			d := some[i%len(some)].DeepCopy()
			annotated(v1alpha1.AnnotationResend, fmt.Sprint(i))(d)
			return f.client.Patch(ctx, d, client.MergeFrom(&some[i%len(some)]))
		}); err != nil {
			return err
		}
		return f.until(ctx, "resends", func(ctx context.Context) (bool, error) {
			err := look(ctx)
			return !slices.ContainsFunc(records, func(d v1alpha1.WebhookDelivery) bool { return delivery.ResendPending(d.Annotations) }), err
		})
	}); err != nil {
		return nil, err
	}
	if sent := f.receiver.Tally(path).Requests - manyEvents; sent < resentRecords || sent > manyResends {
		return []string{fmt.Sprintf("%d resends of %d values for %d records", sent, manyResends, resentRecords)}, nil
	}
	return nil, nil
}

// until waits for something that has to come.
func (f *flood) until(ctx context.Context, what string, condition wait.ConditionWithContextFunc) error {
	err := wait.PollUntilContextTimeout(ctx, interval, patience, true, condition)
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	return nil
}

func (f *flood) inFlight(paths []string) (n int) {
	for _, path := range paths {
		n += f.receiver.Tally(path).InFlight
	}
	return n
}

// under waits until so many requests are under way.
func (f *flood) under(ctx context.Context, paths []string, n int) error {
	return f.until(ctx, fmt.Sprint(n, " requests under way"), func(context.Context) (bool, error) { return f.inFlight(paths) >= n, nil })
}

// stored waits until deliveries are under way or stored, or too late.
func (f *flood) stored(ctx context.Context, namespace string, paths []string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, neighbourMost+2*time.Second)
	defer cancel()
	err := f.until(ctx, "records", func(ctx context.Context) (bool, error) {
		var list v1alpha1.WebhookDeliveryList
		err := f.client.List(ctx, &list, client.InNamespace(namespace))
		return len(list.Items)+f.inFlight(paths) >= n, err
	})
	if ctx.Err() != nil {
		return nil // how that is for others is judged
	}
	return err
}

// accepted waits until each path has accepted n deliveries.
func (f *flood) accepted(ctx context.Context, paths []string, n int) error {
	return f.until(ctx, "the end", func(context.Context) (bool, error) {
		return !slices.ContainsFunc(paths, func(path string) bool {
			return f.receiver.Tally(path).Accepted < n || f.receiver.Tally(path).InFlight > 0
		}), nil
	})
}

// counts tells which path has got more than it should, or more at once.
func (f *flood) counts(paths []string, requests, atOnce int) []string {
	var problems []string
	for _, path := range paths {
		if got := f.receiver.Tally(path); got.Requests != requests || got.Duplicates > 0 || got.MostInFlight > atOnce {
			problems = append(problems, fmt.Sprintf("%s: %+v, want %d requests, %d at once", path, got, requests, atOnce))
		}
	}
	if most := f.receiver.Total().MostInFlight; most > inFlightMost+1 { // one of the other namespace
		problems = append(problems, fmt.Sprintf("%d requests under way at once", most))
	}
	return problems
}

// series is how many metrics the operator has.
func (f *flood) series(ctx context.Context) (int, error) {
	text, err := f.op.Metrics(ctx)
	n := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n, err
}
