package controllers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// inEnv makes an event of a cluster in an environment.
func inEnv(env string) func(*v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) { e.Spec.Cluster.Env = env }
}

func filter(text string) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.Filter = text }
}

func template(text string) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.Payload = &v1alpha1.PayloadSettings{Template: text} }
}

func editTemplate(text string) map[string]any {
	return map[string]any{"spec": map[string]any{"payload": map[string]any{"template": text}}}
}

// deliveryOf returns the delivery of an event to a Webhook, once it has a result.
func (b *testbed) deliveryOf(w *v1alpha1.Webhook, event string, result v1alpha1.DeliveryResult) *v1alpha1.WebhookDelivery {
	b.t.Helper()
	var of v1alpha1.WebhookDelivery
	b.Eventually(func(g Gomega) {
		for _, d := range b.deliveriesOf(w) {
			if d.Spec.EventRef.Name == event {
				of = d
			}
		}
		g.Expect(of.Status.Result).To(Equal(result), "%+v", of.Status)
	}).Should(Succeed())
	return &of
}

func deliveredReason(d *v1alpha1.WebhookDelivery) string {
	return meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Reason
}

// What a filter says false to passes by, with the reason in the event's status.
func TestFilter(t *testing.T) {
	b := newTestbed(t)
	b.start()
	online := b.webhook("online", filter(`event.cluster.env == "online"`))
	all := b.webhook("all")
	b.observed(online)
	b.observed(all)
	b.event("on", inEnv("online"))
	b.event("off", inEnv("dev"))
	b.event("member", func(e *v1alpha1.WebhookEvent) {
		e.Spec.EventType, e.Spec.Cluster, e.Spec.Member = "members_created", nil, &v1alpha1.MemberInfo{ID: new(int64(1))}
	})
	b.settled("on", v1alpha1.EventSucceeded)
	for _, name := range []string{"off", "member"} {
		e := b.settled(name, v1alpha1.EventSucceeded)
		b.Expect(e.Status.Unmatched).To(HaveExactElements(And(
			HaveField("Reason", v1alpha1.UnmatchedFilter), HaveField("Message", ""), HaveField("Webhooks", HaveExactElements("online")))))
	}
	b.Expect(b.requests("online")).To(Equal(1))
	b.Expect(b.requests("all")).To(Equal(3))
}

// A filter that does not compile follows nothing and says where the mistake is; once it is
// mended, a replay brings exactly what matches and was not sent, also after a restart.
func TestFilterThatDoesNotCompile(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", filter(`event.cluster.env == "online"`))
	b.observed(w)
	b.event("before", inEnv("online"))
	b.settled("before", v1alpha1.EventSucceeded)

	b.edit(w, map[string]any{"spec": map[string]any{"filter": `event.cluster.enw == "online"`}})
	began := time.Now()
	message := b.ready(w, metav1.ConditionFalse, v1alpha1.ReasonFilterInvalid)
	b.Expect(time.Since(began)).To(BeNumerically("<", 2*time.Second))
	b.Expect(message).To(HavePrefix("spec.filter does not compile:\n1:15: "))
	b.Expect(message).To(And(ContainSubstring("enw"), ContainSubstring("\n  | event.cluster.enw == \"online\"\n"), ContainSubstring("^")))
	b.Eventually(b.kubernetesEvents).Should(ContainElement(HaveField("Reason", v1alpha1.ReasonFilterInvalid)))
	for i := range 3 {
		b.event(fmt.Sprintf("on%d", i), inEnv("online"))
		b.event(fmt.Sprintf("off%d", i), inEnv("dev"))
	}
	for i := range 3 {
		e := b.settled(fmt.Sprintf("on%d", i), v1alpha1.EventUnmatched)
		b.Expect(e.Status.Unmatched).To(HaveExactElements(And(
			HaveField("Reason", v1alpha1.UnmatchedFilterInvalid), HaveField("Message", ContainSubstring("1:15: ")),
			HaveField("Webhooks", HaveExactElements("w")))))
		b.settled(fmt.Sprintf("off%d", i), v1alpha1.EventUnmatched)
	}
	b.stop()
	b.start()
	b.event("meanwhile", inEnv("dev"))
	b.settled("meanwhile", v1alpha1.EventUnmatched) // it works: what an edit finds from before it is left alone
	b.edit(w, map[string]any{"spec": map[string]any{"filter": `event.cluster.env == "online"`}})
	b.ready(w, metav1.ConditionTrue, v1alpha1.ReasonUsable)
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	status := b.replayed(w, v1alpha1.ReplayCompleted)
	b.Expect(status.Sent).To(Equal(int32(3)), "%+v", status)
	b.allSettled("on", 3, v1alpha1.EventSucceeded)
	b.allSettled("off", 3, v1alpha1.EventUnmatched)
	b.Expect(b.requests("w")).To(Equal(4))
}

