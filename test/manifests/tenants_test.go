package manifests

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// stage is an operator with a receiver, and a second team beside the first.
type stage struct {
	*WithT
	t        *testing.T
	ctx      context.Context
	receiver *receiver.Receiver
	operator *operator.Operator
}

const (
	// neighbour is the namespace of another team.
	neighbour = "video"
	// stranger is one that nobody has told a namespaced operator of.
	stranger = "opera"
)

func newStage(t *testing.T, op *operator.Operator) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	s := &stage{WithT: NewWithT(t), t: t, ctx: ctx, receiver: r, operator: op}
	s.SetDefaultEventuallyTimeout(patience)
	return s
}

func makeNamespaces(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := cluster.admin.CoreV1().Namespaces().
			Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
}

// create stores an object in any namespace until the test ends.
func (s *stage) create(plural, namespace string, obj *unstructured.Unstructured) *unstructured.Unstructured {
	s.t.Helper()
	objects, err := newObjects(cluster.Config())
	s.Expect(err).NotTo(HaveOccurred())
	obj.SetNamespace(namespace)
	in := objects.client.Resource(v1alpha1.GroupVersion.WithResource(plural)).Namespace(namespace)
	created, err := in.Create(s.ctx, obj, metav1.CreateOptions{})
	s.Expect(err).NotTo(HaveOccurred())
	s.t.Cleanup(func() {
		if err := in.Delete(cleanup(s.t), obj.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			s.t.Error(err)
		}
	})
	return created
}

// webhook creates a Webhook that follows everything, at a path of its namespace and
// name.
func (s *stage) webhook(namespace, name string, changes ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
	s.t.Helper()
	w := webhook(name)
	set(s.receiver.URL("/"+namespace+"/"+name), "spec", "url")(w)
	for _, change := range changes {
		change(w)
	}
	return s.create("webhooks", namespace, w)
}

func (s *stage) requests(path string) int { return len(s.receiver.Arrivals(path)) }

func (s *stage) wait(path string, n int) {
	s.t.Helper()
	if err := s.receiver.WaitRequests(s.ctx, path, n); err != nil {
		s.t.Fatalf("waiting for %d requests at %s: %v; the operator: %s", n, path, err, s.operator.State())
	}
}

// records are the deliveries of a namespace.
func (s *stage) records(namespace string) []v1alpha1.WebhookDelivery {
	s.t.Helper()
	objects, err := newObjects(cluster.Config())
	s.Expect(err).NotTo(HaveOccurred())
	list, err := objects.client.Resource(v1alpha1.GroupVersion.WithResource("webhookdeliveries")).Namespace(namespace).List(s.ctx, metav1.ListOptions{})
	s.Expect(err).NotTo(HaveOccurred())
	var all v1alpha1.WebhookDeliveryList
	s.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(list.UnstructuredContent(), &all)).To(Succeed())
	return all.Items
}

// record waits for the delivery of a Webhook to have a result.
func (s *stage) record(namespace, webhook string, result v1alpha1.DeliveryResult) (found v1alpha1.WebhookDelivery) {
	s.t.Helper()
	s.Eventually(func() bool {
		for _, found = range s.records(namespace) {
			if found.Spec.WebhookRef.Name == webhook && found.Status.Result == result {
				return true
			}
		}
		return false
	}).Should(BeTrue(), "%s delivery of %s in %s", result, webhook, namespace)
	return found
}

// neverForbidden fails where the operator tried what it may not do.
func (s *stage) neverForbidden() {
	s.t.Helper()
	log, err := s.operator.Output()
	s.Expect(err).NotTo(HaveOccurred())
	for line := range strings.Lines(log) {
		if strings.Contains(line, "forbidden") {
			s.t.Errorf("the operator tried what it may not do: %s", line)
		}
	}
}

