package ledger

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// sourceIn is a webhook of a namespace that gets the events of that namespace, or of
// another one.
func sourceIn(namespace string, n int, from ...string) source {
	s := source{types.NamespacedName{Namespace: namespace, Name: fmt.Sprint("w", n)}, namespace}
	if len(from) > 0 {
		s.namespace = from[0]
	}
	return s
}

// fill takes all the room that webhooks of a namespace get, in turns.
func fill(b *budget, namespace string, webhooks int) (taken int) {
	for before := -1; before != taken; {
		before = taken
		for n := range webhooks {
			if b.room(sourceIn(namespace, n)) > 0 {
				b.take(sourceIn(namespace, n))
				taken++
			}
		}
	}
	return taken
}

func TestBudgetLeavesRoomForWhoeverComesLast(t *testing.T) {
	const capacity = 9000
	b := newBudget(capacity)
	if got := fill(b, "alone", 1); got != capacity/4 {
		t.Errorf("one webhook alone has %d, want a quarter of %d", got, capacity)
	}
	before := capacity
	for n := range 8 {
		got := fill(b, fmt.Sprint("crowd-", n), 100)
		if got == 0 {
			t.Errorf("namespace %d found no room", n)
		}
		if got > before {
			t.Errorf("namespace %d found more room than the one before it", n)
		}
		before = got
	}
	if b.pending() > capacity {
		t.Errorf("%d of %d are taken", b.pending(), capacity)
	}
}

// However many events of one tenant a webhook of the system namespace has, it has
// room for those of others.
func TestBudgetIsSharedWithinAWebhook(t *testing.T) {
	b := newBudget(9000)
	before := 9000
	for n := range 5 {
		got := 0
		for tenant := sourceIn("system", 0, fmt.Sprint("tenant-", n)); b.room(tenant) > 0; got++ {
			b.take(tenant)
		}
		if got == 0 || got > before {
			t.Errorf("tenant %d found room for %d, the one before for %d", n, got, before)
		}
		before = got
	}
}

// A quiet tenant finds room at a webhook of the system namespace, where a storm has
// taken all it may.
func TestRoomBesideAStorm(t *testing.T) {
	l := New(&told{}, 100)
	of := func(tenant string) Pending {
		d := pendingOf("e")
		d.Webhook, d.Event.Namespace = types.NamespacedName{Namespace: "system", Name: "audit"}, tenant
		return d
	}
	add := func(tenant string, n int) bool {
		return l.Add(types.NamespacedName{Namespace: "system", Name: fmt.Sprint(tenant, n)}, of(tenant))
	}
	n := 0
	for add("storm", n) {
		n++
	}
	if n != 25 {
		t.Errorf("the storm found room for %d of 100, want a quarter", n)
	}
	for i := range 3 {
		if !add("quiet", i) {
			t.Errorf("a quiet tenant found no room for number %d", i)
		}
	}
}

func TestBudgetIsSharedWithinANamespace(t *testing.T) {
	b := newBudget(9000)
	fill(b, "n", 1)
	others := 0
	for n := 1; n < 4; n++ {
		for b.room(sourceIn("n", n)) > 0 {
			b.take(sourceIn("n", n))
			others++
		}
	}
	if others < 1000 {
		t.Errorf("three more webhooks found room for %d", others)
	}
}

func TestBudgetCallsInOrderAndForgetsNobody(t *testing.T) {
	b := newBudget(30)
	a, other := sourceIn("n", 0), sourceIn("n", 1)
	fill(b, "n", 1)
	for range 3 { // an event is looked at for other reasons, too
		for i := range 20 {
			b.enqueue(a, types.UID(fmt.Sprint("event ", i)))
		}
	}
	b.enqueue(other, "other")
	var called []types.UID
	for b.shares.Used(a) > 0 {
		b.release(a)
		called = append(called, b.wake()...)
	}
	if !slices.Contains(called, "other") {
		t.Error("the event of the other webhook was not called")
	}
	called = slices.DeleteFunc(called, func(e types.UID) bool { return e == "other" })
	for i, e := range called {
		if want := types.UID(fmt.Sprint("event ", i)); e != want {
			t.Fatalf("called %q as number %d, want %q", e, i, want)
		}
	}
	if len(called) != 20 {
		t.Errorf("%d were called although all room is free, want 20", len(called))
	}
	if b.waiters.Len()+b.pending() != 0 {
		t.Errorf("left: %+v", b)
	}
}

// An event that finds no room is told once there is as much as its webhook has
// taken: less would not be worth the work.
func TestRoom(t *testing.T) {
	for name, free := range map[string]func(l *Ledger, name string){
		"stored":    func(l *Ledger, name string) { l.Observe(object(name, 1, succeeded)) },
		"withdrawn": func(l *Ledger, name string) { l.Withdraw(key(name)) },
	} {
		t.Run(name, func(t *testing.T) {
			listener := &told{}
			l := New(listener, 32) // a quarter for one webhook alone
			for n := range 8 {
				if !l.Add(key(fmt.Sprint("d", n)), pendingOf("e")) {
					t.Fatalf("no room for %d", n)
				}
			}
			if l.Add(key("x"), pendingOf("short")) || l.Add(key("y"), pendingOf("shorter")) {
				t.Fatal("there is more room than there should be")
			}
			if _, ok := l.Get(key("x")); ok {
				t.Error("it is known though there was no room")
			}
			if !l.Add(key("d0"), pendingOf("e")) {
				t.Error("what is known needs no room")
			}
			listener.since()
			free(l, "d0")
			for _, call := range listener.since() {
				if call == "room for short" {
					t.Error("told while there was hardly any room")
				}
			}
			free(l, "d1")
			calls := listener.since()
			if !slices.Contains(calls, "room for short") || !slices.Contains(calls, "room for shorter") {
				t.Errorf("not told: %v", calls)
			}
			free(l, "d2")
			if calls := listener.since(); slices.Contains(calls, "room for short") {
				t.Errorf("told twice: %v", calls)
			}
			if !l.Add(key("x"), pendingOf("short")) {
				t.Error("there is no room after all")
			}
		})
	}
	t.Run("for one", func(t *testing.T) {
		listener := &told{}
		l := New(listener, 1)
		l.Add(key("d"), pendingOf("e"))
		l.Add(key("x"), pendingOf("short"))
		listener.since()
		l.Observe(object("d", 1, waiting))
		if calls := listener.since(); !slices.Contains(calls, "room for short") {
			t.Errorf("not told: %v", calls)
		}
	})
}
