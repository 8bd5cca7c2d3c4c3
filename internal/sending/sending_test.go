package sending

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// patience is a timeout that is not meant to be reached.
	patience = 20 * time.Second
	// brief is a timeout that is meant to be reached.
	brief = 500 * time.Millisecond
	// grace is how much later than its timeout an exchange may end.
	grace = time.Second
)

func newSender(t *testing.T, o Options) *Sender {
	t.Helper()
	s := New(o)
	t.Cleanup(s.Close)
	return s
}

func send(t *testing.T, s *Sender, url string, change func(r *Request)) Exchange {
	t.Helper()
	r := Request{URL: url, Body: []byte(`{"eventID":1}`), Timeout: patience}
	if change != nil {
		change(&r)
	}
	return s.Send(t.Context(), r)
}

// errorText is for tables: "" where there is no error.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Whoever judges an answer sees it as it was received, and more of it than is kept; what
// they say of it is redacted, bounded and printable.
func TestAnswerIsJudged(t *testing.T) {
	long := strings.Repeat("x", MaxBody) + "s3cr3t"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Secret", "s3cr3t")
		_, _ = io.WriteString(w, long)
	}))
	t.Cleanup(server.Close)
	var got, told Answer
	var judged time.Time
	x := send(t, newSender(t, Options{}), server.URL, func(r *Request) {
		r.Redact = redaction.New("s3cr3t").Redact
		r.Judge = func(a Answer) Judgement {
			got, told = a, a.Redacted()
			judged = time.Now()
			time.Sleep(time.Millisecond)
			return Judgement{Refused: true, Why: "s3cr3t \x1b" + strings.Repeat("y", MaxError), Final: true}
		}
	})
	if got.StatusCode != 200 || string(got.Body) != long || got.Header.Get("X-Secret") != "s3cr3t" || got.Err != nil {
		t.Errorf("judged: %d, %d bytes, %v, %v", got.StatusCode, len(got.Body), got.Header, got.Err)
	}
	want := Answer{StatusCode: 200, Header: got.Header.Clone(), Body: []byte(strings.Replace(long, "s3cr3t", "[redacted]", 1))}
	want.Header.Set("X-Secret", "[redacted]")
	if diff := gocmp.Diff(want, told, cmpopts.IgnoreUnexported(Answer{})); diff != "" {
		t.Errorf("redacted (-want +got):\n%s", diff)
	}
	if most := judged.Sub(x.Start); x.Duration > most {
		t.Errorf("the exchange took %v, of which it was over after %v", x.Duration, most)
	}
	if j := x.Judgement; !j.Refused || !j.Final || !strings.HasPrefix(j.Why, "[redacted] \ufffdyyy") || len(j.Why) > MaxError {
		t.Errorf("%+v", j)
	}
	if strings.Contains(x.Response.Body, "s3cr3t") || len(x.Response.Body) > MaxBody {
		t.Errorf("%d bytes were kept", len(x.Response.Body))
	}
}

