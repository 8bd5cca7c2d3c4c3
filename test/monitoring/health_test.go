package monitoring

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// healthRow is a row of the table of docs/monitoring.md that says what tools show: kind,
// what is the case, fields, Flux, Argo CD, kubectl wait.
var healthRow = regexp.MustCompile("(?m)^\\| (Webhook|WebhookEvent|WebhookDelivery) \\| ([^|]+) \\| ([^|]+) \\| `(\\w+)` \\| `(\\w+)` \\| (met|not met) \\|$")

// waited names the condition of each kind that one waits for.
var waited = map[string]string{
	"Webhook": v1alpha1.ConditionReady, "WebhookEvent": v1alpha1.ConditionDelivered, "WebhookDelivery": v1alpha1.ConditionDelivered,
}

// What the table says is what Flux, which goes by kstatus, and Argo CD, with the script
// of config/argo-cd, make of such objects.
func TestWhatToolsShow(t *testing.T) {
	luahealth := tool(t, "LUAHEALTH")
	rows := healthRow.FindAllStringSubmatch(string(read(t, root+"/docs/monitoring.md")), -1)
	kinds := map[string]int{}
	for _, row := range rows {
		kind, what, fields, flux, argo, wait := row[1], row[2], row[3], row[4], row[5], row[6]
		kinds[kind]++
		t.Run(kind+" "+what, func(t *testing.T) {
			obj := object(t, kind, fields)
			result, err := status.Compute(obj)
			if err != nil {
				t.Fatal(err)
			}
			if result.Status.String() != flux {
				t.Errorf("kstatus says %s (%s), want %s", result.Status, result.Message, flux)
			}
			data, err := obj.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			var health struct{ Status, Message string }
			if err := json.Unmarshal(run(t, data, luahealth, root+"/config/argo-cd/health.lua"), &health); err != nil {
				t.Fatal(err)
			}
			if health.Status != argo {
				t.Errorf("Argo CD shows %s (%s), want %s", health.Status, health.Message, argo)
			}
			if health.Message == "" {
				t.Error("Argo CD shows no message")
			}
			if got := strings.Contains(fields, "`"+waited[kind]+"=True`"); got != (wait == "met") {
				t.Errorf("kubectl wait: %t, want %s", got, wait)
			}
		})
	}
	if kinds["Webhook"] < 7 || kinds["WebhookEvent"] < 4 || kinds["WebhookDelivery"] < 4 {
		t.Errorf("rows of the table by kind: %v", kinds)
	}
}

// object has the fields that a row names: conditions (`Ready=True`), `spec.state: Paused`, `edited`.
func object(t *testing.T, kind, fields string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"namespace": "music", "name": "x", "generation": int64(1)},
		"spec":     map[string]any{},
	}}
	obj.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	of := map[string]any{}
	if kind != "WebhookDelivery" {
		of["observedGeneration"] = int64(1)
	}
	var conditions []any
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(fields, -1) {
		name, value, isCondition := strings.Cut(m[1], "=")
		switch state, isState := strings.CutPrefix(m[1], "spec.state: "); {
		case isCondition:
			conditions = append(conditions, map[string]any{
				"type": name, "status": value, "reason": "Reason", "message": "message", "lastTransitionTime": "2026-11-23T09:00:00Z",
			})
		case isState:
			obj.Object["spec"].(map[string]any)["state"] = state
		case m[1] == "metadata.generation":
			obj.SetGeneration(2)
		default:
			t.Fatalf("%q is neither a condition nor a field that is known here", m[1])
		}
	}
	if conditions == nil && kind != "WebhookDelivery" {
		of["observedGeneration"] = int64(-1) // as the CRD has it
	}
	of["conditions"] = conditions
	obj.Object["status"] = of
	return obj
}
