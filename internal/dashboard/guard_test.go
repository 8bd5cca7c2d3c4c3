package dashboard

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
)

// Foreign names get nothing, though the browser has the cookie, and no token is used up.
func TestForeignHosts(t *testing.T) {
	s := startServer(t, anyPage, nil)
	_, port, _ := strings.Cut(s.address, ":")
	cookies := &url.URL{Scheme: "http", Host: s.address}
	hosts := []string{
		"evil.example:" + port, "127.0.0.1", "127.0.0.1:1", "localhost", "localhost:1", "localhost.:" + port, "127.0.0.2:" + port,
		"[::1]:" + port, "127.0.0.1.evil.example:" + port, "evil.example", "0.0.0.0:" + port, "127.1:" + port, "2130706433:" + port,
	}
	for _, host := range hosts {
		if got := s.do(newBrowser(t), call{path: s.link(""), host: host}); got.code != http.StatusMisdirectedRequest {
			t.Errorf("%s signs in: %d", host, got.code)
		}
	}
	cookie := s.signedIn().Jar.Cookies(cookies)[0].String()
	for _, host := range hosts {
		got := s.do(newBrowser(t), call{path: "/", host: host, header: map[string]string{"Cookie": cookie}})
		if got.code != http.StatusMisdirectedRequest || strings.Contains(got.body, "the page") {
			t.Errorf("%s: %d %s", host, got.code, got.body)
		}
	}
	for _, host := range []string{"127.0.0.1:" + port, "localhost:" + port, "LOCALHOST:" + port} {
		got := s.do(newBrowser(t), call{path: "/", host: host, header: map[string]string{"Cookie": cookie}})
		if got.code != http.StatusOK || got.body != "the page" {
			t.Errorf("%s: %d %s", host, got.code, got.body)
		}
	}
	// As a proxy is asked.
	conn := s.raw("GET http://evil.example/ HTTP/1.1\r\nHost: " + s.address + "\r\nConnection: close\r\nCookie: " + cookie + "\r\n\r\n")
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 421 ") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestPort80(t *testing.T) {
	for host, want := range map[string]int{
		"127.0.0.1": http.StatusUnauthorized, "localhost:80": http.StatusUnauthorized, "evil.example": http.StatusMisdirectedRequest,
	} {
		w := newBareWriter()
		newGuard("80").ServeHTTP(w, &http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Path: "/"}, Body: http.NoBody})
		if w.code != want {
			t.Errorf("%s: %d, want %d", host, w.code, want)
		}
	}
}

// bareWriter is a ResponseWriter that knows no deadlines.
type bareWriter struct {
	code   int
	header http.Header
	strings.Builder
}

func newBareWriter() *bareWriter                  { return &bareWriter{header: http.Header{}} }
func (a *bareWriter) Header() http.Header         { return a.header }
func (a *bareWriter) WriteHeader(code int)        { a.code = code }
func (a *bareWriter) Write(b []byte) (int, error) { return a.Builder.Write(b) }

func TestCookies(t *testing.T) {
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the page; cookies: %q", r.Header.Values("Cookie"))
	}), nil)
	other := startServer(t, anyPage, nil)
	jarOf := func(v *testServer) *http.Cookie {
		return v.signedIn().Jar.Cookies(&url.URL{Scheme: "http", Host: v.address})[0]
	}
	mine, theirs := jarOf(s), jarOf(other)
	if _, port, _ := strings.Cut(s.address, ":"); mine.Name != "horizon-dashboard-"+port || len(mine.Value) < 26 {
		t.Errorf("the cookie is %s", mine)
	}
	for name, header := range map[string]string{
		"none":                     "",
		"empty":                    mine.Name + "=",
		"forged":                   mine.Name + "=" + theirs.Value,
		"of another port":          theirs.String(),
		"value of another's":       theirs.Name + "=" + mine.Value,
		"the token":                mine.Name + "=" + s.token,
		"cut":                      mine.Name + "=" + mine.Value[1:],
		"longer":                   mine.String() + "A",
		"in small letters":         mine.Name + "=" + strings.ToLower(mine.Value),
		"with the name in capital": strings.ToUpper(mine.Name) + "=" + mine.Value,
	} {
		got := s.do(newBrowser(t), call{path: "/", header: map[string]string{"Cookie": header}})
		if got.code != http.StatusUnauthorized || strings.Contains(got.body, "the page") {
			t.Errorf("%s: %d %s", name, got.code, got.body)
		}
		if want := "Open the link that kubectl horizon dashboard has printed"; !strings.Contains(got.body, want) {
			t.Errorf("%s: no %q in %s", name, want, got.body)
		}
	}
	for header, rest := range map[string]string{
		mine.String(): `[]`,
		mine.Name + "=x; theme=dark; " + mine.String():        `["theme=dark"]`,
		"a=1; " + mine.String() + "; b=2; " + mine.Name + "=": `["a=1; b=2"]`,
	} {
		got := s.do(newBrowser(t), call{path: "/", header: map[string]string{"Cookie": header}})
		if want := "the page; cookies: " + rest; got.code != http.StatusOK || got.body != want {
			t.Errorf("%s: %d %s, want %s", header, got.code, got.body, want)
		}
	}
}

