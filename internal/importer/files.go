package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/internal/characters"
)

// Directories of an import. kubectl apply -R takes what ends in .yaml, so it passes by what
// is by hand.
const (
	webhooksDir = "webhooks"
	secretsDir  = "secrets"
	byHandDir   = "by-hand"
	manifestExt = ".yaml"
	byHandExt   = ".yaml.txt"
)

// mark is the first line of each file. A file without it is somebody's own, and stays.
const mark = "# Written by kubectl horizon import, which writes it anew each time. Take this line out to keep your changes."

const (
	dirMode  = 0o700
	fileMode = 0o600
)

// Files is what was done to a directory.
type Files struct {
	// Kept are files that somebody has made their own, so they were not written anew.
	Kept []string
	// Removed are those of webhooks that Horizon does not have any more, or that are now
	// elsewhere.
	Removed []string
}

// Write writes the manifests into a directory that only its owner may read: Webhooks, their
// Secrets, and apart from both what is by hand. Files of an earlier import are written anew,
// and those that are not among them any more removed, unless somebody has made them their
// own.
func Write(dir string, all []*Imported) (Files, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return Files{}, fmt.Errorf("making the directory: %w", err)
	}
	root, err := os.OpenRoot(dir) // so that no link leads out of it
	if err != nil {
		return Files{}, fmt.Errorf("opening the directory: %w", err)
	}
	defer root.Close()
	wanted, err := contents(all)
	if err != nil {
		return Files{}, err
	}
	var files Files
	for _, sub := range []string{webhooksDir, secretsDir, byHandDir} {
		if err := files.writeDir(root, sub, wanted); err != nil {
			return files, fmt.Errorf("writing into %s: %w", dir, err)
		}
	}
	return files, nil
}

// contents are the files of an import, by their names.
func contents(all []*Imported) (map[string][]byte, error) {
	wanted := map[string][]byte{}
	for _, i := range all {
		if i.Outcome == LeftOut {
			continue
		}
		webhook, err := yaml.Marshal(i.Webhook.Object)
		if err != nil {
			return nil, fmt.Errorf("writing the manifest of %s: %w", i.Name, err)
		}
		var secret []byte
		if i.Secret != nil {
			secret, err = yaml.Marshal(map[string]any{
				"apiVersion": "v1", "kind": "Secret", "stringData": i.Secret.StringData,
				"metadata": map[string]any{"name": i.Secret.Name, "namespace": i.Secret.Namespace},
			})
			if err != nil {
				return nil, fmt.Errorf("writing the Secret of %s: %w", i.Name, err)
			}
		}
		var head bytes.Buffer
		fmt.Fprintf(&head, "%s\n# It was webhook %d of Horizon, of %s.\n", mark, i.ID, characters.OneLine(i.Of))
		for _, reason := range i.Reasons {
			fmt.Fprintf(&head, "# Needs a hand: %s\n", reason)
		}
		if i.Outcome == ByHand {
			parts := [][]byte{head.Bytes(), webhook}
			if secret != nil {
				parts = append(parts, []byte("---\n"), secret)
			}
			wanted[i.Where()] = slices.Concat(parts...)
			continue
		}
		wanted[i.Where()] = append(head.Bytes(), webhook...)
		if secret != nil {
			wanted[path.Join(secretsDir, i.Name+manifestExt)] = append([]byte(mark+"\n"), secret...)
		}
	}
	return wanted, nil
}

// writeDir writes one of the directories, and takes out what is no longer wanted.
func (f *Files) writeDir(root *os.Root, dir string, wanted map[string][]byte) error {
	if err := root.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	if err := root.Chmod(dir, dirMode); err != nil {
		return err
	}
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if !strings.HasPrefix(entry.Name(), NamePrefix) {
			continue
		}
		own, err := isOurs(root, name)
		switch {
		case err != nil:
			return err
		case !own:
			kept[name] = true
			if wanted[name] != nil {
				f.Kept = append(f.Kept, name)
			}
		case wanted[name] == nil:
			if err := root.Remove(name); err != nil {
				return err
			}
			f.Removed = append(f.Removed, name)
		}
	}
	for name, content := range wanted {
		if path.Dir(name) != dir || kept[name] {
			continue
		}
		if err := replace(root, name, content); err != nil {
			return err
		}
	}
	return nil
}

// isOurs tells whether an import has written a file, and nobody has made it their own.
func isOurs(root *os.Root, name string) (bool, error) {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	f, err := root.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	begins := make([]byte, len(mark))
	n, err := io.ReadFull(f, begins)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(begins[:n], []byte(mark)), nil
}

// replace writes a file that only its owner may read, whole or not at all.
func replace(root *os.Root, name string, content []byte) error {
	made := path.Join(path.Dir(name), "."+path.Base(name)+".new")
	if err := root.Remove(made); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(made, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(made, name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(made))
	}
	return nil
}
