package cli

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/test/operator"
)

// ask runs why and returns what it answers about what was asked.
func (b *bed) ask(args []string) (insight.Finding, string) {
	b.Helper()
	r := b.run(append([]string{"why", "-o", "json"}, args...)...)
	if r.code != 0 {
		return insight.Finding{Message: r.err}, r.err
	}
	var f insight.Finding
	b.Expect(json.Unmarshal([]byte(r.out), &f)).To(Succeed(), r.out)
	return f, r.out
}

// explains waits until why names a cause.
func (b *bed) explains(args []string, reason, message string) {
	b.Helper()
	b.Eventually(func(g Gomega) {
		f, all := b.ask(args)
		g.Expect(f.Reason).To(Equal(reason), all)
		g.Expect(f.Message).To(ContainSubstring(message), all)
	}).Should(Succeed())
}

// Each situation is brought about on the real API server, by the real operator, and
// explained to somebody who may only view the namespace. Then its cause is taken away, and
// why must not name it any more.
func TestWhyNamesTheCause(t *testing.T) {
	all := map[string]situation{}
	for _, some := range []map[string]situation{followed(), sent(), held(), removed(), expressions()} {
		maps.Copy(all, some)
	}
	for name, s := range all {
		t.Run(name, func(t *testing.T) { s.test(newBed(t)) })
	}
	for name := range slots(nil) {
		t.Run(name, func(t *testing.T) { slots(make(chan struct{}))[name].test(newBed(t)) })
	}
}

func (s situation) test(b *bed) {
	b.Helper()
	viewer := b.as("viewer", "view")
	args := s.make(b)
	viewer.explains(args, s.reason, s.message)
	if other := s.change(b); other != nil {
		args = other
	}
	viewer.explains(args, s.then, s.thenMessage)
	if s.reason == s.then && s.message == s.thenMessage {
		b.Error("nothing has changed")
	}
}

// Nobody works: the operator is stopped, and started again.
func TestWhyWithoutOperator(t *testing.T) {
	b := newBed(t)
	viewer := b.as("viewer", "view")
	b.Webhook("w", func(s *v1alpha1.WebhookSpec) { s.TimeoutSeconds = 1 })
	b.Delivery("w", b.Event(1), v1alpha1.DeliverySucceeded)
	b.Expect(suite.Operator.Stop()).To(Succeed())
	t.Cleanup(func() { startOperator(t) })

	e := b.Event(2)
	viewer.explains(at(e), insight.ReasonNotObserved, "no operator has recorded anything about the event since")
	b.past(e, 12*time.Second)
	viewer.explains(at(e), insight.ReasonNoOperator, "no operator works: no operator has recorded anything about the event since")
	_, answer := viewer.ask(at(e))
	b.Expect(answer).To(ContainSubstring("you may not read the lease"))

	// An administrator may look at the lease.
	lease := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: insight.DefaultSystemNamespace, Name: insight.LeaseName},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: new("pod_1"), LeaseDurationSeconds: new(int32(15)), RenewTime: &metav1.MicroTime{Time: time.Now().Add(-time.Minute)},
		},
	}
	b.Expect(b.Client.Create(b.Ctx, lease)).To(Succeed())
	t.Cleanup(func() { _ = b.Client.Delete(context.Background(), lease) })
	b.explains(at(e), insight.ReasonNoOperator, "pod_1 held the lease last")
	lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &metav1.MicroTime{Time: time.Now()}, new(int32(3600))
	b.Expect(b.Client.Update(b.Ctx, lease)).To(Succeed())
	b.explains(at(e), insight.ReasonNotObserved, "but one works (pod_1 holds the lease")
	b.Expect(b.Client.Delete(b.Ctx, lease)).To(Succeed())

	// An edit that nobody has looked at.
	b.spec(func(s *v1alpha1.WebhookSpec) { s.Description = "edited" })
	viewer.explains([]string{"webhook/w"}, insight.ReasonNotObserved, "the webhook as it was last edited")

	startOperator(t)
	viewer.explains(at(e), delivered, "answered 200 OK")
	viewer.explains([]string{"webhook/w"}, delivered, "the webhook can be sent to")
}

