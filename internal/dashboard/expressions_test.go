package dashboard

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/test/expressions"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// hostileText is what pages must show as text wherever it comes from.
const hostileText = `<img src=x onerror=alert(1)>`

// An expression that does not compile is a mistake beside its field, with its place, and is
// not stored. Mended, it is.
func TestFormExpressions(t *testing.T) {
	b := newBed(t)
	w := b.open(b.path("new")).set("name", "a", "url", b.Receiver.URL("/a"), "triggers", "clusters_deployed",
		"filter", "event.cluster.env == \"online\" &&\nevent.cluster.nme == \""+hostileText+"\"", "template", "{\"text\": }",
		"acceptIf", "response.statusCode", "giveUpIf", "response.json.code == 1", "format", "CloudEvents")
	sent := maps.Clone(w.values)
	for action, code := range map[string]int{"check": http.StatusOK, "submit": http.StatusUnprocessableEntity} {
		w.press(action)
		b.Expect(w.code).To(Equal(code))
		mistakes := w.mistakes()
		delete(mistakes, "summary")
		b.Expect(mistakes).To(HaveLen(3), "%v", mistakes)
		b.Expect(mistakes).To(HaveKeyWithValue("filter", HavePrefix("line 2, column 15: undefined field 'nme'")))
		b.Expect(mistakes).To(HaveKeyWithValue("template", HavePrefix("line 1, column ")))
		b.Expect(mistakes).To(HaveKeyWithValue("acceptIf", ContainSubstring("true or false")))
		b.Expect(w.text("filter-caret")).To(Equal("  | event.cluster.nme == \"" + hostileText + "\"\n  | ..............^"))
		b.Expect(w.text("giveUpIf-caret")).To(BeEmpty())
		b.Expect(w.text("preview")).To(ContainSubstring("Not followed"))
		b.Expect(w.body).NotTo(ContainSubstring(hostileText))
		for _, id := range []string{"filter", "template", "acceptIf", "giveUpIf", "format"} {
			b.Expect(w.values[id]).To(Equal(sent[id]), "what was typed stays")
		}
	}

	w.set("filter", `event.cluster.env == "online"`, "template", "{\n  \"text\": event.cluster.name\n}", "acceptIf", "response.statusCode == 200").press("check")
	b.Expect(w.mistakes()).To(BeEmpty())
	b.Expect(w.text("yaml-text")).To(ContainSubstring("    template: |-\n      {\n        \"text\": event.cluster.name\n      }\n"))
	applied := b.applied(w.text("yaml-text"))
	w.submit()
	b.Expect(applied).To(Equal(b.storedSpec("a")))
	spec := b.stored("a").Spec
	b.Expect(spec.Filter).To(Equal(`event.cluster.env == "online"`))
	b.Expect(spec.Payload).To(Equal(&v1alpha1.PayloadSettings{Format: v1alpha1.PayloadCloudEvents, Template: "{\n  \"text\": event.cluster.name\n}", Language: v1alpha1.LanguageEnglish}))
	b.Expect(spec.Response).To(Equal(&v1alpha1.ResponseRules{AcceptIf: "response.statusCode == 200", GiveUpIf: "response.json.code == 1"}))

	// Taken out, they are null in the manifest.
	w = b.open(b.path("webhooks", "a", "edit")).set("filter", "", "template", "", "acceptIf", "", "giveUpIf", "", "format", "Horizon").press("check")
	applied = b.applied(w.text("yaml-text"))
	w.submit()
	b.Expect(applied).To(Equal(b.storedSpec("a")))
	b.Expect(b.stored("a").Spec.Filter).To(BeEmpty())
	b.Expect(b.stored("a").Spec.Response).To(BeNil())

	// What the API server has against one is told once.
	w = b.open(b.path("webhooks", "a", "edit")).set("filter", strings.Repeat("(", 4097)).press("check")
	b.Expect(w.mistakes()).To(HaveKeyWithValue("filter", And(ContainSubstring("4096"), Not(ContainSubstring("line 1")))))

	// Whoever edits a Webhook whose filter was applied with a mistake sees that at once.
	b.Webhook("b", func(s *v1alpha1.WebhookSpec) { s.Filter = "event.nme" })
	w = b.open(b.path("webhooks", "b", "edit"))
	b.Expect(w.mistakes()).To(HaveKeyWithValue("filter", HavePrefix("line 1, column 7: undefined field 'nme'")))
	b.Expect(w.body).NotTo(ContainSubstring("autofocus"))
}

