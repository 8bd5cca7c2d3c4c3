package sending

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"syscall"
)

// dialContext returns how connections are made.
func dialContext(o Options) dialFunc {
	dialer := &net.Dialer{Timeout: connectTimeout, Resolver: o.Resolver}
	switch {
	case o.Proxy != nil && o.Proxy.Scheme == "https":
		// Not by the transport, whose TLS settings are those of a receiver.
		secure := &tls.Dialer{NetDialer: dialer, Config: &tls.Config{ServerName: o.Proxy.Hostname(), MinVersion: tls.VersionTLS12}}
		return toProxy(secure.DialContext)
	case o.Proxy != nil:
		return toProxy(dialer.DialContext)
	case o.Control == nil:
		return dialer.DialContext
	}
	dialer.Control = guard(o.Control)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var tried failures
		conn, err := dialer.DialContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{ConnectDone: tried.done}), network, address)
		return conn, tried.decide(err)
	}
}

// toProxy marks the errors of a dial to the proxy: what is wrong with it is not the
// receiver's fault, and its name is not for everybody.
func toProxy(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, proxyDialError{err}
		}
		return conn, nil
	}
}

// proxyDialError is an error of the dial to the proxy.
type proxyDialError struct{ error }

func (e proxyDialError) Unwrap() error { return e.error }

// describe does not name the proxy.
func (e proxyDialError) describe() string {
	const text = "the egress proxy cannot be reached"
	if _, ok := errors.AsType[*net.DNSError](e.error); ok {
		return text + ": its host could not be looked up"
	}
	if cause, ok := errors.AsType[syscall.Errno](e.error); ok {
		return text + ": " + cause.Error()
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](e.error); ok {
		return text + ": its certificate could not be verified"
	}
	return text
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// failures are the first denial of one dial and its first other failure. Several
// addresses may be tried at once.
type failures struct {
	mu            sync.Mutex
	denied, other error
}

func (f *failures) done(_, _ string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case isDenial(err):
		f.denied = cmp.Or(f.denied, err)
	case !isWithoutRoute(err):
		f.other = cmp.Or(f.other, err)
	}
}

// decide returns the error to show of a dial. Of several addresses, its own is that
// of the first. Where one was not denied and failed, it may be back later. Where one
// is of a family that this machine does not speak, there was nothing to connect to
// but what is denied.
func (f *failures) decide(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if isDenial(err) || isWithoutRoute(err) {
		return cmp.Or(f.other, f.denied, err)
	}
	return err
}

// isWithoutRoute tells the errors of addresses that no packet can be sent to, such
// as those of IPv6 where there is only IPv4.
func isWithoutRoute(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// denial is an error of Options.Control or Options.CheckURL, whose text may be
// shown.
type denial struct{ error }

func (r *denial) Unwrap() error { return r.error }

func isDenial(err error) bool {
	_, ok := errors.AsType[*denial](err)
	return ok
}

// deny makes an error, or a panic, of a check a denial. In the goroutine that
// dials, a panic would end the process.
func deny(check func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &denial{fmt.Errorf("the check of the address failed: %v", p)}
		}
	}()
	if err := check(); err != nil {
		return &denial{err}
	}
	return nil
}

func guard(control func(string, string, syscall.RawConn) error) func(string, string, syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		return deny(func() error { return control(network, address, c) })
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

// proxyError is the status of a proxy that makes no connection, or wants to know who
// asks. It is no answer of the receiver.
type proxyError struct {
	status int
	// known: it was given a name and a password.
	known bool
}

func (e proxyError) Error() string {
	switch e.status {
	case http.StatusProxyAuthRequired:
		if e.known {
			return "the egress proxy does not accept the operator's credentials (407)"
		}
		return "the egress proxy wants credentials (407)"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Sprintf("the egress proxy made no connection to the receiver (%d %s)", e.status, http.StatusText(e.status))
	default:
		return strings.TrimSpace(fmt.Sprintf("the egress proxy answered %d %s", e.status, http.StatusText(e.status)))
	}
}

func connected(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return proxyError{status: answer.StatusCode, known: proxy.User != nil}
	}
	return nil
}
