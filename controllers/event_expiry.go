package controllers

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
)

const (
	// expiryInterval is how far apart looks for events are whose time is over, so
	// that they go together; and the pause after a failure.
	expiryInterval = 10 * time.Second
	// longestExpiryInterval is how far apart they are where none is due: an event may
	// finish that is older than those that have.
	longestExpiryInterval = time.Minute
	// expiryBatch is how many go before the next look.
	expiryBatch = 500
)

// eventExpiry deletes events some time after their creation, once nothing more
// happens to them.
type eventExpiry struct {
	*shared
	ttl time.Duration
}

// Start implements manager.Runnable. It runs on the leader.
func (x *eventExpiry) Start(ctx context.Context) error {
	if x.ttl <= 0 {
		return nil
	}
	if err := x.events.WaitSynced(ctx); err != nil {
		return nil //nolint:nilerr // the operator was told to stop
	}
	for {
		wait, err := x.expire(ctx)
		if err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) { // a conflict: something happened to it after all
			log.FromContext(ctx).Error(err, "Failed to delete expired events")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-x.clock.After(wait):
		}
	}
}

// expire deletes some of the events whose time is over, and returns when to look
// again.
func (x *eventExpiry) expire(ctx context.Context) (time.Duration, error) {
	due, next := x.events.Oldest(expiryBatch, x.clock.Now().Add(-x.ttl))
	switch {
	case len(due) > 0:
		if err := x.deleteAll(ctx, due); err != nil {
			return expiryInterval, err
		}
		return time.Millisecond, nil
	case !next.IsZero():
		return min(max(next.Add(x.ttl).Sub(x.clock.Now()), expiryInterval), longestExpiryInterval), nil
	default:
		return longestExpiryInterval, nil
	}
}

// deleteAll deletes events a few at a time, the more the more there are. One that
// cannot be deleted keeps no others.
func (x *eventExpiry) deleteAll(ctx context.Context, due []eventcache.Event) error {
	var work errgroup.Group
	work.SetLimit(min(1+len(due)/(expiryBatch/maxDeleters), maxDeleters))
	for _, e := range due {
		work.Go(func() error {
			of := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: e.Key.Namespace, Name: e.Key.Name}}
			err := x.client.Delete(ctx, of, client.Preconditions{UID: &e.UID, ResourceVersion: new(strconv.FormatUint(e.Version, 10))})
			if client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("deleting event %s/%s: %w", e.Key.Namespace, e.Key.Name, err)
			}
			x.events.Remove(e.UID) // the watch may lag behind
			return nil
		})
	}
	return work.Wait()
}
