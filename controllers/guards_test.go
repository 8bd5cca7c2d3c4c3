package controllers

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// The tests below show guards against sending twice or losing something.

// However often a delivery and its event are looked at, it is sent once, also
// while the watch of the deliveries shows nothing of it.
func TestManyReconcilesSendOnce(t *testing.T) {
	b := newTestbed(t)
	release := make(chan struct{})
	b.start(creating(func(_ *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		<-release
		return pass()
	}))
	w := b.webhook("w")
	e := b.event("e")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
	again := func() {
		for range 50 {
			b.operator.enqueuer.EventChanged(e.UID)
			for _, entry := range b.operator.enqueuer.Ledger.OfEvent(e.UID) {
				b.operator.enqueuer.DeliveryChanged(entry)
				_, err := b.operator.deliveries.Reconcile(b.ctx, queue.Request{
					Webhook: client.ObjectKeyFromObject(w), Delivery: "no-such-delivery",
				})
				b.Expect(err).NotTo(HaveOccurred())
			}
		}
	}
	again()
	close(release)
	b.settled("e", v1alpha1.EventSucceeded)
	again()
	b.event("later")
	b.settled("later", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2), "one for each event")
}

// A record that another process has stored, and that the watch does not show yet,
// is found before anything is sent.
func TestStoredBeforeIsNotSentAgain(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w")
	e := b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.settled("e", v1alpha1.EventSucceeded)
	// The ledger forgets it, as that of a process that has just begun to lead.
	b.operator.enqueuer.Ledger.Remove(client.ObjectKeyFromObject(d), "")
	b.edit(e, map[string]any{"metadata": map[string]any{"labels": map[string]any{"x": "y"}}})
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
	e.Status = v1alpha1.WebhookEventStatus{ObservedGeneration: -1, Result: v1alpha1.EventPending}
	b.Expect(b.client.Status().Update(b.ctx, e)).To(Succeed())
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

// Watches of different kinds are not ordered: an event may be seen, and
// dispatched, before a Webhook that was created earlier.
func TestWebhookThatIsSeenLateGetsTheEvent(t *testing.T) {
	b := newTestbed(t)
	b.start()
	e := b.event("e")
	b.settled("e", v1alpha1.EventUnmatched)
	// Created within the tolerance, so by the API server's clock no later.
	w := b.webhook("w")
	if w.CreationTimestamp.After(e.CreationTimestamp.Add(2 * time.Second)) {
		t.Skip("the machine was too slow for the two to be created within the tolerance")
	}
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

func TestRestartSendsNothingTwice(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/failing", receiver.MustParseScript("500")...)
	b.start()
	b.webhook("fine")
	b.webhook("failing", func(w *v1alpha1.Webhook) {
		w.Spec.Retry.MinBackoffSeconds = 3600
		w.Spec.Scope = "/failing" // so few that its circuit stays closed
	})
	failing := func(e *v1alpha1.WebhookEvent) { e.Spec.ResourcePath = "/failing/web" }
	b.events("fine", 20)
	b.events("failing", 3, failing)
	b.allSettled("fine", 20, v1alpha1.EventSucceeded)
	b.allSettled("failing", 3, v1alpha1.EventWaiting)
	b.stop()
	b.start()
	b.event("last", failing)
	b.settled("last", v1alpha1.EventWaiting)
	b.Expect(b.requests("fine")).To(Equal(24))
	b.Expect(b.requests("failing")).To(Equal(4))
	b.Expect(b.deliveries()).To(HaveLen(28))
}

// A Webhook that enters the cache between two steps of one reconcile is late for
// the first and must not be overlooked by the second.
func TestWebhookThatAppearsDuringAReconcileGetsTheEvent(t *testing.T) {
	b := newTestbed(t)
	var armed atomic.Bool
	b.tune = func(op *operator) {
		op.events.Client = listing{op.events.Client, func(ctx context.Context) error {
			if !armed.CompareAndSwap(true, false) {
				return nil
			}
			w := b.webhook("w")
			for b.operator.deliveries.Client.Get(ctx, client.ObjectKeyFromObject(w), w) != nil { // until the cache has it, and its handler has run
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(10 * time.Millisecond):
				}
			}
			return nil
		}}
	}
	b.start()
	b.event("before")
	b.settled("before", v1alpha1.EventUnmatched)
	armed.Store(true)
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
}

// listing is a client that does something after it has listed Webhooks.
type listing struct {
	client.Client
	then func(ctx context.Context) error
}

func (l listing) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := l.Client.List(ctx, list, opts...)
	if _, ok := list.(*v1alpha1.WebhookList); ok && err == nil {
		return l.then(ctx)
	}
	return err
}

func TestInterruptedAttemptDoesNotCount(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.Answer{Hang: true})
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) })
	b.event("e")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
	b.stop() // waits for the drain, and for the record
	d := b.delivery(v1alpha1.DeliveryWaiting)
	b.Expect(d.Status.Attempts).To(BeZero())
	b.Expect(d.Status.History).To(HaveLen(1))
	b.receiver.Script("/w")
	b.start()
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

func TestNothingIsSentWithoutTheLease(t *testing.T) {
	b := newTestbed(t)
	var lost atomic.Bool
	lost.Store(true)
	b.tune = func(op *operator) {
		op.deliveries.CheckLease = func() error {
			if lost.Load() {
				return errors.New("the lease is lost")
			}
			return nil
		}
	}
	b.start()
	b.webhook("w")
	b.event("e")
	b.Consistently(func() int { return b.requests("w") }, "2s").Should(BeZero())
	lost.Store(false)
	b.settled("e", v1alpha1.EventSucceeded)
}
