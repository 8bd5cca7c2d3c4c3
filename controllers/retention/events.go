package retention

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
)

const (
	// expiryInterval is how far apart looks for events are whose time is over, so
	// that they go together.
	expiryInterval = 10 * time.Second
	// longestExpiryInterval is how far apart they are where none is due: an event may
	// finish that is older than those that have.
	longestExpiryInterval = time.Minute
	// failedInterval is for how long an event is left alone that could not be deleted.
	failedInterval = time.Minute
	// expiryBatch is how many go before the next look.
	expiryBatch = 500
)

// Events deletes events some time after their creation, once nothing more happens to
// them. It is a manager.Runnable.
type Events struct {
	Client client.Client
	Clock  clock.Clock
	Events *eventcache.Cache
	// TTL is how old they get. Zero keeps them for ever.
	TTL time.Duration

	// failed is when an event could not be deleted.
	failed map[types.UID]time.Time
}

// Start implements manager.Runnable. It runs on the leader.
func (x *Events) Start(ctx context.Context) error {
	if x.TTL <= 0 {
		return nil
	}
	if err := x.Events.WaitSynced(ctx); err != nil {
		return nil //nolint:nilerr // the operator was told to stop
	}
	for {
		wait, err := x.Expire(ctx)
		if err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "Failed to delete expired events")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-x.Clock.After(wait):
		}
	}
}

// Expire deletes some of the events whose time is over, and returns when to look
// again.
func (x *Events) Expire(ctx context.Context) (time.Duration, error) {
	now := x.Clock.Now()
	if x.failed == nil {
		x.failed = map[types.UID]time.Time{}
	}
	maps.DeleteFunc(x.failed, func(_ types.UID, at time.Time) bool { return now.Sub(at) >= failedInterval })
	due, next := x.Events.Oldest(expiryBatch, now.Add(-x.TTL), func(uid types.UID) bool {
		_, failed := x.failed[uid]
		return failed
	})
	switch {
	case len(due) > 0:
		return time.Millisecond, x.deleteAll(ctx, due)
	case !next.IsZero():
		return min(max(next.Add(x.TTL).Sub(now), expiryInterval), longestExpiryInterval), nil
	default:
		return longestExpiryInterval, nil
	}
}

// deleteAll deletes events a few at a time, the more the more there are. One that
// cannot be deleted, such as for a policy of the cluster, is left alone for a while,
// so that it stands before no others. It returns the first error that is no conflict:
// then something has happened to the event after all.
func (x *Events) deleteAll(ctx context.Context, due []eventcache.Event) error {
	var work errgroup.Group
	work.SetLimit(min(1+len(due)/(expiryBatch/maxDeleters), maxDeleters))
	errs := make([]error, len(due))
	for i, e := range due {
		work.Go(func() error {
			of := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: e.Key.Namespace, Name: e.Key.Name}}
			errs[i] = client.IgnoreNotFound(
				x.Client.Delete(ctx, of, client.Preconditions{UID: &e.UID, ResourceVersion: new(strconv.FormatUint(e.Version, 10))}))
			if errs[i] == nil {
				x.Events.Remove(e.UID) // the watch may lag behind
			}
			return nil
		})
	}
	_ = work.Wait()
	var first error
	for i, err := range errs {
		if err == nil {
			continue
		}
		x.failed[due[i].UID] = x.Clock.Now()
		if first == nil && !apierrors.IsConflict(err) {
			first = fmt.Errorf("deleting event %s: %w", due[i].Key, err)
		}
	}
	return first
}
