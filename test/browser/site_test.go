package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chromedp/cdproto/input"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/dashboard"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// The roles that come with the operator.
const (
	viewerRole   = "horizon-webhook-viewer"
	editorRole   = "horizon-webhook-editor"
	resenderRole = "horizon-delivery-resender"
)

// site is a dashboard that one test has for itself.
type site struct {
	*bed
	server  *dashboard.Server
	address string
}

// dashboard starts the pages with a kubeconfig, which is read again whenever credentials are
// looked for; "" is the administrator's.
func (b *bed) dashboard(kubeconfig string, readOnly bool) *site {
	b.Helper()
	if kubeconfig == "" {
		kubeconfig = filepath.Join(b.TempDir(), "kubeconfig")
		b.Expect(controlplane.WriteKubeconfig(kubeconfig, suite.ControlPlane.Config())).To(Succeed())
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, corev1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme, coordinationv1.AddToScheme,
	} {
		b.Expect(add(scheme)).To(Succeed())
	}
	session := dashboard.NewSession(dashboard.Options{
		Connect: func() (*rest.Config, error) {
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err == nil {
				config.QPS = -1
			}
			return config, err
		},
		Client: func(config *rest.Config) (client.WithWatch, error) {
			return client.NewWithWatch(config, client.Options{Scheme: scheme})
		},
		Namespace: b.Namespace, ReadOnly: readOnly, Version: "test", Now: time.Now,
	})
	b.Cleanup(session.Close)
	server, err := dashboard.Listen(0, session)
	b.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	address, _, _ := strings.Cut(server.SignInURL(""), "/sign-in")
	return &site{bed: b, server: server, address: address}
}

// signIn opens a tab and signs in with the link, which leads to the path in the namespace.
func (s *site) signIn(path string) *page {
	s.Helper()
	p := newPage(s.T, s.address)
	p.open(s.server.SignInURL(s.path(path)))
	p.at(s.path(path))
	return p
}

// path is that of a page of the namespace.
func (b *bed) path(path string) string { return "/ns/" + b.Namespace + path }

// at waits until the page has the path.
func (p *page) at(path string) {
	p.t.Helper()
	p.eventually("being at "+path, func() error {
		if got := p.path(); got != path {
			return fmt.Errorf("at %s", got)
		}
		return nil
	})
	p.settle()
}

// until waits until a JavaScript expression is true.
func (p *page) until(expression string) {
	p.t.Helper()
	p.eventually(expression, func() error {
		if !evaluate[bool](p, expression) {
			return errors.New("it is false")
		}
		return nil
	})
}

// live waits until the page is kept up to date.
func (p *page) live() {
	p.t.Helper()
	p.until(`document.getElementById("contact").textContent === "live"`)
}

// point moves the pointer to the middle of the first element that a selector selects.
func (p *page) point(selector string) {
	p.t.Helper()
	at := evaluate[[]float64](p, fmt.Sprintf(`(() => { const b = document.querySelector(%q).getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] })()`, selector))
	call(p, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: input.DispatchMouseEventTypeMouseMoved, X: at[0], Y: at[1]})
}

// quote writes a text as JavaScript does.
func quote(text string) string {
	data, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string
	}
	return string(data)
}

// fails is what a receiver answers that has failed for good.
var fails = receiver.Answer{Status: 500, Body: "out of order"}

// unchanged compares a delivery with what it was.
func (b *bed) unchanged(before *v1alpha1.WebhookDelivery) {
	b.Helper()
	var now v1alpha1.WebhookDelivery
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKeyFromObject(before), &now)).To(Succeed())
	b.Expect(now.ResourceVersion).To(Equal(before.ResourceVersion))
}
