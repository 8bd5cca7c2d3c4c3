package characters

import (
	"fmt"
	"strings"
	"unicode"
)

// Printable returns a text that does nothing to a terminal: control characters, characters
// that reorder text and those that nobody sees are written as Go writes them. Line breaks
// and tabs stay.
func Printable(s string) string { return escape(s, "\n\t") }

// OneLine is Printable for a cell: line breaks are escaped, too.
func OneLine(s string) string { return escape(s, "") }

func escape(s, keep string) string {
	harmless := func(r rune) bool {
		return unicode.IsPrint(r) && r != unicode.ReplacementChar || strings.ContainsRune(keep, r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !harmless(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case harmless(r), r == unicode.ReplacementChar:
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
