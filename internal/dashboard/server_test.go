package dashboard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testServer is a server that answers, and what a browser needs to know of it.
type testServer struct {
	*Server
	*testing.T
	origin string
	end    context.CancelFunc
	ended  chan error
}

// startServer starts a server of pages that a test has made up. change is called before it serves.
func startServer(t *testing.T, pages http.Handler, change func(*Server)) *testServer {
	t.Helper()
	s, err := Listen(0, pages)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	v := &testServer{Server: s, T: t, origin: "http://" + s.address, end: cancel, ended: make(chan error, 1)}
	go func() { v.ended <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-v.ended; err != nil {
			t.Error(err)
		}
	})
	return v
}

// newBrowser is a client with a jar of cookies that follows no redirects.
func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// signedIn is a browser that has used the link.
func (v *testServer) signedIn() *http.Client {
	v.Helper()
	c := newBrowser(v.T)
	if got := v.do(c, call{path: v.link("")}); got.code != http.StatusOK {
		v.Fatalf("signing in: %d", got.code)
	}
	return c
}

// link is the sign-in link without the origin.
func (v *testServer) link(page string) string { return strings.TrimPrefix(v.SignInURL(page), v.origin) }

type call struct {
	method, path, host, body string
	header                   map[string]string
}

type reply struct {
	code   int
	header http.Header
	body   string
}

func (v *testServer) do(c *http.Client, q call) reply {
	v.Helper()
	r, err := http.NewRequestWithContext(v.Context(), q.method, v.origin+q.path, strings.NewReader(q.body))
	if err != nil {
		v.Fatal(err)
	}
	if q.host != "" {
		r.Host = q.host
	}
	for name, value := range q.header {
		r.Header.Set(name, value)
	}
	got, err := c.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		v.Fatal(err)
	}
	return reply{got.StatusCode, got.Header, string(body)}
}

// raw is a connection on which a test writes what it likes.
func (v *testServer) raw(text string) net.Conn {
	v.Helper()
	conn, err := (&net.Dialer{}).DialContext(v.Context(), "tcp", v.address)
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		v.Fatal(err)
	}
	return conn
}

// closedWithin tells whether the other side closes a connection in time.
func closedWithin(conn net.Conn, limit time.Duration) bool {
	_ = conn.SetReadDeadline(time.Now().Add(limit))
	_, err := io.Copy(io.Discard, conn)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// anyPage answers everything with a few words.
var anyPage = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the page") })

// ticks sends an event every 20 ms until the request ends.
var ticks = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for r.Context().Err() == nil {
		fmt.Fprint(w, "data: x\n\n")
		w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
	}
})

var wantsStream = map[string]string{"Accept": "text/event-stream"}

// openStream opens a stream in a signed-in browser and reads its first line.
func (v *testServer) openStream(c *http.Client) *bufio.Reader {
	v.Helper()
	r, err := http.NewRequestWithContext(v.Context(), http.MethodGet, v.origin+"/events", nil)
	if err != nil {
		v.Fatal(err)
	}
	r.Header.Set("Accept", wantsStream["Accept"])
	got, err := c.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { got.Body.Close() })
	lines := bufio.NewReader(got.Body)
	if line, err := lines.ReadString('\n'); line != "data: x\n" {
		v.Fatalf("%q, %v", line, err)
	}
	return lines
}

func TestPortIsTaken(t *testing.T) {
	s := startServer(t, anyPage, nil)
	_, port, _ := strings.Cut(s.address, ":")
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(number, anyPage)
	if want := fmt.Sprintf("port %d is taken by another program", number); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	s := startServer(t, anyPage, nil)
	if ip := s.listener.Addr().(*net.TCPAddr).IP.String(); ip != "127.0.0.1" {
		t.Error(ip)
	}
}

// Other users of the machine get nothing, whatever link or cookie they have.
func TestOtherUsers(t *testing.T) {
	foreign := atomic.Bool{}
	s := startServer(t, anyPage, func(s *Server) { s.foreign = func(net.Conn) bool { return foreign.Load() } })
	foreign.Store(true)
	if got := s.do(newBrowser(t), call{path: s.link("")}); got.code != http.StatusForbidden || got.header.Get("Set-Cookie") != "" {
		t.Errorf("the link: %+v", got)
	}
	foreign.Store(false)
	c := s.signedIn()
	foreign.Store(true)
	c.CloseIdleConnections()
	got := s.do(c, call{path: "/"})
	if !strings.Contains(got.body, "Another user of this machine") {
		t.Errorf("the cookie: %+v", got)
	}
	checkHeaders(t, got, http.StatusForbidden)
}

