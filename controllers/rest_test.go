package controllers

import (
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// healthy returns the condition Healthy of a Webhook.
func (b *testbed) healthy(w *v1alpha1.Webhook) metav1.Condition {
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
	if c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// becomes waits for the condition Healthy of a Webhook to have a reason.
func (b *testbed) becomes(w *v1alpha1.Webhook, reason string) metav1.Condition {
	b.t.Helper()
	b.Eventually(func() string { return b.healthy(w).Reason }).Should(Equal(reason))
	return b.healthy(w)
}

// Answers that come at the same moment as a 410 do not undo it.
func TestGoneStandsBesideAcceptances(t *testing.T) {
	const webhooks, requests = 30, 6
	b := newTestbed(t)
	release := make(chan struct{})
	b.flags = func(o *Options) { o.Workers = 10 * webhooks * requests }
	b.start()
	name := func(n int) string { return fmt.Sprintf("w%d", n) }
	for n := range webhooks {
		answers := make([]receiver.Answer, requests+1) // the last one stays
		for i := range requests {
			answers[i].Until = release
		}
		answers[n%requests].Status = 410
		b.receiver.Script("/"+name(n), answers...)
		b.webhook(name(n))
	}
	b.events("e", requests)
	all := func() (sum int) {
		for n := range webhooks {
			sum += b.requests(name(n))
		}
		return sum
	}
	b.Eventually(all).Should(Equal(webhooks * requests))
	close(release)
	b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(webhooks * requests))
	b.event("after")
	b.settled("after", v1alpha1.EventWaiting)
	b.Expect(all()).To(Equal(webhooks*requests), "nothing is sent to those that are gone")
}

func retryAfter(status int, value string) receiver.Answer {
	return receiver.Answer{Status: status, Header: http.Header{"Retry-After": {value}}}
}

// What ran beside a 410 ends after it in every way there is, and none undoes it.
func TestGoneStandsWhateverEndsAfterIt(t *testing.T) {
	for name, beside := range map[string]receiver.Answer{
		"accepted":           {},
		"failed":             {Status: 500},
		"without an answer":  {Reset: true},
		"too many":           {Status: 429},
		"asked to wait":      retryAfter(503, "1"),
		"accepted on demand": {},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			release := make(chan struct{})
			beside.Until = release
			b.receiver.Script("/w", beside, receiver.Answer{Status: 410}, receiver.Answer{})
			b.start()
			w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) })
			b.event("first")
			b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
			b.event("second")
			b.becomes(w, v1alpha1.ReasonGone)
			close(release)
			b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(2))
			if name == "accepted on demand" {
				b.resend(&b.deliveries()[1], "now")
				b.Eventually(func() int { return b.requests("w") }).Should(Equal(3))
			}
			before := b.requests("w")
			b.event("third")
			b.settled("third", v1alpha1.EventWaiting)
			b.becomes(w, v1alpha1.ReasonGone)

			b.stop()
			b.start()
			b.event("fourth")
			b.settled("fourth", v1alpha1.EventWaiting)
			b.Expect(b.requests("w")).To(Equal(before), "nothing is sent until it is edited")

			b.edit(w, map[string]any{"spec": map[string]any{"description": "mended"}})
			b.settled("third", v1alpha1.EventSucceeded)
			b.settled("fourth", v1alpha1.EventSucceeded)
		})
	}
}

