package webhook

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
)

// rematch matches a Webhook that was created or edited with the events of the last
// minutes: watches of different kinds are not ordered, so these may have been
// dispatched without having seen it as it is. An event from before an edit is left
// alone where that is known. before is what was known of the Webhook.
func (r *Reconciler) rematch(ctx context.Context, w *v1alpha1.Webhook, before observed) error {
	var after uint64
	old := r.knownAtStart[w.UID] || r.Clock.Since(w.CreationTimestamp.Time) >= eventcache.Window
	switch {
	case before.uid == w.UID:
		after = r.Generations.VersionAfter(w.UID, before.generation)
	case old && w.Generation == w.Status.ObservedGeneration:
		return nil // the process before this one has seen to it
	default: // that one has seen to what it observed
		after = r.Generations.VersionAfter(w.UID, w.Status.ObservedGeneration)
	}
	if err := r.Events.WaitSynced(ctx); err != nil {
		return err
	}
	if err := r.Ledger.WaitSynced(ctx); err != nil {
		return err
	}
	namespace := w.Namespace
	if namespace == r.SystemNamespace {
		namespace = metav1.NamespaceAll
	}
	for _, e := range r.Events.Recent(namespace) {
		if e.Version > after && r.missed(w, e) {
			r.Rematches.Add(e.UID, w)
			r.Enqueuer.FanOut.Add(enqueue.Event{Namespace: e.Key.Namespace, UID: e.UID})
		}
	}
	return nil
}

// missed tells whether an event may match a Webhook and has no delivery for it. One
// that was dispatched long ago may have had one, which retention has taken.
func (r *Reconciler) missed(w *v1alpha1.Webhook, e eventcache.Recent) bool {
	if _, ok := e.Subject.MayMatch(w); !ok {
		return false
	}
	if !e.Dispatched.IsZero() && r.Clock.Since(e.Dispatched) > eventcache.Window {
		return false
	}
	known, ok := r.Ledger.Get(delivery.Key(e.UID, e.Subject.Created, w))
	// One that is pending may be about to be withdrawn by somebody who saw the Webhook as it was.
	return !ok || known.Pending != nil
}
