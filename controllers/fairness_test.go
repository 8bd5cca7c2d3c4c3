package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// afewBehind is how many requests of a storm may still go before an event of
// another namespace: those that begin while its creation and its watch event are
// under way.
const afewBehind = 20

// anotherNamespace makes one more namespace, for another tenant.
func (b *testbed) anotherNamespace() string {
	b.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	b.Expect(b.client.Create(b.ctx, ns)).To(Succeed())
	b.t.Cleanup(func() {
		b.Expect(b.client.DeleteAllOf(b.ctx, &v1alpha1.WebhookEvent{}, client.InNamespace(ns.Name))).To(Succeed())
	})
	return ns.Name
}

func eventIn(namespace, cluster string) func(*v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) { e.Namespace, e.Spec.Cluster.Name = namespace, cluster }
}

// placeOf waits for the request about a cluster and returns how many came before it.
func (b *testbed) placeOf(path, cluster string) (place int) {
	b.t.Helper()
	b.Eventually(func() bool {
		for i, a := range b.receiver.Arrivals(path) {
			if strings.Contains(string(a.Body), cluster) {
				place = i
				return true
			}
		}
		return false
	}).Should(BeTrue())
	return place
}

func systemWebhook(w *v1alpha1.Webhook) { w.Namespace, w.Spec.MaxInFlight = systemNamespace, 1 }

// The Webhooks of the system namespace follow all tenants. One tenant's storm must
// not stand in front of another's event there.
func TestStormOfOneTenantAtASystemWebhook(t *testing.T) {
	for name, tenants := range map[string]int{"one quiet tenant": 1, "several": 3} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/audit", receiver.Answer{Delay: 50 * time.Millisecond})
			b.start()
			b.webhook("audit", systemWebhook)
			b.events("storm", 300)
			for i := range tenants {
				b.event("quiet", eventIn(b.anotherNamespace(), fmt.Sprintf("quiet%d", i)))
			}
			before := b.requests("audit")
			b.Expect(before).To(BeNumerically("<", 200), "the storm is over too early to tell anything")
			for i := range tenants {
				b.Expect(b.placeOf("/audit", fmt.Sprintf("quiet%d", i))).To(BeNumerically("<=", before+afewBehind))
			}
		})
	}
}

// Nor among the deliveries in store, whatever has made them wait, and whichever
// process goes on with them: metadata tells whose event it is.
func TestBacklogOfOneTenantAtASystemWebhook(t *testing.T) {
	const storm = 60
	for name, restart := range map[string]bool{"the same process": false, "the next process": true} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/audit", receiver.Answer{Delay: 50 * time.Millisecond})
			b.start()
			w := b.webhook("audit", systemWebhook, func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused })
			b.events("storm", storm)
			b.allStored(storm)
			quiet := b.anotherNamespace()
			b.event("quiet", eventIn(quiet, "quiet"))
			b.allStored(storm + 1)
			if restart {
				b.stop()
			}
			b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
			if restart {
				b.start()
			}
			b.Expect(b.placeOf("/audit", "quiet")).To(BeNumerically("<=", 4))
		})
	}
}

// allStored waits for so many deliveries of Webhooks of the system namespace.
func (b *testbed) allStored(n int) (all []v1alpha1.WebhookDelivery) {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		var list v1alpha1.WebhookDeliveryList
		g.Expect(b.client.List(b.ctx, &list, client.InNamespace(systemNamespace))).To(Succeed())
		g.Expect(list.Items).To(HaveLen(n))
		all = list.Items
	}).Should(Succeed())
	return all
}

// A label says whose event a delivery carries, where that is another namespace's.
func TestLabelOfAnotherNamespacesEvent(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.webhook("audit", systemWebhook)
	b.webhook("w")
	e := b.event("e")
	key := "horizoncd.io/event-namespace"
	b.Expect(b.allStored(1)[0].Labels).To(HaveKeyWithValue(key, e.Namespace))
	b.Expect(b.delivery(v1alpha1.DeliverySucceeded).Labels).NotTo(HaveKey(key))
}
