// Package expressions makes up Webhooks with filters, templates and response rules, right
// and wrong ones, so that a test can hold against each other what everybody says of them:
// the operator, lint, render and the pages.
package expressions

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

// Case is a Webhook with expressions, and an event that its triggers and scope let through.
type Case struct {
	Webhook *v1alpha1.Webhook
	Event   *v1alpha1.WebhookEvent
}

// Answer is what somebody says of a Case.
type Answer struct {
	// Mistakes are the first ones of the expressions that do not compile, with their
	// places, by field.
	Mistakes map[string]string
	// Verdict of the filter. It is empty where the event is sent.
	Verdict v1alpha1.UnmatchedReason
	// Body that is sent; none where the template does not compile, or fails.
	Body, ContentType string
	// Failure is how the filter or, where that lets the event pass, the template fails.
	Failure string
}

// OfOperator is what the operator says, by the packages that decide it.
func OfOperator(c Case) (Answer, error) {
	answer := Answer{Mistakes: map[string]string{}}
	broken := false
	for _, p := range validation.Expressions(c.Webhook) {
		answer.Mistakes[p.Field] = p.Mistake.Short()
		broken = broken || p.Field == "spec.payload.template"
	}
	filters := matching.NewFilters(func(*v1alpha1.Webhook, *v1alpha1.WebhookEvent, string) {})
	now := time.Now() // which stands still: a turn ends otherwise on a machine that is busy
	verdict, decided := filters.Turn(c.Event, func() time.Time { return now }).Match(c.Webhook, false)
	if !decided {
		return answer, fmt.Errorf("the event is not decided")
	}
	if answer.Verdict = verdict.Reason; verdict.Reason == v1alpha1.UnmatchedFilterError {
		answer.Failure = verdict.Message
	}
	if broken {
		return answer, nil
	}
	rendered, err := payload.Render(c.Event, payload.WebhookID(c.Webhook))
	if err != nil {
		return answer, err
	}
	body, err := payload.Of(delivery.New(c.Event, c.Webhook, rendered), c.Webhook, delivery.MessageID(c.Event.UID, c.Webhook.UID))
	switch {
	case err == nil:
		answer.Body, answer.ContentType = string(body), format.Of(c.Webhook).ContentType
	case answer.Failure == "":
		answer.Failure = err.Error()
	}
	return answer, nil
}

// Random makes up n cases, the same ones for the same seed. root is the directory of the
// repository.
func Random(root string, seed uint64, n int) ([]Case, error) {
	files, err := filepath.Glob(filepath.Join(root, "internal/payload/testdata/horizon/*.json"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no bodies of Horizon below %s: %w", root, err)
	}
	g := &generator{Rand: rand.New(rand.NewPCG(seed, seed))}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		p, err := payload.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		g.events = append(g.events, p.Event)
	}
	cases := make([]Case, n)
	for i := range cases {
		cases[i] = g.next(i)
	}
	return cases, nil
}

// generator writes expressions in the grammar of the examples of
// docs/filters-and-templates.md.
type generator struct {
	*rand.Rand
	events []v1alpha1.WebhookEventSpec // that a Horizon told of
}

func (g *generator) next(i int) Case {
	w := &v1alpha1.Webhook{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Webhook"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "music", Name: fmt.Sprintf("random-%03d", i), Generation: 1,
			UID: "a6c5f9de-0f2e-4f3f-8a0c-5f2f7c1c9f0b",
		},
		Spec: v1alpha1.WebhookSpec{URL: "https://ci.example.com/hooks/horizon", Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}},
	}
	if g.likely(0.8) {
		w.Spec.Filter = g.maybeWrong(g.truth(3))
	}
	if g.likely(0.7) {
		w.Spec.Payload = &v1alpha1.PayloadSettings{Format: pick(g, v1alpha1.PayloadHorizon, v1alpha1.PayloadCloudEvents)}
		if g.likely(0.8) {
			w.Spec.Payload.Template = g.maybeWrong(g.mapping(3))
		}
	}
	if g.likely(0.3) {
		w.Spec.Response = &v1alpha1.ResponseRules{AcceptIf: g.maybeWrong(g.rule(2))}
		if g.likely(0.5) {
			w.Spec.Response.GiveUpIf = g.maybeWrong(g.rule(2))
		}
	}
	return Case{w, g.event()}
}

