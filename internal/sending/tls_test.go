package sending

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	peer "github.com/horizoncd/webhook-operator/test/receiver"
)

func newAuthority(t testing.TB, name string) *peer.Authority {
	t.Helper()
	a, err := peer.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t testing.TB, a *peer.Authority, change func(c *x509.Certificate)) (certificate, key []byte) {
	t.Helper()
	certificate, key, err := a.Issue(change)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// authorities trusts some authorities and no others.
func authorities(t *testing.T, of ...*peer.Authority) *Authorities {
	t.Helper()
	var bundle []byte
	for _, a := range of {
		bundle = append(bundle, a.PEM()...)
	}
	trusted, err := ParseAuthorities(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return trusted
}

func clientCertificate(t *testing.T, a *peer.Authority, name string) *ClientCertificate {
	t.Helper()
	certificate, key := issue(t, a, func(c *x509.Certificate) { c.Subject.CommonName = name })
	shown, err := ParseClientCertificate(certificate, key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

// tlsServer answers with the name in the client's certificate. It has a certificate
// of the authority, or what change makes of it.
type tlsServer struct {
	*httptest.Server
	// connections that were made.
	connections atomic.Int32
}

func newTLSServer(t *testing.T, a *peer.Authority, change func(*x509.Certificate), configure ...func(*tls.Config)) *tlsServer {
	t.Helper()
	certificate, key := issue(t, a, change)
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsServer{Server: httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown := r.TLS.PeerCertificates; len(shown) > 0 {
			_, _ = io.WriteString(w, shown[0].Subject.CommonName)
		}
	}))}
	s.Config.ErrorLog = quiet
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	for _, f := range configure {
		f(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestPrivateAuthorities(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	server := newTLSServer(t, ours, nil)
	const unknown = "certificate signed by unknown authority"
	for name, tc := range map[string]struct {
		request Request
		wantErr string
	}{
		"none named":     {wantErr: unknown},
		"the right one":  {request: Request{Authorities: authorities(t, ours)}},
		"one of several": {request: Request{Authorities: authorities(t, theirs, ours)}},
		"another one":    {request: Request{Authorities: authorities(t, theirs)}, wantErr: unknown},
		"not verified":   {request: Request{Authorities: authorities(t, theirs), InsecureSkipVerify: true}},
	} {
		t.Run(name, func(t *testing.T) {
			x := send(t, newSender(t, Options{}), server.URL, func(r *Request) {
				r.Authorities, r.InsecureSkipVerify = tc.request.Authorities, tc.request.InsecureSkipVerify
			})
			if diff := gocmp.Diff(tc.wantErr, errorText(x.Err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// Private authorities take the place of the system's.
func TestPrivateAuthoritiesAreTheOnlyOnes(t *testing.T) {
	pool := authorities(t, newAuthority(t, "ours"))
	config := tlsConfig(Request{Authorities: pool})
	if config.ClientSessionCache != nil {
		t.Error("sessions are resumed without being verified again")
	}
	got := config.RootCAs
	if want := x509.NewCertPool(); got == nil || got.Equal(want) || !got.Equal(pool.pool) {
		t.Errorf("other roots than the one that was named")
	}
}

func TestClientCertificate(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	for version, configure := range map[string]func(*tls.Config){
		"TLS 1.2": func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"TLS 1.3": func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 },
	} {
		asking := func(c *tls.Config) {
			configure(c)
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
			c.ClientCAs.AddCert(ours.Certificate())
		}
		required := newTLSServer(t, ours, nil, asking)
		optional := newTLSServer(t, ours, nil, asking, func(c *tls.Config) { c.ClientAuth = tls.VerifyClientCertIfGiven })
		indifferent := newTLSServer(t, ours, nil, configure)
		for name, tc := range map[string]struct {
			server      *tlsServer
			certificate *ClientCertificate
			want        string
			wantRefusal bool
		}{
			"required":                 {server: required, certificate: clientCertificate(t, ours, "operator"), want: "operator"},
			"required, and none":       {server: required, wantRefusal: true},
			"required, but of another": {server: required, certificate: clientCertificate(t, theirs, "operator"), wantRefusal: true},
			"optional":                 {server: optional, certificate: clientCertificate(t, ours, "operator"), want: "operator"},
			"optional, and none":       {server: optional},
			"not asked for":            {server: indifferent, certificate: clientCertificate(t, ours, "operator")},
		} {
			t.Run(version+" "+name, func(t *testing.T) {
				x := send(t, newSender(t, Options{}), tc.server.URL, func(r *Request) {
					r.Authorities, r.Certificate = authorities(t, ours), tc.certificate
				})
				if tc.wantRefusal {
					// In TLS 1.3 the refusal comes when the request is under way, and the
					// end of the connection may come before it.
					refused := strings.HasPrefix(errorText(x.Err), "the receiver refused TLS: ")
					if x.Response != nil || x.Err == nil || !refused && version == "TLS 1.2" {
						t.Errorf("%+v, error %q, want that TLS is refused", x.Response, errorText(x.Err))
					}
					return
				}
				if x.Err != nil || x.Response.Body != tc.want {
					t.Errorf("%+v, error %v; want that the receiver saw %q", x.Response, x.Err, tc.want)
				}
			})
		}
	}
}

// Why a receiver ends the handshake, as far as its alert and what it asked for tell.
func TestAlerts(t *testing.T) {
	ours := newAuthority(t, "ours")
	only12 := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	asking := func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		c.ClientCAs.AddCert(ours.Certificate())
	}
	const common = "the receiver refused TLS: handshake failure: no cipher suite, key exchange or signature algorithm in common, or no such host; it did not ask for a client certificate"
	for name, tc := range map[string]struct {
		configure []func(*tls.Config)
		shown     *ClientCertificate
		want      string
	}{
		"RSA key exchange only": {configure: []func(*tls.Config){only12, func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256} }}, want: common},
		"RSA certificates only": {configure: []func(*tls.Config){only12, func(c *tls.Config) { c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256} }}, want: common},
		"wants a certificate":   {configure: []func(*tls.Config){only12, asking}, want: "the receiver refused TLS: handshake failure: it wants a client certificate"},
		"wants another one":     {configure: []func(*tls.Config){only12, asking}, shown: clientCertificate(t, newAuthority(t, "theirs"), "operator"), want: "the receiver refused TLS: unknown certificate authority: it does not accept the client certificate"},
		"TLS 1.1":               {configure: []func(*tls.Config){func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }}, want: "the receiver refused TLS: protocol version not supported: it speaks neither TLS 1.2 nor TLS 1.3"},
		"serves no such host": {configure: []func(*tls.Config){func(c *tls.Config) {
			none := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return none, nil }
		}}, want: "the receiver refused TLS: unrecognized name: it serves no host of the name in the URL"},
		"something of its own": {configure: []func(*tls.Config){func(c *tls.Config) {
			c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, io.EOF }
		}}, want: "the receiver refused TLS: internal error: something is wrong with the receiver itself"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newTLSServer(t, ours, nil, tc.configure...)
			x := send(t, newSender(t, Options{}), server.URL, func(r *Request) { r.Authorities, r.Certificate = authorities(t, ours), tc.shown })
			if diff := gocmp.Diff(tc.want, errorText(x.Err)); diff != "" {
				t.Errorf("(-want +got):\n%s\ncause: %v", diff, errors.Unwrap(x.Err))
			}
		})
	}
}

// What is wrong with a certificate, from a server that has it.
func TestCertificateErrors(t *testing.T) {
	ours := newAuthority(t, "ours")
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		change func(c *x509.Certificate)
		want   string
	}{
		"valid":   {},
		"expired": {change: func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day.AddDate(-1, 0, 0), day }, want: "certificate expired on 2026-01-02"},
		"not yet valid": {
			change: func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day.AddDate(1000, 0, 0), day.AddDate(1001, 0, 0) },
			want:   "certificate is valid from 3026-01-02 on, not yet",
		},
		"of another host": {change: hosts("a.example"), want: "certificate is issued for a.example, not for 127.0.0.1"},
		"of other hosts":  {change: hosts("a.example", "*.b.example"), want: "certificate is issued for a.example, *.b.example, not for 127.0.0.1"},
		"of many hosts":   {change: hosts("a.example", "b.example", "c.example", "d.example", "e.example"), want: "certificate is issued for a.example, b.example, c.example and 2 more, not for 127.0.0.1"},
		"of another address": {change: func(c *x509.Certificate) {
			hosts()(c)
			c.IPAddresses = []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")}
		}, want: "certificate is issued for 192.0.2.1, 2001:db8::1, not for 127.0.0.1"},
		"of no host":            {change: func(c *x509.Certificate) { hosts()(c); c.Subject.CommonName = "127.0.0.1" }, want: "certificate is issued for no host, not for 127.0.0.1"},
		"for clients only":      {change: func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, want: "certificate is not meant for servers"},
		"names that tell tales": {change: hosts("\x1b[31m<b>s3cr3t</b>.example", strings.Repeat("a", 65), "a.example"), want: "certificate is issued for a.example and 2 more, not for 127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newTLSServer(t, ours, tc.change)
			s := newSender(t, Options{})
			for range 2 { // the same words each time
				x := send(t, s, server.URL, func(r *Request) { r.Authorities = authorities(t, ours) })
				if diff := gocmp.Diff(tc.want, errorText(x.Err)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// hosts makes a certificate one for some hosts only.
func hosts(names ...string) func(c *x509.Certificate) {
	return func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = names, nil }
}

func TestIssuedFor(t *testing.T) {
	for name, tc := range map[string]struct {
		names []string
		want  string
	}{
		"none":                    {want: "no host"},
		"one":                     {names: []string{"a.example"}, want: "a.example"},
		"none that can be shown":  {names: []string{"a b", "", "\u202e", "a\nb", "<x>", strings.Repeat("a", 65)}, want: "6 other names"},
		"one that cannot be":      {names: []string{"a b", "xn--bcher-kva.example", "_x.example"}, want: "xn--bcher-kva.example, _x.example and 1 more"},
		"as long as can be shown": {names: []string{strings.Repeat("a", 64)}, want: strings.Repeat("a", 64)},
		"a thousand":              {names: strings.Split(strings.Repeat("a.example ", 1000), " "), want: "a.example, a.example, a.example and 998 more"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := gocmp.Diff(tc.want, issuedFor(&x509.Certificate{DNSNames: tc.names})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A connection that was made with some TLS settings serves none but these.
func TestConnectionsAreKeptApart(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	server := newTLSServer(t, ours, nil, func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert })
	s := newSender(t, Options{})
	one, two := clientCertificate(t, ours, "one"), clientCertificate(t, ours, "two")
	trusted := func() *Authorities { return authorities(t, ours) } // read anew each time
	for i, tc := range []struct {
		request  Request
		wantNew  bool
		wantErr  bool
		wantSeen string
	}{
		{request: Request{InsecureSkipVerify: true}, wantNew: true},
		{request: Request{InsecureSkipVerify: true}},
		{request: Request{}, wantNew: true, wantErr: true},
		{request: Request{Authorities: trusted()}, wantNew: true},
		{request: Request{Authorities: trusted()}},
		{request: Request{Authorities: authorities(t, theirs)}, wantNew: true, wantErr: true},
		{request: Request{Authorities: authorities(t, theirs), InsecureSkipVerify: true}, wantNew: true},
		{request: Request{Authorities: authorities(t, ours, theirs)}, wantNew: true},
		{request: Request{Authorities: trusted(), Certificate: one}, wantNew: true, wantSeen: "one"},
		{request: Request{Authorities: trusted(), Certificate: two}, wantNew: true, wantSeen: "two"},
		{request: Request{Authorities: trusted(), Certificate: one}, wantSeen: "one"},
		{request: Request{Certificate: one, InsecureSkipVerify: true}, wantNew: true, wantSeen: "one"},
		{request: Request{InsecureSkipVerify: true}},
	} {
		before := server.connections.Load()
		x := send(t, s, server.URL, func(r *Request) {
			r.Authorities, r.Certificate, r.InsecureSkipVerify = tc.request.Authorities, tc.request.Certificate, tc.request.InsecureSkipVerify
		})
		seen := ""
		if x.Response != nil {
			seen = x.Response.Body
		}
		if isNew := server.connections.Load() > before; isNew != tc.wantNew || (x.Err != nil) != tc.wantErr || seen != tc.wantSeen {
			t.Errorf("request %d: new connection %t, want %t; error %v; seen %q, want %q", i, isNew, tc.wantNew, x.Err, seen, tc.wantSeen)
		}
	}
}

// request has TLS settings that no other number has.
func request(n int) Request {
	return Request{Authorities: &Authorities{pool: x509.NewCertPool(), digest: sha256.Sum256(fmt.Append(nil, n))}}
}

// Certificates that rotate, and Webhooks without number, leave a bounded number of
// transports behind, and no connection of those that are gone.
func TestTransportsAreBounded(t *testing.T) {
	ours := newAuthority(t, "ours")
	server := newTLSServer(t, ours, nil)
	s := newSender(t, Options{})
	exchange := func(wantConnections int32) {
		t.Helper()
		if x := send(t, s, server.URL, func(r *Request) { r.Authorities = authorities(t, ours) }); x.Err != nil {
			t.Fatal(x.Err)
		}
		if got := server.connections.Load(); got != wantConnections {
			t.Errorf("%d connections, want %d", got, wantConnections)
		}
	}
	exchange(1)
	for n := range maxTransports - 1 {
		if first := s.transports.of(request(n)); s.transports.of(request(n)) != first {
			t.Fatal("two transports for the same settings")
		}
	}
	exchange(1) // and was used last
	s.transports.of(request(-1))
	exchange(1)
	for n := range maxTransports {
		s.transports.of(request(maxTransports + n))
	}
	if got := s.transports.kept.Len(); got != maxTransports {
		t.Errorf("%d are kept, want %d", got, maxTransports)
	}
	exchange(2)
	s.Close()
	if got := s.transports.kept.Len(); got != 0 {
		t.Errorf("%d are kept after the end", got)
	}
}

func TestParseAuthorities(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	_, key := issue(t, ours, nil)
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("s3cr3t")})
	both := []*peer.Authority{ours, theirs}
	block := func(label string) []byte { return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: []byte("s3cr3t")}) }
	damaged := func(where string) string {
		return "the text " + where + " looks like a block that is damaged: one in PEM is from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
	}
	const none = "there is no certificate in it; one in PEM begins with -----BEGIN CERTIFICATE-----"
	for name, tc := range map[string]struct {
		bundle [][]byte
		want   []*peer.Authority
		err    string
	}{
		"one":                {bundle: [][]byte{ours.PEM()}, want: []*peer.Authority{ours}},
		"two":                {bundle: [][]byte{ours.PEM(), theirs.PEM()}, want: []*peer.Authority{ours, theirs}},
		"with words between": {bundle: [][]byte{[]byte("# ours\n"), ours.PEM(), []byte("\n# theirs\n"), theirs.PEM()}, want: []*peer.Authority{ours, theirs}},
		"empty":              {err: none},
		"text":               {bundle: [][]byte{[]byte("s3cr3t")}, err: none},
		"DER":                {bundle: [][]byte{ours.Certificate().Raw}, err: none},
		"in base64 twice":    {bundle: [][]byte{[]byte(base64.StdEncoding.EncodeToString(ours.PEM()))}, err: "it is in base64 twice: a Secret's data is encoded once, its stringData and a ConfigMap's data not at all"},
		"UTF-16":             {bundle: [][]byte{[]byte("\xff\xfe-\x00-\x00")}, err: "it is UTF-16 text: save it as UTF-8"},

		// What leaves no doubt.
		"byte order mark":                {bundle: [][]byte{[]byte("\ufeff"), ours.PEM(), theirs.PEM()}, want: both},
		"glued":                          {bundle: [][]byte{bytes.TrimSpace(ours.PEM()), theirs.PEM()}, want: both},
		"glued to a text":                {bundle: [][]byte{[]byte("ours: "), ours.PEM(), []byte("theirs: "), theirs.PEM()}, want: both},
		"indented":                       {bundle: [][]byte{ours.PEM(), bytes.ReplaceAll(theirs.PEM(), []byte("\n"), []byte("\n  \t"))}, want: both},
		"all indented":                   {bundle: [][]byte{[]byte("    "), bytes.ReplaceAll(append(ours.PEM(), theirs.PEM()...), []byte("\n"), []byte("\n    "))}, want: both},
		"line feeds in two characters":   {bundle: [][]byte{ours.PEM(), bytes.ReplaceAll(theirs.PEM(), []byte("\n"), []byte(`\n`))}, want: both},
		"line breaks in four characters": {bundle: [][]byte{bytes.ReplaceAll(append(ours.PEM(), theirs.PEM()...), []byte("\n"), []byte(`\r\n`))}, want: both},
		"CR LF":                          {bundle: [][]byte{bytes.ReplaceAll(append(ours.PEM(), theirs.PEM()...), []byte("\n"), []byte("\r\n"))}, want: both},
		"CR":                             {bundle: [][]byte{bytes.ReplaceAll(append(ours.PEM(), theirs.PEM()...), []byte("\n"), []byte("\r"))}, want: both},
		"on one line":                    {bundle: [][]byte{bytes.ReplaceAll(append(ours.PEM(), theirs.PEM()...), []byte("\n"), []byte(" "))}, want: both},
		"on one line, without spaces":    {bundle: [][]byte{bytes.ReplaceAll(append(ours.PEM(), theirs.PEM()...), []byte("\n"), nil)}, want: both},
		"in quotes":                      {bundle: [][]byte{[]byte(`"`), bytes.ReplaceAll(append(ours.PEM(), theirs.PEM()...), []byte("\n"), []byte(`\n`)), []byte(`"`)}, want: both},
		"by its old name":                {bundle: [][]byte{bytes.ReplaceAll(ours.PEM(), []byte(" CERT"), []byte(" X509 CERT")), theirs.PEM()}, want: both},
		"with what openssl tells":        {bundle: [][]byte{[]byte(opensslText), ours.PEM(), []byte("Bag Attributes\n    localKeyID: 01 \nsubject=CN = x\n\nissuer=CN = x\n\n"), theirs.PEM()}, want: both},
		"with titles and hashes":         {bundle: [][]byte{[]byte("Ours, Inc.\n=============================================\nd4de20d05e66fc53fe1a50882c78db2852cae474\n"), ours.PEM(), theirs.PEM()}, want: both},
		"one that is a comment":          {bundle: [][]byte{ours.PEM(), []byte("# "), bytes.ReplaceAll(broken, []byte("\n"), []byte("\n# ")), []byte("\n"), theirs.PEM()}, want: both},

		// What would be left out in silence.
		"with a key":                  {bundle: [][]byte{key, ours.PEM()}, err: "block 1 is not a certificate but a private key: take it out"},
		"a key alone":                 {bundle: [][]byte{key}, err: "block 1 is not a certificate but a private key: take it out"},
		"with an encrypted key":       {bundle: [][]byte{ours.PEM(), block("ENCRYPTED PRIVATE KEY")}, err: "block 2 is not a certificate but a private key: take it out"},
		"with a request":              {bundle: [][]byte{ours.PEM(), block("CERTIFICATE REQUEST")}, err: "block 2 is not a certificate but a request for a certificate: take it out"},
		"with a container":            {bundle: [][]byte{ours.PEM(), block("PKCS7")}, err: "block 2 is not a certificate but a container, whose certificates openssl pkcs7 -print_certs takes out: take it out"},
		"with trust settings":         {bundle: [][]byte{ours.PEM(), block("TRUSTED CERTIFICATE")}, err: "block 2 is not a certificate but a certificate with trust settings of OpenSSL, which openssl x509 takes away: take it out"},
		"with something else":         {bundle: [][]byte{ours.PEM(), block("S3CR3T")}, err: "block 2 is not a certificate but something else: take it out"},
		"with one that is broken":     {bundle: [][]byte{broken, ours.PEM()}, err: "block 1 cannot be read as a certificate"},
		"one that is broken alone":    {bundle: [][]byte{broken}, err: "block 1 cannot be read as a certificate"},
		"with one that is not base64": {bundle: [][]byte{ours.PEM(), bytes.Replace(theirs.PEM(), []byte("MII"), []byte("M*I"), 1)}, err: "block 2 is damaged: what stands in it is not base64"},
		"with one that lost a line":   {bundle: [][]byte{ours.PEM(), withoutLine(theirs.PEM(), 2)}, err: "block 2 cannot be read as a certificate"},
		"escaped twice":               {bundle: [][]byte{bytes.ReplaceAll(ours.PEM(), []byte("\n"), []byte(`\\n`))}, err: "block 1 is damaged: what stands in it is not base64"},
		"with headers":                {bundle: [][]byte{bytes.Replace(ours.PEM(), []byte("-----\n"), []byte("-----\nX: y\n\n"), 1)}, err: "block 1 is damaged: what stands in it is not base64"},
		"without END":                 {bundle: [][]byte{withoutLine(ours.PEM(), -1), theirs.PEM()}, err: "block 1 has no END line of its own"},
		"without END at the end":      {bundle: [][]byte{ours.PEM(), withoutLine(theirs.PEM(), -1)}, err: "block 2 has no END line of its own"},
		"ends as another":             {bundle: [][]byte{bytes.Replace(ours.PEM(), []byte("END CERT"), []byte("END X509 CERT"), 1)}, err: "block 1 has no END line of its own"},
		"without BEGIN":               {bundle: [][]byte{ours.PEM(), withoutLine(theirs.PEM(), 0)}, err: damaged("after block 1")},
		"without BEGIN at first":      {bundle: [][]byte{withoutLine(ours.PEM(), 0), theirs.PEM()}, err: damaged("before block 1")},
		"END alone":                   {bundle: [][]byte{ours.PEM(), []byte("-----END CERTIFICATE-----\n")}, err: "there is an END line without a BEGIN line after block 1"},
		"four dashes":                 {bundle: [][]byte{ours.PEM(), bytes.Replace(theirs.PEM(), []byte("-----BEGIN"), []byte("----BEGIN"), 1)}, err: damaged("after block 1")},
		"long dashes":                 {bundle: [][]byte{ours.PEM(), bytes.ReplaceAll(theirs.PEM(), []byte("-----"), []byte("———"))}, err: damaged("after block 1")},
		"no marks at all":             {bundle: [][]byte{withoutLine(withoutLine(ours.PEM(), 0), -1)}, err: damaged("in it")},
		"one that is half a comment":  {bundle: [][]byte{ours.PEM(), []byte("# "), theirs.PEM()}, err: damaged("after block 1")},
		"with a long key":             {bundle: [][]byte{ours.PEM(), rsaAuthority(t, 8193)}, err: "block 2 has an RSA key of more than 8192 bits, and one signature of it would take long to check"},
		"a long key alone":            {bundle: [][]byte{rsaAuthority(t, 8193)}, err: "block 1 has an RSA key of more than 8192 bits, and one signature of it would take long to check"},
		"too large":                   {bundle: [][]byte{ours.PEM(), bytes.Repeat([]byte("s"), MaxAuthorities)}, err: fmt.Sprintf("it has %d bytes, more than the 262144 that a CA bundle may have", MaxAuthorities+len(ours.PEM()))},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseAuthorities(bytes.Join(tc.bundle, nil))
			if diff := gocmp.Diff(tc.err, errorText(err)); diff != "" {
				t.Fatalf("error (-want +got):\n%s", diff)
			}
			if tc.err != "" {
				return
			}
			want := x509.NewCertPool()
			for _, a := range tc.want {
				want.AddCert(a.Certificate())
			}
			if !got.pool.Equal(want) {
				t.Error("other authorities than were given")
			}
		})
	}
}

