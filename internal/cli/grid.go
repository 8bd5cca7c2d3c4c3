package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/width"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/horizoncd/webhook-operator/internal/characters"
)

// All that others have written goes through one of these.
var printable, oneLine = characters.Printable, characters.OneLine

// column is a column of a grid.
type column struct {
	title string
	// flexible columns are cut where a line would be wider than the terminal.
	flexible bool
}

// grid prints rows in columns, as kubectl get does. On a terminal no line is wider than
// that.
type grid struct {
	columns []column
	rows    [][]string
	// noHeaders leaves the titles out.
	noHeaders bool
}

// gap is between two columns.
const gap = 3

// minFlexible is what a flexible column keeps at least.
const minFlexible = 8

func (g *grid) add(cells ...string) {
	for i := range cells {
		cells[i] = oneLine(cells[i])
	}
	g.rows = append(g.rows, cells)
}

// print writes the grid. A terminal of 0 columns is none, and nothing is cut.
func (g *grid) print(out io.Writer, terminal int) error {
	return g.printRows(out, g.rows, !g.noHeaders, g.widths(terminal))
}

// titles are those of the columns.
func (g *grid) titles() []string {
	titles := make([]string, len(g.columns))
	for i, c := range g.columns {
		titles[i] = c.title
	}
	return titles
}

// widths are those of the columns, as wide as the widest cell, or less where a terminal
// lacks room.
func (g *grid) widths(terminal int) []int {
	rows := g.rows
	if !g.noHeaders {
		rows = append([][]string{g.titles()}, rows...)
	}
	widths := make([]int, len(g.columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], cellWidth(cell))
		}
	}
	g.shrink(widths, terminal)
	return widths
}

// printRows writes rows in columns of the given widths.
func (g *grid) printRows(out io.Writer, rows [][]string, titles bool, widths []int) error {
	if titles {
		rows = append([][]string{g.titles()}, rows...)
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell = cutWidth(cell, widths[i])
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-cellWidth(cell)+gap))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// shrink takes what a terminal lacks off the widest flexible columns.
func (g *grid) shrink(widths []int, terminal int) {
	if terminal <= 0 {
		return
	}
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > terminal {
		widest := -1
		for i, c := range g.columns {
			if c.flexible && widths[i] > max(minFlexible, utf8.RuneCountInString(c.title)) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
		total--
	}
}

// cellWidth is how many columns of a terminal a text takes.
func cellWidth(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	if kind := width.LookupRune(r).Kind(); kind == width.EastAsianWide || kind == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// cutWidth shortens a text to a number of columns, with … at its end.
func cutWidth(s string, columns int) string {
	if cellWidth(s) <= columns {
		return s
	}
	n := 0
	for i, r := range s {
		if n+runeWidth(r) > columns-1 {
			return s[:i] + "…"
		}
		n += runeWidth(r)
	}
	return s
}

// age is how long ago something was, as kubectl get says it.
func age(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return duration.HumanDuration(now.Sub(at))
}

// dash stands for nothing in a cell.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
