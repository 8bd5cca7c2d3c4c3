package webhookevent

import (
	"context"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/rematch"
)

// someWebhooks is a client that has some Webhooks.
type someWebhooks struct {
	client.Client
	webhooks []v1alpha1.Webhook
}

func (c *someWebhooks) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	into.(*v1alpha1.WebhookList).Items = c.webhooks
	return nil
}

// While one of two late Webhooks has no room, the other's record may come and go.
func TestLateWebhookIsDealtWithOnce(t *testing.T) {
	const capacity = 12
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "e", UID: "e", CreationTimestamp: metav1.Now(), ResourceVersion: "1"},
		Spec:       v1alpha1.WebhookEventSpec{EventType: "clusters_deployed", ResourcePath: "/music/web"},
		Status: v1alpha1.WebhookEventStatus{
			Result:     v1alpha1.EventWaiting,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDispatched, Status: metav1.ConditionTrue, LastTransitionTime: metav1.Now()}},
		},
	}
	c := &someWebhooks{}
	for _, name := range []string{"w", "full"} {
		w := v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Triggers: []v1alpha1.Trigger{"clusters_deployed"}}}
		w.Namespace, w.Name, w.UID, w.CreationTimestamp = "music", name, types.UID(name), metav1.Now()
		c.webhooks = append(c.webhooks, w)
	}
	enqueuer := enqueue.New(clock.RealClock{}, capacity)
	enqueuer.Events.Observe(e)
	r := &Reconciler{
		Client: c, Clock: clock.RealClock{}, Ledger: enqueuer.Ledger, Events: enqueuer.Events, Enqueuer: enqueuer,
		Rematches: rematch.New(enqueuer.WebhookChanged), MaxAge: time.Hour,
	}
	full := client.ObjectKeyFromObject(&c.webhooks[1])
	other := ledger.Pending{Event: types.NamespacedName{Namespace: "music", Name: "other"}, EventUID: "other", Webhook: full, WebhookUID: "full"}
	for i := 0; r.Ledger.Add(types.NamespacedName{Namespace: "music", Name: strconv.Itoa(i)}, other); i++ {
		if i > capacity {
			t.Fatal("there is always room")
		}
	}
	for i := range c.webhooks {
		r.Rematches.Add("e", &c.webhooks[i])
	}
	pending := func(w *v1alpha1.Webhook) bool {
		t.Helper()
		if _, err := r.FanOut(t.Context(), enqueue.Event{Namespace: "music", UID: "e"}); err != nil {
			t.Fatal(err)
		}
		_, ok := r.Ledger.Get(types.NamespacedName{Namespace: "music", Name: delivery.Name(e, w)})
		return ok
	}
	if !pending(&c.webhooks[0]) {
		t.Fatal("a late Webhook does not get the event")
	}
	key := types.NamespacedName{Namespace: "music", Name: delivery.Name(e, &c.webhooks[0])}
	r.Ledger.Observe(&metav1.ObjectMeta{
		Namespace: key.Namespace, Name: key.Name, UID: "d", ResourceVersion: "2",
		Labels: map[string]string{v1alpha1.LabelWebhook: "w", v1alpha1.LabelEventUID: "e", v1alpha1.LabelResult: string(v1alpha1.DeliverySucceeded)},
	})
	r.Ledger.Remove(key, "") // as retention does
	if pending(&c.webhooks[0]) {
		t.Error("it gets the event once more")
	}
	if pending(&c.webhooks[1]) {
		t.Fatal("there is room for the full one")
	}
	for i := range capacity {
		r.Ledger.Withdraw(types.NamespacedName{Namespace: "music", Name: strconv.Itoa(i)})
	}
	if !pending(&c.webhooks[1]) {
		t.Error("the full one does not get the event once there is room")
	}
}