// withoutLine takes out one line, or the last ones where the number is negative.
func withoutLine(text []byte, number int) []byte {
	lines := bytes.SplitAfter(bytes.TrimSpace(text), []byte("\n"))
	if number < 0 {
		number += len(lines)
	}
	return append(bytes.Join(slices.Delete(lines, number, number+1), nil), '\n')
}

const opensslText = `Certificate:
    Data:
        Version: 3 (0x2)
        Serial Number:
            0c:e7:e0:e5:17:d8:46:fe:8f:e5:60:fc:1b:f0:30:39
        Signature Algorithm: sha1WithRSAEncryption
        Issuer: C = US, O = Ours Inc, CN = Ours
        Subject Public Key Info:
            Public Key Algorithm: rsaEncryption
                RSA Public-Key: (2048 bit)
                Modulus:
                    00:ad:0e:15:ce:e4:43:80:5c:b1:87:f3:b7:60:f9:
    Signature Value:
        a2:0e:bc:df:e2:ed:f0:e3:72:73:7a:64:94:bf:f7:72:66:d8:
`

// What distributions ship is taken whole.
func TestParseAuthoritiesOfTheSystem(t *testing.T) {
	for _, path := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"} {
		bundle, err := os.ReadFile(path)
		if err != nil || len(bundle) > MaxAuthorities {
			continue
		}
		got, err := ParseAuthorities(bundle)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		want := x509.NewCertPool()
		if !want.AppendCertsFromPEM(bundle) || !got.pool.Equal(want) {
			t.Errorf("%s: other authorities than it has", path)
		}
	}
}

