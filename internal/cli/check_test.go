package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

func TestCheck(t *testing.T) {
	b := newBed(t)
	b.Webhook("well")
	b.Delivery("well", b.Event(1), v1alpha1.DeliverySucceeded)
	b.Webhook("paused", stateOf(v1alpha1.WebhookPaused))
	viewer := b.as("viewer", "view")

	// What somebody may not do is no fault, and neither is what somebody has stopped.
	var r ran
	b.Eventually(func() string { r = viewer.run("check"); return r.out }).Should(And(
		ContainSubstring("ok     1 Webhook of the namespace "+b.Namespace+" can be sent to"),
		ContainSubstring("note   webhook paused: Paused: ")))
	b.Expect(r.code).To(Equal(0), r.out)
	b.Expect(r.out).To(And(
		ContainSubstring("ok     the API server answers (v"),
		ContainSubstring("ok     the CRDs are installed (horizoncd.io/v1alpha1)\n"),
		ContainSubstring("ok     an operator has worked here, last at "),
		ContainSubstring("ok     in the namespace "+b.Namespace+" you may read Webhooks, read events, read deliveries\n"),
		ContainSubstring("note   in the namespace "+b.Namespace+" you may not resend deliveries: the role edit (or horizon-delivery-resender) allows it\n"),
	))
	b.Expect(strings.Contains(r.out, "WRONG")).To(BeFalse())
	b.Expect(b.mustRun("check")).To(ContainSubstring("you may read Webhooks, read events, read deliveries, write Webhooks, resend deliveries, create Secrets\n"))

	// A Webhook that cannot be sent to is one, and so is one whose receiver fails.
	b.Webhook("bare", named)
	b.script("500")
	b.Webhook("w")
	b.Event(2)
	b.Eventually(func() string { r = viewer.run("check"); return r.out }).Should(And(
		MatchRegexp("WRONG  webhook bare: NotReady: the webhook is not Ready: SecretNotFound: .* Help: once it is there, the operator notices"),
		ContainSubstring("WRONG  webhook w: Failing: the last attempt failed: answered 500")))
	b.Expect(r.code).To(Equal(exitUnmet))
	b.Expect(r.err).To(BeEmpty())
}

func TestCheckOfTheLease(t *testing.T) {
	b := newBed(t)
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: insight.DefaultSystemNamespace, Name: insight.LeaseName},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new("pod_1"), LeaseDurationSeconds: new(int32(3600)), RenewTime: &metav1.MicroTime{Time: time.Now()},
		},
	}
	b.Expect(b.Client.Create(b.Ctx, lease)).To(Succeed())
	t.Cleanup(func() { _ = b.Client.Delete(context.Background(), lease) })
	b.Expect(b.mustRun("check")).To(ContainSubstring("ok     an operator works: pod_1 holds the lease"))

	lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now().Add(-2 * time.Hour)}
	b.Expect(b.Client.Update(b.Ctx, lease)).To(Succeed())
	r := b.run("check")
	b.Expect(r.code).To(Equal(exitUnmet))
	b.Expect(r.out).To(ContainSubstring("WRONG  no operator works: pod_1 held the lease last, and has not renewed it since "))

	lease.Spec.HolderIdentity = new("")
	b.Expect(b.Client.Update(b.Ctx, lease)).To(Succeed())
	b.Expect(b.run("check").out).To(ContainSubstring("WRONG  no operator works: the operator that worked last has given its lease back"))
}

func TestCheckWithoutAPIServer(t *testing.T) {
	b := newBed(t)
	r := b.run("check", "--server", "https://127.0.0.1:1")
	b.Expect(r.code).To(Equal(exitUnmet))
	b.Expect(r.out).To(HavePrefix("WRONG  the API server https://127.0.0.1:1 does not answer: "))
}
