package roomview

import (
	"slices"
	"strings"
	"unicode"

	"github.com/horizoncd/webhook-operator/internal/characters"
)

// kind is what a part of a message is; room.html has a piece for each.
type kind string

const (
	text      kind = "text"
	lineBreak kind = "break"
	paragraph kind = "paragraph"
	heading   kind = "heading"
	bold      kind = "bold"
	italic    kind = "italic"
	struck    kind = "struck"
	underline kind = "underline"
	code      kind = "code"
	block     kind = "block"
	quote     kind = "quote"
	list      kind = "list"
	numbered  kind = "numbered"
	item      kind = "item"
	link      kind = "link"
	mention   kind = "mention"
	coloured  kind = "coloured"
	rule      kind = "rule"
	facts     kind = "facts"
	fact      kind = "fact"
	// fields are facts whose names stand above their values, several of them in a line; a
	// wideField has one for itself.
	fields    kind = "fields"
	wideField kind = "wideField"
	// band is filled with its colour, and card has it at its edge.
	band   kind = "band"
	card   kind = "card"
	small  kind = "small"
	button kind = "button"
	image  kind = "image"
)

// node is a part of a message.
type node struct {
	Kind kind
	// Text is that of parts without others within. Of a fact it is the name, and of a link
	// where it leads.
	Text string
	// Tone is the colour: good, bad, warning, info or quiet.
	Tone  string
	Nodes []node
}

// builder collects the parts of a message, within bounds.
type builder struct {
	notice, header, tone string
	mentions             []string
	nodes                []node
	// left is how many nodes there may yet be.
	left int
}

// add adds parts to the message.
func (b *builder) add(nodes ...node) { b.nodes = append(b.nodes, nodes...) }

// room tells whether there may be another node, and counts it.
func (b *builder) room() bool {
	b.left--
	return b.left >= 0
}

// each is what is made of each of some elements of a card, depth levels down.
func (b *builder) each(elements []object, depth int, made func(object) []node) []node {
	var all []node
	if depth > maxDepth {
		return nil
	}
	for _, e := range elements {
		if !b.room() {
			break
		}
		all = append(all, made(e)...)
	}
	return all
}

// plain is a text as it is, with its line breaks.
func (b *builder) plain(s string) []node {
	var all []node
	for i, line := range strings.Split(bounded(s), "\n") {
		if !b.room() {
			break
		}
		if i > 0 {
			all = append(all, node{Kind: lineBreak})
		}
		if line != "" {
			all = append(all, node{Kind: text, Text: shown(line)})
		}
	}
	return all
}

// mention notes whom a message calls, and returns how that is shown.
func (b *builder) mention(who string) node {
	switch strings.ToLower(strings.TrimPrefix(who, "@")) {
	case "all", "everyone", "channel", "here", "everybody", "所有人":
		b.calls("everybody")
	default:
		b.calls(who)
	}
	return node{Kind: mention, Text: "@" + shown(strings.TrimPrefix(who, "@"))}
}

// maxMentions bounds how many are named.
const maxMentions = 10

func (b *builder) calls(who string) {
	who = shown(who)
	if !slices.Contains(b.mentions, who) && len(b.mentions) < maxMentions {
		b.mentions = append(b.mentions, who)
	}
}

// bounded cuts a text that is larger than any message.
func bounded(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// joiner joins the parts of an emoji.
const joiner = '\u200d'

// shown returns a text with what nobody would see, or what reorders text, written out. An
// emoji of several parts stays one.
func shown(s string) string {
	if !strings.ContainsRune(s, joiner) {
		return characters.Printable(s)
	}
	runes := []rune(s)
	var b strings.Builder
	from := 0
	for i, r := range runes {
		if r == joiner && i > 0 && i+1 < len(runes) && partOfEmoji(runes[i-1]) && partOfEmoji(runes[i+1]) {
			b.WriteString(characters.Printable(string(runes[from:i])) + string(joiner))
			from = i + 1
		}
	}
	b.WriteString(characters.Printable(string(runes[from:])))
	return b.String()
}

func partOfEmoji(r rune) bool {
	return unicode.In(r, unicode.So, unicode.Sk) && r > 0xff || r == '\ufe0f'
}

// writeText writes nodes in words.
func writeText(b *strings.Builder, nodes []node, indent string) {
	for _, n := range nodes {
		inner := func() { writeText(b, n.Nodes, indent) }
		switch n.Kind {
		case text, code, mention:
			b.WriteString(n.Text)
		case lineBreak:
			b.WriteString("\n" + indent)
		case paragraph, heading, small, card, band, facts, fields, list, numbered, quote:
			startLine(b, indent)
			inner()
			startLine(b, indent)
		case item:
			startLine(b, indent)
			b.WriteString("- ")
			writeText(b, n.Nodes, indent+"  ")
			startLine(b, indent)
		case block:
			startLine(b, indent)
			b.WriteString(n.Text)
			startLine(b, indent)
		case fact, wideField:
			startLine(b, indent)
			b.WriteString(n.Text + ": ")
			inner()
			startLine(b, indent)
		case rule:
			startLine(b, indent)
			b.WriteString("---")
			startLine(b, indent)
		case button:
			b.WriteString("[")
			inner()
			b.WriteString("] ")
		case image:
			b.WriteString("[image " + n.Text + "]")
		default:
			inner()
		}
	}
}

// startLine begins a line, unless one has just begun.
func startLine(b *strings.Builder, indent string) {
	if s := b.String(); s != "" && strings.TrimRight(s, " ") != "" && !strings.HasSuffix(strings.TrimRight(s, " "), "\n") {
		b.WriteString("\n" + indent)
	}
}
