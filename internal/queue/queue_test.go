package queue

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

// fakeClock calls functions when a step is over: FakeClock does it while it is locked.
type fakeClock struct {
	*clocktesting.FakeClock
	due []func()
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	return c.FakeClock.AfterFunc(d, func() { c.due = append(c.due, f) })
}

func (c *fakeClock) Step(d time.Duration) {
	c.FakeClock.Step(d)
	for len(c.due) > 0 {
		f := c.due[0]
		c.due = c.due[1:]
		f()
	}
}

// fixture is a queue on a virtual clock. Deliveries whose name begins with "p" are
// pending, those with "r" are asked for by a person, and all others are stored; what
// follows an @ is the namespace of their event.
type fixture struct {
	*Queue
	clock *fakeClock
	start time.Time
	// limits are those of Webhooks that have not the default, and closed those whose
	// receiver takes nothing before a time.
	limits map[types.NamespacedName]int
	closed map[types.NamespacedName]time.Time
	// due and expires are after the start, by the name of the delivery.
	due, expires map[string]time.Duration
	// takes is how long a look at a receiver takes.
	takes time.Duration
	// admits, if set, says what a receiver takes in place of limits and closed, and asked
	// counts how often that was asked.
	admits func(types.NamespacedName) Admission
	asked  int
}

func newFixture() *fixture {
	f := &fixture{
		start: time.Now(), limits: map[types.NamespacedName]int{}, closed: map[types.NamespacedName]time.Time{},
		due: map[string]time.Duration{}, expires: map[string]time.Duration{},
	}
	f.clock = &fakeClock{FakeClock: clocktesting.NewFakeClock(f.start)}
	f.Queue = New(Options{
		Admit: func(w types.NamespacedName) Admission {
			if f.asked++; f.admits != nil {
				return f.admits(w)
			}
			a := Admission{Limit: 2, ResendLimit: 2}
			if until, ok := f.closed[w]; ok {
				a.Wait = until.Sub(f.clock.Now())
			}
			if limit, ok := f.limits[w]; ok {
				a.Limit = limit
			}
			f.clock.FakeClock.Step(f.takes)
			return a
		},
		Describe: func(r Request) Delivery {
			_, namespace, _ := strings.Cut(r.Delivery, "@")
			d := Delivery{
				EventNamespace: namespace, Due: f.start.Add(f.due[r.Delivery]),
				Pending: r.Delivery[0] == 'p', Resend: r.Delivery[0] == 'r',
			}
			if e, ok := f.expires[r.Delivery]; ok {
				d.Expires = f.start.Add(e)
			}
			return d
		},
		StoreAfter: 2 * time.Second,
		Clock:      f.clock,
	})
	return f
}

func request(namespace, webhook, delivery string) Request {
	return Request{Webhook: types.NamespacedName{Namespace: namespace, Name: webhook}, Delivery: delivery}
}

// take hands out what there is, up to n, without blocking.
func (f *fixture) take(n int) []Request {
	var taken []Request
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		r, ok := f.pop()
		if !ok {
			break
		}
		taken = append(taken, r)
	}
	return taken
}

func names(requests []Request) []string {
	all := make([]string, 0, len(requests))
	for _, r := range requests {
		all = append(all, r.Webhook.Namespace+"/"+r.Webhook.Name+"/"+r.Delivery)
	}
	return all
}

func TestRoundRobinOverNamespacesThenWebhooks(t *testing.T) {
	f := newFixture()
	for i := range 3 {
		f.Add(request("loud", "a", fmt.Sprintf("s%d", i)))
		f.Add(request("loud", "b", fmt.Sprintf("s%d", i)))
	}
	f.Add(request("quiet", "c", "s0"))
	f.Add(request("quiet", "c", "s1"))
	want := []string{"loud/a/s0", "quiet/c/s0", "loud/b/s0", "quiet/c/s1", "loud/a/s1", "loud/b/s1"}
	if diff := cmp.Diff(want, names(f.take(10))); diff != "" {
		t.Errorf("handed out (-want +got):\n%s", diff)
	}
	if got := f.Len(); got != 2 {
		t.Errorf("Len() = %d, want the 2 that have no slot", got)
	}
}

