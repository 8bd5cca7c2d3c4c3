// Command release makes and checks what a release consists of, beside what other tools
// make of it. make release-dry-run calls it with one of these commands after the other:
//
//	preflight  may this version be released?
//	images     OCI layouts of the images, and images.txt, which names them by digest
//	archives   an archive for each binary, and the manifest for krew
//	notes      notes.md, the changelog of the version with what a reader needs to install it
//	checksums  checksums.txt
//	check      is everything there, and right?
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// release is one release, and where it is made.
type release struct {
	// version has a leading v, as the tag has.
	version string
	// root is the repository, dist the directory that is made.
	root, dist string
	// platforms are those of the images, pluginPlatforms those of kubectl-horizon.
	platforms, pluginPlatforms []platform
	// strict is for a release that is published: the changelog must have its date.
	strict bool
	// revision is the commit, and created its time: no clock decides a byte of a release.
	revision string
	created  time.Time
}

// platform is what a binary runs on.
type platform struct{ os, arch string }

// String names files and directories, too.
func (p platform) String() string { return p.os + "_" + p.arch }

// program is one that the images and archives are made of.
type program struct{ name, title, description string }

var (
	operator = program{
		"webhook-operator", "Horizon webhook operator",
		"Delivers the events of Horizon to webhooks, and keeps a record of each delivery",
	}
	bridge = program{
		"horizon-bridge", "Bridge from Horizon",
		"Creates a WebhookEvent for each event of a Horizon that nobody has changed",
	}
	plugin = program{name: "kubectl-horizon"}
)

const (
	// owner is the account of the images at their registry.
	owner = "horizoncd"
	// repository is where the source is, and its releases are.
	repository = "https://github.com/horizoncd/webhook-operator"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var r release
	flags := flag.NewFlagSet("release", flag.ExitOnError)
	flags.StringVar(&r.version, "version", "", "the version, such as v0.1.0")
	flags.StringVar(&r.root, "root", ".", "the repository")
	flags.BoolVar(&r.strict, "strict", false, "preflight: the changelog must have the version's date")
	platforms := flags.String("platforms", "linux/amd64 linux/arm64", "platforms of the images")
	pluginPlatforms := flags.String("plugin-platforms", "", "those of kubectl-horizon, if others")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var err error
	if r.platforms, err = parsePlatforms(*platforms); err != nil {
		return err
	}
	if r.pluginPlatforms, err = parsePlatforms(cmp.Or(*pluginPlatforms, *platforms)); err != nil {
		return err
	}
	r.dist = filepath.Join(r.root, "dist")
	if err := r.readCommit(ctx); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return errors.New("no command")
	}
	for _, command := range flags.Args() {
		steps := map[string]func(context.Context) error{
			"preflight": r.preflight, "images": r.images, "archives": r.archives,
			"notes": r.notes, "checksums": r.checksums, "check": r.check,
		}
		step, ok := steps[command]
		if !ok {
			return fmt.Errorf("there is no command %q", command)
		}
		if err := step(ctx); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	return nil
}

func parsePlatforms(text string) ([]platform, error) {
	var all []platform
	for word := range strings.FieldsSeq(text) {
		system, arch, ok := strings.Cut(word, "/")
		if !ok {
			return nil, fmt.Errorf("%q is no platform such as linux/amd64", word)
		}
		all = append(all, platform{system, arch})
	}
	return all, nil
}

// readCommit finds out what is released, and of what time it is.
func (r *release) readCommit(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "git", "-C", r.root, "log", "-1", "--format=%H %ct").Output() //nolint:gosec // the directory is the caller's
	if err != nil {
		return fmt.Errorf("asking git for the commit: %w", err)
	}
	revision, seconds, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("reading the time of the commit: %w", err)
	}
	r.revision, r.created = revision, time.Unix(unix, 0).UTC()
	return nil
}

// preflight finds what would be wrong with the release before anything is built.
func (r *release) preflight(context.Context) error {
	if err := checkVersion(r.version); err != nil {
		return err
	}
	s, err := r.changes()
	if err != nil {
		return err
	}
	if r.strict && s.date == unreleased {
		return fmt.Errorf("CHANGELOG.md calls %s unreleased: it needs the date of the release", r.version)
	}
	return r.checkChart()
}

// checkVersion refuses what no release is made of. Pre-releases are among that: installers,
// charts and krew would take one for the newest version.
func checkVersion(version string) error {
	switch {
	case !semver.IsValid(version) || version != semver.Canonical(version):
		return fmt.Errorf("%q is no version such as v0.1.0", version)
	case semver.Prerelease(version) != "":
		return fmt.Errorf("%s is a pre-release, of which none are published", version)
	}
	return nil
}

// path is that of a file of the release.
func (r *release) path(name string) string { return filepath.Join(r.dist, name) }

// binary is where make has left one.
func (r *release) binary(p program, on platform) string {
	return filepath.Join(r.dist, "bin", on.String(), p.file(on))
}

// file is the program's name on a platform.
func (p program) file(on platform) string {
	if on.os == "windows" {
		return p.name + ".exe"
	}
	return p.name
}

// image is the name of the program's image, without a tag.
func (p program) image() string { return owner + "/" + p.name }
