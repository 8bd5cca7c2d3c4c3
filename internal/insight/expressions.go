package insight

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

const (
	// maxParts is how many parts of a filter a sentence names, and maxPart how many
	// characters of each; Finding.Parts has all.
	maxParts = 5
	maxPart  = 100
)

// Part is a part of an expression with its value for an event.
type Part struct {
	// Text is the part as it is written, Value what it is, in CEL's notation.
	Text  string `json:"text"`
	Value string `json:"value"`
	// Line and Column are its place in the expression, both from 1 on.
	Line   int `json:"line"`
	Column int `json:"column"`
}

// partsOf returns what the verdict of a Webhook's filter on an event came of; nothing
// where there is no filter that compiles.
func partsOf(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent) []Part {
	if w.Spec.Filter == "" {
		return nil
	}
	filter, err := expression.CompileFilter(w.Spec.Filter)
	if err != nil {
		return nil
	}
	var parts []Part
	for _, p := range filter.Explain(expression.Input{Event: payload.EventOf(e), Webhook: payload.WebhookOf(w)}) {
		parts = append(parts, Part(p))
	}
	return parts
}

// values writes parts in a sentence.
func values(parts []Part) string {
	var words []string
	for i, p := range parts {
		if i == maxParts {
			words = append(words, fmt.Sprintf("and %d more", len(parts)-maxParts))
			break
		}
		words = append(words, inLine(p.Text, maxPart)+" is "+inLine(p.Value, maxPart))
	}
	return strings.Join(words, ", ")
}

// inLine is a text in a line, cut to a number of characters.
func inLine(text string, most int) string {
	r := []rune(strings.Join(strings.Fields(text), " "))
	if len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return string(r)
}

// ofExpressions are the reasons of a Ready condition that are about expressions.
var ofExpressions = []string{v1alpha1.ReasonFilterInvalid, v1alpha1.ReasonPayloadInvalid, v1alpha1.ReasonResponseRuleInvalid}

// mistakes says which expressions of a Webhook do not compile: first what holds its
// deliveries. Where the operator finds something that this program does not, its words
// count.
func mistakes(w *v1alpha1.Webhook) []Finding {
	problems := validation.Expressions(w)
	slices.SortStableFunc(problems, func(a, b validation.Problem) int { return held(a.Reason) - held(b.Reason) })
	var all []Finding
	for _, p := range problems {
		all = append(all, mistaken(w, p.Reason, sayMistake(p.Field, p.Mistake), Caret(p.Mistake)))
	}
	if c := current(w, v1alpha1.ConditionReady); len(all) == 0 && c != nil && c.Status == metav1.ConditionFalse && slices.Contains(ofExpressions, c.Reason) {
		message, detail := Detailed(c.Message)
		all = append(all, mistaken(w, c.Reason, message, detail))
	}
	return all
}

// sayMistake says in a line what is wrong with an expression, and where.
func sayMistake(field string, mistake *expression.Mistake) string {
	return field + " does not compile: " + mistake.Short()
}

// Caret returns the line of an expression that a mistake is in, with a caret below its place,
// and the other mistakes: all but what Short says.
func Caret(mistake *expression.Mistake) string {
	_, lines, _ := strings.Cut(mistake.Error(), "\n")
	return lines
}

// mistaken is a finding about an expression that does not compile; reason is that of the
// Ready condition. What holds deliveries has the reason that these have.
func mistaken(w *v1alpha1.Webhook, reason, message, detail string) Finding {
	edit := command("edit", w.Namespace, w.Name)
	f := Finding{Outcome: Stopped, Reason: v1alpha1.ReasonNotReady, Detail: detail}
	f.Message = fmt.Sprintf("the webhook is not Ready (%s): deliveries wait, since %s", reason, message)
	switch reason {
	case v1alpha1.ReasonFilterInvalid:
		f.Reason = reason
		f.Message = "the webhook is not Ready (" + reason + "): it follows nothing, though what is recorded already goes on, since " + message
		f.Help = "mend spec.filter: " + edit + "; then " +
			command("replay", w.Namespace, w.Name, "--since TIME") + " brings what passed by"
	case v1alpha1.ReasonPayloadInvalid:
		f.Help = "mend spec.payload.template, and what waits is sent: " + edit
	default:
		f.Help = "mend spec.response, and what waits is sent: " + edit
	}
	return f
}

// held is 0 for a reason that holds deliveries, and 1 for one that does not.
func held(reason string) int {
	if reason == v1alpha1.ReasonFilterInvalid {
		return 1
	}
	return 0
}

// broken is the expression that deliveries of a Webhook wait for; nil is none.
func broken(w *v1alpha1.Webhook) *Finding {
	for _, f := range mistakes(w) {
		if f.Reason != v1alpha1.ReasonFilterInvalid {
			return &f
		}
	}
	return nil
}

// Detailed divides a message of the operator about a mistake (validation.Problem.Message): what
// it says, in a line, and the lines with the caret below that. Others stay as they are: what
// a receiver wrote may have lines, too.
func Detailed(message string) (line, detail string) {
	line, rest, found := strings.Cut(message, "\n")
	if !found || !strings.HasSuffix(line, " does not compile:") {
		return message, ""
	}
	first, detail, _ := strings.Cut(rest, "\n")
	return line + " " + first, detail
}

// filterFailing says that the filter of a Webhook failed for an event; nil where nothing
// is known of that.
func filterFailing(w *v1alpha1.Webhook) *Finding {
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionFilterFailing)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != w.Generation {
		return nil
	}
	return &Finding{Outcome: Troubled, Reason: c.Reason, Message: c.Message,
		Help: "mend spec.filter: " + command("edit", w.Namespace, w.Name) + "; then " +
			command("replay", w.Namespace, w.Name, "--since TIME") + " brings such events"}
}
