// Package redaction takes secrets out of text that comes from outside.
package redaction

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// Placeholder stands where a secret was.
	Placeholder = "[redacted]"

	// MinLength is the length in bytes from which on a secret is looked for.
	// A shorter one would take too much with it.
	MinLength = 6

	// maxExpansion is how many bytes the longest spelling of one byte takes
	// among those in use: JSON's \u0041, HTML's &#x41; and &quot;.
	maxExpansion = 6
)

// Redactor replaces secrets in whatever spelling a receiver echoes them: plain,
// base64 (also as part of a longer base64 text), hexadecimal, and escaped for
// URLs, JSON or HTML. The nil Redactor knows no secret.
type Redactor struct {
	forms   []form
	longest int
	// begins are the forms by their first bytes, and maybe tells quickly of most
	// bytes that no form begins with them: a bit for each hash, 64 of them or more
	// for each form.
	begins map[uint32][]form
	maybe  []uint64
}

// form is a text that gives a secret away.
type form struct {
	text string
	// base64 says that the text may be part of a longer base64 text. Then its
	// neighbours may carry a few bits of the secret too.
	base64, sharedBefore, sharedAfter bool
}

// urlAlphabet turns standard base64 into that for URLs.
var urlAlphabet = strings.NewReplacer("+", "-", "/", "_")

// New returns a Redactor for some secrets. Those shorter than MinLength are
// ignored. Of a Standard Webhooks secret (whsec_…), the part after the prefix
// and the key that it stands for are secrets too.
func New(secrets ...string) *Redactor {
	r := &Redactor{begins: map[uint32][]form{}}
	for _, secret := range secrets {
		r.add(secret)
		if encoded, ok := strings.CutPrefix(secret, "whsec_"); ok {
			r.add(encoded)
			if key, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				r.add(string(key))
			}
		}
	}
	r.maybe = make([]uint64, 1<<bits.Len(uint(len(r.forms))))
	for first := range r.begins {
		word, mask := r.bit(first)
		r.maybe[word] |= mask
	}
	return r
}

func (r *Redactor) add(secret string) {
	if len(secret) < MinLength {
		return
	}
	r.longest = max(r.longest, len(secret))
	hexed := hex.EncodeToString([]byte(secret))
	forms := []form{
		{text: secret},
		{text: strings.ReplaceAll(secret, " ", "+")}, // as HTML forms and url.QueryEscape write a space
		{text: hexed},
		{text: strings.ToUpper(hexed)},
	}
	// A byte falls on one of three places in a group of four base64 characters.
	for place := range 3 {
		padded := append(make([]byte, place), secret...)
		text := base64.RawStdEncoding.EncodeToString(padded)
		foreign := []int{0, 2, 3}[place] // characters that also depend on what is before
		f := form{
			text:         text[foreign : len(padded)*8/6],
			base64:       true,
			sharedBefore: place > 0,
			sharedAfter:  len(padded)*8%6 != 0,
		}
		forms = append(forms, f)
		f.text = urlAlphabet.Replace(f.text)
		forms = append(forms, f)
	}
	for _, f := range forms {
		first := firstBytes(f.text)
		if slices.Contains(r.begins[first], f) {
			continue
		}
		r.forms = append(r.forms, f)
		r.begins[first] = append(r.begins[first], f)
	}
}

// firstLength is how many bytes the forms are known by: all have at least
// MinLength.
const firstLength = 4

func firstBytes(s string) uint32 {
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// bit returns where maybe tells of some first bytes.
func (r *Redactor) bit(first uint32) (word int, mask uint64) {
	hash := first * 0x9e3779b1 // Knuth's multiplicative hash, whose high bits are the best
	return int(hash>>10) & (len(r.maybe) - 1), 1 << (hash >> 26)
}

// Format hides the secrets whatever the verb.
func (r *Redactor) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Placeholder) }

// MaxEncodedLen is how many bytes a secret may take in any spelling. A caller
// that cuts a text at some length reads that much more, redacts, and cuts then.
func (r *Redactor) MaxEncodedLen() int {
	if r == nil {
		return 0
	}
	return r.longest * maxExpansion
}

// Redact replaces every secret by Placeholder. So is the first half of a secret
// or more at the very end of the text, where a connection may have broken.
func (r *Redactor) Redact(s string) string {
	if r == nil || len(r.forms) == 0 {
		return s
	}
	found := r.find(s)
	for _, e := range escapes {
		if !strings.Contains(s, e.mark) {
			continue
		}
		text, origin := unescape(s, e.decode)
		for _, f := range r.find(text) {
			found = append(found, span{origin[f.start].start, origin[f.end-1].end})
		}
	}
	return replace(s, found)
}

// span is a part of a text, in bytes.
type span struct{ start, end int }