func TestLimitIsAskedAgain(t *testing.T) {
	f := newFixture()
	webhook := types.NamespacedName{Namespace: "n", Name: "w"}
	f.limits[webhook] = 1
	for i := range 4 {
		f.Add(request("n", "w", fmt.Sprintf("s%d", i)))
	}
	if got := f.take(9); len(got) != 1 {
		t.Fatalf("handed out %v, want 1 at a limit of 1", names(got))
	}
	f.limits[webhook] = 3
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v before the queue was told", names(got))
	}
	f.Reconsider(webhook)
	if got := f.take(9); len(got) != 2 {
		t.Fatalf("handed out %v, want 2 more at a limit of 3", names(got))
	}
	f.limits[webhook] = 1
	f.Done(request("n", "w", "s0"))
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v with 2 slots taken at a limit of 1", names(got))
	}
	f.Done(request("n", "w", "s1"))
	f.Done(request("n", "w", "s2"))
	if got := names(f.take(9)); !slices.Equal(got, []string{"n/w/s3"}) {
		t.Fatalf("handed out %v, want s3", got)
	}
}

func TestOneWorkerPerRequest(t *testing.T) {
	f := newFixture()
	r := request("n", "w", "s")
	f.Add(r)
	f.Add(r)
	if got := f.take(9); len(got) != 1 {
		t.Fatalf("handed out %v, want one", names(got))
	}
	f.Add(r)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v while a worker has it", names(got))
	}
	f.Done(r)
	if got := f.take(9); len(got) != 1 {
		t.Fatalf("handed out %v, want it again: it was added meanwhile", names(got))
	}
	f.Done(r)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v, want nothing", names(got))
	}
}

// Within a webhook of the system namespace, the tenants whose events it follows take
// turns, be they new or stored.
func TestNamespacesOfEventsTakeTurnsWithinAWebhook(t *testing.T) {
	for name, tc := range map[string]struct{ storm, quiet []string }{
		"new events":               {storm: []string{"p%d@storm"}, quiet: []string{"p@quiet"}},
		"a backlog":                {storm: []string{"s%d@storm"}, quiet: []string{"s@quiet"}},
		"new behind a backlog":     {storm: []string{"s%d@storm"}, quiet: []string{"p@quiet"}},
		"a backlog behind new":     {storm: []string{"p%d@storm"}, quiet: []string{"s@quiet"}},
		"both":                     {storm: []string{"s%d@storm", "p%d@storm"}, quiet: []string{"p@quiet", "s@quiet"}},
		"several tenants":          {storm: []string{"p%d@storm"}, quiet: []string{"p@b", "p@c", "p@d"}},
		"the storm is a neighbour": {storm: []string{"p%d@system"}, quiet: []string{"p@quiet"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.limits[types.NamespacedName{Namespace: "system", Name: "w"}] = 1
			for i := range 5000 {
				for _, format := range tc.storm {
					f.Add(request("system", "w", fmt.Sprintf(format, i)))
				}
			}
			done := func(n int) (left []string) {
				for range n {
					r := f.take(1)[0]
					left = append(left, r.Delivery)
					f.Done(r)
				}
				return left
			}
			done(10)
			for _, delivery := range tc.quiet {
				f.Add(request("system", "w", delivery))
			}
			next := done(6)
			for _, delivery := range tc.quiet {
				if !slices.Contains(next, delivery) {
					t.Errorf("%s is not among the next: %v", delivery, next)
				}
			}
		})
	}
}

// What is handed out to be stored comes in turns, too.
func TestNamespacesOfEventsTakeTurnsToBeStored(t *testing.T) {
	f := newFixture()
	for i := range 100 {
		f.Add(request("system", "w", fmt.Sprintf("p%d@storm", i)))
	}
	for _, r := range f.take(2) {
		f.Sending(r)
	}
	f.Add(request("system", "w", "p@quiet"))
	f.clock.Step(2100 * time.Millisecond)
	if got := names(f.take(2)); !slices.Contains(got, "system/w/p@quiet") {
		t.Errorf("handed out to be stored: %v", got)
	}
}