func TestBodyThatBreaksOffIsJudged(t *testing.T) {
	url, _ := rawReceiver(t, func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody") })
	var got Answer
	send(t, newSender(t, Options{}), url, func(r *Request) { r.Judge = func(a Answer) Judgement { got = a; return Judgement{} } })
	if got.StatusCode != 200 || got.Err == nil {
		t.Errorf("%+v", got)
	}
}

// The body of a request is kept where that is asked for: without secrets, and bounded.
func TestRequestBodyIsKept(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	for name, tc := range map[string]struct {
		keep []byte
		want string
		cut  bool
	}{
		"not asked for":   {},
		"asked for":       {keep: []byte("unsigned"), want: "unsigned"},
		"with a secret":   {keep: []byte(`{"a":"s3cr3t"}`), want: `{"a":"[redacted]"}`},
		"with a long one": {keep: bytes.Repeat([]byte("x"), MaxBody+1), want: strings.Repeat("x", MaxBody), cut: true},
	} {
		x := send(t, newSender(t, Options{}), server.URL, func(r *Request) {
			r.Body, r.KeepBody, r.Redact = []byte("body"), tc.keep, redaction.New("s3cr3t").Redact
		})
		if x.RequestBody != tc.want || x.RequestBodyTruncated != tc.cut {
			t.Errorf("%s: %d bytes %.40q, cut: %t", name, len(x.RequestBody), x.RequestBody, x.RequestBodyTruncated)
		}
	}
}

// rawReceiver reads each request and then does what it is told; told nothing, it
// never reads. It returns its URL and itself, which counts requests.
func rawReceiver(t *testing.T, answer func(conn net.Conn)) (url string, r *receiver.Raw) {
	t.Helper()
	r, err := receiver.StartRaw(receiver.RawOptions{Answer: answer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return "http://" + r.Addr(), r
}

func TestSend(t *testing.T) {
	type received struct {
		Method, URI, Body string
		Length            int64
		Header            http.Header
	}
	var got received
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = received{r.Method, r.RequestURI, string(body), r.ContentLength, r.Header}
		w.Header()["Date"] = nil
		w.Header().Set("X-B", "2")
		w.Header().Add("x-a", "1")
		w.Header().Add("x-a", "1b")
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "busy\r\n")
	}))
	t.Cleanup(server.Close)
	header := http.Header{
		"Content-Type":             {"application/json;charset=utf-8"},
		"Webhook-Id":               {"1"},
		"Webhook-Signature":        {"v1,c2ln"},
		"X-Horizon-Webhook-Secret": {"s3cr3t"},
	}
	before := time.Now()
	x := send(t, newSender(t, Options{UserAgent: "operator/1"}), server.URL+"/hooks?team=music%20ops", func(r *Request) { r.Header = header })

	if diff := gocmp.Diff(received{
		Method: http.MethodPost, URI: "/hooks?team=music%20ops", Body: `{"eventID":1}`, Length: 13,
		Header: http.Header{
			"Content-Length":           {"13"},
			"Content-Type":             {"application/json;charset=utf-8"},
			"User-Agent":               {"operator/1"},
			"Webhook-Id":               {"1"},
			"Webhook-Signature":        {"v1,c2ln"},
			"X-Horizon-Webhook-Secret": {"s3cr3t"},
		},
	}, got); diff != "" {
		t.Errorf("the receiver got (-want +got):\n%s", diff)
	}
	if x.Start.Before(before) || x.Duration <= 0 || x.Start.Add(x.Duration).After(time.Now()) {
		t.Errorf("started %s, took %s; sent between %s and now", x.Start, x.Duration, before)
	}
	x.Start, x.Duration = time.Time{}, 0
	if diff := gocmp.Diff(Exchange{
		RequestHeader: "Content-Type: application/json;charset=utf-8\nUser-Agent: operator/1\nWebhook-Id: 1\n" +
			"Webhook-Signature: [redacted]\nX-Horizon-Webhook-Secret: [redacted]",
		Response: &Response{
			StatusCode: 503,
			Header:     "Content-Length: 6\nContent-Type: text/plain; charset=utf-8\nRetry-After: 120\nX-A: 1\nX-A: 1b\nX-B: 2",
			Body:       "busy\n",
			RetryAfter: "120",
		},
	}, x); diff != "" {
		t.Errorf("exchange (-want +got):\n%s", diff)
	}
	if len(header) != 4 || header.Get("User-Agent") != "" {
		t.Errorf("the caller's header was changed: %v", header)
	}
}

