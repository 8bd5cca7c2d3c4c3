package expression

import (
	"sync"

	"k8s.io/utils/lru"
)

// What is kept of what was compiled last. A program takes 8 kB and about 16 bytes for each
// character: 10 kB for a filter of 70 characters, 15 kB for a template of 440. All together
// take 120 MB at most, and 25 MB for 1 000 Webhooks with a filter and a template each.
const (
	maxCompiled           = 10_000
	maxCompiledCharacters = 2 << 20
)

// compiled has programs and mistakes: the same text gives the same result.
var compiled = newCache(maxCompiled, maxCompiledCharacters)

type cache struct {
	mu      sync.Mutex
	entries *lru.Cache
	// size is how long all texts are, and most how long they may be.
	size, most int
}

type cacheKey struct {
	kind kind
	text string
}

type cacheEntry struct {
	program *program
	mistake *Mistake
}

func newCache(entries, most int) *cache {
	c := &cache{most: most}
	c.entries = lru.NewWithEvictionFunc(entries, func(key lru.Key, _ any) { c.size -= len(key.(cacheKey).text) })
	return c
}

func (c *cache) get(k kind, text string) (*program, error) {
	key := cacheKey{k, text}
	entry, ok := c.find(key)
	if !ok {
		entry.program, entry.mistake = inSlot("", func() (*program, *Mistake) { return newProgram(k, text) })
		c.add(key, entry)
	}
	if entry.mistake != nil {
		return nil, entry.mistake
	}
	return entry.program, nil
}

// inSlot has the type checker work for as many at a time as expressions are evaluated: what
// takes it longest allocates 150 MB on its way.
func inSlot[T any](namespace string, check func() (T, *Mistake)) (T, *Mistake) {
	running.take(namespace)
	defer running.give()
	return check()
}

func (c *cache) find(key cacheKey) (cacheEntry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.entries.Get(key)
	if !ok {
		return cacheEntry{}, false
	}
	return v.(cacheEntry), true
}

func (c *cache) add(key cacheKey, entry cacheEntry) {
	// What is far too long has its mistake at once.
	if len(key.text) > c.most/100 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries.Get(key); !ok {
		c.size += len(key.text)
	}
	c.entries.Add(key, entry)
	for c.size > c.most {
		c.entries.RemoveOldest()
	}
}
