package controlplane

import (
	"os"
	"path/filepath"
	"testing"
)

func TestScratchIsForOneAndEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scratch")
	release, err := Scratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "left")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Scratch(dir); err == nil {
		t.Error("a second one gets the same directory")
	}
	if _, err := os.Stat(left); err != nil {
		t.Errorf("the second one has removed what the first one uses: %v", err)
	}
	release()
	release, err = Scratch(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what was left is still there: %v", err)
	}
}