// startOperator starts the suite's operator again if it has ended.
func startOperator(t *testing.T) {
	t.Helper()
	if suite.Operator.State() == "" {
		return
	}
	var err error
	suite.Operator, err = operator.Start(context.Background(), operator.Options{
		Binary: filepath.Join(suite.ControlPlane.Dir(), "webhook-operator"), Kubeconfig: suite.Install.Kubeconfig,
		Log: filepath.Join(suite.ControlPlane.Dir(), "operator.log"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a person may not read is named, and the rest told.
func TestWhyWithoutPermission(t *testing.T) {
	b := newBed(t)
	b.Webhook("w")
	b.Webhook("x", func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"members_*"} })
	b.known()
	e := b.Event(1)
	b.Delivery("w", e, v1alpha1.DeliverySucceeded)
	b.dispatched(e)

	resender := b.as("resender", "horizon-delivery-resender")
	resender.explains([]string{"event/" + e.Name}, insight.ReasonNotPermitted, "you may not read webhookevents of the namespace "+b.Namespace)
	var answer insight.Event
	_, out := resender.ask([]string{"event/" + e.Name})
	b.Expect(json.Unmarshal([]byte(out), &answer)).To(Succeed())
	b.Expect(answer.Webhooks).To(HaveLen(1))
	b.Expect(answer.Webhooks[0].Reason).To(Equal(delivered))

	nobody := b.as("nobody")
	r := nobody.run("why", "event/"+e.Name)
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("You need the role view (or horizon-webhook-viewer) in the namespace " + b.Namespace))

	creator := b.as("creator", "horizon-event-creator")
	creator.explains([]string{"event/" + e.Name}, insight.ReasonNotPermitted, "unknown of 1 webhook, 1 webhook does not follow it")
	_, out = creator.ask([]string{"event/" + e.Name})
	b.Expect(out).To(And(
		ContainSubstring("you may not read webhooks of the namespace "+b.Namespace),
		ContainSubstring("you may not read webhookdeliveries of the namespace "+b.Namespace)))
}

// Webhooks of the system namespace are told of to whoever may read them.
func TestWhyOfTheSystemNamespace(t *testing.T) {
	b := newBed(t)
	w := &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: insight.DefaultSystemNamespace, Name: "audit-" + b.Namespace},
		Spec:       v1alpha1.WebhookSpec{URL: b.Receiver.URL("/audit"), Triggers: []v1alpha1.Trigger{"pipelineruns_*"}},
	}
	b.Expect(b.Client.Create(b.Ctx, w)).To(Succeed())
	t.Cleanup(func() { _ = b.Client.Delete(context.Background(), w) })
	e := b.Event(1, func(s *v1alpha1.WebhookEventSpec) { s.EventType = "pipelineruns_executed" })
	b.explains([]string{e.Name, "--webhook", w.Name}, delivered, "answered 200 OK")
	_, out := b.ask([]string{e.Name})
	b.Expect(out).To(ContainSubstring(`"namespace": "` + insight.DefaultSystemNamespace + `"`))

	viewer := b.as("viewer", "view")
	viewer.explains([]string{e.Name}, insight.ReasonNoWebhooks, "there is no webhook")
	_, out = viewer.ask([]string{e.Name})
	b.Expect(out).To(ContainSubstring("webhooks of the namespace horizon-webhooks, which follow the events of every namespace, are not told of"))
	b.Expect(strings.Contains(out, w.Name)).To(BeFalse())
}

// An event's status names 50 deliveries; why tells of all.
func TestWhyOfManyWebhooks(t *testing.T) {
	b := newBed(t)
	const many = 55
	for i := range many {
		b.Webhook("w"+string(rune('a'+i/26))+string(rune('a'+i%26)), nil)
	}
	e := b.Event(1)
	b.Eventually(func(g Gomega) {
		_, out := b.ask([]string{e.Name})
		var answer insight.Event
		g.Expect(json.Unmarshal([]byte(out), &answer)).To(Succeed())
		g.Expect(answer.Webhooks).To(HaveLen(many))
		for _, row := range answer.Webhooks {
			g.Expect(row.Reason).To(Equal(delivered), row.Webhook.Name)
		}
	}).Should(Succeed())
}

