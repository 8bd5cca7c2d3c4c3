package expression

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How many mistakes are told, each in how many bytes beside its place.
const (
	maxMistakes = 10
	maxSummary  = 300
)

// problem is one mistake and where it is.
type problem struct {
	line, column int
	summary      string
}

func (c *checked) problemAt(id int64, summary string) problem {
	location := c.ast.SourceInfo().GetStartLocation(id)
	return problem{location.Line(), location.Column() + 1, summary}
}

// newMistake puts mistakes together, in their order.
func newMistake(text string, found ...problem) *Mistake {
	lines := strings.Split(text, "\n")
	for i := range found {
		found[i] = found[i].within(lines)
		// It may quote a literal, which has its escapes read, such as "\u001b".
		found[i].summary = truncate(printable(found[i].summary), maxSummary)
	}
	slices.SortStableFunc(found, func(a, b problem) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return a.column - b.column
	})
	found = slices.Compact(found)
	m := &Mistake{Line: found[0].line, Column: found[0].column, Summary: found[0].summary}
	var b strings.Builder
	for i, p := range found {
		if i == maxMistakes {
			fmt.Fprintf(&b, "\nand %d more", len(found)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%d:%d: %s", p.line, p.column, p.summary)
		p.pointTo(&b, lines[p.line-1])
	}
	m.text = b.String()
	return m
}

// within is the problem at a place that is in the text.
func (p problem) within(lines []string) problem {
	p.line = min(max(p.line, 1), len(lines))
	p.column = min(max(p.column, 1), utf8.RuneCountInString(lines[p.line-1])+1)
	return p
}

// How much of a long line is shown before and after the place.
const before, after = 60, 40

// pointTo writes the line with a caret below the place.
func (p problem) pointTo(b *strings.Builder, line string) {
	characters := []rune(printable(strings.TrimSuffix(line, "\r")))
	place := min(p.column-1, len(characters))
	start, end := 0, len(characters)
	if end > before+after {
		start, end = max(0, place-before), min(end, place+after)
	}
	shown := append([]rune(nil), characters[start:end]...)
	if start > 0 {
		shown[0] = '…'
	}
	if end < len(characters) {
		shown[len(shown)-1] = '…'
	}
	b.WriteString("\n  | " + string(shown) + "\n  | ")
	for _, c := range shown[:place-start] {
		b.WriteString(wide(c, ".", "．"))
	}
	if place < end {
		b.WriteString(wide(shown[place-start], "^", "＾"))
	} else {
		b.WriteByte('^')
	}
}

// wide chooses by whether a terminal shows a character twice as wide as others.
func wide(c rune, narrow, wide string) string {
	if unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) ||
		0x3000 <= c && c <= 0x303f || 0xff01 <= c && c <= 0xff60 || 0x1f300 <= c && c <= 0x1faff {
		return wide
	}
	return narrow
}

// printable replaces what would disturb a terminal or a line. A tab is one space, so that
// columns stay.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\t', c == '\n':
			return ' '
		case !unicode.IsPrint(c):
			return '\ufffd'
		}
		return c
	}, s)
}
