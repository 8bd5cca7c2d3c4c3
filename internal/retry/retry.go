// Package retry decides what an exchange with a receiver means, and what comes next:
// another attempt, and when, or the end. Its functions are pure: they know neither a client
// nor a clock.
package retry

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// Outcome is what an exchange means for a delivery.
type Outcome int

const (
	// Accepted: the receiver answered 2xx, and no rule has anything against it.
	Accepted Outcome = iota
	// Failed: no answer, or another one. Worth another try.
	Failed
	// Gone: the receiver answered 410 Gone. It wants no more.
	Gone
	// Rejected: a rule says that no other try would be accepted. It is about this
	// delivery, and says nothing of others.
	Rejected
	// Interrupted: the operator stopped waiting for the answer, because it was
	// told to stop. The attempt does not count.
	Interrupted
	// Denied: the address is one that nothing is sent to. Another try would end
	// in the same way, and it says nothing of the receiver.
	Denied
)

// OutcomeOf returns what an exchange means.
func OutcomeOf(x sending.Exchange) Outcome {
	switch {
	case x.Response != nil && success(x.Response.StatusCode) && !x.Judgement.Refused:
		return Accepted
	case x.Interrupted:
		return Interrupted
	case x.Denied:
		return Denied
	case x.Response != nil && x.Response.StatusCode == http.StatusGone:
		return Gone
	case x.Judgement.Final:
		return Rejected
	default:
		return Failed
	}
}

// Explain says in words how an exchange ended, without anything that the
// receiver wrote and without what changes from one attempt to the next.
func Explain(x sending.Exchange) string {
	if x.Response == nil {
		return sending.ErrorText(x.Err)
	}
	code := x.Response.StatusCode
	status := strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
	switch j := x.Judgement; {
	case j.Final:
		return fmt.Sprintf("answered %s; by %s, no retry would help", status, j.By)
	case j.Refused:
		return fmt.Sprintf("answered %s, which %s does not accept", status, j.By)
	}
	if x.Err != nil && success(code) {
		return fmt.Sprintf("answered %s, but the body could not be read: %s", status, sending.ErrorText(x.Err))
	}
	if code >= 300 && code < 400 {
		return fmt.Sprintf("answered %s; redirects are not followed", status)
	}
	return "answered " + status
}

// PointsTo returns where a redirect points, without what may differ from one to the
// next (a query, a fragment, parameters of the path) and without a user name and
// password: empty where x is none, or says nothing of it.
func PointsTo(x sending.Exchange) string {
	if x.Response == nil || x.Response.StatusCode < 300 || x.Response.StatusCode > 399 {
		return ""
	}
	to := x.Response.Location
	if end := strings.IndexAny(to, "?#;"); end >= 0 {
		to = to[:end]
	}
	if scheme, after, ok := strings.Cut(to, "//"); ok && !strings.Contains(scheme, "/") {
		host, _, _ := strings.Cut(after, "/")
		to = scheme + "//" + after[strings.LastIndex(host, "@")+1:]
	}
	return strings.ToValidUTF8(to[:min(len(to), maxPointsTo)], "")
}

// Quote says in the receiver's words what Explain says in the operator's: why it did not
// accept a request, or where a redirect points. Empty is nothing.
func Quote(x sending.Exchange) string {
	r := x.Response
	switch {
	case r == nil:
		return ""
	case x.Judgement.Refused, x.Judgement.Why != "":
		return NotAccepted + cmp.Or(x.Judgement.Why, Explain(x))
	case r.Location != "" && r.StatusCode >= 300 && r.StatusCode < 400:
		return Explain(x) + "; it points to " + r.Location
	}
	return ""
}

// NotAccepted begins what is told of an attempt that was answered 2xx and is no success, and
// of one that a format knows the receiver's words of.
const NotAccepted = "not accepted: "

// maxPointsTo bounds in bytes what is told of where a redirect points.
const maxPointsTo = 256

// Policy is a RetryPolicy with every default in place.
type Policy struct {
	// Limit is how often a failed attempt is repeated.
	Limit      int32
	MinBackoff time.Duration
	MaxBackoff time.Duration
	// GiveUpAfter is how long a cycle of attempts may take.
	GiveUpAfter time.Duration
}

// PolicyOf returns the policy of a Webhook. The defaults are those of the CRD.
func PolicyOf(w *v1alpha1.Webhook) Policy {
	p := w.Spec.Retry
	limit := int32(10)
	if p.Limit != nil {
		limit = *p.Limit
	}
	return Policy{
		Limit:       limit,
		MinBackoff:  seconds(p.MinBackoffSeconds, 10),
		MaxBackoff:  seconds(p.MaxBackoffSeconds, 3600),
		GiveUpAfter: seconds(p.GiveUpAfterSeconds, 259200),
	}
}

func seconds(value, otherwise int32) time.Duration {
	if value == 0 {
		value = otherwise
	}
	return time.Duration(value) * time.Second
}

// Jitter is the share of a backoff that chance adds or takes away.
const Jitter = 0.2

// Backoff returns the wait after the given number of failed attempts: the
// minimum doubled each time, up to the maximum. chance is a number from 0 to 1
// that moves the result by up to Jitter, but not beyond the maximum.
func (p Policy) Backoff(failed int32, chance float64) time.Duration {
	wait := p.MinBackoff
	for i := int32(1); i < failed && wait < p.MaxBackoff; i++ {
		wait *= 2
	}
	wait = min(wait, p.MaxBackoff)
	return min(time.Duration(float64(wait)*(1+Jitter*(2*chance-1))), p.MaxBackoff)
}

