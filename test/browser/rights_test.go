package browser

import (
	"slices"
	"strings"
	"testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// changing are the controls of a page's main part that change something.
func (p *page) changing() []string {
	p.t.Helper()
	main := p.narrow("main part", func(n *node) bool { return n.role == "main" })
	names := append(main.names("button"), main.names("checkbox")...)
	names = append(names, main.names("DisclosureTriangle")...)
	for _, link := range main.names("link") {
		if evaluate[bool](p, `[...document.querySelectorAll("main a.button")].some(a => (a.ariaLabel ?? a.textContent.trim()) === `+quote(link)+`)`) {
			names = append(names, link)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		harmless := []string{"Filter", "View logs of orders", "Load the page again", "All webhooks"}
		return strings.HasPrefix(name, "Copy ") || slices.Contains(harmless, name)
	})
}

// wantChanging looks which controls there are that change something.
func (p *page) wantChanging(path, ready string, want ...string) {
	p.t.Helper()
	p.open(path)
	p.waitFor(ready)
	if got := p.changing(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		p.t.Errorf("%s has the controls %q, want %q", path, got, want)
	}
}

// withOneFailure makes a Webhook with a delivery that has failed.
func (b *bed) withOneFailure() *v1alpha1.WebhookDelivery {
	b.Helper()
	b.Receiver.Script("/orders", fails)
	b.Webhook("orders", once)
	return b.Delivery("orders", b.Event(1), v1alpha1.DeliveryFailed)
}

// Nobody is offered what would be refused.
func TestViewer(t *testing.T) {
	b := newBed(t)
	viewer := b.dashboard(b.kubeconfig("viewer", viewerRole), false).signIn("/webhooks")
	viewer.wantChanging(b.path("/webhooks"), "To create one here you need the role edit")
	d := b.withOneFailure()
	viewer.wantChanging(b.path("/webhooks"), "500, failed")
	viewer.wantChanging(b.path("/webhooks/orders"), "1 delivery")
	viewer.wantChanging(b.path("/deliveries/"+d.Name), "Request header")
	viewer.wantChanging(b.path("/events/horizon-1"), "Webhooks, and why")
	viewer.wantChanging(b.path("/webhooks/orders/delete"), "You may not delete webhooks")
	viewer.waitFor("You are viewer here")

	resender := b.dashboard(b.kubeconfig("resender", viewerRole, resenderRole), false).signIn("/webhooks")
	resender.wantChanging(b.path("/webhooks"), "500, failed")
	resender.wantChanging(b.path("/webhooks/orders"), "1 delivery",
		"Resend all that failed (1)", "Resend selected", "Select all that are listed", "Select "+d.Name)
	resender.wantChanging(b.path("/deliveries/"+d.Name), "Request header", "Resend")
	b.Receiver.Script("/orders")
	resender.click("button", "Resend")
	resender.waitFor("Delivered: the receiver answered 200 OK")
	resender.waitFor("asked for by resender")

	editor := b.dashboard(b.kubeconfig("editor", editorRole), false).signIn("/webhooks")
	editor.wantChanging(b.path("/webhooks"), "200, succeeded",
		"Create a webhook", "Edit orders", "Test orders", "Pause orders", "Delete orders")
}

// With --read-only nothing is offered, and what is sent all the same is refused.
func TestReadOnly(t *testing.T) {
	b := newBed(t)
	p := b.dashboard("", true).signIn("/webhooks")
	p.wantChanging(b.path("/webhooks"), "This dashboard is read only")
	d := b.withOneFailure()
	p.wantChanging(b.path("/webhooks"), "500, failed")
	p.wantChanging(b.path("/webhooks/orders"), "1 delivery")
	p.wantChanging(b.path("/deliveries/"+d.Name), "Request header")
	p.waitFor("Started with --read-only: nothing can be changed")

	p.expect("status of 403")
	evaluate[bool](p, `(document.body.insertAdjacentHTML("beforeend", '<form id="forged" method="post" action="' + location.pathname + '/resend"></form>'), document.getElementById("forged").submit(), true)`)
	p.waitFor("it shows everything and changes nothing")
	b.unchanged(d)
}
