package controllers

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// rateLimit gives a Webhook a rate limit.
func rateLimit(requests, perSeconds int32) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) {
		w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: requests, PerSeconds: perSeconds}
	}
}

// to points a Webhook to the path of another one.
func (b *testbed) to(path string) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.URL = b.receiver.URL(path) }
}

// keeps tells that no more than so many requests came to a path within any span.
func (b *testbed) keeps(path string, requests int, span time.Duration) {
	b.t.Helper()
	all := b.receiver.Arrivals(path)
	for i := requests; i < len(all); i++ {
		if within := all[i].Time.Sub(all[i-requests].Time); within < span {
			b.t.Errorf("%d requests came to %s within %v, from number %d", requests+1, path, within, i-requests)
			return
		}
	}
}

// results counts the deliveries of a Webhook by their result.
func (b *testbed) results(webhook string) map[v1alpha1.DeliveryResult]int {
	n := map[v1alpha1.DeliveryResult]int{}
	for _, d := range b.deliveries() {
		if d.Spec.WebhookRef.Name == webhook {
			n[d.Status.Result]++
		}
	}
	return n
}

// clusters returns the names of the clusters that the requests to a path are about.
func (b *testbed) clusters(path string) (names []string) {
	b.t.Helper()
	for _, a := range b.receiver.Arrivals(path) {
		var body struct {
			Cluster struct{ Name string }
		}
		b.Expect(json.Unmarshal(a.Body, &body)).To(Succeed())
		names = append(names, body.Cluster.Name)
	}
	return names
}

// Two hundred events at once arrive once each, in the order of their age, and cost no more
// writes than those that wait for a receiver that is busy.
func TestRateLimitOfABacklog(t *testing.T) {
	const events, requests, span = 200, 40, 4 * time.Second
	b := newTestbed(t)
	var writes atomic.Int32
	b.start(counting(func(resource string) {
		if strings.HasPrefix(resource, "webhookdeliveries") {
			writes.Add(1)
		}
	}))
	w := b.webhook("w", rateLimit(requests, int32(span.Seconds())))
	for i := range events {
		b.event(fmt.Sprintf("e%d", i), eventIn(b.namespace, fmt.Sprintf("%03d", i)))
	}
	b.Eventually(func(g Gomega) {
		waits := 0
		for _, d := range b.deliveries() {
			c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
			if c.Reason == v1alpha1.ReasonRateLimited {
				waits++
			}
		}
		g.Expect(waits).To(BeNumerically(">", 0))
	}, "10s").Should(Succeed(), "stored as waiting for the rate limit")
	b.Eventually(func() float64 { return b.metrics()["rate_limited_receivers"] }).Should(Equal(1.0))
	limited := func() string {
		b.healthy(w)
		if c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionRateLimited); c != nil {
			return c.Message
		}
		return ""
	}
	b.Eventually(limited, "15s").Should(Equal("deliveries wait for the rate limit of 40 per 4 s"))
	b.Eventually(func() int { return b.requests("w") }, "40s").Should(Equal(events))
	b.allSettled("e", events, v1alpha1.EventSucceeded)
	b.keeps("/w", requests, span)

	// Fan-out and sending have several workers, and what is being stored while a span begins
	// is sent in the next one.
	const jitter = requests + 16
	seen := map[string]bool{}
	for place, name := range b.clusters("/w") {
		var i int
		_, err := fmt.Sscanf(name, "%d", &i)
		b.Expect(err).NotTo(HaveOccurred())
		if i < place-jitter || i > place+jitter {
			t.Errorf("event %d was sent as number %d", i, place)
		}
		seen[name] = true
	}
	b.Expect(seen).To(HaveLen(events))
	b.Expect(b.requests("w")).To(Equal(events))
	b.Expect(int(writes.Load())).To(BeNumerically("<=", 2*events), "a delay is not worth a write")
	b.Eventually(limited, "15s").Should(BeEmpty())
	b.Eventually(func() float64 { return b.metrics()["rate_limited_receivers"] }, "15s").Should(BeZero())
}

// One robot, two Webhooks with a limit, and one without, which is counted and never waits.
func TestWebhooksOfOneAddressShareTheRateLimit(t *testing.T) {
	const events, requests, span = 20, 10, 2 * time.Second
	b := newTestbed(t)
	b.start()
	b.webhook("a", rateLimit(requests, 2), b.to("/robot"))
	b.webhook("b", rateLimit(requests, 2), b.to("/robot"))
	b.events("e", events)
	b.allSettledWithin("20s", "e", events)
	b.Expect(b.requests("robot")).To(Equal(2 * events))
	b.keeps("/robot", requests, span)

	b.webhook("free", b.to("/robot"))
	began := time.Now()
	b.events("f", events)
	b.Eventually(func() int { return b.results("free")[v1alpha1.DeliverySucceeded] }).Should(Equal(events))
	b.Expect(time.Since(began)).To(BeNumerically("<", 2*span), "one without a limit does not wait")
	b.allSettledWithin("20s", "f", events)
}

