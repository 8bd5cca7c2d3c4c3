// Package fanout decides which webhooks an event still needs a delivery for,
// and what the event's status says. It is pure: objects and a time in, a plan
// out.
package fanout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// MaxNames is how many deliveries and how many unmatched webhooks a status names.
const MaxNames = 50

// View is what a plan depends on.
type View struct {
	Event *v1alpha1.WebhookEvent
	// Webhooks of the event's namespace, and those that follow every namespace.
	Webhooks []v1alpha1.Webhook
	// Late are webhooks that were not known, or not as they are now, when the event
	// was dispatched.
	Late map[types.UID]bool
	// Replays are those of them that somebody wants the event to be sent to: that they
	// were created later does not matter.
	Replays map[types.UID]bool
	// Match matches the event with a Webhook, for a replay or not. It is undecided where
	// that would take too long now. Nil asks internal/matching.
	Match func(w *v1alpha1.Webhook, replay bool) (v matching.Verdict, decided bool)
	// Entries are the known deliveries of the event.
	Entries []ledger.Entry
	// Removed are the results of deliveries of the event's namespace that were removed
	// since the status was written, by name.
	Removed map[string]v1alpha1.DeliveryResult
	// MaxAge is the age beyond which an event that nobody worked on expires.
	MaxAge time.Duration
	Now    time.Time
}

// Plan is what to do for an event.
type Plan struct {
	// Missing are the webhooks that match and have no delivery, stored or pending.
	Missing []*v1alpha1.Webhook
	// Undecided is set where others may match: another look will tell.
	Undecided bool
	// Status is what the event's status should say.
	Status v1alpha1.WebhookEventStatus
}

// Dispatched tells whether every webhook that matches an event has its delivery
// stored, or the event is not to be sent at all.
func Dispatched(e *v1alpha1.WebhookEvent) bool {
	c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
	return c != nil && (c.Status == metav1.ConditionTrue || c.Reason == v1alpha1.ReasonExpired)
}

// Refused tells whether a delivery of an event could not be stored.
func Refused(e *v1alpha1.WebhookEvent) bool {
	c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
	return c != nil && c.Reason == v1alpha1.ReasonRecordRefused
}

// Finished tells whether nothing more will happen to an event by itself.
func Finished(e *v1alpha1.WebhookEvent) bool {
	switch e.Status.Result {
	case v1alpha1.EventSucceeded, v1alpha1.EventFailed, v1alpha1.EventUnmatched, v1alpha1.EventExpired:
		return e.Status.Counts.Waiting == 0
	case v1alpha1.EventPending, v1alpha1.EventWaiting:
		return false
	}
	return false
}

// Make returns the plan for an event.
func Make(v View) Plan {
	if v.Event.Status.Result == v1alpha1.EventExpired {
		return Plan{Status: v.Event.Status} // also for webhooks that appear late
	}
	known := map[types.NamespacedName]bool{}
	for _, entry := range v.Entries {
		known[entry.Key] = true
	}
	dispatched := Dispatched(v.Event)
	if Expired(v.Event, v.MaxAge, v.Now) && len(known) == 0 && !dispatched {
		return Plan{Status: expiredStatus(v)}
	}
	// A delivery that somebody has deleted is not made again.
	for name := range v.Removed {
		known[types.NamespacedName{Namespace: v.Event.Namespace, Name: name}] = true
	}
	if dispatched { // nor is one that retention has taken
		for _, name := range v.Event.Status.Deliveries {
			known[types.NamespacedName{Namespace: v.Event.Namespace, Name: name}] = true
		}
	}

	var plan Plan
	unmatched := map[v1alpha1.UnmatchedReason]map[string]string{}
	for i := range v.Webhooks {
		w := &v.Webhooks[i]
		if dispatched && !v.Late[w.UID] {
			continue
		}
		key := types.NamespacedName{Namespace: w.Namespace, Name: delivery.Name(v.Event, w)}
		if known[key] {
			continue
		}
		verdict, decided := v.match(w)
		switch {
		case !decided:
			plan.Undecided = true
		case verdict.Follows():
			plan.Missing = append(plan.Missing, w)
		case w.Namespace == v.Event.Namespace:
			if unmatched[verdict.Reason] == nil {
				unmatched[verdict.Reason] = map[string]string{}
			}
			unmatched[verdict.Reason][w.Name] = verdict.Message
		}
	}
	plan.Status = status(v, dispatched, plan.Undecided || len(plan.Missing) > 0, unmatched)
	return plan
}

