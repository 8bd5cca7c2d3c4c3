package browser

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// part is a part of a page, or all of it, where controls are looked for by role and
// name. What is looked for must be there once: two of a name could not be told apart by
// ear.
type part struct {
	page *page
	// within finds the part, from the root. More than one is an error.
	within func(root *node) []*node
	says   string
}

// in is the part of this part that has a role and a name.
func (s part) in(role, name string) part {
	return s.narrow(fmt.Sprintf("%s %q", role, name), func(n *node) bool { return n.role == role && n.name == name })
}

// row is the row of a table, or the item of a list, that has a cell, a link or anything
// else with the text.
func (s part) row(text string) part {
	return s.narrow(fmt.Sprintf("row with %q", text), func(n *node) bool {
		return (n.role == "row" || n.role == "listitem") && len(n.all(func(n *node) bool { return n.text() == text })) > 0
	})
}

func (s part) narrow(says string, condition func(*node) bool) part {
	return part{page: s.page, says: says + " in " + s.says, within: func(root *node) []*node {
		var found []*node
		for _, n := range s.within(root) {
			found = append(found, n.all(condition)...)
		}
		return found
	}}
}

// node is the part itself, as it is now.
func (s part) node() (*node, error) {
	root, err := s.page.tree()
	if err != nil {
		return nil, err
	}
	switch found := s.within(root); len(found) {
	case 0:
		return nil, fmt.Errorf("there is no %s", s.says)
	case 1:
		return found[0], nil
	default:
		return nil, fmt.Errorf("there are %d of %s", len(found), s.says)
	}
}

// wait waits for the part and returns it.
func (s part) wait() *node {
	s.page.t.Helper()
	var found *node
	s.page.eventually(s.says, func() (err error) {
		found, err = s.node()
		return err
	})
	return found
}

// find waits for a control and returns it.
func (s part) find(role, name string) *node {
	s.page.t.Helper()
	return s.in(role, name).wait()
}

// has tells whether there is such a control now, one or more.
func (s part) has(role, name string) bool {
	s.page.t.Helper()
	return slices.Contains(s.names(role), name)
}

// gone waits until there is no such control.
func (s part) gone(role, name string) {
	s.page.t.Helper()
	s.page.eventually(fmt.Sprintf("there is no %s %q any more", role, name), func() error {
		if s.has(role, name) {
			return errors.New("there is one")
		}
		return nil
	})
}

// names are the names of all controls of a role, in the order of the page.
func (s part) names(role string) []string {
	s.page.t.Helper()
	root, err := s.page.tree()
	if err != nil {
		s.page.t.Fatal(err)
	}
	var names []string
	for _, n := range s.within(root) {
		for _, n := range n.all(func(n *node) bool { return n.role == role }) {
			names = append(names, n.name)
		}
	}
	return names
}

// click clicks a control in its middle and waits for the page that this may lead to. A
// control that is disabled, hidden or covered is not clicked, as no person could.
func (s part) click(role, name string) {
	s.page.t.Helper()
	control := s.in(role, name)
	s.page.eventually("clicking "+control.says, func() error {
		n, err := control.node()
		if err != nil {
			return err
		}
		return s.page.clickNode(n)
	})
	s.page.settle()
}

// fill clicks a text field and writes a value in place of what is in it.
func (s part) fill(label, value string) {
	s.page.t.Helper()
	p := s.page
	field := s.narrow(fmt.Sprintf("text field %q", label), func(n *node) bool {
		return n.name == label && slices.Contains([]string{"textbox", "searchbox", "spinbutton", "combobox", "Date", "DateTime"}, n.role)
	})
	p.eventually("filling "+field.says, func() error {
		n, err := field.node()
		if err != nil {
			return err
		}
		if err := p.clickNode(n); err != nil {
			return err
		}
		if err := p.function(n, `function() { this.select() }`); err != nil {
			return err
		}
		if value == "" {
			p.press("Backspace")
		} else {
			call(p, input.InsertText, input.InsertTextParams{Text: value})
		}
		return p.function(n, `function(value) { if (this.value !== value) throw new Error("it holds " + this.value) }`, value)
	})
}

// choose chooses an option of a list by its text.
func (s part) choose(label, option string) {
	s.page.t.Helper()
	s.page.eventually(fmt.Sprintf("choosing %q in %q", option, label), func() error {
		n, err := s.in("combobox", label).node()
		if err != nil {
			return err
		}
		return s.page.function(n, `function(text) {
			const option = [...this.options].find(o => o.text.trim() === text);
			if (!option) throw new Error("there are only: " + [...this.options].map(o => o.text.trim()).join(", "));
			if (option.disabled || this.disabled) throw new Error("it is disabled");
			this.focus();
			this.value = option.value;
			this.dispatchEvent(new Event("input", {bubbles: true}));
			this.dispatchEvent(new Event("change", {bubbles: true}));
		}`, option)
	})
	s.page.settle()
}

// check clicks a check box unless it is as wanted.
func (s part) check(label string, want bool) {
	s.page.t.Helper()
	checked := func() bool { return s.find("checkbox", label).states["checked"] == "true" }
	if checked() == want {
		return
	}
	s.click("checkbox", label)
	if checked() != want {
		s.page.t.Fatalf("check box %q: a click changes nothing", label)
	}
}

