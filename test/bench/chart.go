package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// chart is a drawing of lines over two axes.
type chart struct {
	title, x, y string
	logX        bool
	lines       []line
}

type line struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// Sizes in pixels.
const (
	chartWidth, chartHeight = 760, 420
	left, right, top, below = 70, 20, 70, 55
)

var colours = []string{"#0b6e99", "#d9730d", "#0f7b6c", "#ad1a72"}

// svg draws the chart.
func (c chart) svg() string {
	minX, maxX, maxY := math.Inf(1), math.Inf(-1), 0.0
	for _, l := range c.lines {
		for _, p := range l.points {
			minX, maxX, maxY = min(minX, p.x), max(maxX, p.x), max(maxY, p.y)
		}
	}
	scale := func(x float64) float64 { return x }
	if c.logX {
		minX, scale = max(minX, 0.1), func(x float64) float64 { return math.Log10(max(x, 0.1)) }
	} else {
		minX = min(minX, 0)
	}
	px := func(x float64) float64 {
		return left + (scale(x)-scale(minX))/(scale(maxX)-scale(minX))*(chartWidth-left-right)
	}
	py := func(y float64) float64 { return chartHeight - below - y/maxY*(chartHeight-top-below) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n",
		chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="24" font-size="16">%s</text>`+"\n",
		left, html.EscapeString(c.title))
	for _, y := range ticks(maxY) {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, py(y), chartWidth-right, left-8, py(y)+4, number(y))
	}
	for _, x := range c.ticksX(minX, maxX) {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			px(x), top, chartHeight-below, px(x), chartHeight-below+18, number(x))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text><text x="18" y="%d" text-anchor="middle" transform="rotate(-90 18 %d)">%s</text>`+"\n",
		(left+chartWidth-right)/2, chartHeight-12, html.EscapeString(c.x), (top+chartHeight-below)/2, (top+chartHeight-below)/2, html.EscapeString(c.y))
	for i, l := range c.lines {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.8" points="`, colour)
		for _, p := range l.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", px(p.x), py(p.y))
		}
		x := left + i*(chartWidth-left-right)/len(c.lines)
		fmt.Fprintf(&b, `"/><path d="M%d 46h24" stroke="%s" stroke-width="3"/><text x="%d" y="50">%s</text>`+"\n",
			x, colour, x+30, html.EscapeString(l.name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (c chart) ticksX(from, to float64) []float64 {
	if !c.logX {
		return ticks(to)
	}
	var all []float64
	for decade := math.Pow(10, math.Floor(math.Log10(from))); decade <= to; decade *= 10 {
		for _, x := range []float64{decade, 2 * decade, 5 * decade} {
			if x >= from && x <= to {
				all = append(all, x)
			}
		}
	}
	return all
}

// ticks are up to ten round numbers from 0.
func ticks(to float64) []float64 {
	if to <= 0 {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(to)))
	for _, divisor := range []float64{5, 2} {
		if to/step*divisor <= 10 {
			step /= divisor
			break
		}
	}
	var all []float64
	for i := 0.0; i*step <= to; i++ {
		all = append(all, i*step)
	}
	return all
}

// distribution is the share of times, in percent, that are no longer than each.
func distribution(name string, pairs [][]float64) line {
	times := slices.Concat(pairs...)
	slices.Sort(times)
	l := line{name: name}
	// A few hundred points are as good as thousands.
	step := max(len(times)/300, 1)
	for i := 0; i < len(times); i += step {
		l.points = append(l.points, point{times[i], 100 * float64(i+1) / float64(len(times))})
	}
	return l
}

// overTime is how many deliveries a second ended, half a second at a time.
func overTime(name string, t throughput) line {
	const width = 500 * time.Millisecond
	counts := make([]int, t.length/width) // what is left is not half a second
	for _, end := range t.ends {
		if i := int(end / width); i < len(counts) {
			counts[i] += t.webhooks
		}
	}
	l := line{name: name}
	for i, n := range counts {
		l.points = append(l.points, point{(float64(i) + 0.5) * width.Seconds(), float64(n) / width.Seconds()})
	}
	return l
}

// draw writes the charts and returns their paths.
func (b *bench) draw() ([]string, error) {
	f := &b.figures
	charts := map[string]chart{}
	if n := min(len(f.few.ours), len(f.few.bare)); n > 0 {
		charts["throughput"] = chart{
			title: fmt.Sprintf("Deliveries a second, %d webhooks, the last of %d pairs", b.webhooks, n), x: "seconds", y: "deliveries/s",
			lines: []line{overTime("operator", f.few.ours[n-1]), overTime("bare client", f.few.bare[n-1])},
		}
	}
	if len(f.latency.ours) > 0 {
		charts["latency"] = chart{
			title: "From an event's creation, 20 a second", x: "milliseconds", y: "%", logX: true,
			lines: []line{distribution("to the request at a receiver", f.latency.ours), distribution("to a bare watch", f.latency.bare)},
		}
	}
	if len(f.storm.with.request) > 0 {
		charts["storm"] = chart{
			title: fmt.Sprintf("From an event's creation, 20 a second, beside %d of another namespace", b.crowd), x: "milliseconds", y: "%", logX: true,
			lines: []line{
				distribution("to the request at a receiver", f.storm.with.request), distribution("to a bare watch", f.storm.with.seen),
				distribution("to the request, without them", f.storm.without.request),
			},
		}
	}
	if len(f.isolation.ours.times) > 0 {
		charts["isolation"] = chart{
			title: "From an event's creation to the request at 18 of 20 receivers", x: "milliseconds", y: "%", logX: true,
			lines: []line{
				distribution("while one hangs and one fails", f.isolation.ours.times), distribution("while all behave", f.isolation.bare.times),
			},
		}
	}
	var paths []string
	for name, c := range charts {
		path := filepath.Join(b.Out, "bench-"+name+".svg")
		if err := os.WriteFile(path, []byte(c.svg()), 0o600); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths, nil
}
