package cli

import (
	"context"
	"errors"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/manifest"
)

// checkServer has an API server check what nothing is wrong with yet: its CRDs may be
// others than those of this plugin, and it knows policies and roles.
func (l *linter) checkServer(ctx context.Context) error {
	if l.offline {
		l.note("Only the manifests themselves were checked, and no API server was asked (--offline).")
		return nil
	}
	api, err := l.client()
	if err != nil {
		l.noServer(err)
		return nil
	}
	for _, d := range l.documents {
		if d.broken || d.Object.GetKind() == "WebhookDelivery" {
			continue
		}
		if !l.askServer(ctx, api, d) {
			return ctx.Err()
		}
	}
	return nil
}

// noServer says that there is nobody to ask.
func (l *linter) noServer(err error) {
	l.offline = true
	l.note("Only the manifests themselves were checked, and no API server: %s", explain(err))
}

// askServer has the API server check one document, and tells whether to go on with others.
func (l *linter) askServer(ctx context.Context, api client.Client, d *linted) bool {
	ctx, cancel := context.WithTimeout(ctx, lintTimeout)
	defer cancel()
	object := d.Object.DeepCopy()
	object.SetNamespace(l.namespaceOf(d.Document))
	err := api.Create(ctx, object, client.DryRunAll, client.FieldOwner(change.FieldManager), client.FieldValidation(metav1.FieldValidationStrict))
	if err == nil || apierrors.IsAlreadyExists(err) { // told only of what is valid
		return true
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	switch {
	case !ok || apierrors.IsUnauthorized(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err):
		l.noServer(err)
		return false
	case apierrors.IsNotFound(err) && unknownResource(err):
		l.noServer(err)
		return false
	case apierrors.IsNotFound(err):
		l.note("%s %s was not checked by the API server: there is no namespace %s.", object.GetKind(), object.GetName(), object.GetNamespace())
	case apierrors.IsForbidden(err) && missingRole(err) != "":
		l.note("%s %s was not checked by the API server: %s", object.GetKind(), object.GetName(), explain(err))
	default:
		for _, problem := range problemsOf(status) {
			problem.Line = d.Line(problem.Field)
			l.add(d, false, problem)
		}
	}
	return true
}

// unknownField is how the API server tells a field that it does not know.
var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// problemsOf returns what an API server has against a manifest.
func problemsOf(status *apierrors.StatusError) []manifest.Problem {
	s := status.Status()
	var problems []manifest.Problem
	if apierrors.IsInvalid(status) && s.Details != nil {
		for _, cause := range s.Details.Causes {
			problems = append(problems, manifest.Problem{Field: manifest.Field(cause.Field), Message: cause.Message})
		}
	}
	if apierrors.IsBadRequest(status) {
		for _, found := range unknownField.FindAllStringSubmatch(s.Message, -1) {
			problems = append(problems, manifest.Problem{Field: found[1], Message: "unknown field: the CRDs of this cluster do not have it"})
		}
	}
	if len(problems) == 0 {
		problems = append(problems, manifest.Problem{Message: s.Message})
	}
	return problems
}
