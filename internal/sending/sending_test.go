package sending

import (
	"bufio"
	"bytes"
	"compress/gzip"
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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/internal/redaction"
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

// receiver is a TCP server that reads each request and then does what it is
// told. It returns its URL and counts requests.
func receiver(t *testing.T, answer func(conn net.Conn)) (url string, requests *atomic.Int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = &atomic.Int32{}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					requests.Add(1)
					answer(conn)
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		conns.Wait()
	})
	return "http://" + listener.Addr().String(), requests
}

// endless writes a text again and again until the other side is gone.
func endless(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

// drip writes a text again and again, slowly enough to never fill a buffer.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for range time.Tick(time.Millisecond) {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

// say writes a text and closes the connection.
func say(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		conn.Close()
	}
}

// sequence does one after the other.
func sequence(steps ...func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		for _, step := range steps {
			step(conn)
		}
	}
}

func write(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

// reset closes a connection by RST.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// wait does nothing until the other side is gone.
func wait(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

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
			wantErr:   "the receiver refused TLS: protocol version not supported",
		},
		"another host": {host: "localhost", wantErr: "certificate is issued for example.com, *.example.com, 127.0.0.1 and 1 more, not for localhost"},
		"wants a client certificate": {
			configure: func(c *tls.Config) { c.ClientAuth, c.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12 },
			wantErr:   "the receiver refused TLS: handshake failure",
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
			s.verified.TLSClientConfig.RootCAs = x509.NewCertPool()
			s.verified.TLSClientConfig.RootCAs.AddCert(server.Certificate())
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

func TestHTTP2(t *testing.T) {
	var protocol atomic.Value
	var conns atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol.Store(r.Proto)
		switch r.URL.Path {
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/break":
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/endless":
			for err := error(nil); err == nil; _, err = io.WriteString(w, "body") {
			}
		case "/headers":
			for i := range 70 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1<<10))
			}
		}
		_, _ = io.WriteString(w, "ok")
	}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	s := newSender(t, Options{})
	for _, tc := range []struct{ path, wantBody, wantErr string }{
		{path: "/", wantBody: "ok"},
		{path: "/abort", wantErr: "the HTTP/2 stream failed: INTERNAL_ERROR"},
		{path: "/break", wantBody: "half", wantErr: "the HTTP/2 stream failed: INTERNAL_ERROR"},
		{path: "/endless", wantBody: strings.Repeat("body", MaxBody/4)},
		{path: "/headers", wantErr: "the headers of the answer are larger than 64 KiB"},
		{path: "/", wantBody: "ok"},
	} {
		x := send(t, s, server.URL+tc.path, func(r *Request) { r.InsecureSkipVerify = true })
		if got := errorText(x.Err); got != tc.wantErr {
			t.Errorf("%s: error %q, want %q; cause: %v", tc.path, got, tc.wantErr, errors.Unwrap(x.Err))
		}
		if x.Response != nil && x.Response.Body != tc.wantBody || x.Response == nil && tc.wantBody != "" {
			t.Errorf("%s: %+v, want body %q", tc.path, x.Response, tc.wantBody)
		}
	}
	if got := protocol.Load(); got != "HTTP/2.0" {
		t.Errorf("protocol %v, want HTTP/2.0", got)
	}
	if got := conns.Load(); got != 1 {
		t.Errorf("%d connections, want 1", got)
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
	if s.verified.Proxy != nil || s.insecure.Proxy != nil {
		t.Error("requests go through a proxy, want none")
	}
}

