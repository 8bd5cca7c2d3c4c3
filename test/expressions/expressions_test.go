package expressions

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/cli"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

const (
	seed = 19
	many = 300
)

func random(t *testing.T) []Case {
	t.Helper()
	cases, err := Random("../..", seed, many)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func ofOperator(t *testing.T, c Case) Answer {
	t.Helper()
	answer, err := OfOperator(c)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// The cases are of all kinds, or what holds for them would say little.
func TestRandom(t *testing.T) {
	got := map[string]int{}
	for _, c := range random(t) {
		a := ofOperator(t, c)
		if len(a.Mistakes) > 0 {
			got["mistaken"]++
		}
		if c.Webhook.Spec.Filter != "" {
			got["filter "+string(a.Verdict)]++
		}
		if p := c.Webhook.Spec.Payload; p != nil && p.Template != "" {
			switch {
			case a.Mistakes["spec.payload.template"] != "":
				got["template invalid"]++
			case a.Body == "":
				got["template fails"]++
			default:
				got["template"]++
			}
		}
	}
	t.Log(got)
	for kind, least := range map[string]int{
		"mistaken": 60, "filter ": 40, "filter Filter": 40, "filter FilterInvalid": 20, "filter FilterError": 15,
		"template": 40, "template invalid": 20, "template fails": 15,
	} {
		if got[kind] < least {
			t.Errorf("%d are %q, want %d", got[kind], kind, least)
		}
	}
}

// Asked again, the operator says the same: keys are sorted, and nothing is random.
func TestOperatorSaysTheSameAgain(t *testing.T) {
	again := random(t)
	for i, c := range random(t) {
		if diff := cmp.Diff(ofOperator(t, c), ofOperator(t, again[i])); diff != "" {
			t.Errorf("%+v (-first +again):\n%s", c.Webhook.Spec, diff)
		}
	}
}

// What render shows of a request is what the operator would send, and why it would not.
func TestRenderSaysWhatTheOperatorSays(t *testing.T) {
	for _, c := range random(t) {
		want := ofOperator(t, c)
		request, err := insight.Render(c.Webhook, c.Event, "horizon-webhooks", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got := Answer{Mistakes: want.Mistakes, Body: request.Body}
		if request.Outcome == insight.NotFollowed || request.Reason == v1alpha1.ReasonFilterInvalid {
			got.Verdict = v1alpha1.UnmatchedReason(request.Reason)
		}
		for _, h := range request.Headers {
			if h.Name == "Content-Type" {
				got.ContentType = h.Value
			}
		}
		if want.Body == "" {
			got.ContentType = "" // that of the format, for no body
			if request.NoBody == nil {
				t.Errorf("%+v: render tells no reason why there is no body", c.Webhook.Spec)
			}
		}
		if told := request.Message + request.Detail; want.Failure != "" && strings.Contains(told, want.Failure) {
			got.Failure = want.Failure
		} else if request.NoBody != nil && strings.Contains(request.NoBody.Message+request.NoBody.Detail, want.Failure) {
			got.Failure = want.Failure
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v\n%s (-operator +render):\n%s", c.Webhook.Spec, request.Message, diff)
		}
	}
}

// lintLine is a finding of lint.
var lintLine = regexp.MustCompile(`(?m)^(\S+)\.yaml:\d+: (spec\.[.a-zA-Z]+): (.*)$`)

// What lint calls an error is what the operator finds, for each field.
func TestLintSaysWhatTheOperatorSays(t *testing.T) {
	dir := t.TempDir()
	want, got := map[string]map[string]string{}, map[string]map[string]string{}
	for _, c := range random(t) {
		name := filepath.Join(dir, c.Webhook.Name)
		want[name], got[name] = ofOperator(t, c).Mistakes, map[string]string{}
		w := c.Webhook.DeepCopy()
		w.UID, w.Generation = "", 0
		data, err := yaml.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+".yaml", data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, problems bytes.Buffer
	t.Setenv("KUBECONFIG", filepath.Join(dir, "none"))
	code := cli.Run(t.Context(), genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &problems}, "test",
		[]string{"lint", "--offline", "-f", dir})
	if code != 3 {
		t.Fatalf("lint ends with %d, want 3: %s", code, problems.String())
	}
	for _, m := range lintLine.FindAllStringSubmatch(out.String(), -1) {
		name, field, message := m[1], m[2], m[3]
		if got[name] == nil {
			t.Errorf("lint names a file that is none: %s", m[0])
			continue
		}
		got[name][field] = message
		// The place is that in the file, or in the expression.
		if mistake := want[name][field]; mistake != "" && strings.Contains(message, summary(mistake)) {
			got[name][field] = mistake
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mistakes by file and field (-operator +lint):\n%s", diff)
	}
}

// summary is a mistake without its place.
func summary(short string) string {
	_, rest, _ := strings.Cut(short, ": ")
	return rest
}
