package eventcache

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// Watch feeds the cache with the events of a namespace, or of all, until the context
// ends.
func (c *Cache) Watch(ctx context.Context, from client.WithWatch, namespace string) {
	source := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list := &v1alpha1.WebhookEventList{}
			err := from.List(ctx, list, &client.ListOptions{Namespace: namespace, Raw: &o})
			for i := range list.Items {
				strip(&list.Items[i]) // a page at a time
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return from.Watch(ctx, &v1alpha1.WebhookEventList{}, &client.ListOptions{Namespace: namespace, Raw: &o})
		},
	}
	reflector := toolscache.NewReflectorWithOptions(source, &v1alpha1.WebhookEvent{}, store{c, namespace},
		toolscache.ReflectorOptions{Name: "webhookevents"})
	reflector.RunWithContext(ctx)
}

// store lets the reflector of a namespace, or of all, write into the cache.
type store struct {
	events    *Cache
	namespace string
}

var (
	_ toolscache.ReflectorStore    = store{}
	_ toolscache.TransformingStore = store{}
)

// Transformer implements toolscache.TransformingStore: while a list comes in the
// form of a watch, the reflector collects it.
func (s store) Transformer() toolscache.TransformFunc {
	return func(object any) (any, error) {
		if e, ok := object.(*v1alpha1.WebhookEvent); ok {
			strip(e)
		}
		return object, nil
	}
}

func (s store) Add(object any) error { return s.Update(object) }
func (s store) Resync() error        { return nil }

func (s store) Update(object any) error {
	e := object.(*v1alpha1.WebhookEvent)
	strip(e)
	s.events.Observe(e)
	return nil
}

func (s store) Delete(object any) error {
	s.events.Remove(object.(*v1alpha1.WebhookEvent).UID)
	return nil
}

func (s store) Replace(list []any, _ string) error {
	all := make([]*v1alpha1.WebhookEvent, 0, len(list))
	for _, object := range list {
		all = append(all, object.(*v1alpha1.WebhookEvent))
	}
	s.events.Replace(s.namespace, all)
	return nil
}

// strip takes out of an event what the cache does not need: of one that was finished
// a while ago, nearly all. A list of many must not need the room that they took
// before they were finished.
func strip(e *v1alpha1.WebhookEvent) {
	if _, ok := matching.RestoredFrom(e); !ok { // which these tell, and all else of them is of no use
		e.ManagedFields = nil
	}
	if !fanout.Finished(e) || time.Since(e.CreationTimestamp.Time) <= Window {
		return
	}
	status := v1alpha1.WebhookEventStatus{Result: e.Status.Result, Counts: e.Status.Counts}
	if c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched); c != nil {
		c := *c
		c.Message = ""
		status.Conditions = []metav1.Condition{c}
	}
	*e = v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: e.Namespace, Name: e.Name, UID: e.UID, ResourceVersion: e.ResourceVersion, CreationTimestamp: e.CreationTimestamp,
		},
		Status: status,
	}
}
