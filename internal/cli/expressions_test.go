package cli

import (
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// misspelt is a filter with a mistake, and mistakeOfMisspelt what is said of it.
const (
	misspelt          = `event.cluster.nme == "web"`
	mistakeOfMisspelt = "1:15: undefined field 'nme'; did you mean name?"
	caretOfMisspelt   = "  | event.cluster.nme == \"web\"\n  | ..............^"
)

// expressions are what filters, templates and rules keep from being sent.
func expressions() map[string]situation {
	unfollowed := func(filter string) func(b *bed) []string {
		return func(b *bed) []string {
			b.Webhook("w", func(s *v1alpha1.WebhookSpec) { s.Filter = filter })
			b.known()
			e := b.Event(1)
			b.dispatched(e)
			b.past(e, time.Second)
			return at(e)
		}
	}
	edit := func(change func(*v1alpha1.WebhookSpec)) func(*bed) []string {
		return func(b *bed) []string {
			b.spec(change)
			return nil
		}
	}
	template := func(text string) func(*v1alpha1.WebhookSpec) {
		return func(s *v1alpha1.WebhookSpec) { s.Payload = &v1alpha1.PayloadSettings{Template: text} }
	}
	one := func(change func(*v1alpha1.WebhookSpec)) func(*bed) []string {
		return func(b *bed) []string {
			b.Webhook("w", change)
			return at(b.Event(1))
		}
	}
	rejected := func(s *v1alpha1.WebhookSpec) {
		s.Response = &v1alpha1.ResponseRules{AcceptIf: "response.json.errcode == 0", GiveUpIf: "response.json.errcode == 310000"}
	}
	return map[string]situation{
		"a filter that is false": {
			make: unfollowed(`event.cluster.env == "staging"`), reason: "Filter",
			message: `its filter is false for the event: event.cluster.env is "online"`,
			change:  edit(func(s *v1alpha1.WebhookSpec) { s.Filter = `event.cluster.env == "online"` }),
			then:    insight.ReasonEditedLater, thenMessage: "(Filter); it was edited at",
		},
		"a filter that fails": {
			make: unfollowed("1 / size(event.extra) == 1"), reason: "FilterError", message: "its filter fails for the event, so this is not sent: division by zero",
			change: edit(func(s *v1alpha1.WebhookSpec) { s.Filter = "event.extra == ''" }),
			then:   insight.ReasonEditedLater, thenMessage: "(FilterError: division by zero); it was edited at",
		},
		"a filter that does not compile, and a replay": {
			make: unfollowed(misspelt), reason: "FilterInvalid", message: "spec.filter does not compile: " + mistakeOfMisspelt,
			change: func(b *bed) []string {
				b.spec(func(s *v1alpha1.WebhookSpec) { s.Filter = `event.cluster.name == "web-prod"` })
				b.mustRun("replay", "w", "--since", "1h", "--wait")
				return nil
			},
			then: delivered,
		},
		"a template that does not compile": {
			make: one(template(`{"a": event.cluster.nme}`)), reason: "NotReady",
			message: "(PayloadInvalid): deliveries wait, since spec.payload.template does not compile: 1:21: undefined field 'nme'",
			change:  edit(template(`{"a": event.cluster.name}`)), then: delivered,
		},
		"a rule that does not compile": {
			make:    one(func(s *v1alpha1.WebhookSpec) { s.Response = &v1alpha1.ResponseRules{AcceptIf: "response.code == 200"} }),
			reason:  "NotReady",
			message: "(ResponseRuleInvalid): deliveries wait, since spec.response.acceptIf does not compile: 1:10: undefined field 'code'",
			change:  edit(func(s *v1alpha1.WebhookSpec) { s.Response.AcceptIf = "response.statusCode == 200" }), then: delivered,
		},
		"a template that fails": {
			make: one(template(`{"a": 1 / size(event.extra)}`)), reason: "PayloadError", message: "nothing was sent: spec.payload.template of the webhook made no body: division by zero",
			change: func(b *bed) []string {
				b.spec(template(`{"a": size(event.extra)}`))
				b.mended()
				return nil
			},
			then: delivered,
		},
		"a rule that gives up": {
			make: func(b *bed) []string {
				b.Receiver.Script("/w", receiver.Answer{Status: 200, Body: `{"errcode": 310000}`})
				return one(rejected)(b)
			},
			reason: "Rejected", message: "the receiver answered 200 OK; by spec.response.giveUpIf, no retry would help; the last attempt, at ",
			change: func(b *bed) []string {
				b.Receiver.Script("/w", receiver.Answer{Status: 200, Body: `{"errcode": 0}`})
				b.mended()
				return nil
			},
			then: delivered,
		},
	}
}

// Why a filter does not let an event pass is in the answer as data, too.
func TestWhyHasParts(t *testing.T) {
	b := newBed(t)
	b.Webhook("w", func(s *v1alpha1.WebhookSpec) {
		s.Filter = `event.cluster.env == "staging" && !event.user.email.endsWith("@bot")`
	})
	e := b.Event(1)
	b.dispatched(e)
	f, _ := b.ask(at(e))
	b.Expect(f.Parts).To(ContainElements(
		insight.Part{Text: "event.cluster.env", Value: `"online"`, Line: 1, Column: 1},
		insight.Part{Text: "event.user.email", Value: `"test@noreply.com"`, Line: 1, Column: 36},
	))
}

func TestLintExpressions(t *testing.T) {
	b := offline(t)
	b.stdin = validWebhook + `  filter: event.cluster.nme == "web"
  payload:
    template: |
      {"a": event.cluster.name,
       "b": foo,
       "c": "` + "\u202e" + `" + 1}
  response:
    acceptIf: >
      response.code
      == 0
---
` + strings.Replace(validWebhook, "name: a", "name: b", 1) + `  filter: |-
    event.cluster.name
`
	r := b.run("lint", "--offline", "-f", "-")
	b.Expect(r.code).To(Equal(exitUnmet))
	golden(t, "lint/expressions.txt", r.out)
	harmless(t, r.out)

	// A tool reads the lines that do not begin with a space.
	var lines []string
	for line := range strings.Lines(r.out) {
		if strings.HasPrefix(line, " ") {
			continue
		}
		found := lintLine.FindStringSubmatch(strings.TrimSpace(line))
		b.Expect(found).To(HaveLen(3), line)
		field, _, _ := strings.Cut(found[2], ": ")
		lines = append(lines, found[1]+" "+field)
	}
	b.Expect(lines).To(Equal([]string{
		"9 spec.filter", "13 spec.payload.template", "16 spec.response.acceptIf", "29 spec.filter",
	}))

	// What is refused for its length is not compiled, too.
	b.stdin = validWebhook + "  filter: \"" + strings.Repeat("x", 4097) + "\"\n"
	r = b.run("lint", "--offline", "-f", "-")
	b.Expect(strings.Count(r.out, "\n")).To(Equal(1), r.out)
}

func TestTemplate(t *testing.T) {
	b := offline(t)
	for _, width := range []string{"0", "80"} {
		b.width = map[string]int{"0": 0, "80": 80}[width]
		golden(t, "template/list-"+width+".txt", b.mustRun("template", "list"))
	}
	b.width = 0
	b.Expect(b.mustRun("template", "list", "--no-headers")).NotTo(ContainSubstring("FORMAT"))
	for _, f := range format.All() {
		shown := b.mustRun("template", "show", strings.ToLower(string(f.Name)))
		b.Expect(shown).To(HaveSuffix(f.Template()))
		b.Expect(strings.Contains(shown, "// Rate limit: ")).To(Equal(f.RateLimit.Requests > 0), string(f.Name))
		// What it prints can be pasted.
		webhook := validWebhook
		if f.Room {
			webhook = regexp.MustCompile(`(?m)^  url: .*$`).ReplaceAllString(webhook, "  urlSecretRef: {name: room, key: url}")
		}
		b.stdin = webhook + "  payload:\n    format: " + string(f.Name) + "\n    template: |\n" +
			"      " + strings.ReplaceAll(strings.TrimSuffix(shown, "\n"), "\n", "\n      ") + "\n"
		r := b.run("lint", "--offline", "-f", "-")
		b.Expect(r.out).To(BeEmpty(), string(f.Name))
		b.Expect(r.code).To(Equal(0))
	}
	for args, want := range map[string]string{
		"show Telegram": `"Telegram" is no format: there are Horizon, CloudEvents`,
		"show":          "name a format, which `kubectl horizon template list` lists",
		"print":         `there is no command "print": it is list or show FORMAT`,
		"list Horizon":  "list takes no arguments",
	} {
		r := b.run(append([]string{"template"}, strings.Fields(args)...)...)
		b.Expect(r.code).To(Equal(exitUsage), args)
		b.Expect(r.err).To(ContainSubstring(want))
	}
}

// render makes the very body that arrives, in whichever form.
func TestRenderOfBodies(t *testing.T) {
	b := newBed(t)
	b.Webhook("w", func(s *v1alpha1.WebhookSpec) {
		s.Payload = &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadCloudEvents}
	})
	e := b.Event(1)
	d := b.Delivery("w", e, v1alpha1.DeliverySucceeded)
	arrived := b.Receiver.Arrivals("/w")[0]
	b.Expect(b.mustRun("render", "w", "--event", e.Name, "--body")).To(Equal(string(arrived.Body)))
	b.Expect(b.mustRun("render", "w", "--event", e.Name)).To(ContainSubstring("\nContent-Type: " + arrived.Header.Get("Content-Type") + "\n"))
	b.Expect(b.mustRun("log", d.Name, "--body", "request")).To(Equal(string(arrived.Body)))

	b.spec(func(s *v1alpha1.WebhookSpec) { s.Payload.Template = `{"text": event.cluster.name + " is out"}` })
	b.mustRun("resend", d.Name, "--wait")
	arrived = b.Receiver.Arrivals("/w")[1]
	b.Expect(string(arrived.Body)).To(Equal(`{"text":"web-prod is out"}`))
	b.Expect(b.mustRun("render", "w", "--event", e.Name, "--body")).To(Equal(string(arrived.Body)))
	b.Expect(arrived.Header.Get("Content-Type")).To(Equal("application/cloudevents+json"))
	b.Expect(b.mustRun("log", d.Name)).To(And(ContainSubstring("\nRequest body:\n  {\n    \"text\": \"web-prod is out\"\n  }\n"),
		ContainSubstring("\nEvent, of which the body was made:\n  {\n    \"eventID\": 1,\n")))

	for name, tc := range map[string]struct{ template, want string }{
		"does not compile": {`{"a": event.cluster.nme}`, "spec.payload.template does not compile: 1:21: undefined field 'nme'; did you mean name?\n  | {\"a\": event.cluster.nme}\n  | ....................^\n"},
		"fails":            {`{"a": 1 / size(event.extra)}`, "spec.payload.template makes no body of the event: division by zero\n"},
	} {
		b.spec(func(s *v1alpha1.WebhookSpec) { s.Payload.Template = tc.template })
		r := b.run("render", "w", "--event", e.Name, "--body")
		b.Expect(r).To(Equal(ran{"", "error: " + tc.want, exitError}), name)
		r = b.run("render", "w", "--event", e.Name)
		b.Expect(r.code).To(Equal(exitError))
		b.Expect(r.out).To(ContainSubstring("There is no body: "+tc.want), name)
		b.Expect(b.run("render", "w", "--event", e.Name, "-o", "json").out).To(ContainSubstring(`"noBody": {`), name)
	}
}

