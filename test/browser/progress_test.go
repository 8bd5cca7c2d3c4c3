package browser

import (
	"fmt"
	"slices"
	"testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// All that failed are sent again: how far that is can be seen, and it can be ended.
func TestManyResends(t *testing.T) {
	b := newBed(t)
	const failures = 60
	// Every other one: failures in a row would open the circuit of the receiver.
	var answers []receiver.Answer
	for range failures {
		answers = append(answers, fails, receiver.Answer{})
	}
	b.Receiver.Script("/orders", answers...)
	b.Webhook("orders", func(spec *v1alpha1.WebhookSpec) {
		once(spec)
		spec.Retention.Limit = new(int32(1000))
	})
	for id := range int64(2 * failures) {
		b.Event(id + 1)
	}
	p := b.dashboard("", false).signIn("/webhooks/orders")
	p.find("button", fmt.Sprintf("Resend all that failed (%d)", failures))
	p.waitFor(fmt.Sprintf("50 of %d deliveries", 2*failures))
	first := b.Receiver.Total().Requests
	p.axe("more than one page")
	newest := p.names("checkbox")
	p.click("link", "Older")
	p.find("link", "Newest")
	if older := p.names("checkbox"); len(older) != len(newest) || slices.Contains(newest, older[1]) {
		t.Errorf("the second page has %d boxes, and the first %d", len(older), len(newest))
	}
	p.axe("the second page")
	p.click("link", "Newest")
	p.find("link", "Older")

	b.Receiver.Script("/orders")
	p.click("button", fmt.Sprintf("Resend all that failed (%d)", failures))
	p.waitFor(fmt.Sprintf("Resend of %d deliveries", failures))
	p.find("progressbar", "Asked for")
	p.click("button", "Stop")
	p.waitFor("0 under way · stopped")
	p.gone("button", "Stop")
	again := b.Receiver.Total().Requests - first
	if again == 0 || again >= failures {
		t.Errorf("%d of %d were sent again before it was stopped", again, failures)
	}
	p.waitFor(fmt.Sprintf("%d asked for, %d arrived, 0 failed, 0 under way · stopped", again, again))
	left := failures - again
	p.find("button", fmt.Sprintf("Resend all that failed (%d)", left))

	p.open(b.path("/webhooks/orders?result=Failed"))
	p.waitFor(fmt.Sprintf("%d deliveries", left))
	p.click("button", fmt.Sprintf("Resend all that failed (%d)", left))
	p.waitFor(fmt.Sprintf("Resend of %d deliveries: %d asked for, %d arrived, 0 failed, 0 under way", left, left, left))
	p.waitFor("No such deliveries")
	p.waitFor(fmt.Sprintf("%d succeeded, 0 failed, 0 waiting", 2*failures))
	if got, want := b.Receiver.Total().Requests, first+failures; got != want {
		t.Errorf("%d requests, want %d", got, want)
	}
}

// Those that are ticked are sent again, and no others.
func TestResendSelected(t *testing.T) {
	b := newBed(t)
	b.Receiver.Script("/orders", fails)
	b.Webhook("orders", once)
	var all []string
	for id := range int64(3) {
		all = append(all, b.Delivery("orders", b.Event(id+1), v1alpha1.DeliveryFailed).Name)
	}
	b.Receiver.Script("/orders")
	p := b.dashboard("", false).signIn("/webhooks/orders")
	p.check("Select "+all[0], true)
	p.check("Select "+all[2], true)
	p.click("button", "Resend 2 selected")
	p.waitFor("Resend of 2 deliveries: 2 asked for, 2 arrived, 0 failed, 0 under way")
	p.waitFor("2 succeeded, 1 failed")
}

// A test delivery, a replay, and a pause, with what comes of them on the page.
func TestReplayAndTest(t *testing.T) {
	b := newBed(t)
	for id := range int64(3) {
		b.Event(id+1, bygone)
	}
	b.Webhook("orders")
	p := b.dashboard("", false).signIn("/webhooks")

	p.click("button", "Test orders")
	p.at(b.path("/webhooks/orders"))
	p.waitFor("Test arrived: the receiver answered 200")
	p.click("link", "log of the test")
	p.waitFor("a test, which no event stands behind")
	p.back()

	p.click("DisclosureTriangle", "Replay…")
	p.fill("Since (a time, or how long ago)", "1h")
	p.click("button", "Replay")
	p.waitFor("Completed")
	p.waitFor("3 events found, 3 sent")
	p.waitFor("4 deliveries")
	p.expect("status of 400")
	p.click("DisclosureTriangle", "Replay…")
	p.fill("Since (a time, or how long ago)", "yesterday or so")
	p.click("button", "Replay")
	p.waitFor("Since when?")
	p.open(b.path("/webhooks/orders"))

	p.click("button", "Pause orders")
	p.waitFor("orders is paused: what comes is recorded and waits until it is resumed")
	b.Event(4)
	p.waitFor("1 waiting")
	p.click("button", "Resume orders")
	p.waitFor("orders is enabled")
	p.waitFor("5 succeeded, 0 failed, 0 waiting")
	if n := b.Receiver.Total().Requests; n != 5 {
		t.Errorf("%d requests, want 5", n)
	}
}
