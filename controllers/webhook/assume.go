package webhook

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// assumeCache has the answers to own writes until the informer has caught up, so that
// one that lags behind does not make the same write happen again. The zero value is
// ready for use.
type assumeCache struct {
	mu      sync.Mutex
	written map[types.UID]*v1alpha1.Webhook
}

// assume takes in the answer to a write.
func (c *assumeCache) assume(w *v1alpha1.Webhook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written == nil {
		c.written = map[types.UID]*v1alpha1.Webhook{}
	}
	c.written[w.UID] = w
}

// latest returns the newer of a Webhook of the informer and the one that is assumed.
func (c *assumeCache) latest(cached *v1alpha1.Webhook) *v1alpha1.Webhook {
	c.mu.Lock()
	defer c.mu.Unlock()
	written, ok := c.written[cached.UID]
	if !ok {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(written.ResourceVersion, cached.ResourceVersion)
	if err != nil || order <= 0 {
		delete(c.written, cached.UID)
		return cached
	}
	return written.DeepCopy()
}

// forget drops a Webhook that is gone.
func (c *assumeCache) forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.written, uid)
}
