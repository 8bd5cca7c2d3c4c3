package sending

import (
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"sync"

	"k8s.io/utils/lru"
)

// maxTransports bounds the transports that are kept: as many as requests are under way
// with the default number of workers.
const maxTransports = 512

// settings tell apart what must not share a connection: how the receiver was
// verified, and what it was shown.
type settings struct {
	insecure                 bool
	authorities, certificate [sha256.Size]byte
}

func settingsOf(r Request) settings {
	s := settings{insecure: r.InsecureSkipVerify}
	if r.Authorities != nil {
		s.authorities = r.Authorities.digest
	}
	if r.Certificate != nil {
		s.certificate = r.Certificate.digest
	}
	return s
}

// tlsConfig returns the settings of a request's connection. There is no cache of
// sessions: a session that is resumed is not verified again.
func tlsConfig(r Request) *tls.Config {
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: r.InsecureSkipVerify, //nolint:gosec // the owner of the Webhook asked for it
		// Some receivers ask for a client certificate when they have read the request
		// (IIS does, in TLS 1.2). crypto/tls sees to it that the receiver's own
		// certificate stays the same, so what was verified still holds.
		Renegotiation: tls.RenegotiateOnceAsClient,
	}
	if r.Authorities != nil {
		c.RootCAs = r.Authorities.pool
	}
	shown := new(tls.Certificate) // none
	if r.Certificate != nil {
		shown = &r.Certificate.pair
	}
	// Also to receivers that ask for one of other authorities, or of none: it is for
	// them to tell what is wrong with it.
	c.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if p, ok := info.Context().Value(progressKey{}).(*progress); ok {
			p.asked.Store(true)
		}
		return shown, nil
	}
	return c
}

// transports keep the http.Transport of each of the TLS settings that were used last.
// One that is evicted while requests are under way ends with them: what it leaves idle
// is closed after idleTimeout.
type transports struct {
	make func(*tls.Config) *http.Transport

	mu   sync.Mutex
	kept *lru.Cache // of *http.Transport by settings
}

func newTransports(makeOne func(*tls.Config) *http.Transport) *transports {
	return &transports{make: makeOne, kept: lru.NewWithEvictionFunc(maxTransports, func(_ lru.Key, evicted any) {
		evicted.(*http.Transport).CloseIdleConnections()
	})}
}

// of returns the transport for a request.
func (t *transports) of(r Request) *http.Transport {
	key := settingsOf(r)
	t.mu.Lock() // so that no two are made
	defer t.mu.Unlock()
	if kept, ok := t.kept.Get(key); ok {
		return kept.(*http.Transport)
	}
	made := t.make(tlsConfig(r))
	t.kept.Add(key, made)
	return made
}

// close closes idle connections and forgets the transports.
func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.kept.Len() > 0 {
		t.kept.RemoveOldest()
	}
}
