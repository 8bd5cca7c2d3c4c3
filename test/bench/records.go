package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// quota is what etcd's database may grow to where nothing else is said.
const quota = 2 << 30

// fillers create records at once.
const fillers = 32

// collectOften makes the operator collect garbage as soon as there is a little.
const collectOften = "GOGC=10"

// withRecords takes the figures that are about a store with many finished
// records, in a control plane of its own beside the empty one.
func (b *bench) withRecords(ctx context.Context, empty *store, dir string) (err error) {
	b.Say("starting another control plane, for %d records", b.records)
	s, err := openStore(ctx, b.options, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c, err := b.newScene(ctx, s, manyWebhooks)
	if err != nil {
		return err
	}
	s.scenes = nil // this one stays

	f := &b.figures
	if b.wants(rowMemory) {
		if f.heap.bare, err = b.heaps(ctx, s); err != nil {
			return err
		}
	}
	if err := b.fillMeasured(ctx, c); err != nil {
		return err
	}
	if b.wants(rowMemory) {
		if f.heap.ours, err = b.heaps(ctx, s); err != nil {
			return err
		}
	}
	if b.wants(rowStart) {
		if err := b.repeat(func(int) error { return errors.Join(s.clean(ctx), b.start(ctx, s)) }); err != nil {
			return err
		}
	}
	if !b.wants(rowFull) {
		return nil
	}
	return b.repeat(func(pair int) error {
		if err := empty.clean(ctx); err != nil {
			return err
		}
		none, err := b.newScene(ctx, empty, manyWebhooks)
		if err != nil {
			return err
		}
		return inTurns(pair,
			// Its Webhooks are those that have the records.
			func() error { return b.fullThroughput(ctx, c, &f.full.ours) },
			func() error { return b.fullThroughput(ctx, none, &f.full.bare) })
	})
}

func (b *bench) fullThroughput(ctx context.Context, c *scene, into *bursts) error {
	if err := b.startOperator(ctx, c.store); err != nil {
		return err
	}
	t, err := b.deliverTo(ctx, c, b.count(manyWebhooks), 0)
	into.add(t)
	return errors.Join(err, c.store.stop())
}

// heaps are the operator's heaps after collections, in bytes, one for each of
// several starts.
func (b *bench) heaps(ctx context.Context, s *store) ([]float64, error) {
	var all []float64
	for range b.pairs {
		if _, err := b.launch(ctx, s, collectOften); err != nil {
			return nil, fmt.Errorf("starting the operator: %w", err)
		}
		heap, err := s.operatorHeap(ctx)
		if err := errors.Join(err, s.stop(), s.clean(ctx)); err != nil {
			return nil, err
		}
		all = append(all, heap)
	}
	b.Say("operator     heap after a collection: %.2f MB", median(all)/1e6)
	return all, nil
}

// start takes the time from the operator's start to its first delivery.
func (b *bench) start(ctx context.Context, s *store) error {
	took, err := b.launch(ctx, s)
	if err := errors.Join(err, s.stop()); err != nil {
		return fmt.Errorf("starting the operator: %w", err)
	}
	b.Say("operator     first delivery %.2f s after its start", took.Seconds())
	b.figures.starts = append(b.figures.starts, took.Seconds())
	return nil
}

// fillMeasured fills the store, and notes what that makes of etcd and of the API
// server.
func (b *bench) fillMeasured(ctx context.Context, c *scene) error {
	s, err := b.growth(ctx, c.store, b.records, func() error { return b.fill(ctx, c) })
	if err != nil {
		return fmt.Errorf("filling the store: %w", err)
	}
	b.figures.size = s
	b.Say("a record takes %.0f B in etcd, %.0f B of the API server's heap", s.etcd, s.apiServer)
	return nil
}

// growth is what each of n objects that are made adds to etcd, without former versions, and
// to the API server.
func (b *bench) growth(ctx context.Context, s *store, n int, fill func() error) (sizes, error) {
	before, err := b.sizes(ctx, s)
	if err != nil {
		return sizes{}, err
	}
	if err := fill(); err != nil {
		return sizes{}, err
	}
	if err := s.cp.EtcdClient().Compact(ctx); err != nil {
		return sizes{}, err
	}
	after, err := b.sizes(ctx, s)
	each := func(after, before float64) float64 { return (after - before) / float64(n) }
	return sizes{each(after.etcd, before.etcd), each(after.file, before.file), each(after.apiServer, before.apiServer)}, err
}

// sizes are in bytes.
type sizes struct {
	etcd      float64 // in use in the database
	file      float64 // of the database's file
	apiServer float64 // heap after a collection
}

func (b *bench) sizes(ctx context.Context, s *store) (now sizes, err error) {
	f, err := s.etcdMetrics(ctx)
	if err != nil {
		return now, err
	}
	if now.etcd, err = f.value("etcd_mvcc_db_total_size_in_use_in_bytes"); err != nil {
		return now, err
	}
	if now.file, err = f.value("etcd_mvcc_db_total_size_in_bytes"); err != nil {
		return now, err
	}
	now.apiServer, err = s.apiServerHeap(ctx)
	return now, err
}

// fill creates finished records, as many of an event as it has webhooks
// elsewhere. The events are gone.
func (b *bench) fill(ctx context.Context, c *scene) error {
	exchange, err := b.realExchange(ctx, c)
	if err != nil {
		return err
	}
	events := make([]*v1alpha1.WebhookEvent, b.records/b.webhooks+1)
	for i := range events {
		events[i] = c.event(i + 1)
		events[i].UID, events[i].CreationTimestamp = uuid.NewUUID(), metav1.Now()
	}
	began := time.Now()
	var done atomic.Int64
	return each(ctx, fillers, b.records, func(ctx context.Context, i int) error {
		d, err := succeeded(events[i/b.webhooks], c.webhooks[i%len(c.webhooks)], exchange)
		if err != nil {
			return err
		}
		if err := c.store.account.Create(ctx, d); err != nil {
			return err
		}
		if n := done.Add(1); n%5000 == 0 {
			b.Say("%d records, %.0f a second", n, float64(n)/time.Since(began).Seconds())
		}
		return nil
	})
}

func (b *bench) recordRows() []row {
	f := &b.figures
	n := float64(b.records)
	var all []row
	if b.wants(rowMemory) {
		all = append(all, row{
			ID: rowMemory, Name: "operator's heap after a collection, per finished record", Unit: "B", Goal: 512,
			values: of(f.heap.ours, f.heap.bare, func(ours, bare float64) float64 { return (ours - bare) / n }),
			Note: fmt.Sprintf("%.1f MB with %d records, %.1f MB with none; what the operator's collector found alive (go_gc_heap_live_bytes), at %s",
				median(f.heap.ours)/1e6, b.records, median(f.heap.bare)/1e6, collectOften),
		})
	}
	if b.wants(rowFull) {
		ours, bare := f.full.ours.rates(), f.full.bare.rates()
		all = append(all, row{
			ID: rowFull, Name: fmt.Sprintf("deliveries/s with %d records in store, of the same %d webhooks", b.records, manyWebhooks), Unit: "%", AtLeast: true, Goal: 90,
			values: of(ours, bare, percent), Note: fmt.Sprintf("%.0f/s, with an empty store %.0f/s", median(ours), median(bare)),
		})
	}
	if b.wants(rowStart) {
		all = append(all, row{
			ID: rowStart, Name: fmt.Sprintf("start → first delivery, %d records in store, lease free", b.records), Unit: "s", Goal: 5,
			values: f.starts, Note: "from the process's start to the first byte at a receiver",
		})
	}
	if b.wants(rowSize) {
		all = append(all, row{
			ID: rowSize + "-etcd", Name: "bytes of a record in etcd", Unit: "B", Goal: 4100, values: once(f.size.etcd > 0, f.size.etcd),
			Note: fmt.Sprintf("of the database in use; the goal is what is known to be possible. 2 GiB, etcd's own quota, are room for %.0f records of %.0f B; "+
				"but the quota is about the database's file (here %.0f B a record), where events, former versions of up to the last ten minutes, "+
				"and pages that are free until etcd is defragmented count too", quota/f.size.etcd, f.size.etcd, f.size.file),
		}, row{
			ID: rowSize + "-apiserver", Name: "API server's heap after a collection, per record", Unit: "B", Goal: 18000,
			values: once(f.size.etcd > 0, f.size.apiServer), Note: "just after the records were created; the goal is what is known to be possible",
		})
	}
	return all
}
