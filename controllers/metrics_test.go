package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// metrics returns the operator's metrics by name and labels. A histogram counts as
// often as something was observed.
func (b *testbed) metrics() map[string]float64 {
	b.t.Helper()
	families, err := b.registry.Gather()
	b.Expect(err).NotTo(HaveOccurred())
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			slices.Sort(labels)
			name := strings.TrimPrefix(f.GetName(), MetricsPrefix+"_")
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestMetrics(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/fails", receiver.MustParseScript("500")...)
	b.receiver.Script("/hangs", receiver.Answer{Hang: true})
	b.receiver.Script("/retried", receiver.MustParseScript("404,200")...)
	b.start()
	once := func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) }
	b.webhook("fine")
	b.webhook("fails", once)
	b.webhook("hangs")
	b.webhook("retried")
	b.webhook("paused", func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused })
	b.event("e")
	b.Eventually(func() string {
		return fmt.Sprint(b.metrics()["deliveries_total{reason=Accepted,result=Succeeded}"], b.metrics()["in_flight"])
	}).Should(Equal("2 1"))
	got := b.metrics()
	for name, want := range map[string]float64{
		"events_total{result=Dispatched}":                         0, // one is under way
		"deliveries_total{reason=RetriesExhausted,result=Failed}": 1,
		"attempt_duration_seconds{cause=Initial,code=2xx}":        1,
		"attempt_duration_seconds{cause=Initial,code=5xx}":        1,
		"attempt_duration_seconds{cause=Initial,code=4xx}":        1,
		"attempt_duration_seconds{cause=Retry,code=2xx}":          1,
		"delivery_write_duration_seconds{operation=create}":       4,
		"delivery_write_duration_seconds{operation=update}":       1,
		"stored_deliveries{result=Succeeded}":                     2,
		"stored_deliveries{result=Failed}":                        1,
		"stored_deliveries{result=Waiting}":                       1,
		"pending_deliveries":                                      1,
		"queue_depth":                                             0,
		"workers_busy":                                            1,
		"open_circuits":                                           0,
		"resting_receivers":                                       0,
		"rate_limited_receivers":                                  0,
		"delivery_writes_refused_total":                           0,
		"deliveries_deleted_total":                                0,
	} {
		b.Expect(got[name]).To(Equal(want), name)
	}
	b.Expect(got["queue_wait_seconds"]).To(BeNumerically(">=", 5))

	// One that ends as before is not another delivery.
	for _, d := range b.deliveries() {
		if d.Status.Result == v1alpha1.DeliveryFailed {
			b.resend(&d, "again")
		}
	}
	b.Eventually(func() float64 { return b.metrics()["delivery_write_duration_seconds{operation=update}"] }).Should(Equal(2.0))
	b.Expect(b.metrics()["attempt_duration_seconds{cause=Resend,code=5xx}"]).To(Equal(1.0))
	b.Expect(b.metrics()["deliveries_total{reason=RetriesExhausted,result=Failed}"]).To(Equal(1.0))

	b.Expect(b.receiver.Down()).To(Succeed()) // lets the one go that hangs
	b.Eventually(func() float64 { return b.metrics()["events_total{result=Dispatched}"] }).Should(Equal(1.0))
	b.Expect(b.metrics()["attempt_duration_seconds{cause=Initial,code=none}"]).To(Equal(1.0))
	for i := range 5 {
		b.event(fmt.Sprintf("while-down-%d", i))
	}
	b.Eventually(func() float64 { return b.metrics()["open_circuits"] }).Should(Equal(4.0), "all but the one that is paused")
}
