package cli

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// gate stands between a command and the API server, and can be shut.
type gate struct {
	server *httputil.ReverseProxy
	http   *httptestServer

	mu          sync.Mutex
	closed      bool
	expire      int // how many watches are to be told so
	connections map[net.Conn]bool
}

// httptestServer is a server that listens on loopback.
type httptestServer struct {
	*http.Server
	address string
}

// startGate starts a gate to the API server for the administrator.
func startGate(b *bed, host string) *gate {
	b.Helper()
	upstream, err := url.Parse(host)
	b.Expect(err).NotTo(HaveOccurred())
	transport, err := rest.TransportFor(suite.ControlPlane.Config())
	b.Expect(err).NotTo(HaveOccurred())
	g := &gate{connections: map[net.Conn]bool{}}
	g.server = &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(upstream) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:      log.New(io.Discard, "", 0),
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	b.Expect(err).NotTo(HaveOccurred())
	g.http = &httptestServer{address: "http://" + listener.Addr().String(), Server: &http.Server{
		Handler: http.HandlerFunc(g.handle), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		ConnState: g.connection,
	}}
	go func() { _ = g.http.Serve(listener) }()
	b.Cleanup(func() { _ = g.http.Close() })
	return g
}

func (g *gate) connection(c net.Conn, state http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch state {
	case http.StateNew:
		if g.closed {
			_ = c.Close()
			return
		}
		g.connections[c] = true
	case http.StateClosed, http.StateHijacked:
		delete(g.connections, c)
	}
}

func (g *gate) handle(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	closed := g.closed
	watches := r.URL.Query().Get("watch")
	expire := g.expire > 0 && watches != "" && watches != "false"
	if expire {
		g.expire--
	}
	g.mu.Unlock()
	switch {
	case closed:
		panic(http.ErrAbortHandler)
	case expire:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":"too old resource version"}`)
		return
	}
	g.server.ServeHTTP(w, r)
}

// cut ends all connections.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.connections {
		_ = c.Close()
	}
}

// shut cuts, and lets nothing through until it is opened.
func (g *gate) shut() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cut()
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
}

// expireNext answers the next so many watches that their version is too old.
func (g *gate) expireNext(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire = n
}

// expired tells whether these watches have come.
func (g *gate) expired() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expire == 0
}

// kubeconfig is one that leads through the gate.
func (g *gate) kubeconfig(b *bed) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "kubeconfig")
	b.Expect(controlplane.WriteKubeconfig(path, &rest.Config{Host: g.http.address})).To(Succeed())
	return path
}

// annotate sets an annotation of an object.
func (b *bed) annotate(object client.Object, key, value string) {
	b.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value)
	b.Expect(b.Client.Patch(b.Ctx, object, client.RawPatch(types.MergePatchType, patch))).To(Succeed())
}