// The preview is that of the event that was chosen: else of the newest that triggers and scope
// let through, or of a sample.
func TestFormPreviewOfEvents(t *testing.T) {
	b := newBed(t)
	w := b.open(b.path("new")).set("url", "https://a", "triggers", "clusters_deployed", "filter", `event.cluster.env == "online" && event.user.name != "robot"`,
		"template", `{"text": event.cluster.name + " <b>", "id": delivery.id}`).press("check")
	b.Expect(w.text("preview")).To(And(ContainSubstring("A sample of clusters_deployed"), ContainSubstring("its filter is false for the event")))

	for i, change := range []func(*v1alpha1.WebhookEventSpec){
		func(s *v1alpha1.WebhookEventSpec) { s.Cluster.Name = "first" },
		func(s *v1alpha1.WebhookEventSpec) {
			s.Cluster.Name = "second"
			s.Cluster.Env = "staging"
			s.ResourcePath = "/music/second"
		},
		func(s *v1alpha1.WebhookEventSpec) { s.EventType = "clusters_freed"; s.Cluster = nil },
	} {
		if i > 0 {
			time.Sleep(1100 * time.Millisecond) // they are told apart by their seconds
		}
		b.Event(int64(i+1), change)
	}
	b.Eventually(func() string { return b.page(b.path("new")) }).Should(ContainSubstring("event:horizon-3"))
	w.press("check")
	b.Expect(w.text("preview")).To(And(ContainSubstring("(horizon-2)"), ContainSubstring("Not followed"),
		ContainSubstring(`event.cluster.env`), ContainSubstring(`"staging"`)))
	b.Expect(w.text("preview-said")).To(Equal("Preview: Not followed, Filter"))
	w.set("scope", "/music/player").press("check")
	b.Expect(w.text("preview")).To(ContainSubstring("(horizon-1)"))
	b.Expect(w.text("preview-body-text")).To(MatchRegexp(`^{"id":"[^"]+","text":"first <b>"}$|^{"id":"[^"]+","text":"first \\u003cb\\u003e"}$`))
	b.Expect(w.text("preview-headers-text")).To(ContainSubstring("Content-Type: application/json"))
	b.Expect(w.text("preview-event-body-text")).To(ContainSubstring(`"eventType":"clusters_deployed"`))
	b.Expect(w.body).NotTo(ContainSubstring("<b>"))

	// Of those that are listed, the newest come first.
	b.Expect(strings.Index(w.body, `"event:horizon-3"`)).To(BeNumerically("<", strings.Index(w.body, `"event:horizon-1"`)))
	w.set("event", "event:horizon-3", "filter", "").press("check")
	b.Expect(w.text("preview")).To(And(ContainSubstring("(horizon-3)"), ContainSubstring("do not include clusters_freed")))
	w.set("event", "event:horizon-2", "scope", "").press("check")
	b.Expect(w.text("preview-body-text")).To(ContainSubstring("second"))

	// A template that fails is told in words, and the event is there to see why.
	w.set("name", "a", "template", `{"n": 1 / event.member.id}`).press("check")
	b.Expect(w.mistakes()).To(BeEmpty())
	b.Expect(w.text("preview")).To(And(ContainSubstring("PayloadError"), ContainSubstring("division by zero"), ContainSubstring("The event, as Horizon's body")))
	b.Expect(w.text("preview-said")).To(ContainSubstring("division by zero"))

	w.set("template", "", "format", "CloudEvents").press("check")
	b.Expect(w.text("preview-headers-text")).To(ContainSubstring("Content-Type: application/cloudevents+json"))
	b.Expect(w.text("preview-body-text")).To(ContainSubstring(`"specversion":"1.0"`))
	w.set("format", "Horizon").press("check")
	b.Expect(w.text("preview-event-body-text")).To(BeEmpty(), "it is the body itself")
}

