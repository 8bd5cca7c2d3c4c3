package horizon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

const (
	// batch is how many events are read at once.
	batch = 50
	// maxResponse is how much is kept of an answer, in bytes.
	maxResponse = 16 << 10
)

// handleEvents makes logs of the events behind a position as they come, and starts a sender
// for each webhook.
func (h *Horizon) handleEvents(run *life, position int64) {
	senders := map[int64]context.CancelFunc{}
	defer func() {
		for _, cancel := range senders {
			cancel()
		}
	}()
	for run.ctx.Err() == nil {
		h.reconcile(run, senders)
		ids := h.store.eventsAfter(position)
		if len(ids) == 0 {
			pause(run.ctx, h.options.Idle)
			continue
		}
		h.store.makeLogs(run.ctx, ids)
		if run.ctx.Err() != nil {
			return
		}
		position = ids[len(ids)-1]
		h.store.saveCursor(position)
	}
}

// reconcile starts senders of webhooks that are new, and ends those of deleted ones.
func (h *Horizon) reconcile(run *life, senders map[int64]context.CancelFunc) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	for id := range h.store.webhooks {
		if senders[id] == nil {
			ctx, cancel := context.WithCancel(run.ctx)
			senders[id] = cancel
			run.done.Go(func() { h.sendAll(ctx, id) })
		}
	}
	for id, cancel := range senders {
		if h.store.webhooks[id] == nil {
			cancel()
			delete(senders, id)
		}
	}
}

// cursor is where reading begins: behind the first position that was ever saved.
func (s *store) cursor() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position = max(s.firstCursor, 0)
	return s.position
}

// saveCursor adds a row to the table of cursors, which is read from its beginning.
func (s *store) saveCursor(position int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.position = position; s.firstCursor < 0 {
		s.firstCursor = position
	}
}

// eventsAfter returns the next numbers of events behind a position.
func (s *store) eventsAfter(position int64) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for id := range s.events {
		if id > position {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), batch)]
}

// makeLogs makes the logs of some events, for all webhooks that they concern. Their numbers
// are in no order.
func (s *store) makeLogs(ctx context.Context, ids []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	var made []*Log
	for _, id := range ids {
		for _, w := range s.concerned(id) {
			text, err := s.render(id, w)
			if err != nil {
				continue
			}
			of := s.webhooks[w]
			made = append(made, &Log{WebhookID: w, EventID: id, URL: of.URL, Secret: of.Secret, Body: text})
		}
	}
	rand.Shuffle(len(made), func(i, j int) { made[i], made[j] = made[j], made[i] })
	for _, l := range made {
		s.addLog(l)
	}
}

// addLog stores a log that waits to be sent.
func (s *store) addLog(l *Log) {
	l.ID = s.next("logs")
	l.Status, l.CreatedAt, l.UpdatedAt = Waiting, s.now(), s.now()
	l.headers = fmt.Sprintf("Content-Type:\n    - application/json;charset=utf-8\nX-Horizon-Webhook-Secret:\n    - %q\n", l.Secret)
	s.logs[l.ID] = l
}

// concerned returns the webhooks that an event is told to.
func (s *store) concerned(id int64) []int64 {
	e := s.events[id]
	around := s.around(e)
	var all []int64
	for number, w := range s.webhooks {
		if w.Enabled && !w.createdAt.After(e.createdAt) && slices.Contains(around[w.resourceType], w.resourceID) &&
			(slices.Contains(w.Triggers, "*") || slices.Contains(w.Triggers, e.Type)) {
			all = append(all, number)
		}
	}
	slices.Sort(all)
	return all
}

// around returns the resources that an event is about, and those that they are in; nil where
// it is told to nobody.
func (s *store) around(e *event) map[string][]int64 {
	switch kind, id := bodyType(e.Type), e.ResourceID; kind {
	case Applications, Clusters:
		return s.aroundResource(kind, id)
	case Pipelineruns:
		if p := s.pipelineruns[id]; p != nil {
			return s.aroundResource(Clusters, p.ClusterID)
		}
	case Members:
		m := s.members[id]
		if m != nil && m.ResourceType != Groups && s.users[m.User] != nil && !s.users[m.User].deleted {
			return s.aroundResource(m.ResourceType, m.ResourceID)
		}
	}
	return nil
}

