package format

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// feishu is a card of a custom bot of a Feishu or Lark group
// (https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot).
//
// Address: https://open.feishu.cn/open-apis/bot/v2/hook/…, or open.larksuite.com.
// Limits: 20 KB a message; 100 messages a minute and 5 a second.
// Texts: plain_text is read as it is; lark_md is Markdown with tags such as <at id=all>, and
// takes numeric entities of HTML for its own characters.
// Success: code 0. The older StatusCode is 0 in failures, too.
var feishu = Format{
	Name:    v1alpha1.PayloadFeishu,
	Title:   "Feishu",
	Summary: "a card of a Feishu or Lark group's custom bot",

	ContentType: signing.ContentType,
	Proof:       "signed in the body with the key of the bot",
	Room:        true,
	// 100 a minute.
	RateLimit: v1alpha1.RateLimit{Requests: 5, PerSeconds: 3},

	template: `{
  "msg_type": "interactive",
  "card": {
    "config": {"wide_screen_mode": true},
    "header": {
      "template": {"good": "green", "bad": "red", "warning": "orange", "neutral": "blue"}[message.tone],
      "title": {"tag": "plain_text", "content": message.sign + " " + message.title},
    },
    "elements": [{
      "tag": "div",
      "text": {
        "tag": "lark_md",
        "content": message.facts.map(f, "**" + escape.feishu(f.name) + "**" + message.colon + escape.feishu(f.value)).join("\n"),
      },
    }],
  },
}`,
	judge: judgeFeishu,
	sign:  signFeishu,
}

var feishuCodes = codes{
	code: "code", text: "msg",
	final: map[int64]string{
		19001: "the address is no bot's, or the bot was removed from the group: copy the address again",
		19002: "the body is not one that the bot takes: mind spec.payload.template",
		19007: "the bot is switched off: switch it on in the settings of the group",
		19021: "the bot has another signing key, or the operator's clock is off by an hour: copy the key again",
		19022: "the bot takes messages from the addresses on its list only: add that of the operator",
		19024: "the message has none of the bot's keywords: add one that all messages have, or take them away",
	},
	tooFast: []int64{9499, 11232},
}

// judgeFeishu knows that 9499 is also the code of a body that cannot be read.
func judgeFeishu(statusCode int, body []byte) Verdict {
	v := feishuCodes.judge(statusCode, body)
	if strings.HasPrefix(v.Why, "code 9499: Bad Request") {
		v.Rest, v.Final = 0, true
		v.Why += " (" + feishuCodes.final[19002] + ")"
	}
	return v
}

// signFeishu adds a signature to the body, which is valid for an hour: HMAC-SHA256 of nothing
// with the time in seconds, a line feed and the key of the bot as its key, in base64.
func signFeishu(r *Request, key string, at time.Time) ([]string, error) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	sign := base64.StdEncoding.EncodeToString(hmac.New(sha256.New, []byte(timestamp+"\n"+key)).Sum(nil))
	var body map[string]json.RawMessage
	if err := json.Unmarshal(r.Body, &body); err != nil || body == nil {
		return nil, fmt.Errorf("the body is no JSON object")
	}
	body["timestamp"], body["sign"] = json.RawMessage(`"`+timestamp+`"`), json.RawMessage(`"`+sign+`"`)
	var signed bytes.Buffer
	e := json.NewEncoder(&signed)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, fmt.Errorf("writing the body: %w", err)
	}
	r.Body = bytes.TrimSuffix(signed.Bytes(), []byte("\n"))
	// An answer may escape it for a query, and once more.
	return []string{sign, url.QueryEscape(sign)}, nil
}
