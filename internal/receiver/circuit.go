package receiver

import (
	"time"

	"github.com/horizoncd/webhook-operator/internal/receiverurl"
)

const (
	// FailureThreshold is how many attempts in a row have to fail for the circuit to
	// open.
	FailureThreshold = 5
	// minProbeInterval is the time from the opening of a circuit to the first probe. It
	// doubles with each probe that fails, up to MaxProbeInterval.
	minProbeInterval = 5 * time.Second
	// MaxProbeInterval bounds what a receiver that is back has to wait for its deliveries.
	MaxProbeInterval = 30 * time.Second
	// jitter is the share of a wait that chance takes off, so that the probes of
	// circuits that opened together do not stay together.
	jitter = 0.2
)

// outcome is what an attempt says of the receiver.
type outcome int

const (
	// accepted: the receiver takes requests.
	accepted outcome = iota
	// failed: it does not, or not this one.
	failed
	// tooMany: it does not take as many (429 Too Many Requests).
	tooMany
	// gone: it wants no more, ever.
	gone
	// unknown: the attempt was not made or not waited for.
	unknown
)

// answer is how an attempt ended.
type answer struct {
	outcome outcome
	// rest is how long the receiver asked to be left alone (Retry-After); 0 where it
	// did not.
	rest time.Duration
}

// Permit is the permission to make one attempt.
type Permit struct {
	probe bool
	// rests is how often the receiver had asked for rest when the attempt began.
	rests int

	// to is where the request goes, and window that of the address; nil where no Webhook
	// had a rate limit there.
	to     receiverurl.Target
	window *shared
	// Of one that was refused: rateLimited where the rate limit is why, and moved where the
	// Webhook does not point to the address any more.
	rateLimited, moved bool
}

// RateLimited tells of a Permit that was refused whether the rate limit is why: the
// admission of the queue then says when there is one.
func (p Permit) RateLimited() bool { return p.rateLimited }

// Moved tells of a Permit that was refused whether that is because the receiver is known by
// another address, which SetTarget has to change.
func (p Permit) Moved() bool { return p.moved }

// breaker follows one receiver. The zero value is closed and lets all through.
//
// A rest is an open circuit whose end the receiver has chosen: nothing is sent
// before it, one probe follows, and once that is accepted all the others do.
type breaker struct {
	// gone is set for good by the receiver: until somebody edits the Webhook.
	gone bool

	// allowed is how many requests may be under way; 0 is as many as there may
	// be at most.
	allowed int
	// failures in a row.
	failures int

	open bool
	// wait before the latest probe. A circuit that closes keeps it until its
	// receiver has shown that it stands all that it may get.
	wait    time.Duration
	retryAt time.Time
	// probing while the one request is under way that a circuit lets through.
	probing bool

	// restUntil is the end of the rest that the receiver asked for. It stays when
	// that has passed, until a probe has told more.
	restUntil time.Time
	// rests counts the requests for rest.
	rests int
}

// admission returns how many requests may be under way, out of at most, and the time
// before which none may begin. While the circuit is open, that is the next probe.
func (b *breaker) admission(most int) (limit int, notBefore time.Time) {
	switch {
	case b.gone:
		return 0, time.Time{}
	case b.open:
		return 1, b.retryAt
	case b.allowed == 0:
		return most, time.Time{}
	default:
		return min(b.allowed, most), time.Time{}
	}
}

// blocked tells whether begin would refuse.
func (b *breaker) blocked(now time.Time) bool {
	return b.gone || b.open && (b.probing || now.Before(b.retryAt))
}

// begin asks to make an attempt. Whoever gets a Permit has to give it back to end.
func (b *breaker) begin(now time.Time) (Permit, bool) {
	if b.blocked(now) {
		return Permit{}, false
	}
	b.probing = b.open
	return Permit{probe: b.open, rests: b.rests}, true
}

// onDemand returns the Permit of an attempt that a person asked for, which is always
// made.
func (b *breaker) onDemand() Permit { return Permit{rests: b.rests} }

// end takes in how an attempt ended. chance is a number from 0 to 1.
func (b *breaker) end(p Permit, a answer, most int, now time.Time, chance float64) {
	if p.probe {
		b.probing = false
	}
	// What began before the circuit opened does not move the probe.
	late := b.open && !p.probe
	switch a.outcome {
	case accepted:
		b.accept(p, most)
	case failed, tooMany:
		if !late {
			b.fail(a, most, now, chance)
		}
	case gone:
		b.gone = true
	case unknown:
	}
	if a.rest > 0 {
		b.rest(now.Add(a.rest))
	}
}

func (b *breaker) accept(p Permit, most int) {
	switch {
	case b.open && p.rests == b.rests:
		// It gets back what has piled up one by one first.
		*b = breaker{gone: b.gone, allowed: 1, wait: b.wait, rests: b.rests}
	case b.open: // that was before the receiver asked for rest
	default:
		b.failures = 0
		if b.allowed > 0 {
			b.allowed++
		}
		if b.allowed >= most {
			b.allowed, b.wait = 0, 0
		}
	}
}

func (b *breaker) fail(a answer, most int, now time.Time, chance float64) {
	probed := b.open
	if !probed {
		b.failures++
		limit, _ := b.admission(most)
		b.allowed = max(limit/2, 1)
	}
	unspecified := a.outcome == tooMany && a.rest == 0
	if !probed && !unspecified && b.failures < FailureThreshold {
		return
	}
	b.open, b.wait = true, min(max(2*b.wait, minProbeInterval), MaxProbeInterval)
	next := now.Add(time.Duration(float64(b.wait) * (1 - jitter*chance)))
	if !now.Before(b.restUntil) {
		b.restUntil = time.Time{}
	}
	b.retryAt = later(b.restUntil, next)
	if unspecified {
		b.rest(next)
	}
}

// rest lets nothing through before a time, and then one probe: the receiver asked
// for that, perhaps in an answer to the process before this one. A longer rest
// extends one that has begun; a shorter one changes nothing.
func (b *breaker) rest(until time.Time) {
	if !until.After(b.restUntil) {
		return
	}
	b.open, b.restUntil, b.retryAt = true, until, later(b.retryAt, until)
	b.rests++
}

// leave lets nothing through for good, as an answer 410 does.
func (b *breaker) leave() { b.gone = true }

// reset forgets what was seen: whoever edits a Webhook wants it to be tried.
// Probes that are under way count as any other attempt. A rest stays: the receiver
// asked for it, whatever has been edited.
func (b *breaker) reset() {
	was := *b
	*b = breaker{rests: was.rests}
	if !was.restUntil.IsZero() {
		b.open, b.restUntil, b.retryAt = true, was.restUntil, was.restUntil
		b.wait, b.probing = was.wait, was.probing
	}
}

// replace begins anew with another receiver. That the Webhook's was gone stays:
// only an edit ends it.
func (b *breaker) replace() { *b = breaker{gone: b.gone, rests: b.rests} }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
