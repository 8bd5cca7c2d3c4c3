// Package webhook keeps the status of Webhooks, and has what waits for one looked at
// when it changes.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/generation"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/internal/rematch"
	"github.com/horizoncd/webhook-operator/internal/validation"
	"github.com/horizoncd/webhook-operator/internal/webhookstatus"
)

const (
	// statusInterval is how far apart writes of numbers are.
	statusInterval = 10 * time.Second
	// recheckTime is how long after a Webhook became unusable its Secret is looked at
	// even though nothing waits for it: a Secret that is applied just after its
	// Webhook, say.
	recheckTime = 10 * time.Minute
)

// Reconciler keeps the status of Webhooks. Its exported fields are set before Setup.
type Reconciler struct {
	Client      client.Client
	Clock       clock.PassiveClock
	Recorder    events.EventRecorder
	Ledger      *ledger.Ledger
	Events      *eventcache.Cache
	Enqueuer    *enqueue.Enqueuer
	Queue       *queue.Queue
	Receivers   *receiver.Registry
	Credentials *credentials.Reader
	Rechecks    *credentials.RecheckQueue
	Generations *generation.Tracker
	Rematches   *rematch.Set
	// SystemNamespace is empty where it is not watched.
	SystemNamespace string
	// MaxWaiting bounds how many deliveries of one Webhook may wait.
	MaxWaiting int
	// ClusterNote returns what is worth knowing of the cluster at every Webhook, or nothing.
	ClusterNote func() string

	assumed assumeCache
	mu      sync.Mutex
	// observed is what was seen last, by name.
	observed map[types.NamespacedName]observed
	// filterFailures are the last ones, by the UID of the Webhook.
	filterFailures sync.Map
	// knownAtStart are the Webhooks that the cache had when this process began to
	// lead: all that it fans out has seen them.
	knownAtStart map[types.UID]bool
}

// observed is the state of a Webhook that its deliveries were last looked at with.
type observed struct {
	uid        types.UID
	generation int64
	deleting   bool
	ready      bool
	written    time.Time
}

// Setup adds the controller to a manager.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	rechecks := manager.RunnableFunc(func(ctx context.Context) error {
		r.Rechecks.Run(ctx, r.unusable, func(name types.NamespacedName) { r.recheck(ctx, name) })
		return nil
	})
	if err := mgr.Add(rechecks); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("webhook").
		For(&v1alpha1.Webhook{}).
		WatchesRawSource(r.Enqueuer.Webhooks.OnStart(r.begin)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: enqueue.Backoff[reconcile.Request]()}).
		Complete(r)
}

// EnqueueAll has the status of every Webhook looked at.
func (r *Reconciler) EnqueueAll(ctx context.Context) error {
	var list v1alpha1.WebhookList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing webhooks: %w", err)
	}
	for i := range list.Items {
		r.Enqueuer.Webhooks.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return nil
}

