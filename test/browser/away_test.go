package browser

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
)

// While the API server is away the page says so and keeps what it shows, and goes on by
// itself.
func TestAPIServerAway(t *testing.T) {
	b := newBed(t)
	b.Webhook("orders")
	d := b.Delivery("orders", b.Event(1), v1alpha1.DeliverySucceeded)
	wire := newWire(t)
	p := b.dashboard(wire.kubeconfig(t), false).signIn("/webhooks/orders")
	p.live()
	p.waitFor("1 delivery")
	evaluate[bool](p, `window.neverLoadedAgain = true`)

	wire.cut()
	p.until(`document.getElementById("contact").textContent === "no contact with the cluster"`)
	if !p.has("checkbox", "Select "+d.Name) {
		t.Error("the page does not show the delivery any more")
	}
	p.axe("no contact with the cluster")
	b.Delivery("orders", b.Event(2), v1alpha1.DeliverySucceeded)
	second := p.another()
	second.open(b.path("/webhooks/orders"))
	second.waitFor("1 delivery")
	second.expect("status of 50[24]|status of 4")
	second.open(b.path("/deliveries/" + d.Name))
	second.waitFor("This page goes on by itself once it")
	second.axe("a page that cannot be read")

	wire.mend()
	second.waitFor("Request header")
	call(p, cdppage.BringToFront, cdp.Empty{})
	p.live()
	p.waitFor("2 deliveries")
	if !evaluate[bool](p, `window.neverLoadedAgain === true`) {
		t.Error("the page was loaded again")
	}
}

// wire stands between a dashboard and the API server, and can be cut.
type wire struct {
	listener net.Listener
	to       string // the API server's address

	mu    sync.Mutex // guards what follows
	isCut bool
	open  map[net.Conn]bool
}

func newWire(t *testing.T) *wire {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: listener, to: strings.TrimPrefix(suite.ControlPlane.Config().Host, "https://"), open: map[net.Conn]bool{}}
	go w.accept()
	t.Cleanup(func() {
		w.listener.Close()
		w.cut()
	})
	return w
}

// kubeconfig writes the administrator's through the wire.
func (w *wire) kubeconfig(t *testing.T) string {
	t.Helper()
	config := rest.CopyConfig(suite.ControlPlane.Config())
	config.Host = "https://" + w.listener.Addr().String()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := controlplane.WriteKubeconfig(path, config); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp4", w.to)
		if err != nil || !w.keep(near, far) {
			near.Close()
			if far != nil {
				far.Close()
			}
			continue
		}
		for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				pair[0].Close()
				pair[1].Close()
			}()
		}
	}
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range conns {
		w.open[conn] = true
	}
	return !w.isCut
}

// cut ends all connections, and refuses others until the wire is mended.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for conn := range w.open {
		conn.Close()
	}
	clear(w.open)
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

// startPlugin starts kubectl-horizon dashboard, as it is built, with a kubeconfig, and returns
// the link that it prints.
func (b *bed) startPlugin(kubeconfig string) (link string) {
	b.Helper()
	binary, err := operator.BuildPlugin(b.Ctx, root, suite.ControlPlane.Dir())
	b.Expect(err).NotTo(HaveOccurred())
	cmd := exec.Command(binary, "dashboard", "--no-open", "--namespace", b.Namespace)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(cmd.Start()).To(Succeed())
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			b.Errorf("the plugin ended with %v: %s", err, said.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	b.Expect(err).NotTo(HaveOccurred())
	return strings.TrimSpace(line)
}

// The credentials of a kubeconfig expire. The page says what to do, and goes on by itself once
// that is done.
func TestExpiredKubeconfig(t *testing.T) {
	b := newBed(t)
	b.Webhook("orders")
	good := b.kubeconfig("user", "edit")
	config := suite.ControlPlane.Config()
	path := filepath.Join(b.TempDir(), "kubeconfig")
	expired := &rest.Config{Host: config.Host, BearerToken: "expired", TLSClientConfig: rest.TLSClientConfig{CAData: config.CAData, CAFile: config.CAFile}}
	b.Expect(controlplane.WriteKubeconfig(path, expired)).To(Succeed())

	link := b.startPlugin(path)
	site, _, _ := strings.Cut(link, "/sign-in")
	p := newPage(t, site)
	p.expect("status of 401")
	p.open(link)
	p.waitFor("Your credentials are missing or have expired. Log in to the cluster as you do for kubectl")
	p.axe("expired credentials")

	data, err := os.ReadFile(good)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(os.WriteFile(path, data, 0o600)).To(Succeed())
	begin := time.Now()
	p.row("orders").wait()
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("the page has gone on after %v", took)
	}
	p.live()
	p.reload()
	p.waitFor("You are user here")
}
