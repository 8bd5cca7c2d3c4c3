package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/dispatch"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/retention"
)

const (
	// retentionBatch is how many deliveries of a webhook go in one round, so that
	// deleting does not come in bursts that slow deliveries down.
	retentionBatch = 100
	// retentionPause is the time between two rounds.
	retentionPause = time.Second
)

// retentionReconciler deletes finished deliveries whose time is over, and helps
// the garbage collector with those of Webhooks that are gone.
type retentionReconciler struct {
	client client.Client
	live   client.Reader
	ledger *ledger.Ledger
	router *router
	clock  clock.PassiveClock
}

func (r *retentionReconciler) setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("retention").
		For(&v1alpha1.Webhook{}).
		WatchesRawSource(r.router.retention.source(r.begin)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, RateLimiter: failureBackoff[reconcile.Request]()}).
		Complete(r)
}

// begin looks at all webhooks that deliveries are known of, also those that are
// gone. The names of all events must be known before: an event without one counts
// as gone.
func (r *retentionReconciler) begin(ctx context.Context) error {
	if err := r.ledger.WaitSynced(ctx); err != nil {
		return err
	}
	var events v1alpha1.WebhookEventList
	if err := r.client.List(ctx, &events, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing events: %w", err)
	}
	for i := range events.Items {
		r.router.keys.Store(events.Items[i].UID, client.ObjectKeyFromObject(&events.Items[i]))
	}
	for _, name := range r.ledger.Webhooks() {
		r.router.retention.add(reconcile.Request{NamespacedName: name})
	}
	return nil
}

// Reconcile implements reconcile.Reconciler.
func (r *retentionReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	entries := r.ledger.OfWebhook(request.NamespacedName)
	if len(entries) == 0 {
		return reconcile.Result{}, nil
	}
	w := &v1alpha1.Webhook{}
	if err := r.client.Get(ctx, request.NamespacedName, w); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	own, orphaned, left := sortOut(entries, w.UID)
	remove, again := retention.Select(own, retention.PolicyOf(w), r.clock.Now(), r.dispatched(ctx))
	more, later := retention.Select(orphaned, retention.PolicyOf(&v1alpha1.Webhook{}), r.clock.Now(), r.dispatched(ctx))
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
	for i, e := range remove {
		if i == retentionBatch {
			return reconcile.Result{RequeueAfter: retentionPause}, nil
		}
		if err := r.delete(ctx, e); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{RequeueAfter: r.until(again, later)}, nil
}

// sortOut divides the deliveries of a name into those of its Webhook, those that
// were orphaned and stay as records, and those left by a Webhook that is gone.
func sortOut(entries []ledger.Entry, uid types.UID) (own, orphaned, left []ledger.Entry) {
	for _, e := range entries {
		switch {
		case e.Draft != nil:
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
func (r *retentionReconciler) gone(ctx context.Context, name types.NamespacedName, cached types.UID) (bool, error) {
	w := &v1alpha1.Webhook{}
	if err := r.live.Get(ctx, name, w); err != nil {
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
	return w.UID == cached, nil
}

// dispatched tells whether the event of a delivery could make it be drafted again.
func (r *retentionReconciler) dispatched(ctx context.Context) func(ledger.Entry) bool {
	return func(e ledger.Entry) bool {
		key, ok := r.router.keys.Load(e.EventUID)
		if !ok {
			return true // the event is gone
		}
		event := &v1alpha1.WebhookEvent{}
		if err := r.client.Get(ctx, key.(types.NamespacedName), event); err != nil {
			return apierrors.IsNotFound(err)
		}
		return dispatch.Dispatched(event)
	}
}

func (r *retentionReconciler) delete(ctx context.Context, e ledger.Entry) error {
	d := &v1alpha1.WebhookDelivery{ObjectMeta: metav1.ObjectMeta{Namespace: e.Key.Namespace, Name: e.Key.Name}}
	err := r.client.Delete(ctx, d, client.Preconditions{UID: &e.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if apierrors.IsNotFound(err) {
		r.ledger.Remove(e.Key, "")
	}
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("deleting delivery %s: %w", e.Key.Name, err)
}

// until returns the time until the earlier of two points in time, zero if there
// are none.
func (r *retentionReconciler) until(a, b time.Time) time.Duration {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		a = b
	}
	if a.IsZero() {
		return 0
	}
	return max(a.Sub(r.clock.Now()), retentionPause)
}
