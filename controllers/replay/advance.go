package replay

import (
	"cmp"
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/replay"
)

const (
	// maxWaiting is how many deliveries of a Webhook wait, or are on their way, when no
	// more events are taken.
	maxWaiting = 100
	// maxTaken bounds the events that are kept because one before them is not done.
	maxTaken = 1000
	// turnLength is how many events are looked at before other Webhooks have their turn.
	turnLength = 50
	// batchLength is how many events are looked for at a time, for which the cache goes
	// through all that there are.
	batchLength = 500
)

// advance settles what has become of the events on their way, and takes the next ones as
// long as the Webhook has room. It returns what the status says then, and after how long
// to look again even if nothing happens: zero is never.
func (r *Reconciler) advance(
	ctx context.Context, w *v1alpha1.Webhook, run *run,
) (_ *v1alpha1.ReplayStatus, again time.Duration, _ error) {
	refused, err := r.settle(ctx, w, run)
	if err != nil {
		return nil, 0, err
	}
	if w.Spec.State == v1alpha1.WebhookDisabled {
		// What passes by until it takes events again is looked at, too.
		run.began, run.next, run.more = time.Time{}, nil, run.more+len(run.next)
		return run.waits("the webhook is Disabled"), 0, nil
	}
	if run.began.IsZero() {
		run.began = r.Clock.Now()
	}
	rest := r.Settling - r.Clock.Since(run.began)
	for range turnLength {
		if len(run.next) == 0 && !r.lookAhead(w, run, rest > 0) {
			status, again := r.end(run, refused, rest)
			return status, again, nil
		}
		if !r.roomFor(w, run) {
			return run.waits(cmp.Or(refused, fmt.Sprintf(
				"%d deliveries of the webhook wait; the next event is taken when fewer do", maxWaiting))), run.recheck(), nil
		}
		if err := r.look(ctx, w, run, run.next[0]); err != nil {
			return nil, 0, err
		}
		run.next = run.next[1:]
	}
	return run.underWay(refused), time.Millisecond, nil // behind the others
}

// end is where no event is left to look at: the replay is complete once all that it has
// taken is stored, but for what may be seen late, not before a rest is over.
func (r *Reconciler) end(run *run, refused string, rest time.Duration) (_ *v1alpha1.ReplayStatus, again time.Duration) {
	s := run.underWay(refused)
	switch again := run.recheck(); {
	case rest > 0:
		return s, rest
	case again > 0:
		return s, again
	}
	s.State, s.CompletionTime = v1alpha1.ReplayCompleted, metav1.NewTime(r.Clock.Now().Truncate(time.Second))
	return s, 0
}

func (run *run) waits(why string) *v1alpha1.ReplayStatus {
	return run.describe(v1alpha1.ReplayWaiting, why)
}

// underWay is waits where something is refused.
func (run *run) underWay(refused string) *v1alpha1.ReplayStatus {
	if refused != "" {
		return run.waits(refused)
	}
	return run.describe(v1alpha1.ReplayRunning, "")
}

// recheck is when to look whether a delivery on its way is refused: nothing else tells.
func (run *run) recheck() time.Duration {
	if len(run.Open()) == 0 {
		return 0
	}
	return statusInterval
}

// settle takes in what became of the events on their way. Where the delivery of one was
// not made after all, because the Webhook or the event has changed meanwhile, it decides
// again. It returns why one cannot be stored.
func (r *Reconciler) settle(ctx context.Context, w *v1alpha1.Webhook, run *run) (refused string, _ error) {
	for _, event := range run.Open() {
		underWay := r.Rematches.Of(event.UID).Replays[w.UID] // read before the delivery
		entry, known := r.Ledger.Get(delivery.Key(event.UID, event.Created, w))
		switch {
		case known && entry.Pending == nil && !underWay:
			run.Settle(event.UID, replay.Send)
			continue
		case known && entry.Pending != nil && entry.Pending.Refused != "":
			refused = "a delivery cannot be stored: " + entry.Pending.Refused
		}
		if underWay || w.Spec.State == v1alpha1.WebhookDisabled {
			continue
		}
		switch verdict, err := r.decide(ctx, w, run, event); {
		case err != nil:
			return "", err
		case verdict == replay.Send:
			r.send(w, event)
		default:
			run.Settle(event.UID, verdict)
		}
	}
	return refused, nil
}

