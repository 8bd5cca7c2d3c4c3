package controllers

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/circuit"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/webhookstatus"
)

// endpoints keep what this process knows of the receiver of each Webhook. Another
// process begins with what the Webhook's status says, a 410 and a rest, and finds
// out the rest by itself.
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
	// latest is nil as long as this process has sent nothing to the Webhook.
	latest *webhookstatus.Report
	// target is what the Webhook points to: another one is another receiver.
	target receiverurl.Target
	// restReason is how the receiver asked for rest.
	restReason string
	// restStored is the rest that was taken over from the Webhook's status.
	restStored time.Time
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

// admit returns what the receiver of a Webhook takes now. The queue asks for it often.
func (e *endpoints) admit(webhook types.NamespacedName) queue.Admission {
	if known, ok := e.get(webhook); ok {
		return known.admit()
	}
	// Its deliveries may come to the queue before it comes to a controller.
	w := &v1alpha1.Webhook{}
	if err := e.cache.Get(context.Background(), webhook, w); err != nil {
		return queue.Admission{Limit: defaultLimit, ResendLimit: defaultLimit}
	}
	return e.of(w).admit()
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

// open counts the circuits that are open because receivers keep failing, and
// resting the receivers that have asked for rest.
func (e *endpoints) open() (open, resting int) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, known := range e.byName {
		switch health := known.health(); {
		case e.clock.Now().Before(health.restUntil):
			resting++
		case health.open:
			open++
		}
	}
	return open, resting
}

// follow takes in what the Webhook says now.
func (e *endpoint) follow(w *v1alpha1.Webhook) *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.generation < w.Generation { // or else the cache lags behind
		e.generation = w.Generation
		e.most = most(w)
		e.breaker.Reset()
	}
	if e.latest == nil && e.generation == w.Generation {
		e.takeOver(w)
	}
	return e
}

// takeOver takes in what the process before this one has found out.
func (e *endpoint) takeOver(w *v1alpha1.Webhook) {
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
	current := c != nil && c.ObservedGeneration == w.Generation
	if current && c.Reason == v1alpha1.ReasonGone {
		e.breaker.Leave()
	}
	until := w.Status.RestUntil.Time
	if until.IsZero() || until.Equal(e.restStored) {
		return
	}
	e.restStored = until
	if now := e.clock.Now(); !current && until.After(now) {
		until = now // it was edited, perhaps to another URL: one probe tells
	}
	e.breaker.Rest(until)
}

// aim takes in where the Webhook points to. What is known of one receiver does not
// hold for another.
func (e *endpoint) aim(to receiverurl.Target) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.isAt(to) {
		e.breaker.Replace()
	}
	e.target = to
}

// isAt tells whether a target is the receiver that is known, if one is.
func (e *endpoint) isAt(to receiverurl.Target) bool {
	return e.target == receiverurl.Target{} || e.target.Reveal() == to.Reveal()
}

func (e *endpoint) admit() queue.Admission {
	e.mu.Lock()
	defer e.mu.Unlock()
	limit, notBefore := e.breaker.Admission(e.most)
	a := queue.Admission{Limit: limit, ResendLimit: e.most}
	if !notBefore.IsZero() {
		a.Wait = max(notBefore.Sub(e.clock.Now()), 0)
	}
	return a
}

// begin asks to make an attempt. ok is false where none may be made.
func (e *endpoint) begin() (pass circuit.Pass, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.breaker.Begin(e.clock.Now())
}

// onDemand begins an attempt that a person asked for.
func (e *endpoint) onDemand() circuit.Pass {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.breaker.OnDemand()
}

// end takes in how an attempt went; report is nil if it ended in a panic.
func (e *endpoint) end(pass circuit.Pass, report *webhookstatus.Report) {
	e.mu.Lock()
	defer e.mu.Unlock()
	answer := circuit.Answer{Outcome: circuit.Unknown}
	if report != nil {
		e.latest = report
		same := e.isAt(report.Target)
		if same && report.Generation == e.generation { // it was not edited meanwhile
			answer.Outcome = outcomeOf(report)
		}
		if same { // a wish for rest holds whatever else was edited
			answer.Rest = report.Rest
		}
	}
	now, rest := e.clock.Now(), e.breaker.RestUntil()
	e.breaker.End(pass, answer, e.most, now, rand.Float64()) //nolint:gosec // it spreads probes
	if report != nil && e.breaker.RestUntil().After(rest) {
		e.restReason = report.Explanation
	}
}

func outcomeOf(report *webhookstatus.Report) circuit.Outcome {
	switch report.Verdict {
	case retry.Accepted:
		return circuit.Accepted
	case retry.Gone:
		return circuit.Gone
	case retry.Failed:
		if report.Delivery.StatusCode == http.StatusTooManyRequests {
			return circuit.TooMany
		}
		return circuit.Failed
	case retry.Interrupted, retry.Denied:
	}
	return circuit.Unknown
}

// known is what is known of a receiver at one moment.
type known struct {
	latest     *webhookstatus.Report
	open, gone bool
	restUntil  time.Time
	restReason string
}

func (e *endpoint) health() known {
	e.mu.Lock()
	defer e.mu.Unlock()
	return known{
		latest: e.latest, open: e.breaker.Open(), gone: e.breaker.Gone(),
		restUntil: e.breaker.RestUntil(), restReason: e.restReason,
	}
}

// holds returns why nothing but a resend may be sent now, or nil.
func (e *endpoint) holds() *reason {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.clock.Now()
	switch {
	case !e.breaker.Blocked(now):
		return nil
	case e.breaker.Gone():
		return receiverGone
	case now.Before(e.breaker.RestUntil()):
		return receiverResting
	default:
		return circuitOpen
	}
}
