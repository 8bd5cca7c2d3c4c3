package matching

import (
	"maps"
	"os"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

var created = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func webhook(change func(w *v1alpha1.Webhook)) *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{
		Triggers: []v1alpha1.Trigger{"members_created", "clusters_deployed"},
		State:    v1alpha1.WebhookEnabled,
	}}
	w.CreationTimestamp = metav1.NewTime(created)
	if change != nil {
		change(w)
	}
	return w
}

func event(change func(e *v1alpha1.WebhookEvent)) *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{
		EventType:    "clusters_deployed",
		ResourcePath: "/music/player/web/web-prod",
	}}
	e.CreationTimestamp = metav1.NewTime(created)
	if change != nil {
		change(e)
	}
	return e
}

func TestMatch(t *testing.T) {
	type outcome struct {
		Reason v1alpha1.UnmatchedReason
		OK     bool
	}
	ok := outcome{OK: true}
	otherTrigger := func(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{"clusters_freed"} }
	otherScope := func(w *v1alpha1.Webhook) { w.Spec.Scope = "/video" }
	createdLater := func(w *v1alpha1.Webhook) { w.CreationTimestamp = metav1.NewTime(created.Add(3 * time.Second)) }
	deleting := func(w *v1alpha1.Webhook) { w.DeletionTimestamp = new(metav1.NewTime(created)) }
	disabled := func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled }
	all := func(changes ...func(w *v1alpha1.Webhook)) func(w *v1alpha1.Webhook) {
		return func(w *v1alpha1.Webhook) {
			for _, change := range changes {
				change(w)
			}
		}
	}

	for name, tc := range map[string]struct {
		webhook func(w *v1alpha1.Webhook)
		event   func(e *v1alpha1.WebhookEvent)
		want    outcome
	}{
		"one of its triggers": {want: ok},
		"any event": {
			webhook: func(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{v1alpha1.TriggerAny} },
			event:   func(e *v1alpha1.WebhookEvent) { e.Spec.EventType = "groups_renamed" },
			want:    ok,
		},
		"another trigger":  {webhook: otherTrigger, want: outcome{Reason: v1alpha1.UnmatchedTrigger}},
		"no trigger":       {webhook: func(w *v1alpha1.Webhook) { w.Spec.Triggers = nil }, want: outcome{Reason: v1alpha1.UnmatchedTrigger}},
		"another scope":    {webhook: otherScope, want: outcome{Reason: v1alpha1.UnmatchedScope}},
		"created later":    {webhook: createdLater, want: outcome{Reason: v1alpha1.UnmatchedCreatedLater}},
		"being deleted":    {webhook: deleting, want: outcome{Reason: v1alpha1.UnmatchedDeleting}},
		"disabled":         {webhook: disabled, want: outcome{Reason: v1alpha1.UnmatchedDisabled}},
		"paused":           {webhook: func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused }, want: ok},
		"state not given":  {webhook: func(w *v1alpha1.Webhook) { w.Spec.State = "" }, want: ok},
		"created before":   {webhook: func(w *v1alpha1.Webhook) { w.CreationTimestamp = metav1.NewTime(created.Add(-time.Hour)) }, want: ok},
		"within tolerance": {webhook: func(w *v1alpha1.Webhook) { w.CreationTimestamp = metav1.NewTime(created.Add(2 * time.Second)) }, want: ok},
		"happened before, by another clock that is behind": {
			event: func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(created.Add(-time.Minute)) },
			want:  ok,
		},
		"happened before the webhook was created": {
			event: func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(created.Add(-time.Minute - time.Second)) },
			want:  outcome{Reason: v1alpha1.UnmatchedCreatedLater},
		},
		"happened long ago, and the webhook was there": {
			webhook: func(w *v1alpha1.Webhook) { w.CreationTimestamp = metav1.NewTime(created.Add(-2 * time.Hour)) },
			event:   func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(created.Add(-time.Hour)) },
			want:    ok,
		},
		"is to happen": {
			webhook: createdLater,
			event:   func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(created.Add(time.Hour)) },
			want:    outcome{Reason: v1alpha1.UnmatchedCreatedLater},
		},
		"trigger is told first": {
			webhook: all(otherTrigger, otherScope, createdLater, deleting, disabled),
			want:    outcome{Reason: v1alpha1.UnmatchedTrigger},
		},
		"scope is told second": {
			webhook: all(otherScope, createdLater, deleting, disabled),
			want:    outcome{Reason: v1alpha1.UnmatchedScope},
		},
		"created later is told third": {
			webhook: all(createdLater, deleting, disabled),
			want:    outcome{Reason: v1alpha1.UnmatchedCreatedLater},
		},
		"disabled is told last": {
			webhook: all(deleting, disabled),
			want:    outcome{Reason: v1alpha1.UnmatchedDeleting},
		},
	} {
		t.Run(name, func(t *testing.T) {
			verdict := Match(webhook(tc.webhook), event(tc.event))
			if diff := cmp.Diff(tc.want, outcome{verdict.Reason, verdict.Follows()}); diff != "" {
				t.Errorf("Match (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithin(t *testing.T) {
	for name, tc := range map[string]struct {
		scope, path string
		want        bool
	}{
		"itself":                 {scope: "/music/player", path: "/music/player", want: true},
		"child":                  {scope: "/music/player", path: "/music/player/web", want: true},
		"far below":              {scope: "/music", path: "/music/player/web/web-prod", want: true},
		"parent":                 {scope: "/music/player", path: "/music", want: false},
		"sibling":                {scope: "/music/player", path: "/music/radio", want: false},
		"a longer segment":       {scope: "/music/player", path: "/music/player-beta", want: false},
		"a longer first segment": {scope: "/music", path: "/musical/player", want: false},
		"other case":             {scope: "/Music", path: "/music", want: false},
		"scope ends in a slash":  {scope: "/music/player/", path: "/music/player", want: true},
		"path ends in a slash":   {scope: "/music/player", path: "/music/player/", want: true},
		"no scope":               {path: "/music", want: true},
		"root":                   {scope: "/", path: "/music", want: true},
		"no scope, no slash":     {path: "music", want: true},
		"no scope, no path":      {want: true},
		"root, no path":          {scope: "/", want: true},
		"no path":                {scope: "/music", want: false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := within(tc.scope, tc.path); got != tc.want {
				t.Errorf("within(%q, %q) = %t, want %t", tc.scope, tc.path, got, tc.want)
			}
		})
	}
}

// triggers reads the closed list of triggers from the CRD, types and families: what
// users can write.
func triggers(t *testing.T) (types, families []v1alpha1.Trigger) {
	t.Helper()
	data, err := os.ReadFile("../../config/crd/bases/horizoncd.io_webhooks.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	rules := spec.Properties["triggers"].Items.Schema.XValidations
	if len(rules) != 1 {
		t.Fatalf("triggers have %d rules", len(rules))
	}
	quoted := regexp.MustCompile(`^self\.matches\(r"\^(.*)\$"\)$`).FindStringSubmatch(rules[0].Rule)
	if quoted == nil {
		t.Fatalf("the rule of triggers is not one pattern: %s", rules[0].Rule)
	}
	pattern, err := syntax.Parse(quoted[1], syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	for _, trigger := range spelt(t, pattern) {
		switch {
		case trigger == string(v1alpha1.TriggerAny):
		case strings.HasSuffix(trigger, "_*"):
			families = append(families, v1alpha1.Trigger(trigger))
		default:
			types = append(types, v1alpha1.Trigger(trigger))
		}
	}
	return types, families
}

// spelt returns all texts that a pattern matches which has no repetition in it.
func spelt(t *testing.T, pattern *syntax.Regexp) []string {
	t.Helper()
	all := []string{""}
	switch pattern.Op {
	case syntax.OpEmptyMatch:
	case syntax.OpLiteral:
		return []string{string(pattern.Rune)}
	case syntax.OpCapture:
		return spelt(t, pattern.Sub[0])
	case syntax.OpQuest:
		return append(all, spelt(t, pattern.Sub[0])...)
	case syntax.OpAlternate:
		all = nil
		for _, sub := range pattern.Sub {
			all = append(all, spelt(t, sub)...)
		}
	case syntax.OpCharClass: // what the parser makes of single characters
		all = nil
		for i := 0; i < len(pattern.Rune); i += 2 {
			for r := pattern.Rune[i]; r <= pattern.Rune[i+1]; r++ {
				all = append(all, string(r))
			}
		}
	case syntax.OpConcat:
		for _, sub := range pattern.Sub {
			var longer []string
			for _, end := range spelt(t, sub) {
				for _, begin := range all {
					longer = append(longer, begin+end)
				}
			}
			all = longer
		}
	default:
		t.Fatalf("%s is not one of a closed list", pattern)
	}
	return all
}

// A trigger that can be written follows its own type, its other spellings, and
// nothing else.
func TestEveryTrigger(t *testing.T) {
	types, _ := triggers(t)
	if len(types) != 43 {
		t.Errorf("the CRD lists %d types", len(types))
	}
	for _, trigger := range types {
		want := []v1alpha1.Trigger{trigger, otherNumber(trigger)}
		switch trigger {
		case "clsuters_restarted":
			want = []v1alpha1.Trigger{trigger, "cluster_restarted", "clusters_restarted"}
		case "cluster_restarted", "clusters_restarted":
			want = append(want, "clsuters_restarted")
		}
		var got []v1alpha1.Trigger
		for _, eventType := range types {
			if Follows(trigger, string(eventType)) {
				got = append(got, eventType)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("types that %s follows (-want +got):\n%s", trigger, diff)
		}
	}
}

// A family follows all types of its kind in both numbers, also those that a later
// Horizon adds, and no others.
func TestEveryFamily(t *testing.T) {
	types, families := triggers(t)
	later := []v1alpha1.Trigger{ // as event types; none of them can be followed alone
		"applications_archived", "application_archived", "clusters_scaled_up", "cluster_paused", "members_invited", "pipelinerun_skipped",
		"groups_created", "clusterss_created", "clusteradmins_created", "apps_created", "clsuters_created",
	}
	want := map[v1alpha1.Trigger][]string{ // by family: what its types begin with
		"application_*": {"application_", "applications_"}, "applications_*": {"application_", "applications_"},
		"cluster_*": {"cluster_", "clusters_", "clsuters_restarted"}, "clusters_*": {"cluster_", "clusters_", "clsuters_restarted"},
		"member_*": {"member_", "members_"}, "members_*": {"member_", "members_"},
		"pipelinerun_*": {"pipelinerun_", "pipelineruns_"}, "pipelineruns_*": {"pipelinerun_", "pipelineruns_"},
	}
	slices.Sort(families)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), families); diff != "" {
		t.Fatalf("families (-want +CRD):\n%s", diff)
	}
	for family, begins := range want {
		for _, eventType := range slices.Concat(types, later) {
			in := slices.ContainsFunc(begins, func(begin string) bool { return strings.HasPrefix(string(eventType), begin) })
			if got := Follows(family, string(eventType)); got != in {
				t.Errorf("%s follows %s: %t", family, eventType, got)
			}
		}
	}
	// Nor is a type with fewer words in a family, or any text a family.
	for _, trigger := range []v1alpha1.Trigger{"clusters_", "clusters", "*_deployed", "_*", "clusters_de*"} {
		if Follows(trigger, "clusters_deployed") {
			t.Errorf("%s follows clusters_deployed", trigger)
		}
	}
}

func otherNumber(trigger v1alpha1.Trigger) v1alpha1.Trigger {
	kind, action, _ := strings.Cut(string(trigger), "_")
	if singular, plural := strings.CutSuffix(kind, "s"); plural {
		return v1alpha1.Trigger(singular + "_" + action)
	}
	return v1alpha1.Trigger(kind + "s_" + action)
}

// The nine types of Horizon's documentation, and what Horizon's code sends.
func TestDocumentedTypes(t *testing.T) {
	all, _ := triggers(t)
	for documented, other := range map[v1alpha1.Trigger]v1alpha1.Trigger{
		"applications_created":    "application_created",
		"application_deleted":     "applications_deleted",
		"application_transferred": "applications_transferred",
		"cluster_created":         "clusters_created",
		"cluster_deleted":         "clusters_deleted",
		"clusters_builddeployed":  "cluster_builddeployed",
		"clusters_deployed":       "cluster_deployed",
		"clusters_rollbacked":     "cluster_rollbacked",
		"clusters_freed":          "cluster_freed",
	} {
		for _, trigger := range []v1alpha1.Trigger{documented, other} {
			if !slices.Contains(all, trigger) {
				t.Errorf("the CRD does not list %s", trigger)
			}
			for _, eventType := range []v1alpha1.Trigger{documented, other} {
				if !Follows(trigger, string(eventType)) {
					t.Errorf("%s does not follow %s", trigger, eventType)
				}
			}
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	w, e := webhook(nil), event(nil)
	b.ReportAllocs()
	for b.Loop() {
		Match(w, e)
	}
}

// Who asks for a replay need not have been there; all else holds.
func TestMatchReplay(t *testing.T) {
	later := func(w *v1alpha1.Webhook) { w.CreationTimestamp = metav1.NewTime(created.Add(time.Hour)) }
	for name, tc := range map[string]struct {
		change func(w *v1alpha1.Webhook)
		want   v1alpha1.UnmatchedReason
	}{
		"created later": {later, ""},
		"with another trigger": {func(w *v1alpha1.Webhook) {
			later(w)
			w.Spec.Triggers = []v1alpha1.Trigger{"clusters_freed"}
		}, v1alpha1.UnmatchedTrigger},
		"with another scope": {func(w *v1alpha1.Webhook) { later(w); w.Spec.Scope = "/video" }, v1alpha1.UnmatchedScope},
		"disabled":           {func(w *v1alpha1.Webhook) { later(w); w.Spec.State = v1alpha1.WebhookDisabled }, v1alpha1.UnmatchedDisabled},
		"going":              {func(w *v1alpha1.Webhook) { later(w); w.DeletionTimestamp = new(metav1.NewTime(created)) }, v1alpha1.UnmatchedDeleting},
	} {
		if verdict := MatchReplay(webhook(tc.change), event(nil)); verdict.Reason != tc.want {
			t.Errorf("%s: %q", name, verdict.Reason)
		}
	}
}
