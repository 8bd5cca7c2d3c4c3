package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

func TestQuantiles(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	if got := median(values); got != 2.5 {
		t.Errorf("median %g, want 2.5", got)
	}
	if got := median(append(values, 9)); got != 3 {
		t.Errorf("median %g, want 3", got)
	}
	for q, want := range map[float64]float64{0: 1, 0.25: 1, 0.5: 2, 0.51: 3, 0.99: 4, 1: 4} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of nothing: %g", got)
	}
}

func TestRowIsMet(t *testing.T) {
	for name, tt := range map[string]struct {
		row  row
		want bool
	}{
		"enough":      {row{AtLeast: true, Goal: 85, values: []float64{10, 85, 90}}, true},
		"not enough":  {row{AtLeast: true, Goal: 85, values: []float64{84, 80, 90}}, false},
		"little":      {row{Goal: 3, values: []float64{9, 3, -1}}, true},
		"not so much": {row{Goal: 3, values: []float64{4, 1}}, true},
		"too much":    {row{Goal: 3, values: []float64{4, 4, 1}}, false},
	} {
		tt.row.settle()
		if tt.row.Met != tt.want {
			t.Errorf("%s: met is %v", name, tt.row.Met)
		}
	}
}

// Ten milliseconds more may be many times as much.
func TestIsolationToleratesMilliseconds(t *testing.T) {
	rows := func(with, without float64) (met bool) {
		all := isolationRows(
			isolation{times: [][]float64{{with}}, rates: []float64{1}},
			isolation{times: [][]float64{{without}}, rates: []float64{1}})
		all[1].settle()
		return all[1].Met
	}
	if !rows(12, 2) || !rows(149, 100) || rows(13, 2) || rows(151, 100) {
		t.Error("want the others' p99 to be met up to 10 ms or half as much more, and not beyond")
	}
}

func TestWritesOfDeliveriesAndEventStatusCount(t *testing.T) {
	rows := writeRows(bursts{{deliveries: 8, webhooks: 4, writes: writes{
		"POST webhookdeliveries": 8, "PATCH webhookevents/status": 2, "POST webhookevents": 2, "PATCH webhooks/status": 4,
	}}})
	rows[0].settle()
	if rows[0].Value != 1.25 || !rows[0].Met {
		t.Errorf("value %g, met %v; want 1.25, which is met", rows[0].Value, rows[0].Met)
	}
}

func TestTicks(t *testing.T) {
	for to, want := range map[float64][]float64{
		1:   {0, 0.2, 0.4, 0.6, 0.8, 1},
		4:   {0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4},
		330: {0, 50, 100, 150, 200, 250, 300},
		0:   nil,
	} {
		if diff := cmp.Diff(want, ticks(to), cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); diff != "" {
			t.Errorf("up to %g (-want +got):\n%s", to, diff)
		}
	}
}

func TestOverTimeCountsDeliveries(t *testing.T) {
	l := overTime("x", throughput{
		webhooks: 4, length: 1200 * time.Millisecond,
		ends: []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 600 * time.Millisecond, 1100 * time.Millisecond},
	})
	want := []point{{0.25, 16}, {0.75, 8}}
	if diff := cmp.Diff(want, l.points, cmp.AllowUnexported(point{})); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
}

// The API server ends watches; what follows must be seen all the same.
func TestSightingsCountEachEventOnce(t *testing.T) {
	s := &sightings{at: map[types.UID]time.Time{}, changed: make(chan struct{})}
	event := func(uid, version string) *v1alpha1.WebhookEvent {
		return &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), ResourceVersion: version}}
	}
	w := watch.NewFakeWithChanSize(3, false)
	w.Add(event("a", "3"))
	w.Modify(event("b", "5"))
	w.Add(event("c", "7"))
	w.Stop()
	if to, err := s.follow(w, "2"); to != "7" || err != nil {
		t.Errorf("got to %s, %v; want 7", to, err)
	}
	if err := s.wait(t.Context(), 2); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.of(ended, "b"); err == nil {
		t.Error("an event was seen that was not added")
	}
}

