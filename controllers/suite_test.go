package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/generation"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// eventually is far more than anything takes, also on a busy machine.
	eventually      = 60 * time.Second
	systemNamespace = "horizon-system"
)

var (
	plane      *controlplane.ControlPlane
	restConfig *rest.Config
	scheme     = runtime.NewScheme()
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var err error
	plane, err = controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = plane.Stop() }()
	if err := plane.InstallCRDs(ctx, "../config/crd/bases"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	restConfig = plane.Config()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	c, err := client.New(restConfig, client.Options{Scheme: scheme})
	if err != nil {
		panic(err)
	}
	if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctrl.SetLogger(zap.New(zap.UseDevMode(true), zap.WriteTo(os.Stderr)))
	return m.Run()
}

// testbed is one test's operator, with a namespace and a receiver of its own.
type testbed struct {
	*WithT
	t         *testing.T
	ctx       context.Context
	client    client.Client
	namespace string
	receiver  *receiver.Receiver
	operator  *operator
	registry  *prometheus.Registry
	// namespaces are those that the operator is bound to; none means all.
	namespaces []string
	// config is what the operator speaks to the API server with.
	config *rest.Config
	// log is what the operator has logged.
	log *logBuffer
	// tune changes the operator before it starts.
	tune func(*operator)
	// flags changes what the command line would say.
	flags func(*Options)
	stop  func()
}

// newTestbed makes a namespace and a receiver; start starts the operator.
func newTestbed(t *testing.T) *testbed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	b := &testbed{WithT: NewWithT(t), t: t, ctx: ctx, stop: func() {}, tune: func(*operator) {}, flags: func(*Options) {}}
	b.config, b.log = restConfig, &logBuffer{}
	b.SetDefaultEventuallyTimeout(eventually)
	b.SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	var err error
	b.client, err = client.New(restConfig, client.Options{Scheme: scheme, FieldOwner: "test"})
	b.Expect(err).NotTo(HaveOccurred())
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	b.Expect(b.client.Create(ctx, ns)).To(Succeed())
	b.namespace = ns.Name
	b.receiver, err = receiver.Start(receiver.Options{})
	b.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = b.receiver.Close() })
	t.Cleanup(func() {
		b.stop()
		// Nothing may be left for the operator of the next test.
		for _, namespace := range []string{b.namespace, systemNamespace} {
			for _, kind := range []client.Object{&v1alpha1.Webhook{}, &v1alpha1.WebhookEvent{}, &v1alpha1.WebhookDelivery{}} {
				b.Expect(b.client.DeleteAllOf(ctx, kind, client.InNamespace(namespace))).To(Succeed())
			}
		}
	})
	return b
}

// start starts an operator in this process. faults stand between it and the API
// server, the first one next to the operator.
func (b *testbed) start(faults ...fault) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	generations := &generation.Tracker{}
	options := ctrl.Options{
		Scheme:                  scheme,
		Metrics:                 server.Options{BindAddress: "0"},
		Cache:                   generations.CacheOptions(b.namespaces...),
		Controller:              config.Controller{SkipNameValidation: new(true)},
		GracefulShutdownTimeout: new(10 * time.Second),
		Logger:                  zap.New(zap.UseDevMode(true), zap.WriteTo(io.MultiWriter(os.Stderr, b.log))),
	}
	cfg := rest.CopyConfig(b.config)
	for _, f := range slices.Backward(faults) {
		cfg.Wrap(f.before)
	}
	mgr, err := ctrl.NewManager(cfg, options)
	b.Expect(err).NotTo(HaveOccurred())
	sender := sending.New(sending.Options{})
	b.registry = prometheus.NewRegistry()
	o := Options{
		SystemNamespace: systemNamespace, Namespaces: b.namespaces, Workers: 64, MaxEventAge: 72 * time.Hour, EventTTL: time.Hour,
		Drain: 5 * time.Second, Sender: sender, CheckLease: func() error { return nil },
		Generations: generations, Registry: b.registry,
	}
	b.flags(&o)
	b.operator, err = newOperator(mgr, o)
	b.Expect(err).NotTo(HaveOccurred())
	b.operator.replays.Settling = time.Second
	b.tune(b.operator)
	b.Expect(b.operator.addTo(mgr, o)).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	b.stop = func() {
		b.stop = func() {}
		cancel()
		b.Expect(<-ended).To(Succeed())
		sender.Close()
	}
}

