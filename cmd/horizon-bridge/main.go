// Command horizon-bridge takes the events of a Horizon to a cluster as WebhookEvents.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker.
var version = "dev"

func main() {
	o, err := parseOptions(flag.CommandLine, os.Args[1:])
	if err == nil {
		err = run(ctrl.SetupSignalHandler(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "horizon-bridge:", err)
		os.Exit(1)
	}
}

// run does what the command line asks for, until the context ends.
func run(ctx context.Context, o options) error {
	if o.check {
		return check(ctx, o, os.Stdout)
	}
	return serve(ctx, o)
}
