// Package change makes the changes that people ask for: it creates, edits and deletes
// Webhooks, makes the Secrets that they need, and asks for resends, tests and replays. What
// is refused comes back as errors that commands and pages can put into their own words.
package change

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// FieldManager owns the fields that are written here.
const FieldManager = "kubectl-horizon"

// NewWebhook returns a Webhook with nothing but what fields and refs say of its spec: the API
// server knows the defaults. fields are those of spec as JSON has them, and refs are by field,
// those without a name of the Secret that is to be made, secret.
func NewWebhook(namespace, name string, fields map[string]any, refs map[string]SecretRef, secret string) *unstructured.Unstructured {
	ApplyRefs(fields, refs, secret)
	webhook := &unstructured.Unstructured{Object: map[string]any{"spec": withoutNulls(fields)}}
	webhook.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	webhook.SetNamespace(namespace)
	webhook.SetName(name)
	return webhook
}

// withoutNulls returns what a JSON merge patch makes of nothing; objects that are left empty are
// left out.
func withoutNulls(patch map[string]any) map[string]any {
	made := map[string]any{}
	for field, value := range patch {
		inner, isObject := value.(map[string]any)
		if isObject {
			inner = withoutNulls(inner)
			value = inner
		}
		if value != nil && (!isObject || len(inner) > 0) {
			made[field] = value
		}
	}
	return made
}

// Create creates a Webhook and, unless it is nil or has no data, the Secret that was made for
// it, which the Webhook comes to own, so that both go together. With dry, the API server
// checks both and stores nothing.
//
// The Secret comes first, so that the Webhook is Ready at once: without it, the operator would
// look for it again only after a while. Mistakes are found before that by a dry run, and a
// Secret that was made in vain all the same is removed.
//
// Errors are WebhookExistsError, SecretExistsError, LeftoverError around another one, or the
// API server's. notice wraps why the Secret will outlive the Webhook: whoever may create
// Secrets and not change them has one that stays.
func Create(ctx context.Context, api client.Client, webhook *unstructured.Unstructured, secret *corev1.Secret, dry bool) (notice, err error) {
	alone := secret == nil || len(secret.Data) == 0
	switch {
	case dry || alone:
		if err := createWebhook(ctx, api, webhook, dry); err != nil || alone {
			return nil, err
		}
		return nil, createSecret(ctx, api, secret.DeepCopy(), true)
	}
	if _, err := Create(ctx, api, webhook.DeepCopy(), secret, true); err != nil {
		return nil, err
	}
	if err := createSecret(ctx, api, secret, false); err != nil {
		return nil, err
	}
	if err := createWebhook(ctx, api, webhook, false); err != nil {
		if err := settle(ctx, api, webhook, secret, err); err != nil {
			return nil, err
		}
	}
	before := secret.DeepCopy()
	secret.OwnerReferences = ownedBy(webhook)
	if err := api.Patch(ctx, secret, client.MergeFrom(before), client.FieldOwner(FieldManager)); err != nil {
		return fmt.Errorf("the Secret %s will stay when the webhook is deleted: %w", secret.Name, err), nil
	}
	return nil, nil
}

func createWebhook(ctx context.Context, api client.Client, webhook *unstructured.Unstructured, dry bool) error {
	err := api.Create(ctx, webhook, createOptions(dry)...)
	switch {
	case apierrors.IsAlreadyExists(err):
		return &WebhookExistsError{webhook.GetNamespace(), webhook.GetName()}
	case err != nil:
		return fmt.Errorf("creating webhook %s: %w", webhook.GetName(), err)
	}
	return nil
}

func createOptions(dry bool) []client.CreateOption {
	options := []client.CreateOption{client.FieldOwner(FieldManager)}
	if dry {
		options = append(options, client.DryRunAll)
	}
	return options
}

// WebhookExistsError says that there is a Webhook already where one was to be created.
type WebhookExistsError struct{ Namespace, Name string }

func (e *WebhookExistsError) Error() string {
	return fmt.Sprintf("there is a webhook %s in the namespace %s already", e.Name, e.Namespace)
}

// SetState changes spec.state of a Webhook, and returns it in webhook as it is then.
func SetState(ctx context.Context, api client.Client, webhook client.Object, state v1alpha1.WebhookState) error {
	name, patch := webhook.GetName(), fmt.Appendf(nil, `{"spec":{"state":%q}}`, state)
	err := api.Patch(ctx, webhook, client.RawPatch(types.MergePatchType, patch),
		client.FieldOwner(FieldManager), client.FieldValidation(metav1.FieldValidationStrict))
	if err != nil {
		return fmt.Errorf("changing webhook %s: %w", name, err)
	}
	return nil
}

// Delete deletes a Webhook, the very one of its UID. Its deliveries go along, and so does a
// Secret that it owns.
func Delete(ctx context.Context, api client.Client, webhook client.Object) error {
	uid := webhook.GetUID()
	err := api.Delete(ctx, webhook, client.Preconditions{UID: &uid})
	switch {
	case apierrors.IsConflict(err):
		return fmt.Errorf("webhook %s was deleted and made anew meanwhile, and that one was left: %w", webhook.GetName(), err)
	case err != nil:
		return fmt.Errorf("deleting webhook %s: %w", webhook.GetName(), err)
	}
	return nil
}
