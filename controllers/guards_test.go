package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/courtesy"
	"github.com/horizoncd/webhook-operator/internal/fairqueue"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/record"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// The tests below show guards against sending twice or losing something.

var errAnswerLost = errors.New("the answer was lost")

// isDelivery tells whether an object is a delivery with the outcome of an attempt.
func isDelivery(o client.Object) bool {
	_, ok := o.(*v1alpha1.WebhookDelivery)
	return ok
}

func TestLostAnswerOfACreateIsSettled(t *testing.T) {
	b := newBench(t)
	var creates atomic.Int32
	b.start(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			err := c.Create(ctx, o, opts...)
			if isDelivery(o) && creates.Add(1) == 1 && err == nil {
				return errAnswerLost
			}
			return err
		},
	})
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
	var patches atomic.Int32
	b.start(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			err := c.Patch(ctx, o, p, opts...)
			if isDelivery(o) && patches.Add(1) == 1 && err == nil {
				return errAnswerLost
			}
			return err
		},
	})
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
	b.start(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if isDelivery(o) && failures.Add(1) <= 5 {
				return apierrors.NewInternalError(errors.New("etcdserver: request timed out"))
			}
			return c.Create(ctx, o, opts...)
		},
	})
	b.webhook("w")
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

func TestAnnotationDuringAnAttemptDoesNoHarm(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/w", receiver.MustParseScript("500,200")...)
	var once atomic.Bool
	b.start(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if d, ok := o.(*v1alpha1.WebhookDelivery); ok && once.CompareAndSwap(false, true) {
				other := d.DeepCopy()
				note := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/note":"x"}}}`))
				if err := c.Patch(ctx, other, note); err != nil {
					return err
				}
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
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
	b.start(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if d, ok := o.(*v1alpha1.WebhookDelivery); ok && once.CompareAndSwap(false, true) {
				successor := &v1alpha1.WebhookDelivery{}
				if err := b.client.Get(ctx, client.ObjectKeyFromObject(d), successor); err != nil {
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
				if err := c.Update(ctx, successor); err != nil {
					return err
				}
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	b.webhook("w")
	b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.History[0].StatusCode).To(Equal(int32(204)), "the successor's record stands")
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

// However often a delivery and its event are looked at, it is sent once, also
// while the watch of the deliveries shows nothing of it.
func TestManyReconcilesSendOnce(t *testing.T) {
	b := newBench(t)
	release := make(chan struct{})
	b.start(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if isDelivery(o) {
				<-release
			}
			return c.Create(ctx, o, opts...)
		},
	})
	w := b.webhook("w")
	e := b.event("e")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
	again := func() {
		for range 50 {
			b.engine.router.EventChanged(e.UID)
			for _, entry := range b.engine.ledger.OfEvent(e.UID) {
				b.engine.router.DeliveryChanged(entry)
				_, err := b.engine.Reconcile(b.ctx, fairqueue.Request{
					Webhook: client.ObjectKeyFromObject(w), Delivery: "no-such-delivery",
				})
				b.Expect(err).NotTo(HaveOccurred())
			}
		}
	}
	again()
	close(release)
	b.settled("e", v1alpha1.EventSucceeded)
	again()
	b.event("later")
	b.settled("later", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2), "one for each event")
}

// What was stored is known at once: until the watch shows it, the delivery must not
// pass for a draft.
func TestStoredRecordIsKnownBeforeTheWatchShowsIt(t *testing.T) {
	b := newBench(t)
	w, e := b.webhook("w"), b.event("e")
	d := record.New(e, w, []byte("{}"))
	record.Hold(d, v1alpha1.ReasonPaused, "", time.Now())
	routes := &router{clock: clock.RealClock{}}
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

// A record that another process has stored, and that the watch does not show yet,
// is found before anything is sent.
func TestStoredBeforeIsNotSentAgain(t *testing.T) {
	b := newBench(t)
	b.start()
	b.webhook("w")
	e := b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.settled("e", v1alpha1.EventSucceeded)
	// The ledger forgets it, as that of a process that has just begun to lead.
	b.engine.ledger.Remove(client.ObjectKeyFromObject(d), "")
	b.edit(e, map[string]any{"metadata": map[string]any{"labels": map[string]any{"x": "y"}}})
	b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
	e.Status = v1alpha1.WebhookEventStatus{ObservedGeneration: -1, Result: v1alpha1.EventPending}
	b.Expect(b.client.Status().Update(b.ctx, e)).To(Succeed())
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

// Watches of different kinds are not ordered: an event may be seen, and
// dispatched, before a Webhook that was created earlier.
func TestWebhookThatIsSeenLateGetsTheEvent(t *testing.T) {
	b := newBench(t)
	b.start()
	e := b.event("e")
	b.settled("e", v1alpha1.EventUnmatched)
	// Created within the tolerance, so by the API server's clock no later.
	w := b.webhook("w")
	if w.CreationTimestamp.After(e.CreationTimestamp.Add(2 * time.Second)) {
		t.Skip("the machine was too slow for the two to be created within the tolerance")
	}
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

func TestRestartSendsNothingTwice(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/failing", receiver.MustParseScript("500")...)
	b.start()
	b.webhook("fine")
	b.webhook("failing", func(w *v1alpha1.Webhook) {
		w.Spec.Retry.MinBackoffSeconds = 3600
		w.Spec.Scope = "/failing" // so few that its circuit stays closed
	})
	failing := func(e *v1alpha1.WebhookEvent) { e.Spec.ResourcePath = "/failing/web" }
	for i := range 20 {
		b.event(fmt.Sprintf("fine%d", i))
	}
	for i := range 3 {
		b.event(fmt.Sprintf("failing%d", i), failing)
	}
	for i := range 20 {
		b.settled(fmt.Sprintf("fine%d", i), v1alpha1.EventSucceeded)
	}
	for i := range 3 {
		b.settled(fmt.Sprintf("failing%d", i), v1alpha1.EventWaiting)
	}
	b.stop()
	b.start()
	b.event("last", failing)
	b.settled("last", v1alpha1.EventWaiting)
	b.Expect(b.requests("fine")).To(Equal(24))
	b.Expect(b.requests("failing")).To(Equal(4))
	b.Expect(b.deliveries()).To(HaveLen(28))
}

func TestUndisturbedDeliveryIsOneWriteAndItsEventAnother(t *testing.T) {
	b := newBench(t)
	var deliveries, events atomic.Int32
	b.start(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if isDelivery(o) {
				deliveries.Add(1)
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			deliveries.Add(1)
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			if _, ok := o.(*v1alpha1.WebhookEvent); ok {
				events.Add(1)
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	for i := range 4 {
		b.webhook(fmt.Sprintf("w%d", i))
	}
	for i := range 25 {
		b.event(fmt.Sprintf("e%d", i))
	}
	for i := range 25 {
		b.settled(fmt.Sprintf("e%d", i), v1alpha1.EventSucceeded)
	}
	b.Expect(deliveries.Load()).To(Equal(int32(100)))
	b.Expect(events.Load()).To(Equal(int32(25)))
}

// Where a namespace takes no more records, the event says so, and nothing more is
// sent until one can be stored; then all is delivered.
func TestRefusedRecordsAreKept(t *testing.T) {
	b := newBench(t)
	var refusing atomic.Bool
	refusing.Store(true)
	b.start(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if isDelivery(o) && refusing.Load() {
				return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource(),
					o.GetName(), errors.New("exceeded quota: records"))
			}
			return c.Create(ctx, o, opts...)
		},
	})
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight = 1 })
	names := []string{"first", "second", "third", "fourth"}
	for _, name := range names {
		b.event(name)
	}
	refused := func(name string) {
		t.Helper()
		b.Eventually(func(g Gomega) {
			e := &v1alpha1.WebhookEvent{}
			g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: name}, e)).To(Succeed())
			c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
			g.Expect(c).NotTo(BeNil())
			g.Expect(c.Reason).To(Equal(v1alpha1.ReasonRecordRefused))
			g.Expect(c.Message).To(ContainSubstring("exceeded quota"))
		}).Should(Succeed())
	}
	for _, name := range names {
		refused(name)
	}
	b.Expect(b.requests("w")).To(Equal(1), "nothing more is sent while records are refused")
	refusing.Store(false)
	for _, name := range names {
		b.settled(name, v1alpha1.EventSucceeded)
	}
	b.Expect(b.requests("w")).To(Equal(len(names)))
}

