package routes

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const file = `
default: horizon-webhooks
routes:
  /music: team-music
  /video/player: team-player
  /video/recorder: team-recorder
  /video/studio: team-player
`

func TestNamespaces(t *testing.T) {
	r, err := Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                         "horizon-webhooks",
		"/":                        "horizon-webhooks",
		"/music":                   "team-music",
		"/music/":                  "team-music",
		"/music/player/web":        "team-music",
		"/musical":                 "horizon-webhooks",
		"/Music":                   "horizon-webhooks",
		"music":                    "horizon-webhooks",
		"/other/music":             "horizon-webhooks",
		"/video":                   "horizon-webhooks",
		"/video/player/web/web-p":  "team-player",
		"/video/players":           "horizon-webhooks",
		"/video/recorder/recorder": "team-recorder",
	} {
		if got := r.NamespaceOf(path); got != want {
			t.Errorf("%q goes to %s, want %s", path, got, want)
		}
	}
	for scope, want := range map[string][]string{
		"":                  {"horizon-webhooks", "team-music", "team-player", "team-recorder"},
		"/":                 {"horizon-webhooks", "team-music", "team-player", "team-recorder"},
		"/music":            {"team-music"},
		"/music/player":     {"team-music"},
		"/video":            {"horizon-webhooks", "team-player", "team-recorder"},
		"/vid":              {"horizon-webhooks"},
		"/video/player/web": {"team-player"},
		"/other":            {"horizon-webhooks"},
	} {
		if diff := cmp.Diff(want, r.NamespacesOf(scope)); diff != "" {
			t.Errorf("scope %q (-want +got):\n%s", scope, diff)
		}
	}
	if diff := cmp.Diff(r.NamespacesOf(""), r.Namespaces()); diff != "" {
		t.Errorf("all namespaces: %s", diff)
	}
	if diff := cmp.Diff([]string{"one"}, New("one").Namespaces()); diff != "" {
		t.Errorf("without routes: %s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	many := "default: a\nroutes:\n"
	for i := range MaxRoutes + 1 {
		many += fmt.Sprintf("  /p%d: a\n", i)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":            {"", "default is missing"},
		"no default":         {"routes: {/a: a}", "default is missing"},
		"a bad default":      {"default: Horizon", `"Horizon" is not the name of a namespace`},
		"a bad namespace":    {"default: a\nroutes: {/a: a.b}", `/a: "a.b" is not the name of a namespace`},
		"no namespace":       {"default: a\nroutes: {/a: }", `/a: "" is not the name of a namespace`},
		"a list":             {"default: a\nroutes: [/a]", "cannot unmarshal"},
		"an unknown key":     {"default: a\nroute: {/a: a}", "field route not found"},
		"a path twice":       {"default: a\nroutes:\n  /a: a\n  /a: b\n", "already defined"},
		"default twice":      {"default: a\ndefault: b\n", "already defined"},
		"two documents":      {"default: a\n---\ndefault: b\n", "another follows"},
		"no YAML":            {"default: [", "did not find"},
		"everything":         {"default: a\nroutes: {/: b}", "default says where that goes"},
		"a slash at the end": {"default: a\nroutes: {/a/: b}", `write "/a"`},
		"no slash":           {"default: a\nroutes: {a: b}", "is not a full path"},
		"an empty part":      {"default: a\nroutes: {/a//b: b}", "is not a full path"},
		"dots":               {"default: a\nroutes: {/a/../b: b}", "is not a full path"},
		"a pattern":          {"default: a\nroutes: {/a*: b}", "is not a full path"},
		"a space":            {"default: a\nroutes: {'/a b': b}", "is not a full path"},
		"a long path":        {"default: a\nroutes:\n  ? /" + strings.Repeat("a", maxPath) + "\n  : b", "more than the 1024"},
		"nested":             {"default: a\nroutes: {/a/b/c: inner, /a: outer, /ab: b}", "/a/b/c (to inner) lies within /a (to outer)"},
		"nested, same":       {"default: a\nroutes: {/a/b: b, /a: b}", "/a/b (to b) lies within /a (to b)"},
		"a large file":       {"default: a\n#" + strings.Repeat("a", MaxSize), "more than the 1048576"},
		"many routes":        {many, "more than the 10000"},
	} {
		r, err := Parse([]byte(tc.text))
		if err == nil {
			t.Errorf("%s: read as %+v", name, r)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	if _, err := Parse([]byte("default: a\nroutes: {/a-b: b, /a: a, /a.b/c: c}")); err != nil {
		t.Errorf("neighbours: %v", err)
	}
}

// Whatever is read, a path has one namespace, and it is among those of each scope around it.
func FuzzParse(f *testing.F) {
	f.Add(file, "/video/player/web", "/video")
	f.Add("default: a\nroutes: {/a: &x b, /b: *x}", "/b/", "")
	f.Fuzz(func(t *testing.T, text, path, scope string) {
		r, err := Parse([]byte(text))
		if err != nil {
			return
		}
		namespace := r.NamespaceOf(path)
		if namespace == "" {
			t.Fatalf("%q has no namespace", path)
		}
		if all := r.Namespaces(); !slices.Contains(all, namespace) {
			t.Errorf("%q goes to %s, which is not among %v", path, namespace, all)
		}
		scope = strings.TrimRight(scope, "/")
		rest, below := strings.CutPrefix(path, scope)
		if below = below && (rest == "" || rest[0] == '/'); !below {
			return
		}
		if all := r.NamespacesOf(scope); !slices.Contains(all, namespace) {
			t.Errorf("%q goes to %s, which is not among %v of %q", path, namespace, all, scope)
		}
	})
}