func TestErrorsEndAWatch(t *testing.T) {
	s := &sightings{at: map[types.UID]time.Time{}, changed: make(chan struct{})}
	w := watch.NewFakeWithChanSize(1, false)
	w.Error(&metav1.Status{Reason: metav1.StatusReasonExpired, Message: "too old"})
	to, err := s.follow(w, "2")
	if to != "2" || err == nil {
		t.Fatalf("got to %s, %v; want 2 and an error", to, err)
	}
	s.end(err)
	if err := s.wait(t.Context(), 1); err == nil {
		t.Error("waiting for an event of a watch that has failed succeeded")
	}
}

func TestOperatorTellsOfItself(t *testing.T) {
	parse := func(text string) told {
		t.Helper()
		s, err := parseMetrics([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return hear(s)
	}
	if note := parse("up 1\n").note(); note != "" {
		t.Errorf("an operator without metrics tells %q", note)
	}
	before := parse("webhook_operator_deliveries_total{result=\"Succeeded\"} 5\n")
	after := parse(`# TYPE webhook_operator_queue_wait_seconds histogram
webhook_operator_queue_wait_seconds_bucket{le="+Inf"} 4
webhook_operator_queue_wait_seconds_sum 0.01
webhook_operator_queue_wait_seconds_count 4
# TYPE webhook_operator_deliveries_total counter
webhook_operator_deliveries_total{result="Succeeded"} 7
webhook_operator_deliveries_total{result="Failed"} 3
`)
	want := "; by the operator's own count 5 deliveries, 4 waits in its queue of 2.5 ms on average"
	if got := after.since(before).note(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The operator that is measured with retention differs from the one that ships by
// one constant, which has to be where the bench looks for it.
func TestMinAgeIsShortened(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("../..", retentionSource))
	if err != nil {
		t.Fatal(err)
	}
	changed, err := withMinAge(source)
	if err != nil {
		t.Fatal(err)
	}
	if want := len(source) - len(shippedMinAge) + len(measuredMinAge); len(changed) != want || !bytes.Contains(changed, []byte(measuredMinAge)) {
		t.Errorf("%d bytes became %d, want %d", len(source), len(changed), want)
	}
	if _, err := withMinAge(changed); err == nil {
		t.Error("it was not missed where it is another one")
	}
}

// A row that was wanted and has no values is named.
func TestNotMeasured(t *testing.T) {
	b := &bench{options: options{rows: strings.Join(allRows, ",")}}
	all, missing := measured(b.rows())
	if len(all) != 0 || len(missing) != len(b.rows()) {
		t.Errorf("%d are measured and %d not, of %d", len(all), len(missing), len(b.rows()))
	}
}

// The dearest filter is one that the operator takes, is false, and costs nearly all that it
// may.
func TestDearest(t *testing.T) {
	e := (&scene{eventType: "clusters_deployed"}).event(1)
	text, took, err := dearest(e)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v: %s", took, text)
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}, Filter: text}}
	if v := matching.Match(w, e); v.Reason != v1alpha1.UnmatchedFilter {
		t.Errorf("verdict %+v", v)
	}
	if len(text) > 4096 {
		t.Errorf("%d characters", len(text))
	}
	if took < 100*time.Microsecond {
		t.Errorf("it takes %v only", took)
	}
}

// The usual filter lets the events of the bench pass, and the usual template makes a body.
func TestUsualExpressions(t *testing.T) {
	e := (&scene{eventType: "clusters_deployed"}).event(1)
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{
		Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}, Filter: usualFilter, Payload: &v1alpha1.PayloadSettings{Template: usualTemplate},
	}}
	if v := matching.Match(w, e); !v.Follows() {
		t.Errorf("verdict %+v", v)
	}
	if problems := validation.Expressions(w); len(problems) > 0 {
		t.Error(problems[0].Message())
	}
}

// What filter and template of the bench take by themselves.
func BenchmarkUsualExpressions(b *testing.B) {
	e := (&scene{eventType: "clusters_deployed"}).event(1)
	for name, spec := range map[string]v1alpha1.WebhookSpec{
		"with":    {Filter: usualFilter, Payload: &v1alpha1.PayloadSettings{Template: usualTemplate}},
		"without": {},
	} {
		spec.Triggers = []v1alpha1.Trigger{v1alpha1.TriggerAny}
		w := &v1alpha1.Webhook{Spec: spec}
		body, err := payload.Render(e, 1)
		if err != nil {
			b.Fatal(err)
		}
		d := delivery.New(e, w, body)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if v := matching.Match(w, e); !v.Follows() {
					b.Fatal(v)
				}
				if _, err := payload.Of(d, w, "whd_1"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
