package receiver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func limitOfRate(requests, seconds int32) v1alpha1.RateLimit {
	return v1alpha1.RateLimit{Requests: requests, PerSeconds: seconds}
}

func TestPlaces(t *testing.T) {
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	for name, tc := range map[string]struct {
		limit    v1alpha1.RateLimit
		ended    []float64 // seconds after the start
		underway int
		now      float64
		want     int
		opens    float64 // 0: with an end that is to come
	}{
		"nothing was sent":                {limit: limitOfRate(3, 10), want: 3},
		"some were":                       {limit: limitOfRate(3, 10), ended: []float64{1}, underway: 1, now: 2, want: 1},
		"as many as there may be":         {limit: limitOfRate(3, 10), ended: []float64{1, 2, 3}, now: 4, opens: 11},
		"a moment before the first has":   {limit: limitOfRate(3, 10), ended: []float64{1, 2, 3}, now: 10.999, opens: 11},
		"the first has passed":            {limit: limitOfRate(3, 10), ended: []float64{1, 2, 3}, now: 11, want: 1},
		"all have passed":                 {limit: limitOfRate(3, 10), ended: []float64{1, 2, 3}, now: 13, want: 3},
		"one is under way":                {limit: limitOfRate(3, 10), ended: []float64{1, 2, 3}, underway: 1, now: 4, opens: 12},
		"all places are under way":        {limit: limitOfRate(3, 10), underway: 3, now: 100},
		"and more than that":              {limit: limitOfRate(3, 10), ended: []float64{99}, underway: 5, now: 100},
		"more have ended than there may":  {limit: limitOfRate(2, 10), ended: []float64{1, 2, 3, 4}, now: 5, opens: 13},
		"a short span":                    {limit: limitOfRate(2, 1), ended: []float64{1, 2, 3, 4}, now: 4.5, want: 1},
		"ended at the same moment":        {limit: limitOfRate(2, 10), ended: []float64{1, 1, 1}, now: 5, opens: 11},
		"the same moment, and it is over": {limit: limitOfRate(2, 10), ended: []float64{1, 1, 1}, now: 11, want: 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := window{most: 1000, span: time.Hour, underway: tc.underway}
			for _, s := range tc.ended {
				w.add(at(tc.now), at(s))
			}
			n, opens := w.places(tc.limit, at(tc.now))
			want := time.Time{}
			if tc.opens != 0 {
				want = at(tc.opens)
			}
			if n != tc.want || !opens.Equal(want) {
				t.Errorf("places = %d, %v; want %d, %v", n, opens, tc.want, want)
			}
		})
	}
}

// Whenever requests begin, arrive and end, no span has more of them than the limit allows,
// and none has to wait where all of them could still have arrived in one span.
func TestWindowLikeTheModel(t *testing.T) {
	type request struct{ begun, ended time.Time }
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		limit := limitOfRate(int32(1+rng.IntN(8)), int32(1+rng.IntN(5)))
		span := spanOf(limit)
		w := window{most: int(limit.Requests), span: span}
		now := start
		var all, underway []*request
		for range 400 {
			switch rng.IntN(3) {
			case 0:
				now = now.Add(time.Duration(rng.Int64N(int64(span))))
			case 1:
				if len(underway) > 0 {
					i := rng.IntN(len(underway))
					underway[i].ended = now
					underway = slices.Delete(underway, i, i+1)
					w.end(now, true)
				}
			}
			counts := 0 // of those that may have arrived in the span that ends now
			for _, r := range all {
				if r.ended.IsZero() || r.ended.After(now.Add(-span)) {
					counts++
				}
			}
			n, opens := w.places(limit, now)
			if want := max(int(limit.Requests)-counts, 0); n != want {
				t.Fatalf("seed %d: %d places, want %d", seed, n, want)
			}
			if n == 0 && !opens.IsZero() {
				if m, _ := w.places(limit, opens.Add(-1)); m != 0 {
					t.Fatalf("seed %d: there are %d places before the time that was told", seed, m)
				}
				if m, _ := w.places(limit, opens); m == 0 {
					t.Fatalf("seed %d: there is no place at the time that was told", seed)
				}
			}
			if n > 0 {
				w.begin()
				r := &request{begun: now}
				all, underway = append(all, r), append(underway, r)
			}
			if len(w.ended) > int(limit.Requests) {
				t.Fatalf("seed %d: %d ends are kept", seed, len(w.ended))
			}
		}
		// The worst that the receiver can see: each one arrives at any time of its own.
		var arrivals []time.Time
		for _, r := range all {
			if r.ended.IsZero() {
				r.ended = now
			}
			arrivals = append(arrivals, r.begun.Add(time.Duration(rng.Int64N(int64(r.ended.Sub(r.begun))+1))))
		}
		slices.SortFunc(arrivals, time.Time.Compare)
		for i := int(limit.Requests); i < len(arrivals); i++ {
			if within := arrivals[i].Sub(arrivals[i-int(limit.Requests)]); within < span {
				t.Fatalf("seed %d: %d requests arrived within %v", seed, limit.Requests+1, within)
			}
		}
	}
}

func TestWindowForgets(t *testing.T) {
	w := window{most: 3, span: 10 * time.Second, complete: start}
	for i := range 5 {
		w.begin()
		w.end(start.Add(time.Duration(i)*time.Second), true)
	}
	if got := fmt.Sprint(len(w.ended), w.complete.Sub(start)); got != "3 1s" {
		t.Errorf("kept and complete since: %s, want 3 1s", got)
	}
	w.begin()
	w.end(start.Add(time.Minute), false)
	w.add(start.Add(time.Minute))
	if len(w.ended) != 0 || w.underway != 0 {
		t.Errorf("%d ends and %d under way are left", len(w.ended), w.underway)
	}
	w.add(start.Add(time.Minute), start.Add(time.Hour)) // by a clock that is ahead
	if !w.ended[0].Equal(start.Add(time.Minute)) {
		t.Errorf("an end that is to come: %v", w.ended)
	}
}
