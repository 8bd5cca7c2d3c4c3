package browser

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// axeSource is axe-core; see the README beside it.
var axeSource = sync.OnceValues(func() (string, error) {
	source, err := os.ReadFile("testdata/axe/axe.min.js")
	return string(source), err
})

func TestAxeIsPinned(t *testing.T) {
	source, err := axeSource()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("testdata/axe/README.md")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(source))
	if !strings.Contains(string(readme), hex.EncodeToString(sum[:])) {
		t.Errorf("axe.min.js has the sha256 %x, and its README says something else", sum)
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(source, "/*! axe v"), "\n")
	if !strings.Contains(string(readme), "`axe-core` "+version+" ") {
		t.Errorf("axe.min.js is of version %s, and its README says something else", version)
	}
}

// violation is a rule of axe-core that a page breaks.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct{ Target, HTML, Why string }
}

// runAxe is what is evaluated once axe is there.
const runAxe = `axe.run(document, {resultTypes: ["violations"]}).then(results => results.violations.map(v => ({
	id: v.id, impact: v.impact, help: v.help,
	nodes: v.nodes.map(n => ({target: n.target.join(" "), html: n.html.slice(0, 200), why: n.failureSummary})),
})))`

// wide tells what reaches beyond the window's right edge and makes the page scroll
// sideways: the innermost elements. What scrolls in a box of its own does not count.
const wide = `(() => {
	const limit = document.documentElement.clientWidth;
	if (document.documentElement.scrollWidth <= limit) return [];
	const out = [...document.body.querySelectorAll("*")].filter(e => {
		if (e.getBoundingClientRect().right <= limit + 0.5) return false;
		for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) {
			if (getComputedStyle(p).overflowX !== "visible") return false;
		}
		return true;
	});
	return out.filter(e => !out.some(o => o !== e && e.contains(o))).slice(0, 5).map(e => e.outerHTML.slice(0, 200));
})()`

// axe holds the page, in the state that is named, to the rules of axe-core and to its
// window: light and dark, on a phone and on a wide screen.
func (p *page) axe(state string) {
	p.t.Helper()
	for _, problem := range p.violations() {
		p.t.Errorf("%s: %s", state, problem)
	}
}

// violations tells what axe finds, in a form for people.
func (p *page) violations() []string {
	p.t.Helper()
	source, err := axeSource()
	if err != nil {
		p.t.Fatal(err)
	}
	var problems []string
	for _, scheme := range []string{light, dark} {
		for _, width := range []int{375, 1600} {
			p.view(width, scheme)
			if evaluate[string](p, `typeof axe`) == "undefined" {
				// The protocol may evaluate what the page's policy forbids.
				evaluate[chromedp.Void](p, source)
			}
			where := fmt.Sprintf("%s, %d px", scheme, width)
			for _, v := range evaluate[[]violation](p, runAxe) {
				problems = append(problems, v.describe(where))
			}
			problems = append(problems, p.beyond(where)...)
		}
	}
	for _, width := range []int{850, 1024, usualWidth} {
		p.view(width, light)
		problems = append(problems, p.beyond(fmt.Sprintf("%s, %d px", light, width))...)
	}
	p.view(usualWidth, light)
	return problems
}

// beyond tells what reaches beyond the window.
func (p *page) beyond(where string) []string {
	p.t.Helper()
	var problems []string
	for _, html := range evaluate[[]string](p, wide) {
		problems = append(problems, fmt.Sprintf("%s: reaches beyond the window: %s", where, html))
	}
	return problems
}

func (v violation) describe(where string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s (%s): %s", where, v.ID, v.Impact, v.Help)
	for _, n := range v.Nodes {
		fmt.Fprintf(&b, "\n\t%s\n\t\t%s\n\t\t%s", n.Target, n.HTML, strings.ReplaceAll(n.Why, "\n", "\n\t\t"))
	}
	return b.String()
}
