// Reference prints docs/kubectl-horizon.md. make generate calls it.
package main

import (
	"os"

	"github.com/horizoncd/webhook-operator/internal/cli"
)

func main() {
	if _, err := os.Stdout.WriteString(cli.Reference()); err != nil {
		os.Exit(1)
	}
}
