package controlplane

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// AssetsEnv names the variable with which somebody brings binaries of their
// own; it is envtest's.
const AssetsEnv = "KUBEBUILDER_ASSETS"

// ErrNoBinaries says that a binary of the control plane is missing.
var ErrNoBinaries = errors.New("run `make control-plane` to build the control plane's binaries")

// binaries is the directory of the control plane's binaries.
type binaries string

// findBinaries finds the directory and makes sure that it holds all that is
// needed, so that a missing one is told in words and not by a failed exec.
func findBinaries(o Options) (binaries, error) {
	dir, from := o.Assets, "Options.Assets"
	if dir == "" {
		dir, from = os.Getenv(AssetsEnv), AssetsEnv
	}
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return "", fmt.Errorf("looking for bin/controlplane: %w", err)
		}
		dir, from = filepath.Join(root, "bin", "controlplane"), "the default"
	}
	// The processes run with a working directory of their own.
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("resolving the directory of the binaries: %w", err)
	}

	names := []string{etcdName, apiServerName}
	if o.ControllerManager {
		names = append(names, controllerManagerName)
	}
	for _, name := range names {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			hint := ErrNoBinaries
			if from == AssetsEnv {
				hint = fmt.Errorf("%w, with %s unset", ErrNoBinaries, AssetsEnv)
			}
			return "", fmt.Errorf("no %s in %s (from %s): %w", name, dir, from, hint)
		}
	}
	return binaries(dir), nil
}

func (b binaries) path(name string) string { return filepath.Join(string(b), name) }

func (b binaries) kubectl() (string, error) {
	if path, err := exec.LookPath("kubectl"); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(b.path("kubectl"))
	if err != nil {
		return "", fmt.Errorf("no kubectl on PATH nor in %s: %w", b, ErrNoBinaries)
	}
	return path, nil
}

// moduleRoot is the nearest directory upwards that holds a go.mod.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod in %s or above it; set %s", start, AssetsEnv)
		}
		dir = parent
	}
}