func (v View) match(w *v1alpha1.Webhook) (_ matching.Verdict, decided bool) {
	switch replay := v.Replays[w.UID]; {
	case v.Match != nil:
		return v.Match(w, replay)
	case replay:
		return matching.MatchReplay(w, v.Event), true
	}
	return matching.Match(w, v.Event), true
}

// Expired tells whether an event is not sent any more: nobody had worked on it before it
// was older than maxAge. One that somebody has worked on in time never is.
func Expired(e *v1alpha1.WebhookEvent, maxAge time.Duration, now time.Time) bool {
	return e.Status.Result == v1alpha1.EventExpired ||
		e.Status.ObservedGeneration < 1 && now.Sub(matching.SubjectOf(e).Oldest()) > maxAge
}

// status returns what the status says; missing tells whether a delivery is, or may be. By
// reason, unmatched has the names of Webhooks with the messages.
func status(
	v View, dispatched, missing bool, unmatched map[v1alpha1.UnmatchedReason]map[string]string,
) v1alpha1.WebhookEventStatus {
	s := *v.Event.Status.DeepCopy()
	s.ObservedGeneration = v.Event.Generation
	if dispatched {
		s.Unmatched = withoutLate(v, s.Unmatched)
	} else {
		s.Unmatched = nameUnmatched(unmatched)
	}

	pending, refused := 0, ""
	for _, entry := range v.Entries {
		if entry.Pending == nil {
			continue
		}
		pending++
		if why := refusal(v, entry); why != "" && (refused == "" || why < refused) {
			refused = why // the same one each time, whatever the order
		}
	}
	var lost int32
	s.Counts, lost = Count(s.Counts, s.Deliveries, v.Event.Namespace, v.Entries, v.Removed)
	s.Deliveries = names(v)

	set := setter(v, &s)
	switch {
	case dispatched:
	case refused != "":
		set(v1alpha1.ConditionDispatched, metav1.ConditionFalse, v1alpha1.ReasonRecordRefused,
			"a delivery cannot be stored, and nothing is sent without a record: "+refused)
	case missing || pending > 0:
		set(v1alpha1.ConditionDispatched, metav1.ConditionFalse, v1alpha1.ReasonDispatching,
			"deliveries are being made")
	default:
		set(v1alpha1.ConditionDispatched, metav1.ConditionTrue, v1alpha1.ReasonDispatched,
			"every matching webhook has its delivery")
		dispatched = true
	}
	deliver(&s, dispatched, lost > 0 || toldLost(v.Event), refused, set)
	return s
}

// Count returns the counts of an event's deliveries: of those that are present, of
// those that were seen to be removed, and of those that stored, the counts
// before, tells of and that are gone. named are the deliveries that stored counts, as
// far as their names are known: what is new takes nobody's place. What was removed
// while it waited has failed; lost is how many of these stored does not tell of yet.
func Count(
	stored v1alpha1.DeliveryCounts, named []string, namespace string, entries []ledger.Entry, removed map[string]v1alpha1.DeliveryResult,
) (counts v1alpha1.DeliveryCounts, lost int32) {
	// old are those of the deliveries that stored counts, fresh those of the others.
	var old, fresh tally
	of := func(name string) *tally {
		if len(named) > 0 && len(named) < MaxNames && !slices.Contains(named, name) {
			return &fresh
		}
		return &old
	}
	present := map[string]bool{}
	for _, entry := range entries {
		if entry.Key.Namespace != namespace {
			continue
		}
		if entry.Pending == nil {
			present[entry.Key.Name] = true
			of(entry.Key.Name).add(entry.State.Result, true)
		}
	}
	for name, result := range removed {
		if !present[name] {
			of(name).add(result, false)
		}
	}
	// What retention has removed was counted before. The rest waited when it was
	// counted, and went while nobody looked, such as between two leaders.
	gone := max(0, total(stored)-total(old.DeliveryCounts)-old.lost)
	failed := min(gone, max(0, stored.Failed-old.Failed))
	succeeded := min(gone-failed, max(0, stored.Succeeded-old.Succeeded))
	lost = old.lost + fresh.lost + gone - failed - succeeded
	return v1alpha1.DeliveryCounts{
		Waiting:   old.Waiting + fresh.Waiting,
		Succeeded: old.Succeeded + fresh.Succeeded + succeeded,
		Failed:    old.Failed + fresh.Failed + failed + lost,
	}, lost
}

