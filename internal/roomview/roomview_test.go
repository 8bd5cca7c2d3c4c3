package roomview

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Each service's own marks come out as what its room makes of them.
func TestMarks(t *testing.T) {
	for name, test := range map[string]struct {
		format v1alpha1.PayloadFormat
		body   string
		want   []string
	}{
		"DingTalk, Markdown": {v1alpha1.PayloadDingTalk,
			`{"msgtype":"markdown","markdown":{"title":"🚀 out","text":"### 🚀 a\\*b\n\n- **Cluster**: x\n- **By**: y"},"at":{"isAtAll":true}}`,
			[]string{`<p class="room-heading">🚀 a*b</p>`, `<ul><li>`, `<strong>Cluster</strong>: x`, `Mentions everybody.`}},
		"DingTalk, text": {v1alpha1.PayloadDingTalk, `{"msgtype":"text","text":{"content":"a\n<b>"}}`, []string{`<p>a<br>&lt;b&gt;</p>`}},
		"Feishu, card": {v1alpha1.PayloadFeishu,
			`{"msg_type":"interactive","card":{"header":{"title":{"tag":"plain_text","content":"集群"},"template":"red"},"elements":[
			{"tag":"div","text":{"tag":"lark_md","content":"**a**: <font color='green'>b</font>\nc"}},{"tag":"hr"},{"tag":"note","elements":[{"tag":"plain_text","content":"n"}]}]}}`,
			[]string{`class="room room-bad" lang="zh"`, `<p class="room-header">集群</p>`, `<strong>a</strong>: <span class="room-tone-good">b</span><br>c`, `<hr>`, `<p class="room-small">n</p>`}},
		"Feishu, everybody": {v1alpha1.PayloadFeishu, `{"msg_type":"text","content":{"text":"a <at user_id=\"all\">All</at> b"}}`,
			[]string{`Mentions everybody.`, `a <span class="room-mention">@all</span> b`}},
		"Feishu, post": {v1alpha1.PayloadFeishu, `{"msg_type":"post","content":{"post":{"zh_cn":{"title":"t","content":[[{"tag":"text","text":"x"},{"tag":"a","text":"y","href":"https://h"}]]}}}}`,
			[]string{`<p class="room-header">t</p>`, `x<span class="room-link" title="https://h">y</span>`}},
		"WeCom": {v1alpha1.PayloadWeCom, `{"msgtype":"markdown","markdown":{"content":"### <font color=\"warning\">a</font>\n> b: **c** \\*d\n> e\nf [g](https://h) <@all>"}}`,
			[]string{`<p class="room-heading"><span class="room-tone-warning">a</span></p>`, `<blockquote>b: <strong>c</strong> \*d<br>e</blockquote>`,
				`<p>f <span class="room-link" title="https://h">g</span> <span class="room-mention">@all</span></p>`, `Mentions everybody.`}},
		"Slack": {v1alpha1.PayloadSlack, `{"text":"n &amp; m","blocks":[{"type":"header","text":{"type":"plain_text","text":"H"}},
			{"type":"section","text":{"type":"mrkdwn","text":"*a*: &lt;b&gt; _c_ a_b_c 2*3*4 <https://x|y> <!channel>"}},{"type":"divider"}]}`,
			[]string{`<p class="room-heading">H</p>`, `<strong>a</strong>: &lt;b&gt; <em>c</em> a_b_c 2*3*4 <span class="room-link" title="https://x">y</span> <span class="room-mention">@channel</span>`, `Mentions everybody.`}},
		"Slack, no call": {v1alpha1.PayloadSlack, `{"text":"&lt;!channel&gt;"}`, []string{`<p>&lt;!channel&gt;</p>`}},
		"Slack, attachment": {v1alpha1.PayloadSlack, `{"attachments":[{"color":"#d00000","text":"a","fields":[{"title":"k","value":"*v* &lt;"}]},{"mrkdwn_in":["fields"],"fields":[{"title":"k","value":"*v*"}]}]}`,
			[]string{`<div class="room-card room-bad"><p>a</p><dl class="room-fields"><div class="room-wide"><dt>k</dt><dd>*v* &lt;</dd></div></dl></div>`, `<dd><strong>v</strong></dd>`}},
		"Slack, no marks": {v1alpha1.PayloadSlack, `{"text":"*a*","mrkdwn":false}`, []string{`<p>*a*</p>`}},
		"Teams, runs": {v1alpha1.PayloadTeams, `{"attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":{"body":[{"type":"RichTextBlock","inlines":[{"type":"TextRun","text":"k: ","weight":"Bolder"},{"type":"TextRun","text":"*v*"},"w"]}]}}]}`,
			[]string{`<p><strong>k: </strong>*v*w</p>`}},
		"Teams": {v1alpha1.PayloadTeams, `{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":{"type":"AdaptiveCard","body":[
			{"type":"Container","style":"good","items":[{"type":"TextBlock","text":"T","weight":"Bolder"}]},{"type":"FactSet","facts":[{"title":"k","value":"a **b**"}]}]}}]}`,
			[]string{`<div class="room-card room-band room-good"><p class="room-heading">T</p></div>`, `<dt>k</dt><dd>a <strong>b</strong></dd>`}},
		"Discord": {v1alpha1.PayloadDiscord, `{"content":"@everyone","embeds":[{"title":"T\\*","color":3066993,"fields":[{"name":"k","value":"~~v~~"}]}],"allowed_mentions":{"parse":[]}}`,
			[]string{`<div class="room-card room-good"><p class="room-heading">T*</p>`, `<dt>k</dt><dd><s>v</s></dd>`, `<p>@everyone</p>`}},
		"Discord, everybody": {v1alpha1.PayloadDiscord, `{"content":"hi @everyone"}`, []string{`Mentions everybody.`}},
		"an emoji":           {v1alpha1.PayloadSlack, `{"text":"👩‍💻 a\u202eb\u200dc"}`, []string{`👩‍💻 a\u202eb\u200dc`}},
	} {
		got := string(Of(test.format, []byte(test.body)).HTML())
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %s in\n%s", name, want, got)
			}
		}
		if quiet := !strings.Contains(strings.Join(test.want, ""), "Mentions"); quiet && strings.Contains(got, "Mentions") {
			t.Errorf("%s: it mentions somebody:\n%s", name, got)
		}
	}
}

