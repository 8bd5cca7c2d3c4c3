package sending

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// requestHeader is the text of a request's header for the record. What proves
// the sender is hidden by name, so that no mistake of a caller's Redact shows
// it.
func requestHeader(h http.Header, redact func(string) string) string {
	shown := maps.Clone(h)
	for _, name := range []string{signing.HeaderSecret, signing.HeaderSignature} {
		if _, ok := shown[name]; ok {
			shown[name] = []string{redaction.Placeholder}
		}
	}
	text, _ := keep(redact(headerLines(shown)), MaxHeader)
	return text
}

// headerLines returns a header as text, a line for each value, sorted by name.
func headerLines(h http.Header) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			lines = append(lines, name+": "+value)
		}
	}
	return strings.Join(lines, "\n")
}

// keep makes text from outside fit for a record: valid UTF-8, with no control
// characters but tabs and line feeds, since those of a terminal would act on
// whoever looks at it, and at most limit bytes. It tells whether it cut.
func keep(text string, limit int) (kept string, cut bool) {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return utf8.RuneError
		}
		return r
	}, strings.ReplaceAll(text, "\r\n", "\n"))
	if len(text) <= limit {
		return text, false
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return strings.Clone(text[:limit]), true // what is cut off need not stay in memory
}
