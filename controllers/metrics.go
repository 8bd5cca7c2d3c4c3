package controllers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiver"
)

// MetricsPrefix is that of all metrics of the operator. No label has a value that a tenant
// or a receiver chooses, so the number of series is bounded.
const MetricsPrefix = "webhook_operator"

// durations are the buckets of histograms, in seconds.
var durations = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// metrics are those of the queue, which no controller owns, and the counters of the
// controllers that have only one. The many of deliveries are in webhookdelivery.Metrics.
type metrics struct {
	events    *prometheus.CounterVec
	deleted   prometheus.Counter
	queueWait prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: MetricsPrefix, Name: "events_total",
			Help: "WebhookEvents that were worked on: Dispatched, NothingToDeliver or Expired.",
		}, []string{"result"}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: MetricsPrefix, Name: "deliveries_deleted_total",
			Help: "WebhookDeliveries that retention has deleted, and those it has helped the garbage collector with.",
		}),
		queueWait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: MetricsPrefix, Name: "queue_wait_seconds", Buckets: durations,
			Help: "Time that a pending delivery was in the queue before a worker got it.",
		}),
	}
	for _, c := range []prometheus.Collector{m.events, m.deleted, m.queueWait} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	// To Prometheus, a counter that appears as 1 has not increased: they begin at 0, so
	// that the first event is seen, too.
	for _, result := range []string{v1alpha1.ReasonDispatched, v1alpha1.ReasonNothingToDeliver, v1alpha1.ReasonExpired} {
		m.events.WithLabelValues(result)
	}
	return m, nil
}

// gauges tell what is the case now.
type gauges struct {
	ledger    *ledger.Ledger
	queue     *queue.Queue
	receivers *receiver.Registry
	unstored  func() int
	crdsLack  func() int
}

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(MetricsPrefix, "", name), help, labels, nil)
}

var (
	storedGauge   = gauge("stored_deliveries", "WebhookDeliveries in store, by result.", "result")
	unstoredGauge = gauge("unstored_deliveries", "Deliveries that a try to store has failed for, and that are only in memory.")
	pendingGauge  = gauge("pending_deliveries", "Deliveries that are known and not stored yet.")
	queuedGauge   = gauge("queue_depth", "Deliveries in the queue: they wait for a worker, or for their receiver to take requests.")
	busyGauge     = gauge("workers_busy", "Workers that have a delivery.")
	inFlightGauge = gauge("in_flight", "Requests that are under way.")
	circuitsGauge = gauge("open_circuits", "Webhooks whose receiver keeps failing and is only probed.")
	restingGauge  = gauge("resting_receivers", "Webhooks whose receiver has asked to be left alone for a while.")
	limitedGauge  = gauge("rate_limited_receivers", "Webhooks that deliveries wait for because of a rate limit.")
	crdsLackGauge = gauge("crds_lacking", "Fields and values that this version of the operator knows and the CRDs in the cluster do not: above 0, they are to be upgraded.")
)

var _ prometheus.Collector = gauges{}

// Describe implements prometheus.Collector.
func (g gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		storedGauge, unstoredGauge, pendingGauge, queuedGauge, busyGauge, inFlightGauge, circuitsGauge, restingGauge, limitedGauge,
		crdsLackGauge,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(to chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, value int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	counts, pending := g.ledger.Totals()
	set(storedGauge, counts.Waiting, string(v1alpha1.DeliveryWaiting))
	set(storedGauge, counts.Succeeded, string(v1alpha1.DeliverySucceeded))
	set(storedGauge, counts.Failed, string(v1alpha1.DeliveryFailed))
	set(unstoredGauge, g.unstored())
	set(pendingGauge, pending)
	stats := g.queue.Stats()
	set(queuedGauge, stats.Queued)
	set(busyGauge, stats.Busy)
	set(inFlightGauge, stats.Sending)
	receivers := g.receivers.Count()
	set(circuitsGauge, receivers.Open)
	set(restingGauge, receivers.Resting)
	set(limitedGauge, receivers.RateLimited)
	set(crdsLackGauge, g.crdsLack())
}
