package replay

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/rematch"
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
