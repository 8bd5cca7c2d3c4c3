package controllers

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

const metricsNamespace = "webhook_operator"

// meters are the operator's own metrics. No label has a value that a tenant or a
// receiver chooses, so the number of series is bounded.
type meters struct {
	events     *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	attempts   *prometheus.HistogramVec
	queueWait  prometheus.Histogram
	writes     *prometheus.HistogramVec
	refused    prometheus.Counter
	deleted    prometheus.Counter
}

func newMeters(registry prometheus.Registerer) (*meters, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsNamespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metricsNamespace, Name: name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}, labels)
	}
	refused := counter("records_refused_total", "Tries to store a record that the API server refused.")
	deleted := counter("records_deleted_total", "Records that retention has deleted, and those it has helped the garbage collector with.")
	wait := histogram("queue_wait_seconds", "Time that a new delivery was in the queue before a worker got it.")
	m := &meters{
		events:     counter("events_total", "WebhookEvents that were worked on: Dispatched, NothingToDeliver or Expired.", "result"),
		deliveries: counter("deliveries_total", "WebhookDeliveries that came to an end, by result and reason.", "result", "reason"),
		attempts:   histogram("attempt_duration_seconds", "Attempts to deliver, by cause and class of the status code.", "cause", "code"),
		writes:     histogram("record_write_duration_seconds", "Time until a record was stored, repeated tries included.", "operation"),
		deleted:    deleted.WithLabelValues(),
		queueWait:  wait.WithLabelValues().(prometheus.Histogram),
		refused:    refused.WithLabelValues(),
	}
	for _, c := range []prometheus.Collector{m.events, m.deliveries, m.attempts, m.writes, wait, refused, deleted} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// event counts an event that nothing more is made of.
func (m *meters) event(e *v1alpha1.WebhookEvent) {
	switch e.Status.Result {
	case v1alpha1.EventExpired:
		m.events.WithLabelValues(v1alpha1.ReasonExpired).Inc()
	case v1alpha1.EventUnmatched:
		m.events.WithLabelValues(v1alpha1.ReasonNothingToDeliver).Inc()
	case v1alpha1.EventPending, v1alpha1.EventWaiting, v1alpha1.EventSucceeded, v1alpha1.EventFailed:
		m.events.WithLabelValues(v1alpha1.ReasonDispatched).Inc()
	}
}

// attempt counts an attempt.
func (m *meters) attempt(cause v1alpha1.AttemptCause, x sending.Exchange) {
	m.attempts.WithLabelValues(string(cause), codeClass(x)).Observe(x.Duration.Seconds())
}

// codeClass is the class of a status code, such as 2xx, "other" for what is none,
// and "none" where there was no answer.
func codeClass(x sending.Exchange) string {
	switch {
	case x.Response == nil:
		return "none"
	case x.Response.StatusCode >= 100 && x.Response.StatusCode < 600:
		return strconv.Itoa(x.Response.StatusCode/100) + "xx"
	default:
		return "other"
	}
}

// stored counts a record that was written over base, if there was one, and the
// delivery if it came to an end by that: a resend may end as before.
func (m *meters) stored(operation string, base, d *v1alpha1.WebhookDelivery, took time.Duration) {
	m.writes.WithLabelValues(operation).Observe(took.Seconds())
	reason, ended := end(d)
	if !ended {
		return
	}
	if base != nil {
		before, was := end(base)
		if was && before == reason && base.Status.Result == d.Status.Result {
			return
		}
	}
	m.deliveries.WithLabelValues(string(d.Status.Result), reason).Inc()
}

// end is how a delivery has ended, if it has.
func end(d *v1alpha1.WebhookDelivery) (reason string, ended bool) {
	if d.Status.Result == v1alpha1.DeliveryWaiting || !d.Status.NextAttemptTime.IsZero() {
		return "", false
	}
	c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
	if c == nil {
		return "", false
	}
	return c.Reason, true
}

// gauges tell what is the case now.
type gauges struct {
	ledger    *ledger.Ledger
	queue     *queue.Queue
	endpoints *endpoints
	refusals  *refusals
}

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricsNamespace, "", name), help, labels, nil)
}

var (
	recordsGauge  = gauge("records", "WebhookDeliveries in store, by result.", "result")
	unstoredGauge = gauge("records_unstored", "Records that a try to store has failed for, and that are only in memory.")
	draftsGauge   = gauge("drafts", "Deliveries that are known and not stored yet.")
	readyGauge    = gauge("queue_depth", "Deliveries in the queue: they wait for a worker, or for their receiver to take requests.")
	busyGauge     = gauge("workers_busy", "Workers that have a delivery.")
	inFlightGauge = gauge("in_flight", "Requests that are under way.")
	circuitsGauge = gauge("open_circuits", "Webhooks whose receiver keeps failing and is only probed.")
	restingGauge  = gauge("resting_receivers", "Webhooks whose receiver has asked to be left alone for a while.")
)

var _ prometheus.Collector = gauges{}

// Describe implements prometheus.Collector.
func (g gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		recordsGauge, unstoredGauge, draftsGauge, readyGauge, busyGauge, inFlightGauge, circuitsGauge, restingGauge,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(to chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, value int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	counts, drafts := g.ledger.Totals()
	set(recordsGauge, counts.Waiting, string(v1alpha1.DeliveryWaiting))
	set(recordsGauge, counts.Succeeded, string(v1alpha1.DeliverySucceeded))
	set(recordsGauge, counts.Failed, string(v1alpha1.DeliveryFailed))
	set(unstoredGauge, g.refusals.count())
	set(draftsGauge, drafts)
	stats := g.queue.Stats()
	set(readyGauge, stats.Queued)
	set(busyGauge, stats.Busy)
	set(inFlightGauge, stats.Sending)
	open, resting := g.endpoints.open()
	set(circuitsGauge, open)
	set(restingGauge, resting)
}