// Rest returns how long the receiver of a failed attempt asked to be left alone: by
// Retry-After, up to the longest backoff, or else as its format knows; 0 where it did not
// ask.
func (p Policy) Rest(x sending.Exchange) time.Duration {
	if OutcomeOf(x) != Failed || x.Response == nil {
		return 0
	}
	if asked, ok := ParseRetryAfter(x.Response.RetryAfter, x.Start.Add(x.Duration)); ok {
		return min(asked, p.MaxBackoff)
	}
	return x.Judgement.Rest
}

// Cycle is a run of attempts with one retry budget: from the creation of a
// delivery, or from a resend.
type Cycle struct {
	Since time.Time
	// Attempts that were made in it and count.
	Attempts int32
}

// CycleOf returns the cycle that a delivery is in.
func CycleOf(d *v1alpha1.WebhookDelivery) Cycle {
	if r := d.Status.Resend; r != nil {
		return Cycle{Since: r.Time.Time, Attempts: r.Attempts}
	}
	since := d.CreationTimestamp.Time
	if n := len(d.Status.History); since.IsZero() && n > 0 {
		since = d.Status.History[n-1].Time.Time
	}
	return Cycle{Since: since, Attempts: d.Status.Attempts}
}

// NextAttempt tells when the attempt after a failed one is due. Where At is zero there
// is none, for Reason.
type NextAttempt struct {
	At     time.Time
	Reason string
}

// After returns what follows a failed attempt. cycle includes the attempt;
// retryAfter is the receiver's Retry-After header, if it sent one.
func After(o Outcome, p Policy, cycle Cycle, retryAfter string, now time.Time, chance float64) NextAttempt {
	switch {
	case o == Gone:
		return NextAttempt{Reason: v1alpha1.ReasonGone}
	case o == Denied:
		return NextAttempt{Reason: v1alpha1.ReasonEgressDenied}
	case o == Rejected:
		return NextAttempt{Reason: v1alpha1.ReasonRejected}
	case o == Interrupted:
		return NextAttempt{At: now, Reason: v1alpha1.ReasonRetrying}
	case cycle.Attempts > p.Limit:
		return NextAttempt{Reason: v1alpha1.ReasonRetriesExhausted}
	}
	wait := p.Backoff(cycle.Attempts, chance)
	if asked, ok := ParseRetryAfter(retryAfter, now); ok {
		// A wish for more time: what it says comes late rather than early.
		asked = min(asked, p.MaxBackoff)
		wait = max(wait, min(time.Duration(float64(asked)*(1+Jitter*chance)), p.MaxBackoff))
	}
	at := now.Add(wait)
	if at.Sub(cycle.Since) > p.GiveUpAfter {
		return NextAttempt{Reason: v1alpha1.ReasonWaitedTooLong}
	}
	return NextAttempt{At: at, Reason: v1alpha1.ReasonRetrying}
}

// ParseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): whole
// seconds or an HTTP date. Anything else counts as none. A date in the past is
// a wait of zero; waits beyond a century are cut to one.
func ParseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	const century = 100 * 365 * 24 * time.Hour
	value = strings.TrimSpace(value)
	if value != "" && strings.Trim(value, "0123456789") == "" {
		n, _ := strconv.ParseUint(value, 10, 63) // the largest there is where there are too many digits
		return time.Duration(min(n, uint64(century/time.Second))) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), century), true
}

// Action is what to do with a stored delivery now.
type Action int

const (
	// Wait: nothing is to be done before Decision.At, or, where that is zero, ever.
	Wait Action = iota
	// Send: an attempt is due.
	Send
	// GiveUp: the delivery has failed, for Decision.Reason.
	GiveUp
)

// Decision is what to do with a stored delivery: Cause is set where it is to be sent,
// Reason where it is given up.
type Decision struct {
	Action Action
	At     time.Time
	Cause  v1alpha1.AttemptCause
	Reason string
}

// State is what a decision depends on. Metadata alone tells it, so that most
// requests are answered without reading a record.
type State struct {
	Result      v1alpha1.DeliveryResult
	NextAttempt time.Time
	// Since is the beginning of the cycle.
	Since time.Time
	// Resend is true while a resend that was asked for has not begun.
	Resend bool
	// Attempted is false until the first attempt of the cycle.
	Attempted bool
}

// waiting tells whether a stored delivery is to be sent some time.
func (s State) waiting() bool { return s.Result == v1alpha1.DeliveryWaiting || !s.NextAttempt.IsZero() }

// Deadline returns when a stored delivery that waits is given up; zero for any other.
func Deadline(s State, w *v1alpha1.Webhook) time.Time {
	if !s.waiting() {
		return time.Time{}
	}
	return s.Since.Add(PolicyOf(w).GiveUpAfter)
}

// Decide returns what to do with a stored delivery. w is nil when its Webhook is gone;
// blocked is true while the Webhook must not be sent to.
func Decide(s State, w *v1alpha1.Webhook, blocked bool, now time.Time) Decision {
	if w == nil {
		if s.waiting() {
			return Decision{Action: GiveUp, Reason: v1alpha1.ReasonWebhookGone}
		}
		return Decision{}
	}
	if s.Resend {
		return Decision{Action: Send, Cause: v1alpha1.CauseResend}
	}
	if !s.waiting() {
		return Decision{}
	}
	deadline := Deadline(s, w)
	switch {
	case !now.Before(deadline):
		return Decision{Action: GiveUp, Reason: v1alpha1.ReasonWaitedTooLong}
	case blocked:
		return Decision{At: deadline}
	case now.Before(s.NextAttempt):
		return Decision{At: s.NextAttempt}
	case s.Attempted:
		return Decision{Action: Send, Cause: v1alpha1.CauseRetry}
	default:
		return Decision{Action: Send, Cause: v1alpha1.CauseInitial}
	}
}