// What is stored already goes on while the filter does not compile.
func TestStoredDeliveriesGoOnWithoutAFilter(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.Answer{Status: http.StatusServiceUnavailable}, receiver.Answer{Status: http.StatusOK})
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 3 })
	b.observed(w)
	b.event("a")
	b.deliveryOf(w, "a", v1alpha1.DeliveryWaiting)
	b.edit(w, map[string]any{"spec": map[string]any{"filter": "event.nothing"}})
	b.ready(w, metav1.ConditionFalse, v1alpha1.ReasonFilterInvalid)
	d := b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
	b.resend(d, "once more")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(3))
}

// A filter that fails for an event sends nothing on a doubt: the event says so with the
// message of the first Webhook by name, the Webhook says so until it is edited, and a
// metric counts it.
func TestFilterThatFails(t *testing.T) {
	b := newTestbed(t)
	b.start()
	text := `json(event.extra).level > 3`
	w := b.webhook("w", filter(text))
	b.webhook("a", filter("1 / (event.eventID - event.eventID) == 1"))
	b.observed(w)
	b.event("good", func(e *v1alpha1.WebhookEvent) { e.Spec.Extra = `{"level": 4}` })
	b.event("bad", func(e *v1alpha1.WebhookEvent) { e.Spec.Extra = `level 4` })
	b.settled("good", v1alpha1.EventSucceeded)
	e := b.settled("bad", v1alpha1.EventUnmatched)
	b.Expect(e.Status.Unmatched).To(HaveExactElements(And(
		HaveField("Reason", v1alpha1.UnmatchedFilterError), HaveField("Count", int32(2)),
		HaveField("Message", ContainSubstring("zero")), HaveField("Webhooks", HaveExactElements("a", "w")))))
	failing := func() *metav1.Condition {
		b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		return meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionFilterFailing)
	}
	b.Eventually(failing).Should(And(HaveField("Status", metav1.ConditionTrue), HaveField("Message", ContainSubstring("the event bad"))))
	b.Expect(b.metrics()["expression_failures_total{expression=filter}"]).To(BeNumerically(">=", 2))
	b.stop()
	b.start()
	b.Consistently(failing, "1s").ShouldNot(BeNil(), "whoever takes over keeps it")
	b.edit(w, map[string]any{"spec": map[string]any{"filter": "true"}})
	b.Eventually(failing).Should(BeNil())
	b.annotate(w, v1alpha1.AnnotationReplaySince, anHourAgo())
	b.Expect(b.replayed(w, v1alpha1.ReplayCompleted).Sent).To(Equal(int32(1)))
	b.settled("bad", v1alpha1.EventSucceeded)
}

