package signing

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// minCut is how many characters of a signature there have to be to recognise it.
const minCut = 8

// variant is a body or a key as it may have been when a request was signed.
type variant struct {
	// when it is so, to be read after "it holds when"; empty for what was given.
	when  string
	value []byte
}

// Accident looks for a usual accident that makes a signature hold which does not: a body
// that was changed on its way, a key that is decoded or not, a signature that is cut off.
// It returns what has to be read after "it holds when", or nothing. The secret is the file
// as it is, line breaks included.
func Accident(h http.Header, body, secret []byte) string {
	m, err := messageOf(h)
	if err != nil {
		return ""
	}
	for _, key := range keys(secret, h.Get(HeaderSecret)) {
		for _, b := range bodies(body) {
			mac := hmac.New(sha256.New, key.value)
			fmt.Fprintf(mac, "%s.%d.", m.id, m.at.Unix())
			mac.Write(b.value)
			form, ok := m.carries(mac.Sum(nil))
			if !ok {
				continue
			}
			var all []string
			for _, when := range []string{key.when, b.when, form} {
				if when != "" {
					all = append(all, when)
				}
			}
			return strings.Join(all, ", and ")
		}
	}
	return ""
}

// carries tells whether a signature is there, if need be in another form, and in which.
func (m message) carries(sum []byte) (form string, ok bool) {
	want := base64.StdEncoding.EncodeToString(sum)
	var forms []string
	for _, raw := range m.raw {
		got, versioned := strings.CutPrefix(raw, version+",")
		switch {
		case versioned && got == want:
			return "", true
		case got == want:
			forms = append(forms, "the signature has its version: "+version+", and a comma stand before it")
		case len(got) >= minCut && strings.HasPrefix(want, got):
			forms = append(forms, fmt.Sprintf("the signature is whole: it is cut off after %d of %d characters", len(got), len(want)))
		case got == base64.URLEncoding.EncodeToString(sum) || got == base64.RawURLEncoding.EncodeToString(sum):
			forms = append(forms, "the signature is in standard base64, and not in that for URLs")
		case strings.EqualFold(got, hex.EncodeToString(sum)):
			forms = append(forms, "the signature is in base64, and not in hexadecimal")
		}
	}
	if len(forms) == 0 {
		return "", false
	}
	return forms[0], true
}

// keys returns what may have been the key, beginning with what it should be.
func keys(secret []byte, token string) []variant {
	text := string(bytes.TrimRight(secret, "\r\n"))
	var all []variant
	add := func(when string, key []byte) {
		known := slices.ContainsFunc(all, func(v variant) bool { return bytes.Equal(v.value, key) })
		if len(key) > 0 && !known {
			all = append(all, variant{when, key})
		}
	}
	encoded, prefixed := strings.CutPrefix(text, keyPrefix)
	if prefixed {
		if key, err := base64.StdEncoding.DecodeString(encoded); err == nil {
			add("", key)
			add("the key is decoded as base64 twice", decode(string(key)))
		}
		add("the key is taken as it stands: whoever signed did not decode what follows "+keyPrefix, []byte(text))
		add("the key is what follows "+keyPrefix+", taken as it stands: whoever signed did not decode it", []byte(encoded))
	} else {
		add("", []byte(text))
		if inner := decode(text); inner != nil {
			if key, ok := strings.CutPrefix(strings.TrimRight(string(inner), "\r\n"), keyPrefix); ok {
				add("the key file is decoded as base64 first, as kubectl get secret -o yaml shows it", decode(key))
			}
			add("the key is decoded as base64: it lacks the prefix "+keyPrefix+
				", or it is encoded as kubectl get secret -o yaml shows it", inner)
		}
	}
	if strings.TrimSpace(token) != text {
		add("the key is the token of "+HeaderSecret+", and not the one that was given", tokenKey(token))
	}
	for _, end := range []string{"\n", "\r\n"} {
		add("the key ends with a line break: whoever signed left that of a file in it", []byte(text+end))
	}
	trimmed := strings.Trim(text, " \t\"'")
	add("the key has no spaces or quotation marks around it", tokenKey(trimmed))
	return all
}

// tokenKey is the key that a text stands for, or nothing.
func tokenKey(text string) []byte {
	if encoded, ok := strings.CutPrefix(text, keyPrefix); ok {
		return decode(encoded)
	}
	return []byte(text)
}

// decode decodes base64 of any kind; nil where it is none.
func decode(text string) []byte {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if value, err := encoding.DecodeString(text); err == nil {
			return value
		}
	}
	return nil
}

// bodies returns what may have been the body, beginning with what was given.
func bodies(body []byte) []variant {
	all := []variant{{value: body}}
	add := func(when string, value []byte) {
		if !slices.ContainsFunc(all, func(v variant) bool { return bytes.Equal(v.value, value) }) {
			all = append(all, variant{when, value})
		}
	}
	unix := bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	add("the line break at the end of the body is left out: something has added it", bytes.TrimRight(body, "\r\n"))
	add("a line feed is added at the end of the body: something has taken it off", append(bytes.Clone(body), '\n'))
	add("a carriage return and a line feed are added at the end of the body: something has taken them off",
		append(bytes.Clone(body), '\r', '\n'))
	add("lines of the body end with line feeds alone: something has put carriage returns before them", unix)
	add("lines of the body end with carriage returns and line feeds: something has taken the former off",
		bytes.ReplaceAll(unix, []byte("\n"), []byte("\r\n")))
	add("the byte order mark (BOM) of the body is left out: something has added it", bytes.TrimPrefix(body, []byte("\ufeff")))
	add("spaces and line breaks around the body are left out: something has added them", bytes.TrimSpace(body))
	var compact bytes.Buffer
	if json.Compact(&compact, body) == nil {
		add("the body is compact JSON: something has parsed it and written it anew; verify the bytes that came", compact.Bytes())
		if again := rewrite(body); again != nil {
			add("the body is JSON as Go writes it: something has parsed it and written it anew; verify the bytes that came", again)
		}
	}
	return all
}

// rewrite writes JSON anew, compact and with Go's escapes, as Horizon's bodies are. The
// order of the keys and the spelling of numbers stay.
func rewrite(body []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var out bytes.Buffer
	if err := rewriteValue(d, &out); err != nil {
		return nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil
	}
	return out.Bytes()
}

func rewriteValue(d *json.Decoder, out *bytes.Buffer) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		data, err := json.Marshal(token)
		out.Write(data)
		return err
	}
	out.WriteRune(rune(delim))
	for n := 0; d.More(); n++ {
		if n > 0 {
			out.WriteByte(',')
		}
		if delim == '{' {
			if err := rewriteValue(d, out); err != nil { // the key
				return err
			}
			out.WriteByte(':')
		}
		if err := rewriteValue(d, out); err != nil {
			return err
		}
	}
	end, err := d.Token()
	if err != nil {
		return err
	}
	closing, _ := end.(json.Delim)
	out.WriteRune(rune(closing))
	return nil
}
