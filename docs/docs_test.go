// Package docs holds the documentation to what it says.
package docs

import (
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	// A flag as the flag package prints it: its name and, for most, a type, and
	// a line of text that may end in the default.
	flagLine    = regexp.MustCompile(`^ {2}-([a-z-]+)( \w+)?$`)
	defaultText = regexp.MustCompile(`\(default "?([^"()]*)"?\)$`)
	// A row of the table of flags.
	flagRow = regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| `?([^`|]*?)`? \\|")

	link     = regexp.MustCompile(`\]\(([^()#:]+)?(#[^()]+)?\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// pages are the pages that are written by hand.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "decisions/*.md", "../*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return slices.DeleteFunc(all, func(page string) bool { return page == "api-reference.md" })
}

func TestFlagsAreDocumented(t *testing.T) {
	for command, page := range map[string]string{"webhook-operator": "operations.md", "horizon-bridge": "horizon.md"} {
		sources, err := filepath.Glob("../cmd/" + command + "/*.go")
		if err != nil || len(sources) == 0 {
			t.Fatalf("no sources of %s: %v", command, err)
		}
		for _, source := range sources {
			_ = read(t, source) // so that go test runs this again when it changes
		}
		cmd := exec.CommandContext(t.Context(), "go", "run", "../cmd/"+command, "--help")
		cmd.Env = append(os.Environ(), "POD_NAMESPACE=")
		help, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, help)
		}
		want := map[string]string{}
		name := ""
		for line := range strings.Lines(string(help)) {
			line = strings.TrimRight(line, "\n")
			if m := flagLine.FindStringSubmatch(line); m != nil {
				name = m[1]
				want[name] = "none"
				if m[2] == "" {
					want[name] = "false" // only a bool has no type
				}
			} else if m := defaultText.FindStringSubmatch(line); m != nil && name != "" {
				want[name] = m[1]
			}
		}
		got := map[string]string{}
		for _, m := range flagRow.FindAllStringSubmatch(read(t, page), -1) {
			got[m[1]] = m[2]
		}
		// An int that is 0 unless given has no default in the help.
		for flag, value := range got {
			if value == "0" && want[flag] == "none" {
				want[flag] = value
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("flags and defaults, --help of %s against %s (-want +got):\n%s", command, page, diff)
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	anchors := func(page string) map[string]bool {
		found := map[string]bool{}
		for _, m := range heading.FindAllStringSubmatch(read(t, page), -1) {
			plain := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
			found["#"+strings.ReplaceAll(plain, " ", "-")] = true
		}
		return found
	}
	linked := map[string]bool{}
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			to := page
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(page), m[1])
			}
			linked[to] = true
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if m[2] != "" && !anchors(to)[m[2]] {
				t.Errorf("%s: %s has no %s: %v", page, to, m[2], slices.Sorted(maps.Keys(anchors(to))))
			}
		}
	}
	for _, page := range pages(t) {
		if page != "README.md" && filepath.Dir(page) != ".." && !linked[page] {
			t.Errorf("nothing links to %s", page)
		}
	}
}

func TestNamedTestsExist(t *testing.T) {
	exist := map[string]bool{}
	for _, dir := range []string{"../api", "../cmd", "../controllers", "../internal", "../test", "."} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, "_test.go") {
				for _, m := range testFunc.FindAllStringSubmatch(read(t, path), -1) {
					exist[m[1]] = true
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range pages(t) {
		for _, m := range testName.FindAllStringSubmatch(read(t, page), -1) {
			if !exist[m[1]] {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
		}
	}
}
