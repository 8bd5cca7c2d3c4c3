package message

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
)

func event() *expression.Event {
	return &expression.Event{
		EventType: "clusters_deployed", Time: time.Date(2026, 11, 23, 20, 15, 42, 0, time.UTC), ResourcePath: "/music/player/web/web-prod",
		Cluster: &expression.Cluster{Name: "web-prod", ApplicationName: "web", Env: "online"},
		User:    &expression.User{Name: "Anna", Email: "anna@example.com"},
	}
}

func TestLanguages(t *testing.T) {
	english := &expression.Message{
		Title: "Cluster web-prod is being deployed", Tone: Neutral, Sign: "🚀", Colon: ": ",
		Facts: []expression.Fact{
			{Name: "Application", Value: "web"}, {Name: "Environment", Value: "online"}, {Name: "Path", Value: "/music/player/web/web-prod"},
			{Name: "By", Value: "Anna"}, {Name: "Time", Value: "2026-11-23 20:15:42 UTC"},
		},
	}
	chinese := &expression.Message{
		Title: "集群 web-prod 开始部署", Tone: Neutral, Sign: "🚀", Colon: "：",
		Facts: []expression.Fact{
			{Name: "应用", Value: "web"}, {Name: "环境", Value: "online"}, {Name: "路径", Value: "/music/player/web/web-prod"},
			{Name: "操作人", Value: "Anna"}, {Name: "时间", Value: "2026-11-24 04:15:42（北京时间）"},
		},
	}
	for language, want := range map[v1alpha1.Language]*expression.Message{"": english, v1alpha1.LanguageEnglish: english, v1alpha1.LanguageChinese: chinese} {
		if diff := cmp.Diff(want, Of(event(), expression.Webhook{}, language)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", language, diff)
		}
	}
}

// Both languages have words for the same things, and places for the same parts.
func TestVocabularies(t *testing.T) {
	if diff := cmp.Diff(slices.Sorted(maps.Keys(english.titles)), slices.Sorted(maps.Keys(chinese.titles))); diff != "" {
		t.Errorf("titles (-en +zh):\n%s", diff)
	}
	for key, title := range english.titles {
		kind, _, _ := strings.Cut(key, "_")
		for name, one := range map[string]string{"en": title, "zh": chinese.titles[key]} {
			places := strings.Count(one, "%s") + strings.Count(one, "%[1]s") + strings.Count(one, "%[2]s") + strings.Count(one, "%[3]s")
			if want := map[bool]int{true: 3, false: 1}[kind == "member"]; places != want || strings.Count(one, "%") != want {
				t.Errorf("%s, %s: %q has %d places", name, key, one, places)
			}
		}
		if _, own := actions[key]; !own {
			if _, shared := actions["_"+strings.TrimPrefix(key, kind+"_")]; !shared {
				t.Errorf("nothing says how %s looks", key)
			}
		}
	}
	for _, name := range []struct{ en, zh map[string]string }{{english.pipelines, chinese.pipelines}, {english.resources, chinese.resources}} {
		if diff := cmp.Diff(slices.Sorted(maps.Keys(name.en)), slices.Sorted(maps.Keys(name.zh))); diff != "" {
			t.Errorf("(-en +zh):\n%s", diff)
		}
	}
}

// However much an event says, what is told of it is bounded, so that each format fits into
// what its service takes.
func TestBounds(t *testing.T) {
	for _, letter := range []string{"a", "集", "😀"} {
		long := strings.Repeat(letter, 33_000)
		for _, eventType := range []string{"something_happened", "clusters_action", "applications_created", "pipelineruns_created", "members_created", "clusters_kubernetes_event", v1alpha1.EventTypeTest} {
			e := &expression.Event{
				EventType: eventType, Time: event().Time, ResourcePath: long,
				Application: &expression.Application{Name: long, Priority: long},
				Cluster:     &expression.Cluster{Name: long, ApplicationName: long + "!", Env: long},
				Pipelinerun: &expression.Pipelinerun{ClusterName: long, Action: long, Title: long, Description: long, GitRef: long, GitRefType: long},
				Member:      &expression.Member{MemberName: long, Role: long, ResourceType: long},
				User:        &expression.User{Name: long},
				Extra:       long,
			}
			if eventType == "clusters_kubernetes_event" {
				e.Extra = `{"reason":"` + long + `","message":"` + long + `","involvedObject":{"kind":"` + long + `"}}`
			}
			for _, language := range []v1alpha1.Language{v1alpha1.LanguageEnglish, v1alpha1.LanguageChinese} {
				m := Of(e, expression.Webhook{Name: long, Namespace: long}, language)
				facts := 0
				for _, f := range m.Facts {
					facts += len(f.Name) + len(f.Value)
					if f.Name == "" || f.Value == "" || len(f.Name) > 64 || len(f.Value) > 512 {
						t.Errorf("%s: fact %q has %d bytes", eventType, f.Name, len(f.Value))
					}
				}
				if m.Title == "" || len(m.Title) > maxTitle || facts > 2560 || len(m.Facts) == 0 || len(m.Facts) > 16 {
					t.Errorf("%s, %s: a title of %d bytes, and %d facts of %d", eventType, letter, len(m.Title), len(m.Facts), facts)
				}
				if !strings.Contains(m.Title, "…") {
					t.Errorf("%s: nothing tells that the title was cut: %s", eventType, m.Title)
				}
			}
		}
	}
}

// A message has something to say of whatever there is.
func TestNothing(t *testing.T) {
	for _, eventType := range []string{"", "x", "_", "clusters_", "clusters_deployed", "members_created", "clusters_kubernetes_event", "clusters_rescheduled"} {
		m := Of(&expression.Event{EventType: eventType}, expression.Webhook{}, "")
		if eventType != "" && (m.Title != eventType || len(m.Facts) != 1) || m.Sign == "" || m.Tone == "" {
			t.Errorf("%q: %+v", eventType, m)
		}
	}
}

func TestClean(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", ""},
		{" a \t b\r\nc\u2028d\u0085", "a b c d"},
		{"a\x00\x1b[31mb", "a [31mb"},
		{"\u202eevil\u202c\ufeff", "evil"},
		{"<\u200bat>", "<at>"},
		{"👩\u200d👧", "👩\u200d👧"},
		{"a\xffb\xc3", "ab"},
		{"日本語日本語", "日本語…"},
		{"abcdefghijkl", "abcdefghijkl"},
		{"abcdefghijklm", "abcdefghi…"},
		{strings.Repeat(" ", 9_000), ""},
	} {
		if got := clean(tc.text, 12); got != tc.want {
			t.Errorf("%.20q: %q, not %q", tc.text, got, tc.want)
		}
	}
}