// A pending delivery that its receiver keeps from being sent is handed out to be stored.
func TestBlockedDeliveriesAreStored(t *testing.T) {
	w := types.NamespacedName{Namespace: "n", Name: "w"}
	for name, block := range map[string]func(f *fixture) (unblock func()){
		"all slots are inside requests": func(f *fixture) func() {
			var sent []func()
			busy := f.take(9)
			for _, r := range busy {
				sent = append(sent, f.Sending(r))
			}
			return func() { sent[0](); f.Done(busy[0]) }
		},
		"it takes nothing before a time": func(f *fixture) func() {
			f.closed[w] = f.start.Add(time.Hour)
			return func() { delete(f.closed, w); f.Reconsider(w) }
		},
		"it takes nothing at all": func(f *fixture) func() {
			f.limits[w] = 0
			return func() { delete(f.limits, w); f.Reconsider(w) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			for i := range 4 {
				f.Add(request("n", "w", fmt.Sprintf("p%d", i)))
			}
			unblock := block(f)
			f.Add(request("n", "w", "p4"))
			f.Add(request("n", "w", "s"))
			f.clock.Step(1900 * time.Millisecond)
			if got := f.take(9); len(got) != 0 {
				t.Fatalf("handed out %v before its time", names(got))
			}
			f.clock.Step(200 * time.Millisecond)
			toStore := f.take(9)
			if len(toStore) == 0 {
				t.Fatal("nothing was handed out to be stored")
			}
			for _, r := range toStore {
				if f.HasSlot(r) || r.Delivery[0] != 'p' {
					t.Errorf("%s: slot %v; want only pending ones, without a slot", r.Delivery, f.HasSlot(r))
				}
			}
			if len(toStore) > maxToStore {
				t.Errorf("%d are stored at once", len(toStore))
			}
			for _, r := range toStore {
				f.Done(r)
			}
			for _, r := range f.take(9) { // the fifth, if there is one
				f.Done(r)
			}
			unblock()
			if rest := f.take(1); len(rest) != 1 || !f.HasSlot(rest[0]) {
				t.Fatalf("handed out %v, want one with a slot", names(rest))
			}
		})
	}
}

// What counts is for how long the receiver is the reason, in all.
func TestOnlyTheReceiversTimeCounts(t *testing.T) {
	f := newFixture()
	for i := range 20 {
		f.Add(request("n", "w", fmt.Sprintf("p%02d", i)))
	}
	busy := f.take(2)
	round := func(sending, storing time.Duration) {
		t.Helper()
		sent := []func(){f.Sending(busy[0]), f.Sending(busy[1])}
		f.clock.Step(sending)
		sent[0]()
		sent[1]()
		f.clock.Step(storing)
		f.Done(busy[0])
		f.Done(busy[1])
		busy = f.take(9)
		for _, r := range busy {
			if !f.HasSlot(r) {
				t.Fatalf("%s is to be stored", r.Delivery)
			}
		}
	}
	for range 5 {
		round(100*time.Millisecond, 10*time.Second) // the API server is slow
	}
	sent := f.Sending(busy[0]) // the other one is on its way
	f.clock.Step(10 * time.Second)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v while a worker has yet to send", names(got))
	}
	sent()
	for _, r := range busy {
		f.Sending(r)
	}
	f.clock.Step(1400 * time.Millisecond)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v after 1.9 s", names(got))
	}
	f.clock.Step(200 * time.Millisecond)
	if got := f.take(1); len(got) != 1 || f.HasSlot(got[0]) {
		t.Fatalf("handed out %v after 2.1 s, want one to be stored", names(got))
	}
}

// A receiver that always answers something, but too little, is one too.
func TestSlowReceiversDeliveriesAreStored(t *testing.T) {
	f := newFixture()
	f.limits[types.NamespacedName{Namespace: "n", Name: "w"}] = 1
	for i := range 9 {
		f.Add(request("n", "w", fmt.Sprintf("p%d", i)))
	}
	stored := 0
	for range 3 {
		r := f.take(1)[0]
		sent := f.Sending(r)
		f.clock.Step(time.Second)
		for _, r := range f.take(9) {
			if f.HasSlot(r) {
				t.Fatalf("%s is sent beside another one", r.Delivery)
			}
			stored++
			f.Done(r)
		}
		sent()
		f.Done(r)
	}
	if stored == 0 {
		t.Error("nothing was stored in three seconds")
	}
}

