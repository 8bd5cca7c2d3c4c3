package dispatch

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/record"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

const maxAge = 72 * time.Hour

func event(changes ...func(e *v1alpha1.WebhookEvent)) *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{
		Spec:   v1alpha1.WebhookEventSpec{EventType: "clusters_deployed", ResourcePath: "/music/player"},
		Status: v1alpha1.WebhookEventStatus{ObservedGeneration: -1, Result: v1alpha1.EventPending},
	}
	e.Namespace, e.Name, e.UID, e.Generation = "music", "horizon-1", "event", 1
	e.CreationTimestamp = metav1.NewTime(now)
	for _, change := range changes {
		change(e)
	}
	return e
}

func webhook(name string, changes ...func(w *v1alpha1.Webhook)) v1alpha1.Webhook {
	w := v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}}}
	w.Namespace, w.Name, w.UID = "music", name, types.UID("uid-"+name)
	w.CreationTimestamp = metav1.NewTime(now)
	for _, change := range changes {
		change(&w)
	}
	return w
}

func otherTrigger(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{"clusters_freed"} }
func otherScope(w *v1alpha1.Webhook)   { w.Spec.Scope = "/video" }
func disabled(w *v1alpha1.Webhook)     { w.Spec.State = v1alpha1.WebhookDisabled }
func deleting(w *v1alpha1.Webhook)     { w.DeletionTimestamp = new(metav1.NewTime(now)) }
func createdLater(w *v1alpha1.Webhook) { w.CreationTimestamp = metav1.NewTime(now.Add(time.Minute)) }
func ofSystem(w *v1alpha1.Webhook)     { w.Namespace = "horizon-system" }

// entry is the stored delivery of an event to a webhook, or, with a result of
// "draft", one that is not stored.
func entry(e *v1alpha1.WebhookEvent, w v1alpha1.Webhook, result v1alpha1.DeliveryResult) ledger.Entry {
	known := ledger.Entry{
		Key:     types.NamespacedName{Namespace: w.Namespace, Name: record.Name(e, &w)},
		Webhook: types.NamespacedName{Namespace: w.Namespace, Name: w.Name}, EventUID: e.UID,
		State: retry.State{Result: result},
	}
	if result == "draft" {
		known.State.Result = ""
		known.Draft = &ledger.Draft{EventUID: e.UID}
	}
	return known
}

// written is the event with a status, as the API server would have it.
func written(t testing.TB, e *v1alpha1.WebhookEvent, s v1alpha1.WebhookEventStatus) *v1alpha1.WebhookEvent {
	t.Helper()
	e = e.DeepCopy()
	e.Status = s
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	read := &v1alpha1.WebhookEvent{}
	if err := json.Unmarshal(data, read); err != nil {
		t.Fatal(err)
	}
	return read
}

