package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/record"
)

// locked is a merge patch that fails with a conflict where the object has changed:
// a process that only believes in its lease does not write over a newer log.
func locked(base client.Object) client.Patch {
	return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
}

// refuseAfter is for how long a record is tried, while the API server stores other
// things, before it counts as refused.
const refuseAfter = time.Minute

// goingTimeout bounds a try to store a record whose Webhook is being deleted.
const goingTimeout = 5 * time.Second

// recordWriter stores deliveries. What was sent once must be stored once, so it
// settles lost answers instead of repeating them, tries again while the API
// server cannot answer, and keeps what it refuses until it takes it.
type recordWriter struct {
	*shared
	drain       time.Duration
	refuseAfter time.Duration
	// leaseRenewed returns when the lease was last renewed; nil without a lease.
	leaseRenewed func() time.Time

	// underway are the records that a worker is about to store, with what ends that.
	underway sync.Map
}

// pending is a record that is to be stored.
type pending struct {
	// base is what is in store; nil if nothing is.
	base   *v1alpha1.WebhookDelivery
	record *v1alpha1.WebhookDelivery
	// operation is "create" or "update", as it was asked for.
	operation string
	// owner is the UID of the Webhook that the record goes with; empty for an orphan.
	owner types.UID
	// deleted is set once it turned out that somebody has deleted the record.
	deleted bool
	// shrunk is set once the record was made smaller.
	shrunk bool
	// postponed is how often the worker has left the record and gone on.
	postponed int
	// begun is when the first try was made, and failing when the first one failed.
	begun, failing time.Time
}

// retryDelays space the tries while the API server cannot answer.
func retryDelays() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 1 << 30, Cap: 5 * time.Second}
}

// create stores a delivery for the first time.
func (w *recordWriter) create(ctx context.Context, d *v1alpha1.WebhookDelivery) (reconcile.Result, error) {
	return w.store(ctx, &pending{record: d, operation: "create", owner: ownerOf(d), begun: w.clock.Now()})
}

// update stores what was added to the log of a delivery. base is the delivery as
// it was read.
func (w *recordWriter) update(ctx context.Context, base, d *v1alpha1.WebhookDelivery) (reconcile.Result, error) {
	return w.store(ctx, &pending{base: base, record: d, operation: "update", owner: ownerOf(d), begun: w.clock.Now()})
}

// resume goes on with a record that could not be stored. done is false where there
// is none.
func (w *recordWriter) resume(ctx context.Context, key types.NamespacedName) (done bool, _ reconcile.Result, _ error) {
	p, ok := w.refusals.record(key)
	if !ok {
		return false, reconcile.Result{}, nil
	}
	result, err := w.store(ctx, p)
	return true, result, err
}

// store tries until the record is stored or refused, or its Webhook is gone. The
// worker keeps its slot meanwhile: while nothing can be stored, nothing more is
// sent.
func (w *recordWriter) store(ctx context.Context, p *pending) (reconcile.Result, error) {
	ctx, cancel := linger(ctx, w.drain)
	defer cancel()
	w.underway.Store(p, cancel)
	defer w.underway.Delete(p)
	if p.postponed > 0 && w.ownerGone(p) { // held back by a finalizer; nobody will say so again
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, goingTimeout)
		defer done()
	}
	delays := retryDelays()
	for {
		err := w.try(ctx, p)
		outcome := classify(err)
		switch {
		case outcome == stored:
			w.done(p)
			return reconcile.Result{}, nil
		case outcome == tooLarge && !p.shrunk:
			p.shrunk = true
			record.Shrink(p.record)
			continue
		}
		w.failed(p, err)
		switch {
		case w.ownerGone(p):
			return w.later(p), nil
		case outcome != unanswered || w.stuck(p, err):
			return w.postpone(ctx, p, err), nil
		}
		timer := w.clock.NewTimer(delays.Step())
		select {
		case <-ctx.Done():
			timer.Stop()
			if w.ownerGone(p) {
				return w.later(p), nil
			}
			return reconcile.Result{}, fmt.Errorf("storing delivery %s: %w", p.record.Name, err)
		case <-timer.C():
		}
	}
}

