package insight

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// replay is the command that brings an event to a Webhook that did not get it.
func replay(w Ref, e *v1alpha1.WebhookEvent) string {
	return command("replay", w.Namespace, w.Name, "--since", stamp(matching.SubjectOf(e).Oldest()))
}

// unfollowed says why a Webhook, as it is now, does not follow an event, with the values
// that decide. verdict is that of internal/matching.
func unfollowed(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, verdict matching.Verdict, now time.Time) Finding {
	f := Finding{Outcome: NotFollowed, Reason: string(verdict.Reason)}
	edit := command("edit", w.Namespace, w.Name)
	then := "; " + replay(refOf(w), e) + " then brings this event"
	switch verdict.Reason {
	case v1alpha1.UnmatchedTrigger:
		f.Message = fmt.Sprintf("its triggers (%s) do not include %s", list(w.Spec.Triggers, maxListed), e.Spec.EventType)
		if near := nearestTrigger(w.Spec.Triggers, e.Spec.EventType); near != "" {
			f.Message += "; the nearest is " + string(near)
		}
		f.Help = fmt.Sprintf("to follow such events, add %s to spec.triggers: %s", e.Spec.EventType,
			command("edit", w.Namespace, w.Name, "--add-trigger", e.Spec.EventType)) + then
	case v1alpha1.UnmatchedScope:
		f.Message = outside(w.Spec.Scope, e.Spec.ResourcePath)
		f.Help = "to follow events of this path, change spec.scope: " + edit + then
	case v1alpha1.UnmatchedCreatedLater:
		f.Message = fmt.Sprintf("the webhook was created at %s, after the event (%s)", stamp(w.CreationTimestamp.Time), times(e))
		f.Help = replay(refOf(w), e) + " brings this event"
	case v1alpha1.UnmatchedDeleting:
		f.Message = "the webhook is being deleted"
		if w.DeletionTimestamp != nil {
			f.Message += ", since " + when(w.DeletionTimestamp.Time, now)
		}
	case v1alpha1.UnmatchedDisabled:
		f.Message = "its state is Disabled, which lets events pass by"
		f.Help = "to follow events again: " + command("resume", w.Namespace, w.Name) + then
	case v1alpha1.UnmatchedFilter:
		f.Message, f.Parts = "its filter is false for the event", partsOf(w, e)
		if len(f.Parts) > 0 {
			f.Message += ": " + values(f.Parts)
		}
		f.Help = "to follow such events, change spec.filter: " + edit + then
	case v1alpha1.UnmatchedFilterError:
		f.Message, f.Parts = "its filter fails for the event, so this is not sent: "+verdict.Message, partsOf(w, e)
		f.Help = "mend spec.filter: " + edit + then
	case v1alpha1.UnmatchedFilterInvalid:
		f.Message = "it follows nothing, since spec.filter does not compile: " + verdict.Message
		_, err := expression.CompileFilter(w.Spec.Filter)
		if mistake, ok := errors.AsType[*expression.Mistake](err); ok {
			f.Detail = Caret(mistake)
		}
		f.Help = "mend spec.filter: " + edit + then
	default:
		f.Message = "the operator says " + string(verdict.Reason)
	}
	return f
}

// maxListed bounds how many triggers a sentence names.
const maxListed = 8

// times says when an event was created and, where that differs, when it happened.
func times(e *v1alpha1.WebhookEvent) string {
	created, oldest := e.CreationTimestamp.Time, matching.SubjectOf(e).Oldest()
	if oldest.Equal(created) {
		return "created at " + stamp(created)
	}
	return "created at " + stamp(created) + ", happened at " + stamp(oldest)
}

func outside(scope, path string) string {
	scope = strings.TrimRight(scope, "/")
	switch {
	case path == "":
		return fmt.Sprintf("the event has no resourcePath, and its scope is %s", scope)
	case strings.HasPrefix(path, scope):
		return fmt.Sprintf("its scope is %s, and the event's path %s is beside that, not below it", scope, path)
	}
	return fmt.Sprintf("its scope is %s, and the event's path %s is not below that", scope, path)
}

// nearestTrigger returns the trigger that is spelt most like the type of an event: of the
// same family or the same action, or none.
func nearestTrigger(triggers []v1alpha1.Trigger, eventType string) v1alpha1.Trigger {
	kind, action, _ := strings.Cut(eventType, "_")
	near := func(t v1alpha1.Trigger) bool {
		k, a, _ := strings.Cut(string(t), "_")
		return strings.TrimSuffix(k, "s") == strings.TrimSuffix(kind, "s") || a == action
	}
	candidates := slices.DeleteFunc(slices.Clone(triggers), func(t v1alpha1.Trigger) bool { return !near(t) })
	if len(candidates) == 0 || len(triggers) == 1 {
		return ""
	}
	return slices.MinFunc(candidates, func(a, b v1alpha1.Trigger) int {
		return distance(string(a), eventType) - distance(string(b), eventType)
	})
}

// distance is how many characters have to be put in, taken out or changed to make one
// text of the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
