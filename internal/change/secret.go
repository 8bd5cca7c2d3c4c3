package change

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

const (
	// labelManagedBy marks Secrets that were made here.
	labelManagedBy = "app.kubernetes.io/managed-by"
	// cleanupTimeout bounds how long it may take to remove what was made in vain.
	cleanupTimeout = 10 * time.Second
)

// SecretField is a field of a Webhook's spec that names a key of a Secret.
type SecretField struct {
	Field string
	// Key is that of a Secret that is made for it.
	Key string
	// Check says what is wrong with a value, and returns it as it is stored: without a line
	// break at its end.
	Check func(value []byte) (string, error)
}

// The fields that name a key of a Secret.
var (
	TokenField      = SecretField{"secretRef", "token", CheckSecret}
	SigningKeyField = SecretField{"signingSecretRef", "signing-key", CheckSecret}
	URLField        = SecretField{"urlSecretRef", "url", CheckURL}
)

// CheckSecret asks the operator's own package whether a value can be a secret.
func CheckSecret(value []byte) (string, error) {
	s, _, err := signing.ParseSecret(value)
	return s.Reveal(), err
}

// CheckURL asks the operator's own package whether a value can be a URL.
func CheckURL(value []byte) (string, error) {
	t, _, err := receiverurl.Parse(value)
	return t.Reveal(), err
}

// SecretRef is a key of a Secret; without a name, of one that is yet to be made.
type SecretRef struct{ Name, Key string }

// ApplyRefs puts references into spec, those without a name to the Secret that is made. A URL
// and a reference to one exclude each other.
func ApplyRefs(spec map[string]any, refs map[string]SecretRef, made string) {
	for field, ref := range refs {
		if ref.Name == "" {
			ref.Name = made
		}
		spec[field] = map[string]any{"name": ref.Name, "key": ref.Key}
		if field == URLField.Field {
			spec["url"] = nil
		}
	}
}

// NewSecret returns the Secret of a new Webhook for values, by their keys.
func NewSecret(namespace, webhook string, values map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      webhook + "-webhook",
			Labels:    map[string]string{labelManagedBy: FieldManager, v1alpha1.LabelWebhook: webhook},
		},
		Data: values,
	}
}

// WithSecret makes a Secret that a Webhook owns and has write change the references to it, so
// that a request is made with the old one or with the new one. The old one stays: others may
// use it. The Secret gets a name that nothing else has.
//
// write is called with the name of the Secret: first for a dry run, so that mistakes are found
// before anything is made, and then, unless dry is asked for, to write. A Secret that was made
// in vain is removed.
func WithSecret(
	ctx context.Context, api client.Client, secret *corev1.Secret, owner *unstructured.Unstructured, dry bool,
	write func(secret string, dry bool) error,
) error {
	secret.Name, secret.GenerateName = "", owner.GetName()+"-webhook-"
	secret.OwnerReferences = ownedBy(owner)
	if err := write(secret.GenerateName+"new", true); err != nil {
		return err
	}
	if err := createSecret(ctx, api, secret, dry); err != nil || dry {
		return err
	}
	if err := write(secret.Name, false); err != nil {
		return settle(ctx, api, owner.DeepCopy(), secret, err)
	}
	return nil
}

func ownedBy(webhook *unstructured.Unstructured) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: webhook.GetAPIVersion(), Kind: webhook.GetKind(), Name: webhook.GetName(), UID: webhook.GetUID(),
	}}
}

// createSecret creates a Secret that must not be there yet.
func createSecret(ctx context.Context, api client.Client, secret *corev1.Secret, dry bool) error {
	err := api.Create(ctx, secret, createOptions(dry)...)
	switch {
	case apierrors.IsAlreadyExists(err):
		return &SecretExistsError{secret.Namespace, secret.Name, slices.Sorted(maps.Keys(secret.Data))}
	case err != nil:
		return fmt.Errorf("creating secret %s: %w", secret.Name, err)
	}
	return nil
}

// SecretExistsError says that there is a Secret already where one was to be created with some
// keys.
type SecretExistsError struct {
	Namespace, Name string
	Keys            []string
}

func (e *SecretExistsError) Error() string {
	return fmt.Sprintf("secret %s exists already and is not overwritten", e.Name)
}

// settle clears up after a write of a Webhook that has failed, also when ctx has ended. A Secret
// that was made in vain is removed, and why is returned. Where only the answer was lost and the
// Webhook names the Secret, all is well: webhook is as it is stored then.
func settle(ctx context.Context, api client.Client, webhook *unstructured.Unstructured, secret *corev1.Secret, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	var err error
	if passing(why) {
		if err = api.Get(ctx, client.ObjectKeyFromObject(webhook), webhook); err == nil && names(webhook, secret.Name) {
			return nil
		}
	}
	if client.IgnoreNotFound(err) == nil {
		err = api.Delete(ctx, secret, client.Preconditions{UID: &secret.UID})
	}
	if client.IgnoreNotFound(err) != nil {
		return &LeftoverError{why, secret.Namespace, secret.Name, err}
	}
	return why
}

// names tells whether a field of a Webhook names a Secret.
func names(webhook *unstructured.Unstructured, secret string) bool {
	return slices.ContainsFunc([]SecretField{TokenField, SigningKeyField, URLField}, func(f SecretField) bool {
		name, _, _ := unstructured.NestedString(webhook.Object, "spec", f.Field, "name")
		return name == secret
	})
}

// LeftoverError says that a Secret was made in vain and is still there.
type LeftoverError struct {
	// Why is what has failed.
	Why             error
	Namespace, Name string
	// Err is what kept it from being removed.
	Err error
}

func (e *LeftoverError) Error() string {
	return fmt.Sprintf("%v\nThe Secret %s was made for it and could not be removed (%v): kubectl delete secret %s -n %s",
		e.Why, e.Name, e.Err, e.Name, e.Namespace)
}

// Unwrap returns both errors.
func (e *LeftoverError) Unwrap() []error { return []error{e.Why, e.Err} }
