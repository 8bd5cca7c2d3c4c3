package credentials

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// lacking is what the webhook controller does for Webhooks that lack their Secret.
type lacking struct {
	reader *Reader
	api    *secretReader
	queue  *RecheckQueue

	mu    sync.Mutex
	reads map[types.NamespacedName][]time.Time
	total []time.Time
}

func newLacking() *lacking {
	limit := NewRecheckLimit()
	l := &lacking{api: &secretReader{}, queue: NewRecheckQueue(limit), reads: map[types.NamespacedName][]time.Time{}}
	l.reader = NewReader(l.api, clock.RealClock{})
	l.reader.Rechecks = limit
	l.api.during = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.total = append(l.total, time.Now())
	}
	return l
}

func (l *lacking) webhook(name types.NamespacedName) *v1alpha1.Webhook {
	w := webhook(name.Name)
	w.Namespace = name.Namespace
	return w
}

func (l *lacking) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.total)
}

// look is a look at a Webhook, whatever the reason.
func (l *lacking) look(name types.NamespacedName) {
	before := l.count()
	if _, err := l.reader.Get(context.Background(), l.webhook(name)); err != nil {
		l.queue.Add(name)
	}
	if l.count() > before {
		l.reads[name] = append(l.reads[name], time.Now())
	}
}

func (l *lacking) run(ctx context.Context) {
	l.queue.Run(ctx, func(types.NamespacedName) bool { return true }, func(name types.NamespacedName) {
		l.reader.Forget(l.webhook(name))
		l.look(name)
	})
}

// most is how many reads there were within one second.
func (l *lacking) most(since time.Time) int {
	most, from := 0, 0
	for to, at := range l.total {
		for l.total[from].Before(since) && from < to || at.Sub(l.total[from]) >= time.Second {
			from++
		}
		if !at.Before(since) {
			most = max(most, to-from+1)
		}
	}
	return most
}

// However many Webhooks lack their Secret, it is looked for 20 times a second, each
// in its turn. A namespace with one of them waits for none of another namespace's.
func TestRechecksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLacking()
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		many := make([]types.NamespacedName, 5000)
		for i := range many {
			many[i] = types.NamespacedName{Namespace: "loud", Name: fmt.Sprint("w", i)}
			l.look(many[i])
		}
		quiet := types.NamespacedName{Namespace: "quiet", Name: "w"}
		l.look(quiet)
		if len(l.total) != 5001 {
			t.Fatalf("%d first looks", len(l.total))
		}
		go l.run(ctx)
		time.Sleep(20*time.Minute - time.Millisecond)
		synctest.Wait()
		if most := l.most(began.Add(time.Second)); most > rechecksPerSecond+recheckBurst {
			t.Errorf("%d reads within a second", most)
		}
		later := 0
		for _, at := range l.total {
			if at.Sub(began) >= 10*time.Minute {
				later++
			}
		}
		if later < 11900 || later > 12000 {
			t.Errorf("%d reads in ten minutes, want 20 a second", later)
		}
		for _, name := range slices.Concat(many, []types.NamespacedName{quiet}) {
			most, last := 271*time.Second, began
			if name == quiet {
				most = recheckInterval + time.Second
			}
			for _, at := range append(l.reads[name], time.Now()) {
				if gap := at.Sub(last); gap > most {
					t.Errorf("%s was not looked at for %s", name, gap)
				}
				last = at
			}
		}

		// It comes.
		l.api.put("quiet", "w", value("s3cr3t"))
		time.Sleep(recheckInterval + time.Second)
		if _, err := l.reader.Get(ctx, l.webhook(quiet)); err != nil {
			t.Errorf("%v, though it is there", err)
		}
		// What is new and what was edited is looked at at once.
		fresh := types.NamespacedName{Namespace: "loud", Name: "new"}
		l.api.put("loud", "new", value("s3cr3t"))
		l.api.put("loud", "w7", value("s3cr3t"))
		l.reader.Forget(l.webhook(many[7]))
		for _, name := range []types.NamespacedName{fresh, many[7]} {
			if _, err := l.reader.Get(ctx, l.webhook(name)); err != nil {
				t.Errorf("%s: %v, though it is there", name, err)
			}
		}
		cancel()
		synctest.Wait()
	})
}

