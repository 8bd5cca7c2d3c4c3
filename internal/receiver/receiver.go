// Package receiver keeps what is known of the receiver of each Webhook: how many
// requests it takes, whether its circuit is open, whether it has asked for rest or is
// gone, and how the latest attempt went.
package receiver

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
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

// Registry has the receiver of each Webhook. It is in memory: another process begins
// with what the Webhook's status says, a 410 and a rest, and learns the rest anew.
type Registry struct {
	// Clock may be set before the first use.
	Clock clock.PassiveClock
	cache client.Reader

	mu     sync.RWMutex
	byName map[types.NamespacedName]*Receiver
}

// NewRegistry returns an empty registry. cache is asked for Webhooks.
func NewRegistry(cache client.Reader, clock clock.PassiveClock) *Registry {
	return &Registry{Clock: clock, cache: cache, byName: map[types.NamespacedName]*Receiver{}}
}

// Receiver is what is known of the receiver of one Webhook.
type Receiver struct {
	clock   clock.PassiveClock
	uid     types.UID
	created time.Time

	mu         sync.Mutex
	generation int64
	most       int
	breaker    breaker
	// latest is nil as long as this process has sent nothing to the Webhook.
	latest *Report
	// target is what the Webhook points to: another one is another receiver.
	target receiverurl.Target
	// restReason is how the receiver asked for rest.
	restReason string
	// restStored is the rest that was taken over from the Webhook's status.
	restStored time.Time
	// unusable is true once a delivery could not be sent for what the Webhook lacks.
	unusable bool
}

// Of returns the receiver of a Webhook. A Webhook that was edited is tried anew.
func (r *Registry) Of(w *v1alpha1.Webhook) *Receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := client.ObjectKeyFromObject(w)
	known, ok := r.byName[name]
	if !ok || known.uid != w.UID {
		is := &Receiver{clock: r.Clock, uid: w.UID, created: w.CreationTimestamp.Time}
		if ok && is.created.Before(known.created) {
			return is.update(w) // whoever asks lags behind: the name has passed on
		}
		known = is
		r.byName[name] = known
	}
	return known.update(w)
}

// Get returns the receiver of a Webhook, if it is known.
func (r *Registry) Get(webhook types.NamespacedName) (*Receiver, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	known, ok := r.byName[webhook]
	return known, ok
}

// defaultLimit is the default of spec.maxInFlight.
const defaultLimit = 10

// Admit returns what the receiver of a Webhook takes now. The queue asks for it often.
func (r *Registry) Admit(webhook types.NamespacedName) queue.Admission {
	if known, ok := r.Get(webhook); ok {
		return known.Admit()
	}
	// Its deliveries may come to the queue before it comes to a controller.
	w := &v1alpha1.Webhook{}
	if err := r.cache.Get(context.Background(), webhook, w); err != nil {
		return queue.Admission{Limit: defaultLimit, ResendLimit: defaultLimit}
	}
	return r.Of(w).Admit()
}

// Forget drops the receiver of a Webhook that is gone.
func (r *Registry) Forget(webhook types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byName, webhook)
}

// most is how many requests may be under way to a Webhook at most.
func most(w *v1alpha1.Webhook) int {
	if w.Spec.MaxInFlight > 0 {
		return int(w.Spec.MaxInFlight)
	}
	return defaultLimit
}

// Count returns how many circuits are open because receivers keep failing, and how many
// receivers have asked for rest.
func (r *Registry) Count() (open, resting int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, known := range r.byName {
		switch health := known.Health(); {
		case r.Clock.Now().Before(health.RestUntil):
			resting++
		case health.Open:
			open++
		}
	}
	return open, resting
}

// update takes in what the Webhook says now.
func (r *Receiver) update(w *v1alpha1.Webhook) *Receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation < w.Generation { // or else the cache lags behind
		r.generation = w.Generation
		r.most = most(w)
		r.breaker.reset()
	}
	if r.latest == nil && r.generation == w.Generation {
		r.restore(w)
	}
	return r
}

// restore takes in what the process before this one has found out.
func (r *Receiver) restore(w *v1alpha1.Webhook) {
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
	current := c != nil && c.ObservedGeneration == w.Generation
	if current && c.Reason == v1alpha1.ReasonGone {
		r.breaker.leave()
	}
	until := w.Status.RestUntil.Time
	if until.IsZero() || until.Equal(r.restStored) {
		return
	}
	r.restStored = until
	if now := r.clock.Now(); !current && until.After(now) {
		until = now // it was edited, perhaps to another URL: one probe tells
	}
	r.breaker.rest(until)
}

