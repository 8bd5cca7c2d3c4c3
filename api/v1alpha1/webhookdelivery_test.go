package v1alpha1_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestWebhookDeliverySpec(t *testing.T) {
	required := func(field string) map[string][]string {
		return map[string][]string{field: {"Required value"}}
	}
	inputs{
		"smallest": {},
		"name of a webhook of 63 characters": {set: fields{
			"metadata.name":        strings.Repeat("a", 63) + "-6741f2a0-4f0c9a1be7d2c3f4",
			"spec.webhookRef.name": strings.Repeat("a", 63),
		}},
		"no webhook":         {set: fields{"spec.webhookRef": remove}, want: required("spec.webhookRef")},
		"webhook of no name": {set: fields{"spec.webhookRef.name": remove}, want: required("spec.webhookRef.name")},
		"webhook of no uid":  {set: fields{"spec.webhookRef.uid": remove}, want: required("spec.webhookRef.uid")},
		"empty uid":          {set: fields{"spec.webhookRef.uid": ""}, want: map[string][]string{"spec.webhookRef.uid": {tooShort}}},
		"no event":           {set: fields{"spec.eventRef": remove}, want: required("spec.eventRef")},
		"event nowhere":      {set: fields{"spec.eventRef.namespace": remove}, want: required("spec.eventRef.namespace")},
		"no event type":      {set: fields{"spec.eventType": remove}, want: required("spec.eventType")},
		"no payload":         {set: fields{"spec.payload": remove}, want: required("spec.payload")},
		"payload too long":   {set: fields{"spec.payload": strings.Repeat("a", 524289)}, want: map[string][]string{"spec.payload": {"may not be more than 524288"}}},
		"a result of a later version": {
			set: fields{"status": map[string]any{"result": "Redirected"}},
		},
		"a cause of a later version": {
			set: fields{"status": map[string]any{"history": []any{
				map[string]any{"time": "2026-11-23T09:00:00.000000Z", "cause": "Luck", "milliseconds": int64(1)},
			}}},
		},
	}.test(t, webhookDeliveries)
}

// A receiver may answer with any number. A schema that refused one would leave
// a request that was made without its record.
func TestWebhookDeliveryStatusCodes(t *testing.T) {
	for _, code := range []int64{0, 1, 99, 200, 599, 600, 999} {
		_, err := tryCreate(t, webhookDeliveries, fields{"status": map[string]any{
			"response": map[string]any{"statusCode": code, "headers": "", "body": ""},
			"history": []any{map[string]any{
				"time": "2026-11-23T09:00:00Z", "cause": "Initial", "milliseconds": int64(0), "statusCode": code,
			}},
		}})
		if err != nil {
			t.Errorf("%d: %v", code, err)
		}
	}
}

// Without a status subresource a delivery is stored together with its outcome,
// in one write, and that outcome can be selected at once.
func TestWebhookDeliveryKeepsStatusOfCreate(t *testing.T) {
	status := map[string]any{
		"result":   "Succeeded",
		"attempts": int64(1),
		"history": []any{map[string]any{
			"time": "2026-11-23T09:00:00Z", "cause": "Initial", "milliseconds": int64(12), "statusCode": int64(200),
		}},
	}
	created := create(t, webhookDeliveries, "kept", fields{"status": status})
	if diff := cmp.Diff(status, created.Object["status"]); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	created.Object["status"] = map[string]any{"result": "Waiting"}
	updated, err := resource(webhookDeliveries).Update(t.Context(), created, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(updated.Object, "status", "result"); got != "Waiting" {
		t.Errorf("result is %s after it was written", got)
	}
	_, err = resource(webhookDeliveries).UpdateStatus(t.Context(), updated, metav1.UpdateOptions{})
	if err == nil {
		t.Error("there is a status subresource")
	}
}

func TestWebhookDeliveryIsImmutable(t *testing.T) {
	const immutable = "spec cannot be changed: a delivery is a record; to send it again, set the annotation horizoncd.io/resend"
	delivery := create(t, webhookDeliveries, "immutable", nil)
	for name, set := range map[string]fields{
		"payload":       {"spec.payload": `{"eventID":2}`},
		"webhook":       {"spec.webhookRef.name": "another"},
		"webhook's uid": {"spec.webhookRef.uid": "another"},
		"an addition":   {"spec.resourceName": "web-prod"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resource(webhookDeliveries).Update(t.Context(), change(delivery, set), metav1.UpdateOptions{})
			checkComplaints(t, err, map[string][]string{"spec": {immutable}})
		})
	}
	annotate(t, "immutable")
}

