package controllers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/record"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// The tests below show guards against sending twice or losing something.

// However often a delivery and its event are looked at, it is sent once, also
// while the watch of the deliveries shows nothing of it.
func TestManyReconcilesSendOnce(t *testing.T) {
	b := newBench(t)
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
			b.engine.router.EventChanged(e.UID)
			for _, entry := range b.engine.ledger.OfEvent(e.UID) {
				b.engine.router.DeliveryChanged(entry)
				_, err := b.engine.Reconcile(b.ctx, queue.Request{
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
	b := newBench(t)
	b.start()
	b.webhook("w")
	e := b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.settled("e", v1alpha1.EventSucceeded)
	// The ledger forgets it, as that of a process that has just begun to lead.
	b.engine.ledger.Remove(client.ObjectKeyFromObject(d), "")
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
	b := newBench(t)
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
	b := newBench(t)
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
	b := newBench(t)
	var armed atomic.Bool
	b.tune = func(r *deliveryReconciler) {
		r.client = listing{r.client, func(ctx context.Context) error {
			if !armed.CompareAndSwap(true, false) {
				return nil
			}
			w := b.webhook("w")
			for b.engine.client.Get(ctx, client.ObjectKeyFromObject(w), w) != nil { // until the cache has it, and its handler has run
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
	b := newBench(t)
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
	b := newBench(t)
	var lost atomic.Bool
	lost.Store(true)
	b.tune = func(r *deliveryReconciler) {
		r.mayLead = func() error {
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

// someWebhooks is a client that has some Webhooks.
type someWebhooks struct {
	client.Client
	webhooks []v1alpha1.Webhook
}

func (c *someWebhooks) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	into.(*v1alpha1.WebhookList).Items = c.webhooks
	return nil
}

// While one of two late Webhooks has no room, the other's record may come and go.
func TestLateWebhookIsDealtWithOnce(t *testing.T) {
	const capacity = 12
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "e", UID: "e", CreationTimestamp: metav1.Now(), ResourceVersion: "1"},
		Spec:       v1alpha1.WebhookEventSpec{EventType: "clusters_deployed", ResourcePath: "/music/web"},
		Status: v1alpha1.WebhookEventStatus{
			Result:     v1alpha1.EventWaiting,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDispatched, Status: metav1.ConditionTrue, LastTransitionTime: metav1.Now()}},
		},
	}
	c := &someWebhooks{}
	for _, name := range []string{"w", "full"} {
		w := v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Triggers: []v1alpha1.Trigger{"clusters_deployed"}}}
		w.Namespace, w.Name, w.UID, w.CreationTimestamp = "music", name, types.UID(name), metav1.Now()
		c.webhooks = append(c.webhooks, w)
	}
	routes := newRouter()
	routes.events.Observe(e)
	s := &shared{
		client: c, router: routes, clock: clock.RealClock{}, ledger: ledger.New(routes, capacity), events: routes.events,
		rematches: &rematches{settled: routes.WebhookChanged},
	}
	r := &eventReconciler{shared: s, maxAge: time.Hour}
	full := client.ObjectKeyFromObject(&c.webhooks[1])
	other := ledger.Draft{Event: types.NamespacedName{Namespace: "music", Name: "other"}, EventUID: "other", Webhook: full, WebhookUID: "full"}
	for i := 0; r.ledger.Add(types.NamespacedName{Namespace: "music", Name: strconv.Itoa(i)}, other); i++ {
		if i > capacity {
			t.Fatal("there is always room")
		}
	}
	for i := range c.webhooks {
		r.rematches.add("e", &c.webhooks[i])
	}
	drafted := func(w *v1alpha1.Webhook) bool {
		t.Helper()
		if _, err := r.fanOut(t.Context(), eventRequest{"music", "e"}); err != nil {
			t.Fatal(err)
		}
		_, ok := r.ledger.Get(types.NamespacedName{Namespace: "music", Name: record.Name(e, w)})
		return ok
	}
	if !drafted(&c.webhooks[0]) {
		t.Fatal("a late Webhook does not get the event")
	}
	key := types.NamespacedName{Namespace: "music", Name: record.Name(e, &c.webhooks[0])}
	r.ledger.Observe(&metav1.ObjectMeta{
		Namespace: key.Namespace, Name: key.Name, UID: "d", ResourceVersion: "2",
		Labels: map[string]string{v1alpha1.LabelWebhook: "w", v1alpha1.LabelEventUID: "e", v1alpha1.LabelResult: string(v1alpha1.DeliverySucceeded)},
	})
	r.ledger.Remove(key, "") // as retention does
	if drafted(&c.webhooks[0]) {
		t.Error("it gets the event once more")
	}
	if drafted(&c.webhooks[1]) {
		t.Fatal("there is room for the full one")
	}
	for i := range capacity {
		r.ledger.Withdraw(types.NamespacedName{Namespace: "music", Name: strconv.Itoa(i)})
	}
	if !drafted(&c.webhooks[1]) {
		t.Error("the full one does not get the event once there is room")
	}
}
