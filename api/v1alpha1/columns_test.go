package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// terminal is the width in which `kubectl get` shall read well, also of all
// three kinds at once, when every name has its kind in front.
const terminal = 160

func TestColumns(t *testing.T) {
	ago := time.Now().Add(-15*time.Minute - 10*time.Second).UTC().Format(time.RFC3339)
	condition := func(typ, status, reason, message string) map[string]any {
		return map[string]any{
			"type": typ, "status": status, "reason": reason, "message": message, "lastTransitionTime": ago,
		}
	}
	healthy := create(t, webhooks, "smoke-tests", fields{
		"spec.url":         "https://ci.example.com/hooks/horizon?team=music%20ops",
		"spec.triggers":    []any{"clusters_builddeployed", "clusters_deployed"},
		"spec.scope":       "/music",
		"spec.description": "Start the smoke tests when a deploy task starts",
	})
	create(t, webhooks, "unseen", nil)
	writeStatus(t, webhooks, healthy, map[string]any{
		"conditions": []any{
			condition("Ready", "True", "Usable", "The webhook can be sent to."),
			condition("Healthy", "False", "Failing", "The last attempt failed."),
		},
		"deliveries":   map[string]any{"waiting": int64(3), "succeeded": int64(120), "failed": int64(0)},
		"lastDelivery": map[string]any{"name": "smoke-tests-1", "time": ago, "result": "Waiting", "statusCode": int64(503)},
	})

	delivered := create(t, webhookEvents, "horizon-78402", fields{
		"spec.eventType":    "clusters_builddeployed",
		"spec.resourcePath": "/music/player/web/web-prod",
		"spec.user":         map[string]any{"id": int64(1), "name": "test"},
	})
	create(t, webhookEvents, "unseen", nil)
	writeStatus(t, webhookEvents, delivered, map[string]any{
		"conditions": []any{condition("Delivered", "False", "Failed", "1 of 4 deliveries failed.")},
		"result":     "Failed",
		"counts":     map[string]any{"waiting": int64(0), "succeeded": int64(3), "failed": int64(1)},
	})

	create(t, webhookDeliveries, "smoke-tests-6741f2a0-4f0c9a1be7d2c3f4", fields{
		"spec.eventType":    "clusters_builddeployed",
		"spec.eventRef":     map[string]any{"namespace": namespace, "name": "horizon-78402", "uid": "u"},
		"spec.resourceName": "web-prod",
		"status": map[string]any{
			"result":          "Waiting",
			"attempts":        int64(2),
			"nextAttemptTime": "2026-11-23T09:00:40Z",
			"conditions": []any{map[string]any{
				"type": "Delivered", "status": "Unknown", "reason": "Retrying", "message": "answered 503 Service Unavailable",
				"lastTransitionTime": ago,
			}},
			"history": []any{
				map[string]any{"time": ago, "cause": "Retry", "statusCode": int64(503), "milliseconds": int64(1250), "error": "the receiver answered 503 Service Unavailable"},
				map[string]any{"time": ago, "cause": "Initial", "milliseconds": int64(30000), "error": "no answer within 30 s"},
			},
		},
	})
	create(t, webhookDeliveries, "smoke-tests-6741f2a0-7d1e2b3c4d5e6f70", fields{
		"status": map[string]any{"result": "Waiting"},
	})

	tests := map[string]struct{ narrow, wide string }{
		webhooks: {
			narrow: `
NAME          STATE     READY   HEALTH    LAST   AGE   URL                                                     TRIGGERS
smoke-tests   Enabled   True    Failing   15m    now   https://ci.example.com/hooks/horizon?team=music%20ops   ["clusters_builddeployed","clusters_deployed"]
unseen        Enabled                            now   https://ci.example.com/hooks/horizon                    ["clusters_deployed"]
`,
			wide: `
NAME          STATE     READY   HEALTH    WAITING   SUCCEEDED   FAILED   LAST   CODE   AGE   URL                                                     TRIGGERS                                         SCOPE    DESCRIPTION
smoke-tests   Enabled   True    Failing   3         120         0        15m    503    now   https://ci.example.com/hooks/horizon?team=music%20ops   ["clusters_builddeployed","clusters_deployed"]   /music   Start the smoke tests when a deploy task starts
unseen        Enabled                                                                  now   https://ci.example.com/hooks/horizon                    ["clusters_deployed"]
`,
		},
		webhookEvents: {
			narrow: `
NAME            TYPE                     RESOURCE                     RESULT    SUCCEEDED   WAITING   FAILED   AGE
horizon-78402   clusters_builddeployed   /music/player/web/web-prod   Failed    3           0         1        now
unseen          clusters_deployed                                     Pending                                  now
`,
			wide: `
NAME            TYPE                     RESOURCE                     RESULT    SUCCEEDED   WAITING   FAILED   AGE   USER   MESSAGE                     CREATED
horizon-78402   clusters_builddeployed   /music/player/web/web-prod   Failed    3           0         1        now   test   1 of 4 deliveries failed.   now
unseen          clusters_deployed                                     Pending                                  now                                      now
`,
		},
		webhookDeliveries: {
			narrow: `
NAME                                    WEBHOOK       RESOURCE   EVENT TYPE               RESULT    CODE   ATTEMPTS   MS     AGE
smoke-tests-6741f2a0-4f0c9a1be7d2c3f4   smoke-tests   web-prod   clusters_builddeployed   Waiting   503    2          1250   now
smoke-tests-6741f2a0-7d1e2b3c4d5e6f70   smoke-tests              clusters_deployed        Waiting                            now
`,
			wide: `
NAME                                    WEBHOOK       RESOURCE   EVENT TYPE               RESULT    CODE   ATTEMPTS   MS     AGE   NEXT                   EVENT           REASON     MESSAGE
smoke-tests-6741f2a0-4f0c9a1be7d2c3f4   smoke-tests   web-prod   clusters_builddeployed   Waiting   503    2          1250   now   2026-11-23T09:00:40Z   horizon-78402   Retrying   answered 503 Service Unavailable
smoke-tests-6741f2a0-7d1e2b3c4d5e6f70   smoke-tests              clusters_deployed        Waiting                            now                          horizon-1
`,
		},
	}
	for plural, tc := range tests {
		t.Run(plural, func(t *testing.T) {
			table := getTable(t, plural)
			if diff := cmp.Diff(tc.narrow, "\n"+layOut(table, "", false)); diff != "" {
				t.Errorf("kubectl get (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wide, "\n"+layOut(table, "", true)); diff != "" {
				t.Errorf("kubectl get -o wide (-want +got):\n%s", diff)
			}
			fits(t, layOut(table, "", false))
			prefix := strings.ToLower(kinds[plural]) + "." + v1alpha1.GroupVersion.Group + "/"
			for line := range strings.Lines(layOut(table, prefix, false)) {
				// The triggers, a list, come last, where they disturb nobody.
				line, _, _ = strings.Cut(line, `["`)
				fits(t, line)
			}
		})
	}
}

func fits(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if width := utf8.RuneCountInString(strings.TrimRight(line, " \n")); width > terminal {
			t.Errorf("%d characters are more than %d: %s", width, terminal, line)
		}
	}
}

