package main

import (
	"flag"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
)

const page = "../../docs/horizon.md"

// Every command line of the page is one that the program takes, and it has what check
// recommends.
func TestCommandLinesOfDocuments(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	parse := func(line string) (options, error) {
		flags := flag.NewFlagSet("horizon-bridge", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		return parseOptions(flags, strings.Fields(strings.ReplaceAll(line, "\\\n", " ")))
	}
	if _, err := parse("check --no-such-flag"); err == nil {
		t.Error("an unknown flag is taken")
	}
	lines := regexp.MustCompile(`(?m)^(?:horizon-bridge|.* /horizon-bridge) ((?:[^\\\n]|\\\n)+)$`).FindAllStringSubmatch(text, -1)
	if len(lines) != 3 {
		t.Errorf("%d command lines, where the page has three", len(lines))
	}
	for _, line := range lines {
		if o, err := parse(line[1]); err != nil || o.routesFile == "" || o.horizonURL == "" {
			t.Errorf("%s: %+v, %v", line[0], o, err)
		}
	}
	if !strings.Contains(text, "```yaml\n"+scopesEntry+"```\n") {
		t.Errorf("%s has another entry for Horizon's scopes than check recommends:\n%s", page, scopesEntry)
	}
	for _, about := range []string{"1. A scope for webhooks", "2. The token of a robot", "4. The webhook"} {
		if !strings.Contains(text, "\n## "+about+"\n") {
			t.Errorf("%s has no step %q, which check names", page, about)
		}
	}
}
