package controllers

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func TestDelivery(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("smoke-tests")
	e := b.event("horizon-78402")

	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Name).To(Equal(delivery.Name(e, w)))
	b.Expect(d.OwnerReferences).To(HaveLen(1))
	b.Expect(d.OwnerReferences[0].UID).To(Equal(w.UID))
	b.Expect(d.OwnerReferences[0].BlockOwnerDeletion).To(BeNil())
	b.Expect(d.Status.Attempts).To(Equal(int32(1)))
	b.Expect(d.Status.Request.Headers).To(ContainSubstring("Content-Type: application/json;charset=utf-8"))
	b.Expect(d.Status.Response.StatusCode).To(Equal(int32(200)))
	b.Expect(d.ResourceVersion).NotTo(BeEmpty())
	b.Expect(d.Generation).To(Equal(int64(1)), "a delivery that succeeds at once is written once")

	arrived := b.receiver.Arrivals("/smoke-tests")
	b.Expect(arrived).To(HaveLen(1))
	b.Expect(string(arrived[0].Body)).To(Equal(d.Spec.Payload))
	b.Expect(arrived[0].Header.Get("webhook-id")).To(Equal(delivery.MessageID(e.UID, w.UID)))

	done := b.settled(e.Name, v1alpha1.EventSucceeded)
	b.Expect(done.Status.Deliveries).To(Equal([]string{d.Name}))
	b.Expect(done.Status.Counts).To(Equal(v1alpha1.DeliveryCounts{Succeeded: 1}))
	b.Expect(meta.IsStatusConditionTrue(done.Status.Conditions, v1alpha1.ConditionDispatched)).To(BeTrue())
	b.Expect(meta.IsStatusConditionTrue(done.Status.Conditions, v1alpha1.ConditionDelivered)).To(BeTrue())

	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
		g.Expect(meta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionHealthy)).To(BeTrue())
		g.Expect(w.Status.LastDelivery).NotTo(BeNil())
		g.Expect(w.Status.LastDelivery.Name).To(Equal(d.Name))
		g.Expect(w.Status.Deliveries).To(Equal(v1alpha1.DeliveryCounts{Succeeded: 1}))
	}).Should(Succeed())
}

func TestEventTellsWhatDidNotMatch(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("other-trigger", func(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{"members_created"} })
	b.webhook("other-scope", func(w *v1alpha1.Webhook) { w.Spec.Scope = "/music/play" })
	b.webhook("disabled", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled })
	b.event("e")
	e := b.settled("e", v1alpha1.EventUnmatched)
	b.Expect(e.Status.Unmatched).To(ConsistOf(
		v1alpha1.Unmatched{Reason: v1alpha1.UnmatchedTrigger, Count: 1, Webhooks: []string{"other-trigger"}},
		v1alpha1.Unmatched{Reason: v1alpha1.UnmatchedScope, Count: 1, Webhooks: []string{"other-scope"}},
		v1alpha1.Unmatched{Reason: v1alpha1.UnmatchedDisabled, Count: 1, Webhooks: []string{"disabled"}},
	))
	delivered := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDelivered)
	b.Expect(delivered.Status).To(Equal(metav1.ConditionTrue))
	b.Expect(delivered.Reason).To(Equal(v1alpha1.ReasonNothingToDeliver))
	b.Expect(b.deliveries()).To(BeEmpty())
}

func TestExpiredEventIsNotSent(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w")
	b.event("old", func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(time.Now().Add(-73 * time.Hour)) })
	b.event("young", func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(time.Now().Add(-71 * time.Hour)) })
	b.event("now", func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.Now() })
	b.settled("young", v1alpha1.EventUnmatched) // it happened before the webhook was created
	b.settled("old", v1alpha1.EventExpired)
	b.settled("now", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

func TestSystemWebhookFollowsEveryNamespace(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("everything", func(w *v1alpha1.Webhook) { w.Namespace = systemNamespace })
	b.event("e")
	e := b.settled("e", v1alpha1.EventUnmatched)
	b.Expect(e.Status.Deliveries).To(BeEmpty(), "system webhooks are not named in events")
	b.Expect(e.Status.Unmatched).To(BeEmpty())
	b.Expect(b.requests("everything")).To(Equal(1))
	var list v1alpha1.WebhookDeliveryList
	b.Expect(b.client.List(b.ctx, &list, client.InNamespace(systemNamespace))).To(Succeed())
	b.Expect(list.Items).To(HaveLen(1))
	b.Expect(list.Items[0].Spec.EventRef.Namespace).To(Equal(b.namespace))
}

func TestRetryUntilAccepted(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500,500,200")...)
	b.start()
	b.webhook("w")
	b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Attempts).To(Equal(int32(3)))
	b.Expect(d.Status.History).To(HaveLen(3))
	b.Expect([]int32{d.Status.History[2].StatusCode, d.Status.History[1].StatusCode, d.Status.History[0].StatusCode}).
		To(Equal([]int32{500, 500, 200}))
	b.Expect(d.Status.History[2].Cause).To(Equal(v1alpha1.CauseInitial))
	b.Expect(d.Status.History[0].Cause).To(Equal(v1alpha1.CauseRetry))
	ids := map[string]bool{}
	for _, a := range b.receiver.Arrivals("/w") {
		ids[a.Header.Get("webhook-id")] = true
	}
	b.Expect(ids).To(HaveLen(1), "every attempt has the same webhook-id")
	b.settled("e", v1alpha1.EventSucceeded)
}