// What is no message is shown as what it is, with the reason.
func TestNoMessage(t *testing.T) {
	for _, test := range []struct {
		format          v1alpha1.PayloadFormat
		body, why, text string
	}{
		{v1alpha1.PayloadSlack, `{"a":1}`, "no message of Slack that is known", "{\n  \"a\": 1\n}"},
		{v1alpha1.PayloadSlack, `[1]`, "no JSON object", "[\n  1\n]"},
		{v1alpha1.PayloadDingTalk, "<b>\x00\xff", "no JSON object", `<b>\x00` + "\ufffd"},
		{v1alpha1.PayloadDingTalk, `{"msgtype":"feedCard"}`, "no message of DingTalk", ""},
		{v1alpha1.PayloadFeishu, `{"msg_type":"interactive","card":[]}`, "no message of Feishu", ""},
		{v1alpha1.PayloadTeams, `{"text":"a card of Office 365"}`, "no message of Teams", ""},
		{v1alpha1.PayloadHorizon, `{}`, "not one of a room", "{}"},
		{v1alpha1.PayloadDiscord, strings.Repeat("[", 1000), "no JSON object", ""},
		{v1alpha1.PayloadDiscord, strings.Repeat("x", 1<<20), "larger than any message", ""},
	} {
		v := Of(test.format, []byte(test.body))
		if !strings.Contains(v.Why, test.why) || !strings.Contains(v.Text(), test.text) {
			t.Errorf("%s: %q, %q", test.body[:min(len(test.body), 40)], v.Why, v.Text()[:min(len(v.Text()), 200)])
		}
		if page := string(v.HTML()); !strings.Contains(page, "Not shown as a message") {
			t.Error(page)
		}
	}
}

// The words of a message are those of its parts, a line for each.
func TestText(t *testing.T) {
	v := Of(v1alpha1.PayloadDingTalk, []byte(`{"msgtype":"markdown","markdown":{"title":"t","text":"### a\n\n- **k**: v\n- **l**: w"}}`))
	if got, want := v.Text(), "a\n- k: v\n- l: w"; got != want || v.Notice != "t" {
		t.Errorf("%q, %q", got, v.Notice)
	}
}

// No message makes a parser go on and on, whatever is in it. What takes 0.3 s at most takes ten
// times as long with the race detector on a busy machine; what tries all combinations never ends.
func TestNothingTakesLong(t *testing.T) {
	quotes := map[string]string{}
	for _, piece := range []string{
		">", "> ", "*a ", "**", "_a*b ", "[", "![", "[a](", "`", "<font color='red'>", "<a ", "</font>", "- ", "1. ", "~~a", "***a", "&amp;", "<!x", "\\", "a\n", "\n>", "  - x\n", "<@", "](", "[x][y]",
		"```", "<https://a|", "@everyone ",
	} {
		quotes[piece] = strings.Repeat(piece, 20_000/len(piece))
	}
	for piece, s := range quotes {
		b := &builder{}
		for name, read := range map[string]func(){
			"Markdown": func() { b.left = maxNodes; b.markdown(s, larkMarkdown) },
			"mrkdwn":   func() { b.left = maxNodes; b.mrkdwn(s) },
			"WeCom":    func() { b.left = maxNodes; b.weComMarkdown(s) },
		} {
			began := time.Now()
			read()
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s: %q many times took %v", name, piece, took)
			}
		}
	}
}

