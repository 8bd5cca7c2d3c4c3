// Reference prints docs/kubectl-horizon.md. make generate calls it.
package main

import (
	"fmt"

	"github.com/horizoncd/webhook-operator/internal/cli"
)

func main() { fmt.Print(cli.Reference()) }
