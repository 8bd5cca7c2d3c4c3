// Package credentials reads the Secrets that Webhooks name. It reads by get
// alone, one Secret at a time, and keeps a value for a short while.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// TTL is how long a value is kept: what a rotation takes to be noticed.
const TTL = 30 * time.Second

// mistakeTTL is how long a mistake is kept: whoever mends it waits for more.
const mistakeTTL = 5 * time.Second

// Error is a mistake that a person has to mend. Reason is one of the reasons of a
// Webhook's Ready condition; the text never contains a value.
type Error struct {
	Reason  string
	Message string
}

func (e *Error) Error() string { return e.Message }

// AsError returns the mistake in err, or nil if err is none, such as an API
// server that does not answer.
func AsError(err error) *Error {
	mistake, _ := errors.AsType[*Error](err)
	return mistake
}

// Reader reads and remembers. It is safe for concurrent use.
type Reader struct {
	// Client reads from the API server: a cache would watch every Secret.
	Client client.Reader
	Clock  clock.PassiveClock

	mu   sync.Mutex
	kept map[reference]kept
	// forgotten counts the calls of Forget: what was being read meanwhile may be
	// what is to be forgotten.
	forgotten int
}

type reference struct {
	namespace, name, key string
}

type kept struct {
	until  time.Time
	secret *signing.Secret
	note   string
	err    error
}

// forbidden are the types of Secrets that a Webhook must not carry out of the
// cluster: they are credentials of the cluster itself.
var forbidden = map[corev1.SecretType]bool{
	corev1.SecretTypeServiceAccountToken: true,
	corev1.SecretTypeBootstrapToken:      true,
	corev1.SecretTypeDockercfg:           true,
	corev1.SecretTypeDockerConfigJson:    true,
}

// Get returns the secret of a Webhook: nil if it names none. note tells of what a
// person might want to know, such as a line end that was cut off. Mistakes are of
// type *Error.
func (r *Reader) Get(ctx context.Context, w *v1alpha1.Webhook) (secret *signing.Secret, note string, err error) {
	if w.Spec.SecretRef == nil {
		return nil, "", nil
	}
	ref := reference{w.Namespace, w.Spec.SecretRef.Name, w.Spec.SecretRef.Key}
	now := r.Clock.Now()
	r.mu.Lock()
	k, ok := r.kept[ref]
	forgotten := r.forgotten
	r.mu.Unlock()
	if ok && now.Before(k.until) {
		return k.secret, k.note, k.err
	}
	secret, note, err = r.read(ctx, ref)
	if err != nil && AsError(err) == nil {
		return nil, "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil {
		r.kept = map[reference]kept{}
	}
	for other, k := range r.kept {
		if now.After(k.until) {
			delete(r.kept, other)
		}
	}
	if r.forgotten != forgotten {
		return secret, note, err
	}
	ttl := TTL
	if err != nil {
		ttl = mistakeTTL
	}
	r.kept[ref] = kept{until: now.Add(ttl), secret: secret, note: note, err: err}
	return secret, note, err
}

// Forget makes the next Get of a Webhook's secret read it afresh.
func (r *Reader) Forget(w *v1alpha1.Webhook) {
	if w.Spec.SecretRef == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten++
	delete(r.kept, reference{w.Namespace, w.Spec.SecretRef.Name, w.Spec.SecretRef.Key})
}

func (r *Reader) read(ctx context.Context, ref reference) (*signing.Secret, string, error) {
	var s corev1.Secret
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: ref.namespace, Name: ref.name}, &s)
	if apierrors.IsNotFound(err) {
		return nil, "", &Error{v1alpha1.ReasonSecretNotFound,
			fmt.Sprintf("Secret %q does not exist in namespace %q: create it, or change spec.secretRef", ref.name, ref.namespace)}
	}
	if apierrors.IsForbidden(err) {
		return nil, "", &Error{v1alpha1.ReasonSecretNotFound,
			fmt.Sprintf("the operator may not read Secret %q: it needs permission to get secrets", ref.name)}
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading Secret %s/%s: %w", ref.namespace, ref.name, err)
	}
	if forbidden[s.Type] {
		return nil, "", &Error{v1alpha1.ReasonSecretInvalid,
			fmt.Sprintf("Secret %q is of type %s, which must not be sent to receivers: use one of type Opaque", ref.name, s.Type)}
	}
	value, ok := s.Data[ref.key]
	if !ok {
		return nil, "", &Error{v1alpha1.ReasonSecretKeyNotFound,
			fmt.Sprintf("Secret %q has no key %q: add it, or change spec.secretRef.key", ref.name, ref.key)}
	}
	secret, trimmed, err := signing.ParseSecret(value)
	if err != nil {
		return nil, "", &Error{v1alpha1.ReasonSecretInvalid,
			fmt.Sprintf("key %q of Secret %q cannot be used: %v", ref.key, ref.name, err)}
	}
	if trimmed {
		return &secret, fmt.Sprintf("key %q of Secret %q ends in a line break, which is not sent", ref.key, ref.name), nil
	}
	return &secret, "", nil
}
