// Package roomview shows messages of chat services as their rooms do, near enough to judge
// one by: the text, what is bold, the colour, and whom it mentions. A body may be anything,
// since templates make it and others have written parts of it; what comes out is safe in a
// page and in a terminal. The package is pure.
package roomview

import (
	"bytes"
	_ "embed" // the stylesheet and the template
	"encoding/json"
	"html/template"
	"strings"
	"unicode"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
)

// Bounds of what is shown of a message. The largest that a service takes has 28 KB.
const (
	maxBody  = 64 << 10
	maxText  = 20_000
	maxNodes = 4_000
	maxDepth = 12
)

// Style is the stylesheet that HTML needs, in light and in dark.
//
//go:embed room.css
var Style string

//go:embed room.html
var page string

var pieces = template.Must(template.New("").Parse(page))

// View is a message as a room shows it.
type View struct {
	Format v1alpha1.PayloadFormat
	// Service is what people call the service, such as DingTalk.
	Service string
	// Notice is what a notification and the list of chats show, where that is a text of its own.
	Notice string
	// Header is the title of a card, and Tone its colour: good, bad, warning, info or quiet.
	Header string
	Tone   string
	// Mentions are those that the message calls, such as everybody.
	Mentions []string
	// Why says why the body is shown as it is: it is no message of the service. Empty where it
	// is one.
	Why string
	// Raw is the body, indented where it is JSON, where Why is set.
	Raw string

	nodes []node
}

// reader makes the parts of a message of the JSON of a body; ok is false where it is none.
type reader func(b *builder, message object) (ok bool)

var readers = map[v1alpha1.PayloadFormat]reader{
	v1alpha1.PayloadDingTalk: dingTalk,
	v1alpha1.PayloadFeishu:   feishu,
	v1alpha1.PayloadWeCom:    weCom,
	v1alpha1.PayloadSlack:    slack,
	v1alpha1.PayloadTeams:    teams,
	v1alpha1.PayloadDiscord:  discord,
}

// Of returns the message that a body is in the room of a format's service. It never fails:
// what is no message is shown as what it is, with the reason.
func Of(name v1alpha1.PayloadFormat, body []byte) View {
	v := View{Format: name, Service: string(name)}
	for _, f := range format.All() {
		if f.Name == name {
			v.Service = f.Title
		}
	}
	read, isRoom := readers[name]
	switch {
	case !isRoom:
		return v.asItIs("the format "+v.Service+" is not one of a room", body)
	case len(body) > maxBody:
		return v.asItIs("it is larger than any message of "+v.Service, body[:maxBody])
	}
	var message object
	if err := json.Unmarshal(body, &message); err != nil || message == nil {
		return v.asItIs("it is no JSON object, and each message of "+v.Service+" is one", body)
	}
	b := &builder{left: maxNodes}
	if !read(b, message) {
		return v.asItIs("it is no message of "+v.Service+" that is known here", body)
	}
	v.Notice, v.Header, v.Tone, v.Mentions, v.nodes = shown(b.notice), shown(b.header), b.tone, b.mentions, b.nodes
	return v
}

// asItIs shows a body as it is.
func (v View) asItIs(why string, body []byte) View {
	v.Why, v.Raw = why, shown(string(bytes.ToValidUTF8(body, []byte("\ufffd"))))
	// Brackets alone would become many times as large.
	if depth(body) <= maxDepth {
		var indented bytes.Buffer
		if json.Indent(&indented, body, "", "  ") == nil {
			v.Raw = shown(indented.String())
		}
	}
	return v
}

// depth is how deep brackets in a text are nested, those in strings too.
func depth(text []byte) int {
	deepest, now := 0, 0
	for _, c := range text {
		switch c {
		case '{', '[':
			now++
			deepest = max(deepest, now)
		case '}', ']':
			now--
		}
	}
	return deepest
}

// HTML is the message for a page that has Style. It has neither scripts, links, images nor
// attributes that come from the body.
func (v View) HTML() template.HTML {
	var b bytes.Buffer
	if err := pieces.ExecuteTemplate(&b, "room", v); err != nil {
		return template.HTML("<p>" + template.HTMLEscapeString(err.Error()) + "</p>") //nolint:gosec // escaped
	}
	return template.HTML(b.String()) //nolint:gosec // a template of html/template made it
}

// Nodes are the parts of the message, for its template.
func (v View) Nodes() []node { return v.nodes } //nolint:revive // only the template reads them

// Language is the language of the text for readers of a screen and for fonts: zh where a
// character is Chinese; empty otherwise.
func (v View) Language() string {
	if strings.ContainsFunc(v.Header+v.Text(), func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
		return "zh"
	}
	return ""
}

// Text is the message in words, for a terminal: a line for each part, without colours.
func (v View) Text() string {
	if v.Why != "" {
		return v.Raw
	}
	var b strings.Builder
	if v.Header != "" {
		b.WriteString(v.Header + "\n")
	}
	writeText(&b, v.nodes, "")
	return strings.Trim(blankLines(b.String()), "\n")
}

// blankLines leaves one empty line of several, and no spaces at the ends of lines.
func blankLines(text string) string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		if line != "" || len(lines) > 0 && lines[len(lines)-1] != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
