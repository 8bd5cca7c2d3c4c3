package bridge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/routes"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	fake "github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/operator"
)

const (
	// patience is far beyond what a step takes, on a busy machine too.
	patience = time.Minute
	interval = 50 * time.Millisecond
	secret   = "a-secret-of-usual-length"
)

// suite is what the tests on a real API server share. It is started by the first of them.
var suite struct {
	once   sync.Once
	err    error
	cp     *controlplane.ControlPlane
	client client.Client
}

func TestMain(m *testing.M) {
	code := m.Run()
	if suite.cp != nil {
		if err := suite.cp.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func startSuite() error {
	suite.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if suite.cp, suite.err = controlplane.Start(ctx, controlplane.Options{ControllerManager: true}); suite.err != nil {
			return
		}
		if suite.err = suite.cp.InstallCRDs(ctx, "../../config/crd/bases"); suite.err != nil {
			return
		}
		suite.client, suite.err = operator.NewClient(suite.cp)
	})
	return suite.err
}

// bed is what one test has for itself: a Horizon with a webhook of its root group, three
// namespaces, and a bridge that can be started again.
type bed struct {
	*testing.T
	Gomega

	ctx                   context.Context
	client                client.Client
	system, music, video  string // namespaces
	horizon               *fake.Horizon
	webhook               int64
	token                 string
	address               string
	secretFile, routeFile string

	musicGroup, videoGroup int64
	application, cluster   int64 // /music/web and /music/web/web-prod
}

// scopes is the entry that Horizon lacks as it is shipped.
var scopes = map[string][]string{"webhooks:read-write": {
	"groups/webhooks", "applications/webhooks", "clusters/webhooks", "webhooks", "webhooks/logs", "webhooklogs", "webhooklogs/resend",
}}

var tokenScopes = []string{"groups:read-only", "applications:read-only", "clusters:read-only", "webhooks:read-write"}

func newBed(t *testing.T) *bed {
	t.Helper()
	if err := startSuite(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	b := &bed{T: t, Gomega: NewWithT(t), ctx: ctx, client: suite.client}
	b.SetDefaultEventuallyTimeout(patience)
	b.SetDefaultEventuallyPollingInterval(interval)
	for _, name := range []*string{&b.system, &b.music, &b.video} {
		*name = b.namespace()
	}
	b.Expect(b.client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.system, Name: "state"}})).To(Succeed())
	b.secretFile, b.routeFile = filepath.Join(t.TempDir(), "secret"), filepath.Join(t.TempDir(), "routes")
	b.Expect(os.WriteFile(b.secretFile, []byte(secret+"\n"), 0o600)).To(Succeed())
	b.route(map[string]string{"/music": b.music, "/video": b.video})

	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.Expect(err).NotTo(HaveOccurred())
	b.address = l.Addr().String()
	b.Expect(l.Close()).To(Succeed())
	b.horizon, err = fake.Start(fake.Options{Scopes: scopes})
	b.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := b.horizon.Close(); err != nil {
			t.Error(err)
		}
	})
	b.token = b.horizon.Token(tokenScopes...)
	b.webhook = b.horizon.AddWebhook(fake.Groups, 0, fake.Webhook{
		Enabled: true, URL: "http://" + b.address + Path, Secret: secret, Triggers: []string{"*"},
	})
	b.musicGroup, b.videoGroup = b.horizon.AddGroup(0, "music"), b.horizon.AddGroup(0, "video")
	b.application = b.horizon.AddApplication(b.musicGroup, "web", "P1")
	b.cluster = b.horizon.AddCluster(b.application, "web-prod", "online")
	return b
}

func (b *bed) namespace() string {
	b.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bridge-"}}
	b.Expect(b.client.Create(b.ctx, ns)).To(Succeed())
	return ns.Name
}

// route writes the file of routes.
func (b *bed) route(to map[string]string) {
	b.Helper()
	text := "default: " + b.system + "\nroutes:\n"
	for path, namespace := range to {
		text += "  " + path + ": " + namespace + "\n"
	}
	b.Expect(os.WriteFile(b.routeFile, []byte(text), 0o600)).To(Succeed())
}

// running is one life of a bridge.
type running struct {
	*Bridge
	registry *prometheus.Registry
	stop     func()
}

