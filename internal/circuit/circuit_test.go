package circuit

import (
	"testing"
	"time"
)

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// receiver plays attempts at a receiver with a Breaker, on a clock of its own.
type receiver struct {
	*testing.T
	Breaker
	now time.Time
}

const most = 10

func newReceiver(t *testing.T) *receiver { return &receiver{T: t, now: start} }

// attempt makes one attempt from begin to end.
func (r *receiver) attempt(outcome Outcome) {
	r.Helper()
	p, ok := r.Begin(r.now)
	if !ok {
		r.Fatal("Begin refuses")
	}
	r.End(p, Answer{Outcome: outcome}, most, r.now, 0)
}

func (r *receiver) limit(want int) {
	r.Helper()
	if got := limitOf(&r.Breaker, most); got != want {
		r.Errorf("limit %d, want %d", got, want)
	}
}

func limitOf(b *Breaker, most int) int {
	limit, _ := b.Admission(most)
	return limit
}

// probeAt is when the next probe may begin.
func probeAt(b *Breaker) time.Time {
	_, notBefore := b.Admission(most)
	return notBefore
}

func (r *receiver) refuses() {
	r.Helper()
	if _, ok := r.Begin(r.now); ok {
		r.Fatal("Begin lets an attempt through")
	}
	if !r.Blocked(r.now) {
		r.Error("Blocked = false although Begin refuses")
	}
}

// openIt makes the circuit open.
func (r *receiver) openIt() {
	r.Helper()
	for range Threshold {
		r.attempt(Failed)
	}
	if !r.Open() {
		r.Fatalf("closed after %d failures", Threshold)
	}
}

func TestHealthyReceiverHasAllSlots(t *testing.T) {
	r := newReceiver(t)
	for range 100 {
		r.limit(most)
		r.attempt(Accepted)
	}
}

func TestLimitHalvesWithFailuresAndGrowsWithSuccesses(t *testing.T) {
	r := newReceiver(t)
	r.attempt(Failed)
	r.limit(5)
	r.attempt(Failed)
	r.limit(2)
	r.attempt(Failed)
	r.limit(1)
	r.attempt(Failed)
	r.limit(1)
	for want := 2; want <= most; want++ {
		r.attempt(Accepted)
		r.limit(want)
	}
	r.attempt(Accepted)
	r.limit(most)
}

func TestLimitFollowsTheWebhook(t *testing.T) {
	r := newReceiver(t)
	if got := limitOf(&r.Breaker, 3); got != 3 {
		t.Errorf("Limit(3) = %d", got)
	}
	r.attempt(Failed) // 5 of 10
	if got := limitOf(&r.Breaker, 3); got != 3 {
		t.Errorf("Limit(3) = %d after one failure of ten slots", got)
	}
}

func TestCircuitOpensAfterFailuresInARow(t *testing.T) {
	r := newReceiver(t)
	for range Threshold - 1 {
		r.attempt(Failed)
	}
	r.attempt(Accepted)
	for range Threshold - 1 {
		r.attempt(Failed)
	}
	if r.Open() {
		t.Fatal("open although a success was between the failures")
	}
	r.attempt(Failed)
	if !r.Open() {
		t.Fatal("closed after the fifth failure in a row")
	}
	if got := probeAt(&r.Breaker).Sub(r.now); got != MinWait {
		t.Errorf("the first probe is due in %v, want %v", got, MinWait)
	}
	r.refuses()
}

func TestOneProbeAtATimeWithGrowingWaits(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	for _, want := range []time.Duration{MinWait, 2 * MinWait, 4 * MinWait, MaxWait, MaxWait} {
		wait := probeAt(&r.Breaker).Sub(r.now)
		if wait != want {
			t.Errorf("the probe is due in %v, want %v", wait, want)
		}
		r.now = r.now.Add(wait - time.Millisecond)
		r.refuses()
		r.now = r.now.Add(time.Millisecond)
		p, ok := r.Begin(r.now)
		if !ok {
			t.Fatal("the probe is refused")
		}
		r.refuses()
		r.limit(1) // which the probe has taken
		r.End(p, Answer{Outcome: Failed}, most, r.now, 0)
	}
}

func TestAcceptedProbeClosesAndGrowsFromOne(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	r.now = r.now.Add(MinWait)
	r.attempt(Accepted)
	if r.Open() {
		t.Fatal("open although the probe was accepted")
	}
	r.limit(1)
	r.attempt(Accepted)
	r.limit(2)
	r.openIt()
	if got := probeAt(&r.Breaker).Sub(r.now); got != 2*MinWait {
		t.Errorf("the wait is %v after a short close, want %v: a receiver that flaps is not woken again and again", got, 2*MinWait)
	}
	r.now = probeAt(&r.Breaker)
	for range most {
		r.attempt(Accepted)
	}
	r.openIt()
	if got := probeAt(&r.Breaker).Sub(r.now); got != MinWait {
		t.Errorf("the wait is %v after the receiver was well, want %v again", got, MinWait)
	}
}