// aroundResource goes by rows, also by deleted ones, but for groups.
func (s *store) aroundResource(kind string, id int64) map[string][]int64 {
	all := map[string][]int64{Groups: {0}}
	if kind == Clusters {
		c := s.clusters[id]
		if c == nil {
			return nil
		}
		all[Clusters], id = []int64{id}, c.application
	}
	a := s.applications[id]
	if a == nil {
		return all
	}
	all[Applications] = []int64{id}
	for at := a.group; at != 0; {
		g := s.groups[at]
		if g == nil || g.deleted {
			break
		}
		all[Groups] = append(all[Groups], at)
		at = g.parent
	}
	return all
}

// sendAll sends the logs of a webhook as they come, one at a time.
func (h *Horizon) sendAll(ctx context.Context, webhook int64) {
	verifying, trusting := h.client(false), h.client(true)
	defer verifying.CloseIdleConnections()
	defer trusting.CloseIdleConnections()
	for ctx.Err() == nil {
		waiting := h.store.waiting(webhook)
		if len(waiting) == 0 {
			pause(ctx, h.options.Idle)
			continue
		}
		for _, l := range waiting {
			client := verifying
			if w, ok := h.Webhook(webhook); ok && !w.SSLVerifyEnabled {
				client = trusting
			}
			h.send(ctx, client, &l)
			if ctx.Err() != nil {
				return // killed before the result was stored: the log still waits
			}
			h.store.save(l)
		}
	}
}

func (h *Horizon) client(trusting bool) *http.Client {
	return &http.Client{Timeout: h.options.SendTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: h.options.Roots, InsecureSkipVerify: trusting},
	}}
}

// waiting returns the logs of a webhook that wait, as they are now.
func (s *store) waiting(webhook int64) []Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Log
	for _, l := range s.logsOf(webhook) {
		if l.Status == Waiting {
			all = append(all, *l)
		}
	}
	return all
}

// save stores how a send went.
func (s *store) save(sent Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.logs[sent.ID]
	if !ok {
		return
	}
	l.Status = Success
	if l.ErrorMessage = sent.ErrorMessage; l.ErrorMessage != "" {
		l.Status = Failed
	}
	l.ResponseBody, l.responseHeaders, l.UpdatedAt = sent.ResponseBody, sent.responseHeaders, s.now()
}

// send posts a log, and writes into it how that went.
func (h *Horizon) send(ctx context.Context, client *http.Client, l *Log) {
	data, err := numbered(l.Body, l.ID)
	if err != nil {
		l.ErrorMessage = "failed to add id, error: " + err.Error()
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.URL, bytes.NewReader(data))
	if err != nil {
		l.ErrorMessage = "failed to new request, error: " + err.Error()
		return
	}
	req.Header.Set("X-Horizon-Webhook-Secret", l.Secret)
	req.Header.Set("Content-Type", "application/json;charset=utf-8")
	answer, err := client.Do(req)
	if err != nil {
		l.ErrorMessage = "failed to send req, error: " + err.Error()
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxResponse))
	if err != nil {
		l.ErrorMessage = "failed to read response body, error: " + err.Error()
		return
	}
	l.ResponseBody = string(text)
	for _, name := range slices.Sorted(maps.Keys(answer.Header)) {
		l.responseHeaders += fmt.Sprintf("%s:\n    - %q\n", name, answer.Header.Get(name))
	}
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		l.ErrorMessage = fmt.Sprintf("unexpected response code: %d", answer.StatusCode)
	}
}

// Resend makes another log of the same event that waits to be sent, and returns its number.
func (h *Horizon) Resend(log int64) (int64, bool) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	l, ok := h.store.logs[log]
	if !ok {
		return 0, false
	}
	again := *l
	again.ErrorMessage = ""
	h.store.addLog(&again)
	return again.ID, true
}

// Settled tells whether every event was read and no log waits. It is true at one moment.
func (h *Horizon) Settled() bool {
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.events {
		if id > s.position {
			return false
		}
	}
	for _, l := range s.logs {
		if l.Status == Waiting {
			return false
		}
	}
	return true
}

// byEvent sorts logs as Horizon lists them: by the event's time, the latest first.
func (s *store) byEvent(a, b *Log) int {
	at, bt := s.events[a.EventID].createdAt, s.events[b.EventID].createdAt
	return cmp.Or(bt.Compare(at), cmp.Compare(a.ID, b.ID))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
