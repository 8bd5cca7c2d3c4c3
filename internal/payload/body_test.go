package payload

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/format"
)

// full is an event that has all parts.
func full() *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{
		EventID: 78402, EventType: "pipelineruns_executed", ResourcePath: "/music/player/web/web-prod",
		Time:        metav1.NewTime(time.Date(2026, 11, 23, 9, 0, 0, 0, time.FixedZone("", 3600))),
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
	}}
	e.Namespace, e.Name, e.UID = "music", "horizon-78402", "event"
	e.CreationTimestamp = metav1.NewTime(time.Date(2026, 11, 23, 8, 0, 5, 0, time.UTC))
	return e
}

func least() *v1alpha1.WebhookEvent {
	e := full()
	e.Spec = v1alpha1.WebhookEventSpec{EventType: "clusters_action"}
	return e
}

// recorded is the delivery of an event, as internal/delivery makes it.
func recorded(t *testing.T, e *v1alpha1.WebhookEvent) *v1alpha1.WebhookDelivery {
	t.Helper()
	body, err := Render(e, 7)
	if err != nil {
		t.Fatal(err)
	}
	d := &v1alpha1.WebhookDelivery{Spec: v1alpha1.WebhookDeliverySpec{
		EventRef:  v1alpha1.EventReference{Namespace: e.Namespace, Name: e.Name, UID: e.UID},
		EventType: e.Spec.EventType, ResourcePath: e.Spec.ResourcePath, Time: e.CreationTimestamp, Payload: string(body),
	}}
	if !e.Spec.Time.IsZero() {
		d.Spec.Time = e.Spec.Time
	}
	return d
}

// What expressions see of an event and of the record that it left is the same.
func TestVariables(t *testing.T) {
	want := &expression.Event{
		EventID: 78402, EventType: "pipelineruns_executed", Time: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC),
		ResourcePath: "/music/player/web/web-prod", Namespace: "music",
		Application: &expression.Application{ID: 512, Name: "web", Priority: "P1"},
		Cluster:     &expression.Cluster{ID: 61400, Name: "web-prod", ApplicationName: "web", Env: "online"},
		Pipelinerun: &expression.Pipelinerun{
			ID: 9, ClusterID: 61400, ClusterName: "web-prod", Action: "builddeploy", Title: "release 2",
			Description: "the second\nrelease", GitRef: "main", GitRefType: "branch",
		},
		Member: &expression.Member{ID: 3, ResourceID: 512, ResourceType: "applications", Role: "maintainer", MemberNameID: 22, MemberName: "Bert"},
		User:   &expression.User{ID: 21, Name: "Anna", Email: "anna@example.com"},
		Extra:  `{"reason":"asked for"}`,
	}
	if diff := cmp.Diff(want, EventOf(full())); diff != "" {
		t.Errorf("of an event (-want +got):\n%s", diff)
	}
	for name, e := range map[string]*v1alpha1.WebhookEvent{"full": full(), "least": least()} {
		got, err := EventOfDelivery(recorded(t, e))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(EventOf(e), got); diff != "" {
			t.Errorf("%s: of its record (-event +record):\n%s", name, diff)
		}
	}
	if e := EventOf(least()); !e.Time.Equal(least().CreationTimestamp.Time) || e.EventID == 0 {
		t.Errorf("what an event does not give: %s, %d", e.Time, e.EventID)
	}
}

func TestOf(t *testing.T) {
	const id = "whd_1"
	d := recorded(t, full())
	with := func(format v1alpha1.PayloadFormat, template string) *v1alpha1.PayloadSettings {
		return &v1alpha1.PayloadSettings{Format: format, Template: template}
	}
	cloudEvent := `{"specversion":"1.0","id":"whd_1","source":"/horizon/music","type":"io.horizoncd.pipelineruns_executed",` +
		`"subject":"/music/player/web/web-prod","time":"2026-11-23T08:00:00Z","datacontenttype":"application/json","data":` + d.Spec.Payload + `}`
	for name, tc := range map[string]struct {
		settings        *v1alpha1.PayloadSettings
		want, wantType  string
		mistake, fails  bool
		payloadOfRecord string
	}{
		"nothing said":             {want: d.Spec.Payload, wantType: "application/json;charset=utf-8"},
		"Horizon":                  {settings: with(v1alpha1.PayloadHorizon, ""), want: d.Spec.Payload, wantType: "application/json;charset=utf-8"},
		"CloudEvents":              {settings: with(v1alpha1.PayloadCloudEvents, ""), want: cloudEvent, wantType: "application/cloudevents+json"},
		"a template":               {settings: with("", `{"who": event.user.name, "id": delivery.id, "webhook": webhook.name}`), want: `{"id":"whd_1","webhook":"w","who":"Anna"}`, wantType: "application/json;charset=utf-8"},
		"in CloudEvents":           {settings: with(v1alpha1.PayloadCloudEvents, `{"data": 1}`), want: `{"data":1}`, wantType: "application/cloudevents+json"},
		"does not compile":         {settings: with("", `{"who": who}`), mistake: true},
		"fails":                    {settings: with("", `{"n": 1 / (event.eventID - 78402)}`), fails: true},
		"a record that is no JSON": {settings: with("", `{}`), payloadOfRecord: "no JSON", fails: true},
		"that and CloudEvents":     {settings: with(v1alpha1.PayloadCloudEvents, ""), payloadOfRecord: "no JSON", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Payload: tc.settings}}
			w.Name = "w"
			d := d.DeepCopy()
			if tc.payloadOfRecord != "" {
				d.Spec.Payload = tc.payloadOfRecord
			}
			got, err := Of(d, w, id)
			if _, isMistake := errors.AsType[*expression.Mistake](err); isMistake != tc.mistake || (err != nil) != (tc.mistake || tc.fails) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff([]string{tc.want, tc.wantType}, []string{string(got), format.Of(w).ContentType}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
