package browser

import (
	"slices"
	"testing"

	"github.com/chromedp/cdproto/cdp"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// controls are the roles that somebody does something with.
var controls = []string{"link", "button", "checkbox", "radio", "textbox", "searchbox", "combobox", "DisclosureTriangle"}

// walk goes through the page by Tab, from its beginning, and looks whether each control gets
// the focus, shows it and has a name. Of radio buttons one has to: arrows lead to the others.
func (p *page) walk(state string) {
	p.t.Helper()
	const stops = 300
	// By role and name: the preview of the form is made anew meanwhile.
	seen, reached := map[cdp.BackendNodeID]bool{}, map[[2]string]bool{}
	for range stops {
		p.press("Tab")
		n := p.focused()
		if n == nil {
			break // the browser's own controls: the page is at its end
		}
		if seen[n.id] {
			break
		}
		seen[n.id], reached[[2]string{n.role, n.name}] = true, true
		if n.name == "" {
			p.t.Errorf("%s: %s has no name", state, n)
		}
		if problem := evaluate[string](p, focusProblem); problem != "" {
			p.t.Errorf("%s: %s has the focus and %s", state, n, problem)
		}
	}
	root, err := p.tree()
	if err != nil {
		p.t.Fatal(err)
	}
	all := root.all(func(n *node) bool {
		return slices.Contains(controls, n.role) && n.states["disabled"] == "" && (n.role != "radio" || n.states["checked"] != "")
	})
	if len(all) < 5 {
		p.t.Errorf("%s: %d controls only", state, len(all))
	}
	for _, n := range all {
		if !reached[[2]string{n.role, n.name}] {
			p.t.Errorf("%s: Tab does not lead to %s", state, n)
		}
	}
}

// Every control can be reached, and seen to be, without a mouse.
func TestKeyboard(t *testing.T) {
	b := newBed(t)
	p := b.dashboard(b.kubeconfig("user", "edit"), false).signIn("/webhooks")
	p.waitFor("No webhooks in")
	p.walk("no webhooks")
	d := b.withOneFailure()
	e := b.Event(2)
	b.Delivery("orders", e, v1alpha1.DeliveryFailed)
	for _, test := range []struct{ path, ready string }{
		{"/webhooks", "500, failed"},
		{"/webhooks/orders", "2 deliveries"},
		{"/webhooks/orders?result=Failed", "2 deliveries"},
		{"/webhooks/orders/delete", "Delete orders?"},
		{"/webhooks/orders/edit", "Beyond Horizon"},
		{"/deliveries/" + d.Name, "Response body"},
		{"/events", "2 events"},
		{"/events/" + e.Name, "Webhooks, and why"},
		{"/new", "Beyond Horizon"},
	} {
		p.open(b.path(test.path))
		p.waitFor(test.ready)
		// Menus and what is folded are walked through open.
		evaluate[bool](p, `(document.querySelectorAll("details").forEach(d => { d.open = true }), true)`)
		p.walk(test.path)
	}
}
