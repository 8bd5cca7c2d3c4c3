package replay

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/rematch"
	"github.com/horizoncd/webhook-operator/internal/replay"
)

// An event may go between the look at it and its way to fan-out, which forgets the pair
// then. If nobody did, the replay would wait for it for good.
func TestEventThatIsGoneIsFannedOutToBeForgotten(t *testing.T) {
	enqueuer := enqueue.New(clock.RealClock{}, 10)
	queue := workqueue.NewTypedRateLimitingQueue(enqueue.Backoff[enqueue.Event]())
	defer queue.ShutDown()
	start := enqueuer.FanOut.OnStart(func(context.Context) error { return nil })
	if err := start.Start(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	r := &Reconciler{Enqueuer: enqueuer, Events: enqueuer.Events, Rematches: rematch.New(func(types.NamespacedName) {})}
	w := &v1alpha1.Webhook{}
	w.Namespace, w.Name, w.UID = "music", "w", "w"
	gone := eventcache.Position{Created: time.Now(), Key: types.NamespacedName{Namespace: "music", Name: "e"}, UID: "e"}
	r.send(w, gone)
	if !r.Rematches.Of("e").Replays["w"] {
		t.Fatal("no pair was remembered")
	}
	if queue.Len() != 1 {
		t.Fatal("nobody looks at the pair")
	}
	if got, _ := queue.Get(); got != (enqueue.Event{Namespace: "music", UID: "e"}) {
		t.Errorf("%+v", got)
	}
}

// While what was taken is on its way, nothing goes through all events again and again; at
// the end, what has come meanwhile is looked at. What is left for later counts as remaining.
func TestEventsAreNotLookedForWhileTheRestIsOnItsWay(t *testing.T) {
	enqueuer := enqueue.New(clock.RealClock{}, 10)
	r := &Reconciler{Events: enqueuer.Events, Settling: time.Minute}
	began := time.Now()
	w := &v1alpha1.Webhook{}
	w.Namespace = "music"
	observe := func(name types.UID, created time.Time) {
		e := &v1alpha1.WebhookEvent{}
		e.Namespace, e.Name, e.UID, e.ResourceVersion, e.CreationTimestamp = "music", string(name), name, "1", metav1.NewTime(created)
		enqueuer.Events.Observe(e)
	}
	run := &run{began: began, Progress: replay.Resume(&v1alpha1.ReplayStatus{}, eventcache.Position{})}
	take := func() {
		run.Take(run.next[0])
		run.next = run.next[1:]
	}
	observe("old", began.Add(-time.Hour))
	observe("just before", began.Add(-time.Second))
	for _, step := range []struct {
		what     string
		do       func()
		settling bool
		want     bool
		// remaining is how many events the status says are yet to be looked at.
		remaining int
	}{
		{"an old one", func() {}, true, true, 2},
		{"no other one is old enough", take, true, false, 1},
		{"still none", func() {}, true, false, 1},
		{"it has settled", func() {}, false, true, 1},
		{"there is none", take, false, false, 0},
		{"one more, while two are on their way", func() { observe("just after", began.Add(time.Second)) }, false, false, 0},
		{"one is left", func() { run.Settle("old", replay.Send) }, false, false, 0},
		{"none is left", func() { run.Settle("just before", replay.Send) }, false, true, 1},
	} {
		step.do()
		if got := r.lookAhead(w, run, step.settling); got != step.want {
			t.Errorf("%s: %t", step.what, got)
		}
		if got := len(run.next) + run.more; got != step.remaining {
			t.Errorf("%s: %d remain, not %d", step.what, got, step.remaining)
		}
	}
}
