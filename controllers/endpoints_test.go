package controllers

import (
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/circuit"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/webhookstatus"
)

func webhookOf(uid types.UID, created time.Time) *v1alpha1.Webhook {
	return &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{
		Namespace: "music", Name: "w", UID: uid, Generation: 1, CreationTimestamp: metav1.NewTime(created),
	}}
}

// failAgain makes attempts fail until the circuit is open.
func failAgain(e *endpoints, w *v1alpha1.Webhook) {
	for range circuit.Threshold {
		to := e.of(w)
		pass, _ := to.begin()
		to.end(pass, &webhookstatus.Report{Verdict: retry.Failed, Generation: w.Generation})
	}
}

// Requests that time out together, after somebody has mended the URL, say nothing
// of the new one.
func TestRequestsFromBeforeAnEditDoNotOpenTheCircuit(t *testing.T) {
	e := newEndpoints(nil, clock.RealClock{})
	w := webhookOf("uid", time.Now())
	to := e.of(w)
	var passes []circuit.Pass
	for range 10 {
		pass, _ := to.begin()
		passes = append(passes, pass)
	}
	w.Generation = 2
	e.of(w)
	for _, pass := range passes {
		to.end(pass, &webhookstatus.Report{Verdict: retry.Failed, Generation: 1})
	}
	if e.of(w).health().open {
		t.Error("the circuit of a URL that was never tried is open")
	}
}

func TestEditClosesTheCircuit(t *testing.T) {
	e := newEndpoints(nil, clock.RealClock{})
	w := webhookOf("uid", time.Now())
	failAgain(e, w)
	w.Generation = 2
	to := e.of(w)
	if got := to.admit(); to.health().open || got != (queue.Admission{Limit: defaultLimit, ResendLimit: defaultLimit}) {
		t.Errorf("the circuit is open: %+v", got)
	}
	w.Generation = 1 // of a cache that lags behind
	failAgain(e, w)
	if e.of(w).health().open {
		t.Error("attempts with the old spec have opened the circuit")
	}
}

func TestSuccessorHasAnEndpointOfItsOwn(t *testing.T) {
	now := time.Now()
	e := newEndpoints(nil, clock.RealClock{})
	old, is := webhookOf("old", now.Add(-time.Minute)), webhookOf("new", now)
	failAgain(e, old)
	if e.of(is).health().open {
		t.Error("a new webhook of the same name inherits the circuit")
	}
	failAgain(e, is)
	e.of(old) // by a worker that lags behind
	if !e.of(is).health().open {
		t.Error("what was known is forgotten because of the predecessor")
	}
}

func TestWorkersShareOneEndpoint(t *testing.T) {
	for range 1000 {
		e := newEndpoints(nil, clock.RealClock{})
		w := webhookOf("uid", time.Now())
		var got [4]*endpoint
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { got[i] = e.of(w) })
		}
		wg.Wait()
		for _, to := range got {
			if to != got[0] {
				t.Fatal("two workers know two endpoints of one webhook")
			}
		}
	}
}

func TestAttemptThatPanicsGivesThePassBack(t *testing.T) {
	now := clocktesting.NewFakeClock(time.Now())
	e := newEndpoints(nil, now)
	w := webhookOf("uid", now.Now())
	failAgain(e, w)
	now.Step(circuit.MinWait)
	to := e.of(w)
	pass, ok := to.begin()
	if !ok {
		t.Fatal("the probe is refused")
	}
	to.end(pass, nil)
	if to.holds() != nil {
		t.Error("no further probe is let through")
	}
	if to.health().latest == nil {
		t.Error("the report before is lost")
	}
}

