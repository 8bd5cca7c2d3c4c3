// Package queue is the queue between fan-out and sending. Each Webhook has a queue of
// its own, and they take turns (round robin): namespaces, in each of them its
// Webhooks, and for each of those the namespaces of the events.
package queue

import (
	"math"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/internal/fair"
)

// Request asks for a look at one delivery of one Webhook. The two share their
// namespace.
type Request struct {
	Webhook  types.NamespacedName
	Delivery string
}

// Key names the WebhookDelivery.
func (r Request) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: r.Webhook.Namespace, Name: r.Delivery}
}

// Delivery is what the order depends on.
type Delivery struct {
	// EventNamespace is that of the event.
	EventNamespace string
	// Due is when the delivery may be sent. What has been due longest comes first.
	Due time.Time
	// Pending is true as long as the delivery is not stored.
	Pending bool
	// Expires is when a stored delivery is given up. Zero is never.
	Expires time.Time
	// Resend is true where a person asked for it to be sent.
	Resend bool
}

// Admission is what a receiver takes now.
type Admission struct {
	// Limit is how many requests may be under way; 0 stands for none before the queue
	// is told of a change.
	Limit int
	// Wait is for how long nothing is sent from now on.
	Wait time.Duration
	// ResendLimit is how many may be under way for a delivery that a person asked for,
	// which is sent whatever the others say, but for the rate limit. OneResend allows only
	// one of them at a time, since the receiver wants none.
	ResendLimit int
	OneResend   bool
	// RateLimited is set where the receiver has a rate limit. It leaves Places for requests
	// that have not begun, of what was handed out, too; if that is none, ResendWait is for
	// how long at least, or zero where the queue is told of a change.
	RateLimited bool
	Places      int
	ResendWait  time.Duration
}

// places is how many requests may begin.
func (a Admission) places() int {
	if a.RateLimited {
		return a.Places
	}
	return math.MaxInt
}

// Options are what the queue has to be told. Its functions are called under the
// queue's lock, and must not call back.
type Options struct {
	// Admit returns what the receiver of a Webhook takes. It is asked again each time.
	Admit func(webhook types.NamespacedName) Admission
	// Describe tells what the order depends on. It is asked when a request is added.
	Describe func(Request) Delivery
	// Workers is how many there are. Namespaces and their Webhooks share them by
	// dynamic thresholds: however many receivers of a namespace hang, there are workers
	// for the others. 0 stands for more than are ever needed.
	Workers int
	// StoreAfter is for how long its Webhook may keep a pending delivery from being
	// sent before it is handed out to be stored. Waiting for a worker does not count.
	StoreAfter time.Duration
	// Waited, if set, is told how long a pending delivery was in the queue.
	Waited func(time.Duration)
	Clock  clock.WithDelayedExecution
}

// maxToStore bounds how many deliveries of one Webhook are handed out without a slot
// at once.
const maxToStore = 4

// askedWhenDone bounds how many throttled Webhooks are asked again when a worker is
// done, lest a namespace with thousands of them makes each of them ask all.
const askedWhenDone = 8

// Queue implements workqueue.TypedInterface, so that the delaying and rate-limiting
// layers of client-go fit on top of it.
type Queue struct {
	opts Options

	mu       sync.Mutex
	wake     *sync.Cond
	shutdown bool

	webhooks map[types.NamespacedName]*webhookQueue
	// ready are the namespaces that have something to hand out, and their Webhooks.
	ready fair.Ring[string, *fair.Ring[string, *webhookQueue]]
	// throttled are the Webhooks that hand nothing out only because few workers are
	// free.
	throttled fair.Ring[types.NamespacedName, *webhookQueue]
	workers   fair.Shares[share]

	// queued and processing are the two sets of every work queue: what waits, and what a
	// worker has. A request added while a worker has it is queued again once it is done.
	queued     map[Request]*item
	processing map[Request]*processing
	added      uint64 // items so far
}

// share is a Webhook or, without a name, a namespace, for which workers send or store.
type share struct {
	webhook types.NamespacedName
	stores  bool
}

// processing is what a worker has.
type processing struct {
	slot  bool
	again bool
	// resend is set where a person asked for it, and begun once its HTTP exchange has begun.
	resend, begun bool
	// number is its place among those of the same time, which it keeps if it comes back: what
	// is stored while it waits does not go behind those that came later.
	number uint64
}

var _ workqueue.TypedInterface[Request] = &Queue{}