// A Webhook in a file is tried on an event of the cluster, and nothing is applied.
func TestRenderWith(t *testing.T) {
	b := newBed(t)
	b.Webhook("w", func(s *v1alpha1.WebhookSpec) { s.WebhookID = 7 })
	e := b.Event(1)
	b.Delivery("w", e, v1alpha1.DeliverySucceeded)
	before := b.get("w").ResourceVersion
	viewer := b.as("viewer", "view")
	b.Eventually(func() int { return viewer.run("render", "w", "--event", e.Name).code }).Should(Equal(0))

	file := func(name, spec string) string {
		return "apiVersion: horizoncd.io/v1alpha1\nkind: Webhook\nmetadata: {name: " + name + "}\nspec:\n  url: https://ci.example.com\n" +
			"  triggers: ['*']\n  webhookID: 7\n" + spec
	}
	render := func(args ...string) ran { return viewer.run(append([]string{"render"}, args...)...) }
	with := func(spec string) []string {
		return []string{"w", "--event", e.Name, "--with", b.file("w.yaml", file("w", spec))}
	}
	r := render(with("  filter: event.cluster.env == \"online\"\n  payload: {template: '{\"id\": webhook.id}'}\n")...)
	b.Expect(r.code).To(Equal(0), r.err)
	b.Expect(r.out).To(And(HavePrefix("Sent: "), HaveSuffix("\n\n{\"id\":7}\n"), ContainSubstring("Note: its filter is true for the event: event.cluster.env is \"online\"\n"),
		ContainSubstring("which is not applied by this"), ContainSubstring("POST https://ci.example.com\n"), Not(ContainSubstring("made up")),
		ContainSubstring("\nWebhook-Id: "+b.Receiver.Arrivals("/w")[0].WebhookID+"\n")))
	r = render(with("  filter: event.cluster.env == \"staging\"\n")...)
	b.Expect(r.out).To(HavePrefix(`Not followed (Filter): its filter is false for the event: event.cluster.env is "online"` + "\n"))
	r = render(with("  filter: " + misspelt + "\n")...)
	b.Expect(r.out).To(HavePrefix("Not followed (FilterInvalid): it follows nothing, since spec.filter does not compile: " + mistakeOfMisspelt + "\n" + caretOfMisspelt + "\n"))
	b.Expect(r.code).To(Equal(0), "there is a body")
	r = render(with("  payload: {template: 'foo'}\n")...)
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.out).To(And(HavePrefix("Waiting (NotReady): it would be recorded and wait: "), HaveSuffix("\nThere is no body.\n")))

	// One that is not in the cluster yet.
	r = render("new", "--event", e.Name, "--with", b.file("new.yaml", file("new", "")))
	b.Expect(r.code).To(Equal(0), r.err)
	b.Expect(r.out).To(And(HavePrefix("Sent: "), ContainSubstring("made up, since the webhook is not in the cluster: Webhook-Id\n")))
	b.Expect(b.get("w").ResourceVersion).To(Equal(before))

	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"of another name": {[]string{"new", "--event", e.Name, "--with", b.file("w.yaml", file("w", ""))}, exitError, "is w, not new"},
		"not valid":       {with("  scope: music\n"), exitError, "is not valid, and kubectl horizon lint -f "},
		"no Webhook":      {[]string{"w", "--event", e.Name, "--with", b.file("e.yaml", validEvent)}, exitError, "has 0 manifests of a Webhook"},
		"both from stdin": {[]string{"w", "-f", "-", "--with", "-"}, exitUsage, "cannot both read standard input"},
	} {
		r := render(tc.args...)
		b.Expect(r.code).To(Equal(tc.code), name)
		b.Expect(r.err).To(ContainSubstring(tc.want), name)
	}
}

