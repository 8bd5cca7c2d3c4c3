package dashboard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

const (
	// calm is the least time between two versions of a page: a storm of deliveries is not
	// shown one by one.
	calm = 400 * time.Millisecond
	// share of the time is spent on making a page anew: one part in so many.
	share = 5
	// refresh is how often a page is made anew where nothing happens, for the times on it.
	refresh = 10 * time.Second
	// maxStreams bounds the pages that are kept up to date at once.
	maxStreams = 64
)

// live is the stream of server-sent events that keeps an open page up to date. An event
// named main has the main part of the page, whenever it says something else than before;
// one named contact tells whether the API server answers.
func (s *Session) live(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		http.Error(w, "Too many pages are open at once.", http.StatusTooManyRequests)
		return
	}
	target, err := url.ParseRequestURI(r.URL.Query().Get("page"))
	if err != nil || !s.isPage(target) {
		http.Error(w, "page has to be the path of a page.", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	stream := &stream{session: s, w: w, control: http.NewResponseController(w), target: target, ctx: ctx}
	w.Header().Set("Content-Type", "text/event-stream")
	stream.run()
}

// isPage tells whether an address is that of a page of a namespace: nothing else has a main
// part, and a stream of itself would never end.
func (s *Session) isPage(target *url.URL) bool {
	if target.Host != "" || target.Scheme != "" || path.Clean(target.Path) != target.Path {
		return false
	}
	_, pattern := s.pages.Handler(&http.Request{Method: http.MethodGet, URL: target})
	return strings.HasPrefix(pattern, "GET /ns/{namespace}/")
}

// stream keeps one open page up to date.
type stream struct {
	session *Session
	w       http.ResponseWriter
	control *http.ResponseController
	target  *url.URL
	ctx     context.Context
	sent    [sha256.Size]byte // of the main part
}

func (s *stream) run() {
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for {
		namespace, _, _ := strings.Cut(strings.TrimPrefix(s.target.Path, "/ns/"), "/")
		var changes <-chan struct{}
		release, lost := func() {}, true
		if c, err := s.session.connect(); err == nil {
			st := s.session.store(c, namespace)
			changes, release = st.changes()
			lost = st.contactLost()
		}
		begun := time.Now()
		err := s.send(lost)
		if err == nil {
			// A page that reads from the API server is not to keep it busy.
			err = s.pause(max(calm, share*time.Since(begun)))
		}
		if err == nil {
			select {
			case <-s.ctx.Done():
				err = s.ctx.Err()
			case <-changes:
			case <-ticker.C:
			}
		}
		release()
		if err != nil {
			return
		}
	}
}

func (s *stream) pause(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-timer.C:
		return nil
	}
}

// send makes the page anew, and sends it where it differs from what was sent last.
func (s *stream) send(lost bool) error {
	page := &recorder{header: http.Header{}}
	ctx, cancel := context.WithTimeout(context.WithValue(s.ctx, fragmentKey{}, true), readTimeout)
	defer cancel()
	r := &http.Request{Method: http.MethodGet, URL: s.target, Header: http.Header{}}
	s.session.pages.ServeHTTP(page, r.WithContext(ctx))
	var out bytes.Buffer
	fmt.Fprintf(&out, "event: contact\ndata: %s\n\n", map[bool]string{true: "lost", false: "live"}[lost])
	if sum := sha256.Sum256(page.body.Bytes()); sum != s.sent && page.isPage() {
		s.sent = sum
		out.WriteString("event: main\n")
		for line := range strings.Lines(page.body.String()) {
			out.WriteString("data: " + strings.TrimRight(line, "\r\n") + "\n")
		}
		out.WriteByte('\n')
	}
	if _, err := s.w.Write(out.Bytes()); err != nil {
		return err
	}
	return s.control.Flush()
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	header http.Header
	body   bytes.Buffer
}

// Header is the header of the answer.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader ignores the status: the page of an error is a page, too.
func (r *recorder) WriteHeader(int) {}

// Write keeps a part of the body.
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func (r *recorder) isPage() bool { return strings.HasPrefix(r.header.Get("Content-Type"), "text/html") }
