package roomview

import (
	"bufio"
	"bytes"
	"html"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extensionast "github.com/yuin/goldmark/extension/ast"
	goldmarkhtml "github.com/yuin/goldmark/renderer/html"
	goldmarktext "github.com/yuin/goldmark/text"
)

// dialect is what a service makes of Markdown.
type dialect struct {
	// breaks: a line break is one, and not a space.
	breaks bool
	// tags: <font color>, <at> and <br> mean something. Other HTML is text everywhere.
	tags bool
	// everyone: @everyone and @here call everybody.
	everyone bool
}

var parser = goldmark.New(goldmark.WithExtensions(extension.Strikethrough)).Parser()

// maxNesting bounds how deep quotes and lists may be: a parser's time grows with the square
// of that.
const maxNesting = 64

// markdown returns the parts of a text in Markdown. Only its tree is taken from the library:
// nothing here writes HTML.
func (b *builder) markdown(s string, d dialect) []node {
	s = bounded(s)
	if strings.Count(s, ">") > maxText/4 || tooDeep(s) {
		return []node{{Kind: paragraph, Nodes: b.plain(s)}}
	}
	source := []byte(s)
	m := &markdownReader{builder: b, dialect: d, source: source}
	return m.children(parser.Parse(goldmarktext.NewReader(source)), 0)
}

// marker is what begins a quote or an item of a list.
var marker = regexp.MustCompile(`^[ \t]*(?:>|[-+*]|[0-9]{1,9}[.)])[ \t]*`)

// tooDeep tells whether a line begins with more quotes and lists than a message ever has.
func tooDeep(s string) bool {
	for line := range strings.SplitSeq(s, "\n") {
		for n := 0; ; n++ {
			found := marker.FindString(line)
			if found == "" {
				break
			}
			if n == maxNesting {
				return true
			}
			line = line[len(found):]
		}
	}
	return false
}

type markdownReader struct {
	*builder
	dialect
	source []byte
}

// children returns the parts within a node.
func (m *markdownReader) children(n ast.Node, depth int) []node {
	var all []node
	if depth > maxDepth {
		return nil
	}
	for child := n.FirstChild(); child != nil && m.room(); {
		if raw, ok := child.(*ast.RawHTML); ok && m.tags {
			var made []node
			made, child = m.tag(raw, depth)
			all = append(all, made...)
			continue
		}
		all = append(all, m.node(child, depth)...)
		child = child.NextSibling()
	}
	return all
}

var simple = map[ast.NodeKind]kind{
	ast.KindParagraph: paragraph, ast.KindHeading: heading, ast.KindBlockquote: quote, ast.KindListItem: item,
	extensionast.KindStrikethrough: struck,
}

// node returns the parts that a node is.
func (m *markdownReader) node(n ast.Node, depth int) []node {
	if is, ok := simple[n.Kind()]; ok {
		return []node{{Kind: is, Nodes: m.children(n, depth+1)}}
	}
	switch n := n.(type) {
	case *ast.Text:
		return m.text(n)
	case *ast.String:
		return m.words(string(n.Value))
	case *ast.CodeSpan:
		return []node{{Kind: code, Text: shown(m.under(n))}}
	case *ast.Emphasis:
		if n.Level == 2 {
			return []node{{Kind: bold, Nodes: m.children(n, depth+1)}}
		}
		return []node{{Kind: italic, Nodes: m.children(n, depth+1)}}
	case *ast.Link:
		return []node{{Kind: link, Text: shown(string(n.Destination)), Nodes: m.children(n, depth+1)}}
	case *ast.AutoLink:
		address := shown(string(n.URL(m.source)))
		return []node{{Kind: link, Text: address, Nodes: []node{{Kind: text, Text: address}}}}
	case *ast.Image:
		return []node{{Kind: image, Text: shown(m.under(n))}}
	case *ast.List:
		is := list
		if n.IsOrdered() {
			is = numbered
		}
		return []node{{Kind: is, Nodes: m.children(n, depth+1)}}
	case *ast.CodeBlock, *ast.FencedCodeBlock:
		return []node{{Kind: block, Text: shown(m.lines(n))}}
	case *ast.HTMLBlock:
		return []node{{Kind: paragraph, Nodes: m.plain(strings.TrimRight(m.lines(n), "\n"))}}
	case *ast.RawHTML:
		return m.plain(string(n.Segments.Value(m.source)))
	case *ast.ThematicBreak:
		return []node{{Kind: rule}}
	}
	return m.children(n, depth+1)
}

