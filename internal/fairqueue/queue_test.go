package fairqueue

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

// fixture is a queue on a virtual clock. Deliveries whose name begins with "d"
// are drafts; what follows an @ is the namespace of their event.
type fixture struct {
	*Queue
	clock  *clocktesting.FakeClock
	limits map[types.NamespacedName]int
}

func newFixture() *fixture {
	f := &fixture{clock: clocktesting.NewFakeClock(time.Now()), limits: map[types.NamespacedName]int{}}
	f.Queue = New(Options{
		Limit: func(w types.NamespacedName) int {
			if limit, ok := f.limits[w]; ok {
				return limit
			}
			return 2
		},
		Describe: func(r Request) (string, bool) {
			_, namespace, _ := strings.Cut(r.Delivery, "@")
			return namespace, r.Delivery[0] == 'd'
		},
		Patience: 2 * time.Second,
		Clock:    f.clock,
	})
	return f
}

func request(namespace, webhook, delivery string) Request {
	return Request{Webhook: types.NamespacedName{Namespace: namespace, Name: webhook}, Delivery: delivery}
}

// take hands out what there is, up to n, without blocking.
func (f *fixture) take(n int) []Request {
	var taken []Request
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		r, ok := f.pop()
		if !ok {
			break
		}
		taken = append(taken, r)
	}
	return taken
}

func names(requests []Request) []string {
	all := make([]string, 0, len(requests))
	for _, r := range requests {
		all = append(all, r.Webhook.Namespace+"/"+r.Webhook.Name+"/"+r.Delivery)
	}
	return all
}

func TestRoundRobinOverNamespacesThenWebhooks(t *testing.T) {
	f := newFixture()
	for i := range 3 {
		f.Add(request("loud", "a", fmt.Sprintf("s%d", i)))
		f.Add(request("loud", "b", fmt.Sprintf("s%d", i)))
	}
	f.Add(request("quiet", "c", "s0"))
	f.Add(request("quiet", "c", "s1"))
	want := []string{"loud/a/s0", "quiet/c/s0", "loud/b/s0", "quiet/c/s1", "loud/a/s1", "loud/b/s1"}
	if diff := cmp.Diff(want, names(f.take(10))); diff != "" {
		t.Errorf("handed out (-want +got):\n%s", diff)
	}
	if got := f.Len(); got != 2 {
		t.Errorf("Len() = %d, want the 2 that have no slot", got)
	}
}

func TestLimitIsAskedAgain(t *testing.T) {
	f := newFixture()
	webhook := types.NamespacedName{Namespace: "n", Name: "w"}
	f.limits[webhook] = 1
	for i := range 4 {
		f.Add(request("n", "w", fmt.Sprintf("s%d", i)))
	}
	if got := f.take(9); len(got) != 1 {
		t.Fatalf("handed out %v, want 1 at a limit of 1", names(got))
	}
	f.limits[webhook] = 3
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v before the queue was told", names(got))
	}
	f.Reconsider(webhook)
	if got := f.take(9); len(got) != 2 {
		t.Fatalf("handed out %v, want 2 more at a limit of 3", names(got))
	}
	f.limits[webhook] = 1
	f.Done(request("n", "w", "s0"))
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v with 2 slots taken at a limit of 1", names(got))
	}
	f.Done(request("n", "w", "s1"))
	f.Done(request("n", "w", "s2"))
	if got := names(f.take(9)); !slices.Equal(got, []string{"n/w/s3"}) {
		t.Fatalf("handed out %v, want s3", got)
	}
}

func TestOneWorkerPerRequest(t *testing.T) {
	f := newFixture()
	r := request("n", "w", "s")
	f.Add(r)
	f.Add(r)
	if got := f.take(9); len(got) != 1 {
		t.Fatalf("handed out %v, want one", names(got))
	}
	f.Add(r)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v while a worker has it", names(got))
	}
	f.Done(r)
	if got := f.take(9); len(got) != 1 {
		t.Fatalf("handed out %v, want it again: it was added meanwhile", names(got))
	}
	f.Done(r)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v, want nothing", names(got))
	}
}

