package dashboard

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"unicode"
)

const (
	// signInPath is where a link is exchanged for a cookie.
	signInPath = "/sign-in"
	// stylePath is the stylesheet of the pages that are shown without a session.
	stylePath = "/sign-in.css"
	// iconPath is their icon. Without one browsers ask for /favicon.ico.
	iconPath = "/icon.svg"
)

// access knows which cookie belongs to which session, and which link begins one. Tokens and
// cookies are random, of 130 bits, and kept and looked up by their hashes: neither the time
// that a comparison takes nor a copy of the maps tells one.
type access struct {
	cookie string // its name, which has the port: browsers send it to every port

	mu       sync.Mutex
	links    map[digest]*signInLink
	sessions map[digest]http.Handler
}

type digest = [sha256.Size]byte

// signInLink signs a browser in to a session, once.
type signInLink struct {
	session http.Handler
	used    bool
}

func newAccess(cookie string) *access {
	return &access{cookie: cookie, links: map[digest]*signInLink{}, sessions: map[digest]http.Handler{}}
}

// newLink returns the token of a new link to a session.
func (a *access) newLink(session http.Handler) string {
	token := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.links[sha256.Sum256([]byte(token))] = &signInLink{session: session}
	return token
}

// exchange uses up a token for the value of a cookie. The value is empty where the token was
// used before, and where there is no such token.
func (a *access) exchange(token string) (cookie string, used bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.links[sha256.Sum256([]byte(token))]
	switch {
	case l == nil:
		return "", false
	case l.used:
		return "", true
	}
	l.used = true
	cookie = rand.Text()
	a.sessions[sha256.Sum256([]byte(cookie))] = l.session
	return cookie, false
}

// session returns the pages that a request's cookie opens, or nil. A server on another port
// can add cookies of the same name, and so any that is right will do.
func (a *access) session(r *http.Request) http.Handler {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, cookie := range r.CookiesNamed(a.cookie) {
		if s := a.sessions[sha256.Sum256([]byte(cookie.Value))]; s != nil {
			return s
		}
	}
	return nil
}

// withoutCookie returns a request's header without the session's cookie.
func (a *access) withoutCookie(r *http.Request) http.Header {
	header := r.Header.Clone()
	header.Del("Cookie")
	rest := &http.Request{Header: header}
	for _, cookie := range r.Cookies() {
		if cookie.Name != a.cookie {
			rest.AddCookie(cookie)
		}
	}
	return header
}

// signIn answers the sign-in link: a page that sets the cookie and goes on to the page that
// the link names. A redirect would not do, because a browser that came from elsewhere (from
// the file, or from a link in another page) sends no Strict cookie where it is redirected to.
func (g *guard) signIn(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		onlyGet.write(w)
		return
	case isPrefetch(r):
		noPrefetch.write(w)
		return
	}
	query := r.URL.Query()
	page, err := PagePath(query.Get("page"))
	if err != nil {
		page = "/"
	}
	cookie, used := g.access.exchange(query.Get("token"))
	switch {
	case cookie != "":
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure is for https, and loopback is not on any wire
			Name: g.access.cookie, Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		})
		goOn(page).write(w)
	case g.access.session(r) != nil:
		http.Redirect(w, r, page, http.StatusSeeOther) //nolint:gosec // PagePath lets no other site through
	case used && r.Header.Get("Sec-Fetch-Site") == "cross-site":
		// The browser may have the cookie and keeps it back: ask again from this site.
		goOn(r.URL.RequestURI()).write(w)
	case used:
		linkUsed.write(w)
	default:
		notSignedIn.write(w)
	}
}

// isPrefetch tells whether a browser asks for a page that nobody has opened yet.
func isPrefetch(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		if strings.Contains(r.Header.Get(name), "prefetch") {
			return true
		}
	}
	return false
}

