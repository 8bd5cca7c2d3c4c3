package roomview

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// slack reads a message of an incoming webhook of Slack. Where it has blocks, its text is
// what a notification shows.
func slack(b *builder, m object) bool {
	blocks := m.objects("blocks")
	said := m.text("text")
	attachments := m.objects("attachments")
	if said == "" && len(blocks) == 0 && len(attachments) == 0 {
		return false
	}
	if len(blocks) > 0 {
		b.notice = unescapeSlack(said)
		b.add(b.slackBlocks(blocks)...)
	} else if marked, set := m["mrkdwn"].(bool); set && !marked {
		b.add(node{Kind: paragraph, Nodes: b.plain(unescapeSlack(said))})
	} else {
		b.add(b.mrkdwn(said)...)
	}
	for _, a := range attachments {
		if !b.room() {
			break
		}
		b.add(node{Kind: card, Tone: cmp.Or(toneOf(a.text("color")), quiet), Nodes: b.slackAttachment(a)})
	}
	return true
}

// slackAttachment is an attachment. The values of its fields are read as mrkdwn only where
// mrkdwn_in names them.
func (b *builder) slackAttachment(a object) []node {
	var all []node
	marked := slices.Contains(a.texts("mrkdwn_in"), "fields")
	if s := a.text("pretext"); s != "" {
		all = append(all, b.mrkdwn(s)...)
	}
	if s := a.text("title"); s != "" {
		all = append(all, node{Kind: heading, Nodes: b.mrkdwnLine(s, 0)})
	}
	if s := a.text("text"); s != "" {
		all = append(all, b.mrkdwn(s)...)
	}
	all = append(all, b.slackBlocks(a.objects("blocks"))...)
	var made []node
	for _, f := range a.objects("fields") {
		value := b.plain(unescapeSlack(f.text("value")))
		if marked {
			value = b.mrkdwnLine(f.text("value"), 0)
		}
		is := wideField
		if short, _ := f["short"].(bool); short {
			is = fact
		}
		made = append(made, node{Kind: is, Text: shown(unescapeSlack(f.text("title"))), Nodes: value})
	}
	if len(made) > 0 {
		all = append(all, node{Kind: fields, Nodes: made})
	}
	if s := a.text("footer"); s != "" {
		all = append(all, node{Kind: small, Nodes: b.mrkdwnLine(s, 0)})
	}
	return all
}

// slackBlocks are those of Block Kit that messages have.
func (b *builder) slackBlocks(blocks []object) []node {
	var all []node
	for _, one := range blocks {
		if !b.room() {
			break
		}
		switch one.text("type") {
		case "header":
			all = append(all, node{Kind: heading, Nodes: b.plain(one.of("text").text("text"))})
		case "section":
			all = append(all, b.slackText(one.of("text"))...)
			for _, f := range one.objects("fields") {
				all = append(all, b.slackText(f)...)
			}
		case "context":
			var made []node
			for _, e := range one.objects("elements") {
				made = append(made, b.slackText(e)...)
			}
			all = append(all, node{Kind: small, Nodes: b.inline(made)})
		case "divider":
			all = append(all, node{Kind: rule})
		case "image":
			all = append(all, node{Kind: image, Text: shown(one.text("alt_text"))})
		case "actions":
			var made []node
			for _, e := range one.objects("elements") {
				made = append(made, node{Kind: button, Nodes: b.plain(e.of("text").text("text"))})
			}
			all = append(all, node{Kind: paragraph, Nodes: made})
		}
	}
	return all
}

func (b *builder) slackText(t object) []node {
	switch t.text("type") {
	case "mrkdwn":
		return b.mrkdwn(t.text("text"))
	case "plain_text":
		return []node{{Kind: paragraph, Nodes: b.plain(t.text("text"))}}
	case "image":
		return []node{{Kind: image, Text: shown(t.text("alt_text"))}}
	}
	return nil
}

var slackEntities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// unescapeSlack reads the three entities that the service knows.
func unescapeSlack(s string) string { return slackEntities.Replace(s) }