// A receiver that asks for time gets nothing before, then one request, and, once
// that is accepted, all the others.
func TestReceiverRests(t *testing.T) {
	const rest = 3 * time.Second
	for name, answer := range map[string]func() receiver.Answer{
		"429 in seconds": func() receiver.Answer { return retryAfter(429, "3") },
		"503 in seconds": func() receiver.Answer { return retryAfter(503, "3") },
		"403 in seconds": func() receiver.Answer { return retryAfter(403, "3") },
		"302 in seconds": func() receiver.Answer { return retryAfter(302, "3") },
		"429 until a date": func() receiver.Answer {
			return retryAfter(429, time.Now().Add(rest+time.Second).UTC().Format(http.TimeFormat))
		},
		"beyond what spec.retry allows": func() receiver.Answer { return retryAfter(429, strconv.Itoa(1<<40)) },
		"429 without a time":            func() receiver.Answer { return receiver.Answer{Status: 429} },
		"429 with a time that has passed": func() receiver.Answer {
			return retryAfter(429, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		},
	} {
		t.Run(name, func(t *testing.T) {
			const events = 12
			b := newTestbed(t)
			release := make(chan struct{})
			b.start()
			w := b.webhook("w", func(w *v1alpha1.Webhook) {
				w.Spec.Retry.MaxBackoffSeconds = 3
				w.Spec.MaxInFlight = 4
			})
			asked := answer()
			b.receiver.Script("/w", asked, receiver.Answer{Until: release})
			b.event("e0")
			began := time.Now()
			b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
			for n := 1; n < events; n++ {
				b.event(fmt.Sprintf("e%d", n))
			}
			b.Eventually(func() int { return len(b.deliveries()) }, "10s").Should(Equal(events), "what comes is stored as waiting")
			b.Expect(b.requests("w")).To(Equal(1))

			b.Eventually(func() int { return b.requests("w") }, "8s").Should(Equal(2), "the probe")
			b.Expect(time.Since(began)).To(BeNumerically(">", rest-100*time.Millisecond))
			b.Consistently(func() int { return b.requests("w") }, "700ms").Should(Equal(2), "one at a time")
			close(release)
			b.allSettled("e", events, v1alpha1.EventSucceeded)
			b.Expect(b.requests("w")).To(Equal(events + 1))
			b.becomes(w, v1alpha1.ReasonAccepted)
		})
	}
}

// A rest of an hour: what may pass it, what may not, what is told and written.
func TestRestHoldsUntilItsEnd(t *testing.T) {
	const events = 6
	b := newTestbed(t)
	release := make(chan struct{})
	b.receiver.Script("/w", receiver.Answer{Until: release}, retryAfter(429, "3600"), retryAfter(429, "60"))
	var writes atomic.Int32
	b.start(counting(func(resource string) {
		if resource != "webhookevents/status" {
			writes.Add(1)
		}
	}))
	w := b.webhook("w")
	b.event("beside")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
	b.event("e0")
	c := b.becomes(w, v1alpha1.ReasonReceiverResting)
	until := w.Status.RestUntil.Time
	b.Expect(until).To(BeTemporally("~", time.Now().Add(time.Hour), 10*time.Second))
	b.Expect(c.Status).To(Equal(metav1.ConditionFalse))
	b.Expect(c.Message).To(Equal("the receiver asked for rest: it answered 429 Too Many Requests; " +
		"deliveries wait until status.restUntil, then one is tried first"))

	for n := 1; n < events; n++ {
		b.event(fmt.Sprintf("e%d", n))
	}
	b.allSettled("e", events, v1alpha1.EventWaiting)
	b.Expect(b.metrics()["resting_receivers"]).To(Equal(1.0))
	b.Expect(b.metrics()["open_circuits"]).To(BeZero())
	var waiting *v1alpha1.WebhookDelivery
	for _, d := range b.deliveries() {
		if d.Spec.EventRef.Name == "e1" {
			waiting = &d
		}
	}
	b.Expect(meta.FindStatusCondition(waiting.Status.Conditions, v1alpha1.ConditionDelivered).Reason).
		To(Equal(v1alpha1.ReasonReceiverResting))

	close(release) // what was under way is accepted, and ends nothing
	b.settled("beside", v1alpha1.EventSucceeded)
	b.resend(waiting, "now") // a person asks; the answer asks for less rest
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(3))
	b.edit(w, map[string]any{"spec": map[string]any{"description": "another"}})
	b.Eventually(func() int64 { b.healthy(w); return w.Status.ObservedGeneration }).Should(Equal(w.Generation))
	before := writes.Load()
	b.Consistently(func() int { return b.requests("w") }, "3s").Should(Equal(3), "the backoff would have ended")
	b.Expect(writes.Load()-before).To(BeNumerically("<=", 1), "numbers of the Webhook")

	// The next leader keeps it.
	b.stop()
	b.start()
	b.event("later")
	b.settled("later", v1alpha1.EventWaiting)
	b.Expect(b.requests("w")).To(Equal(3))
	b.Expect(b.healthy(w).Message).To(Equal(c.Message))
	b.Expect(w.Status.RestUntil.Time).To(BeTemporally("~", until, time.Second))

	// An accepted resend ends it.
	b.receiver.Script("/w")
	b.resend(waiting, "again")
	for n := 1; n < events; n++ { // the first has a time of its own, of the receiver's choice
		b.settled(fmt.Sprintf("e%d", n), v1alpha1.EventSucceeded)
	}
	b.settled("later", v1alpha1.EventSucceeded)
	b.becomes(w, v1alpha1.ReasonAccepted)
	b.Expect(w.Status.RestUntil.IsZero()).To(BeTrue())
}

func TestAnotherURLEndsARest(t *testing.T) {
	for name, secret := range map[string]bool{"in the spec": false, "in a Secret": true} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/old", retryAfter(503, "3600"))
			address := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "room"},
				StringData: map[string]string{"url": b.receiver.URL("/old")},
			}
			b.Expect(b.client.Create(b.ctx, address)).To(Succeed())
			b.start()
			w := b.webhook("old", func(w *v1alpha1.Webhook) {
				if secret {
					w.Spec.URL = ""
					w.Spec.URLSecretRef = &v1alpha1.SecretKeyReference{Name: "room", Key: "url"}
				}
			})
			b.event("first")
			b.becomes(w, v1alpha1.ReasonReceiverResting)
			b.event("waiting")
			b.settled("waiting", v1alpha1.EventWaiting)
			if secret {
				address.StringData = map[string]string{"url": b.receiver.URL("/new")}
				b.Expect(b.client.Update(b.ctx, address)).To(Succeed())
				b.operator.deliveries.Credentials.Forget(w) // as time would do within 30 s
				b.event("second")
				b.settled("second", v1alpha1.EventSucceeded)
			} else {
				b.edit(w, map[string]any{"spec": map[string]any{"url": b.receiver.URL("/new")}})
			}
			b.settled("waiting", v1alpha1.EventSucceeded)
			b.Expect(b.requests("old")).To(Equal(1))
			b.becomes(w, v1alpha1.ReasonAccepted)
			b.Expect(w.Status.RestUntil.IsZero()).To(BeTrue())
		})
	}
}

// Where a redirect points is told without what changes from one to the next.
func TestHealthyTellsWhereARedirectPoints(t *testing.T) {
	b := newTestbed(t)
	redirect := func(session string) receiver.Answer {
		return receiver.Answer{Status: 302, Header: http.Header{
			"Location": {"https://login.example.com/sso;jsessionid=" + session + "?session=" + session + "#" + session},
		}}
	}
	b.receiver.Script("/w", redirect("one"), redirect("two"), redirect("three"))
	b.start()
	w := b.webhook("w")
	b.event("e")
	c := b.becomes(w, v1alpha1.ReasonFailing)
	b.Expect(c.Message).To(Equal("the last attempt failed: answered 302 Found; redirects are not followed; it points to https://login.example.com/sso"))
	b.Eventually(func() int { return b.requests("w") }).Should(BeNumerically(">=", 3))
	b.Expect(b.healthy(w)).To(Equal(c))
}
