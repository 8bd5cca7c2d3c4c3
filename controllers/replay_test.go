package controllers

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// earlier makes an event from an hour before it is created: the Webhooks that are created
// meanwhile do not get it.
func earlier(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(time.Now().Add(-time.Hour)) }

// anHourAgo is a value of the annotation that all events of a test are since.
func anHourAgo() string { return time.Now().Add(-time.Hour).UTC().Format(time.RFC3339) }

// replayed waits until the replay of a Webhook is in a state.
func (b *testbed) replayed(w *v1alpha1.Webhook, state v1alpha1.ReplayState) *v1alpha1.ReplayStatus {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.Replay).NotTo(BeNil())
		g.Expect(w.Status.Replay.Value).To(Equal(w.Annotations[v1alpha1.AnnotationReplaySince]))
		g.Expect(w.Status.Replay.State).To(Equal(state), "%+v", w.Status.Replay)
	}).Should(Succeed())
	return w.Status.Replay
}

// once expects one delivery of each of so many events, which are numbered, to a Webhook.
func (b *testbed) once(prefix string, n int, w *v1alpha1.Webhook) {
	b.t.Helper()
	var got, want []string
	for _, d := range b.deliveriesOf(w) {
		got = append(got, d.Spec.EventRef.Name)
	}
	for i := range n {
		want = append(want, fmt.Sprintf("%s%d", prefix, i))
	}
	b.Expect(got).To(ConsistOf(want))
}

func (b *testbed) deliveriesOf(w *v1alpha1.Webhook) []v1alpha1.WebhookDelivery {
	var list v1alpha1.WebhookDeliveryList
	b.Expect(b.client.List(b.ctx, &list, client.InNamespace(w.Namespace), client.MatchingLabels{v1alpha1.LabelWebhook: w.Name})).To(Succeed())
	return list.Items
}

// A Webhook gets what happened before it was created: what it follows and lacks, and
// nothing else. The events tell of it.
func TestReplay(t *testing.T) {
	b := newTestbed(t)
	b.flags = func(o *Options) { o.MaxEventAge = 24 * time.Hour }
	b.start()
	got := b.webhook("got", func(w *v1alpha1.Webhook) { w.Spec.Scope = "/music/player" })
	b.observed(got)
	b.event("other", func(e *v1alpha1.WebhookEvent) { e.Spec.EventType = "members_created" })
	b.event("old", func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(time.Now().Add(-25 * time.Hour)) })
	b.settled("old", v1alpha1.EventExpired)
	lacks := b.webhook("lacks", func(w *v1alpha1.Webhook) {
		w.Spec.Triggers = []v1alpha1.Trigger{"clusters_*"}
	})
	b.observed(lacks)
	for i := range 7 {
		// Those that are even are from before both, the others from after both.
		b.event(fmt.Sprintf("e%d", i), func(e *v1alpha1.WebhookEvent) {
			if earlier(e); i%2 == 1 {
				e.Spec.Time = metav1.Time{}
				e.Spec.EventType = "pipelineruns_created"
			}
		})
	}
	unmatched := b.settled("e0", v1alpha1.EventUnmatched)
	b.Expect(unmatched.Status.Unmatched).To(HaveExactElements(
		And(HaveField("Reason", v1alpha1.UnmatchedCreatedLater), HaveField("Webhooks", HaveExactElements("got", "lacks")))))
	b.settled("e1", v1alpha1.EventSucceeded)
	requests := b.requests("got")

	b.annotate(lacks, v1alpha1.AnnotationReplaySince, anHourAgo())
	status := b.replayed(lacks, v1alpha1.ReplayCompleted)
	var names []string
	for _, d := range b.deliveriesOf(lacks) {
		names = append(names, d.Spec.EventRef.Name)
	}
	b.Expect(names).To(ConsistOf("e0", "e2", "e4", "e6"))
	b.Expect(b.requests("lacks")).To(Equal(4))
	b.Expect(status.Found).To(Equal(int32(4)))
	b.Expect(status.Sent).To(Equal(int32(4)))
	b.Expect(status.Expired).To(Equal(int32(1)))
	b.Expect(status.Remaining).To(BeZero())
	b.Expect(status.Cursor.Namespace).To(Equal(b.namespace))
	b.Expect(status.CompletionTime.IsZero()).To(BeFalse())
	e := b.settled("e0", v1alpha1.EventSucceeded)
	b.Expect(e.Status.Counts).To(Equal(v1alpha1.DeliveryCounts{Succeeded: 1}))
	b.Expect(e.Status.Unmatched).To(HaveExactElements(
		And(HaveField("Reason", v1alpha1.UnmatchedCreatedLater), HaveField("Count", int32(1)), HaveField("Webhooks", HaveExactElements("got")))))
	b.settled("old", v1alpha1.EventExpired)
	b.Expect(b.requests("got")).To(Equal(requests), "nothing is sent to others")

	// Whoever has had all gets nothing more, also once the deliveries are gone.
	all := b.deliveriesOf(lacks)
	for i := range all {
		b.Expect(b.client.Delete(b.ctx, &all[i])).To(Succeed())
	}
	b.Eventually(func() int { return len(b.operator.enqueuer.Ledger.OfWebhook(client.ObjectKeyFromObject(lacks))) }).Should(BeZero())
	b.annotate(lacks, v1alpha1.AnnotationReplaySince, time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
	status = b.replayed(lacks, v1alpha1.ReplayCompleted)
	b.Expect(status.Found).To(BeZero())
	b.Expect(b.requests("lacks")).To(Equal(4))
}

