package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// check reads the release as whoever gets it would, and prints what is in it.
func (r *release) check(ctx context.Context) error {
	var all []error
	for _, p := range []program{operator, bridge} {
		all = append(all, wrap(p.image(), r.checkImage(ctx, p)))
	}
	for _, p := range []program{operator, bridge, plugin} {
		for _, on := range r.platformsOf(p) {
			all = append(all,
				wrap(r.archiveName(p, on), r.checkArchive(ctx, p, on)),
				wrap(r.billName(p, on), r.checkBill(p, on)))
		}
	}
	all = append(all,
		wrap("install.yaml", r.checkInstaller()),
		wrap("the chart", r.checkChartArchive()),
		wrap("notes.md", r.checkNotes()),
		wrap("checksums.txt", r.checkChecksums()))
	if err := errors.Join(all...); err != nil {
		return err
	}
	return r.list(os.Stdout)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// names are the lines of images.txt, by image without tag and digest.
func (r *release) names() (map[string]string, error) {
	text, err := os.ReadFile(r.path("images.txt"))
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for line := range strings.FieldsSeq(string(text)) {
		image, _, _ := strings.Cut(line, ":")
		names[image] = line
	}
	return names, nil
}

// checkImage reads the image back from its layout.
func (r *release) checkImage(ctx context.Context, p program) error {
	outer, err := layout.ImageIndexFromPath(r.layout(p))
	if err != nil {
		return err
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 1 {
		return fmt.Errorf("the layout has %d images", len(manifest.Manifests))
	}
	digest := manifest.Manifests[0].Digest
	names, err := r.names()
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%s:%s@%s", p.image(), r.version, digest); names[p.image()] != want {
		return fmt.Errorf("images.txt says %q, the layout %s", names[p.image()], want)
	}
	index, err := outer.ImageIndex(digest)
	if err != nil {
		return err
	}
	if err := validate.Index(index); err != nil {
		return err
	}
	inner, err := index.IndexManifest()
	if err != nil {
		return err
	}
	var found []platform
	for _, d := range inner.Manifests {
		on := platform{d.Platform.OS, d.Platform.Architecture}
		found = append(found, on)
		image, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		if err := r.checkPlatform(ctx, p, on, image); err != nil {
			return fmt.Errorf("%s: %w", on, err)
		}
	}
	if !slices.Equal(found, r.platforms) {
		return fmt.Errorf("is for %v", found)
	}
	return nil
}

// checkPlatform holds the image for one platform to what config/ expects of it.
func (r *release) checkPlatform(ctx context.Context, p program, on platform, image v1.Image) error {
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	c := config.Config
	if config.OS != on.os || config.Architecture != on.arch || c.User != nobody ||
		!slices.Equal(c.Entrypoint, []string{"/" + p.name}) || !reflect.DeepEqual(c.Labels, r.labels(p)) {
		return fmt.Errorf("its config is for %s/%s: %+v", config.OS, config.Architecture, c)
	}
	flat := mutate.Extract(image)
	defer func() { _ = flat.Close() }()
	files, err := readTar(flat)
	if err != nil {
		return err
	}
	want := []string{"LICENSE", rootsFile, p.name}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		return fmt.Errorf("has the files %v", got)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(files[rootsFile].data) {
		return fmt.Errorf("%s has no certificates", rootsFile)
	}
	return r.checkBinary(ctx, p, on, files[p.name])
}

func (r *release) checkArchive(ctx context.Context, p program, on platform) error {
	files, err := r.readArchive(r.archiveName(p, on))
	if err != nil {
		return err
	}
	if _, ok := files["LICENSE"]; !ok || len(files) != 2 {
		return fmt.Errorf("has the files %v", slices.Collect(maps.Keys(files)))
	}
	return r.checkBinary(ctx, p, on, files[p.file(on)])
}

// readArchive reads the files of a .tar.gz of the release.
func (r *release) readArchive(name string) (map[string]file, error) {
	in, err := os.Open(r.path(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	unzipped, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	return readTar(unzipped)
}

// readTar reads the files of an archive, and passes over directories.
func readTar(in io.Reader) (map[string]file, error) {
	files := map[string]file{}
	archive := tar.NewReader(in)
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if head.Typeflag == tar.TypeDir {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return nil, err
		}
		files[head.Name] = file{head.Name, head.Mode, data}
	}
}

// checkBinary looks at what the program was built for, and runs it where it can run.
func (r *release) checkBinary(ctx context.Context, p program, on platform, f file) error {
	if f.mode != 0o755 {
		return fmt.Errorf("%s has the mode %o", p.file(on), f.mode)
	}
	info, err := buildinfo.Read(bytes.NewReader(f.data))
	if err != nil {
		return err
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if got := (platform{settings["GOOS"], settings["GOARCH"]}); got != on || settings["CGO_ENABLED"] != "0" ||
		settings["-trimpath"] != "true" || !strings.HasSuffix(info.Path, "/cmd/"+p.name) {
		return fmt.Errorf("%s was built as %s with %v", p.file(on), info.Path, settings)
	}
	if err := checkFormat(on.os, f.data); err != nil {
		return err
	}
	// Names such as Asia/Shanghai must work where the machine knows no time zones.
	if p != bridge && !bytes.Contains(f.data, []byte("Asia/Ujung_Pandang")) {
		return fmt.Errorf("%s has no time zones", p.file(on))
	}
	if on.os != runtime.GOOS || on.arch != runtime.GOARCH {
		return nil
	}
	dir, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, p.name)
	if err := os.WriteFile(path, f.data, 0o700); err != nil { //nolint:gosec // it is to be run
		return err
	}
	if p == plugin {
		return r.checkPrinted(ctx, path)
	}
	return r.checkUserAgent(ctx, path, p)
}

// checkFormat looks whether the bytes are a program of the system at all.
func checkFormat(system string, data []byte) error {
	in := bytes.NewReader(data)
	var err error
	switch system {
	case "linux":
		var f *elf.File
		if f, err = elf.NewFile(in); err == nil && len(f.Progs) > 0 {
			if libraries, _ := f.ImportedLibraries(); len(libraries) > 0 {
				err = fmt.Errorf("needs the libraries %v", libraries)
			}
		}
	case "darwin":
		_, err = macho.NewFile(in)
	case "windows":
		_, err = pe.NewFile(in)
	}
	return err
}

// checkPrinted has the plugin print its version.
func (r *release) checkPrinted(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, path, "version").Output()
	if err != nil {
		return err
	}
	if got := strings.Fields(string(out)); !slices.Contains(got, r.version) {
		return fmt.Errorf("kubectl horizon version prints %q", out)
	}
	return nil
}

// startsWithin bounds the wait for a program to start. It does so in a second.
const startsWithin = 2 * time.Minute

// checkUserAgent starts the program and waits until it tells an API server, which there is
// none of, who it is.
func (r *release) checkUserAgent(ctx context.Context, path string, p program) error {
	ctx, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	want := map[string]string{operator.name: "horizon-webhook-operator/", bridge.name: "horizon-bridge/"}[p.name] + r.version
	seen := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case seen <- req.UserAgent():
		default:
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	dir := filepath.Dir(path)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := write(kubeconfig, `{"apiVersion":"v1","kind":"Config","current-context":"c",`+
		`"clusters":[{"name":"c","cluster":{"server":"`+server.URL+`"}}],`+
		`"contexts":[{"name":"c","context":{"cluster":"c"}}]}`); err != nil {
		return err
	}
	args, err := arguments(p, dir, server.URL)
	if err != nil {
		return err
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // what was built here
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "POD_NAMESPACE=horizon-webhooks"}
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case got := <-seen:
		cancel()
		<-ended //nolint:errcheck // it was killed
		if got != want {
			return fmt.Errorf("%s says that it is %q, not %q", p.name, got, want)
		}
		return nil
	case err := <-ended:
		return fmt.Errorf("%s ended: %w\n%s", p.name, err, log.String())
	}
}

