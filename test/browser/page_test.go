package browser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const (
	light, dark = "light", "dark"

	// usualWidth is the window's in CSS pixels unless a test changes it, and that of
	// the pictures in the documentation.
	usualWidth, usualHeight = 1200, 900
)

// page is a tab of the browser, and what a person does with it.
type page struct {
	part

	t testing.TB
	// ctx is the tab's: it ends when the tab is closed.
	ctx context.Context
	// site is what paths are relative to, such as http://127.0.0.1:1234.
	site string

	mu       sync.Mutex // guards what follows
	problems []string   // what a test fails for
	expected []*regexp.Regexp
	asked    []string // all requests, such as GET http://127.0.0.1:1234/
	main     cdp.FrameID
	loading  bool
	changed  chan struct{} // closed, and replaced, when loading changes
}

// newPage opens a tab in a profile of its own: it shares no cookies with others. It is
// closed when the test ends, which then fails for what is still on its record.
func newPage(t *testing.T, site string) *page {
	t.Helper()
	needBrowser(t)
	return openPage(chromium.ctx, t, site, chromedp.WithNewBrowserContext())
}

// another opens a second tab in the same profile.
func (p *page) another() *page {
	p.t.Helper()
	return openPage(p.ctx, p.t, p.site)
}

func openPage(parent context.Context, t testing.TB, site string, options ...chromedp.ContextOption) *page {
	t.Helper()
	p := &page{t: t, site: site, changed: make(chan struct{})}
	p.part = part{page: p, within: func(root *node) []*node { return []*node{root} }, says: "the page"}
	ctx, cancel := chromedp.NewContext(parent, append(options, chromedp.WithListener(p.listen))...)
	p.ctx = ctx
	t.Cleanup(func() {
		p.report()
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil { // opens the tab
		t.Fatalf("opening a tab: %v", err)
	}
	frames := call(p, cdppage.GetFrameTree, cdp.Empty{})
	p.mu.Lock()
	p.main = frames.FrameTree.Frame.ID
	p.mu.Unlock()
	p.view(usualWidth, light)
	return p
}

// report tells the test what is on the page's record, and how the page looked if the
// test failed.
func (p *page) report() {
	p.t.Helper()
	for _, problem := range p.complaints() {
		p.t.Error(problem)
	}
	if !p.t.Failed() {
		return
	}
	outline := ""
	if root, err := p.tree(); err == nil {
		outline = root.outline()
	}
	address, _ := chromedp.Run(p.ctx, chromedp.Location())
	if picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot()); err == nil {
		// go test -artifacts keeps it.
		file := filepath.Join(p.t.ArtifactDir(), fmt.Sprintf("page-%s.png", p.main))
		_ = os.WriteFile(file, picture, 0o644)
	}
	p.t.Logf("at the end, %s was:\n%s", address, outline)
}

// listen takes down what the browser tells. It must not block.
func (p *page) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.asked = append(p.asked, e.Request.Method+" "+e.Request.URL)
		if foreign(e.Request.URL) {
			p.problem("asked another host: %s %s", e.Request.Method, e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		p.problem("exception: %s", exception(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning ||
			e.Type == runtime.ConsoleAPICalledTypeAssert {
			p.problem("console.%s: %s", e.Type, arguments(e.Args))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.problem("%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *cdppage.EventJavascriptDialogOpening:
		p.problem("%s dialog: %s", e.Type, e.Message)
		go func() {
			_, _ = chromedp.Call(p.ctx, cdppage.HandleJavaScriptDialog, cdppage.HandleJavaScriptDialogParams{Accept: false})
		}()
	case *cdppage.EventFrameRequestedNavigation:
		p.load(e.FrameID, true)
	case *cdppage.EventFrameStartedLoading:
		p.load(e.FrameID, true)
	case *cdppage.EventFrameStoppedLoading:
		p.load(e.FrameID, false)
	}
}

// problem puts something on the page's record. The caller holds p.mu.
func (p *page) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// load notes whether a document is on its way. The caller holds p.mu.
func (p *page) load(frame cdp.FrameID, loading bool) {
	if frame != p.main || p.loading == loading {
		return
	}
	p.loading = loading
	close(p.changed)
	p.changed = make(chan struct{})
}

// foreign tells whether a request for the address leaves this machine.
func foreign(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return true
	}
	switch u.Scheme {
	case "about", "data", "blob":
		return false
	}
	return u.Hostname() != "127.0.0.1"
}

func exception(e *runtime.ExceptionDetails) string {
	text := e.Text
	if e.Exception != nil {
		text = cmp.Or(e.Exception.Description, text)
	}
	return fmt.Sprintf("%s (%s:%d)", text, e.URL, e.LineNumber+1)
}

func arguments(args []*runtime.RemoteObject) string {
	var parts []string
	for _, a := range args {
		parts = append(parts, cmp.Or(a.Description, string(a.Value)))
	}
	return strings.Join(parts, " ")
}

// expect lets the page log what the pattern matches, from now on.
func (p *page) expect(pattern string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, regexp.MustCompile(pattern))
}

// complaints returns what is on the page's record and was not expected, and clears it:
// errors and warnings in the console, breaches of the content security policy, answers
// that are errors, dialogs, and requests to other hosts than 127.0.0.1.
func (p *page) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	problems := slices.DeleteFunc(p.problems, func(problem string) bool {
		return slices.ContainsFunc(p.expected, func(r *regexp.Regexp) bool { return r.MatchString(problem) })
	})
	p.problems = nil
	return problems
}

// requests returns the requests of the page so far, such as GET http://127.0.0.1:1234/.
func (p *page) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// call sends a command of the DevTools protocol to the tab.
func call[P, R any](p *page, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		p.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// do runs an action in the tab.
func do[T any](p *page, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatal(err)
	}
	return result
}

// evaluate returns what a JavaScript expression is, or what its promise comes to.
func evaluate[T any](p *page, expression string) T {
	p.t.Helper()
	return do(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// open goes to a path of the site, or to a whole address, and returns when the page has
// loaded.
func (p *page) open(path string) {
	p.t.Helper()
	if !strings.Contains(path, "://") {
		path = p.site + path
	}
	do(p, chromedp.Navigate(path))
	p.settle()
}

// reload loads the page once more.
func (p *page) reload() {
	p.t.Helper()
	do(p, chromedp.Reload())
	p.settle()
}

// back goes to the page before this one, which must have another address. A page that
// the browser has kept does not load.
func (p *page) back() {
	p.t.Helper()
	before := p.path()
	evaluate[chromedp.Void](p, `history.back()`)
	p.eventually("going back", func() error {
		if p.path() == before {
			return fmt.Errorf("still at %s", before)
		}
		return nil
	})
	p.settle()
}

// path is the address of the page within the site.
func (p *page) path() string {
	p.t.Helper()
	return strings.TrimPrefix(do(p, chromedp.Location()), p.site)
}

// settle waits until the page has loaded that an action may have asked for. Where that
// sends no request, it returns at once.
func (p *page) settle() {
	p.t.Helper()
	// What the renderer has to say of the action comes before its answer to this. It
	// gives none when the document is already gone.
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	_, _ = chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](`new Promise(done => setTimeout(done))`, chromedp.EvalAwaitPromise))
	for {
		p.mu.Lock()
		loading, changed := p.loading, p.changed
		p.mu.Unlock()
		if !loading {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.t.Fatalf("the page did not load within %v", patience)
		}
	}
}

// view sets the width of the window in CSS pixels and the colours that its person
// prefers. Motion is reduced: what moves is neither measured nor pictured.
func (p *page) view(width int, scheme string) {
	p.t.Helper()
	do(p, chromedp.EmulateViewport(int64(width), usualHeight))
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// tree is the page's accessibility tree as it is now.
func (p *page) tree() (*node, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		return nil, err
	}
	return tree(result.Nodes), nil
}

// text is what can be read in the elements that a CSS selector selects, a line for each.
func (p *page) text(selector string) string {
	p.t.Helper()
	return evaluate[string](p, fmt.Sprintf(`[...document.querySelectorAll(%q)].map(e => e.innerText).join("\n")`, selector))
}

// waitFor waits until the page says something.
func (p *page) waitFor(text string) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("the page says %q", text), func() error {
		if says := squeeze(p.text("body")); !strings.Contains(says, squeeze(text)) {
			return fmt.Errorf("it says: %s", says)
		}
		return nil
	})
}

// eventually tries something until it succeeds, and fails the test if it never does.
// What is tried must be fit to be tried again.
func (p *page) eventually(what string, try func() error) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
		select {
		case <-time.After(interval):
		case <-p.ctx.Done():
			p.t.Fatalf("%s: %v", what, errors.Join(p.ctx.Err(), err))
		}
	}
}
