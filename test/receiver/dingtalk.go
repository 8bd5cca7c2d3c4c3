package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dingTalk tells in the body of a 200 what it thinks of a request
// (https://open.dingtalk.com/document/orgapp/custom-robot-access).
var dingTalk = service{
	name:    DingTalk,
	prefix:  "/robot/send",
	address: func(key string) string { return "/robot/send?access_token=" + url.QueryEscape(key) },
	keyOf:   func(r *http.Request) string { return r.URL.Query().Get("access_token") },

	limits:  []limit{{20, time.Minute}},
	ban:     10 * time.Minute,
	tooFast: func(limit, time.Duration) Answer { return ding(130101, "send too fast, exceed 20 times per minute") },
	unknown: ding(300005, "token is not exist"),
	closed:  ding(400102, "bot is stopped"),
	check:   checkDingTalk,
}

func ding(code int, text string) Answer {
	return says(http.StatusOK, fmt.Sprintf(`{"errcode":%d,"errmsg":%s}`, code, quote("%s", text)), code != 0)
}

type dingTalkMessage struct {
	MsgType string `json:"msgtype"`
	Text    *struct {
		Content string `json:"content"`
	} `json:"text"`
	Markdown *struct {
		Title string `json:"title"`
		Text  string `json:"text"`
	} `json:"markdown"`
	ActionCard *struct {
		Title          string `json:"title"`
		Text           string `json:"text"`
		SingleTitle    string `json:"singleTitle"`
		SingleURL      string `json:"singleURL"`
		BtnOrientation string `json:"btnOrientation"`
	} `json:"actionCard"`
	Link *struct {
		Title      string `json:"title"`
		Text       string `json:"text"`
		MessageURL string `json:"messageUrl"`
		PicURL     string `json:"picUrl"`
	} `json:"link"`
	At struct {
		AtMobiles []string `json:"atMobiles"`
		AtUserIDs []string `json:"atUserIds"`
		IsAtAll   bool     `json:"isAtAll"`
	} `json:"at"`
}

// words are the title and the text; ok is false where one of them is missing.
func (m dingTalkMessage) words() (text string, ok bool) {
	switch {
	case m.MsgType == "text" && m.Text != nil:
		return m.Text.Content, m.Text.Content != ""
	case m.MsgType == "markdown" && m.Markdown != nil:
		return m.Markdown.Title + "\n" + m.Markdown.Text, m.Markdown.Title != "" && m.Markdown.Text != ""
	case m.MsgType == "actionCard" && m.ActionCard != nil:
		return m.ActionCard.Title + "\n" + m.ActionCard.Text, m.ActionCard.Title != "" && m.ActionCard.Text != ""
	case m.MsgType == "link" && m.Link != nil:
		return m.Link.Title + "\n" + m.Link.Text, m.Link.Title != "" && m.Link.Text != "" && m.Link.MessageURL != ""
	}
	return "", false
}

func checkDingTalk(p posted, o RoomOptions) outcome {
	switch {
	case p.Method != http.MethodPost:
		return refuse(ding(43002, "require POST method"))
	case !isJSON(p.Request):
		return refuse(ding(43004, "无效的HTTP HEADER Content-Type"))
	case len(p.body) > 20_000:
		return refuse(ding(460101, "message too long, exceed 20000 bytes"))
	}
	if o.Secret != "" {
		query := p.URL.Query()
		millis, err := strconv.ParseInt(query.Get("timestamp"), 10, 64)
		if err != nil || !within(p.at, time.UnixMilli(millis)) {
			return refuse(ding(310000, "invalid timestamp"))
		}
		mac := hmac.New(sha256.New, []byte(o.Secret))
		fmt.Fprintf(mac, "%d\n%s", millis, o.Secret)
		if sign, err := base64.StdEncoding.DecodeString(query.Get("sign")); err != nil || !hmac.Equal(sign, mac.Sum(nil)) {
			return refuse(ding(310000, "sign not match"))
		}
	}
	var m dingTalkMessage
	if err := read(p.body, &m); err != nil {
		return refuse(ding(40035, "缺少参数 json"))
	}
	text, ok := m.words()
	if !ok {
		return refuse(ding(40035, "缺少参数 json"))
	}
	if !strings.Contains(text, o.Keyword) {
		return refuse(ding(310000, "keywords not in content"))
	}
	mentions := slices.Concat(m.At.AtMobiles, m.At.AtUserIDs)
	if m.At.IsAtAll {
		mentions = append(mentions, "all")
	}
	return keep(ding(0, "ok"), mentions)
}
