package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	root = "../.."

	// patience is far beyond what a step takes, also on a busy machine with
	// two cores.
	patience = 2 * time.Minute
	interval = 50 * time.Millisecond
)

// suite is what all tests share.
var suite struct {
	client   client.Client
	clients  *kubernetes.Clientset
	dynamic  dynamic.Interface
	options  operator.Options
	operator *operator.Operator
	kubectl  string   // its path
	env      []string // and its environment
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cp, err := controlplane.Start(ctx, controlplane.Options{ControllerManager: true})
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err := cp.Stop(); err != nil {
			code = fail(err)
		}
	}()
	install, err := operator.Install(ctx, cp, root)
	if err != nil {
		return fail(err)
	}
	suite.client = install.Client
	if suite.clients, err = kubernetes.NewForConfig(cp.Config()); err != nil {
		return fail(err)
	}
	quiet := cp.Config()
	quiet.WarningHandler = rest.NoWarnings{} // of kinds that are deprecated, which some tests list
	if suite.dynamic, err = dynamic.NewForConfig(quiet); err != nil {
		return fail(err)
	}
	if suite.kubectl, err = cp.Kubectl(); err != nil {
		return fail(err)
	}
	plugin, err := operator.BuildPlugin(ctx, root, filepath.Join(cp.Dir(), "plugin"))
	if err != nil {
		return fail(err)
	}
	if suite.env, err = install.Environment(plugin); err != nil {
		return fail(err)
	}

	binary, err := operator.Build(ctx, root, cp.Dir())
	if err != nil {
		return fail(err)
	}
	suite.options = operator.Options{
		Binary:     binary,
		Kubeconfig: install.Kubeconfig,
		Log:        filepath.Join(cp.Dir(), "operator.log"),
		Args:       []string{"--zap-log-level=debug"}, // which must not tell secrets either
	}
	if suite.operator, err = operator.Start(ctx, suite.options); err != nil {
		return fail(err)
	}
	defer func() {
		if err := suite.operator.Stop(); err != nil {
			code = fail(err)
		}
	}()
	return max(m.Run(), checkPermissions())
}

// checkPermissions fails where the operator's roles do not let it do what it
// wants to.
func checkPermissions() int {
	log, err := os.ReadFile(suite.options.Log)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte(" is forbidden: ")) {
			fmt.Fprintf(os.Stderr, "the operator was refused something: %s", line)
			return 1
		}
	}
	return 0
}

// scene is what one test has for itself.
type scene struct {
	*testing.T
	Gomega

	ctx       context.Context
	namespace string
	receiver  *receiver.Receiver
}

// newScene makes a namespace and a receiver, and shows the operator's log
// where the test fails. A test ends when its deliveries have: one cut off with
// the receiver would be tried again while others count writes.
func newScene(t *testing.T) *scene {
	t.Helper()
	if state := suite.operator.State(); state != "" {
		showLog(t)
		t.Fatalf("the operator has ended by itself: %s", state)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	s := &scene{T: t, Gomega: NewWithT(t), ctx: ctx}
	s.SetDefaultEventuallyTimeout(patience)
	s.SetDefaultEventuallyPollingInterval(interval)

	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	s.Expect(suite.client.Create(ctx, ns)).To(Succeed())
	s.namespace = ns.Name

	var err error
	s.receiver, err = receiver.Start(receiver.Options{})
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := s.receiver.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			showLog(t)
		}
	})
	return s
}

func showLog(t *testing.T) {
	t.Helper()
	out, err := suite.operator.Output()
	if err != nil {
		t.Log(err)
		return
	}
	const most = 8 << 10
	t.Logf("the end of the operator's log:\n%s", out[max(0, len(out)-most):])
}

// apply does what a person does: kubectl apply -f.
func (s *scene) apply(manifest string) {
	s.Helper()
	path := filepath.Join(s.TempDir(), "manifest.yaml")
	s.Expect(os.WriteFile(path, []byte(manifest), 0o600)).To(Succeed())
	s.kubectl("apply", "-f", path)
}

