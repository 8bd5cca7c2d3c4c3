// kubectl-horizon is a kubectl plugin: kubectl horizon shows webhooks, their logs and
// why something was not sent, and sends it again.
package main

import (
	"cmp"
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/horizoncd/webhook-operator/internal/cli"
)

// version is set by the linker, or else by go install.
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	code := cli.Run(ctx, streams, cmp.Or(version, installed()), os.Args[1:])
	stop()
	os.Exit(code)
}

// installed is the version of the module that go install has built.
func installed() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "(devel)" {
		return "dev"
	}
	return cmp.Or(info.Main.Version, "dev")
}
