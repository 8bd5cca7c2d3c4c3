package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const root = "../.."

// suite is what the tests on a real API server share. It is started by the first of them.
var suite operator.Stack

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code := m.Run()
	if err := errors.Join(chromium.stop(), suite.Stop()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// bed is what one test has for itself: a namespace and a receiver.
type bed struct {
	*testing.T
	Gomega

	ctx       context.Context
	client    client.Client // the administrator's
	namespace string
	receiver  *receiver.Receiver
}

func newBed(t *testing.T) *bed {
	t.Helper()
	needBrowser(t) // and where there is none, nothing else is started
	if err := suite.Start(root); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &bed{T: t, Gomega: NewWithT(t), ctx: ctx, client: suite.Install.Client}
	b.SetDefaultEventuallyTimeout(patience)
	b.SetDefaultEventuallyPollingInterval(interval)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "browser-"}}
	b.Expect(b.client.Create(ctx, ns)).To(Succeed())
	b.namespace = ns.Name
	var err error
	b.receiver, err = receiver.Start(receiver.Options{})
	b.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := b.receiver.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// kubeconfig writes one for a person who has the given ClusterRoles in the bed's
// namespace, and returns its path.
func (b *bed) kubeconfig(user string, clusterRoles ...string) string {
	b.Helper()
	for _, role := range clusterRoles {
		b.Expect(b.client.Create(b.ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: b.namespace},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})).To(Succeed())
	}
	config, err := suite.ControlPlane.UserConfig(user, "system:authenticated")
	b.Expect(err).NotTo(HaveOccurred())
	path := filepath.Join(b.TempDir(), "kubeconfig")
	b.Expect(controlplane.WriteKubeconfig(path, config)).To(Succeed())
	return path
}

// webhook makes a Webhook that follows everything and is sent to the path of its name,
// unless changed.
func (b *bed) webhook(name string, change func(*v1alpha1.WebhookSpec)) *v1alpha1.Webhook {
	b.Helper()
	w := &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name},
		Spec:       v1alpha1.WebhookSpec{URL: b.receiver.URL("/" + name), Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}},
	}
	if change != nil {
		change(&w.Spec)
	}
	b.Expect(b.client.Create(b.ctx, w)).To(Succeed())
	return w
}

// event makes the event of a number, changed where there is a change.
func (b *bed) event(id int64, change ...func(*v1alpha1.WebhookEventSpec)) *v1alpha1.WebhookEvent {
	b.Helper()
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: fmt.Sprintf("horizon-%d", id)},
		Spec: v1alpha1.WebhookEventSpec{
			EventID:      id,
			EventType:    "clusters_deployed",
			ResourcePath: "/music/player/web/web-prod",
			Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:         &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
		},
	}
	for _, change := range change {
		change(&e.Spec)
	}
	b.Expect(b.client.Create(b.ctx, e)).To(Succeed())
	return e
}

// bygone makes an event one that no Webhook gets but by a replay.
func bygone(spec *v1alpha1.WebhookEventSpec) {
	spec.Time = metav1.NewTime(time.Now().Add(-10 * time.Minute))
}

// delivery waits until a Webhook has one delivery of an event, with the result.
func (b *bed) delivery(webhook string, e *v1alpha1.WebhookEvent, result v1alpha1.DeliveryResult) *v1alpha1.WebhookDelivery {
	b.Helper()
	var found v1alpha1.WebhookDelivery
	b.Eventually(func() error {
		var list v1alpha1.WebhookDeliveryList
		if err := b.client.List(b.ctx, &list, client.InNamespace(b.namespace), client.MatchingLabels{
			v1alpha1.LabelWebhook: webhook, v1alpha1.LabelEventUID: string(e.UID),
		}); err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return fmt.Errorf("%d deliveries", len(list.Items))
		}
		if found = list.Items[0]; found.Status.Result != result {
			return errors.New("its result is " + string(found.Status.Result))
		}
		return nil
	}).Should(Succeed())
	return &found
}
