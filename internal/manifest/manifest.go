// Package manifest reads manifests as people write them, with the line of each field, and
// holds those of Horizon's kinds against the schemas of the CRDs, as the API server does.
package manifest

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// Problem is something wrong with a manifest.
type Problem struct {
	// Line of the file, from 1 on.
	Line int
	// Field is its path, such as spec.triggers[0]; empty where it is about all.
	Field string
	// Message is in the API server's words.
	Message string
}

// Document is one object of a file.
type Document struct {
	// Object is what the API server gets. It is nil where it cannot be read.
	Object *unstructured.Unstructured

	node *yamlv3.Node
	// before is the number of lines of the file before node's text.
	before int
}

// Line returns the line of a field, or of the nearest one around it that is there.
func (d *Document) Line(field string) int {
	node := d.node
	line := d.before + 1
	if node == nil {
		return line
	}
	if node.Kind == yamlv3.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	line = d.before + max(node.Line, 1)
	for _, step := range steps(field) {
		key, value := child(node, step)
		if value == nil {
			return line
		}
		node, line = value, d.before+key.Line
	}
	return line
}

// LineWithin returns the line of the file that has a line of a field's text, both from 1 on.
// Only the lines of a literal block (|) are lines of the file, too: of any other text, it is
// the line where the text begins.
func (d *Document) LineWithin(field string, line int) int {
	if d.node == nil {
		return d.Line(field)
	}
	node := d.at(steps(field)...)
	for node != nil && node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	switch {
	case node == nil || node.Kind != yamlv3.ScalarNode:
		return d.Line(field)
	case node.Style&yamlv3.LiteralStyle != 0:
		return d.before + node.Line + line
	}
	return d.before + node.Line
}

// steps are the parts of a path: spec.labels[a.b] are spec, labels and a.b.
func steps(field string) []string {
	var all []string
	for field != "" {
		if rest, ok := strings.CutPrefix(field, "["); ok {
			step, after, _ := strings.Cut(rest, "]")
			all, field = append(all, strings.Trim(step, `"'`)), after
			continue
		}
		field = strings.TrimPrefix(field, ".")
		end := strings.IndexAny(field, ".[")
		if end < 0 {
			end = len(field)
		}
		if end == 0 { // nothing that the API server writes
			break
		}
		all, field = append(all, field[:end]), field[end:]
	}
	return all
}

// child returns the value of a key or an index, and what stands at its place.
func child(node *yamlv3.Node, step string) (key, value *yamlv3.Node) {
	for node.Kind == yamlv3.AliasNode && node.Alias != nil {
		node = node.Alias
	}
	switch node.Kind {
	case yamlv3.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i], node.Content[i+1]
			}
		}
	case yamlv3.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	default:
	}
	return nil, nil
}

// Parse reads the objects of a file, those of lists singly, and says what cannot be read
// or stands there twice.
func Parse(text []byte) ([]*Document, []Problem) {
	var documents []*Document
	var problems []Problem
	for _, part := range split(text) {
		found, wrong := parse(part)
		documents = append(documents, found...)
		problems = append(problems, wrong...)
	}
	return documents, problems
}

// part is the text of a document of YAML.
type part struct {
	text   []byte
	before int
}

// split splits a file where a line is ---, as kubectl does.
func split(text []byte) []part {
	var parts []part
	current := part{}
	line := 0
	for l := range bytes.Lines(text) {
		line++
		rest, isSeparator := bytes.CutPrefix(l, []byte("---"))
		rest = bytes.TrimSpace(rest)
		if isSeparator && (len(rest) == 0 || rest[0] == '#') {
			parts = append(parts, current)
			current = part{before: line}
			continue
		}
		current.text = append(current.text, l...)
	}
	return append(parts, current)
}

// parse reads one document of YAML.
func parse(p part) ([]*Document, []Problem) {
	data, err := yaml.YAMLToJSONStrict(p.text)
	var problems []Problem
	if err != nil {
		problems = linesOf(err, p.before)
		// What stands there twice can be read all the same.
		if data, err = yaml.YAMLToJSON(p.text); err != nil {
			return nil, linesOf(err, p.before)
		}
	}
	if bytes.Equal(data, []byte("null")) {
		return nil, problems
	}
	d := &Document{before: p.before}
	var node yamlv3.Node
	if yamlv3.Unmarshal(p.text, &node) == nil {
		d.node = &node
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		return nil, append(problems, Problem{Line: d.Line(""), Message: "this is no Kubernetes object: it has to have fields, such as kind"})
	}
	d.Object = &unstructured.Unstructured{Object: object}
	return d.expand(), problems
}

// expand returns the items of a list, or the document itself.
func (d *Document) expand() []*Document {
	items, ok := d.Object.Object["items"].([]any)
	if !ok || !strings.HasSuffix(d.Object.GetKind(), "List") {
		return []*Document{d}
	}
	var all []*Document
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			continue
		}
		one := &Document{Object: &unstructured.Unstructured{Object: object}, before: d.before}
		if d.node != nil {
			one.node = d.at("items", strconv.Itoa(i))
		}
		all = append(all, one.expand()...)
	}
	return all
}

// at returns the node at a path.
func (d *Document) at(path ...string) *yamlv3.Node {
	node := d.node
	if node.Kind == yamlv3.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	for _, step := range path {
		if _, node = child(node, step); node == nil {
			return nil
		}
	}
	return node
}

// yamlLine is how the YAML library tells a line.
var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:error converting YAML to JSON: )?(?:yaml: )?line ([0-9]+): (.*)$`)

// linesOf makes problems of what the YAML library says.
func linesOf(err error, before int) []Problem {
	var problems []Problem
	for line := range strings.SplitSeq(err.Error(), "\n") {
		line = strings.TrimSpace(line)
		found := yamlLine.FindStringSubmatch(line)
		switch {
		case found != nil:
			n, _ := strconv.Atoi(found[1])
			problems = append(problems, Problem{Line: before + max(n, 1), Message: found[2]})
		case strings.HasSuffix(line, "unmarshal errors:"):
		default:
			problems = append(problems, Problem{Line: before + 1, Message: fmt.Sprintf("this is no YAML: %s", line)})
		}
	}
	return problems
}
