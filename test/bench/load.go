package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
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

// pacedBeside is paced for as long as something else takes.
func (b *bench) pacedBeside(ctx context.Context, c *scene, rate float64, do func() error) ([]created, error) {
	while, over := context.WithCancel(ctx)
	defer over()
	done := make(chan error, 1)
	go func() {
		defer over()
		done <- do()
	}()
	all, err := b.pacedWhile(ctx, while, c, rate)
	return all, errors.Join(err, <-done)
}

// sightings are the times at which a watch has shown each event first.
type sightings struct {
	mu      sync.Mutex
	at      map[types.UID]time.Time
	last    time.Time
	failure error
	changed chan struct{} // closed, and replaced, at each change
}

// sight watches the events of a scene that are in a result, or all of them if
// it is empty, until ctx ends. An API server that is busy ends watches that it
// takes for slow ones; they go on from where they were.
func sight(ctx context.Context, c *scene, result v1alpha1.EventResult) (*sightings, error) {
	options := client.ListOptions{Namespace: c.namespace}
	if result != "" {
		options.FieldSelector = fields.OneTermEqualSelector("status.result", string(result))
	}
	var list v1alpha1.WebhookEventList
	if err := c.store.admin.List(ctx, &list, &options); err != nil {
		return nil, fmt.Errorf("listing events: %w", err)
	}
	s := &sightings{at: map[types.UID]time.Time{}, changed: make(chan struct{})}
	for i := range list.Items {
		s.add(list.Items[i].UID, time.Now())
	}
	from := list.ResourceVersion
	w, err := watchFrom(ctx, c.store.admin, options, from)
	if err != nil {
		return nil, err
	}
	go func() {
		for err == nil {
			if from, err = s.follow(w, from); err == nil {
				w, err = watchFrom(ctx, c.store.admin, options, from)
			}
		}
		s.end(err)
	}()
	return s, nil
}

func watchFrom(ctx context.Context, c client.WithWatch, o client.ListOptions, resourceVersion string) (watch.Interface, error) {
	o.Raw = &metav1.ListOptions{ResourceVersion: resourceVersion}
	w, err := c.Watch(ctx, &v1alpha1.WebhookEventList{}, &o)
	if err != nil {
		return nil, fmt.Errorf("watching events: %w", err)
	}
	return w, nil
}

// follow reads a watch until it ends, and returns how far it came.
func (s *sightings) follow(w watch.Interface, from string) (to string, err error) {
	defer w.Stop()
	for change := range w.ResultChan() {
		e, ok := change.Object.(*v1alpha1.WebhookEvent)
		if !ok {
			return from, fmt.Errorf("watching events: %w", apierrors.FromObject(change.Object))
		}
		if change.Type == watch.Added {
			s.add(e.UID, time.Now())
		}
		from = e.ResourceVersion
	}
	return from, nil
}

func (s *sightings) add(event types.UID, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[event], s.last = now, now
	s.tell()
}

func (s *sightings) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
	s.tell()
}

func (s *sightings) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits until so many events have been seen.
func (s *sightings) wait(ctx context.Context, events int) error {
	return s.until(ctx, func() error {
		if len(s.at) < events {
			return fmt.Errorf("%d of %d events have come", len(s.at), events)
		}
		return nil
	})
}

// of waits until an event has been seen, and returns when that was.
func (s *sightings) of(ctx context.Context, event types.UID) (at time.Time, err error) {
	err = s.until(ctx, func() error {
		var ok bool
		if at, ok = s.at[event]; !ok {
			return fmt.Errorf("event %s has not come", event)
		}
		return nil
	})
	return at, err
}

// times are the times from each event's creation until it was seen, in
// milliseconds. It waits for those that have not been seen yet.
func (s *sightings) times(ctx context.Context, all []created) ([]float64, error) {
	times := make([]float64, 0, len(all))
	for _, e := range all {
		at, err := s.of(ctx, e.event.UID)
		if err != nil {
			return nil, err
		}
		times = append(times, milliseconds(at.Sub(e.posted)))
	}
	return times, nil
}

// until waits until nothing is missing any more.
func (s *sightings) until(ctx context.Context, missing func() error) error {
	for {
		s.mu.Lock()
		short, failure, changed := missing(), s.failure, s.changed
		s.mu.Unlock()
		switch {
		case short == nil:
			return nil
		case failure != nil && ctx.Err() == nil:
			return fmt.Errorf("%w: %w", short, failure)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", short, context.Cause(ctx))
		}
	}
}

// awaitArrivals waits until the first so many receivers have got each of so
// many events, and returns what came to them.
func (b *bench) awaitArrivals(ctx context.Context, events, receivers int) ([]arrival, error) {
	return b.awaitRequests(ctx, events*receivers, func(a arrival) bool { return a.receiver < receivers })
}

// awaitRequests waits until so many requests of a kind have come since the last
// forget, and returns them; those that have come until then if the context ends.
func (b *bench) awaitRequests(ctx context.Context, requests int, which func(arrival) bool) ([]arrival, error) {
	var found []arrival
	for looked := 0; ; {
		all, changed := b.receivers.look()
		for _, a := range all[looked:] {
			if which(a) {
				found = append(found, a)
			}
		}
		looked = len(all)
		if len(found) >= requests {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return found, fmt.Errorf("waiting for %d requests, of which %d have come: %w", requests, len(found), context.Cause(ctx))
		}
	}
}