// An event and a delivery tell why a filter or a template kept them, and a Webhook what is
// wrong with it.
func TestExpressionsArePages(t *testing.T) {
	b := newBed(t)
	b.Webhook("false", func(s *v1alpha1.WebhookSpec) { s.Filter = `event.cluster.env == "` + hostileText + `"` })
	b.Webhook("failing", func(s *v1alpha1.WebhookSpec) { s.Filter = `1 / event.member.id == 1` })
	b.Webhook("wrong", func(s *v1alpha1.WebhookSpec) { s.Filter = "event.cluster.env == \"online\" ||\nevent.nme == 1" })
	b.Webhook("made", func(s *v1alpha1.WebhookSpec) {
		s.Payload = &v1alpha1.PayloadSettings{Template: `{"text": event.cluster.name + "` + hostileText + `"}`}
	})
	b.Webhook("unmade", func(s *v1alpha1.WebhookSpec) {
		s.Payload = &v1alpha1.PayloadSettings{Template: `{"n": 1 / event.member.id}`}
	})
	b.Webhook("held", func(s *v1alpha1.WebhookSpec) { s.Payload = &v1alpha1.PayloadSettings{Template: `{"text": event.nme}`} })
	b.Webhook("refused", func(s *v1alpha1.WebhookSpec) {
		s.Response = &v1alpha1.ResponseRules{AcceptIf: "response.json.code == 0", GiveUpIf: "response.json.code == 7"}
	})
	b.Receiver.Script("/refused", receiver.Answer{Body: `{"code": 7, "why": "` + hostileText + `"}`})
	e := b.Event(1)
	made := b.Delivery("made", e, v1alpha1.DeliverySucceeded)
	unmade := b.Delivery("unmade", e, v1alpha1.DeliveryFailed)
	refused := b.Delivery("refused", e, v1alpha1.DeliveryFailed)
	held := b.Delivery("held", e, v1alpha1.DeliveryWaiting)
	pages := map[string]string{}
	load := func(parts ...string) string {
		page := b.page(b.path(parts...))
		b.Expect(page).NotTo(ContainSubstring(hostileText), "%v", parts)
		pages[strings.Join(parts, "/")] = page
		return page
	}

	event := &browser{bed: b}
	event.body = load("events", e.Name)
	text := event.all()
	b.Expect(text).To(And(
		ContainSubstring("its filter is false for the event: event.cluster.env is \"online\""),
		ContainSubstring("its filter fails for the event, so this is not sent: division by zero"),
		ContainSubstring("spec.filter does not compile: 2:7: undefined field 'nme'"),
		ContainSubstring("  | event.nme == 1\n  | ......^"),
		ContainSubstring("then brings this event"),
	))

	b.Eventually(func() string { return b.page(b.path("webhooks", "wrong")) }).Should(And(
		ContainSubstring("it follows nothing"), ContainSubstring(`<pre class="caret"`), ContainSubstring("FilterInvalid")))
	b.Eventually(func() string { return b.page(b.path("webhooks", "failing")) }).Should(And(ContainSubstring("FilterError"), ContainSubstring("division by zero")))
	b.Expect(load("webhooks", "made")).To(And(ContainSubstring("Template"), ContainSubstring("event.cluster.name")))
	b.Expect(load("webhooks", "false")).To(ContainSubstring("Filter"))
	b.Expect(load("webhooks", "refused")).To(And(ContainSubstring("Accept if"), ContainSubstring("Give up if")))
	b.Expect(load("webhooks")).To(ContainSubstring(" · filter"))

	d := &browser{bed: b}
	d.body = load("deliveries", made.Name)
	var body map[string]string
	b.Expect(json.Unmarshal([]byte(d.text("request-body-text")), &body)).To(Succeed())
	b.Expect(body).To(Equal(map[string]string{"text": "web-prod" + hostileText}))
	b.Expect(d.text("event-body-text")).To(ContainSubstring(`"eventType":"clusters_deployed"`))
	b.Expect(d.text("curl-text")).To(And(ContainSubstring("web-prod"), Not(ContainSubstring("eventType"))))

	d.body = load("deliveries", unmade.Name)
	b.Expect(d.all()).To(And(ContainSubstring("PayloadError"), ContainSubstring("division by zero"), ContainSubstring("mend spec.payload.template"), ContainSubstring("Nothing was sent yet.")))
	b.Expect(d.text("event-body-text")).To(ContainSubstring(`"eventType":"clusters_deployed"`))

	d.body = load("deliveries", refused.Name)
	b.Expect(d.all()).To(And(ContainSubstring("Rejected"), ContainSubstring("no retry would help")))
	b.Expect(d.text("event-body-text")).To(BeEmpty(), "the body is the event")

	d.body = load("deliveries", held.Name)
	b.Expect(d.all()).To(And(ContainSubstring("NotReady"), ContainSubstring("undefined field 'nme'"), ContainSubstring("  | {\"text\": event.nme}\n  | ")))
}

