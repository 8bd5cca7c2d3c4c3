package fanout

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/test/object"
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
	w.CreationTimestamp = metav1.NewTime(now.Add(-10 * maxAge))
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
// "pending", one that is not stored.
func entry(e *v1alpha1.WebhookEvent, w v1alpha1.Webhook, result v1alpha1.DeliveryResult) ledger.Entry {
	known := ledger.Entry{
		Key:     types.NamespacedName{Namespace: w.Namespace, Name: delivery.Name(e, &w)},
		Webhook: types.NamespacedName{Namespace: w.Namespace, Name: w.Name}, EventUID: e.UID,
		State: retry.State{Result: result},
	}
	if result == "pending" {
		known.State.Result = ""
		known.Pending = &ledger.Pending{EventUID: e.UID}
	}
	return known
}

// written is the event with a status, as the API server would have it.
func written(t testing.TB, e *v1alpha1.WebhookEvent, s v1alpha1.WebhookEventStatus) *v1alpha1.WebhookEvent {
	t.Helper()
	e = e.DeepCopy()
	e.Status = s
	return object.Stored(t, e)
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
		Kstatus:    object.Kstatus(t, written(t, e, p.Status)),
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
		"two are missing":  {webhooks: webhooks{"a": plain, "b": plain, "c": {otherScope}}, want: with(pending, "a", "b")},
		"both are pending": {webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": "pending", "b": "pending"}, want: pending},
		"one is stored": {
			webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": succeeded, "b": "pending"},
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
			webhooks: webhooks{"a": plain, "s": {ofSystem}}, deliveries: deliveries{"a": succeeded, "s": "pending"},
			want: func() summary { s := pending; s.Counts = counts(0, 1, 0); return s }(),
		},
		"and is missing": {webhooks: webhooks{"s": {ofSystem}}, want: with(pending, "s")},
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
		"created long ago, whatever its time": {
			event: []func(e *v1alpha1.WebhookEvent){func(e *v1alpha1.WebhookEvent) {
				e.CreationTimestamp, e.Spec.Time = metav1.NewTime(now.Add(-100*time.Hour)), metav1.NewTime(now)
			}},
			webhooks: webhooks{"a": plain}, want: expired,
		},
		"just not expired": {
			event:    []func(e *v1alpha1.WebhookEvent){func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(now.Add(-maxAge)) }},
			webhooks: webhooks{"a": plain}, want: with(pending, "a"),
		},
		"old, but worked on": {event: []func(e *v1alpha1.WebhookEvent){old, worked}, webhooks: webhooks{"a": plain}, want: with(pending, "a")},
		"old, but a delivery is known": {
			event:    []func(e *v1alpha1.WebhookEvent){old},
			webhooks: webhooks{"a": plain, "b": plain}, deliveries: deliveries{"a": "pending"}, want: with(pending, "b"),
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

func refused(e *v1alpha1.WebhookEvent, w v1alpha1.Webhook, why string) ledger.Entry {
	known := entry(e, w, "pending")
	known.Pending.Refused = why
	return known
}

func TestRefused(t *testing.T) {
	a, b := webhook("a"), webhook("b")
	e := event()
	v := View{
		Event: e, Webhooks: []v1alpha1.Webhook{a, b},
		Entries: []ledger.Entry{refused(e, a, "exceeded quota"), entry(e, b, "pending")}, MaxAge: maxAge, Now: now,
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
	v.Event, v.Entries = stuck, []ledger.Entry{entry(e, a, "pending"), entry(e, b, "pending")}
	if got := Compare(stuck, Make(v).Status); got != Major {
		t.Errorf("change %d when it is no longer refused", got)
	}
}
