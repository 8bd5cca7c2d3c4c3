package browser

import (
	"testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// once makes a Webhook that tries each delivery once.
func once(spec *v1alpha1.WebhookSpec) { spec.Retry.Limit = new(int32(0)) }

// The lists and what stands beside them, by the rules of axe-core.
func TestAccessibleLists(t *testing.T) {
	b := newBed(t)
	p := b.dashboard("", false).signIn("/webhooks")
	p.waitFor("No webhooks in " + b.Namespace + " yet")
	p.axe("no webhooks")
	p.open(b.path("/events"))
	p.waitFor("Nothing has happened in " + b.Namespace + " yet")
	p.axe("no events")

	open := make(chan struct{})
	t.Cleanup(func() { close(open) })
	b.Receiver.Script("/broken", receiver.Answer{Status: 500, Body: "no"})
	b.Receiver.Script("/slow", receiver.Answer{Until: open})
	b.Webhook("orders", func(spec *v1alpha1.WebhookSpec) {
		spec.Description = "Starts the smoke tests."
		spec.Triggers = []v1alpha1.Trigger{"clusters_deployed", "cluster_created", "cluster_deleted", "clusters_freed", "clusters_rollbacked"}
		spec.SSLVerifyEnabled = new(false)
		spec.Scope = "/music/player"
	})
	b.Webhook("broken", once)
	b.Webhook("slow")
	b.Webhook("paused", func(spec *v1alpha1.WebhookSpec) { spec.State = v1alpha1.WebhookPaused })
	b.Webhook("disabled", func(spec *v1alpha1.WebhookSpec) { spec.State = v1alpha1.WebhookDisabled })
	b.Webhook("no-secret", func(spec *v1alpha1.WebhookSpec) {
		spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "absent", Key: "token"}
	})
	for id := range int64(3) {
		e := b.Event(id + 1)
		b.Delivery("orders", e, v1alpha1.DeliverySucceeded)
		b.Delivery("broken", e, v1alpha1.DeliveryFailed)
	}
	p.open(b.path("/webhooks"))
	p.row("broken").wait()
	p.waitFor("500, failed")
	p.axe("webhooks")
	p.open(b.path("/events"))
	p.row("horizon-3").wait()
	p.axe("events")
	p.open(b.path("/events?type=no_such"))
	p.waitFor("No such events")
	p.axe("no such events")
	p.open(b.path("/events/horizon-2"))
	p.waitFor("Webhooks, and why")
	p.axe("an event and who got it")
	p.open(b.path("/webhooks/disabled"))
	p.waitFor("Nothing was sent yet")
	p.axe("a webhook that is disabled")
	p.open(b.path("/webhooks/no-secret"))
	p.waitFor("absent")
	p.axe("a webhook without its secret")
	p.open(b.path("/webhooks/orders/delete"))
	p.waitFor("Delete orders?")
	p.axe("delete")
}

// The page of an event that nobody follows.
func TestAccessibleEvents(t *testing.T) {
	b := newBed(t)
	p := b.dashboard("", false).signIn("/webhooks")
	alone := b.Event(1)
	p.open(b.path("/events/" + alone.Name))
	p.waitFor("No webhook could follow it")
	p.axe("an event without webhooks")
	b.Webhook("others", func(spec *v1alpha1.WebhookSpec) { spec.Triggers = []v1alpha1.Trigger{"cluster_deleted"} })
	p.open(b.path("/events/" + b.Event(2).Name))
	p.row("others").wait()
	p.axe("an event that nobody follows")
}

