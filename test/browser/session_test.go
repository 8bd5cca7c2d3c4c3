package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
)

// What is done in one tab is seen in the other, and what is said of it is not.
func TestTwoTabs(t *testing.T) {
	b := newBed(t)
	d := b.withOneFailure()
	b.Receiver.Script("/orders")
	first := b.dashboard("", false).signIn("/webhooks/orders")
	first.live()
	first.waitFor("Failed")
	second := first.another()
	second.open(b.path("/deliveries/" + d.Name))
	second.click("button", "Resend")
	second.waitFor("A resend is asked for")
	second.waitFor("Delivered: the receiver answered 200 OK")

	call(first, cdppage.BringToFront, cdp.Empty{})
	first.waitFor("Succeeded")
	if got := first.text("#notices"); got != "" {
		t.Errorf("the first tab says %q, which the second one is told", got)
	}
	if strings.Contains(second.path(), "notice") {
		t.Errorf("the address is %s: to load it again would ask for the notice again", second.path())
	}
	second.reload()
	second.waitFor("Delivered")
	if got := second.text("#notices"); got != "" {
		t.Errorf("after another load the page still says %q", got)
	}
}

// A sign-in link works once, in one browser.
func TestSignInLinkUsedTwice(t *testing.T) {
	b := newBed(t)
	s := b.dashboard("", false)
	link := s.server.SignInURL(b.path("/webhooks"))
	p := s.signIn("/webhooks")
	p.waitFor("No webhooks in")
	if strings.Contains(p.text("html")+p.path(), "token") || evaluate[string](p, `document.cookie`) != "" {
		t.Errorf("the page can read what signs in: %s %s", p.path(), evaluate[string](p, `document.cookie`))
	}

	thief := newPage(t, s.address) // a profile of its own
	thief.expect("status of 401")
	thief.open(link)
	thief.waitFor("This link has been used")
	thief.open(b.path("/webhooks"))
	thief.waitFor("Not signed in")
	thief.open(strings.Replace(link, "token=", "token=A", 1))
	thief.waitFor("Not signed in")

	// Whoever is signed in goes on.
	p.open(link)
	p.at(b.path("/webhooks"))
	p.waitFor("No webhooks in")
}

// A page on another port of this machine is a stranger, although to a browser it is of the
// same site, and the cookie is sent along.
func TestForeignOrigin(t *testing.T) {
	b := newBed(t)
	d := b.withOneFailure()
	s := b.dashboard("", false)
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>Hostile</title><link rel="icon" href="data:,"><p>Hostile.</p>`)
	}))
	t.Cleanup(hostile.Close)
	p := s.signIn("/webhooks/orders")
	p.waitFor("1 failed")
	p.expect("CORS policy|Failed to load resource|status of 403|refused to connect|frame|text/event-stream|ERR_BLOCKED_BY_RESPONSE|Cross-Origin")

	resend := s.address + b.path("/deliveries/"+d.Name+"/resend")
	before := b.Receiver.Total().Requests
	p.open(hostile.URL)
	// A form, as on a page that somebody is lured to.
	evaluate[bool](p, fmt.Sprintf(`(document.body.insertAdjacentHTML("beforeend", '<form id="f" method="post" action="%s"></form>'), document.getElementById("f").submit(), true)`, resend))
	p.waitFor("This request was made by a page of another site or of another port")
	b.unchanged(d)

	// A script, with what the browser would send along.
	p.open(hostile.URL)
	for what, options := range map[string]string{
		"a post":      `{method: "POST", mode: "no-cors", credentials: "include"}`,
		"a read":      `{credentials: "include"}`,
		"a mute read": `{mode: "no-cors", credentials: "include"}`,
	} {
		got := evaluate[string](p, fmt.Sprintf(`fetch(%q, %s).then(r => r.type + " " + r.status + " " + r.text().length, e => "refused: " + e.message)`, resend, options))
		if !strings.HasPrefix(got, "refused") {
			t.Errorf("%s: %s", what, got)
		}
	}
	page := s.address + b.path("/webhooks/orders")
	got := evaluate[string](p, fmt.Sprintf(`new Promise(done => {
		const source = new EventSource(%q, {withCredentials: true});
		source.onopen = () => done("open");
		source.onmessage = () => done("message");
		source.onerror = () => { source.close(); done("refused"); };
	})`, s.address+"/live?page="+b.path("/webhooks/orders")))
	if got != "refused" {
		t.Errorf("server-sent events: %s", got)
	}

	// A frame, in which somebody could be made to click, and a window.
	got = evaluate[string](p, fmt.Sprintf(`new Promise(done => {
		const frame = document.createElement("iframe");
		frame.src = %q;
		frame.onload = () => { let text; try { text = frame.contentDocument?.body.innerText ?? "unreadable" } catch (e) { text = "unreadable" } done(text) };
		document.body.append(frame);
	})`, page))
	if got != "unreadable" {
		t.Errorf("a frame shows %q", got)
	}
	for _, frame := range call(p, cdppage.GetFrameTree, cdp.Empty{}).FrameTree.ChildFrames {
		if frame.Frame.UnreachableURL == "" {
			t.Errorf("a frame has loaded %s", frame.Frame.URL)
		}
	}
	b.unchanged(d)
	if now := b.Receiver.Total().Requests; now != before {
		t.Errorf("the receiver has had %d more requests", now-before)
	}

	// A link may be followed: it changes nothing, and the page that it is on learns nothing.
	evaluate[bool](p, fmt.Sprintf(`(document.body.insertAdjacentHTML("beforeend", '<a href="%s">Follow</a>'), true)`, page))
	p.click("link", "Follow")
	p.waitFor("1 failed")
}

// A name that somebody has pointed at this address opens nothing.
func TestForeignHost(t *testing.T) {
	b := newBed(t)
	s := b.dashboard("", false)
	rebound := strings.Replace(s.address, "127.0.0.1", reboundHost, 1)
	p := newPage(t, s.address)
	p.expect(reboundHost)
	for _, path := range []string{"/", b.path("/webhooks"), strings.TrimPrefix(s.server.SignInURL(""), s.address)} {
		p.open(rebound + path)
		p.waitFor("Not this address")
		if cookies := evaluate[string](p, `document.cookie`); cookies != "" {
			t.Errorf("%s sets %s", path, cookies)
		}
	}
	// The link has not been used up.
	p.open(s.server.SignInURL(b.path("/webhooks")))
	p.at(b.path("/webhooks"))
	p.waitFor("No webhooks in")
	p.open(rebound + b.path("/webhooks"))
	p.waitFor("Not this address")
}
