package controllers

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// signingKey is that of robots which want requests to be signed.
const signingKey = "SEC-of-the-robot+/=&"

// signed are the services whose robots can want that.
var signed = []receiver.Service{receiver.DingTalk, receiver.Feishu}

// room opens a room, and creates a Webhook for it with a Secret of its name.
func (b *testbed) room(name string, of receiver.Service, o receiver.RoomOptions, change ...func(*v1alpha1.Webhook)) (*receiver.Room, *v1alpha1.Webhook) {
	b.t.Helper()
	room := b.receiver.Open(of, o)
	b.secret(name, map[string]string{"url": room.URL(), "unknown": unknownRoom(room.URL()), "sign": o.Secret})
	w := b.webhook(name, append([]func(*v1alpha1.Webhook){func(w *v1alpha1.Webhook) {
		w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: name, Key: "url"}
		w.Spec.Payload = &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadFormat(of)}
		if o.Secret != "" {
			w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "sign"}
		}
	}}, change...)...)
	b.observed(w)
	return room, w
}

// unlimited is for rooms and Webhooks of tests that are about something else.
var (
	unlimited = receiver.RoomOptions{Limit: 1000, Span: time.Second}
	atOnce    = func(w *v1alpha1.Webhook) { w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 1000, PerSeconds: 1} }
)

// eventOfType fills an event as Horizon does one of its type.
func eventOfType(eventType string) func(*v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) {
		e.Spec.EventType, e.Spec.Cluster = eventType, nil
		e.Spec.User = &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"}
		switch family, _, _ := strings.Cut(eventType, "_"); family {
		case "applications":
			e.Spec.Application = &v1alpha1.ApplicationInfo{ID: new(int64(1)), Name: "web", Priority: "P0"}
		case "clusters", "clsuters":
			e.Spec.Cluster = &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "web-prod", ApplicationName: "web", Env: "online"}
		case "pipelineruns":
			e.Spec.Pipelinerun = &v1alpha1.PipelinerunInfo{ID: new(int64(1)), ClusterName: "web-prod", Action: "builddeploy", Title: "Fix it", GitRef: "main", GitRefType: "branch"}
		case "members":
			e.Spec.Member = &v1alpha1.MemberInfo{ID: new(int64(1)), ResourceType: "clusters", ResourceID: 1, Role: "owner", MemberName: "test"}
		}
		if strings.HasSuffix(eventType, "_kubernetes_event") {
			e.Spec.Extra = `{"involvedObject":{"kind":"Pod","name":"web-0"},"reason":"BackOff","message":"restarting","type":"Warning"}`
		}
	}
}

// Each format's message of each type of event is one that its service takes, signed, in both
// languages; it calls nobody, and nothing that is meant for other receivers goes along.
func TestEveryMessageIsTaken(t *testing.T) {
	var types []string
	for _, trigger := range matching.Triggers() {
		if !strings.Contains(string(trigger), "*") {
			types = append(types, string(trigger))
		}
	}
	types = append(types, "things_happened", "clusters_danced", "cluster_deployed")
	b := newTestbed(t)
	b.start()
	type opened struct {
		room *receiver.Room
		w    *v1alpha1.Webhook
	}
	var all []opened
	for _, of := range receiver.Services() {
		for _, language := range []v1alpha1.Language{v1alpha1.LanguageEnglish, v1alpha1.LanguageChinese} {
			o := unlimited
			if slices.Contains(signed, of) {
				o.Secret = signingKey
			}
			room, w := b.room(strings.ToLower(string(of))+"-"+string(language), of, o, atOnce, func(w *v1alpha1.Webhook) {
				w.Spec.Payload.Language, w.Spec.Retry.Limit = language, new(int32(0))
			})
			all = append(all, opened{room, w})
		}
	}
	for i, eventType := range types {
		b.event(fmt.Sprintf("e%d", i), eventOfType(eventType))
	}
	for i := range types {
		b.settled(fmt.Sprintf("e%d", i), v1alpha1.EventSucceeded)
	}
	for _, o := range all {
		b.annotate(o.w, v1alpha1.AnnotationTest, "one")
		b.ended(b.tested(o.w, "one"), v1alpha1.DeliverySucceeded)
		tally := o.room.Tally()
		b.Expect(tally).To(Equal(receiver.RoomTally{Requests: len(types) + 1, Messages: len(types) + 1}), o.w.Name)
		bodies := map[string]bool{}
		for _, d := range b.deliveriesOf(o.w) {
			b.Expect(d.Status.Attempts).To(Equal(int32(1)))
			b.Expect(d.Status.Request.BodyTruncated).To(BeFalse())
			bodies[d.Status.Request.Body] = true
		}
		for _, m := range o.room.Messages() {
			b.Expect(m.Mentions).To(BeEmpty())
			b.Expect(bodies).To(HaveKey(unsigned(b, o.room.Service(), m.Body)), "the record has the message before it was signed")
		}
	}
	for _, a := range b.receiver.AllArrivals() {
		b.Expect(a.Header).NotTo(HaveKey(tokenHeader))
		b.Expect(a.Header).NotTo(HaveKey("Webhook-Signature"))
		b.Expect(a.Header).To(HaveKey("Webhook-Id"))
		b.Expect(a.String()).NotTo(Or(ContainSubstring(signingKey), ContainSubstring(url.QueryEscape(signingKey))), "a key is never sent")
	}
	written := b.written()
	b.Expect(written).NotTo(ContainSubstring(signingKey[:12]))
	for _, o := range all {
		b.Expect(written).NotTo(ContainSubstring(o.room.Key()))
	}
	for _, a := range b.receiver.AllArrivals() {
		if sign := signOf(a); sign != "" {
			b.Expect(written).NotTo(Or(ContainSubstring(sign), ContainSubstring(url.QueryEscape(sign))))
		}
	}
}

