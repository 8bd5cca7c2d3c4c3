package controllers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const tokenHeader = "X-Horizon-Webhook-Secret"

// signature is what a receiver that knows the standard and no library computes.
func signature(key []byte, a receiver.Arrival) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", a.Header.Get("webhook-id"), a.Header.Get("webhook-timestamp"), a.Body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// verifies tells whether the standard's own library accepts a request.
func (b *testbed) verifies(secret string, a receiver.Arrival) bool {
	b.t.Helper()
	v, err := standardwebhooks.NewWebhookRaw([]byte(secret))
	if strings.HasPrefix(secret, "whsec_") {
		v, err = standardwebhooks.NewWebhook(secret)
	}
	b.Expect(err).NotTo(HaveOccurred())
	return v.Verify(a.Body, a.Header) == nil
}

// Whoever sees the token of a receiver in a request cannot sign: another key does, which
// is never sent, not written anywhere, and used once it was changed. Without it nothing
// is sent.
func TestSigningKeyApartFromTheToken(t *testing.T) {
	const token, text = "t0ken-of-the-receiver", "a-s1gning-k3y"
	raw := []byte("another-s1gning-k3y-as-bytes")
	whsec := "whsec_" + base64.StdEncoding.EncodeToString(raw)
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.Answer{
		Status: http.StatusOK, Header: http.Header{"X-Echo": {text}},
		Body: fmt.Sprintf("%s %x %s", text, text, base64.StdEncoding.EncodeToString([]byte("key="+text))),
	}, receiver.Answer{Status: http.StatusUnauthorized}, receiver.Answer{
		Status: http.StatusOK, Body: fmt.Sprintf("%s %x %s", whsec, raw, raw),
	}, receiver.Answer{Status: http.StatusOK})
	b.start()
	b.secret("token", map[string]string{"token": token})
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "token"}
		w.Spec.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: "signing", Key: "key"}
	})
	b.Expect(b.ready(w, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)).
		To(Equal(fmt.Sprintf(`Secret "signing" does not exist in namespace %q: create it, or change spec.signingSecretRef`, b.namespace)))
	b.event("a")
	b.settled("a", v1alpha1.EventWaiting)
	b.Expect(b.requests("w")).To(BeZero(), "the token does not stand in for a key that is missing")

	signing := b.secret("signing", map[string]string{"key": text + "\n"})
	b.edit(w, map[string]any{"spec": map[string]any{"description": "look now"}})
	b.settled("a", v1alpha1.EventSucceeded)
	first := b.receiver.Arrivals("/w")[0]
	b.Expect(first.Header.Get(tokenHeader)).To(Equal(token))
	b.Expect(first.Header.Get("webhook-signature")).To(Equal(signature([]byte(text), first)))
	b.Expect(b.verifies(text, first)).To(BeTrue())
	b.Expect(b.verifies(token, first)).To(BeFalse())

	// A rotation, to a key as the standard writes it: 401 makes the operator look.
	signing.StringData = map[string]string{"key": whsec}
	b.Expect(b.client.Update(b.ctx, signing)).To(Succeed())
	b.event("b")
	b.settled("b", v1alpha1.EventSucceeded)
	arrived := b.receiver.Arrivals("/w")
	b.Expect(arrived).To(HaveLen(3))
	b.Expect(b.verifies(text, arrived[1])).To(BeTrue())
	b.Expect(arrived[2].Header.Get("webhook-signature")).To(Equal(signature(raw, arrived[2])))
	b.Expect(b.verifies(whsec, arrived[2])).To(BeTrue())
	b.Expect(b.verifies(token, arrived[2])).To(BeFalse())
	for _, a := range arrived {
		for _, key := range []string{text, whsec, string(raw), fmt.Sprintf("%x", raw), fmt.Sprintf("%x", text)} {
			b.Expect(a.String()).NotTo(ContainSubstring(key), "a key is never sent")
		}
	}

	// Without the token there is no header of it; without the key the token signs.
	b.edit(w, map[string]any{"spec": map[string]any{"secretRef": nil}})
	b.event("c")
	b.settled("c", v1alpha1.EventSucceeded)
	b.edit(w, map[string]any{"spec": map[string]any{"secretRef": map[string]any{"name": "token", "key": "token"}, "signingSecretRef": nil}})
	b.event("d")
	b.settled("d", v1alpha1.EventSucceeded)
	arrived = b.receiver.Arrivals("/w")
	b.Expect(arrived[3].Header).NotTo(HaveKey(tokenHeader))
	b.Expect(b.verifies(whsec, arrived[3])).To(BeTrue())
	b.Expect(arrived[4].Header.Get(tokenHeader)).To(Equal(token))
	b.Expect(b.verifies(token, arrived[4])).To(BeTrue())

	for _, d := range b.deliveries() {
		b.Expect(d.Status.Request.Headers).To(ContainSubstring("Webhook-Signature: [redacted]"))
	}
	written := b.written()
	for _, secret := range []string{text, string(raw), whsec, token} {
		for _, told := range []string{secret, fmt.Sprintf("%x", secret), base64.RawStdEncoding.EncodeToString([]byte(secret))} {
			b.Expect(written).NotTo(ContainSubstring(told))
		}
	}
}