func TestNoRetryAtLimitZero(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) })
	b.event("e")
	d := b.delivery(v1alpha1.DeliveryFailed)
	b.Expect(d.Status.Attempts).To(Equal(int32(1)))
	delivered := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
	b.Expect(delivered.Reason).To(Equal(v1alpha1.ReasonRetriesExhausted))
	b.settled("e", v1alpha1.EventFailed)

	// Each new value of the annotation sends once more; the same value does not.
	b.resend(d, "one")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(2))
	b.receiver.Script("/w")
	b.resend(d, "two")
	d = b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Resend.Value).To(Equal("two"))
	b.Expect(d.Status.History[0].Cause).To(Equal(v1alpha1.CauseResend))
	b.settled("e", v1alpha1.EventSucceeded)
	b.resend(d, "two")
	b.edit(d, map[string]any{"metadata": map[string]any{"annotations": map[string]any{"example.com/note": "x"}}})
	b.event("next") // by when this has arrived, the annotations were seen
	b.settled("next", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(4))
}

func TestFailedResendLeavesDeliveredDelivered(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(1)) })
	b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.resend(d, "again")
	b.Eventually(func(g Gomega) {
		d = &b.deliveries()[0]
		g.Expect(d.Status.Attempts).To(Equal(int32(3)), "one resend with one retry")
		g.Expect(d.Status.NextAttemptTime.IsZero()).To(BeTrue())
	}).Should(Succeed())
	b.Expect(d.Status.Result).To(Equal(v1alpha1.DeliverySucceeded))
	b.Expect(d.Status.Resend.Attempts).To(Equal(int32(2)))
	b.settled("e", v1alpha1.EventSucceeded)
}

func TestGoneOpensTheCircuitUntilTheWebhookIsEdited(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("410")...)
	b.start()
	w := b.webhook("w")
	b.event("first")
	b.settled("first", v1alpha1.EventFailed)
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		healthy := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
		g.Expect(healthy).NotTo(BeNil())
		g.Expect(healthy.Reason).To(Equal(v1alpha1.ReasonGone))
	}).Should(Succeed())
	b.event("second")
	b.settled("second", v1alpha1.EventWaiting)
	b.Expect(b.requests("w")).To(Equal(1))
	b.receiver.Script("/w")
	b.edit(w, map[string]any{"spec": map[string]any{"description": "mended"}})
	b.settled("second", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

func TestPausedCollectsAndThenSends(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused })
	b.event("a")
	b.event("b")
	b.settled("a", v1alpha1.EventWaiting)
	b.settled("b", v1alpha1.EventWaiting)
	b.Expect(b.requests("w")).To(BeZero())

	// A person may still ask for one of them.
	var one *v1alpha1.WebhookDelivery
	for _, d := range b.deliveries() {
		if d.Spec.EventRef.Name == "a" {
			one = &d
		}
	}
	b.resend(one, "now")
	b.settled("a", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))

	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	b.settled("b", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

// A resend that cannot be made is no reason to look again and again.
func TestResendOfWhatCannotBeSentEnds(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "missing", Key: "value"}
	})
	b.event("e")
	d := b.delivery(v1alpha1.DeliveryWaiting)
	b.resend(d, "1")
	key := queue.Request{
		Webhook: types.NamespacedName{Namespace: b.namespace, Name: "w"}, Delivery: d.Name,
	}
	b.Eventually(func() bool {
		known, ok := b.operator.enqueuer.Ledger.Get(key.Key())
		return ok && known.State.Resend
	}).Should(BeTrue())
	late := *b.operator.deliveries
	late.Clock = laterClock{ahead: 73 * time.Hour}
	for range 2 { // the first gives up, and the second finds nothing to do
		result, err := late.Reconcile(b.ctx, key)
		b.Expect(err).NotTo(HaveOccurred())
		b.Expect(result.RequeueAfter).To(BeZero())
	}
	d = b.delivery(v1alpha1.DeliveryFailed)
	b.Expect(meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Reason).To(Equal(v1alpha1.ReasonWaitedTooLong))
	b.Expect(b.requests("w")).To(BeZero())
}

