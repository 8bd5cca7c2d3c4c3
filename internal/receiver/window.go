package receiver

import (
	"slices"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// window counts the requests to one address. A request counts from its beginning until the
// span of a rate limit after its end: it arrives in between, whenever that is. No span that
// the receiver looks at has more requests in it than the limit allows, which is more than a
// token bucket can say: one of 20 lets 39 through in the worst minute.
//
// The zero value has seen nothing.
type window struct {
	// most is how many ends are kept, which is the most that a limit asks for.
	most int
	// span is the longest one that a limit has.
	span time.Duration
	// ended are when requests ended, the earliest first.
	ended []time.Time
	// complete is a time after which every end is known, but for those that most cut off.
	complete time.Time
	// underway are the requests that have begun and not ended.
	underway int
}

func (w *window) begin() { w.underway++ }

// end takes in that a request has ended. One that was not sent does not count any more.
func (w *window) end(now time.Time, sent bool) {
	w.underway--
	if sent {
		w.add(now, now)
	}
}

// add takes in when requests ended that have not begun here.
func (w *window) add(now time.Time, ends ...time.Time) {
	for _, end := range ends {
		if end.After(now) { // by another clock
			end = now
		}
		at, _ := slices.BinarySearchFunc(w.ended, end, time.Time.Compare)
		for at < len(w.ended) && w.ended[at].Equal(end) {
			at++
		}
		w.ended = slices.Insert(w.ended, at, end)
	}
	w.prune(now)
}

// prune forgets what no limit asks for.
func (w *window) prune(now time.Time) {
	drop := 0
	for drop < len(w.ended) && (len(w.ended)-drop > w.most || !w.ended[drop].After(now.Add(-w.span))) {
		w.complete = later(w.complete, w.ended[drop])
		drop++
	}
	w.ended = slices.Delete(w.ended, 0, drop)
}

// places returns how many requests may begin by a limit. Where none may, at is when one may;
// it is zero where that depends on the end of a request that is under way.
func (w *window) places(limit v1alpha1.RateLimit, now time.Time) (n int, at time.Time) {
	span := spanOf(limit)
	lately, _ := slices.BinarySearchFunc(w.ended, now.Add(-span), func(end, t time.Time) int {
		if end.After(t) {
			return 1
		}
		return -1
	})
	left := int(limit.Requests) - w.underway
	if n = left - (len(w.ended) - lately); n > 0 {
		return n, time.Time{}
	}
	if left <= 0 {
		return 0, time.Time{}
	}
	return 0, w.ended[len(w.ended)-left].Add(span)
}

func spanOf(limit v1alpha1.RateLimit) time.Duration {
	return time.Duration(limit.PerSeconds) * time.Second
}