// clickNode clicks the middle of a node with the mouse.
func (p *page) clickNode(n *node) error {
	if n.states["disabled"] != "" {
		return fmt.Errorf("%s is disabled", n)
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: n.id}); err != nil {
		return fmt.Errorf("%s cannot be seen: %w", n, err)
	}
	quads, err := chromedp.Call(ctx, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: n.id})
	if err != nil || len(quads.Quads) == 0 {
		return fmt.Errorf("%s has no place: %w", n, err)
	}
	var x, y float64
	for i, v := range quads.Quads[0] {
		if i%2 == 0 {
			x += v / 4
		} else {
			y += v / 4
		}
	}
	if err := p.function(n, `function(x, y) {
		const hit = document.elementFromPoint(x, y);
		if (!hit) throw new Error("its middle is outside the window");
		if (!this.contains(hit) && ![...(this.labels ?? [])].some(l => l.contains(hit))) {
			throw new Error("covered by " + hit.outerHTML.slice(0, 200));
		}
	}`, x, y); err != nil {
		return err
	}
	return chromedp.Do(ctx, chromedp.MouseClickXY(x, y))
}

// function calls a JavaScript function with a node's element as this. An exception is
// an error.
func (p *page) function(n *node, source string, args ...any) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	resolved, err := chromedp.Call(ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: n.id})
	if err != nil {
		return fmt.Errorf("%s is gone: %w", n, err)
	}
	_, err = chromedp.Run(ctx, chromedp.CallFunctionOn[chromedp.Void](source, func(c *runtime.CallFunctionOnParams) {
		c.ObjectID = resolved.Object.ObjectID
	}, args...))
	if err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	return nil
}

// keys are those that press knows by name.
var keys = map[string]string{
	"Tab": kb.Tab, "Enter": kb.Enter, "Space": " ", "Escape": kb.Escape, "Backspace": kb.Backspace, "Delete": kb.Delete,
	"ArrowDown": kb.ArrowDown, "ArrowUp": kb.ArrowUp, "ArrowLeft": kb.ArrowLeft, "ArrowRight": kb.ArrowRight,
	"Home": kb.Home, "End": kb.End, "PageDown": kb.PageDown, "PageUp": kb.PageUp,
}

var modifiers = map[string]chromedp.Modifier{
	"Shift": chromedp.ModifierShift, "Control": chromedp.ModifierCtrl, "Alt": chromedp.ModifierAlt,
}

// press presses keys one after the other, such as Tab, Enter, Shift+Tab or Control+a,
// and waits for the page that this may lead to.
func (p *page) press(names ...string) {
	p.t.Helper()
	for _, name := range names {
		words := strings.Split(name, "+")
		key := words[len(words)-1]
		var held []chromedp.Modifier
		for _, word := range words[:len(words)-1] {
			modifier, ok := modifiers[word]
			if !ok {
				p.t.Fatalf("there is no %s in %v", word, slices.Sorted(maps.Keys(modifiers)))
			}
			held = append(held, modifier)
		}
		if text, ok := keys[key]; ok {
			key = text
		} else if len([]rune(key)) != 1 {
			p.t.Fatalf("there is no %s in %v", key, slices.Sorted(maps.Keys(keys)))
		}
		do(p, chromedp.KeyEvent(key, chromedp.KeyModifiers(held...)))
		p.settle()
	}
}

// write types a text, key by key, into what has the focus.
func (p *page) write(text string) {
	p.t.Helper()
	do(p, chromedp.KeyEvent(text))
}

// focused is what has the focus, or nil.
func (p *page) focused() *node {
	p.t.Helper()
	root, err := p.tree()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, n := range root.all(func(n *node) bool { return n.states["focused"] != "" && n.role != "RootWebArea" }) {
		return n
	}
	return nil
}

// focusProblem says what a person who uses the keyboard would miss where the focus is.
const focusProblem = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body) return "";
	const style = getComputedStyle(e), box = e.getBoundingClientRect();
	if (!e.matches(":focus-visible")) return "is not :focus-visible";
	if ((style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1) && style.boxShadow === "none") return "has neither outline nor shadow";
	if (box.bottom <= 0 || box.right <= 0 || box.top >= innerHeight || box.left >= innerWidth) return "is outside the window";
	return "";
})()`

// tabTo presses Tab until a control has the focus. On the way everything that gets it
// must have a name, and show that it has it.
func (p *page) tabTo(role, name string) *node {
	p.t.Helper()
	const stops = 200
	var way []string
	for range stops {
		p.press("Tab")
		n := p.focused()
		if n == nil { // the browser's own controls have it
			way = append(way, "(the browser)")
			continue
		}
		way = append(way, n.String())
		if n.name == "" {
			p.t.Errorf("%s has no name", n)
		}
		if problem := evaluate[string](p, focusProblem); problem != "" {
			p.t.Errorf("%s has the focus and %s", n, problem)
		}
		if n.role == role && n.name == name {
			return n
		}
	}
	p.t.Fatalf("Tab does not lead to %s %q, but to:\n%s", role, name, strings.Join(way, "\n"))
	return nil
}
