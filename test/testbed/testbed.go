// Package testbed is what the tests of one package have in common that use a control plane and
// an operator together, and what each of them has for itself.
package testbed

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// Patience is far beyond what a step takes, on a busy machine too.
	Patience = time.Minute
	interval = 50 * time.Millisecond
)

// Run runs the tests of a package, ends what they share by stop, and returns the exit code.
func Run(m *testing.M, stop func() error) (code int) {
	code = m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// Bed is what one test has for itself: a namespace and a receiver.
type Bed struct {
	*testing.T
	gomega.Gomega

	Ctx       context.Context
	Client    client.Client // the administrator's
	Namespace string
	Receiver  *receiver.Receiver
	suite     *operator.Stack
}

// New returns a Bed on a suite, which the first one starts. root is the repository's folder, and
// prefix begins the name of the namespace.
func New(t *testing.T, suite *operator.Stack, root, prefix string) *Bed {
	t.Helper()
	if err := suite.Start(root); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &Bed{T: t, Gomega: gomega.NewWithT(t), Ctx: ctx, Client: suite.Install.Client, suite: suite}
	b.SetDefaultEventuallyTimeout(Patience)
	b.SetDefaultEventuallyPollingInterval(interval)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	b.Expect(b.Client.Create(ctx, ns)).To(gomega.Succeed())
	b.Namespace = ns.Name
	var err error
	b.Receiver, err = receiver.Start(receiver.Options{})
	b.Expect(err).NotTo(gomega.HaveOccurred())
	t.Cleanup(func() {
		if err := b.Receiver.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Person returns the credentials of somebody who has the given ClusterRoles in the namespace.
func (b *Bed) Person(user string, clusterRoles ...string) *rest.Config {
	b.Helper()
	for _, role := range clusterRoles {
		b.Expect(b.Client.Create(b.Ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: b.Namespace},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})).To(gomega.Succeed())
	}
	config, err := b.suite.ControlPlane.UserConfig(user, "system:authenticated")
	b.Expect(err).NotTo(gomega.HaveOccurred())
	return config
}

// Webhook makes a Webhook that follows everything and is sent to the path of its name, unless
// it is changed. A change that is nil changes nothing.
func (b *Bed) Webhook(name string, changes ...func(*v1alpha1.WebhookSpec)) *v1alpha1.Webhook {
	b.Helper()
	w := &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: name},
		Spec:       v1alpha1.WebhookSpec{URL: b.Receiver.URL("/" + name), Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}},
	}
	for _, change := range changes {
		if change != nil {
			change(&w.Spec)
		}
	}
	b.Expect(b.Client.Create(b.Ctx, w)).To(gomega.Succeed())
	return w
}

// Event makes the event of a number, which is about a cluster, unless it is changed. A
// change that is nil changes nothing.
func (b *Bed) Event(id int64, changes ...func(*v1alpha1.WebhookEventSpec)) *v1alpha1.WebhookEvent {
	b.Helper()
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: fmt.Sprintf("horizon-%d", id)},
		Spec: v1alpha1.WebhookEventSpec{
			EventID:      id,
			EventType:    "clusters_deployed",
			ResourcePath: "/music/player/web/web-prod",
			Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:         &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
		},
	}
	for _, change := range changes {
		if change != nil {
			change(&e.Spec)
		}
	}
	b.Expect(b.Client.Create(b.Ctx, e)).To(gomega.Succeed())
	return e
}

// Delivery waits until a Webhook has one delivery of an event, with the result.
func (b *Bed) Delivery(webhook string, e *v1alpha1.WebhookEvent, result v1alpha1.DeliveryResult) *v1alpha1.WebhookDelivery {
	b.Helper()
	var found v1alpha1.WebhookDelivery
	b.Eventually(func(g gomega.Gomega) {
		var list v1alpha1.WebhookDeliveryList
		g.Expect(b.Client.List(b.Ctx, &list, client.InNamespace(b.Namespace), client.MatchingLabels{
			v1alpha1.LabelWebhook: webhook, v1alpha1.LabelEventUID: string(e.UID),
		})).To(gomega.Succeed())
		g.Expect(list.Items).To(gomega.HaveLen(1))
		g.Expect(list.Items[0].Status.Result).To(gomega.Equal(result))
		found = list.Items[0]
	}).Should(gomega.Succeed())
	return &found
}
