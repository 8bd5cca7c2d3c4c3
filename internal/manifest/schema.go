package manifest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	schemavalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/config/crd"
)

const (
	// maxGenerated is how much of metadata.generateName the API server keeps, which puts
	// as many characters after it as generated has.
	maxGenerated = 63 - len(generated)
	generated    = "xxxxx"
)

// schema is that of one version of a kind, ready to be asked.
type schema struct {
	structural *structuralschema.Structural
	validator  schemavalidation.SchemaValidator
	rules      *cel.Validator
}

// schemas are those of the CRDs, by apiVersion and kind. Rules are compiled when they are
// first asked for, which takes longer than most commands do.
var schemas = sync.OnceValues(func() (map[string]func() (*schema, error), error) {
	files, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("looking for the CRDs: %w", err)
	}
	all := map[string]func() (*schema, error){}
	for _, file := range files {
		data, err := crd.Bases.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the CRD %s: %w", file, err)
		}
		var d apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(data, &d); err != nil {
			return nil, fmt.Errorf("reading the CRD %s: %w", file, err)
		}
		for _, v := range d.Spec.Versions {
			all[d.Spec.Group+"/"+v.Name+" "+d.Spec.Names.Kind] = sync.OnceValues(func() (*schema, error) { return newSchema(v.Schema) })
		}
	}
	return all, nil
})

// newSchema makes of a CRD's schema what the API server makes of it.
func newSchema(v *apiextensionsv1.CustomResourceValidation) (*schema, error) {
	var internal apiextensions.CustomResourceValidation
	err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v, &internal, nil)
	if err != nil {
		return nil, fmt.Errorf("reading a schema: %w", err)
	}
	structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, fmt.Errorf("reading a schema: %w", err)
	}
	validator, _, err := schemavalidation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		return nil, fmt.Errorf("reading a schema: %w", err)
	}
	return &schema{structural, validator, cel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
}

// Known tells whether an object is of one of Horizon's kinds.
func Known(object *unstructured.Unstructured) bool {
	all, err := schemas()
	return err == nil && all[object.GetAPIVersion()+" "+object.GetKind()] != nil
}

// Field returns the path that the API server names, without its word for the object itself.
func Field(path string) string {
	if path == "<nil>" {
		return ""
	}
	return path
}

// Validate says what the API server has against creating an object of one of Horizon's
// kinds, by the API server's own code and the schema of the CRD: fields that it does not
// know, values of another type or out of bounds, and rules that do not hold. Nobody is
// asked, so what admission, quotas and roles say is not among it.
func (d *Document) Validate(ctx context.Context) ([]Problem, error) {
	all, err := schemas()
	if err != nil {
		return nil, err
	}
	open := all[d.Object.GetAPIVersion()+" "+d.Object.GetKind()]
	if open == nil {
		return nil, fmt.Errorf("no schema of %s %s is known", d.Object.GetAPIVersion(), d.Object.GetKind())
	}
	s, err := open()
	if err != nil {
		return nil, err
	}
	object := d.Object.DeepCopy().Object
	meta, unknown, malformed := s.decode(object)
	if malformed != nil {
		path := "metadata"
		if found := malformedField.FindStringSubmatch(malformed.Error()); found != nil {
			path += "." + found[1]
		}
		return []Problem{{Line: d.Line(path), Field: path, Message: malformed.Error()}}, nil
	}
	var problems []Problem
	for _, path := range unknown {
		problems = append(problems, Problem{Line: d.Line(path), Field: path, Message: "unknown field"})
	}
	for _, wrong := range s.validate(ctx, object, meta) {
		path := Field(wrong.Field)
		problems = append(problems, Problem{Line: d.Line(path), Field: path, Message: wrong.ErrorBody()})
	}
	// Rules are asked in the order of a map.
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(a.Line-b.Line, strings.Compare(a.Field, b.Field), strings.Compare(a.Message, b.Message))
	})
	return problems, nil
}

// decode does what the API server does when it reads an object: it looks for fields that
// nobody knows, drops nulls, and fills in defaults.
func (s *schema) decode(object map[string]any) (*metav1.ObjectMeta, []string, error) {
	meta, found, unknown, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return nil, nil, metaError(err)
	}
	if !found {
		meta = &metav1.ObjectMeta{}
	}
	unknown = append(unknown, pruning.PruneWithOptions(object, s.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	defaulting.PruneNonNullableNullsWithoutDefaults(object, s.structural)
	wrong, paths := objectmeta.CoerceWithOptions(nil, object, s.structural, false, objectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
	if wrong != nil {
		return nil, nil, wrong
	}
	unknown = append(unknown, paths...)
	defaulting.Default(object, s.structural)
	// Status is the operator's, and left aside when an object is created.
	delete(object, "status")
	if meta.Name == "" && meta.GenerateName != "" {
		meta.Name = meta.GenerateName[:min(len(meta.GenerateName), maxGenerated)] + generated
	}
	if meta.Namespace == "" {
		meta.Namespace = metav1.NamespaceDefault // that of kubectl is not known here
	}
	if err := objectmeta.SetObjectMeta(object, meta); err != nil {
		return nil, nil, fmt.Errorf("reading metadata: %w", err)
	}
	return meta, unknown, nil
}

// malformedField is how the decoder names the field of metadata that is of another type.
var malformedField = regexp.MustCompile(` into ([a-zA-Z.]+) of type `)

// metaError leaves Go's names out of what the decoder says.
func metaError(err error) error {
	text := err.Error()
	text = strings.ReplaceAll(text, "Go struct field ObjectMeta.", "")
	return errors.New(strings.TrimPrefix(text, "json: "))
}

// validate does what the API server does before it stores an object.
func (s *schema) validate(ctx context.Context, object map[string]any, meta *metav1.ObjectMeta) field.ErrorList {
	all := metavalidation.ValidateObjectMeta(meta, true, metavalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	all = append(all, schemavalidation.ValidateCustomResource(nil, object, s.validator)...)
	all = append(all, objectmeta.Validate(ctx, nil, object, s.structural, false)...)
	all = append(all, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	for _, wrong := range all {
		switch wrong.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			// Rules are not asked about what they cannot be asked about.
			return all
		default:
		}
	}
	broken, _ := s.rules.Validate(ctx, nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return append(all, broken...)
}