// all is the text of a page.
func (w *browser) all() string { return w.text("main") }

// A body that was cut says so, and one that is not kept, too.
func TestCutBody(t *testing.T) {
	for name, tc := range map[string]struct {
		request *v1alpha1.RequestRecord
		webhook *v1alpha1.Webhook
		want    headersAndBody
		event   bool
	}{
		"none":      {nil, nil, headersAndBody{Body: body{Raw: "{}", Pretty: "{}"}}, false},
		"the event": {&v1alpha1.RequestRecord{Headers: "A: b\n"}, nil, headersAndBody{Headers: "A: b", Body: body{Raw: "{}", Pretty: "{}"}}, false},
		"made":      {&v1alpha1.RequestRecord{Body: "[]"}, nil, headersAndBody{Body: body{Raw: "[]", Pretty: "[]"}}, true},
		"the same":  {&v1alpha1.RequestRecord{Body: "{}"}, nil, headersAndBody{Body: body{Raw: "{}", Pretty: "{}"}}, true},
		"cut":       {&v1alpha1.RequestRecord{Body: "{", BodyTruncated: true}, nil, headersAndBody{Body: body{Raw: "{"}, BodyCut: true}, true},
		"not kept": {&v1alpha1.RequestRecord{BodyTruncated: true}, nil,
			headersAndBody{Body: body{Raw: "{}", Pretty: "{}"}, NoBody: "It is not kept: the API server refused the record with it."}, true},
		"to be made": {nil, &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{Format: "Horizon", Template: "{}"}}},
			headersAndBody{Body: body{Raw: "{}", Pretty: "{}"}, NoBody: "Nothing was sent yet."}, true},
		"to be sent": {nil, &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{Format: "Horizon"}}},
			headersAndBody{Body: body{Raw: "{}", Pretty: "{}"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := &v1alpha1.WebhookDelivery{Spec: v1alpha1.WebhookDeliverySpec{Payload: "{}"}}
			d.Status.Request = tc.request
			p := &deliveryPage{Delivery: &insight.Delivery{Object: d}}
			p.request(tc.webhook)
			if p.Request != tc.want || (p.Source != nil) != tc.event {
				t.Errorf("got %+v, event %v", p.Request, p.Source)
			}
		})
	}
}

