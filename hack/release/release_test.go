package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// fakeRelease is one of made-up binaries.
func fakeRelease(t *testing.T) *release {
	t.Helper()
	root := t.TempDir()
	r := &release{
		version: "v0.1.0", root: root, dist: filepath.Join(root, "dist"),
		platforms:       []platform{{"linux", "amd64"}, {"linux", "arm64"}},
		pluginPlatforms: []platform{{"linux", "amd64"}, {"windows", "amd64"}},
		revision:        strings.Repeat("a", 40), created: time.Unix(1795435673, 0).UTC(),
	}
	put(t, filepath.Join(root, "LICENSE"), "the licence")
	put(t, filepath.Join(root, "hack/plugin/krew.yaml.tmpl"), read(t, filepath.Join("..", "plugin", "krew.yaml.tmpl")))
	for _, p := range []program{operator, bridge, plugin} {
		for _, on := range r.platformsOf(p) {
			put(t, r.binary(p, on), p.name+" for "+on.String())
		}
	}
	return r
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPreflight(t *testing.T) {
	const dated = "## [0.1.0] - 2026-12-01\n\n- a\n"
	chart := func(version, app, tag string) string {
		return fmt.Sprintf("version: %s\nappVersion: %q\nannotations:\n  artifacthub.io/images: |\n    - image: horizoncd/webhook-operator:%s\n", version, app, tag)
	}
	for name, test := range map[string]struct {
		version, changelog, chart string
		strict                    bool
		// fails is a part of the error.
		fails string
	}{
		"fits":                  {version: "v0.1.0", changelog: dated, chart: chart("0.1.0", "0.1.0", "v0.1.0"), strict: true},
		"no chart":              {version: "v0.1.0", changelog: dated, fails: "Chart.yaml"},
		"no date, dry run":      {version: "v0.1.0", changelog: "## [0.1.0] - Unreleased\n\n- a\n", chart: chart("0.1.0", "0.1.0", "v0.1.0")},
		"no date, release":      {version: "v0.1.0", changelog: "## [0.1.0] - Unreleased\n\n- a\n", strict: true, fails: "needs the date"},
		"no such version":       {version: "v0.2.0", changelog: dated, fails: "says nothing of v0.2.0"},
		"a pre-release":         {version: "v0.1.0-rc.1", changelog: dated, fails: "pre-release"},
		"no v":                  {version: "0.1.0", changelog: dated, fails: "no version such as"},
		"half a version":        {version: "v0.1", changelog: dated, fails: "no version such as"},
		"build metadata":        {version: "v0.1.0+x", changelog: dated, fails: "no version such as"},
		"another chart":         {version: "v0.1.0", changelog: dated, chart: chart("0.1.1", "0.1.0", "v0.1.0"), fails: "the version 0.1.1"},
		"another appVersion":    {version: "v0.1.0", changelog: dated, chart: chart("0.1.0", "0.0.9", "v0.1.0"), fails: "the appVersion 0.0.9"},
		"another image":         {version: "v0.1.0", changelog: dated, chart: chart("0.1.0", "0.1.0", "v0.0.9"), fails: "v0.0.9"},
		"a chart without these": {version: "v0.1.0", changelog: dated, chart: "name: x\n", fails: "has 0 of"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &release{version: test.version, root: t.TempDir(), strict: test.strict}
			put(t, filepath.Join(r.root, "CHANGELOG.md"), test.changelog)
			if test.chart != "" {
				put(t, filepath.Join(r.root, "charts/webhook-operator/Chart.yaml"), test.chart)
			}
			err := r.preflight(t.Context())
			if test.fails == "" {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("got the error %v, want one with %q", err, test.fails)
			}
		})
	}
}

// The same binaries make the same images and archives, whenever and wherever that is.
func TestPackingIsReproducible(t *testing.T) {
	var made []string
	for range 2 {
		r := fakeRelease(t)
		must(t, r.images(t.Context()))
		must(t, r.archives(t.Context()))
		sums, err := r.sums()
		must(t, err)
		made = append(made, sums)
	}
	if diff := cmp.Diff(made[0], made[1]); diff != "" {
		t.Errorf("digests of two runs (-first +second):\n%s", diff)
	}
	for _, want := range []string{"images.txt", "horizon.yaml", "kubectl-horizon_v0.1.0_windows_amd64.tar.gz", "webhook-operator_v0.1.0_linux_arm64.tar.gz"} {
		if !strings.Contains(made[0], "  "+want+"\n") {
			t.Errorf("there is no %s in\n%s", want, made[0])
		}
	}
}

func TestLayersAreShared(t *testing.T) {
	r := fakeRelease(t)
	layers := map[v1.Hash]int{}
	for _, p := range []program{operator, bridge} {
		for _, on := range r.platforms {
			image, err := r.image(p, on)
			must(t, err)
			all, err := image.Layers()
			must(t, err)
			for _, l := range all {
				digest, err := l.Digest()
				must(t, err)
				layers[digest]++
			}
		}
	}
	// One for each binary, and the one of authorities and licence for all.
	if len(layers) != 5 {
		t.Errorf("there are %d layers: %v", len(layers), layers)
	}
}

