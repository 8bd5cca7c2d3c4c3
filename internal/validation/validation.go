// Package validation finds in a Webhook what the rules of the API server cannot: expressions
// that do not compile. It is pure.
package validation

import (
	"errors"
	"fmt"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
)

// Problem is an expression that does not compile.
type Problem struct {
	// Field is its path, such as spec.filter.
	Field string
	// Reason is that of the Webhook's Ready condition.
	Reason  string
	Mistake *expression.Mistake
}

// Message says what is wrong, and where, with a caret under it.
func (p *Problem) Message() string {
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

// Hold returns the first problem that deliveries wait for, or nil.
func Hold(w *v1alpha1.Webhook) *Problem {
	for _, p := range Expressions(w) {
		if p.Holds() {
			return &p
		}
	}
	return nil
}
