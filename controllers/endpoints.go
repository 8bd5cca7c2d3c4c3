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
	cache  client.Reader
	clock  clock.PassiveClock
	byName sync.Map
}

// endpoint is what is known of one receiver.
type endpoint struct {
	clock clock.PassiveClock
	uid   types.UID

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
func (r *endpoints) of(w *v1alpha1.Webhook) *endpoint {
	name := client.ObjectKeyFromObject(w)
	found, ok := r.byName.Load(name)
	if !ok || found.(*endpoint).uid != w.UID {
		found = &endpoint{clock: r.clock, uid: w.UID}
		r.byName.Store(name, found)
	}
	known := found.(*endpoint)
	known.follow(w)
	return known
}

// defaultLimit is the default of spec.maxInFlight.
const defaultLimit = 10

// limit returns how many requests may be under way to a Webhook. The queue asks
// for it often.
func (r *endpoints) limit(webhook types.NamespacedName) int {
	if known, ok := r.byName.Load(webhook); ok {
		return known.(*endpoint).limit()
	}
	// Its deliveries may come to the queue before it comes to a controller.
	w := &v1alpha1.Webhook{}
	if err := r.cache.Get(context.Background(), webhook, w); err != nil {
		return defaultLimit
	}
	return r.of(w).limit()
}

func (r *endpoints) forget(webhook types.NamespacedName) { r.byName.Delete(webhook) }

// open counts the circuits that are open.
func (r *endpoints) open() (n int) {
	r.byName.Range(func(_, known any) bool {
		if known.(*endpoint).isOpen() {
			n++
		}
		return true
	})
	return n
}

func (r *endpoint) follow(w *v1alpha1.Webhook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation >= w.Generation {
		return // the cache lags behind
	}
	r.generation = w.Generation
	r.most = int(w.Spec.MaxInFlight)
	if r.most <= 0 {
		r.most = defaultLimit
	}
	r.closed = r.closed || r.breaker.Open()
	r.breaker.Reset()
}

func (r *endpoint) limit() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.breaker.Limit(r.most)
}

// begin asks to make an attempt.
func (r *endpoint) begin() (circuit.Pass, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.breaker.Begin(r.clock.Now())
}

// end takes in how an attempt went.
func (r *endpoint) end(pass circuit.Pass, report *readiness.Report) {
	outcome := map[retry.Verdict]circuit.Outcome{
		retry.Accepted: circuit.Accepted, retry.Failed: circuit.Failed,
		// What follows from 410 is not for a circuit to decide.
		retry.Gone: circuit.Unknown, retry.Interrupted: circuit.Unknown,
	}[report.Verdict]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = report
	was := r.breaker.Open()
	r.breaker.End(pass, outcome, r.most, r.clock.Now(), rand.Float64()) //nolint:gosec // it spreads probes
	r.closed = r.closed || was && !r.breaker.Open()
}

// report returns nil as long as this process has sent nothing to the Webhook.
func (r *endpoint) report() *readiness.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest
}

// blocked tells whether the circuit lets nothing through now.
func (r *endpoint) blocked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.breaker.Blocked(r.clock.Now())
}

func (r *endpoint) isOpen() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.breaker.Open()
}

// takeClosed tells, once, that the circuit has closed.
func (r *endpoint) takeClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	closed := r.closed
	r.closed = false
	return closed
}

// untilProbe returns how long it is until the circuit lets a probe through. ok is
// false if none is due: the circuit is closed, or a probe is under way.
func (r *endpoint) untilProbe() (wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.breaker.RetryAt()
	return at.Sub(r.clock.Now()), !at.IsZero()
}
