package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// lacking are the events that lack room, by their source: what a budget is held
// against.
type lacking map[source]map[types.UID]bool

func (l lacking) add(s source, event types.UID) {
	if l[s] == nil {
		l[s] = map[types.UID]bool{}
	}
	l[s][event] = true
}

func (l lacking) drop(s source, event types.UID) {
	if delete(l[s], event); len(l[s]) == 0 {
		delete(l, s)
	}
}

func (l lacking) number() (n int) {
	for _, events := range l {
		n += len(events)
	}
	return n
}

// of returns the sources in which an event lacks room.
func (l lacking) of(event types.UID) (all []source) {
	for s, events := range l {
		if events[event] {
			all = append(all, s)
		}
	}
	return all
}

// simulation is a budget, what has taken room in it, and who lacks some.
type simulation struct {
	*budget
	t      *testing.T
	chance *rand.Rand
	taken  []source
	lacks  lacking
	next   int
}

func (s *simulation) source() source {
	webhook, namespace := s.chance.IntN(4), s.chance.IntN(3)
	if webhook == 0 { // follows all
		return sourceIn("system", webhook, fmt.Sprint("n", namespace))
	}
	return sourceIn(fmt.Sprint("n", namespace), webhook)
}

// add does what the ledger does with a pending delivery.
func (s *simulation) add(from source, event types.UID) {
	if s.room(from) < 1 {
		s.enqueue(from, event)
		s.lacks.add(from, event)
		return
	}
	s.forget(from, event)
	s.lacks.drop(from, event)
	s.take(from)
	s.taken = append(s.taken, from)
}

// release gives one pending delivery's room back, and lets those try again that are called.
func (s *simulation) release(tryAgain bool) {
	at := s.chance.IntN(len(s.taken))
	s.budget.release(s.taken[at])
	s.taken = slices.Delete(s.taken, at, at+1)
	s.calls(tryAgain)
}

func (s *simulation) calls(tryAgain bool) {
	called := s.wake()
	if s.pending() > 0 && len(called) > max(s.shares.Free(), 0)+s.shares.Capacity {
		s.t.Fatalf("%d called at once", len(called))
	}
	for _, event := range called {
		sources := s.lacks.of(event)
		if len(sources) == 0 {
			s.t.Fatalf("%s is called although it lacks nothing", event)
		}
		for _, from := range sources {
			if !s.stands(from, event) {
				s.lacks.drop(from, event)
			}
		}
		if tryAgain {
			for _, from := range sources {
				s.add(from, event)
			}
		}
	}
}

// stands tells whether an event is still in the line of a source.
func (s *simulation) stands(from source, event types.UID) bool {
	webhooks, ok := s.waiters.Get(from.webhook.Namespace)
	if !ok {
		return false
	}
	sources, ok := webhooks.Get(from.webhook)
	if !ok {
		return false
	}
	events, ok := sources.Get(from.namespace)
	if !ok {
		return false
	}
	_, ok = events.Get(event)
	return ok
}

// check holds the lines against who lacks room.
func (s *simulation) check() {
	s.t.Helper()
	for from, events := range s.lacks {
		for event := range events {
			if !s.stands(from, event) {
				s.t.Fatalf("%s lacks room of %v and stands in no line", event, from)
			}
		}
	}
	if s.pending() != len(s.taken) || s.pending() > s.shares.Capacity {
		s.t.Fatalf("%d pending deliveries, want %d of at most %d", s.pending(), len(s.taken), s.shares.Capacity)
	}
	if s.pending() == 0 && len(s.lacks) > 0 {
		s.t.Fatalf("all room is free, and there are events that lack some: %v", s.lacks)
	}
}

// mayGoOn is what the budget promises to call for.
func (s *simulation) mayGoOn(from source) bool {
	return s.room(from) >= max(s.shares.Used(from), s.shares.Used(groupOf(from.webhook.Namespace))/8, 1)
}

func newSimulation(t *testing.T, seed uint64) *simulation {
	chance := rand.New(rand.NewPCG(seed, 14))
	return &simulation{budget: newBudget(1 + chance.IntN(40)), t: t, chance: chance, lacks: lacking{}}
}

// storm adds and releases at random.
func (s *simulation) storm(steps int) {
	for range steps {
		switch {
		case len(s.taken) > 0 && s.chance.IntN(3) == 0:
			s.release(true)
		default:
			event := types.UID(fmt.Sprint("event ", s.next))
			s.next++
			for range 1 + s.chance.IntN(3) {
				s.add(s.source(), event)
			}
		}
		s.check()
	}
}

// Whatever happens, an event that lacks room is called in the end, also where those
// who are called need no room any more, so that nothing comes of it.
func TestWhoLacksRoomIsCalled(t *testing.T) {
	for seed := range uint64(100) {
		s := newSimulation(t, seed)
		s.storm(150)
		for len(s.taken) > 0 {
			s.release(seed%2 == 0)
			s.check()
		}
		if s.waiters.Len() > 0 || len(s.lacks) > 0 {
			t.Fatalf("left: %v", s.lacks)
		}
	}
}

