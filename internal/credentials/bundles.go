package credentials

import (
	"crypto/sha256"
	"sync"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/internal/sending"
)

// bundleTTL outlasts what was read with a bundle, so that the next read finds it.
const bundleTTL = 2 * TTL

// bundles are the CA bundles that were read lately, each once, however many Webhooks
// name it and from wherever: one may take up to sending.MaxAuthorities, and more.
type bundles struct {
	mu   sync.Mutex
	kept *cache.Expiring // of *sending.Authorities by what the text hashes to
}

func newBundles(c clock.Clock) *bundles { return &bundles{kept: cache.NewExpiringWithClock(c)} }

// parse returns the authorities of a bundle's text. It parses one at a time.
func (b *bundles) parse(text []byte) (*sending.Authorities, error) {
	digest := sha256.Sum256(text)
	b.mu.Lock()
	defer b.mu.Unlock()
	known, ok := b.kept.Get(digest)
	if !ok {
		parsed, err := sending.ParseAuthorities(text)
		if err != nil {
			return nil, err
		}
		known = parsed
	}
	b.kept.Set(digest, known, bundleTTL)
	return known.(*sending.Authorities), nil
}
