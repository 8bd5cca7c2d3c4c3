package controllers

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// notifier emits Kubernetes Events where a person would look for them. They are
// writes like any other, so a receiver that fails all the time gets few.
type notifier struct {
	recorder events.EventRecorder
	limit    flowcontrol.PassiveRateLimiter
}

func newNotifier(recorder events.EventRecorder) *notifier {
	return &notifier{recorder: recorder, limit: flowcontrol.NewTokenBucketPassiveRateLimiter(1, 25)}
}

// delivery tells of a delivery that failed for good.
func (n *notifier) delivery(d *v1alpha1.WebhookDelivery) {
	if d.Status.Result != v1alpha1.DeliveryFailed || !n.limit.TryAccept() {
		return
	}
	why := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Message
	note := fmt.Sprintf("event %s was not delivered: %s (attempts: %d)", d.Spec.EventRef.Name, why, d.Status.Attempts)
	if ownerOf(d) != "" {
		note += fmt.Sprintf("; a new value of the annotation %s sends it again", v1alpha1.AnnotationResend)
	}
	n.recorder.Eventf(d, nil, corev1.EventTypeWarning, "DeliveryFailed", "Deliver", "%s", note)
}

// resendRefused tells why a resend that was asked for is not made.
func (n *notifier) resendRefused(d *v1alpha1.WebhookDelivery, why string) {
	if !n.limit.TryAccept() {
		return
	}
	asked := []rune(d.Annotations[v1alpha1.AnnotationResend])
	n.recorder.Eventf(d, nil, corev1.EventTypeWarning, "ResendRefused", "Resend",
		"nothing is sent for the resend %q: %s", string(asked[:min(len(asked), 64)]), why)
}

// webhook tells that a Webhook cannot be sent to, or that it can again.
func (n *notifier) webhook(w *v1alpha1.Webhook, ready bool, reason, message string) {
	if !n.limit.TryAccept() {
		return
	}
	kind := corev1.EventTypeWarning
	if ready {
		kind = corev1.EventTypeNormal
	}
	n.recorder.Eventf(w, nil, kind, reason, "CheckReadiness", "%s", message)
}
