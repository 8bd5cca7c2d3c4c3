package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// kubectlCompletion is what kubectl's own completion runs for the words after kubectl
// horizon: an executable kubectl_complete-horizon on PATH.
const kubectlCompletion = `#!/bin/sh
# kubectl runs this to complete: kubectl horizon …
exec kubectl-horizon __complete "$@"
`

func newCompletion(p *plugin) *cobra.Command {
	scripts := map[string]func(root *cobra.Command, out io.Writer) error{
		"kubectl": func(_ *cobra.Command, out io.Writer) error {
			_, err := io.WriteString(out, kubectlCompletion)
			return err
		},
		"bash": func(root *cobra.Command, out io.Writer) error { return root.GenBashCompletionV2(out, true) },
		"zsh":  func(root *cobra.Command, out io.Writer) error { return root.GenZshCompletion(out) },
		"fish": func(root *cobra.Command, out io.Writer) error { return root.GenFishCompletion(out, true) },
		"powershell": func(root *cobra.Command, out io.Writer) error {
			return root.GenPowerShellCompletionWithDesc(out)
		},
	}
	shells := []string{"kubectl", "bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion kubectl|bash|zsh|fish|powershell",
		Short: "Print a script that completes commands, names and flags",
		Long: `Print a script that completes commands, flags, and names of namespaces, webhooks, deliveries and events.

To complete "kubectl horizon …", kubectl's own completion has to be set up (kubectl completion --help), and looks on PATH
for an executable named kubectl_complete-horizon: "completion kubectl" prints it. On Windows, name it
kubectl_complete-horizon.bat, with the one line: @kubectl-horizon __complete %*

The others complete "kubectl-horizon …" in that shell.`,
		Example: `  # kubectl horizon …, in every shell that completes it
  kubectl horizon completion kubectl > ~/.local/bin/kubectl_complete-horizon
  chmod +x ~/.local/bin/kubectl_complete-horizon

  # kubectl-horizon …, in this bash
  source <(kubectl horizon completion bash)`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := scripts[args[0]]
			if !ok {
				return usagef("%q is not one of %v", args[0], shells)
			}
			if err := write(cmd.Root(), p.Out); err != nil {
				return fmt.Errorf("writing the script for %s: %w", args[0], err)
			}
			return nil
		},
	}
}