// Sends, and looks at Webhooks for whatever reason, read what was a mistake within the
// same bound. Beyond it they go by what was known.
func TestSendsWithoutASecretAreWithinTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLacking()
		names := make([]types.NamespacedName, 500)
		for i := range names {
			names[i] = types.NamespacedName{Namespace: "loud", Name: fmt.Sprint("w", i)}
		}
		send := func() {
			for _, name := range names {
				_, err := l.reader.Get(t.Context(), l.webhook(name))
				if mistake, ok := errors.AsType[*Error](err); !ok || mistake.Reason != v1alpha1.ReasonSecretNotFound {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		send()
		time.Sleep(mistakeTTL)
		l.total = nil
		for range 20 * 60 {
			send()
			time.Sleep(50 * time.Millisecond)
		}
		if n := len(l.total); n > 60*rechecksPerSecond+recheckBurst || n < 59*rechecksPerSecond {
			t.Errorf("%d reads in a minute", n)
		}
		// One of a few is looked at at once.
		time.Sleep(time.Minute)
		l.api.put("loud", "w1", value("s3cr3t"))
		if _, err := l.reader.Get(t.Context(), l.webhook(names[1])); err != nil {
			t.Errorf("%v, though it is there", err)
		}
		l.queue.queue.ShutDown()
	})
}

// Whoever waits for a read that is under way takes nothing of the bound.
func TestWaitingForAReadIsNoRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLacking()
		defer l.queue.queue.ShutDown()
		limit := &countedLimit{PassiveRateLimiter: l.reader.Rechecks}
		l.reader.Rechecks = limit
		w := webhook("receiver")
		_, _ = l.reader.Get(t.Context(), w)
		time.Sleep(mistakeTTL)
		answer := make(chan struct{})
		l.api.during = func() { <-answer }
		for range 100 {
			go func() { _, _ = l.reader.Get(t.Context(), w) }()
		}
		synctest.Wait()
		close(answer)
		synctest.Wait()
		if limit.asked != 1 {
			t.Errorf("asked %d times", limit.asked)
		}
	})
}

type countedLimit struct {
	flowcontrol.PassiveRateLimiter
	asked int
}

func (l *countedLimit) TryAccept() bool {
	l.asked++
	return l.PassiveRateLimiter.TryAccept()
}

// Webhooks that are gone or mended cost nothing, and those that wait are left when the
// operator stops.
func TestRecheckQueuePassesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewRecheckQueue(NewRecheckLimit())
		name := func(i int) types.NamespacedName { return types.NamespacedName{Namespace: "music", Name: fmt.Sprint(i)} }
		for i := range 2000 {
			q.Add(name(i))
			q.Add(name(i)) // keeps its place
		}
		ctx, cancel := context.WithCancel(t.Context())
		needed := name(1999)
		var all atomic.Bool
		var got []types.NamespacedName
		ended := make(chan struct{})
		go func() {
			q.Run(ctx, func(n types.NamespacedName) bool { return n == needed || all.Load() }, func(n types.NamespacedName) { got = append(got, n) })
			close(ended)
		}()
		time.Sleep(recheckInterval + time.Second)
		synctest.Wait()
		if len(got) != 1 || got[0] != needed {
			t.Errorf("got %v", got)
		}
		all.Store(true)
		for i := range 2000 {
			q.Add(name(i))
		}
		time.Sleep(recheckInterval + time.Second)
		cancel()
		<-ended
		if len(got) < 20 || len(got) > 30 {
			t.Errorf("%d in a second", len(got))
		}
	})
}

// Mistakes are remembered for as long as the bound may keep them from being looked at
// again, and not for ever.
func TestMistakesAreForgotten(t *testing.T) {
	r, api, clock := newReader()
	for n := range 100 {
		_, _ = r.Get(t.Context(), webhook(fmt.Sprint("receiver-", n)))
	}
	api.put("music", "another", value("token"))
	for _, step := range []struct {
		later time.Duration
		want  int
	}{{mistakeTTL + time.Second, 101}, {mistakeMemory - time.Minute, 101}, {2 * time.Minute, 1}} {
		clock.Step(step.later)
		if _, err := r.Get(t.Context(), webhook("another")); err != nil {
			t.Fatal(err)
		}
		if r.kept.Len() != step.want {
			t.Errorf("%d are kept, want %d", r.kept.Len(), step.want)
		}
	}
}
