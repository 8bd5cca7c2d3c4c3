// Package receiver keeps what is known of the receiver of each Webhook: how many
// requests it takes, whether its circuit is open, whether it has asked for rest or is
// gone, how many requests its rate limit leaves, and how the latest attempt went.
package receiver

import (
	"context"
	"fmt"
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
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

// Registry has the receiver of each Webhook. It is in memory: another process begins
// with what the Webhook's status says, a 410 and a rest, and learns the rest anew.
type Registry struct {
	// Clock may be set before the first use.
	Clock clock.PassiveClock
	// Sent, if set, returns when requests of a Webhook have ended between two times, by what
	// is stored of its deliveries. It is called under locks, and must not call back.
	Sent func(webhook types.NamespacedName, uid types.UID, since, now time.Time) []time.Time
	// Reconsider, if set, is called when a Webhook may be sent to that had to wait for
	// another one of its address.
	Reconsider func(webhook types.NamespacedName)
	cache      client.Reader
	windows    windows

	mu     sync.RWMutex
	byName map[types.NamespacedName]*Receiver
}

// NewRegistry returns an empty registry. cache is asked for Webhooks.
func NewRegistry(cache client.Reader, clock clock.PassiveClock) *Registry {
	r := &Registry{Clock: clock, cache: cache, byName: map[types.NamespacedName]*Receiver{}}
	r.windows = windows{registry: r, byAddress: map[address]*shared{}, inNamespace: map[string]int{}}
	return r
}

// Receiver is what is known of the receiver of one Webhook.
type Receiver struct {
	registry *Registry
	clock    clock.PassiveClock
	webhook  webhookID
	created  time.Time

	mu         sync.Mutex
	generation int64
	most       int
	breaker    breaker
	// limit is the rate limit, zero where there is none, and names are what the Webhook
	// names its address by.
	limit v1alpha1.RateLimit
	names names
	// underway are the requests that have begun and not ended.
	underway int
	// window is that of target, as far as the Webhook has a limit.
	window *shared
	// waited is when the limit last left no place for a delivery.
	waited time.Time
	// digest is that of digestOf.
	digest   address
	digestOf receiverurl.Target
	// moved is when the Webhook began to point to target, if that was another one before.
	moved time.Time
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
	if !ok || known.webhook.uid != w.UID {
		is := &Receiver{registry: r, clock: r.Clock, webhook: webhookID{name, w.UID}, created: w.CreationTimestamp.Time}
		if ok && is.created.Before(known.created) {
			is.update(w) // whoever asks lags behind: the name has passed on
			is.forget()
			return is
		}
		if ok {
			known.forget()
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
	if known, ok := r.byName[webhook]; ok {
		known.forget()
		delete(r.byName, webhook)
	}
}

// forget takes the receiver of a Webhook that is gone out of what others share. Whoever still
// has it does not bring it back.
func (r *Receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaveWindow()
	r.limit = v1alpha1.RateLimit{}
	r.registry.windows.forget(r)
}

// most is how many requests may be under way to a Webhook at most.
func most(w *v1alpha1.Webhook) int {
	if w.Spec.MaxInFlight > 0 {
		return int(w.Spec.MaxInFlight)
	}
	return defaultLimit
}

// Counts are numbers of receivers. Each is in one of them at most.
type Counts struct {
	// Open are those whose circuit is open because they keep failing, Resting those that
	// have asked for rest, and RateLimited those that deliveries wait for because of their
	// rate limit.
	Open, Resting, RateLimited int
}

// Count returns how many receivers are not sent to now.
func (r *Registry) Count() (c Counts) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, known := range r.byName {
		switch health := known.Health(); {
		case r.Clock.Now().Before(health.RestUntil):
			c.Resting++
		case health.Open:
			c.Open++
		case health.RateLimited != v1alpha1.RateLimit{}:
			c.RateLimited++
		}
	}
	return c
}

// update takes in what the Webhook says now.
func (r *Receiver) update(w *v1alpha1.Webhook) *Receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation < w.Generation { // or else the cache lags behind
		r.generation = w.Generation
		r.most = most(w)
		r.breaker.reset()
		r.names = namesOf(w)
		if r.limit = format.RateLimitOf(w); r.limit == (v1alpha1.RateLimit{}) {
			r.leaveWindow()
		}
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
		r.leaveWindow()
		r.moved = r.clock.Now()
	}
	r.target = to
}

// isAt tells whether a target is the receiver that is known, if one is.
func (r *Receiver) isAt(to receiverurl.Target) bool {
	return r.target == receiverurl.Target{} || r.target.Reveal() == to.Reveal()
}

// leaveWindow ends the membership of the window of target.
func (r *Receiver) leaveWindow() {
	if r.window != nil {
		r.registry.windows.leave(r.window, r, r.clock.Now())
		r.window, r.waited = nil, time.Time{}
	}
}

// windowAt returns the window of a target, or nil where no Webhook of the namespace has a
// rate limit there: then it computes nothing.
func (r *Receiver) windowAt(to receiverurl.Target, now time.Time) *shared {
	namespace := r.webhook.name.Namespace
	if r.limit == (v1alpha1.RateLimit{}) && !r.registry.windows.any(namespace) || to == (receiverurl.Target{}) {
		return nil
	}
	s := r.registry.windows.of(r.addressOf(to), r, now)
	if r.limit != (v1alpha1.RateLimit{}) {
		r.window = s
	}
	return s
}

// addressOf computes a digest once for as long as the target stays.
func (r *Receiver) addressOf(to receiverurl.Target) address {
	if r.digestOf == (receiverurl.Target{}) || r.digestOf.Reveal() != to.Reveal() {
		r.digest, r.digestOf = digest(r.webhook.name.Namespace, to), to
	}
	return r.digest
}

// Admit returns what the receiver takes now.
func (r *Receiver) Admit() queue.Admission {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	limit, notBefore := r.breaker.admission(r.most)
	a := queue.Admission{Limit: limit, ResendLimit: r.most, OneResend: r.breaker.open}
	if !notBefore.IsZero() {
		a.Wait = max(notBefore.Sub(now), 0)
	}
	if r.limit == (v1alpha1.RateLimit{}) {
		return a
	}
	s := r.windowAt(r.target, now)
	if s == nil { // where it points to is not known yet, so the first one to begin tells
		return a
	}
	// One that has as many requests under way as it may waits for these.
	waits := r.underway < r.most
	n, at := r.registry.windows.ask(s, r, now, waits)
	a.RateLimited, a.Places = true, n
	if n < 1 && waits {
		r.waited = now
	}
	if n < 1 && !at.IsZero() && waits {
		a.ResendWait = at.Sub(now)
		a.Wait = max(a.Wait, a.ResendWait)
	}
	return a
}

// Begin asks to make an attempt at a target. ok is false where none may be made. Whoever
// gets a Permit gives it back to End.
func (r *Receiver) Begin(to receiverurl.Target) (permit Permit, ok bool) {
	return r.begin(to, func(now time.Time) (Permit, bool) { return r.breaker.begin(now) })
}

// OnDemand is Begin for an attempt that a person asked for: only the rate limit may refuse
// it, and what a Webhook with one does not point to any more.
func (r *Receiver) OnDemand(to receiverurl.Target) (permit Permit, ok bool) {
	return r.begin(to, func(time.Time) (Permit, bool) { return r.breaker.onDemand(), true })
}

func (r *Receiver) begin(to receiverurl.Target, permitted func(now time.Time) (Permit, bool)) (permit Permit, ok bool) {
	var next *Receiver
	defer func() { r.registry.reconsider(next) }() // the queue asks back, so not under the lock
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if r.limit != (v1alpha1.RateLimit{}) {
		if !r.isAt(to) { // the window that the queue asks about is another one
			return Permit{moved: true}, false
		}
		r.target = to
	}
	permit, ok = permitted(now)
	if !ok {
		return Permit{}, false
	}
	s := r.windowAt(to, now)
	if s != nil {
		if ok, next = r.registry.windows.begin(s, r, now); !ok {
			if permit.probe {
				r.breaker.probing = false
			}
			return Permit{rateLimited: true}, false
		}
	}
	permit.to, permit.window = to, s
	r.underway++
	return permit, true
}

// reconsider has the queue look at receivers again.
func (r *Registry) reconsider(all ...*Receiver) {
	for _, known := range all {
		if known != nil && r.Reconsider != nil {
			r.Reconsider(known.webhook.name)
		}
	}
}

// endWindow gives back what a permit took of a window.
func (r *Receiver) endWindow(p Permit, report *Report, now time.Time) (woken []*Receiver) {
	sent := report == nil || report.Outcome != retry.Denied
	switch ws := &r.registry.windows; {
	case p.window != nil:
		return ws.end(p.window, now, sent)
	case sent && p.to != receiverurl.Target{} && ws.any(r.webhook.name.Namespace):
		ws.ended(r.addressOf(p.to), now)
	}
	return nil
}

// End takes in how an attempt went; report is nil if it ended in a panic.
func (r *Receiver) End(permit Permit, report *Report) {
	var woken []*Receiver
	defer func() { r.registry.reconsider(woken...) }() // the queue asks back, so not under the lock
	r.mu.Lock()
	defer r.mu.Unlock()
	r.underway--
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
	woken = r.endWindow(permit, report, now)
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
	case retry.Interrupted, retry.Denied, retry.Rejected:
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
	// RateLimited is the rate limit that deliveries wait for, or did within its span: while
	// those that it lets through begin, none waits for a moment. It is zero where none do.
	RateLimited v1alpha1.RateLimit
}

// Health returns what is known now.
func (r *Receiver) Health() Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := Health{
		Last: r.latest, Open: r.breaker.open, Gone: r.breaker.gone,
		RestUntil: r.breaker.restUntil, RestReason: r.restReason,
	}
	if now := r.clock.Now(); r.waitsForPlace(now) || now.Before(r.waited.Add(spanOf(r.limit))) {
		h.RateLimited = r.limit
	}
	return h
}

// waitsForPlace tells whether deliveries wait for the rate limit.
func (r *Receiver) waitsForPlace(now time.Time) bool {
	return r.window != nil && r.registry.windows.waits(r.window, r, now)
}

// WaitReason returns why nothing but a resend may be sent now, or nil.
func (r *Receiver) WaitReason() *delivery.WaitReason {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	switch {
	case !r.breaker.blocked(now) && r.waitsForPlace(now):
		return rateLimited(r.limit)
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

func rateLimited(limit v1alpha1.RateLimit) *delivery.WaitReason {
	return &delivery.WaitReason{Reason: v1alpha1.ReasonRateLimited, Message: fmt.Sprintf(
		"as many requests as the rate limit of %s allows were made lately; this is sent when it allows another one", limit)}
}

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
