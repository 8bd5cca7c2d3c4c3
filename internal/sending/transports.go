package sending

import (
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"sync"
	"time"
)

const (
	// maxTransports bounds the transports with TLS settings of their own. There are
	// more only while more are in use.
	maxTransports = 128
	// transportTTL is how long one is kept that nobody uses. Its connections are
	// closed long before; what is kept saves reading certificates again.
	transportTTL = time.Minute
)

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

// transports have one transport for each of the TLS settings that are in use.
// Certificates rotate and Webhooks come and go, so what was not used for a while is
// dropped.
type transports struct {
	make func(*tls.Config) *http.Transport

	mu    sync.Mutex
	known map[settings]*shared
}

// shared is a transport and who uses it.
type shared struct {
	*http.Transport
	users int
	// left is when the last of them left.
	left  time.Time
	timer *time.Timer
}

// take returns the transport for a request. It must be given back by calling
// release.
func (t *transports) take(r Request) (transport *http.Transport, release func()) {
	key := settingsOf(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	of, ok := t.known[key]
	if !ok {
		of = &shared{Transport: t.make(tlsConfig(r))}
		if t.known == nil {
			t.known = map[settings]*shared{}
		}
		t.makeRoom()
		t.known[key] = of
	}
	of.users++
	if of.timer != nil {
		of.timer.Stop()
	}
	return of.Transport, func() { t.release(key, of) }
}

// makeRoom drops the one that was left longest ago, where there are as many as may
// be. Those in use are no more than there are requests under way.
func (t *transports) makeRoom() {
	if len(t.known) < maxTransports {
		return
	}
	var oldest *shared
	var key settings
	for k, of := range t.known {
		if of.users == 0 && (oldest == nil || of.left.Before(oldest.left)) {
			oldest, key = of, k
		}
	}
	if oldest != nil {
		t.drop(key, oldest)
	}
}

func (t *transports) release(key settings, of *shared) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of.users--; of.users > 0 {
		return
	}
	of.left = time.Now()
	if len(t.known) > maxTransports {
		t.drop(key, of)
		return
	}
	if of.timer == nil {
		of.timer = time.AfterFunc(transportTTL, func() { t.expire(key, of) })
		return
	}
	of.timer.Reset(transportTTL)
}

// expire drops a transport that nobody has used since its timer was set: somebody
// may have been faster.
func (t *transports) expire(key settings, of *shared) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if of.users == 0 && t.known[key] == of && time.Since(of.left) >= transportTTL {
		t.drop(key, of)
	}
}

func (t *transports) drop(key settings, of *shared) {
	delete(t.known, key)
	if of.timer != nil {
		of.timer.Stop()
	}
	of.CloseIdleConnections()
}

// close closes idle connections and forgets the transports that nobody uses.
func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, of := range t.known {
		if of.users == 0 {
			t.drop(key, of)
		} else {
			of.CloseIdleConnections()
		}
	}
}