// arguments start a program on ports that nobody uses.
func arguments(p program, dir, url string) ([]string, error) {
	args := []string{"--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"}
	if p == operator {
		return append(args, "--leader-elect"), nil
	}
	routes := filepath.Join(dir, "routes.yaml")
	args = append(args, "--horizon-url="+url, "--listen-address=127.0.0.1:0", "--routes-file="+routes)
	err := write(routes, "default: horizon-webhooks\n")
	for name, flag := range map[string]string{"token": "--horizon-token-file=", "secret": "--secret-file="} {
		path := filepath.Join(dir, name)
		err = errors.Join(err, os.WriteFile(path, []byte("a-made-up-value"), 0o600))
		args = append(args, flag+path)
	}
	return args, err
}

// billName is the file of a binary's software bill of materials.
func (r *release) billName(p program, on platform) string {
	return fmt.Sprintf("%s_%s_%s.cdx.json", p.name, r.version, on)
}

// checkBill holds an SBOM against the modules that the binary itself names.
func (r *release) checkBill(p program, on platform) error {
	data, err := os.ReadFile(r.path(r.billName(p, on)))
	if err != nil {
		return err
	}
	type component struct{ Name, Version string }
	var bill struct {
		BOMFormat  string
		Metadata   struct{ Component component }
		Components []component
	}
	if err := json.Unmarshal(data, &bill); err != nil {
		return err
	}
	if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != r.version {
		return fmt.Errorf("is of %+v", bill.Metadata.Component)
	}
	info, err := buildinfo.ReadFile(r.binary(p, on))
	if err != nil {
		return err
	}
	listed := map[component]bool{}
	for _, c := range bill.Components {
		listed[c] = true
	}
	for _, module := range info.Deps {
		if !listed[component{module.Path, module.Version}] {
			return fmt.Errorf("lacks %s %s", module.Path, module.Version)
		}
	}
	if !listed[component{"std", info.GoVersion}] {
		return fmt.Errorf("lacks the standard library of %s", info.GoVersion)
	}
	return nil
}

