package dashboard

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// maxBody bounds the body of a request, in bytes. No form comes near it.
const maxBody = 1 << 20

// headers are those of every answer. What the pages set under these names is overwritten.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; " +
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"X-Frame-Options":              "DENY",
	"Cache-Control":                "no-store",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy": "camera=(), clipboard-read=(), display-capture=(), geolocation=(), hid=(), microphone=(), " +
		"midi=(), payment=(), serial=(), usb=()",
}

// guard is what every request passes before a session's pages see it: the Host and the origin
// are this server's, the connection is this user's, and the cookie belongs to a session.
type guard struct {
	hosts   []string
	origins *http.CrossOriginProtection
	access  *access
	// streaming ends when streams are to end.
	streaming  context.Context
	endStreams context.CancelFunc
}

// newGuard returns the guard of a server that listens on a port of 127.0.0.1.
func newGuard(port string) *guard {
	g := &guard{
		hosts:   []string{net.JoinHostPort(loopback, port), net.JoinHostPort("localhost", port)},
		origins: http.NewCrossOriginProtection(),
		access:  newAccess("horizon-dashboard-" + port),
	}
	g.streaming, g.endStreams = context.WithCancel(context.Background())
	if port == "80" { // which browsers leave out
		g.hosts = append(g.hosts, loopback, "localhost")
	}
	return g
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = newAnswer(w)
	// A name that somebody has pointed at this address is theirs, and so are its pages
	// (DNS rebinding).
	if !slices.Contains(g.hosts, strings.ToLower(r.Host)) {
		wrongHost(g.hosts[0]).write(w)
		return
	}
	if foreign, _ := r.Context().Value(foreignKey{}).(bool); foreign {
		otherUser.write(w)
		return
	}
	if !g.sameOrigin(r) {
		otherOrigin.write(w)
		return
	}
	switch r.URL.Path {
	case signInPath:
		g.signIn(w, r)
		return
	case stylePath:
		writeStyle(w)
		return
	case iconPath:
		writeIcon(w)
		return
	}
	session := g.access.session(r)
	if session == nil {
		notSignedIn.write(w)
		return
	}
	body, refusal := readBody(w, r)
	if refusal != nil {
		refusal.write(w)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if isStream(r) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		defer context.AfterFunc(g.streaming, cancel)()
	}
	r = r.WithContext(ctx)
	r.Body = body
	r.Header = g.access.withoutCookie(r)
	session.ServeHTTP(w, r)
}

// sameOrigin tells whether a request comes from the dashboard's own pages or from no page at
// all, or else is a link that somebody has followed. Another port of 127.0.0.1 is the same
// site to a browser, which sends it the cookie in spite of SameSite: hence what is not a
// link is held to the origin whatever its method is.
func (g *guard) sameOrigin(r *http.Request) bool {
	if g.origins.Check(r) != nil {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
		origin := r.Header.Get("Origin")
		return origin == "" || origin == "http://"+r.Host
	}
	return r.Header.Get("Sec-Fetch-Dest") == "document" && !isStream(r)
}

// isStream tells whether a request is for server-sent events.
func isStream(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// readBody reads the body of a request, so that pages get it whole or not at all. The server's
// ReadTimeout bounds how long that takes.
func readBody(w http.ResponseWriter, r *http.Request) (io.ReadCloser, *gatePage) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	tooLarge := (*http.MaxBytesError)(nil)
	switch {
	case errors.As(err, &tooLarge):
		return nil, bodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, bodyTooSlow
	case err != nil:
		return nil, badBody
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// answer is an answer that has the headers of all. They are set again when it begins, because
// net/http takes some of them off errors.
type answer struct {
	http.ResponseWriter
	begun bool
}

func newAnswer(w http.ResponseWriter) *answer {
	a := &answer{ResponseWriter: w}
	a.setHeaders()
	return a
}

func (a *answer) setHeaders() {
	for name, value := range headers {
		a.Header().Set(name, value)
	}
}

func (a *answer) WriteHeader(code int) {
	if !a.begun {
		a.setHeaders()
	}
	a.begun = a.begun || code >= http.StatusOK // others are ahead of the answer
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(data []byte) (int, error) {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	return a.ResponseWriter.Write(data)
}

// Flush sends what was written so far.
func (a *answer) Flush() {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
