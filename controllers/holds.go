package controllers

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
)

// reason is why a delivery waits.
type reason struct{ reason, message string }

// The reasons that a receiver gives.
var (
	circuitOpen     = &reason{v1alpha1.ReasonCircuitOpen, "the receiver has not accepted a delivery lately; this is sent when it accepts one again"}
	receiverResting = &reason{v1alpha1.ReasonReceiverResting, "the receiver asked for rest; this is sent after status.restUntil of the webhook"}
	receiverBusy    = &reason{v1alpha1.ReasonQueued, "the receiver is busy with earlier deliveries"}
	receiverGone    = &reason{v1alpha1.ReasonGone, "the receiver answered 410 Gone: nothing is sent until the webhook is edited"}
)

// givenUp says why a delivery was given up.
var givenUp = map[string]string{
	v1alpha1.ReasonWebhookGone:   "its webhook was deleted; a new one of the same name does not get it",
	v1alpha1.ReasonWaitedTooLong: "it waited longer than spec.retry.giveUpAfterSeconds of its webhook",
}

// paused returns why nothing is sent to a Webhook that a person has stopped, or nil.
func paused(w *v1alpha1.Webhook) *reason {
	if w.Spec.State == v1alpha1.WebhookPaused || w.Spec.State == v1alpha1.WebhookDisabled {
		return &reason{v1alpha1.ReasonPaused, fmt.Sprintf("the webhook is %s", w.Spec.State)}
	}
	return nil
}

// credentialsOf returns what to send with, or why nothing can be sent.
func (r *deliveryReconciler) credentialsOf(
	ctx context.Context, w *v1alpha1.Webhook,
) (credentials.Credentials, *reason, error) {
	if w == nil {
		return credentials.Credentials{}, nil, nil
	}
	with, err := r.credentials.Get(ctx, w)
	if mistake, ok := errors.AsType[*credentials.Error](err); ok {
		r.unready.Store(w.UID, struct{}{})
		r.router.WebhookChanged(client.ObjectKeyFromObject(w))
		return with, &reason{v1alpha1.ReasonNotReady, mistake.Message}, nil
	}
	return with, nil, err
}
