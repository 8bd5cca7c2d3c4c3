package roomview

import (
	"cmp"
	"slices"
)

// discord reads a message of a Discord webhook.
func discord(b *builder, m object) bool {
	content, embeds := m.text("content"), m.objects("embeds")
	if content == "" && len(embeds) == 0 {
		return false
	}
	// Without allowed_mentions, all that is written calls; an embed never does.
	allowed := m.of("allowed_mentions")
	calls := allowed == nil || slices.Contains(allowed.texts("parse"), "everyone")
	if content != "" {
		b.add(b.markdown(content, dialect{breaks: true, everyone: calls})...)
	}
	for _, e := range embeds {
		if !b.room() {
			break
		}
		tone := quiet
		if colour, ok := e["color"].(float64); ok && colour >= 0 && colour <= 0xffffff {
			tone = toneOfRGB(int(colour))
		}
		b.add(node{Kind: card, Tone: tone, Nodes: b.embed(e)})
	}
	return true
}

func (b *builder) embed(e object) []node {
	var all []node
	in := dialect{breaks: true}
	if s := e.of("author").text("name"); s != "" {
		all = append(all, node{Kind: small, Nodes: b.plain(s)})
	}
	if s := e.text("title"); s != "" {
		all = append(all, node{Kind: heading, Nodes: b.inline(b.markdown(s, in))})
	}
	if s := e.text("description"); s != "" {
		all = append(all, b.markdown(s, in)...)
	}
	var made []node
	for _, f := range e.objects("fields") {
		is := wideField
		if inline, _ := f["inline"].(bool); inline {
			is = fact
		}
		made = append(made, node{Kind: is, Text: shown(f.text("name")), Nodes: b.inline(b.markdown(f.text("value"), in))})
	}
	if len(made) > 0 {
		all = append(all, node{Kind: fields, Nodes: made})
	}
	if s := cmp.Or(e.of("footer").text("text"), e.text("timestamp")); s != "" {
		all = append(all, node{Kind: small, Nodes: b.plain(s)})
	}
	return all
}
