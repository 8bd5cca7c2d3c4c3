package delivery

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/test/object"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

var policy = retry.Policy{Limit: 2, MinBackoff: 10 * time.Second, MaxBackoff: time.Minute, GiveUpAfter: time.Hour}

func event() *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{
		EventType:    "clusters_deployed",
		ResourcePath: "/music/player/web/web-prod",
		Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod"},
	}}
	e.Namespace, e.Name, e.UID = "music", "horizon-78402", "6f0a6a4e-4c7a-4a3b-9f6e-2f3d7b0f1c11"
	e.CreationTimestamp = metav1.NewTime(now)
	return e
}

func webhook() *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{}
	w.Namespace, w.Name, w.UID = "music", "smoke-tests", "0d8f3a52-86a4-4a42-9d8e-8a2d0c3f5e77"
	return w
}

func fresh() *v1alpha1.WebhookDelivery {
	return New(event(), webhook(), []byte(`{"eventID":78402,"webhookID":7,"eventType":"clusters_deployed"}`))
}

// stored is what the API server makes of a record.
func stored(t testing.TB, d *v1alpha1.WebhookDelivery) *v1alpha1.WebhookDelivery {
	t.Helper()
	read := object.Stored(t, d)
	if read.CreationTimestamp.IsZero() {
		read.CreationTimestamp = metav1.NewTime(now)
	}
	return read
}

func exchange(code int, at time.Time) sending.Exchange {
	return sending.Exchange{
		Start: at, Duration: 12 * time.Millisecond,
		RequestHeader: "Content-Type: application/json;charset=utf-8\nX-Horizon-Webhook-Secret: [redacted]",
		Response:      &sending.Response{StatusCode: code, Header: "Date: Mon, 23 Nov 2026 09:00:00 GMT", Body: "ok"},
	}
}

func silence(at time.Time) sending.Exchange {
	return sending.Exchange{
		Start: at, Duration: 30 * time.Second, RequestHeader: "User-Agent: test", Err: context("timeout after 30s while connecting"),
	}
}

type context string

func (c context) Error() string { return string(c) }

func interrupted(at time.Time) sending.Exchange {
	x := silence(at)
	x.Interrupted = true
	return x
}

func attempt(cause v1alpha1.AttemptCause, x sending.Exchange) Attempt {
	return Attempt{Cause: cause, URL: "https://ci.example.com/hooks", Exchange: x, Policy: policy, Chance: 0.5}
}

// annotate asks for a resend, as kubectl annotate does.
func annotate(d *v1alpha1.WebhookDelivery, value string) {
	setAnnotation(d, v1alpha1.AnnotationResend, value)
}

func resend(d *v1alpha1.WebhookDelivery, value string, x sending.Exchange) retry.Outcome {
	annotate(d, value)
	a := attempt(v1alpha1.CauseResend, x)
	a.Resend = value
	return AddAttempt(d, a)
}

func kstatusOf(t testing.TB, d *v1alpha1.WebhookDelivery) status.Status {
	t.Helper()
	d = d.DeepCopy()
	d.Generation = 3
	return object.Kstatus(t, d)
}

func golden(t *testing.T, name string, object any) {
	t.Helper()
	got, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestNew(t *testing.T) {
	golden(t, "new", fresh())
}

// Of a Webhook of the system namespace, metadata tells whose event it is.
func TestNewOfAnotherNamespacesEvent(t *testing.T) {
	w := webhook()
	w.Namespace = "horizon-webhooks"
	d := New(event(), w, []byte("{}"))
	if got := d.Labels[v1alpha1.LabelEventNamespace]; got != "music" {
		t.Errorf("the label says %q, want the event's namespace", got)
	}
	if _, ok := fresh().Labels[v1alpha1.LabelEventNamespace]; ok {
		t.Error("a delivery of its own namespace's event has the label, too")
	}
}

// A delivery that succeeds at once is one write, and this is all of it.
func TestDeliveredAtOnce(t *testing.T) {
	d := fresh()
	if outcome := AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(200, now))); outcome != retry.Accepted {
		t.Errorf("outcome %d", outcome)
	}
	golden(t, "delivered", d)
}

func TestFailedAtOnceAndRetried(t *testing.T) {
	d := fresh()
	AddAttempt(d, attempt(v1alpha1.CauseInitial, silence(now)))
	golden(t, "retrying", d)
}

func TestResourceName(t *testing.T) {
	for name, tc := range map[string]struct {
		event v1alpha1.WebhookEventSpec
		want  string
	}{
		"nothing": {},
		"cluster before application": {
			event: v1alpha1.WebhookEventSpec{
				Cluster: &v1alpha1.ClusterInfo{Name: "web-prod"}, Application: &v1alpha1.ApplicationInfo{Name: "web"},
			},
			want: "web-prod",
		},
		"cluster without a name": {
			event: v1alpha1.WebhookEventSpec{Cluster: &v1alpha1.ClusterInfo{}, Application: &v1alpha1.ApplicationInfo{Name: "web"}},
			want:  "web",
		},
		"pipelinerun":       {event: v1alpha1.WebhookEventSpec{Pipelinerun: &v1alpha1.PipelinerunInfo{ClusterName: "web-prod"}}, want: "web-prod"},
		"member":            {event: v1alpha1.WebhookEventSpec{Member: &v1alpha1.MemberInfo{MemberName: "alice"}}, want: "alice"},
		"path":              {event: v1alpha1.WebhookEventSpec{ResourcePath: "/music/player"}, want: "player"},
		"path with a slash": {event: v1alpha1.WebhookEventSpec{ResourcePath: "/music/player/"}, want: "player"},
		"root":              {event: v1alpha1.WebhookEventSpec{ResourcePath: "/"}},
		"slashes":           {event: v1alpha1.WebhookEventSpec{ResourcePath: "///"}},
		"long path":         {event: v1alpha1.WebhookEventSpec{ResourcePath: "/" + strings.Repeat("a", 1023)}, want: strings.Repeat("a", 253)},
		"long path beyond ASCII": {
			event: v1alpha1.WebhookEventSpec{ResourcePath: "/" + strings.Repeat("\u97f3", 1023)},
			want:  strings.Repeat("\u97f3", 253),
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := event()
			e.Spec = tc.event
			got := New(e, webhook(), []byte("{}")).Spec.ResourceName
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("resourceName (-want +got):\n%s", diff)
			}
			if !utf8.ValidString(got) {
				t.Errorf("%q is not valid UTF-8", got)
			}
		})
	}
}
