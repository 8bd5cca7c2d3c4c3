// Package webhookstatus decides what a Webhook's status says. It is pure.
package webhookstatus

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

// View is what the status depends on.
type View struct {
	Webhook *v1alpha1.Webhook
	// Problem keeps the Webhook from being sent to, or from following anything; Note is
	// worth knowing.
	Problem *Problem
	Note    string
	Counts  ledger.Counts
	receiver.Health
	// FilterFailure tells how the filter failed last; nil where nothing is known of that.
	FilterFailure *FilterFailure
	// MaxWaiting is how many deliveries may wait; 0 is no bound.
	MaxWaiting int
	Now        time.Time
}

// Problem is why a Webhook is not Ready.
type Problem struct{ Reason, Message string }

// FilterFailure is a failure of a Webhook's filter for an event.
type FilterFailure struct {
	// Generation is that of the Webhook.
	Generation     int64
	Event, Message string
}

// Status returns what the status of a Webhook should say.
func Status(v View) v1alpha1.WebhookStatus {
	s := *v.Webhook.Status.DeepCopy()
	s.ObservedGeneration = v.Webhook.Generation
	s.WebhookID = payload.WebhookID(v.Webhook)
	s.Deliveries = v1alpha1.DeliveryCounts{
		Waiting:   int32(v.Counts.Waiting),   //nolint:gosec // deliveries of one webhook fit
		Succeeded: int32(v.Counts.Succeeded), //nolint:gosec // deliveries of one webhook fit
		Failed:    int32(v.Counts.Failed),    //nolint:gosec // deliveries of one webhook fit
	}
	set := func(conditionType string, status metav1.ConditionStatus, reason, message string, generation int64) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: conditionType, Status: status, Reason: reason, Message: message,
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(v.Now.Truncate(time.Second)),
		})
	}

	if p := v.Problem; p != nil {
		is, not := v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled
		if v.Now.Sub(unreadySince(&s, v)) >= stallsAfter {
			is, not = not, is
		}
		set(v1alpha1.ConditionReady, metav1.ConditionFalse, p.Reason, p.Message, v.Webhook.Generation)
		meta.RemoveStatusCondition(&s.Conditions, not)
		set(is, metav1.ConditionTrue, p.Reason, p.Message, v.Webhook.Generation)
	} else {
		message := "the webhook can be sent to"
		if v.Note != "" {
			message += "; " + v.Note
		}
		set(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonUsable, message, v.Webhook.Generation)
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionReconciling)
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionStalled)
	}

	if v.MaxWaiting > 0 && v.Counts.Waiting >= v.MaxWaiting {
		set(v1alpha1.ConditionOverflowing, metav1.ConditionTrue, v1alpha1.ReasonTooManyWaiting, fmt.Sprintf(
			"%d deliveries wait, which is the most there may be: what comes now is recorded as Failed and can be resent", v.MaxWaiting),
			v.Webhook.Generation)
	} else {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionOverflowing)
	}

	if v.RateLimited != (v1alpha1.RateLimit{}) && v.Counts.Waiting > 0 { // what passes in two seconds is not stored, nor told
		set(v1alpha1.ConditionRateLimited, metav1.ConditionTrue, v1alpha1.ReasonRateLimited,
			"deliveries wait for the rate limit of "+v.RateLimited.String(), v.Webhook.Generation)
	} else {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionRateLimited)
	}

	failing := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionFilterFailing)
	switch f := v.FilterFailure; {
	case f != nil && f.Generation == v.Webhook.Generation:
		set(v1alpha1.ConditionFilterFailing, metav1.ConditionTrue, v1alpha1.ReasonFilterError, fmt.Sprintf(
			"spec.filter failed for the event %s, which was not sent: %s; once the filter is mended, a replay brings it", f.Event, f.Message),
			f.Generation)
	case failing != nil && failing.ObservedGeneration != v.Webhook.Generation:
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionFilterFailing)
	}

	s.RestUntil = metav1.Time{}
	if v.resting() {
		// Rounded up, so that who takes over is not early.
		s.RestUntil = metav1.NewTime(v.RestUntil.Add(time.Second - time.Nanosecond).Truncate(time.Second))
	}
	if v.Last != nil {
		last := v.Last.Delivery
		last.Time = metav1.NewMicroTime(last.Time.Truncate(time.Microsecond)) // as it is stored
		s.LastDelivery = &last
	}
	was := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionHealthy)
	if status, reason, message := health(v, was); reason != "" {
		generation := v.Webhook.Generation
		if v.Last != nil && !v.resting() && !v.Gone {
			generation = v.Last.Generation
		}
		set(v1alpha1.ConditionHealthy, status, reason, message, generation)
	} else if was == nil || was.Reason == v1alpha1.ReasonReceiverResting {
		set(v1alpha1.ConditionHealthy, metav1.ConditionUnknown, v1alpha1.ReasonNothingSent, "nothing was sent yet", v.Webhook.Generation)
	}
	return s
}

