package webhookdelivery

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// Metrics are those of deliveries. No label has a value that a tenant or a receiver
// chooses, so the number of series is bounded.
type Metrics struct {
	ended       *prometheus.CounterVec
	attempts    *prometheus.HistogramVec
	writes      *prometheus.HistogramVec
	refused     prometheus.Counter
	expressions *prometheus.CounterVec
}

// NewMetrics registers the metrics with a prefix. buckets are those of durations in
// seconds.
func NewMetrics(registry prometheus.Registerer, prefix string, buckets []float64) (*Metrics, error) {
	m := &Metrics{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: prefix, Name: "deliveries_total",
			Help: "WebhookDeliveries that came to an end, by result and reason.",
		}, []string{"result", "reason"}),
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: prefix, Name: "attempt_duration_seconds", Buckets: buckets,
			Help: "Attempts to deliver, by cause and class of the status code.",
		}, []string{"cause", "code"}),
		writes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: prefix, Name: "delivery_write_duration_seconds", Buckets: buckets,
			Help: "Time until a WebhookDelivery was stored, repeated tries included.",
		}, []string{"operation"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: prefix, Name: "delivery_writes_refused_total",
			Help: "Tries to store a WebhookDelivery that the API server refused.",
		}),
		expressions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: prefix, Name: "expression_failures_total",
			Help: "Expressions of Webhooks that failed for an event or an answer: filter, template or rule.",
		}, []string{"expression"}),
	}
	for _, c := range []prometheus.Collector{m.ended, m.attempts, m.writes, m.refused, m.expressions} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	// To Prometheus, a counter that appears as 1 has not increased: they begin at 0, so
	// that the first failure is seen, too.
	m.ended.WithLabelValues(string(v1alpha1.DeliverySucceeded), v1alpha1.ReasonAccepted)
	for _, reason := range []string{
		v1alpha1.ReasonRetriesExhausted, v1alpha1.ReasonWaitedTooLong, v1alpha1.ReasonOverflow, v1alpha1.ReasonEgressDenied,
		v1alpha1.ReasonRejected, v1alpha1.ReasonPayloadError, v1alpha1.ReasonGone, v1alpha1.ReasonWebhookGone,
	} {
		m.ended.WithLabelValues(string(v1alpha1.DeliveryFailed), reason)
	}
	for _, expression := range []string{"filter", "template", "rule"} {
		m.expressions.WithLabelValues(expression)
	}
	return m, nil
}

// attempt counts an attempt.
func (m *Metrics) attempt(cause v1alpha1.AttemptCause, x sending.Exchange) {
	m.attempts.WithLabelValues(string(cause), codeClass(x)).Observe(x.Duration.Seconds())
}

// ExpressionFailed counts a filter that failed for an event, a template that made no body, or
// a rule that failed for an answer.
func (m *Metrics) ExpressionFailed(what string) { m.expressions.WithLabelValues(what).Inc() }

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

// stored counts a delivery that was written over base, if there was one, and its end if
// it came to one by that: a resend may end as before.
func (m *Metrics) stored(operation string, base, d *v1alpha1.WebhookDelivery, took time.Duration) {
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
	m.ended.WithLabelValues(string(d.Status.Result), reason).Inc()
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
