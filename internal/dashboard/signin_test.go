package dashboard

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSignIn(t *testing.T) {
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.RequestURI())) }), nil)
	link := s.link("/logs?webhook=a&code=500")
	first, second := newBrowser(t), newBrowser(t)

	got := s.do(first, call{path: link})
	cookie := got.header.Get("Set-Cookie")
	if got.code != http.StatusOK || !strings.HasSuffix(cookie, "; Path=/; HttpOnly; SameSite=Strict") {
		t.Fatalf("%d, Set-Cookie: %q", got.code, cookie)
	}
	for _, want := range []string{
		`<meta http-equiv="refresh" content="0; url=/logs?webhook=a&amp;code=500">`, `<a href="/logs?webhook=a&amp;code=500">`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("no %s in\n%s", want, got.body)
		}
	}
	if strings.Contains(got.body, s.token) {
		t.Error("the page has the token")
	}
	if got := s.do(first, call{path: "/logs?webhook=a&code=500"}); got.code != http.StatusOK || got.body != "/logs?webhook=a&code=500" {
		t.Errorf("%+v", got)
	}

	got = s.do(second, call{path: link})
	if got.code != http.StatusUnauthorized || !strings.Contains(got.body, "This link has been used") || got.header.Get("Set-Cookie") != "" {
		t.Errorf("a stranger uses it again: %+v", got)
	}
	if got := s.do(second, call{path: "/"}); got.code != http.StatusUnauthorized {
		t.Errorf("a stranger is in: %+v", got)
	}
	got = s.do(first, call{path: link})
	if where := got.header.Get("Location"); got.code != http.StatusSeeOther || where != "/logs?webhook=a&code=500" || got.header.Get("Set-Cookie") != "" {
		t.Errorf("the browser uses it again: %+v", got)
	}

	// A browser that follows the link in another site keeps the cookie back at first.
	across := map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
	got = s.do(second, call{path: link, header: across})
	if got.code != http.StatusOK || got.header.Get("Set-Cookie") != "" || !strings.Contains(got.body, `url=/sign-in?token=`) {
		t.Errorf("used again from elsewhere: %+v", got)
	}
}

func TestWrongTokens(t *testing.T) {
	s := startServer(t, anyPage, nil)
	for _, token := range []string{"", "x", s.token[1:], s.token + "A", strings.ToLower(s.token), s.token + "%00"} {
		c := newBrowser(t)
		got := s.do(c, call{path: "/sign-in?token=" + token})
		if got.code != http.StatusUnauthorized || got.header.Get("Set-Cookie") != "" || strings.Contains(got.body, "has been used") {
			t.Errorf("%q: %+v", token, got)
		}
	}
	if len(s.token) < 26 {
		t.Errorf("the token has %d characters of 5 bits", len(s.token))
	}
	s.signedIn() // none of them has used the token up
}

// Of many that use a link at once, one is let in.
func TestLinkIsUsedOnce(t *testing.T) {
	s := startServer(t, anyPage, nil)
	var in atomic.Int32
	var wait sync.WaitGroup
	begin := make(chan struct{})
	for range 50 {
		c := newBrowser(t)
		wait.Go(func() {
			<-begin
			got, err := c.Get(s.SignInURL(""))
			if err != nil {
				t.Error(err)
				return
			}
			got.Body.Close()
			if got.Header.Get("Set-Cookie") != "" {
				in.Add(1)
			}
		})
	}
	close(begin)
	wait.Wait()
	if n := in.Load(); n != 1 {
		t.Errorf("%d got in", n)
	}
}

// The same without the network in between, and often.
func TestExchangeIsAtomic(t *testing.T) {
	for range 2000 {
		a := newAccess("c")
		token := a.newLink(anyPage)
		var in atomic.Int32
		var wait sync.WaitGroup
		begin := make(chan struct{})
		for range 8 {
			wait.Go(func() {
				<-begin
				if cookie, _ := a.exchange(token); cookie != "" {
					in.Add(1)
				}
			})
		}
		close(begin)
		wait.Wait()
		if n := in.Load(); n != 1 {
			t.Fatalf("%d got in", n)
		}
	}
}

// What nobody has opened uses no link up: a program that looks at links, a browser that fetches
// ahead, a picture in another page.
func TestLinkIsKept(t *testing.T) {
	s := startServer(t, anyPage, nil)
	for name, tc := range map[string]struct {
		method string
		header map[string]string
		want   int
	}{
		"HEAD":             {http.MethodHead, nil, 405},
		"POST":             {http.MethodPost, nil, 405},
		"OPTIONS":          {http.MethodOptions, nil, 405},
		"prefetch":         {http.MethodGet, map[string]string{"Sec-Purpose": "prefetch"}, 503},
		"prerender":        {http.MethodGet, map[string]string{"Sec-Purpose": "prefetch;prerender"}, 503},
		"older prefetch":   {http.MethodGet, map[string]string{"Purpose": "prefetch"}, 503},
		"Firefox prefetch": {http.MethodGet, map[string]string{"X-Moz": "prefetch"}, 503},
		"image":            {http.MethodGet, map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403},
		"iframe":           {http.MethodGet, map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403},
	} {
		c := newBrowser(t)
		got := s.do(c, call{method: tc.method, path: s.link(""), header: tc.header})
		if got.code != tc.want || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	s.signedIn()
}

// A link leads to a page of this site, or else to the first one.
func TestPagePath(t *testing.T) {
	for page, want := range map[string]string{
		"":                        "/",
		"/":                       "/",
		"/logs":                   "/logs",
		"/logs?webhook=a&code=1":  "/logs?webhook=a&code=1",
		"/log/x#attempts":         "/log/x#attempts",
		"/a b":                    "/a%20b",
		"/?next=http://evil.test": "/?next=http://evil.test",
		"//evil.test":             "",
		"///evil.test":            "",
		"/\\evil.test":            "",
		"\\\\evil.test":           "",
		"/\t/evil.test":           "",
		"/\n/evil.test":           "",
		"\t//evil.test":           "",
		" //evil.test":            "",
		"/\x00":                   "",
		"/\u0085/evil.test":       "",
		"http://evil.test":        "",
		"http:evil.test":          "",
		"https:///evil.test":      "",
		"javascript:alert(1)":     "",
		"data:text/html,x":        "",
		"evil.test":               "",
		"logs":                    "",
		"?x":                      "",
		"@evil.test":              "",
		"/%zz":                    "",
	} {
		got, err := PagePath(page)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", page, got, err, want)
		}
		s := startServer(t, http.NotFoundHandler(), nil)
		c := newBrowser(t)
		if want == "" {
			want = "/"
		}
		shown := strings.ReplaceAll(want, "&", "&amp;")
		if got := s.do(c, call{path: s.link(page)}); !strings.Contains(got.body, `content="0; url=`+shown+`"`) {
			t.Errorf("%q leads not to %s:\n%s", page, want, got.body)
		}
		if got := s.do(c, call{path: s.link(page)}); got.header.Get("Location") != want {
			t.Errorf("%q redirects to %q, want %s", page, got.header.Get("Location"), want)
		}
	}
}