// At its time one timer lets the receiver have what it takes.
func TestNothingBeforeItsTime(t *testing.T) {
	f := newFixture()
	w := types.NamespacedName{Namespace: "n", Name: "w"}
	f.closed[w], f.limits[w] = f.start.Add(time.Minute), 1
	for i := range 100 {
		f.Add(request("n", "w", fmt.Sprintf("s%d", i)))
	}
	f.clock.Step(59 * time.Second)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v before its time", names(got))
	}
	f.Add(request("n", "w", "r1"))
	if got := names(f.take(9)); !slices.Equal(got, []string{"n/w/r1"}) {
		t.Fatalf("handed out %v, want what a person asked for", got)
	}
	f.Done(request("n", "w", "r1"))
	got := make(chan Request)
	go func() { r, _ := f.Get(); got <- r }()
	for !f.clock.HasWaiters() {
		time.Sleep(time.Millisecond)
	}
	f.clock.Step(time.Second)
	if r := <-got; r.Delivery != "s0" {
		t.Errorf("handed out %s, want the first", r.Delivery)
	}
	if rest := f.take(9); len(rest) != 0 {
		t.Errorf("handed out %v beside it, want one at a time", names(rest))
	}
}

// What has been due longest comes first, in whatever order it came: one that failed
// has to wait behind the others.
// A time that is over while a receiver is being looked at is not missed.
func TestTimeThatIsOverMeanwhile(t *testing.T) {
	r := request("a", "w", "s0")
	for name, prepare := range map[string]func(f *fixture){
		"receiver opens": func(f *fixture) { f.closed[r.Webhook] = f.start.Add(time.Microsecond) },
		"expires":        func(f *fixture) { f.limits[r.Webhook], f.expires["s0"] = 0, time.Microsecond },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.takes = 2 * time.Microsecond
			prepare(f)
			f.Add(r)
			f.clock.Step(time.Minute)
			if got := f.take(1); len(got) != 1 {
				t.Errorf("handed out %v", names(got))
			}
		})
	}
}

// rateLimited makes requests begin in one span after the other, so many in each, until the
// function that it returns is called for each. A request ends at once.
func (f *fixture) rateLimited(requests int, span time.Duration) (begin func(Request)) {
	var begun []time.Time
	f.admits = func(types.NamespacedName) Admission {
		a := Admission{Limit: 100, ResendLimit: 100, RateLimited: true, Places: requests}
		now := f.clock.Now()
		for _, t := range begun {
			if left := t.Add(span).Sub(now); left > 0 {
				a.Places--
				if a.Places == 0 { // the newest so many of them stand in the way
					oldest := begun[len(begun)-requests]
					a.Wait, a.ResendWait = oldest.Add(span).Sub(now), oldest.Add(span).Sub(now)
				}
			}
		}
		return a
	}
	return func(r Request) {
		begun = append(begun, f.clock.Now())
		f.Sending(r)()
	}
}

// What was handed out has a place that the receiver does not know of before it begins.
func TestRateLimitCountsWhatHasNotBegun(t *testing.T) {
	f := newFixture()
	begin := f.rateLimited(3, time.Minute)
	for i := range 6 {
		f.Add(request("n", "w", fmt.Sprintf("s%d", i)))
	}
	for i := range 3 {
		f.Add(request("n", "w", fmt.Sprintf("r%d", i)))
	}
	handed := f.take(9)
	if want := []string{"n/w/r0", "n/w/r1", "n/w/r2"}; !slices.Equal(names(handed), want) {
		t.Fatalf("handed out %v, want the 3 that there are places for: %v", names(handed), want)
	}
	begin(handed[0])
	f.Done(handed[0])
	f.Done(handed[1]) // without having begun
	if got := names(f.take(9)); !slices.Equal(got, []string{"n/w/s0"}) {
		t.Fatalf("handed out %v, want one for the place that was not taken", got)
	}
	begin(handed[2])
	begin(request("n", "w", "s0"))
	f.clock.Step(59 * time.Second)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v in the same minute", names(got))
	}
	f.clock.Step(time.Second)
	if got := f.take(9); len(got) != 3 {
		t.Errorf("handed out %v in the next minute, want 3", names(got))
	}
}

// While a receiver rests or its circuit is open, persons get through one at a time.
func TestOneResendAtATime(t *testing.T) {
	f := newFixture()
	f.admits = func(types.NamespacedName) Admission {
		return Admission{Limit: 1, ResendLimit: 9, Wait: time.Hour, OneResend: true}
	}
	f.Add(request("n", "w", "r0"))
	f.Add(request("n", "w", "r1"))
	for _, want := range []string{"n/w/r0", "n/w/r1"} {
		got := f.take(9)
		if !slices.Equal(names(got), []string{want}) {
			t.Fatalf("handed out %v, want %s", names(got), want)
		}
		f.Done(got[0])
	}
}

