package controllers

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/crds"
)

// installCRDs puts those in config/crd, changed, in place of those that are there, until the
// test has ended. kept are the fields that awaitKept waits for.
func (b *testbed) installCRDs(change func(kind string, s crds.Schema), kept ...string) {
	b.t.Helper()
	dir := b.t.TempDir()
	b.Expect(crds.Write("..", dir, change)).To(Succeed())
	b.t.Cleanup(b.restoreCRDs)
	b.Expect(plane.InstallCRDs(b.ctx, dir)).To(Succeed())
	b.awaitKept(kept...)
}

func (b *testbed) restoreCRDs() {
	b.t.Helper()
	b.Expect(plane.InstallCRDs(b.ctx, "../config/crd/bases")).To(Succeed())
	b.awaitKept("rateLimit")
}

// awaitKept waits until the API server keeps these of two fields of a Webhook, and drops the
// others: for a moment, it goes by a CRD as it was before.
func (b *testbed) awaitKept(fields ...string) {
	b.t.Helper()
	b.Eventually(func() ([]string, error) {
		optional := map[string]any{"rateLimit": map[string]any{"requests": int64(1), "perSeconds": int64(60)}, "telex": "x"}
		w := &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"namespace": b.namespace, "name": "probe"},
			"spec":     map[string]any{"url": b.receiver.URL("/probe"), "triggers": []any{"*"}},
		}}
		w.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
		maps.Copy(w.Object["spec"].(map[string]any), optional)
		err := b.client.Create(b.ctx, w, client.DryRunAll)
		maps.DeleteFunc(optional, func(name string, _ any) bool {
			_, found, _ := unstructured.NestedFieldNoCopy(w.Object, "spec", name)
			return !found
		})
		return slices.Sorted(maps.Keys(optional)), err
	}).Should(ConsistOf(fields))
}

// readiness is the condition Ready of a Webhook.
func (b *testbed) readiness(w *v1alpha1.Webhook) func() string {
	return func() string {
		var found v1alpha1.Webhook
		if err := b.client.Get(b.ctx, client.ObjectKeyFromObject(w), &found); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(found.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil {
			return ""
		}
		return string(c.Status) + " " + c.Reason + ": " + c.Message
	}
}

// An operator that is ahead of its CRDs works on, and says what the API server drops, until
// they are upgraded.
func TestCRDsOfAnEarlierVersion(t *testing.T) {
	b := newTestbed(t)
	b.tune = func(op *operator) { op.crds.interval = 100 * time.Millisecond }
	b.installCRDs(func(kind string, s crds.Schema) {
		switch kind {
		case "Webhook":
			s.At("spec").Remove("rateLimit")
			s.At("spec", "payload", "format").Forbid("Discord")
			s.At("status").Remove("replay")
		case "WebhookDelivery":
			s.At("status", "response").Remove("headers")
		}
	})
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 1, PerSeconds: 3600} })
	var stored v1alpha1.Webhook
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), &stored)).To(Succeed())
	b.Expect(stored.Spec.RateLimit).To(BeNil(), "the API server was to drop it")
	b.start()
	b.Eventually(b.readiness(w)).Should(Equal("True Usable: the webhook can be sent to; the CRDs in the cluster are older than the operator " +
		"and lack webhook.spec.payload.format=Discord, webhook.spec.rateLimit, webhook.status.replay and 1 more: an administrator has to upgrade them"))
	b.Expect(b.log.lines("The CRDs in the cluster are older than the operator")).NotTo(BeEmpty())
	b.Expect(b.metrics()).To(HaveKeyWithValue("crds_lacking", 4.0))
	b.event("a")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Response.Headers).To(BeEmpty(), "the API server was to drop them")
	b.resend(d, "again")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(2))

	b.restoreCRDs()
	b.Eventually(b.readiness(w)).Should(Equal("True Usable: the webhook can be sent to"))
	b.Expect(b.log.lines("have all that the operator knows")).To(HaveLen(1))
	b.Expect(b.metrics()).To(HaveKeyWithValue("crds_lacking", 0.0))
	b.event("b")
	b.settled("b", v1alpha1.EventSucceeded)
}

