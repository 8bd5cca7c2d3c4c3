package bridge

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestSecrets(t *testing.T) {
	for name, tt := range map[string]struct {
		file       string
		match, not []string
	}{
		"one":                    {"s3cret", []string{"s3cret"}, []string{"", "s3cre", "s3cret ", "S3cret"}},
		"with the end of a line": {"s3cret\r\n", []string{"s3cret"}, []string{"s3cret\n"}},
		"two in a rotation":      {"old\nnew\n", []string{"old", "new"}, []string{"old\nnew", ""}},
	} {
		s, err := ParseSecrets([]byte(tt.file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, value := range tt.match {
			if !s.Match(value) {
				t.Errorf("%s: %q does not count", name, value)
			}
		}
		for _, value := range tt.not {
			if s.Match(value) {
				t.Errorf("%s: %q counts", name, value)
			}
		}
		if text := fmt.Sprintf("%v %+v %s", s, s, s); strings.Contains(text, "s3cret") {
			t.Errorf("%s: it prints as %s", name, text)
		}
	}
	for _, file := range []string{"", "\n\n", "1\n2\n3\n4\n5"} {
		if _, err := ParseSecrets([]byte(file)); err == nil {
			t.Errorf("%q: no error", file)
		}
	}
}

func TestFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clock := clocktesting.NewFakePassiveClock(time.Now())
	if _, err := OpenFile(path, ParseSecrets, clock); err == nil {
		t.Error("a file that is missing at the start: no error")
	}
	write("old")
	f, err := OpenFile(path, ParseSecrets, clock)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(value string, works bool) {
		t.Helper()
		clock.SetTime(clock.Now().Add(fileTTL))
		s, err := f.Get()
		if !s.Match(value) || (err == nil) != works {
			t.Errorf("want %q (%t), error %v", value, works, err)
		}
	}
	write("new")
	if s, _ := f.Get(); s.Match("new") {
		t.Error("the file is read at each request")
	}
	expect("new", true)
	write("\n")
	expect("new", false) // an empty file opens the bridge to nobody, and closes it to nobody
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("new", false)
	write("newest")
	expect("newest", true)
}