// A record that is refused for its size or its contents is stored without what the
// receiver wrote. One that is refused all the same is not tried in a loop, and
// nothing is sent again for it.
func TestRefusedRecordIsStoredSmaller(t *testing.T) {
	for name, refusal := range map[string]error{
		"too large": apierrors.NewRequestEntityTooLargeError("the record is too large"),
		"invalid":   apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("WebhookDelivery").GroupKind(), "d", nil),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.receiver.Script("/w", receiver.Answer{Status: 500, Body: "what the receiver wrote"})
			var tries atomic.Int32
			var taken atomic.Bool
			b.start(interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					if d, ok := o.(*v1alpha1.WebhookDelivery); ok {
						tries.Add(1)
						if !taken.Load() || d.Status.Response.Body != "" {
							return refusal
						}
					}
					return c.Create(ctx, o, opts...)
				},
			})
			b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) })
			b.event("e")
			b.refused("e")
			b.Expect(tries.Load()).To(And(BeNumerically(">=", 2), BeNumerically("<", 10)), "one whole, one smaller, and then a second apart and more")
			taken.Store(true)
			d := b.delivery(v1alpha1.DeliveryFailed)
			b.Expect(d.Status.Response).To(Equal(&v1alpha1.ResponseRecord{StatusCode: 500, HeadersTruncated: true, BodyTruncated: true}))
			b.Expect(d.Status.History[0].Error).To(ContainSubstring("left out"))
			b.Expect(b.requests("w")).To(Equal(1))
		})
	}
}