func TestWhyOfWebhook(t *testing.T) {
	for name, s := range map[string]situation{
		"well": {
			make: func(b *bed) []string { b.Webhook("w"); return []string{"w"} }, reason: "NothingSent", message: "the webhook can be sent to",
			change: func(b *bed) []string { b.Event(1); return nil }, then: delivered,
		},
		"not ready": {
			make: func(b *bed) []string { b.Webhook("w", named); return []string{"w"} }, reason: "NotReady", message: "SecretNotFound",
			change: func(b *bed) []string { b.spec(func(s *v1alpha1.WebhookSpec) { s.SecretRef = nil }); return nil }, then: "NothingSent",
		},
		"paused": {
			make: func(b *bed) []string { b.Webhook("w", stateOf(v1alpha1.WebhookPaused)); return []string{"w"} }, reason: "Paused", message: "Paused",
			change: func(b *bed) []string { b.enable(); return nil }, then: "NothingSent",
		},
		"failing": {
			make: func(b *bed) []string {
				b.script("500")
				b.Webhook("w")
				b.Event(1)
				return []string{"webhook/w"}
			},
			reason: "Failing", message: "the last attempt failed: answered 500",
			change: func(b *bed) []string { b.script("200"); b.mended(); return nil }, then: delivered,
		},
	} {
		t.Run(name, func(t *testing.T) { s.test(newBed(t)) })
	}
}

// What waits for a Webhook is counted, and those that are due first are named.
func TestWhyOfWebhookThatWaits(t *testing.T) {
	b := newBed(t)
	b.Webhook("w", stateOf(v1alpha1.WebhookPaused))
	for id := range int64(insight.MaxWaiting + 2) {
		b.Event(id + 1)
	}
	b.Eventually(func(g Gomega) {
		_, out := b.ask([]string{"w"})
		var answer insight.Webhook
		g.Expect(json.Unmarshal([]byte(out), &answer)).To(Succeed())
		g.Expect(answer.Count).To(Equal(insight.WaitingCount{Due: insight.MaxWaiting + 2}))
		g.Expect(answer.Waiting).To(HaveLen(insight.MaxWaiting))
		g.Expect(answer.Waiting[0].Reason).To(Equal("Paused"))
	}).Should(Succeed())
	b.Expect(b.mustRun("why", "w")).To(ContainSubstring("12 deliveries wait: 12 due."))
}

// counted counts the requests of a reader.
type counted struct {
	client.Reader
	requests int
}

func (c *counted) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	c.requests++
	return c.Reader.Get(ctx, key, o, options...)
}

func (c *counted) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	c.requests++
	return c.Reader.List(ctx, list, options...)
}

// An answer takes as many requests as the comments say, however much there is.
func TestWhyMakesFewRequests(t *testing.T) {
	b := newBed(t)
	b.Webhook("w", stateOf(v1alpha1.WebhookPaused))
	for id := range int64(insight.MaxWaiting + 5) {
		e := b.Event(id + 1)
		b.Delivery("w", e, v1alpha1.DeliveryWaiting)
		b.dispatched(e)
	}
	b.Webhook("x", func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"members_*"} })
	from := &counted{Reader: b.Client}
	reader := &insight.Reader{Client: from, Now: time.Now}
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: b.Namespace, Name: name} }
	_, err := reader.Event(b.Ctx, key("horizon-1"), "")
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(from.requests).To(Equal(5))
	b.Eventually(func(g Gomega) {
		from.requests = 0
		_, err = reader.Webhook(b.Ctx, key("w"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(from.requests).To(Equal(2 + insight.MaxWaiting))
	}).Should(Succeed())
}
