package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const (
	// nobody is the user of the images, the same as in config/manager.
	nobody = "65532:65532"
	// rootsFile is where Go looks for authorities first.
	rootsFile = "etc/ssl/certs/ca-certificates.crt"
)

// images makes the images of operator and bridge for all platforms, from nothing: a static
// binary, the authorities that it trusts, and the licence. A base image would bring a shell's
// worth of files that nothing reads, and could be had from a registry only.
func (r *release) images(context.Context) error {
	var lines strings.Builder
	for _, p := range []program{operator, bridge} {
		index, err := r.index(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		dir := r.layout(p)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		path, err := layout.Write(dir, empty.Index)
		if err != nil {
			return err
		}
		tag := map[string]string{"org.opencontainers.image.ref.name": r.version}
		if err := path.AppendIndex(index, layout.WithAnnotations(tag)); err != nil {
			return err
		}
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s:%s@%s\n", p.image(), r.version, digest)
	}
	return write(r.path("images.txt"), lines.String())
}

// layout is the directory of a program's image.
func (r *release) layout(p program) string { return filepath.Join(r.dist, "images", p.name) }

// index is the image of a program for all platforms.
func (r *release) index(p program) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, on := range r.platforms {
		image, err := r.image(p, on)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", on, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: on.os, Architecture: on.arch}},
		})
	}
	annotated, ok := mutate.Annotations(index, r.labels(p)).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("an annotated index is a %T", annotated)
	}
	return annotated, nil
}

func (r *release) image(p program, on platform) (v1.Image, error) {
	binary, err := os.ReadFile(r.binary(p, on))
	if err != nil {
		return nil, err
	}
	licence, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return nil, err
	}
	base, err := layer(file{rootsFile, 0o644, roots()}, file{"LICENSE", 0o644, licence})
	if err != nil {
		return nil, err
	}
	top, err := layer(file{p.name, 0o755, binary})
	if err != nil {
		return nil, err
	}
	config := &v1.ConfigFile{
		OS: on.os, Architecture: on.arch,
		RootFS:  v1.RootFS{Type: "layers"},
		Created: v1.Time{Time: r.created},
		Config: v1.Config{
			User:       nobody,
			Entrypoint: []string{"/" + p.name},
			WorkingDir: "/",
			Env:        []string{"PATH=/"},
			Labels:     r.labels(p),
		},
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	history := v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "make release-dry-run"}
	return mutate.Append(image,
		mutate.Addendum{Layer: base, History: history}, mutate.Addendum{Layer: top, History: history})
}

// labels are those that https://github.com/opencontainers/image-spec has names for.
func (r *release) labels(p program) map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":         p.title,
		prefix + "description":   p.description,
		prefix + "version":       r.version,
		prefix + "revision":      r.revision,
		prefix + "created":       r.created.Format(time.RFC3339),
		prefix + "source":        repository,
		prefix + "documentation": repository + "/blob/" + r.version + "/docs/README.md",
		prefix + "licenses":      "Apache-2.0",
	}
}

// roots are the authorities of Mozilla's list that are trusted without a condition. A bundle
// cannot say that an authority is trusted for certificates from before a day only, so those
// are left out.
func roots() []byte {
	var all bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		// A buffer takes everything.
		_ = pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
	}
	return all.Bytes()
}

// file is one of an archive.
type file struct {
	path string
	mode int64
	data []byte
}

// layer is one of an image. The same files make the same bytes.
func layer(files ...file) (v1.Layer, error) {
	var data bytes.Buffer
	if err := writeTar(&data, time.Unix(0, 0), files...); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression))
}

// writeTar writes files as root's, with the directories that they are in.
func writeTar(w io.Writer, modified time.Time, files ...file) error {
	archive := tar.NewWriter(w)
	for _, f := range files {
		for at, c := range f.path {
			if c != '/' {
				continue
			}
			dir := &tar.Header{Typeflag: tar.TypeDir, Name: f.path[:at+1], Mode: 0o755, ModTime: modified}
			if err := archive.WriteHeader(dir); err != nil {
				return err
			}
		}
		head := &tar.Header{
			Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Size: int64(len(f.data)), ModTime: modified,
		}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		if _, err := archive.Write(f.data); err != nil {
			return err
		}
	}
	return archive.Close()
}

func write(path, text string) error {
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // everybody may read a release
}
