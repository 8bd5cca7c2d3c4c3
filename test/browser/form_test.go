package browser

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// What is wrong is said beside its field, and nothing that was typed is lost.
func TestFormMistakes(t *testing.T) {
	b := newBed(t)
	p := b.dashboard(b.kubeconfig("user", "edit"), false).signIn("/new")
	p.expect("status of 422")
	p.fill("Name", "Not A Name")
	p.fill("URL", "ftp://receiver.example/hook")
	p.fill("Description", "kept")
	p.click("button", "Submit")
	p.waitFor("to be put right first")
	for _, field := range []string{"Name", "URL"} {
		n := p.find("textbox", field)
		if n.states["invalid"] == "" {
			t.Errorf("%s is not marked as wrong", field)
		}
		if len(n.description) < 20 {
			t.Errorf("%s is described by %q only", field, n.description)
		}
		p.find("link", field)
	}
	if text := p.text("#url-mistake"); !strings.Contains(text, "http") {
		t.Errorf("beside the URL stands %q", text)
	}
	if text := p.text("#triggers-mistake"); text == "" {
		t.Error("nothing is said of the triggers")
	}
	if n := p.find("textbox", "Description"); n.value != "kept" {
		t.Errorf("the description has become %q", n.value)
	}
	p.axe("a form with mistakes")

	p.fill("Name", "orders")
	p.fill("URL", b.Receiver.URL("/orders"))
	p.check("cluster_deleted A cluster is deleted.", true)
	p.click("button", "Submit")
	p.at(b.path("/webhooks/orders"))
	w := &v1alpha1.Webhook{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "orders"}, w)).To(Succeed())
	b.Expect(w.Spec.Description).To(Equal("kept"))
	b.Expect(w.Spec.Triggers).To(Equal([]v1alpha1.Trigger{"cluster_deleted"}))
}

// The form as it is before anything is typed, and with all of it shown.
func TestAccessibleForm(t *testing.T) {
	b := newBed(t)
	p := b.dashboard(b.kubeconfig("user", "edit"), false).signIn("/new")
	p.find("textbox", "URL")
	p.axe("the empty form")
	p.fill("Name", "orders")
	p.fill("URL", b.Receiver.URL("/orders?"+strings.Repeat("long", 50)))
	p.check("clusters_deployed A cluster has triggered a deploy task.", true)
	for _, name := range []string{"Beyond Horizon", "Show YAML", "More events", "Families of events"} {
		p.click("DisclosureTriangle", name)
	}
	p.waitFor("kind: Webhook")
	p.axe("the form with all of it shown")

	viewer := b.dashboard(b.kubeconfig("viewer", viewerRole), false).signIn("/new")
	viewer.waitFor("Create a webhook")
	viewer.axe("the form of a viewer")
	b.Webhook("there")
	p.open(b.path("/webhooks/there/edit"))
	p.find("button", "Submit")
	p.axe("the form that edits")
}

// Two people edit at once: whoever comes second sees both, and loses nothing.
func TestFormConflict(t *testing.T) {
	b := newBed(t)
	b.Webhook("orders", func(spec *v1alpha1.WebhookSpec) { spec.Description = "before" })
	s := b.dashboard(b.kubeconfig("user", "edit"), false)
	first := s.signIn("/webhooks/orders/edit")
	first.fill("Description", "mine")
	first.click("DisclosureTriangle", "Beyond Horizon")
	first.fill("Retries", "3")

	other := b.dashboard("", false).signIn("/webhooks/orders/edit")
	other.fill("Description", "theirs")
	other.click("button", "Submit")
	other.at(b.path("/webhooks/orders"))
	other.waitFor("theirs")

	first.expect("status of 409")
	first.click("button", "Submit")
	first.waitFor("Somebody else has changed the webhook meanwhile")
	conflict := first.in("group", "Description").wait().text()
	for _, want := range []string{"before", "theirs", "mine"} {
		if !strings.Contains(conflict, want) {
			t.Errorf("%q is not in %q", want, conflict)
		}
	}
	first.axe("a conflict")
	first.click("radio", "Theirs theirs")
	first.click("button", "Submit")
	first.at(b.path("/webhooks/orders"))
	w := &v1alpha1.Webhook{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "orders"}, w)).To(Succeed())
	b.Expect(w.Spec.Description).To(Equal("theirs"))
	b.Expect(w.Spec.Retry.Limit).To(HaveValue(BeEquivalentTo(3)))
}
