package dashboard

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/characters"
)

// notShown are annotations that a manifest leaves out: what kubectl apply notes itself, and
// what asks the operator for something once.
var notShown = []string{"kubectl.kubernetes.io/last-applied-configuration", v1alpha1.AnnotationTest, v1alpha1.AnnotationReplaySince}

// manifestOf writes a Webhook as a manifest that, applied to what is there, comes to the same.
// was is its spec as it is there; what the form takes out is null, since an apply leaves alone
// what a manifest does not name.
func manifestOf(object *unstructured.Unstructured, was map[string]any) (string, error) {
	meta := map[string]any{"name": object.GetName(), "namespace": object.GetNamespace()}
	annotations := object.GetAnnotations()
	for _, key := range notShown {
		delete(annotations, key)
	}
	if len(annotations) > 0 {
		meta["annotations"] = annotations
	}
	if all := object.GetLabels(); len(all) > 0 {
		meta["labels"] = all
	}
	spec, _, err := unstructured.NestedMap(object.Object, "spec")
	if err != nil {
		return "", err
	}
	nulls(spec, was)
	all := map[string]any{"apiVersion": object.GetAPIVersion(), "kind": object.GetKind(), "metadata": meta}
	short := clone(spec)
	blocks := takeBlocks(short)
	all["spec"] = short
	written, writeErr := yaml.Marshal(all)
	text := putBlocks(string(written), blocks)
	all["spec"] = spec
	data, err := json.Marshal(all)
	if err != nil {
		return "", err
	}
	if writeErr == nil && characters.Printable(text) == text {
		if back, err := yaml.YAMLToJSON([]byte(text)); err == nil && bytes.Equal(back, data) {
			return text, nil
		}
	}
	// Characters that nobody would see, or that YAML does not take, stand in there as JSON
	// writes them, which is YAML, too.
	data, err = json.MarshalIndent(all, "", "  ")
	return inASCII(string(data)) + "\n", err
}

// inASCII writes the strings of JSON without characters beyond ASCII.
func inASCII(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < 0x7f {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// nulls adds null for each key that was there and is not any more.
func nulls(spec, was map[string]any) {
	for key, before := range was {
		now, ok := spec[key]
		inner, isMap := now.(map[string]any)
		around, wasMap := before.(map[string]any)
		switch {
		case !ok:
			spec[key] = nil
		case isMap && wasMap:
			nulls(inner, around)
		}
	}
}

// longLine is how many characters of an expression a line of a manifest holds.
const longLine = 80

// takeBlocks takes expressions of several lines, and long ones, out of a spec, which YAML
// would fold or quote. It returns them by what stands in their place.
func takeBlocks(spec map[string]any) map[string]string {
	blocks := map[string]string{}
	for _, f := range allFields() {
		text, _, _ := unstructured.NestedString(spec, f.path[1:]...)
		if f.Kind != kindCode || len(text) <= longLine && !strings.Contains(text, "\n") || !canBeBlock(text) {
			continue
		}
		id := rand.Text()
		blocks[id] = text
		_ = unstructured.SetNestedField(spec, id, f.path[1:]...) // it was there
	}
	return blocks
}

// canBeBlock tells whether a text stands in a block scalar as it is: the first line says how
// far it is indented, and only line feeds end lines.
func canBeBlock(text string) bool {
	return strings.IndexAny(text, " \t\n") != 0 && !strings.ContainsAny(text, "\r\u2028\u2029\u0085") && utf8.ValidString(text)
}

// putBlocks puts block scalars where takeBlocks has taken texts out.
func putBlocks(manifest string, blocks map[string]string) string {
	var b strings.Builder
	for line := range strings.Lines(manifest) {
		key, id, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		text, ok := blocks[id]
		if !ok {
			b.WriteString(line)
			continue
		}
		// How many line feeds are at the end: none, one, or as many as there are.
		content := strings.TrimRight(text, "\n")
		mark := map[int]string{0: "|-", 1: "|"}[len(text)-len(content)]
		b.WriteString(key + ": " + cmp.Or(mark, "|+") + "\n")
		indent := key[:len(key)-len(strings.TrimLeft(key, " "))] + "  "
		for line := range strings.Lines(content + "\n") {
			if line != "\n" {
				line = indent + line
			}
			b.WriteString(line)
		}
		b.WriteString(strings.Repeat("\n", max(0, len(text)-len(content)-1)))
	}
	return b.String()
}
