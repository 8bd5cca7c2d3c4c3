package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// feishu, which is Lark elsewhere, tells in the body what it thinks of a request. Failures
// have a StatusCode of 0, too
// (https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot).
var feishu = service{
	name:    Feishu,
	prefix:  "/open-apis/bot/v2/hook/",
	address: func(key string) string { return "/open-apis/bot/v2/hook/" + url.PathEscape(key) },
	keyOf:   func(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, "/open-apis/bot/v2/hook/") },

	limits: []limit{{5, time.Second}, {100, time.Minute}},
	tooFast: func(l limit, _ time.Duration) Answer {
		if l.span <= time.Second {
			return lark(http.StatusOK, 9499, "too many request")
		}
		return lark(http.StatusOK, 11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]")
	},
	unknown: lark(http.StatusOK, 19001, "param invalid: incoming webhook access token invalid"),
	closed:  lark(http.StatusOK, 19007, "Bot Not Enabled"),
	check:   checkFeishu,
}

func lark(status, code int, text string) Answer {
	message := "success"
	if code != 0 {
		message = ""
	}
	return says(status, fmt.Sprintf(`{"StatusCode":0,"StatusMessage":%q,"code":%d,"data":{},"msg":%s}`, message, code, quote("%s", text)), code != 0)
}

type feishuMessage struct {
	Timestamp string `json:"timestamp"`
	Sign      string `json:"sign"`
	MsgType   string `json:"msg_type"`
	Content   *struct {
		Text string          `json:"text"`
		Post json.RawMessage `json:"post"`
	} `json:"content"`
	Card *feishuCard `json:"card"`
}

type feishuCard struct {
	Config struct {
		WideScreenMode bool `json:"wide_screen_mode"`
		EnableForward  bool `json:"enable_forward"`
	} `json:"config"`
	Header *struct {
		Title    feishuText  `json:"title"`
		Subtitle *feishuText `json:"subtitle"`
		Template string      `json:"template"`
	} `json:"header"`
	Elements []feishuElement `json:"elements"`
}

type feishuText struct {
	Tag     string `json:"tag"`
	Content string `json:"content"`
	Lines   int    `json:"lines"`
}

type feishuElement struct {
	Tag    string      `json:"tag"`
	Text   *feishuText `json:"text"`
	Fields []struct {
		IsShort bool       `json:"is_short"`
		Text    feishuText `json:"text"`
	} `json:"fields"`
	Content  string       `json:"content"`
	Elements []feishuText `json:"elements"`
}

// templates are the colours of a header.
var templates = []string{
	"", "default", "blue", "wathet", "turquoise", "green", "yellow", "orange", "red", "carmine", "violet", "purple", "indigo", "grey",
}

// calls is the tag that calls somebody, in texts of Feishu that have tags.
var calls = regexp.MustCompile(`(?i)<at(\s[^>]*)?>`)

// words are all texts, and those of them in which tags are read; ok is false where a part
// is missing or unknown.
func (m feishuMessage) words() (all, tagged []string, ok bool) {
	switch m.MsgType {
	case "text":
		if m.Content == nil || m.Content.Text == "" {
			return nil, nil, false
		}
		return []string{m.Content.Text}, []string{m.Content.Text}, true
	case "post":
		if m.Content == nil || len(m.Content.Post) == 0 {
			return nil, nil, false
		}
		return []string{string(m.Content.Post)}, nil, true
	case "interactive":
		if m.Card == nil || len(m.Card.Elements) == 0 {
			return nil, nil, false
		}
		return m.Card.words()
	}
	return nil, nil, false
}

func (c feishuCard) words() (all, tagged []string, ok bool) {
	add := func(t feishuText) bool {
		all = append(all, t.Content)
		if t.Tag == "lark_md" {
			tagged = append(tagged, t.Content)
		}
		return (t.Tag == "lark_md" || t.Tag == "plain_text") && t.Content != ""
	}
	if h := c.Header; h != nil {
		if h.Title.Tag != "plain_text" || !add(h.Title) || !slices.Contains(templates, h.Template) || h.Subtitle != nil && !add(*h.Subtitle) {
			return nil, nil, false
		}
	}
	for _, e := range c.Elements {
		good := true
		switch e.Tag {
		case "hr":
		case "markdown":
			good = e.Content != ""
			all, tagged = append(all, e.Content), append(tagged, e.Content)
		case "div":
			good = e.Text != nil || len(e.Fields) > 0
			if e.Text != nil {
				good = add(*e.Text)
			}
			for _, f := range e.Fields {
				good = add(f.Text) && good
			}
		case "note":
			good = len(e.Elements) > 0
			for _, t := range e.Elements {
				good = add(t) && good
			}
		default:
			good = false
		}
		if !good {
			return nil, nil, false
		}
	}
	return all, tagged, true
}

func checkFeishu(p posted, o RoomOptions) outcome {
	if p.Method != http.MethodPost || !isJSON(p.Request) {
		return refuse(lark(http.StatusBadRequest, 9499, "Bad Request"))
	}
	if len(p.body) > 20<<10 {
		return refuse(lark(http.StatusOK, 19001, "param invalid: the request body is larger than 20 KB"))
	}
	var m feishuMessage
	if err := read(p.body, &m); err != nil {
		return refuse(lark(http.StatusBadRequest, 9499, "Bad Request"))
	}
	if o.Secret != "" {
		seconds, err := strconv.ParseInt(m.Timestamp, 10, 64)
		mac := hmac.New(sha256.New, []byte(m.Timestamp+"\n"+o.Secret))
		sign, bad := base64.StdEncoding.DecodeString(m.Sign)
		if err != nil || bad != nil || !within(p.at, time.Unix(seconds, 0)) || !hmac.Equal(sign, mac.Sum(nil)) {
			return refuse(lark(http.StatusOK, 19021, "sign match fail or timestamp is not within one hour from current time"))
		}
	}
	all, tagged, ok := m.words()
	if !ok {
		return refuse(lark(http.StatusOK, 19002, "params error, msg_type need"))
	}
	if !strings.Contains(strings.Join(all, "\n"), o.Keyword) {
		return refuse(lark(http.StatusOK, 19024, "Key Words Not Found"))
	}
	return keep(lark(http.StatusOK, 0, "success"), calls.FindAllString(strings.Join(tagged, "\n"), -1))
}