// The page of a webhook in all its states.
func TestAccessibleWebhook(t *testing.T) {
	b := newBed(t)
	b.Event(1, bygone)
	b.Webhook("orders", once)
	p := b.dashboard("", false).signIn("/webhooks/orders")
	p.waitFor("Nothing was sent yet")
	p.axe("nothing sent")

	p.click("DisclosureTriangle", "Replay…")
	p.find("textbox", "Since (a time, or how long ago)")
	p.axe("the open menu of Replay")
	p.fill("Since (a time, or how long ago)", "1h")
	p.click("button", "Replay")
	p.waitFor("Completed")
	p.axe("a replay")

	open := make(chan struct{})
	b.Receiver.Script("/orders", receiver.Answer{Until: open})
	p.click("button", "Test")
	p.waitFor("Test is under way")
	p.axe("a test that is under way")
	close(open)
	p.waitFor("Test arrived: the receiver answered 200")
	p.axe("a test that arrived")
	b.Receiver.Script("/orders", receiver.Answer{Status: 500})
	p.click("button", "Test")
	p.waitFor("Test failed: the receiver answered 500")
	p.axe("a test that failed")

	b.Delivery("orders", b.Event(2), v1alpha1.DeliveryFailed)
	p.open(b.path("/webhooks/orders?result=Waiting"))
	p.waitFor("No such deliveries")
	p.axe("filtered to nothing")
	p.open(b.path("/webhooks/orders?result=Failed&since=1h"))
	p.find("button", "Resend all that failed (2)")
	p.axe("filtered")
	p.check("Select all that are listed", true)
	p.find("button", "Resend 2 selected")
	p.axe("ticked")
	p.click("button", "Resend all that failed (2)")
	p.waitFor("Resend of 2 deliveries: 2 asked for, 0 arrived, 2 failed")
	p.axe("many resends")
	p.open(b.path("/webhooks/orders"))
	p.click("button", "Pause orders")
	p.waitFor("orders is paused")
	p.axe("a notice")
}

// The page of a delivery in all its states.
func TestAccessibleDelivery(t *testing.T) {
	b := newBed(t)
	b.Receiver.Script("/good", receiver.Answer{Status: 200, Body: `{"a":[1,2,{"b":"c"}]}`, Header: map[string][]string{"Content-Type": {"application/json"}}})
	b.Receiver.Script("/bad", receiver.Answer{Status: 500, Body: "<h1>no</h1>"})
	b.Receiver.Script("/mute", receiver.Answer{Reset: true})
	b.Receiver.Script("/later", receiver.Answer{Status: 503})
	b.Webhook("good")
	b.Webhook("bad", once)
	b.Webhook("mute", once)
	b.Webhook("later")
	b.Webhook("paused", func(spec *v1alpha1.WebhookSpec) { spec.State = v1alpha1.WebhookPaused })
	e := b.Event(1)
	p := b.dashboard("", false).signIn("/webhooks")
	for name, result := range map[string]v1alpha1.DeliveryResult{
		"good": v1alpha1.DeliverySucceeded, "bad": v1alpha1.DeliveryFailed, "mute": v1alpha1.DeliveryFailed,
		"later": v1alpha1.DeliveryWaiting, "paused": v1alpha1.DeliveryWaiting,
	} {
		d := b.Delivery(name, e, result)
		p.open(b.path("/deliveries/" + d.Name))
		p.waitFor("Request header")
		p.axe("a delivery of " + name)
		if name == "good" {
			p.in("region", "Response body").click("radio", "Raw")
			p.click("DisclosureTriangle", "Copy as curl")
			p.axe("a delivery, raw, with curl")
		}
	}
	d := b.Delivery("bad", e, v1alpha1.DeliveryFailed)
	p.open(b.path("/deliveries/" + d.Name))
	p.click("button", "Resend")
	p.waitFor("A resend is asked for")
	p.axe("a delivery that is sent again")
}

// Errors, and the page for whoever is not signed in.
func TestAccessibleErrors(t *testing.T) {
	b := newBed(t)
	s := b.dashboard("", false)
	p := s.signIn("/webhooks")
	p.expect("status of 404")
	p.open(b.path("/webhooks/absent"))
	p.waitFor("Not found")
	p.axe("404")

	stranger := b.dashboard(b.kubeconfig("stranger"), false).signIn("/webhooks")
	stranger.expect("status of 403")
	stranger.waitFor("You may not see this")
	stranger.axe("403")

	outside := newPage(t, s.address)
	outside.expect("status of 401")
	outside.open("/")
	outside.waitFor("Not signed in")
	outside.axe("401")

	viewer := b.dashboard(b.kubeconfig("viewer", viewerRole), false).signIn("/webhooks")
	viewer.waitFor("To create one here you need the role edit")
	viewer.axe("no webhooks, for a viewer")
	b.Webhook("orders")
	viewer.open(b.path("/webhooks/orders/delete"))
	viewer.waitFor("You may not delete webhooks")
	viewer.axe("delete, for a viewer")
}
