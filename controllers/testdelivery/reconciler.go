// Package testdelivery makes the test deliveries that Webhooks are annotated for. They are
// sent as resends are, by the delivery controller.
package testdelivery

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/testevent"
)

// maxMessage bounds in characters why a delivery cannot be stored.
const maxMessage = 512

// Writer stores deliveries.
type Writer interface {
	CreateDelivery(ctx context.Context, d *v1alpha1.WebhookDelivery) error
}

// WriteLimiter makes a write when it is the turn of a namespace.
type WriteLimiter interface {
	Do(namespace string, write func() error) error
}

// Reconciler makes one delivery for each new value of the annotation. Its exported fields
// are set before Setup.
type Reconciler struct {
	Client client.Client
	// APIReader reads from the API server itself.
	APIReader client.Reader
	Clock     clock.PassiveClock
	Recorder  events.EventRecorder
	Writer    Writer
	Limiter   WriteLimiter
	Ledger    *ledger.Ledger
}

// Setup adds the controller to a manager.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("testdelivery").
		For(&v1alpha1.Webhook{}, builder.WithPredicates(predicate.Funcs{
			CreateFunc: func(e event.CreateEvent) bool { return asked(e.Object) },
			UpdateFunc: func(e event.UpdateEvent) bool { return asked(e.ObjectNew) && !sameRequest(e.ObjectOld, e.ObjectNew) },
			DeleteFunc: func(event.DeleteEvent) bool { return false },
		})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 4,
			RateLimiter:             enqueue.Backoff[reconcile.Request](),
			NewQueue:                enqueue.ByNamespace(func(w reconcile.Request) string { return w.Namespace }),
		}).
		Complete(r)
}

func asked(o client.Object) bool {
	w, ok := o.(*v1alpha1.Webhook)
	return ok && testevent.Asked(w)
}

// sameRequest tells whether a test was asked for before a Webhook changed, too. One that
// cannot be stored is tried with growing pauses, which the controller's own message about
// it must not cut short.
func sameRequest(before, now client.Object) bool {
	return asked(before) && before.GetUID() == now.GetUID() &&
		before.GetAnnotations()[v1alpha1.AnnotationTest] == now.GetAnnotations()[v1alpha1.AnnotationTest]
}

// Reconcile implements reconcile.Reconciler. It makes three writes, after each of which
// another process can go on: when the request was taken, which the delivery's name depends
// on; the delivery; and that it is stored, so that it is not made again once retention
// has taken it.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	w := &v1alpha1.Webhook{}
	if err := r.APIReader.Get(ctx, request.NamespacedName, w); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !testevent.Asked(w) || !w.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	value := w.Annotations[v1alpha1.AnnotationTest]
	if hash := testevent.Hash(value); w.Status.LastTest == nil || w.Status.LastTest.Hash != hash {
		taken := v1alpha1.LastTest{Hash: hash, Time: metav1.NewTime(r.Clock.Now().Truncate(time.Second))}
		if err := r.write(ctx, w, taken); err != nil {
			return againOnConflict(err)
		}
	}
	last := *w.Status.LastTest
	d, err := testevent.Delivery(w, value, last.Time.Time, r.Clock.Now())
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := r.create(ctx, d); err != nil {
		return reconcile.Result{}, r.refused(ctx, w, err)
	}
	last.Delivery, last.Message = d.Name, ""
	return againOnConflict(r.write(ctx, w, last))
}

// create stores a test. One that is stored already is that of a process which did not
// live to say so.
func (r *Reconciler) create(ctx context.Context, d *v1alpha1.WebhookDelivery) error {
	err := r.Limiter.Do(d.Namespace, func() error { return r.Writer.CreateDelivery(ctx, d) })
	if apierrors.IsAlreadyExists(err) {
		// An admission webhook may deny with this code, too.
		stored := &v1alpha1.WebhookDelivery{}
		if notStored := r.APIReader.Get(ctx, client.ObjectKeyFromObject(d), stored); notStored == nil && delivery.SameDelivery(stored, d) {
			d, err = stored, nil
		}
	}
	if err != nil {
		return fmt.Errorf("storing test delivery %s: %w", d.Name, err)
	}
	r.Ledger.Observe(d) // which has it sent
	return nil
}

// refused tells why a test cannot be stored: in the status, and by a Kubernetes Event. It
// returns an error, so that it is tried again.
func (r *Reconciler) refused(ctx context.Context, w *v1alpha1.Webhook, why error) error {
	if ctx.Err() != nil {
		return why // the operator was told to stop
	}
	text := []rune(why.Error())
	last := *w.Status.LastTest
	if message := string(text[:min(len(text), maxMessage)]); last.Message != message {
		last.Message = message
		r.Recorder.Eventf(w, nil, corev1.EventTypeWarning, v1alpha1.ReasonRecordRefused, "Test",
			"nothing is sent for the test that was asked for, without a record: %s", message)
		if err := r.write(ctx, w, last); err != nil {
			return fmt.Errorf("%w; %w", why, err)
		}
	}
	return why
}

// write stores what a status says of the test, unless the Webhook has changed since it
// was read.
func (r *Reconciler) write(ctx context.Context, w *v1alpha1.Webhook, last v1alpha1.LastTest) error {
	base := w.DeepCopy()
	w.Status.LastTest = &last
	if err := r.Client.Status().Patch(ctx, w, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("writing the last test of webhook %s: %w", w.Name, err)
	}
	return nil
}

// againOnConflict lets a write be made again that somebody else came before.
func againOnConflict(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}
