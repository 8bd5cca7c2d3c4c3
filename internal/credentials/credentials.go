// Package credentials reads the Secrets and ConfigMaps that Webhooks name. It reads
// by get alone, one object at a time, and keeps what it has read for a short while.
package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// TTL is how long a value is kept: what a rotation takes to be noticed.
const TTL = 30 * time.Second

const (
	// mistakeTTL is how long a mistake counts before it may be read again: whoever
	// mends it waits for more.
	mistakeTTL = 5 * time.Second
	// mistakeMemory is for how long afterwards it is known to be a second read, which
	// Rechecks bounds.
	mistakeMemory = time.Hour
)

// mostReads is how many reads are under way at once: an object may have 1 MiB, and a
// team may have thousands of Webhooks.
const mostReads = 16

// readTimeout bounds a read, with the wait for a slot.
const readTimeout = 30 * time.Second

// Error is a mistake that a person has to mend. Reason is one of the reasons of a
// Webhook's Ready condition; the text never contains a value.
type Error struct {
	Reason  string
	Message string
}

func (e *Error) Error() string { return e.Message }

// Credentials are what is sent to a receiver and how, as far as a Webhook leaves it
// to other objects.
type Credentials struct {
	// Target is where requests go.
	Target receiverurl.Target
	// Secret is the token, and SigningKey what signs in its place. Each is nil where
	// the Webhook names none.
	Secret, SigningKey *signing.Secret
	// Authorities and Certificate are nil where it names none.
	Authorities *sending.Authorities
	Certificate *sending.ClientCertificate
	// InsecureSkipVerify accepts any certificate.
	InsecureSkipVerify bool
	// Redactor knows all that must not be told. It may be nil.
	Redactor *redaction.Redactor
	// Note tells of what a person might want to know, such as a line end that was
	// cut off.
	Note string
}

// Reader reads and remembers. It is safe for concurrent use.
type Reader struct {
	// RequireSSLVerify makes it a mistake not to check certificates.
	RequireSSLVerify bool
	// Rechecks bounds how often mistakes are read again; until then, they count.
	// What was not read before or was forgotten is not bounded. Nil is no bound.
	Rechecks flowcontrol.PassiveRateLimiter

	client client.Reader
	clock  clock.Clock
	// reads are those under way. Whoever needs the same waits for it: a hundred
	// requests to one receiver need not read what it is sent with each.
	reads   singleflight.Group
	slots   *semaphore.Weighted // one for each read that is under way
	bundles *bundles

	mu   sync.Mutex      // from reading what is kept until it is replaced
	kept *cache.Expiring // of *kept by references
}

// NewReader returns a Reader that knows nothing yet. It reads from the API server: a
// cache would watch every Secret.
func NewReader(from client.Reader, c clock.Clock) *Reader {
	return &Reader{
		client: from, clock: c, slots: semaphore.NewWeighted(mostReads),
		bundles: newBundles(c), kept: cache.NewExpiringWithClock(c),
	}
}

// references are all that a Webhook names. What one Webhook uses is read together:
// a token must not meet the address of the time before.
type references struct {
	namespace                                string
	token, signing, url, bundle, certificate reference
}

// reference is a key of an object; the zero reference is none.
type reference struct {
	kind, name, key string
}

// bundleKey is the CRD's default for the key of a CA bundle.
const bundleKey = "ca.crt"

// signingField names the key of signatures.
const signingField = "spec.signingSecretRef"

func referencesOf(w *v1alpha1.Webhook) references {
	refs := references{namespace: w.Namespace}
	if r := w.Spec.SecretRef; r != nil {
		refs.token = reference{"Secret", r.Name, r.Key}
	}
	if r := w.Spec.SigningSecretRef; r != nil {
		refs.signing = reference{"Secret", r.Name, r.Key}
	}
	if r := w.Spec.URLSecretRef; r != nil {
		refs.url = reference{"Secret", r.Name, r.Key}
	}
	if t := w.Spec.TLS; t != nil {
		if r := t.CASecretRef; r != nil {
			refs.bundle = reference{"Secret", r.Name, cmp.Or(r.Key, bundleKey)}
		}
		if r := t.CAConfigMapRef; r != nil {
			refs.bundle = reference{"ConfigMap", r.Name, cmp.Or(r.Key, bundleKey)}
		}
		if r := t.ClientCertSecretRef; r != nil {
			refs.certificate = reference{"Secret", r.Name, corev1.TLSCertKey}
		}
	}
	return refs
}

