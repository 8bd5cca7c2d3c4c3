package browser

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// A filter and a template are checked while somebody writes them, and the preview follows what
// is written and the event that is chosen.
func TestFormExpressions(t *testing.T) {
	b := newBed(t)
	b.Event(1)
	b.Event(2, func(spec *v1alpha1.WebhookEventSpec) {
		spec.Cluster.Name, spec.Cluster.Env, spec.ResourcePath = "web-staging", "staging", "/music/player/web/web-staging"
	})
	p := b.dashboard(b.kubeconfig("user", "edit"), false).signIn("/new")
	p.fill("Name", "orders")
	p.fill("URL", b.Receiver.URL("/orders"))
	p.check("clusters_deployed A cluster has triggered a deploy task.", true)
	p.click("DisclosureTriangle", "Beyond Horizon")

	// A field that is misspelt is told while the caret is still in the text area.
	p.fill("Filter", `event.cluster.evn == "online"`)
	p.waitFor("undefined field 'evn'")
	if n := p.focused(); n == nil || n.name != "Filter" {
		t.Errorf("the focus is on %v", n)
	}
	if n := p.find("textbox", "Filter"); n.states["invalid"] == "" || !strings.Contains(n.description, "line 1, column 15: undefined field 'evn'") {
		t.Errorf("the filter is %s, described by %q", n, n.description)
	}
	if got, want := p.text("#filter-caret"), "  | event.cluster.evn == \"online\"\n  | ..............^"; got != want {
		t.Errorf("below the filter stands %q, want %q", got, want)
	}
	p.until(`document.getElementById("preview-said").textContent.includes("FilterInvalid")`)
	p.axe("a filter with a mistake")
	p.fill("Filter", `event.cluster.env == "online"`)
	p.until(`!document.getElementById("filter-mistake").textContent.trim() && !document.getElementById("filter-caret").textContent.trim()`)
	if n := p.find("textbox", "Filter"); n.states["invalid"] != "" {
		t.Errorf("the filter is mended, and still %s", n)
	}

	// The preview is that of one event, then of the other.
	choose := func(event string) {
		p.choose("The request for this event", evaluate[string](p, `document.querySelector('option[value="event:`+event+`"]').text.trim()`))
	}
	p.fill("Template", "{\n  \"text\": event.cluster.name + \" is out "+strings.ReplaceAll(hostile["image"], `"`, `'`)+"\"\n}")
	choose("horizon-2")
	p.waitFor("its filter is false for the event")
	p.until(`document.querySelector("#preview table.parts")?.textContent.includes("staging")`)
	choose("horizon-1")
	p.waitFor("nothing keeps it from being sent")
	p.until(`document.getElementById("preview-body-text")?.textContent.includes("web-prod is out")`)
	p.inert("the preview of a hostile template")
	p.click("DisclosureTriangle", "The event, as Horizon's body")
	p.axe("a preview")

	// What is opened stays so when the preview changes.
	p.fill("Template", `{"text": event.cluster.name + " is " + string(1 / event.member.id)}`)
	p.waitFor("division by zero")
	if !evaluate[bool](p, `document.getElementById("preview-event").open`) {
		t.Error("the event was folded again")
	}
	p.axe("a template that fails")
	p.fill("Template", "{\n  \"text\": event.cluster.name + \" is out\"\n}")
	p.click("DisclosureTriangle", "Show YAML")
	p.waitFor(`template: |-`)

	p.click("button", "Submit")
	p.at(b.path("/webhooks/orders"))
	w := &v1alpha1.Webhook{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "orders"}, w)).To(Succeed())
	b.Expect(w.Spec.Filter).To(Equal(`event.cluster.env == "online"`))
	b.Expect(w.Spec.Payload.Template).To(Equal("{\n  \"text\": event.cluster.name + \" is out\"\n}"))
	p.find("region", "Filter")
	p.axe("a webhook with expressions")

	d := b.Delivery("orders", b.Event(3), v1alpha1.DeliverySucceeded)
	p.open(b.path("/deliveries/" + d.Name))
	p.waitFor("web-prod is out")
	p.click("DisclosureTriangle", "The event, as Horizon's body")
	p.axe("a delivery with a body of a template")
}

// Why an event was not sent, and what is wrong with a filter, is there to be read.
func TestExpressionsAreAccessible(t *testing.T) {
	b := newBed(t)
	b.Webhook("false", func(spec *v1alpha1.WebhookSpec) {
		spec.Filter = `event.cluster.env == "` + strings.Repeat("long", 100) + `"`
	})
	b.Webhook("failing", func(spec *v1alpha1.WebhookSpec) { spec.Filter = `1 / event.member.id == 1` })
	for _, name := range []string{"wrong", "wrong-too"} {
		b.Webhook(name, func(spec *v1alpha1.WebhookSpec) {
			spec.Filter = strings.Repeat("true || ", 30) + `event.nme == "" `
			spec.Payload = &v1alpha1.PayloadSettings{Template: "{\"text\":\n}"}
		})
	}
	e := b.Event(1)
	p := b.dashboard("", false).signIn("/webhooks")
	p.open(b.path("/events/" + e.Name))
	p.live()
	p.waitFor("undefined field 'nme'")
	p.row("false").click("DisclosureTriangle", "Values of the filter's parts")
	p.axe("the event")
	p.open(b.path("/webhooks/wrong"))
	p.live()
	p.waitFor("undefined field 'nme'")
	p.axe("the webhook")
	p.open(b.path("/webhooks/wrong/edit"))
	p.waitFor("2 things have to be put right first")
	p.axe("the form")
}
