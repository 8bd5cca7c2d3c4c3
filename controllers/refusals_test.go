package controllers

import (
	"errors"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// Where a namespace takes no more records, the event says so, and nothing more is
// sent until one can be stored; then all is delivered.
func TestRefusedRecordsAreKept(t *testing.T) {
	b := newBench(t)
	var refusing atomic.Bool
	refusing.Store(true)
	b.start(creating(func(d *v1alpha1.WebhookDelivery, store func() error) error {
		if refusing.Load() {
			return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource(),
				d.Name, errors.New("exceeded quota: records"))
		}
		return store()
	}))
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight = 1 })
	names := []string{"first", "second", "third", "fourth"}
	for _, name := range names {
		b.event(name)
	}
	for _, name := range names {
		b.Expect(b.refused(name)).To(ContainSubstring("exceeded quota"))
	}
	b.Expect(b.requests("w")).To(Equal(1), "nothing more is sent while records are refused")
	refusing.Store(false)
	for _, name := range names {
		b.settled(name, v1alpha1.EventSucceeded)
	}
	b.Expect(b.requests("w")).To(Equal(len(names)))
}

// A record that is refused for its size or its contents is stored without what the
// receiver wrote. One that is refused all the same is not tried in a loop, and
// nothing is sent again for it.
func TestRefusedRecordIsStoredSmaller(t *testing.T) {
	for name, refusal := range map[string]error{
		"too large": apierrors.NewRequestEntityTooLargeError("the record is too large"),
		"invalid":   apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("WebhookDelivery").GroupKind(), "d", nil),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.receiver.Script("/w", receiver.Answer{Status: 500, Body: "what the receiver wrote"})
			var tries atomic.Int32
			var taken atomic.Bool
			b.start(creating(func(d *v1alpha1.WebhookDelivery, store func() error) error {
				tries.Add(1)
				if !taken.Load() || d.Status.Response.Body != "" {
					return refusal
				}
				return store()
			}))
			b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) })
			b.event("e")
			b.refused("e")
			b.Expect(tries.Load()).To(And(BeNumerically(">=", 2), BeNumerically("<", 10)), "one whole, one smaller, and then a second apart and more")
			taken.Store(true)
			d := b.delivery(v1alpha1.DeliveryFailed)
			b.Expect(d.Status.Response).To(Equal(&v1alpha1.ResponseRecord{StatusCode: 500, HeadersTruncated: true, BodyTruncated: true}))
			b.Expect(d.Status.History[0].Error).To(ContainSubstring("left out"))
			b.Expect(b.requests("w")).To(Equal(1))
		})
	}
}

func TestTerminatingNamespaceIsNotSentToAgainAndAgain(t *testing.T) {
	b := newBench(t)
	var once atomic.Bool
	tries := make(chan struct{}, 100)
	b.start(creating(func(_ *v1alpha1.WebhookDelivery, store func() error) error {
		if once.CompareAndSwap(false, true) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}
			if err := b.client.Delete(b.ctx, ns); err != nil {
				return err
			}
		}
		err := store()
		tries <- struct{}{}
		return err
	}))
	w := b.webhook("w")
	b.event("e")
	for range 3 {
		b.Eventually(tries).Should(Receive())
	}
	b.Expect(b.requests("w")).To(Equal(1))
	b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
	b.Eventually(func() []ledger.Entry { return b.engine.ledger.OfWebhook(client.ObjectKeyFromObject(w)) }).Should(BeEmpty())
}

func TestRealQuotaRefusesNothingForEver(t *testing.T) {
	b := newBench(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "records"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"count/webhookdeliveries.horizoncd.io": resource.MustParse("0"),
		}},
	}
	b.Expect(b.client.Create(b.ctx, quota)).To(Succeed())
	// What the quota controller does, which does not run here.
	quota.Status.Hard = quota.Spec.Hard
	quota.Status.Used = quota.Spec.Hard
	b.Expect(b.client.Status().Update(b.ctx, quota)).To(Succeed())
	b.start()
	b.webhook("w")
	b.event("e")
	b.refused("e")
	b.Expect(b.client.Delete(b.ctx, quota)).To(Succeed())
	b.settled("e", v1alpha1.EventSucceeded)
}

// refused waits until an event tells that a record was refused, and returns what it
// says.
func (b *bench) refused(event string) (message string) {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		e := &v1alpha1.WebhookEvent{}
		g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: event}, e)).To(Succeed())
		c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Reason).To(Equal(v1alpha1.ReasonRecordRefused))
		message = c.Message
	}).Should(Succeed())
	return message
}