// signOf is the signature of a request to a room, if it has one.
func signOf(a receiver.Arrival) string {
	if u, err := url.ParseRequestURI(a.URI); err == nil && u.Query().Has("sign") {
		return u.Query().Get("sign")
	}
	var body struct {
		Sign string `json:"sign"`
	}
	_ = json.Unmarshal(a.Body, &body)
	return body.Sign
}

// unsigned is a body without the signature that Feishu has there.
func unsigned(b *testbed, of receiver.Service, body []byte) string {
	b.t.Helper()
	if of != receiver.Feishu {
		return string(body)
	}
	var parts map[string]json.RawMessage
	b.Expect(json.Unmarshal(body, &parts)).To(Succeed())
	b.Expect(parts).To(And(HaveKey("timestamp"), HaveKey("sign")))
	delete(parts, "timestamp")
	delete(parts, "sign")
	var rest strings.Builder
	e := json.NewEncoder(&rest)
	e.SetEscapeHTML(false)
	b.Expect(e.Encode(parts)).To(Succeed())
	return strings.TrimSuffix(rest.String(), "\n")
}

// What a room has against a request is told in its words: in the history, in the condition of
// the delivery, and by kubectl get webhooks.
func TestRoomsRefuse(t *testing.T) {
	wrongKey := func(o *receiver.RoomOptions) { o.Secret = "another" }
	keyword := func(o *receiver.RoomOptions) { o.Keyword = "no message has this" }
	closed := func(o *receiver.RoomOptions) { o.Closed = true }
	for name, tc := range map[string]struct {
		of     receiver.Service
		change func(*receiver.RoomOptions)
		// unknown: the address is none of a room.
		unknown bool

		reason string
		status int32
		says   string // in the history
	}{
		"DingTalk signature": {of: receiver.DingTalk, change: wrongKey, reason: v1alpha1.ReasonRejected, status: 200, says: "not accepted: errcode 310000: sign not match"},
		"DingTalk keyword":   {of: receiver.DingTalk, change: keyword, reason: v1alpha1.ReasonRejected, status: 200, says: "not accepted: errcode 310000: keywords not in content"},
		"DingTalk address":   {of: receiver.DingTalk, unknown: true, reason: v1alpha1.ReasonRejected, status: 200, says: "not accepted: errcode 300005: token is not exist"},
		"DingTalk stopped":   {of: receiver.DingTalk, change: closed, status: 200, says: "not accepted: errcode 400102: bot is stopped"},
		"Feishu signature":   {of: receiver.Feishu, change: wrongKey, reason: v1alpha1.ReasonRejected, status: 200, says: "not accepted: code 19021: sign match fail or timestamp is not within one hour from current time"},
		"Feishu keyword":     {of: receiver.Feishu, change: keyword, reason: v1alpha1.ReasonRejected, status: 200, says: "not accepted: code 19024: Key Words Not Found"},
		"Feishu address":     {of: receiver.Feishu, unknown: true, reason: v1alpha1.ReasonRejected, status: 200, says: "not accepted: code 19001: param invalid"},
		"Feishu off":         {of: receiver.Feishu, change: closed, reason: v1alpha1.ReasonRejected, status: 200, says: "not accepted: code 19007"},
		"WeCom address":      {of: receiver.WeCom, unknown: true, reason: v1alpha1.ReasonRejected, status: 200, says: "not accepted: errcode 93000: invalid webhook url"},
		"Slack address":      {of: receiver.Slack, unknown: true, reason: v1alpha1.ReasonRejected, status: 404, says: "not accepted: no_service ("},
		"Slack archived":     {of: receiver.Slack, change: closed, reason: v1alpha1.ReasonGone, status: 410, says: "not accepted: channel_is_archived ("},
		"Teams address":      {of: receiver.Teams, unknown: true, status: 401, says: "answered 401 Unauthorized"},
		"Teams off":          {of: receiver.Teams, change: closed, reason: v1alpha1.ReasonRejected, status: 400, says: "not accepted: WorkflowTriggerIsNotEnabled ("},
		"Discord address":    {of: receiver.Discord, unknown: true, reason: v1alpha1.ReasonRejected, status: 401, says: "not accepted: code 50027: Invalid Webhook Token ("},
		"Discord deleted":    {of: receiver.Discord, change: closed, reason: v1alpha1.ReasonRejected, status: 404, says: "not accepted: code 10015: Unknown Webhook ("},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.start()
			o := unlimited
			if slices.Contains(signed, tc.of) {
				o.Secret = signingKey
			}
			room, w := b.room("w", tc.of, o, func(w *v1alpha1.Webhook) {
				if tc.reason == "" { // it would be tried again
					w.Spec.Retry.Limit = new(int32(0))
				}
				if tc.unknown {
					w.Spec.URLSecretRef.Key = "unknown"
				}
			})
			if tc.change != nil {
				room.Change(tc.change)
			}
			if tc.reason == "" {
				tc.reason = v1alpha1.ReasonRetriesExhausted
			}
			b.event("e")
			d := b.deliveryOf(w, "e", v1alpha1.DeliveryFailed)
			b.Expect(deliveredReason(d)).To(Equal(tc.reason))
			b.Expect(d.Status.Attempts).To(Equal(int32(1)))
			b.Expect(d.Status.History[0].StatusCode).To(Equal(tc.status))
			b.Expect(d.Status.History[0].Error).To(ContainSubstring(tc.says))
			told := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Message
			b.Expect(told).NotTo(BeEmpty())
			b.Expect(b.written()).NotTo(Or(ContainSubstring(room.Key()), ContainSubstring(signingKey)))
			if tc.reason == v1alpha1.ReasonRejected {
				b.Expect(b.metrics()["open_circuits"]).To(BeNumerically("==", 0))
			}
		})
	}
}

