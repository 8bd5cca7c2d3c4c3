package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/horizoncd/webhook-operator/test/operator"
)

// restartDelay is how long a supervised operator that has ended stays down. A
// kubelet restarts at once the first time, and slower after that.
const restartDelay = 500 * time.Millisecond

// replica is one operator of a deployment, over all of its lives. Its methods may
// be called from several goroutines.
type replica struct {
	name    string
	options operator.Options

	watching sync.WaitGroup

	mu     sync.Mutex // guards what follows
	op     *operator.Operator
	closed bool
	ended  []string // how lives ended that nobody but the supervisor saw to
}

// replica makes an operator that belongs to the scenario; it does not run yet.
func (t *trial) replica(name, kubeconfig string, args ...string) *replica {
	r := &replica{name: name, options: t.operator(name, kubeconfig, args...)}
	t.replicas = append(t.replicas, r)
	return r
}

// start begins a life, and returns once the operator is ready.
func (r *replica) start(ctx context.Context) error {
	op, err := r.launch()
	if err != nil {
		return err
	}
	if err := op.WaitReady(ctx); err != nil {
		return fmt.Errorf("starting replica %s: %w", r.name, err)
	}
	return nil
}

func (r *replica) launch() (*operator.Operator, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.New("the scenario is over")
	}
	op, err := operator.Launch(r.options)
	if err != nil {
		return nil, err
	}
	r.op = op
	return op, nil
}

// life is the current life, or the last one.
func (r *replica) life() *operator.Operator {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.op
}

// kill ends the life as a crash would, and returns when it is over.
func (r *replica) kill() error { return r.life().Kill() }

// restart begins a new life after a while.
func (r *replica) restart(ctx context.Context, after time.Duration) error {
	if err := sleep(ctx, after); err != nil {
		return err
	}
	return r.start(ctx)
}

// supervise starts the operator again whenever it ends, as a kubelet does, until
// the replica is closed or ctx ends.
func (r *replica) supervise(ctx context.Context) {
	r.watching.Go(func() {
		for {
			op := r.life()
			select {
			case <-op.Done():
			case <-ctx.Done():
				return
			}
			r.mu.Lock()
			r.ended = append(r.ended, op.State())
			r.mu.Unlock()
			if sleep(ctx, restartDelay) != nil {
				return
			}
			if _, err := r.launch(); err != nil {
				return // closed
			}
		}
	})
}

// ends tells how the lives ended that a supervisor has seen to.
func (r *replica) ends() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.ended...)
}

// close ends the replica for good. It is killed: what it does when it is told to
// stop is a scenario of its own.
func (r *replica) close() error {
	r.mu.Lock()
	r.closed = true
	op := r.op
	r.mu.Unlock()
	if op == nil {
		return nil
	}
	err := op.Kill()
	r.watching.Wait()
	return err
}

// leads tells whether the operator says that it leads.
func (r *replica) leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	metrics, err := r.life().Metrics(ctx)
	if err != nil {
		return false // it has ended, or is paused
	}
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "leader_election_master_status{") && strings.HasSuffix(strings.TrimSpace(line), " 1") {
			return true
		}
	}
	return false
}

// leader waits until one of the replicas leads.
func leader(ctx context.Context, replicas ...*replica) (*replica, error) {
	var found *replica
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(context.Context) (bool, error) {
		for _, r := range replicas {
			if r.leads(ctx) {
				found = r
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for a leader: %w", err)
	}
	return found, nil
}

// deployOne starts one operator that waits for the lease, has it started again
// whenever it ends, and returns once it leads.
func (t *trial) deployOne(ctx context.Context) (*replica, error) {
	op := t.replica("operator", t.install.Kubeconfig, "--leader-elect")
	if err := op.start(ctx); err != nil {
		return nil, err
	}
	op.supervise(ctx)
	return leader(ctx, op)
}

// deploy starts as many operators as there are names, under one lease.
func (t *trial) deploy(ctx context.Context, names ...string) ([]*replica, error) {
	all := make([]*replica, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		all[i] = t.replica(name, t.install.Kubeconfig, "--leader-elect")
		wg.Go(func() { errs[i] = all[i].start(ctx) })
	}
	wg.Wait()
	return all, errors.Join(errs...)
}
