// Package retention deletes what its time is over of: deliveries that have finished, and
// events that nothing more happens to.
package retention

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/retention"
)

const (
	// batchSize is how many deliveries of a webhook go in one round, before
	// others have their turn, or one in largestPart of those to go: each round
	// looks at all again.
	batchSize   = 500
	largestPart = 8
	// perDeleter is how many deliveries there have to be for one more delete at
	// a time, up to maxDeleters: deleting keeps up with creating, and a few are
	// no burst that slows deliveries.
	perDeleter  = 100
	maxDeleters = 16
	// fullFor is for how long the store counts as full after the last sign of
	// it, which comes with each try to renew the lease.
	fullFor = 10 * time.Second
)

// Deliveries deletes finished deliveries whose time is over, and helps the garbage
// collector with those of Webhooks that are gone. That is the leader's work, unless the
// store is full: then there can be no leader, since a lease cannot be written, and a
// plain delete is all that works. Its exported fields are set before Setup.
type Deliveries struct {
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader client.Reader
	Clock     clock.PassiveClock
	Ledger    *ledger.Ledger
	Events    *eventcache.Cache
	Enqueuer  *enqueue.Enqueuer
	// Deleted counts.
	Deleted prometheus.Counter
	// EtcdFull tells, each time anew, that nothing can be written any more for want of
	// space. Nil is never.
	EtcdFull <-chan struct{}

	leads     atomic.Bool
	fullUntil atomic.Pointer[time.Time]
}

// Setup adds the controller to a manager.
func (r *Deliveries) Setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("retention").
		For(&v1alpha1.Webhook{}).
		WatchesRawSource(r.Enqueuer.Retention.OnStart(func(ctx context.Context) error { return r.begin(ctx, mgr.Elected()) })).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 2,
			RateLimiter:             enqueue.Backoff[reconcile.Request](),
			NeedLeaderElection:      new(false),
		}).
		Complete(r)
}

// begin looks at all webhooks when this process becomes the leader, and whenever
// the store is full.
func (r *Deliveries) begin(ctx context.Context, elected <-chan struct{}) error {
	if err := r.Ledger.WaitSynced(ctx); err != nil {
		return err
	}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-elected:
				elected = nil
				r.open(ctx, func() { r.leads.Store(true) })
			case <-r.EtcdFull:
				r.open(ctx, func() { r.fullUntil.Store(new(r.Clock.Now().Add(fullFor))) })
			}
		}
	}()
	return nil
}

// open lets deleting begin, and looks at all webhooks that deliveries are known of,
// also those that are gone. All events have to be known before: one that is not
// counts as gone.
func (r *Deliveries) open(ctx context.Context, begin func()) {
	if r.Events.WaitSynced(ctx) != nil {
		return
	}
	begin()
	for _, name := range r.Ledger.Webhooks() {
		r.Enqueuer.Retention.Add(reconcile.Request{NamespacedName: name})
	}
}

// mayDelete is false on a standby.
func (r *Deliveries) mayDelete() bool {
	until := r.fullUntil.Load()
	return r.leads.Load() || until != nil && r.Clock.Now().Before(*until)
}

// Reconcile implements reconcile.Reconciler.
func (r *Deliveries) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if !r.mayDelete() {
		return reconcile.Result{}, nil
	}
	entries := r.Ledger.OfWebhook(request.NamespacedName)
	if len(entries) == 0 {
		return reconcile.Result{}, nil
	}
	w := &v1alpha1.Webhook{}
	if err := r.Client.Get(ctx, request.NamespacedName, w); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	own, orphaned, left := sortOut(entries, w.UID)
	remove, again := retention.Select(own, retention.PolicyOf(w), r.Clock.Now(), r.deletable)
	more, later := retention.Select(orphaned, retention.PolicyOf(&v1alpha1.Webhook{}), r.Clock.Now(), r.deletable)
	remove = append(remove, more...)
	if len(left) > 0 {
		gone, err := r.gone(ctx, request.NamespacedName, w.UID)
		if err != nil {
			return reconcile.Result{}, err
		}
		if gone {
			remove = append(remove, left...)
		}
	}
	batch := min(len(remove), max(batchSize, len(remove)/largestPart))
	if err := r.deleteAll(ctx, remove[:batch], len(remove)); err != nil {
		return reconcile.Result{}, err
	}
	if len(remove) > batch {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil // behind the others
	}
	return reconcile.Result{RequeueAfter: r.until(again, later)}, nil
}

// deleteAll deletes deliveries, the more at a time the more there are in all. One
// that cannot be deleted, such as for a policy of the cluster, keeps no others.
func (r *Deliveries) deleteAll(ctx context.Context, remove []ledger.Entry, inAll int) error {
	var work errgroup.Group
	work.SetLimit(min(1+inAll/perDeleter, maxDeleters))
	for _, e := range remove {
		work.Go(func() error { return r.Delete(ctx, e) })
	}
	return work.Wait()
}

// sortOut divides the deliveries of a name into those of its Webhook, those that
// were orphaned and stay as records, and those left by a Webhook that is gone.
func sortOut(entries []ledger.Entry, uid types.UID) (own, orphaned, left []ledger.Entry) {
	for _, e := range entries {
		switch {
		case e.Pending != nil:
		case e.WebhookUID == "":
			orphaned = append(orphaned, e)
		case e.WebhookUID == uid:
			own = append(own, e)
		default:
			left = append(left, e)
		}
	}
	return own, orphaned, left
}

// gone makes sure, before anything irreversible, that no Webhook of the name but
// the one in the cache exists.
func (r *Deliveries) gone(ctx context.Context, name types.NamespacedName, cached types.UID) (bool, error) {
	w := &v1alpha1.Webhook{}
	if err := r.APIReader.Get(ctx, name, w); err != nil {
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
	return w.UID == cached, nil
}

// deletable tells whether the event of a delivery does not need it any longer: it was
// dispatched, so that it does not make it be sent again, and its counts tell of it.
func (r *Deliveries) deletable(of ledger.Entry) bool {
	e, ok := r.Events.Get(of.EventUID)
	return !ok || !e.Dispatched.IsZero() && !e.CountsDiffer(r.Ledger.OfEvent(e.UID))
}

// Delete deletes a delivery unless it has changed since e was seen: a resend may have been
// asked for, or it was orphaned, and the watch may lag behind.
func (r *Deliveries) Delete(ctx context.Context, e ledger.Entry) error {
	d := &v1alpha1.WebhookDelivery{ObjectMeta: metav1.ObjectMeta{Namespace: e.Key.Namespace, Name: e.Key.Name}}
	err := r.Client.Delete(ctx, d, client.PropagationPolicy(metav1.DeletePropagationBackground),
		client.Preconditions{UID: &e.UID, ResourceVersion: new(strconv.FormatUint(e.Version, 10))})
	switch {
	case apierrors.IsNotFound(err):
		r.Ledger.Remove(e.Key, "")
		return nil
	case err == nil:
		r.Deleted.Inc()
		r.Ledger.Remove(e.Key, "") // the watch may lag behind, and must not make it be deleted again
		return nil
	case apierrors.IsConflict(err):
		r.Enqueuer.RetainLater(e.Webhook)
		return nil
	}
	return fmt.Errorf("deleting delivery %s: %w", e.Key.Name, err)
}

// until returns the time until the earlier of two points in time, zero if there
// are none.
func (r *Deliveries) until(a, b time.Time) time.Duration {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		a = b
	}
	if a.IsZero() {
		return 0
	}
	return max(a.Sub(r.Clock.Now()), time.Second)
}
