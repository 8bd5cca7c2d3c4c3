package manifests

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// What a copy of an event looks like to the operator, made as Velero, a client of
// the API and kubectl make it.
func TestRestoredEvents(t *testing.T) {
	g := NewWithT(t)
	events := horizon(t, cluster.Config(), "webhookevents")
	worked := create(t, "webhookevents", event("restored-worked-on"))
	pending := create(t, "webhookevents", event("restored-pending"))
	worked, err := events.Patch(t.Context(), worked.GetName(), types.MergePatchType,
		[]byte(`{"status":{"result":"Succeeded"}}`), metav1.PatchOptions{FieldManager: "webhook-operator"}, "status")
	g.Expect(err).NotTo(HaveOccurred())

	typed := func(obj *unstructured.Unstructured) *v1alpha1.WebhookEvent {
		e := &v1alpha1.WebhookEvent{}
		g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, e)).To(Succeed())
		return e
	}
	// copied is the object as it is created from an export of an hour ago.
	exported := time.Now().Add(-time.Hour).Truncate(time.Second)
	copied := func(obj *unstructured.Unstructured, change func(*unstructured.Unstructured)) *unstructured.Unstructured {
		g.Expect(events.Delete(t.Context(), obj.GetName(), metav1.DeleteOptions{})).To(Succeed())
		obj = obj.DeepCopy()
		var fields []metav1.ManagedFieldsEntry
		for _, entry := range obj.GetManagedFields() {
			entry.Time = &metav1.Time{Time: exported}
			fields = append(fields, entry)
		}
		obj.SetManagedFields(fields)
		obj.SetResourceVersion("")
		change(obj)
		created, err := events.Create(t.Context(), obj, metav1.CreateOptions{FieldManager: "velero-server"})
		g.Expect(err).NotTo(HaveOccurred())
		return created
	}
	velero := func(obj *unstructured.Unstructured) {
		for _, field := range []string{"uid", "generation", "creationTimestamp"} {
			unstructured.RemoveNestedField(obj.Object, "metadata", field)
		}
		unstructured.RemoveNestedField(obj.Object, "status")
	}
	_, found := matching.RestoredFrom(typed(worked))
	g.Expect(found).To(BeFalse(), "an original")

	byVelero := copied(worked, velero)
	at, found := matching.RestoredFrom(typed(byVelero))
	g.Expect(found).To(BeTrue(), "%v", byVelero.GetManagedFields())
	g.Expect(at).To(BeTemporally("==", exported))

	asItIs := copied(byVelero, func(*unstructured.Unstructured) {})
	at, found = matching.RestoredFrom(typed(asItIs))
	g.Expect(found).To(BeTrue(), "%v", asItIs.GetManagedFields())
	g.Expect(at).To(BeTemporally("==", exported))

	written, err := events.Patch(t.Context(), asItIs.GetName(), types.MergePatchType,
		[]byte(`{"status":{"result":"Expired"}}`), metav1.PatchOptions{FieldManager: "webhook-operator"}, "status")
	g.Expect(err).NotTo(HaveOccurred())
	_, found = matching.RestoredFrom(typed(written))
	g.Expect(found).To(BeFalse(), "the next write of the status takes the evidence away")

	_, found = matching.RestoredFrom(typed(copied(pending, velero)))
	g.Expect(found).To(BeFalse(), "one that nobody had worked on")
	byKubectl := copied(asItIs, func(obj *unstructured.Unstructured) { obj.SetManagedFields(nil) })
	_, found = matching.RestoredFrom(typed(byKubectl))
	g.Expect(found).To(BeFalse(), "kubectl does not export managed fields")
}