// begin remembers the Webhooks that there are when this process begins to lead.
func (r *Reconciler) begin(ctx context.Context) error {
	var list v1alpha1.WebhookList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing webhooks: %w", err)
	}
	r.knownAtStart = make(map[types.UID]bool, len(list.Items))
	for i := range list.Items {
		r.knownAtStart[list.Items[i].UID] = true
	}
	return nil
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	w := &v1alpha1.Webhook{}
	if err := r.Client.Get(ctx, request.NamespacedName, w); err != nil {
		if apierrors.IsNotFound(err) {
			r.gone(request.NamespacedName)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	w = r.assumed.latest(w)
	before := r.lastObserved(request.NamespacedName)
	to := r.Receivers.Of(w)
	if before.uid != w.UID || before.generation != w.Generation {
		r.Credentials.Forget(w) // whoever edits it wants to see what comes of it
		if err := r.rematch(ctx, w, before); err != nil {
			return reconcile.Result{}, err
		}
	}
	with, err := r.Credentials.Get(ctx, w)
	lacks, _ := errors.AsType[*credentials.Error](err)
	if err != nil && lacks == nil {
		return reconcile.Result{}, err
	}
	if lacks == nil {
		to.SetTarget(with.Target)
	}
	problem, sendable := problemOf(w, lacks)
	now := observed{
		uid: w.UID, generation: w.Generation, deleting: !w.DeletionTimestamp.IsZero(),
		ready: sendable, written: before.written,
	}
	// Before anything is written, and whether or not that works.
	r.observe(request.NamespacedName, to, before, now)
	planned := webhookstatus.Status(webhookstatus.View{
		Webhook: w, Problem: problem, Note: joined(with.Note, r.ClusterNote()), Counts: r.Ledger.CountsOf(request.NamespacedName, w.UID),
		Health: to.Health(), FilterFailure: r.filterFailure(w.UID), MaxWaiting: r.MaxWaiting, Now: r.Clock.Now(),
	})
	if r.Rematches.Pending(w.UID) {
		// A process that takes over must rematch it.
		planned.ObservedGeneration = w.Status.ObservedGeneration
	}
	result, err := r.write(ctx, w, planned, &now)
	if err != nil {
		return result, err
	}
	r.remember(request.NamespacedName, now)
	if lacks != nil && r.recheckNeeded(w) {
		r.Rechecks.Add(request.NamespacedName)
	}
	if problem != nil {
		return sooner(result, webhookstatus.UntilStalled(planned, r.Clock.Now())), nil
	}
	return result, nil
}

// joined are those notes that say something.
func joined(notes ...string) string {
	return strings.Join(slices.DeleteFunc(notes, func(n string) bool { return n == "" }), "; ")
}

// problemOf returns what is wrong with a Webhook, and whether it can be sent to all the
// same: a filter is about what comes. What deliveries wait for is told first.
func problemOf(w *v1alpha1.Webhook, lacks *credentials.Error) (problem *webhookstatus.Problem, sendable bool) {
	if lacks != nil {
		return &webhookstatus.Problem{Reason: lacks.Reason, Message: lacks.Message}, false
	}
	if hold := validation.Hold(w); hold != nil {
		return &webhookstatus.Problem{Reason: hold.Reason, Message: hold.Message()}, false
	}
	if wrong := validation.Expressions(w); len(wrong) > 0 {
		return &webhookstatus.Problem{Reason: wrong[0].Reason, Message: wrong[0].Message()}, true
	}
	return nil, true
}

// sooner returns a result that comes after a time, unless it does before. Zero is
// never.
func sooner(result reconcile.Result, after time.Duration) reconcile.Result {
	if after > 0 && (result.RequeueAfter == 0 || after < result.RequeueAfter) {
		result.RequeueAfter = after
	}
	return result
}

// observe takes in the state of a Webhook, and has its deliveries looked at if something
// about it has changed.
func (r *Reconciler) observe(name types.NamespacedName, to *receiver.Receiver, before, now observed) {
	r.remember(name, now)
	r.Generations.Settle(now.uid, now.generation)
	if before.uid != "" && before.uid != now.uid {
		r.forget(before.uid) // another one has taken its name
	}
	mended := now.ready && to.ClearUnusable()
	if mended || now != before {
		r.Enqueuer.EnqueueUnfinishedDeliveries(name)
	}
	r.Queue.Reconsider(name)
}

// write stores a status that differs: at once where a condition does, else not
// more often than every ten seconds.
func (r *Reconciler) write(
	ctx context.Context, w *v1alpha1.Webhook, planned v1alpha1.WebhookStatus, now *observed,
) (reconcile.Result, error) {
	if webhookstatus.Equal(w.Status, planned) || now.deleting {
		return reconcile.Result{}, nil
	}
	if !webhookstatus.Urgent(w.Status, planned, r.Clock.Now()) {
		if wait := statusInterval - r.Clock.Since(now.written); wait > 0 {
			return reconcile.Result{RequeueAfter: wait}, nil
		}
	}
	base := w.DeepCopy()
	was := meta.FindStatusCondition(base.Status.Conditions, v1alpha1.ConditionReady)
	w.Status = planned
	if err := r.Client.Status().Patch(ctx, w, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: time.Second}, nil // the cache lags behind
		}
		return reconcile.Result{}, client.IgnoreNotFound(fmt.Errorf("writing the status of webhook %s: %w", w.Name, err))
	}
	r.assumed.assume(w)
	now.written = r.Clock.Now()
	is := meta.FindStatusCondition(planned.Conditions, v1alpha1.ConditionReady)
	switch ready := is.Status == metav1.ConditionTrue; {
	case !ready && (was == nil || was.Reason != is.Reason), ready && was != nil && was.Status == metav1.ConditionFalse:
		r.record(w, ready, is.Reason, is.Message)
	}
	return reconcile.Result{}, nil
}

