package matching

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func filtered(text string) func(w *v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.Filter = text }
}

func TestFilter(t *testing.T) {
	online := func(e *v1alpha1.WebhookEvent) { e.Spec.Cluster = &v1alpha1.ClusterInfo{Env: "online"} }
	for name, tc := range map[string]struct {
		webhook func(w *v1alpha1.Webhook)
		event   func(e *v1alpha1.WebhookEvent)
		want    Verdict
	}{
		"none":           {event: online},
		"passes":         {webhook: filtered(`event.cluster.env == "online"`), event: online},
		"does not":       {webhook: filtered(`event.cluster.env == "dev"`), event: online, want: Verdict{Reason: v1alpha1.UnmatchedFilter}},
		"an absent part": {webhook: filtered(`event.cluster.env == "online"`), want: Verdict{Reason: v1alpha1.UnmatchedFilter}},
		"sees its webhook": {webhook: func(w *v1alpha1.Webhook) {
			w.Name, w.Spec.WebhookID, w.Spec.Filter = "w", 7, `webhook.name == "w" && webhook.id == 7`
		}},
		"does not compile": {
			webhook: filtered(`event.nothing`),
			want:    Verdict{v1alpha1.UnmatchedFilterInvalid, "1:7: undefined field 'nothing'"},
		},
		"fails": {webhook: filtered(`1 / event.eventID == 1`), event: func(e *v1alpha1.WebhookEvent) { e.Spec.EventID = 1 }},
		"fails by zero": {
			webhook: filtered(`1 / (event.eventID - 1) == 1`), event: func(e *v1alpha1.WebhookEvent) { e.Spec.EventID = 1 },
			want: Verdict{v1alpha1.UnmatchedFilterError, "division by zero"},
		},
		"is asked last": {
			webhook: func(w *v1alpha1.Webhook) { w.Spec.State, w.Spec.Filter = v1alpha1.WebhookDisabled, "false" },
			want:    Verdict{Reason: v1alpha1.UnmatchedDisabled},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, e := webhook(tc.webhook), event(tc.event)
			for what, got := range map[string]Verdict{"Match": Match(w, e), "MatchReplay": MatchReplay(w, e)} {
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", what, diff)
				}
			}
		})
	}
}

// A filter is asked once for an event and a generation of its Webhook, and told once where
// it fails.
func TestFiltersAreAskedOnce(t *testing.T) {
	var failures []string
	filters := NewFilters(func(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, message string) {
		failures = append(failures, fmt.Sprintf("%s %s: %s", w.Name, e.Name, message))
	})
	e := event(func(e *v1alpha1.WebhookEvent) { e.Name, e.UID, e.Spec.EventID = "e", "e", 1 })
	w := webhook(func(w *v1alpha1.Webhook) {
		w.Name, w.UID, w.Generation, w.Spec.Filter = "w", "w", 1, "1 / (event.eventID - 1) == 1"
	})
	match := func() v1alpha1.UnmatchedReason {
		t.Helper()
		v, decided := filters.Turn(e, time.Now).Match(w, false)
		if !decided {
			t.Fatal("it was not decided")
		}
		return v.Reason
	}
	if got := match(); got != v1alpha1.UnmatchedFilterError {
		t.Fatalf("%q", got)
	}
	w.Spec.Filter = "true" // without another generation, nobody is asked again
	if got := match(); got != v1alpha1.UnmatchedFilterError {
		t.Errorf("it was asked twice: %q", got)
	}
	if v, _ := filters.Turn(e, nil).Match(w, true); !v.Follows() {
		t.Errorf("a replay has the failure from before: %+v", v)
	}
	if got := match(); got != "" {
		t.Errorf("what the replay found is not kept: %q", got)
	}
	if diff := cmp.Diff([]string{"w e: division by zero"}, failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	w.Generation = 2
	if got := match(); got != "" {
		t.Errorf("it was not asked after an edit: %q", got)
	}
	w.Generation, w.UID = 1, "another"
	if got := match(); got != "" {
		t.Errorf("another Webhook has its verdict: %q", got)
	}
}

// A turn asks filters until its time is over, and another one goes on from there. What
// needs no filter is decided in any case.
func TestTurnsGoOn(t *testing.T) {
	filters := NewFilters(func(*v1alpha1.Webhook, *v1alpha1.WebhookEvent, string) {})
	e := event(func(e *v1alpha1.WebhookEvent) { e.UID = "e" })
	now := created
	each := func() time.Time { now = now.Add(2 * time.Millisecond); return now }
	var with []*v1alpha1.Webhook
	for i := range 10 {
		with = append(with, webhook(func(w *v1alpha1.Webhook) { w.UID, w.Spec.Filter = types.UID(fmt.Sprint(i)), "true" }))
	}
	with = append(with, webhook(nil), webhook(func(w *v1alpha1.Webhook) { w.Spec.Triggers, w.Spec.Filter = nil, "true" }))
	var got []int
	for range 6 {
		turn, n := filters.Turn(e, each), 0
		for _, w := range with {
			if _, decided := turn.Match(w, false); decided {
				n++
			}
		}
		got = append(got, n)
	}
	if diff := cmp.Diff([]int{4, 6, 8, 10, 12, 12}, got); diff != "" {
		t.Errorf("decided in each turn (-want +got):\n%s", diff)
	}
}

// A turn without an end decides all, also where less is kept than one event asks.
func TestTurnWithoutEnd(t *testing.T) {
	filters := &Filters{verdicts: lru.New(3)}
	e := event(nil)
	for range 2 {
		turn := filters.Turn(e, nil)
		for i := range 10 {
			w := webhook(func(w *v1alpha1.Webhook) { w.UID, w.Spec.Filter = types.UID(fmt.Sprint(i)), "true" })
			if v, decided := turn.Match(w, false); !decided || !v.Follows() {
				t.Errorf("webhook %d: decided %t, %+v", i, decided, v)
			}
		}
	}
}

// For a replay, it does not matter that the Webhook was created later; its filter does.
func TestTurnForAReplay(t *testing.T) {
	filters := NewFilters(func(*v1alpha1.Webhook, *v1alpha1.WebhookEvent, string) {})
	e := event(nil)
	w := webhook(func(w *v1alpha1.Webhook) {
		w.CreationTimestamp, w.Spec.Filter = metav1.NewTime(created.Add(time.Hour)), "false"
	})
	for replay, want := range map[bool]v1alpha1.UnmatchedReason{false: v1alpha1.UnmatchedCreatedLater, true: v1alpha1.UnmatchedFilter} {
		if v, _ := filters.Turn(e, time.Now).Match(w, replay); v.Reason != want {
			t.Errorf("replay %t: %q", replay, v.Reason)
		}
	}
}