func (g *generator) likely(p float64) bool { return g.Float64() < p }

func pick[T any](g *generator, all ...T) T { return all[g.IntN(len(all))] }

func (g *generator) event() *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "WebhookEvent"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "music", Name: "horizon-78402", UID: "0d1f4c9e-6a55-4a0a-9d1b-3b8f2f0e7a11",
			CreationTimestamp: metav1.NewTime(time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC)),
		},
		Spec: *g.events[g.IntN(len(g.events))].DeepCopy(),
	}
	e.Spec.ResourcePath = pick(g, "", "/music/player/web", "/music/player/web/web-prod", "/video/encoder/encoder-beta")
	if g.likely(0.5) {
		e.Spec.Time = metav1.NewTime(e.CreationTimestamp.Add(-time.Duration(g.IntN(59)) * time.Second))
	}
	if c := e.Spec.Cluster; c != nil {
		c.Env = pick(g, "", "online", "beta")
	}
	return e
}

// truth is an expression with the value true or false.
func (g *generator) truth(depth int) string {
	if depth > 0 && g.likely(0.5) {
		return fmt.Sprintf(pick(g, "(%s && %s)", "(%s || %s)", "%s && %s", "%s || %s"), g.truth(depth-1), g.truth(depth-1))
	}
	switch g.IntN(11) {
	case 0:
		return "has(" + pick(g, "event.cluster", "event.user", "event.application", "event.member.role", "event.extra") + ")"
	case 1:
		return "!" + "has(" + pick(g, "event.pipelinerun", "event.cluster.env") + ")"
	case 2:
		return g.text(1) + pick(g, " == ", " != ", " < ") + g.text(1)
	case 3:
		return g.text(0) + pick(g, ".startsWith(", ".endsWith(", ".contains(") + g.text(0) + ")"
	case 4:
		return g.text(0) + " in [" + g.text(0) + ", " + g.text(0) + "]"
	case 5:
		return g.number() + pick(g, " == ", " < ", " >= ") + g.number()
	case 6:
		return g.text(0) + ".matches(" + pick(g, `"^web"`, `"[a-z]+_d"`, `"(?i)BETA$"`) + ")"
	case 7:
		return "[" + g.text(0) + ", " + g.text(0) + "].exists(x, x == " + g.text(0) + ")"
	case 8:
		return "json(event.extra).?" + pick(g, "type", "reason") + ".orValue(\"\") == " + pick(g, `"Warning"`, `"BackOff"`)
	case 9:
		return "size(json(event.extra)) > " + pick(g, "0", "1", "9")
	default:
		return "event.time." + pick(g, "getHours()", `getDayOfWeek("+08:00")`, "getFullYear()") + " < " + pick(g, "5", "9", "2026", "2027")
	}
}

// rule is one about an answer.
func (g *generator) rule(depth int) string {
	if depth > 0 && g.likely(0.3) {
		return g.rule(depth-1) + pick(g, " && ", " || ") + g.truth(1)
	}
	return pick(g,
		"response.json.?errcode.orValue(-1) == 0", "response.statusCode in [400, 404]", `response.body.trim() == "ok"`,
		`response.headers[?"x-error"].orValue("") == "unknown"`, "response.json.ok", "delivery.id == event.extra",
	)
}

func (g *generator) number() string {
	return pick(g, "event.eventID", "event.cluster.id", "webhook.id", "size(event.resourcePath)", "17", "-1", "1 / event.cluster.id")
}

