package manifests

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// kindEvent is where an example of an event begins.
var kindEvent = regexp.MustCompile(`(?m)^kind: WebhookEvent$`)

// Every example of an event has its time: without one, an event that is restored
// from a backup is as young as the restore, and is sent again.
func TestExamplesOfEventsHaveTheirTime(t *testing.T) {
	var files []string
	for _, pattern := range []string{
		"config/samples/*.yaml", "docs/*.md", "docs/*/*.md", "test/demo/manifests/*.yaml", "test/dev/*.go",
	} {
		found, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	examples := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range kindEvent.FindAllIndex(text, -1) {
			examples++
			// It ends where the document, the command or the code block does.
			lines := strings.Split(string(text[at[1]:]), "\n")
			end := slices.IndexFunc(lines, func(line string) bool { return line == "---" || line == "EOF" || line == "```" })
			if end < 0 {
				end = len(lines)
			}
			if example := strings.Join(lines[:end], "\n"); !strings.Contains(example, " time: ") {
				t.Errorf("%s has an event without spec.time:%s", file, example)
			}
		}
	}
	if examples < 10 {
		t.Errorf("found %d examples: is this still where they are?", examples)
	}
}
