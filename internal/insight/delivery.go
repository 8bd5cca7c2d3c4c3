package insight

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// OfDelivery says what a delivery means now. w is its Webhook as it is; nil where that is
// gone, and another one of its name counts as gone, too. What a delivery that waits says
// of itself was true when it was stored: what it waits for now, the Webhook tells.
func OfDelivery(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, now time.Time) Finding {
	if w != nil && w.UID != d.Spec.WebhookRef.UID {
		w = nil
	}
	state := delivery.StateOf(d)
	if state.Resend {
		return resendAsked(d, w)
	}
	if w == nil {
		if retry.Decide(state, nil, false, now).Action == retry.GiveUp {
			return Finding{Outcome: Failed, Reason: v1alpha1.ReasonWebhookGone,
				Message: fmt.Sprintf("its webhook %s was deleted while it waited; a new one of the same name does not get it", d.Spec.WebhookRef.Name)}
		}
		return OfRecord(d, now)
	}
	if retry.Deadline(state, w).IsZero() {
		return OfRecord(d, now)
	}
	return waiting(d, w, state, now)
}

// OfRecord says what a delivery tells by itself, where nobody knows its Webhook.
func OfRecord(d *v1alpha1.WebhookDelivery, now time.Time) Finding {
	reason, message, detail := told(d)
	switch d.Status.Result {
	case v1alpha1.DeliverySucceeded:
		return succeeded(d, message, now)
	case v1alpha1.DeliveryFailed:
		return failed(d, reason, message, now)
	case v1alpha1.DeliveryWaiting:
		f := Finding{Outcome: Waiting, Reason: reason, Message: message, Detail: detail, Next: d.Status.NextAttemptTime.Time}
		if !f.Next.IsZero() {
			f.Message = fmt.Sprintf("%s; the next attempt is due %s", message, when(f.Next, now))
		}
		return f
	}
	return Finding{Outcome: Unknown, Reason: reason, Message: sentence(string(d.Status.Result), message)}
}

// told is what a delivery's conditions say: what is done about it, or how it ended.
func told(d *v1alpha1.WebhookDelivery) (reason, message, detail string) {
	for _, conditionType := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionDelivered} {
		if c := meta.FindStatusCondition(d.Status.Conditions, conditionType); c != nil {
			message, detail = Detailed(c.Message)
			return c.Reason, message, detail
		}
	}
	return "", "", ""
}

// accepted tells whether the receiver accepted an attempt.
func accepted(a v1alpha1.Attempt) bool {
	if a.StatusCode == 0 || strings.HasPrefix(a.Error, retry.NotAccepted) {
		return false
	}
	return retry.OutcomeOf(sending.Exchange{Response: &sending.Response{StatusCode: int(a.StatusCode)}}) == retry.Accepted
}

// lastAttempt says how the last attempt ended, and when it began; empty where none was
// made.
func lastAttempt(d *v1alpha1.WebhookDelivery, now time.Time) string {
	if len(d.Status.History) == 0 {
		return ""
	}
	last := d.Status.History[0]
	how := last.Error
	if how == "" {
		how = fmt.Sprintf("answered %d", last.StatusCode)
	}
	return fmt.Sprintf("the last attempt, at %s, %s %s", when(last.Time.Time, now), endedWith(last), how)
}

func endedWith(a v1alpha1.Attempt) string {
	if accepted(a) {
		return "was accepted:"
	}
	return "failed:"
}

func resend(d *v1alpha1.WebhookDelivery) string { return command("resend", d.Namespace, d.Name) }

// deliveredBefore begins what internal/delivery says of a delivery that was delivered and of
// which a resend was given up.
const deliveredBefore = "it was delivered before; the last resend failed: "

func succeeded(d *v1alpha1.WebhookDelivery, message string, now time.Time) Finding {
	history := d.Status.History
	if len(history) > 0 && !accepted(history[0]) {
		return Finding{Outcome: Delivered, Reason: ReasonResendFailed,
			Message: sentence(message, lastAttempt(d, now)), Help: resend(d) + " sends it again"}
	}
	f := Finding{Outcome: Delivered, Reason: v1alpha1.ReasonAccepted, Message: message}
	if strings.HasPrefix(message, deliveredBefore) { // and the resend made no attempt
		f.Reason, f.Help = ReasonResendFailed, "mend that ("+command("edit", d.Namespace, d.Spec.WebhookRef.Name)+"), then send it again: "+resend(d)
		return f
	}
	if len(history) > 0 {
		f.Message = fmt.Sprintf("the receiver %s at %s, after %s", message, when(history[0].Time.Time, now),
			count(d.Status.Attempts, "attempt", "attempts"))
	}
	return f
}

