// Package fairqueue is the queue between fan-out and sending: round robin over
// namespaces, then over their webhooks, then over the namespaces of the events,
// with a number of slots for each webhook. Whatever one webhook piles up waits in a
// line of its own.
package fairqueue

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

// Options are what the queue has to be told.
type Options struct {
	// Limit is how many requests of a webhook may be worked on at once. It is
	// asked again each time, outside any lock but the queue's own, and must not
	// call back. Less than 1 counts as 1.
	Limit func(webhook types.NamespacedName) int
	// Workers is how many there are. A namespace may have as many as it leaves
	// free, and a webhook a third of what its namespace may still take, whatever
	// its limit: however many receivers of a namespace hang, there are workers for
	// the others. What is stored without a slot has a share of its own. 0 stands for
	// more than are ever needed.
	Workers int
	// Describe tells the namespace of the event that a delivery carries, and whether
	// the delivery is not stored yet. It is asked when a request joins a line.
	Describe func(Request) (eventNamespace string, unstored bool)
	// Patience is how long unstored deliveries wait behind a webhook whose slots
	// are all taken by receivers that do not answer. After that they are handed
	// out without a slot, so that they can be stored instead of sent.
	Patience time.Duration
	// Waited, if set, is told how long a request stood in line, under the same
	// conditions as Limit.
	Waited func(time.Duration)
	Clock  clock.WithDelayedExecution
}

// maxSpilling bounds how many requests of one webhook are handed out without a
// slot at once.
const maxSpilling = 4

// askedWhenDone bounds how many lines are asked again when a worker is done, lest a
// namespace with thousands of webhooks makes each of them ask all.
const askedWhenDone = 8

// shares is how many parts there are of the workers that a namespace may still take.
// One webhook may have one part.
const shares = 3

// Queue implements workqueue.TypedInterface, so that the delaying and
// rate-limiting layers of client-go fit on top of it.
type Queue struct {
	opts Options

	mu       sync.Mutex
	wake     *sync.Cond
	shutdown bool

	lines   map[types.NamespacedName]*line
	tenants map[string]*tenant
	// turns are the namespaces that have something to hand out.
	turns fair.FIFO[*tenant]

	// queued and handed are the two sets of every work queue: what is in a line,
	// and what a worker has. A request added while a worker has it is looked at
	// again once it is done.
	queued map[Request]time.Time
	handed map[Request]*hold
	ready  int
	// crowded are the lines that hand nothing out only because few workers are free.
	crowded fair.FIFO[*line]
}

// tenant is a namespace.
type tenant struct {
	lines int
	// slots and spilling are those of all its lines.
	slots    int
	spilling int
	turns    fair.FIFO[*line]
	inTurn   bool
}

// line is what waits for one webhook.
type line struct {
	webhook types.NamespacedName
	tenant  *tenant
	inTurn  bool
	crowded bool
	// Within both, the namespaces of the events take turns: a Webhook of the system
	// namespace follows all tenants.
	unstored fair.Queue[string, Request]
	stored   fair.Queue[string, Request]
	// storedNext alternates between the two, so that neither new events nor a
	// backlog starves.
	storedNext bool

	// slots are taken by workers; sending of them are inside an HTTP exchange.
	slots    int
	sending  int
	spilling int
	// timer runs while all slots that are taken are inside exchanges; silent is
	// set when no exchange has ended in that time.
	timer  clock.Timer
	silent bool
}

// hold is what a worker has.
type hold struct {
	slot  bool
	again bool
}

var _ workqueue.TypedInterface[Request] = &Queue{}

// New returns an empty queue.
func New(opts Options) *Queue {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	q := &Queue{
		opts:    opts,
		lines:   map[types.NamespacedName]*line{},
		tenants: map[string]*tenant{},
		queued:  map[Request]time.Time{},
		handed:  map[Request]*hold{},
	}
	q.wake = sync.NewCond(&q.mu)
	return q
}

