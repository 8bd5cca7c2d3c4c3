package retry

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

func TestResponseRules(t *testing.T) {
	errcode := &v1alpha1.ResponseRules{AcceptIf: "response.json.errcode == 0", GiveUpIf: "response.json.errcode == 310000"}
	status := &v1alpha1.ResponseRules{GiveUpIf: "response.statusCode == 400"}
	for name, tc := range map[string]struct {
		rules   *v1alpha1.ResponseRules
		code    int
		header  http.Header
		body    string
		err     error
		payload string
		want    sending.Judgement
		outcome Outcome
	}{
		"accepted":                    {rules: errcode, code: 200, body: `{"errcode":0}`, outcome: Accepted},
		"not accepted":                {rules: errcode, code: 200, body: `{"errcode":5}`, want: sending.Judgement{Refused: true, Why: "response.json.errcode is 5", By: acceptIf}, outcome: Failed},
		"rejected":                    {rules: errcode, code: 200, body: `{"errcode":310000}`, want: sending.Judgement{Refused: true, Why: "response.json.errcode is 310000", Final: true, By: giveUpIf}, outcome: Rejected},
		"no JSON":                     {rules: errcode, code: 200, body: `errcode`, want: sending.Judgement{Refused: true, Failed: true, By: acceptIf}, outcome: Failed},
		"other JSON":                  {rules: errcode, code: 200, body: `[]`, want: sending.Judgement{Refused: true, Failed: true, By: acceptIf}, outcome: Failed},
		"no body":                     {rules: errcode, code: 204, want: sending.Judgement{Refused: true, Failed: true, By: acceptIf}, outcome: Failed},
		"500":                         {rules: errcode, code: 500, body: `{"errcode":0}`, outcome: Failed},
		"rejected by 400":             {rules: status, code: 400, want: sending.Judgement{Final: true, By: giveUpIf}, outcome: Rejected},
		"another code":                {rules: status, code: 404, outcome: Failed},
		"2xx without acceptIf":        {rules: &v1alpha1.ResponseRules{GiveUpIf: "true"}, code: 200, outcome: Accepted},
		"410":                         {rules: &v1alpha1.ResponseRules{GiveUpIf: "true"}, code: 410, want: sending.Judgement{Final: true, By: giveUpIf}, outcome: Gone},
		"unreadable":                  {rules: errcode, code: 200, body: `{"errcode":0}`, err: errors.New("reset"), want: sending.Judgement{Refused: true, Why: "the body could not be read", By: acceptIf}, outcome: Failed},
		"unreadable, never final":     {rules: &v1alpha1.ResponseRules{GiveUpIf: "true"}, code: 500, err: errors.New("reset"), outcome: Failed},
		"unreadable, and nobody asks": {rules: &v1alpha1.ResponseRules{GiveUpIf: "true"}, code: 200, err: errors.New("reset"), outcome: Accepted},
		"headers": {
			rules: &v1alpha1.ResponseRules{AcceptIf: `response.headers["x-kept"] == "a, b"`}, code: 200,
			header: http.Header{"X-Kept": {"a", "b"}}, outcome: Accepted,
		},
		"event and delivery": {
			rules: &v1alpha1.ResponseRules{AcceptIf: `response.body == event.eventType + webhook.name + delivery.id`}, code: 200,
			body: "clusters_deployedwwhd_1", outcome: Accepted,
		},
		"a record that is no JSON": {rules: errcode, code: 200, body: `{"errcode":0}`, payload: "no JSON", want: sending.Judgement{Refused: true, By: acceptIf}, outcome: Failed},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Response: tc.rules}}
			w.Name = "w"
			d := &v1alpha1.WebhookDelivery{Spec: v1alpha1.WebhookDeliverySpec{Payload: `{"eventType":"clusters_deployed"}`}}
			if tc.payload != "" {
				d.Spec.Payload = tc.payload
			}
			got := Judge(w, d, "whd_1")(sending.Answer{StatusCode: tc.code, Header: tc.header, Body: []byte(tc.body), Err: tc.err})
			if got.Refused && got.Why == "" {
				t.Error("it does not say why")
			}
			x := sending.Exchange{Response: &sending.Response{StatusCode: tc.code}, Judgement: got, Err: tc.err}
			if tc.want.Why == "" {
				got.Why = ""
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if outcome := OutcomeOf(x); outcome != tc.outcome {
				t.Errorf("outcome %d, not %d", outcome, tc.outcome)
			}
		})
	}
}

