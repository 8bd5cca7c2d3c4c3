package controllers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
)

func TestRetentionDeletesTheOldest(t *testing.T) {
	b := newBench(t)
	b.start()
	b.webhook("w")
	for i := range 3 {
		e := b.event(fmt.Sprintf("e%d", i))
		b.settled(e.Name, v1alpha1.EventSucceeded)
		// The API server counts in whole seconds.
		b.Eventually(time.Now).Should(BeTemporally(">", e.CreationTimestamp.Add(2*time.Second)))
	}
	// None is deleted in its first 15 minutes, whatever the limit says.
	w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "w"}}
	b.edit(w, map[string]any{"spec": map[string]any{"retention": map[string]any{"limit": 1}}})
	keeper := &retentionReconciler{shared: b.later(14 * time.Minute)}
	keeper.leads.Store(true)
	request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(w)}
	result, err := keeper.Reconcile(b.ctx, request)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(result.RequeueAfter).To(BeNumerically("~", time.Minute, 30*time.Second))
	b.Expect(b.deliveries()).To(HaveLen(3))

	keeper = &retentionReconciler{shared: b.later(16 * time.Minute)}
	_, err = keeper.Reconcile(b.ctx, request)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(b.deliveries()).To(HaveLen(3), "a standby deletes nothing")

	full := time.Now().Add(time.Hour)
	keeper.fullUntil.Store(&full) // it does where no lease can be written any more
	_, err = keeper.Reconcile(b.ctx, request)
	b.Expect(err).NotTo(HaveOccurred())
	left := b.deliveries()
	b.Expect(left).To(HaveLen(1))
	b.Expect(left[0].Spec.EventRef.Name).To(Equal("e2"), "the youngest stays")
}

func TestFinishedEventIsDeletedAfterItsTime(t *testing.T) {
	b := newBench(t)
	b.start()
	b.webhook("w")
	e := b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	expiry := newEventExpiry(b.later(59*time.Minute), time.Hour)
	wait, err := expiry.expire(b.ctx)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(wait).To(BeNumerically("~", time.Minute, 30*time.Second))
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
	expiry.shared = b.later(61 * time.Minute)
	_, err = expiry.expire(b.ctx)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(apierrors.IsNotFound(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e))).To(BeTrue())
	b.Expect(b.deliveries()).To(HaveLen(1), "the record stays")
}

// An event that is not known counts as gone, and its deliveries may go.
func TestRetentionBeginsOnceEventsAreKnown(t *testing.T) {
	routes := newRouter()
	r := &retentionReconciler{shared: &shared{router: routes, clock: clock.RealClock{}, ledger: ledger.New(routes, 10), events: routes.events}}
	r.ledger.Replace(metav1.NamespaceAll, nil, "1")
	elected := make(chan struct{})
	close(elected)
	if err := r.begin(t.Context(), elected); err != nil {
		t.Fatal(err)
	}
	g := NewWithT(t)
	g.Consistently(r.mayDelete, "200ms").Should(BeFalse(), "before it knows the events")
	r.events.Replace(metav1.NamespaceAll, nil)
	g.Eventually(r.mayDelete, "10s").Should(BeTrue(), "once it knows the events")
}

// What has changed since it was looked at stays: a resend may be asked for.
func TestRetentionLeavesWhatHasChanged(t *testing.T) {
	b := newBench(t)
	b.start()
	b.webhook("w")
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	d := b.delivery(v1alpha1.DeliverySucceeded)
	key := client.ObjectKeyFromObject(d)
	before, known := b.engine.ledger.Get(key)
	b.Expect(known).To(BeTrue())
	b.edit(d, map[string]any{"metadata": map[string]any{"annotations": map[string]any{"example.com/note": "seen"}}})
	keeper := &retentionReconciler{shared: b.later(0)}
	b.Expect(keeper.delete(b.ctx, before)).To(Succeed())
	b.Expect(b.client.Get(b.ctx, key, d)).To(Succeed(), "it was changed, and is still there")

	b.Eventually(func() uint64 {
		before, _ = b.engine.ledger.Get(key)
		return before.Version
	}).Should(BeEquivalentTo(version(d)))
	b.Expect(keeper.delete(b.ctx, before)).To(Succeed())
	b.Expect(apierrors.IsNotFound(b.client.Get(b.ctx, key, d))).To(BeTrue())
}

func version(o client.Object) uint64 {
	n, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	return n
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
func keeperOf(t *testing.T, records int, c client.Client) (*retentionReconciler, ctrl.Request) {
	t.Helper()
	meters, err := newMeters(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	routes := newRouter()
	r := &retentionReconciler{shared: &shared{
		client: c, live: c, router: routes, events: routes.events, clock: laterClock{ahead: 30 * 24 * time.Hour}, ledger: ledger.New(routes, 10), meters: meters,
	}}
	r.leads.Store(true)
	for i := range records {
		name := fmt.Sprintf("%05d", i)
		r.ledger.Observe(&metav1.ObjectMeta{
			Namespace: "music", Name: name, UID: types.UID(name), ResourceVersion: "2", CreationTimestamp: metav1.Now(),
			Labels: map[string]string{v1alpha1.LabelWebhook: "w", v1alpha1.LabelEventUID: "e", v1alpha1.LabelResult: "Succeeded"},
		})
	}
	return r, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "music", Name: "w"}}
}

// The watch may show late what was deleted.
func TestRetentionDeletesOnce(t *testing.T) {
	const records = largestPart*retentionBatch + 100
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
