package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	// trickleAnswer is how long the slow receiver takes for each of its requests, of
	// which it takes one at a time: 0.4 a second.
	trickleAnswer = 2500 * time.Millisecond
	// toldPatience is how long after the last event the statuses may take.
	toldPatience = time.Minute
)

// trickle is what came of a receiver that takes far less than there is for it.
type trickle struct {
	measured bool
	// told is, for each event, after how long its status told of its other delivery, in
	// milliseconds.
	told []float64
	// untold are the events whose status never did.
	untold int
	// waiting and failed are the slow receiver's deliveries in the end.
	waiting, failed int
}

// withTrickle is trickle in a control plane of its own.
func (b *bench) withTrickle(ctx context.Context, dir string) (err error) {
	b.Say("starting another control plane, for a receiver that takes 0.4 a second")
	s, err := openStore(ctx, b.options, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := b.startOperator(ctx, s); err != nil {
		return err
	}
	return b.trickleBeside(ctx, s)
}

// trickleBeside creates events that two Webhooks follow, of which one can take a fiftieth.
func (b *bench) trickleBeside(ctx context.Context, s *store) error {
	if err := b.receivers.answerIn(0); err != nil {
		return err
	}
	if err := b.receivers.script(1, "200@"+trickleAnswer.String()); err != nil {
		return err
	}
	c, err := b.newScene(ctx, s, 2, func(i int, w *v1alpha1.Webhook) {
		if i == 1 {
			w.Spec.MaxInFlight = 1
		}
	})
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	told, err := watchTold(watching, c)
	if err != nil {
		return err
	}
	all, err := b.paced(ctx, c, eventsPerSecond, b.trickling)
	if err != nil {
		return err
	}
	f := &b.figures.trickle
	deadline := time.Now().Add(toldPatience)
	for {
		f.told, f.untold = told.after(all)
		if f.untold == 0 || time.Now().After(deadline) {
			break
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	if f.waiting, f.failed, err = slowDeliveries(ctx, c); err != nil {
		return err
	}
	f.measured = true
	b.Say("trickle      %d events in %v: the status told of the other delivery after: %s; untold %d; of the slow receiver's, %d wait and %d overflowed",
		len(all), b.trickling, describe(f.told), f.untold, f.waiting, f.failed)
	return nil
}

// tellings are when the status of each event first told of a delivery.
type tellings struct {
	mu sync.Mutex
	at map[types.UID]time.Time
}

// watchTold watches the events of a scene until the context ends.
func watchTold(ctx context.Context, c *scene) (*tellings, error) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookEventList"))
	if err := c.store.admin.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
		return nil, err
	}
	t := &tellings{at: map[types.UID]time.Time{}}
	from := list.ResourceVersion
	w, err := watchFrom(ctx, c.store.admin, client.ListOptions{Namespace: c.namespace}, from)
	if err != nil {
		return nil, err
	}
	go func() {
		for err == nil { // the API server ends watches now and then
			if from, err = t.follow(w, from); err == nil {
				w, err = watchFrom(ctx, c.store.admin, client.ListOptions{Namespace: c.namespace}, from)
			}
		}
	}()
	return t, nil
}

// follow reads a watch until it ends, and returns how far it came. Where it fails, the
// events that come later count as untold.
func (t *tellings) follow(w watch.Interface, from string) (to string, err error) {
	defer w.Stop()
	for change := range w.ResultChan() {
		e, ok := change.Object.(*v1alpha1.WebhookEvent)
		if !ok {
			return from, apierrors.FromObject(change.Object)
		}
		from = e.ResourceVersion
		if e.Status.Counts.Succeeded > 0 {
			t.add(e.UID)
		}
	}
	return from, nil
}

func (t *tellings) add(event types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.at[event]; !ok {
		t.at[event] = time.Now()
	}
}

// after are the milliseconds from each event's creation until it was told of, and how
// many were not.
func (t *tellings) after(all []created) (times []float64, untold int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range all {
		if at, ok := t.at[e.event.UID]; ok {
			times = append(times, milliseconds(at.Sub(e.posted)))
		} else {
			untold++
		}
	}
	slices.Sort(times)
	return times, untold
}

// slowDeliveries counts those of the slow receiver by result.
func slowDeliveries(ctx context.Context, c *scene) (waiting, failed int, err error) {
	for result, n := range map[v1alpha1.DeliveryResult]*int{v1alpha1.DeliveryWaiting: &waiting, v1alpha1.DeliveryFailed: &failed} {
		var list metav1.PartialObjectMetadataList
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookDeliveryList"))
		if err := c.store.admin.List(ctx, &list, client.InNamespace(c.namespace), client.MatchingLabels{
			v1alpha1.LabelWebhook: c.webhooks[1].Name, v1alpha1.LabelResult: string(result),
		}); err != nil {
			return 0, 0, err
		}
		*n = len(list.Items)
	}
	return waiting, failed, nil
}

func (b *bench) trickleRows() []row {
	f := &b.figures.trickle
	slowest := 0.0
	if len(f.told) > 0 {
		slowest = f.told[len(f.told)-1] / 1000
	}
	return []row{{
		ID: rowTrickle + "-told", Name: "one receiver takes 0.4 of 20 a second: its events' other delivery is told after, at most", Unit: "s", Goal: 10,
		values: once(f.measured && f.untold == 0, slowest),
		Note:   fmt.Sprintf("in %v: %s; not told at all: %d", b.trickling, describe(f.told), f.untold),
	}, {
		ID: rowTrickle + "-waiting", Name: "of its deliveries, waiting in the end", Goal: 10000, values: once(f.measured, float64(f.waiting)),
		Note: fmt.Sprintf("%d overflowed", f.failed),
	}}
}
