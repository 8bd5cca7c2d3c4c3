package receiver

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
)

// address is where requests go. It is kept as a digest, since it may be a credential.
// Namespaces share nothing: what one sends must not tell another what it sends to.
type address struct {
	namespace string
	digest    [sha256.Size]byte
}

// windows has the windows of those addresses that a Webhook with a rate limit points to.
// Its callers may hold the locks of the Registry and of a Receiver, so it takes neither.
type windows struct {
	registry *Registry

	mu        sync.RWMutex
	byAddress map[address]*shared
	// inNamespace counts them.
	inNamespace map[string]int
}

// shared is the window of one address. Each Webhook that points there holds its own limit
// against it; one without a limit is counted and does not wait.
type shared struct {
	address address
	window  window
	// members are the receivers that have a limit.
	members map[*Receiver]v1alpha1.RateLimit
	// left is when the last of them has left.
	left time.Time
	// counted are the Webhooks whose requests from before the window knew of them are in it.
	counted map[webhookID]bool
	// line are those that wait for a place, in the order in which they began to.
	line []*claim
}

// claim is the wait of a receiver for a place.
type claim struct {
	of    *Receiver
	since time.Time
	// free is since when there has been a place for it that it did not take; zero if there
	// is none.
	free time.Time
	// forEnd is set where it waits for the end of a request that is under way, and forTurn
	// where it waits for those before it in the line. Both are woken.
	forEnd, forTurn bool
}

// turnTime is how long a place is kept for the Webhook whose turn it is. One that has
// nothing to send any more does not keep the others waiting for longer.
const turnTime = time.Second

// any tells whether there is a window in a namespace.
func (ws *windows) any(namespace string) bool {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	return ws.inNamespace[namespace] > 0
}

// of returns the window of an address that a receiver sends to, or nil where no Webhook has
// a limit there.
func (ws *windows) of(a address, r *Receiver, now time.Time) *shared {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	s, ok := ws.byAddress[a]
	if ok && s.over(now) {
		ws.drop(s)
		ok = false
	}
	unlimited := r.limit == v1alpha1.RateLimit{}
	if !ok {
		if unlimited {
			return nil
		}
		ws.sweep(now)
		s = &shared{
			address: a, members: map[*Receiver]v1alpha1.RateLimit{}, counted: map[webhookID]bool{}, window: window{complete: now},
		}
		ws.byAddress[a] = s
		ws.inNamespace[a.namespace]++
	}
	if !unlimited && s.members[r] != r.limit {
		s.members[r] = r.limit
		s.window.most = max(s.window.most, int(r.limit.Requests))
		s.window.span = max(s.window.span, spanOf(r.limit))
		ws.recall(s, r, now)
	}
	if !s.counted[r.webhook] {
		ws.count(s, r, now)
	}
	return s
}

// count takes in what a Webhook, and those that name the address as it does, sent before the
// window knew of them: before this process began, or before there was a limit.
//
// What it cannot know may exceed the limit after a takeover: requests that were under way
// when the process before this one was killed, and of a delivery that was attempted more
// than once within the span all but the last.
func (ws *windows) count(s *shared, r *Receiver, now time.Time) {
	for _, w := range append(ws.registry.sameAddress(r), r.webhook) {
		if !s.counted[w] {
			s.counted[w] = true
			s.window.add(now, ws.registry.sentBy(w, r, now.Add(-s.window.span))...)
		}
	}
}

// recall takes in what was counted no longer, since no limit was for as long a span, or for
// as many requests.
func (ws *windows) recall(s *shared, r *Receiver, now time.Time) {
	since, known := now.Add(-s.window.span), s.window.complete
	if !since.Before(known) {
		return
	}
	s.window.complete = since
	for w := range s.counted {
		ends := ws.registry.sentBy(w, r, since)
		s.window.add(now, slices.DeleteFunc(ends, func(end time.Time) bool { return end.Add(-ledger.Precision).After(known) })...)
	}
}

// ask returns how many requests a receiver may begin. Where it may none, it takes its place
// in the line, if waits is set, and at is when it may; zero is when it is woken.
func (ws *windows) ask(s *shared, r *Receiver, now time.Time, waits bool) (n int, at time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	n, at, forTurn := s.places(r, now)
	if n > 0 || !waits {
		return n, at
	}
	c := s.claimOf(r)
	if c == nil {
		c = &claim{of: r, since: now}
		s.line = append(s.line, c)
	}
	c.forTurn, c.forEnd = forTurn, at.IsZero()
	return n, at
}

// begin takes a place in a window, if a receiver may have one. next is who may have one
// then, nil if nobody waits for that.
func (ws *windows) begin(s *shared, r *Receiver, now time.Time) (ok bool, next *Receiver) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if _, limited := s.members[r]; limited {
		if n, _, _ := s.places(r, now); n < 1 {
			return false, nil
		}
	}
	s.window.begin()
	s.leaveLine(r)
	return true, s.next()
}

// end gives a place back. It returns who waited for that.
func (ws *windows) end(s *shared, now time.Time, sent bool) (woken []*Receiver) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	s.window.end(now, sent)
	for _, c := range s.line {
		if c.forEnd || !sent {
			c.forEnd = false
			woken = append(woken, c.of)
		}
	}
	return woken
}

// ended counts a request that began before there was a window.
func (ws *windows) ended(a address, now time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if s, ok := ws.byAddress[a]; ok {
		s.window.add(now, now)
	}
}