func TestLateAnswersDoNotDisturbAProbe(t *testing.T) {
	r := newReceiver(t)
	var early []Pass
	for range 3 {
		p, _ := r.Begin(r.now)
		early = append(early, p)
	}
	r.openIt()
	due := probeAt(&r.Breaker)
	r.End(early[0], Answer{Outcome: Failed}, most, r.now.Add(time.Second), 1)
	if !probeAt(&r.Breaker).Equal(due) {
		t.Error("an attempt that began before the circuit opened has moved the probe")
	}
	r.now = due
	probe, ok := r.Begin(r.now)
	if !ok {
		t.Fatal("the probe is refused")
	}
	r.End(early[1], Answer{Outcome: Failed}, most, r.now, 0)
	r.refuses() // still one probe
	r.End(early[2], Answer{Outcome: Accepted}, most, r.now, 0)
	if r.Open() {
		t.Error("open although the receiver has accepted something")
	}
	r.End(probe, Answer{Outcome: Failed}, most, r.now, 0)
	if r.Open() {
		t.Error("one failure has opened a closed circuit")
	}
}

func TestProbeThatIsNotMadeIsGivenBack(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	r.now = probeAt(&r.Breaker)
	r.attempt(Unknown)
	if r.Blocked(r.now) {
		t.Error("the probe is lost")
	}
}

func TestAttemptOnDemand(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	due := probeAt(&r.Breaker)
	r.End(r.OnDemand(), Answer{Outcome: Failed}, most, r.now, 0)
	if !probeAt(&r.Breaker).Equal(due) {
		t.Error("an attempt that nobody asked the circuit for has moved the probe")
	}
	r.End(r.OnDemand(), Answer{Outcome: Accepted}, most, r.now, 0)
	if r.Open() {
		t.Error("open although the receiver has accepted something")
	}
}

func TestReset(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	r.Reset()
	r.limit(most)
	r.attempt(Failed)
	r.limit(most / 2)
}

func TestJitterOnlyTakesOff(t *testing.T) {
	var b Breaker
	for range Threshold {
		p, _ := b.Begin(start)
		b.End(p, Answer{Outcome: Failed}, most, start, 1)
	}
	if got, want := probeAt(&b).Sub(start), MinWait-MinWait/5; got != want {
		t.Errorf("wait %v, want %v", got, want)
	}
}

// ask makes one attempt that is answered with a wish for rest.
func (r *receiver) ask(outcome Outcome, rest time.Duration) {
	r.Helper()
	p, ok := r.Begin(r.now)
	if !ok {
		r.Fatal("Begin refuses")
	}
	r.End(p, Answer{Outcome: outcome, Rest: rest}, most, r.now, 0)
}

// rests checks that nothing is let through before a time from now, and then one.
func (r *receiver) rests(want time.Duration) {
	r.Helper()
	if got := r.RestUntil().Sub(r.now); got != want {
		r.Errorf("it rests for %v, want %v", got, want)
	}
	r.waits(want)
}

func (r *receiver) waits(want time.Duration) {
	r.Helper()
	r.now = r.now.Add(want - time.Millisecond)
	r.refuses()
	r.now = r.now.Add(time.Millisecond)
	if got := probeAt(&r.Breaker); !got.Equal(r.now) {
		r.Errorf("the probe is due at %v, want %v", got, r.now)
	}
	if r.Blocked(r.now) {
		r.Error("the probe is refused")
	}
}

func TestReceiverAsksForRest(t *testing.T) {
	for name, outcome := range map[string]Outcome{"failed": Failed, "too many": TooMany, "edited meanwhile": Unknown} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			r.ask(outcome, time.Minute)
			r.limit(1) // one probe
			r.rests(time.Minute)
			r.attempt(Accepted)
			if r.Open() || !r.RestUntil().IsZero() {
				t.Error("it still rests although the probe was accepted")
			}
			r.limit(1)
		})
	}
}

func TestTooManyWithoutATimeRestsForTheNextWait(t *testing.T) {
	r := newReceiver(t)
	for _, want := range []time.Duration{MinWait, 2 * MinWait, 4 * MinWait, MaxWait, MaxWait} {
		r.attempt(TooMany)
		r.rests(want)
	}
	r = newReceiver(t)
	for range Threshold - 1 {
		r.attempt(Failed)
	}
	r.attempt(TooMany) // which opens the circuit as well
	r.rests(MinWait)
}

