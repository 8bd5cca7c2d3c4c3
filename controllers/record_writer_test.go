package controllers

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/courtesy"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/record"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

var errAnswerLost = errors.New("the answer was lost")

// firstAnswerLost stores what it is given, and does not tell so at first.
func firstAnswerLost() func(*v1alpha1.WebhookDelivery, func() error) error {
	var stored atomic.Int32
	return func(_ *v1alpha1.WebhookDelivery, store func() error) error {
		err := store()
		if stored.Add(1) == 1 && err == nil {
			return errAnswerLost
		}
		return err
	}
}

func TestLostAnswerOfACreateIsSettled(t *testing.T) {
	b := newBench(t)
	b.start(creating(firstAnswerLost()))
	b.webhook("w")
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Attempts).To(Equal(int32(1)))
	b.resend(d, "again") // the worker is free, and knows what is in store
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(2))
}

func TestLostAnswerOfAPatchIsSettled(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/w", receiver.MustParseScript("500,200")...)
	b.start(patching(firstAnswerLost()))
	b.webhook("w")
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Attempts).To(Equal(int32(2)))
	b.resend(d, "again") // the worker is free, and knows what is in store
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(3))
}

func TestRecordIsKeptWhileTheAPIServerFails(t *testing.T) {
	b := newBench(t)
	var failures atomic.Int32
	b.start(creating(func(_ *v1alpha1.WebhookDelivery, store func() error) error {
		if failures.Add(1) <= 5 {
			return apierrors.NewInternalError(errors.New("etcdserver: request timed out"))
		}
		return store()
	}))
	b.webhook("w")
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

func TestAnnotationDuringAnAttemptDoesNoHarm(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/w", receiver.MustParseScript("500,200")...)
	var once atomic.Bool
	b.start(patching(func(d *v1alpha1.WebhookDelivery, store func() error) error {
		if once.CompareAndSwap(false, true) {
			note := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/note":"x"}}}`))
			if err := b.client.Patch(b.ctx, d.DeepCopy(), note); err != nil {
				return err
			}
		}
		return store()
	}))
	b.webhook("w")
	b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Annotations).To(HaveKeyWithValue("example.com/note", "x"))
	b.Expect(d.Status.Attempts).To(Equal(int32(2)))
	b.Expect(b.requests("w")).To(Equal(2))
}

// A process that lost its lease while it was sending may write the outcome late.
// It must not write over what its successor has written since.
func TestLateRecordDoesNotOverwriteANewerOne(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	var once atomic.Bool
	late := make(chan struct{}) // closed once the late outcome was written, or refused
	b.start(patching(func(d *v1alpha1.WebhookDelivery, store func() error) error {
		if !once.CompareAndSwap(false, true) {
			return store()
		}
		defer close(late)
		successor := &v1alpha1.WebhookDelivery{}
		if err := b.client.Get(b.ctx, client.ObjectKeyFromObject(d), successor); err != nil {
			return err
		}
		successor.Status.Result = v1alpha1.DeliverySucceeded
		successor.Labels[v1alpha1.LabelResult] = string(v1alpha1.DeliverySucceeded)
		delete(successor.Annotations, v1alpha1.AnnotationNextAttempt)
		successor.Status.NextAttemptTime = metav1.Time{}
		successor.Status.Attempts = 2
		successor.Status.History = append([]v1alpha1.Attempt{{
			Time: metav1.Now(), Cause: v1alpha1.CauseRetry, StatusCode: 204, Milliseconds: 7,
		}}, successor.Status.History...)
		if err := b.client.Update(b.ctx, successor); err != nil {
			return err
		}
		return store()
	}))
	b.webhook("w")
	b.event("e")
	b.Eventually(late).Should(BeClosed())
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.History[0].StatusCode).To(Equal(int32(204)), "the successor's record stands")
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

// What was stored is known at once: until the watch shows it, the delivery must not
// pass for a draft.
func TestStoredRecordIsKnownBeforeTheWatchShowsIt(t *testing.T) {
	b := newBench(t)
	w, e := b.webhook("w"), b.event("e")
	d := record.New(e, w, []byte("{}"))
	record.Hold(d, v1alpha1.ReasonPaused, "", time.Now())
	routes := newRouter(clock.RealClock{})
	known := ledger.New(routes, 10) // that no watch feeds
	key := client.ObjectKeyFromObject(d)
	known.Add(key, ledger.Draft{EventUID: e.UID, Webhook: client.ObjectKeyFromObject(w), WebhookUID: w.UID})
	meters, err := newMeters(prometheus.NewRegistry())
	b.Expect(err).NotTo(HaveOccurred())
	writer := &recordWriter{shared: &shared{
		writer: plainWriter{b.client}, live: b.client, ledger: known, refusals: &refusals{}, meters: meters,
		notify: newNotifier(events.NewFakeRecorder(10)), clock: clock.RealClock{}, courtesy: courtesy.New(clock.RealClock{}),
	}}
	_, err = writer.create(b.ctx, d)
	b.Expect(err).NotTo(HaveOccurred())
	entry, ok := known.Get(key)
	b.Expect(ok).To(BeTrue())
	b.Expect(entry.Draft).To(BeNil())
	b.Expect(entry.State.Result).To(Equal(v1alpha1.DeliveryWaiting))

	base := &v1alpha1.WebhookDelivery{}
	b.Expect(b.client.Get(b.ctx, key, base)).To(Succeed())
	next := base.DeepCopy()
	record.GiveUp(next, v1alpha1.ReasonWaitedTooLong, "", time.Now())
	_, err = writer.update(b.ctx, base, next)
	b.Expect(err).NotTo(HaveOccurred())
	entry, _ = known.Get(key)
	b.Expect(entry.State.Result).To(Equal(v1alpha1.DeliveryFailed))
}

func TestUndisturbedDeliveryIsOneWriteAndItsEventAnother(t *testing.T) {
	b := newBench(t)
	var deliveries, events atomic.Int32
	b.start(counting(func(o client.Object) {
		switch o.(type) {
		case *v1alpha1.WebhookDelivery:
			deliveries.Add(1)
		case *v1alpha1.WebhookEvent:
			events.Add(1)
		}
	}))
	for i := range 4 {
		b.webhook(fmt.Sprintf("w%d", i))
	}
	b.events("e", 25)
	b.allSettled("e", 25, v1alpha1.EventSucceeded)
	b.Expect(deliveries.Load()).To(Equal(int32(100)))
	b.Expect(events.Load()).To(Equal(int32(25)))
}