// A template makes the body, which is signed and recorded as it was sent; the event stays
// in spec.payload.
func TestTemplate(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.secret("token", map[string]string{"token": "t0ken-of-the-receiver"})
	w := b.webhook("w", template(`{"text": event.cluster.name + " in " + event.cluster.env, "path": event.resourcePath, "id": delivery.id}`),
		func(w *v1alpha1.Webhook) {
			w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "token"}
		})
	b.observed(w)
	b.event("a")
	d := b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
	got := b.receiver.Arrivals("/w")[0]
	b.Expect(string(got.Body)).To(Equal(fmt.Sprintf(
		`{"id":%q,"path":"/music/player/web/web-prod","text":"web-prod in online"}`, got.Header.Get("webhook-id"))))
	b.Expect(got.Header.Get("Content-Type")).To(Equal("application/json;charset=utf-8"))
	b.Expect(b.verifies("t0ken-of-the-receiver", got)).To(BeTrue())
	b.Expect(d.Status.Request.Body).To(Equal(string(got.Body)))
	b.Expect(d.Spec.Payload).To(ContainSubstring(`"eventType":"clusters_deployed"`))
}

// In Horizon's format a record grows by nothing, and the body is spec.payload.
func TestRecordOfHorizonsFormat(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Payload = &v1alpha1.PayloadSettings{} })
	b.observed(w)
	b.event("a")
	d := b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
	b.Expect(string(b.receiver.Arrivals("/w")[0].Body)).To(Equal(d.Spec.Payload))
	b.Expect(d.Status.Request.Body).To(BeEmpty())
}

func TestCloudEvents(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.secret("token", map[string]string{"token": "t0ken-of-the-receiver"})
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.Payload = &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadCloudEvents}
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "token"}
	})
	b.observed(w)
	e := b.event("a", func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.Now() })
	d := b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
	got := b.receiver.Arrivals("/w")[0]
	b.Expect(got.Header.Get("Content-Type")).To(Equal("application/cloudevents+json"))
	b.Expect(got.Header.Get(tokenHeader)).To(Equal("t0ken-of-the-receiver"))
	b.Expect(b.verifies("t0ken-of-the-receiver", got)).To(BeTrue())
	var event map[string]any
	b.Expect(json.Unmarshal(got.Body, &event)).To(Succeed())
	data, err := json.Marshal(event["data"])
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(data).To(MatchJSON(d.Spec.Payload))
	delete(event, "data")
	b.Expect(event).To(Equal(map[string]any{
		"specversion": "1.0", "id": got.Header.Get("webhook-id"), "source": "/horizon/" + b.namespace,
		"type": "io.horizoncd.clusters_deployed", "subject": "/music/player/web/web-prod",
		"time": e.Spec.Time.UTC().Format(time.RFC3339), "datacontenttype": "application/json",
	}))
}

// Deliveries wait for a template, or a rule, that does not compile, and come once it is
// mended, also after a restart; nothing is lost meanwhile, and a resend waits as well.
func TestDeliveriesWaitForAnExpression(t *testing.T) {
	for name, tc := range map[string]struct {
		wrong, right map[string]any
		reason       string
		says         string
	}{
		"template": {
			editTemplate("{\n  \"text\": event.clutser.name\n}"), editTemplate(`{"text": event.cluster.name}`),
			v1alpha1.ReasonPayloadInvalid, "spec.payload.template does not compile:\n2:17: ",
		},
		"acceptIf": {
			map[string]any{"spec": map[string]any{"response": map[string]any{"acceptIf": "respons.statusCode == 200"}}},
			map[string]any{"spec": map[string]any{"response": map[string]any{"acceptIf": "response.statusCode == 200"}}},
			v1alpha1.ReasonResponseRuleInvalid, "spec.response.acceptIf does not compile:\n1:1: ",
		},
		"giveUpIf": {
			map[string]any{"spec": map[string]any{"response": map[string]any{"giveUpIf": "response.statusCode"}}},
			map[string]any{"spec": map[string]any{"response": map[string]any{"giveUpIf": "response.statusCode == 400"}}},
			v1alpha1.ReasonResponseRuleInvalid, "spec.response.giveUpIf does not compile:\n1:",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.start()
			w := b.webhook("w")
			b.observed(w)
			b.event("sent")
			sent := b.deliveryOf(w, "sent", v1alpha1.DeliverySucceeded)
			b.edit(w, tc.wrong)
			b.Expect(b.ready(w, metav1.ConditionFalse, tc.reason)).To(HavePrefix(tc.says))
			b.event("a")
			d := b.deliveryOf(w, "a", v1alpha1.DeliveryWaiting)
			b.Expect(deliveredReason(d)).To(Equal(v1alpha1.ReasonNotReady))
			b.resend(sent, "too soon")
			b.stop()
			b.start()
			b.Consistently(func() int { return b.requests("w") }, "1s").Should(Equal(1))
			b.edit(w, tc.right)
			b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
			b.Eventually(func() int { return b.requests("w") }).Should(Equal(3))
		})
	}
}

