package horizon

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

// Defaults of a Client.
const (
	// DefaultTimeout bounds a request, from its turn to the last byte of the answer.
	// Horizon's own handlers have no bound: what asks GitLab hangs as long as that does.
	DefaultTimeout = 30 * time.Second
	// DefaultRequests is how many requests are made at a time.
	DefaultRequests = 8
)

// Option changes how a Client talks to Horizon.
type Option func(*settings) error

type settings struct {
	timeout   time.Duration
	requests  int
	userAgent string
	roots     *x509.CertPool // nil for the system's
	proxy     bool
}

// WithTimeout bounds a request in place of DefaultTimeout. A context may end it earlier.
func WithTimeout(d time.Duration) Option {
	return func(s *settings) error {
		if d <= 0 {
			return errors.New("the timeout has to be positive")
		}
		s.timeout = d
		return nil
	}
}

// WithRequests bounds how many requests are made at a time in place of DefaultRequests. The
// others wait for their turn, as long as their context lasts.
func WithRequests(n int) Option {
	return func(s *settings) error {
		if n < 1 {
			return errors.New("at least one request has to be made at a time")
		}
		s.requests = n
		return nil
	}
}

// WithUserAgent says who asks.
func WithUserAgent(name string) Option {
	return func(s *settings) error {
		s.userAgent = name
		return nil
	}
}

// WithCAFile names a file of PEM certificates of authorities that vouch for Horizon in place
// of the system's. It is read once.
func WithCAFile(path string) Option {
	return func(s *settings) error {
		data, err := os.ReadFile(path) //nolint:gosec // whoever starts the program names it
		if err != nil {
			return fmt.Errorf("reading the authorities of Horizon: %w", err)
		}
		s.roots = x509.NewCertPool()
		if !s.roots.AppendCertsFromPEM(data) {
			return fmt.Errorf("reading the authorities of Horizon: %s has no certificate in PEM", path)
		}
		return nil
	}
}

// WithProxyFromEnvironment goes by the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name.
// Without it they are left aside.
func WithProxyFromEnvironment() Option {
	return func(s *settings) error {
		s.proxy = true
		return nil
	}
}
