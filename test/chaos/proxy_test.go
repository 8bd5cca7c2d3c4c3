package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	events     = "/apis/horizoncd.io/v1alpha1/namespaces/music/webhookevents"
	deliveries = "/apis/horizoncd.io/v1alpha1/webhookdeliveries"
)

// server is what the proxy leads to: it notes what arrives, and its watches say
// one line and stay open.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.URL.String())
		s.mu.Unlock()
		if r.URL.Query().Get("watch") != "true" {
			fmt.Fprintln(w, "done")
			return
		}
		if r.URL.Query().Get("resourceVersion") == "1" {
			fmt.Fprintln(w, `{"type":"ERROR","object":{"code":410,"message":"too old resource version: 1 (9)"}}`)
			return
		}
		fmt.Fprintln(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

func newProxy(t *testing.T) (*proxy, *server) {
	t.Helper()
	s := newServer(t)
	p, err := startProxy(&rest.Config{Host: s.URL}, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	return p, s
}

// answer is what came back.
type answer struct {
	status     int
	retryAfter string
	body       string
}

// ask makes a request on a connection of its own.
func ask(t *testing.T, method, url string) (answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header.Get("Retry-After"), string(body)}, err
}

func TestProxyPassesOn(t *testing.T) {
	p, s := newProxy(t)
	got, err := ask(t, http.MethodGet, p.address+events+"?limit=5&continue=a%2Fb")
	if err != nil || got != (answer{status: http.StatusOK, body: "done\n"}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got := s.requests(); len(got) != 1 || got[0] != "GET "+events+"?limit=5&continue=a%2Fb" {
		t.Errorf("the server saw %q", got)
	}
}

func TestProxyRefusesWritesOfTheProject(t *testing.T) {
	p, s := newProxy(t)
	p.set(faults{refused: 1, codes: []int{http.StatusTooManyRequests}})
	for _, write := range []struct{ method, path string }{
		{http.MethodPost, deliveries}, {http.MethodPatch, events + "/horizon-1/status"}, {http.MethodDelete, events + "/horizon-1"},
	} {
		got, err := ask(t, write.method, p.address+write.path)
		if err != nil || got.status != http.StatusTooManyRequests || got.retryAfter != "1" ||
			!strings.Contains(got.body, string(metav1.StatusReasonTooManyRequests)) {
			t.Errorf("%s: got %+v, %v", write.method, got, err)
		}
	}
	if got := s.requests(); len(got) > 0 {
		t.Errorf("the server saw %q", got)
	}
	// A lease is no business of the project's group, nor is a read a write.
	for _, other := range []struct{ method, path string }{
		{http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/music/leases/one"}, {http.MethodGet, events + "/horizon-1"},
	} {
		if got, err := ask(t, other.method, p.address+other.path); err != nil || got.status != http.StatusOK {
			t.Errorf("%s %s: got %+v, %v", other.method, other.path, got, err)
		}
	}
	if got := p.count(); got != (proxyCounts{requests: 5, writes: 3, refused: 3}) {
		t.Errorf("counted %+v", got)
	}
}

func TestProxyRefusesItsShare(t *testing.T) {
	p, _ := newProxy(t)
	p.set(faults{refused: 0.2, codes: []int{http.StatusConflict, http.StatusGatewayTimeout}})
	codes := map[int]int{}
	for range 200 {
		got, err := ask(t, http.MethodPost, p.address+deliveries)
		if err != nil {
			t.Fatal(err)
		}
		codes[got.status]++
	}
	if codes[http.StatusConflict] == 0 || codes[http.StatusGatewayTimeout] == 0 || codes[http.StatusOK] < 140 || codes[http.StatusOK] > 180 {
		t.Errorf("codes %v, want 160 or so of 200", codes)
	}
}

func TestProxyDropsAnswersOfWhatWasDone(t *testing.T) {
	p, s := newProxy(t)
	p.set(faults{dropped: 1})
	if got, err := ask(t, http.MethodPost, p.address+deliveries); err == nil {
		t.Errorf("got an answer: %+v", got)
	}
	if got := s.requests(); len(got) != 1 || got[0] != "POST "+deliveries {
		t.Errorf("the server saw %q", got)
	}
	if got := p.count(); got.dropped != 1 {
		t.Errorf("counted %+v", got)
	}
}

// watch opens a watch and waits for its first line.
func watch(t *testing.T, url string) *bufio.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	body := bufio.NewReader(resp.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "first\n" {
		t.Fatalf("got %q, %v: a watch is not passed on as it comes", line, err)
	}
	return body
}

func TestProxyCutsWatches(t *testing.T) {
	p, _ := newProxy(t)
	cut, other := watch(t, p.address+events+"?watch=true"), watch(t, p.address+deliveries+"?watch=true")
	if n := p.cutWatches("webhookevents"); n != 1 {
		t.Errorf("cut %d watches, want 1", n)
	}
	if _, err := cut.ReadString('\n'); err == nil {
		t.Error("the watch goes on")
	}
	if n := p.cutWatches(""); n != 1 {
		t.Errorf("cut %d watches, want the other one", n)
	}
	if _, err := other.ReadString('\n'); err == nil {
		t.Error("the other watch goes on")
	}
}

func TestProxyHoldsWatchesAndLists(t *testing.T) {
	p, s := newProxy(t)
	before := watch(t, p.address+events+"?watch=true")
	release := p.hold("webhookevents")
	if _, err := before.ReadString('\n'); err == nil {
		t.Error("the watch goes on")
	}
	listed := make(chan error, 1)
	go func() {
		_, err := ask(t, http.MethodGet, p.address+events)
		listed <- err
	}()
	if _, err := ask(t, http.MethodGet, p.address+deliveries); err != nil {
		t.Errorf("another resource: %v", err)
	}
	select {
	case err := <-listed:
		t.Errorf("a list was let through: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	release()
	release()
	if err := <-listed; err != nil {
		t.Error(err)
	}
	if got := s.requests(); len(got) != 3 {
		t.Errorf("the server saw %q", got)
	}
}

func TestProxyCountsExpiredWatches(t *testing.T) {
	p, _ := newProxy(t)
	if _, err := ask(t, http.MethodGet, p.address+events+"?watch=true&resourceVersion=1"); err != nil {
		t.Fatal(err)
	}
	if got := p.count(); got.expired != 1 {
		t.Errorf("counted %+v", got)
	}
}
