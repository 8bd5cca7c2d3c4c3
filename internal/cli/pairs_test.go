package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

// pairsSeed makes the Webhooks and events of TestWhyAndRenderAgreeWithTheOperator.
const pairsSeed = 16

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// text is one of those that are easily written in another way.
func text(r *rand.Rand) string {
	return pick(r, "", "web-prod", "<b>&amp;</b>", "müsli \U0001f96f", "a\u2028b\u2029c", `"\`, "\x01\x1f", "\u202egnp", "line\nline\ttab")
}

// randomWebhook is any that the API server takes.
func randomWebhook(r *rand.Rand) func(*v1alpha1.WebhookSpec) {
	return func(s *v1alpha1.WebhookSpec) {
		s.Triggers = nil
		for _, t := range []v1alpha1.Trigger{"clusters_*", "cluster_deployed", "clusters_freed", "members_created", "applications_*", "pipelinerun_*"} {
			if r.IntN(3) == 0 {
				s.Triggers = append(s.Triggers, t)
			}
		}
		if len(s.Triggers) == 0 || r.IntN(6) == 0 {
			s.Triggers = []v1alpha1.Trigger{v1alpha1.TriggerAny}
		}
		s.Scope = pick(r, "", "", "/", "/music", "/music/player", "/music/play", "/video/")
		s.State = pick(r, v1alpha1.WebhookEnabled, v1alpha1.WebhookEnabled, v1alpha1.WebhookEnabled, v1alpha1.WebhookDisabled)
		s.WebhookID = pick(r, int64(0), int64(0), int64(7), int64(1)<<53-1)
		s.Filter = pick(r, "", "", `event.cluster.env == "online"`, "!has(event.application)", `event.extra.contains("b") || webhook.id == 7`,
			"1 / size(event.extra) >= 0", "event.nme == 1")
		switch r.IntN(4) {
		case 0:
			s.Payload = &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadCloudEvents}
		case 1:
			s.Payload = &v1alpha1.PayloadSettings{Template: `{"text": event.cluster.name + event.extra + event.user.name, "id": delivery.id,
				?"at": event.resourcePath == "" ? optional.none() : optional.of([event.time, event.eventID, webhook.namespace])}`}
		}
		if r.IntN(2) == 0 {
			named(s)
		}
		if r.IntN(3) == 0 {
			s.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "key"}
		}
	}
}

// randomEvent is any that the API server takes, of an hour ago now and then.
func randomEvent(r *rand.Rand) func(*v1alpha1.WebhookEventSpec) {
	return func(s *v1alpha1.WebhookEventSpec) {
		*s = v1alpha1.WebhookEventSpec{
			EventID:      pick(r, int64(0), s.EventID),
			EventType:    pick(r, "clusters_deployed", "cluster_freed", "members_created", "member_created", "applications_updated", "pipelineruns_executed"),
			ResourcePath: pick(r, "", "/music", "/music/player/web/web-prod", "/music/player-beta", "/video/x"),
			Extra:        text(r),
		}
		if r.IntN(6) == 0 {
			s.Time = metav1.NewTime(time.Now().Add(-time.Hour))
		}
		if r.IntN(2) == 0 {
			s.Application = &v1alpha1.ApplicationInfo{ID: new(r.Int64N(1 << 53)), Name: text(r), Priority: pick(r, "", "P0")}
		}
		if r.IntN(2) == 0 {
			s.Cluster = &v1alpha1.ClusterInfo{ID: new(int64(0)), Name: text(r), ApplicationName: text(r), Env: pick(r, "", "online")}
		}
		if r.IntN(3) == 0 {
			s.Pipelinerun = &v1alpha1.PipelinerunInfo{ID: new(int64(3)), ClusterID: 4, Title: text(r), Description: text(r), GitRef: "main"}
		}
		if r.IntN(3) == 0 {
			s.Member = &v1alpha1.MemberInfo{ID: new(int64(5)), MemberName: text(r)}
		}
		if r.IntN(2) == 0 {
			s.User = &v1alpha1.UserInfo{ID: new(int64(1)), Name: text(r), Email: text(r)}
		}
	}
}

// For 200 random pairs of a Webhook and an event: why says that it was delivered exactly
// where a request arrived, and otherwise the reason that the operator wrote; and what
// render prints is what arrived, byte for byte.
func TestWhyAndRenderAgreeWithTheOperator(t *testing.T) {
	b := newBed(t)
	viewer := b.as("viewer", "view")
	b.tokens(map[string]string{"token": "open sesame", "key": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
	r := rand.New(rand.NewPCG(pairsSeed, 0))
	const webhooks, events = 20, 10
	uids := map[string]types.UID{}
	for i := range webhooks {
		w := b.Webhook(fmt.Sprintf("w%d", i), randomWebhook(r))
		uids[w.Name] = w.UID
	}
	b.known()
	made := map[string]*v1alpha1.WebhookEvent{}
	for i := range int64(events) {
		e := b.Event(i+1, randomEvent(r))
		made[e.Name] = e
	}
	sent, unsent := 0, 0
	for _, e := range made {
		reasons := viewer.operatorsReasons(e)
		answer := viewer.answerFor(e)
		b.Expect(answer.Webhooks).To(HaveLen(webhooks))
		for _, row := range answer.Webhooks {
			arrivals := b.Receiver.ArrivalsOf(delivery.MessageID(e.UID, uids[row.Webhook.Name]))
			args := []string{"render", row.Webhook.Name, "--event", e.Name}
			if len(arrivals) == 0 {
				unsent++
				b.Expect(row.Outcome).To(Equal(insight.NotFollowed), "%+v", row)
				b.Expect(row.Reason).To(Equal(string(reasons[row.Webhook.Name])), "%+v", row)
				b.Expect(viewer.request(args...).Finding).To(Equal(row.Finding))
				continue
			}
			sent++
			b.Expect(row.Outcome).To(Equal(insight.Delivered), "%+v", row)
			b.Expect(viewer.mustRun(append(args, "--body")...)).To(Equal(string(arrivals[0].Body)))
			sameHeaders(b, viewer.request(args...), arrivals[0].Header)
		}
	}
	b.Expect(sent).To(Equal(b.Receiver.Total().Requests), "each request belongs to a pair")
	if sent < 20 || unsent < 20 {
		t.Errorf("%d were sent and %d were not: that shows little", sent, unsent)
	}
}

// operatorsReasons waits until an event is finished, and returns why the operator says
// that Webhooks do not get it.
func (b *bed) operatorsReasons(e *v1alpha1.WebhookEvent) map[string]v1alpha1.UnmatchedReason {
	b.Helper()
	b.dispatched(e)
	now := &v1alpha1.WebhookEvent{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKeyFromObject(e), now)).To(Succeed())
	reasons := map[string]v1alpha1.UnmatchedReason{}
	for _, u := range now.Status.Unmatched {
		for _, name := range u.Webhooks {
			reasons[name] = u.Reason
		}
	}
	return reasons
}

// answerFor is what why says of an event once nothing waits any more.
func (b *bed) answerFor(e *v1alpha1.WebhookEvent) insight.Event {
	b.Helper()
	var answer insight.Event
	b.Eventually(func(g Gomega) {
		f, out := b.ask([]string{"event/" + e.Name})
		g.Expect(f.Outcome).To(BeElementOf(insight.Delivered, insight.NotFollowed), out)
		answer = insight.Event{}
		g.Expect(json.Unmarshal([]byte(out), &answer)).To(Succeed())
	}).Should(Succeed())
	return answer
}

func (b *bed) request(args ...string) insight.Request {
	b.Helper()
	var request insight.Request
	b.Expect(json.Unmarshal([]byte(b.mustRun(append(args, "-o", "json")...)), &request)).To(Succeed())
	return request
}

// sameHeaders compares what render prints with what arrived, but for the time, for what it
// hides, and for what it says it leaves out.
func sameHeaders(b *bed, request insight.Request, arrived http.Header) {
	b.Helper()
	got, want := http.Header{}, arrived.Clone()
	for _, h := range request.Headers {
		got.Add(h.Name, h.Value)
	}
	for _, left := range []string{"Content-Length", "User-Agent"} {
		want.Del(left)
	}
	for _, hidden := range []string{"Webhook-Timestamp", "Webhook-Signature", "X-Horizon-Webhook-Secret"} {
		b.Expect(got.Get(hidden) != "").To(Equal(want.Get(hidden) != ""), hidden)
		if hidden != "Webhook-Timestamp" && got.Get(hidden) != "" {
			b.Expect(got.Get(hidden)).To(Equal("[redacted]"))
		}
		got.Del(hidden)
		want.Del(hidden)
	}
	b.Expect(got).To(Equal(want))
	b.Expect(strings.Contains(fmt.Sprint(request), "sesame")).To(BeFalse())
}
