package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

// hostileAnswer is what a tenant or a receiver may write to harm whoever reads it.
const hostileAnswer = "\x1b[2J\x1b]0;owned\x07all\u202egnp.exe\u200b well\r\nDelivered\u0085\u009b31m"

// harmless fails where a text could do something to a terminal.
func harmless(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsAny(text, "\x1b\x07\r\u202e\u200b\u0085\u009b") {
		t.Errorf("it acts on a terminal: %q", text)
	}
}

// everyWidth prints an answer at each width that golden files have: none, 80 and 160.
// Where it is wrapped, no line may be wider.
func everyWidth(t *testing.T, name string, wrapped bool, words func(*teller)) {
	t.Helper()
	for _, width := range []int{0, 80, 160} {
		var out bytes.Buffer
		p := &plugin{IOStreams: genericiooptions.IOStreams{Out: &out}, width: width}
		if err := p.tell(nil, "", nil, words); err != nil {
			t.Fatal(err)
		}
		harmless(t, out.String())
		if width > 0 && wrapped {
			for line := range strings.Lines(out.String()) {
				if strings.HasPrefix(strings.TrimSpace(line), "| ") { // of an expression, with a caret below
					continue
				}
				// What is to be copied is not broken, and neither is one long word.
				if line = strings.TrimRight(line, "\n"); cellWidth(line) > width && !strings.Contains(line, "`") && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("wider than %d: %s", width, line)
				}
			}
		}
		golden(t, fmt.Sprintf("%s-%d.txt", name, width), out.String())
	}
}

func answerOfEvent() *insight.Event {
	e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{EventType: "clusters_deployed", ResourcePath: "/music/player/web/web-prod"}}
	e.Namespace, e.Name = "music", "horizon-78402"
	ref := func(name string) insight.Ref { return insight.Ref{Namespace: "music", Name: name} }
	return &insight.Event{
		Object: e, Event: ref(e.Name),
		Finding: insight.Finding{Outcome: insight.Failed, Reason: "Gone",
			Message: "delivered to 1 webhook, failed at 1 webhook, 2 webhooks do not follow it"},
		Webhooks: []insight.EventWebhook{
			{Webhook: ref("chat"), Delivery: "chat-692a0000-4f0c9a1be7d2c3f4", Finding: insight.Finding{
				Outcome: insight.Failed, Reason: "Gone", Message: "the receiver wants no more: answered 410 Gone; the last attempt failed: " + hostileAnswer,
				Help: "if it has moved, change the webhook (`kubectl horizon edit chat -n music`), then send it again: `kubectl horizon resend chat-692a0000-4f0c9a1be7d2c3f4 -n music`",
			}},
			{Webhook: insight.Ref{Namespace: "horizon-webhooks", Name: "audit"}, Delivery: "audit-692a0000-5f0c9a1be7d2c3f4", Finding: insight.Finding{
				Outcome: insight.Delivered, Reason: "Accepted", Message: "the receiver answered 200 OK at 2026-11-23T08:05:00Z (55m ago), after 1 attempt",
			}},
			{Webhook: ref("smoke-tests"), Finding: insight.Finding{
				Outcome: insight.NotFollowed, Reason: insight.ReasonEditedLater,
				Message: "it did not follow the event when that was dispatched (Trigger); it was edited at 2026-11-23T08:59:00Z (60s ago) by " + hostileAnswer + ", and follows such events now",
				Help:    "`kubectl horizon replay smoke-tests --since 2026-11-23T08:00:00Z -n music` brings this event",
			}},
			{Webhook: ref("later"), Finding: insight.Finding{Outcome: insight.NotFollowed, Reason: "FilterInvalid",
				Message: "it follows nothing, since spec.filter does not compile: 1:15: undefined field 'nme'",
				Detail:  "  | event.cluster.nme == \"" + hostileAnswer + strings.Repeat("-", 100) + "\"\n  | ..............^",
				Help:    "mend spec.filter: `kubectl horizon edit later -n music`"}},
		},
		Notes: []string{"webhooks of the namespace horizon-webhooks, which follow the events of every namespace, are not told of: you may not read them"},
	}
}

func TestTellEvent(t *testing.T) {
	answer := answerOfEvent()
	everyWidth(t, "why/event", true, func(te *teller) { tellEvent(te, answer) })
	answer.Webhooks = answer.Webhooks[2:3]
	answer.Finding = answer.Webhooks[0].Finding
	everyWidth(t, "why/event-of-one", true, func(te *teller) { tellEvent(te, answer) })
}

