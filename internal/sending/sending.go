// Package sending is the one place that sends HTTP to receivers. It knows
// nothing of Kubernetes. Whatever a receiver answers, an exchange ends in time
// and leaves bounded, printable text without secrets.
package sending

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds of what is kept of an answer, in bytes.
const (
	MaxHeader     = 8 << 10
	MaxBody       = 16 << 10
	MaxLocation   = 1 << 10
	MaxRetryAfter = 64
	MaxError      = 1 << 10
	// MaxJudged is how much of a body Request.Judge gets.
	MaxJudged = MaxBody + lookahead
)

const (
	// lookahead is how many bytes of a body are read beyond MaxBody: more than
	// the longest secret (4 KiB) takes in any spelling (six bytes for one), so
	// that a secret on the cut is seen whole.
	lookahead = 32 << 10

	// maxReceivedHeader bounds what is read of headers, those of informational
	// (1xx) answers included. More is an error.
	maxReceivedHeader = 64 << 10

	// connectTimeout bounds a connection's making beyond the life of the
	// exchange that asked for it: net/http goes on, in case another needs it.
	connectTimeout = 30 * time.Second

	// idleTimeout is shorter than the 5 s after which widespread servers
	// (Apache, Node.js, uvicorn) close. A POST that meets the closing is lost,
	// and since the receiver may have got it, nobody can safely repeat it.
	idleTimeout = 4 * time.Second

	defaultUserAgent = "horizon-webhook-operator"
)

// Options of a Sender. The zero value is fit for use.
type Options struct {
	// Control, if given, is asked about each address that is dialled, after
	// resolution; an error, or a panic, forbids it. The error can be found in
	// Exchange.Err by errors.As, and its text is shown.
	Control func(network, address string, c syscall.RawConn) error
	// CheckURL, if given, is asked in the same way about each URL, before anything
	// is looked up.
	CheckURL func(*url.URL) error
	// Proxy, if given, is the http or https proxy that requests go through.
	// Control is not asked then: the proxy's own address is known, and what it
	// dials is not. Proxies of the environment are never used.
	Proxy *url.URL
	// Direct, if given, tells the URLs that are sent past the proxy. Control is asked
	// about their addresses.
	Direct func(*url.URL) bool
	// Resolver looks up hosts. Defaults to the system's.
	Resolver *net.Resolver
	// UserAgent is sent where a request does not give one.
	UserAgent string
	// MaxIdleConns bounds the idle connections to all receivers. Defaults to
	// 4096.
	MaxIdleConns int
	// MaxIdleConnsPerHost bounds the idle connections to one receiver. Defaults
	// to 256: many Webhooks may name one host.
	MaxIdleConnsPerHost int
}

// Sender sends requests. It reuses connections, never between requests whose TLS
// settings differ. It may be used concurrently.
type Sender struct {
	userAgent string
	checkURL  func(*url.URL) error
	direct    func(*url.URL) bool
	*route           // to the receivers themselves
	proxied   *route // nil without a proxy
	known     bool   // to the proxy, by name and password
}

// route are the connections that are made in one way. What leads past the proxy shares
// none with what leads through it.
type route struct {
	transports *transports
}

// Request is one request to make.
type Request struct {
	URL    string
	Header http.Header // not changed
	Body   []byte
	// Timeout bounds the whole exchange, from the connection to the last byte
	// of the answer.
	Timeout time.Duration
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool
	// Authorities vouch for the receiver. Nil are the system's.
	Authorities *Authorities
	// Certificate is shown to a receiver that asks for one. Nil is none.
	Certificate *ClientCertificate
	// Redact takes secrets out of all text that is kept. It may be nil.
	Redact func(string) string
	// KeepBody, if given, is what is kept of the body in the Exchange: the body without
	// what proves the request.
	KeepBody []byte
	// Judge, if given, is asked about the answer. It must not keep what it gets.
	Judge func(Answer) Judgement
}

// Answer is an answer as the receiver sent it, with all the secrets that may be in it.
type Answer struct {
	StatusCode int
	Header     http.Header
	// Body up to MaxJudged bytes, and Err why it could not be read to the end.
	Body []byte
	Err  error

	redact func(string) string
}

// Redacted returns the answer as it may be quoted. Who quotes a part of the answer itself
// may cut a secret in it, so that what is left of it is not known as one.
func (a Answer) Redacted() Answer {
	if a.redact == nil {
		return a
	}
	header := make(http.Header, len(a.Header))
	for name, values := range a.Header {
		for _, value := range values {
			header[name] = append(header[name], a.redact(value))
		}
	}
	a.Header, a.Body = header, []byte(a.redactedBody())
	return a
}

