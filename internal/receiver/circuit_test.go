package receiver

import (
	"testing"
	"time"
)

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// receiver plays attempts at a receiver with a breaker, on a clock of its own.
type receiver struct {
	*testing.T
	breaker
	now time.Time
}

const atMost = 10

func newReceiver(t *testing.T) *receiver { return &receiver{T: t, now: start} }

// attempt makes one attempt from begin to end.
func (r *receiver) attempt(outcome outcome) {
	r.Helper()
	p, ok := r.begin(r.now)
	if !ok {
		r.Fatal("Begin refuses")
	}
	r.end(p, answer{outcome: outcome}, atMost, r.now, 0)
}

func (r *receiver) limit(want int) {
	r.Helper()
	if got := limitOf(&r.breaker, atMost); got != want {
		r.Errorf("limit %d, want %d", got, want)
	}
}

func limitOf(b *breaker, atMost int) int {
	limit, _ := b.admission(atMost)
	return limit
}

// probeAt is when the next probe may begin.
func probeAt(b *breaker) time.Time {
	_, notBefore := b.admission(atMost)
	return notBefore
}

func (r *receiver) refuses() {
	r.Helper()
	if _, ok := r.begin(r.now); ok {
		r.Fatal("Begin lets an attempt through")
	}
	if !r.blocked(r.now) {
		r.Error("Blocked = false although Begin refuses")
	}
}

// openIt makes the circuit open.
func (r *receiver) openIt() {
	r.Helper()
	for range FailureThreshold {
		r.attempt(failed)
	}
	if !r.open {
		r.Fatalf("closed after %d failures", FailureThreshold)
	}
}

func TestHealthyReceiverHasAllSlots(t *testing.T) {
	r := newReceiver(t)
	for range 100 {
		r.limit(atMost)
		r.attempt(accepted)
	}
}

func TestLimitHalvesWithFailuresAndGrowsWithSuccesses(t *testing.T) {
	r := newReceiver(t)
	r.attempt(failed)
	r.limit(5)
	r.attempt(failed)
	r.limit(2)
	r.attempt(failed)
	r.limit(1)
	r.attempt(failed)
	r.limit(1)
	for want := 2; want <= atMost; want++ {
		r.attempt(accepted)
		r.limit(want)
	}
	r.attempt(accepted)
	r.limit(atMost)
}

func TestLimitFollowsTheWebhook(t *testing.T) {
	r := newReceiver(t)
	if got := limitOf(&r.breaker, 3); got != 3 {
		t.Errorf("Limit(3) = %d", got)
	}
	r.attempt(failed) // 5 of 10
	if got := limitOf(&r.breaker, 3); got != 3 {
		t.Errorf("Limit(3) = %d after one failure of ten slots", got)
	}
}

func TestCircuitOpensAfterFailuresInARow(t *testing.T) {
	r := newReceiver(t)
	for range FailureThreshold - 1 {
		r.attempt(failed)
	}
	r.attempt(accepted)
	for range FailureThreshold - 1 {
		r.attempt(failed)
	}
	if r.open {
		t.Fatal("open although a success was between the failures")
	}
	r.attempt(failed)
	if !r.open {
		t.Fatal("closed after the fifth failure in a row")
	}
	if got := probeAt(&r.breaker).Sub(r.now); got != minProbeInterval {
		t.Errorf("the first probe is due in %v, want %v", got, minProbeInterval)
	}
	r.refuses()
}

func TestOneProbeAtATimeWithGrowingWaits(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	for _, want := range []time.Duration{minProbeInterval, 2 * minProbeInterval, 4 * minProbeInterval, MaxProbeInterval, MaxProbeInterval} {
		wait := probeAt(&r.breaker).Sub(r.now)
		if wait != want {
			t.Errorf("the probe is due in %v, want %v", wait, want)
		}
		r.now = r.now.Add(wait - time.Millisecond)
		r.refuses()
		r.now = r.now.Add(time.Millisecond)
		p, ok := r.begin(r.now)
		if !ok {
			t.Fatal("the probe is refused")
		}
		r.refuses()
		r.limit(1) // which the probe has taken
		r.end(p, answer{outcome: failed}, atMost, r.now, 0)
	}
}

func TestAcceptedProbeClosesAndGrowsFromOne(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	r.now = r.now.Add(minProbeInterval)
	r.attempt(accepted)
	if r.open {
		t.Fatal("open although the probe was accepted")
	}
	r.limit(1)
	r.attempt(accepted)
	r.limit(2)
	r.openIt()
	if got := probeAt(&r.breaker).Sub(r.now); got != 2*minProbeInterval {
		t.Errorf("the wait is %v after a short close, want %v: a receiver that flaps is not woken again and again", got, 2*minProbeInterval)
	}
	r.now = probeAt(&r.breaker)
	for range atMost {
		r.attempt(accepted)
	}
	r.openIt()
	if got := probeAt(&r.breaker).Sub(r.now); got != minProbeInterval {
		t.Errorf("the wait is %v after the receiver was well, want %v again", got, minProbeInterval)
	}
}

