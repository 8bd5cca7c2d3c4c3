package webhook

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/webhookstatus"
)

// What deliveries wait for is told before what they do not.
func TestProblemOf(t *testing.T) {
	const wrong = "nothing.such"
	for name, tc := range map[string]struct {
		spec         v1alpha1.WebhookSpec
		lacks        *credentials.Error
		wantReason   string
		wantSendable bool
	}{
		"nothing":  {wantSendable: true},
		"a secret": {lacks: &credentials.Error{Reason: v1alpha1.ReasonSecretNotFound}, wantReason: v1alpha1.ReasonSecretNotFound},
		"a filter": {spec: v1alpha1.WebhookSpec{Filter: wrong}, wantReason: v1alpha1.ReasonFilterInvalid, wantSendable: true},
		"a filter and a template": {
			spec:       v1alpha1.WebhookSpec{Filter: wrong, Payload: &v1alpha1.PayloadSettings{Template: wrong}},
			wantReason: v1alpha1.ReasonPayloadInvalid,
		},
		"all": {
			spec:  v1alpha1.WebhookSpec{Filter: wrong, Response: &v1alpha1.ResponseRules{AcceptIf: wrong}},
			lacks: &credentials.Error{Reason: v1alpha1.ReasonSecretNotFound}, wantReason: v1alpha1.ReasonSecretNotFound,
		},
	} {
		t.Run(name, func(t *testing.T) {
			problem, sendable := problemOf(&v1alpha1.Webhook{Spec: tc.spec}, tc.lacks)
			reason := ""
			if problem != nil {
				reason = problem.Reason
			}
			if diff := cmp.Diff([]any{tc.wantReason, tc.wantSendable}, []any{reason, sendable}); diff != "" {
				t.Errorf("reason, sendable (-want +got):\n%s", diff)
			}
		})
	}
}

// What failed last counts, but not what failed before an edit and is told late.
func TestFilterFailed(t *testing.T) {
	r := &Reconciler{Enqueuer: enqueue.New(clock.RealClock{}, 1)}
	e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "another"}}
	for _, generation := range []int64{1, 3, 2} {
		r.FilterFailed(&v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{UID: "w", Generation: generation}}, e, "division by zero")
	}
	want := &webhookstatus.FilterFailure{Generation: 3, Event: "another/e", Message: "division by zero"}
	if diff := cmp.Diff(want, r.filterFailure("w")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