func TestMissingSecretHoldsDeliveries(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "value"}
	})
	ready := func(status metav1.ConditionStatus, reason string) {
		t.Helper()
		b.Eventually(func(g Gomega) {
			g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
			c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
			g.Expect(c).NotTo(BeNil())
			g.Expect(c.Status).To(Equal(status))
			g.Expect(c.Reason).To(Equal(reason))
		}).Should(Succeed())
	}
	ready(metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	b.event("e")
	b.settled("e", v1alpha1.EventWaiting)
	b.Expect(b.requests("w")).To(BeZero(), "nothing is sent unsigned")

	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "token"},
		StringData: map[string]string{"value": "s3cr3t-t0ken\n"},
	}
	b.Expect(b.client.Create(b.ctx, secret)).To(Succeed())
	b.settled("e", v1alpha1.EventSucceeded) // by itself, within 30 s
	ready(metav1.ConditionTrue, v1alpha1.ReasonUsable)
	b.Expect(b.receiver.Arrivals("/w")[0].Header.Get("X-Horizon-Webhook-Secret")).To(Equal("s3cr3t-t0ken"))
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Request.Headers).To(ContainSubstring("X-Horizon-Webhook-Secret: [redacted]"))
	b.Expect(d.Status.Request.Headers).NotTo(ContainSubstring("s3cr3t"))
}

func TestRotatedSecretIsReadAfreshWhenItIsRejected(t *testing.T) {
	b := newTestbed(t)
	b.start()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "token"}, StringData: map[string]string{"value": "before-rotation"},
	}
	b.Expect(b.client.Create(b.ctx, secret)).To(Succeed())
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "value"}
	})
	b.observed(w) // which reads afresh, too
	b.event("a")
	b.settled("a", v1alpha1.EventSucceeded)
	b.receiver.Script("/w", receiver.MustParseScript("401,200")...)
	secret.StringData = map[string]string{"value": "after-rotation"}
	b.Expect(b.client.Update(b.ctx, secret)).To(Succeed())
	b.event("b")
	b.settled("b", v1alpha1.EventSucceeded)
	arrived := b.receiver.Arrivals("/w")
	b.Expect(arrived).To(HaveLen(3))
	b.Expect(arrived[1].Header.Get("X-Horizon-Webhook-Secret")).To(Equal("before-rotation"))
	b.Expect(arrived[2].Header.Get("X-Horizon-Webhook-Secret")).To(Equal("after-rotation"))
}

func TestEditedURLTakesEffectAtTheNextAttempt(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 3 })
	b.event("e")
	b.delivery(v1alpha1.DeliveryWaiting)
	b.edit(w, map[string]any{"spec": map[string]any{"url": b.receiver.URL("/elsewhere")}})
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Request.URL).To(Equal(b.receiver.URL("/elsewhere")))
	b.Expect(b.requests("elsewhere")).To(Equal(1))
}

func TestDeliveriesOfADeletedWebhookAreNeverSentToItsSuccessor(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.start()
	w := b.webhook("w")
	e := b.event("e")
	d := b.delivery(v1alpha1.DeliveryWaiting)
	// A webhook that is this much younger than an event does not follow it.
	b.Eventually(time.Now).Should(BeTemporally(">", e.CreationTimestamp.Add(matching.CreationTolerance+2*time.Second)))
	orphan := client.PropagationPolicy(metav1.DeletePropagationOrphan)
	b.edit(d, map[string]any{"metadata": map[string]any{"ownerReferences": nil}}) // what orphaning does
	b.Expect(b.client.Delete(b.ctx, w, orphan)).To(Succeed())
	b.edit(w, map[string]any{"metadata": map[string]any{"finalizers": nil}})
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.URL = b.receiver.URL("/successor") })
	d = b.delivery(v1alpha1.DeliveryFailed)
	b.Expect(meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Reason).To(Equal(v1alpha1.ReasonWebhookGone))
	b.event("next")
	b.settled("next", v1alpha1.EventSucceeded)
	b.Expect(b.requests("successor")).To(Equal(1))
}

