package receiver

import (
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

func webhookOf(uid types.UID, created time.Time) *v1alpha1.Webhook {
	return &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{
		Namespace: "music", Name: "w", UID: uid, Generation: 1, CreationTimestamp: metav1.NewTime(created),
	}}
}

// onDemand makes an attempt that a person asked for.
func (r *Receiver) onDemand(report *Report) {
	permit, _ := r.OnDemand(receiverurl.Target{})
	r.End(permit, report)
}

// failAgain makes attempts fail until the circuit is open.
func failAgain(e *Registry, w *v1alpha1.Webhook) {
	for range FailureThreshold {
		to := e.Of(w)
		permit, _ := to.Begin(receiverurl.Target{})
		to.End(permit, &Report{Outcome: retry.Failed, Generation: w.Generation})
	}
}

// Requests that time out together, after somebody has mended the URL, say nothing
// of the new one.
func TestRequestsFromBeforeAnEditDoNotOpenTheCircuit(t *testing.T) {
	e := NewRegistry(nil, clock.RealClock{})
	w := webhookOf("uid", time.Now())
	to := e.Of(w)
	var permits []Permit
	for range 10 {
		permit, _ := to.Begin(receiverurl.Target{})
		permits = append(permits, permit)
	}
	w.Generation = 2
	e.Of(w)
	for _, permit := range permits {
		to.End(permit, &Report{Outcome: retry.Failed, Generation: 1})
	}
	if e.Of(w).Health().Open {
		t.Error("the circuit of a URL that was never tried is open")
	}
}

func TestEditClosesTheCircuit(t *testing.T) {
	e := NewRegistry(nil, clock.RealClock{})
	w := webhookOf("uid", time.Now())
	failAgain(e, w)
	w.Generation = 2
	to := e.Of(w)
	if got := to.Admit(); to.Health().Open || got != (queue.Admission{Limit: defaultLimit, ResendLimit: defaultLimit}) {
		t.Errorf("the circuit is open: %+v", got)
	}
	w.Generation = 1 // of a cache that lags behind
	failAgain(e, w)
	if e.Of(w).Health().Open {
		t.Error("attempts with the old spec have opened the circuit")
	}
}

func TestSuccessorHasAReceiverOfItsOwn(t *testing.T) {
	now := time.Now()
	e := NewRegistry(nil, clock.RealClock{})
	old, is := webhookOf("old", now.Add(-time.Minute)), webhookOf("new", now)
	failAgain(e, old)
	if e.Of(is).Health().Open {
		t.Error("a new webhook of the same name inherits the circuit")
	}
	failAgain(e, is)
	e.Of(old) // by a worker that lags behind
	if !e.Of(is).Health().Open {
		t.Error("what was known is forgotten because of the predecessor")
	}
}

func TestWorkersShareOneReceiver(t *testing.T) {
	for range 1000 {
		e := NewRegistry(nil, clock.RealClock{})
		w := webhookOf("uid", time.Now())
		var got [4]*Receiver
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { got[i] = e.Of(w) })
		}
		wg.Wait()
		for _, to := range got {
			if to != got[0] {
				t.Fatal("two workers know two receivers of one webhook")
			}
		}
	}
}

func TestAttemptThatPanicsGivesThePassBack(t *testing.T) {
	now := clocktesting.NewFakeClock(time.Now())
	e := NewRegistry(nil, now)
	w := webhookOf("uid", now.Now())
	failAgain(e, w)
	now.Step(minProbeInterval)
	to := e.Of(w)
	permit, ok := to.Begin(receiverurl.Target{})
	if !ok {
		t.Fatal("the probe is refused")
	}
	to.End(permit, nil)
	if to.WaitReason() != nil {
		t.Error("no further probe is let through")
	}
	if to.Health().Last == nil {
		t.Error("the report before is lost")
	}
}

