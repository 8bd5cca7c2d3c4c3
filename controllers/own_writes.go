package controllers

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ownWrites remembers the answers to own writes until the cache has caught up, so
// that a cache that lags behind does not make the same write happen again.
type ownWrites[T client.Object] struct {
	mu      sync.Mutex
	written map[types.UID]T
}

// put remembers the answer to a write.
func (l *ownWrites[T]) put(object T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written == nil {
		l.written = map[types.UID]T{}
	}
	l.written[object.GetUID()] = object
}

// of returns the newer of a cached object and the answer that is remembered.
func (l *ownWrites[T]) of(cached T) T {
	l.mu.Lock()
	defer l.mu.Unlock()
	written, ok := l.written[cached.GetUID()]
	if !ok {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(written.GetResourceVersion(), cached.GetResourceVersion())
	if err != nil || order <= 0 {
		delete(l.written, cached.GetUID())
		return cached
	}
	return written.DeepCopyObject().(T)
}

// forget drops what is remembered of an object that is gone.
func (l *ownWrites[T]) forget(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.written, uid)
}
