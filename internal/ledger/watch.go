package ledger

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Watch feeds the ledger with the metadata of the deliveries of a namespace, or of all,
// until the context ends.
func (l *Ledger) Watch(ctx context.Context, c metadata.Interface, namespace string) {
	resource := c.Resource(v1alpha1.GroupVersion.WithResource("webhookdeliveries")).Namespace(namespace)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
	reflector := cache.NewReflectorWithOptions(source, &metav1.PartialObjectMetadata{}, store{l, namespace},
		cache.ReflectorOptions{Name: "webhookdeliveries"})
	reflector.RunWithContext(ctx)
}

// store lets the reflector of a namespace, or of all, write into the ledger.
// Of the metadata, only what the ledger reads out of it stays in memory.
type store struct {
	ledger    *Ledger
	namespace string
}

var _ cache.ReflectorStore = store{}

func (s store) Add(object any) error    { return s.Update(object) }
func (s store) Update(object any) error { s.ledger.Observe(object.(metav1.Object)); return nil }
func (s store) Resync() error           { return nil }

func (s store) Delete(object any) error {
	m := object.(metav1.Object)
	s.ledger.Remove(types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}, m.GetResourceVersion())
	return nil
}

func (s store) Replace(list []any, resourceVersion string) error {
	all := make([]metav1.Object, 0, len(list))
	for _, object := range list {
		all = append(all, object.(metav1.Object))
	}
	s.ledger.Replace(s.namespace, all, resourceVersion)
	return nil
}
