package bridge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// heap is how much memory is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Without the right secret nothing is read and nothing is created.
func TestWrongSecret(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	for name, header := range map[string][]string{
		"none": nil, "empty": {""}, "wrong": {"a-secret-of-usual-lengtH"}, "longer": {secret + "x"}, "twice": {secret, secret},
	} {
		code, a := b.post(`{"eventID":5,"eventType":"clusters_action"}`, func(r *http.Request) { r.Header[SecretHeader] = header })
		if code != http.StatusUnauthorized || a.Error == "" || strings.Contains(a.Error, secret) {
			t.Errorf("%s: got %d %+v", name, code, a)
		}
	}
	for _, tt := range []struct {
		method, path string
		code         int
	}{{http.MethodGet, Path, 405}, {http.MethodPut, Path, 405}, {http.MethodPost, "/", 404}, {http.MethodPost, Path + "/x", 404}} {
		code, _ := b.post(`{}`, func(r *http.Request) { r.Method, r.URL.Path = tt.method, tt.path })
		if code != tt.code {
			t.Errorf("%s %s: got %d, want %d", tt.method, tt.path, code, tt.code)
		}
	}
	b.Expect(b.ids()).To(BeEmpty())
	if n := r.metric("requests_total", "code=401"); n != 5 {
		t.Errorf("%v requests were counted, want 5", n)
	}
}

// dial opens a connection to the bridge.
func (b *bed) dial() net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", b.address)
	b.Expect(err).NotTo(HaveOccurred())
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// ends returns after how long a connection was closed, and what came on it.
func ends(c net.Conn, began time.Time) (time.Duration, string) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	data, _ := io.ReadAll(c)
	return time.Since(began), string(data)
}

// A body of 2 MiB is refused, whether it says so or not, with and without the secret.
func TestLargeBodies(t *testing.T) {
	b := newBed(t)
	b.start(nil)
	large := `{"eventID":5,"eventType":"clusters_action","extra":"` + strings.Repeat("x", 2<<20) + `"}`
	for name, change := range map[string]func(*http.Request){
		"that says so":       nil,
		"that comes in bits": func(r *http.Request) { r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(large)) },
	} {
		code, a := b.post(large, change)
		if code != http.StatusRequestEntityTooLarge || a.Event != "" {
			t.Errorf("%s: got %d %+v", name, code, a)
		}
	}
	// Of a body without the secret, nothing is read: the connection ends.
	before := heap()
	for range 20 {
		c := b.dial()
		_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", Path, 2<<20)
		took, answer := ends(c, time.Now())
		if !strings.HasPrefix(answer, "HTTP/1.1 401 ") || took > time.Second {
			t.Errorf("after %v: %q", took, answer)
		}
	}
	if after := heap(); after > before+2<<20 {
		t.Errorf("%d bytes more are in use", after-before)
	}
	b.Expect(b.ids()).To(BeEmpty())
}

// What comes slowly is cut off, and holds up nobody.
func TestSlowRequests(t *testing.T) {
	b := newBed(t)
	b.start(nil)
	began := time.Now()
	body := b.dial() // a byte a second
	_, _ = fmt.Fprintf(body, "POST %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Length: 1000\r\n\r\n{", Path, SecretHeader, secret)
	header := b.dial()
	_, _ = fmt.Fprintf(header, "POST %s HTTP/1.1\r\nHost: x\r\nX-Slow: ", Path)
	stop := make(chan struct{})
	defer close(stop)
	for _, c := range []net.Conn{body, header} {
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					if _, err := io.WriteString(c, "x"); err != nil {
						return
					}
				}
			}
		}()
	}
	code, a := b.post(`{"eventID":5,"eventType":"clusters_action"}`, nil)
	b.Expect(code).To(Equal(http.StatusCreated), a.Error)
	if took, answer := ends(header, began); took > headerTimeout+2*time.Second {
		t.Errorf("the slow header was cut off after %v: %q", took, answer)
	}
	if took, answer := ends(body, began); took > bodyTimeout+2*time.Second || !strings.HasPrefix(answer, "HTTP/1.1 408 ") {
		t.Errorf("the slow body was cut off after %v: %q", took, answer)
	}
	b.Expect(b.ids()).To(Equal([]int64{5}))
}

// Garbage instead of HTTP is not answered with an event.
func TestGarbage(t *testing.T) {
	b := newBed(t)
	b.start(nil)
	for _, garbage := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "GET", "\x00\x00\x00\x00\r\n\r\n",
		"POST " + Path + " HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"POST " + Path + " HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"POST " + Path + " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + SecretHeader + ": " + secret + "\r\n\r\nzz\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		c := b.dial()
		began := time.Now()
		_, _ = io.WriteString(c, garbage)
		if took, answer := ends(c, began); took > headerTimeout+2*time.Second || strings.HasPrefix(answer, "HTTP/1.1 2") {
			t.Errorf("%.20q: after %v %q", garbage, took, answer)
		}
	}
	b.Expect(b.ids()).To(BeEmpty())
}

// Two hundred connections that say nothing are closed in time, in flat memory, while
// Horizon is served; so are those that fall silent after a request without the secret.
func TestSilentConnections(t *testing.T) {
	b := newBed(t)
	b.start(nil)
	before := heap()
	began := time.Now()
	var silent []net.Conn
	for i := range 200 {
		c := b.dial()
		if i%2 == 1 {
			_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", Path)
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "401") {
				t.Fatalf("%q %v", line, err)
			}
		}
		silent = append(silent, c)
	}
	code, a := b.post(`{"eventID":5,"eventType":"clusters_action"}`, nil)
	b.Expect(code).To(Equal(http.StatusCreated), a.Error)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Horizon has waited %v", took)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("they take %d bytes", after-before)
	}
	for _, c := range silent {
		if took, _ := ends(c, began); took > headerTimeout+2*time.Second {
			t.Fatalf("one was closed after %v", took)
		}
	}
}
