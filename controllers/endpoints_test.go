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
	"github.com/horizoncd/webhook-operator/internal/readiness"
	"github.com/horizoncd/webhook-operator/internal/retry"
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
		to.end(pass, &readiness.Report{Verdict: retry.Failed, Generation: w.Generation})
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
		to.end(pass, &readiness.Report{Verdict: retry.Failed, Generation: 1})
	}
	if e.of(w).isOpen() {
		t.Error("the circuit of a URL that was never tried is open")
	}
}

func TestEditClosesTheCircuitAndTells(t *testing.T) {
	e := newEndpoints(nil, clock.RealClock{})
	w := webhookOf("uid", time.Now())
	failAgain(e, w)
	w.Generation = 2
	to := e.of(w)
	if to.isOpen() || !to.takeClosed() || to.takeClosed() {
		t.Error("the circuit is open, or it was not told once that it has closed")
	}
	w.Generation = 1 // of a cache that lags behind
	failAgain(e, w)
	if e.of(w).isOpen() {
		t.Error("attempts with the old spec have opened the circuit")
	}
}

func TestSuccessorHasAnEndpointOfItsOwn(t *testing.T) {
	now := time.Now()
	e := newEndpoints(nil, clock.RealClock{})
	old, is := webhookOf("old", now.Add(-time.Minute)), webhookOf("new", now)
	failAgain(e, old)
	if e.of(is).isOpen() {
		t.Error("a new webhook of the same name inherits the circuit")
	}
	failAgain(e, is)
	e.of(old) // by a worker that lags behind
	if !e.of(is).isOpen() {
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
	if to.blocked() {
		t.Error("no further probe is let through")
	}
	if to.report() == nil {
		t.Error("the report before is lost")
	}
}
