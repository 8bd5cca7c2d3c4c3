package expression

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// testdata/mistakes.txt has expressions with what is told about them: what kind of expression
// it is, its text, an empty line, and the message.
func TestMistakes(t *testing.T) {
	content, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(content), "\n"), "\n---\n") {
		name, rest, _ := strings.Cut(entry, "\n")
		i := strings.LastIndex(rest, "\n\n")
		text, want := rest[:i], rest[i+2:]
		t.Run(truncate(printable(name+" "+text), 60), func(t *testing.T) {
			k := map[string]kind{"filter": filters, "template": templates, "rule": rules}[name]
			got := "compiles"
			if _, err := compile(k, text); err != nil {
				got = err.Error()
				checkMistake(t, text, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// checkMistake checks that a mistake has a place within the text.
func checkMistake(t *testing.T, text string, err error) {
	t.Helper()
	var mistake *Mistake
	if !errors.As(err, &mistake) {
		t.Fatalf("%T is no Mistake", err)
	}
	lines := strings.Split(text, "\n")
	if mistake.Line < 1 || mistake.Line > len(lines) {
		t.Fatalf("line %d of %d", mistake.Line, len(lines))
	}
	if n := utf8.RuneCountInString(lines[mistake.Line-1]); mistake.Column < 1 || mistake.Column > n+1 {
		t.Fatalf("column %d of %d", mistake.Column, n)
	}
	if mistake.Summary == "" || strings.Contains(mistake.Summary, "\n") || !utf8.ValidString(err.Error()) {
		t.Errorf("summary %q", mistake.Summary)
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line != printable(line) {
			t.Errorf("%q would disturb a terminal", line)
		}
	}
	if len(err.Error()) > 16<<10 {
		t.Errorf("the message has %d bytes", len(err.Error()))
	}
}

// What is too long or too large is told without compiling it.
func TestTooLarge(t *testing.T) {
	r := strings.Repeat
	for name, test := range map[string]struct{ text, want string }{
		"characters":             {`"` + r("ü", 16<<10) + `"`, "a template may have 16384 characters, and this one has 16386"},
		"brackets":               {r("(", 1000) + "1" + r(")", 1000), "operations and brackets are nested too deep"},
		"sums":                   {"1" + r("+1", 1000), "operations and brackets are nested too deep"},
		"names":                  {`{"a": [` + r("1,", 6000) + `]}`, "it has 6003 names, literals and operations, and 5000 are allowed"},
		"operations":             {`{"a": [` + r("1==1,", 1000) + `]}`, "it has 1002 operations, lists and maps, and 500 are allowed"},
		"lists":                  {`{"a": ` + r("[", 40) + r("]", 40) + `}`, "lists, maps and optional values are nested more than 32 deep"},
		"optional values within": {`{"a": ` + r("optional.of(", 40) + "1" + r(")", 40) + `}`, "lists, maps and optional values are nested more than 32 deep"},
		"types of types":         {`{"a": string(` + r("type(", 40) + "1" + r(")", 40) + `)}`, "lists, maps and optional values are nested more than 32 deep"},
		"lists in macros":        {`{"a": [1]` + r(".map(a, [[[[a]]]])", 9) + `}`, "lists, maps and optional values are nested more than 32 deep"},
		"macros in a row":        {`{"a": [1]` + r(".map(a, [a])", 20) + `}`, "more than 10 macros such as map() are within or after each other"},
		"macros within":          {`{"a": ` + r("[1].map(a, ", 20) + "1" + r(")", 20) + `}`, "more than 10 macros such as map() are within or after each other"},
		// Each of these doubles the type of the value, which the type checker of cel-go walks
		// through: eighteen take two minutes.
		"types that double": {`{"a": [1]` + r(".map(a, {a: a})", 9) + `}`, "a key of a map is a text, a whole number or a bool, not map(int, int)"},
		// cel-go's own macro doubles the expression.
		"optional values": {`{"a": optional.of(1)` + r(".optMap(a, a)", 60) + `}`, "it has 542 operations, lists and maps, and 500 are allowed"},
		"not UTF-8":       {"{\"a\": \"\xff\"}", "it is not valid UTF-8"},
		"a pattern":       {`{"a": "a".matches("` + r("a", 600) + `")}`, "a pattern may have 512 bytes, not 600"},
		"states":          {`{"a": "a".matches("` + r("a{1,900}", 3) + `")}`, "a pattern may have 1000 states, and this one has more: mind repetitions such as {1,100}"},
	} {
		t.Run(name, func(t *testing.T) {
			_, mistake := newProgram(templates, test.text)
			if mistake == nil {
				t.Fatal("compiles")
			}
			checkMistake(t, test.text, mistake)
			if diff := cmp.Diff(test.want, mistake.Summary); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
		})
	}
}
