package bridge

import (
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// quietFor is how long a message is not repeated. The counters go on.
const quietFor = time.Minute

// mostTopics bounds what a quiet log keeps in mind.
const mostTopics = 1000

// quiet logs what may happen a hundred times a second once a minute, and how often it has
// been left out since. It is safe for concurrent use.
type quiet struct {
	log   logr.Logger
	clock clock.PassiveClock

	mu     sync.Mutex
	topics map[string]topic
}

type topic struct {
	last    time.Time
	omitted int
}

func newQuiet(log logr.Logger, c clock.PassiveClock) *quiet {
	return &quiet{log: log, clock: c, topics: map[string]topic{}}
}

// Error logs an error, unless its topic was told of within a minute.
func (q *quiet) Error(about string, err error, message string, values ...any) {
	if omitted, ok := q.due(about); ok {
		q.log.Error(err, message, append(values, "omitted", omitted)...)
	}
}

// Info logs a message, unless its topic was told of within a minute.
func (q *quiet) Info(about, message string, values ...any) {
	if omitted, ok := q.due(about); ok {
		q.log.Info(message, append(values, "omitted", omitted)...)
	}
}

func (q *quiet) due(about string) (int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.topics[about]
	if now := q.clock.Now(); !ok || now.Sub(t.last) >= quietFor {
		if len(q.topics) >= mostTopics {
			clear(q.topics)
		}
		q.topics[about] = topic{last: now}
		return t.omitted, true
	}
	t.omitted++
	q.topics[about] = t
	return 0, false
}