func TestTerminatingNamespaceIsNotSentToAgainAndAgain(t *testing.T) {
	b := newBench(t)
	var once atomic.Bool
	tries := make(chan struct{}, 100)
	b.start(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if isDelivery(o) && once.CompareAndSwap(false, true) {
				ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}
				if err := b.client.Delete(ctx, ns); err != nil {
					return err
				}
			}
			err := c.Create(ctx, o, opts...)
			if isDelivery(o) {
				tries <- struct{}{}
			}
			return err
		},
	})
	w := b.webhook("w")
	b.event("e")
	for range 3 {
		b.Eventually(tries).Should(Receive())
	}
	b.Expect(b.requests("w")).To(Equal(1))
	b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
	b.Eventually(func() []ledger.Entry { return b.engine.ledger.OfWebhook(client.ObjectKeyFromObject(w)) }).Should(BeEmpty())
}

// A Webhook that enters the cache between two steps of one reconcile is late for
// the first and must not be overlooked by the second.
func TestWebhookThatAppearsDuringAReconcileGetsTheEvent(t *testing.T) {
	b := newBench(t)
	var armed atomic.Bool
	b.start(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if _, ok := list.(*v1alpha1.WebhookList); ok && armed.CompareAndSwap(true, false) {
				w := b.webhook("w")
				for err == nil { // until the cache has it, and its handler has run
					if c.Get(ctx, client.ObjectKeyFromObject(w), w) == nil {
						break
					}
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(10 * time.Millisecond):
					}
				}
			}
			return err
		},
	})
	b.event("before")
	b.settled("before", v1alpha1.EventUnmatched)
	armed.Store(true)
	b.event("e")
	b.settled("e", v1alpha1.EventSucceeded)
}

func TestRealQuotaRefusesNothingForEver(t *testing.T) {
	b := newBench(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "records"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"count/webhookdeliveries.horizoncd.io": resource.MustParse("0"),
		}},
	}
	b.Expect(b.client.Create(b.ctx, quota)).To(Succeed())
	// What the quota controller does, which does not run here.
	quota.Status.Hard = quota.Spec.Hard
	quota.Status.Used = quota.Spec.Hard
	b.Expect(b.client.Status().Update(b.ctx, quota)).To(Succeed())
	b.start()
	b.webhook("w")
	b.event("e")
	b.refused("e")
	b.Expect(b.client.Delete(b.ctx, quota)).To(Succeed())
	b.settled("e", v1alpha1.EventSucceeded)
}