// A replay of what passed by while a Webhook was Disabled waits until it is not.
func TestReplayWaitsWhileTheWebhookIsDisabled(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled })
	b.observed(w)
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	status := b.replayed(w, v1alpha1.ReplayWaiting)
	b.Expect(status.Message).To(Equal("the webhook is Disabled"))
	b.events("e", 5)
	b.allSettled("e", 5, v1alpha1.EventUnmatched)
	b.Consistently(func() int { return b.requests("w") }, "1s").Should(BeZero())
	b.stop()
	b.start() // whoever takes over waits, too
	b.Consistently(func() int { return b.requests("w") }, "1s").Should(BeZero())
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	status = b.replayed(w, v1alpha1.ReplayCompleted)
	b.Expect(status.Sent).To(Equal(int32(5)))
	b.once("e", 5, w)
	b.allSettled("e", 5, v1alpha1.EventSucceeded)
}

// Events of one second are in the order of their names, and those of the last one may be
// seen after a replay has begun: none is left out for that.
func TestReplayOfWhatIsSeenLate(t *testing.T) {
	b := newTestbed(t)
	b.tune = func(o *operator) { o.replays.Settling = 2 * time.Second }
	b.start()
	w := b.webhook("w")
	b.observed(w)
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	b.event("z", earlier)
	b.settled("z", v1alpha1.EventUnmatched)
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	time.Sleep(400 * time.Millisecond)
	b.event("a", earlier) // as if the watch had lagged behind
	b.replayed(w, v1alpha1.ReplayCompleted)
	b.settled("a", v1alpha1.EventSucceeded)
	b.settled("z", v1alpha1.EventSucceeded)
}

// What was taken before the Webhook was Disabled, and withdrawn for that, is not lost.
func TestReplayLosesNothingWhenTheWebhookIsDisabledMeanwhile(t *testing.T) {
	const events = 30
	b := newTestbed(t)
	gate := make(chan struct{})
	b.receiver.Script("/w", receiver.Answer{Until: gate})
	b.start()
	b.events("e", events, earlier)
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight = 2 })
	b.observed(w)
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(2))
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Disabled"}})
	b.replayed(w, v1alpha1.ReplayWaiting)
	close(gate)
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	status := b.replayed(w, v1alpha1.ReplayCompleted)
	b.once("e", events, w)
	b.Expect(status.Sent).To(Equal(int32(events)))
	b.allSettled("e", events, v1alpha1.EventSucceeded)
}

