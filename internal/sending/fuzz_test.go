package sending

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
	"github.com/horizoncd/webhook-operator/test/schema"
)

// scripted is a connection whose other end answers the first bytes that it gets,
// whatever they are, and then says no more.
type scripted struct {
	net.Conn
	answer *strings.Reader
	sent   chan struct{}
	send   sync.Once
}

func (c *scripted) Write(p []byte) (int, error) {
	c.send.Do(func() { close(c.sent) })
	return len(p), nil
}

func (c *scripted) Read(p []byte) (int, error) {
	<-c.sent
	return c.answer.Read(p)
}

func (c *scripted) Close() error {
	c.send.Do(func() { close(c.sent) })
	return nil
}

func (c *scripted) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// exchangeWith sends a request whose receiver answers with the given bytes.
func exchangeWith(t *testing.T, target, answer string, redact func(string) string) Exchange {
	t.Helper()
	s := newSender(t, Options{})
	dial := func(context.Context, string, string) (net.Conn, error) {
		return &scripted{answer: strings.NewReader(answer), sent: make(chan struct{})}, nil
	}
	// For https too: this is not about TLS.
	plain := s.transports.of(Request{})
	plain.DialContext, plain.DialTLSContext, plain.DisableKeepAlives = dial, dial, true
	return send(t, s, target, func(r *Request) { r.Redact = redact })
}

// Whatever bytes a receiver answers with, the exchange ends, and what is kept of it
// is bounded, fit to be shown, and without the secret.
func FuzzAnswer(f *testing.F) {
	const secret = "s3cr3t-of-the-receiver"
	for _, seed := range []string{
		"", "HTTP/1.1 200 OK\r\n\r\nbody", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 000 \r\n\r\n", "HTTP/1.1 101 Other\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbytes",
		"HTTP/1.1 503 Busy\r\nRetry-After: 1e300\r\nLocation: http://x/?" + secret + "\r\nX: \xff" + secret + "\r\n\r\n" + secret + "\x00\x1b[2J",
		"HTTP/1.1 " + secret + "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("ü", MaxBody), "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n",
	} {
		f.Add([]byte(seed))
	}
	redact := redaction.New(secret).Redact
	f.Fuzz(func(t *testing.T, answer []byte) {
		x := exchangeWith(t, "http://receiver.example/", string(answer), redact)
		for _, problem := range (inputs.Want{Any: true}).Check((*inputs.Response)(x.Response), errorText(x.Err), patience) {
			t.Error(problem)
		}
		if x.Response == nil && x.Err == nil || x.Interrupted || x.Duration > grace {
			t.Errorf("%+v, want an answer or an error, at once", x)
		}
		texts := []string{errorText(x.Err), x.RequestHeader}
		if r := x.Response; r != nil {
			texts = append(texts, r.Header, r.Body, r.RetryAfter, r.Location)
		}
		for _, text := range texts {
			if strings.Contains(text, secret) {
				t.Errorf("the secret is in %q", text)
			}
		}
	})
}

// What is kept of a text is a part of it, and can be stored and shown.
func FuzzKeep(f *testing.F) {
	f.Add("a\x00\xff\u009b\r\n\tü", 5)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < 0 || limit > 1<<20 {
			t.Skip()
		}
		kept, cut := keep(text, limit)
		if len(kept) > limit || !utf8.ValidString(kept) {
			t.Errorf("keep(%q, %d) = %q", text, limit, kept)
		}
		if strings.ContainsFunc(kept, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' }) {
			t.Errorf("keep(%q, %d) = %q, with control characters", text, limit, kept)
		}
		if again, _ := keep(kept, limit); again != kept {
			t.Errorf("kept again, %q becomes %q", kept, again)
		}
		if whole, _ := keep(text, 4*len(text)); cut != (kept != whole) || !strings.HasPrefix(whole, kept) {
			t.Errorf("keep(%q, %d) = %q, cut: %t; whole: %q", text, limit, kept, cut, whole)
		}
	})
}

// maxParsed bounds what it takes to read a bundle or a certificate with its key, for
// each byte of them and in all.
const maxParsed, maxParsedAtLeast = 64, 1 << 20

// allocates runs a function and fails where it takes more memory than a length of
// input is worth.
func allocates(t *testing.T, length int, parse func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	parse()
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(maxParsed*length+maxParsedAtLeast) {
		t.Errorf("%d bytes took %d", length, took)
	}
}

