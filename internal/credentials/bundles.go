package credentials

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"weak"

	"github.com/horizoncd/webhook-operator/internal/sending"
)

// bundles are the CA bundles that somebody keeps, each once, however many Webhooks
// name it and from wherever: one may take up to sending.MaxAuthorities, and more.
type bundles struct {
	mu   sync.Mutex
	kept map[[sha256.Size]byte]weak.Pointer[sending.Authorities] // by what its text hashes to
}

// parse returns the authorities of a bundle's text. It parses one at a time.
func (b *bundles) parse(text []byte) (*sending.Authorities, error) {
	digest := sha256.Sum256(text)
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.kept[digest].Value(); a != nil {
		return a, nil
	}
	a, err := sending.ParseAuthorities(text)
	if err != nil {
		return nil, err
	}
	if b.kept == nil {
		b.kept = map[[sha256.Size]byte]weak.Pointer[sending.Authorities]{}
	}
	b.kept[digest] = weak.Make(a)
	runtime.AddCleanup(a, b.forget, digest)
	return a, nil
}

// forget forgets a bundle that nobody keeps any more, unless its text was parsed
// again meanwhile.
func (b *bundles) forget(digest [sha256.Size]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept[digest].Value() == nil {
		delete(b.kept, digest)
	}
}
