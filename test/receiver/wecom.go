package receiver

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// weCom tells in the body of a 200 what it thinks of a request
// (https://developer.work.weixin.qq.com/document/path/91770).
var weCom = service{
	name:    WeCom,
	prefix:  "/cgi-bin/webhook/send",
	address: func(key string) string { return "/cgi-bin/webhook/send?key=" + url.QueryEscape(key) },
	keyOf:   func(r *http.Request) string { return r.URL.Query().Get("key") },

	limits:  []limit{{20, time.Minute}},
	tooFast: func(limit, time.Duration) Answer { return weixin(45009, "api freq out of limit") },
	unknown: weixin(93000, "invalid webhook url"),
	closed:  weixin(93000, "invalid webhook url"),
	check:   checkWeCom,
}

func weixin(code int, text string) Answer {
	if code != 0 {
		text += fmt.Sprintf(", hint: [1592021214_50_551fc8807c11f27ed0e6714d0c267ba4], from ip: 127.0.0.1, more info at https://open.work.weixin.qq.com/devtool/query?e=%d", code)
	}
	return says(http.StatusOK, fmt.Sprintf(`{"errcode":%d,"errmsg":%s}`, code, quote("%s", text)), code != 0)
}

type weComMessage struct {
	MsgType  string `json:"msgtype"`
	Markdown *struct {
		Content string `json:"content"`
	} `json:"markdown"`
	Text *struct {
		Content             string   `json:"content"`
		MentionedList       []string `json:"mentioned_list"`
		MentionedMobileList []string `json:"mentioned_mobile_list"`
	} `json:"text"`
}

// weComCalls is what calls somebody in a text of WeCom.
var weComCalls = regexp.MustCompile(`<@[^>\s]+>`)

func checkWeCom(p posted, _ RoomOptions) outcome {
	if p.Method != http.MethodPost {
		return refuse(weixin(43002, "require POST method"))
	}
	var m weComMessage
	if err := read(p.body, &m); err != nil || !isJSON(p.Request) {
		return refuse(weixin(47001, "data format error"))
	}
	var content string
	var mentions []string
	most := 4096
	switch {
	case m.MsgType == "markdown" && m.Markdown != nil:
		content = m.Markdown.Content
	case m.MsgType == "text" && m.Text != nil:
		content, most = m.Text.Content, 2048
		mentions = slices.Concat(m.Text.MentionedList, m.Text.MentionedMobileList)
	default:
		return refuse(weixin(40008, "invalid message type"))
	}
	switch {
	case content == "":
		return refuse(weixin(44004, m.MsgType+" content is empty"))
	case len(content) > most:
		return refuse(weixin(40058, fmt.Sprintf("%s.content exceed max length %d. invalid Request Parameter", m.MsgType, most)))
	}
	return keep(weixin(0, "ok"), append(mentions, weComCalls.FindAllString(content, -1)...))
}
