package dashboard

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// pageRows is how many deliveries or events a page lists.
const pageRows = 50

// recently is how long the outcome of a test or a replay stays on the page.
const recently = 15 * time.Minute

// webhookPage is a Webhook with its logs.
type webhookPage struct {
	webhookRow
	Findings []insight.Finding
	Test     *testProgress
	Replay   *replayProgress
	Jobs     []jobView
	Logs     logs
	// Code are the Webhook's expressions.
	Code []codeView
}

// codeView is an expression, under the label that its field has in the form.
type codeView struct{ ID, Label, Text string }

// logs are the deliveries of a Webhook that a page shows.
type logs struct {
	Rows   []*table.Row
	Filter filter
	// Types and Codes are those that there are to choose from.
	Types, Codes []string
	// Total is how many match, on all pages.
	Total int
	// Failed is how many failed of those that match.
	Failed int
	// Older leads to the next page, Newest to the first; empty where there is none.
	Older, Newest string
	// Cut: the namespace has more than are kept here.
	Cut bool
}

// filter is what the query of a page says of the deliveries it wants.
type filter struct {
	Result, Type, Code, Since string
	before                    string
}

func filterOf(q url.Values) filter {
	return filter{
		Result: q.Get("result"), Type: q.Get("type"), Code: q.Get("code"), Since: q.Get("since"), before: q.Get("before"),
	}
}

// Any tells whether it leaves anything out.
func (f filter) Any() bool { return f.Result+f.Type+f.Code+f.Since != "" }

// values are those that select; empty ones are left out.
func (f filter) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"result": f.Result, "type": f.Type, "code": f.Code, "since": f.Since} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// With returns the query of the page with another result, from its beginning.
func (f filter) With(result string) string {
	f.Result = result
	return "?" + f.values().Encode()
}

func (f filter) older(than string) string {
	v := f.values()
	v.Set("before", than)
	return "?" + v.Encode()
}

// query says what of a Webhook's deliveries is wanted.
func (f filter) query(namespace, webhook string, now time.Time) (table.Query, error) {
	filters := table.Filters{Result: f.Result, Since: f.Since}
	if f.Type != "" {
		filters.Types = []string{f.Type}
	}
	if f.Code != "" {
		filters.Codes = []string{f.Code}
	}
	query, err := filters.Query(namespace, webhook, now)
	if err != nil {
		return query, badRequest(err.Error())
	}
	return query, nil
}