// A receiver that does not answer holds up neither other webhooks nor the events:
// what waits behind it is stored.
func TestHangingReceiverHoldsUpNobody(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/hangs", receiver.Answer{Hang: true})
	b.start()
	b.webhook("hangs", func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight, w.Spec.TimeoutSeconds = 2, 120 })
	b.webhook("fine")
	for i := range 10 {
		b.event(fmt.Sprintf("e%d", i))
	}
	b.Expect(b.receiver.WaitRequests(b.ctx, "/fine", 10)).To(Succeed())
	b.Eventually(func(g Gomega) {
		waiting := 0
		for _, d := range b.deliveries() {
			if d.Spec.WebhookRef.Name == "hangs" {
				g.Expect(d.Status.Result).To(Equal(v1alpha1.DeliveryWaiting))
				waiting++
			}
		}
		g.Expect(waiting).To(Equal(8), "all but the two under way are stored")
	}).Should(Succeed())
	b.Expect(b.requests("hangs")).To(Equal(2), "maxInFlight")
	b.Expect(b.receiver.Down()).To(Succeed()) // lets the two go
}

// A receiver that is down is asked now and then, not for each delivery that waits
// for it, and nothing is written meanwhile. Once it is back it gets them all.
func TestCircuit(t *testing.T) {
	const events = 30
	b := newBench(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	var writes atomic.Int32
	count := func() { writes.Add(1) }
	b.start(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			count()
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			count()
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(
			ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption,
		) error {
			count()
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
	})
	b.webhook("w")
	for i := range events {
		b.event(fmt.Sprintf("e%02d", i))
	}
	b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(events))
	tried := b.requests("w")
	b.Expect(tried).To(BeNumerically("<", events/2), "the circuit opens after some")

	for i := range events {
		b.settled(fmt.Sprintf("e%02d", i), v1alpha1.EventWaiting)
	}

	before := writes.Load()
	b.Consistently(func() int { return b.requests("w") - tried }, "2s").Should(BeNumerically("<=", 1), "a probe")
	b.Expect(writes.Load()-before).To(BeNumerically("<=", 3), "the record of a probe, and numbers of the Webhook")

	b.receiver.Script("/w")
	b.Eventually(func() int { return b.receiver.Tally("/w").Accepted }).Should(Equal(events))
	for i := range events {
		b.settled(fmt.Sprintf("e%02d", i), v1alpha1.EventSucceeded)
	}
	b.Expect(b.receiver.Tally("/w").Duplicates).To(BeZero())
}

// Whoever mends a receiver need not wait for the next probe.
func TestResendAndEditPassAnOpenCircuit(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.tune = func(r *deliveryReconciler) {
		// A wait that no test has the time for.
		r.endpoints.clock = clocktesting.NewFakePassiveClock(time.Now())
	}
	b.start()
	w := b.webhook("w")
	for i := range 10 {
		b.event(fmt.Sprintf("e%d", i))
	}
	b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(10))
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Reason).To(Equal(v1alpha1.ReasonCircuitOpen))
	}).Should(Succeed())
	b.receiver.Script("/w", receiver.MustParseScript("500,200")...)
	tried := b.requests("w")
	d := b.deliveries()[0]
	b.resend(&d, "once")
	b.Eventually(func() int { return b.requests("w") - tried }).Should(Equal(1), "a resend is sent")
	b.Consistently(func() int { return b.requests("w") - tried }, "500ms").Should(Equal(1), "and leaves the circuit open")
	b.edit(w, map[string]any{"spec": map[string]any{"description": "mended"}})
	for i := range 10 {
		b.settled(fmt.Sprintf("e%d", i), v1alpha1.EventSucceeded)
	}
}

// A probe that cannot be sent must not be offered again and again.
func TestProbeWithoutASecretIsNotOfferedAgainAndAgain(t *testing.T) {
	b := newBench(t)
	reads := &readsOfDeliveries{}
	now := clocktesting.NewFakePassiveClock(time.Now())
	b.tune = func(r *deliveryReconciler) {
		reads.Reader, r.live = r.live, reads
		r.endpoints.clock = now
	}
	b.receiver.Script("/w", receiver.MustParseScript("401")...)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "s"}, Data: map[string][]byte{"token": []byte("a secret")},
	}
	b.Expect(b.client.Create(b.ctx, secret)).To(Succeed())
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "s", Key: "token"} })
	for i := range 10 {
		b.event(fmt.Sprintf("e%d", i))
	}
	b.Eventually(func() int { return len(b.deliveries()) }).Should(Equal(10))
	b.Eventually(func() bool { return b.engine.endpoints.of(w).isOpen() }).Should(BeTrue())
	b.Expect(b.client.Delete(b.ctx, secret)).To(Succeed())
	b.engine.credentials.Forget(w)
	now.SetTime(now.Now().Add(time.Hour)) // a probe is due
	before := reads.n.Load()
	b.event("another") // somebody looks at the webhook
	b.Consistently(func() int32 { return reads.n.Load() - before }, "3s").Should(BeNumerically("<", 50), "each once or twice")
}

