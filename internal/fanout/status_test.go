package fanout

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/test/object"
)

// As long as nothing happens, nothing is written, however late it is looked at:
// a status that differed each time would be written for ever.
func TestNothingNewIsNothingToWrite(t *testing.T) {
	a, b := webhook("a"), webhook("b")
	e := event()
	for name, tc := range map[string]struct {
		event    *v1alpha1.WebhookEvent
		webhooks []v1alpha1.Webhook
		entries  []ledger.Entry
	}{
		"unmatched": {event: e, webhooks: []v1alpha1.Webhook{webhook("x", otherTrigger)}},
		"succeeded": {event: e, entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded), entry(e, b, v1alpha1.DeliverySucceeded)}},
		"waiting":   {event: e, entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded), entry(e, b, v1alpha1.DeliveryWaiting)}},
		"failed":    {event: e, entries: []ledger.Entry{entry(e, a, v1alpha1.DeliveryFailed), entry(e, b, v1alpha1.DeliverySucceeded)}},
		"refused":   {event: e, webhooks: []v1alpha1.Webhook{a}, entries: []ledger.Entry{refused(e, a, "quota"), refused(e, b, "quota of b")}},
		"expired": {
			event:    event(func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(now.Add(-2 * maxAge)) }),
			webhooks: []v1alpha1.Webhook{a},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := View{Event: tc.event, Webhooks: tc.webhooks, Entries: tc.entries, MaxAge: maxAge, Now: now.Add(1500 * time.Millisecond)}
			first := Make(v)
			if got := Compare(tc.event, first.Status); got != Major {
				t.Fatalf("change %d at first", got)
			}
			v.Event = written(t, tc.event, first.Status)
			for range 5 {
				v.Now = v.Now.Add(time.Hour)
				slices.Reverse(v.Entries) // the ledger keeps them in no order
				again := Make(v)
				if got := Compare(v.Event, again.Status); got != Same {
					t.Fatalf("change %d (-stored +planned):\n%s", got, cmp.Diff(v.Event.Status, again.Status))
				}
			}
		})
	}
}

