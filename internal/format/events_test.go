package format_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/testevent"
)

// rooms are the formats of chat services.
func rooms() []*format.Format {
	var all []*format.Format
	for _, f := range format.All() {
		if f.Room {
			all = append(all, f)
		}
	}
	return all
}

var languages = []v1alpha1.Language{v1alpha1.LanguageEnglish, v1alpha1.LanguageChinese}

// at is when the events happened that say nothing of it.
var at = time.Date(2026, 11, 23, 8, 15, 42, 0, time.UTC)

// events are one of each type as Horizon was seen to send it, each spelling of the user's
// document, and those that say little, much, or what nobody knows.
func events(t testing.TB) map[string]*v1alpha1.WebhookEvent {
	t.Helper()
	all := map[string]*v1alpha1.WebhookEvent{}
	files, err := filepath.Glob("../payload/testdata/horizon/*.json")
	if err != nil || len(files) != 21 {
		t.Fatalf("the events of Horizon: %d, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := payload.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = event(sent.Event)
	}
	for from, to := range map[string]string{
		"applications_created": "application_created", "applications_deleted": "application_deleted",
		"applications_transferred": "application_transferred", "clusters_created": "cluster_created",
		"clusters_deleted": "cluster_deleted", "clsuters_restarted": "clusters_restarted",
		"members_created": "member_created", "pipelineruns_created": "pipelinerun_created",
	} {
		spec := *all[from].Spec.DeepCopy()
		spec.EventType = to
		all[to] = event(spec)
	}
	for name, spec := range map[string]v1alpha1.WebhookEventSpec{
		"an unknown type": {EventType: "groups_renamed", ResourcePath: "/music", User: &v1alpha1.UserInfo{ID: new(int64(4)), Name: "Anna"}, Extra: `{"from":"sound"}`},
		"an unknown type of a known kind": {
			EventType: "clusters_scaled", Cluster: &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "web-prod", ApplicationName: "web", Env: "online"},
		},
		"a member of something unknown": {EventType: "members_created", Member: &v1alpha1.MemberInfo{
			ID: new(int64(7)), ResourceID: 12, ResourceType: "galaxies", Role: "owner", MemberNameID: 3, MemberName: "bert",
		}},
		"a member without a path": {EventType: "members_deleted", Member: &v1alpha1.MemberInfo{
			ID: new(int64(7)), ResourceID: 12, ResourceType: "groups", MemberNameID: 3, MemberName: "bert",
		}},
		"a Kubernetes event that is normal": {
			EventType: "clusters_kubernetes_event", Cluster: &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			Extra: `{"involvedObject":{"kind":"Deployment","name":"web-prod"},"reason":"ScalingReplicaSet","message":"Scaled up replica set web-prod-6d4f to 3","type":"Normal"}`,
		},
		"a Kubernetes event that cannot be read": {
			EventType: "clusters_kubernetes_event", Cluster: &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "web-prod"}, Extra: `{"involvedObject":[]}`,
		},
		"the least":             {EventType: "clusters_action"},
		"the least of a member": {EventType: "members_created", Member: &v1alpha1.MemberInfo{ID: new(int64(1))}},
		"everything": {
			EventType: "pipelineruns_executed", ResourcePath: "/music/player/web/web-prod",
			Application: &v1alpha1.ApplicationInfo{ID: new(int64(512)), Name: "web", Priority: "P1"},
			Cluster:     &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			Pipelinerun: &v1alpha1.PipelinerunInfo{
				ID: new(int64(9)), ClusterID: 61400, ClusterName: "web-prod", Action: "builddeploy", Title: "release 2",
				Description: "the second\nrelease", GitRef: "main", GitRefType: "branch",
			},
			Member: &v1alpha1.MemberInfo{
				ID: new(int64(3)), ResourceID: 512, ResourceType: "applications", Role: "maintainer", MemberNameID: 22, MemberName: "Bert",
			},
			User:  &v1alpha1.UserInfo{ID: new(int64(21)), Name: "Anna", Email: "anna@example.com"},
			Extra: `{"reason":"asked for"}`,
		},
	} {
		all[name] = event(spec)
		if spec.ResourcePath == "" {
			all[name].Spec.ResourcePath = ""
		}
	}
	return all
}

// event returns an event with the path that the bridge looks up.
func event(spec v1alpha1.WebhookEventSpec) *v1alpha1.WebhookEvent {
	switch {
	case spec.ResourcePath != "":
	case spec.Cluster != nil:
		spec.ResourcePath = "/music/player/" + spec.Cluster.ApplicationName + "/" + spec.Cluster.Name
	case spec.Pipelinerun != nil:
		spec.ResourcePath = "/music/player/web/" + spec.Pipelinerun.ClusterName
	case spec.Application != nil:
		spec.ResourcePath = "/music/player/" + spec.Application.Name
	case spec.Member != nil:
		spec.ResourcePath = "/music/player/web"
	}
	e := &v1alpha1.WebhookEvent{Spec: spec}
	e.Namespace, e.Name, e.UID = "music", "horizon-1", "event"
	e.CreationTimestamp = metav1.NewTime(at)
	return e
}

// webhook returns one that sends to a room.
func webhook(f *format.Format, language v1alpha1.Language) *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{
		WebhookID: 7, Payload: &v1alpha1.PayloadSettings{Format: f.Name, Language: language},
	}}
	w.Namespace, w.Name, w.UID = "music", "ops-room", "webhook"
	return w
}

// delivery returns the record of an event.
func delivery(t testing.TB, e *v1alpha1.WebhookEvent) *v1alpha1.WebhookDelivery {
	t.Helper()
	body, err := payload.Render(e, 7)
	if err != nil {
		t.Fatal(err)
	}
	d := &v1alpha1.WebhookDelivery{Spec: v1alpha1.WebhookDeliverySpec{
		EventRef:  v1alpha1.EventReference{Namespace: e.Namespace, Name: e.Name, UID: e.UID},
		EventType: e.Spec.EventType, ResourcePath: e.Spec.ResourcePath, Time: e.Spec.Time, Payload: string(body),
	}}
	if d.Spec.Time.IsZero() {
		d.Spec.Time = e.CreationTimestamp
	}
	return d
}

// tested is a delivery that somebody asked for to try the room.
func tested(t testing.TB) *v1alpha1.WebhookDelivery {
	t.Helper()
	d, err := testevent.Delivery(webhook(rooms()[0], ""), "try it", at, at)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// deliveries are the records of all events, by name.
func deliveries(t testing.TB) map[string]*v1alpha1.WebhookDelivery {
	t.Helper()
	all := map[string]*v1alpha1.WebhookDelivery{"webhook_test": tested(t)}
	for name, e := range events(t) {
		all[name] = delivery(t, e)
	}
	return all
}
