package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

// expressionsPage has the examples.
const expressionsPage = "filters-and-templates.md"

var (
	exampleHeading = regexp.MustCompile(`(?m)^### ([0-9]+)\. (.*)$`)
	exampleSpec    = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	// A line with an event or an answer, what is different about it, and what comes of it.
	exampleResult = regexp.MustCompile("(?m)^- (answer )?`([^`]+)`(?: with `([^`]+)`)?(?:: (.*)| is sent as\n\n  ```json\n((?:  .*\n)+?)  ```)$")
	exampleItem   = regexp.MustCompile(`(?m)^- `)
)

// example is one of the page.
type example struct {
	webhook *v1alpha1.Webhook
	results [][]string
}

// examples reads the page.
func examples(t *testing.T) map[string]example {
	t.Helper()
	text := read(t, expressionsPage)
	headings := exampleHeading.FindAllStringSubmatchIndex(text, -1)
	all := map[string]example{}
	for i, at := range headings {
		end := len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		name, body := text[at[0]+len("### "):at[1]], text[at[1]:end]
		if number := text[at[2]:at[3]]; number != strconv.Itoa(i+1) {
			t.Errorf("%s is the example number %d", name, i+1)
		}
		specs := exampleSpec.FindAllStringSubmatch(body, -1)
		if len(specs) != 1 {
			t.Fatalf("%s has %d specs", name, len(specs))
		}
		w := exampleWebhook()
		if err := yaml.UnmarshalStrict([]byte(specs[0][1]), &w.Spec); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e := example{webhook: w, results: exampleResult.FindAllStringSubmatch(body, -1)}
		if items := len(exampleItem.FindAllString(body, -1)); items == 0 || items != len(e.results) {
			t.Errorf("%s: %d of %d results can be read", name, len(e.results), items)
		}
		all[name] = e
	}
	return all
}

func exampleWebhook() *v1alpha1.Webhook {
	return &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "ops-room", UID: "a6c5f9de-0f2e-4f3f-8a0c-5f2f7c1c9f0b"},
		Spec:       v1alpha1.WebhookSpec{Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}, WebhookID: 1},
	}
}

// exampleEvent is a body that Horizon sent, as the event that it tells of, with what is
// different.
func exampleEvent(t *testing.T, name, different string) *v1alpha1.WebhookEvent {
	t.Helper()
	p, err := payload.Parse([]byte(read(t, filepath.Join("../internal/payload/testdata/horizon", name+".json"))))
	if err != nil {
		t.Fatal(err)
	}
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "horizon-78402", UID: "0d1f4c9e-6a55-4a0a-9d1b-3b8f2f0e7a11"},
		Spec:       p.Event,
	}
	e.Spec.Time = metav1.NewTime(time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC))
	e.Spec.ResourcePath = "/music/player/web"
	if c := e.Spec.Cluster; c != nil {
		e.Spec.ResourcePath = fmt.Sprintf("/music/player/%s/%s", c.ApplicationName, c.Name)
	}
	if different != "" {
		decode(t, different, &e.Spec)
	}
	return e
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// outcome is what the operator would do, in the words of the page.
func outcome(t *testing.T, w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent) string {
	t.Helper()
	switch verdict := matching.Match(w, e); verdict.Reason {
	case "":
	case v1alpha1.UnmatchedFilter:
		return "not sent"
	case v1alpha1.UnmatchedFilterError:
		return "fails: " + verdict.Message
	default:
		t.Fatalf("unmatched: %+v", verdict)
	}
	if w.Spec.Payload == nil {
		return "sent"
	}
	body, err := payload.Of(record(t, w, e), w, delivery.MessageID(e.UID, w.UID))
	if err != nil {
		return "fails: " + err.Error()
	}
	return string(body)
}

// record is the delivery of an event to a Webhook.
func record(t *testing.T, w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent) *v1alpha1.WebhookDelivery {
	t.Helper()
	body, err := payload.Render(e, payload.WebhookID(w))
	if err != nil {
		t.Fatal(err)
	}
	return delivery.New(e, w, body)
}

// judged is what an answer means, in the words of the page.
func judged(t *testing.T, w *v1alpha1.Webhook, answer, headers string) string {
	t.Helper()
	status, body, _ := strings.Cut(answer, " ")
	code, err := strconv.Atoi(status)
	if err != nil {
		t.Fatal(err)
	}
	a := sending.Answer{StatusCode: code, Header: http.Header{}, Body: []byte(body)}
	if headers != "" {
		var all map[string]string
		decode(t, headers, &all)
		for name, value := range all {
			a.Header.Set(name, value)
		}
	}
	e := exampleEvent(t, "clusters_deployed", "")
	x := sending.Exchange{
		Response:  &sending.Response{StatusCode: code},
		Judgement: retry.Judge(w, record(t, w, e), delivery.MessageID(e.UID, w.UID))(a),
	}
	switch outcome := retry.OutcomeOf(x); outcome {
	case retry.Accepted:
		return "accepted"
	case retry.Failed:
		return "tried again"
	case retry.Rejected:
		return "given up"
	default:
		t.Fatalf("outcome %d", outcome)
		return ""
	}
}

// What the page says of its examples is what the operator's own packages do.
func TestExamplesOfExpressions(t *testing.T) {
	all := examples(t)
	if len(all) != 20 {
		t.Errorf("%d examples, want 20", len(all))
	}
	for name, example := range all {
		t.Run(name, func(t *testing.T) {
			w := example.webhook
			for _, p := range validation.Expressions(w) {
				t.Error(p.Message())
			}
			if t.Failed() {
				return
			}
			for _, result := range example.results {
				isAnswer, subject, different, want, body := result[1] != "", result[2], result[3], result[4], result[5]
				var got string
				switch {
				case isAnswer:
					got = judged(t, w, subject, different)
				default:
					got = outcome(t, w, exampleEvent(t, subject, different))
				}
				if body != "" {
					var compact bytes.Buffer
					if err := json.Compact(&compact, []byte(body)); err != nil {
						t.Errorf("%s: %v", subject, err)
						continue
					}
					want = compact.String()
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s %s (-page +operator):\n%s", subject, different, diff)
				}
			}
		})
	}
}

// The mistake that the page shows is told in these words.
func TestMistakeOfThePage(t *testing.T) {
	w := exampleWebhook()
	w.Spec.Filter = `event.cluster.environment == "online"`
	problems := validation.Expressions(w)
	if len(problems) != 1 {
		t.Fatalf("%d problems", len(problems))
	}
	if want := "\n" + problems[0].Message() + "\n"; !strings.Contains(read(t, expressionsPage), want) {
		t.Errorf("the page does not have:\n%s", want)
	}
}
