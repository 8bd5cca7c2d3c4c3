package roomview

import "strings"

// weCom reads a message of a WeCom group robot.
func weCom(b *builder, m object) bool {
	content := m.of(m.text("msgtype"))
	switch m.text("msgtype") {
	case "markdown":
		b.weComMarkdown(content.text("content"))
	case "markdown_v2":
		b.add(b.markdown(content.text("content"), dialect{breaks: true})...)
	case "text":
		b.add(node{Kind: paragraph, Nodes: b.plain(content.text("content"))})
		for _, one := range append(content.texts("mentioned_list"), content.texts("mentioned_mobile_list")...) {
			b.mention(one)
		}
	default:
		return false
	}
	return true
}

// weComMarkdown is the service's own, in which each line stands alone: headings, quotes, bold,
// links, code and three colours. There are neither lists nor escapes.
func (b *builder) weComMarkdown(s string) {
	var quoted, lines []node
	flush := func(is kind, nodes *[]node) {
		if len(*nodes) > 0 {
			b.add(node{Kind: is, Nodes: *nodes})
			*nodes = nil
		}
	}
	for line := range strings.SplitSeq(bounded(s), "\n") {
		if !b.room() {
			break
		}
		hashes := len(line) - len(strings.TrimLeft(line, "#"))
		in := func(text string, to *[]node) {
			if len(*to) > 0 {
				*to = append(*to, node{Kind: lineBreak})
			}
			*to = append(*to, b.weComLine(text, 0)...)
		}
		switch {
		case hashes > 0 && hashes <= 6 && strings.HasPrefix(line[hashes:], " "):
			flush(quote, &quoted)
			flush(paragraph, &lines)
			b.add(node{Kind: heading, Nodes: b.weComLine(strings.TrimSpace(line[hashes:]), 0)})
		case strings.HasPrefix(line, ">"):
			flush(paragraph, &lines)
			in(strings.TrimSpace(line[1:]), &quoted)
		case strings.TrimSpace(line) == "":
			flush(quote, &quoted)
			flush(paragraph, &lines)
		default:
			flush(quote, &quoted)
			in(line, &lines)
		}
	}
	flush(quote, &quoted)
	flush(paragraph, &lines)
}

// weComLine is a line without what begins it.
func (b *builder) weComLine(s string, depth int) []node {
	var all []node
	if depth > maxDepth {
		return b.plain(s)
	}
	from := 0
	for i := 0; i < len(s); {
		made, used := b.weComMark(s[i:], depth)
		if used == 0 {
			i++
			continue
		}
		all = append(all, b.plain(s[from:i])...)
		all = append(all, made)
		i += used
		from = i
		if !b.room() {
			return all
		}
	}
	return append(all, b.plain(s[from:])...)
}

// weComMark reads what is marked at the beginning of a text, and tells how many bytes that is:
// 0 where nothing is.
func (b *builder) weComMark(s string, depth int) (made node, used int) {
	switch s[0] {
	case '*':
		if inner, _, ok := cutBetween(s, "**", "**"); ok {
			return node{Kind: bold, Nodes: b.weComLine(inner, depth+1)}, len(inner) + 4
		}
	case '`':
		if inner, _, ok := cutBetween(s, "`", "`"); ok {
			return node{Kind: code, Text: shown(inner)}, len(inner) + 2
		}
	case '[':
		if title, rest, ok := cutBetween(s, "[", "]("); ok {
			if address, _, ok := strings.Cut(rest, ")"); ok {
				return node{Kind: link, Text: shown(address), Nodes: b.weComLine(title, depth+1)}, len(title) + len(address) + 4
			}
		}
	case '<':
		_, tag, _, ok := cutTag(s)
		if who, called := strings.CutPrefix(tag, "<@"); ok && called {
			return b.mention(strings.TrimSuffix(who, ">")), len(tag)
		}
		if colour := fontTag.FindStringSubmatch(tag); ok && colour != nil {
			if inner, _, ok := cutEnd(s[len(tag):], "</font>"); ok {
				// info is green there, comment grey and warning orange.
				tone := toneOf(colour[1])
				if colour[1] == "info" {
					tone = good
				}
				return node{Kind: coloured, Tone: tone, Nodes: b.weComLine(inner, depth+1)}, len(tag) + len(inner) + len("</font>")
			}
		}
	}
	return node{}, 0
}

// maxMark bounds how far the end of a mark is looked for, in bytes: so the time grows with
// the text, not with its square.
const maxMark = 4096

// cutBetween returns what is between the beginning and the end of a mark, which is not empty.
func cutBetween(s, begin, end string) (inner, rest string, ok bool) {
	after, ok := strings.CutPrefix(s, begin)
	if !ok {
		return "", "", false
	}
	inner, rest, ok = cutEnd(after, end)
	return inner, rest, ok && inner != ""
}

// cutEnd cuts a text at the end of a mark.
func cutEnd(s, end string) (inner, rest string, ok bool) {
	at := strings.Index(s[:min(len(s), maxMark)], end)
	if at < 0 {
		return "", "", false
	}
	return s[:at], s[at+len(end):], true
}

// cutTag cuts a text around its first tag.
func cutTag(s string) (before, tag, after string, found bool) {
	begin := strings.IndexByte(s, '<')
	if begin < 0 {
		return s, "", "", false
	}
	end := strings.IndexByte(s[begin:min(len(s), begin+maxMark)], '>')
	if end < 0 {
		return s, "", "", false
	}
	end += begin + 1
	return s[:begin], s[begin:end], s[end:], true
}
