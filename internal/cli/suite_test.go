package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	root = "../.."
	// patience is far beyond what a step takes, on a busy machine too.
	patience = time.Minute
	interval = 50 * time.Millisecond
)

// update writes golden files anew: go test ./internal/cli -update.
var update = flag.Bool("update", false, "write the golden files anew")

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

// bed is what one test has for itself: a namespace, a receiver, and somebody who runs
// commands.
type bed struct {
	*testing.T
	Gomega

	ctx       context.Context
	client    client.Client // the administrator's
	namespace string
	receiver  *receiver.Receiver
	// kubeconfig is that of who runs commands: the administrator's, or see as.
	kubeconfig string
	// width is that of the terminal; 0 is none.
	width int
	stdin string
	// interactive tells whether stdin is that of a person.
	interactive bool
}

func newBed(t *testing.T) *bed {
	t.Helper()
	if err := suite.Start(root); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &bed{T: t, Gomega: NewWithT(t), ctx: ctx, client: suite.Install.Client, kubeconfig: suite.ControlPlane.Kubeconfig()}
	b.SetDefaultEventuallyTimeout(patience)
	b.SetDefaultEventuallyPollingInterval(interval)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "cli-"}}
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
	other.kubeconfig = filepath.Join(b.TempDir(), "kubeconfig")
	b.Expect(controlplane.WriteKubeconfig(other.kubeconfig, config)).To(Succeed())
	return &other
}

// ran is what came of a command.
type ran struct {
	out, err string
	code     int
}

// run runs a command line in the bed's namespace, as the binary does.
func (b *bed) run(args ...string) ran {
	b.Helper()
	return b.runContext(b.ctx, args...)
}

func (b *bed) runContext(ctx context.Context, args ...string) ran {
	b.Helper()
	var out, errOut bytes.Buffer
	code := execute(ctx, b.plugin(&out, &errOut), append([]string{"--kubeconfig", b.kubeconfig, "--namespace", b.namespace}, args...))
	return ran{out.String(), errOut.String(), code}
}

// mustRun runs a command that has to succeed, and returns what it prints.
func (b *bed) mustRun(args ...string) string {
	b.Helper()
	r := b.run(args...)
	if r.code != 0 {
		b.Fatalf("kubectl horizon %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
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
			EventID:      id,
			EventType:    "clusters_deployed",
			ResourcePath: "/music/player/web/web-prod",
			Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:         &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
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

// golden compares a text with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test ./internal/cli -update writes it anew. Got:\n%s", path, got)
	}
}
