package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/test/receiver"
)

// beliefTime is how long a leader that was paused beyond its lease goes on to
// believe in it, and a bit more.
const beliefTime = 12 * time.Second

// leaderPaused is F8: the leader of two is paused until the other one leads, and
// wakes up under load; then the Lease is deleted under load.
func leaderPaused(ctx context.Context, t *trial) error {
	replicas, err := t.deploy(ctx, "a", "b")
	if err != nil {
		return err
	}
	for _, r := range replicas {
		r.supervise(ctx)
	}
	for range pick(t.options, 2, 1) {
		if err := pauseLeader(ctx, t, replicas); err != nil {
			return err
		}
	}
	return deleteLease(ctx, t, replicas)
}

func pauseLeader(ctx context.Context, t *trial, replicas []*replica) error {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	old, err := leader(ctx, replicas...)
	if err != nil {
		return err
	}
	part := pick(t.options, 100, 50)
	if err := l.burst(ctx, part); err != nil {
		return err
	}
	sleeper := old.life()
	if err := sleeper.Pause(); err != nil {
		return err
	}
	paused, at := time.Now(), l.receiver.Total()
	t.runs++
	t.say("paused the leader, %s, after %d of %d deliveries, with %d requests under way", old.name, at.Accepted, l.total(), at.InFlight)
	if err := sleep(ctx, settlingRequests); err != nil {
		return err
	}
	took, err := l.next(ctx, l.requests(), paused, 2*takeoverMost)
	if err != nil {
		t.fail("the leader is paused: %v", err)
		return sleeper.Resume()
	}
	t.note("%.1f s after the leader was paused the other one delivered", took.Seconds())
	if took > takeoverMost {
		t.fail("the other took over after %.1f s, not %v", took.Seconds(), takeoverMost)
	}
	if err := l.reachAll(ctx); err != nil {
		t.fail("the leader is paused: %v", err)
	}

	// Awake again, amid as much as both would like to send.
	if err := l.burst(ctx, part); err != nil {
		return err
	}
	woken := time.Now()
	if err := sleeper.Resume(); err != nil {
		return err
	}
	t.say("woke %s after %.1f s", old.name, woken.Sub(paused).Seconds())
	l.begin(ctx, part, float64(part)/beliefTime.Seconds())
	if err := sleep(ctx, beliefTime); err != nil {
		return err
	}
	if state := sleeper.State(); state == "" {
		t.note("the woken one had not noticed after %v", beliefTime)
	}
	if err := t.judge(ctx, l, everyone); err != nil {
		return err
	}
	if n := begunAfter(l.receiver.AllArrivals(), woken); n > 0 {
		t.fail("%d duplicates began after the paused leader had woken up", n)
	}
	return nil
}

// begunAfter counts duplicates of requests that were made after a time. What
// stood between its last check and the wire when the process was paused goes out
// when it wakes up; it says itself that it is from before.
func begunAfter(requests []receiver.Arrival, woken time.Time) int {
	n := 0
	for _, a := range requests {
		if !a.Duplicate || a.Time.Before(woken) {
			continue
		}
		seconds, err := strconv.ParseInt(a.Header.Get("webhook-timestamp"), 10, 64)
		if err != nil || seconds >= woken.Unix() {
			n++
		}
	}
	return n
}

// deleteLease deletes the Lease, again and again until it is the other replica
// that makes a new one: who comes first is a matter of chance, and the old leader
// must notice in time. Its chance is worst right after a renewal, and the time to
// notice longest.
func deleteLease(ctx context.Context, t *trial, replicas []*replica) error {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	if _, err := leader(ctx, replicas...); err != nil {
		return err
	}
	before, err := t.renewal(ctx, holding{})
	if err != nil {
		return err
	}
	deletions := pick(t.options, 8, 5)
	after, deleted := before, 0
	for after.holder == before.holder && deleted < deletions {
		if after, err = t.renewal(ctx, after); err != nil {
			return err
		}
		if after.holder != before.holder {
			break
		}
		// Both would have something to send for longer than it takes to notice.
		l.begin(ctx, 120, fullSpeed)
		if err := sleep(ctx, t.between(100*time.Millisecond, 300*time.Millisecond)); err != nil {
			return err
		}
		if err := t.forgetLease(ctx); err != nil {
			return err
		}
		deleted++
		if after, err = t.renewal(ctx, after); err != nil {
			return err
		}
	}
	t.runs += deleted
	who := "the leader always made the new one"
	if after.holder != before.holder {
		who = "then the other one led"
	}
	t.say("deleted the Lease %d times; %s", deleted, who)
	duplicates := t.duplicates
	err = t.judge(ctx, l, everyone)
	t.note("Lease deleted %d times, %s: duplicates %d (bound %d)", deleted, who, t.duplicates-duplicates, everyone)
	return err
}

// holding says who holds the Lease, and since when at the latest.
type holding struct {
	holder  string
	renewed time.Time
}

// renewal waits until the Lease is held and was renewed since, and returns how it
// is held now.
func (t *trial) renewal(ctx context.Context, since holding) (holding, error) {
	var now holding
	err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) {
		found := lease()
		err := t.admin.Get(ctx, client.ObjectKeyFromObject(found), found)
		if err != nil || found.Spec.HolderIdentity == nil || found.Spec.RenewTime == nil {
			return false, client.IgnoreNotFound(err)
		}
		now = holding{*found.Spec.HolderIdentity, found.Spec.RenewTime.Time}
		return now.holder != "" && !now.renewed.Equal(since.renewed), nil
	})
	if err != nil {
		return holding{}, fmt.Errorf("waiting for the Lease: %w", err)
	}
	return now, nil
}
