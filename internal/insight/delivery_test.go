package insight

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/test/object"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }

func event(changes ...func(*v1alpha1.WebhookEvent)) *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{
		EventID: 78402, EventType: "clusters_deployed", ResourcePath: "/music/player/web/web-prod",
	}}
	e.Namespace, e.Name, e.UID = "music", "horizon-78402", "6f0a6a4e-4c7a-4a3b-9f6e-2f3d7b0f1c11"
	e.CreationTimestamp = ago(time.Hour)
	e.Status = v1alpha1.WebhookEventStatus{ObservedGeneration: -1, Result: v1alpha1.EventPending}
	for _, change := range changes {
		change(e)
	}
	return e
}

func webhook(name string, changes ...func(*v1alpha1.Webhook)) *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{
		URL: "https://ci.example.com/hooks", Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}, State: v1alpha1.WebhookEnabled,
	}}
	w.Namespace, w.Name, w.UID, w.Generation = "music", name, types.UID("uid-of-"+name), 3
	w.CreationTimestamp = ago(24 * time.Hour)
	w.Status.ObservedGeneration = 3
	w.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonUsable,
		Message: "the webhook can be sent to", ObservedGeneration: 3,
	}}
	for _, change := range changes {
		change(w)
	}
	return w
}

// says makes a condition of a Webhook, about the Webhook as it is.
func says(conditionType string, status metav1.ConditionStatus, reason, message string) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) {
		meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{
			Type: conditionType, Status: status, Reason: reason, Message: message, ObservedGeneration: w.Generation,
		})
	}
}

func edited(w *v1alpha1.Webhook) { w.Generation++ }

func state(s v1alpha1.WebhookState) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.State = s }
}

func resting(until time.Duration) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) {
		says(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonReceiverResting, "the receiver asked for rest: it answered 429")(w)
		w.Status.RestUntil = metav1.NewTime(now.Add(until))
	}
}

// rateLimited has a rate limit that so many deliveries wait for.
func rateLimited(waiting int32) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) {
		w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 20, PerSeconds: 60}
		w.Status.Deliveries.Waiting = waiting
		says(v1alpha1.ConditionHealthy, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the receiver answered 200 OK")(w)
		says(v1alpha1.ConditionRateLimited, metav1.ConditionTrue, v1alpha1.ReasonRateLimited, "deliveries wait for the rate limit")(w)
	}
}

var (
	gone = says(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonGone, "the receiver answered 410 Gone")
	open = says(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonCircuitOpen, "attempts keep failing")
	bare = says(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound, "the Secret token does not exist")
)

// record is a delivery that was created an hour ago.
func record(t *testing.T, w *v1alpha1.Webhook, steps ...func(*v1alpha1.WebhookDelivery)) *v1alpha1.WebhookDelivery {
	t.Helper()
	d := delivery.New(event(), w, []byte(`{"eventID":78402}`))
	for _, step := range steps {
		step(d)
		d = object.Stored(t, d)
		d.CreationTimestamp = ago(time.Hour)
	}
	return d
}

func attempt(code int, at time.Duration, cause v1alpha1.AttemptCause) func(*v1alpha1.WebhookDelivery) {
	return func(d *v1alpha1.WebhookDelivery) {
		x := sending.Exchange{Start: now.Add(-at), Duration: 20 * time.Millisecond}
		if x.Response = (&sending.Response{StatusCode: code}); code == 0 {
			x.Response, x.Err = nil, errors.New("no route to host")
		}
		delivery.AddAttempt(d, delivery.Attempt{
			Cause: cause, Exchange: x, Chance: 0.5, Resend: d.Annotations[v1alpha1.AnnotationResend],
			Policy: retry.Policy{Limit: 2, MinBackoff: 10 * time.Minute, MaxBackoff: time.Hour, GiveUpAfter: 24 * time.Hour},
		})
	}
}

func wait(reason string) func(*v1alpha1.WebhookDelivery) {
	return func(d *v1alpha1.WebhookDelivery) {
		delivery.Wait(d, delivery.WaitReason{Reason: reason, Message: "stored because of " + reason}, now.Add(-time.Hour))
	}
}

