package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/flowcontrol"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

// ledger is Horizon's list of logs: sorted by the time of the event, in whole seconds, and
// those of one second in an order that depends on the page.
type ledger struct {
	logs  []entry
	asked int
	gone  bool // the webhook was deleted
	err   error
}

type entry struct {
	horizon.Log
	happened time.Time
	bad      bool
}

func (l *ledger) Webhooks(context.Context, horizon.Kind, int64) ([]horizon.Webhook, error) {
	return []horizon.Webhook{{ID: 1, Secret: "other"}, {ID: 7, Secret: "s3cret"}}, l.err
}

func (l *ledger) Logs(_ context.Context, webhook int64, pageNumber, pageSize int) ([]horizon.Log, int, error) {
	if l.asked++; l.err != nil {
		return nil, 0, l.err
	}
	if l.gone {
		return nil, 0, &horizon.StatusError{Code: http.StatusNotFound}
	}
	all := slices.Clone(l.logs)
	all = slices.DeleteFunc(all, func(e entry) bool { return e.WebhookID != webhook })
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(b.happened.Compare(a.happened), cmp.Compare(a.ID*int64(pageNumber)%101, b.ID*int64(pageNumber)%101), cmp.Compare(a.ID, b.ID))
	})
	from := min((pageNumber-1)*pageSize, len(all))
	var logs []horizon.Log
	for _, e := range all[from:min(from+pageSize, len(all))] {
		if e.bad {
			return nil, 0, &horizon.StatusError{Code: http.StatusNotFound}
		}
		e.RequestData = ""
		logs = append(logs, e.Log)
	}
	return logs, len(all), nil
}

func (l *ledger) Log(_ context.Context, id int64) (horizon.Log, error) {
	if l.asked++; l.err != nil {
		return horizon.Log{}, l.err
	}
	for _, e := range l.logs {
		if e.ID == id {
			e.EventType = ""
			return e.Log, nil
		}
	}
	return horizon.Log{}, &horizon.StatusError{Code: http.StatusNotFound}
}

// add adds the log of an event that happened some time ago, and was sent just after, or late.
func (l *ledger) add(event int64, status string, happened, created time.Time) *entry {
	id := int64(len(l.logs) + 1)
	l.logs = append(l.logs, entry{
		Log: horizon.Log{
			ID: id, WebhookID: 7, EventID: event, Status: status, EventType: "clusters_deployed",
			Created: created.Truncate(time.Second), Updated: created,
			RequestData: fmt.Sprintf(`{"eventID":%d,"webhookID":7,"cluster":{"id":1,"name":"web-prod"},"eventType":"clusters_deployed","extra":""}`, event),
		},
		happened: happened.Truncate(time.Second),
	})
	return &l.logs[id-1]
}

// scene is a catch-up whose events are a set of numbers.
type scene struct {
	*testing.T
	ledger *ledger
	clock  *clocktesting.FakeClock
	stored map[int64]time.Time // by the time of the log
	placed []int64             // all tries
	answer map[int64]result    // what is not created
}

func newScene(t *testing.T) *scene {
	return &scene{
		T: t, ledger: &ledger{}, clock: clocktesting.NewFakeClock(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)),
		stored: map[int64]time.Time{}, answer: map[int64]result{},
	}
}

// ago is a time before now.
func (s *scene) ago(d time.Duration) time.Time { return s.clock.Now().Add(-d) }