// An acceptance that was decided on before a 410 was known, and is told after it.
func TestGoneIsDecidedUnderTheLock(t *testing.T) {
	for name, beside := range map[string]*Report{
		"accepted":           {Outcome: retry.Accepted, Generation: 1},
		"failed":             {Outcome: retry.Failed, Generation: 1},
		"interrupted":        {Outcome: retry.Interrupted, Generation: 1},
		"denied":             {Outcome: retry.Denied, Generation: 1},
		"asked for rest":     {Outcome: retry.Failed, Generation: 1, Rest: time.Nanosecond},
		"ended in a panic":   nil,
		"of a spec long ago": {Outcome: retry.Accepted},
	} {
		t.Run(name, func(t *testing.T) {
			e := NewRegistry(nil, clock.RealClock{})
			w := webhookOf("uid", time.Now())
			to := e.Of(w)
			a, _ := to.Begin(receiverurl.Target{})
			b, _ := to.Begin(receiverurl.Target{})
			to.End(a, &Report{Outcome: retry.Gone, Generation: 1})
			to.End(b, beside)
			to.onDemand(beside)
			to.SetTarget(receiverurl.Plain("https://example.com/a"))
			to.SetTarget(receiverurl.Plain("https://example.com/b")) // a Secret was edited, and not the webhook
			if !to.Health().Gone || e.Of(w).WaitReason() != receiverGone {
				t.Fatal("it is sent to although it is gone")
			}
			w.Generation = 2
			if e.Of(w).WaitReason() != nil {
				t.Error("an edit does not end it")
			}
			to.onDemand(&Report{Outcome: retry.Gone, Generation: 1})
			if e.Of(w).WaitReason() != nil {
				t.Error("an answer to a request from before the edit counts")
			}
		})
	}
}

