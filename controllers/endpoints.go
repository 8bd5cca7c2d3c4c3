package controllers

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/circuit"
	"github.com/horizoncd/webhook-operator/internal/readiness"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

// endpoints keep what this process knows of the receiver of each Webhook. Another
// process begins with nothing, and finds out by itself.
type endpoints struct {
	cache client.Reader
	clock clock.PassiveClock

	mu     sync.RWMutex
	byName map[types.NamespacedName]*endpoint
}

func newEndpoints(cache client.Reader, clock clock.PassiveClock) *endpoints {
	return &endpoints{cache: cache, clock: clock, byName: map[types.NamespacedName]*endpoint{}}
}

// endpoint is what is known of one receiver.
type endpoint struct {
	clock   clock.PassiveClock
	uid     types.UID
	created time.Time

	mu         sync.Mutex
	generation int64
	most       int
	breaker    circuit.Breaker
	// closed is set when the circuit has closed, until somebody has woken what
	// waits for that.
	closed bool
	latest *readiness.Report
}

// of returns the receiver of a Webhook. A Webhook that was edited is tried anew.
func (e *endpoints) of(w *v1alpha1.Webhook) *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	name := client.ObjectKeyFromObject(w)
	known, ok := e.byName[name]
	if !ok || known.uid != w.UID {
		is := &endpoint{clock: e.clock, uid: w.UID, created: w.CreationTimestamp.Time}
		if ok && is.created.Before(known.created) {
			return is.follow(w) // whoever asks lags behind: the name has passed on
		}
		known = is
		e.byName[name] = known
	}
	return known.follow(w)
}

func (e *endpoints) get(webhook types.NamespacedName) (*endpoint, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	known, ok := e.byName[webhook]
	return known, ok
}

// defaultLimit is the default of spec.maxInFlight.
const defaultLimit = 10

// limit returns how many requests may be under way to a Webhook. The queue asks
// for it often.
func (e *endpoints) limit(webhook types.NamespacedName) int {
	if known, ok := e.get(webhook); ok {
		return known.limit()
	}
	// Its deliveries may come to the queue before it comes to a controller.
	w := &v1alpha1.Webhook{}
	if err := e.cache.Get(context.Background(), webhook, w); err != nil {
		return defaultLimit
	}
	return most(w)
}

func (e *endpoints) forget(webhook types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.byName, webhook)
}

// most is how many requests may be under way to a Webhook at most.
func most(w *v1alpha1.Webhook) int {
	if w.Spec.MaxInFlight > 0 {
		return int(w.Spec.MaxInFlight)
	}
	return defaultLimit
}

// open counts the circuits that are open.
func (e *endpoints) open() (n int) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, known := range e.byName {
		if known.isOpen() {
			n++
		}
	}
	return n
}

// follow takes in what the Webhook says now.
func (e *endpoint) follow(w *v1alpha1.Webhook) *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.generation >= w.Generation {
		return e // the cache lags behind
	}
	e.generation = w.Generation
	e.most = most(w)
	e.closed = e.closed || e.breaker.Open()
	e.breaker.Reset()
	return e
}

func (e *endpoint) limit() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.breaker.Limit(e.most)
}

// begin asks to make an attempt.
func (e *endpoint) begin() (circuit.Pass, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.breaker.Begin(e.clock.Now())
}

// end takes in how an attempt went.
func (e *endpoint) end(pass circuit.Pass, report *readiness.Report) {
	e.mu.Lock()
	defer e.mu.Unlock()
	outcome := circuit.Unknown
	switch {
	case report == nil, report.Generation != e.generation:
		// It ended in a panic, or the Webhook was edited meanwhile.
	case report.Verdict == retry.Accepted:
		outcome = circuit.Accepted
	case report.Verdict == retry.Failed:
		outcome = circuit.Failed
	}
	if report != nil {
		e.latest = report
	}
	was := e.breaker.Open()
	e.breaker.End(pass, outcome, e.most, e.clock.Now(), rand.Float64()) //nolint:gosec // it spreads probes
	e.closed = e.closed || was && !e.breaker.Open()
}

// report returns nil as long as this process has sent nothing to the Webhook.
func (e *endpoint) report() *readiness.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.latest
}

// blocked tells whether the circuit lets nothing through now.
func (e *endpoint) blocked() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.breaker.Blocked(e.clock.Now())
}

func (e *endpoint) isOpen() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.breaker.Open()
}

// takeClosed tells, once, that the circuit has closed.
func (e *endpoint) takeClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	closed := e.closed
	e.closed = false
	return closed
}

// untilProbe returns how long it is until the circuit lets a probe through. ok is
// false if none is due: the circuit is closed, or a probe is under way.
func (e *endpoint) untilProbe() (wait time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.breaker.RetryAt()
	return at.Sub(e.clock.Now()), !at.IsZero()
}
