package manifests

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// as is a client that acts as somebody else.
func as(t *testing.T, s subject) *rest.Config {
	t.Helper()
	cfg := rest.CopyConfig(cluster.Config())
	cfg.Impersonate = rest.ImpersonationConfig{UserName: s.user, Groups: s.groups}
	return cfg
}

func cleanup(t *testing.T) context.Context {
	t.Helper()
	// The test's own context has ended when cleanups run.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// horizon is a client for one resource of the tenant's namespace.
func horizon(t *testing.T, cfg *rest.Config, plural string) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client.Resource(v1alpha1.GroupVersion.WithResource(plural)).Namespace(tenant)
}

// create stores an object in the tenant's namespace, as the administrator, until
// the test ends.
func create(t *testing.T, plural string, obj *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	client := horizon(t, cluster.Config(), plural)
	created, err := client.Create(t.Context(), obj, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	forget(t, plural, obj.GetName())
	return created
}

// forget deletes an object when the test ends, if it is still there.
func forget(t *testing.T, plural, name string) {
	t.Helper()
	t.Cleanup(func() {
		err := horizon(t, cluster.Config(), plural).Delete(cleanup(t), name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

func webhook(name string) *unstructured.Unstructured {
	return object("Webhook", name, map[string]any{
		"url": "https://ci.example.com/hooks/horizon", "triggers": []any{"*"},
	})
}

func event(name string) *unstructured.Unstructured {
	return object("WebhookEvent", name, map[string]any{"eventType": "clusters_deployed"})
}

func deliveryOf(name string, w *unstructured.Unstructured) *unstructured.Unstructured {
	d := object("WebhookDelivery", name, map[string]any{
		"webhookRef": map[string]any{"name": w.GetName(), "uid": string(w.GetUID())},
		"eventRef":   map[string]any{"namespace": tenant, "name": "horizon-1", "uid": "0d1f4c9e-6a55-4a0a-9d1b-3b8f2f0e7a11"},
		"eventType":  "clusters_deployed",
		"payload":    `{"eventID":1}`,
	})
	d.Object["status"] = map[string]any{"result": "Succeeded"}
	d.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "Webhook", Name: w.GetName(), UID: w.GetUID(),
	}})
	return d
}

func object(kind, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       kind,
		"metadata":   map[string]any{"name": name, "namespace": tenant},
		"spec":       spec,
	}}
}

// The operator makes every kind of request that it needs.
func TestOperatorActs(t *testing.T) {
	g := NewWithT(t)
	ctx := t.Context()
	cfg := as(t, operatorAccount)
	merge := func(patch string) (types.PatchType, []byte, metav1.PatchOptions) {
		return types.MergePatchType, []byte(patch), metav1.PatchOptions{}
	}

	w := create(t, "webhooks", webhook("operator-acts"))
	e := create(t, "webhookevents", event("operator-acts"))
	_, err := cluster.admin.CoreV1().Secrets(tenant).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "operator-acts"}, StringData: map[string]string{"token": "secret"},
	}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := cluster.admin.CoreV1().Secrets(tenant).Delete(cleanup(t), "operator-acts", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})

	for _, plural := range []string{"webhooks", "webhookevents", "webhookdeliveries"} {
		_, err := horizon(t, cfg, plural).List(ctx, metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred(), "list "+plural)
		watch, err := horizon(t, cfg, plural).Watch(ctx, metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred(), "watch "+plural)
		watch.Stop()
	}

	patchType, patch, opts := merge(`{"status":{"observedGeneration":1,"webhookID":7,` +
		`"lastTest":{"hash":"0123456789abcdef","time":"2026-11-29T09:00:00Z"},` +
		`"replay":{"value":"2026-11-29T08:00:00Z","state":"Running","startTime":"2026-11-29T09:00:00Z"}}}`)
	_, err = horizon(t, cfg, "webhooks").Patch(ctx, w.GetName(), patchType, patch, opts, "status")
	g.Expect(err).NotTo(HaveOccurred(), "the status of a webhook")
	patchType, patch, opts = merge(`{"status":{"observedGeneration":1,"result":"Succeeded"}}`)
	_, err = horizon(t, cfg, "webhookevents").Patch(ctx, e.GetName(), patchType, patch, opts, "status")
	g.Expect(err).NotTo(HaveOccurred(), "the status of an event")

	d, err := horizon(t, cfg, "webhookdeliveries").Create(ctx, deliveryOf("operator-acts-1", w), metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "create a delivery that a webhook owns")
	patchType, patch, opts = merge(`{"status":{"result":"Failed"},"metadata":{"labels":{"horizoncd.io/result":"Failed"}}}`)
	_, err = horizon(t, cfg, "webhookdeliveries").Patch(ctx, d.GetName(), patchType, patch, opts)
	g.Expect(err).NotTo(HaveOccurred(), "add to a delivery's log")
	uid := d.GetUID()
	err = horizon(t, cfg, "webhookdeliveries").Delete(ctx, d.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	g.Expect(err).NotTo(HaveOccurred(), "delete a delivery")
	err = horizon(t, cfg, "webhookevents").Delete(ctx, e.GetName(), metav1.DeleteOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "delete an event")

	client, err := kubernetes.NewForConfig(cfg)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = client.CoreV1().Secrets(tenant).Get(ctx, "operator-acts", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred(), "get a secret")
	_, err = client.CoreV1().Secrets(tenant).List(ctx, metav1.ListOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "list secrets: %v", err)
	_, err = client.CoreV1().Secrets(tenant).Watch(ctx, metav1.ListOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "watch secrets: %v", err)
	patchType, patch, opts = merge(`{"spec":{"url":"https://another.example.com"}}`)
	_, err = horizon(t, cfg, "webhooks").Patch(ctx, w.GetName(), patchType, patch, opts)
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "change a webhook: %v", err)
}

