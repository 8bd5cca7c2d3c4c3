package insight

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

func filter(text string) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.Filter = text }
}

func template(text string) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.Payload = &v1alpha1.PayloadSettings{Template: text} }
}

func acceptIf(text string) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.Response = &v1alpha1.ResponseRules{AcceptIf: text} }
}

// invalid is what the operator says of a Webhook with a mistake.
func invalid(reason, message string) func(*v1alpha1.Webhook) {
	return says(v1alpha1.ConditionReady, metav1.ConditionFalse, reason, message)
}

const (
	misspelt      = `event.cluster.nme == "web"`
	misspeltCaret = "  | event.cluster.nme == \"web\"\n  | ..............^"
)

func onCluster(e *v1alpha1.WebhookEvent) {
	e.Spec.Cluster = &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "web-prod", Env: "staging"}
}

// What a filter says of an event, with the values that decide.
func TestFiltered(t *testing.T) {
	for name, tc := range map[string]struct {
		filter  string
		event   []func(*v1alpha1.WebhookEvent)
		reason  string
		message string
		detail  string
		parts   []string
		help    string
	}{
		"false": {
			filter: `event.cluster.env == "online"`, event: []func(*v1alpha1.WebhookEvent){unmatched("Filter", "a")},
			reason: "Filter", message: `its filter is false for the event: event.cluster.env is "staging"`, parts: []string{`event.cluster.env="staging"`},
			help: "change spec.filter: `kubectl horizon edit a -n music`; `kubectl horizon replay a --since 2026-11-23T08:00:00Z -n music` then brings this event",
		},
		"false, in parts": {
			filter: "event.cluster.env == \"online\"\n  && event.cluster.name == \"web-prod\"", reason: "Filter",
			message: `event.cluster.env == "online" is false, event.cluster.env is "staging", event.cluster.name == "web-prod" is true, event.cluster.name is "web-prod"`,
			parts: []string{
				`event.cluster.env == "online"=false`, `event.cluster.env="staging"`,
				`event.cluster.name == "web-prod"=true`, `event.cluster.name="web-prod"`,
			},
		},
		"fails": {
			filter: `1 / size(event.extra) == 1`, event: []func(*v1alpha1.WebhookEvent){func(e *v1alpha1.WebhookEvent) {
				e.Status.Unmatched = []v1alpha1.Unmatched{{Reason: "FilterError", Message: "division by zero", Count: 1, Webhooks: []string{"a"}}}
			}},
			reason: "FilterError", message: "its filter fails for the event, so this is not sent: division by zero", help: "mend spec.filter: ",
		},
		"does not compile": {
			filter: misspelt, reason: "FilterInvalid", message: "it follows nothing, since spec.filter does not compile: 1:15: undefined field 'nme'",
			detail: misspeltCaret, help: "then brings this event",
		},
		"did not compile, and is false now": {
			filter: `event.cluster.env == "online"`, event: []func(*v1alpha1.WebhookEvent){unmatched("FilterInvalid", "a")},
			reason: "FilterInvalid", message: `(FilterInvalid); as it is now, its filter is false for the event: event.cluster.env is "staging"`,
		},
		"did not compile, and is true now": {
			filter: `event.cluster.env == "staging"`, event: []func(*v1alpha1.WebhookEvent){unmatched("FilterInvalid", "a")},
			reason: ReasonEditedLater, message: "follows such events now", help: "`kubectl horizon replay a --since",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := event(append(tc.event, dispatched("Unmatched"), onCluster)...)
			got := viewOf(e, []*v1alpha1.Webhook{webhook("a", filter(tc.filter))}).of()[0]
			if got.Outcome != NotFollowed || got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) || !strings.Contains(got.Help, tc.help) {
				t.Errorf("got  %+v\nwant %s %q %q", got, tc.reason, tc.message, tc.help)
			}
			if diff := cmp.Diff(tc.detail, got.Detail); diff != "" {
				t.Errorf("detail (-want +got):\n%s", diff)
			}
			var parts []string
			for _, p := range got.Parts {
				parts = append(parts, p.Text+"="+p.Value)
			}
			if diff := cmp.Diff(tc.parts, parts); tc.parts != nil && diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

// An event's status has the message of the first Webhook of a reason, and of no other.
func TestMessageOfAnotherWebhook(t *testing.T) {
	e := event(dispatched("Unmatched"), func(e *v1alpha1.WebhookEvent) {
		e.Status.Unmatched = []v1alpha1.Unmatched{{Reason: "FilterError", Message: "of a", Count: 2, Webhooks: []string{"a", "b"}}}
	})
	for _, row := range viewOf(e, []*v1alpha1.Webhook{webhook("a"), webhook("b")}).of() {
		if got, want := strings.Contains(row.Message, "of a"), row.Webhook.Name == "a"; got != want {
			t.Errorf("%s: %s", row.Webhook.Name, row.Message)
		}
	}
}

// A long filter is cut in a sentence, and not in the parts.
func TestValuesAreBounded(t *testing.T) {
	long := `event.extra == "` + strings.Repeat("x", 300) + `"`
	w := webhook("a", filter(strings.Repeat(long+" || ", 9)+long))
	f := unfollowed(w, event(), matching.Match(w, event()), now)
	if n := len(f.Message); n > 2000 || !strings.Contains(f.Message, "x…") || !strings.Contains(f.Message, ", and ") {
		t.Errorf("%d bytes: %s", n, f.Message)
	}
	if len(f.Parts) < 10 {
		t.Errorf("%d parts", len(f.Parts))
	}
}

func TestMistakes(t *testing.T) {
	failing := says(v1alpha1.ConditionFilterFailing, metav1.ConditionTrue, v1alpha1.ReasonFilterError, "spec.filter failed for the event horizon-1")
	for name, tc := range map[string]struct {
		changes []func(*v1alpha1.Webhook)
		reasons string // of what OfWebhook finds
		holds   string // what keeps deliveries
		message string
		detail  string
	}{
		"a filter holds nothing": {
			[]func(*v1alpha1.Webhook){filter(misspelt), invalid("FilterInvalid", "spec.filter does not compile:\n…")}, "FilterInvalid", "",
			"the webhook is not Ready (FilterInvalid): it follows nothing, though what is recorded already goes on, since spec.filter does not compile: 1:15: undefined field 'nme'",
			misspeltCaret,
		},
		"a template": {
			[]func(*v1alpha1.Webhook){template(`{"a": foo}`), invalid("PayloadInvalid", "spec.payload.template does not compile:\n…")}, "NotReady", "NotReady",
			"the webhook is not Ready (PayloadInvalid): deliveries wait, since spec.payload.template does not compile: 1:7: ",
			"  | {\"a\": foo}\n  | ......^",
		},
		"a rule, which the operator has not looked at": {
			[]func(*v1alpha1.Webhook){acceptIf(`response.code == 0`)}, "NotReady", "NotReady",
			"(ResponseRuleInvalid): deliveries wait, since spec.response.acceptIf does not compile: 1:", "",
		},
		"a filter and a template": {
			[]func(*v1alpha1.Webhook){filter(misspelt), template("foo"), invalid("FilterInvalid", "")}, "NotReady FilterInvalid", "NotReady", "PayloadInvalid", "",
		},
		"a template, and a Secret is missing": {
			[]func(*v1alpha1.Webhook){template("foo"), bare}, "NotReady NotReady", "NotReady", "SecretNotFound", "",
		},
		"what only the operator finds": {
			[]func(*v1alpha1.Webhook){template("{}"), invalid("PayloadInvalid", "spec.payload.template does not compile:\n1:1: too new\n  | {}\n  | ^")},
			"NotReady", "NotReady", "since spec.payload.template does not compile: 1:1: too new", "  | {}\n  | ^",
		},
		"mended, and the operator has not looked": {
			[]func(*v1alpha1.Webhook){template("{}"), invalid("PayloadInvalid", "spec.payload.template does not compile:\n1:1: no"), edited}, ReasonNotObserved, "", "", "",
		},
		"a filter that fails":                 {[]func(*v1alpha1.Webhook){filter("1/0 == 1"), failing}, "FilterError", "", "failed for the event horizon-1", ""},
		"a filter that failed before an edit": {[]func(*v1alpha1.Webhook){failing, edited}, ReasonNotObserved, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := webhook("a", tc.changes...)
			all := OfWebhook(w, now)
			var reasons []string
			for _, f := range all {
				reasons = append(reasons, f.Reason)
			}
			if diff := cmp.Diff(tc.reasons, strings.Join(reasons, " ")); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if !strings.Contains(all[0].Message, tc.message) {
				t.Errorf("got %q, want %q", all[0].Message, tc.message)
			}
			if tc.detail != "" && all[0].Detail != tc.detail {
				t.Errorf("detail (-want +got):\n%s", cmp.Diff(tc.detail, all[0].Detail))
			}
			holds := ""
			if h := hold(w, now); h != nil {
				holds = h.Reason
			}
			if holds != tc.holds {
				t.Errorf("held by %q, want %q", holds, tc.holds)
			}
		})
	}
}

func TestOfDeliveryWithExpressions(t *testing.T) {
	const initial, asked = v1alpha1.CauseInitial, v1alpha1.CauseResend
	refused := func(final bool) func(*v1alpha1.WebhookDelivery) {
		return func(d *v1alpha1.WebhookDelivery) {
			x := sending.Exchange{Start: now.Add(-time.Minute), Response: &sending.Response{StatusCode: 200}}
			x.Judgement = sending.Judgement{Refused: true, By: "spec.response.giveUpIf", Why: "errcode is 310000", Final: final}
			delivery.AddAttempt(d, delivery.Attempt{Cause: initial, Exchange: x})
		}
	}
	failPayload := func(d *v1alpha1.WebhookDelivery) {
		delivery.FailPayload(d, "spec.payload.template of the webhook made no body: no such key: env", now)
	}
	waits := func(d *v1alpha1.WebhookDelivery) {
		delivery.Wait(d, delivery.WaitReason{Reason: "NotReady", Message: "spec.payload.template does not compile:\n1:1: too new\n  | {}\n  | ^"}, now)
	}
	type steps = []func(*v1alpha1.WebhookDelivery)
	for name, tc := range map[string]struct {
		steps   steps
		changes []func(*v1alpha1.Webhook)
		unknown bool // the Webhook may not be read
		outcome Outcome
		reason  string
		message string
		detail  string
		help    string
	}{
		"rejected": {
			steps: steps{refused(true)}, outcome: Failed, reason: "Rejected",
			message: "the receiver answered 200 OK; by spec.response.giveUpIf, no retry would help; the last attempt, at 2026-11-23T08:59:00Z (60s ago), failed: not accepted: errcode is 310000",
			help:    "`kubectl horizon edit smoke -n music`), then send it again: `kubectl horizon resend smoke-",
		},
		"no body": {
			steps: steps{failPayload}, outcome: Failed, reason: "PayloadError",
			message: "nothing was sent: spec.payload.template of the webhook made no body: no such key: env",
			help:    "try it (`kubectl horizon render smoke --event horizon-78402 -n music`), then send it again: `kubectl horizon resend smoke-",
		},
		"no body for a resend of what was delivered": {
			steps: steps{attempt(200, 55*time.Minute, initial), ask("x"), failPayload}, outcome: Delivered, reason: ReasonResendFailed,
			message: "it was delivered before; the last resend failed: spec.payload.template of the webhook made no body", help: "resend smoke-",
		},
		"not accepted, and resent": {
			steps: steps{refused(true), ask("x"), attempt(200, time.Second, asked)}, outcome: Delivered, reason: "Accepted", message: "200 OK",
		},
		"waits for a template": {
			steps: steps{waits}, changes: []func(*v1alpha1.Webhook){template("foo")}, outcome: Waiting, reason: "NotReady",
			message: "(PayloadInvalid): deliveries wait, since spec.payload.template does not compile: 1:1: ", detail: "  | foo\n  | ^", help: "mend spec.payload.template",
		},
		"a resend waits for a template": {
			steps: steps{failPayload, ask("x")}, changes: []func(*v1alpha1.Webhook){template("foo")}, outcome: Waiting, reason: "NotReady",
			message: "a resend was asked for (x) and cannot begin: the webhook is not Ready (PayloadInvalid)", detail: "  | foo\n  | ^",
		},
		"waits for a template that is mended": {steps: steps{waits}, outcome: Waiting, reason: "Queued"},
		"waits for a template, as the record tells it": {
			steps: steps{waits}, unknown: true, outcome: Waiting, reason: "NotReady",
			message: "spec.payload.template does not compile: 1:1: too new", detail: "  | {}\n  | ^",
		},
		"a filter that does not compile holds nothing": {
			steps: steps{wait("Queued")}, changes: []func(*v1alpha1.Webhook){filter(misspelt), invalid("FilterInvalid", "")}, outcome: Waiting, reason: "Queued",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := webhook("smoke", tc.changes...)
			d := record(t, w, tc.steps...)
			got := OfRecord(d, now)
			if !tc.unknown {
				got = OfDelivery(d, w, now)
			}
			if got.Outcome != tc.outcome || got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) || !strings.Contains(got.Help, tc.help) {
				t.Errorf("got  %+v\nwant %s %s %q %q", got, tc.outcome, tc.reason, tc.message, tc.help)
			}
			if diff := cmp.Diff(tc.detail, got.Detail); diff != "" {
				t.Errorf("detail (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRenderOfExpressions(t *testing.T) {
	cloudEvents := func(w *v1alpha1.Webhook) {
		w.Spec.Payload = &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadCloudEvents}
	}
	for name, tc := range map[string]struct {
		changes     []func(*v1alpha1.Webhook)
		contentType string
		body        string // how it begins
		outcome     Outcome
		reason      string
		noBody      string
		note        string
	}{
		"CloudEvents": {
			[]func(*v1alpha1.Webhook){cloudEvents}, "application/cloudevents+json", `{"specversion":"1.0","id":"whd_`, Sent, "", "", "",
		},
		"template": {
			[]func(*v1alpha1.Webhook){template(`{"text": event.cluster.name + " for " + webhook.name}`)},
			"application/json;charset=utf-8", `{"text":"web-prod for a"}`, Sent, "", "", "",
		},
		"template that does not compile": {
			[]func(*v1alpha1.Webhook){template(`{"a": foo}`)}, "application/json;charset=utf-8", "", Waiting, "NotReady",
			"spec.payload.template does not compile: 1:7: ", "",
		},
		"template that fails": {
			[]func(*v1alpha1.Webhook){template(`{"a": 1 / size(event.extra)}`)}, "application/json;charset=utf-8", "", Failed, "PayloadError",
			"spec.payload.template makes no body of the event: division by zero", "",
		},
		"template that fails, of an event that is not followed": {
			[]func(*v1alpha1.Webhook){template(`{"a": 1 / size(event.extra)}`), triggers("members_*")}, "application/json;charset=utf-8", "", NotFollowed, "Trigger",
			"division by zero", "",
		},
		"filter that is true": {
			[]func(*v1alpha1.Webhook){filter(`event.cluster.env == "staging"`)}, "application/json;charset=utf-8", `{"eventID":78402`, Sent, "", "",
			`its filter is true for the event: event.cluster.env is "staging"`,
		},
		"filter that is false": {
			[]func(*v1alpha1.Webhook){filter(`event.cluster.env == "online"`)}, "application/json;charset=utf-8", `{"eventID":78402`, NotFollowed, "Filter", "", "",
		},
		"filter that does not compile": {
			[]func(*v1alpha1.Webhook){filter(misspelt)}, "application/json;charset=utf-8", `{"eventID":78402`, NotFollowed, "FilterInvalid", "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Render(webhook("a", tc.changes...), event(onCluster), DefaultSystemNamespace, now)
			if err != nil {
				t.Fatal(err)
			}
			if r.Outcome != tc.outcome || r.Reason != tc.reason || !strings.HasPrefix(r.Body, tc.body) || tc.body == "" && r.Body != "" {
				t.Errorf("got %+v", r)
			}
			if h := r.Headers[0]; h.Name != "Content-Type" || h.Value != tc.contentType {
				t.Errorf("the content type is %v", h)
			}
			switch {
			case (r.NoBody != nil) != (tc.noBody != ""):
				t.Errorf("no body: %+v", r.NoBody)
			case r.NoBody != nil && !strings.Contains(r.NoBody.Message, tc.noBody):
				t.Errorf("got %q, want %q", r.NoBody.Message, tc.noBody)
			}
			if !strings.Contains(strings.Join(r.Notes, "\n"), tc.note) {
				t.Errorf("got the notes %q, want %q", r.Notes, tc.note)
			}
		})
	}
}

// What a record in store says about the body that is rendered.
func TestStored(t *testing.T) {
	sentAs := func(body string) func(*v1alpha1.WebhookDelivery) {
		return func(d *v1alpha1.WebhookDelivery) {
			d.Status.Request = &v1alpha1.RequestRecord{URL: "https://a", Body: body}
		}
	}
	const differs, log = "which now is not the body above", "what was sent last is not the body above: `kubectl horizon log smoke-"
	for name, tc := range map[string]struct {
		webhook func(*v1alpha1.Webhook)
		sent    func(*v1alpha1.WebhookDelivery)
		body    string
		want    string
		not     string
	}{
		"the same":              {func(*v1alpha1.Webhook) {}, sentAs(""), `{"eventID":78402}`, "a resend makes its body anew", log},
		"another number":        {func(*v1alpha1.Webhook) {}, sentAs(""), `{"eventID":78402,"webhookID":7}`, differs, "no such"},
		"another template then": {template(`{"a": 1}`), sentAs(`{"a":0}`), `{"a":1}`, log, differs},
		"nothing sent":          {template(`{"a": 1}`), func(*v1alpha1.WebhookDelivery) {}, `{"a":1}`, "is in store", log},
		"redacted":              {template(`{"a": 1}`), sentAs(`{"a":"[redacted]"}`), `{"a":1}`, "is in store", log},
	} {
		t.Run(name, func(t *testing.T) {
			w := webhook("smoke", tc.webhook)
			got := stored(record(t, w, tc.sent), w, &Request{Body: tc.body})
			if !strings.Contains(got, tc.want) || strings.Contains(got, tc.not) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestCurlOfBodies(t *testing.T) {
	sent := func(body string, cut bool) func(*v1alpha1.WebhookDelivery) {
		return func(d *v1alpha1.WebhookDelivery) {
			d.Status.Request = &v1alpha1.RequestRecord{URL: "https://a", Headers: "Content-Type: x", Body: body, BodyTruncated: cut}
		}
	}
	nothing := func(*v1alpha1.WebhookDelivery) {}
	for name, tc := range map[string]struct {
		step    func(*v1alpha1.WebhookDelivery)
		webhook func(*v1alpha1.Webhook)
		want    []string
		err     string
	}{
		"as it was sent":            {sent(`{"a":1}`, false), template(`{"a": 2}`), []string{`--data-raw '{"a":1}'`}, ""},
		"Horizon's":                 {sent("", false), nil, []string{`--data-raw '{"eventID":78402}'`}, ""},
		"cut":                       {sent(`{"a":1`, true), nil, nil, "is not kept whole (at most 16 KiB are), so the request cannot be repeated by hand: `kubectl horizon resend smoke-"},
		"left out":                  {sent("", true), nil, nil, "is not kept whole"},
		"with a secret":             {sent(`{"a":"[redacted]"}`, false), nil, []string{"# Secrets in the body are kept as [redacted].\n", "--data-raw"}, ""},
		"not sent yet":              {nothing, template(`{"a": 2}`), []string{`--data-raw '{"a":2}'`, "Content-Type: application/json;charset=utf-8"}, ""},
		"not sent yet, CloudEvents": {nothing, func(w *v1alpha1.Webhook) { w.Spec.Payload = &v1alpha1.PayloadSettings{Format: "CloudEvents"} }, []string{"application/cloudevents+json", `"data":{"eventID":78402}`}, ""},
		"not sent yet, and fails":   {nothing, template(`{"a": 1/0}`), nil, "making the body of smoke-"},
		"not sent, webhook unknown": {nothing, nil, nil, ErrNotSent.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			w := webhook("smoke")
			d := record(t, w, tc.step)
			if tc.webhook != nil {
				tc.webhook(w)
			} else {
				w = nil
			}
			got, err := Curl(d, w)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %s", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("got\n%s\nwant %s", got, want)
				}
			}
		})
	}
	if _, err := Curl(record(t, webhook("smoke"), sent("a\x00", false)), nil); err == nil {
		t.Error("a NUL is in a script")
	} else if _, ok := errors.AsType[*UnquotableError](err); !ok {
		t.Error(err)
	}
}

func TestOddExpressions(t *testing.T) {
	for name, tc := range map[string]struct {
		spec v1alpha1.WebhookSpec
		want string
	}{
		"filter":            {v1alpha1.WebhookSpec{Filter: `event.cluster.env == "online"`}, ""},
		"always true":       {v1alpha1.WebhookSpec{Filter: "true || 1 == 2"}, "spec.filter: it is always true: without effect"},
		"always false":      {v1alpha1.WebhookSpec{Filter: "false"}, "spec.filter: it is always false: nothing is ever sent; spec.state: Disabled says that better"},
		"no expression":     {v1alpha1.WebhookSpec{Filter: "foo"}, ""},
		"a name in a text":  {v1alpha1.WebhookSpec{Filter: `"event" == "x"`}, ""},
		"fails always":      {v1alpha1.WebhookSpec{Filter: "1/0 == 1"}, ""},
		"empty payload":     {v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{}}, "spec.payload: without effect: it has neither format nor template"},
		"a format":          {v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{Format: format.All()[0].Name}}, ""},
		"empty response":    {v1alpha1.WebhookSpec{Response: &v1alpha1.ResponseRules{}}, "spec.response: without effect: it has neither acceptIf nor giveUpIf"},
		"accepts nothing":   {v1alpha1.WebhookSpec{Response: &v1alpha1.ResponseRules{AcceptIf: "false"}}, "spec.response.acceptIf: it is always false: no answer is ever accepted"},
		"gives up always":   {v1alpha1.WebhookSpec{Response: &v1alpha1.ResponseRules{GiveUpIf: "true"}}, "spec.response.giveUpIf: it is always true: no failure is ever retried; spec.retry.limit: 0 says that better"},
		"gives up at a 404": {v1alpha1.WebhookSpec{Response: &v1alpha1.ResponseRules{GiveUpIf: "response.statusCode == 404"}}, ""},
		"gives up at a 200": {v1alpha1.WebhookSpec{Response: &v1alpha1.ResponseRules{GiveUpIf: " response.statusCode==200"}},
			"spec.response.giveUpIf: without effect: it is asked about answers that are not accepted, and without acceptIf each 2xx is"},
		"gives up at a 200 that is refused": {v1alpha1.WebhookSpec{Response: &v1alpha1.ResponseRules{
			AcceptIf: "response.json.ok", GiveUpIf: "response.statusCode == 200"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, odd := range Oddities(&tc.spec) {
				got = append(got, odd.Field+": "+odd.Message)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Only what the operator says of a mistake is divided.
func TestDetailed(t *testing.T) {
	for message, want := range map[string][2]string{
		"spec.filter does not compile:\n1:1: no\n  | x\n  | ^": {"spec.filter does not compile: 1:1: no", "  | x\n  | ^"},
		"one line":               {"one line", ""},
		"what a receiver\nwrote": {"what a receiver\nwrote", ""},
	} {
		line, detail := Detailed(message)
		if diff := cmp.Diff(want, [2]string{line, detail}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", message, diff)
		}
	}
}
