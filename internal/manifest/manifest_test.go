package manifest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		text     string
		names    []string
		problems []Problem
	}{
		"nothing":       {},
		"comments":      {text: "# a\n---\n# b\n"},
		"one":           {text: "metadata: {name: a}\n", names: []string{"a"}},
		"several":       {text: "---\nmetadata: {name: a}\n--- # b\nmetadata: {name: b}\n---\n", names: []string{"a", "b"}},
		"Windows":       {text: "metadata:\r\n  name: a\r\n---\r\nmetadata:\r\n  name: b\r\n", names: []string{"a", "b"}},
		"a list":        {text: "kind: List\nitems:\n- metadata: {name: a}\n- metadata: {name: b}\n- 7\n", names: []string{"a", "b"}},
		"lists in one":  {text: "kind: List\nitems:\n- kind: WebhookList\n  items: [{metadata: {name: a}}]\n", names: []string{"a"}},
		"not a list":    {text: "kind: Other\nmetadata: {name: a}\nitems: [{metadata: {name: b}}]\n", names: []string{"a"}},
		"a text":        {text: "a text\n", problems: []Problem{{Line: 1, Message: "this is no Kubernetes object: it has to have fields, such as kind"}}},
		"no YAML":       {text: "a: 1\n---\nb: [\n", names: []string{""}, problems: []Problem{{Line: 3, Message: "did not find expected node content"}}},
		"a tab":         {text: "a:\n\tb: 1\n", problems: []Problem{{Line: 2, Message: "found character that cannot start any token"}}},
		"twice":         {text: "---\nmetadata: {name: a}\nb: 1\nb: 2\n", names: []string{"a"}, problems: []Problem{{Line: 4, Message: `key "b" already set in map`}}},
		"twice, inside": {text: "metadata:\n  name: a\n  name: b\n", names: []string{"b"}, problems: []Problem{{Line: 3, Message: `key "name" already set in map`}}},
	} {
		t.Run(name, func(t *testing.T) {
			documents, problems := Parse([]byte(tc.text))
			var names []string
			for _, d := range documents {
				names = append(names, d.Object.GetName())
			}
			if diff := cmp.Diff(tc.names, names); diff != "" {
				t.Errorf("names: %s", diff)
			}
			if diff := cmp.Diff(tc.problems, problems); diff != "" {
				t.Errorf("problems: %s", diff)
			}
		})
	}
}

func TestLine(t *testing.T) {
	documents, _ := Parse([]byte(`# 1
---
kind: Webhook
metadata:
  annotations:
    a.b/c: d
spec:
  triggers:
  - a
  - *x
  retry: &x
    limit: 1
  again: *x
---
kind: List
items:
- spec: {}
- spec:
    url: a
`))
	if len(documents) != 2 { // the alias before its anchor is no YAML
		t.Fatalf("%d documents, want those of the list", len(documents))
	}
	text := `kind: Webhook
metadata:
  annotations:
    a.b/c: d
spec:
  triggers:
  - a
  - b
  retry: &x
    limit: 1
  again: *x
`
	one, _ := Parse([]byte("# 1\n---\n" + text))
	for field, want := range map[string]int{
		"": 3, "kind": 3, "metadata.annotations[a.b/c]": 6, "metadata.labels": 4, "metadata.annotations[x]": 5, "spec.triggers[1]": 10,
		"spec.triggers[7]": 8, "spec.triggers[1].a": 10, "spec.retry.limit": 12, "spec.again.limit": 12, "spec.url": 7, "other": 3,
		"..": 3, "[": 3, "spec..url": 7, "<nil>": 3,
	} {
		if got := one[0].Line(field); got != want {
			t.Errorf("%s is at line %d, want %d", field, got, want)
		}
	}
	for i, want := range []int{17, 19} {
		if got := documents[i].Line("spec.url"); got != want {
			t.Errorf("item %d: line %d, want %d", i, got, want)
		}
	}
}

func TestValidate(t *testing.T) {
	documents, problems := Parse([]byte(`apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata: {name: a}
spec:
  url: a
  triggers: ["*", deployed]
  secrets: b
`))
	if len(documents) != 1 || problems != nil || !Known(documents[0].Object) {
		t.Fatalf("%d documents, %v", len(documents), problems)
	}
	before := documents[0].Object.DeepCopy()
	got, err := documents[0].Validate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Problem{
		{5, "spec.url", `Invalid value: "a": url must be absolute: it starts with http:// or https:// and a host, such as https://ci.example.com/hooks/horizon`},
		{6, "spec.triggers[1]", `Invalid value: "deployed": not an event type: did you mean clusters_deployed? kubectl explain webhook.spec.triggers lists all`},
		{7, "spec.secrets", "unknown field"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before.Object, documents[0].Object.Object); diff != "" {
		t.Errorf("it was changed: %s", diff)
	}
	malformed, _ := Parse([]byte("apiVersion: horizoncd.io/v1alpha1\nkind: Webhook\nmetadata:\n  name: a\n  labels: {a: 1}\n"))
	got, err = malformed[0].Validate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Problem{{5, "metadata.labels", "cannot unmarshal number into labels of type string"}}, got); diff != "" {
		t.Error(diff)
	}
	other, _ := Parse([]byte("apiVersion: v1\nkind: Secret\n"))
	if Known(other[0].Object) {
		t.Error("a Secret is known")
	}
	if _, err := other[0].Validate(t.Context()); err == nil {
		t.Error("a Secret is valid")
	}
}

// A line of an expression is found in the file where it is written as a block.
func TestLineWithin(t *testing.T) {
	const file = `# a comment
---
kind: List
items:
- spec:
    filter: | # of one line
      one
    plain: one
      two
    folded: >
      one
      two
    same: &block |-

      two
    alias: *block
    below:
      "one\ntwo"
`
	documents, _ := Parse([]byte(file))
	for name, tc := range map[string]struct {
		field string
		line  int
		want  int
	}{
		"block":                  {"spec.filter", 1, 7},
		"plain text":             {"spec.plain", 1, 8},
		"folded block":           {"spec.folded", 2, 10},
		"block, its second line": {"spec.same", 2, 15},
		"alias of a block":       {"spec.alias", 2, 15},
		"below its key":          {"spec.below", 2, 18},
		"nothing":                {"spec.template", 3, 5},
		"no text":                {"spec", 3, 5},
	} {
		if got := documents[0].LineWithin(tc.field, tc.line); got != tc.want {
			t.Errorf("%s: line %d, want %d", name, got, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("---\nmetadata: {name: a}\n--- #\nkind: List\nitems: [{}]\n", "metadata.name")
	f.Add("a: &x [1, *x]\nb: {c: *x}", "a[1][1].b")
	f.Add("\t---\n- a: b\n  a: c", "a")
	f.Fuzz(func(t *testing.T, text, field string) {
		documents, problems := Parse([]byte(text))
		lines := 1 // YAML breaks them at more characters than others do
		for _, r := range text {
			if strings.ContainsRune("\r\n\u0085\u2028\u2029", r) {
				lines++
			}
		}
		for _, d := range documents {
			if line := d.Line(field); line < 1 || line > lines {
				t.Errorf("line %d of %d", line, lines)
			}
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines+1 {
				t.Errorf("line %d of %d: %s", p.Line, lines, p.Message)
			}
		}
	})
}
