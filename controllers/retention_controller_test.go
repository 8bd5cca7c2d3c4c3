package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

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
	keeper := &eventReconciler{
		shared: b.later(59 * time.Minute), systemNamespace: systemNamespace, maxAge: 72 * time.Hour, ttl: time.Hour,
	}
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e)}
	_, err := keeper.tell(b.ctx, request)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
	keeper.shared = b.later(61 * time.Minute)
	_, err = keeper.tell(b.ctx, request)
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(apierrors.IsNotFound(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e))).To(BeTrue())
	b.Expect(b.deliveries()).To(HaveLen(1), "the record stays")
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