func TestTellWebhook(t *testing.T) {
	w := &v1alpha1.Webhook{}
	w.Status.LastDelivery = &v1alpha1.LastDelivery{
		Name: "chat-1", Time: metav1.NewMicroTime(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)), Result: v1alpha1.DeliveryWaiting,
	}
	mistake := insight.Finding{Outcome: insight.Stopped, Reason: "NotReady", Detail: "  | {\"a\": foo}\n  | ......^",
		Message: "the webhook is not Ready (PayloadInvalid): deliveries wait, since spec.payload.template does not compile: 1:7: unknown name 'foo'"}
	resting := insight.Finding{Outcome: insight.Troubled, Reason: "ReceiverResting", Message: "the receiver asked to be left alone until 2026-11-23T09:20:00Z (in 20m) (" + hostileAnswer + ")"}
	answer := &insight.Webhook{
		Object: w, Webhook: insight.Ref{Namespace: "music", Name: "chat"}, Finding: resting,
		Findings: []insight.Finding{resting, {Outcome: insight.Troubled, Reason: "TooManyWaiting", Message: "10000 deliveries wait"}, mistake},
		Count:    insight.WaitingCount{Resends: 1, Due: 10_000, Later: 3},
		Waiting: []insight.WaitingDelivery{{Name: "chat-1", Finding: insight.Finding{
			Outcome: insight.Waiting, Reason: insight.ReasonResendAsked, Message: "a resend was asked for (" + hostileAnswer + ") and has not begun",
		}}},
	}
	everyWidth(t, "why/webhook", true, func(te *teller) { tellWebhook(te, answer) })

	// What is said of the Webhook is not said again of what waits for that.
	waits := mistake
	waits.Outcome, waits.Message = insight.Waiting, mistake.Message+"; it fails if it has not been sent by 2026-11-26T08:00:00Z (in 71h)"
	answer.Finding, answer.Findings = mistake, []insight.Finding{mistake}
	answer.Waiting = []insight.WaitingDelivery{{Name: "chat-1", Finding: waits}}
	everyWidth(t, "why/webhook-with-mistake", true, func(te *teller) { tellWebhook(te, answer) })
}

func TestTellDelivery(t *testing.T) {
	answer := &insight.Delivery{
		Delivery: insight.Ref{Namespace: "music", Name: "chat-1"}, Webhook: insight.Ref{Namespace: "music", Name: "chat"},
		Event:   insight.Ref{Namespace: "music", Name: "horizon-1"},
		Finding: insight.Finding{Outcome: insight.Waiting, Reason: "Retrying", Message: hostileAnswer, Help: "to send it now: `kubectl horizon resend chat-1 -n music`"},
	}
	everyWidth(t, "why/delivery", true, func(te *teller) { tellDelivery(te, answer) })
}

// A name may be that of several things, of one, or of none.
func TestWhyOfNames(t *testing.T) {
	b := newBed(t)
	b.Webhook("horizon-1")
	e := b.Event(1)
	d := b.Delivery("horizon-1", e, v1alpha1.DeliverySucceeded)

	r := b.run("why", "horizon-1")
	b.Expect(r.code).To(Equal(exitUsage))
	b.Expect(r.err).To(ContainSubstring("horizon-1 is the name of more than one: ask with event/horizon-1 or webhook/horizon-1"))
	b.Expect(b.mustRun("why", "event/horizon-1")).To(ContainSubstring("This is about the event horizon-1, clusters_deployed of /music/player/web/web-prod."))
	b.Eventually(func() string { return b.mustRun("why", "wh/horizon-1") }).Should(ContainSubstring("Nothing waits."))
	for _, arg := range []string{d.Name, "delivery/" + d.Name} {
		b.Expect(b.mustRun("why", arg)).To(HavePrefix("Delivered (Accepted): the receiver answered 200 OK at "))
	}
	b.Expect(b.mustRun("why", d.Name, "-o", "yaml")).To(ContainSubstring("\noutcome: Delivered\n"))

	for args, want := range map[string]string{
		"nothing":                   "there is no event, webhook or delivery nothing in the namespace " + b.Namespace,
		"pod/x":                     `"pod/x" is neither event/NAME nor webhook/NAME nor delivery/NAME`,
		"event/":                    "is neither event/NAME",
		"event/horizon-1 -o table":  `--output "table" is not one of`,
		d.Name + " --webhook other": "--webhook is for events",
		"":                          "name an event, a webhook or a delivery",
	} {
		r := b.run(append([]string{"why"}, strings.Fields(args)...)...)
		b.Expect(r.code).NotTo(Equal(0), args)
		b.Expect(r.err).To(ContainSubstring(want))
	}
}
