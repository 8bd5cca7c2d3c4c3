package cli

import (
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func TestTest(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) {
		s.State, s.Triggers, s.Retry.Limit = v1alpha1.WebhookPaused, []v1alpha1.Trigger{"members_created"}, new(int32(0))
	})
	edith := b.as("edith", "edit")
	b.Eventually(func() int { return edith.run("logs").code }).Should(Equal(0), "the role edit is aggregated")

	out := edith.mustRun("test", "smoke-tests", "--wait")
	b.Expect(out).To(And(HavePrefix("Delivered"), ContainSubstring("kubectl horizon log smoke-tests-")))
	b.Expect(b.Receiver.Arrivals("/smoke-tests")).To(HaveLen(1))
	b.Expect(b.Receiver.Arrivals("/smoke-tests")[0].Header.Get("X-Horizon-Webhook-Test")).To(Equal("true"))
	var w v1alpha1.Webhook
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "smoke-tests"}, &w)).To(Succeed())
	b.Expect(w.Annotations[v1alpha1.AnnotationTest]).To(MatchRegexp(`^20\d\d-.*Z/edith$`))

	b.Receiver.Script("/smoke-tests", receiver.Answer{Status: http.StatusTeapot})
	r := edith.run("test", "smoke-tests", "--wait")
	b.Expect(r.code).To(Equal(exitUnmet), r.err)
	b.Expect(r.out).To(And(HavePrefix("Failed"), ContainSubstring("418")))

	b.Expect(edith.mustRun("test", "smoke-tests")).To(HavePrefix("A test of smoke-tests is asked for."))
	b.Eventually(func() int { return len(b.Receiver.Arrivals("/smoke-tests")) }).Should(Equal(3))
	missing := edith.run("test", "nothing")
	b.Expect(missing.code).To(Equal(exitError))
	b.Expect(missing.err).To(ContainSubstring("there is no webhook nothing in the namespace "))

	// What is tried again is told meanwhile, and is not delivered when the time is over.
	b.Webhook("chat")
	b.Receiver.Script("/chat", receiver.Answer{Status: http.StatusBadGateway})
	r = edith.run("test", "chat", "--wait", "--timeout", "3s")
	b.Expect(r.code).To(Equal(exitUnmet), r.err)
	b.Expect(r.err).To(ContainSubstring("502"))
	b.Expect(r.out).To(HavePrefix("Waiting"))
}

// Where no operator works, a test says so when its time is over.
func TestTestWithoutOperator(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	b.Eventually(func(g Gomega) {
		var w v1alpha1.Webhook
		g.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "smoke-tests"}, &w)).To(Succeed())
		g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation))
	}).Should(Succeed())
	b.Expect(suite.Operator.Pause()).To(Succeed())
	t.Cleanup(func() { b.Expect(suite.Operator.Resume()).To(Succeed()) })
	r := b.run("test", "smoke-tests", "--wait", "--timeout", "1s")
	b.Expect(r.code).To(Equal(exitUnmet), r.err)
	b.Expect(r.out).To(MatchRegexp(`^No test delivery of smoke-tests was made within 1s\. .*operator.*\.\n$`))
}

func TestReplay(t *testing.T) {
	b := newBed(t)
	b.Event(1)
	b.Event(2, func(s *v1alpha1.WebhookEventSpec) { s.EventType = "members_created" })
	b.Event(3)
	// A Webhook that was created later follows neither.
	b.Eventually(func() string {
		return time.Now().Format(time.TimeOnly)
	}).ShouldNot(Equal(time.Now().Format(time.TimeOnly)))
	w := b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) {
		s.State, s.Triggers = v1alpha1.WebhookDisabled, []v1alpha1.Trigger{"clusters_*"}
	})
	b.Expect(b.mustRun("replay", "smoke-tests")).To(Equal("smoke-tests has had no replay; --since begins one.\n"))
	b.Expect(b.mustRun("replay", "smoke-tests", "--cancel")).To(Equal("smoke-tests has no replay.\n"))
	b.Expect(b.run("replay", "smoke-tests", "--wait").code).To(Equal(exitUsage))
	b.Expect(b.run("replay", "smoke-tests", "--since", "1h", "--cancel").code).To(Equal(exitUsage))
	b.Expect(b.run("replay", "smoke-tests", "--since", time.Now().Add(time.Hour).Format(time.RFC3339)).code).To(Equal(exitUsage))

	// While it is Disabled, the replay waits. Ctrl-C ends the watching only.
	r := b.start("replay", "smoke-tests", "--since", "1h", "--wait")
	b.Eventually(r.err.String).ShouldNot(BeEmpty())
	b.Expect(r.interrupt(b)).To(Equal(exitUnmet))
	b.Expect(r.err.String()).To(ContainSubstring("No longer watching. The replay goes on"))
	b.Expect(b.mustRun("replay", "smoke-tests")).To(HavePrefix("Waiting: since 20"))
	b.Expect(b.mustRun("replay", "smoke-tests", "--cancel")).To(ContainSubstring("is stopped"))
	b.Eventually(func() string { return b.mustRun("replay", "smoke-tests") }).Should(HavePrefix("Stopped"))

	b.Expect(b.Client.Get(b.Ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
	w.Spec.State = v1alpha1.WebhookEnabled
	b.Expect(b.Client.Update(b.Ctx, w)).To(Succeed())
	since := time.Now().Add(-2 * time.Hour).UTC().Format(time.RFC3339)
	b.Expect(b.mustRun("replay", "smoke-tests", "--since", since, "--wait")).To(MatchRegexp(`Completed: since ` + since + `, 2 events found, 2 sent, ended 20`))
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/smoke-tests") }).Should(ConsistOf("1", "3"))

	// The same time once more is another value: what is there already is not sent again.
	b.Expect(b.mustRun("replay", "smoke-tests", "--since", since, "--wait")).To(ContainSubstring("0 events found"))
	b.Consistently(func() []string { return eventIDs(b.Receiver, "/smoke-tests") }, time.Second).Should(HaveLen(2))
}