// Teams beside each other, under the operator as it is installed: a Webhook gets the
// events of its own namespace and no others, a token of a service account is not
// sent anywhere, who may resend can have a delivery sent once more for each value,
// and a record that somebody has forced in is not sent.
func TestTenantsBesideEachOther(t *testing.T) {
	writer(t) // the policy holds
	makeNamespaces(t, neighbour)
	resender := bind(t, "horizon-delivery-resender")
	s := newStage(t, startOperator(t))
	one := func(w *unstructured.Unstructured) { set(int64(1), "spec", "maxInFlight")(w) }
	s.webhook(neighbour, "curious")
	own := s.webhook(tenant, "own", one)
	_, err := cluster.admin.CoreV1().Secrets(tenant).Create(s.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "stolen", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}},
		Type:       corev1.SecretTypeServiceAccountToken, StringData: map[string]string{"token": "a-token-of-the-cluster"},
	}, metav1.CreateOptions{})
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		_ = cluster.admin.CoreV1().Secrets(tenant).Delete(cleanup(t), "stolen", metav1.DeleteOptions{})
	})
	s.webhook(tenant, "thief", set(map[string]any{"name": "stolen", "key": "token"}, "spec", "secretRef"))

	s.create("webhookevents", tenant, event("first"))
	s.create("webhookevents", neighbour, event("theirs"))
	sent := s.record(tenant, "own", v1alpha1.DeliverySucceeded)
	s.record(neighbour, "curious", v1alpha1.DeliverySucceeded)
	s.Expect(s.requests("/"+neighbour+"/curious")).To(Equal(1), "events of the neighbour, and not of music")
	s.Expect(s.records(neighbour)[0].Spec.EventRef.Namespace).To(Equal(neighbour))

	held := s.record(tenant, "thief", v1alpha1.DeliveryWaiting)
	s.Expect(held.Status.Conditions).To(ContainElement(HaveField("Reason", v1alpha1.ReasonNotReady)))
	s.Expect(s.requests("/" + tenant + "/thief")).To(BeZero())
	s.Eventually(func() string {
		w, err := horizon(t, cluster.Config(), "webhooks").Get(s.ctx, "thief", metav1.GetOptions{})
		s.Expect(err).NotTo(HaveOccurred())
		return fmt.Sprint(w.Object["status"])
	}).Should(And(ContainSubstring(v1alpha1.ReasonSecretInvalid), Not(ContainSubstring("a-token-of-the-cluster"))))

	// By force, as an administrator.
	forged := deliveryOf("own-forged", own)
	forged.Object["status"] = map[string]any{"result": "Waiting"}
	forged.SetLabels(map[string]string{v1alpha1.LabelWebhook: "own", v1alpha1.LabelResult: "Waiting"})
	forged.SetAnnotations(map[string]string{v1alpha1.AnnotationResend: "please"})
	s.create("webhookdeliveries", tenant, forged)

	for n := range 3 {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.AnnotationResend, n)
		s.Eventually(func() error {
			_, err := horizon(t, as(t, resender), "webhookdeliveries").
				Patch(s.ctx, sent.Name, types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}).Should(Succeed())
		s.wait("/"+tenant+"/own", n+2)
	}
	for _, a := range s.receiver.Arrivals("/" + tenant + "/own") {
		s.Expect(string(a.Body)).To(Equal(sent.Spec.Payload))
	}
	s.Expect(s.operator.Stop()).To(Succeed())
	s.Expect(s.requests("/" + tenant + "/own")).To(Equal(4))
	s.neverForbidden()
}

