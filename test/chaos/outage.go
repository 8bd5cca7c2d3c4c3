package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// goesOnMost is how long after an outage deliveries may take to go on.
const goesOnMost = 30 * time.Second

// apiServerAway is F4: the API server is paused, for so long that the lease is
// lost too, and killed and restarted.
func apiServerAway(ctx context.Context, t *trial) error {
	pauses := pick(t.options, []time.Duration{5 * time.Second, 30 * time.Second}, []time.Duration{5 * time.Second, 14 * time.Second})
	server := t.cp.APIServer
	var outages []outage
	for _, length := range pauses {
		outages = append(outages, outage{
			name: fmt.Sprintf("paused for %v", length), length: length,
			begin: server.Pause, end: func(context.Context) error { return server.Resume() },
		})
	}
	for range pick(t.options, 2, 1) {
		outages = append(outages, t.crash(server))
	}
	return outlive(ctx, t, "API server", outages)
}

// etcdAway is F5: etcd is killed and restarted. What the API server acknowledged
// is on the disk.
func etcdAway(ctx context.Context, t *trial) error {
	var outages []outage
	for range pick(t.options, 4, 2) {
		outages = append(outages, t.crash(t.cp.Etcd))
	}
	return outlive(ctx, t, "etcd", outages)
}

// outage is something that breaks for a while.
type outage struct {
	name   string
	length time.Duration
	begin  func() error
	end    func(context.Context) error
}

// crash kills a process and starts it again after a while.
func (t *trial) crash(p *controlplane.Process) outage {
	length := t.between(0, 3*time.Second)
	return outage{name: fmt.Sprintf("killed for %.1f s", length.Seconds()), length: length, begin: p.Kill, end: func(ctx context.Context) error {
		if err := p.Start(ctx); err != nil {
			return err
		}
		return t.cp.WaitReady(ctx)
	}}
}

// outlive lets one outage after the other happen under load, with an operator
// that is started again where it ends because its lease is lost.
func outlive(ctx context.Context, t *trial, what string, outages []outage) error {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	op, err := t.deployOne(ctx)
	if err != nil {
		return err
	}
	var times []string
	for _, o := range outages {
		if err := l.burst(ctx, pick(t.options, 100, 60)); err != nil {
			return err
		}
		ended, repeated := len(op.ends()), l.receiver.Total().Duplicates
		t.say("%s to be %s after %d of %d deliveries", what, o.name, l.receiver.Total().Accepted, l.total())
		if err := o.begin(); err != nil {
			return err
		}
		if err := sleep(ctx, o.length); err != nil {
			return err
		}
		before := l.requests()
		if err := o.end(ctx); err != nil {
			return err
		}
		t.runs++
		took, err := l.next(ctx, before, time.Now(), 2*goesOnMost)
		if err != nil {
			t.fail("%s: %v", o.name, err)
			return t.judge(ctx, l, t.runs*everyone)
		}
		if took > goesOnMost {
			t.fail("%s: goes on after %.1f s, not %v", o.name, took.Seconds(), goesOnMost)
		}
		if err := l.reachAll(ctx); err != nil {
			t.fail("%s: %v", o.name, err)
		}
		text := fmt.Sprintf("%s: %.1f s, duplicates %d", o.name, took.Seconds(), l.receiver.Total().Duplicates-repeated)
		// One that ends does so some time after the outage, too.
		if now := op.ends(); len(now) > ended {
			text += fmt.Sprintf(" (the lease was lost, %s, and the process restarted)", strings.Join(now[ended:], ", "))
		}
		t.say("went on: %s", text)
		times = append(times, text)
	}
	t.note("goes on after: %s", strings.Join(times, ", "))
	return t.judge(ctx, l, t.runs*everyone)
}