// key tells references apart in a text.
func (r references) key() string { return fmt.Sprintf("%q", r) }

// none tells whether there is nothing to read.
func (r references) none() bool { return r == references{namespace: r.namespace} }

// kept is what was read, or what was known when a read began that is not over: until
// is zero then. Credentials are a pointer, so that printing this prints nothing of
// them.
type kept struct {
	until time.Time
	found *Credentials
	err   error
}

// Get returns what a Webhook is sent with. Mistakes are of type *Error.
func (r *Reader) Get(ctx context.Context, w *v1alpha1.Webhook) (Credentials, error) {
	insecure := w.Spec.SSLVerifyEnabled != nil && !*w.Spec.SSLVerifyEnabled
	if r.RequireSSLVerify && insecure {
		return Credentials{}, &Error{v1alpha1.ReasonSSLVerifyRequired,
			"spec.sslVerifyEnabled is false, which the administrator has forbidden (--require-ssl-verify): " +
				"leave it out, and name a private authority in spec.tls"}
	}
	refs := referencesOf(w)
	if refs.none() {
		return Credentials{Target: receiverurl.Plain(w.Spec.URL), InsecureSkipVerify: insecure}, nil
	}
	found, err := r.get(ctx, refs)
	if err != nil {
		return Credentials{}, err
	}
	with := *found
	with.InsecureSkipVerify = insecure
	if refs.url == (reference{}) {
		with.Target = receiverurl.Plain(w.Spec.URL)
	}
	return with, nil
}

