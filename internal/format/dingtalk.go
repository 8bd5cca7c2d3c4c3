package format

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// dingTalk is a message of a custom robot of a DingTalk group
// (https://open.dingtalk.com/document/orgapp/custom-robot-access).
//
// Address: https://oapi.dingtalk.com/robot/send?access_token=…
// Limits: 20 000 bytes a message; 20 messages a minute, and who sends more is blocked for 10.
var dingTalk = Format{
	Name:    v1alpha1.PayloadDingTalk,
	Title:   "DingTalk",
	Summary: "a Markdown message of a DingTalk group's custom robot",

	ContentType: signing.ContentType,
	Proof:       "signed in the URL with the key of the robot",
	Room:        true,
	RateLimit:   v1alpha1.RateLimit{Requests: 20, PerSeconds: 60},
	rest:        10 * time.Minute,

	template: `{
  "msgtype": "markdown",
  "markdown": {
    "title": message.sign + " " + message.title.replace("@", "＠"),
    "text": "### " + message.sign + " " + escape.dingtalk(message.title) + "\n\n" +
      message.facts.map(f, "- **" + escape.dingtalk(f.name) + "**" + message.colon + escape.dingtalk(f.value)).join("\n"),
  },
  "at": {"isAtAll": false},
}`,
	judge: codes{
		code: "errcode", text: "errmsg",
		final: map[int64]string{
			300001: "the address is no robot's, or the robot was removed from the group: copy the address again",
			300005: "the address is no robot's, or the robot was removed from the group: copy the address again",
			310000: "the message lacks a keyword of the robot, its signing key is another one, or the operator's address is not on its list",
		},
		tooFast: []int64{130101},
	}.judge,
	sign: signDingTalk,
}

// signDingTalk adds a signature to the query, which is valid for an hour: HMAC-SHA256 of the
// time in milliseconds, a line feed and the key itself, in base64.
func signDingTalk(r *Request, key string, at time.Time) ([]string, error) {
	timestamp := strconv.FormatInt(at.UnixMilli(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(timestamp + "\n" + key))
	sign := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	r.URL = withQuery(r.URL, url.Values{"timestamp": {timestamp}, "sign": {sign}})
	// An answer may escape once more what came in the query.
	return []string{sign, url.QueryEscape(sign)}, nil
}