// Where the operator may not read what the CRDs are, as on a cluster that lets nobody discover
// APIs, the log says so: the metric and the statuses know of nothing that is lacking.
func TestCRDsThatCannotBeRead(t *testing.T) {
	g := NewWithT(t)
	d, err := discovery.NewDiscoveryClientForConfig(rest.AnonymousClientConfig(plane.Config()))
	g.Expect(err).NotTo(HaveOccurred())
	var log []string
	c := &crdCheck{api: d.RESTClient(), log: funcr.New(func(_, line string) { log = append(log, line) }, funcr.Options{})}
	g.Expect(c.look(t.Context())).To(BeFalse())
	g.Expect(log).To(ConsistOf(ContainSubstring("Cannot read what the CRDs in the cluster are")))
	g.Expect(c.lacking()).To(BeEmpty())

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	g.Expect(c.look(ended)).To(BeFalse())
	g.Expect(log).To(HaveLen(1))
}

// An operator that is behind its CRDs sends nothing in a format that it does not know, and
// keeps what it does not know in all that it writes.
func TestCRDsOfALaterVersion(t *testing.T) {
	b := newTestbed(t)
	b.installCRDs(func(kind string, s crds.Schema) {
		s.At("spec").Add("telex")
		s.At("status").Add("telex")
		if kind == "Webhook" {
			s.At("spec", "payload", "format").Allow("Telex")
		}
	}, "rateLimit", "telex")
	// object reads one with all of its fields.
	object := func(kind string, key client.ObjectKey) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		b.Expect(b.client.Get(b.ctx, key, u)).To(Succeed())
		return u
	}
	telex := func(u *unstructured.Unstructured) []string {
		spec, _, _ := unstructured.NestedString(u.Object, "spec", "telex")
		status, _, _ := unstructured.NestedString(u.Object, "status", "telex")
		return []string{spec, status}
	}
	b.start()
	b.secret("room", map[string]string{"url": b.receiver.URL("/held")})
	held := b.webhook("held", func(w *v1alpha1.Webhook) {
		w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "room", Key: "url"}
		w.Spec.Payload = &v1alpha1.PayloadSettings{Format: "Telex"}
	})
	b.Eventually(b.readiness(held)).Should(Equal("False PayloadInvalid: spec.payload.format Telex is not known to this version of the operator: " +
		"upgrade it, or choose another format"))
	ofStatus := []byte(`{"status":{"telex":"of its status"}}`)
	w := b.webhook("w")
	b.edit(w, map[string]any{"spec": map[string]any{"telex": "of the webhook"}})
	b.Expect(b.client.Status().Patch(b.ctx, w.DeepCopy(), client.RawPatch(types.MergePatchType, ofStatus))).To(Succeed())

	e := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": b.namespace, "name": "a"},
		"spec":     map[string]any{"eventType": "clusters_deployed", "telex": "of the event"},
	}}
	e.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookEvent"))
	b.Expect(b.client.Create(b.ctx, e)).To(Succeed())
	b.Expect(b.client.Status().Patch(b.ctx, e.DeepCopy(), client.RawPatch(types.MergePatchType, ofStatus))).To(Succeed())
	d := b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
	b.Expect(b.client.Patch(b.ctx, d, client.RawPatch(types.MergePatchType, ofStatus))).To(Succeed())
	b.resend(d, "again")
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(d), d)).To(Succeed())
		g.Expect(d.Status.Attempts).To(BeEquivalentTo(2))
		var found v1alpha1.Webhook
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), &found)).To(Succeed())
		g.Expect(found.Status.Deliveries.Succeeded).To(BeEquivalentTo(1))
	}).Should(Succeed())
	b.settled("a", v1alpha1.EventWaiting) // for what is held
	b.Expect(telex(object("Webhook", client.ObjectKeyFromObject(w)))).To(Equal([]string{"of the webhook", "of its status"}))
	b.Expect(telex(object("WebhookEvent", client.ObjectKeyFromObject(e)))).To(Equal([]string{"of the event", "of its status"}))
	b.Expect(telex(object("WebhookDelivery", client.ObjectKeyFromObject(d)))).To(Equal([]string{"", "of its status"}))
	b.Expect(b.requests("held")).To(BeZero())
	waiting := b.deliveryOf(held, "a", v1alpha1.DeliveryWaiting)
	b.Expect(deliveredReason(waiting)).To(Equal(v1alpha1.ReasonNotReady))
	b.Expect(b.log.lines("The CRDs in the cluster are older than the operator")).To(BeEmpty())
}
