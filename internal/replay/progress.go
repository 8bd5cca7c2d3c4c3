package replay

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
)

// Progress is how far a replay is: which event it has looked at last, and which of those
// before are on their way. What is stored of it, its cursor and numbers, is about the
// events up to the first one on its way only, so whoever goes on from there repeats
// nothing and leaves nothing out.
type Progress struct {
	cursor, looked eventcache.Position
	sent, expired  int32
	// open are the events that were taken from the first one on that is not done.
	open []*taken
}

// taken is an event that was taken.
type taken struct {
	eventcache.Position
	done, sent bool
	// passed is the last event that was passed over behind it, before the next one that
	// was taken, and expired how many of those had expired.
	passed  eventcache.Position
	expired int32
}

// Resume returns the progress that a status tells of.
func Resume(s *v1alpha1.ReplayStatus, since eventcache.Position) *Progress {
	p := &Progress{cursor: since, looked: since, sent: s.Sent, expired: s.Expired}
	if c := s.Cursor; c != nil {
		p.cursor = eventcache.Position{Created: c.Time.Time, Key: types.NamespacedName{Namespace: c.Namespace, Name: c.Name}}
		p.looked = p.cursor
	}
	return p
}

// Looked returns the event that was looked at last.
func (p *Progress) Looked() eventcache.Position { return p.looked }

// Pass takes in that the next event needs nothing, or has expired.
func (p *Progress) Pass(event eventcache.Position, expired bool) {
	p.looked = event
	at, counter := &p.cursor, &p.expired
	if n := len(p.open); n > 0 {
		at, counter = &p.open[n-1].passed, &p.open[n-1].expired
	}
	*at = event
	if expired {
		*counter++
	}
}

// Take takes in that the next event is on its way.
func (p *Progress) Take(event eventcache.Position) {
	p.looked = event
	p.open = append(p.open, &taken{Position: event, passed: event})
}

// Open returns the events that are on their way.
func (p *Progress) Open() []eventcache.Position {
	var all []eventcache.Position
	for _, t := range p.open {
		if !t.done {
			all = append(all, t.Position)
		}
	}
	return all
}

// Settle takes in what became of an event that was on its way: its delivery was stored, or
// none is made after all.
func (p *Progress) Settle(event types.UID, verdict Verdict) {
	i := slices.IndexFunc(p.open, func(t *taken) bool { return t.UID == event && !t.done })
	if i < 0 {
		return
	}
	p.open[i].done, p.open[i].sent = true, verdict == Send
	if verdict == Expired {
		p.open[i].expired++
	}
	for len(p.open) > 0 && p.open[0].done {
		first := p.open[0]
		p.cursor = first.passed
		p.expired += first.expired
		if first.sent {
			p.sent++
		}
		p.open = slices.Delete(p.open, 0, 1)
	}
}

// Taken returns how many events are kept: those on their way, and those behind the first
// of them.
func (p *Progress) Taken() int { return len(p.open) }

// Describe writes the cursor and the numbers into a status.
func (p *Progress) Describe(s *v1alpha1.ReplayStatus) {
	if p.cursor.Key.Name != "" {
		s.Cursor = &v1alpha1.ReplayCursor{
			Time: metav1.NewTime(p.cursor.Created), Namespace: p.cursor.Key.Namespace, Name: p.cursor.Key.Name,
		}
	}
	s.Sent, s.Expired, s.Found = p.sent, p.expired, p.sent
	for _, t := range p.open {
		if !t.done || t.sent {
			s.Found++
		}
	}
}
