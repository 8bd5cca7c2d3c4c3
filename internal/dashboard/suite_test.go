package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
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
	root = "../.."
	// patience is far beyond what a step takes, on a busy machine too.
	patience = time.Minute
	interval = 50 * time.Millisecond
)

// suite is what the tests on a real API server share. It is started by the first of them.
var suite operator.Stack

func TestMain(m *testing.M) {
	code := m.Run()
	if err := suite.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// bed is what one test has for itself: a namespace, a receiver, and somebody's session.
type bed struct {
	*testing.T
	Gomega

	ctx       context.Context
	client    client.Client // the administrator's
	namespace string
	receiver  *receiver.Receiver
	session   *Session
}

func newBed(t *testing.T) *bed {
	t.Helper()
	if err := suite.Start(root); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &bed{T: t, Gomega: NewWithT(t), ctx: ctx, client: suite.Install.Client}
	b.SetDefaultEventuallyTimeout(patience)
	b.SetDefaultEventuallyPollingInterval(interval)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "pages-"}}
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
	b.session = b.newSession(suite.ControlPlane.Config(), nil)
	return b
}

// newSession returns the session of a person, with options changed.
func (b *bed) newSession(config *rest.Config, change func(*Options)) *Session {
	b.Helper()
	options := Options{
		Connect: func() (*rest.Config, error) {
			config := rest.CopyConfig(config)
			config.QPS = -1
			return config, nil
		},
		Client: func(config *rest.Config) (client.WithWatch, error) {
			return client.NewWithWatch(config, client.Options{Scheme: suite.Install.Client.Scheme()})
		},
		Namespace: b.namespace,
		Version:   "test",
		Now:       time.Now,
	}
	if change != nil {
		change(&options)
	}
	s := NewSession(options)
	b.Cleanup(s.Close)
	return s
}

// as returns the same bed for a person who has the given ClusterRoles in the namespace.
func (b *bed) as(user string, clusterRoles ...string) *bed {
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
	other := *b
	other.session = b.newSession(config, nil)
	return &other
}

// path is that of a page of the namespace.
func (b *bed) path(parts ...string) string { return link(b.namespace, parts...) }

// get loads a page.
func (b *bed) get(path string) *httptest.ResponseRecorder {
	b.Helper()
	w := httptest.NewRecorder()
	b.session.ServeHTTP(w, httptest.NewRequestWithContext(b.ctx, http.MethodGet, path, nil))
	return w
}

// page loads a page that has to be there, and returns it.
func (b *bed) page(path string) string {
	b.Helper()
	w := b.get(path)
	if w.Code != http.StatusOK {
		b.Fatalf("GET %s: %d\n%s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// post sends a form.
func (b *bed) post(path string, form url.Values) *httptest.ResponseRecorder {
	b.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(b.ctx, http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.session.ServeHTTP(w, r)
	return w
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

// event makes the event of a number.
func (b *bed) event(id int64, change func(*v1alpha1.WebhookEventSpec)) *v1alpha1.WebhookEvent {
	b.Helper()
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: fmt.Sprintf("horizon-%d", id)},
		Spec: v1alpha1.WebhookEventSpec{
			EventID: id, EventType: "clusters_deployed", ResourcePath: "/music/player/web/web-prod",
			Cluster: &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:    &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
		},
	}
	if change != nil {
		change(&e.Spec)
	}
	b.Expect(b.client.Create(b.ctx, e)).To(Succeed())
	return e
}

// delivery waits until a Webhook has one delivery of an event, with the result.
func (b *bed) delivery(webhook string, e *v1alpha1.WebhookEvent, result v1alpha1.DeliveryResult) *v1alpha1.WebhookDelivery {
	b.Helper()
	var found v1alpha1.WebhookDelivery
	b.Eventually(func(g Gomega) {
		var list v1alpha1.WebhookDeliveryList
		g.Expect(b.client.List(b.ctx, &list, client.InNamespace(b.namespace), client.MatchingLabels{
			v1alpha1.LabelWebhook: webhook, v1alpha1.LabelEventUID: string(e.UID),
		})).To(Succeed())
		g.Expect(list.Items).To(HaveLen(1))
		g.Expect(list.Items[0].Status.Result).To(Equal(result))
		found = list.Items[0]
	}).Should(Succeed())
	return &found
}