// webhook creates a Webhook that follows everything at a path of the receiver.
func (b *testbed) webhook(name string, change ...func(*v1alpha1.Webhook)) *v1alpha1.Webhook {
	b.t.Helper()
	w := &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name},
		Spec:       v1alpha1.WebhookSpec{URL: b.receiver.URL("/" + name), Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}},
	}
	w.Spec.Retry.MinBackoffSeconds = 1
	for _, f := range change {
		f(w)
	}
	b.Expect(b.client.Create(b.ctx, w)).To(Succeed())
	return w
}

// event creates an event of a cluster.
func (b *testbed) event(name string, change ...func(*v1alpha1.WebhookEvent)) *v1alpha1.WebhookEvent {
	b.t.Helper()
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name},
		Spec: v1alpha1.WebhookEventSpec{
			EventType: "clusters_deployed", ResourcePath: "/music/player/web/web-prod",
			Cluster: &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
		},
	}
	for _, f := range change {
		f(e)
	}
	b.Expect(b.client.Create(b.ctx, e)).To(Succeed())
	return e
}

// events creates so many events, which are numbered.
func (b *testbed) events(prefix string, n int, change ...func(*v1alpha1.WebhookEvent)) {
	b.t.Helper()
	for i := range n {
		b.event(fmt.Sprintf("%s%d", prefix, i), change...)
	}
}

// deliveries returns what is stored in the namespace.
func (b *testbed) deliveries() []v1alpha1.WebhookDelivery {
	var list v1alpha1.WebhookDeliveryList
	b.Expect(b.client.List(b.ctx, &list, client.InNamespace(b.namespace))).To(Succeed())
	return list.Items
}

// delivery waits for the only delivery of the namespace to have a result.
func (b *testbed) delivery(result v1alpha1.DeliveryResult) *v1alpha1.WebhookDelivery {
	b.t.Helper()
	var d v1alpha1.WebhookDelivery
	b.Eventually(func(g Gomega) {
		all := b.deliveries()
		g.Expect(all).To(HaveLen(1))
		g.Expect(all[0].Status.Result).To(Equal(result))
		d = all[0]
	}).Should(Succeed())
	return &d
}

// settled waits for an event to have a result.
func (b *testbed) settled(name string, result v1alpha1.EventResult) *v1alpha1.WebhookEvent {
	b.t.Helper()
	e := &v1alpha1.WebhookEvent{}
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: name}, e)).To(Succeed())
		g.Expect(e.Status.Result).To(Equal(result))
	}).Should(Succeed())
	return e
}

// allSettled waits for so many events, which are numbered, to have a result.
func (b *testbed) allSettled(prefix string, n int, result v1alpha1.EventResult) {
	b.t.Helper()
	for i := range n {
		b.settled(fmt.Sprintf("%s%d", prefix, i), result)
	}
}

// edit changes an object by merge patch.
func (b *testbed) edit(object client.Object, patch map[string]any) {
	b.t.Helper()
	data, err := json.Marshal(patch)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(b.client.Patch(b.ctx, object, client.RawPatch("application/merge-patch+json", data))).To(Succeed())
}

// resend annotates a delivery.
func (b *testbed) resend(d *v1alpha1.WebhookDelivery, value string) {
	b.t.Helper()
	b.edit(d, map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationResend: value}}})
}

// requests is how many requests a path got.
func (b *testbed) requests(webhook string) int { return len(b.receiver.Arrivals("/" + webhook)) }

func (op *operator) setMaxWaiting(n int) { op.deliveries.MaxWaiting, op.webhooks.MaxWaiting = n, n }

// laterClock is a clock that is ahead by a while.
type laterClock struct {
	clock.RealClock
	ahead time.Duration
}

func (c laterClock) Now() time.Time                  { return time.Now().Add(c.ahead) }
func (c laterClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