func TestOrigins(t *testing.T) {
	s := startServer(t, anyPage, nil)
	c := s.signedIn()
	elsewhere, neighbour := "https://evil.example", "http://127.0.0.1:1"
	navigate := map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
	with := func(more map[string]string, pairs ...string) map[string]string {
		all := map[string]string{}
		maps.Copy(all, more)
		for i := 0; i < len(pairs); i += 2 {
			all[pairs[i]] = pairs[i+1]
		}
		return all
	}
	for name, tc := range map[string]struct {
		method string
		header map[string]string
		want   int
	}{
		"no browser":                       {"POST", nil, 200},
		"own form":                         {"POST", with(navigate, "Sec-Fetch-Site", "same-origin", "Origin", "null"), 200},
		"own form, old browser":            {"POST", with(nil, "Origin", s.origin), 200},
		"form of another site":             {"POST", with(navigate, "Sec-Fetch-Site", "cross-site", "Origin", elsewhere), 403},
		"form of another port":             {"POST", with(navigate, "Sec-Fetch-Site", "same-site", "Origin", neighbour), 403},
		"form of a sandbox, old browser":   {"POST", with(nil, "Origin", "null"), 403},
		"form of a site, old browser":      {"POST", with(nil, "Origin", elsewhere), 403},
		"form of a port, old browser":      {"POST", with(nil, "Origin", neighbour), 403},
		"delete of another port":           {"DELETE", with(nil, "Sec-Fetch-Site", "same-site"), 403},
		"unknown method of another port":   {"FOO", with(nil, "Sec-Fetch-Site", "same-site"), 403},
		"address typed in":                 {"GET", with(navigate, "Sec-Fetch-Site", "none"), 200},
		"own link":                         {"GET", with(navigate, "Sec-Fetch-Site", "same-origin"), 200},
		"link of another site":             {"GET", with(navigate, "Sec-Fetch-Site", "cross-site"), 200},
		"link of another port":             {"GET", with(navigate, "Sec-Fetch-Site", "same-site"), 200},
		"own stream":                       {"GET", with(wantsStream, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), 200},
		"stream of another port":           {"GET", with(wantsStream, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Origin", neighbour), 403},
		"stream by a link":                 {"GET", with(navigate, "Sec-Fetch-Site", "same-site", "Accept", "text/html, text/event-stream"), 403},
		"fetch of another port":            {"GET", with(nil, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "empty"), 403},
		"fetch of a site, old browser":     {"GET", with(nil, "Origin", elsewhere), 403},
		"image of another site":            {"GET", with(nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"), 403},
		"script of another port":           {"GET", with(nil, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"), 403},
		"iframe of another site":           {"GET", with(nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), 403},
		"iframe of another port":           {"GET", with(nil, "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), 403},
		"a site that is not known yet":     {"GET", with(nil, "Sec-Fetch-Site", "near-site"), 403},
		"head of another port":             {"HEAD", with(nil, "Sec-Fetch-Site", "same-site"), 403},
		"preflight of another port":        {"OPTIONS", with(nil, "Sec-Fetch-Site", "same-site", "Origin", neighbour), 403},
		"preflight of a site, old browser": {"OPTIONS", with(nil, "Origin", elsewhere), 403},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.do(c, call{method: tc.method, path: "/", header: tc.header})
			if got.code != tc.want {
				t.Errorf("%d, want %d", got.code, tc.want)
			}
			if got.code == 403 && tc.method != "HEAD" && !strings.Contains(got.body, "from its own pages only") {
				t.Error(got.body)
			}
			if allow := got.header.Get("Access-Control-Allow-Origin"); allow != "" {
				t.Errorf("Access-Control-Allow-Origin: %s", allow)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, " ", err)
	}), nil)
	c := s.signedIn()
	for n, want := range map[int]int{0: 200, 1: 200, maxBody: 200, maxBody + 1: 413, 4 * maxBody: 413} {
		got := s.do(c, call{method: http.MethodPost, path: "/", body: strings.Repeat("x", n)})
		if got.code != want || want == 200 && got.body != fmt.Sprint(n, " ", nil) {
			t.Errorf("%d bytes: %d %s", n, got.code, got.body)
		}
		chunked, err := c.Post(s.origin+"/", "text/plain", io.MultiReader(strings.NewReader(strings.Repeat("x", n))))
		if err != nil {
			t.Fatal(err)
		}
		chunked.Body.Close()
		if chunked.StatusCode != want {
			t.Errorf("%d bytes in chunks: %d", n, chunked.StatusCode)
		}
	}
}

// Every answer has the headers, errors and what handlers of net/http answer as well.
func TestHeaders(t *testing.T) {
	files := fstest.MapFS{"a.css": {Data: []byte("a {}")}}
	pages := http.NewServeMux()
	pages.Handle("GET /{$}", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Security-Policy", "default-src *")
		w.Header().Del("X-Frame-Options")
		w.WriteHeader(http.StatusCreated)
	}))
	pages.Handle("GET /nothing", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	pages.Handle("GET /flush", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }))
	pages.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(files)))
	s := startServer(t, pages, nil)
	before := s.link("")
	stranger, user := newBrowser(t), s.signedIn()
	for name, tc := range map[string]struct {
		client *http.Client
		call
		want int
	}{
		"page":                {user, call{path: "/"}, 201},
		"page without a word": {user, call{path: "/nothing"}, 200},
		"stream":              {user, call{path: "/flush", header: wantsStream}, 200},
		"file":                {user, call{path: "/static/a.css"}, 200},
		"no file":             {user, call{path: "/static/b.css"}, 404},
		"redirect":            {user, call{path: "/static"}, 307},
		"no page":             {user, call{path: "/none"}, 404},
		"wrong method":        {user, call{method: "POST", path: "/nothing"}, 405},
		"too large":           {user, call{method: "POST", path: "/", body: strings.Repeat("x", maxBody+1)}, 413},
		"not signed in":       {stranger, call{path: "/"}, 401},
		"not signed in, none": {stranger, call{path: "/none"}, 401},
		"used link":           {stranger, call{path: before}, 401},
		"used link, again":    {user, call{path: before}, 303},
		"wrong token":         {stranger, call{path: "/sign-in?token=x"}, 401},
		"head of the link":    {stranger, call{method: "HEAD", path: before}, 405},
		"prefetch":            {stranger, call{path: before, header: map[string]string{"Sec-Purpose": "prefetch"}}, 503},
		"style":               {stranger, call{path: stylePath}, 200},
		"icon":                {stranger, call{path: iconPath}, 200},
		"other host":          {stranger, call{path: "/", host: "evil.example"}, 421},
		"other origin":        {user, call{method: "POST", path: "/", header: map[string]string{"Sec-Fetch-Site": "same-site"}}, 403},
	} {
		t.Run(name, func(t *testing.T) { checkHeaders(t, s.do(tc.client, tc.call), tc.want) })
	}
	fresh := startServer(t, pages, nil)
	checkHeaders(t, fresh.do(stranger, call{path: fresh.link("")}), 200)
}

func checkHeaders(t *testing.T, got reply, code int) {
	t.Helper()
	if got.code != code {
		t.Errorf("%d, want %d", got.code, code)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if values := got.header.Values(name); len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want %q", name, values, want)
		}
	}
	if policy := got.header.Get("Permissions-Policy"); !strings.Contains(policy, "camera=()") {
		t.Errorf("Permissions-Policy: %q", policy)
	}
}