// lookAhead finds the next events, and returns false where there are none. While the
// replay is settling, those from just before its beginning are left for later: one may be
// seen after others that come behind it in the order, and would be passed over. They count
// among those that remain.
func (r *Reconciler) lookAhead(w *v1alpha1.Webhook, run *run, settling bool) bool {
	namespace := w.Namespace
	if namespace == r.SystemNamespace {
		namespace = metav1.NamespaceAll
	}
	end := run.began.Add(margin)
	until := end
	if settling {
		until = run.began.Add(-r.Settling)
	}
	if until.Equal(run.reached) && (settling || len(run.Open()) > 0) {
		// Each delivery that is stored leads here, and the cache goes through all that
		// there are: once more, at the end, will do.
		return false
	}
	run.next, run.more = r.Events.After(namespace, run.Looked(), until, batchLength)
	if settling {
		_, all := r.Events.After(namespace, run.Looked(), end, 0)
		run.more = all - len(run.next)
	}
	if len(run.next) == 0 {
		run.reached = until
	}
	return len(run.next) > 0
}

// roomFor tells whether one more event may be taken.
func (r *Reconciler) roomFor(w *v1alpha1.Webhook, run *run) bool {
	waiting := r.Ledger.CountsOf(client.ObjectKeyFromObject(w), w.UID).Waiting
	return run.Taken() < maxTaken && waiting+len(run.Open()) < maxWaiting
}

// look takes the next event, or passes it over.
func (r *Reconciler) look(ctx context.Context, w *v1alpha1.Webhook, run *run, event eventcache.Position) error {
	verdict := replay.Pass
	stored, known := r.Ledger.Get(delivery.Key(event.UID, event.Created, w))
	if known && stored.Pending == nil {
		made, err := r.made(ctx, w, run, event, stored)
		if err != nil {
			return err
		}
		if made {
			verdict = replay.Send // not again, but the event's status has to tell of it
		}
	} else {
		var err error
		if verdict, err = r.decide(ctx, w, run, event); err != nil {
			return err
		}
	}
	if verdict == replay.Send {
		r.send(w, event)
		run.Take(event)
		return nil
	}
	run.Pass(event, verdict == replay.Expired)
	return nil
}

// made tells whether this replay has stored a delivery before the process was replaced,
// which may not have lived to have the event's status tell of it.
func (r *Reconciler) made(
	ctx context.Context, w *v1alpha1.Webhook, run *run, event eventcache.Position, stored ledger.Entry,
) (bool, error) {
	began := run.status.StartTime.Time
	switch {
	case !run.resumed || stored.State.Since.Before(began):
		return false, nil
	case !event.Created.After(began):
		return true, nil
	}
	e, err := r.load(ctx, event) // fan-out makes deliveries of what has come since, too
	if e == nil || err != nil {
		return false, err
	}
	return replay.Unmatched(e, w), nil
}

// decide decides on an event that no delivery is known of.
func (r *Reconciler) decide(
	ctx context.Context, w *v1alpha1.Webhook, run *run, event eventcache.Position,
) (replay.Verdict, error) {
	e, err := r.load(ctx, event)
	if e == nil || err != nil {
		return replay.Pass, err
	}
	before := run.status.StartTime.Add(-margin)
	return replay.Decide(replay.View{
		Event: e, Webhook: w, MaxAge: r.MaxAge, Now: r.Clock.Now(), LastAttempt: run.lastAttempt,
		OldestFinished: func() time.Time { return r.Ledger.OldestFinished(client.ObjectKeyFromObject(w), w.UID, before) },
	}), nil
}

// load returns an event, or nil if it is gone.
func (r *Reconciler) load(ctx context.Context, event eventcache.Position) (*v1alpha1.WebhookEvent, error) {
	known, ok := r.Events.Get(event.UID)
	if !ok {
		return nil, nil
	}
	e, err := known.Load(ctx, r.APIReader)
	if err != nil {
		return nil, fmt.Errorf("reading event %s: %w", event.Key, err)
	}
	return e, nil
}

// send has an event fanned out to a Webhook. One that is gone meanwhile is looked at, too:
// whoever does forgets the pair.
func (r *Reconciler) send(w *v1alpha1.Webhook, event eventcache.Position) {
	r.Rematches.AddReplay(event.UID, w)
	r.Enqueuer.FanOut.Add(enqueue.Event{Namespace: event.Key.Namespace, UID: event.UID})
}
