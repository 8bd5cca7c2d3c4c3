package browser

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// person is how somebody uses a page.
type person interface {
	fill(label, value string)
	tick(label string)
	// click clicks, or presses, a control.
	click(role, name string)
}

// byMouse uses the mouse, and writes.
type byMouse struct{ *page }

func (p byMouse) tick(label string)        { p.check(label, true) }
func (p byMouse) fill(label, value string) { p.part.fill(label, value) }

// byKeyboard uses nothing but the keyboard: what cannot be reached by Tab, or does not show
// that it has the focus, fails the test.
type byKeyboard struct{ *page }

func (p byKeyboard) fill(label, value string) {
	p.t.Helper()
	p.tabTo("textbox", label)
	p.press("Control+a")
	p.write(value)
}

func (p byKeyboard) tick(label string) {
	p.t.Helper()
	if n := p.tabTo("checkbox", label); n.states["checked"] == "" {
		p.press("Space")
	}
}

func (p byKeyboard) click(role, name string) {
	p.t.Helper()
	p.find(role, name)
	p.tabTo(role, name)
	p.press("Enter")
}

// The user's document, from an empty page to a delivery that is sent again.
func TestStory(t *testing.T) {
	story(t, func(p *page) person { return byMouse{p} })
}

// The same without a mouse.
func TestStoryByKeyboard(t *testing.T) {
	story(t, func(p *page) person { return byKeyboard{p} })
}

func story(t *testing.T, as func(*page) person) {
	t.Helper()
	b := newBed(t)
	const secret = "s3cr3t-token"
	p := b.dashboard(b.kubeconfig("user", "edit"), false).signIn("/webhooks")
	user := as(p)

	// "In Settings->Webhooks on the group home page, you can view the list of created webhooks
	// and create a new webhook. Webhooks contain the following configuration."
	p.waitFor("No webhooks in " + b.Namespace + " yet")
	user.click("link", "Create a webhook")
	p.at(b.path("/new"))
	user.fill("Name", "smoke-tests")
	user.fill("URL", b.Receiver.URL("/smoke-tests"))
	if n := p.find("checkbox", "Enable ssl verify"); n.states["checked"] == "" {
		t.Error("certificates are not verified unless somebody says so")
	}
	user.fill("Description", "Starts the smoke tests when a deploy task started.")
	user.fill("Secret", secret)
	user.tick("clusters_deployed A cluster has triggered a deploy task.")
	user.click("DisclosureTriangle", "Beyond Horizon")
	user.fill("Retries", "0")

	// "Click "submit" to complete the creation, you can see some basic information of the newly
	// created webhook in the webhook list, and through the "operations" column to edit, delete
	// webhook and view logs."
	user.click("button", "Submit")
	p.eventually("leaving the form", func() error {
		if strings.HasSuffix(p.path(), "/new") {
			return fmt.Errorf("still there: %s", squeeze(p.text("#summary")))
		}
		return nil
	})
	if !strings.HasSuffix(p.path(), "/webhooks") {
		user.click("link", "Horizon webhooks")
		p.at(b.path("/webhooks"))
	}
	row := p.row("smoke-tests")
	for _, want := range []string{
		b.Receiver.URL("/smoke-tests"), "Starts the smoke tests when a deploy task started.", "clusters_deployed", "ssl verify on", "secret set",
	} {
		if text := row.wait().text(); !strings.Contains(squeeze(text), want) {
			t.Errorf("the list does not say %q: %s", want, text)
		}
	}
	p.find("columnheader", "Operations")
	for _, name := range []string{"Edit smoke-tests", "Delete smoke-tests", "View logs of smoke-tests"} {
		row.find("link", name)
	}

	// Something happens, and the receiver is out of order.
	b.Receiver.Script("/smoke-tests", fails)
	d := b.Delivery("smoke-tests", b.Event(1), v1alpha1.DeliveryFailed)
	b.Delivery("smoke-tests", b.Event(2), v1alpha1.DeliveryFailed)
	p.waitFor("500, failed")

	// "Click "View logs" on the right side of the webhook list to enter the logs list page, you
	// can see the logs of this webhook, click "id" to enter the log details page"
	user.click("link", "View logs of smoke-tests")
	p.waitFor("2 deliveries")
	p.find("columnheader", "ID")
	user.click("link", d.Name[strings.LastIndex(d.Name, "-")+1:])
	p.at(b.path("/deliveries/" + d.Name))

	// "where you can view the request header, request body, response header, response body
	// information of this trigger record."
	for panel, want := range map[string][]string{
		"Request header":  {"Content-Type: application/json;charset=utf-8", "X-Horizon-Webhook-Secret: [redacted]"},
		"Request body":    {`"eventID": 1`, `"eventType": "clusters_deployed"`, `"name": "web-prod"`},
		"Response header": {"Content-Length: 12"},
		"Response body":   {"out of order"},
	} {
		text := p.in("region", panel).wait().text()
		for _, want := range want {
			if !strings.Contains(text, want) {
				t.Errorf("the %s does not have %q: %s", panel, want, text)
			}
		}
	}

	// "If the webhook fails to send, you can resend it via the "resend" button in the upper
	// right corner."
	place := evaluate[[]float64](p, `(() => {
		const button = [...document.querySelectorAll("main button")].find(b => b.textContent === "Resend");
		const box = button.getBoundingClientRect(), main = button.closest("main").getBoundingClientRect();
		return [main.right - box.right, box.bottom - main.top, box.left - main.left];
	})()`)
	if right, bottom, left := place[0], place[1], place[2]; right > 40 || bottom > 120 || left < 600 {
		t.Errorf("Resend is not at the upper right: %v px from the right, %v px from the top", right, bottom)
	}
	b.Receiver.Script("/smoke-tests")
	user.click("button", "Resend")
	p.waitFor("Delivered: the receiver answered 200 OK")
	p.waitFor("asked for by user")

	arrivals := b.Receiver.Arrivals("/smoke-tests")
	last := arrivals[len(arrivals)-1]
	if len(arrivals) != 3 || last.Header.Get("X-Horizon-Webhook-Secret") != secret || last.Header.Get("Content-Type") != "application/json;charset=utf-8" {
		t.Errorf("%d requests, the last with the header %v", len(arrivals), last.Header)
	}
	for _, path := range []string{"", "/webhooks", "/webhooks/smoke-tests", "/webhooks/smoke-tests/edit"} {
		if path != "" {
			p.open(b.path(path))
			p.waitFor("smoke-tests")
		}
		if strings.Contains(evaluate[string](p, `document.documentElement.outerHTML`), secret) {
			t.Errorf("%s has the secret in it", p.path())
		}
	}

	// And away with it.
	p.open(b.path("/webhooks"))
	user.click("link", "Delete smoke-tests")
	p.waitFor("Delete smoke-tests?")
	user.click("button", "Delete")
	p.waitFor("The webhook smoke-tests is deleted")
	p.waitFor("No webhooks in " + b.Namespace + " yet")
	b.Eventually(func() (int, error) {
		var secrets corev1.SecretList
		err := b.Client.List(b.Ctx, &secrets, client.InNamespace(b.Namespace))
		return len(secrets.Items), err
	}).Should(BeZero())
}
