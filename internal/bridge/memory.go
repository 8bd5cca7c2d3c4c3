package bridge

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	// mostPaths is how many paths are remembered, at some 150 bytes each. The ones that
	// were looked up last stay.
	mostPaths = 100_000
	// mostStoredPaths is how many of them are in the ConfigMap: compressed, they take a
	// tenth of what it may have.
	mostStoredPaths = 20_000
	// mostStoredBytes is what they may take there, if their names are long.
	mostStoredBytes = 768 << 10
	// mostDone is how many events the catch-up remembers to be finished with.
	mostDone = 5000
)

// place is where something is in Horizon, as of a time.
type place struct {
	path string
	seen time.Time // when Horizon has said so
}

// progress is how far the catch-up is, after a number of scans. The later one counts.
type progress struct {
	// Scan is how many scans came to an end.
	Scan int64 `json:"scan,omitempty"`
	// Webhook is whose logs it is about: those of another one are read from the start.
	Webhook int64 `json:"webhook,omitempty"`
	// Scanned is the time, as Horizon's logs tell it, up to which every log is dealt with.
	Scanned time.Time `json:"scanned,omitzero"`
	// Logs is how many logs Horizon had by then, and LastLog the highest number of one.
	Logs    int64 `json:"logs,omitempty"`
	LastLog int64 `json:"lastLog,omitempty"`
	// Current is the time, by the bridge's own clock, up to which nothing is missed.
	Current time.Time `json:"current,omitzero"`
}

