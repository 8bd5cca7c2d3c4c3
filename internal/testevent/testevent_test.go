package testevent

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

var now = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

func webhook() *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{}
	w.Namespace, w.Name, w.UID = "music", "ci", "4ec9d3a2-0000-4000-8000-000000000001"
	return w
}

func made(t *testing.T, w *v1alpha1.Webhook, value string, at time.Time) *v1alpha1.WebhookDelivery {
	t.Helper()
	d, err := Delivery(w, value, at, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDelivery(t *testing.T) {
	w := webhook()
	d := made(t, w, "one", now)
	if !Is(d) || !delivery.Genuine(d, w) || !delivery.ResendPending(d.Annotations) || d.Status.Result != v1alpha1.DeliveryWaiting {
		t.Errorf("%+v", d)
	}
	if d.Annotations[v1alpha1.AnnotationResend] != "one" || d.OwnerReferences[0].UID != w.UID {
		t.Errorf("%+v", d.ObjectMeta)
	}
	for key, value := range d.Labels {
		if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
			t.Errorf("label %s=%s: %v", key, value, problems)
		}
	}
	body, err := payload.Parse([]byte(d.Spec.Payload))
	if err != nil {
		t.Fatal(err)
	}
	if body.Event.EventType != "webhook_test" || body.Event.EventID == 0 || body.WebhookID != payload.WebhookID(w) ||
		body.Event.Extra != "This is a test of the webhook music/ci, asked for at 2026-11-29T09:00:00Z. Nothing has happened." {
		t.Errorf("%s", d.Spec.Payload)
	}
}

// A process that goes on after a crash must come to the same delivery.
func TestSameRequestIsTheSameDelivery(t *testing.T) {
	w, other := webhook(), webhook()
	other.UID = "4ec9d3a2-0000-4000-8000-000000000002"
	one := made(t, w, "one", now)
	if same := made(t, w, "one", now.Add(300*time.Millisecond)); same.Name != one.Name || same.Spec != one.Spec {
		t.Errorf("%s, and %s before", same.Name, one.Name)
	}
	for what, d := range map[string]*v1alpha1.WebhookDelivery{
		"another value": made(t, w, "two", now), "another time": made(t, w, "one", now.Add(time.Second)), "another webhook": made(t, other, "one", now),
	} {
		if d.Name == one.Name || delivery.MessageID(d.Spec.EventRef.UID, w.UID) == delivery.MessageID(one.Spec.EventRef.UID, w.UID) {
			t.Errorf("%s: %s", what, d.Name)
		}
	}
}

func TestLongValueIsCut(t *testing.T) {
	d := made(t, webhook(), strings.Repeat("é", 500), now)
	if got := []rune(d.Annotations[v1alpha1.AnnotationResend]); len(got) != 128 {
		t.Errorf("%d characters", len(got))
	}
}

func TestWhyItWaits(t *testing.T) {
	w := webhook()
	w.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "SecretNotFound", Message: "no Secret"}}
	if c := meta.FindStatusCondition(made(t, w, "one", now).Status.Conditions, v1alpha1.ConditionDelivered); c.Reason != v1alpha1.ReasonNotReady || c.Message != "no Secret" {
		t.Errorf("%+v", c)
	}
	w.Status.Conditions[0].Status = metav1.ConditionTrue
	if c := meta.FindStatusCondition(made(t, w, "one", now).Status.Conditions, v1alpha1.ConditionDelivered); c.Reason != v1alpha1.ReasonQueued {
		t.Errorf("%+v", c)
	}
}

func TestAsked(t *testing.T) {
	last := func(value, delivery string) *v1alpha1.LastTest {
		return &v1alpha1.LastTest{Hash: Hash(value), Time: metav1.NewTime(now), Delivery: delivery}
	}
	for name, tc := range map[string]struct {
		value string
		last  *v1alpha1.LastTest
		want  bool
	}{
		"never":               {"", nil, false},
		"a first one":         {"a", nil, true},
		"taken":               {"a", last("a", ""), true},
		"made":                {"a", last("a", "d"), false},
		"another one":         {"b", last("a", "d"), true},
		"taken away":          {"", last("a", "d"), false},
		"taken away too soon": {"", last("a", ""), false},
	} {
		w := webhook()
		w.Annotations, w.Status.LastTest = map[string]string{v1alpha1.AnnotationTest: tc.value}, tc.last
		if got := Asked(w); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// What an event says of its type does not make its deliveries tests.
func TestIs(t *testing.T) {
	e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{EventType: v1alpha1.EventTypeTest}}
	e.Namespace, e.Name, e.UID = "music", "webhook-test", "4ec9d3a2-0000-4000-8000-000000000003"
	if Is(delivery.New(e, webhook(), []byte("{}"))) {
		t.Error("it is of an event")
	}
}