// The longest key of an authority that is taken.
func TestParseAuthoritiesWithRSA(t *testing.T) {
	if _, err := ParseAuthorities(rsaAuthority(t, 8192)); err != nil {
		t.Error(err)
	}
}

// rsaAuthority is a certificate with an RSA key of a length, to which there is no
// private one.
func rsaAuthority(t testing.TB, bits int) []byte {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	key := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), bits-1, 1), E: 65537}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestParseClientCertificate(t *testing.T) {
	ours := newAuthority(t, "ours")
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	valid := func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, -1, 0), now.AddDate(0, 1, 0) }
	certificate, key := issue(t, ours, valid)
	other, otherKey := issue(t, ours, valid)
	expired, expiredKey := issue(t, ours, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1) })
	future, futureKey := issue(t, ours, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, 0, 1), now.AddDate(1, 0, 0) })
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("s3cr3t")})
	const noCertificate = "there is no certificate in tls.crt; one in PEM begins with -----BEGIN CERTIFICATE-----"
	const encrypted = "the private key in tls.key is encrypted: openssl pkey takes the passphrase away"
	block := func(label string, header map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: label, Headers: header, Bytes: []byte("s3cr3t")})
	}
	for name, tc := range map[string]struct {
		certificate, key []byte
		want             string
		wantChain        int // 1 where it is not given
	}{
		"usable":                       {certificate: certificate, key: key},
		"byte order mark":              {certificate: append([]byte("\ufeff"), certificate...), key: append([]byte("\ufeff"), key...)},
		"glued":                        {certificate: append(bytes.TrimSpace(certificate), ours.PEM()...), key: key, wantChain: 2},
		"indented":                     {certificate: bytes.ReplaceAll(append(bytes.Clone(certificate), ours.PEM()...), []byte("\n"), []byte("\n  ")), key: bytes.ReplaceAll(key, []byte("\n"), []byte("\n  ")), wantChain: 2},
		"line feeds in two characters": {certificate: bytes.ReplaceAll(certificate, []byte("\n"), []byte(`\n`)), key: bytes.ReplaceAll(key, []byte("\n"), []byte(`\n`))},
		"with parameters":              {certificate: certificate, key: append(block("EC PARAMETERS", nil), key...)},
		"with its key":                 {certificate: append(bytes.Clone(key), certificate...), key: key},
		"a link that is damaged":       {certificate: append(bytes.Clone(certificate), bytes.Replace(ours.PEM(), []byte("-----BEGIN"), []byte("----BEGIN"), 1)...), key: key, want: "tls.crt cannot be read: the text after block 1 looks like a block that is damaged: one in PEM is from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"},
		"a link that is broken":        {certificate: append(bytes.Clone(certificate), broken...), key: key, want: "the certificate in block 2 of tls.crt cannot be read"},
		"encrypted, PKCS #8":           {certificate: certificate, key: block("ENCRYPTED PRIVATE KEY", nil), want: encrypted},
		"encrypted, of old":            {certificate: certificate, key: block("EC PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,5DF0"}), want: encrypted},
		"encrypted, RSA":               {certificate: certificate, key: bytes.ReplaceAll(block("RSA PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "DES-EDE3-CBC,5DF0"}), []byte("\n"), []byte("\r\n")), want: encrypted},
		"key without END":              {certificate: certificate, key: withoutLine(key, -1), want: "tls.key cannot be read: block 1 has no END line of its own"},
		"with its authority":           {certificate: append(bytes.Clone(certificate), ours.PEM()...), key: key, wantChain: 2},
		"empty":                        {want: noCertificate},
		"no certificate":               {certificate: []byte("s3cr3t"), key: key, want: noCertificate},
		"the two exchanged":            {certificate: key, key: certificate, want: noCertificate},
		"broken":                       {certificate: broken, key: key, want: "the certificate in block 1 of tls.crt cannot be read"},
		"no key":                       {certificate: certificate, key: []byte("s3cr3t"), want: noKey},
		"a certificate as key":         {certificate: certificate, key: certificate, want: noKey},
		"the key of another":           {certificate: certificate, key: otherKey, want: "the private key in tls.key is not that of the certificate in tls.crt"},
		"the other way round":          {certificate: other, key: key, want: "the private key in tls.key is not that of the certificate in tls.crt"},
		"too long":                     {certificate: append(bytes.Clone(certificate), make([]byte, MaxCertificate)...), key: key, want: fmt.Sprintf("tls.crt has %d bytes, more than the 65536 that a certificate may have", MaxCertificate+len(certificate))},
		"a key too long":               {certificate: certificate, key: append(bytes.Clone(key), make([]byte, MaxKey)...), want: fmt.Sprintf("tls.key has %d bytes, more than the 8192 that a private key may have", MaxKey+len(key))},
		"expired":                      {certificate: expired, key: expiredKey, want: "the certificate expired on 2026-11-22"},
		"not yet valid":                {certificate: future, key: futureKey, want: "the certificate is not yet valid: it is from 2026-11-24 on"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseClientCertificate(tc.certificate, tc.key, now)
			if diff := gocmp.Diff(tc.want, errorText(err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (got == nil) != (tc.want != "") {
				t.Errorf("got %v", got)
			}
			if got != nil && len(got.pair.Certificate) != max(1, tc.wantChain) {
				t.Errorf("%d certificates, want %d", len(got.pair.Certificate), max(1, tc.wantChain))
			}
		})
	}
}

func TestClientCertificateIsNeverPrinted(t *testing.T) {
	c := clientCertificate(t, newAuthority(t, "ours"), "operator")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, c); got != "[client certificate]" {
			t.Errorf("%s: %.200s", verb, got)
		}
	}
}

// Once the exchange that asked for a connection is over, net/http goes on making it,
// in case another one needs it. A receiver that is silent must not keep it for ever.
func TestSilentHandshakeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := New(Options{})
		defer s.Close()
		s.transports.of(Request{}).DialContext = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_, _ = io.Copy(io.Discard, theirs)
		}()
		began := time.Now()
		if x := s.Send(t.Context(), Request{URL: "https://receiver.example/", Timeout: time.Second}); x.Err == nil {
			t.Error("a receiver that says nothing has accepted")
		}
		select {
		case <-closed:
		case <-time.After(time.Hour):
			t.Error("the connection is still open after an hour")
			_ = theirs.Close()
		}
		if took := time.Since(began); took > connectTimeout {
			t.Errorf("it was closed after %v", took)
		}
	})
}