// Triggers and scope are those that the Webhook has when an event is looked at.
func TestReplayAfterAnEdit(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{"clusters_freed"} })
	b.observed(w)
	b.events("e", 3)
	b.events("m", 3, func(e *v1alpha1.WebhookEvent) { e.Spec.EventType = "members_created" })
	b.allSettled("e", 3, v1alpha1.EventUnmatched)
	b.allSettled("m", 3, v1alpha1.EventUnmatched)
	since := anHourAgo()
	b.annotate(w, v1alpha1.AnnotationReplaySince, since)
	b.Expect(b.replayed(w, v1alpha1.ReplayCompleted).Found).To(BeZero())

	b.edit(w, map[string]any{"spec": map[string]any{"triggers": []string{"clusters_deployed"}}})
	b.observed(w)
	b.Consistently(func() int { return b.requests("w") }, "1s").Should(BeZero(), "an edit alone brings nothing back")
	b.annotate(w, v1alpha1.AnnotationReplaySince, time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
	b.Expect(b.replayed(w, v1alpha1.ReplayCompleted).Sent).To(Equal(int32(3)))
	b.once("e", 3, w)
	b.allSettled("m", 3, v1alpha1.EventUnmatched)
}

// A Webhook of the system namespace is held against the events of all. Their statuses do
// not name its deliveries, so those that retention may have taken count as made.
func TestReplayOfASystemWebhook(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.events("before", 3, earlier)
	b.allSettled("before", 3, v1alpha1.EventUnmatched)
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Namespace = systemNamespace })
	b.observed(w)
	b.events("taken", 3)
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(3))
	b.Eventually(func() []v1alpha1.WebhookDelivery { return b.deliveriesOf(w) }).Should(HaveLen(3))
	all := b.deliveriesOf(w)
	b.Eventually(time.Now).Should(BeTemporally(">", all[0].CreationTimestamp.Add(2*time.Second)))
	b.event("kept0")
	b.Eventually(func() []v1alpha1.WebhookDelivery { return b.deliveriesOf(w) }).Should(HaveLen(4))
	for i := range all { // by retention, say
		b.Expect(b.client.Delete(b.ctx, &all[i])).To(Succeed())
	}
	b.Eventually(func() int { return len(b.operator.enqueuer.Ledger.OfWebhook(client.ObjectKeyFromObject(w))) }).Should(Equal(1))

	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	status := b.replayed(w, v1alpha1.ReplayCompleted)
	b.Expect(status.Sent).To(Equal(int32(3)))
	var names []string
	for _, d := range b.deliveriesOf(w) {
		names = append(names, d.Spec.EventRef.Name)
	}
	b.Expect(names).To(ConsistOf("before0", "before1", "before2", "kept0"))
	b.Expect(b.requests("w")).To(Equal(7))
	b.allSettled("before", 3, v1alpha1.EventUnmatched)
}

// What a replay sends itself tells nothing of what retention may have taken before.
func TestReplayOfManyToASystemWebhook(t *testing.T) {
	const events = 130
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Namespace, w.Spec.State = systemNamespace, v1alpha1.WebhookDisabled })
	b.observed(w)
	b.events("e", events)
	b.allSettled("e", events, v1alpha1.EventUnmatched)
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	b.Eventually(func() int { return b.requests("w") }).Should(BeNumerically(">", 10))
	b.stop()
	b.start() // nor does it to whoever takes over
	b.Expect(b.replayed(w, v1alpha1.ReplayCompleted).Sent).To(Equal(int32(events)))
	b.once("e", events, w)
}

// Nor does a test, which is of no event.
func TestReplayToASystemWebhookThatWasTested(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Namespace, w.Spec.State = systemNamespace, v1alpha1.WebhookDisabled })
	b.observed(w)
	b.events("e", 3)
	b.allSettled("e", 3, v1alpha1.EventUnmatched)
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	b.tune = func(o *operator) { o.replays.Clock = laterClock{ahead: time.Minute} } // when the test was a while ago
	b.annotate(w, v1alpha1.AnnotationTest, "one")
	b.ended(b.tested(w, "one"), v1alpha1.DeliverySucceeded)
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.LastDelivery).NotTo(BeNil())
	}).Should(Succeed())
	b.stop()
	b.start()
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	b.Expect(b.replayed(w, v1alpha1.ReplayCompleted).Sent).To(Equal(int32(3)))
}