func TestUserAgentOfTheRequestComesFirst(t *testing.T) {
	x := send(t, newSender(t, Options{UserAgent: "operator/1"}), "http://127.0.0.1:0", func(r *Request) {
		r.Header = http.Header{"User-Agent": {"other/2"}}
	})
	if want := "User-Agent: other/2"; x.RequestHeader != want {
		t.Errorf("RequestHeader = %q, want %q", x.RequestHeader, want)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	for name, tc := range map[string]struct {
		status    int
		body      int
		wantConns int32
	}{
		"no body":                {status: 204, wantConns: 1},
		"small body":             {status: 200, body: 100, wantConns: 1},
		"failure":                {status: 500, body: 100, wantConns: 1},
		"larger than a record":   {status: 200, body: MaxBody + lookahead - 1, wantConns: 1},
		"larger than is read of": {status: 200, body: 1 << 20, wantConns: 5},
	} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tc.status)
				_, _ = w.Write(bytes.Repeat([]byte("x"), tc.body))
			}))
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					conns.Add(1)
				}
			}
			server.Start()
			t.Cleanup(server.Close)
			s := newSender(t, Options{})
			for range 5 {
				if x := send(t, s, server.URL, nil); x.Err != nil {
					t.Fatal(x.Err)
				}
			}
			if got := conns.Load(); got != tc.wantConns {
				t.Errorf("%d connections, want %d", got, tc.wantConns)
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	server.Config.ErrorLog = quiet
	t.Cleanup(server.Close)
	s := newSender(t, Options{})
	for i, tc := range []struct {
		insecure bool
		wantErr  string
	}{
		{insecure: false, wantErr: "certificate signed by unknown authority"},
		{insecure: true},
		{insecure: false, wantErr: "certificate signed by unknown authority"}, // not by the connection just made
		{insecure: true},
	} {
		x := send(t, s, server.URL, func(r *Request) { r.InsecureSkipVerify = tc.insecure })
		if got := errorText(x.Err); got != tc.wantErr {
			t.Errorf("call %d: %q, want %q", i, got, tc.wantErr)
		}
	}
	if got := requests.Load(); got != 2 {
		t.Errorf("%d requests arrived, want the 2 that do not verify", got)
	}
}

var quiet = log.New(io.Discard, "", 0)