// A template that fails for one event fails that delivery only, in words; once it is mended,
// a resend goes through with the new body and the same webhook-id.
func TestTemplateThatFailsForOneEvent(t *testing.T) {
	b := newTestbed(t)
	b.start()
	w := b.webhook("w", template(`{"level": json(event.extra).level}`))
	b.observed(w)
	extra := func(text string) func(e *v1alpha1.WebhookEvent) {
		return func(e *v1alpha1.WebhookEvent) { e.Spec.Extra = text }
	}
	b.event("first", extra(`{"level": 1}`))
	b.event("bad", extra(`level 2`))
	b.event("last", extra(`{"level": 3}`))
	b.deliveryOf(w, "first", v1alpha1.DeliverySucceeded)
	b.deliveryOf(w, "last", v1alpha1.DeliverySucceeded)
	d := b.deliveryOf(w, "bad", v1alpha1.DeliveryFailed)
	b.Expect(deliveredReason(d)).To(Equal(v1alpha1.ReasonPayloadError))
	b.Expect(meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Message).
		To(HavePrefix("spec.payload.template of the webhook made no body: "))
	b.Expect(d.Status.Attempts).To(BeZero())
	b.Expect(b.requests("w")).To(Equal(2))
	b.Expect(b.metrics()["expression_failures_total{expression=template}"]).To(BeNumerically("==", 1))
	b.ready(w, metav1.ConditionTrue, v1alpha1.ReasonUsable)

	b.resend(d, "as it is") // which fails again, once
	b.Eventually(func() string {
		d = b.deliveryOf(w, "bad", v1alpha1.DeliveryFailed)
		return d.Annotations[v1alpha1.AnnotationResent]
	}).ShouldNot(BeEmpty())
	b.Consistently(func() int { return b.requests("w") }, "1s").Should(Equal(2))

	b.edit(w, editTemplate(`{"text": event.extra}`))
	b.observed(w)
	b.resend(d, "mended")
	d = b.deliveryOf(w, "bad", v1alpha1.DeliverySucceeded)
	got := b.receiver.Arrivals("/w")[2]
	b.Expect(string(got.Body)).To(Equal(`{"text":"level 2"}`))
	b.Expect(d.Status.Request.Body).To(Equal(string(got.Body)))

	b.resend(d, "once more")
	b.Eventually(func() int { return b.requests("w") }).Should(Equal(4))
	b.Expect(b.receiver.Arrivals("/w")[3].Header.Get("webhook-id")).To(Equal(got.Header.Get("webhook-id")))
	b.Expect(got.Header.Get("webhook-id")).To(Equal(delivery.MessageID(d.Spec.EventRef.UID, w.UID)))

	// What was delivered stays so when a later resend finds no body.
	b.edit(w, editTemplate(`{"level": json(event.extra).level}`))
	b.observed(w)
	b.resend(d, "broken again")
	b.Eventually(func() string {
		d = b.deliveryOf(w, "bad", v1alpha1.DeliverySucceeded)
		return meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Message
	}).Should(ContainSubstring("it was delivered before"))
	b.Expect(b.requests("w")).To(Equal(4))
}