// text is a piece of a line, with the break that may follow it.
func (m *markdownReader) text(n *ast.Text) []node {
	value := n.Segment.Value(m.source)
	all := m.words(resolve(value))
	switch {
	case n.HardLineBreak(), n.SoftLineBreak() && m.breaks:
		all = append(all, node{Kind: lineBreak})
	case n.SoftLineBreak():
		all = append(all, node{Kind: text, Text: " "})
	}
	return all
}

var callsEverybody = regexp.MustCompile(`@(everyone|here)\b|<@[!&]?[0-9]+>`)

// words is a text without marks, in which mentions are told.
func (m *markdownReader) words(s string) []node {
	if !m.everyone {
		return []node{{Kind: text, Text: shown(s)}}
	}
	var all []node
	for s != "" {
		at := callsEverybody.FindStringIndex(s)
		if at == nil || !m.room() {
			return append(all, node{Kind: text, Text: shown(s)})
		}
		if at[0] > 0 {
			all = append(all, node{Kind: text, Text: shown(s[:at[0]])})
		}
		all = append(all, m.mention(strings.Trim(s[at[0]:at[1]], "<>")))
		s = s[at[1]:]
	}
	return all
}

// resolve reads escapes and entities of a text as the library does, which knows no other way
// than to write HTML.
func resolve(value []byte) string {
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	goldmarkhtml.DefaultWriter.Write(w, value)
	_ = w.Flush()
	return html.UnescapeString(out.String())
}

// under is the text within a node.
func (m *markdownReader) under(n ast.Node) string {
	var b strings.Builder
	_ = ast.Walk(n, func(child ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := child.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(m.source))
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// lines are those of a block.
func (m *markdownReader) lines(n ast.Node) string {
	var b strings.Builder
	for i := range n.Lines().Len() {
		segment := n.Lines().At(i)
		b.Write(segment.Value(m.source))
	}
	return b.String()
}

var (
	fontTag  = regexp.MustCompile(`(?i)^<font\s+color\s*=\s*['"]?([#\w-]+)['"]?\s*>$`)
	atTag    = regexp.MustCompile(`(?i)^<at\s+(?:user_id|id|email|ids|mobile)\s*=\s*['"]?([^'">\s]+)['"]?\s*/?>$`)
	breakTag = regexp.MustCompile(`(?i)^<br\s*/?>$`)
)

// tag reads a tag with what it is around, and returns the node after that. One that says
// nothing is text.
func (m *markdownReader) tag(raw *ast.RawHTML, depth int) (made []node, next ast.Node) {
	written := string(raw.Segments.Value(m.source))
	next = raw.NextSibling()
	if breakTag.MatchString(written) {
		return []node{{Kind: lineBreak}}, next
	}
	if who := atTag.FindStringSubmatch(written); who != nil {
		made = []node{m.mention(who[1])}
		if strings.HasSuffix(written, "/>") {
			return made, next
		}
		_, next = m.until(next, "</at>", depth) // a name that the service replaces by the real one
		return made, next
	}
	if colour := fontTag.FindStringSubmatch(written); colour != nil && depth <= maxDepth {
		made, next = m.until(next, "</font>", depth+1)
		return []node{{Kind: coloured, Tone: toneOf(colour[1]), Nodes: made}}, next
	}
	return m.plain(written), next
}

// until returns the parts up to a tag that ends something, and the node after it.
func (m *markdownReader) until(n ast.Node, end string, depth int) (made []node, next ast.Node) {
	for n != nil && m.room() {
		raw, ok := n.(*ast.RawHTML)
		switch {
		case ok && strings.EqualFold(string(raw.Segments.Value(m.source)), end):
			return made, n.NextSibling()
		case ok:
			var inner []node
			inner, n = m.tag(raw, depth)
			made = append(made, inner...)
		default:
			made = append(made, m.node(n, depth)...)
			n = n.NextSibling()
		}
	}
	return made, n
}
