package monitoring

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// rules are what Prometheus reads of a PrometheusRule.
type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// unitTests are those that promtool runs.
type unitTests struct {
	RuleFiles          []string `json:"rule_files"`
	EvaluationInterval string   `json:"evaluation_interval"`
	Tests              []struct {
		Name   string `json:"name"`
		Alerts []struct {
			At       string `json:"eval_time"`
			Alert    string `json:"alertname"`
			Expected []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

func alertRules(t *testing.T) (all rules, alerts map[string]rule) {
	t.Helper()
	var object struct {
		Spec rules `json:"spec"`
	}
	if err := yaml.Unmarshal(read(t, root+"/config/monitoring/prometheus_rule.yaml"), &object); err != nil {
		t.Fatal(err)
	}
	alerts = map[string]rule{}
	for _, group := range object.Spec.Groups {
		for _, r := range group.Rules {
			if _, twice := alerts[r.Alert]; twice || r.Alert == "" {
				t.Fatalf("%q is there twice, or is no alert", r.Alert)
			}
			alerts[r.Alert] = r
		}
	}
	return object.Spec, alerts
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Each alert fires and rests as alerts.yaml says.
func TestAlertsFireAndRest(t *testing.T) {
	promtool := tool(t, "PROMTOOL")
	dir := t.TempDir()
	all, _ := alertRules(t)
	whole := filepath.Join(dir, "whole.yaml")
	write(t, whole, all)
	run(t, nil, promtool, "check", "rules", "--lint=all", "--lint-fatal", whole)

	for _, group := range all.Groups {
		for i := range group.Rules {
			group.Rules[i].Annotations = nil // the tests need not repeat them
		}
	}
	write(t, filepath.Join(dir, "rules.yaml"), all)
	if err := os.WriteFile(filepath.Join(dir, "alerts.yaml"), read(t, "alerts.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, nil, promtool, "test", "rules", filepath.Join(dir, "alerts.yaml"))
}

// For each alert there are tests in which it fires, in which it does not fire before its
// time, in which it rests after it has fired, and in which it never fires.
func TestAlertsAreTriedInFourWays(t *testing.T) {
	_, alerts := alertRules(t)
	var tests unitTests
	if err := yaml.Unmarshal(read(t, "alerts.yaml"), &tests); err != nil {
		t.Fatal(err)
	}
	type ways struct{ Fires, Before, After, Never bool }
	got := map[string]ways{}
	for _, test := range tests.Tests {
		fires, rests := map[string][]time.Duration{}, map[string][]time.Duration{}
		for _, a := range test.Alerts {
			at, err := time.ParseDuration(a.At)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Expected) > 0 {
				fires[a.Alert] = append(fires[a.Alert], at)
			} else {
				rests[a.Alert] = append(rests[a.Alert], at)
			}
		}
		for alert, at := range fires {
			w := got[alert]
			w.Fires = true
			w.Before = w.Before || len(rests[alert]) > 0 && slices.Min(rests[alert]) < slices.Min(at)
			w.After = w.After || len(rests[alert]) > 0 && slices.Max(rests[alert]) > slices.Max(at)
			got[alert] = w
		}
		for alert := range rests {
			w := got[alert]
			w.Never = w.Never || len(fires[alert]) == 0
			got[alert] = w
		}
	}
	want := map[string]ways{}
	for alert := range alerts {
		want[alert] = ways{true, true, true, true}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("how alerts are tried (-want +got):\n%s", diff)
	}
}

// Each alert says how bad it is, what it is about and what to do, and has a runbook; and
// each runbook is that of an alert.
func TestAlertsHaveRunbooks(t *testing.T) {
	_, alerts := alertRules(t)
	page := string(read(t, root+"/docs/monitoring.md"))
	sections := map[string]string{}
	for part := range strings.SplitSeq(page, "\n#") {
		if heading, text, _ := strings.Cut(part, "\n"); strings.HasPrefix(heading, "## Horizon") {
			sections[strings.TrimPrefix(heading, "## ")] = text
		}
	}
	for name, r := range alerts {
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", name, s)
		}
		if r.For == "" {
			t.Errorf("%s fires at once", name)
		}
		if got := slices.Sorted(maps.Keys(r.Annotations)); !slices.Equal(got, []string{"description", "runbook_url", "summary"}) {
			t.Errorf("%s has the annotations %q", name, got)
		}
		want := "https://github.com/horizoncd/webhook-operator/blob/main/docs/monitoring.md#" + strings.ToLower(name)
		if got := r.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: runbook_url is %s, want %s", name, got, want)
		}
		for _, part := range []string{"**Means**", "**Look**", "**Do**"} {
			if !strings.Contains(sections[name], part) {
				t.Errorf("the section %s of docs/monitoring.md has no %s", name, part)
			}
		}
		delete(sections, name)
	}
	for name := range sections {
		t.Errorf("docs/monitoring.md has a section %s, which is no alert", name)
	}
}

// The monitors and rules are what the types of the Prometheus operator allow.
func TestPrometheusOperatorObjects(t *testing.T) {
	for _, path := range []string{"prometheus_rule.yaml", "service_monitor.yaml", "pod_monitor.yaml"} {
		run(t, read(t, root+"/config/monitoring/"+path), tool(t, "PROMCHECK"), "manifests")
	}
	for _, dir := range []string{"monitoring", "monitoring-plain"} {
		rendered := run(t, nil, tool(t, "KUSTOMIZE"), "build", root+"/config/"+dir)
		run(t, rendered, tool(t, "PROMCHECK"), "manifests")
	}
}