// What a format knows of its service, and what spec.response puts in its place.
func TestFormatsAndRules(t *testing.T) {
	const by = "the format "
	for name, tc := range map[string]struct {
		format  v1alpha1.PayloadFormat
		limit   *v1alpha1.RateLimit
		rules   *v1alpha1.ResponseRules
		code    int
		header  string
		body    string
		err     error
		want    sending.Judgement
		outcome Outcome
		rest    time.Duration
		quote   string
	}{
		"accepted": {format: v1alpha1.PayloadDingTalk, code: 200, body: `{"errcode":0,"errmsg":"ok"}`, outcome: Accepted},
		"a keyword is missing": {
			format: v1alpha1.PayloadDingTalk, code: 200, body: `{"errcode":310000,"errmsg":"keywords not in content"}`,
			want: sending.Judgement{Refused: true, Final: true, By: by + "DingTalk"}, outcome: Rejected,
			quote: "not accepted: errcode 310000: keywords not in content (",
		},
		"too fast": {
			format: v1alpha1.PayloadDingTalk, code: 200, body: `{"errcode":130101,"errmsg":"send too fast"}`,
			want: sending.Judgement{Refused: true, By: by + "DingTalk", Rest: 10 * time.Minute}, outcome: Failed, rest: 10 * time.Minute,
			quote: "not accepted: errcode 130101: send too fast",
		},
		"too fast, by the Webhook's own limit": {
			format: v1alpha1.PayloadWeCom, limit: &v1alpha1.RateLimit{Requests: 1, PerSeconds: 30}, code: 200, body: `{"errcode":45009}`,
			want: sending.Judgement{Refused: true, By: by + "WeCom", Rest: 30 * time.Second}, outcome: Failed, rest: 30 * time.Second, quote: "not accepted: errcode 45009",
		},
		"StatusCode is no sign": {
			format: v1alpha1.PayloadFeishu, code: 200, body: `{"StatusCode":0,"code":19021,"msg":"sign match fail"}`,
			want: sending.Judgement{Refused: true, Final: true, By: by + "Feishu"}, outcome: Rejected, quote: "not accepted: code 19021: sign match fail (",
		},
		"the page of a proxy": {
			format: v1alpha1.PayloadFeishu, code: 200, body: `<html>`,
			want: sending.Judgement{Refused: true, By: by + "Feishu"}, outcome: Failed, quote: "not accepted: the answer is not JSON",
		},
		"unreadable": {
			format: v1alpha1.PayloadFeishu, code: 200, body: `{"code":0}`, err: errors.New("reset"),
			want: sending.Judgement{Refused: true, By: by + "Feishu"}, outcome: Failed, quote: "not accepted: the body could not be read",
		},
		"unreadable, and no success": {format: v1alpha1.PayloadFeishu, code: 500, body: `{"code":19021}`, err: errors.New("reset"), outcome: Failed},
		"a word of Slack": {
			format: v1alpha1.PayloadSlack, code: 404, body: "no_service",
			want: sending.Judgement{Final: true, By: by + "Slack"}, outcome: Rejected, quote: "not accepted: no_service (the incoming webhook was removed",
		},
		"the 404 of a proxy": {format: v1alpha1.PayloadSlack, code: 404, body: "404 page not found", outcome: Failed},
		"an archived channel": {
			format: v1alpha1.PayloadSlack, code: 410, body: "channel_is_archived",
			want: sending.Judgement{Final: true, By: by + "Slack"}, outcome: Gone, quote: "not accepted: channel_is_archived (",
		},
		"429 with a header":          {format: v1alpha1.PayloadSlack, code: 429, header: "30", body: "rate_limited", outcome: Failed, rest: 30 * time.Second},
		"429 of Discord":             {format: v1alpha1.PayloadDiscord, code: 429, body: `{"retry_after":1.5}`, want: sending.Judgement{Rest: 1500 * time.Millisecond}, outcome: Failed, rest: 1500 * time.Millisecond},
		"429 of Discord, the header": {format: v1alpha1.PayloadDiscord, code: 429, header: "7", body: `{"retry_after":1.5}`, want: sending.Judgement{Rest: 1500 * time.Millisecond}, outcome: Failed, rest: 7 * time.Second},
		"an unknown webhook of Discord": {
			format: v1alpha1.PayloadDiscord, code: 404, body: `{"code":10015,"message":"Unknown Webhook"}`,
			want: sending.Judgement{Final: true, By: by + "Discord"}, outcome: Rejected, quote: "not accepted: code 10015: Unknown Webhook (",
		},
		"taken by Teams": {format: v1alpha1.PayloadTeams, code: 202, outcome: Accepted},

		"accepted all the same": {
			format: v1alpha1.PayloadDingTalk, rules: &v1alpha1.ResponseRules{AcceptIf: `response.json.errcode in [0, 310000]`}, code: 200,
			body: `{"errcode":310000}`, outcome: Accepted,
		},
		"not accepted by a rule, and still final": {
			format: v1alpha1.PayloadDingTalk, rules: &v1alpha1.ResponseRules{AcceptIf: `response.json.errcode == 7`}, code: 200, body: `{"errcode":310000}`,
			want: sending.Judgement{Refused: true, Final: true, By: by + "DingTalk"}, outcome: Rejected, quote: "not accepted: errcode 310000: ",
		},
		"not final by a rule": {
			format: v1alpha1.PayloadDingTalk, rules: &v1alpha1.ResponseRules{GiveUpIf: `false`}, code: 200, body: `{"errcode":310000,"errmsg":"x"}`,
			want: sending.Judgement{Refused: true, By: by + "DingTalk"}, outcome: Failed, quote: "not accepted: errcode 310000: x",
		},
		"a word of Slack, not final by a rule": {
			format: v1alpha1.PayloadSlack, rules: &v1alpha1.ResponseRules{GiveUpIf: `false`}, code: 404, body: "no_service", outcome: Failed,
		},
		"final by a rule": {
			format: v1alpha1.PayloadWeCom, rules: &v1alpha1.ResponseRules{GiveUpIf: `response.json.errcode == -1`}, code: 200, body: `{"errcode":-1,"errmsg":"x"}`,
			want: sending.Judgement{Refused: true, Final: true, By: giveUpIf}, outcome: Rejected, quote: "not accepted: errcode -1: x",
		},
		"a rule, and too fast": {
			format: v1alpha1.PayloadWeCom, rules: &v1alpha1.ResponseRules{AcceptIf: `response.json.errcode == 0`}, code: 200, body: `{"errcode":45009}`,
			want: sending.Judgement{Refused: true, By: acceptIf, Rest: time.Minute}, outcome: Failed, rest: time.Minute, quote: "not accepted: response.json.errcode is 45009",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{
				Response: tc.rules, RateLimit: tc.limit, Payload: &v1alpha1.PayloadSettings{Format: tc.format},
			}}
			d := &v1alpha1.WebhookDelivery{Spec: v1alpha1.WebhookDeliverySpec{Payload: `{"eventType":"clusters_deployed"}`}}
			got := Judge(w, d, "whd_1")(sending.Answer{StatusCode: tc.code, Body: []byte(tc.body), Err: tc.err})
			x := sending.Exchange{Response: &sending.Response{StatusCode: tc.code, RetryAfter: tc.header}, Judgement: got, Err: tc.err}
			if quote := Quote(x); !strings.HasPrefix(quote, tc.quote) || tc.quote == "" && quote != "" {
				t.Errorf("quote: %q", quote)
			}
			if outcome := OutcomeOf(x); outcome != tc.outcome {
				t.Errorf("outcome %d, not %d", outcome, tc.outcome)
			}
			if rest := PolicyOf(w).Rest(x); rest != tc.rest {
				t.Errorf("rest %v, not %v", rest, tc.rest)
			}
			got.Why = ""
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What is told of an answer is cut, and a secret that is cut in the middle must not be left.
func TestReasonsQuoteNoSecret(t *testing.T) {
	const secret = "correct-horse-battery-staple-and-more"
	for name, tc := range map[string]struct{ rule, body string }{
		"a value that is cut":        {`response.body == ""`, strings.Repeat("x", 180) + secret + strings.Repeat("x", 100)},
		"an error that is cut":       {`{"a": 1}[response.body] == 1`, strings.Repeat("x", 45) + secret + strings.Repeat("x", 100)},
		"a value of a header":        {`response.headers["x-echo"] == ""`, ""},
		"a value that is made of it": {`response.body.replace("-", "_") == ""`, secret},
		"what a format quotes":       {"", `{"errcode":310000,"errmsg":"` + strings.Repeat("x", 180) + secret + strings.Repeat("x", 100) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Echo", strings.Repeat("x", 180)+secret+strings.Repeat("x", 100))
				_, _ = io.WriteString(w, tc.body)
			}))
			t.Cleanup(server.Close)
			s := sending.New(sending.Options{})
			t.Cleanup(s.Close)
			w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Response: &v1alpha1.ResponseRules{AcceptIf: tc.rule}}}
			if tc.rule == "" {
				w.Spec.Payload = &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadDingTalk}
			}
			d := &v1alpha1.WebhookDelivery{Spec: v1alpha1.WebhookDeliverySpec{Payload: `{}`}}
			x := s.Send(t.Context(), sending.Request{
				URL: server.URL, Timeout: time.Minute, Judge: Judge(w, d, ""), Redact: redaction.New(secret).Redact,
			})
			if why := x.Judgement.Why; why == "" || strings.Contains(why, "correct") {
				t.Errorf("why: %q, %v", why, x.Err)
			}
		})
	}
}

