package v1alpha1_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// namespace is where the tests keep their objects.
const namespace = "default"

// server is the real API server that the tests of this package share. No
// controller runs beside it.
var server struct {
	config  *rest.Config
	dynamic dynamic.Interface
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx := context.Background()
	cp, err := controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := cp.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
			code = 1
		}
	}()
	// That the server takes the CRDs at all also shows that the cost of every
	// rule in them is within its limits.
	if err := cp.InstallCRDs(ctx, "../../config/crd/bases"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	server.config = cp.Config()
	server.config.WarningHandler = rest.NoWarnings{}
	if server.dynamic, err = dynamic.NewForConfig(server.config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

const (
	webhooks          = "webhooks"
	webhookEvents     = "webhookevents"
	webhookDeliveries = "webhookdeliveries"
)

var kinds = map[string]string{
	webhooks:          "Webhook",
	webhookEvents:     "WebhookEvent",
	webhookDeliveries: "WebhookDelivery",
}

func resource(plural string) dynamic.ResourceInterface {
	gvr := v1alpha1.GroupVersion.WithResource(plural)
	return server.dynamic.Resource(gvr).Namespace(namespace)
}

// fields changes an object: values by path ("spec.url"). remove takes a field
// away.
type fields map[string]any

type removal struct{}

var remove removal

// object is the smallest valid object of a kind, with the fields changed.
func object(plural, name string, changes fields) *unstructured.Unstructured {
	specs := map[string]map[string]any{
		webhooks: {
			"url":      "https://ci.example.com/hooks/horizon",
			"triggers": []any{"clusters_deployed"},
		},
		webhookEvents: {
			"eventType": "clusters_deployed",
		},
		webhookDeliveries: {
			"webhookRef": map[string]any{"name": "smoke-tests", "uid": "a6c5f9de-0f2e-4f3f-8a0c-5f2f7c1c9f0b"},
			"eventRef":   map[string]any{"namespace": namespace, "name": "horizon-1", "uid": "0d1f4c9e-6a55-4a0a-9d1b-3b8f2f0e7a11"},
			"eventType":  "clusters_deployed",
			"payload":    `{"eventID":1}`,
		},
	}
	return change(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       kinds[plural],
		"metadata":   map[string]any{"name": name, "namespace": namespace},
		"spec":       specs[plural],
	}}, changes)
}

// change makes a changed copy.
func change(obj *unstructured.Unstructured, changes fields) *unstructured.Unstructured {
	obj = obj.DeepCopy()
	// In order, so that a block comes before what is in it.
	for _, path := range slices.Sorted(maps.Keys(changes)) {
		at := strings.Split(path, ".")
		if changes[path] == remove {
			unstructured.RemoveNestedField(obj.Object, at...)
			continue
		}
		if err := unstructured.SetNestedField(obj.Object, changes[path], at...); err != nil {
			panic(fmt.Sprintf("setting %s: %v", path, err))
		}
	}
	return obj
}

// tryCreate asks the server whether it would store the object, as kubectl
// does: unknown fields are errors.
func tryCreate(t *testing.T, plural string, changes fields) (*unstructured.Unstructured, error) {
	t.Helper()
	return resource(plural).Create(t.Context(), object(plural, "example", changes), metav1.CreateOptions{
		DryRun:          []string{metav1.DryRunAll},
		FieldValidation: metav1.FieldValidationStrict,
	})
}

// create stores the object until the test ends.
func create(t *testing.T, plural, name string, changes fields) *unstructured.Unstructured {
	t.Helper()
	obj, err := resource(plural).Create(t.Context(), object(plural, name, changes), metav1.CreateOptions{
		FieldValidation: metav1.FieldValidationStrict,
	})
	if err != nil {
		t.Fatalf("creating %s %s: %v", plural, name, err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now.
		err := resource(plural).Delete(context.Background(), name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("deleting %s %s: %v", plural, name, err)
		}
	})
	return obj
}

// inputs are values that a person may write, and what the server answers.
type inputs map[string]struct {
	set fields
	// want is what each of the server's complaints has to contain, by field.
	// Empty: the object is accepted.
	want map[string][]string
}

func (in inputs) test(t *testing.T, plural string) {
	t.Helper()
	for name, tc := range in {
		t.Run(name, func(t *testing.T) {
			_, err := tryCreate(t, plural, tc.set)
			checkComplaints(t, err, tc.want)
		})
	}
}

// checkComplaints compares the causes of a refusal, one by one, so that
// neither a complaint is missing nor one too many confuses the reader.
func checkComplaints(t *testing.T, err error, want map[string][]string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if !apierrors.IsInvalid(err) {
		t.Fatalf("got %v, want a refusal", err)
	}
	got := complaints(err)
	for _, field := range slices.Sorted(maps.Keys(want)) {
		for _, text := range want[field] {
			i := slices.IndexFunc(got, func(c complaint) bool {
				return c.field == field && strings.Contains(c.message, text)
			})
			if i < 0 {
				t.Errorf("nothing said of %s: %q; the server said: %v", field, text, got)
				continue
			}
			got = slices.Delete(got, i, i+1)
		}
	}
	for _, c := range got {
		t.Errorf("also said: %v", c)
	}
}

type complaint struct{ field, message string }

func (c complaint) String() string { return c.field + ": " + c.message }

func complaints(err error) []complaint {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var all []complaint
	for _, cause := range status.Status().Details.Causes {
		// After a value that is too long or of the wrong type the server
		// leaves the rules out, and says so in a cause of its own.
		if strings.Contains(cause.Message, "some validation rules were not checked") {
			continue
		}
		// The server has no better name for the whole object.
		all = append(all, complaint{strings.TrimPrefix(cause.Field, "<nil>"), cause.Message})
	}
	return all
}
