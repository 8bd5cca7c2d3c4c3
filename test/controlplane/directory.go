package controlplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	tempPattern = "horizon-controlplane-*"
	lockName    = "lock"

	// abandonedAfter keeps the sweep away from a directory that its owner has
	// created but not locked yet.
	abandonedAfter = time.Minute
)

// directory is a control plane's directory, locked for as long as its process
// lives.
type directory struct {
	path      string
	temporary bool
	lock      *os.File
}

// openDirectory opens path, or a new temporary directory if path is empty.
func openDirectory(path string) (*directory, error) {
	temporary := path == ""
	if temporary {
		sweep()
		var err error
		if path, err = os.MkdirTemp("", tempPattern); err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := makeDir(path); err != nil {
		return nil, err
	}
	lock, err := lockDirectory(path)
	if err != nil {
		return nil, err
	}
	return &directory{path: path, temporary: temporary, lock: lock}, nil
}

// lockDirectory takes the directory's lock, which the kernel releases when the
// process ends in whatever way.
func lockDirectory(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another control plane", path)
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return f, nil
}

// Scratch makes a directory that only one process uses at a time, empty of what one
// that was killed has left. The kernel releases it when this one ends in whatever
// way.
func Scratch(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another one may run already: locking %s: %w", dir, err)
	}
	entries, err := f.ReadDir(-1)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return func() { _ = f.Close() }, err
}

// close releases the directory and removes it if it is a temporary one.
func (d *directory) close() error {
	var err error
	if d.temporary {
		err = os.RemoveAll(d.path)
	}
	return errors.Join(err, d.release())
}

// release gives up the lock and leaves everything where it is.
func (d *directory) release() error { return d.lock.Close() }

// sweep removes temporary directories whose process was killed before it could
// do so: etcd sets aside 128 MiB in each. Those in use are locked. It does
// what it can; what it cannot remove is somebody else's.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPattern))
	for _, dir := range dirs {
		info, err := os.Stat(filepath.Join(dir, lockName))
		if err != nil || time.Since(info.ModTime()) < abandonedAfter {
			continue
		}
		if lock, err := lockDirectory(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
}