// What check says of files that were changed after they were made.
func TestCheckNoticesChanges(t *testing.T) {
	r := fakeRelease(t)
	put(t, filepath.Join(r.root, "CHANGELOG.md"), "## [0.1.0] - 2026-12-01\n\n- see [how](docs/a.md#b) and\n  [there](https://example.com)\n- next\n\n## [0.0.9] - 2026-11-01\n\n- an older one\n")
	must(t, r.images(t.Context()))
	must(t, r.archives(t.Context()))
	names, err := r.names()
	must(t, err)
	installer := "kind: Deployment\nspec:\n  containers:\n  - image: " + names[operator.image()] + "\n    name: operator\n"
	put(t, r.path("install.yaml"), installer)
	must(t, r.notes(t.Context()))
	must(t, r.checksums(t.Context()))

	notes := read(t, r.path("notes.md"))
	for _, want := range []string{"[how](" + repository + "/blob/v0.1.0/docs/a.md#b)", " and [there](https://example.com)\n- next\n", "/releases/download/v0.1.0/install.yaml"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes.md lacks %s:\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "an older one") {
		t.Errorf("notes.md tells of another version:\n%s", notes)
	}
	for name, check := range map[string]func() error{
		"install.yaml":  r.checkInstaller,
		"notes.md":      r.checkNotes,
		"checksums.txt": r.checkChecksums,
	} {
		must(t, check())
		before := read(t, r.path(name))
		put(t, r.path(name), strings.NewReplacer("sha256:", "sha256:0", "  horizon.yaml", "  other.yaml").Replace(before))
		if err := check(); err == nil {
			t.Errorf("a change of %s is not noticed", name)
		}
		put(t, r.path(name), before)
	}
	// An archive that is not the one of which the digest is told.
	put(t, r.path(r.archiveName(plugin, r.pluginPlatforms[0])), "something else")
	if err := r.checkChecksums(); err == nil {
		t.Error("a change of an archive is not noticed")
	}
}

func TestCheckNoticesAnotherImage(t *testing.T) {
	r := fakeRelease(t)
	must(t, r.images(t.Context()))
	if err := r.checkImage(t.Context(), operator); err == nil || !strings.Contains(err.Error(), "not a Go executable") && !strings.Contains(err.Error(), "unrecognized file format") {
		t.Errorf("got %v of an image whose binary is a text", err)
	}
	put(t, r.path("images.txt"), "horizoncd/webhook-operator:v0.1.0@sha256:"+strings.Repeat("0", 64)+"\n")
	if err := r.checkImage(t.Context(), operator); err == nil || !strings.Contains(err.Error(), "images.txt says") {
		t.Errorf("got %v of an image that is not the one of images.txt", err)
	}
}

// A release of this commit for one platform, made in two places, is the same to the last byte.
// It passes its own check, and arrives in a registry by the digest that it names.
func TestReleaseIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes two releases")
	}
	tools := os.Getenv("TOOLS")
	if tools == "" {
		t.Fatal("TOOLS is not set: run make test-release")
	}
	version := "v" + newest(t)
	args := []string{"--no-print-directory", "VERSION=" + version, "PLATFORMS=linux/amd64", "PLUGIN_PLATFORMS=", "TOOLS=" + tools}
	dirs := []string{t.TempDir(), filepath.Join(t.TempDir(), "another", "place")}
	for _, dir := range dirs {
		command(t, "git", "clone", "--quiet", "--no-tags", root, dir)
		age(t, filepath.Join(dir, "hack"))
		t.Logf("%s", command(t, "make", append(args, "-C", dir, "release-dry-run")...))
	}
	for _, name := range []string{"checksums.txt", "images.txt", "notes.md"} {
		one, other := read(t, filepath.Join(dirs[0], "dist", name)), read(t, filepath.Join(dirs[1], "dist", name))
		if diff := cmp.Diff(one, other); diff != "" {
			t.Errorf("%s of two places (-one +other):\n%s", name, diff)
		}
	}

	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := server.Listener.Addr().String()
	t.Logf("%s", command(t, "make", append(args, "-C", dirs[0], "release-push", "REGISTRY="+host)...))
	for image := range strings.FieldsSeq(read(t, filepath.Join(dirs[0], "dist/images.txt"))) {
		tagged, digest, _ := strings.Cut(image, "@")
		ref, err := name.ParseReference(host + "/" + tagged)
		must(t, err)
		index, err := remote.Index(ref)
		must(t, err)
		got, err := index.Digest()
		must(t, err)
		if got.String() != digest {
			t.Errorf("%s has the digest %s in the registry, not %s", tagged, got, digest)
		}
		must(t, validate.Index(index))
	}
}

// age makes the files of a clone older than the tools that were built of their originals.
func age(t *testing.T, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, time.Time{}, time.Unix(0, 0)))
	}))
}

// newest is the newest version of the changelog.
func newest(t *testing.T) string {
	t.Helper()
	all, err := parseChangelog(read(t, filepath.Join(root, "CHANGELOG.md")))
	must(t, err)
	for _, s := range all {
		if s.version != unreleased {
			return s.version
		}
	}
	t.Fatal("the changelog has no version")
	return ""
}

func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	// What a make around this test says is not for the one of a clone.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// The Dockerfile, for images of one's own, makes images with the same files and user.
func TestDockerfileMakesTheSameImages(t *testing.T) {
	text := read(t, filepath.Join(root, "Dockerfile"))
	for _, want := range []string{
		"FROM scratch AS base\n", " /" + rootsFile + "\n", "COPY LICENSE /LICENSE\n", "USER " + nobody + "\n",
		"ENTRYPOINT [\"/webhook-operator\"]\n", "ENTRYPOINT [\"/horizon-bridge\"]\n",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("the Dockerfile does not have this once: %s", want)
		}
	}
}
