// Package crdskew finds out whether the CRDs of a cluster are older than this program. It is
// pure.
package crdskew

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/config/crd"
)

// schema is what decides whether the API server keeps a field and takes its value. CRDs and
// OpenAPI documents write it alike.
type schema struct {
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	Enum       []value            `json:"enum"`
}

// value is any value as JSON: a later version of a CRD may have other ones than text.
type value string

// UnmarshalJSON implements json.Unmarshaler.
func (v *value) UnmarshalJSON(data []byte) error {
	*v = value(data)
	return nil
}

// own are the schemas of the CRDs of this program, by kind.
var own = sync.OnceValues(func() (map[string]*schema, error) {
	files, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("looking for the CRDs: %w", err)
	}
	all := map[string]*schema{}
	for _, file := range files {
		data, err := crd.Bases.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the CRD %s: %w", file, err)
		}
		var d struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema *schema `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(data, &d); err != nil {
			return nil, fmt.Errorf("reading the CRD %s: %w", file, err)
		}
		for _, v := range d.Spec.Versions {
			if v.Name == v1alpha1.GroupVersion.Version {
				all[d.Spec.Names.Kind] = v.Schema.OpenAPIV3Schema
			}
		}
	}
	return all, nil
})

// Path is that of the document, on the API server, which Lacking reads. Whoever has logged in
// may read it, and so may the operator, which has no permission to read CRDs.
func Path() string { return "/openapi/v3/apis/" + v1alpha1.GroupVersion.String() }

// Lacking returns what the CRDs of this program have and those of a cluster have not, in the
// order of the alphabet: fields as `kubectl explain` names them, such as webhook.spec.filter,
// and values, such as webhook.spec.state=Paused. The API server drops the ones and refuses the
// others. What the cluster's have on top is no matter.
func Lacking(document []byte) ([]string, error) {
	wanted, err := own()
	if err != nil {
		return nil, err
	}
	var served struct {
		Components struct {
			Schemas map[string]struct {
				schema

				Kinds []metav1.GroupVersionKind `json:"x-kubernetes-group-version-kind"`
			}
		}
	}
	if err := json.Unmarshal(document, &served); err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	found := map[string]*schema{}
	for _, s := range served.Components.Schemas {
		for _, kind := range s.Kinds {
			if kind.Group == v1alpha1.GroupVersion.Group && kind.Version == v1alpha1.GroupVersion.Version {
				found[kind.Kind] = &s.schema
			}
		}
	}
	var lacking []string
	for _, kind := range slices.Sorted(maps.Keys(wanted)) {
		lacking = compare(lacking, strings.ToLower(kind), wanted[kind], found[kind])
	}
	return lacking, nil
}

// compare adds what a schema has and another has not to what was found before.
func compare(lacking []string, path string, wanted, found *schema) []string {
	if found == nil {
		return append(lacking, path)
	}
	for _, value := range wanted.Enum {
		if len(found.Enum) > 0 && !slices.Contains(found.Enum, value) {
			lacking = append(lacking, path+"="+strings.Trim(string(value), `"`))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted.Properties)) {
		lacking = compare(lacking, path+"."+name, wanted.Properties[name], found.Properties[name])
	}
	if wanted.Items != nil {
		lacking = compare(lacking, path, wanted.Items, found.Items)
	}
	return lacking
}
