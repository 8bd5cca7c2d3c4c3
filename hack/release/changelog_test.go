package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// root is the repository, as seen from this package.
const root = "../.."

func TestChangelogOfThisRepository(t *testing.T) {
	r := &release{version: "v0.1.0", root: root}
	s, err := r.changes()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Delivery", "Records", "Security", "Plugin and pages", "Chat rooms and language", "Horizon", "Operation"} {
		if !strings.Contains(s.body, "### "+part+"\n") {
			t.Errorf("0.1.0 says nothing about %s", part)
		}
	}
	if strings.Contains(s.body, "\n## ") {
		t.Error("0.1.0 has the heading of another version")
	}
	r.version = "v0.0.9"
	if _, err := r.changes(); err == nil {
		t.Error("there is a version 0.0.9")
	}
}

func TestParseChangelog(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []section
		// fails is a part of the error.
		fails string
	}{
		"as it should be": {
			text: "# Changelog\n\n## [Unreleased]\n\n- c\n\n## [0.2.0] - 2026-12-02\n\n### Fixed\n\n- b\n\n## [0.1.0] - 2026-12-01\n\n- a\n",
			want: []section{{unreleased, "", "- c"}, {"0.2.0", "2026-12-02", "### Fixed\n\n- b"}, {"0.1.0", "2026-12-01", "- a"}},
		},
		"nothing new yet": {
			text: "## [Unreleased]\n\n## [0.1.0] - Unreleased\n\n- a\n",
			want: []section{{unreleased, "", ""}, {"0.1.0", unreleased, "- a"}},
		},
		"no version":              {text: "# Changelog\n", fails: "no version"},
		"another heading":         {text: "## 0.1.0\n\n- a\n", fails: "no heading such as"},
		"a v":                     {text: "## [v0.1.0] - 2026-12-01\n\n- a\n", fails: "no version such as"},
		"a pre-release":           {text: "## [0.1.0-rc.1] - 2026-12-01\n\n- a\n", fails: "pre-release"},
		"no date":                 {text: "## [0.1.0]\n\n- a\n", fails: "neither a date"},
		"a day that is none":      {text: "## [0.1.0] - 2026-02-30\n\n- a\n", fails: "neither a date"},
		"nothing said":            {text: "## [0.1.0] - 2026-12-01\n", fails: "says nothing"},
		"an older one above":      {text: "## [0.1.0] - 2026-12-01\n\n- a\n\n## [0.2.0] - 2026-12-02\n\n- b\n", fails: "not newer"},
		"one version twice":       {text: "## [0.1.0] - 2026-12-01\n\n- a\n\n## [0.1.0] - 2026-12-02\n\n- b\n", fails: "not newer"},
		"an old one without date": {text: "## [0.2.0] - 2026-12-02\n\n- b\n\n## [0.1.0] - Unreleased\n\n- a\n", fails: "neither a date"},
		"unreleased below":        {text: "## [0.1.0] - 2026-12-01\n\n- a\n\n## [Unreleased]\n\n- b\n", fails: "at the top"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseChangelog(test.text)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got the error %v, want one with %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(section{})); diff != "" {
				t.Errorf("sections (-want +got):\n%s", diff)
			}
		})
	}
}