// readsOfDeliveries counts live reads of deliveries.
type readsOfDeliveries struct {
	client.Reader
	n atomic.Int32
}

func (r *readsOfDeliveries) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, ok := o.(*v1alpha1.WebhookDelivery); ok {
		r.n.Add(1)
	}
	return r.Reader.Get(ctx, key, o, opts...)
}

func TestTooManyWaitingOverflow(t *testing.T) {
	b := newBench(t)
	b.tune = func(r *deliveryReconciler) { r.maxWaiting = 2 }
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused })
	for i := range 2 {
		b.event(fmt.Sprintf("e%d", i))
		b.settled(fmt.Sprintf("e%d", i), v1alpha1.EventWaiting)
	}
	b.event("overflow")
	b.settled("overflow", v1alpha1.EventFailed)
	w := &v1alpha1.Webhook{}
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: "w"}, w)).To(Succeed())
		g.Expect(meta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionOverflowing)).To(BeTrue())
	}).Should(Succeed())
	for _, d := range b.deliveries() {
		if d.Spec.EventRef.Name != "overflow" {
			continue
		}
		c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
		b.Expect(c.Reason).To(Equal(v1alpha1.ReasonOverflow))
		b.resend(&d, "please") // a person may still send it
	}
	b.settled("overflow", v1alpha1.EventSucceeded)
}

// Deliveries that were attempted and are to be tried again count as much as those
// that wait for their first attempt.
func TestTooManyRetriesOverflow(t *testing.T) {
	b := newBench(t)
	b.tune = func(r *deliveryReconciler) { r.maxWaiting = 1 }
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 3600 })
	b.event("first")
	b.settled("first", v1alpha1.EventWaiting)
	b.event("second")
	b.settled("second", v1alpha1.EventFailed)
	b.Expect(b.requests("w")).To(Equal(2))
}

func TestInterruptedAttemptDoesNotCount(t *testing.T) {
	b := newBench(t)
	b.receiver.Script("/w", receiver.Answer{Hang: true})
	b.start()
	b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) })
	b.event("e")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
	b.stop() // waits for the drain, and for the record
	d := b.delivery(v1alpha1.DeliveryWaiting)
	b.Expect(d.Status.Attempts).To(BeZero())
	b.Expect(d.Status.History).To(HaveLen(1))
	b.receiver.Script("/w")
	b.start()
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

func TestNothingIsSentWithoutTheLease(t *testing.T) {
	b := newBench(t)
	var lost atomic.Bool
	lost.Store(true)
	b.tune = func(r *deliveryReconciler) {
		r.mayLead = func() error {
			if lost.Load() {
				return errors.New("the lease is lost")
			}
			return nil
		}
	}
	b.start()
	b.webhook("w")
	b.event("e")
	b.Consistently(func() int { return b.requests("w") }, "2s").Should(BeZero())
	lost.Store(false)
	b.settled("e", v1alpha1.EventSucceeded)
}

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

// refused waits until an event tells that a record was refused.
func (b *bench) refused(event string) {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		e := &v1alpha1.WebhookEvent{}
		g.Expect(b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: event}, e)).To(Succeed())
		c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Reason).To(Equal(v1alpha1.ReasonRecordRefused))
	}).Should(Succeed())
}

// later returns what the controllers share, with a clock that is ahead by a while,
// and a client that does not lag behind.
func (b *bench) later(while time.Duration) *shared {
	ahead := *b.engine.shared
	ahead.client = b.client
	ahead.clock = laterClock{ahead: while}
	return &ahead
}

// laterClock is a clock that is ahead by a while.
type laterClock struct {
	clock.RealClock
	ahead time.Duration
}

func (c laterClock) Now() time.Time                  { return time.Now().Add(c.ahead) }
func (c laterClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