func TestTLS(t *testing.T) {
	for name, tc := range map[string]struct {
		configure func(c *tls.Config)
		host      string
		wantErr   string
	}{
		"trusted": {},
		"1.2":     {configure: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		"1.1": {
			configure: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
			wantErr:   "the receiver refused TLS: protocol version not supported: it speaks neither TLS 1.2 nor TLS 1.3",
		},
		"another host": {host: "localhost", wantErr: "certificate is issued for example.com, *.example.com, 127.0.0.1 and 1 more, not for localhost"},
		"wants a client certificate": {
			configure: func(c *tls.Config) { c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12 },
			wantErr:   "the receiver refused TLS: handshake failure: it wants a client certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
			server.EnableHTTP2 = true
			server.Config.ErrorLog = quiet
			server.TLS = &tls.Config{}
			if tc.configure != nil {
				tc.configure(server.TLS)
			}
			server.StartTLS()
			t.Cleanup(server.Close)
			s := newSender(t, Options{})
			s.transports.of(Request{}).TLSClientConfig.RootCAs = x509.NewCertPool()
			s.transports.of(Request{}).TLSClientConfig.RootCAs.AddCert(server.Certificate())
			target := server.URL
			if tc.host != "" {
				target = strings.Replace(target, "127.0.0.1", tc.host, 1)
			}
			x := send(t, s, target, nil)
			if diff := gocmp.Diff(tc.wantErr, errorText(x.Err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHTTP2IsNotSpoken(t *testing.T) {
	var protocol atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { protocol.Store(r.Proto) }))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	if x := send(t, newSender(t, Options{}), server.URL, func(r *Request) { r.InsecureSkipVerify = true }); x.Err != nil {
		t.Fatal(x.Err)
	}
	if got := protocol.Load(); got != "HTTP/1.1" {
		t.Errorf("protocol %v, want HTTP/1.1", got)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var requests atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			w.Header().Set("Location", "https://elsewhere.example.com/"+strings.Repeat("x", 2*MaxLocation))
			w.WriteHeader(status)
		}))
		x := send(t, newSender(t, Options{}), server.URL, nil)
		server.Close()
		if x.Err != nil || x.Response.StatusCode != status || requests.Load() != 1 {
			t.Errorf("%d: %+v, error %v, after %d requests; want the redirect itself after 1", status, x.Response, x.Err, requests.Load())
			continue
		}
		if got := x.Response.Location; !strings.HasPrefix(got, "https://elsewhere.example.com/x") || len(got) != MaxLocation {
			t.Errorf("%d: Location %q, want its first %d bytes", status, got, MaxLocation)
		}
	}
}

// The environment's proxies are not used: a guard of addresses would see theirs.
func TestNoProxy(t *testing.T) {
	s := newSender(t, Options{})
	if s.transports.of(Request{}).Proxy != nil {
		t.Error("requests go through a proxy, want none")
	}
}

// A receiver that accepts connections and never reads.
func TestTimeoutWhileSending(t *testing.T) {
	target, _ := rawReceiver(t, nil)
	x := send(t, newSender(t, Options{}), target, func(r *Request) {
		r.Timeout = brief
		r.Body = make([]byte, 64<<20) // more than the buffers between the two hold
	})
	if got, want := errorText(x.Err), "timeout after 500ms while sending the request"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if x.Duration > brief+grace {
		t.Errorf("took %s, want at most %s", x.Duration, brief+grace)
	}
}

// Whatever a receiver does, the exchange ends in time, and what is kept of it is
// bounded and fit to be shown.
func TestAnswers(t *testing.T) {
	for _, input := range inputs.All() {
		t.Run(input.Name, func(t *testing.T) {
			t.Parallel()
			r, target, err := input.Start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			s := newSender(t, Options{})
			timeout := patience
			if input.Want.TimedOut != "" || input.Want.Any {
				timeout = brief
			}
			play := func() {
				done := make(chan Exchange, 1)
				go func() {
					done <- send(t, s, target, func(r *Request) { r.Timeout, r.InsecureSkipVerify = timeout, true })
				}()
				var x Exchange
				select {
				case x = <-done:
				case <-time.After(2 * patience):
					t.Fatal("the exchange does not end")
				}
				for _, problem := range input.Want.Check((*inputs.Response)(x.Response), errorText(x.Err), timeout) {
					t.Errorf("%s\ncause: %v", problem, errors.Unwrap(x.Err))
				}
				if x.Duration > timeout+grace || x.Interrupted {
					t.Errorf("took %s, interrupted: %t", x.Duration, x.Interrupted)
				}
				if input.Want.TimedOut != "" && !errors.Is(x.Err, context.DeadlineExceeded) {
					t.Errorf("error %v, want a deadline", errors.Unwrap(x.Err))
				}
			}
			play()
			if !input.Unasked {
				return
			}
			// That has ended the connection, and is not taken for the next answer.
			if err := r.WaitIdle(t.Context()); err != nil {
				t.Fatal(err)
			}
			play()
			if got := r.Requests(); got != 2 {
				t.Errorf("%d requests, want 2", got)
			}
		})
	}
}

// net/http repeats some requests by itself where a reused connection was closed.
// Not these: the receiver may have got them.
func TestNothingIsSentTwice(t *testing.T) {
	var closing atomic.Bool
	target, r := rawReceiver(t, func(conn net.Conn) {
		if closing.Load() {
			conn.Close()
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 204 \r\n\r\n")
	})
	s := newSender(t, Options{})
	if x := send(t, s, target, nil); x.Err != nil {
		t.Fatal(x.Err)
	}
	closing.Store(true)
	x := send(t, s, target, nil) // on the connection that was used before
	if got, want := errorText(x.Err), "the receiver closed the connection without an answer"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if got := r.Requests(); got != 2 {
		t.Errorf("%d requests arrived, want 2", got)
	}
}

// net/http logs what comes unasked on an idle connection, which may be anything.
func TestNothingUnaskedIsLogged(t *testing.T) {
	var logged bytes.Buffer
	before := log.Writer()
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(before) })

	closed := make(chan struct{})
	target, _ := rawReceiver(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\noks3cr3t")
		inputs.Wait(conn) // the other side logs, then closes
		close(closed)
	})
	s := newSender(t, Options{})
	if x := send(t, s, target, nil); x.Err != nil || x.Response.Body != "ok" {
		t.Fatalf("%+v, want ok", x)
	}
	<-closed
	log.Print("something else")
	if got := logged.String(); strings.Contains(got, "s3cr3t") || !strings.Contains(got, "something else") {
		t.Errorf("logged %q, want only what is not of a receiver", got)
	}
}

