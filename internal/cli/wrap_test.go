package cli

import (
	"slices"
	"testing"
)

func TestWrap(t *testing.T) {
	for name, tc := range map[string]struct {
		text    string
		columns int
		want    []string
	}{
		"nothing":      {columns: 20, want: []string{""}},
		"short":        {text: "answered 500", columns: 20, want: []string{"answered 500"}},
		"words":        {text: "answered 500 Internal Server Error", columns: 14, want: []string{"answered 500", "Internal", "Server Error"}},
		"no spaces":    {text: "abcdefghij", columns: 4, want: []string{"abcd", "efgh", "ij"}},
		"a long word":  {text: "as abcdefghij is", columns: 6, want: []string{"as", "abcdef", "ghij", "is"}},
		"wide":         {text: "名前名前名前", columns: 5, want: []string{"名前", "名前", "名前"}},
		"ends there":   {text: "abcd", columns: 4, want: []string{"abcd"}},
		"no terminal":  {text: "a text that is long", columns: 0, want: []string{"a text that is long"}},
		"no command":   {text: "it's a ` that nothing ends", columns: 12, want: []string{"it's a `", "that nothing", "ends"}},
		"commands":     {text: "do: `kubectl horizon logs a -n b` now", columns: 8, want: []string{"do:", "`kubectl horizon logs a -n b`", "now"}},
		"two commands": {text: "`kubectl a b` or `kubectl c d`", columns: 20, want: []string{"`kubectl a b` or", "`kubectl c d`"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := wrap(tc.text, tc.columns); !slices.Equal(got, tc.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}