// However long they wait, nobody asks in vain: there is one timer, and one write for each
// that was pending.
func TestRateLimitIsNotPolled(t *testing.T) {
	const requests, deliveries, span = 2, 20, 15 * time.Minute
	for _, kind := range []string{"s", "r", "p"} {
		t.Run(kind, func(t *testing.T) {
			f := newFixture()
			begin := f.rateLimited(requests, span)
			for i := range deliveries {
				f.Add(request("n", "w", fmt.Sprintf("%s%02d", kind, i)))
			}
			f.asked = 0
			var sent []string
			stored := 0
			for waited := time.Duration(0); waited < deliveries/requests*span; waited += time.Second {
				for _, r := range f.take(9) {
					if f.HasSlot(r) {
						sent = append(sent, r.Delivery)
						begin(r)
					} else { // it is stored, and goes on as before
						stored++
						f.opts.Describe = stored1(f.opts.Describe, r)
						f.Add(r)
					}
					f.Done(r)
				}
				f.clock.Step(time.Second)
			}
			if len(sent) != deliveries || !slices.IsSorted(sent) {
				t.Errorf("sent %v, want all in order", sent)
			}
			if want := map[string]int{"p": deliveries - requests}[kind]; stored != want {
				t.Errorf("%d were stored, want %d", stored, want)
			}
			if most := 15*deliveries + 10*stored; f.asked > most {
				t.Errorf("the receiver was asked %d times, want at most %d", f.asked, most)
			}
			t.Logf("asked %d times for %d deliveries, %d of them stored", f.asked, deliveries, stored)
		})
	}
}

// stored1 describes one request as stored.
func stored1(describe func(Request) Delivery, is Request) func(Request) Delivery {
	return func(r Request) Delivery {
		d := describe(r)
		if r == is {
			d.Pending = false
		}
		return d
	}
}

// What is stored while it waits keeps its place among those of the same second.
func TestStoredDeliveryKeepsItsPlace(t *testing.T) {
	f := newFixture()
	w := types.NamespacedName{Namespace: "n", Name: "w"}
	f.limits[w] = 0
	for i := range 9 {
		f.Add(request("n", "w", fmt.Sprintf("p%d", i)))
	}
	f.clock.Step(2100 * time.Millisecond)
	for _, r := range f.take(3) { // one after the other, and others stay pending
		f.opts.Describe = stored1(f.opts.Describe, r)
		f.Add(r)
		f.Done(r)
	}
	f.limits[w] = 1
	f.Reconsider(w)
	for i := range 9 {
		got := f.take(1)
		if want := fmt.Sprintf("p%d", i); len(got) != 1 || got[0].Delivery != want {
			t.Fatalf("handed out %v, want %s", names(got), want)
		}
		f.Done(got[0])
	}
}

func TestLongestDueFirst(t *testing.T) {
	f := newFixture()
	f.limits[types.NamespacedName{Namespace: "n", Name: "w"}] = 1
	for i := range 50 {
		f.due[fmt.Sprintf("s%d", i)] = time.Duration(-i) * time.Minute
		f.Add(request("n", "w", fmt.Sprintf("s%d", i)))
	}
	for i := 49; i >= 0; i-- {
		r := f.take(1)[0]
		if want := fmt.Sprintf("s%d", i); r.Delivery != want {
			t.Fatalf("handed out %s, want %s", r.Delivery, want)
		}
		if i == 49 { // it failed, and is due again
			f.due[r.Delivery] = time.Minute
			f.Add(r)
		}
		f.Done(r)
	}
	if r := f.take(1)[0]; r.Delivery != "s49" {
		t.Errorf("handed out %s at last, want s49", r.Delivery)
	}
}

// A stored delivery is handed out when its time is over, whatever its receiver takes.
func TestExpiredDeliveriesAreGivenUp(t *testing.T) {
	f := newFixture()
	w := types.NamespacedName{Namespace: "n", Name: "w"}
	f.limits[w] = 0
	for i := range 10 {
		name := fmt.Sprintf("s%d", i)
		f.expires[name] = time.Duration(10-i) * time.Hour
		f.Add(request("n", "w", name))
	}
	f.clock.Step(time.Hour - time.Second)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v before its time", names(got))
	}
	f.clock.Step(2 * time.Second)
	if got := names(f.take(9)); !slices.Equal(got, []string{"n/w/s9"}) {
		t.Fatalf("handed out %v, want s9", got)
	}
	f.Done(request("n", "w", "s9"))

	// An edit gives it another end, and the queue is told by another Add.
	f.expires["s8"] = 20 * time.Hour
	f.Add(request("n", "w", "s8"))
	f.clock.Step(time.Hour)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v, which has another end", names(got))
	}
	f.limits[w] = 100
	f.Reconsider(w)
	if got := f.take(20); len(got) != 9 || f.Len() != 0 {
		t.Errorf("handed out %v, want the 9 that are left", names(got))
	}
}

