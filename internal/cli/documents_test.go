package cli

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"
)

// argument is one of a command line, with or without quotes.
var argument = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)

// checkLine tells whether a command line is one that the plugin takes, without running
// it.
func checkLine(line string) error {
	var args []string
	for _, arg := range argument.FindAllString(line, -1) {
		args = append(args, strings.Trim(arg, `'"`))
	}
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, "test")
	cmd, rest, err := newRoot(p).Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

var inText = regexp.MustCompile(`(?m)^(?:.*[|(] ?)?kubectl horizon ((?:[^\n\\|)]|\\\n)*)`)

// Every command line of the pages and files is one that the plugin takes.
func TestCommandLinesOfDocuments(t *testing.T) {
	if err := checkLine("logs --no-such-flag"); err == nil {
		t.Error("an unknown flag is taken")
	}
	for _, path := range []string{"README.md", "docs/recipes.md", "docs/operations.md", "docs/horizon.md", "test/dev/main.go"} {
		data, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		found := inText.FindAllStringSubmatch(string(data), -1)
		if len(found) == 0 && path != "docs/operations.md" {
			t.Errorf("%s has no command line", path)
		}
		for _, line := range found {
			if err := checkLine(strings.ReplaceAll(line[1], "\\\n", " ")); err != nil {
				t.Errorf("%s: kubectl horizon %s: %v", path, line[1], err)
			}
		}
	}
}

var inCode = regexp.MustCompile("(?:command\\(\"|kubectl horizon )([a-z]+)([^`\n]*)")

var flagInCode = regexp.MustCompile(`--([a-z][a-z-]*)`)

// The commands that the program itself recommends have the flags that it names.
func TestFlagsOfRecommendedCommands(t *testing.T) {
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, "test")
	commands, checked := newRoot(p), 0
	for _, dir := range []string{"internal/cli", "internal/insight"} {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range inCode.FindAllStringSubmatch(string(data), -1) {
				cmd, _, err := commands.Find(line[1:2])
				if err != nil || cmd == commands {
					continue // a sentence
				}
				for _, flag := range flagInCode.FindAllStringSubmatch(line[2], -1) {
					checked++
					if flag[1] != "help" && cmd.Flags().Lookup(flag[1]) == nil && cmd.InheritedFlags().Lookup(flag[1]) == nil {
						t.Errorf("%s: %s has no flag --%s", file, cmd.CommandPath(), flag[1])
					}
				}
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d flags were found", checked)
	}
}

func TestK9sPlugins(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "hack/plugin/k9s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Plugins map[string]struct {
			ShortCut, Description, Command string
			Scopes, Args                   []string
			Confirm, Background            bool
		}
	}
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for name, plugin := range file.Plugins {
		line := strings.Join(plugin.Args, " ")
		if plugin.Command == "sh" {
			line, _, _ = strings.Cut(plugin.Args[1], " 2>&1")
			line = strings.TrimPrefix(line, "kubectl ")
		}
		rest, ok := strings.CutPrefix(line, "horizon ")
		if !ok {
			t.Errorf("%s does not call kubectl horizon: %s", name, line)
		}
		if err := checkLine(rest); err != nil {
			t.Errorf("%s: %s: %v", name, line, err)
		}
		for _, scope := range plugin.Scopes {
			if other := keys[scope+plugin.ShortCut]; other != "" {
				t.Errorf("%s and %s have one key at %s", name, other, scope)
			}
			keys[scope+plugin.ShortCut] = name
		}
	}
}
