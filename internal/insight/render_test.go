package insight

import (
	"fmt"
	"strings"
	"testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

func TestRender(t *testing.T) {
	token := func(w *v1alpha1.Webhook) { w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "s", Key: "token"} }
	key := func(w *v1alpha1.Webhook) {
		w.Spec.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: "s", Key: "key"}
	}
	const plain = "Content-Type Webhook-Id Webhook-Timestamp"
	for name, tc := range map[string]struct {
		change  func(*v1alpha1.Webhook)
		headers string
	}{
		"plain":  {func(*v1alpha1.Webhook) {}, plain},
		"token":  {token, "Content-Type Webhook-Id Webhook-Signature Webhook-Timestamp X-Horizon-Webhook-Secret"},
		"signed": {key, "Content-Type Webhook-Id Webhook-Signature Webhook-Timestamp"},
	} {
		t.Run(name, func(t *testing.T) {
			w, e := webhook("a", tc.change), event()
			r, err := Render(w, e, DefaultSystemNamespace, now)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, h := range r.Headers {
				names = append(names, h.Name)
				switch h.Name {
				case "Webhook-Signature", "X-Horizon-Webhook-Secret":
					if h.Value != "[redacted]" {
						t.Errorf("%s is %q", h.Name, h.Value)
					}
				case "Webhook-Id":
					if h.Value != delivery.MessageID(e.UID, w.UID) {
						t.Errorf("%s is %q", h.Name, h.Value)
					}
				}
			}
			if got := strings.Join(names, " "); got != tc.headers {
				t.Errorf("got %s, want %s", got, tc.headers)
			}
			if body, _ := payload.Render(e, payload.WebhookID(w)); r.Body != string(body) {
				t.Errorf("got %s", r.Body)
			}
			if r.Outcome != Sent || r.URL != w.Spec.URL || r.Method != "POST" {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestRenderOfAnEventThatIsNowhere(t *testing.T) {
	e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{EventType: "clusters_deployed"}}
	e.Namespace = "music"
	w := webhook("a", func(w *v1alpha1.Webhook) {
		w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "room", Key: "url"}
	})
	r, err := Render(w, e, DefaultSystemNamespace, now)
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(r.Notes, "\n")
	if r.Outcome != Sent || !strings.Contains(notes, "Webhook-Id, and eventID in the body") {
		t.Errorf("got %+v", r)
	}
	if r.URL != "[redacted]" || !strings.Contains(notes, "the key url of the Secret room") {
		t.Errorf("the URL is %q: %s", r.URL, notes)
	}
	if id := r.Headers[1]; id.Name != "Webhook-Id" || id.Value != delivery.MessageID(madeUpUID, w.UID) {
		t.Errorf("the id is %v", id)
	}
	if e.UID != "" || !e.CreationTimestamp.IsZero() {
		t.Error("the event was changed")
	}
	e.Spec.EventID = 7
	if r, err = Render(w, e, DefaultSystemNamespace, now); err != nil || strings.Contains(fmt.Sprint(r.Notes), "eventID") {
		t.Errorf("got %v, %v", r.Notes, err)
	}
}

func TestWouldBeSent(t *testing.T) {
	elsewhere := func(w *v1alpha1.Webhook) { w.Namespace = "video" }
	system := func(w *v1alpha1.Webhook) { w.Namespace = DefaultSystemNamespace }
	for name, tc := range map[string]struct {
		webhook *v1alpha1.Webhook
		outcome Outcome
		reason  string
	}{
		"sent":                            {webhook("a"), Sent, ""},
		"not followed":                    {webhook("a", triggers("members_*")), NotFollowed, "Trigger"},
		"paused":                          {webhook("a", state(v1alpha1.WebhookPaused)), Waiting, "Paused"},
		"not ready":                       {webhook("a", bare), Waiting, "NotReady"},
		"of another namespace":            {webhook("a", elsewhere), NotFollowed, ReasonOtherNamespace},
		"of the namespace that sees them": {webhook("a", system), Sent, ""},
	} {
		if got := wouldBeSent(tc.webhook, event(), DefaultSystemNamespace, now); got.Outcome != tc.outcome || got.Reason != tc.reason {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