// showWebhook is the page of a Webhook and its logs.
func showWebhook(q *request) (*view, error) {
	if err := q.store.wait(q.Context(), partWebhooks); err != nil {
		return nil, err
	}
	w, err := q.store.webhook(q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	page := webhookPage{Findings: insight.OfWebhook(w, q.now), Code: codeOf(w)}
	var line spark
	if page.Logs, line, err = q.logs(w.Name); err != nil {
		return nil, err
	}
	page.webhookRow = q.row(w, line)
	page.Test = q.testOf(w)
	page.Replay = replayOf(w, q.now)
	page.Jobs = q.session.jobs.of(q.namespace, w.Name, q.store, q.now)
	return &view{template: "webhook", title: w.Name, tab: "webhooks", data: page}, nil
}

// codeOf returns the expressions of a Webhook.
func codeOf(w *v1alpha1.Webhook) []codeView {
	var p v1alpha1.PayloadSettings
	if w.Spec.Payload != nil {
		p = *w.Spec.Payload
	}
	var r v1alpha1.ResponseRules
	if w.Spec.Response != nil {
		r = *w.Spec.Response
	}
	var all []codeView
	for _, one := range []codeView{
		{"filter", "Filter", w.Spec.Filter}, {"template", "Template", p.Template}, {"acceptIf", "Accept if", r.AcceptIf}, {"giveUpIf", "Give up if", r.GiveUpIf},
	} {
		if one.Text != "" {
			all = append(all, one)
		}
	}
	return all
}

// logs gathers the rows of a page: from what is followed or, before that is read, from the
// API server.
func (q *request) logs(webhook string) (logs, spark, error) {
	f := filterOf(q.URL.Query())
	page := logs{Filter: f}
	query, err := f.query(q.namespace, webhook, q.now)
	if err != nil {
		return page, spark{}, err
	}
	seen := newGathering(f, query)
	if q.store.deliveriesSynced() {
		q.store.deliveriesOf(webhook, seen.add)
		page.Cut = q.store.isCut(partDeliveries)
	} else {
		err := q.list(q.Context(), webhook, seen)
		q.store.begin(partDeliveries)
		if err != nil {
			return page, spark{}, err
		}
	}
	page.Total, page.Failed = seen.total, seen.failed
	page.Types, page.Codes = sortedKeys(seen.types), sortedKeys(seen.codes)
	page.Rows = seen.newest.Sorted()
	if len(page.Rows) > pageRows {
		page.Rows = page.Rows[:pageRows]
		page.Older = f.older(page.Rows[pageRows-1].Name)
	}
	if f.before != "" {
		page.Newest = f.With(f.Result)
	}
	return page, seen.tally.line(), nil
}

// list reads the rows of a Webhook by its label.
func (q *request) list(ctx context.Context, webhook string, seen *gathering) error {
	query, err := table.Filters{}.Query(q.namespace, webhook, q.now)
	if err != nil {
		return badRequest(err.Error())
	}
	_, err = q.cluster.tables.Each(ctx, query, seen.begin, seen.add)
	return err
}

// gathering picks the rows of a page, and counts.
type gathering struct {
	filter        filter
	query         table.Query
	before        *table.Row
	newest        table.Newest
	tally         *tally // of all, whatever the filter is
	types, codes  map[string]bool
	total, failed int
}

func newGathering(f filter, query table.Query) *gathering {
	g := &gathering{filter: f, query: query}
	if f.before != "" {
		g.before = &table.Row{Name: f.before, Time: table.NameTime(f.before)}
	}
	g.begin()
	return g
}

func (g *gathering) begin() {
	g.newest, g.tally = table.Newest{Limit: pageRows + 1}, newTally()
	g.types, g.codes = map[string]bool{}, map[string]bool{}
	g.total, g.failed = 0, 0
}

func (g *gathering) add(row *table.Row) {
	g.tally.add(row)
	g.types[row.Cells[table.ColumnType]] = true
	if code := row.Cells[table.ColumnCode]; code != "" && code != "0" {
		g.codes[code] = true
	}
	if !g.wants(row) {
		return
	}
	g.total++
	if row.Cells[table.ColumnResult] == string(v1alpha1.DeliveryFailed) {
		g.failed++
	}
	if g.before == nil || table.Compare(row, g.before) < 0 {
		g.newest.Add(row)
	}
}

// wants asks a row also for what the API server could select by.
func (g *gathering) wants(row *table.Row) bool {
	if g.filter.Result != "" && !strings.EqualFold(row.Cells[table.ColumnResult], g.filter.Result) {
		return false
	}
	if g.filter.Type != "" && !matching.Follows(v1alpha1.Trigger(g.filter.Type), row.Cells[table.ColumnType]) {
		return false
	}
	return g.query.Wants(row)
}

func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// testProgress is how far a test delivery is.
type testProgress struct {
	// Delivery is its record; empty before it is stored.
	Delivery, Result, Code, Milliseconds, Message string
}

// Done tells whether it has ended.
func (t *testProgress) Done() bool {
	return t.Result == string(v1alpha1.DeliverySucceeded) || t.Result == string(v1alpha1.DeliveryFailed)
}

// testOf returns how far the last test of a Webhook is, while it is of interest.
func (q *request) testOf(w *v1alpha1.Webhook) *testProgress {
	asked, last := w.Annotations[v1alpha1.AnnotationTest], w.Status.LastTest
	switch {
	case asked != "" && (last == nil || last.Hash != delivery.ResendHash(asked)):
		return &testProgress{}
	case last == nil || q.now.Sub(last.Time.Time) > recently:
		return nil
	}
	t := &testProgress{Delivery: last.Delivery, Message: last.Message}
	row := q.store.delivery(w.Name, last.Delivery)
	if last.Delivery != "" && row == nil {
		return nil // it is not read yet, or retention has taken it
	}
	if row != nil {
		t.Result, t.Code, t.Milliseconds = row.Cells[table.ColumnResult], row.Cells[table.ColumnCode], row.Cells[table.ColumnMilliseconds]
	}
	return t
}

// replayProgress is how far a replay is.
type replayProgress struct {
	// State is empty where the operator has not taken the request yet.
	State v1alpha1.ReplayState
	Text  string
	// Running: it can be stopped.
	Running bool
}

// replayOf returns how far the last replay of a Webhook is, while it is of interest.
func replayOf(w *v1alpha1.Webhook, now time.Time) *replayProgress {
	value, last := w.Annotations[v1alpha1.AnnotationReplaySince], w.Status.Replay
	switch {
	case value != "" && !insight.ReplayIs(last, value):
		return &replayProgress{Text: "since " + value + ", is asked for; the operator takes it in a moment", Running: true}
	case last == nil || !last.CompletionTime.IsZero() && now.Sub(last.CompletionTime.Time) > recently:
		return nil
	}
	return &replayProgress{State: last.State, Text: insight.ReplayOf(last, now), Running: last.CompletionTime.IsZero()}
}

// percent is how much of something is done.
func percent(done, all int) string {
	if all <= 0 {
		return "0"
	}
	return strconv.Itoa(min(100*done/all, 100))
}
