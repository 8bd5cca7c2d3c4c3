package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	// attemptTimeout bounds one request to the API server.
	attemptTimeout = 8 * time.Second
	// firstPause and longestPause are between tries; a Retry-After may say more.
	firstPause   = 100 * time.Millisecond
	longestPause = 3 * time.Second
	// looksAtOnce is in how many namespaces a name is looked for at a time.
	looksAtOnce = 16
)

// result is what became of an event. The values are those of a metric's label.
type result string

const (
	// created: the API server has stored it.
	created result = "created"
	// existing: it was there already.
	existing result = "existing"
	// invalid: the API server will never take it.
	invalid result = "invalid"
	// conflict: another event has its name.
	conflict result = "conflict"
	// refused: its namespace does not take it now (403, 404).
	refused result = "refused"
	// unavailable: the API server did not answer, or in a way that passes.
	unavailable result = "unavailable"
	// unknownPath: Horizon did not say where it belongs.
	unknownPath result = "unknown_path"
)

// final tells whether another try would come to the same.
func (r result) final() bool {
	return r == created || r == existing || r == invalid || r == conflict
}

// outcome is what became of an event, where, and why.
type outcome struct {
	result result
	key    types.NamespacedName
	reason string
}

// writer creates events, each of them once.
type writer struct {
	client client.Client
	clock  clock.WithTicker
}

// create stores an event in a namespace, unless one of the others has it already: routes
// and paths change. It tries again what may pass, until the context ends. A try that is
// under way then is not given up: what came of it would not be known.
func (w *writer) create(ctx context.Context, e *v1alpha1.WebhookEvent, others []string) outcome {
	key := client.ObjectKeyFromObject(e)
	pause := firstPause
	for {
		o, err := w.try(ctx, e, others)
		if err == nil {
			return o
		}
		// It may have been stored all the same: then the next try finds it.
		rest := wait.Jitter(pause/2, 1)
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			rest = max(rest, time.Duration(seconds)*time.Second)
		}
		if end, ok := ctx.Deadline(); ok && w.clock.Now().Add(rest).After(end) {
			return outcome{unavailable, key, err.Error()}
		}
		select {
		case <-ctx.Done():
			return outcome{unavailable, key, err.Error()}
		case <-w.clock.After(rest):
		}
		pause = min(2*pause, longestPause)
	}
}

// try makes one try. It fails where another one may come to something else.
func (w *writer) try(ctx context.Context, e *v1alpha1.WebhookEvent, others []string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	key := client.ObjectKeyFromObject(e)
	if found, err := w.find(ctx, e.Name, others); err != nil {
		return outcome{}, fmt.Errorf("looking for the event: %w", err)
	} else if found != nil {
		return compare(found, e), nil
	}
	stored := e.DeepCopy()
	err := w.client.Create(ctx, stored)
	switch {
	case err == nil:
		return outcome{created, key, ""}, nil
	case apierrors.IsAlreadyExists(err):
		found := &v1alpha1.WebhookEvent{}
		if err := w.client.Get(ctx, key, found); apierrors.IsNotFound(err) {
			return outcome{existing, key, ""}, nil // and deleted since
		} else if err != nil {
			return outcome{}, fmt.Errorf("reading the event that has this name: %w", err)
		}
		return compare(found, e), nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return outcome{invalid, key, err.Error()}, nil
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return outcome{refused, key, err.Error()}, nil
	default:
		return outcome{}, fmt.Errorf("creating the event: %w", err)
	}
}

// compare tells whether the event in store is the one that has come.
func compare(found, e *v1alpha1.WebhookEvent) outcome {
	key := client.ObjectKeyFromObject(found)
	if d := difference(&found.Spec, &e.Spec); d != "" {
		return outcome{conflict, key, fmt.Sprintf(
			"another event is called %s: %s; has Horizon's database been reset, or is this another Horizon? then give it --name-prefix", key, d)}
	}
	return outcome{existing, key, ""}
}

// find looks for an event in some namespaces. A namespace that is gone, or that the bridge
// has no role in, has none: nobody else's events must wait for it.
func (w *writer) find(ctx context.Context, name string, namespaces []string) (*v1alpha1.WebhookEvent, error) {
	found := make([]*v1alpha1.WebhookEvent, len(namespaces))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for i, namespace := range namespaces {
		group.Go(func() error {
			e := &v1alpha1.WebhookEvent{}
			err := w.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, e)
			if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
				return nil
			}
			found[i] = e
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(found, func(e *v1alpha1.WebhookEvent) bool { return e != nil }); i >= 0 {
		return found[i], nil
	}
	return nil, nil
}

// newEvent makes an event of what a body tells, with what the bridge knows beside it.
func newEvent(prefix string, namespace, path string, at time.Time, spec v1alpha1.WebhookEventSpec) *v1alpha1.WebhookEvent {
	spec.ResourcePath, spec.Time = path, metav1.NewTime(at)
	return &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name(prefix, spec.EventID)},
		Spec:       spec,
	}
}

// errNoEventID is why a body cannot become an event, whatever the API server says.
var errNoEventID = errors.New("eventID is missing, or below 1: every event of Horizon has one")
