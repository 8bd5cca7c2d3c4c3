package main

import (
	"fmt"
	"strings"
)

// figures is all that was measured, pair by pair.
type figures struct {
	few, slow, many struct{ ours, bare bursts }
	latency         struct{ ours, bare distributions }
	statusWrites    []float64 // of each Webhook's status, in parts of what it may have
	storm           storms
	isolation       struct{ ours, bare isolation } // bare: while all behave
	dead            death
	trickle         trickle
	expressions     struct{ ours, bare bursts } // bare: without filters and templates
	dear            dear
	bridge          struct{ ours, bare []bridgePhase } // bare: creates of the same events
	full            struct{ ours, bare bursts }        // bare: with an empty store
	starts          []float64                          // seconds to the first delivery
	heap            struct{ ours, bare []float64 }     // of the operator, in bytes; bare: with an empty store
	size            sizes                              // of a record
	eventSize       sizes                              // of a finished event
	eventHeap       struct{ ours, bare []float64 }     // of the operator, in bytes; bare: without events
	retention       struct{ ours, bare bursts }        // bare: while nothing is deleted
}

// bursts are the throughputs of one kind.
type bursts []throughput

func (b bursts) cpu() []float64 {
	return mapped(b, func(t throughput) float64 { return t.cpu.sum() })
}

// told is what the operator told of all of them.
func (b bursts) told() told {
	all := told{}
	for _, t := range b {
		for name, n := range t.told {
			all[name] += n
		}
	}
	return all
}

func (b *bursts) add(t throughput) { *b = append(*b, t) }

func (b bursts) rates() []float64 {
	return mapped(b, throughput.perSecond)
}

// distributions are latencies in milliseconds, one list for each pair.
type distributions [][]float64

func (d *distributions) add(times []float64) { *d = append(*d, times) }

func (d distributions) quantiles(q float64) []float64 {
	return mapped(d, func(times []float64) float64 { return quantile(times, q) })
}

// latest is the list of the latest pair.
func (d distributions) latest() []float64 { return d[len(d)-1] }

// describe tells the median of the pairs' quantiles.
func (d distributions) describe() string {
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", median(d.quantiles(0.5)), median(d.quantiles(0.99)))
}

// mapped maps a list.
func mapped[T, U any](all []T, f func(T) U) []U {
	results := make([]U, 0, len(all))
	for _, t := range all {
		results = append(results, f(t))
	}
	return results
}

func describe(times []float64) string {
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", quantile(times, 0.5), quantile(times, 0.99))
}

// rows are the figures against their goals, in the order of the design.
func (b *bench) rows() []row {
	var all []row
	f := &b.figures
	if b.wants(rowFast) {
		all = append(all, b.throughputRow(rowFast, fmt.Sprintf("deliveries/s, %d webhooks, answers at once", b.webhooks),
			f.few.ours, f.few.bare, "910/s"))
	}
	if b.wants(rowSlow) {
		all = append(all,
			b.throughputRow(rowSlow, fmt.Sprintf("deliveries/s, %d webhooks, answers after %v", b.webhooks, b.delay),
				f.slow.ours, f.few.bare, "171/s"),
			b.throughputRow(rowSlow+"-many", fmt.Sprintf("deliveries/s, %d webhooks, answers after %v", manyWebhooks, b.delay),
				f.many.ours, f.many.bare, "851/s"))
	}
	if b.wants(rowLatency) {
		for _, q := range []struct {
			name string
			q    float64
			goal float64
		}{{"p50", 0.5, 3}, {"p99", 0.99, 15}} {
			ours, bare := f.latency.ours.quantiles(q.q), f.latency.bare.quantiles(q.q)
			all = append(all, row{
				ID: rowLatency + "-" + q.name, Name: fmt.Sprintf("event created → request, %s beyond a bare watch", q.name),
				Unit: "ms", Goal: q.goal, values: of(ours, bare, difference),
				Horizon: "750 to 1900 ms in all", Note: fmt.Sprintf("%.1f ms against %.1f ms", median(ours), median(bare)),
			})
		}
	}
	if b.wants(rowWrites) {
		all = append(all, writeRows(f.few.ours)...)
		all = append(all, row{
			ID: rowWrites + "-webhooks", Name: "writes of each Webhook's status, per 10 s begun", Goal: 1, values: f.statusWrites,
			Note: "while 20 events a second come",
		})
	}
	if b.wants(rowStorm) {
		all = append(all, b.stormRows()...)
	}
	if b.wants(rowDear) {
		all = append(all, b.dearRows()...)
	}
	if b.wants(rowExpressions) {
		all = append(all, b.expressionRow())
	}
	if b.wants(rowIsolation) {
		all = append(all, isolationRows(f.isolation.ours, f.isolation.bare)...)
	}
	if b.wants(rowDead) {
		all = append(all, b.deadRows()...)
	}
	if b.wants(rowBridge) {
		all = append(all, b.bridgeRows()...)
	}
	if b.wants(rowTrickle) {
		all = append(all, b.trickleRows()...)
	}
	all = append(all, b.recordRows()...)
	if b.wants(rowEvents) {
		all = append(all, b.eventRows()...)
	}
	if b.wants(rowRetention) {
		all = append(all, b.retentionRow())
	}
	return all
}

