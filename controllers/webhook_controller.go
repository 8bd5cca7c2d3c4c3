package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/webhookstatus"
)

const (
	// statusInterval is how far apart writes of numbers are.
	statusInterval = 10 * time.Second
	// mendingTime is how long after a Webhook became unusable its Secret is
	// looked at even though nothing waits for it: a Secret that is applied just
	// after its Webhook, say.
	mendingTime = 10 * time.Minute
)

// webhookReconciler keeps the status of Webhooks, and wakes their deliveries when
// something about them has changed.
type webhookReconciler struct {
	*shared

	writes ownWrites[*v1alpha1.Webhook]
	mu     sync.Mutex
	// known is what was last acted on, by name.
	known map[types.NamespacedName]acted
	// knownAtStart are the Webhooks that the cache had when this process began to
	// lead: all that it fans out has seen them.
	knownAtStart map[types.UID]bool
}

type acted struct {
	uid        types.UID
	generation int64
	deleting   bool
	ready      bool
	written    time.Time
}

func (r *webhookReconciler) setup(mgr ctrl.Manager) error {
	rechecks := manager.RunnableFunc(func(ctx context.Context) error {
		r.rechecks.Run(ctx, r.lacks, func(name types.NamespacedName) { r.recheck(ctx, name) })
		return nil
	})
	if err := mgr.Add(rechecks); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("webhook").
		For(&v1alpha1.Webhook{}).
		WatchesRawSource(r.router.webhooks.source(r.begin)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: failureBackoff[reconcile.Request]()}).
		Complete(r)
}

func (r *webhookReconciler) begin(ctx context.Context) error {
	var list v1alpha1.WebhookList
	if err := r.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing webhooks: %w", err)
	}
	r.knownAtStart = make(map[types.UID]bool, len(list.Items))
	for i := range list.Items {
		r.knownAtStart[list.Items[i].UID] = true
	}
	return nil
}

// Reconcile implements reconcile.Reconciler.
func (r *webhookReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	w := &v1alpha1.Webhook{}
	if err := r.client.Get(ctx, request.NamespacedName, w); err != nil {
		if apierrors.IsNotFound(err) {
			r.gone(request.NamespacedName)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	w = r.writes.of(w)
	before := r.acted(request.NamespacedName)
	endpoint := r.endpoints.of(w)
	if before.uid != w.UID || before.generation != w.Generation {
		r.credentials.Forget(w) // whoever edits it wants to see what comes of it
		if err := r.rematch(ctx, w, before); err != nil {
			return reconcile.Result{}, err
		}
	}
	with, err := r.credentials.Get(ctx, w)
	problem, _ := errors.AsType[*credentials.Error](err)
	if err != nil && problem == nil {
		return reconcile.Result{}, err
	}

	if problem == nil {
		endpoint.aim(with.Target)
	}

	now := acted{
		uid: w.UID, generation: w.Generation, deleting: !w.DeletionTimestamp.IsZero(),
		ready: problem == nil, written: before.written,
	}
	// Before anything is written, and whether or not that works.
	r.act(request.NamespacedName, before, now)
	known := endpoint.health()
	planned := webhookstatus.Status(webhookstatus.View{
		Webhook: w, Problem: problem, Note: with.Note, Counts: r.ledger.CountsOf(request.NamespacedName, w.UID),
		Last: known.latest, Open: known.open, Gone: known.gone, RestUntil: known.restUntil, RestReason: known.restReason,
		MaxWaiting: r.maxWaiting, Now: r.clock.Now(),
	})
	if r.rematches.pending(w.UID) {
		// A process that takes over must hold it against the past once more.
		planned.ObservedGeneration = w.Status.ObservedGeneration
	}
	result, err := r.write(ctx, w, planned, &now)
	if err != nil {
		return result, err
	}
	r.remember(request.NamespacedName, now)
	if problem != nil {
		if r.mayMend(w) {
			r.rechecks.Add(request.NamespacedName)
		}
		return sooner(result, webhookstatus.UntilStalled(planned, r.clock.Now())), nil
	}
	return result, nil
}

// sooner returns a result that comes after a time, unless it does before. Zero is
// never.
func sooner(result reconcile.Result, after time.Duration) reconcile.Result {
	if after > 0 && (result.RequeueAfter == 0 || after < result.RequeueAfter) {
		result.RequeueAfter = after
	}
	return result
}

// act wakes what waits for a Webhook when something about it has changed.
func (r *webhookReconciler) act(name types.NamespacedName, before, now acted) {
	r.remember(name, now)
	r.edits.settle(now.uid, now.generation)
	if before.uid != "" && before.uid != now.uid {
		r.forget(before.uid) // another one has taken its name
	}
	mended := false
	if now.ready {
		_, mended = r.unready.LoadAndDelete(now.uid)
	}
	if mended || now != before {
		wake(r.router, r.ledger, name)
	}
	r.queue.Reconsider(name)
}

// write stores a status that differs: at once where a condition does, else not
// more often than every ten seconds.
func (r *webhookReconciler) write(
	ctx context.Context, w *v1alpha1.Webhook, planned v1alpha1.WebhookStatus, now *acted,
) (reconcile.Result, error) {
	if webhookstatus.Equal(w.Status, planned) || now.deleting {
		return reconcile.Result{}, nil
	}
	if !webhookstatus.Urgent(w.Status, planned, r.clock.Now()) {
		if wait := statusInterval - r.clock.Since(now.written); wait > 0 {
			return reconcile.Result{RequeueAfter: wait}, nil
		}
	}
	base := w.DeepCopy()
	was := meta.FindStatusCondition(base.Status.Conditions, v1alpha1.ConditionReady)
	w.Status = planned
	if err := r.client.Status().Patch(ctx, w, locked(base)); err != nil {
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: time.Second}, nil // the cache lags behind
		}
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("writing the status of webhook %s: %w", w.Name, err))
	}
	r.writes.put(w)
	now.written = r.clock.Now()
	is := meta.FindStatusCondition(planned.Conditions, v1alpha1.ConditionReady)
	switch ready := is.Status == metav1.ConditionTrue; {
	case !ready && (was == nil || was.Reason != is.Reason), ready && was != nil && was.Status == metav1.ConditionFalse:
		r.notify.webhook(w, ready, is.Reason, is.Message)
	}
	return reconcile.Result{}, nil
}

