package controllers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/testevent"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// annotate sets an annotation of an object, or takes it away where the value is nil.
func (b *testbed) annotate(object client.Object, key string, value any) {
	b.t.Helper()
	b.edit(object, map[string]any{"metadata": map[string]any{"annotations": map[string]any{key: value}}})
}

// tested waits until the test that was asked for last has its delivery, and returns that.
func (b *testbed) tested(w *v1alpha1.Webhook, value string) *v1alpha1.WebhookDelivery {
	b.t.Helper()
	d := &v1alpha1.WebhookDelivery{}
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.LastTest).NotTo(BeNil())
		g.Expect(w.Status.LastTest.Hash).To(Equal(testevent.Hash(value)))
		g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: w.Namespace, Name: w.Status.LastTest.Delivery}, d)).To(Succeed())
	}).Should(Succeed())
	return d
}

// ended waits until a delivery has a result.
func (b *testbed) ended(d *v1alpha1.WebhookDelivery, result v1alpha1.DeliveryResult) {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(d), d)).To(Succeed())
		g.Expect(d.Status.Result).To(Equal(result))
	}).Should(Succeed())
}

// A test is sent once for each value, whatever the state of the Webhook and whatever it
// follows, and marked as one; nothing else is.
func TestTestDelivery(t *testing.T) {
	for _, state := range []v1alpha1.WebhookState{v1alpha1.WebhookEnabled, v1alpha1.WebhookPaused, v1alpha1.WebhookDisabled} {
		t.Run(string(state), func(t *testing.T) {
			b := newTestbed(t)
			b.start()
			w := b.webhook("w", func(w *v1alpha1.Webhook) {
				w.Spec.State = state
				w.Spec.Triggers = []v1alpha1.Trigger{"members_created"}
			})
			b.annotate(w, v1alpha1.AnnotationTest, "one")
			d := b.tested(w, "one")
			b.ended(d, v1alpha1.DeliverySucceeded)
			b.Expect(d.Spec.EventType).To(Equal("webhook_test"))
			arrived := b.receiver.Arrivals("/w")
			b.Expect(arrived).To(HaveLen(1))
			b.Expect(arrived[0].Header.Get("X-Horizon-Webhook-Test")).To(Equal("true"))
			b.Expect(arrived[0].Body).To(BeEquivalentTo(d.Spec.Payload))
			var body map[string]any
			b.Expect(json.Unmarshal(arrived[0].Body, &body)).To(Succeed())
			b.Expect(body["eventType"]).To(Equal("webhook_test"))
			b.Expect(body["extra"]).To(ContainSubstring("This is a test"))
			b.Expect(d.Status.Request.Headers).To(ContainSubstring("X-Horizon-Webhook-Test: true"))

			b.annotate(w, v1alpha1.AnnotationTest, "")
			b.annotate(w, v1alpha1.AnnotationTest, "one")
			b.Consistently(func() int { return b.requests("w") }, "1s").Should(Equal(1), "the same value asks for nothing more")
			b.annotate(w, v1alpha1.AnnotationTest, "two")
			b.ended(b.tested(w, "two"), v1alpha1.DeliverySucceeded)
			b.Expect(b.deliveries()).To(HaveLen(2))

			b.resend(d, "again")
			b.Eventually(func() int { return b.requests("w") }).Should(Equal(3))
			for _, a := range b.receiver.Arrivals("/w") {
				b.Expect(a.Header.Get(testevent.Header)).To(Equal("true"))
			}
		})
	}
}

func TestEventIsNotMarkedAsATest(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w")
	b.annotate(w, v1alpha1.AnnotationTest, "one")
	b.tested(w, "one")
	b.event("e")
	e := b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(e.Status.Counts).To(Equal(v1alpha1.DeliveryCounts{Succeeded: 1}))
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(2))
	marked := 0
	for _, a := range b.receiver.Arrivals("/w") {
		if a.Header.Get(testevent.Header) != "" {
			marked++
		}
	}
	b.Expect(marked).To(Equal(1))
}

