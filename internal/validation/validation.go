// Package validation finds in a Webhook what the rules of the API server cannot: expressions
// that do not compile, and a format that newer rules allow than this program knows. It is pure.
package validation

import (
	"errors"
	"fmt"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/format"
)

// Problem is an expression that does not compile, or a format that is not known.
type Problem struct {
	// Field is its path, such as spec.filter.
	Field string
	// Reason is that of the Webhook's Ready condition.
	Reason string
	// Mistake is that of an expression.
	Mistake *expression.Mistake
	// unknown is the format.
	unknown v1alpha1.PayloadFormat
}

// Message says what is wrong; of an expression, it says where, with a caret under it.
func (p *Problem) Message() string {
	if p.Mistake == nil {
		return fmt.Sprintf("%s %s is not known to this version of the operator: upgrade it, or choose another format", p.Field, p.unknown)
	}
	return fmt.Sprintf("%s does not compile:\n%s", p.Field, p.Mistake)
}

// Holds tells whether deliveries wait until it is mended. A filter holds nothing: events
// pass by.
func (p *Problem) Holds() bool { return p.Reason != v1alpha1.ReasonFilterInvalid }

// Expressions returns the problems of a Webhook's expressions, in the order of their fields.
func Expressions(w *v1alpha1.Webhook) []Problem {
	var all []Problem
	check := func(field, reason, text string, compile func(string) error) {
		if text == "" {
			return
		}
		if mistake, ok := errors.AsType[*expression.Mistake](compile(text)); ok {
			all = append(all, Problem{Field: field, Reason: reason, Mistake: mistake})
		}
	}
	check("spec.filter", v1alpha1.ReasonFilterInvalid, w.Spec.Filter, func(text string) error {
		_, err := expression.CompileFilter(text)
		return err
	})
	if p := w.Spec.Payload; p != nil {
		check("spec.payload.template", v1alpha1.ReasonPayloadInvalid, p.Template, func(text string) error {
			_, err := expression.CompileTemplate(text)
			return err
		})
	}
	if r := w.Spec.Response; r != nil {
		rule := func(text string) error {
			_, err := expression.CompileRule(text)
			return err
		}
		check("spec.response.acceptIf", v1alpha1.ReasonResponseRuleInvalid, r.AcceptIf, rule)
		check("spec.response.giveUpIf", v1alpha1.ReasonResponseRuleInvalid, r.GiveUpIf, rule)
	}
	return all
}

// Hold returns the first problem that deliveries wait for, or nil. A format that is not known
// comes first: the secrets of the Webhook are for a service whose rules are not known either,
// so nothing may be sent.
func Hold(w *v1alpha1.Webhook) *Problem {
	if p := w.Spec.Payload; p != nil && !format.Known(p.Format) {
		return &Problem{Field: "spec.payload.format", Reason: v1alpha1.ReasonPayloadInvalid, unknown: p.Format}
	}
	for _, p := range Expressions(w) {
		if p.Holds() {
			return &p
		}
	}
	return nil
}