// checkInstaller looks for the image by its digest. That the API server takes the manifests is
// tested in test/manifests.
func (r *release) checkInstaller() error {
	text, err := os.ReadFile(r.path("install.yaml"))
	if err != nil {
		return err
	}
	names, err := r.names()
	if err != nil {
		return err
	}
	images := 0
	for line := range strings.Lines(string(text)) {
		image, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "- "), "image: ")
		if !ok {
			continue
		}
		if image != names[operator.image()] {
			return fmt.Errorf("names the image %s, not %s", image, names[operator.image()])
		}
		images++
	}
	if images == 0 {
		return errors.New("names no image")
	}
	return nil
}

// checkNotes looks for the changelog of this version and of no other, and for the images.
func (r *release) checkNotes() error {
	data, err := os.ReadFile(r.path("notes.md"))
	if err != nil {
		return err
	}
	text := string(data)
	if strings.Contains(text, "\n## ") {
		return errors.New("has more than one version")
	}
	names, err := r.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.Contains(text, name) {
			return fmt.Errorf("does not name %s", name)
		}
	}
	return nil
}

// checkChecksums compares checksums.txt and krew's manifest with the files.
func (r *release) checkChecksums() error {
	want, err := r.sums()
	if err != nil {
		return err
	}
	got, err := os.ReadFile(r.path("checksums.txt"))
	if err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("has\n%sbut the files are\n%s", got, want)
	}
	manifest, err := os.ReadFile(r.path("horizon.yaml"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(want) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if strings.HasPrefix(name, plugin.name) && strings.HasSuffix(name, ".tar.gz") &&
			!bytes.Contains(manifest, []byte("sha256: "+sum)) {
			return fmt.Errorf("horizon.yaml does not have the digest of %s", name)
		}
	}
	return nil
}

// list prints what the release consists of.
func (r *release) list(w io.Writer) error {
	names, err := r.assets()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nChecked, in dist/, of revision %s:\n", r.revision)
	for _, name := range append(names, "checksums.txt", "notes.md") {
		info, err := os.Stat(r.path(name))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %9.1f kB  %s\n", float64(info.Size())/1e3, name)
	}
	for _, p := range []program{operator, bridge} {
		size := int64(0)
		err := filepath.WalkDir(r.layout(p), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err == nil {
				size += info.Size()
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %9.1f kB  images/%s, an OCI layout for %v\n", float64(size)/1e3, p.name, r.platforms)
	}
	fmt.Fprint(w, "\nOnly the release workflow can do the rest: push the images and the chart, sign them and checksums.txt,\n"+
		"attest provenance and SBOMs, and publish.\n")
	return nil
}
