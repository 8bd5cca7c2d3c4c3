// Package replay decides what a replay does: when it begins and ends, which events it
// sends, and how far it is. It is pure.
package replay

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/retention"
)

// maxValue is how many characters of the annotation's value count.
const maxValue = 128

// maxShown is how many of them a message shows.
const maxShown = 64

// futureTolerance is how far ahead the clock of whoever asks may be.
const futureTolerance = time.Minute

// ValueOf returns the value that a replay of a Webhook is asked for with; empty where
// none is.
func ValueOf(w *v1alpha1.Webhook) string {
	return cut(w.Annotations[v1alpha1.AnnotationReplaySince], maxValue)
}

// Since reads a value: the time that events are sent since.
func Since(value string, now time.Time) (time.Time, error) {
	since, err := time.Parse(time.RFC3339, value)
	shown, example := cut(value, maxShown), now.UTC().Format(time.RFC3339)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%q is no time in the form of RFC 3339, such as %s", shown, example)
	case since.After(now.Add(futureTolerance)):
		return time.Time{}, fmt.Errorf("%q is in the future: it is %s now", shown, example)
	}
	return since, nil
}

// cut shortens a text to at most n characters.
func cut(s string, n int) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), n)])
}

// Ended tells whether nothing more comes of a replay by itself.
func Ended(s *v1alpha1.ReplayStatus) bool { return s == nil || !s.CompletionTime.IsZero() }

// Asked tells whether something is to be done for a replay of a Webhook: to begin one, to
// go on with it, or to stop it.
func Asked(w *v1alpha1.Webhook) bool {
	was, value := w.Status.Replay, ValueOf(w)
	switch {
	case value == "":
		return !Ended(was)
	case was == nil || was.Value != value:
		return true
	default:
		return !Ended(was) || was.State == v1alpha1.ReplayStopped
	}
}

// Begin returns what the status says once a replay is begun that was asked for with a
// value, or, where that is empty, once the one before is stopped. One that was begun
// before goes on where it is.
func Begin(was *v1alpha1.ReplayStatus, value string, now time.Time) *v1alpha1.ReplayStatus {
	at := metav1.NewTime(now.Truncate(time.Second))
	switch {
	case value == "":
		if Ended(was) {
			return was
		}
		s := was.DeepCopy()
		s.State, s.Message, s.CompletionTime = v1alpha1.ReplayStopped, "the annotation was taken away", at
		return s
	case was != nil && was.Value == value:
		if was.State != v1alpha1.ReplayStopped {
			return was
		}
		s := was.DeepCopy()
		s.State, s.Message, s.CompletionTime = v1alpha1.ReplayRunning, "", metav1.Time{}
		return s
	}
	s := &v1alpha1.ReplayStatus{Value: value, State: v1alpha1.ReplayRunning, StartTime: at}
	if _, err := Since(value, now); err != nil {
		s.State, s.Message, s.CompletionTime = v1alpha1.ReplayInvalid, err.Error(), at
	}
	return s
}

// Verdict is what a replay does with an event.
type Verdict int

const (
	// Pass: the Webhook does not follow the event, or it had its delivery.
	Pass Verdict = iota
	// Expired: the Webhook would get it, but it is not sent any more.
	Expired
	// Send: it gets a delivery.
	Send
)

// View is what a verdict depends on: an event, and a Webhook that is not Disabled and that
// no delivery of the event is known of for.
type View struct {
	Event   *v1alpha1.WebhookEvent
	Webhook *v1alpha1.Webhook
	// OldestFinished returns when the first finished of those of the Webhook's deliveries
	// from before the replay that retention has left; zero if there are none. It is asked
	// after the delivery was not found.
	OldestFinished func() time.Time
	// LastAttempt is what the function LastAttempt returned when the replay began.
	LastAttempt time.Time
	MaxAge      time.Duration
	Now         time.Time
}

// Decide returns what to do with an event.
func Decide(v View) Verdict {
	if !v.Event.DeletionTimestamp.IsZero() {
		return Pass
	}
	verdict := matching.Match(v.Webhook, v.Event)
	createdLater := verdict.Reason == v1alpha1.UnmatchedCreatedLater
	if createdLater {
		verdict = matching.MatchReplay(v.Webhook, v.Event)
	}
	switch {
	case !verdict.Follows(), v.named(), !createdLater && v.untold() && !v.Event.CreationTimestamp.After(v.oldest()):
		return Pass
	case fanout.Expired(v.Event, v.MaxAge, v.Now):
		return Expired
	}
	return Send
}

// Unmatched tells whether an event's status names a Webhook among those that do not get
// it.
func Unmatched(e *v1alpha1.WebhookEvent, w *v1alpha1.Webhook) bool {
	return e.Namespace == w.Namespace && slices.ContainsFunc(e.Status.Unmatched, func(u v1alpha1.Unmatched) bool {
		return slices.Contains(u.Webhooks, w.Name)
	})
}

// named tells whether the event's status names the delivery, which is gone then.
func (v View) named() bool {
	return v.Event.Namespace == v.Webhook.Namespace && slices.Contains(v.Event.Status.Deliveries, delivery.Name(v.Event, v.Webhook))
}

// untold tells whether the event's status cannot tell of a delivery that is gone: it is
// one of another namespace, or not all are named.
func (v View) untold() bool {
	return v.Event.Namespace != v.Webhook.Namespace || len(v.Event.Status.Deliveries) >= fanout.MaxNames
}

// oldest is the time before which retention may have taken deliveries, since it takes
// those first that finished first. Where none is left, it may have taken all up to the
// latest attempt.
func (v View) oldest() time.Time {
	if oldest := v.OldestFinished(); !oldest.IsZero() {
		return oldest
	}
	return v.LastAttempt
}

// LastAttempt returns when the latest attempt of an event's delivery to a Webhook was
// before a replay, or, where that is not known, the time before which retention may have
// taken deliveries; zero if there was none. It is not known where the latest attempt was
// of a test, or may have been one of the replay itself, which is resumed then. finished is
// how many finished deliveries are left.
func LastAttempt(w *v1alpha1.Webhook, s *v1alpha1.ReplayStatus, resumed bool, finished int) time.Time {
	last, test, keeps := w.Status.LastDelivery, w.Status.LastTest, retention.PolicyOf(w)
	own := last != nil && resumed && !last.Time.Time.Before(s.StartTime.Time)
	switch {
	case last == nil:
		return time.Time{}
	case !own && (test == nil || test.Delivery != last.Name):
		return last.Time.Time
	case finished >= keeps.Limit:
		return s.StartTime.Time
	}
	return s.StartTime.Add(-keeps.TTL)
}