func TestReplaySinceWhatIsNoTime(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.events("e", 2, earlier)
	w := b.webhook("w")
	for _, value := range []string{"yesterday", time.Now().Add(time.Hour).UTC().Format(time.RFC3339), strings.Repeat("\u202e", 120)} {
		b.annotate(w, v1alpha1.AnnotationReplaySince, value)
		status := b.replayed(w, v1alpha1.ReplayInvalid)
		b.Expect(status.Message).To(Or(ContainSubstring("RFC 3339"), ContainSubstring("in the future")))
		b.Expect(status.Message).NotTo(ContainSubstring("\u202e"))
		b.Expect(status.CompletionTime.IsZero()).To(BeFalse())
	}
	b.Eventually(b.kubernetesEvents).Should(ContainElement(And(
		HaveField("Reason", "ReplayInvalid"), HaveField("Note", ContainSubstring(`"yesterday" is no time`)))))
	b.Consistently(func() int { return b.requests("w") }, "1s").Should(BeZero())
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	b.replayed(w, v1alpha1.ReplayCompleted)
	b.once("e", 2, w)
}

// While a hundred deliveries wait, no more events are taken. Without the annotation, none
// are at all; with it again, the replay goes on, and with another value it begins anew.
func TestReplayTakesNoMoreThanAHundredThatWait(t *testing.T) {
	const events = 130
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.Answer{Status: http.StatusServiceUnavailable})
	b.start()
	b.events("e", events, earlier)
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds, w.Spec.Retry.MaxBackoffSeconds = 1, 1 })
	b.observed(w)
	since := anHourAgo()
	b.annotate(w, v1alpha1.AnnotationReplaySince, since)
	b.Eventually(func() int { return len(b.deliveriesOf(w)) }).Should(Equal(100))
	status := b.replayed(w, v1alpha1.ReplayWaiting)
	b.Expect(status.Message).To(ContainSubstring("100 deliveries of the webhook wait"))
	b.Consistently(func() int { return len(b.deliveriesOf(w)) }, "2s").Should(Equal(100))
	b.Eventually(func() int32 { return b.replayed(w, v1alpha1.ReplayWaiting).Remaining }).Should(Equal(int32(events - 100)))

	b.annotate(w, v1alpha1.AnnotationReplaySince, nil)
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.Replay.State).To(Equal(v1alpha1.ReplayStopped))
	}).Should(Succeed())
	b.receiver.Script("/w", receiver.Answer{})
	b.resendFirst(w)
	b.Eventually(func() int { return b.accepted("w") }).Should(Equal(100))
	b.Consistently(func() int { return len(b.deliveriesOf(w)) }, "2s").Should(Equal(100), "it was stopped")

	b.annotate(w, v1alpha1.AnnotationReplaySince, since)
	status = b.replayed(w, v1alpha1.ReplayCompleted)
	b.Expect(status.Sent).To(Equal(int32(events)))
	b.once("e", events, w)
	b.annotate(w, v1alpha1.AnnotationReplaySince, time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
	status = b.replayed(w, v1alpha1.ReplayCompleted)
	b.Expect(status.Found).To(BeZero(), "each has its delivery")
	b.once("e", events, w)
	b.allSettled("e", events, v1alpha1.EventSucceeded)
}

// resendFirst closes the circuit of a receiver that is back.
func (b *testbed) resendFirst(w *v1alpha1.Webhook) {
	b.t.Helper()
	d := b.deliveriesOf(w)[0]
	b.resend(&d, "now")
}

// accepted is how many different deliveries a path has accepted.
func (b *testbed) accepted(path string) int { return b.receiver.Tally("/" + path).Accepted }

