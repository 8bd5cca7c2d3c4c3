package webhookdelivery

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// recordFailure emits a Kubernetes Event of a delivery that failed for good.
func recordFailure(to events.EventRecorder, d *v1alpha1.WebhookDelivery) {
	if d.Status.Result != v1alpha1.DeliveryFailed {
		return
	}
	why := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered).Message
	note := fmt.Sprintf("event %s was not delivered: %s (attempts: %d)", d.Spec.EventRef.Name, why, d.Status.Attempts)
	if ownerOf(d) != "" {
		note += fmt.Sprintf("; a new value of the annotation %s sends it again", v1alpha1.AnnotationResend)
	}
	to.Eventf(d, nil, corev1.EventTypeWarning, "DeliveryFailed", "Deliver", "%s", note)
}

// recordRefusedResend emits a Kubernetes Event that says why a resend which was asked for
// is not made.
func (r *Reconciler) recordRefusedResend(d *v1alpha1.WebhookDelivery, why string) {
	asked := []rune(d.Annotations[v1alpha1.AnnotationResend])
	r.Recorder.Eventf(d, nil, corev1.EventTypeWarning, "ResendRefused", "Resend",
		"nothing is sent for the resend %q: %s", string(asked[:min(len(asked), 64)]), why)
}
