package cli

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/internal/change"
)

// askAll asks for every target to be sent again.
func (r *resend) askAll(ctx context.Context) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	pace := rate.NewLimiter(rate.Limit(r.perSecond), 1)
	shown := r.progress("Sending again", len(r.targets))
	defer shown.end()
	asked := r.targets[:0]
	for i, t := range r.targets {
		if err := pace.Wait(ctx); err != nil {
			return r.interrupted(ctx, shown, i, ctx.Err())
		}
		switch err := change.Resend(ctx, c, client.ObjectKey{Namespace: t.namespace, Name: t.name}, r.value); {
		case apierrors.IsNotFound(err):
			shown.end()
			fmt.Fprintf(r.ErrOut, "%s was removed meanwhile.\n", oneLine(t.name))
		case err != nil:
			return r.interrupted(ctx, shown, i, err)
		default:
			asked = append(asked, t)
		}
		shown.set(i + 1)
	}
	shown.end()
	r.targets = asked
	if len(r.names) == 1 && len(asked) == 1 {
		fmt.Fprintf(r.Out, "%s is sent again.\n", oneLine(asked[0].name))
		return nil
	}
	fmt.Fprintf(r.Out, "%s sent again, with the value %s.\n", count(len(asked), "delivery is", "deliveries are"), oneLine(r.value))
	return nil
}

// interrupted says how far it came, and how to go on.
func (r *resend) interrupted(ctx context.Context, shown *progress, done int, err error) error {
	shown.end()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if done == 0 && !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Fprintf(r.ErrOut, "%d of %d were asked for. To go on:\n\n  %s\n\n", done, len(r.targets), printable(r.commandToContinue()))
	return err
}
