package retention

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// finished is a delivery that was created so long ago and finished at once.
func finished(name string, age time.Duration) ledger.Entry {
	return ledger.Entry{
		Key:      types.NamespacedName{Namespace: "music", Name: name},
		EventUID: types.UID("event of " + name),
		State:    retry.State{Result: v1alpha1.DeliverySucceeded, Since: now.Add(-age)},
		Finished: now.Add(-age),
	}
}

func waiting(name string, age time.Duration) ledger.Entry {
	e := finished(name, age)
	e.State.Result, e.Finished = v1alpha1.DeliveryWaiting, time.Time{}
	return e
}

// resent is one that was created long ago and finished again lately.
func resent(name string, created, age time.Duration) ledger.Entry {
	e := finished(name, created)
	e.Finished = now.Add(-age)
	return e
}

func TestPolicyOf(t *testing.T) {
	for name, tc := range map[string]struct {
		policy v1alpha1.RetentionPolicy
		want   Policy
	}{
		"nothing given":    {want: Policy{TTL: 168 * time.Hour, Limit: 200}},
		"nothing is kept":  {policy: v1alpha1.RetentionPolicy{Limit: new(int32(0))}, want: Policy{TTL: 168 * time.Hour}},
		"everything given": {policy: v1alpha1.RetentionPolicy{TTLSecondsAfterFinished: 900, Limit: new(int32(7))}, want: Policy{TTL: 15 * time.Minute, Limit: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			got := PolicyOf(&v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Retention: tc.policy}})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	week := Policy{TTL: 168 * hour, Limit: 2}
	for name, tc := range map[string]struct {
		entries []ledger.Entry
		policy  Policy
		pending map[types.UID]bool
		want    []string
		// wantAgain is how long after now, 0 for never.
		wantAgain time.Duration
	}{
		"nothing": {policy: week},
		"one within its time": {
			entries: []ledger.Entry{finished("a", hour)}, policy: week, wantAgain: 167 * hour,
		},
		"one beyond its time": {
			entries: []ledger.Entry{finished("a", 169*hour), finished("b", hour)}, policy: week,
			want: []string{"a"}, wantAgain: 167 * hour,
		},
		"exactly at its time": {entries: []ledger.Entry{finished("a", 168*hour)}, policy: week, want: []string{"a"}},
		"a moment before":     {entries: []ledger.Entry{finished("a", 168*hour-1)}, policy: week, wantAgain: 1},
		"beyond the limit, the oldest first": {
			entries: []ledger.Entry{finished("a", hour), finished("b", 4*hour), finished("c", 2*hour), finished("d", 3*hour)},
			policy:  week, want: []string{"b", "d"}, wantAgain: 166 * hour,
		},
		"of one time, by name": {
			entries: []ledger.Entry{finished("c", hour), finished("a", hour), finished("b", hour)}, policy: week,
			want: []string{"a"}, wantAgain: 167 * hour,
		},
		"beyond the limit, and young": {
			entries: []ledger.Entry{finished("a", minute), finished("b", 2*minute), finished("c", 3*minute)}, policy: week,
			wantAgain: 12 * minute,
		},
		"nothing is to be kept": {
			entries: []ledger.Entry{finished("a", 14*minute), finished("b", 15*minute), finished("c", hour)},
			policy:  Policy{TTL: hour}, want: []string{"c", "b"}, wantAgain: minute,
		},
		"a time of less than 15 minutes": {
			entries: []ledger.Entry{finished("a", 14*minute), finished("b", 16*minute)},
			policy:  Policy{TTL: minute, Limit: 10}, want: []string{"b"}, wantAgain: minute,
		},
		"what waits is neither counted nor removed": {
			entries: []ledger.Entry{waiting("a", 1000*hour), waiting("b", 1000*hour), finished("c", hour), finished("d", 2*hour)},
			policy:  week, wantAgain: 166 * hour,
		},
		"created long ago, finished lately": {
			entries: []ledger.Entry{resent("a", 1000*hour, 5*minute)}, policy: Policy{TTL: 168 * hour}, wantAgain: 10 * minute,
		},
		// The clock ran ahead when the record was made, and was set back.
		"finished in the future": {
			entries: []ledger.Entry{resent("a", hour, -hour)}, policy: Policy{TTL: 168 * hour}, wantAgain: hour + 15*minute,
		},
		// The operator's clock is behind the API server's.
		"finished before it was created": {
			entries: []ledger.Entry{resent("a", 5*minute, 1000*hour)}, policy: week, wantAgain: 10 * minute,
		},
		"created in the future": {
			entries: []ledger.Entry{resent("a", -hour, 1000*hour)}, policy: week, wantAgain: hour + 15*minute,
		},
		"its event needs it": {
			entries: []ledger.Entry{finished("a", 1000*hour)}, policy: week,
			pending: map[types.UID]bool{"event of a": true}, wantAgain: recheck,
		},
		"its event needs it, and another is due before": {
			entries: []ledger.Entry{finished("a", 1000*hour), finished("b", 15*minute-time.Second)}, policy: Policy{TTL: hour},
			pending: map[types.UID]bool{"event of a": true}, wantAgain: time.Second,
		},
		"one event needs its own, others go": {
			entries: []ledger.Entry{finished("a", 1000*hour), finished("b", 900*hour)}, policy: week,
			pending: map[types.UID]bool{"event of a": true}, want: []string{"b"}, wantAgain: recheck,
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := fmt.Sprint(tc.entries)
			remove, again := Select(tc.entries, tc.policy, now, func(e ledger.Entry) bool { return !tc.pending[e.EventUID] })
			var got []string
			for _, e := range remove {
				got = append(got, e.Key.Name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("to remove (-want +got):\n%s", diff)
			}
			var wait time.Duration
			if !again.IsZero() {
				wait = again.Sub(now)
			}
			if wait != tc.wantAgain {
				t.Errorf("looks again in %s, want %s", wait, tc.wantAgain)
			}
			if fmt.Sprint(tc.entries) != before {
				t.Error("what was given was changed")
			}
		})
	}
}

// Whatever there is: nothing young goes, nothing that is needed, nothing that
// waits; what is left beyond the limit or its time is looked at again.
func TestSelectProperties(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var entries []ledger.Entry
		for n := range chance.IntN(12) {
			name := fmt.Sprint("d", n)
			age := func() time.Duration { return time.Duration(chance.IntN(60)-10) * time.Minute }
			if chance.IntN(4) == 0 {
				entries = append(entries, waiting(name, age()))
			} else {
				entries = append(entries, resent(name, age(), age()))
			}
		}
		p := Policy{TTL: time.Duration(chance.IntN(40)) * time.Minute, Limit: chance.IntN(6)}
		needed := map[types.UID]bool{}
		for _, e := range entries {
			needed[e.EventUID] = chance.IntN(3) == 0
		}
		remove, again := Select(entries, p, now, func(e ledger.Entry) bool { return !needed[e.EventUID] })
		removed := map[string]bool{}
		for _, e := range remove {
			removed[e.Key.Name] = true
			if e.Finished.IsZero() || needed[e.EventUID] || now.Sub(e.Finished) < MinAge || now.Sub(e.State.Since) < MinAge {
				t.Fatalf("%+v is removed", e)
			}
		}
		if len(removed) != len(remove) {
			t.Fatalf("twice: %v", remove)
		}
		kept := 0
		for _, e := range entries {
			if !e.Finished.IsZero() && !removed[e.Key.Name] {
				kept++
				if due := now.Sub(e.Finished) >= max(p.TTL, MinAge) && now.Sub(e.State.Since) >= MinAge; due && !needed[e.EventUID] {
					t.Fatalf("%+v is kept by %+v", e, p)
				}
			}
		}
		if kept > 0 && !again.After(now) {
			t.Fatalf("%d are kept, and nobody looks again (%s)", kept, again)
		}
	}
}