// annotate does what `kubectl annotate` does.
func annotate(t *testing.T, name string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"1795424400"}}}`, v1alpha1.AnnotationResend)
	if _, err := resource(webhookDeliveries).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Errorf("annotating %s: %v", name, err)
	}
}

// The largest record that the schema allows can be stored, changed and
// annotated: it is smaller than what etcd takes, and to compare its spec with
// the old one costs less than rules may cost.
func TestWebhookDeliveryLargest(t *testing.T) {
	attempt := map[string]any{
		"time": "2026-11-23T09:00:00.000000Z", "cause": "Resend", "statusCode": int64(503), "milliseconds": int64(300000),
		"error": strings.Repeat("e", 2048),
	}
	var history []any
	for range 10 {
		history = append(history, attempt)
	}
	status := map[string]any{
		"result":  "Waiting",
		"resend":  map[string]any{"value": strings.Repeat("1", 256), "time": "2026-11-23T09:00:00.000000Z", "attempts": int64(1)},
		"request": map[string]any{"url": "https://ci.example.com/", "headers": strings.Repeat("h", 16384)},
		"response": map[string]any{
			"statusCode": int64(503), "headers": strings.Repeat("h", 16384), "body": strings.Repeat("<", 32768),
		},
		"history": history,
	}
	delivery := create(t, webhookDeliveries, "largest", fields{
		"spec.payload": strings.Repeat("p", 524288),
		"status":       status,
	})

	patch, err := json.Marshal(map[string]any{"status": map[string]any{"result": "Failed"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resource(webhookDeliveries).Patch(t.Context(), delivery.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Errorf("changing the status: %v", err)
	}
	annotate(t, delivery.GetName())
}

func TestFieldSelectors(t *testing.T) {
	for i, result := range []string{"Waiting", "Succeeded", "Failed"} {
		create(t, webhookDeliveries, fmt.Sprintf("selected-%d", i), fields{
			"spec.webhookRef.name": fmt.Sprintf("webhook-%d", i),
			"spec.eventRef.name":   fmt.Sprintf("event-%d", i),
			"spec.eventType":       []string{"clusters_deployed", "clusters_freed", "cluster_deployed"}[i],
			"status":               map[string]any{"result": result},
		})
	}
	create(t, webhookEvents, "selected-0", nil)
	event := create(t, webhookEvents, "selected-1", fields{"spec.eventType": "clusters_freed"})
	writeStatus(t, webhookEvents, event, map[string]any{"result": "Unmatched"})

	for _, tc := range []struct {
		plural, selector string
		want             []string
	}{
		{webhookDeliveries, "spec.webhookRef.name=webhook-1", []string{"selected-1"}},
		{webhookDeliveries, "spec.eventRef.name=event-2", []string{"selected-2"}},
		{webhookDeliveries, "spec.eventType=clusters_deployed", []string{"selected-0"}},
		{webhookDeliveries, "status.result=Waiting", []string{"selected-0"}},
		{webhookDeliveries, "status.result!=Succeeded", []string{"selected-0", "selected-2"}},
		{webhookDeliveries, "status.result!=Succeeded,spec.webhookRef.name!=webhook-0", []string{"selected-2"}},
		{webhookEvents, "spec.eventType=clusters_freed", []string{"selected-1"}},
		{webhookEvents, "status.result=Pending", []string{"selected-0"}},
		{webhookEvents, "status.result=Unmatched", []string{"selected-1"}},
	} {
		t.Run(tc.plural+" "+tc.selector, func(t *testing.T) {
			list, err := resource(tc.plural).List(t.Context(), metav1.ListOptions{FieldSelector: tc.selector})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, item := range list.Items {
				got = append(got, item.GetName())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("selected (-want +got):\n%s", diff)
			}
		})
	}
}

// A watch with a selector sees a delivery leave by a DELETED event once it is
// finished, which is what keeps finished ones out of caches.
func TestFieldSelectorOfWatch(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	delivery := create(t, webhookDeliveries, "watched", fields{"status": map[string]any{"result": "Waiting"}})
	watch, err := resource(webhookDeliveries).Watch(ctx, metav1.ListOptions{
		FieldSelector: "status.result=Waiting", ResourceVersion: delivery.GetResourceVersion(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	patch := []byte(`{"status":{"result":"Succeeded"}}`)
	if _, err := resource(webhookDeliveries).Patch(ctx, "watched", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case event := <-watch.ResultChan():
		if event.Type != "DELETED" {
			t.Errorf("got %s, want DELETED", event.Type)
		}
	case <-ctx.Done():
		t.Fatal("no event")
	}
}
