package payload

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/format"
)

// bodies are those of the golden files, and what Horizon itself was seen to send.
func bodies(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"testdata/*.json", "testdata/horizon/*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[file] = data
		}
	}
	if len(all) < 25 {
		t.Fatalf("only %d bodies were found", len(all))
	}
	return all
}

// The template of each format makes what the format makes, of all that Horizon sends.
func TestTemplatesOfFormats(t *testing.T) {
	for _, f := range format.All() {
		for name, data := range bodies(t) {
			t.Run(string(f.Name)+"/"+name, func(t *testing.T) {
				sent, err := Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{WebhookID: 7}}
				event := &v1alpha1.WebhookEvent{Spec: sent.Event}
				if user := event.Spec.User; user != nil && user.ID == nil {
					return // the API server lets none through without an id
				}
				body, err := Render(event, WebhookID(w))
				if err != nil {
					t.Fatal(err)
				}
				d := &v1alpha1.WebhookDelivery{Spec: v1alpha1.WebhookDeliverySpec{
					EventRef: v1alpha1.EventReference{Namespace: "music"}, EventType: sent.Event.EventType,
					Time: metav1.Unix(1_764_000_000, 0), Payload: string(body),
				}}
				if event.Spec.Cluster != nil {
					d.Spec.ResourcePath = "/music/player/web/web-prod"
				}
				w.Spec.Payload = &v1alpha1.PayloadSettings{Format: f.Name}
				want, err := Of(d, w, "whd_1")
				if err != nil {
					t.Fatal(err)
				}
				w.Spec.Payload.Template = f.Template()
				got, err := Of(d, w, "whd_1")
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(decode(t, want), decode(t, got)); diff != "" {
					t.Errorf("values (-%s +its template):\n%s", f.Name, diff)
				}
			})
		}
	}
}

func decode(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}

// Every format of the API is listed, and its template compiles within its bounds.
func TestFormats(t *testing.T) {
	var got []v1alpha1.PayloadFormat
	for _, f := range format.All() {
		got = append(got, f.Name)
		if _, err := expression.CompileTemplate(f.Template()); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if diff := cmp.Diff([]v1alpha1.PayloadFormat{v1alpha1.PayloadHorizon, v1alpha1.PayloadCloudEvents, v1alpha1.PayloadDingTalk,
		v1alpha1.PayloadFeishu, v1alpha1.PayloadWeCom, v1alpha1.PayloadSlack, v1alpha1.PayloadTeams, v1alpha1.PayloadDiscord,
	}, got); diff != "" {
		t.Errorf("formats (-want +got):\n%s", diff)
	}
}