func TestLateAnswersDoNotDisturbAProbe(t *testing.T) {
	r := newReceiver(t)
	var early []Permit
	for range 3 {
		p, _ := r.begin(r.now)
		early = append(early, p)
	}
	r.openIt()
	due := probeAt(&r.breaker)
	r.end(early[0], answer{outcome: failed}, atMost, r.now.Add(time.Second), 1)
	if !probeAt(&r.breaker).Equal(due) {
		t.Error("an attempt that began before the circuit opened has moved the probe")
	}
	r.now = due
	probe, ok := r.begin(r.now)
	if !ok {
		t.Fatal("the probe is refused")
	}
	r.end(early[1], answer{outcome: failed}, atMost, r.now, 0)
	r.refuses() // still one probe
	r.end(early[2], answer{outcome: accepted}, atMost, r.now, 0)
	if r.open {
		t.Error("open although the receiver has accepted something")
	}
	r.end(probe, answer{outcome: failed}, atMost, r.now, 0)
	if r.open {
		t.Error("one failure has opened a closed circuit")
	}
}

func TestProbeThatIsNotMadeIsGivenBack(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	r.now = probeAt(&r.breaker)
	r.attempt(unknown)
	if r.blocked(r.now) {
		t.Error("the probe is lost")
	}
}

func TestAttemptOnDemand(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	due := probeAt(&r.breaker)
	r.end(r.onDemand(), answer{outcome: failed}, atMost, r.now, 0)
	if !probeAt(&r.breaker).Equal(due) {
		t.Error("an attempt that nobody asked the circuit for has moved the probe")
	}
	r.end(r.onDemand(), answer{outcome: accepted}, atMost, r.now, 0)
	if r.open {
		t.Error("open although the receiver has accepted something")
	}
}

func TestReset(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	r.reset()
	r.limit(atMost)
	r.attempt(failed)
	r.limit(atMost / 2)
}

func TestJitterOnlyTakesOff(t *testing.T) {
	var b breaker
	for range FailureThreshold {
		p, _ := b.begin(start)
		b.end(p, answer{outcome: failed}, atMost, start, 1)
	}
	if got, want := probeAt(&b).Sub(start), minProbeInterval-minProbeInterval/5; got != want {
		t.Errorf("wait %v, want %v", got, want)
	}
}

// ask makes one attempt that is answered with a wish for rest.
func (r *receiver) ask(outcome outcome, rest time.Duration) {
	r.Helper()
	p, ok := r.begin(r.now)
	if !ok {
		r.Fatal("Begin refuses")
	}
	r.end(p, answer{outcome: outcome, rest: rest}, atMost, r.now, 0)
}

// rests checks that nothing is let through before a time from now, and then one.
func (r *receiver) rests(want time.Duration) {
	r.Helper()
	if got := r.restUntil.Sub(r.now); got != want {
		r.Errorf("it rests for %v, want %v", got, want)
	}
	r.waits(want)
}

func (r *receiver) waits(want time.Duration) {
	r.Helper()
	r.now = r.now.Add(want - time.Millisecond)
	r.refuses()
	r.now = r.now.Add(time.Millisecond)
	if got := probeAt(&r.breaker); !got.Equal(r.now) {
		r.Errorf("the probe is due at %v, want %v", got, r.now)
	}
	if r.blocked(r.now) {
		r.Error("the probe is refused")
	}
}

func TestReceiverAsksForRest(t *testing.T) {
	for name, outcome := range map[string]outcome{"failed": failed, "too many": tooMany, "edited meanwhile": unknown} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			r.ask(outcome, time.Minute)
			r.limit(1) // one probe
			r.rests(time.Minute)
			r.attempt(accepted)
			if r.open || !r.restUntil.IsZero() {
				t.Error("it still rests although the probe was accepted")
			}
			r.limit(1)
		})
	}
}

func TestTooManyWithoutATimeRestsForTheNextWait(t *testing.T) {
	r := newReceiver(t)
	for _, want := range []time.Duration{minProbeInterval, 2 * minProbeInterval, 4 * minProbeInterval, MaxProbeInterval, MaxProbeInterval} {
		r.attempt(tooMany)
		r.rests(want)
	}
	r = newReceiver(t)
	for range FailureThreshold - 1 {
		r.attempt(failed)
	}
	r.attempt(tooMany) // which opens the circuit as well
	r.rests(minProbeInterval)
}

