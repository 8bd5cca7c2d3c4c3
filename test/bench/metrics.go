package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// samples are what a process tells under /metrics.
type samples model.Vector

func parseMetrics(text []byte) (samples, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	all, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, slices.Collect(maps.Values(families))...)
	return samples(all), err
}

// value is that of a metric without labels.
func (s samples) value(name string) (float64, error) {
	for _, sample := range s {
		if string(sample.Metric[model.MetricNameLabel]) == name {
			return float64(sample.Value), nil
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

// sum adds up a metric with all its labels.
func (s samples) sum(name string) float64 {
	sum := 0.0
	for _, sample := range s {
		if string(sample.Metric[model.MetricNameLabel]) == name {
			sum += float64(sample.Value)
		}
	}
	return sum
}

// apiServerMetrics are the API server's own.
func (s *store) apiServerMetrics(ctx context.Context) (samples, error) {
	text, err := s.rest.Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the API server for its metrics: %w", err)
	}
	return parseMetrics(text)
}

func (s *store) etcdMetrics(ctx context.Context) (samples, error) {
	text, err := get(ctx, s.etcd)
	if err != nil {
		return nil, fmt.Errorf("asking etcd for its metrics: %w", err)
	}
	return parseMetrics(text)
}

func (s *store) operatorMetrics(ctx context.Context) (samples, error) {
	text, err := s.op.Metrics(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking the operator for its metrics: %w", err)
	}
	return parseMetrics([]byte(text))
}

// writes are requests that change objects of the project's group, by verb,
// resource and subresource, whatever their outcome.
type writes map[string]float64

var writeVerbs = []string{"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}

func countWrites(s samples) writes {
	count := writes{}
	for _, sample := range s {
		label := func(name string) string { return string(sample.Metric[model.LabelName(name)]) }
		if label(model.MetricNameLabel) == "apiserver_request_total" && label("group") == v1alpha1.GroupVersion.Group &&
			slices.Contains(writeVerbs, label("verb")) {
			count[label("verb")+" "+path.Join(label("resource"), label("subresource"))] += float64(sample.Value)
		}
	}
	return count
}

// since is what has been written after an earlier count.
func (w writes) since(before writes) writes {
	made := writes{}
	for request, n := range w {
		if n -= before[request]; n > 0 {
			made[request] = n
		}
	}
	return made
}

// meters are the CPU seconds that each process has used.
type meters struct{ apiServer, etcd, operator, receivers, bench float64 }

// reading is what all processes tell at a time.
type reading struct {
	meters
	writes writes
	told   told
}

// read asks all processes.
func (b *bench) read(ctx context.Context, s *store) (r reading, err error) {
	const cpu = "process_cpu_seconds_total"
	f, err := s.apiServerMetrics(ctx)
	if err != nil {
		return r, err
	}
	r.writes = countWrites(f)
	if r.apiServer, err = f.value(cpu); err != nil {
		return r, err
	}
	if f, err = s.etcdMetrics(ctx); err != nil {
		return r, err
	}
	if r.etcd, err = f.value(cpu); err != nil {
		return r, err
	}
	if s.op != nil {
		if f, err = s.operatorMetrics(ctx); err != nil {
			return r, err
		}
		if r.operator, err = f.value(cpu); err != nil {
			return r, err
		}
		r.told = hear(f)
	}
	r.receivers, err = b.receivers.cpu()
	r.bench = ownCPU()
	return r, err
}

// Metrics of the operator's own, without their common beginning.
const (
	toldPrefix       = "webhook_operator_"
	deliveriesMetric = "deliveries_total"
	queueMetric      = "queue_wait_seconds"
	attemptsMetric   = "attempt_duration_seconds"
	storeMetric      = "delivery_write_duration_seconds"
)

// told is what the operator tells of its work, by metric, all labels together. An
// operator that does not serve one tells nothing of it.
type told map[string]float64

func hear(s samples) told {
	t := told{}
	for _, sample := range s {
		if name, ok := strings.CutPrefix(string(sample.Metric[model.MetricNameLabel]), toldPrefix); ok {
			t[name] += float64(sample.Value)
		}
	}
	return t
}

// since is what was told of the time since then.
func (t told) since(before told) told {
	since := told{}
	for name, n := range t {
		since[name] = n - before[name]
	}
	return since
}

// note says it in words that can follow others.
func (t told) note() string {
	var parts []string
	if n := t[deliveriesMetric]; n > 0 {
		parts = append(parts, fmt.Sprintf("%.0f deliveries", n))
	}
	for _, m := range []struct{ metric, what string }{
		{queueMetric, "waits in its queue"}, {attemptsMetric, "attempts"}, {storeMetric, "writes of records"},
	} {
		if n := t[m.metric+"_count"]; n > 0 {
			parts = append(parts, fmt.Sprintf("%.0f %s of %.1f ms on average", n, m.what, 1000*t[m.metric+"_sum"]/n))
		}
	}
	if parts == nil {
		return ""
	}
	return "; by the operator's own count " + strings.Join(parts, ", ")
}

// per is the CPU time per delivery since an earlier reading, in milliseconds.
func (m meters) per(deliveries int, before meters) meters {
	ms := func(now, before float64) float64 { return 1000 * (now - before) / float64(deliveries) }
	return meters{
		apiServer: ms(m.apiServer, before.apiServer), etcd: ms(m.etcd, before.etcd), operator: ms(m.operator, before.operator),
		receivers: ms(m.receivers, before.receivers), bench: ms(m.bench, before.bench),
	}
}

func (m meters) sum() float64 { return m.apiServer + m.etcd + m.operator + m.receivers + m.bench }

func (m meters) String() string {
	return fmt.Sprintf("API server %.2f, etcd %.2f, operator %.2f, receivers %.2f, load and bare client %.2f",
		m.apiServer, m.etcd, m.operator, m.receivers, m.bench)
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// apiServerHeap is the API server's heap after a collection, in bytes.
func (s *store) apiServerHeap(ctx context.Context) (float64, error) {
	text, err := s.rest.Get().AbsPath("/debug/pprof/heap").Param("gc", "1").Param("debug", "1").DoRaw(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking the API server for its heap: %w", err)
	}
	found := heapAlloc.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("the API server does not tell its heap")
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// residentMemory is that of the operator's process, in bytes.
func (s *store) residentMemory(ctx context.Context) (float64, error) {
	f, err := s.operatorMetrics(ctx)
	if err != nil {
		return 0, err
	}
	return f.value("process_resident_memory_bytes")
}

// operatorHeap is what the operator's collector found alive, in bytes. Reading
// its metrics makes garbage enough for one collection after another, if it was
// started with a low GOGC; three of them see to finalizers and pools.
func (s *store) operatorHeap(ctx context.Context) (heap float64, err error) {
	enough := math.Inf(1) // cycles, known from the first reading
	err = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		f, err := s.operatorMetrics(ctx)
		if err != nil {
			return false, err
		}
		cycles, err := f.value("go_gc_cycles_total_gc_cycles_total")
		if err != nil {
			return false, err
		}
		enough = min(enough, cycles+3)
		heap, err = f.value("go_gc_heap_live_bytes")
		return cycles >= enough, err
	})
	return heap, err
}
