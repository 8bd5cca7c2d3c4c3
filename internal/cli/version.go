package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newVersion(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this plugin",
		Args:  none,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(p.Out, "kubectl-horizon", p.version)
			return err
		},
	}
}
