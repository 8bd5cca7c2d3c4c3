// Package generation remembers with which resource version each generation of a Webhook
// came, so that an event can be told to be older than an edit, or newer.
package generation

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// maxEdits bounds what is remembered of one Webhook: a standby never settles any.
const maxEdits = 16

// Tracker remembers the generations of Webhooks that were not settled yet. It reads
// the watch below the informer, which cannot tell: after a relist, an object shows the
// version of its last write, whatever that was. The zero value is ready for use.
type Tracker struct {
	mu       sync.Mutex
	webhooks map[types.UID]*webhook
}

type webhook struct {
	// generation is the latest one that was seen.
	generation int64
	unsettled  []edit
}

// edit is the version that a generation came with; 0 if it came with a list.
type edit struct {
	generation int64
	version    uint64
}

// CacheOptions returns what the cache of the manager is to be made with. It is bound
// to some namespaces, or, where none is named, to none.
func (t *Tracker) CacheOptions(namespaces ...string) cache.Options {
	watched := map[string]cache.Config{}
	for _, namespace := range namespaces {
		watched[namespace] = cache.Config{}
	}
	return cache.Options{
		DefaultNamespaces: watched, // none of them means all
		// A read that nobody planned for must not start a watch.
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            cache.TransformStripManagedFields(),
		NewInformer: func(
			lw toolscache.ListerWatcher, o runtime.Object, resync time.Duration, indexers toolscache.Indexers,
		) toolscache.SharedIndexInformer {
			if _, ok := o.(*v1alpha1.Webhook); ok {
				lw = t.follow(toolscache.ToListerWatcherWithContext(lw))
			}
			return toolscache.NewSharedIndexInformer(lw, o, resync, indexers)
		},
	}
}

// follow takes notice of what an informer sees, before it does.
func (t *Tracker) follow(from toolscache.ListerWatcherWithContext) *toolscache.ListWatch {
	return &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := from.ListWithContext(ctx, o)
			if err != nil {
				return nil, err
			}
			return list, meta.EachListItem(list, func(item runtime.Object) error {
				t.see(item, false)
				return nil
			})
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			events, err := from.WatchWithContext(ctx, o)
			if err != nil {
				return nil, err
			}
			listing := o.SendInitialEvents != nil && *o.SendInitialEvents // a list in the form of a watch
			return watch.Filter(events, func(in watch.Event) (watch.Event, bool) {
				switch in.Type {
				case watch.Added, watch.Modified:
					t.see(in.Object, !listing)
				case watch.Deleted:
					if m, err := meta.Accessor(in.Object); err == nil {
						t.Forget(m.GetUID())
					}
				case watch.Bookmark:
					if m, err := meta.Accessor(in.Object); err == nil && m.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
						listing = false
					}
				case watch.Error:
				}
				return in, true
			}), nil
		},
	}
}

// see takes in a Webhook. exact tells that its version is that of its last change.
func (t *Tracker) see(o runtime.Object, exact bool) {
	m, err := meta.Accessor(o)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.webhooks == nil {
		t.webhooks = map[types.UID]*webhook{}
	}
	w, ok := t.webhooks[m.GetUID()]
	if !ok {
		w = &webhook{}
		t.webhooks[m.GetUID()] = w
	}
	if m.GetGeneration() <= w.generation {
		return
	}
	w.generation = m.GetGeneration()
	is := edit{generation: w.generation}
	if exact {
		is.version, _ = strconv.ParseUint(m.GetResourceVersion(), 10, 64)
	}
	w.unsettled = append(w.unsettled, is)
	w.unsettled = slices.Delete(w.unsettled, 0, max(0, len(w.unsettled)-maxEdits))
}

// VersionAfter returns the resource version of the first edit after a generation: events
// with a higher one came after it. It is 0 where that is not known.
func (t *Tracker) VersionAfter(webhook types.UID, generation int64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, ok := t.webhooks[webhook]
	if !ok {
		return 0
	}
	for _, is := range w.unsettled {
		if is.generation == generation+1 {
			return is.version
		}
	}
	return 0
}

// Settle forgets the edits up to a generation.
func (t *Tracker) Settle(webhook types.UID, generation int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w, ok := t.webhooks[webhook]; ok {
		w.unsettled = slices.DeleteFunc(w.unsettled, func(is edit) bool { return is.generation <= generation })
	}
}

// Forget drops a Webhook that is gone.
func (t *Tracker) Forget(webhook types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.webhooks, webhook)
}
