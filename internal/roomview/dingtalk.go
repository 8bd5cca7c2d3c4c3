package roomview

// dingTalkMarkdown is that of DingTalk: a line break alone is none.
var dingTalkMarkdown = dialect{}

// dingTalk reads a message of a DingTalk robot.
func dingTalk(b *builder, m object) bool {
	content := m.of(m.text("msgtype"))
	switch m.text("msgtype") {
	case "markdown":
		b.notice = content.text("title")
		b.add(b.markdown(content.text("text"), dingTalkMarkdown)...)
	case "text":
		b.add(node{Kind: paragraph, Nodes: b.plain(content.text("content"))})
	case "link":
		b.add(node{Kind: heading, Nodes: b.plain(content.text("title"))}, node{Kind: paragraph, Nodes: b.plain(content.text("text"))})
	case "actionCard":
		b.notice = content.text("title")
		b.add(b.markdown(content.text("text"), dingTalkMarkdown)...)
		b.buttons(append([]object{content}, content.objects("btns")...), "singleTitle", "title")
	default:
		return false
	}
	b.dingTalkMentions(m.of("at"))
	return true
}

func (b *builder) dingTalkMentions(at object) {
	if all, _ := at["isAtAll"].(bool); all {
		b.calls("everybody")
	}
	for _, one := range append(at.texts("atMobiles"), at.texts("atUserIds")...) {
		b.calls(one)
	}
}

// buttons adds a line of buttons: of the first object by one name of their titles, of the
// others by another.
func (b *builder) buttons(all []object, first, others string) {
	var made []node
	for i, one := range all {
		name := others
		if i == 0 && first != "" {
			name = first
		}
		if title := one.text(name); title != "" && b.room() {
			made = append(made, node{Kind: button, Nodes: b.plain(title)})
		}
	}
	if len(made) > 0 {
		b.add(node{Kind: paragraph, Nodes: made})
	}
}
