// Package program is how the programs under test/ begin and end.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// ErrFailed says that something was not as it should be; its line has told what.
var ErrFailed = errors.New("not all was as it should be")

// Run runs a program until it is over or interrupted, says what went wrong, and
// returns the exit code. To be interrupted is an error where run returns one that
// says so: 130 then, as of a shell.
func Run(name string, run func(context.Context) error) int {
	// Clients complain into it; what they cannot do is an error, too.
	quiet := zap.New(zap.WriteTo(io.Discard))
	ctrl.SetLogger(quiet)
	klog.SetLogger(quiet)
	// The first Ctrl-C ends everything in order; a second one ends this process
	// at once, and its children with it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := run(ctx)
	if err == nil {
		return 0
	}
	left := untold(err, ctx.Err() != nil)
	if len(left) == 0 && ctx.Err() != nil && !errors.Is(err, ErrFailed) {
		fmt.Fprintln(os.Stderr, "interrupted; everything that was started has ended")
		return 130
	}
	if len(left) > 0 {
		fmt.Fprintln(os.Stderr, name+":", errors.Join(left...))
	}
	return 1
}

// untold are the parts of an error that nobody has told yet: how things ended, beside
// why.
func untold(err error, interrupted bool) (left []error) {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, part := range joined.Unwrap() {
			left = append(left, untold(part, interrupted)...)
		}
		return left
	}
	if errors.Is(err, ErrFailed) || interrupted && errors.Is(err, context.Canceled) {
		return nil
	}
	return []error{err}
}
