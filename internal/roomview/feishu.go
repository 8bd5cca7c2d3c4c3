package roomview

import "cmp"

// larkMarkdown is that of cards of Feishu.
var larkMarkdown = dialect{breaks: true, tags: true}

// feishu reads a message of a Feishu or Lark bot.
func feishu(b *builder, m object) bool {
	switch m.text("msg_type") {
	case "text":
		b.add(node{Kind: paragraph, Nodes: b.larkText(m.of("content").text("text"))})
	case "post":
		return b.post(m.of("content").of("post"))
	case "interactive":
		c := m.of("card")
		b.header = c.of("header").of("title").text("content")
		b.tone = cmp.Or(toneOf(c.of("header").text("template")), info)
		if b.header == "" {
			b.tone = ""
		}
		elements := c.objects("elements")
		if len(elements) == 0 {
			elements = c.of("body").objects("elements") // of the second schema
		}
		b.add(b.larkElements(elements, 0)...)
		return b.header != "" || len(b.nodes) > 0
	default:
		return false
	}
	return true
}

// larkText is a text in which tags call people.
func (b *builder) larkText(s string) []node {
	var all []node
	for s = bounded(s); s != ""; {
		before, tag, after, found := cutTag(s)
		all = append(all, b.plain(before)...)
		if !found || !b.room() {
			break
		}
		if who := atTag.FindStringSubmatch(tag); who != nil {
			all = append(all, b.mention(who[1]))
			if name, rest, ok := cutEnd(after, "</at>"); ok && len(name) < maxName {
				after = rest
			}
		} else {
			all = append(all, b.plain(tag)...)
		}
		s = after
	}
	return all
}

// maxName bounds a name within a tag.
const maxName = 256

// post is rich text, in the language that is there.
func (b *builder) post(p object) bool {
	for _, language := range []string{"zh_cn", "en_us", "ja_jp"} {
		inner := p.of(language)
		if inner == nil {
			continue
		}
		b.header = inner.text("title")
		for _, line := range inner.list("content") {
			tags, _ := line.([]any)
			b.add(node{Kind: paragraph, Nodes: b.postLine(tags)})
		}
		return true
	}
	return false
}

func (b *builder) postLine(tags []any) []node {
	var all []node
	for _, one := range tags {
		o, _ := one.(map[string]any)
		tag := object(o)
		if !b.room() {
			break
		}
		switch tag.text("tag") {
		case "text":
			all = append(all, b.plain(tag.text("text"))...)
		case "a":
			all = append(all, node{Kind: link, Text: shown(tag.text("href")), Nodes: b.plain(tag.text("text"))})
		case "at":
			all = append(all, b.mention(tag.text("user_id")))
		case "img":
			all = append(all, node{Kind: image})
		}
	}
	return all
}

// larkElements are those of a card.
func (b *builder) larkElements(elements []object, depth int) []node {
	return b.each(elements, depth, func(e object) []node {
		var made []node
		switch e.text("tag") {
		case "div":
			if t := e.of("text"); t != nil {
				made = b.larkBlock(t)
			}
			for _, f := range e.objects("fields") {
				made = append(made, b.larkBlock(f.of("text"))...)
			}
		case "markdown", "plain_text", "lark_md":
			made = b.larkBlock(e)
		case "hr":
			made = []node{{Kind: rule}}
		case "note":
			made = []node{{Kind: small, Nodes: b.inline(b.larkElements(e.objects("elements"), depth+1))}}
		case "action":
			var buttons []node
			for _, a := range e.objects("actions") {
				buttons = append(buttons, node{Kind: button, Nodes: b.plain(a.of("text").text("content"))})
			}
			made = []node{{Kind: paragraph, Nodes: buttons}}
		case "column_set":
			for _, c := range e.objects("columns") {
				made = append(made, b.larkElements(c.objects("elements"), depth+1)...)
			}
		case "img":
			made = []node{{Kind: image, Text: shown(e.of("alt").text("content"))}}
		}
		return made
	})
}

// larkBlock is a text of a card, plain or in Markdown.
func (b *builder) larkBlock(t object) []node {
	if t.text("tag") == "plain_text" {
		return []node{{Kind: paragraph, Nodes: b.plain(t.text("content"))}}
	}
	return b.markdown(t.text("content"), larkMarkdown)
}

// inline takes the paragraphs off around texts that stand in a line.
func (b *builder) inline(nodes []node) []node {
	var all []node
	for i, n := range nodes {
		if i > 0 {
			all = append(all, node{Kind: text, Text: " "})
		}
		if n.Kind == paragraph {
			all = append(all, n.Nodes...)
		} else {
			all = append(all, n)
		}
	}
	return all
}
