package dashboard

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// eventsPage is the list of events.
type eventsPage struct {
	Rows           []*table.Row
	Result, Type   string
	Results, Types []string
	Total          int
	Older, Newest  string
	Cut            bool
}

// Any tells whether some are left out.
func (p eventsPage) Any() bool { return p.Result+p.Type != "" }

// showEvents is the page that lists the events of a namespace.
func showEvents(q *request) (*view, error) {
	if err := q.store.wait(q.Context(), partEvents); err != nil {
		return nil, err
	}
	query := q.URL.Query()
	page := eventsPage{Result: query.Get("result"), Type: query.Get("type"), Cut: q.store.isCut(partEvents)}
	var before *table.Row
	if at, name, ok := strings.Cut(query.Get("before"), "/"); ok {
		created, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return nil, badRequest("before is not the time and the name of an event.")
		}
		before = &table.Row{Name: name, Time: created}
	}
	newest, results, types := table.Newest{Limit: pageRows + 1}, map[string]bool{}, map[string]bool{}
	q.store.eachEvent(func(row *table.Row) {
		result, eventType := row.Cells[table.EventColumnResult], row.Cells[table.EventColumnType]
		results[result], types[eventType] = true, true
		if page.Result != "" && page.Result != result || page.Type != "" && page.Type != eventType {
			return
		}
		page.Total++
		if before == nil || table.Compare(row, before) < 0 {
			newest.Add(row)
		}
	})
	page.Rows, page.Results, page.Types = newest.Sorted(), sortedKeys(results), sortedKeys(types)
	chosen := url.Values{}
	for name, value := range map[string]string{"result": page.Result, "type": page.Type} {
		if value != "" {
			chosen.Set(name, value)
		}
	}
	if before != nil {
		page.Newest = "?" + chosen.Encode()
	}
	if len(page.Rows) > pageRows {
		page.Rows = page.Rows[:pageRows]
		// With its time, for it may be removed before somebody goes on.
		last := page.Rows[pageRows-1]
		chosen.Set("before", last.Time.UTC().Format(time.RFC3339)+"/"+last.Name)
		page.Older = "?" + chosen.Encode()
	}
	if len(page.Types) == 0 && q.cluster.rights.lack(q.Context(), q.namespace) {
		return nil, noNamespace(q.namespace)
	}
	return &view{template: "events", title: "Events", tab: "events", data: page}, nil
}

// eventPage is an event and what became of it.
type eventPage struct {
	*insight.Event
	// Spec is what happened, as the API has it.
	Spec body
}

// showEvent is the page of an event: which Webhooks got it, which did not, and why.
func showEvent(q *request) (*view, error) {
	key := q.key()
	answer, err := q.cluster.reader.Event(q.Context(), key, "")
	if err != nil {
		return nil, err
	}
	for part := range numParts { // the changes of all make this page anew
		q.store.begin(part)
	}
	page := eventPage{Event: answer}
	if answer.Object != nil {
		spec, err := json.Marshal(answer.Object.Spec)
		if err != nil {
			return nil, fmt.Errorf("writing the event: %w", err)
		}
		page.Spec = pretty(string(spec))
	}
	return &view{template: "event", title: key.Name, tab: "events", data: page}, nil
}