func TestInterrupted(t *testing.T) {
	t.Run("before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		target, r := rawReceiver(t, inputs.Wait)
		x := newSender(t, Options{}).Send(ctx, Request{URL: target, Timeout: patience})
		if !x.Interrupted || x.Response != nil || r.Requests() != 0 {
			t.Errorf("%+v after %d requests, want none", x, r.Requests())
		}
	})
	t.Run("before the answer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		target, _ := rawReceiver(t, func(conn net.Conn) {
			cancel()
			inputs.Wait(conn)
		})
		x := newSender(t, Options{}).Send(ctx, Request{URL: target, Timeout: patience})
		if !x.Interrupted || x.Response != nil || !errors.Is(x.Err, context.Canceled) {
			t.Errorf("%+v, want no answer and the caller's context", x)
		}
		if got, want := errorText(x.Err), "interrupted while waiting for the answer"; got != want {
			t.Errorf("error %q, want %q", got, want)
		}
	})
	t.Run("in the body", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		target, _ := rawReceiver(t, inputs.Sequence(inputs.Write("HTTP/1.1 200 OK\r\n\r\n"), inputs.Wait))
		x := newSender(t, Options{}).Send(ctx, Request{URL: target, Timeout: patience, Redact: func(text string) string {
			if text == "" { // the answer's header, which is empty
				cancel()
			}
			return text
		}})
		if !x.Interrupted || x.Response == nil || x.Response.StatusCode != 200 || !x.Response.BodyTruncated {
			t.Errorf("%+v, want the answer, its body broken off", x)
		}
		if got, want := errorText(x.Err), "interrupted while reading the body of the answer"; got != want {
			t.Errorf("error %q, want %q", got, want)
		}
	})
}

// Wherever the secret stands, and whatever is cut, no part of it stays.
func TestEchoedSecret(t *testing.T) {
	const secret = "s3cr3t/of+the~receiver"
	redact := redaction.New(secret).Redact
	echoes := map[string]string{
		"plain":  secret,
		"URL":    url.QueryEscape(secret),
		"base64": "bWU6czNjcjN0L29mK3RoZX5yZWNlaXZlcg==", // of me:, and the secret
	}
	for name, echo := range echoes {
		for at, before := range map[string]int{
			"at the start":            0,
			"across the cut":          MaxBody - 4,
			"across what is read":     MaxBody + lookahead - 4,
			"across what is kept now": MaxBody + lookahead - 12,
		} {
			t.Run(name+" "+at, func(t *testing.T) {
				body := strings.Repeat(".", before) + echo + strings.Repeat(".", 100)
				if before > MaxBody {
					// What is redacted moves the end of what is read to the part that is kept.
					body = strings.Repeat(echo, before/len(echo)) + strings.Repeat(".", before%len(echo)) + echo + "...."
				}
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Echo", echo)
					w.Header().Set("X-Long", strings.Repeat(".", MaxHeader-150)+strings.Repeat(echo, 10))
					w.Header().Set("Location", strings.Repeat(".", MaxLocation-4)+echo)
					w.Header().Set("Retry-After", strings.Repeat(".", MaxRetryAfter-4)+echo)
					_, _ = io.WriteString(w, body)
				}))
				t.Cleanup(server.Close)
				x := send(t, newSender(t, Options{}), server.URL, func(r *Request) {
					r.Redact = redact
					r.Header = http.Header{"X-Horizon-Webhook-Secret": {secret}, "X-Other": {echo}}
				})
				if x.Err != nil {
					t.Fatal(x.Err)
				}
				all := fmt.Sprintf("%q %+v", x.RequestHeader, *x.Response)
				for _, part := range []string{echo[:4], echo[4:8], echo[len(echo)-6:]} {
					if part != "bWU6" && strings.Contains(all, part) {
						t.Errorf("left %q of the secret in %s", part, all)
					}
				}
				if !strings.Contains(all, "X-Echo: "+redact(echo)+"\n") || !strings.Contains(all, redaction.Placeholder) {
					t.Errorf("nothing was redacted in %s", all)
				}
			})
		}
	}
}