// allowed are the elements that a message is made of, with their attributes.
var allowed = map[string]string{
	"div": " class lang ", "p": " class lang ", "span": " class title ", "pre": " class tabindex role aria-label ",
	"strong": "", "em": "", "s": "", "u": "", "code": "", "br": "", "hr": "", "ul": "", "ol": "", "li": "", "blockquote": "", "dl": " class ", "dt": "", "dd": "",
}

// inert fails where HTML has anything but what a message is made of.
func inert(t *testing.T, page string) {
	t.Helper()
	tokens := html.NewTokenizer(strings.NewReader(page))
	open := 0
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			if open != 0 {
				t.Fatalf("%d elements stay open:\n%s", open, page)
			}
			return
		case html.StartTagToken:
			token := tokens.Token()
			attributes, ok := allowed[token.Data]
			if !ok {
				t.Fatalf("<%s>:\n%s", token.Data, page)
			}
			for _, a := range token.Attr {
				if !strings.Contains(attributes, " "+a.Key+" ") {
					t.Fatalf("<%s %s>:\n%s", token.Data, a.Key, page)
				}
				if a.Key == "class" && strings.Trim(a.Val, "abcdefghijklmnopqrstuvwxyz- ") != "" {
					t.Fatalf("class %q:\n%s", a.Val, page)
				}
			}
			if token.Data != "br" && token.Data != "hr" {
				open++
			}
		case html.EndTagToken:
			open--
		case html.CommentToken, html.DoctypeToken, html.SelfClosingTagToken:
			t.Fatalf("%s:\n%s", tokens.Token(), page)
		}
	}
}

// FuzzOf: no body makes it panic, or leaves anything in a page but the parts of a message; nor
// does it do anything to a terminal.
func FuzzOf(f *testing.F) {
	for _, body := range []string{
		`{"msgtype":"markdown","markdown":{"title":"t","text":"# a\n<script>alert(1)</script> [x](javascript:alert(1)) ![y](https://z) <https://w>\n\n    code\n` + "```x\\ny\\n```" + `\n\n<div onclick=x>\n\n> q\n1. a\n***"},"at":{"atMobiles":["<b>"]}}`,
		`{"msg_type":"interactive","card":{"header":{"title":{"content":"<i>"},"template":"\"><x"},"elements":[{"tag":"markdown","content":"<font color='red'><at id=all></at><br/>*a</font>*"},{"tag":"action","actions":[{"text":{"content":"b"}}]},{"tag":"column_set","columns":[{"elements":[{"tag":"hr"}]}]}]}}`,
		`{"msg_type":"post","content":{"post":{"en_us":{"title":"a","content":[[{"tag":"at","user_id":"\"><"},{"tag":"img"}]]}}}}`,
		`{"msgtype":"markdown","markdown":{"content":"# <font color=\"\\\"\">a</font>\n>b <@x>\n[c](d\" onload=x)` + "`e`" + `"}}`,
		`{"text":"*a* <javascript:alert(1)|b> <!here> &lt; ` + "```c```" + `","blocks":[{"type":"context","elements":[{"type":"image","alt_text":"\">"}]},{"type":"actions","elements":[{"text":{"text":"d"}}]}],"attachments":[{"color":"x","footer":"f","title":"t","pretext":"p"}]}`,
		`{"attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":{"body":[{"type":"ColumnSet","columns":[{"items":[{"type":"TextBlock","text":"a","color":"attention","isSubtle":true}]}]},{"type":"RichTextBlock","inlines":[{"text":"b"}]},{"type":"Image","altText":"<"}],"actions":[{"title":"go"}]}}]}`,
		`{"content":"@here ||a|| <@1>","embeds":[{"author":{"name":"n"},"description":"d","footer":{"text":"f"},"color":-1e300}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name := range readers {
			v := Of(name, body)
			inert(t, string(v.HTML()))
			if text := v.Text() + v.Notice; strings.ContainsAny(text, "\x1b\x07\x00\u202e\u2066") {
				t.Fatalf("%s: %q", name, text)
			}
		}
	})
}
