// Package characters names characters that people do not see or expect in a text,
// without telling anything else of it, and makes a text harmless to show.
package characters

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// named are those that editors, shells and spreadsheets leave.
var named = []struct{ is, name string }{
	{"\ufeff", "a byte order mark (BOM)"},
	{"\xff\xfe", "a byte order mark of UTF-16"},
	{"\xfe\xff", "a byte order mark of UTF-16"},
	{" ", "a space"},
	{"\t", "a tab"},
	{"\n", "a line feed"},
	{"\r", "a carriage return"},
	{"\x00", "NUL"},
	{"\u00a0", "a no-break space"},
	{"\u200b", "a zero-width space"},
}

// Name says what the first character of a text is; of those that can be seen, only
// whether they are ASCII.
func Name(text string) string {
	for _, character := range named {
		if strings.HasPrefix(text, character.is) {
			return character.name
		}
	}
	switch r, _ := utf8.DecodeRuneInString(text); {
	case unicode.IsControl(r):
		return "a control character"
	case r >= utf8.RuneSelf:
		return "not ASCII"
	default:
		return "a special character"
	}
}
