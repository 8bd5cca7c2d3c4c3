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
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/lean"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/record"
)

// writer makes the writes that there are many of, and brings what was written up to
// date.
type writer interface {
	CreateDelivery(ctx context.Context, d *v1alpha1.WebhookDelivery) error
	// The patches fail with a conflict where the object is not as base any more.
	PatchDelivery(ctx context.Context, base, d *v1alpha1.WebhookDelivery) error
	PatchEventStatus(ctx context.Context, base, e *v1alpha1.WebhookEvent) error
}

var _ writer = &lean.Writer{}

// locked is a merge patch that fails with a conflict where the object has changed:
// a process that only believes in its lease does not write over a newer log.
func locked(base client.Object) client.Patch {
	return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
}

// recordWriter stores deliveries. What was sent once must be stored once, so it
// settles lost answers instead of repeating them, tries again while the API
// server cannot answer, and keeps what it refuses until it takes it.
type recordWriter struct {
	*shared
	drain time.Duration

	// refused are records that the API server does not take.
	refused sync.Map
}

// pending is a record that is to be stored.
type pending struct {
	// base is what is in store; nil if nothing is.
	base   *v1alpha1.WebhookDelivery
	record *v1alpha1.WebhookDelivery
	// operation is "create" or "update", as it was asked for.
	operation string
	// deleted is set once it turned out that somebody has deleted the record.
	deleted bool
	// shrunk is set once the record was made smaller.
	shrunk bool
	tries  int
	// begun is when the first try was made.
	begun time.Time
}

// retryDelays space the tries while the API server cannot answer.
func retryDelays() wait.Backoff {
	return wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 1 << 30, Cap: 5 * time.Second}
}

// create stores a delivery for the first time.
func (w *recordWriter) create(ctx context.Context, d *v1alpha1.WebhookDelivery) (reconcile.Result, error) {
	return w.store(ctx, &pending{record: d, operation: "create", begun: w.clock.Now()})
}

// update stores what was added to the log of a delivery. base is the delivery as
// it was read.
func (w *recordWriter) update(ctx context.Context, base, d *v1alpha1.WebhookDelivery) (reconcile.Result, error) {
	return w.store(ctx, &pending{base: base, record: d, operation: "update", begun: w.clock.Now()})
}

// resume goes on with a record that was refused. done is false where there is
// none.
func (w *recordWriter) resume(ctx context.Context, key types.NamespacedName) (done bool, _ reconcile.Result, _ error) {
	p, ok := w.refused.Load(key)
	if !ok {
		return false, reconcile.Result{}, nil
	}
	result, err := w.store(ctx, p.(*pending))
	return true, result, err
}

// store tries until the record is stored or refused. The worker keeps its slot
// meanwhile: while nothing can be stored, nothing more is sent.
func (w *recordWriter) store(ctx context.Context, p *pending) (reconcile.Result, error) {
	ctx, cancel := linger(ctx, w.drain)
	defer cancel()
	delays := retryDelays()
	for {
		err := w.try(ctx, p)
		switch outcome := classify(err); {
		case outcome == stored:
			w.done(p)
			return reconcile.Result{}, nil
		case outcome == tooLarge && !p.shrunk:
			p.shrunk = true
			record.Shrink(p.record)
			continue
		case outcome == refused || outcome == tooLarge:
			return w.postpone(ctx, p, err), nil
		}
		if !errors.Is(err, errAgain) {
			w.refusals.refused(p.record.Namespace)
		}
		timer := w.clock.NewTimer(delays.Step())
		select {
		case <-ctx.Done():
			timer.Stop()
			return reconcile.Result{}, fmt.Errorf("storing delivery %s: %w", p.record.Name, err)
		case <-timer.C():
		}
	}
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
	case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err):
		return w.compare(ctx, p)
	case apierrors.IsNotFound(err) && p.base != nil:
		p.deleted = true
		return nil
	}
	return err
}

// write makes a write when it is its turn: that of the namespace that the event is
// of, whoever follows it.
func (w *recordWriter) write(ctx context.Context, base, d *v1alpha1.WebhookDelivery) error {
	return w.courtesy.Do(d.Spec.EventRef.Namespace, func() error {
		if base == nil {
			return w.writer.CreateDelivery(ctx, d)
		}
		return w.writer.PatchDelivery(ctx, base, d)
	})
}

// compare settles the difference between what is in store and what was to be
// stored.
func (w *recordWriter) compare(ctx context.Context, p *pending) error {
	current := &v1alpha1.WebhookDelivery{}
	err := w.live.Get(ctx, client.ObjectKeyFromObject(p.record), current)
	if apierrors.IsNotFound(err) && p.base == nil {
		return errAgain // it was deleted between the two
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
		return errAgain
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
	w.refused.Delete(key)
	w.refusals.taken(p.record.Namespace)
	if p.deleted {
		w.ledger.Remove(key, "")
		return
	}
	w.ledger.Confirm(p.record)
	w.notify.delivery(p.record)
	w.meters.stored(p.operation, p.base, p.record, w.clock.Since(p.begun))
}

// drop gives up a record that was refused and whose Webhook is gone, often with
// its namespace.
func (w *recordWriter) drop(key types.NamespacedName) {
	if _, ok := w.refused.LoadAndDelete(key); ok {
		w.refusals.taken(key.Namespace)
	}
}

// postpone keeps a record that the API server refuses, and frees the worker. The
// event's status says why.
func (w *recordWriter) postpone(ctx context.Context, p *pending, err error) reconcile.Result {
	key := client.ObjectKeyFromObject(p.record)
	w.refusals.refused(key.Namespace)
	w.refused.Store(key, p)
	w.meters.refused.Inc()
	w.ledger.Amend(key, func(d *ledger.Draft) { d.Refused = refusal(err) })
	if p.tries == 0 {
		log.FromContext(ctx).Error(err, "a delivery cannot be stored", "delivery", key.Name, "namespace", key.Namespace)
	}
	p.tries++
	delay := min(time.Second<<min(p.tries-1, 6), time.Minute)
	return reconcile.Result{RequeueAfter: delay}
}

// refusal is the reason of a refusal, bounded.
func refusal(err error) string {
	text := []rune(err.Error())
	return string(text[:min(len(text), 512)])
}

// outcome is what an error of the API server means for a record.
type outcome int

const (
	stored outcome = iota
	// tooLarge: a smaller record may be taken.
	tooLarge
	// refused: somebody has to change something, or the namespace is going.
	refused
	// unanswered: nobody knows; to be tried again.
	unanswered
)

func classify(err error) outcome {
	switch {
	case err == nil:
		return stored
	case apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err), apierrors.IsBadRequest(err):
		return tooLarge
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsMethodNotSupported(err):
		return refused
	default:
		return unanswered
	}
}
