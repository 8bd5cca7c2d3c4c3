package insight

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/receiver"
)

// instant is a clock that has stopped.
type instant time.Time

func (i instant) Now() time.Time                  { return time.Time(i) }
func (i instant) Since(t time.Time) time.Duration { return time.Time(i).Sub(t) }

// receiverWait is what the operator, if it started now, would take over from a Webhook's
// status as the reason why nothing but a resend is sent to its receiver: a 410, or a
// rest. Nil is none.
func receiverWait(w *v1alpha1.Webhook, now time.Time) *delivery.WaitReason {
	return receiver.NewRegistry(nil, instant(now)).Of(w).WaitReason()
}

// current returns a condition of a Webhook if it is about the Webhook as it is now, and
// nil if it is about an earlier edit.
func current(w *v1alpha1.Webhook, conditionType string) *metav1.Condition {
	c := meta.FindStatusCondition(w.Status.Conditions, conditionType)
	if c == nil || c.ObservedGeneration != w.Generation {
		return nil
	}
	return c
}

// stopped says who has stopped a Webhook; nil where nobody has.
func stopped(w *v1alpha1.Webhook, now time.Time) *Finding {
	resume := command("resume", w.Namespace, w.Name)
	switch {
	case !w.DeletionTimestamp.IsZero():
		return &Finding{Outcome: Stopped, Reason: string(v1alpha1.UnmatchedDeleting),
			Message: "the webhook is being deleted, since " + when(w.DeletionTimestamp.Time, now)}
	case w.Spec.State == v1alpha1.WebhookPaused:
		return &Finding{Outcome: Stopped, Reason: v1alpha1.ReasonPaused,
			Message: "the webhook is Paused: deliveries are recorded and wait", Help: resume + " sends them"}
	case w.Spec.State == v1alpha1.WebhookDisabled:
		return &Finding{Outcome: Stopped, Reason: string(v1alpha1.UnmatchedDisabled),
			Message: "the webhook is Disabled: new events pass it by, and earlier deliveries wait", Help: resume + " enables it"}
	}
	return nil
}

// unready says what a Webhook lacks that it names; nil where it lacks nothing, or nothing is
// known. What is wrong with its expressions, see mistakes.
func unready(w *v1alpha1.Webhook) *Finding {
	c := current(w, v1alpha1.ConditionReady)
	if c == nil || c.Status != metav1.ConditionFalse || slices.Contains(ofExpressions, c.Reason) {
		return nil
	}
	return &Finding{Outcome: Stopped, Reason: v1alpha1.ReasonNotReady, Message: "the webhook is not Ready: " + c.Reason + ": " + c.Message,
		Help: mend(w, c.Reason)}
}

// mend says how what a Webhook lacks is supplied.
func mend(w *v1alpha1.Webhook, reason string) string {
	edit := command("edit", w.Namespace, w.Name)
	switch reason {
	case v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonSecretKeyNotFound,
		v1alpha1.ReasonConfigMapNotFound, v1alpha1.ReasonConfigMapKeyNotFound:
		return "once it is there, the operator notices within 30 s; to name another one: " + edit
	case v1alpha1.ReasonSecretInvalid, v1alpha1.ReasonURLInvalid, v1alpha1.ReasonCAInvalid, v1alpha1.ReasonClientCertificateInvalid:
		return "once it is mended, the operator notices within 30 s; to name another one: " + edit
	}
	return "to change the webhook: " + edit
}

// unreceptive says why the receiver takes nothing but resends now; nil where it takes
// requests as far as the Webhook's status tells.
func unreceptive(w *v1alpha1.Webhook, now time.Time) *Finding {
	healthy := current(w, v1alpha1.ConditionHealthy)
	if why := receiverWait(w, now); why != nil {
		f := &Finding{Outcome: Troubled, Reason: why.Reason, Message: why.Message}
		switch why.Reason {
		case v1alpha1.ReasonGone:
			f.Outcome = Stopped
			f.Help = "if it is there again or has moved, edit the webhook: " + command("edit", w.Namespace, w.Name)
		case v1alpha1.ReasonReceiverResting:
			f.Next = w.Status.RestUntil.Time
			f.Message = "the receiver asked to be left alone until " + when(f.Next, now)
			if healthy != nil && healthy.Reason == why.Reason {
				f.Message += " (" + healthy.Message + ")"
			}
			f.Help = "a resend passes this: " + command("resend", w.Namespace, "DELIVERY")
		}
		return f
	}
	if healthy != nil && healthy.Status == metav1.ConditionFalse && healthy.Reason == v1alpha1.ReasonCircuitOpen {
		return &Finding{Outcome: Troubled, Reason: healthy.Reason, Message: "the circuit of the receiver is open: " + healthy.Message,
			Help: fmt.Sprintf("mend the receiver, and deliveries follow within %s; a resend passes this: %s",
				span(receiver.MaxProbeInterval), command("resend", w.Namespace, "DELIVERY"))}
	}
	return nil
}

// limited says for what rate limit deliveries of a Webhook wait, and for about how long;
// empty where none do, as far as the Webhook tells. That is nobody's fault.
func limited(w *v1alpha1.Webhook) string {
	c, limit := current(w, v1alpha1.ConditionRateLimited), format.RateLimitOf(w)
	if c == nil || c.Status != metav1.ConditionTrue || limit == (v1alpha1.RateLimit{}) { // that of a format which is not known here
		return ""
	}
	return fmt.Sprintf("the rate limit of %s: %s", limit, backlog(w, limit))
}

// backlog says how many deliveries of a Webhook wait, and how long its rate limit takes for
// them: the spans before the last of them may begin. What other Webhooks send to the address
// is not known here.
func backlog(w *v1alpha1.Webhook, limit v1alpha1.RateLimit) string {
	waiting := w.Status.Deliveries.Waiting
	spans := max(waiting-1, 0)/limit.Requests + 1
	verb := "wait"
	if waiting == 1 {
		verb = "waits"
	}
	return fmt.Sprintf("%s %s, which takes about %s", count(waiting, "delivery", "deliveries"), verb,
		span(time.Duration(spans)*time.Duration(limit.PerSeconds)*time.Second))
}

// hold is what keeps everything but resends from being sent to a Webhook now, as the
// Webhook tells it; nil is nothing.
func hold(w *v1alpha1.Webhook, now time.Time) *Finding {
	for _, f := range []*Finding{stopped(w, now), unready(w), broken(w), unreceptive(w, now)} {
		if f != nil {
			return f
		}
	}
	return nil
}
