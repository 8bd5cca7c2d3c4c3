package insight

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestOfWebhook(t *testing.T) {
	healthy := says(v1alpha1.ConditionHealthy, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the receiver answered 200 OK")
	failing := says(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonFailing, "the last attempt failed: answered 500")
	denied := says(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonEgressDenied, "nothing was sent: the address is private")
	overflow := says(v1alpha1.ConditionOverflowing, metav1.ConditionTrue, v1alpha1.ReasonTooManyWaiting, "10000 deliveries wait")
	for name, tc := range map[string]struct {
		changes []func(*v1alpha1.Webhook)
		reasons []string
		outcome Outcome
	}{
		"well":                    {[]func(*v1alpha1.Webhook){healthy}, []string{"Accepted"}, Working},
		"rate-limited":            {[]func(*v1alpha1.Webhook){rateLimited(7)}, []string{"Accepted"}, Working},
		"nothing sent":            {nil, []string{"Usable"}, Working},
		"never seen":              {[]func(*v1alpha1.Webhook){func(w *v1alpha1.Webhook) { w.Status = v1alpha1.WebhookStatus{} }}, []string{ReasonNotObserved}, Unknown},
		"paused":                  {[]func(*v1alpha1.Webhook){healthy, state(v1alpha1.WebhookPaused)}, []string{"Paused"}, Stopped},
		"paused and not ready":    {[]func(*v1alpha1.Webhook){bare, state(v1alpha1.WebhookPaused)}, []string{"Paused", "NotReady"}, Stopped},
		"resting and overflowing": {[]func(*v1alpha1.Webhook){resting(time.Minute), overflow}, []string{"ReceiverResting", "TooManyWaiting"}, Troubled},
		"the rest is over":        {[]func(*v1alpha1.Webhook){resting(-time.Minute)}, []string{"ReceiverResting"}, Troubled},
		"circuit":                 {[]func(*v1alpha1.Webhook){open}, []string{"CircuitOpen"}, Troubled},
		"circuit, and edited":     {[]func(*v1alpha1.Webhook){open, edited}, []string{"CircuitOpen"}, Troubled},
		"gone":                    {[]func(*v1alpha1.Webhook){gone}, []string{"Gone"}, Stopped},
		"failing":                 {[]func(*v1alpha1.Webhook){failing}, []string{"Failing"}, Troubled},
		"denied":                  {[]func(*v1alpha1.Webhook){denied}, []string{"EgressDenied"}, Stopped},
		"a later version's":       {[]func(*v1alpha1.Webhook){says(v1alpha1.ConditionHealthy, metav1.ConditionFalse, "Melted", "too hot")}, []string{"Melted"}, Troubled},
	} {
		t.Run(name, func(t *testing.T) {
			got := OfWebhook(webhook("a", tc.changes...), now)
			var reasons []string
			for _, f := range got {
				reasons = append(reasons, f.Reason)
				if f.Message == "" {
					t.Errorf("%s says nothing", f.Reason)
				}
			}
			if !slices.Equal(reasons, tc.reasons) || got[0].Outcome != tc.outcome {
				t.Errorf("got %+v, want %v, %s", got, tc.reasons, tc.outcome)
			}
		})
	}
}

func TestWaits(t *testing.T) {
	soon, later := "2026-11-23T08:59:00Z", "2026-11-23T09:01:00Z"
	var c WaitingCount
	for _, tc := range []struct {
		result      v1alpha1.DeliveryResult
		annotations map[string]string
	}{
		{"Waiting", nil},
		{"Waiting", map[string]string{v1alpha1.AnnotationNextAttempt: soon}},
		{"Waiting", map[string]string{v1alpha1.AnnotationNextAttempt: later}},
		{"Succeeded", map[string]string{v1alpha1.AnnotationNextAttempt: later}},
		{"Failed", map[string]string{v1alpha1.AnnotationResend: "x"}},
		{"Failed", nil},
		{"Succeeded", nil},
	} {
		d := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Labels: map[string]string{v1alpha1.LabelResult: string(tc.result)}, Annotations: tc.annotations,
		}}
		if m, ok := waits(d); ok {
			c.add(m, now)
		}
	}
	if want := (WaitingCount{Resends: 1, Due: 2, Later: 2}); c != want {
		t.Errorf("got %+v, want %+v", c, want)
	}
}
