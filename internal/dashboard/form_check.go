package dashboard

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

const (
	strict = metav1.FieldValidationStrict
	// maxChecks bounds how often the API server is asked about one form: some of its rules
	// it looks at only once others hold.
	maxChecks = 4
	// anyName stands for a name that is missing or wrong while all else is checked. It is one
	// that nobody gives: a Webhook of that name would be told of as a mistake.
	anyName = "no-name-yet-0f8b3c61"
	// anyURL stands for a URL.
	anyURL = "https://webhook.invalid/"
)

// check checks the form, and stores nothing: the API server by its rules, and expressions
// are compiled.
func (f *form) check() {
	f.ask()
	f.compile()
}

// compile tells which expressions do not compile.
func (f *form) compile() {
	w := f.webhook()
	if w == nil {
		return // the API server says what is wrong
	}
	for _, p := range validation.Expressions(w) {
		one := fieldAt(p.Field)
		if f.mistakes.of(one) != "" {
			continue // such as that it is too long
		}
		f.mistakes = append(f.mistakes, mistake{
			Field: one, Text: fmt.Sprintf("line %d, column %d: %s", p.Mistake.Line, p.Mistake.Column, p.Mistake.Summary), Caret: insight.Caret(p.Mistake),
		})
	}
}

// webhook is the Webhook of the form as the API has it, with nothing but its spec; nil where
// it cannot be one.
func (f *form) webhook() *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"spec": f.spec}, w) != nil {
		return nil
	}
	return w
}

// ask has the API server check the form. What is found wrong is put right in a copy, so that
// all mistakes are told at once.
func (f *form) ask() {
	trial := *f
	trial.draft = &draft{spec: clone(f.spec), typed: f.typed}
	name := f.in.Get(nameField.ID)
	if f.create && !f.named(name) {
		name = anyName
	}
	if _, ok := trial.spec["triggers"]; !ok {
		f.mistakes.add(triggersField, "tick at least one event, or any event")
		trial.spec["triggers"] = []any{"*"}
	}
	room := f.in.format().Room
	if _, ok := trial.spec[urlField.secret.Field]; room && !ok {
		if f.mistakes.of(urlField) == "" {
			f.mistakes.add(urlField, "paste the address of the robot: the service shows it where the robot is made")
		}
		trial.mend("spec." + urlField.secret.Field)
	}
	for range maxChecks {
		err := trial.dryRun(name)
		problems, ok := change.Problems(err)
		switch {
		case err == nil, !f.create && apierrors.IsConflict(err): // the operator writes all the time
			return
		case !ok:
			f.refuse(err)
			return
		}
		for _, p := range problems {
			f.refuseField(p)
			if p.Field == "metadata.name" {
				name = anyName
			}
			trial.mend(p.Field)
		}
	}
}

// named tells whether a new Webhook can have a name, as far as its Secret needs it. The API
// server knows the rest, such as how long it may be.
func (f *form) named(name string) bool {
	switch {
	case name == "":
		f.mistakes.add(nameField, "give the webhook a name")
	case len(utilvalidation.IsDNS1123Subdomain(name)) > 0:
		f.mistakes.add(nameField, "it takes small letters, digits, dashes and dots, and begins and ends with a letter or a digit")
	default:
		return true
	}
	return false
}

// withoutValue leaves out the value that a message begins with: it stands beside the message.
func withoutValue(message string) string {
	if quoted, err := strconv.QuotedPrefix(message); err == nil {
		if text, ok := strings.CutPrefix(message[len(quoted):], ": "); ok {
			return text
		}
	}
	if number, text, ok := strings.Cut(message, ": "); ok {
		if _, err := strconv.ParseFloat(number, 64); err == nil {
			return text
		}
	}
	return message
}

// refuseField takes a problem for what is wrong with its field.
func (f *form) refuseField(p change.Problem) {
	if strings.HasPrefix(p.Message, mendFirst) {
		return
	}
	one := fieldAt(p.Field)
	text := withoutValue(p.Message)
	if one == nil && p.Field != "" {
		text = p.Field + ": " + text
	}
	f.mistakes.add(one, text)
}

// mend puts a field right that something is wrong with.
func (d *draft) mend(path string) {
	path, _, _ = strings.Cut(path, "[")
	steps := strings.Split(path, ".")
	switch {
	case steps[0] != "spec" || len(steps) < 2:
	case path == "spec.triggers":
		d.spec["triggers"] = []any{"*"}
	case len(steps) == 3 && slices.ContainsFunc(secretFields, func(f *field) bool { return f.secret.Field == steps[1] }):
		setIn(d.spec, steps[1:], anyName)
	case (path == "spec.url" || steps[1] == urlField.secret.Field) && isRoom(d.spec):
		delete(d.spec, "url")
		d.spec[urlField.secret.Field] = map[string]any{"name": anyName, "key": urlField.secret.Key}
	case path == "spec.url", steps[1] == urlField.secret.Field:
		delete(d.spec, urlField.secret.Field)
		d.spec["url"] = anyURL
	case steps[1] == secretField.secret.Field, steps[1] == signingField.secret.Field:
		delete(d.spec, steps[1])
	default:
		setIn(d.spec, steps[1:], nil)
	}
}

// isRoom tells whether a spec sends to a chat room.
func isRoom(spec map[string]any) bool {
	name, _, _ := unstructured.NestedString(spec, formatField.path[1:]...)
	return (input{url.Values{formatField.ID: {name}}}).format().Room
}

// dryRun has the API server check all, as it is submitted.
func (f *form) dryRun(name string) error {
	if !f.create {
		return f.save(true)
	}
	object, secret := f.object(name, "")
	_, err := change.Create(f.Context(), f.cluster.client, object, secret, true)
	return err
}

// object is the Webhook that the form makes, and the Secret that comes before it, which has
// no data where nothing secret was typed. secret is the name of that for an edit; a new
// Webhook's is known.
func (f *form) object(name, secretName string) (*unstructured.Unstructured, *corev1.Secret) {
	secret := change.NewSecret(f.namespace, name, f.typed)
	if secretName != "" {
		secret.Name = secretName
	}
	spec := f.specWith(secret.Name)
	if f.create || f.live == nil {
		return change.NewWebhook(f.namespace, name, spec, nil, ""), secret
	}
	object := f.live.DeepCopy()
	object.Object["spec"] = spec
	return object, secret
}

// differing are the fields of spec that differ, but for the order of triggers.
func differing(was, is map[string]any) []string {
	keys := maps.Clone(was)
	maps.Copy(keys, is)
	var all []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if key == "triggers" && triggersField.same(was, is) || reflect.DeepEqual(was[key], is[key]) {
			continue
		}
		all = append(all, key)
	}
	return all
}