// find returns where a text gives a secret away, in no particular order. It looks
// for all forms in one pass: of a secret URL with many parts there are hundreds. A
// secret and an answer of one letter each meet at every byte: what overlaps is joined
// at once, so that there are no more spans than there is room for.
func (r *Redactor) find(s string) []span {
	var found []span
	for i := range len(s) - firstLength + 1 {
		first := firstBytes(s[i:])
		if word, mask := r.bit(first); r.maybe[word]&mask == 0 {
			continue
		}
		for _, f := range r.begins[first] {
			if !strings.HasPrefix(s[i:], f.text) {
				continue
			}
			next := f.widen(s, i, i+len(f.text))
			if last := len(found) - 1; last >= 0 && next.start <= found[last].end {
				found[last] = span{min(found[last].start, next.start), max(found[last].end, next.end)}
			} else {
				found = append(found, next)
			}
		}
	}
	for _, f := range r.forms {
		for n := min(len(f.text)-1, len(s)); n >= max(MinLength, (len(f.text)+1)/2); n-- {
			if strings.HasSuffix(s, f.text[:n]) {
				found = append(found, f.widen(s, len(s)-n, len(s)))
				break
			}
		}
	}
	return found
}

// widen adds the neighbours that belong to a find: base64 characters which
// carry bits of the secret, and padding.
func (f form) widen(s string, start, end int) span {
	if f.sharedBefore && start > 0 && isBase64(s[start-1]) {
		start--
	}
	if f.sharedAfter && end < len(s) && isBase64(s[end]) {
		end++
	}
	for n := 0; f.base64 && n < 2 && end < len(s) && s[end] == '='; n++ {
		end++
	}
	return span{start, end}
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("+/-_", c) >= 0
}

func replace(s string, found []span) string {
	if len(found) == 0 {
		return s
	}
	slices.SortFunc(found, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var out strings.Builder
	done := 0
	for i, f := range found {
		if i == 0 || f.start > done {
			out.WriteString(s[done:f.start])
			out.WriteString(Placeholder)
		}
		done = max(done, f.end)
	}
	out.WriteString(s[done:])
	return out.String()
}

// escapes are ways to write a byte by others. They are undone one at a time,
// and leniently, since everybody escapes other characters than the next.
var escapes = []struct {
	// mark is what each escape begins with.
	mark string
	// decode undoes the escape that a text begins with, and tells its length;
	// 0 where the text begins with none.
	decode func(s string) (decoded string, length int)
}{
	{mark: "%", decode: decodePercent},
	{mark: `\`, decode: decodeBackslash},
	{mark: "&", decode: decodeEntity},
}

// unescape undoes one kind of escapes, and tells of each byte where it was.
func unescape(s string, decode func(string) (string, int)) (text string, origin []span) {
	var out strings.Builder
	out.Grow(len(s))
	origin = make([]span, 0, len(s))
	for i := 0; i < len(s); {
		decoded, length := decode(s[i:])
		if length == 0 {
			decoded, length = s[i:i+1], 1
		}
		out.WriteString(decoded)
		for range len(decoded) {
			origin = append(origin, span{i, i + length})
		}
		i += length
	}
	return out.String(), origin
}

func decodePercent(s string) (string, int) {
	if s[0] != '%' {
		return "", 0
	}
	return decodeHex(s, 1, 3)
}

func decodeBackslash(s string) (string, int) {
	if s[0] != '\\' || len(s) < 2 {
		return "", 0
	}
	switch c := s[1]; {
	case c == 'u':
		return decodeHex(s, 2, 6)
	case c == 'x':
		return decodeHex(s, 2, 4)
	case c == 't':
		return "\t", 2
	case c == 'n':
		return "\n", 2
	case c == 'r':
		return "\r", 2
	case c > ' ' && c < utf8.RuneSelf && !isBase64(c) || c == '/' || c == '-' || c == '_' || c == '+':
		return s[1:2], 2
	}
	return "", 0
}

// decodeHex reads the code of a character in s[from:to].
func decodeHex(s string, from, to int) (string, int) {
	if len(s) < to {
		return "", 0
	}
	code, err := strconv.ParseUint(s[from:to], 16, 16)
	if err != nil {
		return "", 0
	}
	if code < 0x100 && to-from == 2 {
		return string([]byte{byte(code)}), to
	}
	return string(rune(code)), to
}

// maxEntity bounds the search for the end of an entity such as &quot;.
const maxEntity = 12

func decodeEntity(s string) (string, int) {
	if s[0] != '&' {
		return "", 0
	}
	end := strings.IndexByte(s[:min(len(s), maxEntity)], ';') + 1
	if end == 0 || strings.IndexByte(s[1:end], '&') >= 0 {
		return "", 0
	}
	decoded := html.UnescapeString(s[:end])
	if decoded == s[:end] {
		return "", 0
	}
	return decoded, end
}
