package crdskew

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/test/crds"
)

// document is the OpenAPI document of an API server with the CRDs in config/crd, changed.
func document(t *testing.T, change func(kind string, s crds.Schema)) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := crds.Write("../..", dir, change); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	schemas := map[string]any{"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": map[string]any{"type": "object"}}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Schema struct {
						OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(data, &crd); err != nil {
			t.Fatal(err)
		}
		schema := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		schema["x-kubernetes-group-version-kind"] = []any{map[string]any{
			"group": "horizoncd.io", "version": "v1alpha1", "kind": crd.Spec.Names.Kind,
		}}
		schemas["io.horizoncd.v1alpha1."+crd.Spec.Names.Kind] = schema
	}
	data, err := json.Marshal(map[string]any{"openapi": "3.0.0", "components": map[string]any{"schemas": schemas}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLacking(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(kind string, s crds.Schema)
		want   []string
	}{
		"the same": {change: func(string, crds.Schema) {}},
		"later ones": {change: func(kind string, s crds.Schema) {
			s.At("spec").Add("telex")
			if kind == "Webhook" {
				s.At("spec", "payload", "format").Allow("Telex")
				s.At("spec", "timeoutSeconds")["enum"] = []any{10, 30} // of another type than text
			}
		}},
		"earlier ones": {
			change: func(kind string, s crds.Schema) {
				switch kind {
				case "Webhook":
					s.At("spec").Remove("rateLimit")
					s.At("spec", "payload", "format").Forbid("Discord")
					s.At("spec", "payload", "format").Forbid("Teams")
				case "WebhookEvent":
					s.At("status").Remove("unmatched")
				case "WebhookDelivery":
					crds.Schema(s.At("status", "history")["items"].(map[string]any)).Remove("error")
				}
			},
			want: []string{
				"webhook.spec.payload.format=Teams", "webhook.spec.payload.format=Discord", "webhook.spec.rateLimit",
				"webhookdelivery.status.history.error", "webhookevent.status.unmatched",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Lacking(document(t, tc.change))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLackingKinds(t *testing.T) {
	got, err := Lacking([]byte(`{"components":{"schemas":{"other":{"type":"object"}}}}`))
	if diff := cmp.Diff([]string{"webhook", "webhookdelivery", "webhookevent"}, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	if _, err := Lacking([]byte("<html>")); err == nil || !strings.Contains(err.Error(), "reading the OpenAPI document") {
		t.Errorf("of what is no document: %v", err)
	}
}
