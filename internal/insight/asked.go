package insight

import (
	"fmt"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
)

// ResendOf says who asked for a resend of a delivery, and what became of it; empty where
// nobody did. It has text of whoever asked in it.
func ResendOf(d *v1alpha1.WebhookDelivery, now time.Time) string {
	value := d.Annotations[v1alpha1.AnnotationResend]
	made := d.Status.Resend
	switch {
	case delivery.ResendPending(d.Annotations):
		return "asked for " + asked(value, now) + "; not made yet"
	case value == "" && made == nil:
		return ""
	case made == nil || value != "" && d.Annotations[v1alpha1.AnnotationResent] == delivery.ResendHash(value) && !isCut(made.Value, value):
		return "asked for " + asked(value, now) + "; refused: an Event of the delivery (ResendRefused) says why"
	}
	return fmt.Sprintf("asked for %s; made %s, %s", asked(made.Value, now), past(made.Time.Time, now), count(made.Attempts, "attempt", "attempts"))
}

// asked reads the value of the resend annotation: kubectl horizon writes <time>/<user>.
func asked(value string, now time.Time) string {
	at, user, found := strings.Cut(value, "/")
	when, err := time.Parse(time.RFC3339, at)
	if !found || err != nil {
		return "with the value " + value
	}
	return "by " + user + " " + past(when, now)
}

// ReplayOf says in a line how far a replay is.
func ReplayOf(s *v1alpha1.ReplayStatus, now time.Time) string {
	text := fmt.Sprintf("%s: since %s, %s found, %d sent", s.State, s.Value, count(s.Found, "event", "events"), s.Sent)
	if s.Expired > 0 {
		text += fmt.Sprintf(", %d expired", s.Expired)
	}
	if s.Remaining > 0 {
		text += fmt.Sprintf(", %d to be looked at", s.Remaining)
	}
	if s.Cursor != nil && s.CompletionTime.IsZero() {
		text += ", now at " + stamp(s.Cursor.Time.Time)
	}
	if !s.CompletionTime.IsZero() {
		text += ", ended " + past(s.CompletionTime.Time, now)
	}
	if s.Message != "" {
		text += ": " + s.Message
	}
	return text
}

// ReplayIs tells whether a status is that of the replay which a value of the annotation asks
// for; s may be nil.
func ReplayIs(s *v1alpha1.ReplayStatus, value string) bool { return s != nil && isCut(s.Value, value) }

// isCut tells whether kept is what a status keeps of a value: 128 characters at most.
func isCut(kept, value string) bool {
	r := []rune(value)
	return kept == string(r[:min(len(r), 128)])
}

// past writes a time in the past and how long ago it was.
func past(at, now time.Time) string { return stamp(at) + ", " + span(now.Sub(at)) + " ago" }
