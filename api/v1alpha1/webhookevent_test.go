package v1alpha1_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What an event may carry, each block in full.
var eventBlocks = map[string]map[string]any{
	"application": {"id": int64(1), "name": "test", "priority": "P0"},
	"cluster":     {"id": int64(61400), "name": "web-prod", "applicationName": "web", "env": "online"},
	"pipelinerun": {
		"id": int64(12), "clusterID": int64(61400), "clusterName": "web-prod", "action": "builddeploy",
		"title": "Release 1.4", "description": "What is new", "gitRef": "main", "gitRefType": "branch",
	},
	"member": {
		"id": int64(3), "resourceID": int64(61400), "resourceType": "clusters", "role": "maintainer",
		"memberNameID": int64(1), "memberName": "test",
	},
	"user": {"id": int64(1), "name": "test", "email": "test@noreply.com"},
}

func TestWebhookEventSpec(t *testing.T) {
	const (
		eventType = "eventType must be lower-case words joined by underscores, such as clusters_deployed"
		path      = "resourcePath must be a full path, such as /music/player/web/web-prod: "
		names     = "it has no spaces or control characters; it is made of paths, not of names"
	)
	cases := inputs{
		"unheard-of type":         {set: fields{"spec.eventType": "groups_kubernetes_merged"}},
		"type of 63 characters":   {set: fields{"spec.eventType": strings.Repeat("a", 31) + "_" + strings.Repeat("b", 31)}},
		"type of 64 characters":   {set: fields{"spec.eventType": strings.Repeat("a", 31) + "_" + strings.Repeat("b", 32)}, want: map[string][]string{"spec.eventType": {"may not be more than 63"}}},
		"type of one word":        {set: fields{"spec.eventType": "deployed"}, want: map[string][]string{"spec.eventType": {eventType}}},
		"type in upper case":      {set: fields{"spec.eventType": "Clusters_deployed"}, want: map[string][]string{"spec.eventType": {eventType}}},
		"type with a hyphen":      {set: fields{"spec.eventType": "clusters-deployed"}, want: map[string][]string{"spec.eventType": {eventType}}},
		"type with a digit":       {set: fields{"spec.eventType": "clusters_deployed2"}, want: map[string][]string{"spec.eventType": {eventType}}},
		"type with an empty word": {set: fields{"spec.eventType": "clusters__deployed"}, want: map[string][]string{"spec.eventType": {eventType}}},
		"type with a line break":  {set: fields{"spec.eventType": "clusters_deployed\n"}, want: map[string][]string{"spec.eventType": {eventType}}},
		"trigger for every type":  {set: fields{"spec.eventType": "*"}, want: map[string][]string{"spec.eventType": {"at least 3 chars long", eventType}}},
		"empty type":              {set: fields{"spec.eventType": ""}, want: map[string][]string{"spec.eventType": {"at least 3 chars long", eventType}}},
		"missing type":            {set: fields{"spec.eventType": remove}, want: map[string][]string{"spec.eventType": {"Required value"}}},
		"missing spec":            {set: fields{"spec": remove}, want: map[string][]string{"spec": {"Required value"}}},
		"time":                    {set: fields{"spec.time": "2026-11-23T09:00:00Z"}},
		"time with a zone":        {set: fields{"spec.time": "2026-11-23T17:00:00.123+08:00"}},
		"date":                    {set: fields{"spec.time": "2026-11-23"}, want: map[string][]string{"spec.time": {"must be of type date-time"}}},
		"time in seconds":         {set: fields{"spec.time": int64(1795424400)}, want: map[string][]string{"spec.time": {"must be of type date-time"}}},
		"path":                    {set: fields{"spec.resourcePath": "/music/player/web/web-prod"}},
		"path of the root":        {set: fields{"spec.resourcePath": "/"}},
		"path beyond ASCII":       {set: fields{"spec.resourcePath": "/Música/a_b.c~d/*"}},
		"relative path":           {set: fields{"spec.resourcePath": "music/player"}, want: map[string][]string{"spec.resourcePath": {path + "write /music/player"}}},
		"path with a slash after": {set: fields{"spec.resourcePath": "/music/player/"}, want: map[string][]string{"spec.resourcePath": {path + "it has no slash at its end; write /music/player"}}},
		"path with an empty part": {set: fields{"spec.resourcePath": "/music//player"}, want: map[string][]string{"spec.resourcePath": {path + "it has no empty parts; write /music/player"}}},
		"path of empty parts":     {set: fields{"spec.resourcePath": "//"}, want: map[string][]string{"spec.resourcePath": {path + "it has no empty parts; write /"}}},
		"full name":               {set: fields{"spec.resourcePath": "music / player / web"}, want: map[string][]string{"spec.resourcePath": {path + names}}},
		"path with a space":       {set: fields{"spec.resourcePath": "/music/my player"}, want: map[string][]string{"spec.resourcePath": {path + names}}},
		"path with a space after": {set: fields{"spec.resourcePath": "/music "}, want: map[string][]string{"spec.resourcePath": {path + names}}},
		"path with a line feed":   {set: fields{"spec.resourcePath": "/music\n"}, want: map[string][]string{"spec.resourcePath": {path + names}}},
		"path with a BOM":         {set: fields{"spec.resourcePath": "\ufeff/music"}, want: map[string][]string{"spec.resourcePath": {path + names}}},
		"path with NUL":           {set: fields{"spec.resourcePath": "/music\x00"}, want: map[string][]string{"spec.resourcePath": {path + names}}},
		"long path":               {set: fields{"spec.resourcePath": "/" + strings.Repeat("a", 1024)}, want: map[string][]string{"spec.resourcePath": {"may not be more than 1024"}}},
		"extra of 32768 chars":    {set: fields{"spec.extra": strings.Repeat("ü", 32768)}},
		"extra of 32769 chars":    {set: fields{"spec.extra": strings.Repeat("a", 32769)}, want: map[string][]string{"spec.extra": {"may not be more than 32768"}}},
		"eventID 1":               {set: fields{"spec.eventID": int64(1)}},
		"eventID 2^53-1":          {set: fields{"spec.eventID": int64(1<<53 - 1)}},
		"eventID 0":               {set: fields{"spec.eventID": int64(0)}, want: map[string][]string{"spec.eventID": {"greater than or equal to 1"}}},
		"eventID 2^53":            {set: fields{"spec.eventID": int64(1 << 53)}, want: map[string][]string{"spec.eventID": {"less than or equal to 9007199254740991"}}},
		"name of 253 characters":  {set: fields{"metadata.name": strings.Repeat("a", 253)}},
	}
	everything := fields{}
	for block, content := range eventBlocks {
		everything["spec."+block] = content
		set := maps.Clone(content)
		delete(set, "id")
		cases[block+" without id"] = struct {
			set  fields
			want map[string][]string
		}{fields{"spec." + block: set}, map[string][]string{"spec." + block + ".id": {"Required value"}}}
		cases[block+" with nothing else"] = struct {
			set  fields
			want map[string][]string
		}{set: fields{"spec." + block: map[string]any{"id": int64(0)}}}
	}
	// A client that sends what it knows nothing of as empty must not lose the
	// event for it.
	empty := fields{"spec.resourcePath": "", "spec.extra": ""}
	for block, content := range eventBlocks {
		nothing := map[string]any{}
		for field, value := range content {
			switch value.(type) {
			case int64:
				nothing[field] = int64(0)
			default:
				nothing[field] = ""
			}
		}
		empty["spec."+block] = nothing
	}
	cases["everything empty"] = struct {
		set  fields
		want map[string][]string
	}{set: empty}
	cases["everything"] = struct {
		set  fields
		want map[string][]string
	}{set: everything}
	cases.test(t, webhookEvents)
}