// What keeps other deliveries from being sent keeps tests, too, but for the state.
func TestTestDeliveryWaitsForASecret(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "late", Key: "token"} })
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(meta.IsStatusConditionFalse(w.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
	}).Should(Succeed())
	b.annotate(w, v1alpha1.AnnotationTest, "one")
	d := b.tested(w, "one")
	b.Expect(meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Reason).To(Equal(v1alpha1.ReasonNotReady))
	b.Consistently(func() int { return b.requests("w") }, "500ms").Should(BeZero())
	secret := &corev1.Secret{StringData: map[string]string{"token": "xyzzy"}}
	secret.Namespace, secret.Name = b.namespace, "late"
	b.Expect(b.client.Create(b.ctx, secret)).To(Succeed())
	b.annotate(w, "example.com/look", "now")
	b.ended(d, v1alpha1.DeliverySucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

func TestFailedTestIsTriedAgain(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.Answer{Status: http.StatusInternalServerError}, receiver.Answer{})
	b.start()
	w := b.webhook("w")
	b.annotate(w, v1alpha1.AnnotationTest, "one")
	d := b.tested(w, "one")
	b.ended(d, v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Attempts).To(Equal(int32(2)))
	arrived := b.receiver.Arrivals("/w")
	b.Expect(arrived[1].WebhookID).To(Equal(arrived[0].WebhookID))
	b.Expect(arrived[1].Header.Get(testevent.Header)).To(Equal("true"))
}

var (
	errCutOff = errors.New("the operator is cut off")
	errQuota  = errors.New("exceeded quota: records, requested: 1, used: 7, limited: 7")
)

// crash ends what the operator can do at one of its writes: before it, or after it and
// before its answer. From then on, nothing that it sends gets through.
type crash struct {
	// at is the write; those before it are let through.
	at int32
	// after lets the write itself through.
	after bool
	// of tells which requests count.
	of func(resource, method string) bool

	writes  atomic.Int32
	crashed atomic.Bool
}

func (c *crash) fault(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
	if c.crashed.Load() {
		return nil, errCutOff
	}
	if resource, _ := subject(r); c.of(resource, r.Method) && c.writes.Add(1) == c.at {
		if c.after {
			answer, err := pass()
			if err == nil {
				_ = answer.Body.Close()
			}
		}
		c.crashed.Store(true)
		return nil, errCutOff
	}
	return pass()
}

// A test is three writes. Whichever of them a process ends at, before or after it, the
// next one goes on, and there is one delivery.
func TestTestDeliveryAfterACrash(t *testing.T) {
	for name, c := range map[string]*crash{
		"before the request is taken":    {at: 1, of: ofTests},
		"after the request is taken":     {at: 1, of: ofTests, after: true},
		"before the delivery is created": {at: 2, of: ofTests},
		"after the delivery is created":  {at: 2, of: ofTests, after: true},
		"before it is told":              {at: 3, of: ofTests},
		"after it is told":               {at: 3, of: ofTests, after: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.flags = func(o *Options) { o.Drain = 0 }
			w := b.webhook("w")
			b.start()
			b.observed(w)
			b.Eventually(func() any { // the first look at a Webhook is written in two steps
				b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
				return meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
			}).ShouldNot(BeNil())
			b.stop()

			b.start(c.fault)
			b.annotate(w, v1alpha1.AnnotationTest, "one")
			b.Eventually(c.crashed.Load).Should(BeTrue())
			b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
			taken := w.Status.LastTest
			b.stop()

			b.start()
			d := b.tested(w, "one")
			b.ended(d, v1alpha1.DeliverySucceeded)
			if taken != nil {
				b.Expect(w.Status.LastTest.Time).To(Equal(taken.Time), "it is the same request")
			}
			b.Expect(b.deliveries()).To(HaveLen(1))
			b.Consistently(func() int { return b.requests("w") }, "1s").Should(BeNumerically("<=", 2), "one may be repeated")
			ids := map[string]bool{}
			for _, a := range b.receiver.Arrivals("/w") {
				ids[a.WebhookID] = true
			}
			b.Expect(ids).To(HaveLen(1))
		})
	}
}

