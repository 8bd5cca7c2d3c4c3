package matching

import (
	"os"
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
			reason, matched := Match(webhook(tc.webhook), event(tc.event))
			if diff := cmp.Diff(tc.want, outcome{reason, matched}); diff != "" {
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

// triggers reads the closed list of triggers from the CRD: what users can write.
func triggers(t *testing.T) []v1alpha1.Trigger {
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
	enum := spec.Properties["triggers"].Items.Schema.Enum
	if len(enum) == 0 {
		t.Fatal("the CRD lists no triggers")
	}
	var all []v1alpha1.Trigger
	for _, value := range enum {
		var trigger v1alpha1.Trigger
		if err := yaml.Unmarshal(value.Raw, &trigger); err != nil {
			t.Fatal(err)
		}
		all = append(all, trigger)
	}
	return all
}

// A trigger that can be written follows its own type, its other spellings, and
// nothing else.
func TestEveryTrigger(t *testing.T) {
	all := triggers(t)
	if !slices.Contains(all, v1alpha1.TriggerAny) {
		t.Errorf("the CRD does not list %q", v1alpha1.TriggerAny)
	}
	for _, trigger := range all {
		if trigger == v1alpha1.TriggerAny {
			continue
		}
		want := []v1alpha1.Trigger{trigger, otherNumber(trigger)}
		switch trigger {
		case "clsuters_restarted":
			want = []v1alpha1.Trigger{trigger, "cluster_restarted", "clusters_restarted"}
		case "cluster_restarted", "clusters_restarted":
			want = append(want, "clsuters_restarted")
		}
		var got []v1alpha1.Trigger
		for _, eventType := range all {
			if eventType != v1alpha1.TriggerAny && follows(trigger, string(eventType)) {
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

func otherNumber(trigger v1alpha1.Trigger) v1alpha1.Trigger {
	kind, action, _ := strings.Cut(string(trigger), "_")
	if singular, plural := strings.CutSuffix(kind, "s"); plural {
		return v1alpha1.Trigger(singular + "_" + action)
	}
	return v1alpha1.Trigger(kind + "s_" + action)
}

// The nine types of Horizon's documentation, and what Horizon's code sends.
func TestDocumentedTypes(t *testing.T) {
	all := triggers(t)
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
				if !follows(trigger, string(eventType)) {
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
