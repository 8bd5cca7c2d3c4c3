package table

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
)

func TestMoment(t *testing.T) {
	now := told.Add(500 * time.Millisecond)
	for value, want := range map[string]time.Time{
		"10m": now.Add(-10 * time.Minute), "7d": now.AddDate(0, 0, -7), "1w": now.AddDate(0, 0, -7), "1d12h": now.Add(-36 * time.Hour),
		"2026-11-28T09:00:00Z":      time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC),
		"2026-11-28T09:00:00+02:00": time.Date(2026, 11, 28, 7, 0, 0, 0, time.UTC),
		"2026-11-28":                time.Date(2026, 11, 28, 0, 0, 0, 0, time.Local),
		"2026-11-28 10:30":          time.Date(2026, 11, 28, 10, 30, 0, 0, time.Local),
	} {
		if got, err := Moment(value, now); err != nil || !got.Equal(want) {
			t.Errorf("Moment(%q) = %v, %v, want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"", "soon", "-10m", "10", "2026-13-01", "99999999w"} {
		if got, err := Moment(value, now); err == nil {
			t.Errorf("Moment(%q) = %v", value, got)
		}
	}
}

func TestQuery(t *testing.T) {
	type asked struct{ Labels, Fields string }
	for name, tc := range map[string]struct {
		filters Filters
		webhook string
		want    asked
	}{
		"nothing": {},
		"webhook": {webhook: "w", want: asked{Labels: "horizoncd.io/webhook=w"}},
		"failed":  {filters: Filters{Result: "Failed"}, want: asked{Fields: "status.result=Failed"}},
		"result":  {filters: Filters{Result: "waiting"}, want: asked{Fields: "status.result=Waiting"}},
		"event":   {filters: Filters{Event: "horizon-1"}, want: asked{Fields: "spec.eventRef.name=horizon-1"}},
		"type in every spelling": {
			filters: Filters{Types: []string{"cluster_deleted"}},
			want:    asked{Labels: "horizoncd.io/event-type in (cluster_deleted,clusters_deleted)"},
		},
		"a type that Horizon misspells": {
			filters: Filters{Types: []string{"clusters_restarted"}},
			want:    asked{Labels: "horizoncd.io/event-type in (clsuters_restarted,cluster_restarted,clusters_restarted)"},
		},
		"a family is looked at here": {filters: Filters{Types: []string{"clusters_*"}}},
		"all": {
			filters: Filters{Result: "Failed", Event: "e", Types: []string{"members_created"}, Selector: "team in (a,b)"},
			webhook: "w",
			want: asked{
				Labels: "horizoncd.io/event-type in (member_created,members_created),horizoncd.io/webhook=w,team in (a,b)",
				Fields: "spec.eventRef.name=e,status.result=Failed",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := tc.filters.Query("music", tc.webhook, told)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, asked{q.Labels, q.Fields}); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
			if _, err := labels.Parse(q.Labels); err != nil {
				t.Error(err)
			}
		})
	}
	for filter, f := range map[string]Filters{
		"result": {Result: "lost"}, "code": {Codes: []string{"50x"}}, "since": {Since: "soon"}, "until": {Until: "soon"},
		"selector": {Selector: "a in"}, "type": {Types: []string{"no type"}},
	} {
		_, err := f.Query("music", "", told)
		if refused, ok := errors.AsType[*FilterError](err); !ok || refused.Filter != filter {
			t.Errorf("%s: the error is %v", filter, err)
		}
	}
	_, err := Filters{}.Query("music", "no name", told)
	if refused, ok := errors.AsType[*FilterError](err); !ok || refused.Filter != "webhook" {
		t.Errorf("webhook: the error is %v", err)
	}
}

func TestMatches(t *testing.T) {
	row := &Row{Time: told, Cells: make([]string, len(Deliveries.Columns))}
	row.Cells[ColumnType], row.Cells[ColumnCode], row.Cells[ColumnReason] = "cluster_deployed", "503", "Retrying"
	unanswered := &Row{Time: told, Cells: make([]string, len(Deliveries.Columns))}
	for name, tc := range map[string]struct {
		filters Filters
		row     *Row
		want    bool
	}{
		"all":              {row: row, want: true},
		"family":           {filters: Filters{Types: []string{"clusters_*"}}, row: row, want: true},
		"another family":   {filters: Filters{Types: []string{"members_*", "clusters_freed"}}, row: row},
		"code":             {filters: Filters{Codes: []string{"404", "503"}}, row: row, want: true},
		"class of codes":   {filters: Filters{Codes: []string{"5xx"}}, row: row, want: true},
		"another class":    {filters: Filters{Codes: []string{"4xx"}}, row: row},
		"answered":         {filters: Filters{Codes: []string{"none"}}, row: row},
		"not answered":     {filters: Filters{Codes: []string{"none"}}, row: unanswered, want: true},
		"no class of none": {filters: Filters{Codes: []string{"5xx"}}, row: unanswered},
		"reason":           {filters: Filters{Reason: "retrying"}, row: row, want: true},
		"another reason":   {filters: Filters{Reason: "Gone"}, row: row},
		"since then":       {filters: Filters{Since: told.Format(time.RFC3339)}, row: row, want: true},
		"since later":      {filters: Filters{Since: told.Add(time.Second).Format(time.RFC3339)}, row: row},
		"until then":       {filters: Filters{Until: told.Format(time.RFC3339)}, row: row, want: true},
		"until before":     {filters: Filters{Until: told.Add(-time.Second).Format(time.RFC3339)}, row: row},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := tc.filters.Query("music", "", told)
			if err != nil {
				t.Fatal(err)
			}
			if got := q.Wants(tc.row); got != tc.want {
				t.Errorf("it is wanted: %t", got)
			}
		})
	}
}