// Add puts a request into the line of its webhook, unless it is there already.
func (q *Queue) Add(r Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shutdown {
		return
	}
	if h, ok := q.handed[r]; ok {
		h.again = true
		return
	}
	q.push(r)
}

// Get waits for a request whose turn it is. It returns at once when the queue
// is shut down, whatever is left: the contexts of the workers are over by then.
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
	h, ok := q.handed[r]
	if !ok {
		return
	}
	delete(q.handed, r)
	l := q.line(r.Webhook)
	if h.slot {
		l.slots--
		l.tenant.slots--
	} else {
		l.spilling--
		l.tenant.spilling--
	}
	if h.again && !q.shutdown {
		q.push(r)
	}
	if l.sending > 0 && l.sending >= l.slots { // one on its way has ended without sending
		q.beginPatience(l)
	}
	q.takeTurn(l)
	q.forget(l)
	q.askCrowded()
}

// askCrowded lets a few of the lines that lacked a worker take their turns: one that
// is done makes room for two at most. Whoever still lacks one is asked again when the
// next worker is done, and there is one, or it would not lack any.
func (q *Queue) askCrowded() {
	asked := 0
	for n := q.crowded.Len(); n > 0 && asked < askedWhenDone; n-- {
		l := q.crowded.Pop()
		l.crowded = false
		q.takeTurn(l)
		if l.inTurn || l.crowded {
			asked++
		}
		q.forget(l)
	}
}

// HasSlot tells whether a request that a worker has may be sent. One without a
// slot was handed out to be stored.
func (q *Queue) HasSlot(r Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, ok := q.handed[r]
	return ok && h.slot
}

// Sending is called when a worker begins an HTTP exchange, and the function it
// returns when that exchange is over.
func (q *Queue) Sending(r Request) (sent func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.line(r.Webhook)
	l.sending++
	if l.sending >= l.slots {
		q.beginPatience(l)
	}
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		l.sending--
		l.silent = false
		if l.timer != nil {
			l.timer.Stop()
			l.timer = nil
		}
	}
}

// beginPatience is called when all slots of a line that are taken are inside exchanges.
func (q *Queue) beginPatience(l *line) {
	if l.timer == nil {
		l.timer = q.opts.Clock.AfterFunc(q.opts.Patience, func() { q.losePatience(l) })
	}
}

func (q *Queue) losePatience(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l.timer == nil {
		return // it was stopped too late
	}
	if l.sending < l.slots {
		l.timer = nil // it begins again when the worker that is on its way sends
		return
	}
	l.silent = true
	q.takeTurn(l)
}

// Reconsider is called when the limit of a webhook may have changed.
func (q *Queue) Reconsider(webhook types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l, ok := q.lines[webhook]; ok {
		q.takeTurn(l)
	}
}

// Len is the number of requests in line.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ready
}

// Stats are numbers of requests.
type Stats struct {
	// Ready stand in line, Busy are with a worker, and Sending inside an HTTP
	// exchange.
	Ready, Busy, Sending int
}

// Stats returns how many requests there are.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Ready: q.ready, Busy: len(q.handed)}
	for _, l := range q.lines {
		s.Sending += l.sending
	}
	return s
}

// ShutDown makes Get return.
func (q *Queue) ShutDown() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shutdown = true
	q.wake.Broadcast()
}

// ShutDownWithDrain is ShutDown: what is in line is safe in the API server, and
// nothing may be sent any more.
func (q *Queue) ShutDownWithDrain() { q.ShutDown() }

// ShuttingDown tells whether ShutDown was called.
func (q *Queue) ShuttingDown() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.shutdown
}

func (q *Queue) push(r Request) {
	if _, ok := q.queued[r]; ok {
		return
	}
	q.queued[r] = q.opts.Clock.Now()
	q.ready++
	l := q.line(r.Webhook)
	if eventNamespace, unstored := q.opts.Describe(r); unstored {
		l.unstored.Push(eventNamespace, r)
	} else {
		l.stored.Push(eventNamespace, r)
	}
	q.takeTurn(l)
}

