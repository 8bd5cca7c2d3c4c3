package controllers

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/record"
)

// rematch holds a Webhook that was created or edited against the events of the last
// minutes: watches of different kinds are not ordered, so these may have been
// dispatched without having seen it as it is. An event from before an edit is left
// alone where that is known. before is what was known of the Webhook.
func (r *webhookReconciler) rematch(ctx context.Context, w *v1alpha1.Webhook, before acted) error {
	var after uint64
	old := r.knownAtStart[w.UID] || r.clock.Since(w.CreationTimestamp.Time) >= eventcache.Window
	switch {
	case before.uid == w.UID:
		after = r.edits.since(w.UID, before.generation)
	case old && w.Generation == w.Status.ObservedGeneration:
		return nil // the process before this one has seen to it
	}
	if err := r.events.WaitSynced(ctx); err != nil {
		return err
	}
	if err := r.ledger.WaitSynced(ctx); err != nil {
		return err
	}
	namespace := w.Namespace
	if namespace == r.systemNamespace {
		namespace = metav1.NamespaceAll
	}
	for _, e := range r.events.Recent(namespace) {
		if e.Version > after && r.missed(w, e) {
			r.rematches.add(e.UID, w)
			r.router.fanOut.add(eventRequest{e.Key.Namespace, e.UID})
		}
	}
	return nil
}

// missed tells whether an event matches a Webhook and has no delivery for it. One
// that was dispatched long ago may have had one, which retention has taken.
func (r *webhookReconciler) missed(w *v1alpha1.Webhook, e eventcache.Recent) bool {
	if _, ok := e.Subject.Match(w); !ok {
		return false
	}
	if !e.Dispatched.IsZero() && r.clock.Since(e.Dispatched) > eventcache.Window {
		return false
	}
	of := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{UID: e.UID, CreationTimestamp: metav1.NewTime(e.Subject.Created)}}
	known, ok := r.ledger.Get(types.NamespacedName{Namespace: w.Namespace, Name: record.Name(of, w)})
	// A draft may be about to be withdrawn by somebody who saw the Webhook as it was.
	return !ok || known.Draft != nil
}

// rematches are the pairs of an event and a Webhook that the event was, or may have
// been, dispatched without, until the delivery is stored.
type rematches struct {
	// settled is told when no pair of a Webhook is left.
	settled func(webhook types.NamespacedName)

	mu     sync.Mutex
	events map[types.UID]map[types.UID]bool
	// webhooks are those of the pairs, and how many each has.
	webhooks map[types.UID]*rematched
}

type rematched struct {
	name   types.NamespacedName
	events int
}

func (l *rematches) add(event types.UID, w *v1alpha1.Webhook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.events[event][w.UID] {
		return
	}
	if l.events == nil {
		l.events, l.webhooks = map[types.UID]map[types.UID]bool{}, map[types.UID]*rematched{}
	}
	// A copy: the method of hands the maps out.
	pairs := map[types.UID]bool{w.UID: true}
	for uid := range l.events[event] {
		pairs[uid] = true
	}
	l.events[event] = pairs
	if l.webhooks[w.UID] == nil {
		l.webhooks[w.UID] = &rematched{name: client.ObjectKeyFromObject(w)}
	}
	l.webhooks[w.UID].events++
}

// settle drops pairs of an event that were dealt with.
func (l *rematches) settle(event types.UID, dealtWith map[types.UID]bool) {
	l.mu.Lock()
	var done []types.NamespacedName
	rest := map[types.UID]bool{}
	for uid := range l.events[event] {
		if !dealtWith[uid] {
			rest[uid] = true
			continue
		}
		w := l.webhooks[uid]
		if w.events--; w.events == 0 {
			delete(l.webhooks, uid)
			done = append(done, w.name)
		}
	}
	if len(rest) == 0 {
		delete(l.events, event)
	} else {
		l.events[event] = rest
	}
	l.mu.Unlock()
	for _, name := range done {
		l.settled(name)
	}
}

// of returns the UIDs of the Webhooks of an event. The map is only to be read.
func (l *rematches) of(event types.UID) map[types.UID]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[event]
}

// forget drops the pairs of an event that is gone.
func (l *rematches) forget(event types.UID) { l.settle(event, l.of(event)) }

// pending tells whether pairs of a Webhook are left.
func (l *rematches) pending(webhook types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.webhooks[webhook] != nil
}

// all returns the events that there are pairs of.
func (l *rematches) all() []types.UID {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]types.UID, 0, len(l.events))
	for uid := range l.events {
		all = append(all, uid)
	}
	return all
}
