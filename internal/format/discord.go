package format

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// discord is a message of a webhook of a Discord channel
// (https://discord.com/developers/docs/resources/webhook#execute-webhook).
//
// Address: https://discord.com/api/webhooks/…/…
// Limits: 6 000 characters in an embed: 256 of title, 25 fields with 256 of name and 1 024 of
// value. 5 messages in 2 seconds for a webhook and 30 a minute for a channel, as seen from its
// headers; a 429 says how long to wait.
// Texts: Markdown. Nobody is mentioned, whatever it says, where allowed_mentions has no parse.
// Success: with wait=true, a 2xx once the message is there; without it, also where it is not.
var discord = Format{
	Name:    v1alpha1.PayloadDiscord,
	Title:   "Discord",
	Summary: "a message of a Discord channel's webhook",

	ContentType: signing.ContentType,
	Proof:       "the address of the webhook",
	Room:        true,
	RateLimit:   v1alpha1.RateLimit{Requests: 5, PerSeconds: 10},

	template: `{
  "allowed_mentions": {"parse": []},
  "embeds": [{
    "title": message.sign + " " + escape.discord(message.title, 240),
    "color": {"good": 0x57f287, "bad": 0xed4245, "warning": 0xfee75c, "neutral": 0x5865f2}[message.tone],
    "fields": message.facts.map(f, {
      "name": escape.discord(f.name, 128), "value": escape.discord(f.value, 1024), "inline": f.value.size() <= 24,
    }),
  }],
}`,
	judge: judgeDiscord,
	address: func(address string) string {
		_, query, _ := strings.Cut(address, "?")
		if values, err := url.ParseQuery(query); err != nil || values.Has("wait") {
			return address
		}
		return withQuery(address, url.Values{"wait": {"true"}})
	},
}

// discordFinal are the codes of failures that no retry would mend.
var discordFinal = map[int64]string{
	10003: "the channel was deleted: make a webhook in another one, and copy its address",
	10015: "the webhook was deleted: make one, and copy its address",
	50006: "the message is empty: mind spec.payload.template",
	50027: "the token in the address is wrong: copy the address again",
	50035: "the body is not one that Discord takes: mind spec.payload.template",
}

func judgeDiscord(statusCode int, body []byte) Verdict {
	var said struct {
		Code       *int64   `json:"code"`
		Message    string   `json:"message"`
		RetryAfter *float64 `json:"retry_after"`
	}
	if json.Unmarshal(body, &said) != nil {
		return Verdict{}
	}
	var v Verdict
	if statusCode == http.StatusTooManyRequests && said.RetryAfter != nil && *said.RetryAfter >= 0 {
		v.Rest = time.Duration(min(*said.RetryAfter, float64(time.Hour/time.Second)) * float64(time.Second))
	}
	if said.Code == nil {
		return v
	}
	v.Why = fmt.Sprintf("code %d: %s", *said.Code, said.Message)
	if meaning, ok := discordFinal[*said.Code]; ok {
		v.Final = true
		v.Why += " (" + meaning + ")"
	}
	return v
}
