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
	r.End(p, outcome, most, r.now, 0)
}

func (r *receiver) limit(want int) {
	r.Helper()
	if got := r.Limit(most); got != want {
		r.Errorf("Limit = %d, want %d", got, want)
	}
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
	if got := r.Limit(3); got != 3 {
		t.Errorf("Limit(3) = %d", got)
	}
	r.attempt(Failed) // 5 of 10
	if got := r.Limit(3); got != 3 {
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
	if got := r.RetryAt().Sub(r.now); got != MinWait {
		t.Errorf("the first probe is due in %v, want %v", got, MinWait)
	}
	r.refuses()
}

func TestOneProbeAtATimeWithGrowingWaits(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	for _, want := range []time.Duration{MinWait, 2 * MinWait, 4 * MinWait, MaxWait, MaxWait} {
		wait := r.RetryAt().Sub(r.now)
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
		if !r.RetryAt().IsZero() {
			t.Error("another probe is due while one is under way")
		}
		r.End(p, Failed, most, r.now, 0)
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
	if got := r.RetryAt().Sub(r.now); got != 2*MinWait {
		t.Errorf("the wait is %v after a short close, want %v: a receiver that flaps is not woken again and again", got, 2*MinWait)
	}
	r.now = r.RetryAt()
	for range most {
		r.attempt(Accepted)
	}
	r.openIt()
	if got := r.RetryAt().Sub(r.now); got != MinWait {
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
	due := r.RetryAt()
	r.End(early[0], Failed, most, r.now.Add(time.Second), 1)
	if !r.RetryAt().Equal(due) {
		t.Error("an attempt that began before the circuit opened has moved the probe")
	}
	r.now = due
	probe, ok := r.Begin(r.now)
	if !ok {
		t.Fatal("the probe is refused")
	}
	r.End(early[1], Failed, most, r.now, 0)
	r.refuses() // still one probe
	r.End(early[2], Accepted, most, r.now, 0)
	if r.Open() {
		t.Error("open although the receiver has accepted something")
	}
	r.End(probe, Failed, most, r.now, 0)
	if r.Open() {
		t.Error("one failure has opened a closed circuit")
	}
}

func TestProbeThatIsNotMadeIsGivenBack(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	r.now = r.RetryAt()
	r.attempt(Unknown)
	if r.Blocked(r.now) {
		t.Error("the probe is lost")
	}
}

func TestAttemptOnDemand(t *testing.T) {
	r := newReceiver(t)
	r.openIt()
	due := r.RetryAt()
	r.End(Pass{}, Failed, most, r.now, 0)
	if !r.RetryAt().Equal(due) {
		t.Error("an attempt that nobody asked the circuit for has moved the probe")
	}
	r.End(Pass{}, Accepted, most, r.now, 0)
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
		b.End(p, Failed, most, start, 1)
	}
	if got, want := b.RetryAt().Sub(start), MinWait-MinWait/5; got != want {
		t.Errorf("wait %v, want %v", got, want)
	}
}