func giveUp(reason string) func(*v1alpha1.WebhookDelivery) {
	return func(d *v1alpha1.WebhookDelivery) { delivery.GiveUp(d, reason, "given up: "+reason, now) }
}

func ask(value string) func(*v1alpha1.WebhookDelivery) {
	return func(d *v1alpha1.WebhookDelivery) {
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, v1alpha1.AnnotationResend, value)
	}
}

func TestOfDelivery(t *testing.T) {
	const initial, again, asked = v1alpha1.CauseInitial, v1alpha1.CauseRetry, v1alpha1.CauseResend
	type steps = []func(*v1alpha1.WebhookDelivery)
	type changes = []func(*v1alpha1.Webhook)
	for name, tc := range map[string]struct {
		steps   steps
		changes changes
		removed bool // the Webhook
		outcome Outcome
		reason  string
		message string
		help    string
		next    time.Duration
	}{
		"delivered": {
			steps: steps{attempt(200, 55*time.Minute, initial)}, outcome: Delivered, reason: "Accepted",
			message: "the receiver answered 200 OK at 2026-11-23T08:05:00Z (55m ago), after 1 attempt",
		},
		"delivered, and its webhook is gone": {
			steps: steps{attempt(200, 55*time.Minute, initial)}, removed: true, outcome: Delivered, reason: "Accepted", message: "200 OK",
		},
		"delivered before, and a resend failed": {
			steps:   steps{attempt(200, 55*time.Minute, initial), ask("x"), attempt(410, time.Minute, asked)},
			outcome: Delivered, reason: ReasonResendFailed, message: "it was delivered before; the last resend failed: answered 410 Gone", help: "horizon resend smoke",
		},
		"delivered before, and a resend is retried": {
			steps:   steps{attempt(200, 55*time.Minute, initial), ask("x"), attempt(500, time.Minute, asked)},
			outcome: Delivered, reason: "Retrying", message: "a resend failed and is tried again: attempt 3 is due at", next: 9 * time.Minute,
		},
		"retrying": {
			steps: steps{attempt(503, time.Minute, initial)}, outcome: Waiting, reason: "Retrying", next: 9 * time.Minute,
			message: "attempt 2 is due at 2026-11-23T09:09:01Z (in 9m1s); the last attempt, at 2026-11-23T08:59:00Z (60s ago), failed: answered 503",
			help:    "to send it now: `kubectl horizon resend smoke-",
		},
		"retrying, no answer": {
			steps: steps{attempt(0, time.Minute, initial)}, outcome: Waiting, reason: "Retrying", message: "failed: no route to host", next: 9 * time.Minute,
		},
		"retrying, and its time has come": {
			steps: steps{attempt(503, 20*time.Minute, initial)}, outcome: Waiting, reason: "Queued", message: "it has been due since 2026-11-23T08:50:01Z",
		},
		"retrying, and the circuit is open": {
			steps: steps{attempt(503, time.Minute, initial)}, changes: changes{open}, outcome: Waiting, reason: "Retrying", next: 9 * time.Minute,
		},
		"due, and the circuit is open": {
			steps: steps{attempt(503, 20*time.Minute, initial)}, changes: changes{open}, outcome: Waiting, reason: "CircuitOpen",
			message: "attempts keep failing", help: "to send it all the same",
		},
		"due, the circuit was open before an edit": {
			steps: steps{attempt(503, 20*time.Minute, initial)}, changes: changes{open, edited}, outcome: Waiting, reason: "Queued",
		},
		"retrying, and the webhook is Paused": {
			steps: steps{attempt(503, time.Minute, initial)}, changes: changes{state(v1alpha1.WebhookPaused)}, outcome: Waiting, reason: "Paused",
			message: "it fails if it has not been sent by 2026-11-26T08:00:00Z", help: "horizon resume smoke -n music",
		},
		"queued, and the webhook is Disabled meanwhile": {
			steps: steps{wait("Queued")}, changes: changes{state(v1alpha1.WebhookDisabled)}, outcome: Waiting, reason: "Disabled", help: "resume",
		},
		"queued": {
			steps: steps{wait("Queued")}, outcome: Waiting, reason: "Queued", message: "stored because of Queued", help: "horizon check",
		},
		"paused, and enabled meanwhile": {
			steps: steps{wait("Paused")}, outcome: Waiting, reason: "Queued", message: "it has been due since",
		},
		"not ready": {
			steps: steps{wait("NotReady")}, changes: changes{bare}, outcome: Waiting, reason: "NotReady",
			message: "SecretNotFound: the Secret token does not exist", help: "the operator notices within 30 s",
		},
		"not ready, and the edit has not been looked at": {
			steps: steps{wait("NotReady")}, changes: changes{bare, edited}, outcome: Waiting, reason: "NotReady", message: "stored because of NotReady",
		},
		"not ready, and mended": {
			steps: steps{wait("NotReady")}, outcome: Waiting, reason: "Queued",
		},
		"resting longer than the retry": {
			steps: steps{attempt(503, time.Minute, initial)}, changes: changes{resting(20 * time.Minute)}, outcome: Waiting, reason: "ReceiverResting",
			message: "left alone until 2026-11-23T09:20:00Z (in 20m)", next: 20 * time.Minute,
		},
		"resting shorter than the retry": {
			steps: steps{attempt(503, time.Minute, initial)}, changes: changes{resting(time.Minute)}, outcome: Waiting, reason: "Retrying", next: 9 * time.Minute,
		},
		"the rest is over": {
			steps: steps{wait("ReceiverResting")}, changes: changes{resting(-time.Minute)}, outcome: Waiting, reason: "Queued",
		},
		"gone, of others": {
			steps: steps{wait("Gone")}, changes: changes{gone}, outcome: Waiting, reason: "Gone", message: "until the webhook is edited", help: "horizon edit smoke",
		},
		"gone, and edited": {
			steps: steps{wait("Gone")}, changes: changes{gone, edited}, outcome: Waiting, reason: "Queued",
		},
		"circuit": {
			steps: steps{wait("CircuitOpen")}, outcome: Waiting, reason: "CircuitOpen", message: "stored because of CircuitOpen",
		},
		"stored first": {
			steps: steps{wait("StoredFirst")}, outcome: Waiting, reason: "StoredFirst",
		},
		"a reason of a later version": {
			steps: steps{wait("Melted")}, outcome: Waiting, reason: "Melted", message: "stored because of Melted",
		},
		"rate-limited": {
			steps: steps{wait("RateLimited")}, changes: changes{rateLimited(341)}, outcome: Waiting, reason: "RateLimited",
			message: "it waits for the rate limit of 20 per 60 s: 341 deliveries wait, which takes about 18m, and what is oldest goes first",
			help:    "a resend goes before the others",
		},
		"rate-limited, and the status does not say so yet": {
			steps: steps{wait("RateLimited")}, changes: changes{rateLimited(0), says(v1alpha1.ConditionRateLimited, metav1.ConditionFalse, "RateLimited", "not yet")},
			outcome: Waiting, reason: "RateLimited", message: "it waits for the rate limit of 20 per 60 s, and what",
		},
		"rate-limited, stored for something else": {
			steps: steps{wait("Paused")}, changes: changes{rateLimited(1)}, outcome: Waiting, reason: "RateLimited", message: "1 delivery waits, which takes about 60s",
		},
		"rate-limited, and the circuit is open": {
			steps: steps{wait("RateLimited")}, changes: changes{rateLimited(1), open}, outcome: Waiting, reason: "CircuitOpen",
		},
		"rate-limited, and the limit is gone": {
			steps: steps{wait("RateLimited")}, outcome: Waiting, reason: "Queued",
		},
		"a resend was asked for, and there is a rate limit": {
			steps: steps{wait("RateLimited"), ask("x")}, changes: changes{rateLimited(9)}, outcome: Waiting, reason: ReasonResendAsked,
			message: "and for the rate limit of 20 per 60 s, before all",
		},
		"its time is over": {
			steps: steps{wait("Paused")}, outcome: Waiting, reason: "WaitedTooLong", message: "about to be given up",
			changes: changes{func(w *v1alpha1.Webhook) { w.Spec.Retry.GiveUpAfterSeconds = 60 }},
		},
		"a resend was asked for": {
			steps: steps{attempt(410, time.Minute, initial), ask("2026/jane")}, changes: changes{state(v1alpha1.WebhookPaused), gone},
			outcome: Waiting, reason: ReasonResendAsked, message: "a resend was asked for (2026/jane) and has not begun",
		},
		"a resend was asked for, and a Secret is missing": {
			steps: steps{attempt(410, time.Minute, initial), ask("x")}, changes: changes{bare},
			outcome: Waiting, reason: "NotReady", message: "cannot begin: the webhook is not Ready: SecretNotFound",
		},
		"a test was asked for, and a Secret is missing": {
			steps: steps{ask("x"), func(d *v1alpha1.WebhookDelivery) { d.Spec.EventType = v1alpha1.EventTypeTest }}, changes: changes{bare},
			outcome: Waiting, reason: "NotReady", message: "a test was asked for (x) and cannot begin: the webhook is not Ready: SecretNotFound",
		},
		"a resend was asked for of a webhook that is gone": {
			steps: steps{attempt(410, time.Minute, initial), ask("x")}, removed: true, outcome: Failed, reason: ReasonResendRefused,
		},
		"a resend was asked for of a record that was made up": {
			steps:   steps{attempt(410, time.Minute, initial), ask("x"), func(d *v1alpha1.WebhookDelivery) { d.Name = "smoke-made-up" }},
			outcome: Failed, reason: ReasonResendRefused, message: "was not made for the webhook",
		},
		"retries exhausted": {
			steps:   steps{attempt(500, 9*time.Minute, initial), attempt(500, 8*time.Minute, again), attempt(502, 7*time.Minute, again)},
			outcome: Failed, reason: "RetriesExhausted", message: "3 attempts failed, which is all that spec.retry allows; the last attempt, at 2026-11-23T08:53:00Z (7m ago), failed: answered 502",
			help: "`kubectl horizon resend smoke-",
		},
		"waited too long": {
			steps: steps{wait("Paused"), giveUp("WaitedTooLong")}, outcome: Failed, reason: "WaitedTooLong", message: "given up: WaitedTooLong",
		},
		"overflow": {
			steps: steps{giveUp("Overflow")}, outcome: Failed, reason: "Overflow", message: "it was recorded and not sent: given up: Overflow",
		},
		"denied": {
			steps: steps{giveUp("EgressDenied")}, outcome: Failed, reason: "EgressDenied", help: "--egress-allow",
		},
		"gone": {
			steps: steps{attempt(410, time.Minute, initial)}, outcome: Failed, reason: "Gone", message: "answered 410", help: "horizon edit smoke",
		},
		"webhook gone": {
			steps: steps{wait("Queued")}, removed: true, outcome: Failed, reason: "WebhookGone", message: "smoke was deleted while it waited",
		},
		"webhook gone, as stored": {
			steps: steps{wait("Queued"), giveUp("WebhookGone")}, removed: true, outcome: Failed, reason: "WebhookGone", message: "given up: WebhookGone",
		},
		"failed for a reason of a later version": {
			steps: steps{giveUp("PayloadError")}, outcome: Failed, reason: "PayloadError", message: "given up: PayloadError", help: "horizon resend",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := webhook("smoke", tc.changes...)
			d := record(t, w, tc.steps...)
			if tc.removed {
				w = nil
			}
			got := OfDelivery(d, w, now)
			if got.Outcome != tc.outcome || got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) || !strings.Contains(got.Help, tc.help) {
				t.Errorf("got  %+v\nwant %s %s %q %q", got, tc.outcome, tc.reason, tc.message, tc.help)
			}
			if !near(got.Next, tc.next) {
				t.Errorf("the next attempt is at %s, want in %s", got.Next, tc.next)
			}
		})
	}
}

// near tells whether a time is a span from now, give or take two seconds.
func near(at time.Time, from time.Duration) bool {
	if from == 0 {
		return at.IsZero()
	}
	return at.Sub(now.Add(from)).Abs() <= 2*time.Second
}

// Another Webhook that has taken the name does not count.
func TestOfDeliveryOfAnEarlierWebhook(t *testing.T) {
	d := record(t, webhook("smoke"), wait("Queued"))
	other := webhook("smoke", func(w *v1alpha1.Webhook) { w.UID = "another" })
	if got := OfDelivery(d, other, now); got.Reason != v1alpha1.ReasonWebhookGone {
		t.Errorf("got %+v", got)
	}
}
