package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// proxy stands between the operator and the API server and does what networks
// and servers do on bad days. Towards the operator it speaks plain HTTP, towards
// the API server it is the operator.
type proxy struct {
	server   *http.Server
	upstream *httputil.ReverseProxy
	address  string
	served   chan struct{}

	mu      sync.Mutex // guards what follows
	rng     *rand.Rand
	faults  faults
	watches map[*stream]bool         // that are open
	held    map[string]chan struct{} // by resource; closed when it is let through
	counts  proxyCounts
}

// faults are what the proxy does to writes of the project's kinds.
type faults struct {
	// refused is the share that never gets to the API server and is answered
	// with one of the codes.
	refused float64
	codes   []int
	// dropped is the share that the API server carries out, after which the
	// connection is cut instead of answered.
	dropped float64
}

// proxyCounts is what has come through a proxy so far.
type proxyCounts struct {
	requests, writes int // all, and those that faults may hit
	refused, dropped int
	cut              int // watches that were cut
	expired          int // watches that were told that their version is too old
}

// stream is a watch that is open.
type stream struct {
	resource string
	cancel   context.CancelFunc
}

// steadyTime is how long a watch is open that counts as lasting.
const steadyTime = 1500 * time.Millisecond

// dropKey marks requests whose answer is to be dropped.
type dropKey struct{}

// errDropped makes the proxy cut the connection.
var errDropped = errors.New("the answer is dropped")

// startProxy starts a proxy to the API server of account, which decides by the
// numbers of rng.
func startProxy(account *rest.Config, rng *rand.Rand) (*proxy, error) {
	transport, err := rest.TransportFor(account)
	if err != nil {
		return nil, err
	}
	server, err := url.Parse(account.Host)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{
		address: "http://" + listener.Addr().String(), served: make(chan struct{}), rng: rng,
		watches: map[*stream]bool{}, held: map[string]chan struct{}{},
	}
	p.upstream = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(server) },
		Transport:      transport,
		FlushInterval:  -1, // watches
		ModifyResponse: p.answered,
		// Whatever went wrong, the operator finds its connection cut.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	p.server = &http.Server{
		Handler: http.HandlerFunc(p.handle), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(p.served)
		_ = p.server.Serve(listener)
	}()
	return p, nil
}

// proxy starts a proxy that belongs to the scenario, and returns the path of a
// kubeconfig that leads through it.
func (t *trial) proxy() (*proxy, string, error) {
	p, err := startProxy(t.account, rand.New(rand.NewPCG(t.rng.Uint64(), 0)))
	if err != nil {
		return nil, "", fmt.Errorf("starting a proxy: %w", err)
	}
	t.proxies = append(t.proxies, p)
	path := filepath.Join(t.cp.Dir(), "proxy-"+t.scenario.id+".kubeconfig")
	return p, path, controlplane.WriteKubeconfig(path, &rest.Config{Host: p.address})
}

// close ends the proxy and all connections through it.
func (p *proxy) close() error {
	p.cutWatches("")
	err := p.server.Close()
	<-p.served
	return err
}

// set changes what the proxy does to writes from now on.
func (p *proxy) set(f faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

// count is what has come through so far.
func (p *proxy) count() proxyCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// cutWatches cuts the watches of a resource, or all where none is named, and
// returns how many there were.
func (p *proxy) cutWatches(resource string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	cut := 0
	for w := range p.watches {
		if resource == "" || w.resource == resource {
			w.cancel()
			delete(p.watches, w)
			cut++
		}
	}
	p.counts.cut += cut
	return cut
}

// steady waits until each of the resources has a watch that lasts. A client whose
// watch ends within a second, with nothing in it, lists afresh instead of resuming.
func (p *proxy) steady(ctx context.Context, resources ...string) error {
	for {
		before := p.open()
		if err := sleep(ctx, steadyTime); err != nil {
			return err
		}
		after := p.open()
		lasts := func(resource string) bool {
			return slices.ContainsFunc(before, func(w *stream) bool { return w.resource == resource && slices.Contains(after, w) })
		}
		if !slices.ContainsFunc(resources, func(resource string) bool { return !lasts(resource) }) {
			return nil
		}
	}
}

// open are the watches that are open.
func (p *proxy) open() []*stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.watches))
}

// hold cuts the watches of resources of the project and keeps new ones, and
// lists, waiting until release is called.
func (p *proxy) hold(resources ...string) (release func()) {
	held := make(chan struct{})
	p.mu.Lock()
	for _, resource := range resources {
		p.held[resource] = held
	}
	p.mu.Unlock()
	for _, resource := range resources {
		p.cutWatches(resource)
	}
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		maps.DeleteFunc(p.held, func(_ string, c chan struct{}) bool { return c == held })
		close(held)
	})
}

