package bridge

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metricsPrefix is that of all metrics of the bridge. Labels have values that the program
// or whoever writes the routes chooses, so the number of series is bounded.
const metricsPrefix = "horizon_bridge"

var answerBuckets = []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30}

type metrics struct {
	requests *prometheus.CounterVec
	answers  prometheus.Histogram
	events   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	lookups  *prometheus.CounterVec
	pathless prometheus.Counter
	badLogs  prometheus.Counter
	scans    *prometheus.CounterVec
	open     prometheus.Gauge
	possible prometheus.Gauge
	stale    *prometheus.GaugeVec
	unstored prometheus.Gauge
}

// newMetrics registers all metrics. behind tells how far behind the catch-up is, in seconds.
func newMetrics(registry prometheus.Registerer, behind func() float64) (*metrics, error) {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsPrefix, Name: name, Help: help}, labels)
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: metricsPrefix, Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: metricsPrefix, Name: name, Help: help})
	}
	m := &metrics{
		requests: counters("requests_total", "Requests to /horizon, by the status code of the answer.", "code"),
		answers: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: metricsPrefix, Name: "answer_seconds", Buckets: answerBuckets,
			Help: "Time from a request with the right secret to its answer.",
		}),
		events: counters("events_total",
			"Events, by where they came from (request, catch_up) and what became of them (created, existing, invalid, conflict, refused, unavailable, unknown_path).",
			"source", "result"),
		refused: counters("namespace_refusals_total",
			"Events that a namespace did not take: it is gone, its quota is used up, or the bridge has no role there. The catch-up tries them again.", "namespace"),
		lookups: counters("lookups_total",
			"Look-ups of paths, by result: found, gone, remembered (for something that is gone), failed.", "result"),
		pathless: counter("pathless_events_total", "Events without a path, in the system namespace: Horizon has deleted what they are about before the bridge knew it."),
		badLogs:  counter("bad_logs_total", "Places in Horizon's list of logs that it answers with 404: the event of such a log has lost its object, and is skipped."),
		scans:    counters("catch_up_scans_total", "Scans of Horizon's logs, by result: complete, open (some events could not be created yet), failed, other (it is another replica's turn).", "result"),
		open:     gauge("catch_up_open_logs", "Events in Horizon's logs that are to be created and could not be so far."),
		possible: gauge("catch_up_possible", "Whether the bridge may read Horizon's logs: 0 or 1. Without, what it misses is lost."),
		stale: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: metricsPrefix, Name: "stale_files", Help: "Whether a file cannot be read or understood, and what it said before counts: 0 or 1.",
		}, []string{"file"}),
		unstored: gauge("state_unstored", "Whether the last write of the bridge's ConfigMap has failed: 0 or 1."),
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.answers, m.events, m.refused, m.lookups, m.pathless, m.badLogs, m.scans, m.open, m.possible, m.stale, m.unstored,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: metricsPrefix, Name: "catch_up_behind_seconds",
			Help: "Age of the oldest send that the bridge may have missed and has not dealt with.",
		}, behind),
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
