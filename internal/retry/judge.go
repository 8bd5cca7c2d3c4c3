package retry

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// Judge returns what judges the answers to a delivery by spec.response and the format of its
// Webhook, or nil where neither has rules. id is the header webhook-id.
func Judge(w *v1alpha1.Webhook, d *v1alpha1.WebhookDelivery, id string) func(sending.Answer) sending.Judgement {
	var rules v1alpha1.ResponseRules
	if w.Spec.Response != nil {
		rules = *w.Spec.Response
	}
	f := format.Of(w)
	if !f.Judges() && rules == (v1alpha1.ResponseRules{}) {
		return nil
	}
	return func(a sending.Answer) sending.Judgement {
		j := judgementOf(f, w, a)
		if rules == (v1alpha1.ResponseRules{}) {
			return j
		}
		event, err := payload.EventOfDelivery(d)
		if err != nil {
			return sending.Judgement{Refused: true, By: acceptIf, Why: err.Error()}
		}
		return judge(rules, j, a, expression.Input{
			Event: event, Webhook: payload.WebhookOf(w), Delivery: expression.Delivery{ID: id}, Response: seenBy(a),
		})
	}
}

// The fields of rules.
const (
	acceptIf = "spec.response.acceptIf"
	giveUpIf = "spec.response.giveUpIf"
)

// judgementOf is what a format thinks of an answer.
func judgementOf(f *format.Format, w *v1alpha1.Webhook, a sending.Answer) sending.Judgement {
	if a.Err != nil {
		if f.Judges() && success(a.StatusCode) {
			return sending.Judgement{Refused: true, By: by(f), Why: unreadable}
		}
		return sending.Judgement{}
	}
	v := f.Judge(w, a.StatusCode, a.Body)
	j := sending.Judgement{Refused: v.Refused && success(a.StatusCode), Final: v.Final, Rest: v.Rest}
	if j.Refused || j.Final {
		// What is quoted of the answer is told, so it comes from what may be told of it.
		j.By, j.Why = by(f), printable(f.Judge(w, a.StatusCode, a.Redacted().Body).Why)
	}
	return j
}

// printable marks what a text of the receiver has that nobody sees, or that would change how
// the rest is shown.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return utf8.RuneError
	}, text)
}

func by(f *format.Format) string { return "the format " + string(f.Name) }

const unreadable = "the body could not be read"

// judge asks acceptIf about a 2xx, and giveUpIf about what is not accepted, each in place of
// what the format thinks, j. What cannot be told is not accepted, and never final.
func judge(rules v1alpha1.ResponseRules, j sending.Judgement, a sending.Answer, in expression.Input) sending.Judgement {
	if success(a.StatusCode) && rules.AcceptIf != "" {
		if a.Err != nil {
			return sending.Judgement{Refused: true, By: acceptIf, Why: unreadable}
		}
		accepted, err := holds(rules.AcceptIf, in)
		if accepted {
			return sending.Judgement{}
		}
		j.Refused, j.Failed = true, err != nil
		if !j.Final { // or else it is the format that says so, and it has the service's words
			told := in
			told.Response = seenBy(a.Redacted())
			j.By, j.Why = acceptIf, why(rules.AcceptIf, told)
		}
	}
	if rules.GiveUpIf != "" && a.Err == nil && (j.Refused || !success(a.StatusCode)) {
		final, err := holds(rules.GiveUpIf, in)
		j.Final, j.Failed = final, j.Failed || err != nil
		switch {
		case final:
			j.By = giveUpIf
		case !j.Refused:
			j.By, j.Why = "", ""
		}
	}
	return j
}

func holds(text string, in expression.Input) (bool, error) {
	rule, err := expression.CompileRule(text)
	if err != nil { // deliveries wait for that to be mended
		return false, err
	}
	return rule.Holds(in)
}

// why tells how a rule fails or, where it is not true, what its parts are.
func why(text string, in expression.Input) string {
	rule, err := expression.CompileRule(text)
	if err != nil {
		return "the rule does not compile"
	}
	if _, err := rule.Holds(in); err != nil {
		return err.Error()
	}
	var parts []string
	for _, part := range rule.Explain(in) {
		parts = append(parts, fmt.Sprintf("%s is %s", part.Text, part.Value))
	}
	return strings.Join(parts, ", ")
}

// seenBy is an answer as rules see it.
func seenBy(a sending.Answer) *expression.Response {
	header := make(map[string]string, len(a.Header))
	for name, values := range a.Header {
		header[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return &expression.Response{StatusCode: a.StatusCode, Header: header, Body: a.Body}
}

func success(code int) bool { return code >= 200 && code < 300 }
