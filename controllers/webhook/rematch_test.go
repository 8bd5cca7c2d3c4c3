package webhook

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// An event that was dispatched long ago may have had a delivery, which retention has
// taken; one whose delivery is stored is not missed.
func TestMissed(t *testing.T) {
	now := time.Now()
	enqueuer := enqueue.New(clock.RealClock{}, 10)
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Triggers: []v1alpha1.Trigger{"clusters_deployed"}}}
	w.Namespace, w.Name, w.UID, w.CreationTimestamp = "music", "w", "w", metav1.NewTime(now.Add(-time.Hour))
	recent := func(uid types.UID, change ...func(*eventcache.Recent)) eventcache.Recent {
		e := eventcache.Recent{UID: uid, Subject: matching.Subject{EventType: "clusters_deployed", Created: now.Truncate(time.Second)}, Dispatched: now}
		for _, f := range change {
			f(&e)
		}
		return e
	}
	name := func(uid types.UID) types.NamespacedName {
		e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{UID: uid, CreationTimestamp: metav1.NewTime(now.Truncate(time.Second))}}
		return types.NamespacedName{Namespace: "music", Name: delivery.Name(e, w)}
	}
	enqueuer.Ledger.Observe(&metav1.ObjectMeta{
		Namespace: "music", Name: name("stored").Name, UID: "d", ResourceVersion: "1",
		Labels: map[string]string{v1alpha1.LabelWebhook: "w", v1alpha1.LabelEventUID: "stored", v1alpha1.LabelResult: "Succeeded"},
	})
	r := &Reconciler{Clock: clock.RealClock{}, Ledger: enqueuer.Ledger}
	for what, tc := range map[string]struct {
		event eventcache.Recent
		want  bool
	}{
		"dispatched just now":     {recent("e"), true},
		"not dispatched":          {recent("e", func(e *eventcache.Recent) { e.Dispatched = time.Time{} }), true},
		"dispatched long ago":     {recent("e", func(e *eventcache.Recent) { e.Dispatched = now.Add(-eventcache.Window - time.Minute) }), false},
		"its delivery is stored":  {recent("stored"), false},
		"it does not match":       {recent("e", func(e *eventcache.Recent) { e.Subject.EventType = "clusters_freed" }), false},
		"created before the hook": {recent("e", func(e *eventcache.Recent) { e.Subject.Created = now.Add(-2 * time.Hour) }), false},
	} {
		if got := r.missed(w, tc.event); got != tc.want {
			t.Errorf("%s: %t, want %t", what, got, tc.want)
		}
	}
}