// unknownRoom is the address of a room that is not there.
func unknownRoom(address string) string {
	if at := strings.LastIndexAny(address, "=/"); at > 0 {
		return address[:at+1] + "an-address-of-nobody"
	}
	return address
}

// A message without the keyword of its robot is rejected after one attempt, which says nothing
// of the receiver; once the keyword is mended, a resend goes through.
func TestKeywordIsMended(t *testing.T) {
	for _, of := range signed {
		t.Run(string(of), func(t *testing.T) {
			b := newTestbed(t)
			b.start()
			o := unlimited
			o.Secret, o.Keyword = signingKey, "release"
			room, w := b.room("w", of, o, atOnce)
			b.events("e", 6)
			b.allSettled("e", 6, v1alpha1.EventFailed)
			d := b.deliveryOf(w, "e0", v1alpha1.DeliveryFailed)
			b.Expect(deliveredReason(d)).To(Equal(v1alpha1.ReasonRejected))
			b.Expect(d.Status.Attempts).To(Equal(int32(1)))
			b.Expect(room.Tally()).To(Equal(receiver.RoomTally{Requests: 6}))
			b.Expect(b.metrics()["open_circuits"]).To(BeNumerically("==", 0))
			b.Expect(b.metrics()["resting_receivers"]).To(BeNumerically("==", 0))

			room.Change(func(o *receiver.RoomOptions) { o.Keyword = "web-prod" })
			b.resend(d, "mended")
			d = b.deliveryOf(w, "e0", v1alpha1.DeliverySucceeded)
			b.Expect(d.Status.History).To(HaveLen(2))
			b.Expect(room.Messages()).To(HaveLen(1))
			all := b.receiver.ArrivalsOf(delivery.MessageID(d.Spec.EventRef.UID, w.UID))
			b.Expect(all).To(HaveLen(2))
			b.Expect(unsigned(b, of, all[1].Body)).To(Equal(unsigned(b, of, all[0].Body)))
			b.event("later")
			b.deliveryOf(w, "later", v1alpha1.DeliverySucceeded)
		})
	}
}

