package docs

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	// A row of the table of measured figures: a letter, and what is reckoned with.
	figureRow = regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| [^|]+ \\| ([0-9. ]+) (?:B|MB|ms) \\|")
	// A row of the table of sizes begins with two numbers and a duration.
	sizeRow = regexp.MustCompile(`(?m)^\| [0-9 ]+ \| [0-9]+ \| [0-9.]+ (?:d|h) \|.*$`)
)

// sizeOf is a row of the table in sizing.md, by the formulas that stand below it.
func sizeOf(figure map[string]float64, events, webhooks float64, ttl time.Duration) string {
	const (
		day, quarter, compaction = 86400.0, 900.0, 600.0 // seconds
		peak, limit, week        = 10.0, 200.0, 7.0
		mebibyte                 = float64(1 << 20)
	)
	perSecond := events * webhooks / day
	records := webhooks * max(min(limit, week*events), peak*events/day*quarter)
	stored := events * ttl.Hours() / 24
	versions := peak * events / day * compaction * (webhooks*figure["r"] + 2*figure["e"])
	etcd := records*figure["r"] + stored*figure["e"] + versions
	heap := records*figure["a"] + stored*figure["b"]
	memory := (figure["o"]*1e6 + 10*figure["w"]*1e6 + 2*figure["h"]*(records+stored)) / 0.9
	cpu := func(name string) string { return number(peak * perSecond * figure[name] / 1000) }
	return fmt.Sprintf("| %s | %.0f | %s | %s; %s | %s | %s | %s GB | %s GB | %.0f Mi | %s; %s; %s |",
		thousands(events), webhooks, span(ttl), number(perSecond), number(peak*perSecond),
		thousands(records), thousands(stored), number(etcd/1e9), number(heap/1e9),
		max(512, 256*math.Ceil(memory/mebibyte/256)), cpu("s"), cpu("d"), cpu("c"))
}

// number rounds up to two digits.
func number(x float64) string {
	if x >= 10 {
		step := math.Pow(10, math.Max(0, math.Floor(math.Log10(x))-1))
		return thousands(math.Ceil(x/step-1e-9) * step)
	}
	step := math.Pow(10, math.Max(-2, math.Floor(math.Log10(x))-1))
	return strconv.FormatFloat(math.Ceil(x/step-1e-9)*step, 'f', int(math.Max(1, -math.Log10(step))), 64)
}

func span(d time.Duration) string {
	if d >= 24*time.Hour {
		return fmt.Sprintf("%.0f d", d.Hours()/24)
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

// thousands has a space between groups of three digits.
func thousands(x float64) string {
	digits := strconv.FormatFloat(math.Ceil(x-1e-9), 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

// The table of sizing.md follows from its formulas and from the figures that it names.
func TestSizes(t *testing.T) {
	page := read(t, "sizing.md")
	figure := map[string]float64{}
	for _, m := range figureRow.FindAllStringSubmatch(page, -1) {
		x, err := strconv.ParseFloat(strings.ReplaceAll(m[2], " ", ""), 64)
		if err != nil {
			t.Fatal(err)
		}
		figure[m[1]] = x
	}
	for _, name := range []string{"r", "e", "a", "b", "h", "o", "w", "s", "d", "c"} {
		if figure[name] == 0 {
			t.Errorf("no figure %s", name)
		}
	}
	var want []string
	for _, row := range []struct {
		events float64
		ttl    time.Duration
	}{{1e3, 7 * 24 * time.Hour}, {1e4, 7 * 24 * time.Hour}, {1e5, 24 * time.Hour}, {1e6, 6 * time.Hour}} {
		for _, webhooks := range []float64{5, 50} {
			want = append(want, sizeOf(figure, row.events, webhooks, row.ttl))
		}
	}
	got := sizeRow.FindAllString(page, -1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows of sizing.md (-want +got):\n%s\n%s", diff, strings.Join(want, "\n"))
	}
}
