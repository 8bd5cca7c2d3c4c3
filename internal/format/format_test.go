package format_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

func secret(t testing.TB, text string) *signing.Secret {
	t.Helper()
	s, _, err := signing.ParseSecret([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func of(name v1alpha1.PayloadFormat) *format.Format {
	return format.Of(webhook(&format.Format{Name: name}, ""))
}

// DingTalk's vector was computed by its documentation; Feishu's inputs are those of its sample.
func TestSignatures(t *testing.T) {
	at := time.UnixMilli(1_599_360_473_000)
	dingTalk, err := of(v1alpha1.PayloadDingTalk).Request("https://oapi.dingtalk.com/robot/send?access_token=a%2Fb", "id", at, []byte(`{}`), secret(t, "this is secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "https://oapi.dingtalk.com/robot/send?access_token=a%2Fb&sign=hXZTWifRGHclNuZSKxoXc%2F%2Fsh51SWfVfRIhcdeKs63I%3D&timestamp=1599360473000"
	if diff := cmp.Diff(want, dingTalk.URL); diff != "" {
		t.Errorf("DingTalk (-want +got):\n%s", diff)
	}
	feishu, err := of(v1alpha1.PayloadFeishu).Request("https://open.feishu.cn/open-apis/bot/v2/hook/1", "id", at,
		[]byte(`{"n":9007199254740993,"f":1.50,"text":"<a> & ü \u003c"}`), secret(t, "demo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Numbers and escapes stay as they are, and nothing is escaped that was not.
	want = `{"f":1.50,"n":9007199254740993,"sign":"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=","text":"<a> & ü \u003c","timestamp":"1599360473"}`
	if diff := cmp.Diff(want, string(feishu.Body)); diff != "" {
		t.Errorf("Feishu (-want +got):\n%s", diff)
	}
	for name, r := range map[string]format.Request{"DingTalk": dingTalk, "Feishu": feishu} {
		_, later := r.URL, time.Hour
		again, err := of(v1alpha1.PayloadFormat(name)).Request("https://room.example/?a=b", "id", at.Add(later), []byte(`{}`), secret(t, "demo"), nil)
		if err != nil || cmp.Equal(again.Derived, r.Derived) {
			t.Errorf("%s: a later attempt has the same signature: %v, %v", name, again.Derived, err)
		}
	}
}

// A body that is no JSON object cannot be signed for Feishu, and is not sent unsigned.
func TestUnsignable(t *testing.T) {
	for _, body := range []string{``, `[]`, `null`, `"a"`, `{`} {
		if r, err := of(v1alpha1.PayloadFeishu).Request("https://open.feishu.cn/", "id", at, []byte(body), secret(t, "demo"), nil); err == nil {
			t.Errorf("%s: %s", body, r.Body)
		}
	}
}

// What is derived from the key is found in whatever spelling it goes over the wire, and the
// key itself is not there.
func TestDerivedIsRedacted(t *testing.T) {
	const key = "SEC-a-long-signing-key/+="
	for _, name := range []v1alpha1.PayloadFormat{v1alpha1.PayloadDingTalk, v1alpha1.PayloadFeishu} {
		// At some times, base64 has all of its characters that are escaped in URLs.
		for n := range 50 {
			r, err := of(name).Request("https://room.example/send?access_token=t", "id", at.Add(time.Duration(n)*time.Second), []byte(`{"a":1}`), secret(t, key), nil)
			if err != nil || len(r.Derived) == 0 {
				t.Fatal(name, r.Derived, err)
			}
			sent := r.URL + "\n" + string(r.Body) + "\n" + fmt.Sprint(r.Header)
			if strings.Contains(sent, key) || strings.Contains(sent, url.QueryEscape(key)) {
				t.Errorf("%s sends the key: %s", name, sent)
			}
			redactor := redaction.New(r.Derived...)
			for _, sign := range r.Derived[:1] {
				for spelling, s := range map[string]string{
					"as sent": sent, "plain": sign, "in a query": url.QueryEscape(sign), "in JSON": asJSON(sign),
					"in a query, escaped once more": url.QueryEscape(url.QueryEscape(sign)),
					"in a query within JSON":        asJSON(url.QueryEscape(sign)), "in a header": base64.StdEncoding.EncodeToString([]byte(sign)),
				} {
					redacted := redactor.Redact(s)
					if !strings.Contains(redacted, redaction.Placeholder) || strings.Contains(redacted, sign[:12]) {
						t.Errorf("%s, %s: %s", name, spelling, redacted)
					}
				}
			}
		}
	}
}

// Rooms get neither a token nor webhook-signature, whatever the Webhook names; others do.
func TestHeaders(t *testing.T) {
	for _, f := range format.All() {
		for name, with := range map[string]*signing.Secret{"a secret": secret(t, "s3cr3t-token"), "none": nil} {
			r, err := f.Request("https://room.example/?key=k", "whd_1", at, []byte(`{}`), with, with)
			if err != nil {
				t.Fatal(err)
			}
			token, signature := r.Header.Get("X-Horizon-Webhook-Secret"), r.Header.Get("webhook-signature")
			if room := token == "" && signature == ""; room != (f.Room || with == nil) {
				t.Errorf("%s with %s: token %q, signature %q", f.Name, name, token, signature)
			}
			if signs := len(r.Derived) > 0; signs != (f.Signs() && with != nil) {
				t.Errorf("%s with %s: derived %v", f.Name, name, r.Derived)
			}
			if r.Header.Get("Content-Type") != f.ContentType || r.Header.Get("webhook-id") != "whd_1" {
				t.Errorf("%s: %v", f.Name, r.Header)
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	for name, tc := range map[string]struct {
		format        v1alpha1.PayloadFormat
		key           bool
		address, want string
	}{
		"DingTalk":                       {v1alpha1.PayloadDingTalk, true, "https://a.example/send?access_token=x", "https://a.example/send?access_token=x&sign=S&timestamp=1700000000000"},
		"without a query":                {v1alpha1.PayloadDingTalk, true, "https://a.example/send", "https://a.example/send?sign=S&timestamp=1700000000000"},
		"with an empty one":              {v1alpha1.PayloadDingTalk, true, "https://a.example/send?", "https://a.example/send?sign=S&timestamp=1700000000000"},
		"with one that is kept as it is": {v1alpha1.PayloadDingTalk, true, "https://a.example/send?b=%2f+&a=1&b=;&", "https://a.example/send?b=%2f+&a=1&b=;&sign=S&timestamp=1700000000000"},
		"with a question in it":          {v1alpha1.PayloadDingTalk, true, "https://a.example/send?b=?", "https://a.example/send?b=?&sign=S&timestamp=1700000000000"},
		"DingTalk without a key":         {v1alpha1.PayloadDingTalk, false, "https://a.example/send?access_token=x", "https://a.example/send?access_token=x"},
		"Feishu":                         {v1alpha1.PayloadFeishu, true, "https://a.example/hook/x", "https://a.example/hook/x"},
		"WeCom":                          {v1alpha1.PayloadWeCom, false, "https://a.example/send?key=x", "https://a.example/send?key=x"},
		"Slack":                          {v1alpha1.PayloadSlack, false, "https://a.example/services/T/B/x", "https://a.example/services/T/B/x"},
		"Teams":                          {v1alpha1.PayloadTeams, false, "https://a.example/invoke?sp=%2Ftriggers&sig=x_-", "https://a.example/invoke?sp=%2Ftriggers&sig=x_-"},
		"Discord":                        {v1alpha1.PayloadDiscord, false, "https://a.example/api/webhooks/1/x", "https://a.example/api/webhooks/1/x?wait=true"},
		"Discord, a thread":              {v1alpha1.PayloadDiscord, false, "https://a.example/api/webhooks/1/x?thread_id=2", "https://a.example/api/webhooks/1/x?thread_id=2&wait=true"},
		"Discord, waiting":               {v1alpha1.PayloadDiscord, false, "https://a.example/api/webhooks/1/x?wait=true&thread_id=2", "https://a.example/api/webhooks/1/x?wait=true&thread_id=2"},
		"Discord, as somebody says":      {v1alpha1.PayloadDiscord, false, "https://a.example/api/webhooks/1/x?wait=false", "https://a.example/api/webhooks/1/x?wait=false"},
		"Horizon":                        {v1alpha1.PayloadHorizon, false, "https://a.example/x?", "https://a.example/x?"},
	} {
		var key *signing.Secret
		if tc.key {
			key = secret(t, "demo-key")
		}
		r, err := of(tc.format).Request(tc.address, "id", time.UnixMilli(1_700_000_000_000), []byte(`{}`), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := r.URL
		for _, sign := range r.Derived {
			got = strings.ReplaceAll(got, url.QueryEscape(sign), "S")
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Answers as the services give them.
func TestJudge(t *testing.T) {
	const minute = time.Minute
	type want struct {
		refused, final bool
		rest           time.Duration
		why            string
	}
	huge := strings.Repeat(" ", 48<<10)
	for _, tc := range []struct {
		format v1alpha1.PayloadFormat
		status int
		body   string
		want   want
	}{
		{v1alpha1.PayloadHorizon, 200, `<html>`, want{}},
		{v1alpha1.PayloadCloudEvents, 202, ``, want{}},

		{v1alpha1.PayloadDingTalk, 200, `{"errcode":0,"errmsg":"ok"}`, want{}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":310000,"errmsg":"keywords not in content, more: [https://open.dingtalk.com]"}`, want{true, true, 0, "errcode 310000: keywords not in content"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":310000,"errmsg":"sign not match"}`, want{true, true, 0, "errcode 310000: sign not match"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":300001,"errmsg":"token is not exist"}`, want{true, true, 0, "copy the address"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}`, want{true, false, 10 * minute, "errcode 130101: send too fast"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":-1,"errmsg":"system busy"}`, want{true, false, 0, "errcode -1: system busy"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":300005,"errmsg":"token is not exist"}`, want{true, true, 0, "copy the address"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":310000,"errcode":0}`, want{true, false, 0, "a field twice"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":0,"errcode":310000}`, want{true, false, 0, "a field twice"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":"0"}`, want{true, false, 0, "no errcode"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":null}`, want{true, false, 0, "no errcode"}},
		{v1alpha1.PayloadDingTalk, 200, `{}`, want{true, false, 0, "no errcode"}},
		{v1alpha1.PayloadDingTalk, 200, ``, want{true, false, 0, "not JSON"}},
		{v1alpha1.PayloadDingTalk, 200, `<html>sign in</html>`, want{true, false, 0, "not JSON"}},
		{v1alpha1.PayloadDingTalk, 200, `[0]`, want{true, false, 0, "not JSON"}},
		{v1alpha1.PayloadDingTalk, 200, `{"errcode":0,"more":"` + huge, want{true, false, 0, "not JSON"}},
		{v1alpha1.PayloadDingTalk, 502, `<html>Bad Gateway</html>`, want{true, false, 0, "not JSON"}},

		{v1alpha1.PayloadFeishu, 200, `{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}`, want{}},
		{v1alpha1.PayloadFeishu, 200, `{"StatusCode":0,"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}`, want{true, true, 0, "code 19021: sign match fail"}},
		{v1alpha1.PayloadFeishu, 200, `{"StatusCode":0,"StatusMessage":"success"}`, want{true, false, 0, "no code"}},
		{v1alpha1.PayloadFeishu, 200, `{"code":19022,"msg":"Ip Not Allowed"}`, want{true, true, 0, "code 19022: Ip Not Allowed"}},
		{v1alpha1.PayloadFeishu, 200, `{"code":19024,"msg":"Key Words Not Found"}`, want{true, true, 0, "code 19024: Key Words Not Found"}},
		{v1alpha1.PayloadFeishu, 200, `{"code":19007,"msg":"Bot Not Enabled"}`, want{true, true, 0, "switch it on"}},
		{v1alpha1.PayloadFeishu, 200, `{"code":19001,"msg":"param invalid: incoming webhook access token invalid"}`, want{true, true, 0, "copy the address"}},
		{v1alpha1.PayloadFeishu, 200, `{"code":9499,"msg":"too many request","data":{}}`, want{true, false, 3 * time.Second, "code 9499: too many request"}},
		{v1alpha1.PayloadFeishu, 200, `{"code":9499,"msg":"Bad Request","data":{}}`, want{true, true, 0, "code 9499: Bad Request"}},
		{v1alpha1.PayloadFeishu, 400, `{"code":9499,"msg":"Bad Request","data":{}}`, want{true, true, 0, "spec.payload.template"}},
		{v1alpha1.PayloadFeishu, 200, `{"code":11232,"msg":"frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]"}`, want{true, false, 3 * time.Second, "code 11232"}},

		{v1alpha1.PayloadWeCom, 200, `{"errcode":0,"errmsg":"ok"}`, want{}},
		{v1alpha1.PayloadWeCom, 200, `{"errcode":93000,"errmsg":"invalid webhook url, hint: [1], from ip: 192.0.2.1"}`, want{true, true, 0, "errcode 93000: invalid webhook url"}},
		{v1alpha1.PayloadWeCom, 200, `{"errcode":40058,"errmsg":"markdown.content exceed max length 4096. invalid Request Parameter"}`, want{true, true, 0, "errcode 40058: markdown.content exceed"}},
		{v1alpha1.PayloadWeCom, 200, `{"errcode":45009,"errmsg":"api freq out of limit"}`, want{true, false, minute, "errcode 45009: api freq out of limit"}},
		{v1alpha1.PayloadWeCom, 200, `{"errcode":-1,"errmsg":"system error"}`, want{true, false, 0, "errcode -1"}},

		{v1alpha1.PayloadSlack, 200, `ok`, want{}},
		{v1alpha1.PayloadSlack, 200, "ok\n", want{}},
		{v1alpha1.PayloadSlack, 200, `{"ok":true}`, want{}},
		{v1alpha1.PayloadSlack, 200, `{"ok":false,"error":"invalid_auth"}`, want{true, false, 0, "invalid_auth"}},
		{v1alpha1.PayloadSlack, 200, ``, want{true, false, 0, "not ok"}},
		{v1alpha1.PayloadSlack, 200, `<html>sign in</html>`, want{true, false, 0, "not ok"}},
		{v1alpha1.PayloadSlack, 400, `invalid_payload`, want{true, true, 0, "invalid_payload (the body"}},
		{v1alpha1.PayloadSlack, 400, `no_text`, want{true, true, 0, "no_text"}},
		{v1alpha1.PayloadSlack, 403, `action_prohibited`, want{true, true, 0, "action_prohibited"}},
		{v1alpha1.PayloadSlack, 403, `invalid_token`, want{true, true, 0, "copy it again"}},
		{v1alpha1.PayloadSlack, 404, `no_service`, want{true, true, 0, "no_service (the incoming webhook was removed"}},
		{v1alpha1.PayloadSlack, 404, `channel_not_found`, want{true, true, 0, "channel_not_found"}},
		{v1alpha1.PayloadSlack, 404, `<html>404 page not found</html>`, want{true, false, 0, "not ok"}},
		{v1alpha1.PayloadSlack, 410, `channel_is_archived`, want{true, true, 0, "archived"}},
		{v1alpha1.PayloadSlack, 429, `rate_limited`, want{true, false, 0, "rate_limited"}},
		{v1alpha1.PayloadSlack, 500, `rollup_error`, want{true, false, 0, "rollup_error"}},

		{v1alpha1.PayloadTeams, 202, ``, want{}},
		{v1alpha1.PayloadTeams, 200, `1`, want{}},
		{v1alpha1.PayloadTeams, 200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413 with ContextId tcid=0", want{true, false, 0, "HTTP error 413"}},
		{v1alpha1.PayloadTeams, 200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId tcid=0", want{true, false, time.Second, "HTTP error 429"}},
		{v1alpha1.PayloadTeams, 404, `{"error":{"code":"WorkflowNotFound","message":"The workflow 'x' could not be found."}}`, want{true, true, 0, "copy its address"}},
		{v1alpha1.PayloadTeams, 400, `{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"trigger is not enabled"}}`, want{true, true, 0, "switch it on"}},
		{v1alpha1.PayloadTeams, 401, `{"error":{"code":"DirectApiAuthorizationRequired","message":"…"}}`, want{true, true, 0, "anyone"}},
		{v1alpha1.PayloadTeams, 404, `<html>not found</html>`, want{}},
		{v1alpha1.PayloadTeams, 502, `{"error":{"code":"BadGateway","message":"no answer"}}`, want{true, false, 0, "BadGateway: no answer"}},
		{v1alpha1.PayloadTeams, 429, `{"error":{"code":"WorkflowRunActionThrottled","message":"later"}}`, want{true, false, 0, "later"}},

		{v1alpha1.PayloadDiscord, 200, `{"id":"1","type":0,"content":"","embeds":[{}]}`, want{}},
		{v1alpha1.PayloadDiscord, 204, ``, want{}},
		{v1alpha1.PayloadDiscord, 429, `{"message":"You are being rate limited.","retry_after":0.65,"global":false}`, want{rest: 650 * time.Millisecond}},
		{v1alpha1.PayloadDiscord, 429, `{"message":"You are being rate limited.","retry_after":1e30,"global":true,"code":0}`, want{rest: time.Hour, why: "code 0"}},
		{v1alpha1.PayloadDiscord, 429, `{"retry_after":-1}`, want{}},
		{v1alpha1.PayloadDiscord, 429, `error code: 1015`, want{}},
		{v1alpha1.PayloadDiscord, 200, `{"retry_after":5}`, want{}},
		{v1alpha1.PayloadDiscord, 404, `{"message":"Unknown Webhook","code":10015}`, want{final: true, why: "code 10015: Unknown Webhook (the webhook was deleted"}},
		{v1alpha1.PayloadDiscord, 401, `{"message":"Invalid Webhook Token","code":50027}`, want{final: true, why: "copy the address"}},
		{v1alpha1.PayloadDiscord, 400, `{"message":"Invalid Form Body","code":50035,"errors":{}}`, want{final: true, why: "spec.payload.template"}},
		{v1alpha1.PayloadDiscord, 400, `{"message":"Maximum number of webhooks reached","code":30007}`, want{why: "code 30007"}},
		{v1alpha1.PayloadDiscord, 404, `<html>not found</html>`, want{}},
	} {
		f := of(tc.format)
		v := f.Judge(webhook(f, ""), tc.status, []byte(tc.body))
		where := fmt.Sprintf("%s, %d %.80s", tc.format, tc.status, tc.body)
		if got := (want{v.Refused, v.Final, v.Rest, tc.want.why}); got != tc.want {
			t.Errorf("%s: %+v", where, v)
		}
		if !strings.Contains(v.Why, tc.want.why) || (v.Refused || v.Final) && v.Why == "" {
			t.Errorf("%s: why: %q", where, v.Why)
		}
	}
}

// A service that says no more rests as long as the span of the Webhook's own rate limit,
// unless it is known to want longer.
func TestRest(t *testing.T) {
	w := webhook(of(v1alpha1.PayloadWeCom), "")
	w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 3, PerSeconds: 40}
	if v := format.Of(w).Judge(w, 200, []byte(`{"errcode":45009}`)); v.Rest != 40*time.Second {
		t.Errorf("WeCom rests %v", v.Rest)
	}
	w = webhook(of(v1alpha1.PayloadDingTalk), "")
	w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 3, PerSeconds: 40}
	if v := format.Of(w).Judge(w, 200, []byte(`{"errcode":130101}`)); v.Rest != 10*time.Minute {
		t.Errorf("DingTalk rests %v", v.Rest)
	}
}

func TestRateLimits(t *testing.T) {
	got := map[v1alpha1.PayloadFormat]string{}
	for _, f := range format.All() {
		limit := format.RateLimitOf(webhook(f, ""))
		got[f.Name] = fmt.Sprintf("%d in %d s", limit.Requests, limit.PerSeconds)
	}
	want := map[v1alpha1.PayloadFormat]string{
		v1alpha1.PayloadHorizon: "0 in 0 s", v1alpha1.PayloadCloudEvents: "0 in 0 s",
		v1alpha1.PayloadDingTalk: "20 in 60 s", v1alpha1.PayloadFeishu: "5 in 3 s", v1alpha1.PayloadWeCom: "20 in 60 s",
		v1alpha1.PayloadSlack: "1 in 1 s", v1alpha1.PayloadTeams: "2 in 1 s", v1alpha1.PayloadDiscord: "5 in 10 s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A text that a person wrote is what is kept, not what was signed.
func TestSigningLeavesTheBodyAlone(t *testing.T) {
	body := []byte(`{"b":1,"a":2}`)
	r, err := of(v1alpha1.PayloadFeishu).Request("https://open.feishu.cn/", "id", at, body, secret(t, "demo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != `{"b":1,"a":2}` || strings.Contains(string(body), "sign") || !strings.Contains(string(r.Body), "sign") {
		t.Errorf("%s became %s", body, r.Body)
	}
	if !json.Valid(r.Body) {
		t.Errorf("%s", r.Body)
	}
}
