package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Reference returns a page in Markdown with all commands, as their --help has them.
func Reference() string {
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, "")
	root := newRoot(p)
	var b strings.Builder
	b.WriteString("<!-- Written by make generate from internal/cli. -->\n\n# kubectl horizon\n\n")
	b.WriteString(strings.TrimSpace(root.Long) + "\n\n")
	b.WriteString("[recipes.md](recipes.md) says which command helps with what. `--help` of each says the same as this page.\n\n")
	b.WriteString("| command | |\n|---|---|\n")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", c.Name(), c.Name(), c.Short)
		}
	}
	b.WriteString("\nExit codes: 0; 1 for an error; 2 for a mistake in the command line; 3 where what was asked for did not hold " +
		"(`--wait`, `lint`, `verify`, `check`).\n")
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			describeCommand(&b, c, "## ", c.Name())
			for _, sub := range c.Commands() {
				describeCommand(&b, sub, "### ", c.Name()+" "+sub.Name())
			}
		}
	}
	b.WriteString("\n## Flags of all commands\n\n")
	describeFlags(&b, root.PersistentFlags())
	return b.String()
}

func describeCommand(b *strings.Builder, c *cobra.Command, heading, name string) {
	fmt.Fprintf(b, "\n%s%s\n\n", heading, name)
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	b.WriteString(strings.TrimSpace(text) + "\n\n```\n" + c.UseLine() + "\n```\n")
	if c.Example != "" {
		b.WriteString("\n```sh\n" + strings.Trim(dedent(c.Example), "\n") + "\n```\n")
	}
	if c.LocalNonPersistentFlags().HasAvailableFlags() {
		b.WriteString("\n")
		describeFlags(b, c.LocalNonPersistentFlags())
	}
}

func describeFlags(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | |\n|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		placeholder, usage := pflag.UnquoteUsage(f)
		if placeholder != "" {
			name += " " + placeholder
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default `" + f.DefValue + "`)"
		}
		fmt.Fprintf(b, "| %s | %s |\n", name, strings.NewReplacer("|", `\|`, "\n", " ").Replace(usage))
	})
}

// dedent takes the indentation off that all lines of an example share.
func dedent(s string) string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	least := -1
	for _, line := range lines {
		if text := strings.TrimLeft(line, " "); text != "" && (least < 0 || len(line)-len(text) < least) {
			least = len(line) - len(text)
		}
	}
	for i, line := range lines {
		lines[i] = line[min(max(least, 0), len(line)):]
	}
	return strings.Join(lines, "\n")
}