func TestGoneIsTakenOver(t *testing.T) {
	healthy := func(reason string, generation int64) []metav1.Condition {
		return []metav1.Condition{{
			Type: v1alpha1.ConditionHealthy, Status: metav1.ConditionFalse, Reason: reason, ObservedGeneration: generation,
		}}
	}
	for name, tc := range map[string]struct {
		conditions []metav1.Condition
		want       *delivery.WaitReason
	}{
		"nothing is known":          {},
		"gone before a start":       {conditions: healthy(v1alpha1.ReasonGone, 1), want: receiverGone},
		"gone, edited, and a start": {conditions: healthy(v1alpha1.ReasonGone, 0)},
		"failing before a start":    {conditions: healthy(v1alpha1.ReasonFailing, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			e := NewRegistry(nil, clock.RealClock{})
			w := webhookOf("uid", time.Now())
			e.Of(w) // the cache does not show yet what was written last
			w.Status.Conditions = tc.conditions
			if got := e.Of(w).WaitReason(); got != tc.want {
				t.Errorf("it waits for %v, want %v", got, tc.want)
			}
			to := e.Of(w)
			to.onDemand(&Report{Outcome: retry.Accepted, Generation: 1})
			if got := e.Of(w).WaitReason(); got != tc.want {
				t.Errorf("after a resend it waits for %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRestIsTakenOver(t *testing.T) {
	start := time.Now().Truncate(time.Second)
	for name, tc := range map[string]struct {
		generation int64
		until      time.Duration
		want       *delivery.WaitReason
	}{
		"resting":                            {generation: 1, until: time.Hour, want: receiverResting},
		"the rest is over":                   {generation: 1, until: -time.Hour},
		"edited meanwhile, who knows how":    {generation: 0, until: time.Hour},
		"edited meanwhile, the rest is over": {generation: 0, until: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			now := clocktesting.NewFakeClock(start)
			e := NewRegistry(nil, now)
			w := webhookOf("uid", start)
			w.Status.RestUntil = metav1.NewTime(start.Add(tc.until))
			w.Status.Conditions = []metav1.Condition{{
				Type: v1alpha1.ConditionHealthy, Reason: v1alpha1.ReasonReceiverResting, ObservedGeneration: tc.generation,
			}}
			to := e.Of(w)
			if got := to.WaitReason(); got != tc.want {
				t.Fatalf("it waits for %v, want %v", got, tc.want)
			}
			if tc.want != nil {
				now.Step(tc.until)
			}
			probe, ok := to.Begin(receiverurl.Target{})
			if !ok {
				t.Fatal("the probe is refused")
			}
			now.Step(time.Second)
			if e.Of(w).WaitReason() != circuitOpen {
				t.Error("more than a probe is sent")
			}
			to.End(probe, &Report{Outcome: retry.Accepted, Generation: 1})
			if e.Of(w).WaitReason() != nil {
				t.Error("what waits is not woken when the probe was accepted")
			}
		})
	}
}

// Who edits something else does not end a rest; who changes the URL does, by the
// Webhook or by a Secret.
func TestRestIsOfOneReceiver(t *testing.T) {
	for name, tc := range map[string]struct {
		edited bool
		to     string
		want   *delivery.WaitReason
	}{
		"edited":                   {edited: true, to: "https://example.com/a", want: receiverResting},
		"the URL is changed":       {edited: true, to: "https://example.com/b"},
		"its Secret has another":   {to: "https://example.com/b"},
		"nothing was done":         {to: "https://example.com/a", want: receiverResting},
		"edited, URL not read yet": {edited: true, want: receiverResting},
	} {
		t.Run(name, func(t *testing.T) {
			e := NewRegistry(nil, clock.RealClock{})
			w := webhookOf("uid", time.Now())
			to := e.Of(w)
			old := receiverurl.Plain("https://example.com/a")
			to.SetTarget(old)
			before, _ := to.OnDemand(receiverurl.Target{})
			asks := &Report{Outcome: retry.Failed, Generation: 1, Target: old, Rest: time.Hour}
			to.onDemand(asks)
			w.Status.RestUntil = metav1.NewTime(time.Now().Add(time.Hour))
			if tc.edited {
				w.Generation = 2
			}
			to = e.Of(w)
			if tc.to != "" {
				to.SetTarget(receiverurl.Plain(tc.to))
			}
			if got := e.Of(w).WaitReason(); got != tc.want {
				t.Errorf("it waits for %v, want %v", got, tc.want)
			}
			to.End(before, asks) // an answer of the receiver of before
			if got := e.Of(w).WaitReason(); got != tc.want {
				t.Errorf("after a late answer it waits for %v, want %v", got, tc.want)
			}
		})
	}
}

// The description was edited while a request was under way: the receiver is the
// same, and so is its wish.
func TestWishForRestHoldsAfterAnEdit(t *testing.T) {
	e := NewRegistry(nil, clock.RealClock{})
	w := webhookOf("uid", time.Now())
	to := e.Of(w)
	at := receiverurl.Plain("https://example.com/a")
	to.SetTarget(at)
	permit, _ := to.Begin(receiverurl.Target{})
	w.Generation = 2
	e.Of(w).SetTarget(at)
	to.End(permit, &Report{Outcome: retry.Failed, Generation: 1, Target: at, Rest: time.Hour})
	if got := e.Of(w).WaitReason(); got != receiverResting {
		t.Errorf("it waits for %v", got)
	}
}

// A denial tells nothing of the receiver: a circuit neither opens nor closes, and the
// next probe may go.
func TestDenialLeavesTheCircuitAlone(t *testing.T) {
	now := clocktesting.NewFakeClock(time.Now())
	e := NewRegistry(nil, now)
	w := webhookOf("uid", now.Now())
	denied := &Report{Outcome: retry.Denied, Generation: w.Generation}
	to := e.Of(w)
	for range 2 * FailureThreshold {
		permit, ok := to.Begin(receiverurl.Target{})
		if !ok {
			t.Fatal("denials have opened the circuit")
		}
		to.End(permit, denied)
	}
	failAgain(e, w)
	now.Step(minProbeInterval)
	for range 3 {
		permit, ok := to.Begin(receiverurl.Target{})
		if !ok {
			t.Fatal("a probe that was denied stands in the way of the next")
		}
		to.End(permit, denied)
		if !to.Health().Open {
			t.Fatal("a probe that was denied has closed the circuit")
		}
	}
}