// Wherever a process ends, the next one goes on: each event is in store once, none is
// missing, and the events and the numbers tell of all.
func TestReplayAfterACrash(t *testing.T) {
	const events = 40
	status := func(resource, method string) bool { return resource == "webhooks/status" && method == http.MethodPatch }
	create := func(resource, method string) bool {
		return resource == "webhookdeliveries" && method == http.MethodPost
	}
	event := func(resource, method string) bool {
		return resource == "webhookevents/status" && method == http.MethodPatch
	}
	for name, c := range map[string]*crash{
		"before it has begun":                   {at: 1, of: status},
		"once it has begun":                     {at: 1, of: status, after: true},
		"after the first delivery":              {at: 1, of: create, after: true},
		"before a delivery in the middle":       {at: 20, of: create},
		"after a delivery in the middle":        {at: 20, of: create, after: true},
		"before an event tells of it":           {at: 20, of: event},
		"before the last event tells of it":     {at: events, of: event},
		"before the second write of its status": {at: 2, of: status},
		"after the second write of its status":  {at: 2, of: status, after: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.flags = func(o *Options) { o.Drain = 0 }
			b.start()
			w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled })
			b.observed(w)
			b.events("e", events)
			b.allSettled("e", events, v1alpha1.EventUnmatched)
			b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
			b.observed(w)
			b.stop()

			b.start(c.fault)
			b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
			b.Eventually(c.crashed.Load).Should(BeTrue())
			b.stop()

			b.start()
			status := b.replayed(w, v1alpha1.ReplayCompleted)
			b.once("e", events, w)
			b.Expect(status.Sent).To(Equal(int32(events)))
			b.Expect(status.Found).To(Equal(int32(events)))
			b.Eventually(func() int { return b.accepted("w") }).Should(Equal(events))
			for i := range events {
				e := b.settled(fmt.Sprintf("e%d", i), v1alpha1.EventSucceeded)
				b.Expect(e.Status.Unmatched).To(BeEmpty())
				b.Expect(e.Status.Counts).To(Equal(v1alpha1.DeliveryCounts{Succeeded: 1}))
			}
		})
	}
}

// What cannot be stored is told and waits, and does not hold back what is observed of an
// edit; once it can be, the replay goes on by itself.
func TestReplayOfWhatCannotBeStored(t *testing.T) {
	const events = 20
	b := newTestbed(t)
	var open atomic.Bool
	b.start(creating(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if open.Load() {
			return pass()
		}
		return answer(r, apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource(), "d", errQuota))
	}))
	b.events("e", events, earlier)
	w := b.webhook("w")
	b.observed(w)
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	status := b.replayed(w, v1alpha1.ReplayWaiting)
	b.Expect(status.Message).To(And(ContainSubstring("a delivery cannot be stored"), ContainSubstring(errQuota.Error())))
	b.Expect(status.Sent).To(BeZero())
	// The first one that is refused is told of before all are found.
	b.Eventually(func() int32 { return b.replayed(w, v1alpha1.ReplayWaiting).Found }).Should(Equal(int32(events)))
	b.edit(w, map[string]any{"spec": map[string]any{"description": "edited meanwhile"}})
	b.observed(w)
	b.Expect(b.replayed(w, v1alpha1.ReplayWaiting).Cursor).To(BeNil(), "nothing is done")
	open.Store(true)
	b.Expect(b.replayed(w, v1alpha1.ReplayCompleted).Sent).To(Equal(int32(events)))
	b.once("e", events, w)
	b.allSettled("e", events, v1alpha1.EventSucceeded)
}

// An event that somebody deletes while it is on its way does not hold up the others, nor
// does one that a finalizer keeps.
func TestReplayOfEventsThatGo(t *testing.T) {
	b := newTestbed(t)
	gate := make(chan struct{})
	b.receiver.Script("/w", receiver.Answer{Until: gate})
	b.start()
	b.events("e", 6, earlier)
	kept := b.event("kept", earlier, func(e *v1alpha1.WebhookEvent) { e.Finalizers = []string{"example.com/kept"} })
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight = 1 })
	b.observed(w)
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
	for _, name := range []string{"e4", "e5", "kept"} {
		e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name}}
		b.Expect(b.client.Delete(b.ctx, e)).To(Succeed())
	}
	close(gate)
	b.replayed(w, v1alpha1.ReplayCompleted)
	for _, d := range b.deliveriesOf(w) {
		b.Expect(meta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.ConditionDelivered)).To(BeTrue())
	}
	b.edit(kept, map[string]any{"metadata": map[string]any{"finalizers": []string{}}})
}

// Webhooks that nobody asked for a replay of are left alone by its controller.
func TestNoReplayCostsNothing(t *testing.T) {
	b := newTestbed(t)
	var reads atomic.Int32
	b.start(on(http.MethodGet, "webhooks", func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if _, of := subject(r); of.Name != "" {
			reads.Add(1)
		}
		return pass()
	}))
	w := b.webhook("w")
	b.events("e", 5)
	b.allSettled("e", 5, v1alpha1.EventSucceeded)
	b.observed(w)
	b.Expect(reads.Load()).To(BeZero())
}
