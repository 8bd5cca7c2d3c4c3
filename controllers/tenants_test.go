package controllers

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/test/hostile/fields"
)

// An operator that is bound to namespaces sees nothing of the others. Webhooks of
// the system namespace follow the events of those that it sees.
func TestOperatorOfSomeNamespaces(t *testing.T) {
	b := newTestbed(t)
	other := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	b.Expect(b.client.Create(b.ctx, other)).To(Succeed())
	t.Cleanup(func() {
		for _, kind := range []client.Object{&v1alpha1.Webhook{}, &v1alpha1.WebhookEvent{}} {
			b.Expect(b.client.DeleteAllOf(b.ctx, kind, client.InNamespace(other.Name))).To(Succeed())
		}
	})
	inOther := func(name string) *v1alpha1.WebhookEvent {
		return b.event(name, func(e *v1alpha1.WebhookEvent) { e.Namespace = other.Name })
	}
	b.namespaces = []string{b.namespace, systemNamespace}
	b.start()
	b.webhook("everything", func(w *v1alpha1.Webhook) { w.Namespace = systemNamespace })
	b.webhook("here")
	b.webhook("there", func(w *v1alpha1.Webhook) { w.Namespace = other.Name })
	unseen := inOther("e")
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	b.Eventually(func() int { return b.requests("everything") }).Should(Equal(1))

	// Without the system namespace, nothing follows from there.
	b.stop()
	b.namespaces = []string{b.namespace}
	b.start()
	inOther("next")
	b.event("next")
	b.settled("next", v1alpha1.EventSucceeded)
	b.Expect(b.requests("here")).To(Equal(2))
	b.Expect(b.requests("everything")).To(Equal(1))
	b.Expect(b.requests("there")).To(BeZero())
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(unseen), unseen)).To(Succeed())
	b.Expect(unseen.Status.ObservedGeneration).To(BeNumerically("<", 1), "nobody has looked at it")
}

// Whoever may write records anyhow could make one up, or carry one over to another
// Webhook. Neither is sent, be it due or asked for.
func TestForgedRecordsAreNotSent(t *testing.T) {
	b := newTestbed(t)
	b.start()
	// One at a time: what is sent later shows what was not sent before.
	alone := func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight = 1 }
	victim, other := b.webhook("victim", alone), b.webhook("other", alone)
	e := b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	stored := map[string]*v1alpha1.WebhookDelivery{}
	for _, d := range b.deliveries() {
		stored[d.Spec.WebhookRef.Name] = &d
	}

	forge := func(name string, change func(d *v1alpha1.WebhookDelivery)) {
		d := delivery.New(e, victim, []byte(`{"forged":true}`))
		d.Name = name
		change(d)
		delivery.Wait(d, delivery.WaitReason{Reason: v1alpha1.ReasonQueued, Message: "due at once"}, time.Now())
		b.Expect(b.client.Create(b.ctx, d)).To(Succeed())
	}
	unknown := e.DeepCopy()
	unknown.UID = "0d1f4c9e-6a55-4a0a-9d1b-3b8f2f0e7a11"
	forge("victim-forged", func(*v1alpha1.WebhookDelivery) {})
	forge("victim-resent", func(d *v1alpha1.WebhookDelivery) {
		d.Annotations = map[string]string{v1alpha1.AnnotationResend: "please"}
	})
	forge(delivery.Name(unknown, victim), func(*v1alpha1.WebhookDelivery) {}) // which is not what it says it is of
	forge(delivery.Name(unknown, other), func(d *v1alpha1.WebhookDelivery) {
		d.Spec.EventRef.UID = unknown.UID
	})

	// From the other Webhook to the victim, by what the watch goes by.
	b.edit(stored["other"].DeepCopy(), map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{v1alpha1.LabelWebhook: victim.Name},
		"annotations": map[string]any{v1alpha1.AnnotationResend: "for somebody else"},
		"ownerReferences": []any{map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Webhook", "name": victim.Name, "uid": victim.UID,
		}},
	}})

	b.resend(stored["victim"], "now")
	b.Eventually(func() int { return b.requests("victim") }).Should(BeNumerically(">=", 2))
	for _, a := range b.receiver.Arrivals("/victim") {
		b.Expect(string(a.Body)).To(Equal(stored["victim"].Spec.Payload))
	}
	b.Expect(b.requests("victim")).To(Equal(2))
	b.Expect(b.requests("other")).To(Equal(1))
}

