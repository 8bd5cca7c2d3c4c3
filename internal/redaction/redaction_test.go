package redaction

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"math/rand/v2"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// spellings are the ways in which receivers echo a secret.
var spellings = map[string]func(s string) string{
	"plain":            func(s string) string { return s },
	"base64":           func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64, raw":      func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64, URL":      func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64, URL, raw": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 in a URL": func(s string) string {
		return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s)))
	},
	"base64 in PHP's JSON": func(s string) string {
		return strings.ReplaceAll(base64.StdEncoding.EncodeToString([]byte(s)), "/", `\/`)
	},
	"hex":                   func(s string) string { return hex.EncodeToString([]byte(s)) },
	"hex, upper":            func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"URL query":             url.QueryEscape,
	"URL path":              url.PathEscape,
	"URL, lower-case hex":   func(s string) string { return each([]byte(s), "%%%02x") },
	"JSON":                  marshal,
	"JSON, all escaped":     func(s string) string { return each([]rune(s), `\u%04x`) },
	"JSON, PHP":             func(s string) string { return strings.ReplaceAll(marshal(s), "/", `\/`) },
	"Go":                    func(s string) string { return unquote(strconv.QuoteToASCII(s)) },
	"HTML":                  html.EscapeString,
	"HTML, all hexadecimal": func(s string) string { return each([]rune(s), "&#x%x;") },
	"HTML, named":           strings.NewReplacer("&", "&amp;", `"`, "&quot;", "<", "&lt;", ">", "&gt;", "'", "&apos;").Replace,
}

func each[T byte | rune](s []T, format string) string {
	var out strings.Builder
	for _, c := range s {
		fmt.Fprintf(&out, format, c)
	}
	return out.String()
}

func marshal(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return unquote(string(data))
}

func unquote(s string) string { return s[1 : len(s)-1] }

