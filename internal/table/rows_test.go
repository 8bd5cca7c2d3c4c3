package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
)

// told is when what is told here happened.
var told = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

func TestNameTime(t *testing.T) {
	e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{UID: "e", CreationTimestamp: metav1.NewTime(told)}}
	w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Name: "a-name-with-692ab7f0", UID: "w"}}
	if got := NameTime(delivery.Name(e, w)); !got.Equal(told) {
		t.Errorf("the time in %s reads as %v", delivery.Name(e, w), got)
	}
	for _, name := range []string{"", "x", "a-b-c", "a-692ab7f0-short", "a-nothex00-0123456789abcdef", "692ab7f0-0123456789abcdef"} {
		if got := NameTime(name); !got.IsZero() {
			t.Errorf("NameTime(%q) = %v", name, got)
		}
	}
}

// Columns are found by name, wherever they are and whatever else there is.
func TestRowsOfAnotherTable(t *testing.T) {
	columns := []string{"Later", "Message", "Name", "CODE", "Result", "Webhook", "Attempts"}
	table := &metav1.Table{Rows: []metav1.TableRow{
		{Cells: []any{"x", "answered 500", "w-692ab7f0-0123456789abcdef", int64(500), "Failed", "w", float64(3)}},
		{Cells: []any{"x", nil, "w-692ab7f1-0123456789abcdef", nil, "Waiting"}},
	}}
	var definitions []metav1.TableColumnDefinition
	for _, name := range columns {
		definitions = append(definitions, metav1.TableColumnDefinition{Name: name})
	}
	rows, err := Deliveries.rows(table, definitions, "music")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{
		rows[0].Name, rows[0].Namespace, rows[0].Cells[ColumnCode], rows[0].Cells[ColumnMessage], rows[0].Cells[ColumnReason],
		rows[0].Cells[ColumnAttempts], rows[1].Cells[ColumnCode], rows[1].Cells[ColumnResult], rows[1].Cells[ColumnWebhook],
	}
	want := []string{"w-692ab7f0-0123456789abcdef", "music", "500", "answered 500", "", "3", "", "Waiting", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if _, err := Deliveries.rows(table, definitions[:2], "music"); err == nil {
		t.Error("a table without names is read")
	}
}

// A watch whose first event is a bookmark tells its columns with that, and with no row.
func TestRowsWithoutColumns(t *testing.T) {
	c, err := NewClient(&rest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Resource: Deliveries, Namespace: "music"}
	bookmark := &metav1.Table{}
	for _, name := range []string{"Name", "Webhook", "Result"} {
		bookmark.ColumnDefinitions = append(bookmark.ColumnDefinitions, metav1.TableColumnDefinition{Name: name})
	}
	if _, err := c.Rows(q, bookmark); err != nil {
		t.Fatal(err)
	}
	rows, err := c.Rows(q, &metav1.Table{Rows: []metav1.TableRow{{Cells: []any{"w-692ab7f0-0123456789abcdef", "w", "Failed"}}}})
	if err != nil || len(rows) != 1 || rows[0].Cells[ColumnResult] != "Failed" {
		t.Errorf("rows: %v, %v", rows, err)
	}
	if _, err := c.Rows(q, &metav1.Status{}); err == nil {
		t.Error("something else is read as a table")
	}
}

func TestNewest(t *testing.T) {
	var all []*Row
	for i := range 300 {
		all = append(all, &Row{Name: fmt.Sprint(i), Time: told.Add(time.Duration(i/3) * time.Second)})
	}
	want := slices.SortedFunc(slices.Values(all), func(a, b *Row) int { return Compare(b, a) })
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, limit := range []int{0, 1, 2, 50, 299, 300, 1000} {
		n := Newest{Limit: limit}
		for _, row := range all {
			n.Add(row)
		}
		expected := want
		if limit > 0 {
			expected = want[:min(limit, len(want))]
		}
		if got := n.Sorted(); !slices.Equal(got, expected) {
			t.Errorf("the newest %d are others", limit)
		}
	}
}
