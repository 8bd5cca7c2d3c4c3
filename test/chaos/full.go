package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// quota of etcd: a bit more than a control plane with the project needs.
	quota = 24 << 20
	// fillerSize is the size of what fills it, below what a ConfigMap may have.
	fillerSize = 900 << 10
	// fillers are enough to fill any quota of that size.
	fillers = 100
)

func smallQuota(o *clusterOptions) { o.quota = quota }

// etcdFull is F10: etcd is filled up under load, so that the operator can store
// nothing and renew no lease, and then freed as the runbook says.
func etcdFull(ctx context.Context, t *trial) error {
	// More happens than such receivers can take, so that there is always
	// something that could be sent.
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 400 * time.Millisecond})
	if err != nil {
		return err
	}
	op, err := t.deployOne(ctx)
	if err != nil {
		return err
	}
	l.begin(ctx, pick(t.options, 400, 150), 50)
	if err := l.reach(ctx, t.moment(l, 0.05, 0.15)); err != nil {
		return err
	}
	t.say("filling etcd after %d of %d deliveries", l.receiver.Total().Accepted, l.total())
	filled, err := t.fill(ctx, l.namespace)
	if err != nil {
		return err
	}
	full, before := time.Now(), l.requests()
	t.runs++
	t.say("full after %d objects of %d KiB, and %d deliveries", filled, fillerSize>>10, l.receiver.Total().Accepted)
	// Long enough for the lease to be lost.
	if err := sleep(ctx, pick(t.options, 30*time.Second, 13*time.Second)); err != nil {
		return err
	}
	while := l.requests() - before
	if alarms, err := t.cp.EtcdClient().Alarms(ctx); err != nil || len(alarms) == 0 {
		return errors.Join(errors.New("etcd is not full"), err)
	}
	t.note("%d requests while etcd was full for %.0f s (bound %d)", while, time.Since(full).Seconds(), everyone)
	if while > everyone {
		t.fail("%d requests without room for their records", while)
	}
	before = l.requests()
	if err := t.free(ctx, l.namespace); err != nil {
		return err
	}
	freed := time.Now()
	took, err := l.next(ctx, before, freed, 2*goesOnMost)
	if err != nil {
		t.fail("freed: %v", err)
	} else {
		t.note("goes on %.1f s after it was freed (ended meanwhile: %s)", took.Seconds(), strings.Join(op.ends(), ", "))
	}
	if took > goesOnMost {
		t.fail("goes on %.1f s after it was freed, not %v", took.Seconds(), goesOnMost)
	}
	return t.judge(ctx, l, everyone)
}

// filler is an object that takes room.
func filler(namespace string, i int) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("filler-%d", i)},
		Data:       map[string]string{"filler": strings.Repeat("x", fillerSize)},
	}
}

// fill creates objects until there is no more room, and returns how many fitted
// in.
func (t *trial) fill(ctx context.Context, namespace string) (int, error) {
	for i := range fillers {
		err := t.admin.Create(ctx, filler(namespace, i))
		switch {
		case err == nil:
		case strings.Contains(err.Error(), "database space exceeded"):
			return i, nil
		default:
			return i, fmt.Errorf("filling etcd: %w", err)
		}
	}
	return 0, fmt.Errorf("%d objects of %d KiB do not fill etcd", fillers, fillerSize>>10)
}

// free does what docs/operations.md says: delete, compact, defragment, disarm.
func (t *trial) free(ctx context.Context, namespace string) error {
	if err := t.admin.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(namespace)); err != nil {
		return fmt.Errorf("deleting what fills etcd: %w", err)
	}
	e := t.cp.EtcdClient()
	for _, step := range []func(context.Context) error{e.Compact, e.Defragment, e.Disarm} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("freeing etcd: %w", err)
		}
	}
	return nil
}