// mayMend tells whether to look again at what a Webhook lacks: something waits for it,
// or it is missed only lately.
func (r *webhookReconciler) mayMend(w *v1alpha1.Webhook) bool {
	waits := func(e ledger.Entry) bool { return e.WebhookUID == w.UID && e.NeedsAttention() }
	if slices.ContainsFunc(r.ledger.OfWebhook(client.ObjectKeyFromObject(w)), waits) {
		return true
	}
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
	since := w.CreationTimestamp.Time
	if c != nil && c.LastTransitionTime.After(since) {
		since = c.LastTransitionTime.Time
	}
	return r.clock.Since(since) < mendingTime
}

// lacks tells whether a Webhook could not be sent to when it was last looked at.
func (r *webhookReconciler) lacks(name types.NamespacedName) bool {
	known := r.acted(name)
	return known.uid != "" && !known.ready
}

// recheck reads afresh what a Webhook names.
func (r *webhookReconciler) recheck(ctx context.Context, name types.NamespacedName) {
	w := &v1alpha1.Webhook{}
	if err := r.client.Get(ctx, name, w); err != nil {
		return // it is gone
	}
	r.credentials.Forget(w)
	r.router.webhooks.add(reconcile.Request{NamespacedName: name})
}

// gone sees to what a Webhook leaves behind: its deliveries are looked at. Retention,
// which watches Webhooks, too, removes those that were its own.
func (r *webhookReconciler) gone(name types.NamespacedName) {
	r.mu.Lock()
	before, ok := r.known[name]
	delete(r.known, name)
	r.mu.Unlock()
	if ok {
		r.forget(before.uid)
	}
	r.endpoints.forget(name)
	wake(r.router, r.ledger, name)
}

func (r *webhookReconciler) forget(uid types.UID) {
	r.unready.Delete(uid)
	r.writes.forget(uid)
	r.edits.forget(uid)
}

func (r *webhookReconciler) acted(name types.NamespacedName) acted {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[name]
}

func (r *webhookReconciler) remember(name types.NamespacedName, now acted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[name] = now
}
