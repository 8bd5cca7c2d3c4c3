package main

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

// archives packs each binary that make has built, with the licence. Of kubectl-horizon's it
// makes the manifest for krew, too.
func (r *release) archives(context.Context) error {
	var ofPlugin []archive
	for _, p := range []program{operator, bridge, plugin} {
		for _, on := range r.platformsOf(p) {
			a, err := r.archive(p, on)
			if os.IsNotExist(err) && p != plugin {
				continue // make plugin-archives builds no other
			}
			if err != nil {
				return err
			}
			if p == plugin {
				ofPlugin = append(ofPlugin, a)
			}
		}
	}
	text, err := r.krew(ofPlugin)
	if err != nil {
		return err
	}
	return write(r.path("horizon.yaml"), text)
}

func (r *release) platformsOf(p program) []platform {
	if p == plugin {
		return r.pluginPlatforms
	}
	return r.platforms
}

// archive is one as krew's manifest has it.
type archive struct{ OS, Arch, Archive, SHA256, Binary string }

func (r *release) archiveName(p program, on platform) string {
	return fmt.Sprintf("%s_%s_%s.tar.gz", p.name, r.version, on)
}

func (r *release) archive(p program, on platform) (a archive, err error) {
	binary, err := os.ReadFile(r.binary(p, on))
	if err != nil {
		return a, err
	}
	licence, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return a, err
	}
	name := r.archiveName(p, on)
	out, err := os.Create(r.path(name))
	if err != nil {
		return a, err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	sum := sha256.New()
	zipped, err := gzip.NewWriterLevel(io.MultiWriter(out, sum), gzip.BestCompression)
	if err != nil {
		return a, err
	}
	if err := writeTar(zipped, r.created, file{p.file(on), 0o755, binary}, file{"LICENSE", 0o644, licence}); err != nil {
		return a, err
	}
	if err := zipped.Close(); err != nil {
		return a, err
	}
	return archive{OS: on.os, Arch: on.arch, Archive: name, SHA256: hex.EncodeToString(sum.Sum(nil)), Binary: p.file(on)}, nil
}

// krew is the manifest of the plugin for krew, kubectl's plugin manager.
func (r *release) krew(archives []archive) (string, error) {
	t, err := template.ParseFiles(filepath.Join(r.root, "hack/plugin/krew.yaml.tmpl"))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = t.Execute(&text, map[string]any{"Version": r.version, "Repository": repository, "Archives": archives})
	return text.String(), err
}

// assets are the files of dist that are attached to the release and that checksums.txt is
// about: all but directories, itself, and what is said of them afterwards.
func (r *release) assets() ([]string, error) {
	entries, err := os.ReadDir(r.dist)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); e.Type().IsRegular() && !strings.HasPrefix(name, "checksums.txt") && name != "notes.md" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// checksums writes what sha256sum -c reads.
func (r *release) checksums(context.Context) error {
	text, err := r.sums()
	if err != nil {
		return err
	}
	return write(r.path("checksums.txt"), text)
}

func (r *release) sums() (string, error) {
	names, err := r.assets()
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, name := range names {
		data, err := os.ReadFile(r.path(name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(data), name)
	}
	return lines.String(), nil
}