func TestBacklogAndNewEventsAlternate(t *testing.T) {
	f := newFixture()
	f.limits[types.NamespacedName{Namespace: "n", Name: "w"}] = 4
	for i := range 3 {
		f.Add(request("n", "w", fmt.Sprintf("s%d", i)))
		f.Add(request("n", "w", fmt.Sprintf("d%d", i)))
	}
	want := []string{"n/w/d0", "n/w/s0", "n/w/d1", "n/w/s1"}
	if diff := cmp.Diff(want, names(f.take(4))); diff != "" {
		t.Errorf("handed out (-want +got):\n%s", diff)
	}
}

// Within a webhook of the system namespace, the tenants whose events it follows take
// turns, be they new or stored.
func TestNamespacesOfEventsTakeTurnsWithinAWebhook(t *testing.T) {
	for name, tc := range map[string]struct{ storm, quiet []string }{
		"new events":               {storm: []string{"d%d@storm"}, quiet: []string{"d@quiet"}},
		"a backlog":                {storm: []string{"s%d@storm"}, quiet: []string{"s@quiet"}},
		"new behind a backlog":     {storm: []string{"s%d@storm"}, quiet: []string{"d@quiet"}},
		"a backlog behind new":     {storm: []string{"d%d@storm"}, quiet: []string{"s@quiet"}},
		"both":                     {storm: []string{"s%d@storm", "d%d@storm"}, quiet: []string{"d@quiet", "s@quiet"}},
		"several tenants":          {storm: []string{"d%d@storm"}, quiet: []string{"d@b", "d@c", "d@d"}},
		"the storm is a neighbour": {storm: []string{"d%d@system"}, quiet: []string{"d@quiet"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.limits[types.NamespacedName{Namespace: "system", Name: "w"}] = 1
			for i := range 5000 {
				for _, format := range tc.storm {
					f.Add(request("system", "w", fmt.Sprintf(format, i)))
				}
			}
			done := func(n int) (left []string) {
				for range n {
					r := f.take(1)[0]
					left = append(left, r.Delivery)
					f.Done(r)
				}
				return left
			}
			done(10)
			for _, delivery := range tc.quiet {
				f.Add(request("system", "w", delivery))
			}
			next := done(6)
			for _, delivery := range tc.quiet {
				if !slices.Contains(next, delivery) {
					t.Errorf("%s is not among the next: %v", delivery, next)
				}
			}
		})
	}
}

// What is handed out to be stored, since the receiver is silent, comes in turns, too.
func TestNamespacesOfEventsTakeTurnsToBeStored(t *testing.T) {
	f := newFixture()
	for i := range 100 {
		f.Add(request("system", "w", fmt.Sprintf("d%d@storm", i)))
	}
	for _, r := range f.take(2) {
		f.Sending(r)
	}
	f.Add(request("system", "w", "d@quiet"))
	f.clock.Step(2100 * time.Millisecond)
	if got := names(f.take(2)); !slices.Contains(got, "system/w/d@quiet") {
		t.Errorf("handed out to be stored: %v", got)
	}
}

func TestDraftsBehindASilentReceiverAreHandedOutToBeStored(t *testing.T) {
	f := newFixture()
	for i := range 4 {
		f.Add(request("n", "w", fmt.Sprintf("d%d", i)))
	}
	sending := f.take(9)
	if len(sending) != 2 {
		t.Fatalf("handed out %v, want 2", names(sending))
	}
	f.Add(request("n", "w", "s"))
	var sent []func()
	for _, r := range sending {
		sent = append(sent, f.Sending(r))
	}
	f.clock.Step(1900 * time.Millisecond)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v before the patience was over", names(got))
	}
	f.clock.Step(200 * time.Millisecond)
	spilled := f.take(9)
	if len(spilled) == 0 {
		t.Fatal("nothing was handed out to be stored")
	}
	for _, r := range spilled {
		if f.HasSlot(r) || r.Delivery[0] != 'd' {
			t.Errorf("%s: slot %v; want only drafts, without a slot", r.Delivery, f.HasSlot(r))
		}
		f.Done(r)
	}
	sent[0]()
	f.Done(sending[0])
	rest := f.take(9)
	if len(rest) != 1 || !f.HasSlot(rest[0]) {
		t.Fatalf("handed out %v, want one with the slot that is free", names(rest))
	}
}

