package bridge

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// storeEvery is how soon a change is written, and storeRest how soon without one.
	storeEvery = time.Second
	storeRest  = 5 * time.Minute
	// storeRead is how often what the other replica has written is read.
	storeRead = 30 * time.Second
	// storeTimeout bounds a read or a write.
	storeTimeout = 10 * time.Second
)

// store keeps a memory in a ConfigMap that both replicas write. Each merges what it finds
// there, and writes under an optimistic lock.
type store struct {
	client client.Client
	key    types.NamespacedName
	prefix string
	// name is that of the replica.
	name    string
	memory  *memory
	clock   clock.WithTicker
	quiet   *quiet
	metrics *metrics
}

// read takes over what the ConfigMap says.
func (s *store) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var c corev1.ConfigMap
	if err := s.client.Get(ctx, s.key, &c); err != nil {
		return fmt.Errorf("reading the ConfigMap %s: %w", s.key, err)
	}
	return s.memory.merge(&c, s.prefix, s.clock.Now())
}

// claim makes this replica the one that catches up for a while, unless another one is: two
// that create the same events at a time may not agree where they belong, while routes or
// paths change. What it knows is written with it.
func (s *store) claim(ctx context.Context, length time.Duration) (bool, error) {
	claimed := false
	err := s.exchange(ctx, func() bool {
		now := s.clock.Now()
		claimed = s.memory.claim(s.name, now, now.Add(length))
		return claimed
	})
	return claimed && err == nil, err
}

// write brings ConfigMap and memory together.
func (s *store) write(ctx context.Context) error {
	return s.exchange(ctx, func() bool { return true })
}

// release stores what is known, and lets another replica catch up.
func (s *store) release(ctx context.Context) error {
	return s.exchange(ctx, func() bool {
		s.memory.release(s.name)
		return true
	})
}

// end is release at the end of this process.
func (s *store) end(ctx context.Context) {
	s.memory.check(s.clock.Now(), checkpointEvery/4)
	s.tell(s.release(ctx))
}

// exchange reads the ConfigMap, changes what is known, and writes that, if it is to be.
func (s *store) exchange(ctx context.Context, change func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		var c corev1.ConfigMap
		if err := s.client.Get(ctx, s.key, &c); err != nil {
			return fmt.Errorf("reading the ConfigMap %s: %w", s.key, err)
		}
		if err := s.memory.merge(&c, s.prefix, s.clock.Now()); err != nil {
			return err
		}
		if !change() {
			return nil
		}
		revision, _ := s.memory.changed()
		if err := s.memory.fill(&c, s.prefix); err != nil {
			return err
		}
		if err := s.client.Update(ctx, &c); err != nil {
			return fmt.Errorf("writing the ConfigMap %s: %w", s.key, err)
		}
		s.memory.wrote(revision)
		return nil
	})
}

// run writes changes until the context ends.
func (s *store) run(ctx context.Context) {
	tick := s.clock.NewTicker(storeEvery)
	defer tick.Stop()
	read, flushed := s.clock.Now(), s.clock.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
		}
		now := s.clock.Now()
		s.memory.check(now, checkpointEvery)
		if now.Sub(flushed) >= storeRest {
			s.memory.flush()
			flushed = now
		}
		_, changed := s.memory.changed()
		var err error
		switch {
		case changed:
			err = s.write(ctx)
		case now.Sub(read) >= storeRead:
			err = s.read(ctx)
		default:
			continue
		}
		read = now
		if ctx.Err() == nil {
			s.tell(err)
		}
	}
}

func (s *store) tell(err error) {
	if err != nil {
		s.metrics.unstored.Set(1)
		s.quiet.Error("store", err, "Failed to store what is known; it goes on from memory")
		return
	}
	s.metrics.unstored.Set(0)
}
