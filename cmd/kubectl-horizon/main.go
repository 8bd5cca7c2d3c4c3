// kubectl-horizon is a kubectl plugin: kubectl horizon shows webhooks, their logs and
// why something was not sent, and sends it again.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/horizoncd/webhook-operator/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := cli.Run(ctx, streams, version, os.Args[1:])
	stop()
	os.Exit(code)
}
