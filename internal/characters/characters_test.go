package characters

import "testing"

func TestName(t *testing.T) {
	for text, want := range map[string]string{
		"\ufeffhttps":   "a byte order mark (BOM)",
		"\xff\xfeh\x00": "a byte order mark of UTF-16",
		"\xfe\xff\x00h": "a byte order mark of UTF-16",
		" ":             "a space",
		"\tx":           "a tab",
		"\r\n":          "a carriage return",
		"\n":            "a line feed",
		"\x00":          "NUL",
		"\x1b[31m":      "a control character",
		"\x7f":          "a control character",
		"\u0085":        "a control character",
		"\u00a0":        "a no-break space",
		"\u200b":        "a zero-width space",
		"é":             "not ASCII",
		"\xff":          "not ASCII",
		"{":             "a special character",
	} {
		if got := Name(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