func kstatusOf(t testing.TB, e *v1alpha1.WebhookEvent) kstatus.Status {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(e)
	if err != nil {
		t.Fatal(err)
	}
	result, err := kstatus.Compute(&unstructured.Unstructured{Object: object})
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

// summary is what tables compare of a plan.
type summary struct {
	Missing    []string
	Result     v1alpha1.EventResult
	Dispatched string
	Delivered  string
	Counts     v1alpha1.DeliveryCounts
	Kstatus    kstatus.Status
	Change     Change
}

func condition(conditions []metav1.Condition, conditionType string) string {
	c := meta.FindStatusCondition(conditions, conditionType)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

func summarise(t testing.TB, e *v1alpha1.WebhookEvent, p Plan) summary {
	t.Helper()
	s := summary{
		Result:     p.Status.Result,
		Dispatched: condition(p.Status.Conditions, v1alpha1.ConditionDispatched),
		Delivered:  condition(p.Status.Conditions, v1alpha1.ConditionDelivered),
		Counts:     p.Status.Counts,
		Kstatus:    kstatusOf(t, written(t, e, p.Status)),
		Change:     Compare(e, p.Status),
	}
	for _, w := range p.Missing {
		s.Missing = append(s.Missing, w.Name)
	}
	return s
}

func counts(waiting, succeeded, failed int32) v1alpha1.DeliveryCounts {
	return v1alpha1.DeliveryCounts{Waiting: waiting, Succeeded: succeeded, Failed: failed}
}

func TestMake(t *testing.T) {
	const waiting, succeeded, failed = v1alpha1.DeliveryWaiting, v1alpha1.DeliverySucceeded, v1alpha1.DeliveryFailed
	type webhooks map[string][]func(w *v1alpha1.Webhook)
	type deliveries map[string]v1alpha1.DeliveryResult
	plain := []func(w *v1alpha1.Webhook){}
	old := func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(now.Add(-maxAge - time.Second)) }
	worked := func(e *v1alpha1.WebhookEvent) { e.Status.ObservedGeneration = 1 }

	pending := summary{
		Result: v1alpha1.EventPending, Dispatched: "False Dispatching", Delivered: "Unknown Dispatching",
		Kstatus: kstatus.InProgressStatus, Change: Same,
	}
	with := func(s summary, missing ...string) summary { s.Missing = missing; return s }
	expired := summary{
		Result: v1alpha1.EventExpired, Dispatched: "False Expired", Delivered: "False Expired",
		Kstatus: kstatus.FailedStatus, Change: Major,
	}

	for name, tc := range map[string]struct {
		event      []func(e *v1alpha1.WebhookEvent)
		webhooks   webhooks
		deliveries deliveries
		want       summary
	}{
		"no webhooks": {want: summary{
			Result: v1alpha1.EventUnmatched, Dispatched: "True Dispatched", Delivered: "True NothingToDeliver",
			Kstatus: kstatus.CurrentStatus, Change: Major,
		}},
		"no match": {
			webhooks: webhooks{"a": {otherTrigger}, "b": {disabled}},
			want: summary{
				Result: v1alpha1.EventUnmatched, Dispatched: "True Dispatched", Delivered: "True NothingToDeliver",
				Kstatus: kstatus.CurrentStatus, Change: Major,
			},
		},
		"two to be drafted": {webhooks: webhooks{"a": plain, "b": plain, "c": {otherScope}}, want: with(pending, "a", "b")},
		"both are drafts":   {webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": "draft", "b": "draft"}, want: pending},
		"one is stored": {
			webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": succeeded, "b": "draft"},
			want: func() summary { s := pending; s.Counts = counts(0, 1, 0); return s }(),
		},
		"one is stored, one missing": {
			webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": failed},
			want: func() summary { s := with(pending, "b"); s.Counts = counts(0, 0, 1); return s }(),
		},
		"both delivered": {
			webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": succeeded, "b": succeeded},
			want: summary{
				Result: v1alpha1.EventSucceeded, Dispatched: "True Dispatched", Delivered: "True Delivered",
				Counts: counts(0, 2, 0), Kstatus: kstatus.CurrentStatus, Change: Major,
			},
		},
		"one waits": {
			webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": succeeded, "b": waiting},
			want: summary{
				Result: v1alpha1.EventWaiting, Dispatched: "True Dispatched", Delivered: "Unknown Waiting",
				Counts: counts(1, 1, 0), Kstatus: kstatus.InProgressStatus, Change: Major,
			},
		},
		"one failed, one waits": {
			webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": failed, "b": waiting},
			want: summary{
				Result: v1alpha1.EventFailed, Dispatched: "True Dispatched", Delivered: "False Failed",
				Counts: counts(1, 0, 1), Kstatus: kstatus.FailedStatus, Change: Major,
			},
		},
		"webhooks of the system are not told of": {
			webhooks: webhooks{"a": plain, "s": {ofSystem}}, deliveries: deliveries{"a": succeeded, "s": failed},
			want: summary{
				Result: v1alpha1.EventSucceeded, Dispatched: "True Dispatched", Delivered: "True Delivered",
				Counts: counts(0, 1, 0), Kstatus: kstatus.CurrentStatus, Change: Major,
			},
		},
		"but waited for": {
			webhooks: webhooks{"a": plain, "s": {ofSystem}}, deliveries: deliveries{"a": succeeded, "s": "draft"},
			want: func() summary { s := pending; s.Counts = counts(0, 1, 0); return s }(),
		},
		"and drafted": {webhooks: webhooks{"s": {ofSystem}}, want: with(pending, "s")},
		"only a webhook of the system": {
			webhooks: webhooks{"s": {ofSystem}}, deliveries: deliveries{"s": succeeded},
			want: summary{
				Result: v1alpha1.EventUnmatched, Dispatched: "True Dispatched", Delivered: "True NothingToDeliver",
				Kstatus: kstatus.CurrentStatus, Change: Major,
			},
		},
		"expired": {event: []func(e *v1alpha1.WebhookEvent){old}, webhooks: webhooks{"a": plain}, want: expired},
		"expired by creation": {
			event:    []func(e *v1alpha1.WebhookEvent){func(e *v1alpha1.WebhookEvent) { e.CreationTimestamp = metav1.NewTime(now.Add(-maxAge - 1)) }},
			webhooks: webhooks{"a": plain}, want: expired,
		},
		"created long ago, and happened just now": {
			event: []func(e *v1alpha1.WebhookEvent){func(e *v1alpha1.WebhookEvent) {
				e.CreationTimestamp, e.Spec.Time = metav1.NewTime(now.Add(-100*time.Hour)), metav1.NewTime(now)
			}},
			webhooks: webhooks{"a": {func(w *v1alpha1.Webhook) { w.CreationTimestamp = metav1.NewTime(now.Add(-200 * time.Hour)) }}},
			want:     with(pending, "a"),
		},
		"just not expired": {
			event:    []func(e *v1alpha1.WebhookEvent){func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(now.Add(-maxAge)) }},
			webhooks: webhooks{"a": plain}, want: with(pending, "a"),
		},
		"old, but worked on": {event: []func(e *v1alpha1.WebhookEvent){old, worked}, webhooks: webhooks{"a": plain}, want: with(pending, "a")},
		"old, but a delivery is known": {
			event:    []func(e *v1alpha1.WebhookEvent){old},
			webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": "draft"}, want: with(pending, "b"),
		},
		"happens in the future": {
			event:    []func(e *v1alpha1.WebhookEvent){func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(now.Add(1000 * time.Hour)) }},
			webhooks: webhooks{"a": plain}, want: with(pending, "a"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := event(tc.event...)
			v := View{Event: e, MaxAge: maxAge, Now: now}
			for _, name := range []string{"a", "b", "c", "s"} {
				changes, ok := tc.webhooks[name]
				if !ok {
					continue
				}
				w := webhook(name, changes...)
				v.Webhooks = append(v.Webhooks, w)
				if result, ok := tc.deliveries[name]; ok {
					v.Entries = append(v.Entries, entry(e, w, result))
				}
			}
			before := e.DeepCopy()
			got := Make(v)
			if diff := cmp.Diff(tc.want, summarise(t, e, got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, e); diff != "" {
				t.Errorf("the event was changed:\n%s", diff)
			}
		})
	}
}

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

func refused(e *v1alpha1.WebhookEvent, w v1alpha1.Webhook, why string) ledger.Entry {
	known := entry(e, w, "draft")
	known.Draft.Refused = why
	return known
}

func TestRefused(t *testing.T) {
	a, b := webhook("a"), webhook("b")
	e := event()
	v := View{
		Event: e, Webhooks: []v1alpha1.Webhook{a, b},
		Entries: []ledger.Entry{refused(e, a, "exceeded quota"), entry(e, b, "draft")}, MaxAge: maxAge, Now: now,
	}
	got := Make(v)
	want := summary{
		Result: v1alpha1.EventPending, Dispatched: "False RecordRefused", Delivered: "Unknown Dispatching",
		Kstatus: kstatus.InProgressStatus, Change: Major,
	}
	if diff := cmp.Diff(want, summarise(t, e, got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	message := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.ConditionDispatched).Message
	if !strings.Contains(message, "exceeded quota") {
		t.Errorf("message %q does not tell why", message)
	}

	// Once it can be stored, that is said at once.
	stuck := written(t, e, got.Status)
	if !Refused(stuck) || Dispatched(stuck) || Finished(stuck) {
		t.Errorf("refused: %t, dispatched: %t, finished: %t", Refused(stuck), Dispatched(stuck), Finished(stuck))
	}
	v.Event, v.Entries = stuck, []ledger.Entry{entry(e, a, "draft"), entry(e, b, "draft")}
	if got := Compare(stuck, Make(v).Status); got != Major {
		t.Errorf("change %d when it is no longer refused", got)
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
		v.Entries = append(v.Entries, entry(e, v.Webhooks[i], "draft"))
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

func TestLateWebhooks(t *testing.T) {
	a, b := webhook("a"), webhook("b")
	expired := event(func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(now.Add(-2 * maxAge)) })
	late := map[types.UID]bool{b.UID: true}
	e := dispatched(t, event(), entry(event(), a, v1alpha1.DeliverySucceeded))
	for name, tc := range map[string]struct {
		event       *v1alpha1.WebhookEvent
		webhooks    []v1alpha1.Webhook
		late        map[types.UID]bool
		entries     []ledger.Entry
		wantMissing []string
		wantChange  Change
	}{
		"a webhook that is new to nobody": {event: e, webhooks: []v1alpha1.Webhook{a, b}, entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)}},
		"late": {
			event: e, webhooks: []v1alpha1.Webhook{a, b}, late: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)}, wantMissing: []string{"b"},
		},
		"late, and drafted": {
			event: e, webhooks: []v1alpha1.Webhook{a, b}, late: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded), entry(e, b, "draft")},
		},
		"late, and waiting": {
			event: e, webhooks: []v1alpha1.Webhook{a, b}, late: late,
			entries:    []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded), entry(e, b, v1alpha1.DeliveryWaiting)},
			wantChange: Major,
		},
		"late, and delivered": {
			event: e, webhooks: []v1alpha1.Webhook{a, b}, late: late,
			entries:    []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded), entry(e, b, v1alpha1.DeliverySucceeded)},
			wantChange: Minor,
		},
		"late, and does not match": {
			event: e, webhooks: []v1alpha1.Webhook{a, webhook("b", disabled)}, late: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)},
		},
		"what retention removed is not late": {event: e, webhooks: []v1alpha1.Webhook{a}},
		// A backup is restored: the event was too old, and its webhook comes in
		// a moment later.
		"late for an event that expired": {event: dispatched(t, expired), webhooks: []v1alpha1.Webhook{b}, late: late},
	} {
		t.Run(name, func(t *testing.T) {
			plan := Make(View{
				Event: tc.event, Webhooks: tc.webhooks, Late: tc.late, Entries: tc.entries, MaxAge: maxAge, Now: now.Add(time.Minute),
			})
			var missing []string
			for _, w := range plan.Missing {
				missing = append(missing, w.Name)
			}
			if diff := cmp.Diff(tc.wantMissing, missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if got := Compare(tc.event, plan.Status); got != tc.wantChange {
				t.Errorf("change %d, want %d", got, tc.wantChange)
			}
		})
	}
}

