package fair

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

func TestKeysOfAWorkQueueTakeTurns(t *testing.T) {
	turns := &WorkQueue[types.NamespacedName]{Key: func(n types.NamespacedName) string { return n.Namespace }}
	q := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[types.NamespacedName]{Queue: turns})
	add := func(namespace string, names ...string) {
		for _, name := range names {
			q.Add(types.NamespacedName{Namespace: namespace, Name: name})
		}
	}
	take := func(n int) (got []string) {
		for range n {
			item, _ := q.Get()
			got = append(got, item.String())
			q.Done(item)
		}
		return got
	}
	add("loud", "a", "b", "c", "d", "a") // a is there already
	if got, want := take(1), []string{"loud/a"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	add("quiet", "x")
	add("third", "y", "z")
	if got, want := q.Len(), 6; got != want {
		t.Errorf("Len() = %d, want %d", got, want)
	}
	want := []string{"loud/b", "quiet/x", "third/y", "loud/c", "third/z", "loud/d"}
	if got := take(6); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if q.Len() != 0 || turns.Len() != 0 {
		t.Errorf("left: %d items, %d in turns", q.Len(), turns.Len())
	}
	add("quiet", "again")
	if got := take(1); got[0] != "quiet/again" {
		t.Errorf("got %v", got)
	}
}