// PagePath returns the page that a link may lead to, in its canonical form: a path of the
// dashboard, with a query and a fragment where it has them. "" is the first page.
func PagePath(page string) (string, error) {
	u, err := url.Parse(page)
	switch {
	case page == "":
		return "/", nil
	case strings.ContainsFunc(page, unicode.IsControl), strings.Contains(page, `\`):
		return "", errors.New("it has characters that no path has")
	case !strings.HasPrefix(page, "/"), strings.HasPrefix(page, "//"):
		return "", errors.New("it has to begin with one /")
	case err != nil:
		return "", errors.New("it is no path")
	}
	return u.String(), nil
}

// gatePage is a page that is shown without a session. It tells nothing of the cluster.
type gatePage struct {
	Code  int
	Title string
	Text  []string
	// Next is where the browser goes on to; empty to stay.
	Next string
}

// goOn is a page that leads a browser on.
func goOn(next string) *gatePage {
	return &gatePage{Code: http.StatusOK, Title: "Opening the dashboard", Next: next}
}

// wrongHost tells a browser that came by another name.
func wrongHost(address string) *gatePage {
	return &gatePage{Code: http.StatusMisdirectedRequest, Title: "Not this address", Text: []string{
		"The dashboard answers at http://" + address + "/ only, so that no other site can pass for it.",
		"To reach it through a tunnel, forward the same port number.",
	}}
}

const startAnew = "Start kubectl horizon dashboard again to get another link."

var (
	otherOrigin = &gatePage{Code: http.StatusForbidden, Title: "Refused", Text: []string{
		"This request was made by a page of another site or of another port, and the dashboard takes requests from its own pages only.",
		"If you came from the dashboard itself, your browser is too old to say so.",
	}}
	otherUser = &gatePage{Code: http.StatusForbidden, Title: "Refused", Text: []string{
		"Another user of this machine runs this dashboard. Run kubectl horizon dashboard as the user who runs your browser.",
	}}
	notSignedIn = &gatePage{Code: http.StatusUnauthorized, Title: "Not signed in", Text: []string{
		"Open the link that kubectl horizon dashboard has printed in your terminal. It works once.", startAnew,
	}}
	linkUsed = &gatePage{Code: http.StatusUnauthorized, Title: "This link has been used", Text: []string{
		"It works once, in the browser that opened it first. If that was not you, end the command in your terminal with Ctrl-C now.",
		startAnew,
	}}
	onlyGet = &gatePage{Code: http.StatusMethodNotAllowed, Title: "Not allowed", Text: []string{
		"A sign-in link is to be opened in a browser. It has not been used up.",
	}}
	noPrefetch = &gatePage{Code: http.StatusServiceUnavailable, Title: "Not yet", Text: []string{
		"A sign-in link works once, and is not answered before somebody opens it.",
	}}
	bodyTooLarge = &gatePage{Code: http.StatusRequestEntityTooLarge, Title: "Too large", Text: []string{
		"What was sent has more than 1 MiB. Nothing was changed.",
	}}
	bodyTooSlow = &gatePage{Code: http.StatusRequestTimeout, Title: "Too slow", Text: []string{
		"What was sent did not arrive in time. Nothing was changed.",
	}}
	badBody = &gatePage{Code: http.StatusBadRequest, Title: "Not readable", Text: []string{
		"What was sent could not be read to its end. Nothing was changed.",
	}}
)

var gateTemplate = template.Must(template.New("gate").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
{{- with .Next}}
<meta http-equiv="refresh" content="0; url={{.}}">
{{- end}}
<title>{{.Title}} – Horizon webhooks</title>
<link rel="icon" type="image/svg+xml" href="` + iconPath + `">
<link rel="stylesheet" href="` + stylePath + `">
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{- range .Text}}
<p>{{.}}</p>
{{- end}}
{{- with .Next}}
<p><a href="{{.}}">Go on</a></p>
{{- end}}
</main>
</body>
</html>
`))

// style is the stylesheet of those pages.
const style = `body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 36rem; margin: 15vh auto; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; line-height: 1.25; }
`

func writeStyle(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write([]byte(style))
}

func writeIcon(w http.ResponseWriter) {
	icon, err := assetFiles.ReadFile("assets/icon.svg")
	if err != nil {
		panic(err) // it is part of the program
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write(icon)
}

func (n *gatePage) render() []byte {
	var b bytes.Buffer
	if err := gateTemplate.Execute(&b, n); err != nil {
		panic(err) // a template and strings
	}
	return b.Bytes()
}

func (n *gatePage) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(n.Code)
	_, _ = w.Write(n.render()) //nolint:gosec // html/template escapes it
}
