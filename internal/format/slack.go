package format

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// slack is a message of an incoming webhook of Slack
// (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
//
// Address: https://hooks.slack.com/services/…
// Limits: 1 message a second; a 429 says in Retry-After how long to wait.
// Texts: &, < and > are written as entities, since <!channel> and <@U1> are mentions. The
// values of an attachment's fields are read without Markdown unless mrkdwn_in names them.
// Success: the body ok. Failures are a word in plain text; 410 is an archived channel.
var slack = Format{
	Name:    v1alpha1.PayloadSlack,
	Title:   "Slack",
	Summary: "a message of a Slack channel's incoming webhook",

	ContentType: signing.ContentType,
	Proof:       "the address of the incoming webhook",
	Room:        true,
	RateLimit:   v1alpha1.RateLimit{Requests: 1, PerSeconds: 1},

	template: `{
  "text": message.sign + " " + escape.slack(message.title),
  "mrkdwn": false,
  "link_names": false,
  "unfurl_links": false,
  "unfurl_media": false,
  "attachments": [{
    "color": {"good": "#2eb67d", "bad": "#e01e5a", "warning": "#ecb22e", "neutral": "#36c5f0"}[message.tone],
    "mrkdwn_in": [],
    "fields": message.facts.map(f, {
      "title": escape.slack(f.name), "value": escape.slack(f.value), "short": f.value.size() <= 40,
    }),
  }],
}`,
	judge: judgeSlack,
}

// slackFinal are the words of failures that no retry would mend. They are no more than that,
// so the 404 of a proxy is none of them.
var slackFinal = map[string]string{
	"invalid_payload":                   "the body is not one that Slack takes: mind spec.payload.template",
	"invalid_attachments":               "the attachments are not such that Slack takes them: mind spec.payload.template",
	"invalid_blocks":                    "the blocks are not such that Slack takes them: mind spec.payload.template",
	"too_many_attachments":              "the message has more attachments than Slack takes: mind spec.payload.template",
	"no_text":                           "the message has no text: mind spec.payload.template",
	"user_not_found":                    "the message is for somebody who is not there",
	"channel_not_found":                 "the channel is not there any more: add the incoming webhook to another one",
	"channel_is_archived":               "the channel was archived: add the incoming webhook to another one",
	"posting_to_general_channel_denied": "only some people may post to this channel: ask its administrators",
	"action_prohibited":                 "an administrator forbids incoming webhooks here: ask them",
	"invalid_token":                     "the address is no incoming webhook's: copy it again",
	"no_service":                        "the incoming webhook was removed: add one, and copy its address",
	"no_service_id":                     "the address is no incoming webhook's: copy it again",
	"no_active_hooks":                   "the incoming webhook was switched off: add one, and copy its address",
	"no_team":                           "the workspace is not there any more",
	"team_disabled":                     "the workspace was disabled",
}

func judgeSlack(_ int, body []byte) Verdict {
	word := strings.TrimSpace(string(body))
	if word == "ok" {
		return Verdict{}
	}
	var said struct {
		OK bool `json:"ok"`
	}
	if json.Unmarshal(body, &said) == nil && said.OK {
		return Verdict{}
	}
	v := Verdict{Refused: true, Why: "the answer is not ok: " + word}
	if meaning, ok := slackFinal[word]; ok {
		v.Final, v.Why = true, fmt.Sprintf("%s (%s)", word, meaning)
	}
	return v
}