func TestTimeout(t *testing.T) {
	for name, tc := range map[string]struct {
		answer func(net.Conn)
		want   *Response
		stage  string
	}{
		"no answer":        {answer: wait, stage: "while waiting for the answer"},
		"dripping headers": {answer: sequence(write("HTTP/1.1 200 OK\r\n"), drip("x: y\r\n")), stage: "while reading the headers of the answer"},
		"dripping line":    {answer: sequence(write("HTTP/1.1 200 OK\r\nx: "), drip("y")), stage: "while reading the headers of the answer"},
		"dripping 1xx":     {answer: drip("HTTP/1.1 102 Processing\r\n\r\n"), stage: "while reading the headers of the answer"},
		"dripping body": {
			answer: sequence(write("HTTP/1.1 200 OK\r\n\r\nbody"), wait),
			want:   &Response{StatusCode: 200, Body: "body", BodyTruncated: true},
			stage:  "while reading the body of the answer",
		},
		"dripping chunks": {
			answer: sequence(write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n"), wait),
			want:   &Response{StatusCode: 200, Body: "body", BodyTruncated: true},
			stage:  "while reading the body of the answer",
		},
		"body shorter than announced": {
			answer: sequence(write("HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nbody"), wait),
			want:   &Response{StatusCode: 503, Header: "Content-Length: 5", Body: "body", BodyTruncated: true},
			stage:  "while reading the body of the answer",
		},
		"101 and silence": {
			answer: sequence(write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), wait),
			want:   &Response{StatusCode: 101, Header: "Connection: Upgrade\nUpgrade: x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, _ := receiver(t, tc.answer)
			x := send(t, newSender(t, Options{}), target, func(r *Request) { r.Timeout = brief })
			if diff := gocmp.Diff(tc.want, x.Response); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			want := ""
			if tc.stage != "" {
				want = "timeout after 500ms " + tc.stage
			}
			if diff := gocmp.Diff(want, errorText(x.Err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if x.Interrupted {
				t.Error("interrupted, want a timeout")
			}
			if tc.stage != "" && !errors.Is(x.Err, context.DeadlineExceeded) {
				t.Errorf("error %v, want a deadline", errors.Unwrap(x.Err))
			}
			if x.Duration > brief+grace {
				t.Errorf("took %s, want at most %s", x.Duration, brief+grace)
			}
		})
	}
}

// A receiver that accepts connections and never reads.
func TestTimeoutWhileSending(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	x := send(t, newSender(t, Options{}), "http://"+listener.Addr().String(), func(r *Request) {
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

func TestTimeoutWhileNegotiating(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	x := send(t, newSender(t, Options{}), "https://"+listener.Addr().String(), func(r *Request) { r.Timeout = brief })
	if got, want := errorText(x.Err), "timeout after 500ms while negotiating TLS"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

func TestAnswers(t *testing.T) {
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	_, _ = zip.Write(make([]byte, 10<<20))
	_ = zip.Close()
	const malformed = "the answer is not valid HTTP"
	ok := "HTTP/1.1 200 OK\r\n"

	for name, tc := range map[string]struct {
		answer  func(net.Conn)
		want    *Response
		wantErr string
	}{
		"status 000":  {answer: say("HTTP/1.1 000 \r\nContent-Length: 0\r\n\r\n"), want: &Response{StatusCode: 0, Header: "Content-Length: 0"}},
		"status 999":  {answer: say("HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n"), want: &Response{StatusCode: 999, Header: "Content-Length: 0"}},
		"status 99":   {answer: say("HTTP/1.1 99 \r\n\r\n"), wantErr: malformed},
		"status 1000": {answer: say("HTTP/1.1 1000 \r\n\r\n"), wantErr: malformed},
		"status -1":   {answer: say("HTTP/1.1 -1 \r\n\r\n"), wantErr: malformed},
		"HTTP/1.0":    {answer: say("HTTP/1.0 200 OK\r\n\r\nbody"), want: &Response{StatusCode: 200, Body: "body"}},
		"1xx before":  {answer: say("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "\r\nbody"), want: &Response{StatusCode: 200, Body: "body"}},

		"closed at once":           {answer: say(""), wantErr: "the receiver closed the connection without an answer"},
		"reset":                    {answer: reset, wantErr: "connection reset by peer"},
		"broken off in the status": {answer: say("HTTP/1.1 20"), wantErr: malformed},
		"broken off in a header":   {answer: say(ok + "X: "), wantErr: "the answer broke off"},
		"garbage":                  {answer: say("\x00\x01\x02secret garbage\r\n\r\n"), wantErr: malformed},
		"an error in words":        {answer: say("unexpected EOF\r\n\r\n"), wantErr: malformed},
		"SSH":                      {answer: say("SSH-2.0-OpenSSH_9.9\r\n"), wantErr: malformed},
		"escape in a header":       {answer: say(ok + "X: a\x1b[31mb\r\n\r\n"), wantErr: malformed},
		"malformed header":         {answer: say(ok + "no colon\r\n\r\n"), wantErr: malformed},
		"wrong Content-Length":     {answer: say(ok + "Content-Length: many\r\n\r\n"), wantErr: malformed},
		"two Content-Lengths":      {answer: say(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), wantErr: malformed},
		"unknown encoding":         {answer: say(ok + "Transfer-Encoding: zip\r\n\r\n"), wantErr: malformed},
		"endless headers":          {answer: sequence(write(ok), endless("x: yyyyyyyyyyyyyyyyyyyyyyy\r\n")), wantErr: "the headers of the answer are larger than 64 KiB"},
		"endless header line":      {answer: sequence(write(ok+"x: "), endless("yyyyyyyyyyyyyyyyyyyyyyyyyyy")), wantErr: "the headers of the answer are larger than 64 KiB"},
		"endless status line":      {answer: endless("yyyyyyyyyyyyyyyyyyyyyyyyyyy"), wantErr: "the headers of the answer are larger than 64 KiB"},
		"1xx flood":                {answer: endless("HTTP/1.1 100 Continue\r\nx: y\r\n\r\n"), wantErr: "the headers of the answer are larger than 64 KiB"},

		"body shorter than announced": {
			answer:  say(ok + "Content-Length: 10\r\n\r\nbody"),
			want:    &Response{StatusCode: 200, Header: "Content-Length: 10", Body: "body", BodyTruncated: true},
			wantErr: "the answer broke off",
		},
		"body longer than announced": {
			answer: say(ok + "Content-Length: 2\r\n\r\nbody"),
			want:   &Response{StatusCode: 200, Header: "Content-Length: 2", Body: "bo"},
		},
		"broken chunk": {
			answer:  say(ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\nsecret garbage\r\n"),
			want:    &Response{StatusCode: 200, Body: "body", BodyTruncated: true},
			wantErr: "the body of the answer could not be read",
		},
		"body reset": {
			answer:  sequence(write(ok+"Content-Length: 10\r\n\r\nbody"), reset),
			want:    &Response{StatusCode: 200, Header: "Content-Length: 10", Body: "body", BodyTruncated: true},
			wantErr: "connection reset by peer",
		},
		"endless body": {
			answer: sequence(write(ok+"\r\n"), endless("body")),
			want:   &Response{StatusCode: 200, Body: strings.Repeat("body", MaxBody/4), BodyTruncated: true},
		},
		"body as large as a record": {
			answer: say(ok + "\r\n" + strings.Repeat("x", MaxBody)),
			want:   &Response{StatusCode: 200, Body: strings.Repeat("x", MaxBody)},
		},
		"body one byte larger": {
			answer: say(ok + "\r\n" + strings.Repeat("x", MaxBody+1)),
			want:   &Response{StatusCode: 200, Body: strings.Repeat("x", MaxBody), BodyTruncated: true},
		},
		"body cut within a character": {
			answer: say(ok + "\r\nx" + strings.Repeat("ü", MaxBody/2)),
			want:   &Response{StatusCode: 200, Body: "x" + strings.Repeat("ü", MaxBody/2-1), BodyTruncated: true},
		},
		"large headers": {
			answer: say(ok + "X: " + strings.Repeat("y", 2*MaxHeader) + "\r\nZ: z\r\n\r\n"),
			want:   &Response{StatusCode: 200, Header: "X: " + strings.Repeat("y", MaxHeader-3), HeaderTruncated: true},
		},
		"gzip bomb": {
			answer: say(ok + "Content-Encoding: gzip\r\nContent-Length: " + fmt.Sprint(bomb.Len()) + "\r\n\r\n" + bomb.String()),
			want: &Response{
				StatusCode: 200,
				Header:     "Content-Encoding: gzip\nContent-Length: " + fmt.Sprint(bomb.Len()),
				Body:       printable(bomb.Bytes()), BodyTruncated: true,
			},
		},
		"invalid UTF-8, NUL and escapes": {
			answer: say(ok + "X: ab\xffc\r\n\r\n\x00a\xff\xfeb\x1b[2Jc\x7fd\u009be\rf\r\ng\th\ni\xe4\xb8"),
			want: &Response{
				StatusCode: 200,
				Header:     "X: ab\ufffdc",
				Body:       "\ufffda\ufffd\ufffdb\ufffd[2Jc\ufffdd\ufffde\ufffdf\ng\th\ni\ufffd\ufffd",
			},
		},
		"odd Retry-After": {
			answer: say(ok + "Retry-After: " + strings.Repeat("9", 100) + "\r\nRetry-After: 1\r\n\r\n"),
			want: &Response{
				StatusCode: 200,
				Header:     "Retry-After: " + strings.Repeat("9", 100) + "\nRetry-After: 1",
				RetryAfter: strings.Repeat("9", MaxRetryAfter),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, requests := receiver(t, tc.answer)
			x := send(t, newSender(t, Options{}), target, nil)
			if diff := gocmp.Diff(tc.want, x.Response); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(tc.wantErr, errorText(x.Err)); diff != "" {
				t.Errorf("error (-want +got):\n%s\ncause: %v", diff, errors.Unwrap(x.Err))
			}
			if got := requests.Load(); got != 1 {
				t.Errorf("%d requests, want 1", got)
			}
		})
	}
}

// printable is keep, from the other end: byte for byte.
func printable(data []byte) string {
	var out strings.Builder
	for s := string(data); s != ""; {
		r, size := utf8.DecodeRuneInString(s)
		if r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 {
			r = utf8.RuneError
		}
		if out.Len()+utf8.RuneLen(r) > MaxBody {
			break
		}
		out.WriteRune(r)
		s = s[size:]
	}
	return out.String()
}

// net/http repeats some requests by itself where a reused connection was closed.
// Not these: the receiver may have got them.
func TestNothingIsSentTwice(t *testing.T) {
	var closing atomic.Bool
	target, requests := receiver(t, func(conn net.Conn) {
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
	if got := requests.Load(); got != 2 {
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
	target, _ := receiver(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\noks3cr3t")
		wait(conn) // the other side logs, then closes
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
		target, requests := receiver(t, wait)
		x := newSender(t, Options{}).Send(ctx, Request{URL: target, Timeout: patience})
		if !x.Interrupted || x.Response != nil || requests.Load() != 0 {
			t.Errorf("%+v after %d requests, want none", x, requests.Load())
		}
	})
	t.Run("before the answer", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		target, _ := receiver(t, func(conn net.Conn) {
			cancel()
			wait(conn)
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
		target, _ := receiver(t, sequence(write("HTTP/1.1 200 OK\r\n\r\n"), wait))
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
	target, requests := receiver(t, write("HTTP/1.1 204 \r\n\r\n"))
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
			requests.Store(0)
			x := send(t, newSender(t, Options{Control: tc.control}), tc.target, nil)
			if diff := gocmp.Diff(tc.wantErr, errorText(x.Err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if _, got := errors.AsType[denied](x.Err); got != tc.denied {
				t.Errorf("error %#v; found as the guard's own: %t, want %t", x.Err, got, tc.denied)
			}
			if got, want := requests.Load() == 1, tc.wantErr == ""; got != want {
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