// mrkdwn is the service's own Markdown: *bold*, _italic_, ~struck~, `code`, > quotes and
// <links>. It has neither headings, lists nor escapes beyond three entities.
func (b *builder) mrkdwn(s string) []node {
	const fence = "```"
	var all []node
	for s = bounded(s); s != "" && b.room(); {
		before, after, fenced := strings.Cut(s, fence)
		inside, rest, closed := strings.Cut(after, fence)
		if !fenced || !closed || inside == "" {
			return append(all, b.mrkdwnLines(s)...)
		}
		all = append(all, b.mrkdwnLines(before)...)
		all = append(all, node{Kind: block, Text: shown(strings.Trim(unescapeSlack(inside), "\n"))})
		s = rest
	}
	return all
}

func (b *builder) mrkdwnLines(s string) []node {
	var all []node
	if s = strings.Trim(s, "\n"); s == "" {
		return nil
	}
	for line := range strings.SplitSeq(s, "\n") {
		if !b.room() {
			break
		}
		is := paragraph
		for _, sign := range []string{">", "&gt;"} {
			if rest, ok := strings.CutPrefix(line, sign); ok {
				is, line = quote, strings.TrimPrefix(rest, " ")
				break
			}
		}
		if last := len(all) - 1; last >= 0 && all[last].Kind == is {
			all[last].Nodes = append(all[last].Nodes, node{Kind: lineBreak})
		} else {
			all = append(all, node{Kind: is})
		}
		last := &all[len(all)-1]
		last.Nodes = append(last.Nodes, b.mrkdwnLine(line, 0)...)
	}
	return all
}

var slackMarks = map[byte]kind{'*': bold, '_': italic, '~': struck}

// mrkdwnLine is a line without what begins it.
func (b *builder) mrkdwnLine(s string, depth int) []node {
	if depth > maxDepth {
		return b.plain(unescapeSlack(s))
	}
	var all []node
	from := 0
	for i := 0; i < len(s); {
		made, used := b.slackMark(s, i, depth)
		if used == 0 {
			i++
			continue
		}
		all = append(all, b.plain(unescapeSlack(s[from:i]))...)
		all = append(all, made)
		i += used
		from = i
		if !b.room() {
			return all
		}
	}
	return append(all, b.plain(unescapeSlack(s[from:]))...)
}

// slackMark reads what is marked at a place of a text, and tells how many bytes that is: 0
// where nothing is.
func (b *builder) slackMark(s string, at, depth int) (made node, used int) {
	switch c := s[at]; c {
	case '`':
		if inner, _, ok := cutBetween(s[at:], "`", "`"); ok {
			return node{Kind: code, Text: shown(unescapeSlack(inner))}, len(inner) + 2
		}
	case '<':
		if inner, _, ok := cutBetween(s[at:], "<", ">"); ok {
			return b.slackAngle(inner), len(inner) + 2
		}
	case '*', '_', '~':
		end := closing(s, at)
		if end < 0 {
			return node{}, 0
		}
		return node{Kind: slackMarks[c], Nodes: b.mrkdwnLine(s[at+1:end], depth+1)}, end + 1 - at
	}
	return node{}, 0
}

// closing returns where a mark ends that begins at a place: it stands at the edges of words,
// and around something. It is -1 where the character is no mark.
func closing(s string, at int) int {
	before, _ := utf8.DecodeLastRuneInString(s[:at])
	if at > 0 && isWord(before) {
		return -1
	}
	if at+1 < len(s) && unicode.IsSpace(rune(s[at+1])) {
		return -1
	}
	for j := at + 2; j < min(len(s), at+maxMark); j++ {
		after, _ := utf8.DecodeRuneInString(s[j+1:])
		if s[j] == s[at] && !unicode.IsSpace(rune(s[j-1])) && (j+1 == len(s) || !isWord(after)) {
			return j
		}
	}
	return -1
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// slackAngle is what stands between < and >: a call, or a link.
func (b *builder) slackAngle(s string) node {
	address, title, titled := strings.Cut(s, "|")
	switch address[:min(len(address), 1)] {
	case "!":
		what, _, _ := strings.Cut(address[1:], "^")
		if what == "date" {
			return node{Kind: text, Text: shown(unescapeSlack(title))}
		}
		return b.mention(unescapeSlack(cmp.Or(address[1:], "!")))
	case "@":
		return b.mention(unescapeSlack(address))
	case "#":
		return node{Kind: mention, Text: shown("#" + unescapeSlack(cmp.Or(title, address[1:])))}
	}
	if !titled {
		title = address
	}
	return node{Kind: link, Text: shown(unescapeSlack(address)), Nodes: b.plain(unescapeSlack(title))}
}