// failed keeps a record that a try has failed for.
func (w *recordWriter) failed(p *pending, err error) {
	now := w.clock.Now()
	if p.failing.IsZero() {
		p.failing = now
	}
	w.refusals.keep(p)
	if !errors.Is(err, errAgain) {
		w.refusals.failed(p.record.Namespace, now)
	}
}

// stuck tells whether to leave a record that the API server gives no good answer
// for: it has had none for refuseAfter, or no record of its namespace had, in which
// the API server stored other things, or says itself that it is another server that
// fails. If it stores nothing at all, or asks for fewer requests, waiting is right.
func (w *recordWriter) stuck(p *pending, err error) bool {
	if apierrors.IsTooManyRequests(err) {
		return false
	}
	if p.postponed > 0 {
		return true
	}
	now := w.clock.Now()
	if now.Sub(w.lastWrite()) > answersWithin && !admissionFailed(err) {
		w.refusals.storesNothing(now)
	}
	return now.Sub(w.refusals.since(p)) >= w.refuseAfter
}

// lastWrite is when the API server has last stored something for this process.
func (w *recordWriter) lastWrite() time.Time {
	last := w.writer.LastWrite()
	if w.leaseRenewed != nil {
		if renewed := w.leaseRenewed(); renewed.After(last) {
			return renewed
		}
	}
	return last
}

// try makes one write. Where the answer says that somebody else was there, it
// reads what is in store and settles the difference.
func (w *recordWriter) try(ctx context.Context, p *pending) error {
	attempted := p.record.DeepCopy()
	err := w.write(ctx, p.base, attempted)
	switch {
	case err == nil:
		p.record = attempted
		return nil
	case denied(err): // whatever code an admission webhook denies it with
		return err
	case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err), apierrors.IsNotFound(err) && p.base != nil:
		return w.compare(ctx, p, err)
	}
	return err
}

// write makes a write when it is the turn of the event's namespace, whoever follows it.
func (w *recordWriter) write(ctx context.Context, base, d *v1alpha1.WebhookDelivery) error {
	return w.writes.Do(d.Spec.EventRef.Namespace, func() error {
		if base == nil {
			return w.writer.CreateDelivery(ctx, d)
		}
		return w.writer.PatchDelivery(ctx, base, d)
	})
}

// compare settles the difference between what is in store and what was to be
// stored, which a write was answered with conflict for.
func (w *recordWriter) compare(ctx context.Context, p *pending, conflict error) error {
	current := &v1alpha1.WebhookDelivery{}
	err := w.live.Get(ctx, client.ObjectKeyFromObject(p.record), current)
	if apierrors.IsNotFound(err) && p.base == nil {
		return fmt.Errorf("%w: %w", errAgain, conflict) // it was deleted between the two
	}
	if apierrors.IsNotFound(err) {
		p.deleted = true
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case !record.Same(current, p.record):
		return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource(),
			p.record.Name, fmt.Errorf("another object has this name"))
	case record.SameLog(current, p.record):
		p.record = current // the answer to an earlier try was lost
		return nil
	case p.base == nil && len(current.Status.History) == 0, p.base != nil && record.SameLog(current, p.base):
		// Only labels, annotations or a note that it waits have changed.
		p.base = current
		next := current.DeepCopy()
		record.Carry(p.record, next)
		p.record = next
		return fmt.Errorf("%w: %w", errAgain, conflict)
	default:
		// Another process has gone on with the delivery. What it wrote stands.
		log.FromContext(ctx).Info("a delivery was sent by two processes", "delivery", p.record.Name)
		p.record = current
		return nil
	}
}

// errAgain makes store try again with what compare has found. Not at once: a
// server that always finds a conflict must not be asked without end.
var errAgain = errors.New("the record has changed meanwhile")

