package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/manifest"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// usualEventAge is how old an event may be when it comes, unless the operator's
// --max-event-age says otherwise.
const usualEventAge = 72 * time.Hour

// neverSent are event types of Horizon's list that nothing in its code records.
var neverSent = []string{"applications_transferred", "application_transferred", "clusters_action", "cluster_action"}

// oddity is something about a Webhook that is valid and may not be meant.
type oddity struct{ field, message string }

// oddities are asked of each Webhook. What expressions say odd things about belongs here.
var oddities = []func(*v1alpha1.WebhookSpec) []oddity{oddTransport, oddTriggers, oddScope, oddSecrets}

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
			var w v1alpha1.Webhook
			if runtime.DefaultUnstructuredConverter.FromUnstructured(d.Object.Object, &w) != nil {
				continue // told already
			}
			for _, ask := range oddities {
				for _, odd := range ask(&w.Spec) {
					warn(odd.field, "%s", odd.message)
				}
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

// oddTransport is about what others in between can see and change.
func oddTransport(spec *v1alpha1.WebhookSpec) []oddity {
	var all []oddity
	verify := ptr.Deref(spec.SSLVerifyEnabled, true)
	if isPlain(spec.URL) {
		if spec.SecretRef != nil {
			all = append(all, oddity{"spec.url", "it begins with http://: the token of secretRef goes over the network as it is, and whoever sees it can pretend to be Horizon"})
		}
		if !verify {
			all = append(all, oddity{"spec.sslVerifyEnabled", "without effect: url begins with http://"})
		}
		return all
	}
	if !verify {
		all = append(all, oddity{"spec.sslVerifyEnabled", "the receiver's certificate is not checked: whoever is in between can read and change requests; spec.tls names a private authority"})
	}
	if tls := spec.TLS; tls != nil && !verify && (tls.CASecretRef != nil || tls.CAConfigMapRef != nil) {
		all = append(all, oddity{"spec.tls", "the authorities are without effect, since sslVerifyEnabled is false"})
	}
	return all
}

// oddTriggers is about triggers that no event comes of, or that others cover.
func oddTriggers(spec *v1alpha1.WebhookSpec) []oddity {
	var all []oddity
	if at := slices.Index(spec.Triggers, v1alpha1.TriggerAny); at >= 0 && len(spec.Triggers) > 1 {
		all = append(all, oddity{fmt.Sprintf("spec.triggers[%d]", at), "it follows everything: the other triggers make no difference"})
	}
	for i, t := range spec.Triggers {
		field := fmt.Sprintf("spec.triggers[%d]", i)
		if slices.Contains(neverSent, string(t)) {
			all = append(all, oddity{field, fmt.Sprintf("%s is in Horizon's list, and Horizon sends no such events", t)})
		}
		if other, ok := coveredBy(spec.Triggers, i); ok {
			all = append(all, oddity{field, fmt.Sprintf("%s follows it already", other)})
		}
	}
	return all
}

// coveredBy returns a family that has the trigger at an index, or the same before it in
// another spelling.
func coveredBy(triggers []v1alpha1.Trigger, at int) (v1alpha1.Trigger, bool) {
	isFamily := func(t v1alpha1.Trigger) bool { return strings.HasSuffix(string(t), "_*") }
	for i, other := range triggers {
		before, around := i < at, isFamily(other) && !isFamily(triggers[at])
		if other == v1alpha1.TriggerAny || !before && !around || isFamily(triggers[at]) && !isFamily(other) {
			continue
		}
		w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Triggers: []v1alpha1.Trigger{other}}}
		if _, ok := (matching.Subject{EventType: string(triggers[at])}).Match(w); ok {
			return other, true
		}
	}
	return "", false
}

// oddScope is about scopes that say less than they seem to.
func oddScope(spec *v1alpha1.WebhookSpec) []oddity {
	switch {
	case spec.Scope == "/":
		return []oddity{{"spec.scope", "/ is everything, as if it was left out"}}
	case strings.HasSuffix(spec.Scope, "/"):
		return []oddity{{"spec.scope", fmt.Sprintf("the slash at its end makes no difference: %s itself is followed, too", strings.TrimRight(spec.Scope, "/"))}}
	}
	return nil
}

// oddSecrets is about keys that are used twice.
func oddSecrets(spec *v1alpha1.WebhookSpec) []oddity {
	if spec.SecretRef == nil || spec.SigningSecretRef == nil || *spec.SecretRef != *spec.SigningSecretRef {
		return nil
	}
	return []oddity{{"spec.signingSecretRef", "it is the key of secretRef, which signs without this, too: whoever sees the token can sign"}}
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