// What a service says is told without what would change how the rest is shown.
func TestWhatIsQuotedIsForPeople(t *testing.T) {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadDingTalk}}}
	body := []byte(`{"errcode":5,"errmsg":"系统\u3000繁忙\u001b[2J\u202e\n!"}`)
	j := Judge(w, &v1alpha1.WebhookDelivery{}, "")(sending.Answer{StatusCode: 200, Body: body})
	if want := "errcode 5: 系统 繁忙\ufffd[2J\ufffd !"; j.Why != want {
		t.Errorf("why is %q, want %q", j.Why, want)
	}
}

// Without rules, nobody is asked.
func TestNoRules(t *testing.T) {
	for _, rules := range []*v1alpha1.ResponseRules{nil, {}} {
		if Judge(&v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Response: rules}}, &v1alpha1.WebhookDelivery{}, "") != nil {
			t.Errorf("%+v", rules)
		}
	}
}

func TestWordsOfRules(t *testing.T) {
	answered := func(code int, j sending.Judgement) sending.Exchange {
		return sending.Exchange{Response: &sending.Response{StatusCode: code}, Judgement: j}
	}
	for name, tc := range map[string]struct {
		x                 sending.Exchange
		explains, quoting string
	}{
		"refused": {
			answered(200, sending.Judgement{Refused: true, Why: "errcode is 5", By: acceptIf}),
			"answered 200 OK, which spec.response.acceptIf does not accept", "not accepted: errcode is 5",
		},
		"rejected": {
			answered(200, sending.Judgement{Refused: true, Why: "errcode is 310000", Final: true, By: giveUpIf}),
			"answered 200 OK; by spec.response.giveUpIf, no retry would help", "not accepted: errcode is 310000",
		},
		"rejected by its code": {answered(400, sending.Judgement{Final: true, By: giveUpIf}), "answered 400 Bad Request; by spec.response.giveUpIf, no retry would help", ""},
		"accepted":             {answered(200, sending.Judgement{}), "answered 200 OK", ""},
	} {
		if got := Explain(tc.x); got != tc.explains {
			t.Errorf("%s: %q", name, got)
		}
		if got := Quote(tc.x); got != tc.quoting {
			t.Errorf("%s: %q", name, got)
		}
	}
	rejected := After(Rejected, Policy{Limit: 10}, Cycle{}, "", now, 0)
	if diff := cmp.Diff(NextAttempt{Reason: v1alpha1.ReasonRejected}, rejected); diff != "" {
		t.Errorf("what follows (-want +got):\n%s", diff)
	}
}
