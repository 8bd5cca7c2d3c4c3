package controllers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// watchGate keeps what the watches of a resource tell until it is opened.
type watchGate struct {
	resource string

	mu sync.Mutex
	// closed is nil while the gate is open.
	closed chan struct{}
	// expired makes those watches end whose news were kept, so that they list again.
	expired bool
}

func (g *watchGate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.expired = make(chan struct{}), false
}

func (g *watchGate) open(expired bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expired = expired
	close(g.closed)
	g.closed = nil
}

// wait waits until the gate is open, and tells whether the watch has expired.
func (g *watchGate) wait(ctx context.Context) (expired bool) {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed == nil {
		return false
	}
	select {
	case <-closed:
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.expired
}

func (g *watchGate) fault(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
	answer, err := pass()
	watches := r.URL.Query().Get("watch") != "" && strings.HasSuffix(r.URL.Path, "/"+g.resource)
	if err == nil && watches {
		answer.Body = &gatedBody{ReadCloser: answer.Body, gate: g, ctx: r.Context()}
	}
	return answer, err
}

type gatedBody struct {
	io.ReadCloser
	gate  *watchGate
	ctx   context.Context
	ended bool
}

func (b *gatedBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	if b.gate.wait(b.ctx) {
		b.ended = true
		const gone = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410}}`
		return copy(p, gone), nil
	}
	return n, err
}

// observed waits until the operator has observed a Webhook as it is.
func (b *testbed) observed(w *v1alpha1.Webhook) {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation))
	}).Should(Succeed())
}

// Each widens a Webhook that does not follow what b.event creates.
var widenings = map[string]struct {
	narrow func(*v1alpha1.Webhook)
	widen  map[string]any
}{
	"a trigger":       {func(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{"clusters_freed"} }, map[string]any{"triggers": []string{"clusters_freed", "clusters_deployed"}}},
	"any trigger":     {func(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{"clusters_freed"} }, map[string]any{"triggers": []string{"*"}}},
	"scope":           {func(w *v1alpha1.Webhook) { w.Spec.Scope = "/video" }, map[string]any{"scope": "/music"}},
	"no scope":        {func(w *v1alpha1.Webhook) { w.Spec.Scope = "/video" }, map[string]any{"scope": nil}},
	"enabled":         {func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled }, map[string]any{"state": "Enabled"}},
	"no state at all": {func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled }, map[string]any{"state": nil}},
}

// An edit that was acknowledged counts for the events that come after it, however
// late the watch of Webhooks tells of it, and not for those before it.
func TestEventAfterAnEditReachesTheWebhook(t *testing.T) {
	for name, tc := range widenings {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			gate := &watchGate{resource: "webhooks"}
			b.start(gate.fault)
			w := b.webhook("w", tc.narrow)
			b.observed(w)
			b.event("before")
			b.settled("before", v1alpha1.EventUnmatched)
			gate.hold()
			b.edit(w, map[string]any{"spec": tc.widen})
			b.event("after")
			after := b.settled("after", v1alpha1.EventUnmatched)
			b.Expect(after.Status.Unmatched).To(HaveLen(1))
			gate.open(false)
			after = b.settled("after", v1alpha1.EventSucceeded)
			b.Expect(after.Status.Unmatched).To(BeEmpty(), "it gets the event after all")
			b.observed(w)
			b.settled("before", v1alpha1.EventUnmatched)
			b.Expect(b.requests("w")).To(Equal(1))
		})
	}
}

// Two edits between two looks: the first one counts.
func TestEventBetweenTwoEditsReachesTheWebhook(t *testing.T) {
	b := newTestbed(t)
	gate := &watchGate{resource: "webhooks"}
	b.start(gate.fault)
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled })
	b.observed(w)
	gate.hold()
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	b.event("e")
	b.settled("e", v1alpha1.EventUnmatched)
	b.edit(w, map[string]any{"spec": map[string]any{"description": "edited again"}})
	gate.open(false)
	b.settled("e", v1alpha1.EventSucceeded)
}

// After a relist nobody knows when an edit was made.
func TestEventAfterAnEditInAGapOfTheWatchReachesTheWebhook(t *testing.T) {
	b := newTestbed(t)
	gate := &watchGate{resource: "webhooks"}
	b.start(gate.fault)
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{"clusters_freed"} })
	b.observed(w)
	sent := b.event("sent", func(e *v1alpha1.WebhookEvent) { e.Spec.EventType = "clusters_freed" })
	b.settled("sent", v1alpha1.EventSucceeded)
	for _, d := range b.deliveries() { // it must not be sent again, nonetheless
		b.Expect(client.IgnoreNotFound(b.client.Delete(b.ctx, &d))).To(Succeed()) // retention helps
	}
	b.Eventually(func() []ledger.Entry { return b.operator.enqueuer.Ledger.OfEvent(sent.UID) }).Should(BeEmpty())
	gate.hold()
	b.edit(w, map[string]any{"spec": map[string]any{"triggers": []string{"*"}}})
	b.edit(w, map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": "b"}}}) // so that its version is another one
	b.event("e")
	b.settled("e", v1alpha1.EventUnmatched)
	b.edit(w, map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": "c"}}})
	gate.open(true)
	b.settled("e", v1alpha1.EventSucceeded)
	b.observed(w)
	b.Expect(b.requests("w")).To(Equal(2))
}

// Deleted and created again in a gap of the watch, a Webhook arrives as an update.
func TestWebhookThatWasReplacedInAGapOfTheWatchGetsTheEvent(t *testing.T) {
	b := newTestbed(t)
	gate := &watchGate{resource: "webhooks"}
	b.start(gate.fault)
	disabled := func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled }
	w := b.webhook("w", disabled)
	b.observed(w)
	gate.hold()
	b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
	b.webhook("w")
	b.event("e")
	b.settled("e", v1alpha1.EventUnmatched)
	gate.open(true)
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
}

// A process that ends before it has seen an edit leaves it to the next one.
func TestEventAfterAnEditReachesTheWebhookAfterARestart(t *testing.T) {
	b := newTestbed(t)
	gate := &watchGate{resource: "webhooks"}
	b.start(gate.fault)
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled })
	b.observed(w)
	gate.hold()
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	b.event("e")
	b.settled("e", v1alpha1.EventUnmatched)
	b.stop()
	gate.open(false)
	b.start()
	b.settled("e", v1alpha1.EventSucceeded)
	b.observed(w)
}

// Until what an edit brings is stored, nothing says that the edit was observed: a
// process that takes over looks again then.
func TestEditIsObservedOnceItsEventsAreStored(t *testing.T) {
	b := newTestbed(t)
	gate := &watchGate{resource: "webhooks"}
	release := make(chan struct{})
	var once sync.Once
	let := func() { once.Do(func() { close(release) }) }
	t.Cleanup(let)
	b.start(gate.fault, creating(func(_ *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		<-release
		return pass()
	}))
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled })
	b.observed(w)
	gate.hold()
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	b.event("e")
	b.settled("e", v1alpha1.EventUnmatched)
	gate.open(false)
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
	b.operator.enqueuer.WebhookChanged(client.ObjectKeyFromObject(w))
	b.Consistently(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation - 1))
	}, "300ms").Should(Succeed())
	let()
	b.observed(w)
}

// An event that was caught up counts as of when it happened.
func TestLateEventPassesByWebhooksThatCameAfterIt(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w")
	happened := func(ago time.Duration) func(*v1alpha1.WebhookEvent) {
		return func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(time.Now().Add(-ago)) }
	}
	b.event("late", happened(2*time.Minute))
	b.event("clock-behind", happened(5*time.Second))
	b.event("clock-ahead", happened(-time.Hour))
	b.event("expired", happened(73*time.Hour))
	late := b.settled("late", v1alpha1.EventUnmatched)
	b.Expect(late.Status.Unmatched[0].Reason).To(Equal(v1alpha1.UnmatchedCreatedLater))
	b.settled("clock-behind", v1alpha1.EventSucceeded)
	b.settled("clock-ahead", v1alpha1.EventSucceeded)
	b.settled("expired", v1alpha1.EventExpired)
}

// Nothing that was not delivered is ever Delivered, however it went.
func TestWhatGoesWhileItWaitsHasFailed(t *testing.T) {
	deleteRecords := func(b *testbed, _ *v1alpha1.Webhook) {
		for _, d := range b.deliveries() {
			b.Expect(client.IgnoreNotFound(b.client.Delete(b.ctx, &d))).To(Succeed()) // retention helps
		}
	}
	deleteAll := func(b *testbed, w *v1alpha1.Webhook) {
		b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
		deleteRecords(b, w) // as the garbage collector does
	}
	for name, tc := range map[string]struct {
		do      func(b *testbed, w *v1alpha1.Webhook)
		restart bool
	}{
		"a record by hand":                  {do: deleteRecords},
		"a record by hand, between leaders": {do: deleteRecords, restart: true},
		"a webhook":                         {do: deleteAll},
		"a webhook, between leaders":        {do: deleteAll, restart: true},
		"a webhook that is replaced": {do: func(b *testbed, w *v1alpha1.Webhook) {
			deleteAll(b, w)
			b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled }) // or it would get the event, too
		}},
		"a webhook that is replaced, between leaders": {restart: true, do: func(b *testbed, w *v1alpha1.Webhook) {
			deleteAll(b, w)
			b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled }) // or it would get the event, too
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.start()
			w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused })
			b.webhook("fine")
			b.event("e")
			b.settled("e", v1alpha1.EventWaiting)
			b.Eventually(func() int { return b.requests("fine") }).Should(Equal(1))
			b.Eventually(func(g Gomega) {
				g.Expect(b.settled("e", v1alpha1.EventWaiting).Status.Counts.Succeeded).To(BeEquivalentTo(1))
			}).Should(Succeed())
			if tc.restart {
				b.stop()
			}
			tc.do(b, w)
			if tc.restart {
				b.start()
			}
			e := b.settled("e", v1alpha1.EventFailed)
			b.Expect(e.Status.Counts).To(Equal(v1alpha1.DeliveryCounts{Succeeded: 1, Failed: 1}))
			c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDelivered)
			b.Expect(c.Status).To(Equal(metav1.ConditionFalse))
			b.Expect(c.Message).To(ContainSubstring("deleted before it was delivered"))
			b.Expect(b.requests("w")).To(BeZero(), "it is not sent to the new one")
		})
	}
}

// What a backup brings back was sent before.
func TestRestoredEventIsNotSentAgain(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("w")
	written := func(ago time.Duration) func(*v1alpha1.WebhookEvent) {
		return func(e *v1alpha1.WebhookEvent) {
			e.ManagedFields = []metav1.ManagedFieldsEntry{{
				Manager: "webhook-operator", Operation: metav1.ManagedFieldsOperationUpdate, Subresource: "status",
				APIVersion: v1alpha1.GroupVersion.String(), Time: new(metav1.NewTime(time.Now().Add(-ago))),
				FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:result":{}}}`),
			}}
		}
	}
	b.event("old", written(73*time.Hour))
	b.event("young", written(time.Hour))
	b.event("by-a-clock-that-is-behind", written(30*time.Second))
	b.settled("old", v1alpha1.EventExpired)
	b.settled("young", v1alpha1.EventUnmatched)
	b.settled("by-a-clock-that-is-behind", v1alpha1.EventSucceeded)
	b.stop() // what told of the restore is gone with the first status
	b.start()
	b.event("last")
	b.settled("last", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

// What an edit does not count for is not sent by the next leader either, nor where
// reading a Secret fails just after the edit.
func TestEventFromBeforeAnEditIsNotSentLater(t *testing.T) {
	b := newTestbed(t)
	var failing atomic.Bool
	b.start(on(http.MethodGet, "secrets", func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if failing.CompareAndSwap(true, false) {
			return answer(r, apierrors.NewInternalError(errors.New("a fault")))
		}
		return pass()
	}))
	b.Expect(b.client.Create(b.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "token"}, StringData: map[string]string{"token": "a-secret"},
	})).To(Succeed())
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.State = v1alpha1.WebhookDisabled
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "token"}
	})
	b.observed(w)
	b.event("before")
	b.settled("before", v1alpha1.EventUnmatched)
	failing.Store(true)
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
	b.observed(w)
	b.Expect(failing.Load()).To(BeFalse(), "the Secret was read")
	b.event("after")
	b.settled("after", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(1))
	b.stop()
	b.start()
	b.event("last")
	b.settled("last", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
	b.settled("before", v1alpha1.EventUnmatched)
}

// A record that is refused, and whose Webhook is deleted then, was not delivered.
func TestRefusedRecordOfADeletedWebhookHasFailed(t *testing.T) {
	b := newTestbed(t)
	b.start(creating(func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		return answer(r, apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource(), "d", errors.New("no room")))
	}))
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	w := b.webhook("w")
	b.event("e")
	b.Eventually(func(g Gomega) {
		e := b.settled("e", v1alpha1.EventPending)
		c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Reason).To(Equal(v1alpha1.ReasonRecordRefused))
	}).Should(Succeed())
	b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
	e := b.settled("e", v1alpha1.EventFailed)
	b.Expect(meta.IsStatusConditionFalse(e.Status.Conditions, v1alpha1.ConditionDelivered)).To(BeTrue())
}
