package bridge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

// captured are the bodies that Horizon was seen to send, by type.
func captured(t *testing.T) map[string]payload.Payload {
	t.Helper()
	files, err := filepath.Glob("../payload/testdata/horizon/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured bodies: %v", err)
	}
	all := map[string]payload.Payload{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := payload.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = p
	}
	return all
}

func TestThingOf(t *testing.T) {
	want := func(eventType string) thing {
		switch {
		case strings.HasPrefix(eventType, "applications_"):
			return thing{kind: applications}
		case strings.HasPrefix(eventType, "members_"):
			return thing{kind: applicationMembers}
		default: // clsuters_restarted, and a pipelinerun's cluster, too
			return thing{kind: clusters}
		}
	}
	for eventType, p := range captured(t) {
		got, ok := thingOf(&p.Event)
		if !ok || got.kind != want(eventType).kind || got.id == 0 || (got.name == "") != strings.HasPrefix(eventType, "members_") {
			t.Errorf("%s: got %v (%t)", eventType, got, ok)
		}
	}
	if got, ok := thingOf(&v1alpha1.WebhookEventSpec{Member: &v1alpha1.MemberInfo{ResourceID: 1, ResourceType: "groups"}}); ok {
		t.Errorf("a member of a group: got %v", got)
	}
	if (thing{clusterMembers, 7, ""}).key() != (thing{clusters, 7, "web-prod"}).key() || (thing{applications, 7, ""}).key() == (thing{clusters, 7, ""}).key() {
		t.Error("keys tell things apart that are the same, or do not tell apart what differs")
	}
}

func TestDifference(t *testing.T) {
	cluster := func(eventType string, id *int64) *v1alpha1.WebhookEventSpec {
		return &v1alpha1.WebhookEventSpec{EventType: eventType, Cluster: &v1alpha1.ClusterInfo{ID: id, Name: "web-prod"}}
	}
	stored := cluster("clusters_deployed", new(int64(7)))
	renamed := cluster("clusters_deployed", new(int64(7)))
	renamed.Cluster.Name, renamed.User = "web-production", &v1alpha1.UserInfo{ID: new(int64(3))}
	for name, tt := range map[string]struct {
		got  *v1alpha1.WebhookEventSpec
		same bool
	}{
		"the same":                   {stored, true},
		"another body":               {renamed, true},
		"what it was about is gone":  {&v1alpha1.WebhookEventSpec{EventType: "clusters_deployed"}, true},
		"another type":               {cluster("clusters_freed", new(int64(7))), false},
		"another cluster":            {cluster("clusters_deployed", new(int64(8))), false},
		"an application":             {&v1alpha1.WebhookEventSpec{EventType: "clusters_deployed", Application: &v1alpha1.ApplicationInfo{ID: new(int64(7))}}, false},
		"another spelling of a type": {cluster("cluster_deployed", new(int64(7))), false},
	} {
		if got := difference(stored, tt.got); (got == "") != tt.same {
			t.Errorf("%s: got %q, want the same: %t", name, got, tt.same)
		}
	}
}

func TestCheckpoints(t *testing.T) {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	at := func(hour int) time.Time { return day.Add(time.Duration(hour) * time.Hour) }
	a := []checkpoint{{100, at(1)}, {150, at(3)}}
	b := []checkpoint{{120, at(2)}, {150, at(3)}, {150, at(4)}, {140, at(5)}, {200, at(6)}}
	merged := mergeCheckpoints(a, b, at(7))
	var ids []int64
	for _, c := range merged {
		ids = append(ids, c.ID)
	}
	if len(merged) != 4 || ids[0] != 100 || ids[1] != 120 || ids[2] != 150 || ids[3] != 200 || !merged[2].Time.Equal(at(3)) {
		t.Fatalf("merged: %v", merged)
	}
	for id, want := range map[int64]int{1: 1, 100: 1, 101: 2, 120: 2, 121: 3, 150: 3, 151: 6, 200: 6} {
		if got, ok := timeOf(merged, id); !ok || !got.Equal(at(want)) {
			t.Errorf("event %d: got %v (%t), want %v", id, got, ok, at(want))
		}
	}
	if got, ok := timeOf(merged, 201); ok {
		t.Errorf("a live event: got %v", got)
	}
	if got := mergeCheckpoints(a, b, at(2).Add(checkpointsKept)); len(got) != 3 || got[0].ID != 120 {
		t.Errorf("after a month: %v", got)
	}
}