func (p *proxy) handle(w http.ResponseWriter, r *http.Request) {
	resource, collection := target(r.URL.Path)
	switch {
	case r.Method == http.MethodGet && collection:
		p.read(w, r, resource)
	case r.Method != http.MethodGet && resource != "":
		p.write(w, r)
	default:
		p.mu.Lock()
		p.counts.requests++
		p.mu.Unlock()
		p.upstream.ServeHTTP(w, r)
	}
}

// target is the resource of the project that a path leads to, if any, and whether
// it is about all of that kind rather than one.
func target(path string) (resource string, collection bool) {
	rest, ok := strings.CutPrefix(path, "/apis/"+v1alpha1.GroupVersion.String()+"/")
	if !ok {
		return "", false
	}
	parts := strings.Split(rest, "/")
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	return parts[0], len(parts) == 1
}

// watches tells whether a request is for a watch.
func watches(r *http.Request) bool {
	watch := r.URL.Query().Get("watch")
	return watch == "true" || watch == "1"
}

// read passes on a list or a watch, unless it is held.
func (p *proxy) read(w http.ResponseWriter, r *http.Request, resource string) {
	p.mu.Lock()
	p.counts.requests++
	held := p.held[resource]
	p.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
			return
		}
	}
	if !watches(r) {
		p.upstream.ServeHTTP(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s := &stream{resource: resource, cancel: cancel}
	p.mu.Lock()
	p.watches[s] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watches, s)
	}()
	p.upstream.ServeHTTP(w, r.WithContext(ctx))
}

// write passes on a write, unless its lot is another one.
func (p *proxy) write(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.counts.requests++
	p.counts.writes++
	lot, code := p.rng.Float64(), 0
	refused := lot < p.faults.refused
	dropped := !refused && lot < p.faults.refused+p.faults.dropped
	if refused {
		code = p.faults.codes[p.rng.IntN(len(p.faults.codes))]
		p.counts.refused++
	}
	p.mu.Unlock()
	switch {
	case refused:
		_, _ = io.Copy(io.Discard, r.Body)
		refuse(w, code)
	case dropped:
		p.upstream.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), dropKey{}, true)))
	default:
		p.upstream.ServeHTTP(w, r)
	}
}

// reasons that the API server gives with its codes.
var reasons = map[int]metav1.StatusReason{
	http.StatusConflict:            metav1.StatusReasonConflict,
	http.StatusTooManyRequests:     metav1.StatusReasonTooManyRequests,
	http.StatusInternalServerError: metav1.StatusReasonInternalError,
	http.StatusGatewayTimeout:      metav1.StatusReasonTimeout,
}

// refuse answers as the API server does.
func refuse(w http.ResponseWriter, code int) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Reason: reasons[code], Code: int32(code),
		Message: fmt.Sprintf("the proxy of a fault scenario says %d", code),
	}
	w.Header().Set("Content-Type", "application/json")
	if code == http.StatusTooManyRequests {
		// client-go takes this for an order to try again by itself.
		w.Header().Set("Retry-After", "1")
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	}
	body, err := json.Marshal(status)
	if err != nil {
		panic(err) // it is made of strings and numbers
	}
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// answered sees each answer of the API server: what it has carried out may be
// kept from the operator, and watches are read along.
func (p *proxy) answered(r *http.Response) error {
	if r.Request.Context().Value(dropKey{}) != nil {
		p.mu.Lock()
		p.counts.dropped++
		p.mu.Unlock()
		return errDropped
	}
	if watches(r.Request) {
		if r.StatusCode == http.StatusGone {
			p.expire()
		}
		r.Body = &eavesdropper{ReadCloser: r.Body, heard: p.expire}
	}
	return nil
}

func (p *proxy) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.expired++
}

// eavesdropper listens to a watch for the error that its version is too old. It
// is the first and last thing that such a watch says.
type eavesdropper struct {
	io.ReadCloser
	heard func()
}

// expirations are parts of that error, as text and in protobuf alike.
var expirations = [][]byte{[]byte("too old resource version"), []byte("has been compacted")}

// Read implements io.Reader.
func (e *eavesdropper) Read(b []byte) (int, error) {
	n, err := e.ReadCloser.Read(b)
	if slices.ContainsFunc(expirations, func(text []byte) bool { return bytes.Contains(b[:n], text) }) {
		e.heard()
	}
	return n, err
}
