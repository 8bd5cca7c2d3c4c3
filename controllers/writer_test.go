package controllers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
)

// What the metadata-only writer leaves behind is what is in store, and its errors are those
// of any client.
func TestMetadataOnlyWriter(t *testing.T) {
	b := newTestbed(t)
	b.start()
	// Nobody else works on what is written here.
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.Triggers, w.Spec.State = []v1alpha1.Trigger{"members_created"}, v1alpha1.WebhookPaused
	})
	e := b.event("e")
	b.settled("e", v1alpha1.EventUnmatched)
	d := delivery.New(e, w, []byte(`{"eventID":1}`))
	delivery.Wait(d, delivery.WaitReason{Reason: v1alpha1.ReasonPaused, Message: "the webhook is Paused"}, time.Now())
	again := d.DeepCopy()
	stored := func() *v1alpha1.WebhookDelivery {
		is := &v1alpha1.WebhookDelivery{}
		b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(d), is)).To(Succeed())
		return is
	}
	same := func(what string) {
		b.t.Helper()
		if diff := cmp.Diff(stored(), d, cmpopts.IgnoreTypes(metav1.TypeMeta{})); diff != "" {
			t.Errorf("%s (-stored +left behind):\n%s", what, diff)
		}
	}
	writer := b.operator.deliveries.Writer

	b.Expect(writer.CreateDelivery(b.ctx, d)).To(Succeed())
	same("created")
	b.Expect(apierrors.IsAlreadyExists(writer.CreateDelivery(b.ctx, again))).To(BeTrue())

	base := d.DeepCopy()
	delivery.GiveUp(d, v1alpha1.ReasonWaitedTooLong, "it waited", time.Now())
	b.Expect(writer.PatchDelivery(b.ctx, base, d)).To(Succeed())
	same("patched")
	late := base.DeepCopy()
	delivery.GiveUp(late, v1alpha1.ReasonWebhookGone, "it is late", time.Now())
	err := writer.PatchDelivery(b.ctx, base, late)
	b.Expect(apierrors.IsConflict(err)).To(BeTrue(), "%v", err)

	invalid := delivery.New(e, w, []byte("{}"))
	invalid.Name += "-invalid"
	invalid.Labels[v1alpha1.LabelEventType] = "no label"
	err = writer.CreateDelivery(b.ctx, invalid)
	b.Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)

	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
	was := e.DeepCopy()
	e.Status.Result = v1alpha1.EventExpired
	b.Expect(b.operator.events.Writer.PatchEventStatus(b.ctx, was, e)).To(Succeed())
	b.Expect(e.ResourceVersion).NotTo(Equal(was.ResourceVersion))
	b.Expect(b.client.Delete(b.ctx, d)).To(Succeed())
	err = writer.PatchDelivery(b.ctx, base, late)
	b.Expect(apierrors.IsNotFound(err)).To(BeTrue(), "%v", err)
}

// What refuses a write is told in its own words, whichever write it is.
func TestMetadataOnlyWriterTellsWhoRefuses(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused })
	e := b.event("e")
	base := b.delivery(v1alpha1.DeliveryWaiting)
	b.settled("e", v1alpha1.EventWaiting)
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
	b.stop()
	writer := b.operator.deliveries.Writer
	last := writer.LastWrite()
	b.Expect(last).To(BeTemporally("~", time.Now(), eventually))

	lift := b.quota()
	d := delivery.New(e, w, []byte("{}"))
	d.Name += "-other"
	delivery.Wait(d, delivery.WaitReason{Reason: v1alpha1.ReasonPaused, Message: ""}, time.Now())
	b.Expect(writer.CreateDelivery(b.ctx, d.DeepCopy())).To(And(Satisfy(apierrors.IsForbidden), MatchError(ContainSubstring("exceeded quota: records"))))
	lift()

	defer b.policy(admissionregistrationv1.Validation{Expression: "false", Message: fridays}, "webhookdeliveries", "webhookevents/status")()
	refused := And(Satisfy(apierrors.IsInvalid), MatchError(ContainSubstring("ValidatingAdmissionPolicy '"+b.namespace+"'")), MatchError(ContainSubstring(fridays)))
	b.Expect(writer.CreateDelivery(b.ctx, d.DeepCopy())).To(refused)
	next := base.DeepCopy()
	delivery.GiveUp(next, v1alpha1.ReasonWaitedTooLong, "", time.Now())
	b.Expect(writer.PatchDelivery(b.ctx, base, next)).To(refused)
	expired := e.DeepCopy()
	expired.Status.Result = v1alpha1.EventExpired
	b.Eventually(func() error { return b.operator.events.Writer.PatchEventStatus(b.ctx, e, expired.DeepCopy()) }).Should(refused)
	b.Expect(writer.LastWrite()).To(Equal(last), "nothing was written")
}
