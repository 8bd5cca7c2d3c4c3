// Package fields has values that people put into the fields of a Webhook without
// thinking.
package fields

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// OfWebhook returns the fields below the spec of a Webhook, as the CRD of the
// repository in root has them.
func OfWebhook(root string) (map[string]apiextensionsv1.JSONSchemaProps, error) {
	data, err := os.ReadFile(filepath.Join(root, "config/crd/bases/horizoncd.io_webhooks.yaml"))
	if err != nil {
		return nil, err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return nil, err
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties, nil
}

// Value is something for a field.
type Value struct {
	Is any
	// Beyond: it is outside the bounds of the field, so the API server refuses it.
	Beyond bool
}

// Odd returns nothing, too little, too much, what is of another type, the bounds of a
// field and what is just beyond them, and the double of its value; for an object, the
// same for each of its fields.
func Odd(field apiextensionsv1.JSONSchemaProps, value any) []Value {
	odd := bounds(field)
	add := func(values ...any) {
		for _, v := range values {
			odd = append(odd, Value{Is: v})
		}
	}
	add(nil, "", "x", " ", "\x00", strings.Repeat("x", 1<<20), int64(0), int64(-1), int64(1)<<53, 1.5, true, false,
		[]any{}, []any{nil}, []any{"*", "*"}, map[string]any{}, map[string]any{"": ""})
	switch value := value.(type) {
	case string:
		add(value + value)
	case int64:
		add(2 * value)
	case []any:
		add(slices.Concat(value, value))
	case map[string]any:
		for key := range value {
			add(map[string]any{key: nil})
			for _, inner := range Odd(field.Properties[key], value[key]) {
				odd = append(odd, Value{map[string]any{key: inner.Is}, inner.Beyond})
			}
		}
	}
	return odd
}

func bounds(field apiextensionsv1.JSONSchemaProps) []Value {
	var all []Value
	if field.Minimum != nil {
		least := int64(*field.Minimum)
		all = append(all, Value{Is: least}, Value{least - 1, true})
	}
	if field.Maximum != nil {
		most := int64(*field.Maximum)
		all = append(all, Value{Is: most}, Value{most + 1, true})
	}
	if field.MaxLength != nil {
		all = append(all, Value{Is: long(*field.MaxLength)}, Value{long(*field.MaxLength + 1), true})
	}
	return all
}

func long(n int64) string { return strings.Repeat("x", int(n)) }