func failed(d *v1alpha1.WebhookDelivery, reason, message string, now time.Time) Finding {
	f := Finding{Outcome: Failed, Reason: reason, Message: message}
	last := lastAttempt(d, now)
	edit := command("edit", d.Namespace, d.Spec.WebhookRef.Name)
	switch reason {
	case v1alpha1.ReasonRetriesExhausted:
		f.Message = fmt.Sprintf("%s failed, which is all that spec.retry allows; %s", count(d.Status.Attempts, "attempt", "attempts"), last)
		f.Help = "mend the receiver, then send it again: " + resend(d)
	case v1alpha1.ReasonWaitedTooLong:
		f.Message = sentence(message, last)
		f.Help = "see what kept it (" + command("why", d.Namespace, "webhook/"+d.Spec.WebhookRef.Name) + "), then send it again: " + resend(d)
	case v1alpha1.ReasonOverflow:
		f.Message = sentence("it was recorded and not sent: "+message, last)
		f.Help = "once the receiver accepts deliveries again: " + resend(d)
	case v1alpha1.ReasonEgressDenied:
		f.Message = "the operator sends nothing to this address: " + message
		f.Help = "an administrator can allow it (--egress-allow of the operator); then send it again: " + resend(d)
	case v1alpha1.ReasonGone:
		f.Message = "the receiver wants no more: " + sentence(message, last)
		f.Help = "if it has moved, change the webhook (" + edit + "), then send it again: " + resend(d)
	case v1alpha1.ReasonRejected:
		f.Message = sentence("the receiver "+message, last)
		f.Help = "mend the receiver, or what it is sent (" + edit + "), then send it again: " + resend(d)
	case v1alpha1.ReasonPayloadError:
		f.Message = sentence("nothing was sent: "+message, last)
		f.Help = "mend spec.payload.template (" + edit + "), try it (" +
			command("render", d.Namespace, d.Spec.WebhookRef.Name, "--event", eventOf(d)) +
			"), then send it again: " + resend(d)
	case v1alpha1.ReasonWebhookGone: // nothing can be sent of it
	default:
		f.Message = sentence(message, last)
		f.Help = "send it again: " + resend(d)
	}
	return f
}

// eventOf is the name of a delivery's event, with its namespace where that is another.
func eventOf(d *v1alpha1.WebhookDelivery) string {
	ref := d.Spec.EventRef
	if ref.Namespace == d.Namespace {
		return ref.Name
	}
	return ref.Namespace + "/" + ref.Name
}

// resendAsked is about a delivery of which a resend was asked for and has not begun.
func resendAsked(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook) Finding {
	what := "a resend"
	if d.Spec.EventType == v1alpha1.EventTypeTest && d.Status.Attempts == 0 {
		what = "a test" // which begins as a resend does
	}
	asked := what + " was asked for (" + cut(d.Annotations[v1alpha1.AnnotationResend]) + ")"
	if d.Status.Result == v1alpha1.DeliverySucceeded {
		asked = "it was delivered before; " + asked
	}
	switch {
	case w == nil:
		return Finding{Outcome: Failed, Reason: ReasonResendRefused, Message: fmt.Sprintf(
			"%s, and none can be made: its webhook %s is gone, and no other one gets it", asked, d.Spec.WebhookRef.Name)}
	case !delivery.Genuine(d, w):
		return Finding{Outcome: Failed, Reason: ReasonResendRefused,
			Message: asked + ", and none is made: the delivery was not made for the webhook that it names"}
	}
	for _, f := range []*Finding{unready(w), broken(w)} {
		if f != nil {
			return Finding{Outcome: Waiting, Reason: f.Reason, Message: asked + " and cannot begin: " + f.Message, Detail: f.Detail, Help: f.Help}
		}
	}
	f := Finding{Outcome: Waiting, Reason: ReasonResendAsked,
		Message: asked + " and has not begun; it waits for one of the receiver's slots (spec.maxInFlight) and for nothing else",
		Help:    ifItLasts(w.Namespace)}
	if limit := format.RateLimitOf(w); limit != (v1alpha1.RateLimit{}) {
		f.Message = fmt.Sprintf("%s and has not begun; it waits for one of the receiver's slots (spec.maxInFlight) "+
			"and for the rate limit of %s, before all that nobody asked for", asked, limit)
	}
	return f
}

// ifItLasts helps where something is due and the operator has not come to it.
func ifItLasts(namespace string) string {
	return "if this lasts, see whether an operator works: `kubectl horizon check -n " + namespace + "`"
}

