package format

import (
	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// weCom is a message of a robot of a WeCom group
// (https://developer.work.weixin.qq.com/document/path/91770).
//
// Address: https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…
// Limits: 4 096 bytes of Markdown; 20 messages a minute.
// Texts: a small Markdown with <font color="info|comment|warning"> and <@userid>. It knows no
// escape, so what would be read otherwise is written in its full width.
var weCom = Format{
	Name:    v1alpha1.PayloadWeCom,
	Title:   "WeCom",
	Summary: "a Markdown message of a WeCom group's robot",

	ContentType: signing.ContentType,
	Proof:       "the address of the robot",
	Room:        true,
	RateLimit:   v1alpha1.RateLimit{Requests: 20, PerSeconds: 60},

	template: `{
  "msgtype": "markdown",
  "markdown": {
    "content": ("### " + message.sign + " " +
      (message.tone == "neutral" ? escape.wecom(message.title) :
        "<font color=\"" + (message.tone == "good" ? "info" : "warning") + "\">" + escape.wecom(message.title) + "</font>") + "\n" +
      message.facts.map(f, "> " + f.name + message.colon + escape.wecom(f.value)).join("\n")).truncate(4096),
  },
}`,
	judge: codes{
		code: "errcode", text: "errmsg",
		final: map[int64]string{
			40008: "the type of the message is none that the robot takes: mind spec.payload.template",
			40058: "a part of the message is missing or too long: mind spec.payload.template",
			44004: "the message is empty: mind spec.payload.template",
			93000: "the address is no robot's, or the robot was removed from the group: copy the address again",
		},
		tooFast: []int64{45009},
	}.judge,
}
