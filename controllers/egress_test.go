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
	receivers "github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A denied address is no reason to try again, nor to think ill of the receiver.
func TestDeniedDeliveryEndsAtOnce(t *testing.T) {
	const events = 2 * receivers.FailureThreshold
	b := newTestbed(t)
	var allowed atomic.Bool
	b.tune = func(op *operator) {
		sender := sending.New(sending.Options{Control: func(_, address string, _ syscall.RawConn) error {
			if allowed.Load() {
				return nil
			}
			return errors.New("this address is denied")
		}})
		t.Cleanup(sender.Close)
		op.deliveries.Sender = sender
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
	open := b.operator.deliveries.Receivers.Count().Open
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
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	now := clocktesting.NewFakePassiveClock(time.Now())
	var denying atomic.Bool
	b.tune = func(op *operator) {
		op.deliveries.Receivers.Clock = now
		sender := sending.New(sending.Options{Control: func(string, string, syscall.RawConn) error {
			if denying.Load() {
				return errors.New("this address is denied")
			}
			return nil
		}, MaxIdleConnsPerHost: -1}) // each dials
		t.Cleanup(sender.Close)
		op.deliveries.Sender = sender
	}
	b.start()
	b.webhook("w")
	b.events("e", receivers.FailureThreshold)
	b.Eventually(b.operator.deliveries.Receivers.Count).Should(Equal(receivers.Counts{Open: 1}), "open circuits")
	b.Eventually(b.deliveries).Should(HaveLen(receivers.FailureThreshold))
	tried := b.requests("w")

	denying.Store(true)
	now.SetTime(now.Now().Add(receivers.MaxProbeInterval)) // a probe is due
	b.event("another")                                     // somebody looks at the webhook
	b.allSettled("e", receivers.FailureThreshold, v1alpha1.EventFailed)
	b.settled("another", v1alpha1.EventFailed)
	for _, d := range b.deliveries() {
		c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
		b.Expect(c.Reason + ": " + c.Message).To(Equal("EgressDenied: this address is denied"))
	}
	b.Expect(b.requests("w")).To(Equal(tried))
	open := b.operator.deliveries.Receivers.Count().Open
	b.Expect(open).To(Equal(1), "open circuits")

	denying.Store(false)
	b.receiver.Script("/w")
	b.event("last")
	b.settled("last", v1alpha1.EventSucceeded)
	open = b.operator.deliveries.Receivers.Count().Open
	b.Expect(open).To(BeZero(), "open circuits")
}
