package controllers

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A receiver that is down is asked now and then, not for each delivery that waits
// for it, and nothing is written meanwhile. Once it is back it gets them all.
func TestCircuit(t *testing.T) {
	const events = 30
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	var writes atomic.Int32
	b.start(counting(func(string) { writes.Add(1) }))
	b.webhook("w")
	b.events("e", events)
	b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(events))
	tried := b.requests("w")
	b.Expect(tried).To(BeNumerically("<", events/2), "the circuit opens after some")

	b.allSettled("e", events, v1alpha1.EventWaiting)

	before := writes.Load()
	b.Consistently(func() int { return b.requests("w") - tried }, "2s").Should(BeNumerically("<=", 1), "a probe")
	b.Expect(writes.Load()-before).To(BeNumerically("<=", 3), "the record of a probe, and numbers of the Webhook")

	b.receiver.Script("/w")
	b.Eventually(func() int { return b.receiver.Tally("/w").Accepted }).Should(Equal(events))
	b.allSettled("e", events, v1alpha1.EventSucceeded)
	b.Expect(b.receiver.Tally("/w").Duplicates).To(BeZero())
}

// What has waited for a receiver comes oldest first, but for the one that was the
// probe.
func TestWhatHasWaitedComesOldestFirst(t *testing.T) {
	const waves, each = 3, 5
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.tune = func(op *operator) {
		op.deliveries.Receivers.Clock = clocktesting.NewFakePassiveClock(time.Now()) // no probe is due
	}
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight = 1 })
	b.events("first", 10)
	b.Eventually(func() bool { return b.operator.deliveries.Receivers.Of(w).Health().Open }).Should(BeTrue())
	for wave := range waves {
		b.events(fmt.Sprintf("wave-%d-", wave), each, func(e *v1alpha1.WebhookEvent) {
			e.Spec.Cluster.Name = fmt.Sprintf("wave-%d", wave)
		})
		b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(10 + (wave+1)*each))
		stored := time.Now().Unix()
		b.Eventually(func() int64 { return time.Now().Unix() }).Should(BeNumerically(">", stored), "times in store are seconds")
	}
	b.receiver.Script("/w")
	b.edit(w, map[string]any{"spec": map[string]any{"description": "mended"}})
	name := regexp.MustCompile("wave-[0-9]")
	var came []string
	b.Eventually(func() []string {
		came = nil
		for _, a := range b.receiver.Arrivals("/w") {
			if wave := name.FindString(string(a.Body)); wave != "" {
				came = append(came, wave)
			}
		}
		return came
	}).Should(HaveLen(waves * each))
	b.Expect(slices.IsSorted(came[1:])).To(BeTrue(), "%v", came)
}

// Whoever mends a receiver need not wait for the next probe.
func TestResendAndEditPassAnOpenCircuit(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.tune = func(op *operator) {
		// A wait that no test has the time for.
		op.deliveries.Receivers.Clock = clocktesting.NewFakePassiveClock(time.Now())
	}
	b.start()
	w := b.webhook("w")
	b.events("e", 10)
	b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(10))
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Reason).To(Equal(v1alpha1.ReasonCircuitOpen))
	}).Should(Succeed())
	b.receiver.Script("/w", receiver.MustParseScript("500,200")...)
	tried := b.requests("w")
	d := b.deliveries()[0]
	b.resend(&d, "once")
	b.Eventually(func() int { return b.requests("w") - tried }).Should(Equal(1), "a resend is sent")
	b.Consistently(func() int { return b.requests("w") - tried }, "500ms").Should(Equal(1), "and leaves the circuit open")
	b.edit(w, map[string]any{"spec": map[string]any{"description": "mended"}})
	b.allSettled("e", 10, v1alpha1.EventSucceeded)
}

// A probe that cannot be sent must not be offered again and again.
func TestProbeWithoutASecretIsNotOfferedAgainAndAgain(t *testing.T) {
	b := newTestbed(t)
	reads := &readsOfDeliveries{}
	now := clocktesting.NewFakePassiveClock(time.Now())
	b.tune = func(op *operator) {
		reads.Reader, op.deliveries.APIReader = op.deliveries.APIReader, reads
		op.deliveries.Receivers.Clock = now
	}
	b.receiver.Script("/w", receiver.MustParseScript("401")...)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "s"}, Data: map[string][]byte{"token": []byte("a secret")},
	}
	b.Expect(b.client.Create(b.ctx, secret)).To(Succeed())
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "s", Key: "token"} })
	b.events("e", 10)
	b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(10))
	b.Eventually(func() bool { return b.operator.deliveries.Receivers.Of(w).Health().Open }).Should(BeTrue())
	b.Expect(b.client.Delete(b.ctx, secret)).To(Succeed())
	b.operator.deliveries.Credentials.Forget(w)
	now.SetTime(now.Now().Add(time.Hour)) // a probe is due
	before := reads.n.Load()
	b.event("another") // somebody looks at the webhook
	b.Consistently(func() int32 { return reads.n.Load() - before }, "3s").Should(BeNumerically("<", 50), "each once or twice")
}

// readsOfDeliveries counts live reads of deliveries.
type readsOfDeliveries struct {
	client.Reader
	n atomic.Int32
}

func (r *readsOfDeliveries) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, ok := o.(*v1alpha1.WebhookDelivery); ok {
		r.n.Add(1)
	}
	return r.Reader.Get(ctx, key, o, opts...)
}
