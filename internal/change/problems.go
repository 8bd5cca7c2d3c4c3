package change

import (
	"errors"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/manifest"
)

// Problem is something that the API server has against a Webhook.
type Problem struct {
	// Field is the path of what has to change, such as spec.triggers[0]; empty where that is
	// no single field.
	Field string
	// Message says what is wrong.
	Message string
}

// Problems are what the API server has against a Webhook, in plain words. ok is false for an
// error that says something else.
func Problems(err error) (problems []Problem, ok bool) {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(status) || status.Status().Details == nil {
		return nil, false
	}
	for _, cause := range status.Status().Details.Causes {
		message := plainCause(cause)
		if strings.Contains(message, "some validation rules were not checked") {
			problems = append(problems, Problem{Message: "Mend these first: other rules were not asked yet."})
			continue
		}
		problems = append(problems, Problem{fieldOf(manifest.Field(cause.Field), message), message})
	}
	return problems, true
}

// fieldOf returns the field that a message is about. A rule about all of an object begins with
// the name of the one that has to change; of those of spec it is the first that is named.
func fieldOf(field, message string) string {
	word, _, _ := strings.Cut(message, " ")
	switch {
	case field == "" && (word == "metadata.name" || strings.HasPrefix(word, "spec.")):
		return word
	case field == "spec":
		for word := range strings.FieldsSeq(message) {
			if word = strings.Trim(word, ",.:;"); ofSpec(word) {
				return "spec." + word
			}
		}
	}
	return field
}

// ofSpec tells whether spec has a field.
func ofSpec(name string) bool {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[v1alpha1.WebhookSpec]()) {
		if json, _, _ := strings.Cut(field.Tag.Get("json"), ","); json == name {
			return true
		}
	}
	return false
}

// plainCause is the message without what the API server puts before that of a rule: that
// the value is invalid, and the type of what it is about.
func plainCause(cause metav1.StatusCause) string {
	message := strings.TrimPrefix(cause.Message, "Invalid value: ")
	for _, kind := range []string{"object", "string", "array", "integer", "boolean"} {
		message = strings.TrimPrefix(message, `"`+kind+`": `)
	}
	return strings.Replace(message, strings.TrimPrefix(cause.Field, ".")+" in body should ", "it should ", 1)
}