// start starts a bridge, which ends with the test if not before, and waits until it is ready.
func (b *bed) start(change func(*Options)) *running {
	b.Helper()
	secrets, err := OpenFile(b.secretFile, ParseSecrets, clock.RealClock{})
	b.Expect(err).NotTo(HaveOccurred())
	routes, err := OpenFile(b.routeFile, routes.Parse, clock.RealClock{})
	b.Expect(err).NotTo(HaveOccurred())
	h, err := horizon.New(b.horizon.URL(""), func() (string, error) { return b.token, nil })
	b.Expect(err).NotTo(HaveOccurred())
	r := &running{registry: prometheus.NewRegistry()}
	o := Options{
		Client: b.client, Horizon: h, Secrets: secrets, Routes: routes, State: types.NamespacedName{Namespace: b.system, Name: "state"},
		RequestsPerMinute: 60_000, Every: 200 * time.Millisecond, Window: time.Hour,
		Log: testr.New(b.T), Registry: r.registry, Clock: clock.RealClock{},
	}
	if change != nil {
		change(&o)
	}
	r.Bridge, err = New(o)
	b.Expect(err).NotTo(HaveOccurred())
	r.catchUp.waiting, r.catchUp.rest = 2*time.Second, time.Second
	var l net.Listener
	b.Eventually(func() error {
		l, err = net.Listen("tcp", b.address)
		return err
	}).Should(Succeed())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	wg.Go(func() {
		if err := (&Server{Handler: r.Handler(), Connections: 256, Drain: 10 * time.Second}).Serve(ctx, l); err != nil {
			b.Error(err)
		}
	})
	r.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	b.Cleanup(r.stop)
	b.Eventually(func() error {
		_, err := r.Ready()
		return err
	}).Should(Succeed())
	return r
}

// metric is the sum of a counter or a gauge, of those series that have all labels (name=value).
func (r *running) metric(name string, labels ...string) float64 {
	families, err := r.registry.Gather()
	if err != nil {
		panic(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != metricsPrefix+"_"+name {
			continue
		}
		for _, m := range family.Metric {
			has := 0
			for _, l := range m.Label {
				if slices.Contains(labels, l.GetName()+"="+l.GetValue()) {
					has++
				}
			}
			if has == len(labels) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// events are all that the namespaces have.
func (b *bed) events() []v1alpha1.WebhookEvent {
	b.Helper()
	var all []v1alpha1.WebhookEvent
	for _, namespace := range []string{b.system, b.music, b.video} {
		var list v1alpha1.WebhookEventList
		b.Expect(b.client.List(b.ctx, &list, client.InNamespace(namespace))).To(Succeed())
		all = append(all, list.Items...)
	}
	slices.SortFunc(all, func(x, y v1alpha1.WebhookEvent) int { return cmp.Compare(x.Spec.EventID, y.Spec.EventID) })
	return all
}

// ids are the numbers of all events in store, each as often as it is there.
func (b *bed) ids() []int64 {
	b.Helper()
	var ids []int64
	for _, e := range b.events() {
		ids = append(ids, e.Spec.EventID)
	}
	return ids
}

// expectAll waits until the events in store are those of Horizon's logs, each once.
func (b *bed) expectAll() {
	b.Helper()
	b.Eventually(func(g Gomega) {
		g.Expect(b.horizon.Settled()).To(BeTrue())
		g.Expect(b.ids()).To(Equal(b.horizon.EventIDs(b.webhook)))
	}).Should(Succeed())
}

// event is the event of a number, which has to be there once.
func (b *bed) event(id int64) *v1alpha1.WebhookEvent {
	b.Helper()
	var found *v1alpha1.WebhookEvent
	b.Eventually(func(g Gomega) {
		all := slices.DeleteFunc(b.events(), func(e v1alpha1.WebhookEvent) bool { return e.Spec.EventID != id })
		g.Expect(all).To(HaveLen(1))
		found = &all[0]
	}).Should(Succeed())
	return found
}

// happens lets something happen to the cluster.
func (b *bed) happens(eventType string) int64 {
	return b.horizon.Record(fake.Event{Type: eventType, ResourceID: b.cluster, User: fake.Admin})
}

// post posts a body as Horizon does, or as it does not.
func (b *bed) post(body string, change func(*http.Request)) (int, answer) {
	b.Helper()
	r, err := http.NewRequestWithContext(b.ctx, http.MethodPost, "http://"+b.address+Path, strings.NewReader(body))
	b.Expect(err).NotTo(HaveOccurred())
	r.Header.Set(SecretHeader, secret)
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	b.Expect(err).NotTo(HaveOccurred())
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	b.Expect(err).NotTo(HaveOccurred())
	var a answer
	b.Expect(json.NewDecoder(bytes.NewReader(data)).Decode(&a)).To(Succeed(), "%s", data)
	return resp.StatusCode, a
}
