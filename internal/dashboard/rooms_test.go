package dashboard

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A room by the form, without a script: its address and its key become one Secret, the preview
// and the log show the message, and neither shows what is secret.
func TestFormOfRooms(t *testing.T) {
	b := newBed(t)
	room := b.Receiver.Open(receiver.DingTalk, receiver.RoomOptions{Secret: typedSecret})
	w := b.open(b.path("new"))
	w.set("name", "ops", "format", "DingTalk", "language", "zh", "rateLimit", "10/m", "triggers", "clusters_deployed").press("check")
	b.Expect(w.mistakes()).To(HaveKeyWithValue("url", ContainSubstring("paste the address of the robot")))
	b.Expect(w.mistakes()).To(HaveLen(2), "beside the summary, which names it: %v", w.mistakes())
	b.Expect(w.text("rateLimit-usual")).To(Equal("Empty: that of DingTalk, 20 per 60 s."))
	b.Expect(w.text("preview")).To(ContainSubstring("集群"))
	b.Expect(w.text("preview-body-text")).To(ContainSubstring(`"msgtype"`))

	w.set("url", room.URL(), "secret", typedSecret).press("check")
	b.Expect(w.mistakes()).To(BeEmpty())
	b.Expect(w.body).NotTo(ContainSubstring(room.Key()))
	b.Expect(w.text("preview")).To(ContainSubstring("signed in the URL with the key of the robot"))
	b.Expect(w.text("preview-headers-text")).NotTo(ContainSubstring("redacted"))
	b.Expect(w.body).To(ContainSubstring("A new Secret ops-webhook is made first, with "))

	w.set("url", room.URL(), "secret", typedSecret, "retype", "")
	page := w.submit()
	b.Expect(page).To(ContainSubstring("10 per 60 s"))
	spec := b.stored("ops").Spec
	b.Expect(spec.URL).To(BeEmpty())
	b.Expect(spec.URLSecretRef).To(Equal(&v1alpha1.SecretKeyReference{Name: "ops-webhook", Key: "url"}))
	b.Expect(spec.SecretRef).To(Equal(&v1alpha1.SecretKeyReference{Name: "ops-webhook", Key: "token"}))
	b.Expect(spec.Payload).To(Equal(&v1alpha1.PayloadSettings{Format: v1alpha1.PayloadDingTalk, Language: v1alpha1.LanguageChinese}))
	b.Expect(spec.RateLimit).To(Equal(&v1alpha1.RateLimit{Requests: 10, PerSeconds: 60}))

	d := b.Delivery("ops", b.Event(1), v1alpha1.DeliverySucceeded)
	b.Expect(room.Messages()).To(HaveLen(1))
	log := b.page(b.path("deliveries", d.Name))
	b.Expect(log).To(ContainSubstring("In the room of DingTalk"))
	b.Expect(log).To(ContainSubstring(`class="room-heading"`))
	list := b.page(b.path("webhooks"))
	b.Expect(list).To(ContainSubstring("room of DingTalk · at most 10 per 60 s"))
	for _, page := range []string{page, log, list} {
		b.Expect(page).NotTo(Or(ContainSubstring(room.Key()), ContainSubstring(typedSecret)))
	}

	// The rate limit is the service's again, and English.
	w = b.open(b.path("webhooks", "ops", "edit"))
	b.Expect(w.values.Get("rateLimit")).To(Equal("10/60s"))
	w.set("rateLimit", "", "language", "en").submit()
	b.Expect(b.stored("ops").Spec.RateLimit).To(BeNil())
	b.Expect(b.stored("ops").Spec.Payload.Language).To(Equal(v1alpha1.LanguageEnglish))
	b.Expect(b.stored("ops").Spec.SecretRef).NotTo(BeNil())

	// A service that knows no key has its say at the field of that.
	w = b.open(b.path("webhooks", "ops", "edit")).set("format", "Slack").press("submit")
	b.Expect(w.mistakes()).To(HaveKeyWithValue("secret", ContainSubstring("Slack knows no secret beside the address")))
	w.set("secret-remove", "yes").submit()
	b.Expect(b.stored("ops").Spec.SecretRef).To(BeNil())
}

// A plain URL becomes a secret when its receiver becomes a room.
func TestFormMovesTheURLOfARoom(t *testing.T) {
	b := newBed(t)
	b.Webhook("a")
	address := b.stored("a").Spec.URL
	w := b.open(b.path("webhooks", "a", "edit")).set("format", "Teams").press("check")
	b.Expect(w.mistakes()).To(BeEmpty())
	w = b.open(b.path("webhooks", "a", "edit")).set("format", "Teams")
	w.submit()
	b.Expect(b.stored("a").Spec.URL).To(BeEmpty())
	ref := b.stored("a").Spec.URLSecretRef
	b.Expect(ref).NotTo(BeNil())
	for _, s := range b.secrets() {
		if s.Name == ref.Name {
			b.Expect(string(s.Data[ref.Key])).To(Equal(address))
		}
	}
}

// Whoever pastes the address of a room is asked about the service, whether it is a secret or not.
func TestFormKnowsAddressesOfRooms(t *testing.T) {
	for _, secret := range []string{"", "yes"} {
		in := filled(map[string]any{}, "url", "https://hooks.slack.com/services/T/B/x", "url-is-secret", secret)
		f := &form{create: true, in: in, base: &formBase{Spec: map[string]any{}}, posted: true, request: &request{}}
		f.draft = draftOf(in, nil)
		if got := f.oddity(urlField); !strings.Contains(got, "a room of Slack") {
			t.Errorf("%q: %q", secret, got)
		}
		in.Set("format", "Slack")
		f = &form{create: true, in: in, base: &formBase{Spec: map[string]any{}}, posted: true, request: &request{}}
		f.draft = draftOf(in, nil)
		if got := f.oddity(urlField); got != "" {
			t.Errorf("of Slack: %q", got)
		}
	}
}
