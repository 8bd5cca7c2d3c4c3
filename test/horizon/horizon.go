// Package horizon is a Horizon for tests: an HTTP server on loopback with its REST calls, and
// its way of telling webhooks what has happened, bad habits included. It was written from
// what Horizon's own core does (horizoncd/horizon, commit 6cdb919ad8a1):
//
//   - events are read by a cursor, which after a restart is the first that was ever saved, so
//     that nearly all events come again, with bodies that are rendered anew;
//   - an event whose number commits after a higher one is never read, nor is one whose creator
//     was deleted told of;
//   - logs of one batch get their numbers in no order, and each webhook's are sent one at a
//     time; what failed is never sent again;
//   - a page of logs is a 404 where one of them has an event that lost its object;
//   - a PUT of sslVerifyEnabled is answered as done and not stored;
//   - what asks GitLab hangs while that is down.
//
// It knows nothing of the testing package nor of Kubernetes.
package horizon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/horizoncd/webhook-operator/test/ports"
)

// Options says what kind of Horizon to start. The zero value speaks plain HTTP on a free port
// and has the scopes that Horizon ships.
type Options struct {
	// Addr is the address to listen on. Default: a free port of 127.0.0.1.
	Addr string
	// TLS serves HTTPS.
	TLS *tls.Config
	// Roots are the authorities of the machine that Horizon runs on, which alone vouch for
	// receivers. Default: the system's.
	Roots *x509.CertPool
	// Idle is how long it waits before it looks for events, and for logs to send, again.
	// Default: 20 ms. Horizon's own are 3 s and 2 s.
	Idle time.Duration
	// SendTimeout bounds one send. Default: 30 s, as Horizon's own.
	SendTimeout time.Duration
	// Scopes are entries of the configuration beside those that Horizon ships: resources
	// with all verbs, by the name of the scope.
	Scopes map[string][]string
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Horizon is a server that runs, or one that was killed. Its methods may be called from
// several goroutines.
type Horizon struct {
	options Options
	addr    string
	store   store
	access  access
	routes  http.Handler

	mu        sync.Mutex // guards what follows
	life      *life      // nil while it is killed
	gitLab    chan struct{}
	intercept func(http.ResponseWriter, *http.Request) bool
}

// life is what runs between a start and the next kill.
type life struct {
	ctx    context.Context
	cancel context.CancelFunc
	server *http.Server
	done   sync.WaitGroup
}

// Start starts a Horizon that has the root group and its administrator, user 1.
func Start(o Options) (*Horizon, error) {
	if o.Idle == 0 {
		o.Idle = 20 * time.Millisecond
	}
	if o.SendTimeout == 0 {
		o.SendTimeout = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	h := &Horizon{options: o, addr: o.Addr}
	h.store.init(o.Now)
	h.access.init(o.Scopes)
	h.routes = h.newRoutes()
	listen := ports.Others.Listen
	if o.Addr != "" {
		listen = func() (net.Listener, error) { return net.Listen("tcp", o.Addr) }
	}
	l, err := listen()
	if err != nil {
		return nil, fmt.Errorf("starting a Horizon: %w", err)
	}
	h.addr = l.Addr().String()
	h.run(l)
	return h, nil
}

// run begins a life.
func (h *Horizon) run(l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	run := &life{ctx: ctx, cancel: cancel, server: &http.Server{
		Handler:           http.HandlerFunc(h.serve),
		TLSConfig:         h.options.TLS.Clone(),
		ReadHeaderTimeout: time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(io.Discard, "", 0),
	}}
	position := h.store.cursor()
	h.mu.Lock()
	h.life = run
	h.mu.Unlock()
	run.done.Go(func() {
		if h.options.TLS != nil {
			_ = run.server.ServeTLS(l, "", "")
			return
		}
		_ = run.server.Serve(l)
	})
	run.done.Go(func() { h.handleEvents(run, position) })
}

// Addr is the host and port that it listens on, the same before and after a kill.
func (h *Horizon) Addr() string { return h.addr }

// URL is the address of a path, such as /apis/core/v2/supportevents; that of the core where
// the path is empty.
func (h *Horizon) URL(path string) string {
	scheme := "http"
	if h.options.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + h.addr + path
}

// Kill ends it where it stands: requests that it makes and answers are cut off, and what it
// has not stored is lost. It is not an error if it is killed already.
func (h *Horizon) Kill() {
	h.mu.Lock()
	run := h.life
	h.life = nil
	h.mu.Unlock()
	if run == nil {
		return
	}
	run.cancel()
	_ = run.server.Close()
	run.done.Wait()
}

// Restart starts it again on the same port, with what it has stored; it is killed first
// where it runs. Its cursor is the first that was ever saved, so it tells nearly all events
// again.
func (h *Horizon) Restart() error {
	h.Kill()
	l, err := net.Listen("tcp", h.addr)
	if err != nil {
		return fmt.Errorf("starting Horizon again: %w", err)
	}
	h.run(l)
	return nil
}

// Close ends it for good. What it has stored can still be read.
func (h *Horizon) Close() error {
	h.Kill()
	return nil
}

// GitLabDown says whether GitLab is down. What asks it hangs meanwhile.
func (h *Horizon) GitLabDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case down && h.gitLab == nil:
		h.gitLab = make(chan struct{})
	case !down && h.gitLab != nil:
		close(h.gitLab)
		h.gitLab = nil
	}
}

// askGitLab waits until GitLab is up. It fails where nobody waits any more.
func (h *Horizon) askGitLab(ctx context.Context) error {
	h.mu.Lock()
	down := h.gitLab
	h.mu.Unlock()
	if down == nil {
		return nil
	}
	select {
	case <-down:
		return nil
	case <-ctx.Done():
		return errors.New("nobody waits for GitLab any more")
	}
}

// Intercept has a function look at each request first. It tells whether it has answered by
// itself. nil takes it away.
func (h *Horizon) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.intercept = f
}

// Token returns a new access token of the administrator's with some scopes.
func (h *Horizon) Token(scopes ...string) string { return h.access.newToken(scopes) }

// Revoke makes a token worthless.
func (h *Horizon) Revoke(token string) { h.access.revoke(token) }

// Configure takes another configuration of scopes, beside those that Horizon ships.
func (h *Horizon) Configure(scopes map[string][]string) { h.access.configure(scopes) }
