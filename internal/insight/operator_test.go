package insight

import (
	"strings"
	"testing"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestUnobserved(t *testing.T) {
	held := Lease{Found: true, Holder: "pod_1", Renewed: now.Add(-time.Second), Duration: 15 * time.Second}
	stale := Lease{Found: true, Holder: "pod_1", Renewed: now.Add(-time.Minute), Duration: 15 * time.Second}
	given := Lease{Found: true, Renewed: now.Add(-time.Minute), Duration: 15 * time.Second}
	for name, tc := range map[string]struct {
		age     time.Duration
		signs   signs
		reason  string
		message string
	}{
		"a moment ago":           {age: 5 * time.Second, signs: signs{lease: stale}, reason: ReasonNotObserved, message: "since 2026-11-23T08:59:55Z (5s ago)"},
		"the lease is held":      {age: time.Hour, signs: signs{lease: held}, reason: ReasonNotObserved, message: "pod_1 holds the lease"},
		"the lease is stale":     {age: time.Minute, signs: signs{lease: stale, wrote: now}, reason: ReasonNoOperator, message: "pod_1 held the lease last"},
		"the lease is given":     {age: time.Minute, signs: signs{lease: given}, reason: ReasonNoOperator, message: "has given its lease back"},
		"others were observed":   {age: 20 * time.Second, signs: signs{lease: Lease{Forbidden: true}, wrote: now.Add(-5 * time.Second)}, reason: ReasonNotObserved, message: "it has recorded something else at"},
		"others, long ago":       {age: time.Hour, signs: signs{wrote: now.Add(-10 * time.Minute)}, reason: ReasonNoOperator, message: "since 2026-11-23T08:50:00Z (10m ago)"},
		"others, before it":      {age: 20 * time.Second, signs: signs{wrote: now.Add(-21 * time.Second)}, reason: ReasonNoOperator},
		"a slow request":         {age: 20 * time.Second, signs: signs{underWay: 30 * time.Second}, reason: ReasonNotObserved, message: "may take 30s"},
		"no request is so slow":  {age: 45 * time.Second, signs: signs{underWay: 30 * time.Second}, reason: ReasonNoOperator},
		"nothing says otherwise": {age: 11 * time.Second, reason: ReasonNoOperator, message: "nor about anything else that can be seen here"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.signs.unobserved("the event", now.Add(-tc.age), now, DefaultSystemNamespace)
			if got.Outcome != Waiting || got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) {
				t.Errorf("got %+v, want %s %q", got, tc.reason, tc.message)
			}
		})
	}
}

// An event that nobody has looked at says so for itself and for the Webhooks that match.
func TestUnobservedEvent(t *testing.T) {
	v := viewOf(event(), []*v1alpha1.Webhook{webhook("a"), webhook("b", triggers("members_*"))})
	rows := v.of()
	if rows[0].Reason != ReasonNoOperator || rows[1].Reason != "Trigger" {
		t.Errorf("got %+v", rows)
	}
	if sum := v.sum(rows); sum.Reason != ReasonNoOperator || !strings.Contains(sum.Help, "deployment horizon-webhook-operator in the namespace "+DefaultSystemNamespace) {
		t.Errorf("got %+v", sum)
	}
}

func TestWorks(t *testing.T) {
	held := Lease{Found: true, Holder: "pod_1", Renewed: now.Add(-time.Second), Duration: 15 * time.Second}
	for name, tc := range map[string]struct {
		lease  Lease
		wrote  time.Time
		unseen int
		want   Outcome
	}{
		"held":                           {lease: held, unseen: 1, want: Working},
		"stale":                          {lease: Lease{Found: true, Holder: "pod_1", Duration: time.Second}, wrote: now, want: Stopped},
		"nothing":                        {want: Unknown},
		"it wrote":                       {wrote: now.Add(-time.Hour), want: Working},
		"it wrote, and something waits":  {wrote: now.Add(-time.Hour), unseen: 1, want: Stopped},
		"it writes, and something waits": {wrote: now.Add(-time.Second), unseen: 1, want: Working},
		"something waits":                {unseen: 2, want: Stopped},
	} {
		got := works(tc.lease, tc.wrote, &Operator{UnobservedCount: tc.unseen}, now, DefaultSystemNamespace)
		if got.Outcome != tc.want || got.Message == "" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if got := works(Lease{}, time.Time{}, &Operator{UnobservedCount: 2}, now, "x"); !strings.Contains(got.Message, "2 events of this namespace wait for one") {
		t.Errorf("got %+v", got)
	}
}
