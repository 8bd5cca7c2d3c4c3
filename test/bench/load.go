package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// creators create events at once where there is no pace.
const creators = 16

// event is the event of a number, of the size that Horizon's have.
func (c *scene) event(id int) *v1alpha1.WebhookEvent {
	return &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: fmt.Sprintf("horizon-%d", id)},
		Spec: v1alpha1.WebhookEventSpec{
			EventID:      int64(id),
			EventType:    c.eventType,
			ResourcePath: "/music/player/web/web-prod",
			Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:         &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
		},
	}
}

// created is an event that the load has created.
type created struct {
	event  *v1alpha1.WebhookEvent
	posted time.Time // just before the request
}

// post creates one event.
func (b *bench) post(ctx context.Context, c *scene) (created, error) {
	e := c.event(int(b.event.Add(1)))
	posted := time.Now()
	if err := c.client.Create(ctx, e); err != nil {
		return created{}, fmt.Errorf("creating an event: %w", err)
	}
	return created{e, posted}, nil
}

// burst creates events as fast as the creators can. next may be nil.
func (b *bench) burst(ctx context.Context, c *scene, events int, next func(created)) error {
	return each(ctx, creators, events, func(ctx context.Context, _ int) error {
		e, err := b.post(ctx, c)
		if err == nil && next != nil {
			next(e)
		}
		return err
	})
}

// paced creates events at a steady rate per second for a while, whether earlier
// ones have been answered or not.
func (b *bench) paced(ctx context.Context, c *scene, rate float64, length time.Duration) ([]created, error) {
	while, stop := context.WithTimeout(ctx, length)
	defer stop()
	return b.pacedWhile(ctx, while, c, rate)
}

// pacedWhile is paced until while ends.
func (b *bench) pacedWhile(ctx, while context.Context, c *scene, rate float64) ([]created, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []created
	began := time.Now()
	for i := 0; ; i++ {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(float64(i) / rate * float64(time.Second))))):
		case <-while.Done():
		case <-ctx.Done():
		}
		if while.Err() != nil || ctx.Err() != nil {
			wg.Wait()
			return all, context.Cause(ctx)
		}
		wg.Go(func() {
			e, err := b.post(ctx, c)
			if err != nil {
				cancel(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, e)
		})
	}
}

// sightings are the times at which a watch has shown each event first.
type sightings struct {
	mu      sync.Mutex
	at      map[types.UID]time.Time
	last    time.Time
	ended   bool
	changed chan struct{} // closed, and replaced, at each change
}

// sight watches the events of a scene that are in a result, or all of them if
// it is empty, until ctx ends.
func sight(ctx context.Context, c *scene, result v1alpha1.EventResult) (*sightings, error) {
	options := []client.ListOption{client.InNamespace(c.namespace)}
	if result != "" {
		options = append(options, client.MatchingFields{"status.result": string(result)})
	}
	w, err := c.store.admin.Watch(ctx, &v1alpha1.WebhookEventList{}, options...)
	if err != nil {
		return nil, fmt.Errorf("watching events: %w", err)
	}
	s := &sightings{at: map[types.UID]time.Time{}, changed: make(chan struct{})}
	go func() {
		defer w.Stop()
		for change := range w.ResultChan() {
			e, ok := change.Object.(*v1alpha1.WebhookEvent)
			if ok && change.Type == watch.Added {
				s.add(e.UID, time.Now())
			}
		}
		s.end()
	}()
	return s, nil
}

func (s *sightings) add(event types.UID, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[event], s.last = now, now
	s.tell()
}

// of returns when an event was seen.
func (s *sightings) of(event types.UID) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at[event]
}

func (s *sightings) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.tell()
}

func (s *sightings) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits until so many events have been seen.
func (s *sightings) wait(ctx context.Context, events int) error {
	for {
		s.mu.Lock()
		seen, ended, changed := len(s.at), s.ended, s.changed
		s.mu.Unlock()
		switch {
		case seen >= events:
			return nil
		case ended && ctx.Err() == nil:
			return fmt.Errorf("the watch ended after %d of %d events", seen, events)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d events, of which %d have come so far: %w", events, seen, context.Cause(ctx))
		}
	}
}

// awaitArrivals waits until the first so many receivers have got each of so
// many events, and returns what came to them.
func (b *bench) awaitArrivals(ctx context.Context, events, receivers int) ([]arrival, error) {
	var found []arrival
	for looked := 0; ; {
		all, changed := b.receivers.look()
		for _, a := range all[looked:] {
			if a.receiver < receivers {
				found = append(found, a)
			}
		}
		looked = len(all)
		if len(found) >= events*receivers {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %d requests, of which %d have come: %w", events*receivers, len(found), context.Cause(ctx))
		}
	}
}
