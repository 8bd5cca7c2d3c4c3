package controllers

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/circuit"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/webhookstatus"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A denied address is no reason to try again, nor to think ill of the receiver.
func TestDeniedDeliveryEndsAtOnce(t *testing.T) {
	const events = 2 * circuit.Threshold
	b := newBench(t)
	var allowed atomic.Bool
	b.tune = func(r *deliveryReconciler) {
		sender := sending.New(sending.Options{Control: func(_, address string, _ syscall.RawConn) error {
			if allowed.Load() {
				return nil
			}
			return errors.New("this address is denied")
		}})
		t.Cleanup(sender.Close)
		r.sender = sender
	}
	b.start()
	w := b.webhook("w")
	b.events("e", events)
	b.allSettled("e", events, v1alpha1.EventFailed)
	for _, d := range b.deliveries() {
		b.Expect(d.Status.Attempts).To(Equal(int32(1)))
		b.Expect(d.Status.NextAttemptTime.IsZero()).To(BeTrue())
		c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
		b.Expect(c.Reason + ": " + c.Message).To(Equal("EgressDenied: this address is denied"))
	}
	open, _ := b.engine.endpoints.open()
	b.Expect(open).To(BeZero(), "open circuits")
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Status).To(Equal(metav1.ConditionFalse))
		g.Expect(c.Reason + ": " + c.Message).To(Equal("EgressDenied: nothing was sent: this address is denied"))
	}).Should(Succeed())
	b.Expect(b.requests("w")).To(BeZero())

	allowed.Store(true)
	d := b.deliveries()[0]
	b.resend(&d, "allowed")
	b.settled(d.Spec.EventRef.Name, v1alpha1.EventSucceeded)
	b.event("next")
	b.settled("next", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

// That holds while a circuit is open, too: what waits there has failed as soon as it
// would be a probe, each for itself and without a request, and the circuit stays open
// until the receiver has answered.
func TestDeniedWhileTheCircuitIsOpen(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	now := clocktesting.NewFakePassiveClock(time.Now())
	var denying atomic.Bool
	b.tune = func(r *deliveryReconciler) {
		r.endpoints.clock = now
		sender := sending.New(sending.Options{Control: func(string, string, syscall.RawConn) error {
			if denying.Load() {
				return errors.New("this address is denied")
			}
			return nil
		}, MaxIdleConnsPerHost: -1}) // each dials
		t.Cleanup(sender.Close)
		r.sender = sender
	}
	b.start()
	b.webhook("w")
	b.events("e", circuit.Threshold)
	b.Eventually(b.engine.endpoints.open).Should(Equal(1), "open circuits")
	b.Eventually(b.deliveries).Should(HaveLen(circuit.Threshold))
	tried := b.requests("w")

	denying.Store(true)
	now.SetTime(now.Now().Add(circuit.MaxWait)) // a probe is due
	b.event("another")                          // somebody looks at the webhook
	b.allSettled("e", circuit.Threshold, v1alpha1.EventFailed)
	b.settled("another", v1alpha1.EventFailed)
	for _, d := range b.deliveries() {
		c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
		b.Expect(c.Reason + ": " + c.Message).To(Equal("EgressDenied: this address is denied"))
	}
	b.Expect(b.requests("w")).To(Equal(tried))
	open, _ := b.engine.endpoints.open()
	b.Expect(open).To(Equal(1), "open circuits")

	denying.Store(false)
	b.receiver.Script("/w")
	b.event("last")
	b.settled("last", v1alpha1.EventSucceeded)
	open, _ = b.engine.endpoints.open()
	b.Expect(open).To(BeZero(), "open circuits")
}

// It tells nothing of the receiver: a circuit neither opens nor closes, and the
// next probe may go.
func TestDenialLeavesTheCircuitAlone(t *testing.T) {
	now := clocktesting.NewFakeClock(time.Now())
	e := newEndpoints(nil, now)
	w := webhookOf("uid", now.Now())
	denied := &webhookstatus.Report{Verdict: retry.Denied, Generation: w.Generation}
	to := e.of(w)
	for range 2 * circuit.Threshold {
		pass, ok := to.begin()
		if !ok {
			t.Fatal("denials have opened the circuit")
		}
		to.end(pass, denied)
	}
	failAgain(e, w)
	now.Step(circuit.MinWait)
	for range 3 {
		pass, ok := to.begin()
		if !ok {
			t.Fatal("a probe that was denied stands in the way of the next")
		}
		to.end(pass, denied)
		if !to.health().open {
			t.Fatal("a probe that was denied has closed the circuit")
		}
	}
}
