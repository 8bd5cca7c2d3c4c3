package sending

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"syscall"
)

// dialContext returns how connections are made.
func dialContext(o Options) func(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: connectTimeout, Resolver: o.Resolver}
	switch {
	case o.Proxy != nil && o.Proxy.Scheme == "https":
		// Not by the transport, whose TLS settings are those of a receiver.
		secure := &tls.Dialer{NetDialer: dialer, Config: &tls.Config{ServerName: o.Proxy.Hostname(), MinVersion: tls.VersionTLS12}}
		return secure.DialContext
	case o.Proxy != nil || o.Control == nil:
		return dialer.DialContext
	}
	dialer.Control = guard(o.Control)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var others failure
		conn, err := dialer.DialContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{ConnectDone: others.done}), network, address)
		if isRefusal(err) {
			// Of several addresses, the error is that of the first. Where another
			// was not refused and failed, it may be back later.
			if other := others.get(); other != nil {
				err = other
			}
		}
		return conn, err
	}
}

// failure keeps the first failure to connect that is not a refusal. Several
// addresses may be tried at once.
type failure struct {
	mu  sync.Mutex
	err error
}

func (f *failure) done(_, _ string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && !isRefusal(err) {
		f.err = err
	}
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// refusal is an error of Options.Control or Options.Target, whose text may be
// shown.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

func isRefusal(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// refuse makes an error, or a panic, of a check a refusal. In the goroutine that
// dials, a panic would end the process.
func refuse(check func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &refusal{fmt.Errorf("the check of the address failed: %v", p)}
		}
	}()
	if err := check(); err != nil {
		return &refusal{err}
	}
	return nil
}

func guard(control func(string, string, syscall.RawConn) error) func(string, string, syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		return refuse(func() error { return control(network, address, c) })
	}
}

// viaProxy returns what a transport has as Proxy. It never knows of an https
// proxy, with which it would negotiate TLS as with a receiver.
func viaProxy(proxy *url.URL) func(*http.Request) (*url.URL, error) {
	if proxy == nil {
		return nil // not even that of the environment
	}
	plain := *proxy
	if plain.Scheme == "https" {
		plain.Scheme = "http"
		if plain.Port() == "" {
			plain.Host = net.JoinHostPort(plain.Hostname(), "443")
		}
	}
	return http.ProxyURL(&plain)
}

// proxyError is the status of a proxy that makes no connection.
type proxyError int

func (e proxyError) Error() string {
	return fmt.Sprintf("the proxy answered %d %s", int(e), http.StatusText(int(e)))
}

func connected(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return proxyError(answer.StatusCode)
	}
	return nil
}