// Retention removes deliveries, people delete webhooks, and what is left goes on.
func TestCountsOfWhatIsGone(t *testing.T) {
	const waiting, succeeded, failed = v1alpha1.DeliveryWaiting, v1alpha1.DeliverySucceeded, v1alpha1.DeliveryFailed
	type results map[string]v1alpha1.DeliveryResult
	for name, tc := range map[string]struct {
		before, after results
		wantCounts    v1alpha1.DeliveryCounts
		wantResult    v1alpha1.EventResult
		wantNames     []string
	}{
		"nothing":                       {before: results{"a": succeeded}, after: results{"a": succeeded}, wantCounts: counts(0, 1, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a"}},
		"all that succeeded":            {before: results{"a": succeeded, "b": succeeded}, after: results{}, wantCounts: counts(0, 2, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a", "b"}},
		"one of those that succeeded":   {before: results{"a": succeeded, "b": succeeded}, after: results{"b": succeeded}, wantCounts: counts(0, 2, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a", "b"}},
		"the one that failed":           {before: results{"a": failed, "b": succeeded}, after: results{"b": succeeded}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed, wantNames: []string{"a", "b"}},
		"one, while another waits":      {before: results{"a": succeeded, "b": waiting}, after: results{"b": waiting}, wantCounts: counts(1, 1, 0), wantResult: v1alpha1.EventWaiting, wantNames: []string{"a", "b"}},
		"one, and another fails":        {before: results{"a": succeeded, "b": waiting}, after: results{"b": failed}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed},
		"one, and another is delivered": {before: results{"a": failed, "b": waiting}, after: results{"b": succeeded}, wantCounts: counts(0, 1, 1), wantResult: v1alpha1.EventFailed},
		"of three, the third is done":   {before: results{"a": succeeded, "b": succeeded, "c": waiting}, after: results{"b": succeeded, "c": succeeded}, wantCounts: counts(0, 2, 0), wantResult: v1alpha1.EventSucceeded},
		"one that waited":               {before: results{"a": succeeded, "b": waiting}, after: results{"a": succeeded}, wantCounts: counts(0, 1, 0), wantResult: v1alpha1.EventSucceeded},
		"the only one, which waited":    {before: results{"b": waiting}, after: results{}, wantCounts: counts(0, 0, 0), wantResult: v1alpha1.EventUnmatched},
		"none, and one is resent":       {before: results{"a": failed, "b": succeeded}, after: results{"a": succeeded, "b": succeeded}, wantCounts: counts(0, 2, 0), wantResult: v1alpha1.EventSucceeded, wantNames: []string{"a", "b"}},
		"none, and one is being resent": {before: results{"a": failed, "b": succeeded}, after: results{"a": waiting, "b": succeeded}, wantCounts: counts(1, 1, 0), wantResult: v1alpha1.EventWaiting, wantNames: []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			entries := func(of results) (all []ledger.Entry) {
				for name, result := range of {
					all = append(all, entry(event(), webhook(name), result))
				}
				return all
			}
			e := dispatched(t, event(), entries(tc.before)...)
			v := View{Event: e, Entries: entries(tc.after), MaxAge: maxAge, Now: now.Add(time.Hour)}
			plan := Make(v)
			if diff := cmp.Diff(tc.wantCounts, plan.Status.Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if plan.Status.Result != tc.wantResult {
				t.Errorf("result %s, want %s", plan.Status.Result, tc.wantResult)
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
	later := add(3, "later", createdLater)
	scope := add(4, "scope", otherScope)
	add(5, "system", otherTrigger, ofSystem)
	slices.Reverse(v.Webhooks) // whatever the order of the list
	want := []v1alpha1.Unmatched{
		{Reason: v1alpha1.UnmatchedDisabled, Count: 2, Webhooks: off},
		{Reason: v1alpha1.UnmatchedDeleting, Count: 1, Webhooks: deletes},
		{Reason: v1alpha1.UnmatchedCreatedLater, Count: 3, Webhooks: later},
		{Reason: v1alpha1.UnmatchedScope, Count: 4, Webhooks: scope},
		{Reason: v1alpha1.UnmatchedTrigger, Count: 100, Webhooks: trigger[:40]},
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
	if got := kstatusOf(t, e); got != kstatus.InProgressStatus {
		t.Errorf("kstatus %s", got)
	}
}