// A retry renders anew, with the Webhook as it is.
func TestRetryRendersAnew(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.Answer{Status: http.StatusServiceUnavailable}, receiver.Answer{Status: http.StatusOK})
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 3 })
	b.observed(w)
	e := b.event("a")
	b.deliveryOf(w, "a", v1alpha1.DeliveryWaiting)
	b.edit(w, editTemplate(`{"time": event.time, "path": event.resourcePath, "namespace": event.namespace}`))
	d := b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
	arrived := b.receiver.Arrivals("/w")
	b.Expect(string(arrived[0].Body)).To(Equal(d.Spec.Payload))
	b.Expect(string(arrived[1].Body)).To(Equal(fmt.Sprintf(`{"namespace":%q,"path":"/music/player/web/web-prod","time":%q}`,
		b.namespace, e.CreationTimestamp.UTC().Format(time.RFC3339))))
	b.Expect(arrived[1].Header.Get("webhook-id")).To(Equal(arrived[0].Header.Get("webhook-id")))
}

// A 200 that says no is no success: it is tried again, or given up where a rule says so,
// which tells nothing of the receiver.
func TestResponseRules(t *testing.T) {
	rules := func(w *v1alpha1.Webhook) {
		w.Spec.Response = &v1alpha1.ResponseRules{
			AcceptIf: `response.json.?errcode.orValue(-1) == 0`, GiveUpIf: `response.json.?errcode.orValue(0) == 310000`,
		}
	}
	ok := receiver.Answer{Status: http.StatusOK, Body: `{"errcode":0}`}
	for name, tc := range map[string]struct {
		answers  []receiver.Answer
		result   v1alpha1.DeliveryResult
		reason   string
		attempts int
		// says is in the history of the attempt that was not accepted.
		says string
		// failures are those of rules.
		failures int
	}{
		"accepted": {answers: []receiver.Answer{ok}, result: v1alpha1.DeliverySucceeded, reason: v1alpha1.ReasonAccepted, attempts: 1},
		"not accepted, then accepted": {
			answers: []receiver.Answer{{Status: http.StatusOK, Body: `{"errcode":130101,"errmsg":"send too fast"}`}, ok},
			result:  v1alpha1.DeliverySucceeded, reason: v1alpha1.ReasonAccepted, attempts: 2,
			says: "not accepted: response.json.?errcode.orValue(-1) is 130101",
		},
		"rejected": {
			answers: []receiver.Answer{{Status: http.StatusOK, Body: `{"errcode":310000,"errmsg":"keywords not in content"}`}},
			result:  v1alpha1.DeliveryFailed, reason: v1alpha1.ReasonRejected, attempts: 1,
			says: "not accepted: response.json.?errcode.orValue(-1) is 310000",
		},
		"rejected by a 400": {
			answers: []receiver.Answer{{Status: http.StatusBadRequest, Body: `{"errcode":310000}`}},
			result:  v1alpha1.DeliveryFailed, reason: v1alpha1.ReasonRejected, attempts: 1, says: "answered 400 Bad Request",
		},
		"no JSON": {
			answers: []receiver.Answer{{Status: http.StatusOK, Body: `<html>`}, ok},
			result:  v1alpha1.DeliverySucceeded, reason: v1alpha1.ReasonAccepted, attempts: 2, says: "not accepted: ", failures: 1,
		},
		"too long": {
			answers: []receiver.Answer{{Status: http.StatusOK, Body: `{"errcode":0,"x":"` + strings.Repeat("x", 50<<10) + `"}`}, ok},
			result:  v1alpha1.DeliverySucceeded, reason: v1alpha1.ReasonAccepted, attempts: 2, says: "not accepted: ", failures: 1,
		},
		"beyond what is kept": {
			answers: []receiver.Answer{{Status: http.StatusOK, Body: `{"x":"` + strings.Repeat("x", 20<<10) + `","errcode":0}`}},
			result:  v1alpha1.DeliverySucceeded, reason: v1alpha1.ReasonAccepted, attempts: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/w", tc.answers...)
			b.start()
			w := b.webhook("w", rules)
			b.observed(w)
			b.event("a")
			d := b.deliveryOf(w, "a", tc.result)
			b.Expect(deliveredReason(d)).To(Equal(tc.reason))
			b.Expect(int(d.Status.Attempts)).To(Equal(tc.attempts))
			if tc.says != "" {
				b.Expect(d.Status.History[tc.attempts-1].Error).To(ContainSubstring(tc.says))
			}
			b.Expect(b.metrics()["expression_failures_total{expression=rule}"]).To(BeNumerically("==", tc.failures))
		})
	}
}

