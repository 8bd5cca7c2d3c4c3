package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	// deadOne is the receiver that is dead for a while.
	deadOne = manyWebhooks - 1
	// lightShare of what the bare client stores goes to the others meanwhile.
	lightShare = 0.1

	// quietBefore lets what the load has left behind be written: numbers in the
	// status of Webhooks and events come up to 10 s late.
	quietBefore = 15 * time.Second
	// quietWindow is for how long writes are counted. Probes of a dead receiver
	// are at most 30 s apart.
	quietWindow = 45 * time.Second
	// fillPatience and returnPatience bound how long the deliveries take to be
	// stored, and to arrive once the receiver is back.
	fillPatience, returnPatience = 10 * time.Minute, 10 * time.Minute
	// repeatWindow is for how long nothing more may arrive once all is delivered.
	repeatWindow = 15 * time.Second
)

// death is what came of a receiver that was dead for a while.
type death struct {
	measured          bool
	before, meanwhile []float64 // of each of the others' requests, in milliseconds
	filled            time.Duration
	writes            writes  // in the quiet window
	memory            float64 // resident, that the operator took for those that wait, in bytes
	told              told
	back              time.Duration // until the last one had arrived
	stored            time.Duration // until the last one was stored as delivered
	lost, duplicates  int
}

// withDead is dead in a control plane of its own, which nothing else has filled.
func (b *bench) withDead(ctx context.Context, dir string) (err error) {
	b.Say("starting another control plane, for a receiver that is dead")
	s, err := openStore(ctx, b.options, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return b.dead(ctx, s)
}

// dead lets many deliveries wait for a receiver that refuses connections or, if
// so chosen, hangs. What their waiting costs is measured, and whether all of them
// arrive, and once, when it is back.
func (b *bench) dead(ctx context.Context, s *store) error {
	if err := b.startOperator(ctx, s); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	others, dead, err := b.deadScene(ctx, s)
	if err != nil {
		return err
	}
	f := &b.figures.dead
	if f.before, err = b.lightLatency(ctx, others); err != nil {
		return err
	}
	b.Say("all live     event created → the others' requests: %s", describe(f.before))
	empty, err := s.residentMemory(ctx)
	if err != nil {
		return err
	}
	if err := b.receivers.script(deadOne, b.death()); err != nil {
		return err
	}
	if err := b.bury(ctx, others, dead); err != nil {
		return err
	}
	if f.meanwhile, err = b.lightLatency(ctx, others); err != nil {
		return err
	}
	b.Say("one is dead  event created → the others' requests: %s", describe(f.meanwhile))
	if err := b.countQuietWrites(ctx, s); err != nil {
		return err
	}
	full, err := s.residentMemory(ctx)
	if err != nil {
		return err
	}
	f.memory = full - empty
	b.Say("one is dead  the operator has %.0f MB of memory, before %.0f MB", full/1e6, empty/1e6)
	if err := b.revive(ctx, dead); err != nil {
		return err
	}
	f.measured = true
	return nil
}

// death is how the receiver is dead.
func (b *bench) death() string {
	if b.hang {
		return "hang"
	}
	return "down"
}

// deadScene makes a scene with a Webhook for each receiver. The one of the
// receiver that is to die follows events of its own.
func (b *bench) deadScene(ctx context.Context, s *store) (others, dead *scene, err error) {
	if err := b.receivers.answerIn(0); err != nil {
		return nil, nil, err
	}
	const own = "applications_created"
	c, err := b.newScene(ctx, s, manyWebhooks, func(i int, w *v1alpha1.Webhook) {
		w.Spec.Triggers = []v1alpha1.Trigger{"clusters_deployed"}
		if i == deadOne {
			w.Spec.Triggers = []v1alpha1.Trigger{own}
			w.Spec.Retry = v1alpha1.RetryPolicy{Limit: new(int32(100))} // none is given up meanwhile
		}
	})
	if err != nil {
		return nil, nil, err
	}
	one, rest := *c, *c
	one.eventType, one.client, one.webhooks = own, s.crowd, c.webhooks[deadOne:]
	rest.webhooks = c.webhooks[:deadOne]
	return &rest, &one, errors.Join(b.warmUp(ctx, &rest), b.warmUp(ctx, &one))
}

// lightLatency takes the latencies of the others under a light load.
func (b *bench) lightLatency(ctx context.Context, others *scene) ([]float64, error) {
	b.receivers.forget()
	all, err := b.paced(ctx, others, b.lightRate(), b.steady())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("requests to the others take too long"))
	defer cancel()
	arrivals, err := b.awaitArrivals(ctx, len(all), len(others.webhooks))
	return latencies(others, all, arrivals), err
}

func (b *bench) lightRate() float64 { return lightShare * b.rate / (manyWebhooks - 1) }

