package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/manifest"
)

// usualEventAge is how old an event may be when it comes, unless the operator's
// --max-event-age says otherwise.
const usualEventAge = 72 * time.Hour

// warn says what is valid and looks odd.
func (l *linter) warn(ctx context.Context) error {
	seen := map[string]*linted{}
	for _, d := range l.documents {
		warn := func(field, format string, args ...any) {
			l.add(d, true, manifest.Problem{Line: d.Line(field), Field: field, Message: fmt.Sprintf(format, args...)})
		}
		id := d.Object.GetKind() + " " + l.namespaceOf(d.Document) + "/" + d.Object.GetName()
		if before := seen[id]; before != nil && d.Object.GetName() != "" {
			warn("metadata.name", "%s:%d has it, too: whichever is applied last stands", before.file, before.Line("metadata.name"))
		}
		seen[id] = d
		if d.Object.GetKind() == "WebhookDelivery" {
			warn("kind", "the operator writes deliveries, and nobody else may: this is not to be applied")
			continue
		}
		if _, ok := d.Object.Object["status"]; ok {
			warn("status", "the operator writes it: it is left aside when this is applied")
		}
		switch d.Object.GetKind() {
		case "Webhook":
			w, ok := d.webhook()
			if !ok {
				continue // told already
			}
			for _, odd := range insight.Oddities(&w.Spec) {
				warn(odd.Field, "%s", odd.Message)
			}
			l.warnOfSecrets(ctx, d, &w.Spec, warn)
		case "WebhookEvent":
			var e v1alpha1.WebhookEvent
			if runtime.DefaultUnstructuredConverter.FromUnstructured(d.Object.Object, &e) != nil {
				continue
			}
			if at := e.Spec.Time.Time; !at.IsZero() && l.now().Sub(at) > usualEventAge {
				warn("spec.time", "this was %s ago: events older than three days (the operator's --max-event-age) are not sent",
					age(at, l.now()))
			}
		}
	}
	return ctx.Err()
}

// warnOfSecrets says which Secrets are not there: neither in the files nor, as far as it
// may be read, in the cluster.
func (l *linter) warnOfSecrets(ctx context.Context, d *linted, spec *v1alpha1.WebhookSpec, warn func(field, format string, args ...any)) {
	refs := map[string]*v1alpha1.SecretKeyReference{
		"spec.secretRef": spec.SecretRef, "spec.signingSecretRef": spec.SigningSecretRef, "spec.urlSecretRef": spec.URLSecretRef,
	}
	for _, field := range []string{"spec.urlSecretRef", "spec.secretRef", "spec.signingSecretRef"} {
		ref := refs[field]
		if ref == nil || ref.Name == "" {
			continue
		}
		name := types.NamespacedName{Namespace: l.namespaceOf(d.Document), Name: ref.Name}
		keys, where := l.secrets[name], "these files"
		if keys == nil {
			keys, where = l.keysInCluster(ctx, name), "namespace "+name.Namespace
		}
		switch {
		case keys == nil:
		case len(keys) == 0:
			warn(field, "there is no Secret %s in %s, or it is empty", ref.Name, where)
		case !slices.Contains(keys, ref.Key):
			warn(field+".key", "the Secret %s in %s has no key %s", ref.Name, where, ref.Key)
		}
	}
}

// keysInCluster returns the keys of a Secret: none where it is not there, and nil where
// that cannot be told.
func (l *linter) keysInCluster(ctx context.Context, name types.NamespacedName) []string {
	if l.offline {
		return nil
	}
	api, err := l.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lintTimeout)
	defer cancel()
	var secret corev1.Secret
	if err := api.Get(ctx, name, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return []string{}
		}
		return nil
	}
	keys := []string{}
	for key := range secret.Data {
		keys = append(keys, key)
	}
	return keys
}
