package bridge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/horizoncd/webhook-operator/internal/horizon"
)

// listing is one reading of the list of logs.
type listing struct {
	from    progress
	until   time.Time // what was made before this was dealt with
	young   time.Time // what waits since after this may still be sent
	first   bool      // nothing was read before
	to      progress
	fresh   map[int64]bool // logs above from.LastLog; all within the window, if nothing was read before
	success map[int64]bool // events
	sending map[int64]bool // events that wait, and may be sent at any moment
	wanted  map[int64]*openLog
	bad     int  // places that Horizon does not show
	deep    bool // the whole list is to be read
}

// missing returns how many logs are new and were not seen yet.
func (l *listing) missing() int {
	if l.first {
		return l.bad
	}
	return int(l.to.Logs-l.from.Logs) - len(l.fresh)
}

// list reads the list from the newest event back to where all is known, and adds to what is
// open what Horizon has not got through.
func (c *catchUp) list(ctx context.Context, webhook int64) error {
	if c.at.Webhook != webhook {
		c.at = c.memory.scanned()
		clear(c.open)
	}
	l := &listing{
		from: c.at, fresh: map[int64]bool{}, success: map[int64]bool{}, sending: map[int64]bool{}, wanted: map[int64]*openLog{},
		young: c.clock.Now().Add(-c.waiting),
	}
	if l.from.Webhook != webhook {
		l.first = true
		l.from = progress{Webhook: webhook, Scanned: c.clock.Now().Add(-c.window)}
	}
	l.to, l.until = l.from, l.from.Scanned.Add(-overlap)
	if l.first {
		l.until = l.from.Scanned
	}
	if err := c.pages(ctx, l); err != nil {
		return err
	}
	if err := c.probe(ctx, l); err != nil {
		return err
	}
	c.take(l)
	return nil
}

// take adds to what is open what a listing has found.
func (c *catchUp) take(l *listing) {
	for _, w := range byAge(l.wanted) {
		if len(c.open) >= mostOpen {
			l.to = progress{Webhook: l.from.Webhook, Scanned: w.created, Logs: l.from.Logs, LastLog: l.from.LastLog}
			break
		}
		if _, ok := c.open[w.id]; !ok && !l.success[w.event] {
			c.open[w.id] = w
		}
	}
	maps.DeleteFunc(c.open, func(_ int64, o *openLog) bool { return l.success[o.event] })
	c.at, c.sending, c.fresh, c.fromLog = l.to, l.sending, l.fresh, l.from.LastLog
}

// byAge returns logs, the oldest first.
func byAge(logs map[int64]*openLog) []*openLog {
	return slices.SortedFunc(maps.Values(logs), func(a, b *openLog) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id))
	})
}

// probe looks by their numbers for new logs that the list does not show. Some it cannot show,
// since their event has lost its object or never had one, as those of restarts do; and those
// of one moment can change places between two pages, for Horizon sorts by time alone.
func (c *catchUp) probe(ctx context.Context, l *listing) error {
	missing := l.missing()
	if missing <= 0 || len(l.fresh) == 0 && l.first {
		return nil
	}
	old := false
	last, first := l.to.LastLog+pageSize, l.from.LastLog+1
	if l.first {
		first = max(slices.Min(slices.Collect(maps.Keys(l.fresh)))-pageSize, 1)
	}
	for id, probes := last, 0; id >= first && probes < mostProbes && missing > 0; id-- {
		if l.fresh[id] {
			continue
		}
		probes++
		if err := c.turn(ctx); err != nil {
			return err
		}
		log, err := c.horizon.Log(ctx, id)
		if horizon.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for a log that the list does not show: %w", err)
		}
		if log.WebhookID == l.from.Webhook && !l.fresh[id] {
			l.add(log, c.memory)
			missing--
			_, seen := c.memory.timeOf(log.EventID)
			old = old || seen
		}
	}
	if old {
		// What Horizon repeats may have been a success before: then that is in the list.
		l.deep = true
		return c.pages(ctx, l)
	}
	if missing > 0 && !l.first {
		c.quiet.Info("hidden", "Failed to find logs that Horizon does not list: their events may be missing", "logs", missing)
	}
	return nil
}

// pages reads page after page, to the end of the window and until all that is new was seen: a
// log of an event that Horizon repeats is new, and deep in the list.
func (c *catchUp) pages(ctx context.Context, l *listing) error {
	l.bad = 0
	for n := 1; ; n++ {
		logs, of, places, err := c.page(ctx, l.from.Webhook, n, pageSize)
		if err != nil {
			return err
		}
		l.bad += places - len(logs)
		if n == 1 {
			l.to.Logs = int64(of)
		}
		past := false
		for _, log := range logs {
			past = l.add(log, c.memory) || past
		}
		if places < pageSize || past && !l.deep && (l.first || l.missing() <= l.bad) {
			return nil
		}
	}
}

// add takes a log into account, and tells whether it is from before the window.
func (l *listing) add(log horizon.Log, m *memory) bool {
	past := log.Created.Before(l.until)
	isNew := log.ID > l.from.LastLog && !(l.first && past)
	if isNew {
		l.fresh[log.ID] = true
	}
	if log.Created.After(l.to.Scanned) {
		l.to.Scanned = log.Created
	}
	l.to.LastLog = max(l.to.LastLog, log.ID)
	if log.Status == horizon.StatusWaiting && log.Created.After(l.young) {
		l.sending[log.EventID] = true
	}
	switch {
	case log.Status == horizon.StatusSuccess:
		l.success[log.EventID] = true
		m.see(log.EventID)
	case (isNew || !past) && !m.finished(log.EventID):
		l.wanted[log.ID] = &openLog{
			id: log.ID, event: log.EventID, eventType: log.EventType, status: log.Status, created: log.Created, updated: log.Updated,
		}
	}
	return past
}

// page reads one page, and how many places it has that are taken. One bad log makes its
// whole page a 404: then its halves are read, down to the log itself, which is left out.
func (c *catchUp) page(ctx context.Context, webhook int64, n, size int) (logs []horizon.Log, total, places int, err error) {
	if err := c.turn(ctx); err != nil {
		return nil, 0, 0, err
	}
	logs, total, err = c.horizon.Logs(ctx, webhook, n, size)
	switch {
	case !horizon.IsNotFound(err):
		return logs, total, len(logs), err
	case size == 1:
		c.metrics.badLogs.Inc()
		c.quiet.Info("bad log", "Passed over a log that Horizon cannot list: its event has lost its object", "webhook", webhook, "place", n)
		return nil, 0, 1, nil
	case size == pageSize:
		if total, err = c.total(ctx, webhook); err != nil {
			return nil, 0, 0, err
		}
	}
	for half := 2*n - 1; half <= 2*n; half++ {
		some, of, taken, err := c.page(ctx, webhook, half, size/2)
		if err != nil {
			return nil, 0, 0, err
		}
		logs, total, places = append(logs, some...), max(total, of), places+taken
		if taken < size/2 {
			break
		}
	}
	return logs, total, places, nil
}
