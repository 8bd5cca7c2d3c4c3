package queue

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

// item is a request in the queue.
type item struct {
	request  Request
	delivery Delivery
	number   uint64 // of all items, in the order in which they were added
	added    time.Time
	// blocked is for how long its Webhook had been blocked when it was added.
	blocked               time.Duration
	dueIndex, expiryIndex int
	// taken is set when it is in the queue no longer. First-in, first-out lists are
	// cleaned of such items when they come to the front.
	taken bool
}

// webhookQueue is what waits for one Webhook.
type webhookQueue struct {
	name types.NamespacedName

	// resends are what persons asked for. All others are in due, of each namespace of
	// events what has been due longest first.
	resends fair.FIFO[*item]
	due     fair.Ring[string, *heap]
	// pending are those of due that are not stored, the oldest first; toStore has the
	// same in the order in which they are to be, in turns of the events' namespaces.
	pending fair.FIFO[*item]
	toStore fair.Queue[string, *item]
	// expiring are those of due that are stored, in the order in which they are given up.
	expiring *heap

	// slots are taken by workers that may send; sending of them are inside an HTTP
	// exchange. storing workers have no slot.
	slots, sending, storing int
	// resending of the slots are for what persons asked for, and in unbegun no HTTP exchange
	// has begun yet.
	resending, unbegun int

	// blocked is set while the receiver keeps deliveries from being sent, since when,
	// and for how long it did before.
	blocked      bool
	blockedSince time.Time
	blockedFor   time.Duration

	// opens is the time before which the receiver takes nothing, and resendsOpen that for
	// what persons asked for.
	opens, resendsOpen time.Time
	// timer runs until look, when something may be handed out though nothing happens.
	timer clock.Timer
	look  time.Time
}

// path is that of its share of the workers.
func (w *webhookQueue) path(stores bool) []share {
	return []share{{types.NamespacedName{Namespace: w.name.Namespace}, stores}, {w.name, stores}}
}

// idle tells whether nothing waits that is to be sent or stored.
func (w *webhookQueue) idle() bool { return w.resends.Len() == 0 && w.due.Len() == 0 }

func (w *webhookQueue) add(i *item, now time.Time) {
	if i.delivery.Resend {
		w.resends.Push(i)
		return
	}
	deliveries, ok := w.due.Get(i.delivery.EventNamespace)
	if !ok {
		deliveries = byDue()
		w.due.Add(i.delivery.EventNamespace, deliveries)
	}
	deliveries.add(i)
	switch {
	case i.delivery.Pending:
		i.blocked = w.blockedUntil(now)
		w.pending.Push(i)
		w.toStore.Push(i.delivery.EventNamespace, i)
	case !i.delivery.Expires.IsZero():
		w.expiring.add(i)
	}
}

// remove takes an item out of all lists.
func (w *webhookQueue) remove(i *item) {
	i.taken = true
	for _, list := range []*fair.FIFO[*item]{&w.resends, &w.pending} {
		for list.Len() > 0 && list.First().taken {
			list.Pop()
		}
	}
	for w.toStore.Len() > 0 && w.toStore.First().taken {
		w.toStore.Pop()
	}
	if i.delivery.Resend {
		return
	}
	deliveries, _ := w.due.Get(i.delivery.EventNamespace)
	deliveries.remove(i)
	if deliveries.Len() == 0 {
		w.due.Remove(i.delivery.EventNamespace)
	} else {
		w.due.MoveBack(i.delivery.EventNamespace) // it has had its turn
	}
	if !i.delivery.Pending && !i.delivery.Expires.IsZero() {
		w.expiring.remove(i)
	}
}

// wants tells whether there is something to send, and a resend, that an admission leaves a
// slot for.
func (w *webhookQueue) wants(a Admission) (due, resend bool) {
	if w.unbegun >= a.places() { // the receiver does not know yet of what was handed out
		return false, false
	}
	due = w.due.Len() > 0 && w.slots < a.Limit
	resend = w.resends.Len() > 0 && w.slots < a.ResendLimit && !(a.OneResend && w.resending > 0)
	return due, resend
}

// oldest is what has been due longest of the namespace whose turn it is.
func (w *webhookQueue) oldest() *item {
	_, deliveries := w.due.First()
	return deliveries.items[0]
}

// withoutSlot is what is to be stored, or given up, instead of being sent: nil if
// nothing is.
func (w *webhookQueue) withoutSlot(now time.Time, storeAfter time.Duration) *item {
	if w.storing >= maxToStore {
		return nil
	}
	if left, ok := w.untilStored(now, storeAfter); ok && left <= 0 {
		return w.toStore.First()
	}
	if left, ok := w.untilExpiry(now); ok && left <= 0 {
		return w.expiring.items[0]
	}
	return nil
}

// setBlocked takes in whether the receiver keeps deliveries from being sent.
func (w *webhookQueue) setBlocked(is bool, now time.Time) {
	switch {
	case is && !w.blocked:
		w.blockedSince = now
	case !is && w.blocked:
		w.blockedFor = w.blockedUntil(now)
	}
	w.blocked = is
}

// blockedUntil is for how long the receiver has kept deliveries from being sent, in
// all.
func (w *webhookQueue) blockedUntil(now time.Time) time.Duration {
	if w.blocked {
		return w.blockedFor + now.Sub(w.blockedSince)
	}
	return w.blockedFor
}

// untilStored is how much longer the receiver may keep the first pending delivery from
// being sent; ok is false if it does not.
func (w *webhookQueue) untilStored(now time.Time, after time.Duration) (left time.Duration, ok bool) {
	if !w.blocked || w.pending.Len() == 0 {
		return 0, false
	}
	return after - (w.blockedUntil(now) - w.pending.First().blocked), true
}

// untilExpiry is how much longer the first stored delivery may wait; ok is false if
// none will be given up.
func (w *webhookQueue) untilExpiry(now time.Time) (left time.Duration, ok bool) {
	if w.expiring.Len() == 0 {
		return 0, false
	}
	return w.expiring.items[0].delivery.Expires.Sub(now), true
}

// nextLook is when something may be handed out though nothing happens; zero is never.
func (w *webhookQueue) nextLook(now time.Time, storeAfter time.Duration) (at time.Time) {
	in := func(left time.Duration, ok bool) {
		if t := now.Add(left); ok && left > 0 && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	in(w.opens.Sub(now), w.due.Len() > 0)
	in(w.resendsOpen.Sub(now), w.resends.Len() > 0)
	in(w.untilStored(now, storeAfter))
	in(w.untilExpiry(now))
	return at
}

// setTimer sees to it that a function is called at a time, or before.
func (w *webhookQueue) setTimer(c clock.WithDelayedExecution, at time.Time, look func()) {
	if at.IsZero() || w.timer != nil && !at.Before(w.look) {
		return
	}
	w.stopTimer()
	w.look = at
	w.timer = c.AfterFunc(at.Sub(c.Now()), look)
}

func (w *webhookQueue) stopTimer() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}