// A resend that nothing can be sent for is answered, once for each value, whatever
// else happens to the delivery.
func TestRefusedResendIsTold(t *testing.T) {
	orphan := func(b *testbed, w *v1alpha1.Webhook, d *v1alpha1.WebhookDelivery) {
		b.edit(d, map[string]any{"metadata": map[string]any{"ownerReferences": nil}}) // what orphaning does
		b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
	}
	for name, tc := range map[string]struct {
		script string
		result v1alpha1.DeliveryResult
		spoil  func(b *testbed, w *v1alpha1.Webhook, d *v1alpha1.WebhookDelivery)
		words  string
		want   v1alpha1.DeliveryResult
	}{
		"orphan, delivered": {"200", v1alpha1.DeliverySucceeded, orphan, "orphaned", v1alpha1.DeliverySucceeded},
		"orphan, waiting":   {"500", v1alpha1.DeliveryWaiting, orphan, "orphaned", v1alpha1.DeliveryFailed},
		"carried over to another webhook": {"200", v1alpha1.DeliverySucceeded, func(b *testbed, _ *v1alpha1.Webhook, d *v1alpha1.WebhookDelivery) {
			other := b.webhook("other", func(w *v1alpha1.Webhook) { w.Spec.Scope = "/elsewhere" })
			d.OwnerReferences[0].Name, d.OwnerReferences[0].UID = other.Name, other.UID
			d.Labels[v1alpha1.LabelWebhook] = other.Name
			b.Expect(b.client.Update(b.ctx, d)).To(Succeed())
		}, "not made for the webhook", v1alpha1.DeliverySucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/w", receiver.MustParseScript(tc.script)...)
			b.start()
			w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 600 })
			b.event("e")
			d := b.delivery(tc.result)
			tc.spoil(b, w, d)
			told := func() (notes []string) {
				events, err := b.admin().EventsV1().Events(b.namespace).List(b.ctx, metav1.ListOptions{})
				b.Expect(err).NotTo(HaveOccurred())
				for _, e := range events.Items {
					if e.Reason == "ResendRefused" && e.Regarding.UID == d.UID {
						b.Expect(e.Series).To(BeNil())
						notes = append(notes, e.Note)
					}
				}
				return notes
			}
			b.resend(d, "first")
			b.Eventually(told).Should(ConsistOf(And(ContainSubstring(`"first"`), ContainSubstring(tc.words))))
			d = b.delivery(tc.want)
			b.edit(d, map[string]any{"metadata": map[string]any{"annotations": map[string]any{"example.com/note": "x"}}})
			b.stop()
			b.start() // which looks at all
			b.Consistently(told, "1s").Should(HaveLen(1))
			b.resend(d, "second")
			b.Eventually(told).Should(ConsistOf(ContainSubstring(`"first"`), ContainSubstring(`"second"`)))
			b.Eventually(func() bool { return delivery.ResendPending(b.delivery(tc.want).Annotations) }).Should(BeFalse())
			b.Expect(b.requests("w")).To(Equal(1))
			b.Expect(b.requests("other")).To(BeZero())
			e, ok := b.operator.enqueuer.Ledger.Get(client.ObjectKeyFromObject(d))
			b.Expect(ok && !e.Finished.IsZero()).To(BeTrue(), "retention knows its age")
		})
	}
}

func TestDeletedWebhookTakesItsDeliveriesAlong(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w")
	for _, name := range []string{"a", "b", "c"} {
		b.event(name)
		b.settled(name, v1alpha1.EventSucceeded)
	}
	b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
	b.Eventually(b.deliveries).Should(BeEmpty(), "no garbage collector runs here: the operator does it")
}

func TestStandingStillWritesNothing(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w")
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	w := &v1alpha1.Webhook{}
	b.Eventually(func(g Gomega) { // what was sent is counted ten seconds later at most
		g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: "w"}, w)).To(Succeed())
		g.Expect(w.Status.Deliveries.Succeeded).To(Equal(int32(1)))
		g.Expect(w.Status.LastDelivery).NotTo(BeNil())
	}).Should(Succeed())
	versions := func() map[string]string {
		all := map[string]string{}
		for _, list := range []client.ObjectList{&v1alpha1.WebhookList{}, &v1alpha1.WebhookEventList{}, &v1alpha1.WebhookDeliveryList{}} {
			b.Expect(b.client.List(b.ctx, list)).To(Succeed())
			b.Expect(meta.EachListItem(list, func(o runtime.Object) error {
				all[o.(client.Object).GetName()] = o.(client.Object).GetResourceVersion()
				return nil
			})).To(Succeed())
		}
		return all
	}
	b.Consistently(versions, "11s", "1s").Should(Equal(versions()))
}