// kubectl runs kubectl in the scene's namespace and returns what it says.
func (s *scene) kubectl(args ...string) string {
	s.Helper()
	cmd := exec.CommandContext(s.ctx, suite.kubectl, append([]string{"-n", s.namespace}, args...)...)
	cmd.Env = suite.env
	out, err := cmd.CombinedOutput()
	s.Expect(err).NotTo(HaveOccurred(), "kubectl %v: %s", args, out)
	return string(out)
}

// webhook makes a Webhook that follows everything and is sent to the path of
// its name, unless changed.
func (s *scene) webhook(name string, change func(*v1alpha1.WebhookSpec)) *v1alpha1.Webhook {
	s.Helper()
	w := newWebhook(s.namespace, name, s.receiver.URL("/"+name))
	if change != nil {
		change(&w.Spec)
	}
	s.Expect(suite.client.Create(s.ctx, w)).To(Succeed())
	return w
}

func newWebhook(namespace, name, url string) *v1alpha1.Webhook {
	return &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.WebhookSpec{URL: url, Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}},
	}
}

// event makes the event of a number.
func (s *scene) event(id int64) *v1alpha1.WebhookEvent {
	s.Helper()
	e := newEvent(s.namespace, id)
	s.Expect(suite.client.Create(s.ctx, e)).To(Succeed())
	return e
}

func newEvent(namespace string, id int64) *v1alpha1.WebhookEvent {
	return &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("horizon-%d", id)},
		Spec: v1alpha1.WebhookEventSpec{
			EventID:      id,
			EventType:    "clusters_deployed",
			ResourcePath: "/music/player/web/web-prod",
			Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:         &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
		},
	}
}

// records are the stored deliveries of a Webhook, or of all if none is named.
func (s *scene) records(webhook string) []v1alpha1.WebhookDelivery {
	s.Helper()
	options := []client.ListOption{client.InNamespace(s.namespace)}
	if webhook != "" {
		options = append(options, client.MatchingLabels{v1alpha1.LabelWebhook: webhook})
	}
	var list v1alpha1.WebhookDeliveryList
	s.Expect(suite.client.List(s.ctx, &list, options...)).To(Succeed())
	return list.Items
}

// record waits until a Webhook has exactly one delivery stored and it has the
// result.
func (s *scene) record(webhook string, result v1alpha1.DeliveryResult) *v1alpha1.WebhookDelivery {
	s.Helper()
	var list []v1alpha1.WebhookDelivery
	s.Eventually(func() []v1alpha1.DeliveryResult {
		list = s.records(webhook)
		return results(list)
	}).Should(Equal([]v1alpha1.DeliveryResult{result}))
	return &list[0]
}

func results(list []v1alpha1.WebhookDelivery) []v1alpha1.DeliveryResult {
	all := make([]v1alpha1.DeliveryResult, 0, len(list))
	for _, d := range list {
		all = append(all, d.Status.Result)
	}
	return all
}

// arrive waits until a path has got n requests.
func (s *scene) arrive(path string, n int) []receiver.Arrival {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	s.Expect(s.receiver.WaitRequests(ctx, path, n)).To(Succeed())
	return s.receiver.Arrivals(path)
}

// resend asks for a delivery to be sent again.
func (s *scene) resend(d *v1alpha1.WebhookDelivery, value string) {
	s.Helper()
	s.kubectl("annotate", "webhookdelivery", d.Name, v1alpha1.AnnotationResend+"="+value, "--overwrite")
}

// restart starts the operator again after it has ended.
func restart(s *scene) {
	s.Helper()
	var err error
	suite.operator, err = operator.Start(s.ctx, suite.options)
	s.Expect(err).NotTo(HaveOccurred())
}

// ids are the distinct webhook-ids of requests.
func ids(arrivals []receiver.Arrival) map[string]int {
	all := map[string]int{}
	for _, a := range arrivals {
		all[a.WebhookID]++
	}
	return all
}

// history is a delivery's, the latest attempt first.
func history(d *v1alpha1.WebhookDelivery) []string {
	var all []string
	for _, a := range d.Status.History {
		all = append(all, fmt.Sprintf("%s %d", a.Cause, a.StatusCode))
	}
	return all
}