// A room that was sent too much is left alone for as long as its format knows, also by the
// next leader, and what it has not taken comes later.
func TestRoomThatWasSentTooMuch(t *testing.T) {
	for of, tc := range map[receiver.Service]struct {
		says string
		rest time.Duration
	}{
		receiver.DingTalk: {"not accepted: errcode 130101: send too fast, exceed 20 times per minute", 10 * time.Minute},
		receiver.Feishu:   {"not accepted: code 11232: frequency limited", 900 * time.Second},
		receiver.WeCom:    {"not accepted: errcode 45009: api freq out of limit", 900 * time.Second},
		receiver.Slack:    {"answered 429 Too Many Requests", 20 * time.Second},
		receiver.Discord:  {"answered 429 Too Many Requests", 20 * time.Second},
	} {
		t.Run(string(of), func(t *testing.T) {
			b := newTestbed(t)
			b.start()
			// The Webhook believes that it may send more than the room takes; the services that
			// do not say how long they want to rest get what it believes.
			o := receiver.RoomOptions{Limit: 1, Span: 20 * time.Second, Ban: 20 * time.Second}
			room, w := b.room("w", of, o, func(w *v1alpha1.Webhook) {
				w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 1000, PerSeconds: 900}
			})
			b.event("first")
			b.deliveryOf(w, "first", v1alpha1.DeliverySucceeded)
			b.event("second")
			d := b.deliveryOf(w, "second", v1alpha1.DeliveryWaiting)
			began := time.Now()
			b.Eventually(func() string {
				d = b.deliveryOf(w, "second", v1alpha1.DeliveryWaiting)
				if len(d.Status.History) == 0 {
					return ""
				}
				return d.Status.History[0].Error
			}).Should(ContainSubstring(tc.says))
			var until time.Time
			b.Eventually(func() time.Time {
				b.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
				until = w.Status.RestUntil.Time
				return until
			}).ShouldNot(BeZero())
			b.Expect(until).To(BeTemporally("~", began.Add(tc.rest), 4*time.Second))
			b.event("third")
			b.deliveryOf(w, "third", v1alpha1.DeliveryWaiting)
			b.Expect(room.Tally().Requests).To(Equal(2))

			// The time passes while there is no leader, or so it seems to the next one.
			b.stop()
			room.Change(func(o *receiver.RoomOptions) { o.Limit = 10 })
			b.tune = func(o *operator) {
				o.deliveries.Clock = laterClock{ahead: tc.rest + 10*time.Second}
				o.deliveries.Receivers.Clock = o.deliveries.Clock
			}
			b.start()
			b.deliveryOf(w, "second", v1alpha1.DeliverySucceeded)
			b.deliveryOf(w, "third", v1alpha1.DeliverySucceeded)
			b.Expect(room.Messages()).To(HaveLen(3))
			b.Expect(room.Tally().Requests).To(Equal(4))
		})
	}
}

