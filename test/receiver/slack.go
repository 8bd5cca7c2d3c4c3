package receiver

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// slack answers in a word (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
var slack = service{
	name:    Slack,
	prefix:  "/services/",
	address: func(key string) string { return "/services/T00000000/B00000000/" + url.PathEscape(key) },
	keyOf:   func(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, "/services/T00000000/B00000000/") },

	// Short bursts of more than one are taken there.
	limits: []limit{{1, time.Second}},
	tooFast: func(_ limit, wait time.Duration) Answer {
		a := word(http.StatusTooManyRequests, "rate_limited")
		a.Header.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		return a
	},
	unknown: word(http.StatusNotFound, "no_service"),
	closed:  word(http.StatusGone, "channel_is_archived"),
	check:   checkSlack,
}

func word(status int, text string) Answer {
	return Answer{Status: status, Header: http.Header{"Content-Type": {"text/html"}}, Body: text}
}

type slackMessage struct {
	Text        string       `json:"text"`
	Blocks      []slackBlock `json:"blocks"`
	Attachments []struct {
		Color    string       `json:"color"`
		Fallback string       `json:"fallback"`
		Pretext  string       `json:"pretext"`
		Title    string       `json:"title"`
		Text     string       `json:"text"`
		Footer   string       `json:"footer"`
		MrkdwnIn []string     `json:"mrkdwn_in"`
		Blocks   []slackBlock `json:"blocks"`
		Fields   []struct {
			Title string `json:"title"`
			Value string `json:"value"`
			Short bool   `json:"short"`
		} `json:"fields"`
	} `json:"attachments"`
	Mrkdwn      *bool  `json:"mrkdwn"`
	UnfurlLinks *bool  `json:"unfurl_links"`
	UnfurlMedia *bool  `json:"unfurl_media"`
	LinkNames   bool   `json:"link_names"`
	Parse       string `json:"parse"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	BlockID  string      `json:"block_id"`
	Text     *slackText  `json:"text"`
	Fields   []slackText `json:"fields"`
	Elements []slackText `json:"elements"`
}

type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji"`
	Verbatim *bool  `json:"verbatim"`
}

// slackCalls is what calls somebody in a text of Slack.
var slackCalls = regexp.MustCompile(`<(!(channel|here|everyone|subteam\^)[^>]*|@[^>]+)>`)

// read gathers the text of a block in which that is read; ok is false where the block is
// not as it has to be. Texts are bounded in characters.
func (b slackBlock) read(gather func(string)) (ok bool) {
	good := func(t slackText, most int, kinds ...string) bool {
		gather(map[string]string{"mrkdwn": t.Text}[t.Type])
		n := utf8.RuneCountInString(t.Text)
		return strings.Contains(strings.Join(kinds, " "), t.Type) && t.Type != "" && n > 0 && n <= most
	}
	switch b.Type {
	case "divider":
		return true
	case "header":
		return b.Text != nil && good(*b.Text, 150, "plain_text")
	case "section":
		ok = (b.Text != nil || len(b.Fields) > 0) && len(b.Fields) <= 10
		if b.Text != nil {
			ok = good(*b.Text, 3000, "plain_text", "mrkdwn") && ok
		}
		for _, f := range b.Fields {
			ok = good(f, 2000, "plain_text", "mrkdwn") && ok
		}
		return ok
	case "context":
		ok = len(b.Elements) > 0 && len(b.Elements) <= 10
		for _, e := range b.Elements {
			ok = good(e, 3000, "plain_text", "mrkdwn") && ok
		}
		return ok
	}
	return false
}

func checkSlack(p posted, _ RoomOptions) outcome {
	if p.Method != http.MethodPost {
		return refuse(word(http.StatusMethodNotAllowed, "method_not_allowed"))
	}
	var m slackMessage
	if !isJSON(p.Request) || !json.Valid(p.body) || read(p.body, &m) != nil {
		return refuse(word(http.StatusBadRequest, "invalid_payload"))
	}
	if m.Text == "" && len(m.Blocks) == 0 && len(m.Attachments) == 0 {
		return refuse(word(http.StatusBadRequest, "no_text"))
	}
	if utf8.RuneCountInString(m.Text) > 40_000 {
		return refuse(word(http.StatusBadRequest, "msg_too_long"))
	}
	if len(m.Attachments) > 100 {
		return refuse(word(http.StatusBadRequest, "too_many_attachments"))
	}
	texts := []string{m.Text}
	gather := func(text string) { texts = append(texts, text) }
	blocks, ok := len(m.Blocks), true
	for _, b := range m.Blocks {
		ok = b.read(gather) && ok
	}
	for _, a := range m.Attachments {
		texts = append(texts, a.Pretext, a.Title, a.Text)
		for _, f := range a.Fields {
			texts = append(texts, f.Value)
		}
		for _, b := range a.Blocks {
			ok = b.read(gather) && ok
		}
		blocks = max(blocks, len(a.Blocks))
	}
	if !ok || blocks > 50 {
		return refuse(word(http.StatusBadRequest, "invalid_blocks"))
	}
	mentions := slackCalls.FindAllString(strings.Join(texts, "\n"), -1)
	if m.Parse == "full" || m.LinkNames {
		mentions = append(mentions, "names in the text")
	}
	return keep(word(http.StatusOK, "ok"), mentions)
}