// The people of a team, with the roles that they usually have.
func TestPeopleAct(t *testing.T) {
	ctx := t.Context()
	writer(t) // the policy holds
	w := create(t, "webhooks", webhook("people-act"))
	create(t, "webhookdeliveries", deliveryOf("people-act-1", w))

	patch := func(s subject, patch string) error {
		_, err := horizon(t, as(t, s), "webhookdeliveries").
			Patch(ctx, "people-act-1", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	try := func(s subject, plural string, obj *unstructured.Unstructured) error {
		_, err := horizon(t, as(t, s), plural).Create(ctx, obj, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	// What `kubectl annotate webhook` sends.
	annotate := func(s subject, key, value string) error {
		_, err := horizon(t, as(t, s), "webhooks").Patch(ctx, w.GetName(), types.MergePatchType,
			fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value), metav1.PatchOptions{})
		return err
	}
	actions := map[string]func(subject) error{
		"test a webhook": func(s subject) error { return annotate(s, v1alpha1.AnnotationTest, rand.Text()) },
		"replay events": func(s subject) error {
			return annotate(s, v1alpha1.AnnotationReplaySince, time.Now().UTC().Format(time.RFC3339))
		},
		"list deliveries": func(s subject) error {
			_, err := horizon(t, as(t, s), "webhookdeliveries").List(ctx, metav1.ListOptions{})
			return err
		},
		// What `kubectl annotate` sends.
		"resend": func(s subject) error {
			return patch(s, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationResend, rand.Text()))
		},
		"change what is sent": func(s subject) error { return patch(s, `{"spec":{"payload":"{}"}}`) },
		"change the log":      func(s subject) error { return patch(s, `{"status":{"result":"Waiting"}}`) },
		"label a delivery":    func(s subject) error { return patch(s, `{"metadata":{"labels":{"horizoncd.io/result":"Waiting"}}}`) },
		"delete a delivery": func(s subject) error {
			return horizon(t, as(t, s), "webhookdeliveries").Delete(ctx, "people-act-1", metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
		},
		"look healthy": func(s subject) error {
			_, err := horizon(t, as(t, s), "webhooks").
				Patch(ctx, w.GetName(), types.MergePatchType, []byte(`{"status":{"webhookID":1}}`), metav1.PatchOptions{}, "status")
			return err
		},
		"read secrets": func(s subject) error {
			client, err := kubernetes.NewForConfig(as(t, s))
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.CoreV1().Secrets(tenant).List(ctx, metav1.ListOptions{})
			return err
		},
		"create a webhook":  func(s subject) error { return try(s, "webhooks", webhook("people-act-2")) },
		"create an event":   func(s subject) error { return try(s, "webhookevents", event("people-act")) },
		"create a delivery": func(s subject) error { return try(s, "webhookdeliveries", deliveryOf("people-act-2", w)) },
	}
	for role, may := range map[string][]string{
		"view":                      {"list deliveries"},
		"edit":                      {"list deliveries", "create a webhook", "resend", "read secrets", "test a webhook", "replay events"},
		"horizon-webhook-viewer":    {"list deliveries"},
		"horizon-webhook-editor":    {"create a webhook", "test a webhook", "replay events"},
		"horizon-delivery-resender": {"list deliveries", "resend"},
		"horizon-event-creator":     {"create an event"},
	} {
		t.Run(role, func(t *testing.T) {
			user := bind(t, role)
			for _, name := range may {
				NewWithT(t).Eventually(func() error { return actions[name](user) }).
					WithTimeout(patience).Should(Succeed(), name)
			}
			for name, do := range actions {
				if slices.Contains(may, name) {
					continue
				}
				// Invalid: who may patch meets the rule that the spec cannot be changed.
				if err := do(user); !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
					t.Errorf("%s: got %v, want a refusal", name, err)
				}
			}
		})
	}
}

// Horizon creates an event, learns that it has done so before, and looks.
func TestHorizonActs(t *testing.T) {
	g := NewWithT(t)
	account := bind(t, "horizon-event-creator")
	events := horizon(t, as(t, account), "webhookevents")
	forget(t, "webhookevents", "horizon-1")
	g.Eventually(func() error {
		_, err := events.Create(t.Context(), event("horizon-1"), metav1.CreateOptions{})
		return err
	}).WithTimeout(patience).Should(Succeed())
	_, err := events.Create(t.Context(), event("horizon-1"), metav1.CreateOptions{})
	g.Expect(apierrors.IsAlreadyExists(err)).To(BeTrue(), "%v", err)
	_, err = events.Get(t.Context(), "horizon-1", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	err = events.Delete(t.Context(), "horizon-1", metav1.DeleteOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
}

// The operator's lease renewals are classified by its own FlowSchema, and its
// other requests are not.
func TestFlowSchema(t *testing.T) {
	g := NewWithT(t)
	name := operatorName + "-leader-election"
	schema, err := cluster.admin.FlowcontrolV1().FlowSchemas().Get(t.Context(), name, metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	cfg, err := cluster.UserConfig(operatorUser, operatorAccount.groups...)
	g.Expect(err).NotTo(HaveOccurred())
	client, err := rest.HTTPClientFor(cfg)
	g.Expect(err).NotTo(HaveOccurred())
	classified := func(path string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cfg.Host+path, nil)
		g.Expect(err).NotTo(HaveOccurred())
		resp, err := client.Do(req)
		g.Expect(err).NotTo(HaveOccurred())
		defer resp.Body.Close()
		return resp.Header.Get("X-Kubernetes-Pf-Flowschema-Uid")
	}
	lease := "/apis/coordination.k8s.io/v1/namespaces/%s/leases/webhook-operator.horizoncd.io"
	g.Eventually(func() string { return classified(fmt.Sprintf(lease, systemNamespace)) }).WithTimeout(patience).
		Should(Equal(string(schema.UID)))
	g.Expect(classified(fmt.Sprintf(lease, tenant))).NotTo(Equal(string(schema.UID)))
	g.Expect(classified("/apis/horizoncd.io/v1alpha1/webhooks")).NotTo(Equal(string(schema.UID)))

	g.Eventually(func() string {
		schema, err := cluster.admin.FlowcontrolV1().FlowSchemas().Get(t.Context(), name, metav1.GetOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		for _, condition := range schema.Status.Conditions {
			if condition.Type == "Dangling" {
				return string(condition.Status)
			}
		}
		return ""
	}).WithTimeout(patience).Should(Equal("False"), "its priority level exists")
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(data), "\n")
}