// waits tells whether a receiver waits for a place.
func (ws *windows) waits(s *shared, r *Receiver, now time.Time) bool {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	n, _ := s.window.places(s.members[r], now)
	return n < 1 && s.claimOf(r) != nil
}

// leave takes a receiver out that has no limit any more, or points elsewhere. Who waits for
// its turn has a time or an end to wait for, too.
func (ws *windows) leave(s *shared, r *Receiver, now time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(s.members, r)
	s.leaveLine(r)
	s.left = now
	ws.sweep(now)
}

// forget drops what is known of a Webhook that is gone.
func (ws *windows) forget(r *Receiver) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for a, s := range ws.byAddress {
		if a.namespace == r.webhook.name.Namespace {
			delete(s.counted, r.webhook)
		}
	}
}

// sweep drops the windows that nobody needs.
func (ws *windows) sweep(now time.Time) {
	for _, s := range ws.byAddress {
		if s.over(now) {
			ws.drop(s)
		}
	}
}

func (ws *windows) drop(s *shared) {
	delete(ws.byAddress, s.address)
	if ws.inNamespace[s.address.namespace]--; ws.inNamespace[s.address.namespace] == 0 {
		delete(ws.inNamespace, s.address.namespace)
	}
}

// over tells whether no Webhook has a limit any more, and all that was sent until then has
// passed: one that is deleted and created again does not begin anew.
func (s *shared) over(now time.Time) bool {
	return len(s.members) == 0 && s.window.underway == 0 && !s.left.IsZero() && !now.Before(s.left.Add(s.window.span))
}

// places is that of the window for one of its members, with a place left for each of those
// who have waited for longer, by their own limits. forTurn is set where only these stand in
// the way.
//
// A Webhook whose limit is lower than those of the others may never find a place by itself,
// since the others fill the window as far as theirs allow. Once it has waited for its whole
// span, nobody behind it begins before it does.
func (s *shared) places(r *Receiver, now time.Time) (n int, at time.Time, forTurn bool) {
	own, at := s.window.places(s.members[r], now)
	if own < 1 {
		return 0, at, false
	}
	n, ahead := own, 0
	until := time.Time{}
	for i := 0; i < len(s.line) && s.line[i].of != r; i++ {
		c := s.line[i]
		limit := s.members[c.of]
		free, when := s.window.places(limit, now)
		switch {
		case free > 0 && c.free.IsZero():
			c.free = now
		case free < 1:
			c.free = time.Time{}
		}
		switch {
		case free > 0 && now.Sub(c.free) >= turnTime: // it does not want the place
			if !c.forEnd { // or else nobody would wake it
				s.line = slices.Delete(s.line, i, i+1)
				i--
			}
		case free > 0:
			n = min(n, free-ahead-1)
			ahead++
			own--
			until = earlier(until, c.free.Add(turnTime))
		case now.Sub(c.since) >= spanOf(limit):
			if !when.IsZero() {
				when = when.Add(turnTime)
			}
			return 0, when, true
		}
	}
	if n = min(n, own); n < 1 {
		return 0, until, true
	}
	return n, time.Time{}, false
}

func (s *shared) claimOf(r *Receiver) *claim {
	for _, c := range s.line {
		if c.of == r {
			return c
		}
	}
	return nil
}

func (s *shared) leaveLine(r *Receiver) {
	s.line = slices.DeleteFunc(s.line, func(c *claim) bool { return c.of == r })
}

// next returns who is first in the line, if that is what it waits for.
func (s *shared) next() *Receiver {
	if len(s.line) == 0 || !s.line[0].forTurn {
		return nil
	}
	s.line[0].forTurn = false
	return s.line[0].of
}

// earlier returns the earlier one of two times; a zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// webhookID is what a Webhook's deliveries are found by.
type webhookID struct {
	name types.NamespacedName
	uid  types.UID
}

// sentBy returns when requests of a Webhook have ended since a time: for that of a receiver,
// without what went where it pointed to before.
func (r *Registry) sentBy(w webhookID, to *Receiver, since time.Time) []time.Time {
	if r.Sent == nil {
		return nil
	}
	if w == to.webhook {
		since = later(since, to.moved)
	}
	return r.Sent(w.name, w.uid, since, r.Clock.Now())
}

// sameAddress returns the other Webhooks of the namespace that name the address of one in
// the same words. What is in their Secrets is not known before they are sent to.
func (r *Registry) sameAddress(as *Receiver) []webhookID {
	if r.cache == nil || as.names == (names{}) {
		return nil
	}
	var list v1alpha1.WebhookList
	err := r.cache.List(context.Background(), &list, client.InNamespace(as.webhook.name.Namespace), client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil // the cache of a namespace that is not watched any more
	}
	var same []webhookID
	for i := range list.Items {
		w := &list.Items[i]
		if w.UID != as.webhook.uid && namesOf(w) == as.names {
			same = append(same, webhookID{client.ObjectKeyFromObject(w), w.UID})
		}
	}
	return same
}

// names are what a Webhook names its address by.
type names struct{ url, secret, key string }

func namesOf(w *v1alpha1.Webhook) names {
	if ref := w.Spec.URLSecretRef; ref != nil {
		return names{secret: ref.Name, key: ref.Key}
	}
	return names{url: w.Spec.URL}
}

// digest identifies the address of a target in a namespace.
func digest(namespace string, to receiverurl.Target) address {
	return address{namespace, sha256.Sum256([]byte(to.Reveal()))}
}