func TestOpenFile(t *testing.T) {
	s := startServer(t, anyPage, nil)
	t.Setenv("TMPDIR", t.TempDir())
	path, remove, err := s.OpenFile("/logs?webhook=a&code=500")
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s: mode %o, want %o", name, got, want)
			}
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	link := `http://` + s.address + `/sign-in?token=` + s.token + `&amp;page=/logs%3Fwebhook%3Da%26code%3D500"`
	for _, want := range []string{`<meta http-equiv="refresh" content="0; url=` + link, `<a href="` + link} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	remove()
	if _, err := os.Stat(filepath.Dir(path)); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

// A request whose header, or whose body, does not come to an end is given up, whoever sends it.
func TestSlowRequests(t *testing.T) {
	s := startServer(t, anyPage, func(s *Server) {
		if s.http.ReadHeaderTimeout <= 0 || s.http.ReadTimeout <= 0 || s.http.WriteTimeout <= 0 || s.http.IdleTimeout <= 0 {
			t.Error("something may take for ever")
		}
		s.http.ReadHeaderTimeout, s.http.ReadTimeout = 200*time.Millisecond, 400*time.Millisecond
	})
	head := "POST / HTTP/1.1\r\nHost: " + s.address + "\r\nContent-Length: 10\r\n"
	cookie := s.signedIn().Jar.Cookies(&url.URL{Scheme: "http", Host: s.address})[0].String()
	for name, text := range map[string]string{
		"nothing":                    "",
		"half a header":              head,
		"half a body":                head + "\r\n12345",
		"half a body, and signed in": head + "Cookie: " + cookie + "\r\n\r\n12345",
	} {
		t.Run(name, func(t *testing.T) {
			if !closedWithin(s.raw(text), 5*time.Second) {
				t.Error("the connection is still open")
			}
		})
	}
}

// Headers beyond their bound are refused.
func TestLargeHeader(t *testing.T) {
	s := startServer(t, anyPage, nil)
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nX-Large: %s\r\n\r\n", s.address, strings.Repeat("x", maxHeader+8192))
	}()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if !strings.Contains(line, "431") {
		t.Errorf("%q, %v", line, err)
	}
}

// Connections beyond maxConnections wait, and those that wait are served once there is room.
func TestConnectionsAreBounded(t *testing.T) {
	s := startServer(t, anyPage, func(s *Server) { s.http.ReadHeaderTimeout = 2 * time.Second })
	for range maxConnections {
		s.raw("GET")
	}
	began := time.Now()
	if got := s.do(newBrowser(t), call{path: "/"}); got.code != http.StatusUnauthorized {
		t.Error(got.code)
	}
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("served after %v beside %d others", waited, maxConnections)
	}
}

// No timeout ends a stream, nor the context of a form that takes long to be answered.
func TestTimeoutsLeaveAnswersAlone(t *testing.T) {
	const short = 100 * time.Millisecond
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			ticks(w, r)
			return
		}
		select {
		case <-r.Context().Done():
		case <-time.After(5 * short):
			fmt.Fprint(w, "done")
		}
	}), func(s *Server) {
		s.http.ReadHeaderTimeout, s.http.ReadTimeout, s.http.WriteTimeout = short, 2*short, 10*short
	})
	c := s.signedIn()
	lines := s.openStream(c)
	if got := s.do(c, call{method: http.MethodPost, path: "/", body: "a=b"}); got.body != "done" {
		t.Errorf("%+v", got)
	}
	for began := time.Now(); time.Since(began) < 15*short; {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatalf("the stream ended after %v: %v", time.Since(began), err)
		}
	}
}

// Ctrl-C ends the server within two seconds, streams at once.
func TestEndsWithOpenStream(t *testing.T) {
	released := make(chan struct{})
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ticks(w, r)
		close(released)
	}), nil)
	lines := s.openStream(s.signedIn())
	began := time.Now()
	s.end()
	select {
	case <-released:
	case <-time.After(500 * time.Millisecond):
		t.Error("the stream goes on")
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
	s.ended <- nil // for the cleanup
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		t.Logf("the stream was cut: %v", err)
	}
}

// A request under way gets its answer while the server ends, unless it takes too long.
func TestEndsWithRequestsUnderWay(t *testing.T) {
	for _, tc := range []struct {
		takes    time.Duration
		answered bool
	}{{200 * time.Millisecond, true}, {time.Hour, false}} {
		t.Run(tc.takes.String(), func(t *testing.T) {
			begun := make(chan struct{})
			s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(begun)
				select {
				case <-time.After(tc.takes):
				case <-r.Context().Done():
				}
			}), nil)
			c := s.signedIn()
			var wait sync.WaitGroup
			wait.Go(func() {
				got, err := c.Get(s.origin + "/")
				if err == nil {
					got.Body.Close()
				}
				if answered := err == nil; answered != tc.answered {
					t.Errorf("answered: %v (%v), want %v", answered, err, tc.answered)
				}
			})
			<-begun
			began := time.Now()
			s.end()
			err := <-s.ended
			s.ended <- err
			wait.Wait() // for the client to see it
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
