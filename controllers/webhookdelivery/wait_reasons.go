package webhookdelivery

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

// storedFirst is the reason where another delivery could not be stored.
var storedFirst = &delivery.WaitReason{
	Reason:  v1alpha1.ReasonStoredFirst,
	Message: "the record is stored before anything is sent, since another one could not be stored",
}

// givenUp says why a delivery was given up.
var givenUp = map[string]string{
	v1alpha1.ReasonWebhookGone:   "its webhook was deleted; a new one of the same name does not get it",
	v1alpha1.ReasonWaitedTooLong: "it waited longer than spec.retry.giveUpAfterSeconds of its webhook",
}

// paused returns why nothing is sent to a Webhook that a person has stopped, or nil.
func paused(w *v1alpha1.Webhook) *delivery.WaitReason {
	if w.Spec.State == v1alpha1.WebhookPaused || w.Spec.State == v1alpha1.WebhookDisabled {
		return &delivery.WaitReason{Reason: v1alpha1.ReasonPaused, Message: fmt.Sprintf("the webhook is %s", w.Spec.State)}
	}
	return nil
}

// credentialsOf returns what to send with, or why nothing can be sent: something that the
// Webhook names, or an expression of its own, is wrong.
func (r *Reconciler) credentialsOf(
	ctx context.Context, w *v1alpha1.Webhook,
) (credentials.Credentials, *delivery.WaitReason, error) {
	if w == nil {
		return credentials.Credentials{}, nil, nil
	}
	with, err := r.Credentials.Get(ctx, w)
	message := ""
	if mistake, ok := errors.AsType[*credentials.Error](err); ok {
		message = mistake.Message
	} else if err != nil {
		return with, nil, err
	} else if problem := validation.Hold(w); problem != nil {
		message = problem.Message()
	}
	if message == "" {
		return with, nil, nil
	}
	r.Receivers.Of(w).SetUnusable()
	r.Enqueuer.WebhookChanged(client.ObjectKeyFromObject(w))
	return with, &delivery.WaitReason{Reason: v1alpha1.ReasonNotReady, Message: message}, nil
}
