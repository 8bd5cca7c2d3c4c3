package e2e

import (
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func TestDeletedWebhookTakesItsRecordsAlong(t *testing.T) {
	s := newScene(t)
	s.webhook("leaves", nil)
	s.webhook("stays", nil)
	for id := range int64(30) {
		s.event(id + 1)
	}
	for _, webhook := range []string{"leaves", "stays"} {
		s.Eventually(func() int { return len(s.records(webhook)) }).Should(Equal(30))
	}
	s.kubectl("delete", "webhook", "leaves")
	s.Eventually(func() int { return len(s.records("leaves")) }).Should(BeZero())
	s.Expect(s.records("stays")).To(HaveLen(30))
}

func TestEditedURLTakesEffectAtTheNextAttempt(t *testing.T) {
	s := newScene(t)
	s.receiver.Script("/old", receiver.MustParseScript("500")...)
	s.webhook("moves", func(w *v1alpha1.WebhookSpec) {
		w.URL, w.Retry.MinBackoffSeconds = s.receiver.URL("/old"), 1
	})
	s.event(1)
	first := s.arrive("/old", 1)
	s.kubectl("patch", "webhook", "moves", "--type=merge", "-p", `{"spec":{"url":"`+s.receiver.URL("/new")+`"}}`)

	d := s.record("moves", v1alpha1.DeliverySucceeded)
	s.Expect(d.Status.Request.URL).To(Equal(s.receiver.URL("/new")))
	arrived := s.receiver.Arrivals("/new")
	s.Expect(arrived).To(HaveLen(1))
	s.Expect(arrived[0].WebhookID).To(Equal(first[0].WebhookID))
	s.Expect(arrived[0].Body).To(Equal(first[0].Body))
}

func TestPausedWebhookCollectsAndThenSends(t *testing.T) {
	s := newScene(t)
	s.webhook("paused", func(w *v1alpha1.WebhookSpec) { w.State = v1alpha1.WebhookPaused })
	for id := range int64(5) {
		s.event(id + 1)
	}
	s.Eventually(func() []v1alpha1.DeliveryResult { return results(s.records("paused")) }).Should(
		And(HaveLen(5), HaveEach(v1alpha1.DeliveryWaiting)))
	s.Expect(s.receiver.Arrivals("/paused")).To(BeEmpty())

	s.kubectl("patch", "webhook", "paused", "--type=merge", "-p", `{"spec":{"state":"Enabled"}}`)
	s.Eventually(func() []v1alpha1.DeliveryResult { return results(s.records("paused")) }).Should(
		And(HaveLen(5), HaveEach(v1alpha1.DeliverySucceeded)))
	arrived := s.receiver.Arrivals("/paused")
	s.Expect(arrived).To(HaveLen(5))
	s.Expect(ids(arrived)).To(HaveLen(5))
}

func TestDisabledWebhookIsNamedInTheEvent(t *testing.T) {
	s := newScene(t)
	s.webhook("off", func(w *v1alpha1.WebhookSpec) { w.State = v1alpha1.WebhookDisabled })
	e := s.event(1)
	s.kubectl("wait", "--for=condition=Delivered", "webhookevent/"+e.Name, "--timeout=60s")
	s.Expect(suite.client.Get(s.ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
	s.Expect(e.Status.Result).To(Equal(v1alpha1.EventUnmatched))
	s.Expect(e.Status.Unmatched).To(Equal([]v1alpha1.Unmatched{
		{Reason: v1alpha1.UnmatchedDisabled, Count: 1, Webhooks: []string{"off"}},
	}))
	s.Expect(s.receiver.Arrivals("/off")).To(BeEmpty())
	s.Expect(s.records("off")).To(BeEmpty())
}