func (a Answer) redactedBody() string {
	body := a.redact(string(a.Body))
	if len(a.Body) == MaxJudged {
		// A secret may be cut at the end of this, and what was redacted has
		// moved that end towards the part that is kept.
		body = body[:max(0, len(body)-lookahead)]
	}
	return body
}

// Judgement is what the sender of a request thinks of the answer beyond its status code.
// The zero value has nothing against it.
type Judgement struct {
	// Refused: the request does not count as accepted although the receiver answered 2xx.
	// Why says so in up to MaxError bytes, and may quote the answer as Redacted returns it.
	Refused bool
	Why     string
	// Final: the same request will never be accepted.
	Final bool
	// By is what refuses or gives up, such as "spec.response.acceptIf".
	By string
	// Rest is how long the receiver wants to be left alone, where the answer says so in
	// another way than by Retry-After.
	Rest time.Duration
	// Failed: what judges failed for this answer.
	Failed bool
}

// Response is what is kept of an answer: redacted, then made printable, then
// cut.
type Response struct {
	// StatusCode as the receiver sent it, from 0 to 999.
	StatusCode int
	// Header in a line each, sorted, up to MaxHeader bytes.
	Header          string
	HeaderTruncated bool
	// Body up to MaxBody bytes.
	Body string
	// BodyTruncated: the body was cut, or could not be read to its end.
	BodyTruncated bool
	// RetryAfter is the header of this name as it was sent, up to
	// MaxRetryAfter bytes.
	RetryAfter string
	// Location is the header of this name, up to MaxLocation bytes.
	Location string
}

// Exchange is a request and what came of it.
type Exchange struct {
	Start    time.Time
	Duration time.Duration
	// RequestHeader in a line each, sorted. Secret and signature are redacted;
	// Host and Content-Length follow from URL and body and are left out.
	RequestHeader string
	// RequestBody is the body up to MaxBody bytes, of Request.KeepBody.
	RequestBody          string
	RequestBodyTruncated bool
	// Response is nil where there was none.
	Response *Response
	// Judgement of it is that of Request.Judge.
	Judgement Judgement
	// Err is why there was no answer or, with a Response, why its body could
	// not be read to the end. Its text is ErrorText's.
	Err error
	// Interrupted: Err is because the caller's context ended, not because of
	// Timeout.
	Interrupted bool
	// Denied: Err is because Options.Control or Options.CheckURL forbade all there
	// was to connect to. The receiver has got nothing.
	Denied bool
}

// New returns a Sender. It also keeps what receivers send from the standard
// logger, for the whole process.
func New(o Options) *Sender {
	filterLog()
	s := &Sender{userAgent: cmp.Or(o.UserAgent, defaultUserAgent), checkURL: o.CheckURL, direct: o.Direct}
	if o.Proxy != nil {
		s.proxied, s.known = newRoute(o), o.Proxy.User != nil
		o.Proxy = nil
	}
	s.route = newRoute(o)
	return s
}

func newRoute(o Options) *route {
	transport := func(c *tls.Config) *http.Transport {
		return &http.Transport{
			Proxy:                  viaProxy(o.Proxy),
			OnProxyConnectResponse: connected,
			DialContext:            dialContext(o),
			TLSClientConfig:        c,
			TLSHandshakeTimeout:    connectTimeout,
			DisableCompression:     true, // a small gzip may become a gigabyte
			MaxIdleConns:           cmp.Or(o.MaxIdleConns, 4096),
			MaxIdleConnsPerHost:    cmp.Or(o.MaxIdleConnsPerHost, 256),
			IdleConnTimeout:        idleTimeout,
			MaxResponseHeaderBytes: maxReceivedHeader,
			Protocols:              onlyHTTP1(),
		}
	}
	return &route{newTransports(transport)}
}

// onlyHTTP1 leaves HTTP/2 out. A receiver that overflows a stream's window makes
// net/http lock a mutex twice (1.26.8, processWindowUpdate): the exchange never
// ends, and nobody else gets a connection by HTTP/2 any more.
func onlyHTTP1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// Close closes idle connections. Requests under way go on.
func (s *Sender) Close() {
	for _, r := range []*route{s.route, s.proxied} {
		if r != nil {
			r.transports.close()
		}
	}
}

// to returns the route to a URL, and where it leads.
func (s *Sender) to(u *url.URL) (*route, via) {
	switch {
	case s.proxied == nil || s.direct != nil && s.direct(u):
		return s.route, direct
	case u.Scheme == "https":
		return s.proxied, tunnelled
	default:
		return s.proxied, forwarded
	}
}