// cut shortens what anybody may have written.
func cut(text string) string {
	const most = 128
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

// waiting is about a delivery that is to be sent, for the first time or again, as soon as
// its time has come and nothing holds its Webhook.
func waiting(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, state retry.State, now time.Time) Finding {
	f := waitsFor(d, w, state, now)
	if d.Status.Result == v1alpha1.DeliverySucceeded {
		f.Outcome, f.Message = Delivered, "it was delivered before; a resend failed and is tried again: "+f.Message
	}
	return f
}

func waitsFor(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, state retry.State, now time.Time) Finding {
	blocked := w.Spec.State == v1alpha1.WebhookPaused || w.Spec.State == v1alpha1.WebhookDisabled || !w.DeletionTimestamp.IsZero()
	if retry.Decide(state, w, blocked, now).Action == retry.GiveUp {
		return Finding{Outcome: Waiting, Reason: v1alpha1.ReasonWaitedTooLong, Help: ifItLasts(d.Namespace),
			Message: "it has waited longer than spec.retry.giveUpAfterSeconds of its webhook, and is about to be given up"}
	}
	early := now.Before(state.NextAttempt)
	last := lastAttempt(d, now)
	if h := hold(w, now); h != nil && holds(h, state, now) {
		deadline := "it fails if it has not been sent by " + when(retry.Deadline(state, w), now)
		return Finding{Outcome: Waiting, Reason: h.Reason, Message: sentence(h.Message, last, deadline), Detail: h.Detail, Next: h.Next,
			Help: helpFor(d, h)}
	}
	if early {
		return Finding{Outcome: Waiting, Reason: v1alpha1.ReasonRetrying, Next: state.NextAttempt,
			Message: sentence(fmt.Sprintf("attempt %d is due at %s", d.Status.Attempts+1, when(state.NextAttempt, now)), last),
			Help:    "to send it now: " + resend(d)}
	}
	return due(d, w, state, now)
}

// holds tells whether what holds a Webhook is what a delivery waits for, and not its own
// time. A circuit lets the one that is due longest through now and then, so it does not
// count before that.
func holds(h *Finding, state retry.State, now time.Time) bool {
	switch {
	case !now.Before(state.NextAttempt):
		return true
	case h.Reason == v1alpha1.ReasonCircuitOpen:
		return false
	default:
		return h.Next.IsZero() || h.Next.After(state.NextAttempt)
	}
}

// helpFor is the help about what holds a Webhook, with the delivery's name where it is
// that which helps.
func helpFor(d *v1alpha1.WebhookDelivery, h *Finding) string {
	switch h.Reason {
	case v1alpha1.ReasonReceiverResting, v1alpha1.ReasonCircuitOpen:
		return "to send it all the same: " + resend(d)
	}
	return h.Help
}

// due is about a delivery that nothing holds as far as its Webhook tells. What it was
// stored for may hold still: a Webhook's status follows within ten seconds.
func due(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, state retry.State, now time.Time) Finding {
	reason, message, detail := told(d)
	if limit := limited(w); limit != "" || reason == v1alpha1.ReasonRateLimited && !over(w, reason) {
		if limit == "" { // the Webhook's status follows
			limit = "the rate limit of " + format.RateLimitOf(w).String()
		}
		return Finding{Outcome: Waiting, Reason: v1alpha1.ReasonRateLimited,
			Message: sentence("it waits for "+limit+", and what is oldest goes first", lastAttempt(d, now)),
			Help:    "a resend goes before the others, and obeys the limit: " + resend(d)}
	}
	f := Finding{Outcome: Waiting, Reason: reason, Message: sentence(message, lastAttempt(d, now)), Detail: detail, Help: ifItLasts(d.Namespace)}
	if over(w, reason) || reason == "" || reason == v1alpha1.ReasonRetrying {
		f.Reason, f.Detail = v1alpha1.ReasonQueued, ""
		since := state.NextAttempt
		if since.IsZero() {
			since = d.CreationTimestamp.Time
		}
		f.Message = sentence("it has been due since "+when(since, now)+", and waits for one of the receiver's slots (spec.maxInFlight)",
			lastAttempt(d, now))
	}
	return f
}

// over tells whether the reason that a delivery was stored with holds no more.
func over(w *v1alpha1.Webhook, reason string) bool {
	switch reason {
	case v1alpha1.ReasonPaused, v1alpha1.ReasonGone, v1alpha1.ReasonReceiverResting: // or the Webhook would say so
		return true
	case v1alpha1.ReasonNotReady:
		return current(w, v1alpha1.ConditionReady) != nil
	case v1alpha1.ReasonCircuitOpen:
		healthy := current(w, v1alpha1.ConditionHealthy)
		return healthy != nil && healthy.Reason == v1alpha1.ReasonAccepted
	case v1alpha1.ReasonRateLimited:
		return format.RateLimitOf(w) == v1alpha1.RateLimit{}
	}
	return false
}
