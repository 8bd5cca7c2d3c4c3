package controllers

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A receiver that does not answer holds up neither other webhooks nor the events:
// what waits behind it is stored.
func TestHangingReceiverHoldsUpNobody(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/hangs", receiver.Answer{Hang: true})
	b.start()
	b.webhook("hangs", func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight, w.Spec.TimeoutSeconds = 2, 120 })
	b.webhook("fine")
	b.events("e", 10)
	b.Expect(b.receiver.WaitRequests(b.ctx, "/fine", 10)).To(Succeed())
	b.Eventually(func(g Gomega) {
		waiting := 0
		for _, d := range b.deliveries() {
			if d.Spec.WebhookRef.Name == "hangs" {
				g.Expect(d.Status.Result).To(Equal(v1alpha1.DeliveryWaiting))
				waiting++
			}
		}
		g.Expect(waiting).To(Equal(8), "all but the two under way are stored")
	}).Should(Succeed())
	b.Expect(b.requests("hangs")).To(Equal(2), "maxInFlight")
	b.Expect(b.receiver.Down()).To(Succeed()) // lets the two go
}

func TestTooManyWaitingOverflow(t *testing.T) {
	b := newBench(t)
	b.tune = func(r *deliveryReconciler) { r.maxWaiting = 2 }
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused })
	for i := range 2 {
		b.event(fmt.Sprintf("e%d", i))
		b.settled(fmt.Sprintf("e%d", i), v1alpha1.EventWaiting)
	}
	b.event("overflow")
	b.settled("overflow", v1alpha1.EventFailed)
	w := &v1alpha1.Webhook{}
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: "w"}, w)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionOverflowing)).To(BeTrue())
	}).Should(Succeed())
	for _, d := range b.deliveries() {
		if d.Spec.EventRef.Name != "overflow" {
			continue
		}
		c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
		b.Expect(c.Reason).To(Equal(v1alpha1.ReasonOverflow))
		b.resend(&d, "please") // a person may still send it
	}
	b.settled("overflow", v1alpha1.EventSucceeded)
}

// Deliveries that were attempted and are to be tried again count as much as those
// that wait for their first attempt.
func TestTooManyRetriesOverflow(t *testing.T) {
	b := newBench(t)
	b.tune = func(r *deliveryReconciler) { r.maxWaiting = 1 }
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 3600 })
	b.event("first")
	b.settled("first", v1alpha1.EventWaiting)
	b.event("second")
	b.settled("second", v1alpha1.EventFailed)
	b.Expect(b.requests("w")).To(Equal(2))
}