// Send posts a request once and returns when the answer is read, when
// r.Timeout is over or when ctx ends. Redirects are not followed, since the
// secret would go to another host; they are answers like others.
func (s *Sender) Send(ctx context.Context, r Request) Exchange {
	if r.Redact == nil {
		r.Redact = func(text string) string { return text }
	}
	header := r.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if header.Get("User-Agent") == "" {
		header.Set("User-Agent", s.userAgent)
	}
	x := Exchange{Start: time.Now(), RequestHeader: requestHeader(header, r.Redact)}
	if r.KeepBody != nil {
		x.RequestBody, x.RequestBodyTruncated = keep(r.Redact(string(r.KeepBody)), MaxBody)
	}
	var p progress
	bounded, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	err := s.exchange(bounded, r, header, &p, &x)
	if x.Duration == 0 {
		x.Duration = time.Since(x.Start)
	}
	if err != nil {
		x.Interrupted = ctx.Err() != nil
		timedOut := !x.Interrupted && bounded.Err() != nil
		x.Denied = !x.Interrupted && !timedOut && isDenial(err)
		x.Err = newError(err, &p, x.Interrupted, timedOut, r)
	}
	return x
}

// exchange makes the exchange, and keeps the answer in x.
func (s *Sender) exchange(ctx context.Context, r Request, header http.Header, p *progress, x *Exchange) error {
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.WithValue(ctx, progressKey{}, p), p.trace()), http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil || req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Hostname() == "" {
		return errURL // the cause would tell the URL
	}
	if s.checkURL != nil {
		if err := deny(func() error { return s.checkURL(req.URL) }); err != nil {
			return err
		}
	}
	req.Header = header
	way, via := s.to(req.URL)
	p.via = via
	// Not through an http.Client, which would follow redirects.
	resp, err := way.transports.of(r).RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if via == forwarded && resp.StatusCode == http.StatusProxyAuthRequired {
		return proxyError{status: resp.StatusCode, known: s.known}
	}
	p.reach(readingBody)
	return x.read(resp, r)
}

// read keeps what is to be kept of an answer. Where the error is about the
// body, there is a Response all the same.
func (x *Exchange) read(resp *http.Response, r Request) error {
	redact := r.Redact
	kept := &Response{StatusCode: resp.StatusCode}
	x.Response = kept
	kept.Header, kept.HeaderTruncated = keep(redact(headerLines(resp.Header)), MaxHeader)
	kept.RetryAfter, _ = keep(redact(resp.Header.Get("Retry-After")), MaxRetryAfter)
	kept.Location, _ = keep(redact(resp.Header.Get("Location")), MaxLocation)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil // what follows is not a body and has no end
	}
	// A body up to this length leaves its connection reusable. Reading on would
	// cost more than another connection does.
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxJudged))
	x.Duration = time.Since(x.Start) // what judges may have to wait for its turn
	answer := Answer{StatusCode: resp.StatusCode, Header: resp.Header, Body: data, Err: err, redact: redact}
	if r.Judge != nil {
		x.Judgement = r.Judge(answer)
		x.Judgement.Why, _ = keep(redact(x.Judgement.Why), MaxError)
	}
	var cut bool
	kept.Body, cut = keep(answer.redactedBody(), MaxBody)
	kept.BodyTruncated = cut || len(data) == MaxJudged || err != nil
	return err
}

// stage is how far an exchange has come.
type stage int32

const (
	preparing stage = iota
	resolving
	connecting
	asking // a proxy for a tunnel
	negotiating
	writing
	waiting
	readingHeader
	readingBody
)

// progress remembers the latest stage of an exchange. Its hooks are called from
// several goroutines, and by a dial that outlives the exchange.
type progress struct {
	latest atomic.Int32
	via    via // set before the exchange begins
	// asked: the receiver has asked for a client certificate.
	asked atomic.Bool
}

// progressKey is that of an exchange's progress in its context.
type progressKey struct{}

// via is how a request gets to its receiver.
type via int

const (
	direct    via = iota
	forwarded     // by a proxy, which gets the request
	tunnelled     // through a proxy
)

func (p *progress) stage() stage { return stage(p.latest.Load()) }

func (p *progress) reach(s stage) {
	for {
		latest := p.latest.Load()
		if latest >= int32(s) || p.latest.CompareAndSwap(latest, int32(s)) {
			return
		}
	}
}

func (p *progress) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { p.reach(resolving) },
		ConnectStart: func(string, string) { p.reach(connecting) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil && p.via == tunnelled {
				p.reach(asking)
			}
		},
		TLSHandshakeStart: func() { p.reach(negotiating) },
		GotConn:           func(httptrace.GotConnInfo) { p.reach(writing) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				p.reach(waiting)
			}
		},
		GotFirstResponseByte: func() { p.reach(readingHeader) },
	}
}
