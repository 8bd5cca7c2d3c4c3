package ledger

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func webhookIn(namespace string, n int) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: fmt.Sprint("w", n)}
}

// fill takes all the room that webhooks of a namespace get, in turns.
func fill(b *budget, namespace string, webhooks int) (taken int) {
	for before := -1; before != taken; {
		before = taken
		for n := range webhooks {
			if b.room(webhookIn(namespace, n)) > 0 {
				b.take(webhookIn(namespace, n))
				taken++
			}
		}
	}
	return taken
}

func TestBudgetLeavesRoomForWhoeverComesLast(t *testing.T) {
	const capacity = 9000
	b := newBudget(capacity)
	if got := fill(b, "alone", 1); got != capacity/3 {
		t.Errorf("one webhook alone has %d, want a third of %d", got, capacity)
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
	if b.drafts > capacity {
		t.Errorf("%d of %d are taken", b.drafts, capacity)
	}
}

func TestBudgetIsSharedWithinANamespace(t *testing.T) {
	b := newBudget(9000)
	fill(b, "n", 1)
	others := 0
	for n := 1; n < 4; n++ {
		for b.room(webhookIn("n", n)) > 0 {
			b.take(webhookIn("n", n))
			others++
		}
	}
	if others < 1000 {
		t.Errorf("three more webhooks found room for %d", others)
	}
}

func TestBudgetCallsInOrderAndForgetsNobody(t *testing.T) {
	b := newBudget(30)
	a, other := webhookIn("n", 0), webhookIn("n", 1)
	fill(b, "n", 1)
	for range 3 { // an event is looked at for other reasons, too
		for i := range 20 {
			b.await(a, types.UID(fmt.Sprint("event ", i)))
		}
	}
	b.await(other, "other")
	var called []types.UID
	for b.webhooks[a] > 0 {
		b.giveBack(a)
		called = append(called, b.call()...)
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
	if len(b.short)+len(b.tenants)+len(b.webhooks)+b.drafts != 0 {
		t.Errorf("left: %+v", b)
	}
}
