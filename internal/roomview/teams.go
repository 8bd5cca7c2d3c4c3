package roomview

import (
	"cmp"
	"strings"
)

// teamsMarkdown is that of Adaptive Cards.
var teamsMarkdown = dialect{tags: true}

// adaptiveCard is the content type of the cards that are shown.
const adaptiveCard = "application/vnd.microsoft.card.adaptive"

// teams reads a message of a Teams workflow: Adaptive Cards.
func teams(b *builder, m object) bool {
	known := false
	b.notice = m.text("summary")
	for _, a := range m.objects("attachments") {
		if a.text("contentType") != adaptiveCard {
			continue
		}
		known = true
		b.add(b.teamsElements(a.of("content").objects("body"), 0)...)
		b.buttons(a.of("content").objects("actions"), "", "title")
	}
	return known
}

// teamsElements are those of a card that messages have.
func (b *builder) teamsElements(elements []object, depth int) []node {
	return b.each(elements, depth, func(e object) []node {
		var made []node
		switch e.text("type") {
		case "TextBlock":
			made = b.teamsText(e)
		case "RichTextBlock":
			made = b.teamsRuns(e.list("inlines"))
		case "FactSet":
			var all []node
			for _, f := range e.objects("facts") {
				all = append(all, node{Kind: fact, Text: shown(f.text("title")), Nodes: b.inline(b.markdown(f.text("value"), teamsMarkdown))})
			}
			made = []node{{Kind: facts, Nodes: all}}
		case "Container":
			made = b.teamsElements(e.objects("items"), depth+1)
			if tone := toneOf(e.text("style")); tone != "" {
				made = []node{{Kind: band, Tone: tone, Nodes: made}}
			}
		case "ColumnSet":
			for _, c := range e.objects("columns") {
				made = append(made, b.teamsElements(c.objects("items"), depth+1)...)
			}
		case "Image":
			made = []node{{Kind: image, Text: shown(e.text("altText"))}}
		}
		return made
	})
}

// teamsText is a text with its weight, size and colour.
func (b *builder) teamsText(e object) []node {
	made := b.markdown(e.text("text"), teamsMarkdown)
	tone := toneOf(e.text("color"))
	subtle, _ := e["isSubtle"].(bool)
	size := strings.ToLower(e.text("size"))
	is := kind("")
	switch {
	case subtle || size == "small":
		is = small
	case strings.EqualFold(e.text("weight"), "bolder") || size == "large" || size == "medium" || size == "extralarge" || e.text("style") == "heading":
		is = heading
	}
	if is == "" && tone == "" {
		return made
	}
	inner := b.inline(made)
	if tone != "" {
		inner = []node{{Kind: coloured, Tone: tone, Nodes: inner}}
	}
	return []node{{Kind: cmp.Or(is, paragraph), Nodes: inner}}
}

// teamsRuns are texts that are read as they are. A single one that is bold is a heading.
func (b *builder) teamsRuns(inlines []any) []node {
	is := paragraph
	var all []node
	for _, one := range inlines {
		if !b.room() {
			break
		}
		if s, ok := one.(string); ok {
			all = append(all, b.plain(s)...)
			continue
		}
		o, _ := one.(map[string]any)
		run := object(o)
		made := b.plain(run.text("text"))
		if tone := toneOf(run.text("color")); tone != "" {
			made = []node{{Kind: coloured, Tone: tone, Nodes: made}}
		}
		switch {
		case strings.EqualFold(run.text("weight"), "bolder") && len(inlines) == 1:
			is = heading
		case strings.EqualFold(run.text("weight"), "bolder"):
			made = []node{{Kind: bold, Nodes: made}}
		}
		all = append(all, made...)
	}
	return []node{{Kind: is, Nodes: all}}
}
