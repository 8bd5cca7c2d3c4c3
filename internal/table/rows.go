package table

import (
	"cmp"
	"container/heap"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Resource is a resource as the API server's tables have it.
type Resource struct {
	// Name is what paths have: the plural, in lower case.
	Name string
	// Columns are the names of the columns in the CRD, in lower case, in the order in which a
	// Row has its cells. They are looked up by name: a later version may have more of them.
	Columns []string
	// time tells the time of a row.
	time func(*Row) time.Time
}

// Deliveries are the WebhookDeliveries. The constants Column… are places in their cells.
var Deliveries = Resource{
	Name: "webhookdeliveries",
	Columns: []string{
		"webhook", "resource", "event type", "result", "code", "attempts", "ms", "age", "next", "event", "reason", "message",
	},
	time: func(row *Row) time.Time { return NameTime(row.Name) },
}

// Cells of a delivery.
const (
	ColumnWebhook = iota
	ColumnResource
	ColumnType
	ColumnResult
	ColumnCode
	ColumnAttempts
	ColumnMilliseconds
	ColumnAge
	ColumnNext
	ColumnEvent
	ColumnReason
	ColumnMessage
)

// Events are the WebhookEvents. The constants EventColumn… are places in their cells.
var Events = Resource{
	Name:    "webhookevents",
	Columns: []string{"type", "resource", "result", "succeeded", "waiting", "failed", "age", "user", "message", "created"},
	time: func(row *Row) time.Time {
		created, _ := time.Parse(time.RFC3339, row.Cells[EventColumnCreated]) // empty with CRDs that lack the column
		return created
	},
}

// Cells of an event.
const (
	EventColumnType = iota
	EventColumnResource
	EventColumnResult
	EventColumnSucceeded
	EventColumnWaiting
	EventColumnFailed
	EventColumnAge
	EventColumnUser
	EventColumnMessage
	EventColumnCreated
)

// Row is an object as the API server's table has it: what kubectl get prints, without the
// object.
type Row struct {
	Namespace, Name string
	// Time is when an event was created; that of a delivery is in its name.
	Time time.Time
	// Cells are in the order of the columns of the resource; empty where there is nothing.
	Cells []string
	// Annotations are there where metadata was asked for.
	Annotations map[string]string
}

// metadata is what is kept of metadata: most of it are managedFields, which nobody here
// looks at, and which take longer to read than all else.
type metadata struct {
	Metadata struct {
		Namespace   string            `json:"namespace"`
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// NameTime returns the time in the name of a delivery (see delivery.Name): when its event
// was created, in whole seconds. It is zero for a name that the operator has not given.
//
// A table says the age of a record in words that are rounded to minutes, hours or days, and
// nothing else of its time, so this is what deliveries are ordered by. The time of creation
// differs from it for what had to wait to be stored.
func NameTime(name string) time.Time {
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

// Compare orders rows by time, and those of one second by name.
func Compare(a, b *Row) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
}

// rows reads the rows of a table whose columns are those of definitions.
func (r Resource) rows(table *metav1.Table, definitions []metav1.TableColumnDefinition, namespace string) ([]*Row, error) {
	placeOf := func(column string) int {
		return slices.IndexFunc(definitions, func(d metav1.TableColumnDefinition) bool { return strings.EqualFold(d.Name, column) })
	}
	places, nameAt := make([]int, len(r.Columns)), placeOf("name")
	for i, column := range r.Columns {
		places[i] = placeOf(column)
	}
	rows := make([]*Row, 0, len(table.Rows))
	for _, from := range table.Rows {
		row := &Row{Namespace: namespace, Cells: make([]string, len(places))}
		for i, at := range places {
			if at >= 0 && at < len(from.Cells) {
				row.Cells[i] = cellText(from.Cells[at])
			}
		}
		if nameAt >= 0 && nameAt < len(from.Cells) {
			row.Name = cellText(from.Cells[nameAt])
		}
		if len(from.Object.Raw) > 0 {
			var meta metadata
			if err := json.Unmarshal(from.Object.Raw, &meta); err != nil {
				return nil, fmt.Errorf("reading the metadata of %s: %w", r.Name, err)
			}
			row.Namespace, row.Name, row.Annotations = meta.Metadata.Namespace, meta.Metadata.Name, meta.Metadata.Annotations
		}
		if row.Name == "" {
			return nil, fmt.Errorf("the API server's table of %s has no names", r.Name)
		}
		row.Time = r.time(row)
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

// RowOf is the row of a whole delivery, as far as Filters look at it.
func RowOf(delivery *unstructured.Unstructured) *Row {
	row := &Row{
		Namespace: delivery.GetNamespace(), Name: delivery.GetName(), Time: NameTime(delivery.GetName()),
		Cells: make([]string, len(Deliveries.Columns)),
	}
	row.Cells[ColumnType], _, _ = unstructured.NestedString(delivery.Object, "spec", "eventType")
	history, _, _ := unstructured.NestedSlice(delivery.Object, "status", "history")
	if len(history) > 0 {
		if latest, ok := history[0].(map[string]any); ok {
			row.Cells[ColumnCode] = cellText(latest["statusCode"])
		}
	}
	conditions, _, _ := unstructured.NestedSlice(delivery.Object, "status", "conditions")
	for _, each := range conditions {
		if c, ok := each.(map[string]any); ok && c["type"] == v1alpha1.ConditionDelivered {
			row.Cells[ColumnReason] = cellText(c["reason"])
		}
	}
	return row
}

// Newest keeps the newest of the rows that it is given.
type Newest struct {
	// Limit is how many; 0: all.
	Limit int
	rows  oldestFirst
}

// Add takes a row in, and leaves the oldest out where there are too many.
func (n *Newest) Add(row *Row) {
	switch {
	case n.Limit == 0:
		n.rows = append(n.rows, row)
	case len(n.rows) < n.Limit:
		heap.Push(&n.rows, row)
	case Compare(row, n.rows[0]) > 0:
		n.rows[0] = row
		heap.Fix(&n.rows, 0)
	}
}

// Sorted returns the rows, the newest first. It ends the use of n.
func (n *Newest) Sorted() []*Row {
	slices.SortFunc(n.rows, func(a, b *Row) int { return Compare(b, a) })
	return n.rows
}

// oldestFirst is a heap with the oldest row on top.
type oldestFirst []*Row

func (o oldestFirst) Len() int           { return len(o) }
func (o oldestFirst) Less(i, j int) bool { return Compare(o[i], o[j]) < 0 }
func (o oldestFirst) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *oldestFirst) Push(row any)      { *o = append(*o, row.(*Row)) }
func (o *oldestFirst) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}