// writeStatus sets the status through the status subresource.
func writeStatus(t *testing.T, plural string, obj *unstructured.Unstructured, status map[string]any) *unstructured.Unstructured {
	t.Helper()
	obj = obj.DeepCopy()
	obj.Object["status"] = status
	updated, err := resource(plural).UpdateStatus(t.Context(), obj, metav1.UpdateOptions{
		FieldValidation: metav1.FieldValidationStrict,
	})
	if err != nil {
		t.Fatalf("writing the status of %s %s: %v", plural, obj.GetName(), err)
	}
	return updated
}

// getTable asks as kubectl does.
func getTable(t *testing.T, plural string) *metav1.Table {
	t.Helper()
	client, err := rest.HTTPClientFor(server.config)
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("%s/apis/%s/namespaces/%s/%s", server.config.Host, v1alpha1.GroupVersion, namespace, plural)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var table metav1.Table
	if err := json.NewDecoder(resp.Body).Decode(&table); err != nil {
		t.Fatal(err)
	}
	return &table
}

// layOut lays a table out as kubectl does: columns three spaces apart, those of
// a priority above 0 only if wide, nothing where there is no value.
func layOut(table *metav1.Table, prefix string, wide bool) string {
	var lines [][]string
	header := []string{}
	for _, column := range table.ColumnDefinitions {
		if wide || column.Priority == 0 {
			header = append(header, strings.ToUpper(column.Name))
		}
	}
	lines = append(lines, header)
	for _, row := range table.Rows {
		var line []string
		for i, column := range table.ColumnDefinitions {
			if !wide && column.Priority > 0 {
				continue
			}
			cell := ""
			switch {
			case i == 0:
				cell = prefix + fmt.Sprint(row.Cells[i])
			case column.Name == "Age", column.Name == "Created":
				cell = "now" // whatever the server counted
			case row.Cells[i] != nil:
				cell = fmt.Sprint(row.Cells[i])
			}
			line = append(line, cell)
		}
		lines = append(lines, line)
	}

	widths := make([]int, len(header))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			fmt.Fprintf(&text, "%-*s   ", widths[i], cell)
		}
		out.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	return out.String()
}