// SetTarget takes in where the Webhook points to. What is known of one receiver does not
// hold for another.
func (r *Receiver) SetTarget(to receiverurl.Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isAt(to) {
		r.breaker.replace()
	}
	r.target = to
}

// isAt tells whether a target is the receiver that is known, if one is.
func (r *Receiver) isAt(to receiverurl.Target) bool {
	return r.target == receiverurl.Target{} || r.target.Reveal() == to.Reveal()
}

// Admit returns what the receiver takes now.
func (r *Receiver) Admit() queue.Admission {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit, notBefore := r.breaker.admission(r.most)
	a := queue.Admission{Limit: limit, ResendLimit: r.most}
	if !notBefore.IsZero() {
		a.Wait = max(notBefore.Sub(r.clock.Now()), 0)
	}
	return a
}

// Begin asks to make an attempt. ok is false where none may be made. Whoever gets a
// Permit gives it back to End.
func (r *Receiver) Begin() (permit Permit, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.breaker.begin(r.clock.Now())
}

// OnDemand begins an attempt that a person asked for, which is always made.
func (r *Receiver) OnDemand() Permit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.breaker.onDemand()
}

// End takes in how an attempt went; report is nil if it ended in a panic.
func (r *Receiver) End(permit Permit, report *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	is := answer{outcome: unknown}
	if report != nil {
		r.latest = report
		same := r.isAt(report.Target)
		if same && report.Generation == r.generation { // it was not edited meanwhile
			is.outcome = outcomeOf(report)
		}
		if same { // a wish for rest holds whatever else was edited
			is.rest = report.Rest
		}
	}
	now, rest := r.clock.Now(), r.breaker.restUntil
	r.breaker.end(permit, is, r.most, now, rand.Float64()) //nolint:gosec // it spreads probes
	if report != nil && r.breaker.restUntil.After(rest) {
		r.restReason = report.Explanation
	}
}

func outcomeOf(report *Report) outcome {
	switch report.Outcome {
	case retry.Accepted:
		return accepted
	case retry.Gone:
		return gone
	case retry.Failed:
		if report.Delivery.StatusCode == http.StatusTooManyRequests {
			return tooMany
		}
		return failed
	case retry.Interrupted, retry.Denied:
	}
	return unknown
}

// Report tells of the latest attempt to reach a receiver.
type Report struct {
	Delivery    v1alpha1.LastDelivery
	Outcome     retry.Outcome
	Explanation string
	// Generation of the Webhook that was sent with.
	Generation int64
	// Target that was sent to.
	Target receiverurl.Target
	// Rest is how long the receiver asked to be left alone.
	Rest time.Duration
}

// Health is what is known of a receiver at one moment.
type Health struct {
	// Last is nil as long as this process has sent nothing.
	Last *Report
	// Open tells that the circuit is open, and Gone that the receiver answered 410.
	Open, Gone bool
	// RestUntil is the end of the rest that the receiver asked for; RestReason is how it
	// did. An end that has passed is of a rest after which nothing was sent.
	RestUntil  time.Time
	RestReason string
}

// Health returns what is known now.
func (r *Receiver) Health() Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Health{
		Last: r.latest, Open: r.breaker.open, Gone: r.breaker.gone,
		RestUntil: r.breaker.restUntil, RestReason: r.restReason,
	}
}

// WaitReason returns why nothing but a resend may be sent now, or nil.
func (r *Receiver) WaitReason() *delivery.WaitReason {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	switch {
	case !r.breaker.blocked(now):
		return nil
	case r.breaker.gone:
		return receiverGone
	case now.Before(r.breaker.restUntil):
		return receiverResting
	default:
		return circuitOpen
	}
}

// The reasons that a receiver gives to wait. Busy is for a delivery that waits for the
// requests which are under way.
var (
	Busy            = &delivery.WaitReason{Reason: v1alpha1.ReasonQueued, Message: "the receiver is busy with earlier deliveries"}
	circuitOpen     = &delivery.WaitReason{Reason: v1alpha1.ReasonCircuitOpen, Message: "the receiver has not accepted a delivery lately; this is sent when it accepts one again"}
	receiverResting = &delivery.WaitReason{Reason: v1alpha1.ReasonReceiverResting, Message: "the receiver asked for rest; this is sent after status.restUntil of the webhook"}
	receiverGone    = &delivery.WaitReason{Reason: v1alpha1.ReasonGone, Message: "the receiver answered 410 Gone: nothing is sent until the webhook is edited"}
)

// SetUnusable takes in that a delivery could not be sent, since the Webhook lacks
// something.
func (r *Receiver) SetUnusable() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unusable = true
}

// ClearUnusable tells whether SetUnusable was called since ClearUnusable last was.
func (r *Receiver) ClearUnusable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.unusable
	r.unusable = false
	return was
}
