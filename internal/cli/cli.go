// Package cli is kubectl horizon: webhooks, their logs, and why something was or was not
// sent, in a terminal and with the rights of whoever runs it. What objects mean is said
// by internal/insight; this package asks it and prints.
package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// Exit codes.
const (
	exitError = 1
	exitUsage = 2
	// exitUnmet: what was asked for did not hold (--wait, lint, verify, check).
	exitUnmet = 3
)

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef returns a mistake in the command line.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errUnmet ends a command that has said by itself what did not hold.
var errUnmet = errors.New("what was asked for does not hold")

// Run runs the command line and returns the exit code.
func Run(ctx context.Context, streams genericiooptions.IOStreams, version string, args []string) int {
	return execute(ctx, newPlugin(streams, version), args)
}

func execute(ctx context.Context, p *plugin, args []string) int {
	root := newRoot(p)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUnmet):
		return exitUnmet
	}
	fmt.Fprintln(p.ErrOut, "error: "+printable(explain(err)))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitError
}

// The order of commands is that of a day's work.
func init() { cobra.EnableCommandSorting = false }

// newRoot returns the command with all that are below it.
func newRoot(p *plugin) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-horizon",
		Short: "Webhooks of Horizon: create them, read their logs, ask why, send again",
		Long: `Webhooks of Horizon: create them, read their logs, ask why something was or was not sent, and send it again.

All is done with your own kubeconfig and rights. Nothing has to be installed in the cluster but the operator.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl horizon"},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          knownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.ErrOut)
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "triggers" { // as the field is called
			name = "trigger"
		}
		if before, ok := strings.CutSuffix(name, "-from-file"); ok { // as kubectl create secret has it
			name = before + "-file"
		}
		return pflag.NormalizedName(name)
	})
	root.AddGroup(
		&cobra.Group{ID: groupWebhooks, Title: "Webhooks:"},
		&cobra.Group{ID: groupLogs, Title: "Logs:"},
		&cobra.Group{ID: groupTry, Title: "Try and understand:"},
		&cobra.Group{ID: groupMove, Title: "Come over from Horizon:"},
	)
	root.SetHelpCommandGroupID("")
	p.kube.AddFlags(root.PersistentFlags())
	for _, hidden := range hiddenFlags {
		if f := root.PersistentFlags().Lookup(hidden); f != nil {
			f.Hidden = true
		}
	}
	_ = root.RegisterFlagCompletionFunc("namespace", p.completeNamespaces)
	for _, add := range commands {
		c := add(p)
		takeKinds(c)
		root.AddCommand(c)
	}
	wrapArgs(root)
	return root
}

// Groups of commands in the help.
const (
	groupWebhooks = "webhooks"
	groupLogs     = "logs"
	groupTry      = "try"
	groupMove     = "move"
)

// commands make the commands, in the order of the help.
var commands = []func(*plugin) *cobra.Command{
	newList, newShow, newCreate, newEdit, newPause, newResume, newDisable, newDelete, newDashboard,
	newLogs, newLog, newResend,
	newTest, newReplay, newWhy, newRender, newTemplate, newLint, newListen, newVerify,
	newImport,
	newCheck, newCompletion, newVersion,
}

// hiddenFlags are those of kubectl that work here, too, and that few look for.
var hiddenFlags = []string{
	"as-group", "as-uid", "as-user-extra", "cache-dir", "certificate-authority", "client-certificate", "client-key",
	"cluster", "disable-compression", "insecure-skip-tls-verify", "server", "tls-server-name", "token", "user",
}

// wrapArgs makes mistakes in arguments of the command and all below it usage errors.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef("%w\nUsage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// knownCommand says which command may be meant by one that there is not.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", args[0])
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		text += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text + " kubectl horizon --help lists all")
}

// flagError makes a usage error of a mistake in flags, and says which flag may be meant.
func flagError(cmd *cobra.Command, err error) error {
	help := "\nSee: " + cmd.CommandPath() + " --help"
	if number, ok := errors.AsType[*strconv.NumError](err); ok {
		what := "it has to be a whole number"
		if errors.Is(err, strconv.ErrRange) {
			what = "it is out of range"
		}
		return usagef("%s%s", strings.ReplaceAll(err.Error(), number.Error(), what), help)
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || len(unknown.GetSpecifiedName()) < 2 {
		return usagef("%w%s", err, help)
	}
	given := unknown.GetSpecifiedName()
	var near []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && (strings.HasPrefix(f.Name, given) || strings.HasPrefix(given, f.Name)) {
			near = append(near, "--"+f.Name)
		}
	})
	if len(near) > 0 {
		return usagef("%w: did you mean %s?%s", err, strings.Join(near, " or "), help)
	}
	return usagef("%w%s", err, help)
}

// newPlugin returns what all commands share.
func newPlugin(streams genericiooptions.IOStreams, version string) *plugin {
	kube := genericclioptions.NewConfigFlags(false) // which reads the kubeconfig each time
	return &plugin{
		IOStreams: streams, kube: kube, version: version, now: time.Now,
		width: terminalWidth(streams.Out), interactive: isTerminal(streams.In),
	}
}

// oneOf checks the value of a flag against those that there are.
func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usagef("--%s %q is not one of %s", flag, value, strings.Join(allowed, ", "))
}