// process returns the catch-up of a process that knows what is in a memory.
func (s *scene) process(m *memory) *catchUp {
	c := &catchUp{
		horizon: s.ledger, memory: m, limit: flowcontrol.NewFakeAlwaysRateLimiter(), clock: s.clock,
		log: logr.Discard(), quiet: newQuiet(logr.Discard(), s.clock), window: 72 * time.Hour, waiting: waitingFor,
		open: map[int64]*openLog{},
		secrets: func() Secrets {
			secrets, _ := ParseSecrets([]byte("s3cret"))
			return secrets
		},
		claim:   func(context.Context, time.Duration) (bool, error) { return true, nil },
		holds:   func() bool { return true },
		release: func(context.Context) error { return nil },
		exists: func(_ context.Context, id int64, eventType string) (bool, error) {
			_, ok := s.stored[id]
			return ok && eventType != "", nil
		},
		place: func(_ context.Context, p payload.Payload, logged time.Time) outcome {
			s.placed = append(s.placed, p.Event.EventID)
			o := outcome{result: s.answer[p.Event.EventID]}
			o.key.Namespace = "tenant"
			if o.result == "" {
				o.result = created
				if _, ok := s.stored[p.Event.EventID]; ok {
					o.result = existing
				}
				s.stored[p.Event.EventID] = logged
			}
			return o
		},
	}
	var err error
	if c.metrics, err = newMetrics(prometheus.NewRegistry(), func() float64 { return c.behind().Seconds() }); err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *scene) scan(c *catchUp) {
	s.Helper()
	if err := c.scan(s.Context()); err != nil {
		s.Fatal(err)
	}
}

