package insight

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/utils/ptr"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// neverSent are event types of Horizon's list that nothing in its code records.
var neverSent = []string{"applications_transferred", "application_transferred", "clusters_action", "cluster_action"}

// Oddity is something about a Webhook that is valid and may not be meant.
type Oddity struct {
	// Field is its path, such as spec.triggers[0].
	Field string
	// Message is a sentence without a full stop.
	Message string
}

// Oddities are what is odd about a Webhook.
func Oddities(spec *v1alpha1.WebhookSpec) []Oddity {
	return slices.Concat(oddTransport(spec), oddTriggers(spec), oddScope(spec), oddExpressions(spec), oddRooms(spec), oddSecrets(spec))
}

// oddTransport is about what others in between can see and change.
func oddTransport(spec *v1alpha1.WebhookSpec) []Oddity {
	var all []Oddity
	verify := ptr.Deref(spec.SSLVerifyEnabled, true)
	if plain := len(spec.URL) >= 5 && strings.EqualFold(spec.URL[:5], "http:"); plain {
		if spec.SecretRef != nil {
			all = append(all, Oddity{"spec.url", "it begins with http://: the token of secretRef goes over the network as it is, and whoever sees it can pretend to be Horizon"})
		}
		if !verify {
			all = append(all, Oddity{"spec.sslVerifyEnabled", "without effect: url begins with http://"})
		}
		return all
	}
	if !verify {
		all = append(all, Oddity{"spec.sslVerifyEnabled", "the receiver's certificate is not checked: whoever is in between can read and change requests; spec.tls names a private authority"})
	}
	if tls := spec.TLS; tls != nil && !verify && (tls.CASecretRef != nil || tls.CAConfigMapRef != nil) {
		all = append(all, Oddity{"spec.tls", "the authorities are without effect, since sslVerifyEnabled is false"})
	}
	return all
}

// oddTriggers is about triggers that no event comes of, or that others cover.
func oddTriggers(spec *v1alpha1.WebhookSpec) []Oddity {
	var all []Oddity
	if at := slices.Index(spec.Triggers, v1alpha1.TriggerAny); at >= 0 && len(spec.Triggers) > 1 {
		all = append(all, Oddity{fmt.Sprintf("spec.triggers[%d]", at), "it follows everything: the other triggers make no difference"})
	}
	for i, t := range spec.Triggers {
		field := fmt.Sprintf("spec.triggers[%d]", i)
		if slices.Contains(neverSent, string(t)) {
			all = append(all, Oddity{field, fmt.Sprintf("%s is in Horizon's list, and Horizon sends no such events", t)})
		}
		if other, ok := coveredBy(spec.Triggers, i); ok {
			all = append(all, Oddity{field, fmt.Sprintf("%s follows it already", other)})
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
		if _, ok := (matching.Subject{EventType: string(triggers[at])}).MayMatch(w); ok {
			return other, true
		}
	}
	return "", false
}

// oddScope is about scopes that say less than they seem to.
func oddScope(spec *v1alpha1.WebhookSpec) []Oddity {
	switch {
	case spec.Scope == "/":
		return []Oddity{{"spec.scope", "/ is everything, as if it was left out"}}
	case strings.HasSuffix(spec.Scope, "/"):
		return []Oddity{{"spec.scope", fmt.Sprintf("the slash at its end makes no difference: %s itself is followed, too", strings.TrimRight(spec.Scope, "/"))}}
	}
	return nil
}

// oddExpressions is about expressions and settings that change nothing, or say the same of
// everything.
func oddExpressions(spec *v1alpha1.WebhookSpec) []Oddity {
	var all []Oddity
	odd := func(field, text string, ifTrue, ifFalse string) {
		switch value, ok := constant(text); {
		case ok && value && ifTrue != "":
			all = append(all, Oddity{field, "it is always true: " + ifTrue})
		case ok && !value && ifFalse != "":
			all = append(all, Oddity{field, "it is always false: " + ifFalse})
		}
	}
	odd("spec.filter", spec.Filter, "without effect", "nothing is ever sent; spec.state: Disabled says that better")
	if p := spec.Payload; p != nil && *p == (v1alpha1.PayloadSettings{}) {
		all = append(all, Oddity{"spec.payload", "without effect: it has neither format nor template"})
	}
	r := spec.Response
	switch {
	case r == nil:
		return all
	case *r == (v1alpha1.ResponseRules{}):
		return append(all, Oddity{"spec.response", "without effect: it has neither acceptIf nor giveUpIf"})
	}
	odd("spec.response.acceptIf", r.AcceptIf, "without effect", "no answer is ever accepted")
	odd("spec.response.giveUpIf", r.GiveUpIf, "no failure is ever retried; spec.retry.limit: 0 says that better", "without effect")
	if r.AcceptIf == "" && onlyASuccess.MatchString(r.GiveUpIf) {
		all = append(all, Oddity{"spec.response.giveUpIf",
			"without effect: it is asked about answers that are not accepted, and without acceptIf each 2xx is"})
	}
	return all
}

// onlyASuccess is a rule that is true of a 2xx only.
var onlyASuccess = regexp.MustCompile(`^\s*response\.statusCode\s*==\s*2[0-9][0-9]\s*$`)

// variable is the name of one that an expression may read; in a text, too, where it is none.
var variable = regexp.MustCompile(`\b(event|webhook|delivery|response)\b`)

// constant returns the value of an expression that reads nothing, and so is true or false
// always. ok is false where that is not sure.
func constant(text string) (value, ok bool) {
	if text == "" || variable.MatchString(text) {
		return false, false
	}
	rule, err := expression.CompileRule(text)
	if err != nil {
		return false, false
	}
	value, err = rule.Holds(expression.Input{Event: &expression.Event{}, Response: &expression.Response{}})
	return value, err == nil
}

// oddSecrets is about keys that are used twice.
func oddSecrets(spec *v1alpha1.WebhookSpec) []Oddity {
	if spec.SecretRef == nil || spec.SigningSecretRef == nil || *spec.SecretRef != *spec.SigningSecretRef {
		return nil
	}
	return []Oddity{{"spec.signingSecretRef", "it is the key of secretRef, which signs without this, too: whoever sees the token can sign"}}
}
