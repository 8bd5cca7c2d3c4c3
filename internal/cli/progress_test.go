package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// A bar fits any width, and never reaches the last column.
func TestProgressFits(t *testing.T) {
	for width := 1; width <= 200; width++ {
		for _, done := range []int{0, 1, 17, 49999, 50000} {
			p := &progress{width: width, title: "Sending again", total: 50000, done: done, started: told}
			line := p.line(told.Add(time.Minute))
			if got := cellWidth(line); got != width-1 {
				t.Fatalf("at width %d, the line has %d columns: %q", width, got, line)
			}
		}
	}
}

func TestProgressLines(t *testing.T) {
	for name, tc := range map[string]struct {
		width, done, total int
		after              time.Duration
		want               string
	}{
		"wide":           {width: 80, done: 12, total: 37, after: 12 * time.Second, want: "Sending again [############............................] 12/37  32% ETA 25s"},
		"narrow":         {width: 30, done: 12, total: 37, after: 12 * time.Second, want: "[##......] 12/37  32% ETA 25s"},
		"very narrow":    {width: 14, done: 12, total: 37, after: 12 * time.Second, want: "12/37  32%"},
		"too narrow":     {width: 6, done: 12, total: 37, after: 12 * time.Second, want: "12/3…"},
		"just begun":     {width: 80, done: 0, total: 37, want: "Sending again [........................................] 0/37   0%"},
		"all":            {width: 80, done: 37, total: 37, after: time.Minute, want: "Sending again [########################################] 37/37 100%"},
		"nothing at all": {width: 80, want: "Sending again [########################################] 0/0 100%"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &progress{width: tc.width, title: "Sending again", total: tc.total, done: tc.done, started: told}
			if got := strings.TrimRight(p.line(told.Add(tc.after)), " "); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestProgressElsewhere(t *testing.T) {
	var out bytes.Buffer
	now := told
	p := &progress{out: &out, now: func() time.Time { return now }, title: "Sending again", total: 100, started: now, shown: now}
	for done := range 100 {
		now = now.Add(500 * time.Millisecond)
		p.set(done + 1)
	}
	p.end()
	want := "Sending again: 20 of 100 (20 %), about 40s left\n" +
		"Sending again: 40 of 100 (40 %), about 30s left\n" +
		"Sending again: 60 of 100 (60 %), about 20s left\n" +
		"Sending again: 80 of 100 (80 %), about 10s left\n" +
		"Sending again: 100 of 100 (100 %)\n"
	if out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}

// On a terminal a bar is drawn over itself, and is gone in the end.
func TestProgressTerminal(t *testing.T) {
	var out bytes.Buffer
	now := told
	p := &progress{out: &out, width: 40, now: func() time.Time { return now }, title: "X", total: 10, started: now, shown: now}
	for done := range 10 {
		now = now.Add(40 * time.Millisecond)
		p.set(done + 1)
	}
	p.end()
	if strings.Contains(out.String(), "\n") || strings.Count(out.String(), "\r") != 3+2 {
		t.Errorf("drawn: %q", out.String())
	}
	if !strings.HasSuffix(out.String(), "\r"+strings.Repeat(" ", 39)+"\r") {
		t.Errorf("it is still there: %q", out.String())
	}
}