// stallsAfter is how long a Webhook may lack something before it is Stalled, which
// tools that wait for it take for a failure: a Secret is often applied a moment after
// the Webhook that names it.
const stallsAfter = 2 * time.Minute

// unreadySince returns since when a Webhook has not been Ready. An edit is a new
// attempt and begins anew, also for the Reconciling condition.
func unreadySince(s *v1alpha1.WebhookStatus, v View) time.Time {
	ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionFalse || ready.ObservedGeneration != v.Webhook.Generation {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionReconciling)
		return v.Now
	}
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReconciling); c != nil {
		return c.LastTransitionTime.Time
	}
	return ready.LastTransitionTime.Time
}

// UntilStalled returns after how long a Webhook with such a status becomes Stalled,
// or zero if it does not.
func UntilStalled(s v1alpha1.WebhookStatus, now time.Time) time.Duration {
	c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReconciling)
	if c == nil {
		return 0
	}
	return max(c.LastTransitionTime.Add(stallsAfter).Sub(now), time.Millisecond)
}

func (v View) resting() bool { return v.Now.Before(v.RestUntil) }

// health returns what this process knows of the receiver, or nothing.
func health(v View, was *metav1.Condition) (status metav1.ConditionStatus, reason, message string) {
	switch {
	case v.Gone:
		return metav1.ConditionFalse, v1alpha1.ReasonGone, "the receiver answered 410 Gone: nothing is sent until the webhook is edited"
	case v.resting() && was != nil && was.Reason == v1alpha1.ReasonReceiverResting:
		return was.Status, was.Reason, was.Message // whatever it has answered since
	case v.resting():
		return metav1.ConditionFalse, v1alpha1.ReasonReceiverResting, fmt.Sprintf(
			"the receiver asked for rest: it %s; deliveries wait until status.restUntil, then one is tried first", cmp.Or(v.RestReason, "did so earlier"))
	case v.Last != nil && v.Last.Outcome == retry.Denied:
		return metav1.ConditionFalse, v1alpha1.ReasonEgressDenied, "nothing was sent: " + v.Last.Explanation
	case v.Last != nil && v.Last.Outcome == retry.Rejected && !v.Open:
		return metav1.ConditionFalse, v1alpha1.ReasonRejected, "the last delivery was rejected: the receiver " + v.Last.Explanation
	case !v.RestUntil.IsZero():
		return metav1.ConditionFalse, v1alpha1.ReasonCircuitOpen,
			"the rest that the receiver asked for is over; one delivery is tried, and the others wait until the receiver accepts it"
	case v.Last == nil:
		return "", "", ""
	case v.Last.Outcome == retry.Accepted:
		return metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the receiver " + v.Last.Explanation
	case v.Last.Outcome == retry.Failed && v.Open:
		return metav1.ConditionFalse, v1alpha1.ReasonCircuitOpen, fmt.Sprintf(
			"attempts keep failing (the last one: %s); deliveries wait, and one is tried now and then, %s apart at most, until the receiver accepts it",
			v.Last.Explanation, receiver.MaxProbeInterval)
	case v.Last.Outcome == retry.Failed:
		return metav1.ConditionFalse, v1alpha1.ReasonFailing, "the last attempt failed: " + v.Last.Explanation
	default: // interrupted: that tells nothing of the receiver
		return "", "", ""
	}
}

// steadiness is how long what can flap, such as the health of a receiver, must
// have lasted for a change to be told at once: not each time is worth a write.
const steadiness = 10 * time.Second

// Urgent tells whether a new status must be written at once. Numbers and the last
// delivery may wait for others.
func Urgent(was, planned v1alpha1.WebhookStatus, now time.Time) bool {
	if was.ObservedGeneration != planned.ObservedGeneration || was.WebhookID != planned.WebhookID {
		return true
	}
	// The next leader has to know of a rest. One that long is not told often.
	if rest := planned.RestUntil.Sub(now); rest >= steadiness && planned.RestUntil.Sub(was.RestUntil.Time) >= steadiness {
		return true
	}
	for _, conditionType := range []string{
		v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled, v1alpha1.ConditionHealthy, v1alpha1.ConditionOverflowing,
		v1alpha1.ConditionFilterFailing,
	} {
		a := meta.FindStatusCondition(was.Conditions, conditionType)
		b := meta.FindStatusCondition(planned.Conditions, conditionType)
		same := a == b || a != nil && b != nil && a.Status == b.Status && a.Reason == b.Reason
		// The first answer, and the last one that a receiver wants to give, are told
		// at once: neither can come again and again.
		flaps := conditionType == v1alpha1.ConditionHealthy || conditionType == v1alpha1.ConditionOverflowing
		steady := a == nil || !flaps || a.Reason == v1alpha1.ReasonNothingSent ||
			b != nil && b.Reason == v1alpha1.ReasonGone || now.Sub(a.LastTransitionTime.Time) >= steadiness
		if !same && steady {
			return true
		}
	}
	return false
}

// Equal tells whether two statuses say the same.
func Equal(a, b v1alpha1.WebhookStatus) bool { return equality.Semantic.DeepEqual(a, b) }