// Pending deliveries that cannot be stored keep their room. Each try asks, so that those who may
// go on are called after as many tries as it takes to ask all in their turns.
func TestWhoLacksRoomIsCalledWhileNothingIsStored(t *testing.T) {
	for seed := range uint64(100) {
		s := newSimulation(t, seed)
		s.storm(150)
		for n := s.chance.IntN(len(s.taken) + 1); n > 0; n-- {
			s.release(false)
		}
		if len(s.taken) == 0 {
			continue
		}
		const round = 4 * 4 * 3 // namespaces, webhooks, namespaces of events
		for quiet := 0; quiet < round; quiet++ {
			before := s.lacks.number()
			s.calls(false)
			s.check()
			if s.lacks.number() < before {
				quiet = 0
			}
		}
		for from := range s.lacks {
			if s.mayGoOn(from) {
				t.Fatalf("seed %d: %v may go on and was not called", seed, from)
			}
		}
	}
}

// Those who lack room are called in the order in which it is shared: a namespace with
// very many webhooks, or events, that lack some does not keep it from others.
func TestWhoLacksRoomIsAskedInTurns(t *testing.T) {
	for name, quiet := range map[string]source{
		"of another namespace":          sourceIn("quiet", 0),
		"another webhook":               sourceIn("loud", -1),
		"another tenant of the webhook": sourceIn("loud", 0, "quiet"),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBudget(10)
			for range 10 {
				b.take(sourceIn("other", 0))
			}
			for i := range 5000 {
				b.enqueue(sourceIn("loud", 0), types.UID(fmt.Sprint("loud ", i)))
				if quiet.webhook.Namespace != "loud" {
					b.enqueue(sourceIn("loud", i), types.UID(fmt.Sprint("loud too ", i)))
				}
			}
			b.enqueue(quiet, "quiet")
			for releases := 1; ; releases++ {
				b.release(sourceIn("other", 0))
				called := b.wake()
				if slices.Contains(called, "quiet") {
					break
				}
				for range called {
					b.take(sourceIn("other", 0)) // and all is taken again
				}
				if releases == 10 {
					t.Fatal("it was not called")
				}
			}
		})
	}
}

// What found room meanwhile, in a fan-out that began for another reason, is not
// called for nothing.
func TestWhatFoundRoomIsNotCalled(t *testing.T) {
	listener := &told{}
	l := New(listener, 32) // a quarter for one webhook alone
	for n := range 8 {
		l.Add(key(fmt.Sprint("d", n)), pendingOf("e"))
	}
	if l.Add(key("x"), pendingOf("short")) {
		t.Fatal("there is room")
	}
	l.Withdraw(key("d0")) // too little to call anybody
	if !l.Add(key("x"), pendingOf("short")) {
		t.Fatal("there is no room")
	}
	for n := range 8 {
		l.Withdraw(key(fmt.Sprint("d", n)))
	}
	if calls := listener.since(); slices.Contains(calls, "room for short") {
		t.Errorf("told %v", calls)
	}
	l.Withdraw(key("x"))
	if l.budget.waiters.Len() > 0 {
		t.Error("somebody still waits for room")
	}
}

// What is tried again and again, since it cannot be stored, lets others go on.
func TestRefusedPendingDeliveriesCall(t *testing.T) {
	listener := &told{}
	l := New(listener, 32)
	for n := range 8 {
		l.Add(key(fmt.Sprint("d", n)), pendingOf("e"))
	}
	l.Add(key("x"), pendingOf("short"))
	for range 4 { // there is room, and nothing more is stored
		l.budget.release(source{key("w"), "music"})
	}
	listener.since()
	l.Amend(key("d7"), func(d *Pending) { d.Refused = "quota" })
	if calls := listener.since(); !slices.Contains(calls, "room for short") {
		t.Errorf("told %v", calls)
	}
}

// BenchmarkRelease is what a record that is stored costs while many lack room.
func BenchmarkRelease(b *testing.B) {
	const capacity = 20000
	// Each takes all the room there is, and returns one source that has some.
	for _, bm := range []struct {
		name  string
		take  func(budget *budget) source
		lacks func(i int) source
	}{
		{"webhooks", func(budget *budget) source {
			fill(budget, "n", 1000)
			return sourceIn("n", 0)
		}, func(i int) source { return sourceIn("n", i) }},
		{"namespaces", func(budget *budget) source {
			for i := range capacity {
				budget.take(sourceIn(fmt.Sprint("busy", i), 0))
			}
			return sourceIn("busy0", 0)
		}, func(i int) source { return sourceIn(fmt.Sprint("n", i), 0) }},
		{"tenants", func(budget *budget) source {
			for i := 0; budget.room(sourceIn("n", 0, fmt.Sprint("busy", i))) > 0; i++ {
				budget.take(sourceIn("n", 0, fmt.Sprint("busy", i)))
			}
			return sourceIn("n", 0, "busy0")
		}, func(i int) source { return sourceIn("n", 0, fmt.Sprint("n", i)) }},
	} {
		for _, n := range []int{1000, 5000, 20000} {
			b.Run(fmt.Sprintf("%s=%d", bm.name, n), func(b *testing.B) {
				budget := newBudget(capacity)
				busy := bm.take(budget)
				from := map[types.UID]source{}
				for i := range 2 * n {
					event := types.UID(fmt.Sprint("event ", i))
					from[event] = bm.lacks(i / 2)
					budget.enqueue(from[event], event)
				}
				for b.Loop() {
					budget.release(busy)
					called := budget.wake()
					budget.take(busy)
					for _, event := range called {
						budget.enqueue(from[event], event)
					}
				}
			})
		}
	}
}
