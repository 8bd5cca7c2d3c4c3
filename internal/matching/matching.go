// Package matching decides which Webhook follows which WebhookEvent. That is a pure function
// of the two objects; Filters remembers what it cost most to find out.
package matching

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

// CreationTolerance is how much later than an event a Webhook may have been
// created and still get it. The API server's times are whole seconds, and
// those of two API servers may differ a little: without it, an event that
// follows its Webhook in one command could be lost.
const CreationTolerance = 2 * time.Second

// clockTolerance is how much earlier than an event's creation its spec.time may
// be without counting: it comes from another machine's clock.
const clockTolerance = time.Minute

// Subject is what of an event decides who follows it.
type Subject struct {
	EventType, ResourcePath string
	// Created is the API server's time. Time is that of spec.time, or that of the
	// original where the event is a copy and this is earlier; zero if neither is known.
	Created, Time time.Time
}

// SubjectOf returns the Subject of an event.
func SubjectOf(e *v1alpha1.WebhookEvent) Subject {
	s := Subject{e.Spec.EventType, e.Spec.ResourcePath, e.CreationTimestamp.Time, e.Spec.Time.Time}
	if at, ok := RestoredFrom(e); ok && (s.Time.IsZero() || at.Before(s.Time)) {
		s.Time = at
	}
	return s
}

// happened is when the event counts as having happened: Time where that is clearly
// earlier than its creation, as that of an event that was caught up or restored.
func (s Subject) happened() time.Time {
	if !s.Time.IsZero() && s.Created.Sub(s.Time) > clockTolerance {
		return s.Time
	}
	return s.Created
}

// Oldest is the earlier of the two times of an event. Expiry goes by it.
func (s Subject) Oldest() time.Time {
	if !s.Time.IsZero() && s.Time.Before(s.Created) {
		return s.Time
	}
	return s.Created
}

// Verdict tells whether a Webhook follows an event and, if not, why.
type Verdict struct {
	// Reason is empty where it does.
	Reason v1alpha1.UnmatchedReason
	// Message says more: what is wrong with the filter, or how it failed.
	Message string
}

// Follows tells whether the Webhook follows the event.
func (v Verdict) Follows() bool { return v.Reason == "" }

// Match tells whether the Webhook follows the event and, if not, why. Whether
// the two namespaces fit is the caller's business, since a Webhook of the
// system namespace follows the events of all.
//
// One reason is told where several apply, and the order makes each say the
// most: what the event is about comes first, since all else concerns only
// those who want such events; then what nobody can change any more; then the
// state, so that whoever reads Disabled knows that enabling is all it takes;
// then the filter, which costs the most to ask.
func Match(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent) Verdict { return match(w, e, false) }

// MatchReplay is Match for a replay, which somebody has asked for: that the Webhook was
// created later does not matter.
func MatchReplay(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent) Verdict { return match(w, e, true) }

func match(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, replay bool) Verdict {
	subject := SubjectOf(e)
	if reason, ok := subject.match(w, !replay && subject.before(w)); !ok {
		return Verdict{Reason: reason}
	}
	return Filter(w, func() (*expression.Event, error) { return payload.EventOf(e), nil })
}

// Filter is what of Match the filter of a Webhook says: nothing is asked without one.
func Filter(w *v1alpha1.Webhook, event func() (*expression.Event, error)) Verdict {
	if w.Spec.Filter == "" {
		return Verdict{}
	}
	filter, err := expression.CompileFilter(w.Spec.Filter)
	if mistake, ok := errors.AsType[*expression.Mistake](err); ok {
		return Verdict{v1alpha1.UnmatchedFilterInvalid, mistake.Short()}
	}
	seen, err := event()
	if err != nil {
		return Verdict{v1alpha1.UnmatchedFilterError, err.Error()}
	}
	switch passes, err := filter.Matches(expression.Input{Event: seen, Webhook: payload.WebhookOf(w)}); {
	case err != nil:
		return Verdict{v1alpha1.UnmatchedFilterError, err.Error()}
	case !passes:
		return Verdict{Reason: v1alpha1.UnmatchedFilter}
	}
	return Verdict{}
}

// MayMatch is all of Match but the filter, which needs the whole event.
func (s Subject) MayMatch(w *v1alpha1.Webhook) (reason v1alpha1.UnmatchedReason, ok bool) {
	return s.match(w, s.before(w))
}

// before tells whether the event happened before the Webhook was created.
func (s Subject) before(w *v1alpha1.Webhook) bool {
	return w.CreationTimestamp.After(s.happened().Add(CreationTolerance))
}

func (s Subject) match(w *v1alpha1.Webhook, createdLater bool) (reason v1alpha1.UnmatchedReason, ok bool) {
	switch {
	case !slices.ContainsFunc(w.Spec.Triggers, func(t v1alpha1.Trigger) bool { return Follows(t, s.EventType) }):
		return v1alpha1.UnmatchedTrigger, false
	case !within(w.Spec.Scope, s.ResourcePath):
		return v1alpha1.UnmatchedScope, false
	case createdLater:
		return v1alpha1.UnmatchedCreatedLater, false
	case !w.DeletionTimestamp.IsZero():
		return v1alpha1.UnmatchedDeleting, false
	case w.Spec.State == v1alpha1.WebhookDisabled:
		return v1alpha1.UnmatchedDisabled, false
	}
	return "", true
}

// Follows tells whether a trigger names the type of an event or its family
// (clusters_*), in whichever spelling: Horizon's documentation and its code differ
// in singular and plural (cluster_created, clusters_created).
func Follows(trigger v1alpha1.Trigger, eventType string) bool {
	if trigger == v1alpha1.TriggerAny || string(trigger) == eventType {
		return true
	}
	kind, action := split(string(trigger))
	eventKind, eventAction := split(eventType)
	return kind == eventKind && (action == eventAction || action == "*")
}

// split divides an event type into the singular of what it happened to and
// what happened, so that all spellings of a type come out the same.
func split(eventType string) (kind, action string) {
	if eventType == "clsuters_restarted" { // Horizon's own spelling on the wire
		eventType = "clusters_restarted"
	}
	kind, action, _ = strings.Cut(eventType, "_")
	return strings.TrimSuffix(kind, "s"), action
}

// within tells whether a path is the scope or below it, by whole segments:
// /music/player-beta is not within /music/player. Every event, also one without
// a path, is within an empty scope and within the root.
func within(scope, path string) bool {
	scope = strings.TrimRight(scope, "/")
	rest, found := strings.CutPrefix(path, scope)
	return scope == "" || found && (rest == "" || rest[0] == '/')
}
