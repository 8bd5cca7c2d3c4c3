package insight

import (
	"strings"
	"testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
)

// room is a change that makes a Webhook send to a room.
func room(name v1alpha1.PayloadFormat) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) {
		w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "room", Key: "url"}
		w.Spec.Payload = &v1alpha1.PayloadSettings{Format: name}
	}
}

func TestOddRooms(t *testing.T) {
	limit := func(requests, seconds int32) *v1alpha1.RateLimit {
		return &v1alpha1.RateLimit{Requests: requests, PerSeconds: seconds}
	}
	for name, tc := range map[string]struct {
		format      v1alpha1.PayloadFormat
		change      func(*v1alpha1.WebhookSpec)
		field, want string
	}{
		"an address of Slack": {"", func(s *v1alpha1.WebhookSpec) {
			s.URL, s.URLSecretRef, s.Payload = "https://hooks.slack.com/services/a", nil, nil
		}, "spec.url", "a room of Slack"},
		"Chinese for a machine": {"Horizon", func(s *v1alpha1.WebhookSpec) { s.Payload.Language = "zh" }, "spec.payload.language", "without effect"},
		"Chinese, in a template": {"Horizon", func(s *v1alpha1.WebhookSpec) {
			s.Payload.Language, s.Payload.Template = "zh", `{"text": message.title}`
		}, "", ""},
		"Chinese":              {"WeCom", func(s *v1alpha1.WebhookSpec) { s.Payload.Language = "zh" }, "", ""},
		"too fast":             {"DingTalk", func(s *v1alpha1.WebhookSpec) { s.RateLimit = limit(30, 60) }, "spec.rateLimit", "30 per 60 s is more than DingTalk takes, 20 per 60 s"},
		"too many at once":     {"DingTalk", func(s *v1alpha1.WebhookSpec) { s.RateLimit = limit(21, 60) }, "spec.rateLimit", "21 per 60 s"},
		"slower":               {"DingTalk", func(s *v1alpha1.WebhookSpec) { s.RateLimit = limit(10, 60) }, "", ""},
		"as fast, more slowly": {"DingTalk", func(s *v1alpha1.WebhookSpec) { s.RateLimit = limit(40, 120) }, "", ""},
		"a limit of one's own": {"Horizon", func(s *v1alpha1.WebhookSpec) { s.RateLimit = limit(1000, 1) }, "", ""},
	} {
		w := webhook("a", room(tc.format))
		tc.change(&w.Spec)
		all := oddRooms(&w.Spec)
		switch {
		case tc.want == "" && len(all) > 0, tc.want != "" && len(all) != 1:
			t.Errorf("%s: %v", name, all)
		case tc.want != "" && (all[0].Field != tc.field || !strings.Contains(all[0].Message, tc.want)):
			t.Errorf("%s: %v", name, all)
		}
	}
}

// What is rendered for a room has its message in words and says how it is signed, without a
// header that a room does not get.
func TestRenderOfRooms(t *testing.T) {
	for _, f := range format.All() {
		if !f.Room {
			continue
		}
		w := webhook("a", room(f.Name))
		if f.Signs() {
			w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "room", Key: "key"}
		}
		r, err := Render(w, event(), DefaultSystemNamespace, now)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		for _, h := range r.Headers {
			if strings.Contains(h.Value, "redacted") {
				t.Errorf("%s: %s is sent", f.Name, h.Name)
			}
		}
		notes := strings.Join(r.Notes, "\n")
		if r.Shown == "" || f.Signs() != strings.Contains(notes, "with the key of the") {
			t.Errorf("%s: shown as %q; %s", f.Name, r.Shown, notes)
		}
		// Neither is a body that is none.
		w.Spec.Payload.Template = `{"text": `
		if r, err = Render(w, event(), DefaultSystemNamespace, now); err != nil || r.NoBody == nil || r.Shown != "" {
			t.Errorf("%s: %+v, %v", f.Name, r, err)
		}
		w.Spec.Payload.Template = `{"a": 1}`
		if r, err = Render(w, event(), DefaultSystemNamespace, now); err != nil || r.Shown != "" || !strings.Contains(strings.Join(r.Notes, "\n"), "the room may refuse the body") {
			t.Errorf("%s: %+v, %v", f.Name, r, err)
		}
	}
}

// A script for a room that asks for signatures says that it has none.
func TestCurlOfARoom(t *testing.T) {
	w := webhook("a", room(v1alpha1.PayloadDingTalk))
	w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "room", Key: "key"}
	script := unsigned(w)
	if !strings.HasPrefix(script, "# DingTalk refuses this") || strings.Count(script, "\n") != 1 {
		t.Error(script)
	}
	w.Spec.SecretRef = nil
	if script := unsigned(w); script != "" {
		t.Error(script)
	}
}