// allSettledWithin waits for longer for so many events, which are numbered, to succeed.
func (b *testbed) allSettledWithin(while, prefix string, n int) {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		for i := range n {
			e := &v1alpha1.WebhookEvent{}
			g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: fmt.Sprintf("%s%d", prefix, i)}, e)).To(Succeed())
			g.Expect(e.Status.Result).To(Equal(v1alpha1.EventSucceeded))
		}
	}, while).Should(Succeed())
}

// What is sent on demand passes a pause and an open circuit, and not the rate limit; neither
// does what follows an edit.
func TestResendAndEditObeyTheRateLimit(t *testing.T) {
	const requests, span = 3, 4 * time.Second
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", rateLimit(requests, 4))
	b.events("e", requests)
	b.allSettled("e", requests, v1alpha1.EventSucceeded)
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Paused"}})
	for _, d := range b.deliveries() {
		b.resend(&d, "again")
	}
	b.Eventually(func() int { return b.requests("w") }, "10s").Should(Equal(2 * requests))
	b.keeps("/w", requests, span)
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled", "description": "edited"}})
	b.event("after")
	b.Eventually(func() int { return b.requests("w") }, "10s").Should(Equal(2*requests + 1))
	b.keeps("/w", requests, span)
}

// A process that takes over counts what the one before has sent.
func TestTakeoverCountsWhatWasSent(t *testing.T) {
	const requests, span = 4, 8 * time.Second
	b := newTestbed(t)
	b.start()
	b.webhook("a", rateLimit(requests, 8), b.to("/robot"))
	b.webhook("b", rateLimit(requests, 8), b.to("/robot"))
	b.events("e", 5) // ten requests
	b.Eventually(func() int { return b.requests("robot") }).Should(Equal(requests))
	b.Eventually(func() int {
		return b.results("a")[v1alpha1.DeliverySucceeded] + b.results("b")[v1alpha1.DeliverySucceeded]
	}).Should(Equal(requests))
	b.stop()
	b.start()
	b.Eventually(func() int { return b.requests("robot") }, "30s").Should(Equal(10))
	b.keeps("/robot", requests, span)
	b.allSettled("e", 5, v1alpha1.EventSucceeded)
}

// Another address has a window of its own, and a Webhook that is deleted while it waits
// leaves nothing that others wait for.
func TestRateLimitWhereAWebhookMovesOrGoes(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", rateLimit(1, 900))
	gone := b.webhook("gone", rateLimit(1, 900), b.to("/w"))
	b.event("e0")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
	b.event("e1")
	b.Eventually(func() int { return len(b.deliveries()) }, "10s").Should(Equal(4))
	b.Expect(b.client.Delete(b.ctx, gone)).To(Succeed())
	b.Expect(b.requests("w")).To(Equal(1))
	b.edit(w, map[string]any{"spec": map[string]any{"url": b.receiver.URL("/moved")}})
	b.Eventually(func() int { return b.requests("moved") }).Should(Equal(1))
	b.edit(w, map[string]any{"spec": map[string]any{"rateLimit": nil}})
	b.Eventually(func() int { return b.requests("moved") }).Should(BeNumerically(">=", 1))
	b.Eventually(func() string { return fmt.Sprint(b.results("w")) }).Should(Equal("map[Succeeded:2]"))
	b.Expect(b.requests("w")).To(Equal(1))
	b.Eventually(func() int { return len(b.operator.enqueuer.Ledger.OfWebhook(client.ObjectKeyFromObject(gone))) }, "30s").Should(BeZero())
}

// A rest that ends while the rate limit still holds, and a rate limit that has places while
// the receiver rests.
func TestRateLimitBesideARest(t *testing.T) {
	const requests, span = 2, 4 * time.Second
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.Answer{}, retryAfter(429, "2"), receiver.Answer{})
	b.start()
	b.webhook("w", rateLimit(requests, 4), func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight = 1 })
	b.events("e", 6)
	b.allSettledWithin("40s", "e", 6)
	b.Expect(b.requests("w")).To(Equal(7))
	b.keeps("/w", requests, span)
	all := b.receiver.Arrivals("/w")
	b.Expect(all[2].Time.Sub(all[1].Time)).To(BeNumerically(">=", 1900*time.Millisecond), "the rest")
}

// Failures open the circuit; its probes are requests as any other.
func TestRateLimitBesideAnOpenCircuit(t *testing.T) {
	const requests, span = 6, 10 * time.Second
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript(strings.Repeat("500,", 8)+"200")...)
	b.start()
	b.webhook("w", rateLimit(requests, 10), func(w *v1alpha1.Webhook) { w.Spec.Retry.MaxBackoffSeconds = 1 })
	b.events("e", 6)
	b.Eventually(func() float64 { return b.metrics()["open_circuits"] }, "10s").Should(Equal(1.0))
	b.allSettledWithin("90s", "e", 6)
	b.keeps("/w", requests, span)
}
