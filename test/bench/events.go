package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	// Every so many events has a text for the receivers, of so many bytes.
	extraEvery, extraLength = 10, 4 << 10
)

// withEvents takes the figure that is about a store with many finished events, in a
// control plane of its own.
func (b *bench) withEvents(ctx context.Context, dir string) (err error) {
	b.Say("starting another control plane, for %d finished events", b.finished)
	s, err := openStore(ctx, b.options, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c, err := b.newScene(ctx, s, b.webhooks)
	if err != nil {
		return err
	}
	s.scenes = nil // this one stays
	if b.figures.eventHeap.bare, err = b.heaps(ctx, s); err != nil {
		return err
	}
	if b.figures.eventSize, err = b.growth(ctx, s, b.finished, func() error { return b.fillEvents(ctx, c) }); err != nil {
		return fmt.Errorf("filling the store with events: %w", err)
	}
	b.Say("an event takes %.0f B in etcd, %.0f B of the API server's heap", b.figures.eventSize.etcd, b.figures.eventSize.apiServer)
	// At its start the operator holds young Webhooks against all recent events.
	if err := s.deleteAll(ctx, c.namespace, "Webhook"); err != nil {
		return err
	}
	if b.figures.eventHeap.ours, err = b.heaps(ctx, s); err != nil {
		return err
	}
	return b.stillFinished(ctx, c)
}

// fillEvents creates events that were delivered to all Webhooks of a scene. Their
// records are gone, as they are once retention has taken them.
func (b *bench) fillEvents(ctx context.Context, c *scene) error {
	y := &bareClient{writer: c.store.writer, scene: c}
	began := time.Now()
	var done atomic.Int64
	return each(ctx, fillers, b.finished, func(ctx context.Context, i int) error {
		e := c.event(i + 1)
		if i%extraEvery == 0 {
			e.Spec.Extra = strings.Repeat("x", extraLength)
		}
		if err := c.client.Create(ctx, e); err != nil {
			return err
		}
		if err := y.finish(ctx, e); err != nil {
			return err
		}
		if n := done.Add(1); n%5000 == 0 {
			b.Say("%d events, %.0f a second", n, float64(n)/time.Since(began).Seconds())
		}
		return nil
	})
}

// stillFinished makes sure that the operator has left the events as they were:
// what it works on is no finished event.
func (b *bench) stillFinished(ctx context.Context, c *scene) error {
	var events v1alpha1.WebhookEventList
	if err := c.store.admin.List(ctx, &events, client.InNamespace(c.namespace),
		client.MatchingFields{"status.result": string(v1alpha1.EventSucceeded)}); err != nil {
		return err
	}
	if len(events.Items) != b.finished {
		return fmt.Errorf("%d of %d events are still finished", len(events.Items), b.finished)
	}
	return nil
}

func (b *bench) eventRows() []row {
	heap, n := b.figures.eventHeap, float64(b.finished)
	size := b.figures.eventSize
	mixture := fmt.Sprintf("one in %d has %d KiB of extra", extraEvery, extraLength>>10)
	return []row{{
		ID: rowEvents, Name: "operator's heap after a collection, per finished event", Unit: "B", Goal: 512,
		values: of(heap.ours, heap.bare, func(ours, bare float64) float64 { return (ours - bare) / n }),
		Note: fmt.Sprintf("%.1f MB with %d events, of which %s, %.1f MB with none; measured as that per record",
			median(heap.ours)/1e6, b.finished, mixture, median(heap.bare)/1e6),
	}, {
		ID: rowEvents + "-etcd", Name: "bytes of a finished event in etcd", Unit: "B", Goal: 3000, values: once(size.etcd > 0, size.etcd),
		Note: fmt.Sprintf("of the database in use, as that per record, after a compaction; %s", mixture),
	}, {
		ID: rowEvents + "-apiserver", Name: "API server's heap after a collection, per finished event", Unit: "B", Goal: 18000,
		values: once(size.etcd > 0, size.apiServer), Note: "just after the events were created; " + mixture,
	}}
}
