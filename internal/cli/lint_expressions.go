package cli

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/manifest"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

// checkExpressions compiles the expressions of each Webhook, as the operator does.
func (l *linter) checkExpressions(ctx context.Context) error {
	for _, d := range l.documents {
		w, ok := d.webhook()
		if !ok {
			continue
		}
		for _, problem := range validation.Expressions(w) {
			refused := slices.ContainsFunc(l.findings, func(f lintFinding) bool {
				return f.file == d.file && f.Field == problem.Field && f.Line == d.Line(problem.Field)
			})
			if refused { // it is too long, for instance, which is said already
				continue
			}
			l.findings = append(l.findings, lintFinding{file: d.file, detail: insight.Caret(problem.Mistake), Problem: manifest.Problem{
				Line: d.LineWithin(problem.Field, problem.Mistake.Line), Field: problem.Field, Message: problem.Mistake.Short(),
			}})
		}
	}
	return ctx.Err()
}

// webhook returns the document as a Webhook. ok is false where it is none, or a field is of
// another type, which the schema tells.
func (d *linted) webhook() (w *v1alpha1.Webhook, ok bool) {
	if d.Object.GetKind() != "Webhook" {
		return nil, false
	}
	w = &v1alpha1.Webhook{}
	return w, runtime.DefaultUnstructuredConverter.FromUnstructured(d.Object.Object, w) == nil
}