// text is an expression with the value of a text.
func (g *generator) text(depth int) string {
	if depth > 0 && g.likely(0.5) {
		switch g.IntN(8) {
		case 0:
			return g.text(depth-1) + " + " + g.text(depth-1)
		case 1:
			return g.text(0) + ".truncate(" + pick(g, "0", "5", "4096") + ")"
		case 2:
			return g.text(0) + pick(g, ".lowerAscii()", ".upperAscii()", ".trim()", `.replace("-", "猫")`)
		case 3:
			return "escape." + pick(g, "slack", "markdown", "html", "dingtalk", "discord", "feishu", "wecom") + "(" + g.text(0) + pick(g, "", ", 20") + ")"
		case 4:
			return "(" + g.truth(0) + " ? " + g.text(depth-1) + " : " + g.text(depth-1) + ")"
		case 5:
			return g.text(0) + `.split("_")` + pick(g, "[0]", "[1]", `.join(" ")`)
		case 6:
			return g.text(0) + ".substring(" + pick(g, "0", "1", "4") + ")"
		default:
			return `{"clusters_deployed": "is out", "clusters_deleted": "is gone"}[?event.eventType].orValue(` + g.text(0) + ")"
		}
	}
	return pick(g,
		"event.eventType", "event.resourcePath", "event.namespace", "event.extra", "event.cluster.name", "event.cluster.env",
		"event.application.priority", "event.user.name", "event.user.email", "event.pipelinerun.gitRef", "event.member.role",
		"webhook.name", "string(event.eventID)", "string(event.time)", `"online"`, `"web-prod"`, `"a \"b\" <c>\n"`, `"猫"`, `""`,
	)
}

// mapping is an expression with the value of a map.
func (g *generator) mapping(depth int) string {
	entries := make([]string, 0, 3)
	for i := range 1 + g.IntN(3) {
		key := fmt.Sprintf("\"%s%d\"", pick(g, "text", "a", "<k>"), i)
		if g.likely(0.15) {
			entries = append(entries, "?"+key+": optional.ofNonZeroValue("+g.text(1)+")")
			continue
		}
		entries = append(entries, key+": "+g.value(depth))
	}
	return "{" + strings.Join(entries, ", ") + "}"
}

func (g *generator) value(depth int) string {
	if depth > 0 {
		switch g.IntN(20) {
		case 0, 1, 2:
			return g.mapping(depth - 1)
		case 3, 4, 5:
			return "[" + g.value(depth-1) + ", " + g.value(depth-1) + "]"
		case 6:
			return pick(g, "json(event.extra)", "json(event.extra).map(x, {\"name\": x})")
		case 7, 8:
			return `(event.extra == "" ? [] : json(event.extra)).map(x, {"name": x})`
		}
	}
	switch g.IntN(4) {
	case 0:
		return g.number()
	case 1:
		return g.truth(1)
	case 2:
		return pick(g, "event.time", "delivery.id", "null", "1.5", "[1, 2].map(i, i * 2)", "event.cluster")
	default:
		return g.text(2)
	}
}

// wrong is how likely an expression has a mistake in it.
const wrong = 0.3

// maybeWrong puts a mistake into some expressions. What comes of it may still be right.
func (g *generator) maybeWrong(text string) string {
	if !g.likely(wrong) {
		return text
	}
	at := g.IntN(len(text))
	switch g.IntN(6) {
	case 0: // a name that does not exist
		return strings.Replace(text, "event.", pick(g, "evnt.", "event.cluster.nme.", "event.extra."), 1)
	case 1: // another type
		return text + pick(g, " + 1", " == 1", ".size()", " && true")
	case 2: // something is missing
		return text[:at] + text[at+1:]
	case 3: // or too much
		return text[:at] + pick(g, "(", ")", "\"", ",", "}", "x", "\n", "猫") + text[at:]
	case 4: // a function that does not exist
		return strings.Replace(text, pick(g, "has(", "startsWith(", "json(", "lowerAscii(", ".name"), pick(g, "hass(", ".format("), 1)
	default: // cut
		return text[:at] + " "
	}
}
