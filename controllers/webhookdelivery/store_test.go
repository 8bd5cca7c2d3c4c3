package webhookdelivery

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/ledger"
)

// stores is an API server that takes all it gets.
type stores struct{ versions int }

func (s *stores) CreateDelivery(ctx context.Context, d *v1alpha1.WebhookDelivery) error {
	d.UID, d.CreationTimestamp = "uid of d", metav1.Now()
	return s.PatchDelivery(ctx, nil, d)
}

func (s *stores) PatchDelivery(_ context.Context, _, d *v1alpha1.WebhookDelivery) error {
	s.versions++
	d.ResourceVersion = string(rune('0' + s.versions))
	return nil
}

func (s *stores) LastWrite() time.Time { return time.Now() }

func (s *stores) Do(_ string, write func() error) error { return write() }

// What was stored is known at once: until the watch shows it, the delivery must not pass
// for a pending one.
func TestStoredDeliveryIsKnownBeforeTheWatchShowsIt(t *testing.T) {
	w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "w", UID: "uid of w"}}
	e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "e", UID: "uid of e"}}
	d := delivery.New(e, w, []byte("{}"))
	delivery.Wait(d, delivery.WaitReason{Reason: v1alpha1.ReasonPaused}, time.Now())
	key := client.ObjectKeyFromObject(d)
	enqueuer := enqueue.New(clock.RealClock{}, 10) // that no watch feeds
	enqueuer.Ledger.Add(key, ledger.Pending{EventUID: e.UID, Webhook: client.ObjectKeyFromObject(w), WebhookUID: w.UID})
	metrics, err := NewMetrics(prometheus.NewRegistry(), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	api := &stores{}
	s := (&Reconciler{
		Clock: clock.RealClock{}, Recorder: events.NewFakeRecorder(10), Writer: api, Limiter: api,
		Ledger: enqueuer.Ledger, Events: enqueuer.Events, Metrics: metrics,
	}).newStorer()
	known := func() ledger.Entry {
		t.Helper()
		entry, ok := enqueuer.Ledger.Get(types.NamespacedName{Namespace: "music", Name: d.Name})
		if !ok || entry.Pending != nil {
			t.Fatalf("stored, and yet %+v", entry)
		}
		return entry
	}
	if _, err := s.create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := known().State.Result; got != v1alpha1.DeliveryWaiting {
		t.Errorf("created as Waiting, known as %s", got)
	}
	next := d.DeepCopy()
	next.ResourceVersion, next.UID, next.CreationTimestamp = "1", "uid of d", metav1.Now()
	base := next.DeepCopy()
	delivery.GiveUp(next, v1alpha1.ReasonWaitedTooLong, "", time.Now())
	if _, err := s.update(t.Context(), base, next); err != nil {
		t.Fatal(err)
	}
	if got := known().State.Result; got != v1alpha1.DeliveryFailed {
		t.Errorf("updated to Failed, known as %s", got)
	}
}