// holder is the replica that catches up, and until when it is believed to.
type holder struct {
	Name  string    `json:"name,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// memory is what replicas know together and find again after a restart: paths,
// checkpoints, and how far the catch-up is. It is kept in a ConfigMap. It is safe for
// concurrent use.
type memory struct {
	mu          sync.Mutex
	paths       map[string]place
	checkpoints []checkpoint
	progress    progress
	holder      holder
	// done are the times of the logs of events that the catch-up need not look at again.
	done map[int64]time.Time
	// highest is the highest number of an event that was seen.
	highest int64
	// revision counts changes that are worth a write, and saved is the one that was written.
	revision, saved int
}

func newMemory() *memory {
	return &memory{paths: map[string]place{}, done: map[int64]time.Time{}}
}

// path returns where something was, when it was last heard of.
func (m *memory) path(t thing) (place, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.paths[t.key()]
	return p, ok
}

// remember notes down where something was at a time, unless something later is known.
func (m *memory) remember(t thing, path string, seen time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.paths[t.key()]
	if ok && known.seen.After(seen) {
		return
	}
	if known.path != path {
		m.revision++
	}
	m.paths[t.key()] = place{path, seen}
	if len(m.paths) > mostPaths {
		keep := newest(m.paths, mostPaths*9/10)
		m.paths = keep
	}
}

// newest returns the places that were looked up last.
func newest(paths map[string]place, n int) map[string]place {
	if len(paths) <= n {
		return paths
	}
	keys := slices.SortedFunc(maps.Keys(paths), func(a, b string) int {
		return cmp.Or(paths[b].seen.Compare(paths[a].seen), cmp.Compare(a, b))
	})
	kept := make(map[string]place, n)
	for _, key := range keys[:n] {
		kept[key] = paths[key]
	}
	return kept
}

// see notes down that there is an event of a number.
func (m *memory) see(eventID int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.highest = max(m.highest, eventID)
}

// isNew tells whether an event is above all that were seen.
func (m *memory) isNew(eventID int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return eventID > m.highest
}

// check makes a checkpoint if the last one is old enough, and events were seen since.
func (m *memory) check(now time.Time, every time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.checkpoints); n > 0 && (now.Sub(m.checkpoints[n-1].Time) < every || m.checkpoints[n-1].ID >= m.highest) {
		return
	}
	if m.highest > 0 {
		m.checkpoints = mergeCheckpoints(m.checkpoints, []checkpoint{{m.highest, now}}, now)
		m.revision++
	}
}

// timeOf returns when an event happened, if it was seen before the newest checkpoint.
func (m *memory) timeOf(eventID int64) (time.Time, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return timeOf(m.checkpoints, eventID)
}

// finish notes down that the catch-up has nothing to do with an event any more.
func (m *memory) finish(eventID int64, logged time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.done[eventID]; !ok {
		m.done[eventID] = logged
		m.revision++
	}
}

func (m *memory) finished(eventID int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.done[eventID]
	return ok
}

// advance notes down how far the catch-up is, and forgets what it will not come to again.
// Progress alone is written by flush.
func (m *memory) advance(p progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.progress = later(m.progress, p)
	m.forget()
}

// forget drops the oldest of what is done. The lock is held.
func (m *memory) forget() {
	limit := m.progress.Scanned.Add(-doneKept)
	maps.DeleteFunc(m.done, func(_ int64, logged time.Time) bool { return logged.Before(limit) })
	if n := len(m.done) - mostDone; n > 0 {
		ids := slices.SortedFunc(maps.Keys(m.done), func(a, b int64) int { return m.done[a].Compare(m.done[b]) })
		for _, id := range ids[:n] {
			delete(m.done, id)
		}
	}
}

func (m *memory) scanned() progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress
}

// flush has what is worth no write of its own written, too.
func (m *memory) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
}

// changed tells whether there is something to write, and which revision that is.
func (m *memory) changed() (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.revision, m.revision != m.saved
}

func (m *memory) wrote(revision int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saved = revision
}

// later returns the progress after more scans.
func later(a, b progress) progress {
	if b.Scan > a.Scan {
		return b
	}
	return a
}

// claim makes a replica the one that catches up until a time, unless another one is.
func (m *memory) claim(name string, now, until time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder.Name != name && now.Before(m.holder.Until) {
		return false
	}
	m.holder = holder{name, until}
	return true
}

// release lets another replica catch up.
func (m *memory) release(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder.Name == name {
		m.holder = holder{}
	}
}

// holds tells whether a replica is the one that catches up.
func (m *memory) holds(name string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.holder.Name == name && now.Before(m.holder.Until)
}

// stored is what the ConfigMap says, beside paths.
type stored struct {
	Checkpoints []checkpoint `json:"checkpoints,omitempty"`
	Progress    progress     `json:"catchUp,omitzero"`
	Holder      holder       `json:"holder,omitzero"`
	// Done has the Unix times of the logs of events.
	Done map[int64]int64 `json:"done,omitempty"`
}

// Keys in the ConfigMap; the prefix of names comes before them, so that bridges of two
// Horizons can share it.
const (
	stateKey = "state.json"
	pathsKey = "paths.json.gz"
)

// merge takes over what a ConfigMap says.
func (m *memory) merge(c *corev1.ConfigMap, prefix string, now time.Time) error {
	var s stored
	if text := c.Data[prefix+stateKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return fmt.Errorf("reading %s: %w", prefix+stateKey, err)
		}
	}
	paths, err := unpack(c.BinaryData[prefix+pathsKey])
	if err != nil {
		return fmt.Errorf("reading %s: %w", prefix+pathsKey, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, p := range paths {
		if known, ok := m.paths[key]; !ok || p.seen.After(known.seen) {
			m.paths[key] = p
		}
	}
	m.paths = newest(m.paths, mostPaths)
	m.checkpoints = mergeCheckpoints(m.checkpoints, s.Checkpoints, now)
	if n := len(m.checkpoints); n > 0 {
		m.highest = max(m.highest, m.checkpoints[n-1].ID)
	}
	m.progress = later(s.Progress, m.progress)
	m.holder = s.Holder
	for id, logged := range s.Done {
		if _, ok := m.done[id]; !ok {
			m.done[id] = time.Unix(logged, 0)
		}
	}
	m.forget()
	return nil
}

// fill writes what is known into a ConfigMap.
func (m *memory) fill(c *corev1.ConfigMap, prefix string) error {
	m.mu.Lock()
	s := stored{Checkpoints: slices.Clone(m.checkpoints), Progress: m.progress, Holder: m.holder, Done: make(map[int64]int64, len(m.done))}
	for id, logged := range m.done {
		s.Done[id] = logged.Unix()
	}
	paths := maps.Clone(m.paths)
	m.mu.Unlock()
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	var packed []byte
	for n := mostStoredPaths; ; n /= 2 {
		if packed, err = pack(newest(paths, n)); err != nil {
			return err
		}
		if len(packed) <= mostStoredBytes || n == 0 {
			break
		}
	}
	if c.Data == nil {
		c.Data = map[string]string{}
	}
	if c.BinaryData == nil {
		c.BinaryData = map[string][]byte{}
	}
	c.Data[prefix+stateKey], c.BinaryData[prefix+pathsKey] = string(text), packed
	return nil
}

// storedPlace is a place in JSON: its path, and the Unix time of when it was seen.
type storedPlace struct {
	Path string `json:"p"`
	Seen int64  `json:"t"`
}

func pack(paths map[string]place) ([]byte, error) {
	all := make(map[string]storedPlace, len(paths))
	for key, p := range paths {
		all[key] = storedPlace{p.path, p.seen.Unix()}
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(all); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// mostUnpacked bounds what is read of the paths in a ConfigMap.
const mostUnpacked = 64 << 20

func unpack(data []byte) (map[string]place, error) {
	if len(data) == 0 {
		return nil, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	all := map[string]storedPlace{}
	if err := json.NewDecoder(io.LimitReader(z, mostUnpacked)).Decode(&all); err != nil {
		return nil, err
	}
	paths := make(map[string]place, len(all))
	for key, p := range all {
		paths[key] = place{p.Path, time.Unix(p.Seen, 0)}
	}
	return paths, nil
}
