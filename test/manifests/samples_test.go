package manifests

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

const samples = "../../config/samples"

// sample reads the only object of a file of config/samples.
func sample(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(samples, file))
	if err != nil {
		t.Fatal(err)
	}
	objs, err := parse(data)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(objs) != 1 {
		t.Fatalf("%s has %d objects", file, len(objs))
	}
	return objs[0]
}

// Every sample is valid, and says in comments what it is.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(samples, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := newObjects(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, path := range files {
		file := filepath.Base(path)
		if file == "kustomization.yaml" {
			continue
		}
		t.Run(file, func(t *testing.T) {
			if !strings.HasPrefix(lines(t, path)[0], "# ") {
				t.Error("no comment says what it is")
			}
			obj := sample(t, file)
			kinds[obj.GetKind()] = true
			obj.SetNamespace(tenant)
			// A dry run, so that the record, which nobody but the operator ought
			// to write, does not come to be.
			if _, err := objects.apply(t.Context(), obj, metav1.ApplyOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
				t.Error(err)
			}
		})
	}
	for _, kind := range []string{"Webhook", "WebhookEvent", "WebhookDelivery", "Secret"} {
		if !kinds[kind] {
			t.Errorf("there is no sample of a %s", kind)
		}
	}
}

// `kubectl apply -k config/samples` applies all samples but the record.
func TestSamplesKustomization(t *testing.T) {
	objs := rendered(t, "samples")
	var got []string
	for _, obj := range objs {
		got = append(got, obj.GetKind()+" "+obj.GetName())
	}
	slices.Sort(got)
	want := []string{
		"Secret smoke-tests", "Webhook broker", "Webhook chat", "Webhook ops-room", "Webhook smoke-tests", "WebhookEvent horizon-78402",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config/samples (-want +got):\n%s", diff)
	}
}

// The sample of a Webhook in full has every field that those for a purpose have not, and where the comment says that they are the defaults, they are.
func TestSampleInFull(t *testing.T) {
	full := sample(t, "webhook_in_full.yaml")
	var w v1alpha1.Webhook
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(full.Object, &w); err != nil {
		t.Fatal(err)
	}
	spec := full.Object["spec"].(map[string]any)

	shown := maps.Clone(spec)
	for _, file := range []string{"webhook_private.yaml", "webhook_expressions.yaml", "webhook_chat.yaml"} {
		maps.Copy(shown, sample(t, file).Object["spec"].(map[string]any))
	}
	for field := range crdSchema(t, "webhooks.horizoncd.io") {
		if _, ok := shown[field]; !ok {
			t.Errorf("none has %s", field)
		}
	}

	smallest := webhook("defaults")
	created, err := horizon(t, cluster.Config(), "webhooks").Create(t.Context(), smallest, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Fatal(err)
	}
	for field, value := range created.Object["spec"].(map[string]any) {
		if field == "url" || field == "triggers" {
			continue
		}
		if diff := cmp.Diff(value, spec[field]); diff != "" {
			t.Errorf("%s is not the default (-default +sample):\n%s", field, diff)
		}
	}
}

// What the samples say in CEL compiles, lets the sample of an event pass and makes a body
// of it.
func TestSamplesOfExpressions(t *testing.T) {
	var e v1alpha1.WebhookEvent
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(sample(t, "webhookevent.yaml").Object, &e); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct{ body, contentType string }{
		"webhook_expressions.yaml": {
			`{"msgtype":"text","text":{"content":"web-prod is out, by test"}}`, "application/json;charset=utf-8",
		},
		"webhook_cloudevents.yaml": {
			`{"specversion":"1.0","id":"whd_1","source":"/horizon/music","type":"io.horizoncd.clusters_deployed",` +
				`"subject":"/music/player/web/web-prod","time":"2026-06-05T11:00:31Z","datacontenttype":"application/json","data":` +
				`{"eventID":78402,"webhookID":7,"cluster":{"id":61400,"name":"web-prod","applicationName":"web","env":"online"},` +
				`"eventType":"clusters_deployed","user":{"id":1,"name":"test","email":"test@noreply.com"}}}`,
			"application/cloudevents+json",
		},
	} {
		t.Run(file, func(t *testing.T) {
			var w v1alpha1.Webhook
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(sample(t, file).Object, &w); err != nil {
				t.Fatal(err)
			}
			w.Namespace, e.Namespace, w.Spec.WebhookID = "music", "music", 7
			for _, problem := range validation.Expressions(&w) {
				t.Error(problem.Message())
			}
			if v := matching.Match(&w, &e); !v.Follows() {
				t.Errorf("the event is not sent: %+v", v)
			}
			body, err := payload.Render(&e, payload.WebhookID(&w))
			if err != nil {
				t.Fatal(err)
			}
			got, err := payload.Of(delivery.New(&e, &w, body), &w, "whd_1")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{want.body, want.contentType}, []string{string(got), format.Of(&w).ContentType}); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

// crdSchema is what a CRD has below spec.
func crdSchema(t *testing.T, name string) map[string]any {
	t.Helper()
	for _, obj := range cluster.rendered {
		if obj.GetKind() != "CustomResourceDefinition" || obj.GetName() != name {
			continue
		}
		versions, _, _ := unstructured.NestedSlice(obj.Object, "spec", "versions")
		properties, _, _ := unstructured.NestedMap(versions[0].(map[string]any),
			"schema", "openAPIV3Schema", "properties", "spec", "properties")
		return properties
	}
	t.Fatalf("no CRD %s", name)
	return nil
}

// The sample of a record is the one that the operator would write for the
// samples of an event and a Webhook.
func TestSampleDelivery(t *testing.T) {
	var w v1alpha1.Webhook
	var e v1alpha1.WebhookEvent
	var d v1alpha1.WebhookDelivery
	for file, into := range map[string]any{
		"webhook_in_full.yaml": &w, "webhookevent.yaml": &e, "webhookdelivery.yaml": &d,
	} {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(sample(t, file).Object, into, true); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	d.Namespace = d.Spec.EventRef.Namespace // where it is applied
	w.UID, w.Namespace = d.Spec.WebhookRef.UID, d.Namespace
	e.UID, e.Namespace = d.Spec.EventRef.UID, d.Spec.EventRef.Namespace
	// It happened a second before the first attempt.
	first := d.Status.History[len(d.Status.History)-1].Time
	e.CreationTimestamp = metav1.NewTime(first.Add(-time.Second))

	body, err := payload.Render(&e, payload.WebhookID(&w))
	if err != nil {
		t.Fatal(err)
	}
	want := delivery.New(&e, &w, body)
	want.Labels[v1alpha1.LabelResult] = string(v1alpha1.DeliveryWaiting)
	want.Annotations = map[string]string{v1alpha1.AnnotationNextAttempt: d.Status.NextAttemptTime.UTC().Format(time.RFC3339)}
	if diff := cmp.Diff(want, &d, cmpopts.IgnoreFields(v1alpha1.WebhookDelivery{}, "Status")); diff != "" {
		t.Errorf("the record (-want +sample):\n%s", diff)
	}
	if id := "Webhook-Id: " + delivery.MessageID(e.UID, w.UID); !strings.Contains(d.Status.Request.Headers, id) {
		t.Errorf("the request lacks %q:\n%s", id, d.Status.Request.Headers)
	}
	if d.Status.Request.URL != w.Spec.URL {
		t.Errorf("the request went to %s", d.Status.Request.URL)
	}
}
