package fanout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
)

func withRefusal(e ledger.Entry) ledger.Entry {
	e.Pending.Refused = "the quota is used up"
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
		replays     map[types.UID]bool
		entries     []ledger.Entry
		wantMissing []string
		wantChange  Change
	}{
		"a webhook that is new to nobody": {event: e, webhooks: []v1alpha1.Webhook{a, b}, entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)}},
		"late": {
			event: e, webhooks: []v1alpha1.Webhook{a, b}, late: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)}, wantMissing: []string{"b"},
		},
		"late, and pending": {
			event: e, webhooks: []v1alpha1.Webhook{a, b}, late: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded), entry(e, b, "pending")},
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
		"late, and created later": {
			event: e, webhooks: []v1alpha1.Webhook{a, webhook("b", createdLater)}, late: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)},
		},
		"a replay to one that was created later": {
			event: e, webhooks: []v1alpha1.Webhook{a, webhook("b", createdLater)}, late: late, replays: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)}, wantMissing: []string{"b"},
		},
		"a replay to one that was created later, before the dispatch": {
			event: event(), webhooks: []v1alpha1.Webhook{webhook("b", createdLater), webhook("c", createdLater)}, late: late, replays: late,
			wantMissing: []string{"b"},
		},
		"a replay to one that is disabled": {
			event: e, webhooks: []v1alpha1.Webhook{a, webhook("b", createdLater, disabled)}, late: late, replays: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)},
		},
		"a replay to one with another trigger": {
			event: e, webhooks: []v1alpha1.Webhook{a, webhook("b", otherTrigger)}, late: late, replays: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)},
		},
		"a replay of an event that expired": {
			event: dispatched(t, expired), webhooks: []v1alpha1.Webhook{b}, late: late, replays: late,
		},
		"late, and does not match": {
			event: e, webhooks: []v1alpha1.Webhook{a, webhook("b", disabled)}, late: late,
			entries: []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded)},
		},
		"late, and refused": {
			event: e, webhooks: []v1alpha1.Webhook{a, b}, late: late,
			entries:    []ledger.Entry{entry(e, a, v1alpha1.DeliverySucceeded), withRefusal(entry(e, b, "pending"))},
			wantChange: Major,
		},
		"late, but deleted by hand": {
			event: e, webhooks: []v1alpha1.Webhook{a, b}, late: map[types.UID]bool{a.UID: true},
		},
		"what retention removed is not late": {event: e, webhooks: []v1alpha1.Webhook{a}},
		// A backup is restored: the event was too old, and its webhook comes in
		// a moment later.
		"late for an event that expired": {event: dispatched(t, expired), webhooks: []v1alpha1.Webhook{b}, late: late},
	} {
		t.Run(name, func(t *testing.T) {
			plan := Make(View{
				Event: tc.event, Webhooks: tc.webhooks, Late: tc.late, Replays: tc.replays, Entries: tc.entries, MaxAge: maxAge, Now: now.Add(time.Minute),
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
