package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

func TestEntryOf(t *testing.T) {
	const later, done = "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"
	base := Entry{
		Key: key("d"), UID: "uid of d", Webhook: key("w"), WebhookUID: "uid of w", EventUID: "e",
		EventNamespace: "music", State: retry.State{Since: now},
	}
	want := func(change func(e *Entry)) Entry { e := base; change(&e); return e }
	for name, tc := range map[string]struct {
		object        *metav1.ObjectMeta
		want          Entry
		wantAttention bool
	}{
		"succeeded": {
			object: object("d", 1, succeeded),
			want:   want(func(e *Entry) { e.State.Result, e.Finished = succeeded, now }),
		},
		"failed later": {
			object: object("d", 1, failed, annotated(v1alpha1.AnnotationFinished, done)),
			want:   want(func(e *Entry) { e.State.Result, e.Finished = failed, now.Add(2*time.Hour) }),
		},
		"waiting": {
			object: object("d", 1, waiting, annotated(v1alpha1.AnnotationNextAttempt, later)),
			want:   want(func(e *Entry) { e.State.Result, e.State.NextAttempt = waiting, now.Add(time.Hour) }), wantAttention: true,
		},
		"to be resent": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationResend, "1")),
			want:   want(func(e *Entry) { e.State.Result, e.State.Resend = succeeded, true }), wantAttention: true,
		},
		"was resent": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationResend, "1"),
				annotated(v1alpha1.AnnotationResent, delivery.ResendHash("1")), annotated(v1alpha1.AnnotationFinished, done)),
			want: want(func(e *Entry) { e.State.Result, e.Finished = succeeded, now.Add(2*time.Hour) }),
		},
		"being resent": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationNextAttempt, later)),
			want:   want(func(e *Entry) { e.State.Result, e.State.NextAttempt = succeeded, now.Add(time.Hour) }), wantAttention: true,
		},
		"times that are none": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationNextAttempt, "soon"), annotated(v1alpha1.AnnotationFinished, "lately")),
			want:   want(func(e *Entry) { e.State.Result, e.Finished = succeeded, now }),
		},
		"an orphan": {
			object: object("d", 1, succeeded, func(m *metav1.ObjectMeta) { m.OwnerReferences = nil }),
			want:   want(func(e *Entry) { e.State.Result, e.Finished, e.WebhookUID = succeeded, now, "" }),
		},
		"an orphan to be resent": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationResend, "1"), func(m *metav1.ObjectMeta) { m.OwnerReferences = nil }),
			want:   want(func(e *Entry) { e.State.Result, e.State.Resend, e.WebhookUID = succeeded, true, "" }), wantAttention: true,
		},
		"of another namespace's event": {
			object: object("d", 1, succeeded, labelled(v1alpha1.LabelEventNamespace, "video")),
			want:   want(func(e *Entry) { e.State.Result, e.Finished, e.EventNamespace = succeeded, now, "video" }),
		},
		"nothing but a name": {
			object: &metav1.ObjectMeta{Namespace: "music", Name: "d"},
			want:   Entry{Key: key("d"), Webhook: key(""), EventNamespace: "music"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := entryOf(key("d"), tc.object)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.NeedsAttention() != tc.wantAttention {
				t.Errorf("needs attention: %t", got.NeedsAttention())
			}
		})
	}
}