// record emits a Kubernetes Event that a Webhook cannot be sent to, or that it can again.
func (r *Reconciler) record(w *v1alpha1.Webhook, ready bool, reason, message string) {
	kind := corev1.EventTypeWarning
	if ready {
		kind = corev1.EventTypeNormal
	}
	r.Recorder.Eventf(w, nil, kind, reason, "CheckReadiness", "%s", message)
}

// recheckNeeded tells whether to look again at what a Webhook lacks: something waits for
// it, or it has lacked it only lately.
func (r *Reconciler) recheckNeeded(w *v1alpha1.Webhook) bool {
	waits := func(e ledger.Entry) bool { return e.WebhookUID == w.UID && e.NeedsAttention() }
	if slices.ContainsFunc(r.Ledger.OfWebhook(client.ObjectKeyFromObject(w)), waits) {
		return true
	}
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
	since := w.CreationTimestamp.Time
	if c != nil && c.LastTransitionTime.After(since) {
		since = c.LastTransitionTime.Time
	}
	return r.Clock.Since(since) < recheckTime
}

// unusable tells whether a Webhook could not be sent to when it was last looked at.
func (r *Reconciler) unusable(name types.NamespacedName) bool {
	known := r.lastObserved(name)
	return known.uid != "" && !known.ready
}

// recheck reads afresh what a Webhook names.
func (r *Reconciler) recheck(ctx context.Context, name types.NamespacedName) {
	w := &v1alpha1.Webhook{}
	if err := r.Client.Get(ctx, name, w); err != nil {
		return // it is gone
	}
	r.Credentials.Forget(w)
	r.Enqueuer.Webhooks.Add(reconcile.Request{NamespacedName: name})
}

// gone sees to what a Webhook leaves behind: its deliveries are looked at. Retention,
// which watches Webhooks, too, removes those that were its own.
func (r *Reconciler) gone(name types.NamespacedName) {
	r.mu.Lock()
	before, ok := r.observed[name]
	delete(r.observed, name)
	r.mu.Unlock()
	if ok {
		r.forget(before.uid)
	}
	r.Receivers.Forget(name)
	r.Enqueuer.EnqueueUnfinishedDeliveries(name)
}

// FilterFailed takes in that the filter of a Webhook failed for an event.
func (r *Reconciler) FilterFailed(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, message string) {
	if last := r.filterFailure(w.UID); last != nil && last.Generation > w.Generation {
		return // whoever asked it saw the Webhook as it was before an edit
	}
	event := e.Name
	if e.Namespace != w.Namespace {
		event = e.Namespace + "/" + event
	}
	r.filterFailures.Store(w.UID, &webhookstatus.FilterFailure{Generation: w.Generation, Event: event, Message: message})
	r.Enqueuer.WebhookChanged(client.ObjectKeyFromObject(w))
}

func (r *Reconciler) filterFailure(uid types.UID) *webhookstatus.FilterFailure {
	last, ok := r.filterFailures.Load(uid)
	if !ok {
		return nil
	}
	return last.(*webhookstatus.FilterFailure)
}

func (r *Reconciler) forget(uid types.UID) {
	r.filterFailures.Delete(uid)
	r.assumed.forget(uid)
	r.Generations.Forget(uid)
}

func (r *Reconciler) lastObserved(name types.NamespacedName) observed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.observed[name]
}

func (r *Reconciler) remember(name types.NamespacedName, now observed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.observed == nil {
		r.observed = map[types.NamespacedName]observed{}
	}
	r.observed[name] = now
}