// What becomes a resend while it waits is sent as one.
func TestQueuedDeliveryIsDescribedAgain(t *testing.T) {
	f := newFixture()
	w := types.NamespacedName{Namespace: "n", Name: "w"}
	f.limits[w] = 0
	resend := false
	f.opts.Describe = func(Request) Delivery { return Delivery{Resend: resend} }
	f.Add(request("n", "w", "s"))
	if got := f.take(1); len(got) != 0 {
		t.Fatalf("handed out %v", names(got))
	}
	resend = true
	f.Add(request("n", "w", "s"))
	if got := f.take(2); len(got) != 1 || !f.HasSlot(got[0]) {
		t.Fatalf("handed out %v, want it once", names(got))
	}
}

// However many receivers hang, what is free is shared with those that come later.
func TestHangingWebhooksLeaveWorkers(t *testing.T) {
	const workers, webhooks = 64, 20
	f := newFixture()
	f.workers.Capacity = workers
	for w := range webhooks {
		f.limits[types.NamespacedName{Namespace: "n", Name: fmt.Sprintf("w%d", w)}] = 10
		for i := range 20 {
			f.Add(request("n", fmt.Sprintf("w%d", w), fmt.Sprintf("s%d", i)))
		}
	}
	taken := f.take(workers)
	if len(taken) >= workers {
		t.Fatalf("%d webhooks that hang took all of %d workers", webhooks, workers)
	}
	f.Add(request("n", "other", "s"))
	if got := names(f.take(1)); !slices.Equal(got, []string{"n/other/s"}) {
		t.Fatalf("handed out %v, want the webhook that has none", got)
	}
	f.Done(request("n", "other", "s"))
	// Those who lacked a slot only for want of workers get it once there are some.
	for _, r := range taken {
		if r.Webhook.Name != "w0" {
			f.Done(r)
		}
	}
	before := f.webhooks[types.NamespacedName{Namespace: "n", Name: "w0"}].slots
	f.take(workers)
	if after := f.webhooks[types.NamespacedName{Namespace: "n", Name: "w0"}].slots; after <= before {
		t.Errorf("w0 has %d slots, as before, although workers are free", after)
	}
}

// However many Webhooks of one namespace hang, others' find workers.
func TestHangingNamespaceLeavesWorkers(t *testing.T) {
	const workers, webhooks = 64, 200
	f := newFixture()
	f.workers.Capacity = workers
	for w := range webhooks {
		f.Add(request("hangs", fmt.Sprintf("w%d", w), "s"))
	}
	if got := len(f.take(workers)); got != workers/2 {
		t.Fatalf("a namespace with %d webhooks that hang took %d of %d workers, want half", webhooks, got, workers)
	}
	for i := range 8 {
		f.Add(request("other", fmt.Sprintf("w%d", i), "s"))
	}
	if got := len(f.take(workers)); got != 8 {
		t.Errorf("another namespace got %d workers, want 8", got)
	}
}

// What is stored because receivers hang leaves workers, too.
func TestSpillingNamespaceLeavesWorkers(t *testing.T) {
	const workers, webhooks = 64, 200
	f := newFixture()
	f.workers.Capacity = workers
	for w := range webhooks {
		for i := range 9 {
			f.Add(request("hangs", fmt.Sprintf("w%d", w), fmt.Sprintf("p%d", i)))
		}
	}
	for _, r := range f.take(workers) {
		f.Sending(r)
	}
	f.clock.Step(2100 * time.Millisecond)
	if got := len(f.take(workers)); got == 0 || got > workers/4 {
		t.Fatalf("%d are to be stored, want some, and a quarter of %d workers at most", got, workers)
	}
	f.Add(request("other", "w", "s"))
	f.Add(request("another", "w", "s"))
	if got := len(f.take(workers)); got != 2 {
		t.Errorf("other namespaces got %d workers, want 2", got)
	}
}