// Whatever the value of the annotation, and however often it changes, there is at
// most one cycle for each.
func TestResendValues(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w")
	b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	honoured := func(value string) {
		t.Helper()
		b.Eventually(func(g Gomega) {
			g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(d), d)).To(Succeed())
			g.Expect(d.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationResent, delivery.ResendHash(value)))
		}).Should(Succeed())
	}

	b.resend(d, "")
	sent := 1
	for name, value := range map[string]string{
		"128 characters": strings.Repeat("ü", 128),
		"200 KiB":        strings.Repeat("x", 200<<10), // where the policy is not installed
		"odd":            "\x00\u202e'\"; <script>",
	} {
		b.resend(d, value)
		honoured(value)
		sent++
		b.Expect(b.requests("w")).To(Equal(sent), name)
		b.Expect(len([]rune(d.Status.Resend.Value))).To(BeNumerically("<=", 128), name)
	}

	const changes = 200
	for n := range changes {
		b.resend(d, fmt.Sprint(n))
	}
	honoured(fmt.Sprint(changes - 1))
	total := b.requests("w")
	b.Expect(total).To(And(BeNumerically(">", sent), BeNumerically("<=", sent+changes)))
	b.Expect(d.Status.Attempts).To(BeEquivalentTo(total))
	b.resend(d, fmt.Sprint(changes-1))
	b.resend(d, "")
	b.event("next") // by when this has arrived, the annotations were seen
	b.settled("next", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(total + 1))
}

// Every field of a Webhook gets values that make no sense, is emptied, doubled and
// put back. The Webhook works as before.
func TestOddEditsOfAWebhook(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.Description, w.Spec.Scope, w.Spec.WebhookID = "Start the smoke tests", "/music/player", 7
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "value"}
	})
	b.Expect(b.client.Create(b.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "token"}, StringData: map[string]string{"value": "s3cr3t-t0ken"},
	})).To(Succeed())
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w)
	b.Expect(err).NotTo(HaveOccurred())
	original, _, err := unstructured.NestedMap(content, "spec")
	b.Expect(err).NotTo(HaveOccurred())

	schemas, err := fields.OfWebhook("..")
	b.Expect(err).NotTo(HaveOccurred())
	accepted := 0
	for _, field := range slices.Sorted(maps.Keys(schemas)) {
		for _, value := range fields.Odd(schemas[field], original[field]) {
			if tryEdit(b, w, field, value.Is) {
				b.Expect(value.Beyond).To(BeFalse(), "%s: %.100v is beyond its bounds", field, value.Is)
				accepted++
				putBack(b, w, original)
			}
		}
	}
	b.Expect(accepted).To(BeNumerically(">", len(original)), "some of them make sense")

	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	arrived := b.receiver.Arrivals("/w")
	b.Expect(arrived).To(HaveLen(1))
	b.Expect(arrived[0].Header.Get("X-Horizon-Webhook-Secret")).To(Equal("s3cr3t-t0ken"))
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation))
		g.Expect(meta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionReady)).To(BeTrue())
	}).Should(Succeed())
}

// tryEdit tells whether the API server takes a value.
func tryEdit(b *testbed, w *v1alpha1.Webhook, field string, value any) bool {
	b.t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	u.SetNamespace(w.Namespace)
	u.SetName(w.Name)
	data, err := json.Marshal(map[string]any{"spec": map[string]any{field: value}})
	b.Expect(err).NotTo(HaveOccurred())
	err = b.client.Patch(b.ctx, u, client.RawPatch(types.MergePatchType, data))
	if err != nil {
		b.Expect(apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)).To(BeTrue(), "%s: %v", field, err)
	}
	return err == nil
}

func putBack(b *testbed, w *v1alpha1.Webhook, spec map[string]any) {
	b.t.Helper()
	b.Eventually(func() error {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
		if err := b.client.Get(b.ctx, client.ObjectKeyFromObject(w), u); err != nil {
			return err
		}
		u.Object["spec"] = runtime.DeepCopyJSONValue(spec)
		return b.client.Update(b.ctx, u) // the operator may have written the status meanwhile
	}).Should(Succeed())
}