// An event whose deliveries all succeed is written once, whatever order they are
// stored in.
func TestOneWriteForAnEventThatSucceeds(t *testing.T) {
	const n = 5
	e := event()
	v := View{Event: e, MaxAge: maxAge, Now: now}
	for i := range n {
		v.Webhooks = append(v.Webhooks, webhook(fmt.Sprint("w", i)))
	}
	v.Webhooks = append(v.Webhooks, webhook("no", disabled))
	var writes []Change
	look := func() {
		v.Now = v.Now.Add(700 * time.Millisecond)
		plan := Make(v)
		if change := Compare(v.Event, plan.Status); change != Same {
			writes = append(writes, change)
			v.Event = written(t, v.Event, plan.Status)
		}
	}
	look()
	for i := range n {
		v.Entries = append(v.Entries, entry(e, v.Webhooks[i], "pending"))
		look()
	}
	for _, i := range []int{3, 0, 4, 1, 2} {
		v.Entries[i] = entry(e, v.Webhooks[i], v1alpha1.DeliverySucceeded)
		look()
		look()
	}
	if diff := cmp.Diff([]Change{Major}, writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if v.Event.Status.Result != v1alpha1.EventSucceeded || v.Event.Status.Counts != counts(0, n, 0) || len(v.Event.Status.Deliveries) != n {
		t.Errorf("status %+v", v.Event.Status)
	}
}

func dispatched(t testing.TB, e *v1alpha1.WebhookEvent, deliveries ...ledger.Entry) *v1alpha1.WebhookEvent {
	t.Helper()
	e = written(t, e, Make(View{Event: e, Entries: deliveries, MaxAge: maxAge, Now: now}).Status)
	if !Dispatched(e) {
		t.Fatal("the event is not dispatched")
	}
	return e
}

// Retention removes deliveries, people delete webhooks, and what is left goes on.
func TestCountsOfWhatIsGone(t *testing.T) {
	const waiting, succeeded, failed = v1alpha1.DeliveryWaiting, v1alpha1.DeliverySucceeded, v1alpha1.DeliveryFailed
	type results map[string]v1alpha1.DeliveryResult
	for name, tc := range map[string]struct {
		before, after results
		removed       results // as somebody saw it
		wantCounts    v1alpha1.DeliveryCounts
		wantResult    v1alpha1.EventResult
		wantNames     []string
		wantLost      bool
	}{
		"nothing":                                     {before: results{"a": succeeded}, after: results{"a": succeeded}, wantCounts: counts(0, 1, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a"}},
		"all that succeeded":                          {before: results{"a": succeeded, "b": succeeded}, after: results{}, wantCounts: counts(0, 2, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a", "b"}},
		"one of those that succeeded":                 {before: results{"a": succeeded, "b": succeeded}, after: results{"b": succeeded}, wantCounts: counts(0, 2, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a", "b"}},
		"the one that failed":                         {before: results{"a": failed, "b": succeeded}, after: results{"b": succeeded}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed, wantNames: []string{"a", "b"}},
		"one, while another waits":                    {before: results{"a": succeeded, "b": waiting}, after: results{"b": waiting}, wantCounts: counts(1, 1, 0), wantResult: v1alpha1.EventWaiting, wantNames: []string{"a", "b"}},
		"one, and another fails":                      {before: results{"a": succeeded, "b": waiting}, after: results{"b": failed}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed},
		"one, and another is delivered":               {before: results{"a": failed, "b": waiting}, after: results{"b": succeeded}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed},
		"of three, the third is done":                 {before: results{"a": succeeded, "b": succeeded, "c": waiting}, after: results{"b": succeeded, "c": succeeded}, removed: results{"a": succeeded}, wantCounts: counts(0, 3, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a", "b", "c"}},
		"one that waited":                             {before: results{"a": succeeded, "b": waiting}, after: results{"a": succeeded}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed, wantLost: true},
		"one that waited, seen":                       {before: results{"a": succeeded, "b": waiting}, after: results{"a": succeeded}, removed: results{"b": waiting}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed, wantLost: true},
		"the only one, which waited":                  {before: results{"b": waiting}, after: results{}, wantCounts: counts(0, 0, 1), wantResult: v1alpha1.EventFailed, wantNames: []string{"b"}, wantLost: true},
		"one of three that waited":                    {before: results{"a": waiting, "b": waiting, "c": waiting}, after: results{"a": succeeded, "b": waiting}, wantCounts: counts(1, 1, 1), wantResult: v1alpha1.EventFailed, wantLost: true},
		"one, and a new one is delivered":             {before: results{"a": failed}, after: results{"n": succeeded}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed, wantNames: []string{"a", "n"}},
		"one that waited, and a new one is delivered": {before: results{"a": waiting, "b": succeeded}, after: results{"b": succeeded, "n": succeeded}, wantCounts: counts(0, 2, 1), wantResult: v1alpha1.EventFailed, wantLost: true},
		"two, and a new one waits":                    {before: results{"a": succeeded, "b": succeeded}, after: results{"n": waiting}, wantCounts: counts(1, 2, 0), wantResult: v1alpha1.EventWaiting},
		"just after it was delivered":                 {before: results{"a": waiting}, after: results{}, removed: results{"a": succeeded}, wantCounts: counts(0, 1, 0), wantResult: v1alpha1.EventSucceeded},
		"just after it failed":                        {before: results{"a": waiting}, after: results{}, removed: results{"a": failed}, wantCounts: counts(0, 0, 1), wantResult: v1alpha1.EventFailed},
		"none, and one is resent":                     {before: results{"a": failed, "b": succeeded}, after: results{"a": succeeded, "b": succeeded}, wantCounts: counts(0, 2, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a", "b"}},
		"none, and one is being resent":               {before: results{"a": failed, "b": succeeded}, after: results{"a": waiting, "b": succeeded}, wantCounts: counts(1, 1, 0), wantResult: v1alpha1.EventWaiting, wantNames: []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			entries := func(of results) (all []ledger.Entry) {
				for name, result := range of {
					all = append(all, entry(event(), webhook(name), result))
				}
				return all
			}
			e := dispatched(t, event(), entries(tc.before)...)
			v := View{Event: e, Entries: entries(tc.after), MaxAge: maxAge, Now: now.Add(time.Hour), Removed: map[string]v1alpha1.DeliveryResult{}}
			for name, result := range tc.removed {
				v.Removed[entry(event(), webhook(name), "").Key.Name] = result
			}
			plan := Make(v)
			if diff := cmp.Diff(tc.wantCounts, plan.Status.Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if plan.Status.Result != tc.wantResult {
				t.Errorf("result %s, want %s", plan.Status.Result, tc.wantResult)
			}
			if got := toldLost(&v1alpha1.WebhookEvent{Status: plan.Status}); got != tc.wantLost {
				t.Errorf("told that some was deleted: %t, want %t", got, tc.wantLost)
			}
			if tc.wantNames != nil {
				var want []string
				for _, name := range tc.wantNames {
					want = append(want, entry(event(), webhook(name), "").Key.Name)
				}
				if diff := cmp.Diff(want, plan.Status.Deliveries); diff != "" {
					t.Errorf("deliveries (-want +got):\n%s", diff)
				}
			}
			v.Event, v.Now = written(t, e, plan.Status), v.Now.Add(time.Hour)
			if again := Make(v); Compare(v.Event, again.Status) != Same {
				t.Errorf("it does not settle (-once +twice):\n%s", cmp.Diff(plan.Status, again.Status))
			}
		})
	}
}

func TestUnmatchedNamesAtMost50NearMissesFirst(t *testing.T) {
	v := View{Event: event(), MaxAge: maxAge, Now: now}
	add := func(n int, prefix string, changes ...func(w *v1alpha1.Webhook)) (names []string) {
		for i := range n {
			name := fmt.Sprintf("%s-%03d", prefix, i)
			names = append(names, name)
			v.Webhooks = append(v.Webhooks, webhook(name, changes...))
		}
		return names
	}
	trigger := add(100, "trigger", otherTrigger)
	deletes := add(1, "deleting", deleting)
	off := add(2, "disabled", disabled)
	filtered := func(text string) func(w *v1alpha1.Webhook) { return func(w *v1alpha1.Webhook) { w.Spec.Filter = text } }
	invalid := add(2, "invalid", filtered("event.nothing"))
	failing := add(2, "failing", filtered("1 / (event.eventID - event.eventID) == 1"))
	passing := add(2, "passing", filtered("false"))
	later := add(3, "later", createdLater)
	scope := add(4, "scope", otherScope)
	add(5, "system", otherTrigger, ofSystem)
	slices.Reverse(v.Webhooks) // whatever the order of the list
	want := []v1alpha1.Unmatched{
		{Reason: v1alpha1.UnmatchedFilterInvalid, Count: 2, Webhooks: invalid, Message: "1:7: undefined field 'nothing'"},
		{Reason: v1alpha1.UnmatchedFilterError, Count: 2, Webhooks: failing, Message: "division by zero"},
		{Reason: v1alpha1.UnmatchedFilter, Count: 2, Webhooks: passing},
		{Reason: v1alpha1.UnmatchedDisabled, Count: 2, Webhooks: off},
		{Reason: v1alpha1.UnmatchedDeleting, Count: 1, Webhooks: deletes},
		{Reason: v1alpha1.UnmatchedCreatedLater, Count: 3, Webhooks: later},
		{Reason: v1alpha1.UnmatchedScope, Count: 4, Webhooks: scope},
		{Reason: v1alpha1.UnmatchedTrigger, Count: 100, Webhooks: trigger[:34]},
	}
	if diff := cmp.Diff(want, Make(v).Status.Unmatched); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	add(60, "scope-b", otherScope)
	named := 0
	for _, u := range Make(v).Status.Unmatched {
		named += len(u.Webhooks)
		if u.Reason == v1alpha1.UnmatchedTrigger && (u.Count != 100 || len(u.Webhooks) != 0) {
			t.Errorf("triggers: %d counted, %d named", u.Count, len(u.Webhooks))
		}
	}
	if named != 50 {
		t.Errorf("%d named", named)
	}
}

// While it is not decided who matches, nothing is written, and those that are decided get
// their delivery. A late one that is not decided keeps its name.
func TestUndecided(t *testing.T) {
	undecided := func(w *v1alpha1.Webhook, _ bool) (matching.Verdict, bool) {
		return matching.Verdict{}, w.Name != "undecided"
	}
	v := View{Event: event(), Webhooks: []v1alpha1.Webhook{webhook("a"), webhook("undecided")}, Match: undecided, MaxAge: maxAge, Now: now}
	plan := Make(v)
	if !plan.Undecided || len(plan.Missing) != 1 || plan.Missing[0].Name != "a" || Compare(v.Event, plan.Status) != Same {
		t.Errorf("%+v", plan)
	}
	alone := View{Event: event(), Webhooks: v.Webhooks[1:], Match: undecided, MaxAge: maxAge, Now: now}
	if plan := Make(alone); !plan.Undecided || Compare(alone.Event, plan.Status) != Same {
		t.Errorf("%+v", plan)
	}
	v.Match = nil
	if Make(v).Undecided {
		t.Error("nobody was asked")
	}
}

// What is told of others is what was true when the event was dispatched.
func TestUnmatchedStays(t *testing.T) {
	e := event()
	v := View{Event: e, Webhooks: []v1alpha1.Webhook{webhook("x", otherTrigger)}, MaxAge: maxAge, Now: now}
	v.Event = written(t, e, Make(v).Status)
	v.Webhooks = nil
	plan := Make(v)
	if diff := cmp.Diff(v.Event.Status.Unmatched, plan.Status.Unmatched); diff != "" || len(plan.Status.Unmatched) != 1 {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestDeliveriesNamesAtMost50InOrder(t *testing.T) {
	e := event()
	var entries []ledger.Entry
	var names []string
	for i := range 60 {
		entries = append(entries, entry(e, webhook(fmt.Sprintf("w%03d", 59-i)), v1alpha1.DeliverySucceeded))
		names = append(names, entries[i].Key.Name)
	}
	slices.Sort(names)
	s := Make(View{Event: e, Entries: entries, MaxAge: maxAge, Now: now}).Status
	if diff := cmp.Diff(names[:50], s.Deliveries); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.Counts != counts(0, 60, 0) {
		t.Errorf("counts %+v", s.Counts)
	}
}

func TestFinished(t *testing.T) {
	for result, want := range map[v1alpha1.EventResult]bool{
		"": false, v1alpha1.EventPending: false, v1alpha1.EventWaiting: false, v1alpha1.EventSucceeded: true,
		v1alpha1.EventFailed: true, v1alpha1.EventUnmatched: true, v1alpha1.EventExpired: true,
	} {
		if got := Finished(event(func(e *v1alpha1.WebhookEvent) { e.Status.Result = result })); got != want {
			t.Errorf("%q is finished: %t", result, got)
		}
	}
}

// An event that nobody has looked at must not look finished.
func TestUnseenEvent(t *testing.T) {
	e := event()
	if Dispatched(e) || Refused(e) || Finished(e) {
		t.Error("it looks worked on")
	}
	if got := object.Kstatus(t, e); got != kstatus.InProgressStatus {
		t.Errorf("kstatus %s", got)
	}
}
