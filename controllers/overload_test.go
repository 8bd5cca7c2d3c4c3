package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A receiver that does not answer holds up neither other webhooks nor the events:
// what waits behind it is stored.
func TestHangingReceiverHoldsUpNobody(t *testing.T) {
	b := newTestbed(t)
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
	b := newTestbed(t)
	b.tune = func(op *operator) { op.setMaxWaiting(2) }
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
	b := newTestbed(t)
	b.tune = func(op *operator) { op.setMaxWaiting(1) }
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 3600 })
	b.event("first")
	b.settled("first", v1alpha1.EventWaiting)
	b.event("second")
	b.settled("second", v1alpha1.EventFailed)
	b.Expect(b.requests("w")).To(Equal(2))
}

// lastingRecords is a client that deletes no records: those of a Webhook that had very
// many take their time.
type lastingRecords struct{ client.Client }

func (c lastingRecords) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	if _, ok := o.(*v1alpha1.WebhookDelivery); ok {
		return apierrors.NewTooManyRequests("not yet", 1)
	}
	return c.Client.Delete(ctx, o, opts...)
}

// A Webhook that takes the name of one with many deliveries in store begins with none
// of its own: neither its status nor the bound on what may wait counts the others.
func TestNewWebhookOfAnOldName(t *testing.T) {
	const most = 2
	for name, gone := range map[string]func(b *testbed, w *v1alpha1.Webhook){
		"deleted and created again": func(b *testbed, w *v1alpha1.Webhook) {
			b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
			b.Eventually(func() int { // the operator has seen it go
				_, known := b.operator.deliveries.Receivers.Get(client.ObjectKeyFromObject(w))
				return map[bool]int{true: 1}[known]
			}).Should(BeZero())
		},
		"replaced by force": func(b *testbed, w *v1alpha1.Webhook) {
			b.Expect(b.client.Delete(b.ctx, w, client.GracePeriodSeconds(0))).To(Succeed())
		},
		"its deliveries are orphaned": func(b *testbed, w *v1alpha1.Webhook) {
			for _, d := range b.deliveries() { // as the garbage collector does
				b.edit(&d, map[string]any{"metadata": map[string]any{"ownerReferences": nil}})
			}
			b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.tune = func(op *operator) {
				op.setMaxWaiting(most)
				op.retention.Client = lastingRecords{op.retention.Client}
			}
			b.start()
			paused := func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused }
			old := b.webhook("w", paused)
			b.events("old", most)
			b.allSettled("old", most, v1alpha1.EventWaiting)
			// A Webhook gets events that are up to two seconds older than itself.
			end := time.Now().Add(4 * time.Second)
			b.Eventually(time.Now).Should(BeTemporally(">", end))
			gone(b, old)

			w := b.webhook("w", paused)
			status := func(waiting int32) {
				t.Helper()
				b.Eventually(func(g Gomega) {
					g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
					g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation))
					g.Expect(w.Status.Deliveries).To(Equal(v1alpha1.DeliveryCounts{Waiting: waiting}))
					overflows := meta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionOverflowing)
					g.Expect(overflows).To(Equal(waiting >= most))
				}).Should(Succeed())
			}
			status(0)
			own := func(result v1alpha1.DeliveryResult) (n int) {
				for _, d := range b.deliveries() {
					if d.Spec.WebhookRef.UID == w.UID && d.Status.Result == result {
						n++
					}
				}
				return n
			}
			b.events("new", most)
			b.allSettled("new", most, v1alpha1.EventWaiting)
			b.Expect(own(v1alpha1.DeliveryWaiting)).To(Equal(most))
			b.Expect(len(b.deliveries())).To(Equal(2*most), "the old ones are still there")
			status(most)
			b.event("overflow") // its own bound holds
			b.settled("overflow", v1alpha1.EventFailed)
		})
	}
}
