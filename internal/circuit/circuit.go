// Package circuit decides how much a receiver is asked to take: how many requests
// at once and, while it keeps failing, only one now and then to see whether it is
// back. It knows no clock: times come in.
package circuit

import "time"

const (
	// Threshold is how many attempts in a row have to fail for the circuit to
	// open.
	Threshold = 5
	// MinWait is the time from the opening of a circuit to the first probe. It
	// doubles with each probe that fails, up to MaxWait.
	MinWait = 5 * time.Second
	// MaxWait bounds what a receiver that is back has to wait for its deliveries.
	MaxWait = 30 * time.Second
	// jitter is the share of a wait that chance takes off, so that the probes of
	// circuits that opened together do not stay together.
	jitter = 0.2
)

// Outcome is what an attempt says of the receiver.
type Outcome int

const (
	// Accepted: the receiver takes requests.
	Accepted Outcome = iota
	// Failed: it does not, or not this one.
	Failed
	// Unknown: the attempt was not made or not waited for.
	Unknown
)

// Pass is the permission to make one attempt.
type Pass struct{ probe bool }

// Breaker follows one receiver. The zero value is closed and lets all through.
type Breaker struct {
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
}

// Limit returns how many requests may be under way, out of at most. While the
// circuit is open it is no bound: Begin lets nothing through, and what comes is to
// be stored by as many as there are.
func (b *Breaker) Limit(most int) int {
	if b.open || b.allowed == 0 {
		return most
	}
	return min(b.allowed, most)
}

// Open tells whether the circuit is open, be there a probe or not.
func (b *Breaker) Open() bool { return b.open }

// Blocked tells whether Begin would refuse.
func (b *Breaker) Blocked(now time.Time) bool {
	return b.open && (b.probing || now.Before(b.retryAt))
}

// RetryAt returns when the next probe is due: zero where the circuit is closed or
// a probe is under way.
func (b *Breaker) RetryAt() time.Time {
	if !b.open || b.probing {
		return time.Time{}
	}
	return b.retryAt
}

// Begin asks to make an attempt. Whoever gets a Pass has to give it back to End.
func (b *Breaker) Begin(now time.Time) (Pass, bool) {
	if b.Blocked(now) {
		return Pass{}, false
	}
	b.probing = b.open
	return Pass{probe: b.open}, true
}

// End takes in how an attempt ended. An attempt that was made without asking, on
// demand of a person, ends with the zero Pass. chance is a number from 0 to 1.
func (b *Breaker) End(p Pass, outcome Outcome, most int, now time.Time, chance float64) {
	if p.probe {
		b.probing = false
	}
	switch {
	case outcome == Accepted && b.open:
		// It gets back what has piled up one by one first.
		*b = Breaker{allowed: 1, wait: b.wait}
	case outcome == Accepted:
		b.failures = 0
		if b.allowed > 0 {
			b.allowed++
		}
		if b.allowed >= most {
			b.allowed, b.wait = 0, 0
		}
	case outcome == Failed && !b.open:
		b.failures++
		b.allowed = max(b.Limit(most)/2, 1)
		if b.failures >= Threshold {
			b.shut(now, chance)
		}
	case outcome == Failed && p.probe:
		b.shut(now, chance)
	}
}

func (b *Breaker) shut(now time.Time, chance float64) {
	b.open, b.wait = true, min(max(2*b.wait, MinWait), MaxWait)
	b.retryAt = now.Add(time.Duration(float64(b.wait) * (1 - jitter*chance)))
}

// Reset forgets what was seen: whoever edits a Webhook wants it to be tried.
// Probes that are under way count as any other attempt.
func (b *Breaker) Reset() { *b = Breaker{} }
