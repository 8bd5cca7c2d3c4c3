package v1alpha1_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// What kstatus, and with it Flux, Argo CD and `kubectl wait`-like tools, makes
// of the objects: one that no controller has seen does not look finished, and
// the conditions that the API names mean what they say.
func TestKstatus(t *testing.T) {
	condition := func(typ, value string) map[string]any {
		return map[string]any{
			"type": typ, "status": value, "reason": "Reason", "message": "message",
			"lastTransitionTime": "2026-11-23T09:00:00Z",
		}
	}
	seen := func(conditions ...any) map[string]any {
		return map[string]any{"observedGeneration": int64(1), "conditions": conditions}
	}
	tests := []struct {
		name, plural string
		status       map[string]any
		want         status.Status
	}{
		{"unseen", webhooks, nil, status.InProgressStatus},
		{"usable", webhooks, seen(condition("Ready", "True"), condition("Healthy", "Unknown")), status.CurrentStatus},
		{"unhealthy", webhooks, seen(condition("Ready", "True"), condition("Healthy", "False")), status.CurrentStatus},
		{"without-secret", webhooks, seen(condition("Ready", "False"), condition("Stalled", "True")), status.FailedStatus},
		{"looking", webhooks, seen(condition("Ready", "Unknown"), condition("Reconciling", "True")), status.InProgressStatus},

		{"unseen", webhookEvents, nil, status.InProgressStatus},
		{"dispatching", webhookEvents, seen(condition("Dispatched", "False"), condition("Delivered", "Unknown"), condition("Reconciling", "True")), status.InProgressStatus},
		{"delivered", webhookEvents, seen(condition("Dispatched", "True"), condition("Delivered", "True")), status.CurrentStatus},
		{"failed", webhookEvents, seen(condition("Dispatched", "True"), condition("Delivered", "False"), condition("Stalled", "True")), status.FailedStatus},

		{"waiting", webhookDeliveries, map[string]any{"result": "Waiting", "conditions": []any{condition("Delivered", "Unknown"), condition("Reconciling", "True")}}, status.InProgressStatus},
		{"delivered", webhookDeliveries, map[string]any{"result": "Succeeded", "conditions": []any{condition("Delivered", "True")}}, status.CurrentStatus},
		{"failed", webhookDeliveries, map[string]any{"result": "Failed", "conditions": []any{condition("Delivered", "False"), condition("Stalled", "True")}}, status.FailedStatus},
	}
	for _, tc := range tests {
		t.Run(tc.plural+" "+tc.name, func(t *testing.T) {
			name := "kstatus-" + tc.name
			var obj *unstructured.Unstructured
			switch {
			case tc.status == nil:
				obj = create(t, tc.plural, name, nil)
			case tc.plural == webhookDeliveries:
				obj = create(t, tc.plural, name, fields{"status": tc.status})
			default:
				obj = writeStatus(t, tc.plural, create(t, tc.plural, name, nil), tc.status)
			}
			result, err := status.Compute(obj)
			if err != nil {
				t.Fatal(err)
			}
			if result.Status != tc.want {
				t.Errorf("got %s (%s), want %s", result.Status, result.Message, tc.want)
			}
		})
	}
}

// An edit is news until the operator has seen it.
func TestKstatusAfterEdit(t *testing.T) {
	webhook := create(t, webhooks, "edited", nil)
	webhook = writeStatus(t, webhooks, webhook, map[string]any{
		"observedGeneration": int64(1),
		"conditions": []any{map[string]any{
			"type": "Ready", "status": "True", "reason": "Usable", "message": "message",
			"observedGeneration": int64(1), "lastTransitionTime": "2026-11-23T09:00:00Z",
		}},
	})
	edited, err := resource(webhooks).Update(t.Context(), change(webhook, fields{"spec.state": "Paused"}), metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for obj, want := range map[*unstructured.Unstructured]status.Status{
		webhook: status.CurrentStatus,
		edited:  status.InProgressStatus,
	} {
		result, err := status.Compute(obj)
		if err != nil {
			t.Fatal(err)
		}
		if result.Status != want {
			t.Errorf("generation %d: got %s (%s), want %s", obj.GetGeneration(), result.Status, result.Message, want)
		}
	}
}