// A namespace with very many Webhooks must not make each worker that is done ask all
// of them.
func TestManyWebhooksAreAskedNowAndThen(t *testing.T) {
	const workers, webhooks = 64, 5000
	f := newFixture()
	f.workers.Capacity = workers
	asked := 0
	admit := f.opts.Admit
	f.opts.Admit = func(w types.NamespacedName) Admission { asked++; return admit(w) }
	for w := range webhooks {
		f.Add(request("n", fmt.Sprintf("w%d", w), "s"))
	}
	done := 0
	for busy := f.take(workers); len(busy) > 0; busy = f.take(workers) {
		for _, r := range busy {
			f.Done(r)
			done++
		}
	}
	if done != webhooks {
		t.Errorf("%d of %d webhooks had their turn", done, webhooks)
	}
	if most := 40 * webhooks; asked > most {
		t.Errorf("limits were asked for %d times, want at most %d", asked, most)
	}
}

func TestCrowdedWebhookSpillsToo(t *testing.T) {
	f := newFixture()
	f.workers.Capacity = 8
	f.limits[types.NamespacedName{Namespace: "n", Name: "w"}] = 8
	for i := range 8 {
		f.Add(request("n", "w", fmt.Sprintf("p%d", i)))
	}
	sending := f.take(9)
	if len(sending) == 0 || len(sending) == 8 {
		t.Fatalf("handed out %v, want some of 8", names(sending))
	}
	for _, r := range sending {
		f.Sending(r)
	}
	f.clock.Step(2100 * time.Millisecond)
	spilled := f.take(1)
	if len(spilled) != 1 || f.HasSlot(spilled[0]) {
		t.Errorf("handed out %v, want one without a slot", names(spilled))
	}
}

func TestShutDownReturnsAtOnce(t *testing.T) {
	f := newFixture()
	f.Add(request("n", "w", "s"))
	f.ShutDownWithDrain()
	if _, shutdown := f.Get(); !shutdown {
		t.Error("Get() handed out a request after the shutdown")
	}
	f.Add(request("n", "w", "other"))
	if got := f.Len(); got != 1 {
		t.Errorf("Len() = %d: something was added after the shutdown", got)
	}
}

func TestNothingStaysOfIdleWebhooks(t *testing.T) {
	f := newFixture()
	for i := range 100 {
		r := request(fmt.Sprintf("n%d", i%7), fmt.Sprintf("w%d", i), "s")
		f.Add(r)
		f.take(1)
		f.Done(r)
	}
	f.take(1)
	if len(f.webhooks) != 0 || f.ready.Len()+f.throttled.Len() != 0 || f.workers.Free() != f.workers.Capacity || len(f.queued) != 0 || len(f.processing) != 0 {
		t.Errorf("left: %d webhooks, %d queued, %d processing", len(f.webhooks), len(f.queued), len(f.processing))
	}
}

// TestHangingWebhookHurtsNobody is the purpose of the queue: with fewer workers
// than one webhook has requests, everybody else's are done.
func TestHangingWebhookHurtsNobody(t *testing.T) {
	f := newFixture()
	for i := range 10000 {
		f.Add(request("n", "hangs", fmt.Sprintf("s%d", i)))
	}
	const others = 100
	for i := range others {
		f.Add(request("n", fmt.Sprintf("w%d", i%10), fmt.Sprintf("s%d", i)))
	}
	release := make(chan struct{})
	var done, workers sync.WaitGroup
	done.Add(others)
	for range 16 {
		workers.Go(func() {
			for {
				r, shutdown := f.Get()
				if shutdown {
					return
				}
				if r.Webhook.Name == "hangs" {
					<-release
				} else {
					done.Done()
				}
				f.Done(r)
			}
		})
	}
	done.Wait() // ends only if the others are not held up
	f.ShutDown()
	close(release)
	workers.Wait()
}

func BenchmarkQueue(b *testing.B) {
	q := New(Options{
		Admit:    func(types.NamespacedName) Admission { return Admission{Limit: 10} },
		Describe: func(Request) Delivery { return Delivery{Pending: true} }, StoreAfter: time.Second,
	})
	requests := make([]Request, 1000)
	for i := range requests {
		requests[i] = request(fmt.Sprintf("n%d", i%10), fmt.Sprintf("w%d", i%100), fmt.Sprintf("p%d", i))
	}
	for i := 0; b.Loop(); i++ {
		q.Add(requests[i%len(requests)])
		r, _ := q.Get()
		q.Done(r)
	}
}