func (r *Reader) get(ctx context.Context, refs references) (*Credentials, error) {
	if k := r.known(refs); r.clock.Now().Before(k.until) {
		return k.found, k.err
	}
	// The read is nobody's: it goes on for the others when the one that began it
	// gives up.
	result := r.reads.DoChan(refs.key(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		return r.readOnce(ctx, refs)
	})
	select {
	case is := <-result:
		found, _ := is.Val.(*Credentials)
		return found, is.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// known is what is kept, or an empty one.
func (r *Reader) known(refs references) *kept {
	if k, ok := r.kept.Get(refs); ok {
		return k.(*kept)
	}
	return &kept{}
}

// readOnce reads, and keeps what it has found unless Forget was called meanwhile: it
// may be what was to be forgotten.
func (r *Reader) readOnce(ctx context.Context, refs references) (found *Credentials, err error) {
	defer func() { // as others that wait for it would not survive it
		if p := recover(); p != nil {
			err = fmt.Errorf("reading what a Webhook names has broken off: %v", p)
		}
	}()
	now := r.clock.Now()
	before := r.known(refs)
	if now.Before(before.until) || before.err != nil && r.Rechecks != nil && !r.Rechecks.TryAccept() {
		return before.found, before.err
	}
	begun := &kept{found: before.found, err: before.err}
	r.kept.Set(refs, begun, mistakeMemory)
	if err := r.slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer r.slots.Release(1)
	found, err = r.read(ctx, refs, now)
	ttl, memory := TTL, TTL
	if err != nil {
		if _, ok := errors.AsType[*Error](err); !ok {
			return nil, err // such as an API server that does not answer
		}
		ttl, memory = mistakeTTL, mistakeTTL+mistakeMemory
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known(refs) == begun {
		r.kept.Set(refs, &kept{until: now.Add(ttl), found: found, err: err}, memory)
	}
	return found, err
}

// Forget makes the next Get for a Webhook read afresh.
func (r *Reader) Forget(w *v1alpha1.Webhook) {
	refs := referencesOf(w)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept.Delete(refs)
	r.reads.Forget(refs.key())
}

// read reads all that a Webhook names.
func (r *Reader) read(ctx context.Context, refs references, now time.Time) (*Credentials, error) {
	from := &objects{client: r.client, namespace: refs.namespace, read: map[reference]object{}, bundles: r.bundles}
	found := &Credentials{}
	var notes []string
	if refs.url != (reference{}) {
		value, err := from.value(ctx, refs.url, "spec.urlSecretRef", sentToReceiver)
		if err != nil {
			return nil, err
		}
		to, trimmed, err := receiverurl.Parse(value)
		if err != nil {
			return nil, unusable(v1alpha1.ReasonURLInvalid, refs.url, err)
		}
		if !to.HTTPS() && (refs.bundle != reference{} || refs.certificate != reference{}) {
			return nil, unusable(v1alpha1.ReasonURLInvalid, refs.url, errors.New("the URL begins with http://, and spec.tls is for https"))
		}
		found.Target = to
		notes = appendTrimmed(notes, trimmed, refs.url)
	}
	if refs.token != (reference{}) {
		value, err := from.value(ctx, refs.token, "spec.secretRef", sentToReceiver)
		if err != nil {
			return nil, err
		}
		secret, trimmed, err := signing.ParseSecret(value)
		if err != nil {
			return nil, unusable(v1alpha1.ReasonSecretInvalid, refs.token, err)
		}
		found.Secret = &secret
		notes = appendTrimmed(notes, trimmed, refs.token)
	}
	if refs.signing != (reference{}) {
		value, err := from.value(ctx, refs.signing, signingField, signingKey)
		if err != nil {
			return nil, err
		}
		key, trimmed, err := signing.ParseSecret(value)
		if err != nil {
			mistake := unusable(v1alpha1.ReasonSecretInvalid, refs.signing, err)
			mistake.Message = signingField + ": " + mistake.Message
			return nil, mistake
		}
		found.SigningKey = &key
		notes = appendTrimmed(notes, trimmed, refs.signing)
	}
	if err := from.readTLS(ctx, refs, found, now); err != nil {
		return nil, err
	}
	found.Note = strings.Join(notes, "; ")
	if secrets := found.secrets(); len(secrets) > 0 {
		found.Redactor = redaction.New(secrets...)
	}
	return found, nil
}

// readTLS reads what spec.tls names. Nothing of it is sent but the client's
// certificate, so the type of a Secret matters for that alone.
func (o *objects) readTLS(ctx context.Context, refs references, found *Credentials, now time.Time) error {
	if refs.bundle != (reference{}) {
		field := "spec.tls.caSecretRef"
		if refs.bundle.kind == "ConfigMap" {
			field = "spec.tls.caConfigMapRef"
		}
		value, err := o.value(ctx, refs.bundle, field, caBundle)
		if err != nil {
			return err
		}
		if found.Authorities, err = o.bundles.parse(value); err != nil {
			return unusable(v1alpha1.ReasonCAInvalid, refs.bundle, err)
		}
	}
	if refs.certificate != (reference{}) {
		const field = "spec.tls.clientCertSecretRef"
		certificate, err := o.value(ctx, refs.certificate, field, clientCertificate)
		if err != nil {
			return err
		}
		private := reference{refs.certificate.kind, refs.certificate.name, corev1.TLSPrivateKeyKey}
		key, err := o.value(ctx, private, field, clientCertificate)
		if err != nil {
			return err
		}
		if found.Certificate, err = sending.ParseClientCertificate(certificate, key, now); err != nil {
			return &Error{v1alpha1.ReasonClientCertificateInvalid,
				fmt.Sprintf("Secret %q of %s cannot be used: %v", refs.certificate.name, field, err)}
		}
	}
	return nil
}

// secrets are what must not be told.
func (c *Credentials) secrets() []string {
	all := c.Target.Secrets()
	for _, s := range []*signing.Secret{c.Secret, c.SigningKey} {
		if s != nil {
			all = append(all, s.Reveal())
		}
	}
	return all
}

func unusable(reason string, of reference, err error) *Error {
	return &Error{reason, fmt.Sprintf("key %q of %s %q cannot be used: %v", of.key, of.kind, of.name, err)}
}

func appendTrimmed(notes []string, trimmed bool, of reference) []string {
	if !trimmed {
		return notes
	}
	return append(notes, fmt.Sprintf("key %q of Secret %q ends in a line break, which is not sent", of.key, of.name))
}

// purpose is what a value is used for, which not every type of Secret is for.
type purpose int

const (
	// sentToReceiver: the value is sent to the receiver.
	sentToReceiver purpose = iota
	// signingKey: requests to the receiver are signed with it.
	signingKey
	// caBundle: it is a bundle of certificates to verify the receiver with.
	caBundle
	// clientCertificate: it is a client certificate.
	clientCertificate
)

// forbidden are the types of Secrets that a Webhook must not carry out of the
// cluster: they are credentials of the cluster itself, or private keys.
var forbidden = map[corev1.SecretType]bool{
	corev1.SecretTypeServiceAccountToken: true,
	corev1.SecretTypeBootstrapToken:      true,
	corev1.SecretTypeDockercfg:           true,
	corev1.SecretTypeDockerConfigJson:    true,
	corev1.SecretTypeTLS:                 true,
	corev1.SecretTypeSSHAuth:             true,
}

// objects are those that one Webhook names, each read once.
type objects struct {
	client    client.Reader
	namespace string
	read      map[reference]object // without key
	bundles   *bundles
}

// object is a Secret or a ConfigMap.
type object struct {
	secretType corev1.SecretType
	data       map[string][]byte
}

// value returns the value of a key that a field of the spec names.
func (o *objects) value(ctx context.Context, of reference, field string, use purpose) ([]byte, error) {
	is, err := o.get(ctx, of, field)
	if err != nil {
		return nil, err
	}
	switch {
	case use == sentToReceiver && forbidden[is.secretType]:
		return nil, &Error{v1alpha1.ReasonSecretInvalid,
			fmt.Sprintf("Secret %q is of type %s, which must not be sent to receivers: use one of type Opaque", of.name, is.secretType)}
	case use == signingKey && forbidden[is.secretType]:
		return nil, &Error{v1alpha1.ReasonSecretInvalid,
			fmt.Sprintf("Secret %q is of type %s, which %s must not name: use one of type Opaque", of.name, is.secretType, field)}
	case use == clientCertificate && is.secretType != corev1.SecretTypeTLS:
		return nil, &Error{v1alpha1.ReasonSecretInvalid,
			fmt.Sprintf("Secret %q is not of type %s, which %s asks for: kubectl create secret tls makes one", of.name, corev1.SecretTypeTLS, field)}
	}
	value, ok := is.data[of.key]
	switch {
	case ok:
		return value, nil
	case of.kind == "ConfigMap":
		return nil, &Error{v1alpha1.ReasonConfigMapKeyNotFound,
			fmt.Sprintf("ConfigMap %q has no key %q: add it, or change %s.key", of.name, of.key, field)}
	case use == clientCertificate:
		return nil, &Error{v1alpha1.ReasonSecretKeyNotFound, fmt.Sprintf("Secret %q has no key %q: add it, or change %s", of.name, of.key, field)}
	default:
		return nil, &Error{v1alpha1.ReasonSecretKeyNotFound, fmt.Sprintf("Secret %q has no key %q: add it, or change %s.key", of.name, of.key, field)}
	}
}

// get reads an object, unless that was done already.
func (o *objects) get(ctx context.Context, of reference, field string) (object, error) {
	key := reference{kind: of.kind, name: of.name}
	if is, ok := o.read[key]; ok {
		return is, nil
	}
	is, err := o.fetch(ctx, of)
	missing, resource := v1alpha1.ReasonSecretNotFound, "secrets"
	if of.kind == "ConfigMap" {
		missing, resource = v1alpha1.ReasonConfigMapNotFound, "configmaps"
	}
	switch {
	case apierrors.IsNotFound(err):
		return object{}, &Error{missing,
			fmt.Sprintf("%s %q does not exist in namespace %q: create it, or change %s", of.kind, of.name, o.namespace, field)}
	case apierrors.IsForbidden(err):
		return object{}, &Error{missing,
			fmt.Sprintf("the operator may not read %s %q: it needs permission to get %s", of.kind, of.name, resource)}
	case err != nil:
		return object{}, fmt.Errorf("reading %s %s/%s: %w", of.kind, o.namespace, of.name, err)
	}
	o.read[key] = is
	return is, nil
}

func (o *objects) fetch(ctx context.Context, of reference) (object, error) {
	name := types.NamespacedName{Namespace: o.namespace, Name: of.name}
	if of.kind != "ConfigMap" {
		var s corev1.Secret
		err := o.client.Get(ctx, name, &s)
		return object{secretType: s.Type, data: s.Data}, err
	}
	var c corev1.ConfigMap
	if err := o.client.Get(ctx, name, &c); err != nil {
		return object{}, err
	}
	is := object{data: map[string][]byte{}}
	maps.Copy(is.data, c.BinaryData)
	for key, value := range c.Data {
		is.data[key] = []byte(value)
	}
	return is, nil
}
