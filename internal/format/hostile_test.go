package format_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

// place is a field of an event that somebody writes a text into, in an event that shows it.
type place struct {
	name      string
	eventType string
	write     func(e *v1alpha1.WebhookEventSpec, text string)
	// most is how many characters the API server lets through.
	most int
}

var places = []place{
	{"application.name, in a title", "applications_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Application.Name = s }, 253},
	{"application.name", "clusters_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Application.Name = s }, 253},
	{"application.priority", "applications_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Application.Priority = s }, 64},
	{"cluster.name, in a title", "clusters_deployed", func(e *v1alpha1.WebhookEventSpec, s string) { e.Cluster.Name = s }, 253},
	{"cluster.name", "applications_updated", func(e *v1alpha1.WebhookEventSpec, s string) { e.Cluster.Name = s }, 253},
	{"cluster.name, of an unknown type", "something_happened", func(e *v1alpha1.WebhookEventSpec, s string) { e.Cluster.Name = s }, 253},
	{"cluster.applicationName", "clusters_deployed", func(e *v1alpha1.WebhookEventSpec, s string) { e.Cluster.ApplicationName = s }, 253},
	{"cluster.env", "clusters_deployed", func(e *v1alpha1.WebhookEventSpec, s string) { e.Cluster.Env = s }, 128},
	{"pipelinerun.clusterName, in a title", "pipelineruns_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Pipelinerun.ClusterName = s }, 253},
	{"pipelinerun.clusterName", "clusters_action", func(e *v1alpha1.WebhookEventSpec, s string) { e.Pipelinerun.ClusterName = s }, 253},
	{"pipelinerun.action", "pipelineruns_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Pipelinerun.Action = s }, 64},
	{"pipelinerun.title", "pipelineruns_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Pipelinerun.Title = s }, 256},
	{"pipelinerun.description", "pipelineruns_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Pipelinerun.Description = s }, 4096},
	{"pipelinerun.gitRef", "pipelineruns_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Pipelinerun.GitRef = s }, 256},
	{"pipelinerun.gitRefType", "pipelineruns_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Pipelinerun.GitRefType = s }, 64},
	{"member.resourceType", "members_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Member.ResourceType = s }, 64},
	{"member.role, in a title", "members_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Member.Role = s }, 64},
	{"member.role", "clusters_action", func(e *v1alpha1.WebhookEventSpec, s string) { e.Member.Role = s }, 64},
	{"member.memberName, in a title", "members_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.Member.MemberName = s }, 253},
	{"member.memberName", "clusters_action", func(e *v1alpha1.WebhookEventSpec, s string) { e.Member.MemberName = s }, 253},
	{"user.name", "clusters_deployed", func(e *v1alpha1.WebhookEventSpec, s string) { e.User.Name = s }, 253},
	{"user.email", "clusters_deployed", func(e *v1alpha1.WebhookEventSpec, s string) { e.User.Name, e.User.Email = "", s }, 320},
	{"resourcePath", "clusters_deployed", func(e *v1alpha1.WebhookEventSpec, s string) { e.ResourcePath = s }, 1024},
	{"resourcePath, in a title", "members_created", func(e *v1alpha1.WebhookEventSpec, s string) { e.ResourcePath = s }, 1024},
	{"extra", "clusters_action", func(e *v1alpha1.WebhookEventSpec, s string) { e.Extra = s }, 32768},
	{"extra, of pods", "clusters_rescheduled", func(e *v1alpha1.WebhookEventSpec, s string) { e.Extra = asJSON([]string{s, "b"}) }, 5_000},
	{"extra, reason of Kubernetes", "clusters_kubernetes_event", func(e *v1alpha1.WebhookEventSpec, s string) { e.Extra = asJSON(map[string]any{"reason": s}) }, 5_000},
	{"extra, message of Kubernetes", "clusters_kubernetes_event", func(e *v1alpha1.WebhookEventSpec, s string) { e.Extra = asJSON(map[string]any{"message": s}) }, 5_000},
	{"extra, object of Kubernetes", "clusters_kubernetes_event", func(e *v1alpha1.WebhookEventSpec, s string) {
		e.Extra = asJSON(map[string]any{"reason": "BackOff", "involvedObject": map[string]string{"kind": s, "name": "a"}})
	}, 5_000},
}

func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// complete is an event that has all parts.
func complete(eventType string) *v1alpha1.WebhookEvent {
	e := event(v1alpha1.WebhookEventSpec{
		EventType: eventType, ResourcePath: "/music/player/web/web-prod",
		Application: &v1alpha1.ApplicationInfo{ID: new(int64(1)), Name: "web", Priority: "P1"},
		Cluster:     &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "web-prod", ApplicationName: "web", Env: "online"},
		Pipelinerun: &v1alpha1.PipelinerunInfo{
			ID: new(int64(1)), ClusterName: "web-prod", Action: "deploy", Title: "release", Description: "the second", GitRef: "main", GitRefType: "branch",
		},
		Member: &v1alpha1.MemberInfo{ID: new(int64(1)), ResourceID: 5, ResourceType: "applications", Role: "owner", MemberName: "Bert"},
		User:   &v1alpha1.UserInfo{ID: new(int64(1)), Name: "Anna", Email: "anna@example.com"},
		Extra:  "some words",
	})
	e.Spec.Time = metav1.NewTime(time.Date(2026, 11, 23, 8, 15, 42, 0, time.UTC))
	return e
}

// hostile are texts that mention people or break out of what they stand in, if they can.
var hostile = []string{
	"<!channel>", "<!here>", "<!everyone>", "<!subteam^S1|ops>", "<@U1>", "<#C1>", "<https://evil.example|click>",
	"@all", "@everyone", "@here", "@channel", "<@all>", "<@1>", "<@!1>", "<@&1>", "<#1>", "<:a:1>", "<t:0:R>", "</help:1>",
	`<at user_id="all">all</at>`, "<at id=all></at>", "<at>x</at>", "<at email=a@example.com></at>", "&lt;!channel&gt;", "&#60;at id=all&#62;", "&amp;#60;at id=all&amp;#62;",
	"**bold**", "__bold__", "*a*", "_a_", "~~gone~~", "||hidden||", "`code`", "```code", "a\n# title", "a\r\n> quote", "a\n- list", "a\u2028# title", "a\u0085# title",
	"[a](https://evil.example)", "![a](https://evil.example/a.png)", "[a]($urlVal)", "<a href='https://evil.example'>a</a>", "<b>a</b>", "<script>alert(1)</script>",
	`<font color="warning">a</font>`, "</font>", `"}]}`, `\"}]}`, `\`, `\\`, `\*a*`, `a\`, "${a}", "{{DATE(2026-01-01T00:00:00Z,SHORT)}}", "@{triggerBody()}", ":OK:", "%s%d",
	"\u202eevil\u202c", "<\u200bat id=all>", "@\u200ball", "<\u2060!channel>", "\ufeffa", "a\x00b\x1b[31mc", "| a | b |", "#1",
}

// raceDetector makes all of it ten times slower, so with it each text is tried in one of the
// languages only.
var raceDetector bool

// Whatever somebody writes into a field is shown as text: the letters are there, and nothing
// is read as markup or as a mention that would not be with harmless words.
func TestHostileTexts(t *testing.T) {
	eachRoom(t, func(t *testing.T, f *format.Format, r reader) {
		for l, language := range languages {
			w := webhook(f, language)
			for _, p := range places {
				harmless := rendered(t, w, p, "harmless")
				want := decoded(t, harmless)
				if !strings.Contains(r.shown(want), "harmless") {
					t.Errorf("%s, %s: %s is not shown", f.Name, language, p.name)
				}
				for n, text := range hostile {
					if raceDetector && (n+len(p.name))%len(languages) != l {
						continue
					}
					data := rendered(t, w, p, text)
					got := decoded(t, data)
					where := fmt.Sprintf("%s, %s: %q in %s", f.Name, language, text, p.name)
					for _, wrong := range r.wrong(data) {
						t.Errorf("%s: %s", where, wrong)
					}
					if a, b := shape(want), shape(got); !reflect.DeepEqual(a, b) {
						t.Errorf("%s: another shape (-want +got):\n%s", where, cmp.Diff(a, b))
					}
					if a, b := skeletons(r, want), skeletons(r, got); !slices.Equal(a, b) {
						t.Errorf("%s: other markup (-want +got):\n%s\n%s", where, cmp.Diff(a, b), data)
					}
					if !strings.Contains(letters(r.shown(got)), letters(text)) {
						t.Errorf("%s: its letters are not in %q", where, r.shown(got))
					}
				}
			}
		}
	})
}

// eachRoom runs a test for the format of each chat service.
func eachRoom(t *testing.T, test func(t *testing.T, f *format.Format, r reader)) {
	t.Helper()
	for _, f := range rooms() {
		t.Run(string(f.Name), func(t *testing.T) {
			t.Parallel()
			test(t, f, readers[f.Name])
		})
	}
}

func rendered(t *testing.T, w *v1alpha1.Webhook, p place, text string) []byte {
	t.Helper()
	e := complete(p.eventType)
	p.write(&e.Spec, text)
	body, err := payload.Of(delivery(t, e), w, "whd_1")
	if err != nil {
		t.Fatalf("%s with %q: %v", p.name, text, err)
	}
	return body
}

func skeletons(r reader, body any) []string {
	if r.texts == nil {
		return nil
	}
	var all []string
	for _, s := range r.texts(body) {
		all = append(all, r.skeleton(s))
	}
	return all
}

// letters are those of a text, and its digits.
func letters(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return c
		}
		return -1
	}, s)
}

// Whatever fills a field, or all of them, the message is one that the service takes, and what
// was cut is marked.
func TestLongTexts(t *testing.T) {
	eachRoom(t, func(t *testing.T, f *format.Format, r reader) {
		for l, language := range languages {
			w := webhook(f, language)
			for n, filler := range []string{
				"a", "&", "<", ">", "*", `\`, `"`, "@", "[", "😀", "👩‍👩‍👧", "ü", "集", "\x01", "\u2028", "\u200b", " ", "|", "`", ":", "'", "/", "",
			} {
				if raceDetector && n%len(languages) != l {
					continue
				}
				for _, e := range full(filler) {
					body, err := payload.Of(delivery(t, e), w, "whd_1")
					if err != nil {
						t.Fatalf("%s full of %q: %v", e.Spec.EventType, filler, err)
					}
					where := fmt.Sprintf("%s: %s full of %q", language, e.Spec.EventType, filler)
					for _, wrong := range slices.Concat(r.wrong(signed(t, f, body)), r.wrong(body)) {
						t.Errorf("%s: %s", where, wrong)
					}
					shown := r.shown(decoded(t, body))
					if visible := letters(filler) != "" || slices.Contains([]string{"&", "<", "*", `\`, "@", "😀"}, filler); visible && !strings.Contains(shown, "…") {
						t.Errorf("%s: nothing tells that it was cut: %s", where, shown)
					}
				}
			}
		}
	})
}

// full are events of each type with as much of a text in each field as the API server lets
// through, with all parts and with few.
func full(filler string) []*v1alpha1.WebhookEvent {
	var all []*v1alpha1.WebhookEvent
	types := map[string]bool{}
	for _, p := range places {
		if types[p.eventType] {
			continue
		}
		types[p.eventType] = true
		e := complete(p.eventType)
		for _, other := range places {
			if other.eventType == p.eventType || !strings.HasPrefix(other.name, "extra") {
				other.write(&e.Spec, strings.Repeat(filler, other.most/max(1, len([]rune(filler)))))
			}
		}
		all = append(all, e, without(e))
	}
	return all
}

// without is an event without the parts that other events have.
func without(e *v1alpha1.WebhookEvent) *v1alpha1.WebhookEvent {
	e = e.DeepCopy()
	e.Spec.Application, e.Spec.User, e.Spec.Extra = nil, nil, ""
	return e
}

// signed is a body as it is sent.
func signed(t testing.TB, f *format.Format, body []byte) []byte {
	t.Helper()
	request, err := f.Request("https://room.example/hook", "whd_1", at, body, secret(t, strings.Repeat("k", 256)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return request.Body
}
