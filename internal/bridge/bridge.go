// Package bridge lets a Horizon that nobody has changed use the operator: it takes what
// Horizon posts to a webhook of its root group, and makes WebhookEvents of it, each once,
// in the namespace and with the path that it belongs to. What it has missed it finds in
// Horizon's logs.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/routes"
)

// Horizon is what the bridge asks Horizon for.
type Horizon interface {
	Lookups
	Logs
}

// MaxPrefix is how many characters Options.NamePrefix may have.
const MaxPrefix = 24

// Options are what a Bridge needs.
type Options struct {
	// Client reads and writes WebhookEvents, and the ConfigMap that State names. It must not
	// have a cache: an event in store has to be seen.
	Client client.Client
	// Horizon is asked for paths and logs. It may be nil: then events have no path, all of
	// them are in the system namespace, and what is missed is lost.
	Horizon Horizon
	// Secrets are those of the webhook.
	Secrets *File[Secrets]
	// Routes say which namespace events go to.
	Routes *File[*routes.Routes]
	// State is the ConfigMap that replicas share.
	State types.NamespacedName
	// NamePrefix is the start of the names of events: up to MaxPrefix lower-case letters,
	// digits and dashes.
	NamePrefix string
	// WebhookID is the number of the webhook that posts to the bridge; 0 is the one of the
	// root group that has its secret.
	WebhookID int64
	// RequestsPerMinute bounds the calls of catch-up and walk. Look-ups for what Horizon
	// posts come on top.
	RequestsPerMinute int
	// Every is how often Horizon's logs are read, such as ScanEvery, and Window how far back
	// the first reading of all goes.
	Every, Window time.Duration

	Log      logr.Logger
	Registry prometheus.Registerer
	Clock    clock.WithTicker
}

// Bridge takes events from Horizon to a cluster.
type Bridge struct {
	prefix string
	files  struct {
		secrets *File[Secrets]
		routes  *File[*routes.Routes]
	}
	memory  *memory
	store   *store
	paths   *paths // nil without Horizon
	catchUp *catchUp
	writer  *writer
	turns   chan struct{}
	busy    busy
	limit   flowcontrol.RateLimiter
	clock   clock.WithTicker
	log     logr.Logger
	quiet   *quiet
	metrics *metrics
	// loaded tells whether what is known was read from the ConfigMap.
	loaded atomic.Bool
}

// New returns a bridge, and registers its metrics.
func New(o Options) (*Bridge, error) {
	if err := ValidPrefix(o.NamePrefix); err != nil {
		return nil, err
	}
	if o.RequestsPerMinute < 1 || o.Every <= 0 || o.Window <= 0 {
		return nil, errors.New("how often, how far back, and how many requests a minute must be positive")
	}
	b := &Bridge{
		prefix: o.NamePrefix, memory: newMemory(), writer: &writer{o.Client, o.Clock},
		turns: make(chan struct{}, requestsAtOnce), clock: o.Clock, log: o.Log, quiet: newQuiet(o.Log, o.Clock),
		limit: flowcontrol.NewTokenBucketRateLimiter(float32(o.RequestsPerMinute)/60, max(1, o.RequestsPerMinute/10)),
	}
	b.files.secrets, b.files.routes = o.Secrets, o.Routes
	b.catchUp = &catchUp{
		memory: b.memory, limit: b.limit, clock: o.Clock, log: o.Log, quiet: b.quiet,
		every: o.Every, waiting: waitingFor, rest: restFor, window: o.Window, webhookID: o.WebhookID, secrets: b.secrets, exists: b.exists,
		open: map[int64]*openLog{}, state: catchUpDisabled,
		place: func(ctx context.Context, p payload.Payload, logged time.Time) outcome {
			return b.place(ctx, p, fromCatchUp, logged, catchUpPatience)
		},
	}
	var err error
	if b.metrics, err = newMetrics(o.Registry, func() float64 { return b.catchUp.behind().Seconds() }); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	b.catchUp.metrics = b.metrics
	b.store = &store{
		client: o.Client, key: o.State, prefix: o.NamePrefix, name: string(uuid.NewUUID()), memory: b.memory, clock: o.Clock, quiet: b.quiet, metrics: b.metrics,
	}
	b.catchUp.claim, b.catchUp.release = b.store.claim, b.store.release
	b.catchUp.holds = func() bool { return b.memory.holds(b.store.name, b.clock.Now()) }
	if o.Horizon != nil {
		b.catchUp.horizon, b.catchUp.state = o.Horizon, catchUpUnknown
		b.paths = newPaths(o.Horizon, b.memory, b.store.read, b.metrics, o.Clock)
	}
	return b, nil
}

// ValidPrefix tells what is wrong with a prefix of names.
func ValidPrefix(prefix string) error {
	if len(prefix) > MaxPrefix {
		return fmt.Errorf("a prefix of names has up to %d characters", MaxPrefix)
	}
	if wrong := validation.IsDNS1123Label(Name(prefix, 1)); len(wrong) > 0 {
		return fmt.Errorf("%q is no prefix of names: %s", prefix, wrong[0])
	}
	return nil
}

// Run catches up, remembers and learns until the context ends. What Handler serves needs
// it: a bridge is ready once it has read what it knew before.
func (b *Bridge) Run(ctx context.Context) {
	for !b.load(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-b.clock.After(time.Second):
		}
	}
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		// Another replica may catch up once nothing of this one is on its way any more.
		b.store.end(context.WithoutCancel(ctx))
	}()
	wg.Go(func() { b.store.run(ctx) })
	if b.paths == nil {
		b.log.Info("No address of Horizon is given: events have no path, and what the bridge misses is lost")
		<-ctx.Done()
		return
	}
	wg.Go(func() { b.catchUp.run(ctx) })
	wg.Go(func() { b.walk(ctx) })
}

func (b *Bridge) load(ctx context.Context) bool {
	if err := b.store.read(ctx); err != nil {
		b.quiet.Error("load", err, "Failed to read what was known before")
		return false
	}
	b.loaded.Store(true)
	return true
}

// walk learns all paths again and again.
func (b *Bridge) walk(ctx context.Context) {
	for {
		pause := walkEvery
		n, err := b.paths.walk(ctx, b.limit)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			pause = 5 * time.Minute
			b.log.Error(err, "Failed to learn all paths; those of things that are deleted before their next event may be missing", "learnt", n)
		default:
			b.memory.flush()
			b.log.Info("Learnt all paths", "paths", n)
		}
		select {
		case <-ctx.Done():
			return
		case <-b.clock.After(pause):
		}
	}
}

// Ready tells what keeps the bridge from taking events, and says more for people.
func (b *Bridge) Ready() (string, error) {
	if !b.loaded.Load() {
		return "", errors.New("what was known before is not read yet from the ConfigMap " + b.store.key.String())
	}
	return "catch-up: " + b.catchUp.describe(), nil
}

func (b *Bridge) secrets() Secrets { return current(b, "secret", b.files.secrets) }

func (b *Bridge) routes() *routes.Routes { return current(b, "routes", b.files.routes) }

// current returns what a file says, or has said last.
func current[T any](b *Bridge, name string, f *File[T]) T {
	value, err := f.Get()
	stale := 0.0
	if err != nil {
		stale = 1
		b.quiet.Error("file "+name, err, "Failed to read a file; what it said before counts", "file", name)
	}
	b.metrics.stale.WithLabelValues(name).Set(stale)
	return value
}