// An acceptance that was decided on before a 410 was known, and is told after it.
func TestGoneIsDecidedUnderTheLock(t *testing.T) {
	for name, beside := range map[string]*webhookstatus.Report{
		"accepted":           {Verdict: retry.Accepted, Generation: 1},
		"failed":             {Verdict: retry.Failed, Generation: 1},
		"interrupted":        {Verdict: retry.Interrupted, Generation: 1},
		"denied":             {Verdict: retry.Denied, Generation: 1},
		"asked for rest":     {Verdict: retry.Failed, Generation: 1, Rest: time.Nanosecond},
		"ended in a panic":   nil,
		"of a spec long ago": {Verdict: retry.Accepted},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoints(nil, clock.RealClock{})
			w := webhookOf("uid", time.Now())
			to := e.of(w)
			a, _ := to.begin()
			b, _ := to.begin()
			to.end(a, &webhookstatus.Report{Verdict: retry.Gone, Generation: 1})
			to.end(b, beside)
			to.end(to.onDemand(), beside)
			to.aim(receiverurl.Plain("https://example.com/a"))
			to.aim(receiverurl.Plain("https://example.com/b")) // a Secret was edited, and not the webhook
			if !to.health().gone || e.of(w).holds() != receiverGone {
				t.Fatal("it is sent to although it is gone")
			}
			w.Generation = 2
			if e.of(w).holds() != nil {
				t.Error("an edit does not end it")
			}
			to.end(to.onDemand(), &webhookstatus.Report{Verdict: retry.Gone, Generation: 1})
			if e.of(w).holds() != nil {
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
		want       *reason
	}{
		"nothing is known":          {},
		"gone before a start":       {conditions: healthy(v1alpha1.ReasonGone, 1), want: receiverGone},
		"gone, edited, and a start": {conditions: healthy(v1alpha1.ReasonGone, 0)},
		"failing before a start":    {conditions: healthy(v1alpha1.ReasonFailing, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoints(nil, clock.RealClock{})
			w := webhookOf("uid", time.Now())
			e.of(w) // the cache does not show yet what was written last
			w.Status.Conditions = tc.conditions
			if got := e.of(w).holds(); got != tc.want {
				t.Errorf("it is held for %v, want %v", got, tc.want)
			}
			to := e.of(w)
			to.end(to.onDemand(), &webhookstatus.Report{Verdict: retry.Accepted, Generation: 1})
			if got := e.of(w).holds(); got != tc.want {
				t.Errorf("after a resend it is held for %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRestIsTakenOver(t *testing.T) {
	start := time.Now().Truncate(time.Second)
	for name, tc := range map[string]struct {
		generation int64
		until      time.Duration
		want       *reason
	}{
		"resting":                            {generation: 1, until: time.Hour, want: receiverResting},
		"the rest is over":                   {generation: 1, until: -time.Hour},
		"edited meanwhile, who knows how":    {generation: 0, until: time.Hour},
		"edited meanwhile, the rest is over": {generation: 0, until: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			now := clocktesting.NewFakeClock(start)
			e := newEndpoints(nil, now)
			w := webhookOf("uid", start)
			w.Status.RestUntil = metav1.NewTime(start.Add(tc.until))
			w.Status.Conditions = []metav1.Condition{{
				Type: v1alpha1.ConditionHealthy, Reason: v1alpha1.ReasonReceiverResting, ObservedGeneration: tc.generation,
			}}
			to := e.of(w)
			if got := to.holds(); got != tc.want {
				t.Fatalf("it is held for %v, want %v", got, tc.want)
			}
			if tc.want != nil {
				now.Step(tc.until)
			}
			probe, ok := to.begin()
			if !ok {
				t.Fatal("the probe is refused")
			}
			now.Step(time.Second)
			if e.of(w).holds() != circuitOpen {
				t.Error("more than a probe is sent")
			}
			to.end(probe, &webhookstatus.Report{Verdict: retry.Accepted, Generation: 1})
			if e.of(w).holds() != nil {
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
		want   *reason
	}{
		"edited":                   {edited: true, to: "https://example.com/a", want: receiverResting},
		"the URL is changed":       {edited: true, to: "https://example.com/b"},
		"its Secret has another":   {to: "https://example.com/b"},
		"nothing was done":         {to: "https://example.com/a", want: receiverResting},
		"edited, URL not read yet": {edited: true, want: receiverResting},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoints(nil, clock.RealClock{})
			w := webhookOf("uid", time.Now())
			to := e.of(w)
			old := receiverurl.Plain("https://example.com/a")
			to.aim(old)
			before := to.onDemand()
			asks := &webhookstatus.Report{Verdict: retry.Failed, Generation: 1, Target: old, Rest: time.Hour}
			to.end(to.onDemand(), asks)
			w.Status.RestUntil = metav1.NewTime(time.Now().Add(time.Hour))
			if tc.edited {
				w.Generation = 2
			}
			to = e.of(w)
			if tc.to != "" {
				to.aim(receiverurl.Plain(tc.to))
			}
			if got := e.of(w).holds(); got != tc.want {
				t.Errorf("it is held for %v, want %v", got, tc.want)
			}
			to.end(before, asks) // an answer of the receiver of before
			if got := e.of(w).holds(); got != tc.want {
				t.Errorf("after a late answer it is held for %v, want %v", got, tc.want)
			}
		})
	}
}

// The description was edited while a request was under way: the receiver is the
// same, and so is its wish.
func TestWishForRestHoldsAfterAnEdit(t *testing.T) {
	e := newEndpoints(nil, clock.RealClock{})
	w := webhookOf("uid", time.Now())
	to := e.of(w)
	at := receiverurl.Plain("https://example.com/a")
	to.aim(at)
	pass, _ := to.begin()
	w.Generation = 2
	e.of(w).aim(at)
	to.end(pass, &webhookstatus.Report{Verdict: retry.Failed, Generation: 1, Target: at, Rest: time.Hour})
	if got := e.of(w).holds(); got != receiverResting {
		t.Errorf("it is held for %v", got)
	}
}
