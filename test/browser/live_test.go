package browser

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// A page changes by itself, and not under the hands of whoever uses it.
func TestLive(t *testing.T) {
	b := newBed(t)
	b.Webhook("orders")
	deliver := func(id int64) string {
		t.Helper()
		return b.Delivery("orders", b.Event(id), v1alpha1.DeliverySucceeded).Name
	}
	first := deliver(1)
	deliver(2)

	p := b.dashboard("", false).signIn("/webhooks/orders")
	p.live()
	rows := func(n int) {
		t.Helper()
		p.until(fmt.Sprintf(`document.querySelectorAll("tbody tr").length === %d`, n))
	}
	rows(2)
	evaluate[bool](p, `window.neverLoadedAgain = true`)

	third := deliver(3)
	rows(3)
	if !p.has("checkbox", "Select "+third) {
		t.Errorf("the new row is not that of %s", third)
	}

	// What has the focus keeps it.
	evaluate[bool](p, `document.getElementById("f-type").focus(), true`)
	deliver(4)
	rows(4)
	if n := p.focused(); n == nil || n.name != "Event type" {
		t.Errorf("the focus has gone from Event type to %v", n)
	}

	// Rows stay where they are while a box is ticked, and the box stays ticked.
	p.check("Select "+first, true)
	p.find("button", "Resend 1 selected")
	deliver(5)
	p.find("button", "Show 1 new delivery")
	deliver(6)
	p.find("button", "Show 2 new deliveries")
	rows(4)
	if n := p.focused(); n == nil || n.name != "Select "+first {
		t.Errorf("the focus has gone from the box to %v", n)
	}
	p.click("button", "Show 2 new deliveries")
	rows(6)
	p.gone("button", "Show 2 new deliveries")
	if n := p.find("checkbox", "Select "+first); n.states["checked"] != "true" {
		t.Errorf("%s is not ticked any more", n)
	}
	p.check("Select "+first, false)
	evaluate[bool](p, `document.activeElement.blur(), true`)

	// The same under the pointer, until it leaves.
	p.point("tbody tr:nth-child(3)")
	deliver(7)
	p.find("button", "Show 1 new delivery")
	rows(6)
	p.point("h1")
	rows(7)

	// The same for whoever has scrolled, on a phone.
	p.view(375, light)
	evaluate[bool](p, `document.querySelector("tbody tr:nth-child(5)").scrollIntoView(), true`)
	scrolled := evaluate[float64](p, `scrollY`)
	top := evaluate[float64](p, `document.querySelector("tbody tr:nth-child(5)").getBoundingClientRect().top`)
	deliver(8)
	p.until(`document.querySelector("[data-fresh]").textContent === "Show 1 new delivery"`)
	if now := evaluate[float64](p, `scrollY`); scrolled == 0 || now != scrolled {
		t.Errorf("the page was scrolled by %v px and is by %v px", scrolled, now)
	}
	if now := evaluate[float64](p, `document.querySelector("tbody tr:nth-child(5)").getBoundingClientRect().top`); now != top {
		t.Errorf("a row has moved by %v px", now-top)
	}
	p.view(usualWidth, light)
	p.click("button", "Show 1 new delivery")
	rows(8)

	// A row that is gone stays until the pointer leaves, and moves none of the others.
	p.point("tbody tr:nth-child(3)")
	keys := func() string {
		return evaluate[string](p, `[...document.querySelectorAll("tbody tr")].map(row => row.dataset.key).join(" ")`)
	}
	all := keys()
	removed := evaluate[string](p, `document.querySelector("tbody tr:nth-child(2)").dataset.key`)
	b.Expect(b.Client.Delete(b.Ctx, &v1alpha1.WebhookDelivery{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: removed}})).To(Succeed())
	p.until(`document.querySelector(".below").textContent.startsWith("7 deliveries")`)
	if now := keys(); now != all {
		t.Errorf("rows have moved under the pointer: %s, and not %s", now, all)
	}
	p.point("h1")
	rows(7)

	// Times grow.
	p.until(`[...document.querySelectorAll("tbody time")].every(e => e.textContent !== "now")`)
	before := p.text("tbody tr:first-child time")
	p.until(fmt.Sprintf(`document.querySelector("tbody tr:first-child time").textContent !== %q`, before))
	if !evaluate[bool](p, `window.neverLoadedAgain === true`) {
		t.Error("the page was loaded again")
	}
}