func TestAnswersKeepDraftsInLine(t *testing.T) {
	f := newFixture()
	for i := range 20 {
		f.Add(request("n", "w", fmt.Sprintf("d%02d", i)))
	}
	busy := f.take(2)
	for range 10 {
		f.clock.Step(1500 * time.Millisecond)
		sent := f.Sending(busy[0])
		sent2 := f.Sending(busy[1])
		f.clock.Step(time.Second)
		sent()
		sent2()
		f.Done(busy[0])
		f.Done(busy[1])
		busy = f.take(9)
		if len(busy) != 2 || !f.HasSlot(busy[0]) || !f.HasSlot(busy[1]) {
			t.Fatalf("handed out %v, want the next two with slots", names(busy))
		}
		if f.Len() == 0 {
			return
		}
	}
}

func TestPatienceWaitsForWorkersOnTheirWay(t *testing.T) {
	f := newFixture()
	for i := range 9 {
		f.Add(request("n", "w", fmt.Sprintf("d%d", i)))
	}
	busy := f.take(1)
	f.Sending(busy[0])
	busy = append(busy, f.take(9)...)
	f.clock.Step(2100 * time.Millisecond)
	if got := f.take(9); len(got) != 0 {
		t.Fatalf("handed out %v while a worker has yet to send", names(got))
	}
	f.Sending(busy[1])
	f.clock.Step(2100 * time.Millisecond)
	if got := f.take(1); len(got) != 1 || f.HasSlot(got[0]) {
		t.Fatalf("handed out %v, want one to be stored", names(got))
	}
}

// However many receivers hang, what is free is shared with those that come later.
func TestHangingWebhooksLeaveWorkers(t *testing.T) {
	const workers, webhooks = 64, 20
	f := newFixture()
	f.opts.Workers = workers
	for w := range webhooks {
		f.limits[types.NamespacedName{Namespace: "n", Name: fmt.Sprintf("w%d", w)}] = 10
		for i := range 20 {
			f.Add(request("n", fmt.Sprintf("w%d", w), fmt.Sprintf("s%d", i)))
		}
	}
	taken := f.take(workers)
	if len(taken) >= workers {
		t.Fatalf("%d webhooks that hang took all of %d workers", webhooks, workers)
	}
	f.Add(request("n", "other", "s"))
	if got := names(f.take(1)); !slices.Equal(got, []string{"n/other/s"}) {
		t.Fatalf("handed out %v, want the webhook that has none", got)
	}
	f.Done(request("n", "other", "s"))
	// Those who lacked a slot only for want of workers get it once there are some.
	for _, r := range taken {
		if r.Webhook.Name != "w0" {
			f.Done(r)
		}
	}
	before := f.lines[types.NamespacedName{Namespace: "n", Name: "w0"}].slots
	f.take(workers)
	if after := f.lines[types.NamespacedName{Namespace: "n", Name: "w0"}].slots; after <= before {
		t.Errorf("w0 has %d slots, as before, although workers are free", after)
	}
}

// However many Webhooks of one namespace hang, others' find workers.
func TestHangingNamespaceLeavesWorkers(t *testing.T) {
	const workers, webhooks = 64, 200
	f := newFixture()
	f.opts.Workers = workers
	for w := range webhooks {
		f.Add(request("hangs", fmt.Sprintf("w%d", w), "s"))
	}
	if got := len(f.take(workers)); got != workers/2 {
		t.Fatalf("a namespace with %d webhooks that hang took %d of %d workers, want half", webhooks, got, workers)
	}
	for i := range 8 {
		f.Add(request("other", fmt.Sprintf("w%d", i), "s"))
	}
	if got := len(f.take(workers)); got != 8 {
		t.Errorf("another namespace got %d workers, want 8", got)
	}
}

// What is stored because receivers hang leaves workers, too.
func TestSpillingNamespaceLeavesWorkers(t *testing.T) {
	const workers, webhooks = 64, 200
	f := newFixture()
	f.opts.Workers = workers
	for w := range webhooks {
		for i := range 9 {
			f.Add(request("hangs", fmt.Sprintf("w%d", w), fmt.Sprintf("d%d", i)))
		}
	}
	for _, r := range f.take(workers) {
		f.Sending(r)
	}
	f.clock.Step(2100 * time.Millisecond)
	if got := len(f.take(workers)); got == 0 || got > workers/4 {
		t.Fatalf("%d are to be stored, want some, and a quarter of %d workers at most", got, workers)
	}
	f.Add(request("other", "w", "s"))
	f.Add(request("another", "w", "s"))
	if got := len(f.take(workers)); got != 2 {
		t.Errorf("other namespaces got %d workers, want 2", got)
	}
}