// A receiver that always asks for a second gets ever fewer probes all the same.
func TestShortRestsDoNotShortenTheWaits(t *testing.T) {
	r := newReceiver(t)
	r.ask(Failed, time.Second)
	r.rests(time.Second)
	for _, want := range []time.Duration{MinWait, 2 * MinWait, 4 * MinWait, MaxWait} {
		r.ask(Failed, time.Second)
		if got := r.RestUntil().Sub(r.now); got != time.Second {
			t.Errorf("it rests for %v", got)
		}
		r.waits(want)
	}
	r.ask(Failed, time.Hour)
	r.rests(time.Hour)
}

func TestProbeThatFailsEndsTheRest(t *testing.T) {
	r := newReceiver(t)
	r.ask(Failed, time.Minute)
	r.rests(time.Minute)
	r.attempt(Failed)
	if !r.RestUntil().IsZero() || !r.Open() {
		t.Error("the receiver did not ask for more, and it does not accept")
	}
	r.waits(MinWait)
}

func TestRestIsExtendedAndNeverShortened(t *testing.T) {
	r := newReceiver(t)
	var early []Pass
	for range 4 {
		p, _ := r.Begin(r.now)
		early = append(early, p)
	}
	r.ask(TooMany, time.Minute)
	r.End(early[0], Answer{Outcome: Failed, Rest: time.Second}, most, r.now, 0)
	r.End(early[1], Answer{Outcome: TooMany}, most, r.now, 0)
	r.End(early[2], Answer{Outcome: TooMany, Rest: 2 * time.Minute}, most, r.now, 0)
	r.End(early[3], Answer{Outcome: Failed}, most, r.now, 0)
	r.rests(2 * time.Minute)
}

// Only an answer to a request that began after the receiver had asked for rest
// tells that it takes requests again.
func TestWhatBeganBeforeARestDoesNotEndIt(t *testing.T) {
	r := newReceiver(t)
	before, _ := r.Begin(r.now)
	demand := r.OnDemand()
	r.ask(TooMany, time.Minute)
	between := r.OnDemand()
	r.End(between, Answer{Outcome: TooMany, Rest: 2 * time.Minute}, most, r.now, 0)
	for _, p := range []Pass{before, demand, between} {
		r.End(p, Answer{Outcome: Accepted}, most, r.now, 0)
		r.refuses()
	}
	r.rests(2 * time.Minute)
	probe, _ := r.Begin(r.now)
	r.End(before, Answer{Outcome: Accepted}, most, r.now, 0)
	r.refuses() // still one probe
	r.End(r.OnDemand(), Answer{Outcome: TooMany, Rest: time.Minute}, most, r.now, 0)
	r.End(probe, Answer{Outcome: Accepted}, most, r.now, 0)
	r.rests(time.Minute)
}

func TestResendEndsARest(t *testing.T) {
	r := newReceiver(t)
	r.ask(Failed, time.Hour)
	r.End(r.OnDemand(), Answer{Outcome: Failed}, most, r.now, 0)
	r.refuses()
	r.End(r.OnDemand(), Answer{Outcome: Accepted}, most, r.now, 0)
	if r.Open() || !r.RestUntil().IsZero() {
		t.Error("it rests although it has accepted a request that began since")
	}
	r.limit(1)
}

func TestEditLeavesARest(t *testing.T) {
	r := newReceiver(t)
	r.ask(TooMany, time.Minute)
	r.Reset()
	r.rests(time.Minute)
	probe, _ := r.Begin(r.now)
	r.Reset()
	r.refuses() // one probe goes first, all the same
	r.End(probe, Answer{Outcome: Unknown}, most, r.now, 0)
	r.attempt(Failed)
	r.Reset()
	if r.Open() {
		t.Error("the receiver does not ask for rest any more, and the circuit is open after an edit")
	}
}

func TestAnotherReceiverDoesNotRest(t *testing.T) {
	r := newReceiver(t)
	r.ask(TooMany, time.Minute)
	r.Replace()
	r.limit(most)
	r.attempt(Accepted)
}

// Whatever comes after it, gone is gone until an edit.
func TestGone(t *testing.T) {
	r := newReceiver(t)
	beside, _ := r.Begin(r.now)
	r.attempt(Gone)
	for _, a := range []Answer{
		{Outcome: Accepted}, {Outcome: Failed}, {Outcome: Unknown}, {Outcome: TooMany}, {Outcome: TooMany, Rest: time.Second},
	} {
		r.End(beside, a, most, r.now, 0)
		r.End(r.OnDemand(), a, most, r.now, 0)
		r.now = r.now.Add(time.Hour)
		r.refuses()
		if !r.Gone() || !probeAt(&r.Breaker).IsZero() {
			t.Errorf("after %+v it is tried again", a)
		}
	}
	r.End(r.OnDemand(), Answer{Outcome: Accepted}, most, r.now, 0) // ends the rest, too
	r.Replace()
	r.refuses()
	r.Reset()
	r.attempt(Accepted)
}
