package e2e

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// replaying makes the events of a number while a Webhook is Disabled, enables that, and
// asks for a replay.
func (s *scene) replaying(events int) *v1alpha1.Webhook {
	s.Helper()
	w := s.webhook("late", func(spec *v1alpha1.WebhookSpec) { spec.State = v1alpha1.WebhookDisabled })
	s.Eventually(func(g Gomega) {
		g.Expect(suite.client.Get(s.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation))
	}).Should(Succeed())
	for id := range int64(events) {
		s.event(id + 1)
	}
	s.eventResults(map[v1alpha1.EventResult]int{v1alpha1.EventUnmatched: events})
	s.kubectl("patch", "webhook", w.Name, "--type=merge", `-p={"spec":{"state":"Enabled"}}`)
	s.kubectl("annotate", "webhook", w.Name, v1alpha1.AnnotationReplaySince+"="+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))
	return w
}

func (s *scene) eventResults(want map[v1alpha1.EventResult]int) {
	s.Helper()
	s.Eventually(func() map[v1alpha1.EventResult]int {
		var list v1alpha1.WebhookEventList
		s.Expect(suite.client.List(s.ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
		count := map[v1alpha1.EventResult]int{}
		for _, e := range list.Items {
			count[e.Status.Result]++
		}
		return count
	}, patience, time.Second).Should(Equal(want))
}

// A process that is killed in the middle of a replay leaves nothing out, and nothing is in
// store twice.
func TestReplayGoesOnWhenTheOperatorIsKilled(t *testing.T) {
	const events = 300
	s := newScene(t)
	s.receiver.Script("/late", receiver.Answer{Delay: 50 * time.Millisecond})
	w := s.replaying(events)
	kills := []int{events / 10, events / 2, events - events/10}
	for _, n := range kills {
		s.arrive("/late", n)
		s.Expect(suite.operator.Kill()).To(Succeed())
		restart(s)
	}
	s.Eventually(func(g Gomega) {
		g.Expect(suite.client.Get(s.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.Replay).NotTo(BeNil())
		g.Expect(w.Status.Replay.State).To(Equal(v1alpha1.ReplayCompleted))
	}, patience, time.Second).Should(Succeed())
	s.Expect(w.Status.Replay.Sent).To(Equal(int32(events)))
	s.Expect(w.Status.Replay.Found).To(Equal(int32(events)))
	stored := map[string]int{}
	for _, d := range s.records("late") {
		stored[d.Spec.EventRef.Name]++
	}
	s.Expect(stored).To(HaveLen(events))
	s.Expect(stored).To(HaveEach(1))
	s.eventResults(map[v1alpha1.EventResult]int{v1alpha1.EventSucceeded: events})
	var list v1alpha1.WebhookEventList
	s.Expect(suite.client.List(s.ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
	for _, e := range list.Items {
		s.Expect(e.Status.Unmatched).To(BeEmpty(), e.Name)
	}
	total := s.receiver.Total()
	t.Logf("%d kills: %d events, %d duplicates", len(kills), events, total.Duplicates)
	s.Expect(total.Duplicates).To(BeNumerically("<=", len(kills)*inFlight), "one for each request under way at a kill")
	s.Expect(total.Accepted).To(Equal(events))
}

// A process that is killed while tests are asked for makes one delivery of each.
func TestTestDeliveryWhenTheOperatorIsKilled(t *testing.T) {
	const webhooks = 20
	s := newScene(t)
	for i := range webhooks {
		s.webhook(fmt.Sprintf("hook-%d", i), nil)
	}
	var asked atomic.Int32
	done := make(chan error, 1)
	go func() {
		for i := range webhooks {
			w := newWebhook(s.namespace, fmt.Sprintf("hook-%d", i), "")
			patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"one"}}}`, v1alpha1.AnnotationTest))
			if err := suite.client.Patch(s.ctx, w, patch); err != nil {
				done <- err
				return
			}
			asked.Add(1)
		}
		done <- nil
	}()
	for _, n := range []int32{3, 10, 17} {
		s.Eventually(asked.Load, patience, time.Millisecond).Should(BeNumerically(">=", n))
		s.Expect(suite.operator.Kill()).To(Succeed())
		restart(s)
	}
	s.Expect(<-done).To(Succeed())
	s.Eventually(func() []v1alpha1.DeliveryResult { return results(s.records("")) }, patience, time.Second).Should(
		And(HaveLen(webhooks), HaveEach(v1alpha1.DeliverySucceeded)))
	for i := range webhooks {
		w := &v1alpha1.Webhook{}
		key := client.ObjectKey{Namespace: s.namespace, Name: fmt.Sprintf("hook-%d", i)}
		s.Eventually(func(g Gomega) {
			g.Expect(suite.client.Get(s.ctx, key, w)).To(Succeed())
			g.Expect(w.Status.LastTest).NotTo(BeNil())
			g.Expect(w.Status.LastTest.Delivery).NotTo(BeEmpty())
		}).Should(Succeed())
		s.Expect(s.records(w.Name)[0].Name).To(Equal(w.Status.LastTest.Delivery))
		s.Expect(ids(s.receiver.Arrivals("/" + w.Name))).To(HaveLen(1))
	}
}
