package controllers

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/controllers/webhook"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/test/object"
)

// steppedClock is a clock that can be put forward.
type steppedClock struct {
	clock.RealClock
	ahead atomic.Int64
}

func (c *steppedClock) step(by time.Duration)           { c.ahead.Add(int64(by)) }
func (c *steppedClock) Now() time.Time                  { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *steppedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// A Secret may come after its Webhook, as Flux and others apply them. Until it has been
// missing for two minutes, the Webhook is on its way.
func TestMissingSecretIsStalledAfterTwoMinutes(t *testing.T) {
	b := newTestbed(t)
	now := &steppedClock{}
	b.tune = func(op *operator) { op.webhooks.Clock = now }
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "value"}
	})
	late := b.webhook("late", func(w *v1alpha1.Webhook) { w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "late", Key: "value"} })
	is := func(w *v1alpha1.Webhook, want status.Status, present, absent string) {
		t.Helper()
		b.Eventually(func(g Gomega) {
			g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
			w.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Webhook"}
			g.Expect(object.Kstatus(t, w)).To(Equal(want))
			if present != "" {
				g.Expect(meta.IsStatusConditionTrue(w.Status.Conditions, present)).To(BeTrue())
			}
			g.Expect(meta.FindStatusCondition(w.Status.Conditions, absent)).To(BeNil())
		}).Should(Succeed())
	}
	touch := func(w *v1alpha1.Webhook) {
		b.edit(w, map[string]any{"metadata": map[string]any{"annotations": map[string]any{"example.com/at": now.Now().String()}}})
	}
	const reconciling, stalled = v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled
	is(w, status.InProgressStatus, reconciling, stalled)
	is(late, status.InProgressStatus, reconciling, stalled)

	// The controller comes back by itself when it is time, and not before.
	running := b.operator.webhooks
	again := &webhook.Reconciler{
		Client: running.Client, Clock: running.Clock, Recorder: running.Recorder, Ledger: running.Ledger, Events: running.Events,
		Enqueuer: running.Enqueuer, Queue: running.Queue, Receivers: running.Receivers, Credentials: running.Credentials,
		Rechecks: running.Rechecks, Generations: running.Generations, Rematches: running.Rematches,
		ClusterNote: running.ClusterNote,
	}
	b.Eventually(func(g Gomega) {
		result, err := again.Reconcile(b.ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(w)})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(result.RequeueAfter).To(And(BeNumerically(">", time.Minute), BeNumerically("<=", 2*time.Minute)))
	}).Should(Succeed())
	now.step(time.Minute)
	touch(w)
	is(w, status.InProgressStatus, reconciling, stalled)
	b.secret("late", map[string]string{"value": "s3cr3t-t0ken"})
	b.edit(late, map[string]any{"spec": map[string]any{"description": "look now"}})
	is(late, status.CurrentStatus, "", reconciling)

	now.step(time.Minute)
	touch(w)
	is(w, status.FailedStatus, stalled, reconciling)
	b.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation))
	b.Eventually(func(g Gomega) { // it comes back at once where its cache lags behind
		result, err := again.Reconcile(b.ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(w)})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(result.RequeueAfter).To(BeZero())
	}).Should(Succeed())

	// Another try is given the same time; then it comes.
	b.edit(w, map[string]any{"spec": map[string]any{"secretRef": map[string]any{"name": "another"}}})
	is(w, status.InProgressStatus, reconciling, stalled)
	b.secret("another", map[string]string{"value": "s3cr3t-t0ken"})
	is(w, status.CurrentStatus, "", reconciling)
	b.Expect(meta.FindStatusCondition(w.Status.Conditions, stalled)).To(BeNil())
}

// secretReads are the reads of Secrets by name.
type secretReads struct {
	client.Reader
	mu sync.Mutex
	at map[string][]time.Time
}

func (r *secretReads) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, ok := o.(*corev1.Secret); ok {
		r.mu.Lock()
		r.at[key.Name] = append(r.at[key.Name], time.Now())
		r.mu.Unlock()
	}
	return r.Reader.Get(ctx, key, o, opts...)
}

// again is how many Secrets were read a second time, and how many second reads there
// were within one second.
func (r *secretReads) again() (secrets, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var reads []time.Time
	for _, at := range r.at {
		reads = append(reads, at[1:]...)
		if len(at) > 1 {
			secrets++
		}
	}
	for _, from := range reads {
		n := 0
		for _, at := range reads {
			if d := at.Sub(from); d >= 0 && d < time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return secrets, most
}

// Many Webhooks that lack their Secret, with deliveries that wait for it, do not make
// as many reads.
func TestMissingSecretsAreLookedForWithinABound(t *testing.T) {
	const webhooks = 150
	b := newTestbed(t)
	reads := &secretReads{at: map[string][]time.Time{}}
	b.tune = func(op *operator) {
		reads.Reader = op.deliveries.APIReader
		counted := credentials.NewReader(reads, op.deliveries.Clock)
		counted.Rechecks = op.deliveries.Credentials.Rechecks
		op.deliveries.Credentials, op.webhooks.Credentials = counted, counted
	}
	b.start()
	for i := range webhooks {
		b.webhook(fmt.Sprint("w", i), func(w *v1alpha1.Webhook) {
			w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: w.Name, Key: "value"}
		})
	}
	b.event("e")
	b.settled("e", v1alpha1.EventWaiting)
	b.Eventually(func() int { n, _ := reads.again(); return n }).Should(Equal(webhooks))
	_, most := reads.again()
	b.Expect(most).To(BeNumerically("<=", 30), "20 a second, a few at once, and a busy machine")

	// What is new does not wait for the others.
	b.secret("new", map[string]string{"value": "s3cr3t-t0ken"})
	began := time.Now()
	w := b.webhook("new", func(w *v1alpha1.Webhook) { w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "new", Key: "value"} })
	b.ready(w, metav1.ConditionTrue, v1alpha1.ReasonUsable)
	b.Expect(time.Since(began)).To(BeNumerically("<", 5*time.Second))
}
