package matching

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

const (
	// maxVerdicts is how many verdicts of filters are kept. An event is matched at least
	// twice, and its filters need to be asked once only.
	maxVerdicts = 50_000
	// turnTime is how long filters are asked for one event while others wait for their turn:
	// 200 of the dearest take 200 ms.
	turnTime = 5 * time.Millisecond
)

// Filters keeps what the filters of Webhooks said of events, for a process that matches the
// same pairs again and again. It may be used concurrently.
type Filters struct {
	verdicts *lru.Cache
	failed   func(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, message string)
}

// NewFilters returns a Filters that keeps nothing yet. failed is called when a filter fails
// for an event.
func NewFilters(failed func(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, message string)) *Filters {
	return &Filters{verdicts: lru.New(maxVerdicts), failed: failed}
}

// pair is an event and a Webhook as it was edited last. The spec of an event never changes.
type pair struct {
	event, webhook types.UID
	generation     int64
}

// Turn matches one event with Webhooks, until its time is over, if it has an end.
type Turn struct {
	filters *Filters
	event   *v1alpha1.WebhookEvent
	subject Subject
	seen    *expression.Event
	began   time.Time
	now     func() time.Time
}

// Turn begins to match an event. Where now is nil, its time has no end.
func (f *Filters) Turn(e *v1alpha1.WebhookEvent, now func() time.Time) *Turn {
	t := &Turn{filters: f, event: e, subject: SubjectOf(e), now: now}
	if now != nil {
		t.began = now()
	}
	return t
}

// Match is the function Match, or MatchReplay where it is for a replay. It is undecided
// where the filter would have to be asked and the time of the turn is over.
func (t *Turn) Match(w *v1alpha1.Webhook, replay bool) (v Verdict, decided bool) {
	if reason, ok := t.subject.match(w, !replay && t.subject.before(w)); !ok {
		return Verdict{Reason: reason}, true
	}
	if w.Spec.Filter == "" {
		return Verdict{}, true
	}
	of := pair{t.event.UID, w.UID, w.Generation}
	// What failed for want of time is not what a replay has found, which would ask for the
	// event again and again.
	if known, ok := t.filters.verdicts.Get(of); ok && !(replay && known.(Verdict).Reason == v1alpha1.UnmatchedFilterError) {
		return known.(Verdict), true
	}
	if t.now != nil && t.now().Sub(t.began) >= turnTime {
		return Verdict{}, false
	}
	v = Filter(w, t.variables)
	t.filters.verdicts.Add(of, v)
	if v.Reason == v1alpha1.UnmatchedFilterError {
		t.filters.failed(w, t.event, v.Message)
	}
	return v, true
}

func (t *Turn) variables() (*expression.Event, error) {
	if t.seen == nil {
		t.seen = payload.EventOf(t.event)
	}
	return t.seen, nil
}