// parseErrors are all that may be said of a bundle, a certificate and a key: with
// numbers and dates, and nothing else that was read.
var parseErrors = regexp.MustCompile(`^(` + strings.Join([]string{
	`it has \d+ bytes, more than the 262144 that a CA bundle may have`,
	`block \d+ (is damaged: what stands in it is not base64|cannot be read as a certificate)`,
	`block \d+ has an RSA key of more than 8192 bits, and one signature of it would take long to check`,
	`block \d+ is not a certificate but (a|something)[ ,2A-Za-z0-9_-]+: take it out`,
	`(tls\.(crt|key) cannot be read: )?(` + strings.Join([]string{
		`it is UTF-16 text: save it as UTF-8`,
		`it is in base64 twice: a Secret's data is encoded once, its stringData and a ConfigMap's data not at all`,
		`block \d+ has no END line of its own`,
		`there is an END line without a BEGIN line (before|after) block \d+`,
		`the text (in it|(before|after) block \d+) looks like a block that is damaged: one in PEM is from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----`,
	}, "|") + `)`,
	`the private key in tls\.key is encrypted: openssl pkey takes the passphrase away`,
	`there is no certificate in (it|tls\.crt); one in PEM begins with -----BEGIN CERTIFICATE-----`,
	`tls\.crt has \d+ bytes, more than the 65536 that a certificate may have`,
	`tls\.key has \d+ bytes, more than the 8192 that a private key may have`,
	`the certificate in block \d+ of tls\.crt cannot be read`,
	`the private key in tls\.key is not that of the certificate in tls\.crt`,
	`there is no private key in tls\.key that can be used; PEM is expected`,
	`the certificate (expired on|is not yet valid: it is from) \d{4}-\d\d-\d\d( on)?`,
}, "|") + `)$`)

// mangled are inputs that were once in PEM.
func mangled(all ...[]byte) [][]byte {
	var seeds [][]byte
	for _, whole := range all {
		half := len(whole) / 2
		swapped := bytes.Clone(whole)
		swapped[half]++
		seeds = append(seeds, whole, whole[:half], whole[half:], whole[:len(whole)-1], swapped, append(bytes.Clone(whole), whole...),
			append(bytes.Clone(whole[:half]), whole...), bytes.ReplaceAll(whole, []byte("\n"), []byte("\r\n")),
			bytes.Replace(whole, []byte("-----\n"), []byte("-----\nProc-Type: 4,ENCRYPTED\n\n"), 1))
	}
	return append(seeds, nil, []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
}

// Whatever a bundle of authorities is, reading it ends, takes little memory and tells
// nothing of it; what has been read can be used.
func FuzzAuthorities(f *testing.F) {
	ours := newAuthority(f, "ours")
	certificate, key := issue(f, ours, nil)
	block, _ := pem.Decode(certificate)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range mangled(ours.PEM(), key, append(bytes.Clone(certificate), ours.PEM()...), rsaAuthority(f, 8193)) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, bundle []byte) {
		var trusted *Authorities
		var err error
		allocates(t, len(bundle), func() { trusted, err = ParseAuthorities(bundle) })
		if (trusted == nil) == (err == nil) || err != nil && !parseErrors.MatchString(err.Error()) {
			t.Fatalf("%v, error %v", trusted, err)
		}
		if trusted != nil {
			_, _ = leaf.Verify(x509.VerifyOptions{Roots: trusted.pool}) // reads them once more
		}
	})
}

// So it is with a client certificate and its key. What is printed shows nothing of
// them.
func FuzzClientCertificate(f *testing.F) {
	ours := newAuthority(f, "ours")
	certificate, key := issue(f, ours, nil)
	other, otherKey := issue(f, ours, nil)
	now := time.Now()
	for _, seed := range mangled(certificate, key, append(bytes.Clone(certificate), ours.PEM()...), other, otherKey, rsaAuthority(f, 512)) {
		f.Add(seed, key)
		f.Add(certificate, seed)
	}
	f.Fuzz(func(t *testing.T, certificate, key []byte) {
		var shown *ClientCertificate
		var err error
		allocates(t, len(certificate)+len(key), func() { shown, err = ParseClientCertificate(certificate, key, now) })
		if (shown == nil) == (err == nil) || err != nil && !parseErrors.MatchString(err.Error()) {
			t.Fatalf("%v, error %v", shown, err)
		}
		if shown != nil && (fmt.Sprintf("%v %+v", shown, shown) != "[client certificate] [client certificate]" || len(shown.pair.Certificate) == 0) {
			t.Errorf("%v", shown)
		}
	})
}

