// Package retention decides which finished deliveries of a webhook may be
// deleted. It is pure.
package retention

import (
	"slices"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
)

// MinAge is the age below which no delivery is deleted. It must be longer than
// the ten minutes for which webhooks are matched with past events again after a
// start: a delivery that is gone would be made again.
const MinAge = 15 * time.Minute

// recheck is when to look again at a delivery that is due but whose event still
// needs it: nothing about the delivery will change when the event does.
const recheck = time.Minute

// Policy is a RetentionPolicy with every default in place.
type Policy struct {
	TTL   time.Duration
	Limit int
}

// PolicyOf returns the policy of a Webhook. The defaults are those of the CRD.
func PolicyOf(w *v1alpha1.Webhook) Policy {
	p := Policy{TTL: 7 * 24 * time.Hour, Limit: 200}
	if s := w.Spec.Retention.TTLSecondsAfterFinished; s > 0 {
		p.TTL = time.Duration(s) * time.Second
	}
	if n := w.Spec.Retention.Limit; n != nil {
		p.Limit = int(*n)
	}
	return p
}

// Select returns the deliveries of a webhook to delete now, the oldest first, and
// when to look again (zero: when something changes). deletable tells whether the
// event of a delivery needs it no longer.
func Select(
	entries []ledger.Entry, p Policy, now time.Time, deletable func(ledger.Entry) bool,
) (remove []ledger.Entry, again time.Time) {
	finished := slices.DeleteFunc(slices.Clone(entries), func(e ledger.Entry) bool { return e.Finished.IsZero() })
	slices.SortFunc(finished, func(a, b ledger.Entry) int {
		if c := a.Finished.Compare(b.Finished); c != 0 {
			return c
		}
		return strings.Compare(a.Key.Name, b.Key.Name)
	})
	surplus := len(finished) - p.Limit
	for i, e := range finished {
		due := e.Finished.Add(max(p.TTL, MinAge))
		if i < surplus {
			due = e.Finished.Add(MinAge)
		}
		// The age of the object counts too: a clock that was set back must not
		// make a young record look old.
		due = later(due, e.State.Since.Add(MinAge))
		if !due.After(now) {
			if deletable(e) {
				remove = append(remove, e)
				continue
			}
			due = now.Add(recheck)
		}
		if again.IsZero() || due.Before(again) {
			again = due
		}
	}
	return remove, again
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
