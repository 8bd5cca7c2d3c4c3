// Chart writes what the schema of the chart's values says once more for people: values.yaml,
// with the descriptions as comments, and the table in the chart's README. make generate calls
// it.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	dir = "charts/webhook-operator"
	// columns is where comments of values.yaml are wrapped.
	columns = 118

	tableBegin = "<!-- values: written by make generate -->\n"
	tableEnd   = "<!-- end of values -->"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run() error {
	data, err := os.ReadFile(filepath.Join(dir, "values.schema.json"))
	if err != nil {
		return err
	}
	// JSON is YAML, and a node keeps the order of keys.
	var schema yaml.Node
	if err := yaml.Unmarshal(data, &schema); err != nil {
		return err
	}
	var values, table strings.Builder
	if err := describe(schema.Content[0], "", &values, &table); err != nil {
		return err
	}
	text := "# What is set unless you say otherwise. Written by make generate, from values.schema.json.\n" + values.String()
	if err := write("values.yaml", text); err != nil {
		return err
	}
	return writeTable(table.String())
}

// describe writes the properties of a schema, each with its description and its default:
// those below path, which is empty or ends with a dot.
func describe(schema *yaml.Node, path string, values, table *strings.Builder) error {
	properties := member(schema, "properties")
	indent := strings.Repeat("  ", strings.Count(path, "."))
	for i := 0; i < len(properties.Content); i += 2 {
		name, property := properties.Content[i].Value, properties.Content[i+1]
		description := member(property, "description")
		if description == nil {
			return fmt.Errorf("%s%s has no description", path, name)
		}
		if path == "" || i > 0 {
			values.WriteString("\n")
		}
		writeComment(values, indent, description.Value)
		standard := member(property, "default")
		if standard == nil {
			fmt.Fprintf(values, "%s%s:\n", indent, name)
			if err := describe(property, path+name+".", values, table); err != nil {
				return err
			}
			continue
		}
		if err := writeValue(values, indent, name, standard); err != nil {
			return fmt.Errorf("%s%s: %w", path, name, err)
		}
		if err := writeRow(table, path+name, standard, description.Value); err != nil {
			return fmt.Errorf("%s%s: %w", path, name, err)
		}
	}
	return nil
}

// member returns the value of a key, or nil.
func member(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func writeComment(to *strings.Builder, indent, text string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > columns {
			fmt.Fprintln(to, line)
			line = indent + "#"
		}
		line += " " + word
	}
	fmt.Fprintln(to, line)
}

// writeValue writes a key and its value as people write YAML.
func writeValue(to *strings.Builder, indent, name string, value *yaml.Node) error {
	var decoded any
	if err := value.Decode(&decoded); err != nil {
		return err
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(map[string]any{name: decoded}); err != nil {
		return err
	}
	for line := range strings.Lines(out.String()) {
		to.WriteString(indent + line)
	}
	return nil
}

func writeRow(to *strings.Builder, path string, value *yaml.Node, description string) error {
	var decoded any
	if err := value.Decode(&decoded); err != nil {
		return err
	}
	shown, err := json.Marshal(decoded)
	if err != nil {
		return err
	}
	fmt.Fprintf(to, "| `%s` | `%s` | %s |\n", path, shown, description)
	return nil
}

func writeTable(rows string) error {
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(readme), tableBegin)
	_, after, closed := strings.Cut(rest, tableEnd)
	if !found || !closed {
		return errors.New("README.md has no place for the table of values")
	}
	return write("README.md", before+tableBegin+"| value | default | what it is for |\n|---|---|---|\n"+rows+tableEnd+after)
}

func write(name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644) //nolint:gosec // a file of the repository
}