func (w *recordWriter) done(p *pending) {
	key := client.ObjectKeyFromObject(p.record)
	w.refusals.drop(key)
	w.refusals.taken(p.record.Namespace)
	if p.deleted {
		w.ledger.Remove(key, "")
		return
	}
	w.ledger.Confirm(p.record)
	if p.base == nil || !record.SameLog(p.base, p.record) {
		w.notify.delivery(p.record)
	}
	w.meters.stored(p.operation, p.base, p.record, w.clock.Since(p.begun))
}

// drop gives up a record that could not be stored and whose Webhook is gone, often
// with its namespace. The event is to tell how it went.
func (w *recordWriter) drop(e ledger.Entry) {
	p := w.refusals.drop(e.Key)
	if p != nil {
		w.refusals.taken(e.Key.Namespace)
	}
	switch {
	case e.Draft == nil:
	case p != nil:
		w.events.RecordRemoved(e.EventUID, e.Key, p.record.Status.Result)
	case e.Draft.Refused != "":
		w.events.RecordRemoved(e.EventUID, e.Key, v1alpha1.DeliveryWaiting)
	}
}

// postpone tells that the API server refuses a record, and frees the worker. The
// event's status says why.
func (w *recordWriter) postpone(ctx context.Context, p *pending, err error) reconcile.Result {
	key := client.ObjectKeyFromObject(p.record)
	w.meters.refused.Inc()
	w.ledger.Amend(key, func(d *ledger.Draft) { d.Refused = refusal(err) })
	if t := w.refusals.failed(key.Namespace, w.clock.Now()); t.tell() && p.postponed == 0 {
		log.FromContext(ctx).Error(err, "a delivery cannot be stored; nothing is logged of others of its namespace until one can",
			"delivery", key.Name, "namespace", key.Namespace)
	}
	return w.later(p)
}

// later frees the worker; the record is tried again ever more rarely.
func (w *recordWriter) later(p *pending) reconcile.Result {
	delay := min(time.Second<<min(p.postponed, 6), time.Minute)
	p.postponed++
	return reconcile.Result{RequeueAfter: delay}
}

// ownerOf returns the UID of the Webhook that a record goes with.
func ownerOf(d *v1alpha1.WebhookDelivery) types.UID {
	for _, owner := range d.OwnerReferences {
		if owner.Kind == "Webhook" {
			return owner.UID
		}
	}
	return ""
}

// ownerGone tells whether the Webhook of a record is gone or going, and the record
// with it.
func (w *recordWriter) ownerGone(p *pending) bool {
	if p.owner == "" {
		return false
	}
	owner := &v1alpha1.Webhook{}
	err := w.client.Get(context.Background(), types.NamespacedName{Namespace: p.record.Namespace, Name: p.record.Spec.WebhookRef.Name}, owner)
	return apierrors.IsNotFound(err) || err == nil && (owner.UID != p.owner || !owner.DeletionTimestamp.IsZero())
}

// followWebhooks frees the workers that try to store records of a Webhook when that
// is deleted.
func (w *recordWriter) followWebhooks(webhooks cache.Cache) error {
	informer, err := webhooks.GetInformer(context.Background(), &v1alpha1.Webhook{}, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(before, now any) {
			was, is := before.(*v1alpha1.Webhook), now.(*v1alpha1.Webhook)
			if was.UID != is.UID || was.DeletionTimestamp.IsZero() && !is.DeletionTimestamp.IsZero() {
				w.ownerLeft(was.UID)
			}
		},
		DeleteFunc: func(last any) {
			if unknown, ok := last.(toolscache.DeletedFinalStateUnknown); ok {
				last = unknown.Obj
			}
			if was, ok := last.(*v1alpha1.Webhook); ok {
				w.ownerLeft(was.UID)
			}
		},
	})
	return err
}

func (w *recordWriter) ownerLeft(uid types.UID) {
	w.underway.Range(func(p, cancel any) bool {
		if p.(*pending).owner == uid {
			cancel.(context.CancelFunc)()
		}
		return true
	})
}