// What a Webhook says itself takes the place of one part of its format, and of no other.
func TestPartsOfAFormatAreReplaced(t *testing.T) {
	keyword := receiver.RoomOptions{Secret: signingKey, Keyword: "no message has this", Limit: 1000, Span: time.Second}
	rules := func(r v1alpha1.ResponseRules) func(*v1alpha1.Webhook) {
		return func(w *v1alpha1.Webhook) { w.Spec.Response = &r }
	}
	once := func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(1)) }
	own := func(text string) func(*v1alpha1.Webhook) {
		return func(w *v1alpha1.Webhook) {
			w.Spec.Payload.Template = `{"msgtype": "text", "text": {"content": message.title + " – ` + text + `"}}`
		}
	}
	for name, tc := range map[string]struct {
		change   func(*v1alpha1.Webhook)
		result   v1alpha1.DeliveryResult
		reason   string
		attempts int32
		says     string
		kept     string // what the message begins with
	}{
		"nothing":                     {func(*v1alpha1.Webhook) {}, v1alpha1.DeliveryFailed, v1alpha1.ReasonRejected, 1, "errcode 310000: keywords not in content", ""},
		"template":                    {own("no message has this"), v1alpha1.DeliverySucceeded, v1alpha1.ReasonAccepted, 1, "", `{"msgtype":"text","text":{"content":"Cluster web-prod`},
		"template without a keyword":  {own("nor this"), v1alpha1.DeliveryFailed, v1alpha1.ReasonRejected, 1, "errcode 310000: keywords not in content", ""},
		"acceptIf":                    {rules(v1alpha1.ResponseRules{AcceptIf: "response.json.errcode == 310000"}), v1alpha1.DeliverySucceeded, v1alpha1.ReasonAccepted, 1, "", ""},
		"acceptIf that is not true":   {rules(v1alpha1.ResponseRules{AcceptIf: "response.json.errcode == 1"}), v1alpha1.DeliveryFailed, v1alpha1.ReasonRejected, 1, "errcode 310000: keywords not in content", ""},
		"giveUpIf":                    {rules(v1alpha1.ResponseRules{GiveUpIf: "response.json.errcode == 1"}), v1alpha1.DeliveryFailed, v1alpha1.ReasonRetriesExhausted, 2, "errcode 310000: keywords not in content", ""},
		"giveUpIf that says the same": {rules(v1alpha1.ResponseRules{GiveUpIf: "response.json.errcode == 310000"}), v1alpha1.DeliveryFailed, v1alpha1.ReasonRejected, 1, "errcode 310000: keywords not in content", ""},
		"rateLimit":                   {func(w *v1alpha1.Webhook) { w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 1, PerSeconds: 900} }, v1alpha1.DeliveryFailed, v1alpha1.ReasonRejected, 1, "errcode 310000: keywords not in content", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.start()
			room, w := b.room("w", receiver.DingTalk, keyword, once, tc.change)
			b.event("e")
			d := b.deliveryOf(w, "e", tc.result)
			b.Expect(deliveredReason(d)).To(Equal(tc.reason))
			b.Expect(d.Status.Attempts).To(Equal(tc.attempts))
			b.Expect(d.Status.History[0].Error).To(ContainSubstring(tc.says))
			for _, a := range b.receiver.AllArrivals() {
				b.Expect(signOf(a)).NotTo(BeEmpty())
				b.Expect(a.Answer.Body).NotTo(ContainSubstring("sign"))
			}
			if tc.kept == "" {
				b.Expect(room.Messages()).To(BeEmpty())
			} else {
				b.Expect(string(room.Messages()[0].Body)).To(HavePrefix(tc.kept))
			}
		})
	}
}

// Each attempt is signed anew: a signature is valid for an hour, and retries go on for days.
func TestEachAttemptIsSignedAnew(t *testing.T) {
	for _, of := range signed {
		t.Run(string(of), func(t *testing.T) {
			b := newTestbed(t)
			b.start()
			o := unlimited
			o.Secret = signingKey
			room, w := b.room("w", of, o, atOnce, func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 2 })
			path := strings.TrimPrefix(strings.SplitN(room.URL(), "?", 2)[0], b.receiver.URL(""))
			b.receiver.Script(path, receiver.Answer{Status: 500})
			b.event("e")
			b.deliveryOf(w, "e", v1alpha1.DeliveryWaiting)
			b.receiver.Script(path)
			d := b.deliveryOf(w, "e", v1alpha1.DeliverySucceeded)
			all := b.receiver.ArrivalsOf(delivery.MessageID(d.Spec.EventRef.UID, w.UID))
			b.Expect(len(all)).To(BeNumerically(">=", 2))
			b.Expect(signOf(all[0])).NotTo(Equal(signOf(all[len(all)-1])))
			b.Expect(room.Messages()).To(HaveLen(1))
		})
	}
}

// spec.rateLimit takes the place of the format's, and of nothing else.
func TestRateLimitOfAFormatIsReplaced(t *testing.T) {
	const span = 2 * time.Second
	b := newTestbed(t)
	b.start()
	o := receiver.RoomOptions{Secret: signingKey, Limit: 2, Span: span}
	room, _ := b.room("w", receiver.DingTalk, o, func(w *v1alpha1.Webhook) {
		w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 2, PerSeconds: int32(span / time.Second)}
	})
	b.events("e", 7)
	b.allSettled("e", 7, v1alpha1.EventSucceeded)
	b.Expect(room.Tally()).To(Equal(receiver.RoomTally{Requests: 7, Messages: 7}))
}