// New returns an empty queue.
func New(opts Options) *Queue {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.Workers == 0 {
		opts.Workers = math.MaxInt32
	}
	q := &Queue{
		opts:       opts,
		webhooks:   map[types.NamespacedName]*webhookQueue{},
		workers:    fair.Shares[share]{Capacity: opts.Workers},
		queued:     map[Request]*item{},
		processing: map[Request]*processing{},
	}
	q.wake = sync.NewCond(&q.mu)
	return q
}

// Add queues a request. One that is in the queue keeps its place, unless what that
// depends on has changed.
func (q *Queue) Add(r Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shutdown {
		return
	}
	if h, ok := q.processing[r]; ok {
		h.again = true
		return
	}
	q.push(r, 0)
}

// Get waits for a request whose turn it is. It returns at once when the queue is shut
// down, whatever is left: the contexts of the workers are over by then.
func (q *Queue) Get() (Request, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.shutdown {
			return Request{}, true
		}
		if r, ok := q.pop(); ok {
			return r, false
		}
		q.wake.Wait()
	}
}

// Done gives back what Get returned.
func (q *Queue) Done(r Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, ok := q.processing[r]
	if !ok {
		return
	}
	delete(q.processing, r)
	w := q.of(r.Webhook)
	if h.slot {
		w.slots--
		w.resending -= count(h.resend)
		w.unbegun -= count(!h.begun)
	} else {
		w.storing--
	}
	q.workers.Release(w.path(!h.slot)...)
	if h.again && !q.shutdown {
		q.push(r, h.number)
	}
	q.update(w)
	q.askThrottled()
}

// askThrottled lets a few of the Webhooks that lacked a worker have one: one that is
// done makes room for two at most. Whoever still lacks one is asked again when the next
// worker is done, and there is one, or it would not lack any.
func (q *Queue) askThrottled() {
	asked := 0
	for n := q.throttled.Len(); n > 0 && asked < askedWhenDone; n-- {
		name, w := q.throttled.First()
		q.throttled.Advance(false)
		q.update(w)
		if _, still := q.throttled.Get(name); still || q.isReady(w) {
			asked++
		}
	}
}

// HasSlot tells whether a request that a worker has may be sent. One without a slot was
// handed out to be stored as waiting, or to be given up.
func (q *Queue) HasSlot(r Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, ok := q.processing[r]
	return ok && h.slot
}

// Sending is called when a worker begins an HTTP exchange, and the function it returns
// when that exchange is over.
func (q *Queue) Sending(r Request) (sent func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.of(r.Webhook)
	w.sending++
	if h, ok := q.processing[r]; ok && h.slot && !h.begun {
		h.begun = true
		w.unbegun--
	}
	q.update(w)
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		w.sending--
		q.update(w)
	}
}

// Reconsider is called when what the receiver of a Webhook takes may have changed.
func (q *Queue) Reconsider(webhook types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w, ok := q.webhooks[webhook]; ok {
		q.update(w)
	}
}

// Len is the number of requests that wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queued)
}

// Stats are numbers of requests.
type Stats struct {
	// Queued wait, Busy are with a worker, and Sending inside an HTTP exchange.
	Queued, Busy, Sending int
}

// Stats returns how many requests there are.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Queued: len(q.queued), Busy: len(q.processing)}
	for _, w := range q.webhooks {
		s.Sending += w.sending
	}
	return s
}

// ShutDown makes Get return.
func (q *Queue) ShutDown() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shutdown = true
	for _, w := range q.webhooks {
		w.stopTimer()
	}
	q.wake.Broadcast()
}

// ShutDownWithDrain is ShutDown: what waits is safe in the API server, and nothing may
// be sent any more.
func (q *Queue) ShutDownWithDrain() { q.ShutDown() }

// ShuttingDown tells whether ShutDown was called.
func (q *Queue) ShuttingDown() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.shutdown
}

// push queues a request, with the number that it had, or a new one for 0.
func (q *Queue) push(r Request, number uint64) {
	d, w := q.opts.Describe(r), q.of(r.Webhook)
	if known, ok := q.queued[r]; ok {
		if known.delivery == d {
			return
		}
		w.remove(known)
	}
	if number == 0 {
		q.added++
		number = q.added
	}
	now := q.opts.Clock.Now()
	i := &item{request: r, delivery: d, number: number, added: now}
	q.queued[r] = i
	w.add(i, now)
	q.update(w)
}