func TestListenFilter(t *testing.T) {
	b := newBed(t)
	b.Webhook("other")
	staging := func(s *v1alpha1.WebhookEventSpec) { s.Cluster.Env = "staging" }
	d := b.Delivery("other", b.Event(1, staging), v1alpha1.DeliverySucceeded)
	online := b.Delivery("other", b.Event(2), v1alpha1.DeliverySucceeded)
	r := b.start("listen", "--filter", `event.cluster.env == "online" && webhook.id == 7 && 1 / size(event.cluster.name) >= 0`, "--webhook-id", "7",
		"--since", "1h", "--forward-to", b.Receiver.URL("/local"))
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/local") }).Should(Equal([]string{"2"}))
	b.Event(3, staging)
	b.Event(4, func(s *v1alpha1.WebhookEventSpec) { s.Cluster.Name = "" })
	b.Eventually(r.err.String).Should(ContainSubstring("The filter fails for the event horizon-4, which is left out: division by zero\n"))
	b.mustRun("resend", d.Name, "--wait")
	b.mustRun("resend", online.Name, "--wait")
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/local") }).Should(Equal([]string{"2", "2"}))
	b.Event(5)
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/local") }).Should(Equal([]string{"2", "2", "5"}))
	b.Expect(r.interrupt(b)).To(Equal(0))

	b.Expect(b.run("listen", "--filter", misspelt)).To(Equal(
		ran{"", "error: --filter does not compile:\n" + mistakeOfMisspelt + "\n" + caretOfMisspelt + "\n", exitUsage}))
}

