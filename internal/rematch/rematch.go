// Package rematch remembers the pairs of an event and a Webhook that the event was, or
// may have been, dispatched without, until the delivery is stored.
package rematch

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Set is safe for concurrent use.
type Set struct {
	// settled is told when no pair of a Webhook is left.
	settled func(webhook types.NamespacedName)

	mu     sync.Mutex
	events map[types.UID]map[types.UID]bool
	// webhooks are those of the pairs, and how many each has.
	webhooks map[types.UID]*webhook
}

type webhook struct {
	name   types.NamespacedName
	events int
}

// New returns an empty set. settled is told of each Webhook that no pair is left of.
func New(settled func(webhook types.NamespacedName)) *Set { return &Set{settled: settled} }

// Add takes in that an event may have been dispatched without a Webhook.
func (s *Set) Add(event types.UID, w *v1alpha1.Webhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.events[event][w.UID] {
		return
	}
	if s.events == nil {
		s.events, s.webhooks = map[types.UID]map[types.UID]bool{}, map[types.UID]*webhook{}
	}
	// A copy: Of hands the maps out.
	pairs := map[types.UID]bool{w.UID: true}
	for uid := range s.events[event] {
		pairs[uid] = true
	}
	s.events[event] = pairs
	if s.webhooks[w.UID] == nil {
		s.webhooks[w.UID] = &webhook{name: client.ObjectKeyFromObject(w)}
	}
	s.webhooks[w.UID].events++
}

// Settle drops pairs of an event that were dealt with.
func (s *Set) Settle(event types.UID, dealtWith map[types.UID]bool) {
	s.mu.Lock()
	var done []types.NamespacedName
	rest := map[types.UID]bool{}
	for uid := range s.events[event] {
		if !dealtWith[uid] {
			rest[uid] = true
			continue
		}
		w := s.webhooks[uid]
		if w.events--; w.events == 0 {
			delete(s.webhooks, uid)
			done = append(done, w.name)
		}
	}
	if len(rest) == 0 {
		delete(s.events, event)
	} else {
		s.events[event] = rest
	}
	s.mu.Unlock()
	for _, name := range done {
		s.settled(name)
	}
}

// Of returns the UIDs of the Webhooks of an event. The map is only to be read.
func (s *Set) Of(event types.UID) map[types.UID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[event]
}

// Forget drops the pairs of an event that is gone.
func (s *Set) Forget(event types.UID) { s.Settle(event, s.Of(event)) }

// Pending tells whether pairs of a Webhook are left.
func (s *Set) Pending(webhook types.UID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.webhooks[webhook] != nil
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