// The quota that the documentation recommends bounds what is reported in a namespace.
func TestQuotaOfEvents(t *testing.T) {
	g := NewWithT(t)
	const name, resource = "events", "count/webhookevents.horizoncd.io"
	makeNamespaces(t, neighbour)
	quotas := cluster.admin.CoreV1().ResourceQuotas(neighbour)
	hard := corev1.ResourceList{resource: apiresource.MustParse("2")}
	quota, err := quotas.Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
	}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := quotas.Delete(cleanup(t), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	// What the quota controller writes when it next looks, within five minutes.
	g.Eventually(func() error {
		quota, err = quotas.Get(t.Context(), name, metav1.GetOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		quota.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: corev1.ResourceList{resource: apiresource.MustParse("0")}}
		_, err = quotas.UpdateStatus(t.Context(), quota, metav1.UpdateOptions{})
		return err
	}).WithTimeout(patience).Should(Succeed())

	objects, err := newObjects(cluster.Config())
	g.Expect(err).NotTo(HaveOccurred())
	in := objects.client.Resource(v1alpha1.GroupVersion.WithResource("webhookevents")).Namespace(neighbour)
	t.Cleanup(func() {
		if err := in.DeleteCollection(cleanup(t), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
	})
	// The server counts from when it knows of the quota.
	reported := 0
	g.Eventually(func() error {
		e := event(fmt.Sprintf("quota-%d", reported))
		e.SetNamespace(neighbour)
		_, err := in.Create(t.Context(), e, metav1.CreateOptions{})
		if err == nil {
			reported++
		}
		return err
	}).WithTimeout(patience).Should(MatchError(And(ContainSubstring("exceeded quota"), ContainSubstring(resource))))
	g.Expect(reported).To(BeNumerically(">=", 2))
}

// config/namespaced, with the Roles of two namespaces and nothing else, is enough
// for the operator to work there, and it tries nothing elsewhere.
func TestNamespacedInstallation(t *testing.T) {
	// Not in horizon-webhooks, whose account other tests have bound to all.
	const own = "horizon-namespaced"
	makeNamespaces(t, tenant, neighbour, stranger)
	manifests, err := render(t.Context(), "../../config/namespaced")
	if err != nil {
		t.Fatal(err)
	}
	objs, err := parse([]byte(strings.ReplaceAll(string(manifests), systemNamespace, own)))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := newObjects(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	var deployed appsv1.Deployment
	for _, obj := range objs {
		switch obj.GetKind() {
		case "Namespace", "ServiceAccount", "Role", "RoleBinding":
			if _, err := objects.apply(t.Context(), obj, metav1.ApplyOptions{}); err != nil {
				t.Fatal(err)
			}
		case "Deployment":
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &deployed); err != nil {
				t.Fatal(err)
			}
		case "ClusterRoleBinding":
			t.Errorf("%s is bound to all namespaces", obj.GetName())
		case "ClusterRole":
			if obj.GetName() == operatorName {
				t.Error("there is a ClusterRole of the operator")
			}
		}
	}
	account := serviceAccount(own, operatorName)
	NewWithT(t).Eventually(func() permissions { return account.permissions(t, neighbour, v1alpha1.GroupVersion.Group) }).
		WithTimeout(patience).Should(Equal(operatorAccount.permissions(t, neighbour, v1alpha1.GroupVersion.Group)))
	if elsewhere := account.permissions(t, stranger, v1alpha1.GroupVersion.Group, ""); elsewhere["secrets"] != "" || elsewhere["webhooks.horizoncd.io"] != "" {
		t.Errorf("in another namespace: %v", elsewhere)
	}

	s := newStage(t, startOperatorIn(t, own, deployed.Spec.Template.Spec.Containers[0].Args))
	for _, namespace := range []string{stranger, own, tenant, neighbour} {
		s.webhook(namespace, "w", set(map[string]any{"name": "missing", "key": "token"}, "spec", "secretRef"))
		s.webhook(namespace, "follows")
	}
	for _, namespace := range []string{stranger, own, tenant, neighbour} {
		s.create("webhookevents", namespace, event("happened"))
	}
	for _, namespace := range []string{tenant, neighbour} {
		s.record(namespace, "follows", v1alpha1.DeliverySucceeded)
		s.record(namespace, "w", v1alpha1.DeliveryWaiting)
		s.Eventually(func() string {
			events, err := cluster.admin.EventsV1().Events(namespace).List(s.ctx, metav1.ListOptions{})
			s.Expect(err).NotTo(HaveOccurred())
			return fmt.Sprint(events.Items)
		}).Should(ContainSubstring("SecretNotFound"))
	}
	s.Expect(s.operator.Stop()).To(Succeed())
	for _, namespace := range []string{stranger, own} { // its own is not one of those it was told
		s.Expect(s.requests("/" + namespace + "/follows")).To(BeZero())
		s.Expect(s.records(namespace)).To(BeEmpty())
	}
	s.neverForbidden()
}
