package controllers

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
)

// deliveryWatch feeds the ledger with the metadata of all deliveries.
type deliveryWatch struct {
	client metadata.Interface
	ledger *ledger.Ledger
}

func (w *deliveryWatch) watch(ctx context.Context, namespace string) {
	resource := w.client.Resource(v1alpha1.GroupVersion.WithResource("webhookdeliveries")).Namespace(namespace)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
	reflector := cache.NewReflectorWithOptions(source, &metav1.PartialObjectMetadata{}, ledgerStore{w.ledger, namespace},
		cache.ReflectorOptions{Name: "webhookdeliveries"})
	reflector.RunWithContext(ctx)
}

// ledgerStore lets the reflector of a namespace, or of all, write into the ledger.
// Of the metadata, only what the ledger reads out of it stays in memory.
type ledgerStore struct {
	ledger    *ledger.Ledger
	namespace string
}

var _ cache.ReflectorStore = ledgerStore{}

func (s ledgerStore) Add(object any) error    { return s.Update(object) }
func (s ledgerStore) Update(object any) error { s.ledger.Observe(object.(metav1.Object)); return nil }
func (s ledgerStore) Resync() error           { return nil }

func (s ledgerStore) Delete(object any) error {
	m := object.(metav1.Object)
	s.ledger.Remove(types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}, m.GetResourceVersion())
	return nil
}

func (s ledgerStore) Replace(list []any, resourceVersion string) error {
	all := make([]metav1.Object, 0, len(list))
	for _, object := range list {
		all = append(all, object.(metav1.Object))
	}
	s.ledger.Replace(s.namespace, all, resourceVersion)
	return nil
}
