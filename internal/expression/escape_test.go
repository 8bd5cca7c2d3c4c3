package expression

import (
	"context"
	"fmt"
	"html"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"
)

func TestEscapes(t *testing.T) {
	const text = "a&b <@c> *d* _e_ ~f~ |g| `h` [i](j) #k \\l \"m' n:o@all ü中😀"
	for name, want := range map[string]string{
		"markdown": "a&b \\<@c\\> \\*d\\* \\_e\\_ \\~f\\~ \\|g\\| \\`h\\` \\[i\\](j) \\#k \\\\l \"m' n:o@all ü中😀",
		"dingtalk": "a&b \\<＠c\\> \\*d\\* \\_e\\_ \\~f\\~ \\|g\\| \\`h\\` \\[i\\](j) \\#k \\\\l \"m' n:o＠all ü中😀",
		"discord":  "a&b \\<＠c\\> \\*d\\* \\_e\\_ \\~f\\~ \\|g\\| \\`h\\` \\[i\\](j) \\#k \\\\l \"m' n:o＠all ü中😀",
		"feishu":   "a&#38;b &#60;@c&#62; &#42;d&#42; &#95;e&#95; &#126;f&#126; |g| &#96;h&#96; &#91;i&#93;(j) #k &#92;l \"m' n&#58;o@all ü中😀",
		"wecom":    "a＆b ＜＠c＞ ＊d＊ _e_ ~f~ |g| ｀h｀ ［i］(j) #k \\l \"m' n:o＠all ü中😀",
		"slack":    "a&amp;b &lt;@c&gt; *d* _e_ ~f~ |g| `h` [i](j) #k \\l \"m' n:o@all ü中😀",
		"html":     "a&amp;b &lt;@c&gt; *d* _e_ ~f~ |g| `h` [i](j) #k \\l &#34;m&#39; n:o@all ü中😀",
	} {
		if got := escapedBy(t, fmt.Sprintf("escape.%s(event.extra)", name), text); got != want {
			t.Errorf("%s: %s\nnot %s", name, got, want)
		}
	}
}

// A bound is that of the result, and what stands for a character is not cut.
func TestEscapesAreCut(t *testing.T) {
	for name, tc := range map[string]struct{ expression, text, want string }{
		"as long as it may be":      {`escape.slack(event.extra, 10)`, "&&", "&amp;&amp;"},
		"longer":                    {`escape.slack(event.extra, 9)`, "&&", "&amp;…"},
		"no room for an escape":     {`escape.slack(event.extra, 7)`, "&&", "…"},
		"no room for the mark":      {`escape.slack(event.extra, 2)`, "&&", ""},
		"no room for the mark, bit": {`escape.slack(event.extra, 2)`, "abc", "ab"},
		"nothing":                   {`escape.slack(event.extra, 0)`, "abc", ""},
		"nothing of nothing":        {`escape.slack(event.extra, 0)`, "", ""},
		"a backslash":               {`escape.discord(event.extra, 5)`, "****", `\*…`},
		"a wide character":          {`escape.wecom(event.extra, 8)`, "<<<", "＜…"},
		"two bytes":                 {`escape.markdown(event.extra, 6)`, "üüüü", "ü…"},
		"four bytes":                {`escape.markdown(event.extra, 7)`, "😀😀", "😀…"},
		"more than there can be":    {`escape.feishu(event.extra, 9223372036854775807)`, "*", "&#42;"},
	} {
		if got := escapedBy(t, tc.expression, tc.text); got != tc.want {
			t.Errorf("%s: %q, not %q", name, got, tc.want)
		}
	}
	template, err := CompileTemplate(`{"a": escape.wecom(event.extra, -1)}`)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := template.Render(sampleInput()); err == nil || err.Error() != "escape.wecom() to -1 bytes" {
		t.Errorf("%s, %v", body, err)
	}
}

func escapedBy(t *testing.T, expression, text string) string {
	t.Helper()
	rule, err := CompileTemplate(`{"a": ` + expression + `}`)
	if err != nil {
		t.Fatal(err)
	}
	in := sampleInput()
	in.Event.Extra = text
	v, err := rule.run(rule.cel, &in)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := v.(interface{ Get(ref.Val) ref.Val }).Get(types.String("a")).(types.String)
	return string(s)
}

// FuzzEscapes: an escaped text is never longer than it may be, and reads as the beginning of
// the text.
func FuzzEscapes(f *testing.F) {
	for _, text := range []string{"", "a", "&<>", `\*_`, "ü中😀", "\xff&", "@[x](y)"} {
		f.Add(text, 7)
	}
	entities := newEscape(feishuEscapes...)
	backslashes := newEscape(markdownEscapes...)
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = int(uint(n) % 300)
		for name, got := range map[string]string{
			"entities":    html.UnescapeString(string(entities.escape(entities.cut(types.String(text), n)).(types.String))),
			"backslashes": unescaped(string(backslashes.escape(backslashes.cut(types.String(text), n)).(types.String))),
		} {
			got, wasCut := strings.CutSuffix(got, cutMark)
			if !strings.HasPrefix(text, got) || !wasCut && n > len(cutMark) && got != text {
				t.Errorf("%s of %q to %d bytes: %q", name, text, n, got)
			}
			if utf8.ValidString(text) && !utf8.ValidString(got) {
				t.Errorf("%s of %q to %d bytes cuts a character: %q", name, text, n, got)
			}
		}
		for _, e := range []*escape{entities, backslashes} {
			if s := e.escape(e.cut(types.String(text), n)).(types.String); len(s) > n {
				t.Errorf("%q to %d bytes has %d: %q", text, n, len(s), s)
			}
		}
	})
}

func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// stalled is a program whose process stood still for longer than MaxTime.
type stalled struct{ cel.Program }

func (stalled) ContextEval(_ context.Context, _ any) (ref.Val, *cel.EvalDetails, error) {
	return nil, nil, interpreter.InterruptError{}
}

// The operator's own templates do not fail where the machine stands still.
func TestRenderUnhurried(t *testing.T) {
	p, mistake := newProgram(templates, `{"a": [event.extra].map(x, x)}`)
	if mistake != nil {
		t.Fatal(mistake)
	}
	p.cel = stalled{p.cel}
	template := &Template{p}
	if body, err := template.Render(sampleInput()); err == nil {
		t.Errorf("in a hurry: %s", body)
	}
	if _, err := template.RenderUnhurried(sampleInput()); err != nil {
		t.Error(err)
	}
}