// What the API accepts as a URL, by the rules in the CRD, is sent, and to the host
// that stands in it.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"https://ci.example.com/hooks/horizon?team=music%20ops", "HTTP://LOCALHOST", "http://ci_1:0080/a//b/../c;d?e=%zz",
		"https://[2001:db8::1]:8443?a=b", "http://[64:ff9b::192.0.2.1]/", "http://a.:65535/@:99999/", "http://xn--/", "http://1:1:1/",
		"https://ci.example.com:443@other.example.com/", "http://[fe80::1%25lo]/", "http://a/%2F%00?%", "file:///etc/passwd", "https:///", "http://-./'()*",
	} {
		f.Add(seed)
	}
	rules := urlRules(f)
	f.Fuzz(func(t *testing.T, target string) {
		x := exchangeWith(t, target, "HTTP/1.1 204 No Content\r\n\r\n", nil)
		sent := x.Err == nil && x.Response != nil && x.Response.StatusCode == http.StatusNoContent
		if accepted(t, rules, target) && !sent {
			t.Errorf("the API accepts %q, and it cannot be sent: %v", target, x.Err)
		}
	})
}

// The rules are read rightly: what these tests of the API say of some URLs, they
// say too.
func TestURLRules(t *testing.T) {
	rules := urlRules(t)
	for target, want := range map[string]bool{
		"https://ci.example.com/hooks/horizon?team=music%20ops": true, "http://[2001:db8::1]:8443": true, "http://localhost:80": true,
		"": false, "/hooks": false, "ftp://x/": false, "http://x y/": false, "http://a@b/": false, "http://x:0/": false, "http://x:65536": false,
		"http://x/#f": false, "http://[::ffff:127.0.0.1]/": false, "http://[1]/": false, "http://:80/": false, "http://x/%2": false,
	} {
		if got := accepted(t, rules, target); got != want {
			t.Errorf("%q accepted: %t, want %t", target, got, want)
		}
	}
}

// urlRules are the rules of spec.url as they are installed.
func urlRules(t testing.TB) []string {
	t.Helper()
	var rules []string
	for _, r := range schema.Of(t, "webhooks").Properties["spec"].Properties["url"].XValidations {
		rules = append(rules, r.Rule)
	}
	if len(rules) == 0 {
		t.Fatal("spec.url has no rules")
	}
	return rules
}

// accepted evaluates the rules by the few words of CEL that they use.
func accepted(t testing.TB, rules []string, target string) bool {
	t.Helper()
	if target == "" || utf8.RuneCountInString(target) > 2048 || !utf8.ValidString(target) {
		return false
	}
	for _, rule := range rules {
		c := cel{t: t, rest: rule, self: target}
		if ok := c.or(); c.rest != "" {
			t.Fatalf("cannot read %q of the rule %q", c.rest, rule)
		} else if !ok {
			return false
		}
	}
	return true
}

// cel reads and evaluates an expression from left to right.
type cel struct {
	t          testing.TB
	rest, self string
}

func (c *cel) take(token string) bool {
	rest, ok := strings.CutPrefix(strings.TrimSpace(c.rest), token)
	if ok {
		c.rest = strings.TrimSpace(rest)
	}
	return ok
}

func (c *cel) or() bool {
	ok := c.and()
	for c.take("||") {
		ok = c.and() || ok
	}
	return ok
}

func (c *cel) and() bool {
	ok := c.not()
	for c.take("&&") {
		ok = c.not() && ok
	}
	return ok
}

func (c *cel) not() bool {
	switch {
	case c.take("!"):
		return !c.not()
	case c.take("("):
		ok := c.or()
		c.take(")")
		return ok
	case c.take("self.matches("):
		return schema.Pattern(c.text()).MatchString(c.self)
	case c.take("self.contains("):
		return strings.Contains(c.self, c.text())
	case c.take("isIP(self.find("):
		found := schema.Pattern(c.text()).FindString(c.self)
		if !c.take(`.replace("[", ""))`) {
			c.t.Fatalf("cannot read %q", c.rest)
		}
		a, err := netip.ParseAddr(strings.ReplaceAll(found, "[", ""))
		return err == nil && a.Zone() == "" && !a.Is4In6()
	}
	c.t.Fatalf("cannot read %q", c.rest)
	return false
}

// text reads a string and the parenthesis after it.
func (c *cel) text() string {
	c.take("r")
	text, rest, _ := strings.Cut(c.rest[1:], c.rest[:1])
	c.rest = strings.TrimPrefix(rest, ")")
	return text
}