// pop hands out the next request.
func (q *Queue) pop() (Request, bool) {
	for q.ready.Len() > 0 {
		_, webhooks := q.ready.First()
		_, w := webhooks.First()
		i, slot := q.next(w, q.opts.Clock.Now())
		if i == nil { // its situation has changed since it became ready
			q.update(w)
			continue
		}
		q.handOut(w, i, slot)
		webhooks.Advance(true)
		q.ready.Advance(true)
		q.update(w)
		if q.ready.Len() > 0 {
			q.wake.Signal()
		}
		return i.request, true
	}
	return Request{}, false
}

func (q *Queue) handOut(w *webhookQueue, i *item, slot bool) {
	if i.delivery.Pending && q.opts.Waited != nil {
		q.opts.Waited(q.opts.Clock.Since(i.added))
	}
	w.remove(i)
	delete(q.queued, i.request)
	q.processing[i.request] = &processing{slot: slot, resend: i.delivery.Resend, number: i.number}
	if slot {
		w.slots++
		w.unbegun++
		w.resending += count(i.delivery.Resend)
	} else {
		w.storing++
	}
	q.workers.Take(w.path(!slot)...)
}

// next returns what a Webhook can hand out now, nil if nothing, and whether it may be sent.
// Where that is nothing only for want of free workers, the Webhook is asked again when
// one is done.
func (q *Queue) next(w *webhookQueue, now time.Time) (i *item, slot bool) {
	if w.idle() {
		return nil, false
	}
	admission := q.opts.Admit(w.name)
	w.opens, w.resendsOpen = now.Add(admission.Wait), now.Add(admission.ResendWait)
	closed := admission.Limit < 1 || admission.Wait > 0 || admission.places() < 1
	wanted, resends := w.wants(admission)
	wanted = wanted && !closed
	// One that has slots leaves a first one for another Webhook of its namespace.
	room := q.workers.Room(w.path(false)...) > min(w.slots, 1)
	// The receiver keeps deliveries from being sent if it does not want any now, or has
	// not answered any that it has. One that waits for a worker, or for a record to be
	// stored, is not kept by its receiver.
	unanswered := w.slots > 0 && w.sending >= w.slots
	w.setBlocked(closed || unanswered && !(wanted && room), now)
	switch {
	case resends && room:
		return w.resends.First(), true
	case wanted && room:
		return w.oldest(), true
	}
	lacks := wanted || resends
	if i := w.withoutSlot(now, q.opts.StoreAfter); i != nil {
		if q.workers.Room(w.path(true)...) > 0 {
			return i, false
		}
		lacks = true
	}
	if lacks {
		q.throttled.Add(w.name, w)
	}
	return nil, false
}

// update puts a Webhook, and its namespace, at the end of the round if it has something
// to hand out, and forgets it if nothing is left. It is called whenever something about
// it has changed.
func (q *Queue) update(w *webhookQueue) {
	// One reading for both next and nextLook: what is a moment too early for the one would
	// be over for the other, and nobody would look again.
	now := q.opts.Clock.Now()
	webhooks, known := q.ready.Get(w.name.Namespace)
	if i, _ := q.next(w, now); i != nil {
		if !known {
			webhooks = &fair.Ring[string, *webhookQueue]{}
			q.ready.Add(w.name.Namespace, webhooks)
		}
		if !q.isReady(w) {
			webhooks.Add(w.name.Name, w)
			q.wake.Signal()
		}
		return
	}
	if known {
		if webhooks.Remove(w.name.Name); webhooks.Len() == 0 {
			q.ready.Remove(w.name.Namespace)
		}
	}
	if w.idle() && w.slots+w.storing+w.sending == 0 {
		w.stopTimer()
		q.throttled.Remove(w.name)
		delete(q.webhooks, w.name) // so that Webhooks that are gone do not stay in memory
		return
	}
	w.setTimer(q.opts.Clock, w.nextLook(now, q.opts.StoreAfter), func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if w.timer != nil && !q.shutdown { // it was not stopped too late
			w.timer = nil
			q.update(w)
		}
	})
}

// isReady tells whether a Webhook takes part in the round.
func (q *Queue) isReady(w *webhookQueue) bool {
	webhooks, ok := q.ready.Get(w.name.Namespace)
	if !ok {
		return false
	}
	_, ok = webhooks.Get(w.name.Name)
	return ok
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (q *Queue) of(webhook types.NamespacedName) *webhookQueue {
	w, ok := q.webhooks[webhook]
	if !ok {
		w = &webhookQueue{name: webhook, expiring: byExpiry()}
		q.webhooks[webhook] = w
	}
	return w
}
