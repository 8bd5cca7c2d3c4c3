package controllers

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/controllers/retention"
)

func TestRetentionDeletesTheOldest(t *testing.T) {
	b := newTestbed(t)
	now := &steppedClock{}
	b.tune = func(op *operator) { op.retention.Clock = now }
	b.start()
	b.webhook("w")
	for i := range 3 {
		e := b.event(fmt.Sprintf("e%d", i))
		b.settled(e.Name, v1alpha1.EventSucceeded)
		// The API server counts in whole seconds.
		b.Eventually(time.Now).Should(BeTemporally(">", e.CreationTimestamp.Add(2*time.Second)))
	}
	// None is deleted in its first 15 minutes, whatever the limit says.
	w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "w"}}
	now.step(14 * time.Minute)
	b.edit(w, map[string]any{"spec": map[string]any{"retention": map[string]any{"limit": 1}}})
	b.Consistently(b.deliveries, "2s").Should(HaveLen(3))

	now.step(2 * time.Minute)
	b.edit(w, map[string]any{"spec": map[string]any{"description": "look now"}})
	b.Eventually(b.deliveries).Should(HaveLen(1))
	b.Expect(b.deliveries()[0].Spec.EventRef.Name).To(Equal("e2"), "the youngest stays")
}

func TestFinishedEventIsDeletedAfterItsTime(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w")
	e := b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	after := func(age time.Duration) *retention.Events {
		return &retention.Events{Client: b.client, Clock: laterClock{ahead: age}, Events: b.operator.enqueuer.Events, TTL: time.Hour}
	}
	wait, err := after(59 * time.Minute).Expire(b.ctx)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(wait).To(BeNumerically("~", time.Minute, 30*time.Second))
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
	_, err = after(61 * time.Minute).Expire(b.ctx)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(apierrors.IsNotFound(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e))).To(BeTrue())
	b.Expect(b.deliveries()).To(HaveLen(1), "the record stays")
}

// What has changed since it was looked at stays: a resend may be asked for.
func TestRetentionLeavesWhatHasChanged(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w")
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	d := b.delivery(v1alpha1.DeliverySucceeded)
	key := client.ObjectKeyFromObject(d)
	before, known := b.operator.enqueuer.Ledger.Get(key)
	b.Expect(known).To(BeTrue())
	b.edit(d, map[string]any{"metadata": map[string]any{"annotations": map[string]any{"example.com/note": "seen"}}})
	b.Expect(b.operator.retention.Delete(b.ctx, before)).To(Succeed())
	b.Expect(b.client.Get(b.ctx, key, d)).To(Succeed(), "it was changed, and is still there")

	b.Eventually(func() uint64 {
		before, _ = b.operator.enqueuer.Ledger.Get(key)
		return before.Version
	}).Should(BeEquivalentTo(version(d)))
	b.Expect(b.operator.retention.Delete(b.ctx, before)).To(Succeed())
	b.Expect(apierrors.IsNotFound(b.client.Get(b.ctx, key, d))).To(BeTrue())
}

func version(o client.Object) uint64 {
	n, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	return n
}
