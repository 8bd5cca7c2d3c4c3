package receiver

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// IDHeader names the header that is the same in every attempt of one delivery
// (Standard Webhooks).
const IDHeader = "webhook-id"

// Arrival is one request that arrived.
type Arrival struct {
	// Number counts the receiver's requests from 1.
	Number int
	// Time when its headers had arrived.
	Time time.Time

	// Path it came to, without the query, and the whole address with it.
	Path, URI string
	Method    string
	// WebhookID is the header webhook-id.
	WebhookID string
	// Header and Body are absent from a lean journal.
	Header http.Header
	Body   []byte

	// Answer is the one that the script had for it.
	Answer Answer
	// Duplicate says that a request of the same webhook-id was accepted
	// before: the receiver gets something again that it has said yes to. What
	// a person resends looks the same from here.
	Duplicate bool
}

// String is the request as HTTP writes it.
func (a Arrival) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\n", a.Method, a.URI)
	for _, key := range slices.Sorted(maps.Keys(a.Header)) {
		for _, value := range a.Header[key] {
			fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", a.Body)
	return b.String()
}

// Tally sums up what arrived.
type Tally struct {
	// Requests is how many requests arrived in all.
	Requests int
	// Deliveries is how many different webhook-ids they had, and Accepted how
	// many of those were answered with a success.
	Deliveries, Accepted int
	// Duplicates is how many requests came for something accepted before.
	Duplicates int

	// InFlight is how many requests are being answered now, and MostInFlight
	// how many that were at most.
	InFlight, MostInFlight int
}

// journal is what arrived so far.
type journal struct {
	lean bool

	mu       sync.Mutex // guards what follows
	arrivals []Arrival
	byID     map[string]*history
	all      Tally
	byPath   map[string]*Tally
	changed  chan struct{} // closed, and replaced, at each change
}

// history is what the journal knows of one webhook-id.
type history struct {
	arrivals []int // indices
	accepted bool
}

func (l *journal) init(lean bool) {
	l.lean = lean
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear()
	l.changed = make(chan struct{})
}

func (l *journal) clear() {
	l.arrivals = nil
	l.byID = map[string]*history{}
	l.all = Tally{InFlight: l.all.InFlight, MostInFlight: l.all.InFlight}
	paths := map[string]*Tally{}
	for path, t := range l.byPath {
		if t.InFlight > 0 {
			paths[path] = &Tally{InFlight: t.InFlight, MostInFlight: t.InFlight}
		}
	}
	l.byPath = paths
}

// enter notes a request and the answer that it is going to get.
func (l *journal) enter(now time.Time, req *http.Request, body []byte, next func() Answer) (Arrival, Answer) {
	a := Arrival{
		Time:      now,
		Path:      req.URL.Path,
		URI:       req.URL.RequestURI(),
		Method:    req.Method,
		WebhookID: req.Header.Get(IDHeader),
	}
	if !l.lean {
		a.Header, a.Body = req.Header.Clone(), bytes.Clone(body)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	a.Answer = next()
	a.Number = l.all.Requests + 1
	known := false
	accepted := a.Answer.Accepts()
	firstAccepted := accepted
	if a.WebhookID != "" {
		h := l.byID[a.WebhookID]
		if known = h != nil; !known {
			h = &history{}
			l.byID[a.WebhookID] = h
		}
		a.Duplicate = h.accepted
		firstAccepted = accepted && !h.accepted
		h.accepted = h.accepted || accepted
		h.arrivals = append(h.arrivals, len(l.arrivals))
	}
	l.arrivals = append(l.arrivals, a)
	for _, t := range []*Tally{&l.all, l.path(a.Path)} {
		t.Requests++
		t.InFlight++
		t.MostInFlight = max(t.MostInFlight, t.InFlight)
		if a.WebhookID == "" {
			continue
		}
		if !known {
			t.Deliveries++
		}
		if firstAccepted {
			t.Accepted++
		}
		if a.Duplicate {
			t.Duplicates++
		}
	}
	l.tell()
	return a, a.Answer
}

// leave notes that a request has been answered, or never will be.
func (l *journal) leave(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.InFlight--
	l.path(path).InFlight--
	l.tell()
}

func (l *journal) path(path string) *Tally {
	t := l.byPath[path]
	if t == nil {
		t = &Tally{}
		l.byPath[path] = t
	}
	return t
}

// tell wakes everyone who waits for a change.
func (l *journal) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Arrivals are the requests to a path in the order in which they arrived.
func (r *Receiver) Arrivals(path string) []Arrival {
	l := &r.journal
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Arrival
	for _, a := range l.arrivals {
		if a.Path == path {
			found = append(found, a)
		}
	}
	return found
}

// AllArrivals are the requests to all paths in the order in which they
// arrived.
func (r *Receiver) AllArrivals() []Arrival {
	l := &r.journal
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.arrivals)
}

// ArrivalsOf are the requests of one webhook-id in the order in which they
// arrived.
func (r *Receiver) ArrivalsOf(webhookID string) []Arrival {
	l := &r.journal
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.byID[webhookID]
	if h == nil {
		return nil
	}
	found := make([]Arrival, 0, len(h.arrivals))
	for _, i := range h.arrivals {
		found = append(found, l.arrivals[i])
	}
	return found
}

// Tally sums up what arrived at a path.
func (r *Receiver) Tally(path string) Tally {
	l := &r.journal
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.byPath[path]; t != nil {
		return *t
	}
	return Tally{}
}

// Total sums up what arrived in all.
func (r *Receiver) Total() Tally {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	return r.journal.all
}

// Forget empties the journal, as if nothing had arrived yet. Scripts stay where
// they are.
func (r *Receiver) Forget() {
	r.journal.mu.Lock()
	defer r.journal.mu.Unlock()
	r.journal.clear()
	r.journal.tell()
}

// Wait waits until the condition holds. It is asked at once and again after
// each change of the journal.
func (r *Receiver) Wait(ctx context.Context, condition func() bool) error {
	for {
		r.journal.mu.Lock()
		changed := r.journal.changed
		r.journal.mu.Unlock()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitRequests waits until a path has got n requests.
func (r *Receiver) WaitRequests(ctx context.Context, path string, n int) error {
	if err := r.Wait(ctx, func() bool { return r.Tally(path).Requests >= n }); err != nil {
		return fmt.Errorf("waiting for %d requests to %s, of which %d came: %w", n, path, r.Tally(path).Requests, err)
	}
	return nil
}

// WaitAccepted waits until the receiver has accepted n different deliveries,
// whatever their paths.
func (r *Receiver) WaitAccepted(ctx context.Context, n int) error {
	if err := r.Wait(ctx, func() bool { return r.Total().Accepted >= n }); err != nil {
		return fmt.Errorf("waiting for %d deliveries, of which %d came: %w", n, r.Total().Accepted, err)
	}
	return nil
}
