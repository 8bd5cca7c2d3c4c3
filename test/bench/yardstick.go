package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/apiwriter"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

const (
	// writersPerWebhook is how many deliveries of a Webhook the operator works
	// on at once by default (spec.maxInFlight), each with its write.
	writersPerWebhook = 10
	// mostWriters is the operator's --workers.
	mostWriters = 512
	// statusWriters is how many events the operator works on at once.
	statusWriters = 32

	secretValue = "a-secret-of-usual-length"
)

// bareClient makes the writes that the operator would make, with its permissions,
// its writer, its objects to the byte and as many writes at once, but without
// sending anything and without deciding anything.
type bareClient struct {
	writer   *apiwriter.Writer
	exchange sending.Exchange // what each record tells of
	scene    *scene
	jobs     chan job
	finished chan *fanOut
	stop     func() error
}

// fanOut is an event and what is still to be stored of it.
type fanOut struct {
	event *v1alpha1.WebhookEvent
	left  atomic.Int32
}

type job struct {
	*fanOut
	webhook *v1alpha1.Webhook
}

// startBareClient starts the writers of a scene, for at most so many events. The
// context that it returns ends when one of them fails.
func (b *bench) startBareClient(ctx context.Context, c *scene, events int) (*bareClient, context.Context, error) {
	y := &bareClient{writer: c.store.writer, scene: c}
	var err error
	if y.exchange, err = b.realExchange(ctx, c); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if err := openWatches(ctx, c.store.account); err != nil {
		cancel(nil)
		return nil, nil, err
	}
	y.jobs = make(chan job, events*len(c.webhooks))
	y.finished = make(chan *fanOut, events)
	var wg sync.WaitGroup
	fail := func(err error) {
		if err != nil {
			cancel(err)
		}
	}
	for range min(writersPerWebhook*len(c.webhooks), mostWriters) {
		wg.Go(func() {
			for j := range y.jobs {
				fail(y.create(ctx, j))
			}
		})
	}
	for range statusWriters {
		wg.Go(func() {
			for f := range y.finished {
				fail(y.finish(ctx, f.event))
			}
		})
	}
	y.stop = func() error {
		failure := context.Cause(ctx)
		close(y.jobs)
		close(y.finished)
		cancel(nil)
		wg.Wait()
		return failure
	}
	return y, ctx, nil
}

// take fans an event out. It never blocks.
func (y *bareClient) take(e created) {
	f := &fanOut{event: e.event}
	f.left.Store(int32(len(y.scene.webhooks)))
	for _, w := range y.scene.webhooks {
		y.jobs <- job{f, w}
	}
}

func (y *bareClient) create(ctx context.Context, j job) error {
	d, err := succeeded(j.event, j.webhook, y.exchange)
	if err != nil {
		return err
	}
	if err := y.writer.CreateDelivery(ctx, d); err != nil {
		return fmt.Errorf("creating a delivery: %w", err)
	}
	if j.left.Add(-1) == 0 {
		y.finished <- j.fanOut
	}
	return nil
}

func (y *bareClient) finish(ctx context.Context, e *v1alpha1.WebhookEvent) error {
	entries := make([]ledger.Entry, 0, len(y.scene.webhooks))
	webhooks := make([]v1alpha1.Webhook, 0, len(y.scene.webhooks))
	for _, w := range y.scene.webhooks {
		webhooks = append(webhooks, *w)
		entries = append(entries, ledger.Entry{
			Key:   types.NamespacedName{Namespace: w.Namespace, Name: delivery.Name(e, w)},
			State: retry.State{Result: v1alpha1.DeliverySucceeded},
		})
	}
	plan := fanout.Make(fanout.View{Event: e, Webhooks: webhooks, Entries: entries, MaxAge: time.Hour, Now: time.Now()})
	base := e.DeepCopy()
	e.Status = plan.Status
	if err := y.writer.PatchEventStatus(ctx, base, e); err != nil {
		return fmt.Errorf("patching an event: %w", err)
	}
	return nil
}

// succeeded is the record that the operator would write of an exchange.
func succeeded(e *v1alpha1.WebhookEvent, w *v1alpha1.Webhook, x sending.Exchange) (*v1alpha1.WebhookDelivery, error) {
	body, err := payload.Render(e, payload.WebhookID(w))
	if err != nil {
		return nil, err
	}
	d := delivery.New(e, w, body)
	x.Start = time.Now()
	delivery.AddAttempt(d, delivery.Attempt{Cause: v1alpha1.CauseInitial, URL: w.Spec.URL, Exchange: x, Policy: retry.PolicyOf(w)})
	if d.Status.Result != v1alpha1.DeliverySucceeded {
		return nil, fmt.Errorf("a record says %s", d.Status.Result)
	}
	return d, nil
}

// realExchange sends one request as the operator does.
func (b *bench) realExchange(ctx context.Context, c *scene) (sending.Exchange, error) {
	w := c.webhooks[0]
	e := c.event(1)
	e.UID = types.UID(c.namespace)
	body, err := payload.Render(e, payload.WebhookID(w))
	if err != nil {
		return sending.Exchange{}, err
	}
	secret, _, err := signing.ParseSecret([]byte(secretValue))
	if err != nil {
		return sending.Exchange{}, err
	}
	header, err := signing.Headers(delivery.MessageID(e.UID, w.UID), time.Now(), body, &secret, nil)
	if err != nil {
		return sending.Exchange{}, err
	}
	sender := sending.New(sending.Options{UserAgent: "Horizon-Webhook/" + "yardstick"})
	defer sender.Close()
	x := sender.Send(ctx, sending.Request{
		URL: w.Spec.URL, Header: header, Body: body, Timeout: time.Minute, Redact: redaction.New(secret.Reveal()).Redact,
	})
	return x, x.Err
}

// openWatches opens the watches that the operator has open, and reads what they
// tell.
func openWatches(ctx context.Context, c client.WithWatch) error {
	deliveries := &metav1.PartialObjectMetadataList{}
	deliveries.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookDeliveryList"))
	for _, list := range []client.ObjectList{&v1alpha1.WebhookEventList{}, &v1alpha1.WebhookList{}, deliveries} {
		w, err := c.Watch(ctx, list)
		if err != nil {
			return fmt.Errorf("watching %T: %w", list, err)
		}
		go drain(ctx, w)
	}
	return nil
}

func drain(ctx context.Context, w watch.Interface) {
	defer w.Stop()
	for {
		select {
		case _, ok := <-w.ResultChan():
			if !ok {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
