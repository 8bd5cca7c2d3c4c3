// Package rematch remembers the pairs of an event and a Webhook that the event was, or
// may have been, dispatched without, until the delivery is stored.
package rematch

import (
	"maps"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Set is safe for concurrent use. A pair is in it because the event may have missed the
// Webhook, as a replay that somebody has asked for, or for both.
type Set struct {
	// settled is told when no missed pair of a Webhook is left, and of each of its
	// replays that is settled.
	settled func(webhook types.NamespacedName)

	mu     sync.Mutex
	events map[types.UID]Pairs
	// webhooks are those of the pairs.
	webhooks map[types.UID]*webhook
}

// Pairs are the Webhooks of an event. The maps are only to be read.
type Pairs struct {
	Missed, Replays map[types.UID]bool
}

// webhook counts the pairs of a Webhook.
type webhook struct {
	name            types.NamespacedName
	missed, replays int
}

// New returns an empty set. settled is told of each Webhook that no missed pair is left
// of, and of each that a replay was settled of.
func New(settled func(webhook types.NamespacedName)) *Set { return &Set{settled: settled} }

// Late returns the Webhooks of all pairs.
func (p Pairs) Late() map[types.UID]bool {
	switch {
	case len(p.Replays) == 0:
		return p.Missed
	case len(p.Missed) == 0:
		return p.Replays
	}
	all := maps.Clone(p.Missed)
	maps.Copy(all, p.Replays)
	return all
}

// Add takes in that an event may have been dispatched without a Webhook.
func (s *Set) Add(event types.UID, w *v1alpha1.Webhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pairs := s.events[event]
	if pairs.Missed[w.UID] {
		return
	}
	pairs.Missed = with(pairs.Missed, w.UID)
	s.put(event, pairs)
	s.webhook(w).missed++
}

// AddReplay takes in that an event is to be sent to a Webhook after the fact.
func (s *Set) AddReplay(event types.UID, w *v1alpha1.Webhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pairs := s.events[event]
	if pairs.Replays[w.UID] {
		return
	}
	pairs.Replays = with(pairs.Replays, w.UID)
	s.put(event, pairs)
	s.webhook(w).replays++
}

// with returns a copy with one more Webhook: Of hands the maps out.
func with(webhooks map[types.UID]bool, uid types.UID) map[types.UID]bool {
	all := map[types.UID]bool{uid: true}
	maps.Copy(all, webhooks)
	return all
}

func (s *Set) webhook(w *v1alpha1.Webhook) *webhook {
	if s.webhooks == nil {
		s.webhooks = map[types.UID]*webhook{}
	}
	if s.webhooks[w.UID] == nil {
		s.webhooks[w.UID] = &webhook{name: client.ObjectKeyFromObject(w)}
	}
	return s.webhooks[w.UID]
}

func (s *Set) put(event types.UID, pairs Pairs) {
	if len(pairs.Missed) == 0 && len(pairs.Replays) == 0 {
		delete(s.events, event)
		return
	}
	if s.events == nil {
		s.events = map[types.UID]Pairs{}
	}
	s.events[event] = pairs
}

// Settle drops pairs of an event that were dealt with.
func (s *Set) Settle(event types.UID, dealtWith map[types.UID]bool) {
	if len(dealtWith) == 0 {
		return
	}
	s.mu.Lock()
	var done []types.NamespacedName
	pairs := s.events[event]
	for uid := range dealtWith {
		w := s.webhooks[uid]
		if w == nil {
			continue
		}
		if pairs.Missed[uid] {
			w.missed--
		}
		if pairs.Replays[uid] {
			w.replays--
		}
		if pairs.Replays[uid] || pairs.Missed[uid] && w.missed == 0 {
			done = append(done, w.name)
		}
		if w.missed == 0 && w.replays == 0 {
			delete(s.webhooks, uid)
		}
	}
	s.put(event, Pairs{Missed: without(pairs.Missed, dealtWith), Replays: without(pairs.Replays, dealtWith)})
	s.mu.Unlock()
	for _, name := range done {
		s.settled(name)
	}
}

// without returns a copy without some Webhooks.
func without(webhooks, some map[types.UID]bool) map[types.UID]bool {
	rest := maps.Clone(webhooks)
	maps.DeleteFunc(rest, func(uid types.UID, _ bool) bool { return some[uid] })
	return rest
}

// Of returns the pairs of an event.
func (s *Set) Of(event types.UID) Pairs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[event]
}

// Forget drops the pairs of an event that is gone.
func (s *Set) Forget(event types.UID) { s.Settle(event, s.Of(event).Late()) }

// Pending tells whether missed pairs of a Webhook are left.
func (s *Set) Pending(webhook types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.webhooks[webhook] != nil && s.webhooks[webhook].missed > 0
}

// Events returns the events that there are pairs of.
func (s *Set) Events() []types.UID {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]types.UID, 0, len(s.events))
	for uid := range s.events {
		all = append(all, uid)
	}
	return all
}
