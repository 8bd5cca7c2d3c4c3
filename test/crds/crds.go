// Package crds makes the CRDs of an earlier or a later version of those in config/crd.
package crds

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// Schema is the schema of an object, of a CRD or within one.
type Schema map[string]any

// At returns the schema of a field below it, such as "spec", "payload". It panics where there
// is none.
func (s Schema) At(path ...string) Schema {
	for _, name := range path {
		s = s["properties"].(map[string]any)[name].(map[string]any)
	}
	return s
}

// Add adds an optional field of text to an object.
func (s Schema) Add(name string) {
	s["properties"].(map[string]any)[name] = map[string]any{
		"type": "string", "maxLength": 64, "description": name + " is a field of a later version.",
	}
}

// Remove removes an optional field of an object.
func (s Schema) Remove(name string) { delete(s["properties"].(map[string]any), name) }

// Allow allows one more value of a field that has an enum.
func (s Schema) Allow(value string) { s["enum"] = append(s["enum"].([]any), value) }

// Forbid takes a value from a field that has an enum.
func (s Schema) Forbid(value string) {
	var left []any
	for _, v := range s["enum"].([]any) {
		if v != value {
			left = append(left, v)
		}
	}
	s["enum"] = left
}

// Write writes the CRDs of the repository in root, changed, to a directory. change gets the
// schema of each kind.
func Write(root, dir string, change func(kind string, s Schema)) error {
	paths, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("there are no CRDs in %s", root)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var crd map[string]any
		if err := yaml.Unmarshal(data, &crd); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		spec := crd["spec"].(map[string]any)
		kind := spec["names"].(map[string]any)["kind"].(string)
		for _, version := range spec["versions"].([]any) {
			schema := version.(map[string]any)["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)
			change(kind, schema)
		}
		if data, err = yaml.Marshal(crd); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
