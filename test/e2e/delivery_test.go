package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// The example of Horizon's manual: its webhook and its event, written by hand
// and applied with kubectl, and the request that it says will come.
func TestDocumentedExampleArrivesByteForByte(t *testing.T) {
	const (
		secret = "secret"
		body   = `{"eventID":1,"webhookID":1,"application":{"id":1,"name":"test","priority":"P0"},` +
			`"eventType":"applications_created","user":{"id":1,"name":"test","email":"test@noreply.com"}}`
	)
	s := newScene(t)
	s.receiver.Script("/hook", receiver.Answer{
		Status: http.StatusOK,
		Header: http.Header{"X-Receiver": {"ci"}, "X-Echo": {"token=" + secret}},
		Body:   `{"got":"it","token":"` + secret + `"}`,
	})
	s.kubectl("create", "secret", "generic", "receiver", "--from-literal=token="+secret)
	s.apply(`
apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata: {name: notify}
spec:
  url: ` + s.receiver.URL("/hook") + `
  secretRef: {name: receiver, key: token}
  triggers: [applications_created]
  webhookID: 1
---
apiVersion: horizoncd.io/v1alpha1
kind: WebhookEvent
metadata: {name: horizon-1}
spec:
  eventID: 1
  eventType: applications_created
  application: {id: 1, name: test, priority: P0}
  user: {id: 1, name: test, email: test@noreply.com}
`)
	s.kubectl("wait", "--for=condition=Delivered", "webhookevent/horizon-1", "--timeout=60s")

	arrived := s.receiver.Arrivals("/hook")
	s.Expect(arrived).To(HaveLen(1))
	s.Expect(arrived[0].Method).To(Equal(http.MethodPost))
	s.Expect(arrived[0].Header).To(HaveKeyWithValue("Content-Type", []string{"application/json;charset=utf-8"}))
	s.Expect(arrived[0].Header).To(HaveKeyWithValue("X-Horizon-Webhook-Secret", []string{secret}))
	s.Expect(string(arrived[0].Body)).To(Equal(body))

	d := s.record("notify", v1alpha1.DeliverySucceeded)
	s.Expect(d.Spec.Payload).To(Equal(body))
	s.Expect(d.Status.Request.Headers).To(ContainSubstring("X-Horizon-Webhook-Secret: [redacted]"))
	s.Expect(d.Status.Response.StatusCode).To(BeEquivalentTo(http.StatusOK))
	s.Expect(d.Status.Response.Headers).To(And(ContainSubstring("X-Receiver: ci"), ContainSubstring("X-Echo: token=[redacted]")))
	s.Expect(d.Status.Response.Body).To(Equal(`{"got":"it","token":"[redacted]"}`))
	record, err := json.Marshal(d)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(string(record)).NotTo(ContainSubstring(secret))
}

func TestSelfSignedReceiver(t *testing.T) {
	s := newScene(t)
	secure, err := receiver.Start(receiver.Options{TLS: true})
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := secure.Close(); err != nil {
			t.Error(err)
		}
	})
	s.webhook("checks", func(w *v1alpha1.WebhookSpec) {
		w.URL, w.Retry.Limit = secure.URL("/checks"), new(int32(0))
	})
	s.webhook("trusts", func(w *v1alpha1.WebhookSpec) {
		w.URL, w.SSLVerifyEnabled = secure.URL("/trusts"), new(false)
	})
	s.event(1)

	s.record("trusts", v1alpha1.DeliverySucceeded)
	d := s.record("checks", v1alpha1.DeliveryFailed)
	s.Expect(d.Status.Response).To(BeNil())
	s.Expect(d.Status.History[0].Error).To(ContainSubstring("certificate"))
	s.Expect(secure.Tally("/trusts").Requests).To(Equal(1))
	s.Expect(secure.Tally("/checks").Requests).To(Equal(0))
}

func TestFailedAttemptsAreRepeated(t *testing.T) {
	s := newScene(t)
	s.receiver.Script("/flaky", receiver.MustParseScript("500,500,200")...)
	s.webhook("flaky", func(w *v1alpha1.WebhookSpec) { w.Retry.MinBackoffSeconds = 1 })
	s.event(1)

	d := s.record("flaky", v1alpha1.DeliverySucceeded)
	s.Expect(d.Status.Attempts).To(BeEquivalentTo(3))
	s.Expect(history(d)).To(Equal([]string{"Retry 200", "Retry 500", "Initial 500"}))

	arrived := s.receiver.Arrivals("/flaky")
	s.Expect(arrived).To(HaveLen(3))
	s.Expect(ids(arrived)).To(HaveLen(1))
	for _, a := range arrived {
		s.Expect(a.Body).To(Equal(arrived[0].Body))
	}
}

func TestOnlyANewValueResends(t *testing.T) {
	s := newScene(t)
	s.receiver.Script("/broken", receiver.MustParseScript("500")...)
	s.webhook("broken", func(w *v1alpha1.WebhookSpec) { w.Retry.Limit = new(int32(0)) })
	s.webhook("witness", nil)
	s.event(1)
	d := s.record("broken", v1alpha1.DeliveryFailed)
	s.Expect(s.receiver.Arrivals("/broken")).To(HaveLen(1), "attempts with retry.limit 0")

	attempts := func(n int32) {
		s.Helper()
		s.Eventually(func() int32 { return s.record("broken", v1alpha1.DeliveryFailed).Status.Attempts }).Should(Equal(n))
	}
	s.resend(d, "first")
	attempts(2)

	// The same value once more, with a change that the operator sees. By the
	// time a later request for another record was honoured, this one would have
	// been too.
	s.resend(d, "first")
	s.kubectl("label", "webhookdelivery", d.Name, "seen=again")
	s.resend(s.record("witness", v1alpha1.DeliverySucceeded), "now")
	s.arrive("/witness", 2)
	s.Expect(s.receiver.Arrivals("/broken")).To(HaveLen(2), "attempts after the same value")

	s.receiver.Script("/broken")
	s.resend(d, "second")
	d = s.record("broken", v1alpha1.DeliverySucceeded)
	s.Expect(history(d)).To(Equal([]string{"Resend 200", "Resend 500", "Initial 500"}))
	s.Expect(d.Status.Resend.Value).To(Equal("second"))
	s.Expect(ids(s.receiver.Arrivals("/broken"))).To(HaveLen(1))
}
