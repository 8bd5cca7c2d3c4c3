package controllers

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/circuit"
	"github.com/horizoncd/webhook-operator/internal/ledger"
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

// slowList is a client whose lists take until they are let go.
type slowList struct {
	client.Client
	begun, proceed chan struct{}
}

func (s slowList) List(context.Context, client.ObjectList, ...client.ListOption) error {
	close(s.begun)
	<-s.proceed
	return nil
}

// An event whose name is not known counts as gone, and its deliveries may go.
func TestRetentionBeginsOnceEventsAreKnown(t *testing.T) {
	c := slowList{begun: make(chan struct{}), proceed: make(chan struct{})}
	routes := &router{clock: clock.RealClock{}}
	r := &retentionReconciler{shared: &shared{client: c, router: routes, clock: clock.RealClock{}, ledger: ledger.New(routes, 10)}}
	r.ledger.Replace(metav1.NamespaceAll, nil, "1")
	elected := make(chan struct{})
	close(elected)
	if err := r.begin(t.Context(), elected); err != nil {
		t.Fatal(err)
	}
	<-c.begun
	if r.mayDelete() {
		t.Error("it may delete before it knows the events")
	}
	close(c.proceed)
	for end := time.Now().Add(10 * time.Second); !r.mayDelete(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it may not delete although it knows the events")
		}
	}
}

// deletions counts deletes.
type deletions struct {
	client.Client
	n atomic.Int32
}

func (d *deletions) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}
func (d *deletions) Delete(context.Context, client.Object, ...client.DeleteOption) error {
	d.n.Add(1)
	return nil
}

// The watch may show late what was deleted.
func TestRetentionDeletesOnce(t *testing.T) {
	const records = retentionBatch + 1
	c := &deletions{}
	meters, err := newMeters(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	routes := &router{clock: clock.RealClock{}}
	r := &retentionReconciler{shared: &shared{
		client: c, live: c, router: routes, clock: laterClock{ahead: 30 * 24 * time.Hour}, ledger: ledger.New(routes, 10), meters: meters,
	}}
	r.leads.Store(true)
	for i := range records {
		name := time.Duration(i).String()
		r.ledger.Observe(&metav1.ObjectMeta{
			Namespace: "music", Name: name, UID: types.UID(name), ResourceVersion: "2", CreationTimestamp: metav1.Now(),
			Labels: map[string]string{v1alpha1.LabelWebhook: "w", v1alpha1.LabelEventUID: "e", v1alpha1.LabelResult: "Succeeded"},
		})
	}
	request := ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "music", Name: "w"}}
	for range 5 {
		if _, err := r.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.n.Load(); got != records {
		t.Errorf("%d deletes for %d records", got, records)
	}
}
