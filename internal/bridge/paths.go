package bridge

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/internal/horizon"
)

const (
	// pathTTL is for how long a path counts without being looked up again. Things move, and
	// Horizon tells nobody.
	pathTTL = time.Minute
	// freshTTL is the same for what others may create at the same time.
	freshTTL = 2 * time.Second
	// lookupTimeout bounds a look-up: Horizon sends one request at a time, and what asks
	// GitLab hangs while that is down.
	lookupTimeout = 2500 * time.Millisecond
	// lookupRest is for how long look-ups of a kind are not tried after one that has hung.
	lookupRest = 10 * time.Second
	// askAgain is how long the other replica takes to store what it has learnt.
	askAgain = 1500 * time.Millisecond
	// walkEvery is how often all of Horizon is walked. Transfers of whole groups are noticed
	// by it, for what is deleted before its next event.
	walkEvery = 6 * time.Hour
)

// Lookups are the calls that say where something is.
type Lookups interface {
	ClusterPath(ctx context.Context, name string, id int64) (string, error)
	ApplicationPath(ctx context.Context, name string, id int64) (string, error)
	ResourcePath(ctx context.Context, kind horizon.Kind, id int64) (string, error)
	Walk(ctx context.Context) iter.Seq2[horizon.Resource, error]
}

// paths says where things are, and remembers it for when they are gone. It is safe for
// concurrent use.
type paths struct {
	horizon Lookups
	memory  *memory
	clock   clock.WithTicker
	metrics *metrics
	// refresh reads what the other replica has learnt.
	refresh func(context.Context) error

	mu sync.Mutex
	// unknown are things that nobody knows, and until when that counts. rests are kinds
	// whose look-ups hang, and until when none is tried.
	unknown map[thing]time.Time
	rests   map[string]time.Time
}

func newPaths(h Lookups, m *memory, refresh func(context.Context) error, metrics *metrics, c clock.WithTicker) *paths {
	return &paths{
		horizon: h, memory: m, refresh: refresh, metrics: metrics, clock: c,
		unknown: map[thing]time.Time{}, rests: map[string]time.Time{},
	}
}

// errRests is the error of look-ups of a kind that has just hung.
var errRests = errors.New("the last look-up of this kind has hung, and it is tried again in some seconds")

// of returns the path of something as of not longer ago than an age, and whether it has one
// that somebody knows. It fails where Horizon neither tells the path nor says that there is
// none.
func (p *paths) of(ctx context.Context, t thing, age time.Duration) (string, bool, error) {
	known, ok := p.memory.path(t)
	if ok && p.clock.Since(known.seen) < age {
		return known.path, true, nil
	}
	path, err := p.ask(ctx, t)
	switch {
	case err == nil:
		p.memory.remember(t, path, p.clock.Now())
		return path, true, nil
	case !horizon.IsNotFound(err):
		return "", false, fmt.Errorf("looking up the path of %s: %w", t, err)
	case ok:
		p.metrics.lookups.WithLabelValues("remembered").Inc()
		return known.path, true, nil
	}
	return p.recall(ctx, t)
}

// remembered returns the path that something had, however old that is.
func (p *paths) remembered(t thing) (string, bool) {
	known, ok := p.memory.path(t)
	return known.path, ok
}

// ask asks Horizon.
func (p *paths) ask(ctx context.Context, t thing) (path string, err error) {
	if p.resting(t.kind) {
		return "", errRests
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	switch t.kind {
	case clusters:
		path, err = p.horizon.ClusterPath(ctx, t.name, t.id)
	case applications:
		path, err = p.horizon.ApplicationPath(ctx, t.name, t.id)
	case clusterMembers:
		path, err = p.horizon.ResourcePath(ctx, horizon.Clusters, t.id)
	default:
		path, err = p.horizon.ResourcePath(ctx, horizon.Applications, t.id)
	}
	switch {
	case err == nil:
		p.metrics.lookups.WithLabelValues("found").Inc()
	case horizon.IsNotFound(err):
		p.metrics.lookups.WithLabelValues("gone").Inc()
	default:
		p.metrics.lookups.WithLabelValues("failed").Inc()
		if errors.Is(err, context.DeadlineExceeded) {
			p.rest(t.kind)
		}
	}
	return path, err
}

func (p *paths) resting(kind string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock.Now().Before(p.rests[kind])
}

func (p *paths) rest(kind string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rests[kind] = p.clock.Now().Add(lookupRest)
}

// recall looks for a path in what the other replica has stored, which may take it a moment.
func (p *paths) recall(ctx context.Context, t thing) (string, bool, error) {
	if p.isUnknown(t) {
		return "", false, nil
	}
	for again := false; ; again = true {
		if err := p.refresh(ctx); err != nil {
			return "", false, fmt.Errorf("looking for the path that %s had: %w", t, err)
		}
		if known, ok := p.memory.path(t); ok {
			p.metrics.lookups.WithLabelValues("remembered").Inc()
			return known.path, true, nil
		}
		if again {
			break
		}
		select {
		case <-ctx.Done():
			return "", false, context.Cause(ctx)
		case <-p.clock.After(askAgain):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unknown) >= mostUnknown {
		clear(p.unknown)
	}
	p.unknown[t] = p.clock.Now().Add(pathTTL)
	return "", false, nil
}

// mostUnknown bounds how many things are known to be unknown.
const mostUnknown = 10_000

func (p *paths) isUnknown(t thing) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.unknown[t]
	return ok && p.clock.Now().Before(until)
}

// walk learns all paths that there are, so that what is deleted keeps its own.
func (p *paths) walk(ctx context.Context, limit flowcontrol.RateLimiter) (int, error) {
	n := 0
	began := p.clock.Now() // a list may be an hour old when the last one in it has its turn
	for r, err := range p.horizon.Walk(ctx) {
		if err != nil {
			return n, fmt.Errorf("walking Horizon: %w", err)
		}
		switch r.Kind {
		case horizon.Clusters:
			p.memory.remember(thing{kind: clusters, id: r.ID}, r.Path, began)
			n++
			continue // what is in it takes no request
		case horizon.Applications:
			p.memory.remember(thing{kind: applications, id: r.ID}, r.Path, began)
			n++
		default:
		}
		if err := limit.Wait(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}
