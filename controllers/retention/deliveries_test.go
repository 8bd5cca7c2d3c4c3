package retention

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/ledger"
)

// An event that is not known counts as gone, and its deliveries may go.
func TestRetentionBeginsOnceEventsAreKnown(t *testing.T) {
	enqueuer := enqueue.New(clock.RealClock{}, 10)
	r := &Deliveries{Clock: clock.RealClock{}, Ledger: enqueuer.Ledger, Events: enqueuer.Events, Enqueuer: enqueuer}
	r.Ledger.Replace(metav1.NamespaceAll, nil, "1")
	elected := make(chan struct{})
	close(elected)
	if err := r.begin(t.Context(), elected); err != nil {
		t.Fatal(err)
	}
	g := NewWithT(t)
	g.Consistently(r.mayDelete, "200ms").Should(BeFalse(), "before it knows the events")
	r.Events.Replace(metav1.NamespaceAll, nil)
	g.Eventually(r.mayDelete, "10s").Should(BeTrue(), "once it knows the events")
}

// deletions counts deletes.
type deletions struct {
	client.Client
	n       atomic.Int32
	refused string // name of one that may not be deleted
}

func (d *deletions) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}

func (d *deletions) Delete(_ context.Context, o client.Object, _ ...client.DeleteOption) error {
	if o.GetName() == d.refused {
		return apierrors.NewForbidden(schema.GroupResource{}, d.refused, errors.New("a policy denies it"))
	}
	d.n.Add(1)
	return nil
}

// keeperOf returns a retention of a Webhook with so many records whose time is over,
// named by their numbers.
func keeperOf(t *testing.T, records int, c client.Client) (*Deliveries, ctrl.Request) {
	t.Helper()
	enqueuer := enqueue.New(clock.RealClock{}, 10)
	r := &Deliveries{
		Client: c, APIReader: c, Clock: clocktesting.NewFakePassiveClock(time.Now().Add(30 * 24 * time.Hour)),
		Ledger: enqueuer.Ledger, Events: enqueuer.Events, Enqueuer: enqueuer,
		Deleted: prometheus.NewCounter(prometheus.CounterOpts{Name: "deleted_total", Help: "Deletes."}),
	}
	r.leads.Store(true)
	for i := range records {
		name := fmt.Sprintf("%05d", i)
		r.Ledger.Observe(&metav1.ObjectMeta{
			Namespace: "music", Name: name, UID: types.UID(name), ResourceVersion: "2", CreationTimestamp: metav1.Now(),
			Labels: map[string]string{v1alpha1.LabelWebhook: "w", v1alpha1.LabelEventUID: "e", v1alpha1.LabelResult: "Succeeded"},
		})
	}
	return r, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "music", Name: "w"}}
}

// The watch may show late what was deleted.
func TestRetentionDeletesOnce(t *testing.T) {
	const records = largestPart*batchSize + 100
	c := &deletions{}
	r, request := keeperOf(t, records, c)
	for range 2 * largestPart {
		if _, err := r.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.n.Load(); got != records {
		t.Errorf("%d deletes for %d records", got, records)
	}
}

// The oldest comes first each time.
func TestWhatCannotBeDeletedKeepsNoOthers(t *testing.T) {
	c := &deletions{refused: "00000"}
	r, request := keeperOf(t, 10, c)
	if _, err := r.Reconcile(t.Context(), request); !apierrors.IsForbidden(err) {
		t.Errorf("error %v", err)
	}
	if got := c.n.Load(); got != 9 {
		t.Errorf("%d of the 9 others were deleted", got)
	}
}

// None goes in its first 15 minutes, and the controller comes back when it is time.
func TestRetentionComesBackWhenTheYoungestMayGo(t *testing.T) {
	c := &deletions{}
	r, request := keeperOf(t, 201, c) // one more than the limit
	r.Clock = clocktesting.NewFakePassiveClock(time.Now().Add(14 * time.Minute))
	result, err := r.Reconcile(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.n.Load(); got != 0 {
		t.Errorf("%d deletes in the first 15 minutes", got)
	}
	if after := result.RequeueAfter; after < 50*time.Second || after > 70*time.Second {
		t.Errorf("it comes back after %s, want a minute", after)
	}
}

// A standby deletes nothing, unless the store is full: then nobody can lead.
func TestStandbyDeletesWhenTheStoreIsFull(t *testing.T) {
	c := &deletions{}
	r, request := keeperOf(t, 10, c)
	r.leads.Store(false)
	look := func(want int32, when string) {
		t.Helper()
		if _, err := r.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		if got := c.n.Load(); got != want {
			t.Errorf("%d deletes %s, want %d", got, when, want)
		}
	}
	look(0, "on a standby")
	over := r.Clock.Now().Add(-time.Second)
	r.fullUntil.Store(&over)
	look(0, "after the store was full")
	full := r.Clock.Now().Add(fullFor)
	r.fullUntil.Store(&full)
	look(10, "while the store is full")
}

// A delivery stays until its event's counts tell of it, and the event until it is
// dispatched. An event is known by its UID: another one may have its name.
func TestDeliveryIsNeededUntilItIsCounted(t *testing.T) {
	r, _ := keeperOf(t, 0, nil)
	event := func(version string, counts v1alpha1.DeliveryCounts, dispatched metav1.ConditionStatus) {
		r.Events.Observe(&v1alpha1.WebhookEvent{
			ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "e", UID: "e", ResourceVersion: version, CreationTimestamp: metav1.Now()},
			Status: v1alpha1.WebhookEventStatus{
				Result: v1alpha1.EventSucceeded, Counts: counts,
				Conditions: []metav1.Condition{{
					Type: v1alpha1.ConditionDispatched, Status: dispatched, LastTransitionTime: metav1.Now(),
				}},
			},
		})
	}
	stored := func(name string) {
		r.Ledger.Observe(&metav1.ObjectMeta{
			Namespace: "music", Name: name, UID: types.UID(name), ResourceVersion: "1",
			Labels: map[string]string{v1alpha1.LabelWebhook: "w", v1alpha1.LabelEventUID: "e", v1alpha1.LabelResult: "Succeeded"},
		})
	}
	is := func(event types.UID, want bool, when string) {
		t.Helper()
		if got := r.deletable(ledger.Entry{EventUID: event}); got != want {
			t.Errorf("deletable = %t %s", got, when)
		}
	}
	stored("d")
	is("e", true, "of an event that is gone")
	event("2", v1alpha1.DeliveryCounts{Succeeded: 1}, metav1.ConditionFalse)
	is("e", false, "before the event was dispatched")
	event("3", v1alpha1.DeliveryCounts{Succeeded: 1}, metav1.ConditionTrue)
	is("e", true, "of an event that tells of it")
	is("another", true, "of an event of the same name that is gone")
	stored("late")
	is("e", false, "while one is not counted")
}
