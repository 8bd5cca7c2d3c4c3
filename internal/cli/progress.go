package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	// redraw and reportEvery bound how often progress is shown: on a terminal, and in
	// lines elsewhere.
	redraw      = 100 * time.Millisecond
	reportEvery = 10 * time.Second
	// widestBar bounds a bar, and narrowestBar is one that is still worth its room.
	widestBar    = 40
	narrowestBar = 5
)

// progress shows how far long work has come: a bar on a terminal, a line now and then
// elsewhere.
type progress struct {
	out io.Writer
	// width is that of the terminal, 0 for none.
	width int
	now   func() time.Time
	title string
	total int

	done           int
	started, shown time.Time
	drawn          bool
}

func (p *plugin) progress(title string, total int) *progress {
	now := p.now()
	return &progress{out: p.ErrOut, width: terminalWidth(p.ErrOut), now: p.now, title: title, total: total, started: now, shown: now}
}

// set tells how much is done.
func (p *progress) set(done int) {
	p.done = done
	now := p.now()
	every := reportEvery
	if p.width > 0 {
		every = redraw
	}
	if now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	if p.width == 0 {
		fmt.Fprintf(p.out, "%s: %s\n", p.title, p.state(now))
		return
	}
	fmt.Fprint(p.out, "\r"+p.line(now))
	p.drawn = true
}

// end takes the bar off, so that what is printed next has the line.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.out, "\r"+strings.Repeat(" ", max(p.width-1, 0))+"\r")
		p.drawn = false
	}
}

// state is "12 of 37 (32 %), about 5s left".
func (p *progress) state(now time.Time) string {
	text := fmt.Sprintf("%d of %d (%d %%)", p.done, p.total, p.percent())
	if left, ok := p.left(now); ok {
		text += ", about " + left + " left"
	}
	return text
}

func (p *progress) percent() int {
	if p.total <= 0 {
		return 100
	}
	return min(100*p.done/p.total, 100)
}

// left is how long the rest takes if it goes on as so far.
func (p *progress) left(now time.Time) (string, bool) {
	elapsed := now.Sub(p.started)
	if p.done <= 0 || p.done >= p.total || elapsed < time.Second {
		return "", false
	}
	rest := time.Duration(float64(elapsed) * float64(p.total-p.done) / float64(p.done))
	return lasting(max(rest, time.Second)), true
}

// line fits into the terminal, but for its last column: some break the line after it.
func (p *progress) line(now time.Time) string {
	room := max(p.width-1, 0)
	text := fmt.Sprintf("%d/%d %3d%%", p.done, p.total, p.percent())
	if left, ok := p.left(now); ok && room >= len(text)+len(" ETA 100m") {
		text += " ETA " + left
	}
	title := p.title + " "
	if room-len(text)-len("[] ")-cellWidth(title) < narrowestBar {
		title = ""
	}
	if bar := min(room-len(text)-len("[] ")-cellWidth(title), widestBar); bar >= narrowestBar {
		full := bar * p.percent() / 100
		text = title + "[" + strings.Repeat("#", full) + strings.Repeat(".", bar-full) + "] " + text
	}
	if text = cutWidth(text, room); room == 0 {
		text = ""
	}
	return text + strings.Repeat(" ", max(room-cellWidth(text), 0)) // over what was there
}
