package controllers

import (
	"encoding/json"
	"net/http"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A card for Feishu is signed in its body. What the record keeps is the card: neither the
// signature nor, where the bot echoes it, anything that was made of the key.
func TestSignatureIsNotRecorded(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.secret("room", map[string]string{"url": b.receiver.URL("/w"), "sign": "the-key-of-the-bot"})
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "room", Key: "url"}
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "room", Key: "sign"}
		w.Spec.Payload = &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadFeishu}
	})
	b.receiver.Script("/w", receiver.Answer{Status: http.StatusOK, Body: `{"code":0,"msg":"success"}`})
	b.observed(w)
	b.event("a")
	d := b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
	got := b.receiver.Arrivals("/w")[0]
	var sent struct{ Sign, Timestamp string }
	b.Expect(json.Unmarshal(got.Body, &sent)).To(Succeed())
	b.Expect(sent.Sign).NotTo(BeEmpty())
	b.Expect(sent.Timestamp).NotTo(BeEmpty())
	b.Expect(got.Header.Values("X-Horizon-Webhook-Secret")).To(BeEmpty())
	b.Expect(got.Header.Values("webhook-signature")).To(BeEmpty())
	b.Expect(d.Status.Request.Body).To(And(HavePrefix(`{"card":`), Not(ContainSubstring("timestamp")), Not(ContainSubstring(sent.Sign))))

	b.receiver.Script("/w", receiver.Answer{Status: http.StatusOK, Body: `{"code":19021,"msg":"sign match fail"}`})
	b.event("b")
	d = b.deliveryOf(w, "b", v1alpha1.DeliveryFailed)
	b.Expect(deliveredReason(d)).To(Equal(v1alpha1.ReasonRejected))
	b.Expect(d.Status.Attempts).To(BeEquivalentTo(1))
	b.Expect(d.Status.History[0].Error).To(HavePrefix("not accepted: code 19021: sign match fail (the bot has another signing key"))
}