// pop hands out the next request. Lines and namespaces whose situation has
// changed since they took their turn leave it here.
func (q *Queue) pop() (Request, bool) {
	for q.turns.Len() > 0 {
		t := q.turns.Pop()
		t.inTurn = false
		for t.turns.Len() > 0 {
			l := t.turns.Pop()
			l.inTurn = false
			r, slot, ok := q.next(l)
			if !ok {
				continue
			}
			if q.opts.Waited != nil {
				q.opts.Waited(q.opts.Clock.Since(q.queued[r]))
			}
			delete(q.queued, r)
			q.ready--
			q.handed[r] = &hold{slot: slot}
			q.takeTurn(l)
			q.takeTurnOf(t)
			return r, true
		}
	}
	return Request{}, false
}

// next takes a request out of a line.
func (q *Queue) next(l *line) (r Request, slot, ok bool) {
	switch {
	case q.hasSlot(l):
		l.slots++
		l.tenant.slots++
		fromStored := l.stored.Len() > 0 && (l.storedNext || l.unstored.Len() == 0)
		l.storedNext = !fromStored
		if fromStored {
			return l.stored.Pop(), true, true
		}
		return l.unstored.Pop(), true, true
	case q.spills(l):
		l.spilling++
		l.tenant.spilling++
		return l.unstored.Pop(), false, true
	default:
		return Request{}, false, false
	}
}

// hasSlot tells whether a line can hand something out to be sent. One that lacks a
// slot only because few workers are free is asked again when one is done.
func (q *Queue) hasSlot(l *line) bool {
	if l.stored.Len()+l.unstored.Len() == 0 || l.slots >= q.limit(l) {
		return false
	}
	room := q.free() - l.tenant.slots
	if room > 0 && l.slots < max(room/shares, 1) {
		return true
	}
	q.crowd(l)
	return false
}

// spills tells whether a line can hand something out to be stored.
func (q *Queue) spills(l *line) bool {
	if !l.silent || l.unstored.Len() == 0 || l.spilling >= maxSpilling {
		return false
	}
	if l.tenant.spilling < q.free() {
		return true
	}
	q.crowd(l)
	return false
}

// free is how many workers have nothing to do.
func (q *Queue) free() int {
	if q.opts.Workers == 0 {
		return math.MaxInt
	}
	return q.opts.Workers - len(q.handed)
}

func (q *Queue) crowd(l *line) {
	if !l.crowded {
		l.crowded = true
		q.crowded.Push(l)
	}
}

// takeTurn puts a line, and its namespace, at the end of the round if it has
// something to hand out.
func (q *Queue) takeTurn(l *line) {
	if l.inTurn || !(q.hasSlot(l) || q.spills(l)) {
		return
	}
	l.inTurn = true
	l.tenant.turns.Push(l)
	q.takeTurnOf(l.tenant)
}

func (q *Queue) takeTurnOf(t *tenant) {
	if t.turns.Len() == 0 {
		return
	}
	if !t.inTurn {
		t.inTurn = true
		q.turns.Push(t)
	}
	q.wake.Signal()
}

func (q *Queue) limit(l *line) int { return max(q.opts.Limit(l.webhook), 1) }

func (q *Queue) line(webhook types.NamespacedName) *line {
	l, ok := q.lines[webhook]
	if !ok {
		t, ok := q.tenants[webhook.Namespace]
		if !ok {
			t = &tenant{}
			q.tenants[webhook.Namespace] = t
		}
		l = &line{webhook: webhook, tenant: t}
		t.lines++
		q.lines[webhook] = l
	}
	return l
}

// forget drops a line that nothing waits in, so that webhooks that are gone do
// not stay in memory.
func (q *Queue) forget(l *line) {
	if l.slots+l.spilling+l.sending+l.stored.Len()+l.unstored.Len() > 0 || l.inTurn || l.crowded {
		return
	}
	delete(q.lines, l.webhook)
	if l.tenant.lines--; l.tenant.lines == 0 && !l.tenant.inTurn {
		delete(q.tenants, l.webhook.Namespace)
	}
}