func (b *bench) throughputRow(id, name string, ours, bare bursts, horizon string) row {
	return row{
		ID: id, Name: name, Unit: "%", AtLeast: true, Goal: 85, values: of(ours.rates(), bare.rates(), percent), Horizon: horizon,
		Note: fmt.Sprintf("%.0f/s, a bare client's writes %.0f/s; all processes' CPU per delivery %.1f ms, with the bare client %.1f ms%s",
			median(ours.rates()), median(bare.rates()), median(ours.cpu()), median(bare.cpu()), ours.told().note()),
	}
}

// writeRows are about the API server's own counters.
func writeRows(all bursts) []row {
	var perDelivery []float64
	detail := map[string][]float64{}
	webhooks := 0
	for _, t := range all {
		webhooks = t.webhooks
		n := float64(t.deliveries)
		sum := 0.0
		for request, made := range t.writes {
			detail[request] = append(detail[request], made/n)
			if strings.Contains(request, " webhookdeliveries") || strings.HasSuffix(request, " webhookevents/status") {
				sum += made
			}
		}
		perDelivery = append(perDelivery, sum/n)
	}
	var parts []string
	for request, values := range detail {
		parts = append(parts, fmt.Sprintf("%s %.3f", request, median(values)))
	}
	return []row{{
		ID: rowWrites, Name: "API writes on deliveries and event status, per delivery",
		Goal: 1 + 1/float64(max(webhooks, 1)), values: perDelivery, Note: sorted(parts),
	}}
}

func isolationRows(with, without isolation) []row {
	at := func(q float64) (ours, bare []float64) {
		return distributions(with.times).quantiles(q), distributions(without.times).quantiles(q)
	}
	ours50, bare50 := at(0.5)
	ours99, bare99 := at(0.99)
	// Ten milliseconds more are as good as half as much again.
	tolerant := func(ours, bare float64) float64 {
		if ours <= bare+10 {
			return min(ours/bare, 1.5)
		}
		return ours / bare
	}
	return []row{{
		ID: rowIsolation + "-p50", Name: "1 of 20 receivers hangs, 1 fails: the others' p50", Unit: "×", Goal: 1.2,
		values: of(ours50, bare50, ratio), Note: fmt.Sprintf("%.1f ms, while all behave %.1f ms", median(ours50), median(bare50)),
	}, {
		ID: rowIsolation + "-p99", Name: "the others' p99", Unit: "×", Goal: 1.5, values: of(ours99, bare99, tolerant),
		Note: fmt.Sprintf("%.1f ms, while all behave %.1f ms; up to 10 ms more count as 1.5 at most", median(ours99), median(bare99)),
	}, {
		ID: rowIsolation + "-throughput", Name: "the others' deliveries/s in a burst", Unit: "%", AtLeast: true, Goal: 90,
		values: of(with.rates, without.rates, percent),
		Note:   fmt.Sprintf("%.0f/s, while all behave %.0f/s", median(with.rates), median(without.rates)),
	}}
}
