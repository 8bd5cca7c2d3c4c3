package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/horizoncd/webhook-operator/internal/format"
)

func newTemplate(p *plugin) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "template list | show FORMAT",
		GroupID: groupTry,
		Short:   "Show the formats of bodies, and each as a template to begin with",
		Long: `Show the formats that spec.payload.format of a webhook can name, and what each sends as a template: a CEL expression
that makes the same values, to be edited and put into spec.payload.template. No cluster is asked.

Those of chat services also sign as the service asks, know what it answers, and keep its rate limit.`,
		Example: `  # Which formats are there?
  kubectl horizon template list

  # A template to begin with: once it is edited, it is checked and then put into a webhook
  kubectl horizon template show CloudEvents > template.cel
  kubectl horizon edit smoke-tests --template-file template.cel --dry-run server
  kubectl horizon edit smoke-tests --template-file template.cel`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %q: it is list or show FORMAT", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var noHeaders bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List the formats of bodies",
		Long: `List the formats of bodies, with what proves who sends where the webhook names secrets, and how many requests are made at
most unless spec.rateLimit of the webhook says otherwise.`,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return p.listTemplates(noHeaders) },
	}
	list.Flags().BoolVar(&noHeaders, "no-headers", false, "leave the titles of the columns out")
	show := &cobra.Command{
		Use:   "show FORMAT",
		Short: "Print a template that makes what a format makes",
		Long: `Print a template that makes what a format makes, ready for spec.payload.template. Comments at its top say what a
template cannot write as the format does.`,
		Args:              one("a format, which `kubectl horizon template list` lists"),
		ValidArgsFunction: completeFormats,
		RunE:              func(_ *cobra.Command, args []string) error { return p.showTemplate(args[0]) },
	}
	cmd.AddCommand(list, show)
	return cmd
}

// formatNames are the names of all formats, the default first.
func formatNames() []string {
	var names []string
	for _, f := range format.All() {
		names = append(names, string(f.Name))
	}
	return names
}

// completeFormats completes the first argument, or a flag, with names of formats.
func completeFormats(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if len(args) > 0 {
		return nil, directive
	}
	var all []cobra.Completion
	for _, f := range format.All() {
		all = append(all, cobra.CompletionWithDesc(string(f.Name), f.Summary))
	}
	return all, directive
}

func (p *plugin) listTemplates(noHeaders bool) error {
	g := &grid{noHeaders: noHeaders, columns: []column{{title: "FORMAT"}, {title: "PROOF"}, {title: "RATE LIMIT"}, {title: "BODY"}}}
	for _, f := range format.All() {
		proof := f.Proof
		switch {
		case f.Signs():
			proof = "address, signed"
		case f.Room:
			proof = "address"
		}
		g.add(string(f.Name), dash(proof), dash(f.RateLimit.String()), f.Summary)
	}
	g.wrapLast(p.width)
	return g.print(p.Out, p.width)
}

func (p *plugin) showTemplate(name string) error {
	if f := formatOf(name); f != nil {
		_, err := io.WriteString(p.Out, about(f)+f.Template())
		return err
	}
	return usagef("%q is no format: there are %s", name, strings.Join(formatNames(), ", "))
}

// formatOf returns a format by its name, in any case; nil where there is none.
func formatOf(name string) *format.Format {
	for _, f := range format.All() {
		if strings.EqualFold(string(f.Name), name) {
			return f
		}
	}
	return nil
}

// about says in comments what else a room's format does.
func about(f *format.Format) string {
	if !f.Room {
		return ""
	}
	text := "// " + f.Title + " gets " + f.Summary + ". Proof: " + f.Proof + ".\n"
	if f.Judges() {
		text += "// What it answers is judged by the format: a 200 that says otherwise is a failure.\n"
	}
	if f.RateLimit.Requests > 0 {
		text += "// Rate limit: " + f.RateLimit.String() + ", unless spec.rateLimit says otherwise.\n"
	}
	return text
}