func TestRedactSpellings(t *testing.T) {
	for _, secret := range []string{
		"s3cr3t",
		"secret!",
		"a longer pass phrase, with spaces",
		`quotes " and \ and / and <b>&'%41+=~?`,
		"ÿþýüûúù", // all but '+' and '/' in base64
		strings.Repeat("x", 4096),
	} {
		r := New(secret)
		for name, spell := range spellings {
			t.Run(fmt.Sprintf("%.10s %s", secret, name), func(t *testing.T) {
				spelt := spell(secret)
				got := r.Redact("before: (" + spelt + ") and (" + spelt + ") after")
				want := "before: ([redacted]) and ([redacted]) after"
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestRedact(t *testing.T) {
	for name, tc := range map[string]struct {
		secrets []string
		text    string
		want    string
	}{
		"no secret":            {text: "hello", want: "hello"},
		"not in the text":      {secrets: []string{"s3cr3t"}, text: "hello %41 \\u0041 &amp;", want: "hello %41 \\u0041 &amp;"},
		"whole text":           {secrets: []string{"s3cr3t"}, text: "s3cr3t", want: "[redacted]"},
		"too short":            {secrets: []string{"short", ""}, text: "short", want: "short"},
		"side by side":         {secrets: []string{"s3cr3t"}, text: "s3cr3ts3cr3t", want: "[redacted]"},
		"overlapping":          {secrets: []string{"abcabc"}, text: "abcabcabcd", want: "[redacted]d"},
		"one within another":   {secrets: []string{"s3cr3t", "my s3cr3t!"}, text: "(my s3cr3t!)", want: "([redacted])"},
		"several":              {secrets: []string{"s3cr3t", "passw0rd"}, text: "s3cr3t passw0rd", want: "[redacted] [redacted]"},
		"half an escape":       {secrets: []string{"s3cr3t"}, text: `%4 \u00 \ & &; &# %`, want: `%4 \u00 \ & &; &# %`},
		"Basic authentication": {secrets: []string{"s3cr3t"}, text: "Basic " + base64.StdEncoding.EncodeToString([]byte("me:s3cr3t")), want: "Basic bWU6[redacted]"},

		"Standard Webhooks secret":          {secrets: []string{"whsec_c2VjcmV0IGtleQ=="}, text: "(whsec_c2VjcmV0IGtleQ==)", want: "([redacted])"},
		"without its prefix":                {secrets: []string{"whsec_c2VjcmV0IGtleQ=="}, text: "(c2VjcmV0IGtleQ==)", want: "([redacted])"},
		"without its padding":               {secrets: []string{"whsec_c2VjcmV0IGtleQ=="}, text: "(c2VjcmV0IGtleQ)", want: "([redacted])"},
		"its key":                           {secrets: []string{"whsec_c2VjcmV0IGtleQ=="}, text: "(secret key)", want: "([redacted])"},
		"its key in hex":                    {secrets: []string{"whsec_c2VjcmV0IGtleQ=="}, text: "(736563726574206b6579)", want: "([redacted])"},
		"prefix alone":                      {secrets: []string{"whsec_c2VjcmV0IGtleQ=="}, text: "no whsec_ here", want: "no whsec_ here"},
		"broken off in the middle":          {secrets: []string{"a-long-token"}, text: "token: a-long-t", want: "token: [redacted]"},
		"a key too short to look for":       {secrets: []string{"whsec_YWJjZA=="}, text: "abcd (YWJjZA==)", want: "abcd ([redacted])"},
		"an ampersand before":               {secrets: []string{"s3cr3t"}, text: "a & b: &#x73;3cr3t", want: "a & b: [redacted]"},
		"less than half":                    {secrets: []string{"a-very-long-token-of-yours"}, text: "token: a-very-long-", want: "token: a-very-long-"},
		"broken off early":                  {secrets: []string{"a-long-token"}, text: "token: a-lon", want: "token: a-lon"},
		"broken off in the middle, escaped": {secrets: []string{"a-long/token"}, text: "token: a-long%2Ft", want: "token: [redacted]"},
		"not at the end":                    {secrets: []string{"a-long-token"}, text: "token: a-long-t.", want: "token: a-long-t."},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, New(tc.secrets...).Redact(tc.text)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The three places of a group of four characters, with neighbours and without.
func TestRedactInsideBase64(t *testing.T) {
	const secret = "s3cr3t/token"
	r := New(secret)
	for _, encoding := range []*base64.Encoding{
		base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
	} {
		for before := range 7 {
			for after := range 7 {
				text := strings.Repeat("\xff", before) + secret + strings.Repeat("\xff", after)
				encoded := encoding.EncodeToString([]byte(text))
				// Characters that carry a bit of the secret go, and padding next to them.
				left, right := encoded[:before*8/6], encoded[((before+len(secret))*8+5)/6:]
				if strings.Trim(right, "=") == "" {
					right = ""
				}
				if diff := cmp.Diff("("+left+Placeholder+right+")", r.Redact("("+encoded+")")); diff != "" {
					t.Errorf("%d bytes before, %d after (-want +got):\n%s", before, after, diff)
				}
			}
		}
	}
	// Torn from its neighbours, it takes no others along.
	for _, f := range r.forms {
		if got, want := r.Redact("("+f.text+")"), "("+Placeholder+")"; got != want {
			t.Errorf("%s: %q, want %q", f.text, got, want)
		}
	}
}

func TestNilRedactor(t *testing.T) {
	var r *Redactor
	if got := r.Redact("text"); got != "text" {
		t.Errorf("Redact = %q, want the text", got)
	}
	if got := r.MaxEncodedLen(); got != 0 {
		t.Errorf("MaxEncodedLen = %d, want 0", got)
	}
}

func TestMaxEncodedLen(t *testing.T) {
	const secret = `a longer "secret" & <more>/`
	r := New("s3cr3t", secret)
	for name, spell := range spellings {
		if got := len(spell(secret)); got > r.MaxEncodedLen() {
			t.Errorf("%s takes %d bytes, more than MaxEncodedLen of %d", name, got, r.MaxEncodedLen())
		}
	}
}

// Whatever is around a secret, and however the secret is spelt, nothing of the
// spelling remains and nothing else is lost.
func FuzzRedact(f *testing.F) {
	f.Add("s3cr3t", "before", "after")
	f.Add("a b/c+d%41", "%", "4")
	f.Add(`\u0041&amp;`, `\`, "&")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		printable := []byte(secret) // as what signing.ParseSecret accepts
		for i, c := range printable {
			printable[i] = ' ' + c%('~'-' '+1)
		}
		secret = string(printable)
		if len(secret) < MinLength || len(secret) > 100 || strings.Contains(Placeholder, secret) {
			t.Skip()
		}
		r := New(secret)
		for name, spell := range spellings {
			spelt := spell(secret)
			got := r.Redact(before + "(" + spelt + ")" + after)
			if strings.Contains(got, spelt) {
				t.Errorf("%s: %q left in %q", name, spelt, got)
			}
		}
		if text := before + after; !strings.Contains(r.Redact(text), Placeholder) && r.Redact(text) != text {
			t.Errorf("%q changed to %q", text, r.Redact(text))
		}
	})
}

// What is known to be secret besides takes nothing from a find at the same place.
func TestRedactTwoAtOnePlace(t *testing.T) {
	const secret = "s3cr3t/token"
	for before := range 3 {
		text := "(" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\xff", before)+secret+"\xff")) + ")"
		for _, f := range New(secret).forms {
			if diff := cmp.Diff(New(secret).Redact(text), New(f.text, secret).Redact(text)); diff != "" {
				t.Errorf("with %q too (-want +got):\n%s", f.text, diff)
			}
		}
	}
}

// formByForm is find, one form after the other.
func formByForm(r *Redactor, s string) []span {
	var found []span
	for _, f := range r.forms {
		for from := 0; ; from++ {
			i := strings.Index(s[from:], f.text)
			if i < 0 {
				break
			}
			from += i
			found = append(found, f.widen(s, from, from+len(f.text)))
		}
		for n := len(f.text) - 1; n >= max(MinLength, (len(f.text)+1)/2); n-- {
			if strings.HasSuffix(s, f.text[:n]) {
				found = append(found, f.widen(s, len(s)-n, len(s)))
				break
			}
		}
	}
	return found
}

// Many secrets, with parts in common, are found as if each were looked for alone.
func FuzzRedactMany(f *testing.F) {
	f.Add("s3cr3t my s3cr3t! s3cr3ts3cr3t", "(my s3cr3t!) s3cr3", byte(0))
	f.Add("abcabc bcabca aaaaaa aaaaaaa", "abcabcabcaaaaaaaaa=", byte(5))
	f.Add("/hooks/T00000000/B00000000/XXXXXXXXXXXX T00000000 B00000000 XXXXXXXXXXXX", "https%3A%2F%2Fx%2Fhooks%2FT00000000%2FB00000000", byte(10))
	f.Fuzz(func(t *testing.T, secrets, text string, spelling byte) {
		if len(secrets) > 1000 || len(text) > 10_000 {
			t.Skip()
		}
		names := slices.Sorted(maps.Keys(spellings))
		spell := spellings[names[int(spelling)%len(names)]]
		all := strings.Split(secrets, " ")
		for n := range all { // as those of a URL, some are parts of others
			all = append(all, strings.Join(all[n:], "/"))
		}
		r := New(all...)
		text += "(" + spell(all[len(all)-1]) + ")" + spell(all[0])
		if got, want := replace(text, r.find(text)), replace(text, formByForm(r, text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		for left := range strings.SplitSeq(r.Redact(text), Placeholder) {
			for _, secret := range all {
				if len(secret) >= MinLength && strings.Contains(left, secret) {
					t.Errorf("%q left in %q", secret, left)
				}
			}
		}
	})
}

// BenchmarkRedactMany is about as many secrets as an address in a Secret has at most,
// in bodies as long as are read.
func BenchmarkRedactMany(b *testing.B) {
	random := rand.NewChaCha8([32]byte{1})
	letters := func(n int) string {
		raw := make([]byte, n)
		_, _ = random.Read(raw)
		return base64.StdEncoding.EncodeToString(raw)[:n]
	}
	var secrets []string
	for n := range 40 {
		raw := make([]byte, 8+n)
		_, _ = random.Read(raw)
		secrets = append(secrets, string(raw)) // which has more forms than letters have
	}
	r := New(secrets...)
	const length = 64 << 10
	for name, text := range map[string]string{
		"base64":    letters(length),
		"hex":       hex.EncodeToString([]byte(letters(length / 2))),
		"JSON":      strings.Repeat(`{"path":"a\/b\u0041","link":"https:\/\/x?a=%41&amp;b"},`, length/56),
		"words":     strings.Repeat("lorem ipsum, ", length/13),
		"repeated":  strings.Repeat("a", length),
		"its forms": strings.Repeat(r.forms[7].text[:6]+" ", length/7),
	} {
		b.Run(name, func(b *testing.B) {
			b.Run("redact", func(b *testing.B) {
				for b.Loop() {
					r.Redact(text)
				}
			})
			b.Run("find", func(b *testing.B) {
				for b.Loop() {
					r.find(text)
				}
			})
			b.Run("find form by form", func(b *testing.B) {
				for b.Loop() {
					formByForm(r, text)
				}
			})
		})
	}
	b.Run("New", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			New(secrets...)
		}
		b.ReportMetric(float64(len(r.forms)), "forms")
	})
}

func BenchmarkRedact(b *testing.B) {
	r := New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	for name, text := range map[string]string{
		"small": `{"status":"ok"}`,
		"JSON":  strings.Repeat(`{"path":"a\/b"},`, 1024),
		"plain": strings.Repeat("lorem ipsum, ", 1024),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Redact(text)
			}
		})
	}
	b.Run("New", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
		}
	})
}

// Secrets and an answer of one letter each meet at every byte, in every spelling.
// Whoever chooses both must not fill the memory with it.
func TestRepetitiveAnswerTakesLittleMemory(t *testing.T) {
	const most = 16 << 20
	var secrets []string
	for n := range 32 {
		secrets = append(secrets, strings.Repeat("a", MinLength+n))
	}
	r := New(secrets...)
	answer := strings.Repeat("a", 48<<10) + `%\&`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := r.Redact(answer)
	runtime.ReadMemStats(&after)
	if want := Placeholder + `%\&`; got != want {
		t.Errorf("%.200q, want %q", got, want)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > most {
		t.Errorf("it took %d bytes, more than %d", took, most)
	}
}

// BenchmarkNewMany is what making a Redactor costs, which each Webhook has one of. An
// automaton (Aho and Corasick) for the same forms took 16 ms and 23 MB, and searched no
// faster.
func BenchmarkNewMany(b *testing.B) {
	random := rand.NewChaCha8([32]byte{1})
	var secrets []string
	for n := range 40 {
		raw := make([]byte, 8+n)
		_, _ = random.Read(raw)
		secrets = append(secrets, string(raw))
	}
	for b.Loop() {
		New(secrets...)
	}
}