// ofTests are the writes of a test: of the status of its Webhook, and of its delivery.
func ofTests(resource, method string) bool {
	return resource == "webhooks/status" && method == http.MethodPatch || resource == "webhookdeliveries" && method == http.MethodPost
}

// A delivery that is gone, by retention or by hand, is not made again.
func TestTestDeliveryThatIsGoneStaysGone(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w")
	b.annotate(w, v1alpha1.AnnotationTest, "one")
	d := b.tested(w, "one")
	b.ended(d, v1alpha1.DeliverySucceeded)
	b.stop()
	b.Expect(b.client.Delete(b.ctx, d)).To(Succeed())
	b.start()
	b.annotate(w, "example.com/look", "now")
	b.Consistently(b.deliveries, "2s").Should(BeEmpty())
	b.Expect(b.requests("w")).To(Equal(1))
}

func TestRefusedTestIsTold(t *testing.T) {
	b := newTestbed(t)
	var open atomic.Bool
	b.start(creating(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if open.Load() {
			return pass()
		}
		return answer(r, apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource(), "d", errQuota))
	}))
	w := b.webhook("w")
	b.annotate(w, v1alpha1.AnnotationTest, "one")
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.LastTest).NotTo(BeNil())
		g.Expect(w.Status.LastTest.Message).To(ContainSubstring(errQuota.Error()))
		g.Expect(b.kubernetesEvents()).To(ContainElement(HaveField("Reason", v1alpha1.ReasonRecordRefused)))
	}).Should(Succeed())
	taken := w.Status.LastTest.Time
	b.Expect(b.requests("w")).To(BeZero(), "no record, no request")
	open.Store(true)
	b.ended(b.tested(w, "one"), v1alpha1.DeliverySucceeded)
	b.Expect(w.Status.LastTest.Message).To(BeEmpty())
	b.Expect(w.Status.LastTest.Time.Time).To(BeTemporally("==", taken.Time))
	b.Expect(time.Since(taken.Time)).To(BeNumerically("<", eventually))
}

// Some reasons differ each time, such as those of an admission webhook that names the
// connection it lost. They are told, and do not let the tries follow each other at once.
func TestRefusedTestIsTriedWithGrowingPauses(t *testing.T) {
	b := newTestbed(t)
	var tries atomic.Int32
	b.start(creating(func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		why := fmt.Errorf("read tcp 10.0.0.1:%d: connection reset by peer", 30000+tries.Add(1))
		return answer(r, apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource(), "d", why))
	}))
	w := b.webhook("w")
	b.annotate(w, v1alpha1.AnnotationTest, "one")
	b.Eventually(tries.Load).Should(BeNumerically(">=", 1))
	b.Consistently(tries.Load, "2s").Should(BeNumerically("<", 12))
}

// Where deliveries of one namespace take long to be stored, the tests of another one do
// not wait for them.
func TestTestDeliveriesOfAnotherNamespaceWaitForNobody(t *testing.T) {
	b := newTestbed(t)
	var hanging atomic.Int32
	b.start(creating(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if _, of := subject(r); of.Namespace == systemNamespace {
			return pass()
		}
		hanging.Add(1)
		select {
		case <-time.After(2 * time.Second):
		case <-r.Context().Done():
		}
		return nil, errCutOff
	}))
	for i := range 10 {
		b.annotate(b.webhook(fmt.Sprintf("slow%d", i)), v1alpha1.AnnotationTest, "one")
	}
	b.Eventually(hanging.Load).Should(BeNumerically(">=", 1))
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Namespace = systemNamespace })
	b.annotate(w, v1alpha1.AnnotationTest, "one")
	asked := time.Now()
	b.tested(w, "one")
	b.Expect(time.Since(asked)).To(BeNumerically("<", 6*time.Second))
}