// A namespace with very many Webhooks must not make each worker that is done ask all
// of them.
func TestManyWebhooksAreAskedNowAndThen(t *testing.T) {
	const workers, webhooks = 64, 5000
	f := newFixture()
	f.opts.Workers = workers
	asked := 0
	limit := f.opts.Limit
	f.opts.Limit = func(w types.NamespacedName) int { asked++; return limit(w) }
	for w := range webhooks {
		f.Add(request("n", fmt.Sprintf("w%d", w), "s"))
	}
	done := 0
	for busy := f.take(workers); len(busy) > 0; busy = f.take(workers) {
		for _, r := range busy {
			f.Done(r)
			done++
		}
	}
	if done != webhooks {
		t.Errorf("%d of %d webhooks had their turn", done, webhooks)
	}
	if most := 40 * webhooks; asked > most {
		t.Errorf("limits were asked for %d times, want at most %d", asked, most)
	}
}

func TestCrowdedWebhookSpillsToo(t *testing.T) {
	f := newFixture()
	f.opts.Workers = 8
	f.limits[types.NamespacedName{Namespace: "n", Name: "w"}] = 8
	for i := range 8 {
		f.Add(request("n", "w", fmt.Sprintf("d%d", i)))
	}
	sending := f.take(9)
	if len(sending) == 0 || len(sending) == 8 {
		t.Fatalf("handed out %v, want some of 8", names(sending))
	}
	for _, r := range sending {
		f.Sending(r)
	}
	f.clock.Step(2100 * time.Millisecond)
	spilled := f.take(1)
	if len(spilled) != 1 || f.HasSlot(spilled[0]) {
		t.Errorf("handed out %v, want one without a slot", names(spilled))
	}
}

func TestShutDownReturnsAtOnce(t *testing.T) {
	f := newFixture()
	f.Add(request("n", "w", "s"))
	f.ShutDownWithDrain()
	if _, shutdown := f.Get(); !shutdown {
		t.Error("Get() handed out a request after the shutdown")
	}
	f.Add(request("n", "w", "other"))
	if got := f.Len(); got != 1 {
		t.Errorf("Len() = %d: something was added after the shutdown", got)
	}
}

func TestNothingStaysOfIdleWebhooks(t *testing.T) {
	f := newFixture()
	for i := range 100 {
		r := request(fmt.Sprintf("n%d", i%7), fmt.Sprintf("w%d", i), "s")
		f.Add(r)
		f.take(1)
		f.Done(r)
	}
	f.take(1)
	if len(f.lines) != 0 || len(f.tenants) != 0 || len(f.queued) != 0 || len(f.handed) != 0 {
		t.Errorf("left: %d lines, %d tenants, %d queued, %d handed", len(f.lines), len(f.tenants), len(f.queued), len(f.handed))
	}
}

// TestHangingWebhookHurtsNobody is the purpose of the queue: with fewer workers
// than one webhook has requests, everybody else's are done.
func TestHangingWebhookHurtsNobody(t *testing.T) {
	f := newFixture()
	for i := range 10000 {
		f.Add(request("n", "hangs", fmt.Sprintf("s%d", i)))
	}
	const others = 100
	for i := range others {
		f.Add(request("n", fmt.Sprintf("w%d", i%10), fmt.Sprintf("s%d", i)))
	}
	release := make(chan struct{})
	var done, workers sync.WaitGroup
	done.Add(others)
	for range 16 {
		workers.Go(func() {
			for {
				r, shutdown := f.Get()
				if shutdown {
					return
				}
				if r.Webhook.Name == "hangs" {
					<-release
				} else {
					done.Done()
				}
				f.Done(r)
			}
		})
	}
	done.Wait() // ends only if the others are not held up
	f.ShutDown()
	close(release)
	workers.Wait()
}

func BenchmarkQueue(b *testing.B) {
	q := New(Options{
		Limit: func(types.NamespacedName) int { return 10 }, Describe: func(Request) (string, bool) { return "", true }, Patience: time.Second,
	})
	requests := make([]Request, 1000)
	for i := range requests {
		requests[i] = request(fmt.Sprintf("n%d", i%10), fmt.Sprintf("w%d", i%100), fmt.Sprintf("d%d", i))
	}
	for i := 0; b.Loop(); i++ {
		q.Add(requests[i%len(requests)])
		r, _ := q.Get()
		q.Done(r)
	}
}