// A session evaluates forms with expressions only so often; one that has none never waits.
func TestTrials(t *testing.T) {
	s := NewSession(Options{Now: time.Now})
	defer s.Close()
	ctx := t.Context()
	f := &form{request: &request{Request: (&http.Request{}).WithContext(ctx), session: s}, in: input{map[string][]string{"filter": {"true"}}}}
	began := time.Now()
	for range trialsAtOnce {
		if err := f.turn(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > time.Second/trialsPerSecond {
		t.Errorf("the first ones waited %v", took)
	}
	began = time.Now()
	if err := f.turn(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < time.Second/trialsPerSecond/2 {
		t.Errorf("the next one waited %v only", took)
	}
	began = time.Now()
	f.in = input{map[string][]string{"filter": {""}, "url": {"https://a"}}}
	for range 100 {
		if err := f.turn(); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("forms without expressions waited %v", took)
	}
}

// Text that would become very long when indented is shown as it is.
func TestPrettyIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want bool
	}{
		"an object":      {`{"a": [1, {"b": "c,[\"{"}], "d": {}}`, true},
		"many elements":  {"[" + strings.Repeat("1,", 30<<10) + "1]", true},
		"a deep one":     {strings.Repeat("[", 30) + strings.Repeat("]", 30), true},
		"just so much":   {"[" + strings.Repeat("[],", 140<<10) + "1]", true},
		"a hostile one":  {strings.Repeat("[", 8<<10) + strings.Repeat("]", 8<<10), false},
		"deep and broad": {strings.Repeat("[", 500) + strings.Repeat("0,", 15<<10) + "0" + strings.Repeat("]", 500), false},
	} {
		got := pretty(tc.text)
		if (got.Pretty != "") != tc.want || len(got.Pretty) > maxPretty {
			t.Errorf("%s: %d bytes", name, len(got.Pretty))
		}
		if !tc.want {
			continue // this would take long
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, []byte(tc.text), "", "  "); err != nil {
			t.Fatal(err)
		}
		if size := indentedSize(tc.text); size < indented.Len() {
			t.Errorf("%s: said to have %d bytes, and has %d", name, size, indented.Len())
		}
	}
}

// What the form says of expressions is what the operator says of them, and so is the request
// of its preview.
func TestFormSaysWhatTheOperatorSays(t *testing.T) {
	cases, err := expressions.Random(root, 19, 300)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		want, err := expressions.OfOperator(c)
		if err != nil {
			t.Fatal(err)
		}
		object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c.Webhook)
		if err != nil {
			t.Fatal(err)
		}
		f := &form{request: &request{}, base: &formBase{}, in: inputOf(object["spec"].(map[string]any))}
		for _, one := range allFields() {
			f.in.Set(one.ID, strings.ReplaceAll(f.in.Get(one.ID), "\n", "\r\n")) // as a browser sends it
		}
		f.in.Values["triggers"] = []string{"*"}
		f.draft = draftOf(f.in, map[string]any{})
		f.compile()
		w := f.webhook()
		w.ObjectMeta = c.Webhook.ObjectMeta
		p := previewOf(w, c.Event, insight.DefaultSystemNamespace, time.Now())
		got := expressions.Answer{Mistakes: map[string]string{}, Body: p.Body}
		for _, m := range f.mistakes {
			at := regexp.MustCompile(`^line (\d+), column (\d+): `).ReplaceAllString(m.Text, "$1:$2: ")
			got.Mistakes[strings.Join(m.Field.path, ".")] = at
			if !strings.Contains(m.Caret, "^") && !strings.Contains(m.Caret, "＾") {
				t.Errorf("%+v: no caret in %q", c.Webhook.Spec, m.Caret)
			}
		}
		if p.Outcome == insight.NotFollowed {
			got.Verdict = v1alpha1.UnmatchedReason(p.Reason)
		}
		for _, h := range p.Headers {
			if h.Name == "Content-Type" && p.NoBody == nil {
				got.ContentType = h.Value
			}
		}
		said := p.Message
		if p.NoBody != nil {
			said += p.NoBody.Message
		}
		if want.Failure != "" && strings.Contains(said, want.Failure) {
			got.Failure = want.Failure
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v\n%s (-operator +form):\n%s", c.Webhook.Spec, said, diff)
		}
	}
}
