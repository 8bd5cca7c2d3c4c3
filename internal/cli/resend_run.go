package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	// writeTimeout bounds a write that is under way when a command is interrupted: it is
	// ended first, so that what is said of it is true.
	writeTimeout = 30 * time.Second
	// writeTries is how often a write is tried while the API server is in trouble, with
	// pauses of firstPause and more between.
	writeTries = 6
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
		switch err := r.ask1(ctx, c, t); {
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

// ask1 sets the annotation of one delivery. It outlives an interruption.
func (r *resend) ask1(ctx context.Context, c client.Client, t *target) error {
	patch, err := annotate(v1alpha1.AnnotationResend, r.value)
	if err != nil {
		return err
	}
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookDelivery"))
	object.Namespace, object.Name = t.namespace, t.name
	pause := firstPause
	for try := 1; ; try++ {
		err := patchOnce(ctx, c, object, patch)
		if err == nil || !passing(err) || try == writeTries {
			return err
		}
		if !sleep(ctx, pause) {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

func patchOnce(ctx context.Context, c client.Client, object client.Object, patch client.Patch) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	return c.Patch(ctx, object, patch)
}

// annotate is a merge patch that sets an annotation or, with an empty value, takes it away.
func annotate(key, value string) (client.Patch, error) {
	annotations := map[string]any{key: value}
	if value == "" {
		annotations[key] = nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return nil, err
	}
	return client.RawPatch(types.MergePatchType, patch), nil
}

// passing tells whether another try may help: the API server is in trouble, or starts.
func passing(err error) bool {
	if _, answered := errors.AsType[*apierrors.StatusError](err); !answered {
		return true
	}
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
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