func TestExpressionsByFlags(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	template := b.file("template.cel", "{\n  \"text\": event.cluster.name,\n}\n")
	b.mustRun("create", "a", "--url", b.Receiver.URL("/a"), "--trigger", "*", "--filter", `event.cluster.env == "online"`, "--format", "CloudEvents",
		"--template-file", template, "--accept-if", "response.json.ok", "--give-up-if", "response.statusCode == 404")
	want := b.get("a").Spec
	b.Expect(want.Filter).To(Equal(`event.cluster.env == "online"`))
	b.Expect(want.Payload).To(Equal(&v1alpha1.PayloadSettings{Format: "CloudEvents", Template: "{\n  \"text\": event.cluster.name,\n}\n", Language: "en"}))
	b.Expect(want.Response).To(Equal(&v1alpha1.ResponseRules{AcceptIf: "response.json.ok", GiveUpIf: "response.statusCode == 404"}))
	same := func(step string) {
		b.Helper()
		b.Expect(b.get("a").Spec).To(Equal(want), step)
	}
	b.mustRun("edit", "a", "--give-up-if", "response.statusCode == 403")
	want.Response.GiveUpIf = "response.statusCode == 403"
	same("only what was given")
	b.stdin = `{"b": 1}`
	b.mustRun("edit", "a", "--template-file", "-", "--accept-if", "")
	want.Payload.Template, want.Response.AcceptIf = `{"b": 1}`, ""
	same("from standard input, and taken out")
	b.mustRun("edit", "a", "--template-file", "", "--filter", "", "--give-up-if", "", "--format", "Horizon")
	want.Payload.Template, want.Payload.Format, want.Filter, *want.Response = "", "Horizon", "", v1alpha1.ResponseRules{}
	same("all taken out")

	created := b.mustRun("create", "b", "--url", "https://b", "--trigger", "*", "--filter", "", "--accept-if", "", "--template-file", "", "--dry-run=client", "-o", "yaml")
	b.Expect(created).To(And(Not(ContainSubstring("payload")), Not(ContainSubstring("filter")), Not(ContainSubstring("response"))))

	empty, wrong := b.file("empty.cel", "\n"), b.file("wrong.cel", "{\"a\": foo}\n")
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"filter":          {[]string{"--filter", misspelt}, exitUsage, "error: --filter does not compile:\n" + mistakeOfMisspelt + "\n" + caretOfMisspelt + "\n"},
		"template":        {[]string{"--template-file", wrong}, exitUsage, "error: --template-file does not compile:\n1:7: unknown name 'foo'"},
		"rules":           {[]string{"--accept-if", "1", "--give-up-if", "2"}, exitUsage, "--give-up-if does not compile:\n1:1: "},
		"empty template":  {[]string{"--template-file", empty}, exitUsage, "is empty; '' takes the template out"},
		"no file":         {[]string{"--template-file", "/does/not/exist"}, exitError, "--template-file: open /does/not/exist"},
		"format":          {[]string{"--format", "Telegram"}, exitUsage, `--format: "Telegram" is no format: there are Horizon, CloudEvents`},
		"two of stdin":    {[]string{"--template-file", "-", "--secret-from-stdin"}, exitUsage, "cannot both come from standard input"},
		"too long":        {[]string{"--filter", strings.Repeat("x", 4097)}, exitUsage, "--filter does not compile"},
		"a secret in CEL": {[]string{"--filter", `webhook.secret == ""`}, exitUsage, "undefined field 'secret'"},
	} {
		for _, command := range [][]string{{"edit", "a"}, {"create", "c", "--url", "https://c", "--trigger", "*"}} {
			r := b.run(append(command, tc.args...)...)
			b.Expect(r.code).To(Equal(tc.code), "%s: %s", name, r.err)
			b.Expect(r.err).To(ContainSubstring(tc.want), name)
		}
	}
	same("nothing was changed")
	b.Expect(b.gone("c")).To(BeTrue())
}

