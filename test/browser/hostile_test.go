package browser

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// hostile are texts that a page must show as they are, each with a word that is to be seen.
var hostile = map[string]string{
	"script":     `<script>alert("script-ran")</script>`,
	"svg":        `<svg onload="alert('svg-ran')"><circle r="9"/></svg>`,
	"image":      `<img src="/assets/none" onerror="alert('image-ran')">`,
	"closing":    `</pre></section></main></body></html><h1 id="forged">closing-tag</h1>`,
	"attribute":  `"><input autofocus onfocus=alert('attribute-ran') name='delivery' value='`,
	"template":   `{{.Data}} ${alert('template-ran')} {{template "layout"}}`,
	"address":    `javascript:alert('address-ran')`,
	"entity":     `&lt;b&gt;entity&lt;/b&gt; &#60;script&#62;`,
	"comment":    `<!-- comment --><style>body{display:none}</style>`,
	"frame":      `<iframe srcdoc="<script>parent.alert('frame-ran')</script>"></iframe>`,
	"streaming":  "event: main\ndata: <h1>streamed</h1>\n\n",
	"terminal":   "\x1b[31mred\x1b[0m\x07\x08bell",
	"reordering": "a\u202eevil\u202c\u2066b\u2069\u200fc",
	"invisible":  "zero\u200bwidth\u00adhyphen\ufefforder",
	"long":       strings.Repeat("longest", 2300),
}

// elements are those that only a hostile text could have put into a page.
const elements = `[...document.querySelectorAll("#forged, iframe, object, embed, style, base, circle, main script, main img, main [onload], main [onerror], main [onfocus], main [autofocus], a[href^='javascript:']")].map(e => e.outerHTML.slice(0, 100))`

// unseen finds characters that nobody sees or that reorder others, in what can be read.
const unseen = `(document.body.innerText.match(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]/g) ?? []).map(c => c.codePointAt(0).toString(16))`

// inert looks for what hostile texts have done to a page that shows them.
func (p *page) inert(state string) {
	p.t.Helper()
	for _, width := range []int{375, 1600} {
		p.view(width, light)
		if found := evaluate[[]string](p, elements); len(found) > 0 {
			p.t.Errorf("%s, %d px: elements that are not the page's: %q", state, width, found)
		}
		if found := evaluate[[]string](p, wide); len(found) > 0 {
			p.t.Errorf("%s, %d px: it scrolls sideways for %q", state, width, found)
		}
		if found := evaluate[[]string](p, unseen); len(found) > 0 {
			p.t.Errorf("%s, %d px: characters that cannot be seen: %q", state, width, found)
		}
		if n := evaluate[int](p, `document.querySelectorAll("h1").length`); n != 1 {
			p.t.Errorf("%s, %d px: %d headings of the first level", state, width, n)
		}
	}
	p.view(usualWidth, light)
}

// What receivers answer is shown, and does nothing.
func TestHostileAnswers(t *testing.T) {
	b := newBed(t)
	p := b.dashboard("", false).signIn("/webhooks")
	for name, text := range hostile {
		// Headers have neither line feeds nor most control characters.
		value := strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return -1
			}
			return r
		}, text)
		b.Receiver.Script("/"+name, receiver.Answer{Status: 400, Body: text, Header: http.Header{
			"Content-Type": {"text/html"}, "X-Hostile": {value}, "X-Second": {value, value},
		}})
		b.Webhook(name, once)
	}
	b.Receiver.Script("/json", receiver.Answer{Body: fmt.Sprintf(`{"a": %q, "<script>alert(1)</script>": ["</pre>"]}`, hostile["svg"])})
	b.Webhook("json")
	e := b.Event(1)
	for name, text := range hostile {
		d := b.Delivery(name, e, v1alpha1.DeliveryFailed)
		p.open(b.path("/deliveries/" + d.Name))
		p.waitFor("Response body")
		p.live()
		p.inert(name)
		shown := p.text("#response-body-text")
		switch name {
		case "terminal", "reordering", "invisible":
			if strings.TrimSpace(shown) == "" {
				t.Errorf("%s: nothing is shown", name)
			}
		default:
			if squeeze(shown) != squeeze(text) {
				t.Errorf("%s: %q is shown as %q", name, text, shown)
			}
			if headers := squeeze(p.text("#response-headers-text")); name != "streaming" && !strings.Contains(headers, squeeze(text)[:min(len(squeeze(text)), 4000)]) {
				t.Errorf("%s: it is not among the headers: %.300q", name, headers)
			}
		}
		if t.Failed() {
			return
		}
	}
	d := b.Delivery("json", e, v1alpha1.DeliverySucceeded)
	p.open(b.path("/deliveries/" + d.Name))
	p.waitFor(`"<script>alert(1)</script>": [ "</pre>" ]`)
	p.inert("json")

	// What was kept of the answers is on the pages of the Webhooks, too.
	p.open(b.path("/webhooks"))
	p.row("script").wait()
	p.inert("the list of webhooks")
	p.open(b.path("/webhooks/script"))
	p.waitFor("1 failed")
	p.inert("the page of a webhook")
	p.open(b.path("/events/" + e.Name))
	p.waitFor("Webhooks, and why")
	p.inert("the page of an event")
}

// What is in events and Webhooks is shown, and does nothing.
func TestHostileObjects(t *testing.T) {
	b := newBed(t)
	p := b.dashboard("", false).signIn("/webhooks")
	b.Webhook("orders", func(spec *v1alpha1.WebhookSpec) {
		spec.Description = hostile["script"] + hostile["closing"] + hostile["reordering"]
	})
	id := int64(0)
	for name, text := range hostile {
		id++
		text = text[:min(len(text), 128)]
		e := b.Event(id, func(spec *v1alpha1.WebhookEventSpec) {
			spec.Cluster.Name, spec.Cluster.ApplicationName, spec.Cluster.Env = text, text, text
			spec.User.Name, spec.User.Email = text, text
			spec.Extra = text
			spec.Member = &v1alpha1.MemberInfo{ID: new(int64(1)), Role: strings.ToValidUTF8(text[:min(len(text), 64)], ""), MemberName: text}
			spec.Pipelinerun = &v1alpha1.PipelinerunInfo{ID: new(int64(1)), Title: text, Description: text, GitRef: text}
		})
		d := b.Delivery("orders", e, v1alpha1.DeliverySucceeded)
		p.open(b.path("/deliveries/" + d.Name))
		p.waitFor("Response body")
		p.inert("a delivery of " + name)
		p.open(b.path("/events/" + e.Name))
		p.waitFor("What happened")
		p.inert("the event of " + name)
		if t.Failed() {
			return
		}
	}
	for path, ready := range map[string]string{
		"/webhooks": "orders", "/webhooks/orders": "script-ran", "/webhooks/orders/delete": "Delete orders?", "/events": "script-ran",
	} {
		p.open(b.path(path))
		p.waitFor(ready)
		p.inert(path)
	}
	p.expect("status of 40[04]")
	p.open(b.path("/webhooks/orders?type=%3Cscript%3Ealert(1)%3C/script%3E"))
	p.waitFor("<script>alert(1)</script>")
	p.inert("a hostile filter")
	p.open(b.path("/webhooks/%3Cscript%3Ealert(1)%3C%2Fscript%3E"))
	p.waitFor("<script>alert(1)</script>")
	p.inert("a hostile name")
}