// A receiver that always asks for a second gets ever fewer probes all the same.
func TestShortRestsDoNotShortenTheWaits(t *testing.T) {
	r := newReceiver(t)
	r.ask(failed, time.Second)
	r.rests(time.Second)
	for _, want := range []time.Duration{minProbeInterval, 2 * minProbeInterval, 4 * minProbeInterval, MaxProbeInterval} {
		r.ask(failed, time.Second)
		if got := r.restUntil.Sub(r.now); got != time.Second {
			t.Errorf("it rests for %v", got)
		}
		r.waits(want)
	}
	r.ask(failed, time.Hour)
	r.rests(time.Hour)
}

func TestProbeThatFailsEndsTheRest(t *testing.T) {
	r := newReceiver(t)
	r.ask(failed, time.Minute)
	r.rests(time.Minute)
	r.attempt(failed)
	if !r.restUntil.IsZero() || !r.open {
		t.Error("the receiver did not ask for more, and it does not accept")
	}
	r.waits(minProbeInterval)
}

func TestRestIsExtendedAndNeverShortened(t *testing.T) {
	r := newReceiver(t)
	var early []Permit
	for range 4 {
		p, _ := r.begin(r.now)
		early = append(early, p)
	}
	r.ask(tooMany, time.Minute)
	r.end(early[0], answer{outcome: failed, rest: time.Second}, atMost, r.now, 0)
	r.end(early[1], answer{outcome: tooMany}, atMost, r.now, 0)
	r.end(early[2], answer{outcome: tooMany, rest: 2 * time.Minute}, atMost, r.now, 0)
	r.end(early[3], answer{outcome: failed}, atMost, r.now, 0)
	r.rests(2 * time.Minute)
}

// Only an answer to a request that began after the receiver had asked for rest
// tells that it takes requests again.
func TestWhatBeganBeforeARestDoesNotEndIt(t *testing.T) {
	r := newReceiver(t)
	before, _ := r.begin(r.now)
	demand := r.onDemand()
	r.ask(tooMany, time.Minute)
	between := r.onDemand()
	r.end(between, answer{outcome: tooMany, rest: 2 * time.Minute}, atMost, r.now, 0)
	for _, p := range []Permit{before, demand, between} {
		r.end(p, answer{outcome: accepted}, atMost, r.now, 0)
		r.refuses()
	}
	r.rests(2 * time.Minute)
	probe, _ := r.begin(r.now)
	r.end(before, answer{outcome: accepted}, atMost, r.now, 0)
	r.refuses() // still one probe
	r.end(r.onDemand(), answer{outcome: tooMany, rest: time.Minute}, atMost, r.now, 0)
	r.end(probe, answer{outcome: accepted}, atMost, r.now, 0)
	r.rests(time.Minute)
}

func TestResendEndsARest(t *testing.T) {
	r := newReceiver(t)
	r.ask(failed, time.Hour)
	r.end(r.onDemand(), answer{outcome: failed}, atMost, r.now, 0)
	r.refuses()
	r.end(r.onDemand(), answer{outcome: accepted}, atMost, r.now, 0)
	if r.open || !r.restUntil.IsZero() {
		t.Error("it rests although it has accepted a request that began since")
	}
	r.limit(1)
}

func TestEditLeavesARest(t *testing.T) {
	r := newReceiver(t)
	r.ask(tooMany, time.Minute)
	r.reset()
	r.rests(time.Minute)
	probe, _ := r.begin(r.now)
	r.reset()
	r.refuses() // one probe goes first, all the same
	r.end(probe, answer{outcome: unknown}, atMost, r.now, 0)
	r.attempt(failed)
	r.reset()
	if r.open {
		t.Error("the receiver does not ask for rest any more, and the circuit is open after an edit")
	}
}

func TestAnotherReceiverDoesNotRest(t *testing.T) {
	r := newReceiver(t)
	r.ask(tooMany, time.Minute)
	r.replace()
	r.limit(atMost)
	r.attempt(accepted)
}

// Whatever comes after it, gone is gone until an edit.
func TestGone(t *testing.T) {
	r := newReceiver(t)
	beside, _ := r.begin(r.now)
	r.attempt(gone)
	for _, a := range []answer{
		{outcome: accepted}, {outcome: failed}, {outcome: unknown}, {outcome: tooMany}, {outcome: tooMany, rest: time.Second},
	} {
		r.end(beside, a, atMost, r.now, 0)
		r.end(r.onDemand(), a, atMost, r.now, 0)
		r.now = r.now.Add(time.Hour)
		r.refuses()
		if !r.gone || !probeAt(&r.breaker).IsZero() {
			t.Errorf("after %+v it is tried again", a)
		}
	}
	r.end(r.onDemand(), answer{outcome: accepted}, atMost, r.now, 0) // ends the rest, too
	r.replace()
	r.refuses()
	r.reset()
	r.attempt(accepted)
}
