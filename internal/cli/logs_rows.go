package cli

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	deliveriesResource = "webhookdeliveries"
	// pageSize is how many rows are asked for at a time. Memory depends on it, and not on
	// how many deliveries there are.
	pageSize = 2000
	// listTries is how often a list is begun anew whose pages the API server no longer
	// has: it keeps them for five minutes.
	listTries = 3
)

// Columns of the API server's table of deliveries, by their place in a row's cells.
const (
	columnWebhook = iota
	columnResource
	columnType
	columnResult
	columnCode
	columnAttempts
	columnMilliseconds
	columnAge
	columnNext
	columnEvent
	columnReason
	columnMessage
	numColumns
)

// columnNames are the names of the columns in the CRD, in lower case. They are looked up
// by name: a later version may have more of them.
var columnNames = [numColumns]string{
	"webhook", "resource", "event type", "result", "code", "attempts", "ms", "age", "next", "event", "reason", "message",
}

// deliveryRow is a delivery as the API server's table has it: without its object.
type deliveryRow struct {
	namespace, name string
	// time is when the event was created: what the name says of it.
	time  time.Time
	cells [numColumns]string
	// meta is the metadata, where it was asked for.
	meta *rowMetadata
}

// rowMetadata is what is kept of metadata: most of it are managedFields, which nobody here
// looks at, and which take longer to read than all else.
type rowMetadata struct {
	Metadata struct {
		Namespace   string            `json:"namespace"`
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

func (r *deliveryRow) result() string { return r.cells[columnResult] }

// attempts is how many requests were made.
func (r *deliveryRow) attempts() int {
	n, _ := strconv.Atoi(r.cells[columnAttempts]) // empty where none was
	return n
}

// nameTime returns the time in the name of a delivery (see delivery.Name): when its event
// was created, in whole seconds. It is zero for a name that the operator has not given.
//
// A table says the age of a record in words that are rounded to minutes, hours or days, and
// nothing else of its time, so this is what deliveries are ordered by. The time of creation
// differs from it for what had to wait to be stored.
func nameTime(name string) time.Time {
	parts := strings.Split(name, "-")
	if len(parts) < 3 || len(parts[len(parts)-1]) != 16 {
		return time.Time{}
	}
	seconds, err := strconv.ParseInt(parts[len(parts)-2], 16, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// compareRows orders deliveries by time, and those of one second by name.
func compareRows(a, b *deliveryRow) int {
	return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.name, b.name), cmp.Compare(a.namespace, b.namespace))
}

// deliveryRows reads the rows of a table. The API server tells the columns once in a list or
// a watch, and not always with a row.
func (p *plugin) deliveryRows(table *metav1.Table, namespace string) ([]*deliveryRow, error) {
	if len(table.ColumnDefinitions) > 0 {
		p.deliveryColumns = table.ColumnDefinitions
	}
	return rowsOf(table, p.deliveryColumns, namespace)
}

// rowsOf reads the rows of a table whose columns are those of definitions.
func rowsOf(table *metav1.Table, definitions []metav1.TableColumnDefinition, namespace string) ([]*deliveryRow, error) {
	places, nameAt := [numColumns]int{}, -1
	for i := range places {
		places[i] = slices.IndexFunc(definitions, func(d metav1.TableColumnDefinition) bool {
			return strings.EqualFold(d.Name, columnNames[i])
		})
	}
	for i, d := range definitions {
		if strings.EqualFold(d.Name, "name") {
			nameAt = i
		}
	}
	rows := make([]*deliveryRow, 0, len(table.Rows))
	for _, from := range table.Rows {
		row := &deliveryRow{namespace: namespace}
		for i, at := range places {
			if at >= 0 && at < len(from.Cells) {
				row.cells[i] = cellText(from.Cells[at])
			}
		}
		if nameAt >= 0 && nameAt < len(from.Cells) {
			row.name = cellText(from.Cells[nameAt])
		}
		if len(from.Object.Raw) > 0 {
			row.meta = &rowMetadata{}
			if err := json.Unmarshal(from.Object.Raw, row.meta); err != nil {
				return nil, fmt.Errorf("reading the metadata of a delivery: %w", err)
			}
			row.namespace, row.name = row.meta.Metadata.Namespace, row.meta.Metadata.Name
		}
		if row.name == "" {
			return nil, errors.New("the API server's table of deliveries has no names")
		}
		row.time = nameTime(row.name)
		rows = append(rows, row)
	}
	return rows, nil
}

// cellText is a cell in words: empty for one that has none.
func cellText(cell any) string {
	switch v := cell.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64: // as JSON has numbers
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(cell)
}

// rowQuery says which rows are asked for.
type rowQuery struct {
	namespace string // empty: all
	labels    string
	fields    string
	include   metav1.IncludeObjectPolicy
	// matches is asked for what the API server cannot select by; nil: everything does.
	matches func(*deliveryRow) bool
}

func (q rowQuery) wants(row *deliveryRow) bool { return q.matches == nil || q.matches(row) }

// rows calls each for every row, page by page, and returns the version from which a watch
// sees what has changed since. begin is called before the first page, and again where the
// list has to begin anew.
func (p *plugin) rows(ctx context.Context, q rowQuery, begin func(), each func(*deliveryRow)) (version string, err error) {
	for range listTries {
		begin()
		version, err = p.pages(ctx, q, each)
		if !isExpired(err) {
			return version, err
		}
	}
	return "", fmt.Errorf("listing deliveries takes longer than the API server keeps the list: %w", err)
}

func (p *plugin) pages(ctx context.Context, q rowQuery, each func(*deliveryRow)) (version string, err error) {
	options := metav1.ListOptions{LabelSelector: q.labels, FieldSelector: q.fields, Limit: pageSize}
	for {
		table, err := p.table(ctx, deliveriesResource, q.namespace, options, q.include)
		if err != nil {
			return "", err
		}
		rows, err := p.deliveryRows(table, q.namespace)
		if err != nil {
			return "", err
		}
		for _, row := range rows {
			if q.wants(row) {
				each(row)
			}
		}
		version = table.ResourceVersion
		if options.Continue = table.Continue; options.Continue == "" {
			return version, nil
		}
	}
}

// isExpired tells whether the API server no longer has the version that was asked for.
func isExpired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// newest keeps the newest of the rows that it is given.
type newest struct {
	limit int // 0: all
	rows  []*deliveryRow
}

// Len, Less, Swap, Push and Pop make a heap of it with the oldest on top.

// Len is how many rows there are.
func (n *newest) Len() int { return len(n.rows) }

// Less tells whether row i is older.
func (n *newest) Less(i, j int) bool { return compareRows(n.rows[i], n.rows[j]) < 0 }

// Swap swaps two rows.
func (n *newest) Swap(i, j int) { n.rows[i], n.rows[j] = n.rows[j], n.rows[i] }

// Push appends a row.
func (n *newest) Push(row any) { n.rows = append(n.rows, row.(*deliveryRow)) }

// Pop takes the last row off.
func (n *newest) Pop() any {
	last := n.rows[len(n.rows)-1]
	n.rows = n.rows[:len(n.rows)-1]
	return last
}

func (n *newest) add(row *deliveryRow) {
	switch {
	case n.limit == 0:
		n.rows = append(n.rows, row)
	case len(n.rows) < n.limit:
		heap.Push(n, row)
	case compareRows(row, n.rows[0]) > 0:
		n.rows[0] = row
		heap.Fix(n, 0)
	}
}

// sorted returns the rows, the newest first.
func (n *newest) sorted() []*deliveryRow {
	slices.SortFunc(n.rows, func(a, b *deliveryRow) int { return compareRows(b, a) })
	return n.rows
}