// A dial that goes on in the background does not take an exchange back.
func TestProgressOnlyAdvances(t *testing.T) {
	var p progress
	p.trace().GotConn(httptrace.GotConnInfo{})
	p.trace().ConnectStart("tcp", "192.0.2.1:443")
	if got := p.stage(); got != writing {
		t.Errorf("stage %d, want %d", got, writing)
	}
}

func TestUnusableURLs(t *testing.T) {
	for _, target := range []string{
		"", "/relative", "ci.example.com", "file:///etc/passwd", "gopher://x", "javascript:alert(1)", "http://", "http:///x", "http://:80",
		"http://ci.example.com:port/?token=s3cr3t", "http://[::1/?token=s3cr3t", "http://x y/?token=s3cr3t", "http://x/%zz?token=s3cr3t",
		"http://x/\x00?token=s3cr3t", "ftp://x/?token=s3cr3t",
	} {
		x := send(t, newSender(t, Options{}), target, nil)
		if got, want := errorText(x.Err), "the URL cannot be used"; got != want {
			t.Errorf("%q: error %q, want %q", target, got, want)
		}
	}
}

func TestUnusableHeader(t *testing.T) {
	x := send(t, newSender(t, Options{}), "http://127.0.0.1:1", func(r *Request) { r.Header = http.Header{"X": {"a\r\nb"}} })
	if got, want := errorText(x.Err), "a header of the request cannot be sent"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

// denied is an error as a guard of addresses makes it.
type denied struct{ address string }

func (d denied) Error() string { return d.address + " is denied" }

func TestControl(t *testing.T) {
	target, r := rawReceiver(t, inputs.Write("HTTP/1.1 204 \r\n\r\n"))
	port := target[strings.LastIndexByte(target, ':'):]
	for name, tc := range map[string]struct {
		target  string
		control func(network, address string, c syscall.RawConn) error
		wantErr string
		denied  bool
	}{
		"allowed": {
			target:  target,
			control: func(string, string, syscall.RawConn) error { return nil },
		},
		"denied": {
			target:  target,
			control: func(_, address string, _ syscall.RawConn) error { return denied{address} },
			wantErr: "127.0.0.1" + port + " is denied",
			denied:  true,
		},
		"asked after resolution": {
			target: "http://localhost" + port,
			control: func(_, address string, _ syscall.RawConn) error {
				host, _, err := net.SplitHostPort(address)
				if net.ParseIP(host) == nil {
					return err
				}
				return denied{"an address"}
			},
			wantErr: "an address is denied",
			denied:  true,
		},
		"panics": {
			target:  target,
			control: func(string, string, syscall.RawConn) error { panic("a bug") },
			wantErr: "the check of the address failed: a bug",
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := r.Requests()
			x := send(t, newSender(t, Options{Control: tc.control}), tc.target, nil)
			if diff := gocmp.Diff(tc.wantErr, errorText(x.Err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if _, got := errors.AsType[denied](x.Err); got != tc.denied {
				t.Errorf("error %#v; found as the guard's own: %t, want %t", x.Err, got, tc.denied)
			}
			if got, want := r.Requests() == before+1, tc.wantErr == ""; got != want {
				t.Errorf("arrived: %t, want %t", got, want)
			}
		})
	}
}

func TestZonesDoNotPanic(t *testing.T) {
	for _, target := range []string{"http://[fe80::1%25lo]:1", "http://[::1%25no-such-zone]:1", "http://[fe80::1%25%00]:1"} {
		if x := send(t, newSender(t, Options{}), target, nil); x.Err == nil {
			t.Errorf("%s: %+v, want an error", target, x)
		}
	}
}