// Numbers have one bound everywhere: the largest that a JSON reader in JavaScript
// takes in exactly.
func TestWebhookEventNumbers(t *testing.T) {
	const largest = int64(1<<53 - 1)
	numbers := map[string]int64{"spec.eventID": 1} // by field: the smallest
	for block, content := range eventBlocks {
		for field, value := range content {
			if _, ok := value.(int64); ok {
				numbers["spec."+block+"."+field] = 0
			}
		}
	}
	if len(numbers) != 9 {
		t.Fatalf("found %d numbers", len(numbers))
	}
	for field, smallest := range numbers {
		t.Run(field, func(t *testing.T) {
			block, _, _ := strings.Cut(strings.TrimPrefix(field, "spec."), ".")
			set := fields{field: smallest}
			if field != "spec.eventID" {
				set["spec."+block] = eventBlocks[block]
			}
			for value, want := range map[int64]string{
				smallest:     "",
				largest:      "",
				smallest - 1: fmt.Sprintf("greater than or equal to %d", smallest),
				largest + 1:  "less than or equal to 9007199254740991",
			} {
				set[field] = value
				_, err := tryCreate(t, webhookEvents, set)
				if want == "" {
					checkComplaints(t, err, nil)
				} else {
					checkComplaints(t, err, map[string][]string{field: {want}})
				}
			}
		})
	}
}