// tally counts deliveries that are present, or were removed: lost are those that
// waited then.
type tally struct {
	v1alpha1.DeliveryCounts
	lost int32
}

func (t *tally) add(result v1alpha1.DeliveryResult, present bool) {
	switch {
	case result == v1alpha1.DeliverySucceeded:
		t.Succeeded++
	case result == v1alpha1.DeliveryFailed:
		t.Failed++
	case present:
		t.Waiting++
	default:
		t.lost++
	}
}

// names are those of the deliveries that are there, or were.
func names(v View) []string {
	all := slices.Clone(v.Event.Status.Deliveries)
	for _, entry := range v.Entries {
		if entry.Pending == nil && entry.Key.Namespace == v.Event.Namespace {
			all = append(all, entry.Key.Name)
		}
	}
	all = slices.AppendSeq(all, maps.Keys(v.Removed))
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), MaxNames)]
}

// withoutLate takes the names of those that get the event after all out of the
// webhooks that do not.
func withoutLate(v View, unmatched []v1alpha1.Unmatched) []v1alpha1.Unmatched {
	matched := map[string]bool{}
	for i := range v.Webhooks {
		w := &v.Webhooks[i]
		if !v.Late[w.UID] || w.Namespace != v.Event.Namespace {
			continue
		}
		name := delivery.Name(v.Event, w)
		matched[w.Name] = slices.ContainsFunc(v.Entries, func(e ledger.Entry) bool { return e.Key.Name == name && e.Pending == nil })
	}
	var rest []v1alpha1.Unmatched
	for _, u := range unmatched {
		before := len(u.Webhooks)
		u.Webhooks = slices.DeleteFunc(slices.Clone(u.Webhooks), func(name string) bool { return matched[name] })
		u.Count -= int32(before - len(u.Webhooks)) //nolint:gosec // at most 50
		if u.Count > 0 {
			rest = append(rest, u)
		}
	}
	return rest
}

// lostNote stays in the message once it is there: nothing else tells it later.
const lostNote = "; of what failed, some was deleted before it was delivered, with its webhook or by hand"

func toldLost(e *v1alpha1.WebhookEvent) bool {
	c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDelivered)
	return c != nil && strings.HasSuffix(c.Message, lostNote)
}

// refusal is why a pending delivery cannot be stored, without naming what is in another
// namespace.
func refusal(v View, entry ledger.Entry) string {
	if entry.Pending.Refused != "" && entry.Key.Namespace != v.Event.Namespace {
		return "the record of a webhook of another namespace was refused"
	}
	return entry.Pending.Refused
}

// deliver derives result and Delivered from the counts.
func deliver(s *v1alpha1.WebhookEventStatus, dispatched, lost bool, refused string, set setFunc) {
	c := s.Counts
	message := fmt.Sprintf("%d of %d delivered", c.Succeeded, total(c))
	switch {
	case !dispatched:
		s.Result = v1alpha1.EventPending
		set(v1alpha1.ConditionDelivered, metav1.ConditionUnknown, v1alpha1.ReasonDispatching, message)
	case refused != "": // of a webhook that appeared late, or was edited
		s.Result = v1alpha1.EventWaiting
		set(v1alpha1.ConditionDelivered, metav1.ConditionUnknown, v1alpha1.ReasonRecordRefused,
			message+"; one more cannot be stored, and nothing is sent without a record: "+refused)
	case total(c) == 0:
		s.Result = v1alpha1.EventUnmatched
		why := "no webhook of this namespace matches; status.unmatched tells why"
		if len(s.Unmatched) == 0 {
			why = "this namespace has no webhooks"
		}
		set(v1alpha1.ConditionDelivered, metav1.ConditionTrue, v1alpha1.ReasonNothingToDeliver, why)
	case c.Failed > 0:
		s.Result = v1alpha1.EventFailed
		message = fmt.Sprintf("%s, %d failed, %d waiting", message, c.Failed, c.Waiting)
		if lost {
			message += lostNote
		}
		set(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonFailed, message)
	case c.Waiting > 0:
		s.Result = v1alpha1.EventWaiting
		set(v1alpha1.ConditionDelivered, metav1.ConditionUnknown, v1alpha1.ReasonWaiting, message)
	default:
		s.Result = v1alpha1.EventSucceeded
		set(v1alpha1.ConditionDelivered, metav1.ConditionTrue, v1alpha1.ReasonDelivered, message)
	}
	// What stays True keeps its time, or each look would be a reason to write.
	delivered := *meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionDelivered)
	for conditionType, with := range map[string]metav1.ConditionStatus{
		v1alpha1.ConditionReconciling: metav1.ConditionUnknown,
		v1alpha1.ConditionStalled:     metav1.ConditionFalse,
	} {
		if delivered.Status == with {
			set(conditionType, metav1.ConditionTrue, delivered.Reason, delivered.Message)
		} else {
			meta.RemoveStatusCondition(&s.Conditions, conditionType)
		}
	}
}

