package format_test

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// reader knows how a service reads a body, by its documentation: it is what the tests hold
// the escapes against, and knows nothing of them.
type reader struct {
	// texts returns what the service reads with its markup, and plain what it shows as it is.
	texts, plain func(body any) []string
	// escaped finds what stands for a character, and unescape writes it as it is shown.
	escaped  *regexp.Regexp
	unescape func(string) string
	// active are the characters that are markup where they are not escaped.
	active string
	// check finds what is wrong beside the texts: too long, or a mention.
	check func(body any, size int) []string
}

var (
	backslashed = regexp.MustCompile("\\\\[!-/:-@\\[-`{-~]")
	entity      = regexp.MustCompile(`&#[0-9]+;`)
	threeOnly   = regexp.MustCompile(`&(amp|lt|gt);`)
	nothing     = regexp.MustCompile(`$^`)
)

func withoutBackslashes(s string) string {
	return backslashed.ReplaceAllStringFunc(s, func(s string) string { return s[1:] })
}

func same(s string) string { return s }

// readers of each service.
var readers = map[v1alpha1.PayloadFormat]reader{
	v1alpha1.PayloadDingTalk: {
		texts:   func(b any) []string { return []string{text(b, "markdown", "text")} },
		plain:   func(b any) []string { return []string{text(b, "markdown", "title")} },
		escaped: backslashed, unescape: withoutBackslashes, active: "\\`*_~|[]<>#@\n",
		check: func(b any, size int) []string {
			return slices.Concat(atMost("bytes of the body", size, 20_000),
				only("at", valueAt(b, "at"), map[string]any{"isAtAll": false}), noAt(text(b, "markdown", "title")))
		},
	},
	v1alpha1.PayloadFeishu: {
		texts:   func(b any) []string { return tagged(b, "lark_md") },
		plain:   func(b any) []string { return tagged(b, "plain_text") },
		escaped: entity, unescape: html.UnescapeString, active: "&\\`*_~[]<>\n",
		check: func(_ any, size int) []string { return atMost("bytes of the body", size, 20_000) },
	},
	v1alpha1.PayloadWeCom: {
		texts:   func(b any) []string { return []string{text(b, "markdown", "content")} },
		escaped: nothing, unescape: same, active: "&`*[]<>@\n",
		check: func(b any, _ int) []string {
			return atMost("bytes of the content", len(text(b, "markdown", "content")), 4096)
		},
	},
	v1alpha1.PayloadSlack: {
		texts: func(b any) []string {
			all := []string{text(b, "text")}
			for _, f := range list(valueAt(b, "attachments", 0, "fields")) {
				all = append(all, text(f, "title"), text(f, "value"))
			}
			return all
		},
		escaped: threeOnly, unescape: html.UnescapeString, active: "&<>\n",
		check: func(b any, size int) []string {
			wrong := slices.Concat(atMost("bytes of the body", size, 40_000), atMost("characters of the text", units(text(b, "text")), 4_000),
				only("mrkdwn", valueAt(b, "mrkdwn"), false), only("link_names", valueAt(b, "link_names"), false),
				only("mrkdwn_in", valueAt(b, "attachments", 0, "mrkdwn_in"), []any{}))
			for _, f := range list(valueAt(b, "attachments", 0, "fields")) {
				wrong = append(wrong, atMost("characters of a value", units(text(f, "value")), 3_000)...)
			}
			return wrong
		},
	},
	v1alpha1.PayloadTeams: {
		plain:   func(b any) []string { return typed(b, "TextRun") },
		escaped: nothing, unescape: same,
		check: func(b any, size int) []string {
			wrong := slices.Concat(atMost("bytes of the body", size, 28_000),
				only("msteams", valueAt(b, "attachments", 0, "content", "msteams"), map[string]any{"width": "Full"}))
			for _, kind := range []string{"TextBlock", "FactSet"} { // which read Markdown
				if strings.Contains(fmt.Sprint(shape(b)), "type:"+kind) {
					wrong = append(wrong, "it has a "+kind)
				}
			}
			return wrong
		},
	},
	v1alpha1.PayloadDiscord: {
		texts: func(b any) []string {
			all := []string{text(b, "embeds", 0, "title")}
			for _, f := range list(valueAt(b, "embeds", 0, "fields")) {
				all = append(all, text(f, "name"), text(f, "value"))
			}
			return all
		},
		escaped: backslashed, unescape: withoutBackslashes, active: "\\`*_~|[]<>#@\n",
		check: func(b any, _ int) []string {
			title, fields := text(b, "embeds", 0, "title"), list(valueAt(b, "embeds", 0, "fields"))
			wrong := slices.Concat(only("allowed_mentions", valueAt(b, "allowed_mentions"), map[string]any{"parse": []any{}}),
				only("content", valueAt(b, "content"), nil), atMost("characters of the title", units(title), 256), atMost("fields", len(fields), 25))
			total := units(title)
			for _, f := range fields {
				name, value := text(f, "name"), text(f, "value")
				total += units(name) + units(value)
				wrong = slices.Concat(wrong, atMost("characters of a name", units(name), 256), atMost("characters of a value", units(value), 1024))
				if name == "" || value == "" {
					wrong = append(wrong, "a field is empty")
				}
			}
			return append(wrong, atMost("characters of the embed", total, 6000)...)
		},
	},
}