// The editor is opened again with the mistake on top; one that was there before is left alone.
func TestEditExpressions(t *testing.T) {
	b := newBed(t)
	b.Webhook("a", func(s *v1alpha1.WebhookSpec) {
		s.URL = "https://a"
		s.Response = &v1alpha1.ResponseRules{AcceptIf: "foo"}
	})
	shown := b.editor(`case $n in
1) sed -i 's#^spec:#spec:\n  filter: event.cluster.nme == "web"#' "$1" ;;
2) sed -i 's#cluster.nme#cluster.name#' "$1" ;;
esac`)
	b.Expect(b.mustRun("edit", "a")).To(Equal("webhook.horizoncd.io/a edited\n"))
	b.Expect(shown(2)).To(HavePrefix("# spec.filter does not compile:\n# " + mistakeOfMisspelt + "\n#   | event.cluster.nme == \"web\"\n#   | ..............^\n#\n"))
	b.Expect(b.get("a").Spec.Filter).To(Equal(`event.cluster.name == "web"`))
}

func TestShowExpressions(t *testing.T) {
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{
		URL: "https://chat.example.com/robot", Triggers: []v1alpha1.Trigger{"clusters_*"}, State: v1alpha1.WebhookEnabled, TimeoutSeconds: 30, MaxInFlight: 10,
		Filter: "event.cluster.env == \"online\"\n  && !event.user.email.endsWith(\"@bot\")",
		Payload: &v1alpha1.PayloadSettings{
			Format: v1alpha1.PayloadHorizon, Template: "{\n  \"msgtype\": \"text\",\n  \"text\": {\"content\": event.cluster.nme + \"" + hostileAnswer + strings.Repeat("-", 90) + "\"},\n}\n",
		},
		Response: &v1alpha1.ResponseRules{AcceptIf: "response.json.?errcode.orValue(-1) == 0", GiveUpIf: "response.json.?errcode.orValue(0) == 310000"},
	}}
	w.Namespace, w.Name, w.Generation, w.CreationTimestamp = "music", "chat", 2, metav1.NewTime(now.Add(-48*time.Hour))
	w.Status.ObservedGeneration = 2
	set := func(conditionType string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&w.Status.Conditions, metav1.Condition{
			Type: conditionType, Status: status, Reason: reason, Message: message, ObservedGeneration: 2, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour)),
		})
	}
	set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPayloadInvalid,
		"spec.payload.template does not compile:\n3:37: undefined field 'nme'; did you mean name?\n  | \"text\": {\"content\": event.cluster.nme\n  | ..................................^")
	set(v1alpha1.ConditionFilterFailing, metav1.ConditionTrue, v1alpha1.ReasonFilterError,
		"spec.filter failed for the event horizon-1, which was not sent: "+hostileAnswer+"; once the filter is mended, a replay brings it")
	for _, width := range []string{"0", "80", "160"} {
		var out strings.Builder
		p := &plugin{now: func() time.Time { return now }, width: map[string]int{"0": 0, "80": 80, "160": 160}[width]}
		p.Out = &out
		if err := p.printWebhook(w); err != nil {
			t.Fatal(err)
		}
		harmless(t, out.String())
		golden(t, "webhooks/expressions-"+width+".txt", out.String())
	}
}

func TestShowRateLimited(t *testing.T) {
	now := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	w := &v1alpha1.Webhook{}
	w.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionRateLimited, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRateLimited,
		Message: "deliveries wait for the rate limit of 20 per 60 s", LastTransitionTime: metav1.NewTime(now.Add(-time.Hour)),
	}}
	var out strings.Builder
	p := &plugin{now: func() time.Time { return now }}
	p.Out = &out
	if err := p.printWebhook(w); err != nil {
		t.Fatal(err)
	}
	if want := "yes, since 60m ago: deliveries wait for the rate limit of 20 per 60 s"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out.String())
	}
}