func expiredStatus(v View) v1alpha1.WebhookEventStatus {
	s := *v.Event.Status.DeepCopy()
	s.ObservedGeneration = v.Event.Generation
	s.Result = v1alpha1.EventExpired
	message := fmt.Sprintf("older than %s (--max-event-age) when it was first worked on", v.MaxAge)
	set := setter(v, &s)
	set(v1alpha1.ConditionDispatched, metav1.ConditionFalse, v1alpha1.ReasonExpired, message)
	set(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonExpired, message)
	set(v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonExpired, message)
	return s
}

type setFunc func(conditionType string, status metav1.ConditionStatus, reason, message string)

func setter(v View, s *v1alpha1.WebhookEventStatus) setFunc {
	return func(conditionType string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: conditionType, Status: status, Reason: reason, Message: message,
			ObservedGeneration: v.Event.Generation,
			LastTransitionTime: metav1.NewTime(v.Now.Truncate(time.Second)),
		})
	}
}

// Change says how much a new status differs from the one that is stored.
type Change int

const (
	// Same: nothing to write.
	Same Change = iota
	// Minor: only numbers differ; they may be written later, together.
	Minor
	// Major: a result or a condition differs.
	Major
)

// Compare tells how a plan's status differs from the event's. An event whose
// deliveries are being made needs no write: what comes next is its dispatch.
func Compare(e *v1alpha1.WebhookEvent, planned v1alpha1.WebhookEventStatus) Change {
	dispatched := meta.FindStatusCondition(planned.Conditions, v1alpha1.ConditionDispatched)
	switch {
	case equality.Semantic.DeepEqual(e.Status, planned):
		return Same
	case dispatched.Reason == v1alpha1.ReasonDispatching && !Refused(e):
		return Same
	case e.Status.Result != planned.Result || len(e.Status.Conditions) != len(planned.Conditions):
		return Major
	}
	for _, c := range planned.Conditions {
		was := meta.FindStatusCondition(e.Status.Conditions, c.Type)
		if was == nil || was.Status != c.Status || was.Reason != c.Reason {
			return Major
		}
	}
	return Minor
}

// nearest lists the reasons by how near they are to a match: the reverse of the
// order in which matching asks.
var nearest = []v1alpha1.UnmatchedReason{
	v1alpha1.UnmatchedFilterInvalid, v1alpha1.UnmatchedFilterError, v1alpha1.UnmatchedFilter, v1alpha1.UnmatchedDisabled, v1alpha1.UnmatchedDeleting, v1alpha1.UnmatchedCreatedLater,
	v1alpha1.UnmatchedScope, v1alpha1.UnmatchedTrigger,
}

func nameUnmatched(unmatched map[v1alpha1.UnmatchedReason]map[string]string) []v1alpha1.Unmatched {
	var all []v1alpha1.Unmatched
	room := MaxNames
	for _, reason := range nearest {
		of := slices.Sorted(maps.Keys(unmatched[reason]))
		if len(of) == 0 {
			continue
		}
		named := of[:min(len(of), room)]
		room -= len(named)
		all = append(all, v1alpha1.Unmatched{
			Reason: reason, Message: unmatched[reason][of[0]],
			Count: int32(len(of)), Webhooks: named, //nolint:gosec // webhooks fit
		})
	}
	return all
}

func total(c v1alpha1.DeliveryCounts) int32 { return c.Waiting + c.Succeeded + c.Failed }
