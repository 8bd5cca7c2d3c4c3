package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// output is what -o asks for: the command's own words, wide or not, or the object as
// kubectl prints it.
type output struct {
	flags     *genericclioptions.PrintFlags
	NoHeaders bool
}

// addTo adds -o to a command. Where own is set, the command has words of its own for
// -o wide, and headers.
func (o *output) addTo(cmd *cobra.Command, wide bool) {
	o.flags = genericclioptions.NewPrintFlags("").WithTypeSetter(scheme)
	o.flags.AddFlags(cmd)
	formats := o.flags.AllowedFormats()
	if wide {
		formats = append(formats, "wide")
		cmd.Flags().BoolVar(&o.NoHeaders, "no-headers", false, "leave the titles of the columns out")
	}
	slices.Sort(formats)
	cmd.Flags().Lookup("output").Usage = "print it as " + strings.Join(formats, ", ") + "; without, in this command's own words"
	_ = cmd.Flags().MarkHidden("allow-missing-template-keys") // as kubectl has it, and few look for it
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// own tells whether the command prints in its own words.
func (o *output) own() bool { return *o.flags.OutputFormat == "" || o.wide() }

func (o *output) wide() bool { return *o.flags.OutputFormat == "wide" }

// checkFormat checks what -o says, before anything is asked of the API server.
func (o *output) checkFormat() error {
	if o.own() {
		return nil
	}
	if _, err := o.flags.ToPrinter(); err != nil {
		return usageError{err}
	}
	return nil
}

// print writes an object as -o asks for.
func (o *output) print(p *plugin, object runtime.Object) error {
	printer, err := o.flags.ToPrinter()
	if err != nil {
		return usageError{err}
	}
	return printer.PrintObj(object, p.Out)
}