// bury creates the events of the dead receiver, while a light load goes on, and
// waits until the delivery of each is stored.
func (b *bench) bury(ctx context.Context, others, dead *scene) error {
	ctx, cancel := context.WithTimeoutCause(ctx, fillPatience, errors.New("storing what waits takes too long"))
	defer cancel()
	waiting, err := sight(ctx, dead, v1alpha1.EventWaiting)
	if err != nil {
		return err
	}
	_, err = b.pacedBeside(ctx, others, b.lightRate(), func() error {
		began := time.Now()
		err := errors.Join(b.burst(ctx, dead, b.waiting, nil), waiting.wait(ctx, b.waiting))
		b.figures.dead.filled = time.Since(began)
		b.Say("%d deliveries wait after %.1f s", b.waiting, time.Since(began).Seconds())
		return err
	})
	return err
}

// countQuietWrites counts writes while nothing but the dead receiver can be their
// reason.
func (b *bench) countQuietWrites(ctx context.Context, s *store) error {
	if err := sleep(ctx, quietBefore); err != nil {
		return err
	}
	before, err := b.read(ctx, s)
	if err != nil {
		return err
	}
	if err := sleep(ctx, quietWindow); err != nil {
		return err
	}
	after, err := b.read(ctx, s)
	if err != nil {
		return err
	}
	f := &b.figures.dead
	f.writes, f.told = after.writes.since(before.writes), after.told.since(before.told)
	b.Say("one is dead  %.2f writes/s in %v: %s", f.writes.sum()/quietWindow.Seconds(), quietWindow, f.writes)
	return nil
}

// revive brings the receiver back, and waits for all that waits for it, as long as
// that may reasonably take.
func (b *bench) revive(ctx context.Context, dead *scene) error {
	ended, err := sight(ctx, dead, v1alpha1.EventSucceeded)
	if err != nil {
		return err
	}
	b.receivers.forget()
	script := "up"
	if b.hang {
		script = "200"
	}
	if err := b.receivers.script(deadOne, script); err != nil {
		return err
	}
	began := time.Now()
	f := &b.figures.dead
	inTime, cancel := context.WithTimeout(ctx, returnPatience)
	defer cancel()
	toDead := func(a arrival) bool { return a.receiver == deadOne }
	switch _, err := b.awaitRequests(inTime, b.waiting, toDead); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		b.Say("one is back  %v", err)
	}
	f.back = time.Since(began)
	if err := ended.wait(inTime, warmUps+b.waiting); err != nil && ctx.Err() == nil {
		b.Say("one is back  %v", err)
	}
	f.stored = time.Since(began)
	if err := sleep(ctx, repeatWindow); err != nil {
		return err
	}
	arrived := map[string]bool{}
	all, _ := b.receivers.look()
	for _, a := range all {
		if !toDead(a) {
			continue
		}
		if arrived[a.id] {
			f.duplicates++
		}
		arrived[a.id] = true
	}
	f.lost = b.waiting - len(arrived)
	b.Say("one is back  %d of %d arrived after %.1f s, %d of them more than once; stored after %.1f s",
		len(arrived), b.waiting, f.back.Seconds(), f.duplicates, f.stored.Seconds())
	return nil
}

func (b *bench) deadRows() []row {
	f := &b.figures.dead
	how := "refuses connections"
	if b.hang {
		how = "hangs"
	}
	return []row{{
		ID: rowDead + "-writes", Name: fmt.Sprintf("writes for a receiver that %s, %d deliveries waiting", how, b.waiting), Unit: "/s", Goal: 1,
		values: once(f.measured, f.writes.sum()/quietWindow.Seconds()),
		Note: fmt.Sprintf("in %v: %s%s; stored as waiting after %.0f s; the 19 others under a light load: %s, before %s",
			quietWindow, f.writes, f.told.note(), f.filled.Seconds(), describe(f.meanwhile), describe(f.before)),
	}, {
		ID: rowDead + "-lost", Name: "of these, lost when it is back", Goal: 0, values: once(f.measured, float64(f.lost)),
		Note: fmt.Sprintf("the last one arrived %.1f s after it was back, and was stored after %.1f s; what has not come within %v counts as lost",
			f.back.Seconds(), f.stored.Seconds(), returnPatience),
	}, {
		ID: rowDead + "-duplicates", Name: "of these, arrived again", Goal: 0, values: once(f.measured, float64(f.duplicates)),
		Note: fmt.Sprintf("until %v after the last one was stored", repeatWindow),
	}, {
		ID: rowDead + "-memory", Name: "operator's resident memory, per 1 000 that wait", Unit: "MB", Goal: 20,
		values: once(f.measured, f.memory/1e6/float64(b.waiting)*1000),
		Note:   fmt.Sprintf("%.0f MB more than before, at %v after the last was stored; garbage that is not collected yet counts", f.memory/1e6, quietBefore+quietWindow),
	}}
}

func (w writes) sum() float64 {
	sum := 0.0
	for _, n := range w {
		sum += n
	}
	return sum
}

func (w writes) String() string {
	var parts []string
	for _, request := range slices.Sorted(maps.Keys(w)) {
		parts = append(parts, fmt.Sprintf("%s %.0f", request, w[request]))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