// expect compares what is stored with numbers of events.
func (s *scene) expect(what string, want ...int64) {
	s.Helper()
	var got []int64
	for id := range s.stored {
		got = append(got, id)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := gocmp.Diff(want, got); diff != "" {
		s.Errorf("%s: stored events (-want +got):\n%s", what, diff)
	}
}

func TestCatchUpCreatesWhatHorizonCallsFailed(t *testing.T) {
	s := newScene(t)
	s.ledger.add(1, horizon.StatusFailed, s.ago(80*time.Hour), s.ago(80*time.Hour)) // before the window
	s.ledger.add(2, horizon.StatusFailed, s.ago(70*time.Hour), s.ago(70*time.Hour))
	s.ledger.add(3, horizon.StatusSuccess, s.ago(time.Hour), s.ago(time.Hour))
	s.ledger.add(4, horizon.StatusFailed, s.ago(time.Minute), s.ago(time.Minute))
	s.ledger.add(5, horizon.StatusWaiting, s.ago(2*time.Minute), s.ago(2*time.Minute))
	s.ledger.add(6, horizon.StatusWaiting, s.ago(10*time.Second), s.ago(10*time.Second))
	c := s.process(newMemory())
	s.scan(c)
	s.expect("first scan", 2, 4, 5)
	if !s.stored[2].Equal(s.ago(70 * time.Hour)) {
		t.Errorf("event 2 is of %v", s.stored[2])
	}
	s.clock.Step(waitingFor)
	s.scan(c)
	s.expect("what waited has waited for a minute", 2, 4, 5, 6)

	// What somebody deletes is not created again, whatever Horizon calls it.
	clear(s.stored)
	s.scan(c)
	s.scan(s.process(c.memory))
	s.expect("after all was deleted")
}

// A repeated event comes with a new log, and the time of its first one.
func TestCatchUpFindsRepeatedEventsDeepInTheList(t *testing.T) {
	s := newScene(t)
	for i := range int64(1000) {
		happened := s.ago(time.Duration(1000-i) * 3 * time.Minute)
		s.ledger.add(i+1, horizon.StatusSuccess, happened, happened)
	}
	c := s.process(newMemory())
	s.scan(c)
	s.clock.Step(time.Minute)
	s.ledger.add(17, horizon.StatusFailed, s.ledger.logs[16].happened, s.clock.Now()) // which had no success
	s.ledger.logs[16].Status = horizon.StatusWaiting
	s.ledger.logs[16].WebhookID = 1 // and whose first log is somebody else's
	s.ledger.add(30, horizon.StatusFailed, s.ledger.logs[29].happened, s.clock.Now())
	s.ledger.add(2000, horizon.StatusFailed, s.clock.Now(), s.clock.Now())
	// The list has one log less than before, and three more.
	s.ledger.add(2001, horizon.StatusSuccess, s.clock.Now(), s.clock.Now())
	s.scan(c)
	s.expect("30 was a success before", 17, 2000)

	s.ledger.asked = 0
	s.scan(c)
	if s.ledger.asked > 2 {
		t.Errorf("a scan without anything new takes %d requests", s.ledger.asked)
	}
}

// Logs that Horizon cannot list break their pages, and are found by their numbers.
func TestCatchUpPassesBadLogs(t *testing.T) {
	s := newScene(t)
	for i := range int64(300) {
		happened := s.ago(time.Duration(300-i) * time.Second)
		s.ledger.add(i+1, horizon.StatusSuccess, happened, happened)
	}
	for i, event := range []int64{40, 41, 200, 290} {
		s.ledger.logs[event-1].bad = true
		s.ledger.logs[event-1].Status = []string{horizon.StatusFailed, horizon.StatusSuccess}[i%2]
	}
	s.ledger.logs[99].Status = horizon.StatusFailed
	c := s.process(newMemory())
	s.scan(c)
	s.expect("at the first scan", 40, 100, 200)

	for i := range int64(5) {
		s.ledger.add(301+i, horizon.StatusFailed, s.clock.Now(), s.clock.Now())
	}
	s.ledger.logs[302].bad = true
	s.ledger.asked = 0
	s.scan(c)
	s.expect("at a later scan", 40, 100, 200, 301, 302, 303, 304, 305)
	if s.ledger.asked > 400 {
		t.Errorf("it takes %d requests", s.ledger.asked)
	}
	s.ledger.asked = 0
	s.scan(c)
	if s.ledger.asked > 80 {
		t.Errorf("known bad logs take %d requests in each scan", s.ledger.asked)
	}
}

// What cannot be created yet keeps the scan open, for a process after this one, too, and
// holds up nothing else.
func TestCatchUpKeepsTheScanOpen(t *testing.T) {
	s := newScene(t)
	for i := range int64(10) {
		s.ledger.add(i+1, horizon.StatusFailed, s.ago(time.Hour-time.Duration(i)*time.Minute), s.ago(time.Hour-time.Duration(i)*time.Minute))
	}
	for id := range int64(4) {
		s.answer[id+2] = refused
	}
	s.answer[7] = invalid
	m := newMemory()
	c := s.process(m)
	s.scan(c)
	s.expect("a namespace refuses 2 to 5, and 7 is invalid", 1, 6, 8, 9, 10)
	s.placed = nil
	s.scan(c)
	if !slices.Equal(s.placed, []int64{2}) {
		t.Errorf("one try tells that the namespace still refuses: %v", s.placed)
	}
	if got := c.behind(); got != 59*time.Minute {
		t.Errorf("it is %v behind, want 59m: that is event 2", got)
	}
	if got := m.scanned().Scanned; !got.Equal(s.ago(59 * time.Minute)) {
		t.Errorf("it has scanned to %v", got)
	}

	// The events are deleted meanwhile, and the next process must not create them again.
	clear(s.stored)
	s.placed = nil
	clear(s.answer)
	s.scan(s.process(m))
	s.expect("the namespace takes them now", 2, 3, 4, 5)
	if got := m.scanned().Scanned; !got.Equal(s.ago(51 * time.Minute)) {
		t.Errorf("then it has scanned to %v", got)
	}

	// The API server is away: one try tells.
	s.clock.Step(time.Minute)
	s.placed = nil
	for id := range int64(5) {
		s.ledger.add(id+20, horizon.StatusFailed, s.clock.Now(), s.clock.Now())
		s.answer[id+20] = unavailable
	}
	c = s.process(m)
	s.scan(c)
	if len(s.placed) != 1 {
		t.Errorf("without an API server: %v", s.placed)
	}
	clear(s.answer)
	s.scan(c)
	s.expect("it is back", 2, 3, 4, 5, 20, 21, 22, 23, 24)
}

// slow is a limit that takes time.
type slow struct {
	flowcontrol.RateLimiter
	clock *clocktesting.FakeClock
}

func (s *slow) Wait(context.Context) error {
	s.clock.Step(10 * time.Second)
	return nil
}

// A scan that takes longer than a claim lasts is still that of one replica.
func TestCatchUpRenewsItsClaim(t *testing.T) {
	s := newScene(t)
	for i := range int64(20 * pageSize) {
		s.ledger.add(i+1, horizon.StatusSuccess, s.ago(time.Hour), s.ago(time.Hour))
	}
	s.ledger.add(100_000, horizon.StatusFailed, s.ago(time.Hour), s.ago(time.Hour))
	m := newMemory()
	replica := func(name string) *catchUp {
		c := s.process(m)
		c.every, c.limit = ScanEvery, &slow{flowcontrol.NewFakeAlwaysRateLimiter(), s.clock}
		c.claim = func(_ context.Context, length time.Duration) (bool, error) {
			return m.claim(name, s.clock.Now(), s.clock.Now().Add(length)), nil
		}
		c.holds = func() bool { return m.holds(name, s.clock.Now()) }
		return c
	}
	c := replica("one")
	s.scan(c)
	s.expect("a scan of three minutes", 100_000)
	m.claim("two", s.clock.Now().Add(time.Hour), s.clock.Now().Add(2*time.Hour))
	s.scan(c)
	if c.mine {
		t.Error("it is the other one's turn")
	}
}

// One event that can never be created does not hold up those that failed for its reason once.
func TestCatchUpGoesRoundWhatFails(t *testing.T) {
	for _, r := range []result{unknownPath, refused, unavailable} {
		t.Run(string(r), func(t *testing.T) {
			s := newScene(t)
			for id := range int64(4) {
				s.ledger.add(id+1, horizon.StatusFailed, s.ago(time.Hour-time.Duration(id)*time.Minute), s.ago(time.Hour-time.Duration(id)*time.Minute))
				s.answer[id+1] = r
			}
			c := s.process(newMemory())
			for range 4 {
				s.scan(c)
			}
			s.expect("all fail")
			s.answer = map[int64]result{1: r}
			for range 5 {
				s.scan(c)
			}
			s.expect("all but the first are possible", 2, 3, 4)
		})
	}
}

// The window is read as often as it takes, where a page and the next one disagree.
func TestCatchUpReadsLogsOfOneMoment(t *testing.T) {
	s := newScene(t)
	c := s.process(newMemory())
	s.scan(c)
	var want []int64
	for i := range int64(700) { // all in one second
		s.ledger.add(i+1, horizon.StatusFailed, s.clock.Now(), s.clock.Now())
		want = append(want, i+1)
	}
	s.scan(c)
	s.expect("a burst", want...)
}

// On a busy Horizon something waits in each scan. What was created long ago and deleted since
// stays away all the same, also from the process after this one.
func TestCatchUpLeavesAloneWhatIsLongDone(t *testing.T) {
	s := newScene(t)
	m := newMemory()
	c := s.process(m)
	s.scan(c)
	for i := range int64(60) {
		s.clock.Step(time.Minute)
		status := horizon.StatusSuccess
		if i == 5 {
			status = horizon.StatusFailed
		}
		s.ledger.add(2*i+1, status, s.clock.Now(), s.clock.Now())
		e := s.ledger.add(2*i+2, horizon.StatusWaiting, s.clock.Now(), s.clock.Now())
		s.scan(c)
		e.Status = horizon.StatusSuccess
	}
	s.expect("the one that failed", 11)
	if got := m.scanned(); got.LastLog != 119 || got.Logs != 119 {
		t.Errorf("only the last log is open, and the next process begins at %d of %d", got.LastLog, got.Logs)
	}
	clear(s.stored)
	s.scan(s.process(m))
	s.expect("after it was deleted")
}

// All that Horizon says of a webhook that is gone is 404, as of a page with a bad log.
func TestCatchUpWhenTheWebhookIsGone(t *testing.T) {
	s := newScene(t)
	s.ledger.gone = true
	c := s.process(newMemory())
	if err := c.scan(t.Context()); !horizon.IsNotFound(err) || s.ledger.asked > 2 {
		t.Errorf("got %v after %d requests", err, s.ledger.asked)
	}
	s.ledger.gone = false // it is found anew
	s.ledger.add(1, horizon.StatusFailed, s.ago(time.Minute), s.ago(time.Minute))
	s.scan(c)
	s.expect("there it is", 1)
}

// What Horizon is about to send again, and what has just failed, is left to itself.
func TestCatchUpKeepsOutOfTheWay(t *testing.T) {
	s := newScene(t)
	m := newMemory()
	c := s.process(m)
	c.rest = restFor
	s.ledger.add(1, horizon.StatusFailed, s.ago(time.Minute), s.ago(time.Minute))
	s.ledger.add(1, horizon.StatusWaiting, s.ago(time.Minute), s.ago(time.Second)) // a resend
	s.ledger.add(2, horizon.StatusFailed, s.ago(time.Second), s.ago(time.Second))
	s.ledger.add(3, horizon.StatusFailed, s.ago(time.Minute), s.ago(time.Minute))
	s.scan(c)
	s.expect("at once", 3)
	s.clock.Step(restFor)
	s.scan(c)
	s.expect("after some seconds", 2, 3)
	s.ledger.logs[1].Status = horizon.StatusSuccess
	s.scan(c)
	s.expect("the resend was a success", 2, 3)
	if n := len(c.open); n > 0 {
		t.Errorf("%d logs are open", n)
	}
}

// A process that comes after one with an open scan finds what is open, however deep in the
// list, and nothing else of what is old.
func TestCatchUpGoesOnWhereItWas(t *testing.T) {
	s := newScene(t)
	for i := range int64(600) {
		happened := s.ago(time.Duration(600-i) * 10 * time.Minute)
		s.ledger.add(i+1, horizon.StatusSuccess, happened, happened)
	}
	for _, event := range []int64{50, 500} { // dealt with long ago, and deleted since
		s.ledger.logs[event-1].Status = horizon.StatusFailed
	}
	m := newMemory()
	s.answer[500] = refused // within the window of the first scan
	s.scan(s.process(m))
	s.expect("the first scan is open")
	clear(s.answer)
	s.scan(s.process(m))
	s.expect("and goes on in another process", 500)
	clear(s.stored)

	s.clock.Step(time.Hour)
	s.ledger.add(30, horizon.StatusFailed, s.ledger.logs[29].happened, s.clock.Now())
	s.ledger.logs[29].Status = horizon.StatusWaiting // it was never sent, and is repeated
	s.answer[30] = refused
	s.scan(s.process(m))
	s.clock.Step(time.Minute)
	s.scan(s.process(m))
	s.expect("what is repeated is refused")
	clear(s.answer)
	s.scan(s.process(m))
	s.expect("and taken", 30)

	// The clock of Horizon is set back by a day: numbers tell what is new. An event that is
	// invalid for good is tried once, however many logs it has.
	s.placed = nil
	s.answer[1001] = invalid
	s.ledger.add(1000, horizon.StatusFailed, s.ago(24*time.Hour), s.ago(24*time.Hour))
	for range 3 {
		s.ledger.add(1001, horizon.StatusFailed, s.clock.Now(), s.clock.Now())
	}
	s.scan(s.process(m))
	s.expect("after the clock was set back", 30, 1000)
	if len(s.placed) != 2 {
		t.Errorf("tried: %v", s.placed)
	}
}

func TestCatchUpWithoutLeave(t *testing.T) {
	s := newScene(t)
	s.ledger.add(1, horizon.StatusFailed, s.ago(time.Minute), s.ago(time.Minute))
	c := s.process(newMemory())
	s.ledger.err = &horizon.StatusError{Code: http.StatusForbidden}
	if err := c.scan(t.Context()); !horizon.IsForbidden(err) || !c.denied() {
		t.Errorf("got %v, denied %t", err, c.denied())
	}
	s.ledger.err = errors.New("no answer")
	if err := c.scan(t.Context()); err == nil || !c.denied() {
		t.Error("without an answer, the rights are as they were")
	}
	s.ledger.err = nil
	s.scan(c)
	s.expect("with leave", 1)
	if c.denied() {
		t.Error("it is still denied")
	}
}