// A rejection is about one delivery: however many there are, the circuit stays closed, and
// once the message is mended a resend goes through.
func TestRejectionsLeaveTheCircuitAlone(t *testing.T) {
	const rejected = 12
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.Answer{Status: http.StatusOK, Body: `{"errcode":310000}`})
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.Response = &v1alpha1.ResponseRules{AcceptIf: "response.json.errcode == 0", GiveUpIf: "response.json.errcode == 310000"}
	})
	b.observed(w)
	b.events("e", rejected)
	b.allSettled("e", rejected, v1alpha1.EventFailed)
	b.Expect(b.requests("w")).To(Equal(rejected))
	b.Expect(b.metrics()["open_circuits"]).To(BeNumerically("==", 0))
	b.receiver.Script("/w", receiver.Answer{Status: http.StatusOK, Body: `{"errcode":0}`})
	d := b.deliveryOf(w, "e0", v1alpha1.DeliveryFailed)
	b.resend(d, "again")
	b.deliveryOf(w, "e0", v1alpha1.DeliverySucceeded)
}

// What the record keeps of a body is bounded and has no secret in it.
func TestRecordedBody(t *testing.T) {
	const token = "t0ken-of-the-receiver"
	b := newTestbed(t)
	b.start()
	b.secret("token", map[string]string{"token": token})
	w := b.webhook("w", template(`{"a": "`+token+`", "b": event.extra}`),
		func(w *v1alpha1.Webhook) {
			w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "token"}
		})
	b.observed(w)
	b.event("a", func(e *v1alpha1.WebhookEvent) { e.Spec.Extra = strings.Repeat("ü", 10<<10) })
	d := b.deliveryOf(w, "a", v1alpha1.DeliverySucceeded)
	b.Expect(string(b.receiver.Arrivals("/w")[0].Body)).To(ContainSubstring(token))
	b.Expect(d.Status.Request.Body).To(HavePrefix(`{"a":"[redacted]","b":"üü`))
	b.Expect(len(d.Status.Request.Body)).To(And(BeNumerically(">", 16<<10-8), BeNumerically("<=", 16<<10)))
	b.Expect(d.Status.Request.BodyTruncated).To(BeTrue())
}

// Filters of many Webhooks take several turns: each event reaches whom it should, once.
func TestManyDearFilters(t *testing.T) {
	const webhooks, events = 40, 5
	b := newTestbed(t)
	b.start()
	dear := `event.extra.split(",").filter(x, x.endsWith("9")).size() > 0 && event.resourcePath.endsWith("/%d")`
	for i := range webhooks {
		b.webhook(fmt.Sprintf("w%d", i), filter(fmt.Sprintf(dear, i%events)), func(w *v1alpha1.Webhook) { w.Spec.URL = b.receiver.URL("/w") })
	}
	for i := range webhooks {
		b.observed(&v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: fmt.Sprintf("w%d", i)}})
	}
	for i := range events {
		b.event(fmt.Sprintf("e%d", i), func(e *v1alpha1.WebhookEvent) {
			e.Spec.ResourcePath = fmt.Sprintf("/music/%d", i)
			e.Spec.Extra = strings.Repeat("1,", 300) + "9"
		})
	}
	for i := range events {
		e := b.settled(fmt.Sprintf("e%d", i), v1alpha1.EventSucceeded)
		b.Expect(e.Status.Counts).To(Equal(v1alpha1.DeliveryCounts{Succeeded: webhooks / events}))
		b.Expect(e.Status.Unmatched).To(HaveExactElements(And(
			HaveField("Reason", v1alpha1.UnmatchedFilter), HaveField("Count", int32(webhooks-webhooks/events)))))
	}
	b.Expect(b.requests("w")).To(Equal(webhooks))
}
