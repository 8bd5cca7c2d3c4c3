package v1alpha1_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// schemaOf is what `kubectl explain` reads of a schema.
type schemaOf struct {
	Description string               `json:"description"`
	Properties  map[string]*schemaOf `json:"properties"`
	Items       *schemaOf            `json:"items"`
}

// `kubectl explain` has a sentence for every field, which begins with the
// field's own name.
func TestExplain(t *testing.T) {
	client, err := discovery.NewDiscoveryClientForConfig(server.config)
	if err != nil {
		t.Fatal(err)
	}
	data, err := client.RESTClient().Get().AbsPath("/openapi/v3/apis", v1alpha1.GroupVersion.String()).Do(t.Context()).Raw()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Components struct {
			Schemas map[string]*schemaOf `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	explained := 0
	for _, kind := range kinds {
		schema := doc.Components.Schemas["io.horizoncd.v1alpha1."+kind]
		if schema == nil {
			t.Errorf("no schema of %s", kind)
			continue
		}
		if !strings.HasPrefix(schema.Description, kind+" ") {
			t.Errorf("%s is described as %q", kind, schema.Description)
		}
		for _, part := range []string{"spec", "status"} {
			explained += checkDescriptions(t, kind+"."+part, part, schema.Properties[part])
		}
	}
	if explained < 100 {
		t.Errorf("found %d fields only", explained)
	}
}

func checkDescriptions(t *testing.T, path, name string, schema *schemaOf) int {
	t.Helper()
	if schema == nil {
		t.Errorf("%s does not exist", path)
		return 0
	}
	if !strings.HasPrefix(schema.Description, name+" ") && !strings.HasPrefix(schema.Description, name+", ") {
		t.Errorf("%s is described as %q", path, schema.Description)
	}
	breaksAfterSentences(t, path, schema.Description)
	if schema.Items != nil {
		breaksAfterSentences(t, path+"[]", schema.Items.Description)
	}
	explained := 1
	properties := schema.Properties
	if schema.Items != nil && len(schema.Items.Properties) > 0 {
		properties = schema.Items.Properties
	}
	if name == "conditions" {
		return explained // their fields are Kubernetes' own
	}
	for field, property := range properties {
		explained += checkDescriptions(t, path+"."+field, field, property)
	}
	return explained
}

// breaksAfterSentences: kubectl keeps line breaks and wraps by itself, so one
// inside a sentence would leave every other line short.
func breaksAfterSentences(t *testing.T, path, description string) {
	t.Helper()
	for line := range strings.SplitSeq(description, "\n") {
		if line != "" && !strings.HasSuffix(line, ".") {
			t.Errorf("%s breaks within a sentence: %q", path, line)
		}
	}
}

// The message about a trigger that is not there says that all are listed there.
func TestTriggersAreExplained(t *testing.T) {
	obj, err := server.dynamic.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}).Get(t.Context(), "webhooks.horizoncd.io", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(obj.Object, "spec", "versions")
	explained, _, err := unstructured.NestedString(versions[0].(map[string]any),
		"schema", "openAPIV3Schema", "properties", "spec", "properties", "triggers", "items", "description")
	if err != nil {
		t.Fatal(err)
	}
	for _, trigger := range append(slices.Clone(emittedTypes), "applications_*", "clusters_*", "members_*", "pipelineruns_*", `"*"`) {
		if trigger != "clsuters_restarted" && !strings.Contains(explained, trigger) {
			t.Errorf("%s is not explained", trigger)
		}
	}
}

func TestNames(t *testing.T) {
	client, err := discovery.NewDiscoveryClientForConfig(server.config)
	if err != nil {
		t.Fatal(err)
	}
	list, err := client.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	shortNames := map[string]string{webhooks: "wh", webhookEvents: "whe", webhookDeliveries: "whd"}
	for _, r := range list.APIResources {
		short, ok := shortNames[r.Name]
		if !ok {
			continue // a subresource
		}
		delete(shortNames, r.Name)
		if !r.Namespaced || len(r.ShortNames) != 1 || r.ShortNames[0] != short || len(r.Categories) != 1 || r.Categories[0] != "horizon" {
			t.Errorf("%s: namespaced %t, short names %v, categories %v", r.Name, r.Namespaced, r.ShortNames, r.Categories)
		}
	}
	if len(shortNames) > 0 {
		t.Errorf("not served: %v", shortNames)
	}
}