// skeleton is the markup of a text: its active characters that are not escaped.
func (r reader) skeleton(s string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(r.active, c) {
			return c
		}
		return -1
	}, r.escaped.ReplaceAllString(s, ""))
}

// shown is all that a person reads, with the parts in lines.
func (r reader) shown(body any) string {
	var all []string
	if r.texts != nil {
		for _, s := range r.texts(body) {
			all = append(all, r.unescape(s))
		}
	}
	if r.plain != nil {
		all = append(all, r.plain(body)...)
	}
	return strings.Join(all, "\n")
}

// wrong finds what is wrong with a body, of whatever it tells.
func (r reader) wrong(data []byte) []string {
	var body any
	if err := json.Unmarshal(data, &body); err != nil {
		return []string{err.Error()}
	}
	wrong := r.check(body, len(data))
	if !utf8.Valid(data) {
		wrong = append(wrong, "it is not UTF-8")
	}
	for _, c := range r.shown(body) {
		if c != '\n' && unicode.IsControl(c) || unicode.Is(unicode.Cf, c) && c != '\u200d' {
			wrong = append(wrong, fmt.Sprintf("it shows %q", c))
			break
		}
	}
	if r.texts == nil {
		return wrong
	}
	for _, s := range r.texts(body) {
		if rest := r.escaped.ReplaceAllString(s, ""); strings.Contains(r.active, `\`) && strings.Contains(rest, `\`) ||
			strings.Contains(r.active, "&") && strings.Contains(rest, "&") {
			wrong = append(wrong, fmt.Sprintf("an escape is cut: %q", s))
		}
	}
	return wrong
}

// valueAt is the value at a place of a body, nil where there is none.
func valueAt(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

func text(v any, path ...any) string { s, _ := valueAt(v, path...).(string); return s }

func list(v any) []any { l, _ := v.([]any); return l }

func units(s string) int { return len(utf16.Encode([]rune(s))) }

func atMost(what string, n, most int) []string {
	if n > most {
		return []string{fmt.Sprintf("%d %s, more than %d", n, what, most)}
	}
	return nil
}

func only(what string, got, want any) []string {
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		return []string{fmt.Sprintf("%s is %v", what, got)}
	}
	return nil
}

func noAt(s string) []string {
	if strings.Contains(s, "@") {
		return []string{"an @ in " + s}
	}
	return nil
}

// tagged are the contents of Feishu's texts of a tag.
func tagged(v any, tag string) []string { return find(v, "tag", tag, "content") }

// typed are the texts of Teams' elements of a type.
func typed(v any, kind string) []string { return find(v, "type", kind, "text") }

func find(v any, key, value, what string) []string {
	var all []string
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			all = append(all, find(e, key, value, what)...)
		}
	case map[string]any:
		if v[key] == value {
			all = append(all, text(v, what))
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			all = append(all, find(v[k], key, value, what)...)
		}
	}
	return all
}

// keywords are the strings of a body that are no text: they name what a part is.
var keywords = []string{"type", "tag", "msgtype", "msg_type", "style", "color", "template", "contentType", "$schema", "version", "weight", "size", "spacing", "width"}

// shape is a body without its texts.
func shape(v any) any {
	switch v := v.(type) {
	case []any:
		l := make([]any, len(v))
		for i := range v {
			l[i] = shape(v[i])
		}
		return l
	case map[string]any:
		m := map[string]any{}
		for k, e := range v {
			_, isText := e.(string)
			_, isBool := e.(bool)
			switch {
			case isText && slices.Contains(keywords, k):
				m[k] = e
			case isBool && (k == "short" || k == "inline"): // by length
			default:
				m[k] = shape(e)
			}
		}
		return m
	case string:
		return ""
	}
	return v
}

func decoded(t testing.TB, data []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return v
}