// What Horizon's database has room for, an event has, too: in characters, of
// whatever script.
func TestWebhookEventTexts(t *testing.T) {
	for field, length := range map[string]int{
		"application.name":        64,
		"application.priority":    16,
		"cluster.name":            64,
		"cluster.applicationName": 64,
		"cluster.env":             128,
		"pipelinerun.clusterName": 64,
		"pipelinerun.action":      64,
		"pipelinerun.title":       256,
		"pipelinerun.description": 2048,
		"pipelinerun.gitRef":      128,
		"pipelinerun.gitRefType":  64,
		"member.resourceType":     64,
		"member.role":             64,
		"member.memberName":       64,
		"user.name":               64,
		"user.email":              64,
	} {
		block, _, _ := strings.Cut(field, ".")
		_, err := tryCreate(t, webhookEvents, fields{
			"spec." + block: eventBlocks[block], "spec." + field: strings.Repeat("界", length),
		})
		if err != nil {
			t.Errorf("%s of %d characters: %v", field, length, err)
		}
	}
	_, err := tryCreate(t, webhookEvents, fields{
		"spec.cluster": eventBlocks["cluster"], "spec.cluster.env": strings.Repeat("e", 129),
	})
	checkComplaints(t, err, map[string][]string{"spec.cluster.env": {"may not be more than 128"}})
}

func TestWebhookEventUnknownField(t *testing.T) {
	_, err := tryCreate(t, webhookEvents, fields{"spec.clusters": map[string]any{"id": int64(1)}})
	if err == nil || !strings.Contains(err.Error(), `unknown field "spec.clusters"`) {
		t.Errorf("got %v, want a refusal of the unknown field", err)
	}
}

func TestWebhookEventStartsPending(t *testing.T) {
	event, err := tryCreate(t, webhookEvents, fields{"status": map[string]any{"result": "Succeeded"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"observedGeneration": int64(-1), "result": "Pending"}
	if diff := cmp.Diff(want, event.Object["status"]); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestWebhookEventIsImmutable(t *testing.T) {
	const immutable = "spec cannot be changed: an event is what happened; create another WebhookEvent instead"
	event := create(t, webhookEvents, "immutable", fields{
		"spec.cluster": map[string]any{"id": int64(61400), "name": "web-prod"},
		"spec.time":    "2026-11-23T09:00:00Z",
	})
	for name, set := range map[string]fields{
		"a change":    {"spec.eventType": "clusters_deleted"},
		"deep":        {"spec.cluster.name": "web-test"},
		"an addition": {"spec.extra": "more"},
		"a removal":   {"spec.time": remove},
	} {
		t.Run(name, func(t *testing.T) {
			changed := change(event, set)
			_, err := resource(webhookEvents).Update(t.Context(), changed, metav1.UpdateOptions{})
			checkComplaints(t, err, map[string][]string{"spec": {immutable}})
		})
	}
	if _, err := resource(webhookEvents).Update(t.Context(), change(event, fields{
		"metadata.labels": map[string]any{"team": "music"},
	}), metav1.UpdateOptions{}); err != nil {
		t.Errorf("a label: %v", err)
	}
}

func TestWebhookEventStatusBounds(t *testing.T) {
	names := func(n, length int) []any {
		var all []any
		for i := range n {
			name := strings.Repeat("a", length-2) + string(rune('a'+i/26)) + string(rune('a'+i%26))
			all = append(all, name)
		}
		return all
	}
	event := create(t, webhookEvents, "largest-status", nil)
	// Each of the reasons with all names: more than the operator writes.
	var unmatched []any
	for _, reason := range []string{"Trigger", "Scope", "Disabled", "CreatedLater", "Deleting"} {
		unmatched = append(unmatched, map[string]any{"reason": reason, "count": int64(10000), "webhooks": names(50, 63)})
	}
	event = writeStatus(t, webhookEvents, event, map[string]any{
		"result": "Failed", "deliveries": names(50, 253), "unmatched": unmatched,
	})

	for name, status := range map[string]map[string]any{
		"long result":     {"result": strings.Repeat("r", 64)},
		"long reason":     {"unmatched": []any{map[string]any{"reason": strings.Repeat("r", 64), "count": int64(1)}}},
		"long message":    {"unmatched": []any{map[string]any{"reason": "Mood", "count": int64(1), "message": strings.Repeat("m", 1025)}}},
		"reason twice":    {"unmatched": slices.Concat(unmatched, unmatched[:1])},
		"51 deliveries":   {"deliveries": names(51, 253)},
		"delivery twice":  {"deliveries": slices.Concat(names(2, 10), names(1, 10))},
		"webhook unnamed": {"unmatched": []any{map[string]any{"reason": "Scope", "count": int64(1), "webhooks": []any{""}}}},
		"nobody":          {"unmatched": []any{map[string]any{"reason": "Scope", "count": int64(0)}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resource(webhookEvents).UpdateStatus(t.Context(), change(event, fields{"status": status}), metav1.UpdateOptions{})
			if len(complaints(err)) != 1 {
				t.Errorf("got %v, want one complaint", err)
			}
		})
	}
}
