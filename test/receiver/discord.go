package receiver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// discord says what has become of a message only where it is asked to wait for that; without
// wait=true it answers 204, whatever has (https://docs.discord.com/developers/resources/webhook).
var discord = service{
	name:    Discord,
	prefix:  "/api/webhooks/",
	address: func(key string) string { return "/api/webhooks/1234567890123456789/" + url.PathEscape(key) },
	keyOf: func(r *http.Request) string {
		return strings.TrimPrefix(r.URL.Path, "/api/webhooks/1234567890123456789/")
	},

	limits: []limit{{5, 2 * time.Second}, {30, time.Minute}},
	tooFast: func(_ limit, wait time.Duration) Answer {
		a := says(http.StatusTooManyRequests, fmt.Sprintf(`{"message":"You are being rate limited.","retry_after":%.3f,"global":false}`, wait.Seconds()), true)
		a.Header.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		return a
	},
	unknown: says(http.StatusUnauthorized, `{"message":"Invalid Webhook Token","code":50027}`, true),
	closed:  says(http.StatusNotFound, `{"message":"Unknown Webhook","code":10015}`, true),
	check:   checkDiscord,
}

type discordMessage struct {
	Content         string         `json:"content"`
	Username        string         `json:"username"`
	AvatarURL       string         `json:"avatar_url"`
	Flags           int            `json:"flags"`
	Embeds          []discordEmbed `json:"embeds"`
	AllowedMentions *struct {
		Parse []string `json:"parse"`
		Roles []string `json:"roles"`
		Users []string `json:"users"`
	} `json:"allowed_mentions"`
}

type discordEmbed struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Timestamp   string `json:"timestamp"`
	Color       *int   `json:"color"`
	Footer      *struct {
		Text string `json:"text"`
	} `json:"footer"`
	Author *struct {
		Name string `json:"name"`
	} `json:"author"`
	Fields []struct {
		Name   string `json:"name"`
		Value  string `json:"value"`
		Inline bool   `json:"inline"`
	} `json:"fields"`
}

// discordCalls is what calls somebody in the content of a message. In embeds nothing does.
var discordCalls = regexp.MustCompile(`@everyone|@here|<@[!&]?\d+>`)

// problem tells what of an embed is not as it has to be, by its path; size is how many
// characters count towards the sum of all.
func (e discordEmbed) problem() (at string, size int) {
	check := func(path, text string, least, most int) {
		n := utf8.RuneCountInString(strings.TrimSpace(text))
		size += n
		if at == "" && (n < least || n > most) {
			at = path
		}
	}
	check("title", e.Title, 0, 256)
	check("description", e.Description, 0, 4096)
	if e.Footer != nil {
		check("footer", e.Footer.Text, 1, 2048)
	}
	if e.Author != nil {
		check("author", e.Author.Name, 1, 256)
	}
	for i, f := range e.Fields {
		check(fmt.Sprintf("fields.%d.name", i), f.Name, 1, 256)
		check(fmt.Sprintf("fields.%d.value", i), f.Value, 1, 1024)
	}
	if e.Timestamp != "" {
		if _, err := time.Parse(time.RFC3339, e.Timestamp); err != nil {
			at = "timestamp"
		}
	}
	if len(e.Fields) > 25 {
		at = "fields"
	}
	if e.Color != nil && (*e.Color < 0 || *e.Color > 0xffffff) {
		at = "color"
	}
	return at, size
}

// problem tells what is not as it has to be, by its path.
func (m discordMessage) problem() string {
	if utf8.RuneCountInString(m.Content) > 2000 {
		return "content"
	}
	if len(m.Embeds) > 10 {
		return "embeds"
	}
	sum := 0
	for i, e := range m.Embeds {
		at, size := e.problem()
		if at != "" {
			return fmt.Sprintf("embeds.%d.%s", i, at)
		}
		sum += size
	}
	if sum > 6000 {
		return "embeds"
	}
	return ""
}

func (m discordMessage) mentions() []string {
	found := discordCalls.FindAllString(m.Content, -1)
	if a := m.AllowedMentions; a != nil && len(a.Parse) == 0 && len(a.Roles) == 0 && len(a.Users) == 0 {
		return nil
	}
	return found
}

func checkDiscord(p posted, _ RoomOptions) outcome {
	wait, _ := strconv.ParseBool(p.URL.Query().Get("wait"))
	no := func(a Answer) outcome {
		if !wait {
			a = Answer{Status: http.StatusNoContent}
		}
		return refuse(a)
	}
	if p.Method != http.MethodPost {
		return refuse(says(http.StatusMethodNotAllowed, `{"message":"405: Method Not Allowed","code":0}`, true))
	}
	if !isJSON(p.Request) || !json.Valid(p.body) {
		return no(says(http.StatusBadRequest, `{"message":"The request body contains invalid JSON.","code":50109}`, true))
	}
	var m discordMessage
	if err := read(p.body, &m); err != nil {
		return no(says(http.StatusBadRequest, `{"message":"Invalid Form Body","code":50035}`, true))
	}
	if at := m.problem(); at != "" {
		return no(says(http.StatusBadRequest, `{"message":"Invalid Form Body","code":50035,"errors":{`+quote("%s", at)+
			`:{"_errors":[{"code":"BASE_TYPE_BAD_LENGTH","message":"Must be of another length."}]}}}`, true))
	}
	if strings.TrimSpace(m.Content) == "" && len(m.Embeds) == 0 {
		return no(says(http.StatusBadRequest, `{"message":"Cannot send an empty message","code":50006}`, true))
	}
	if !wait {
		return keep(Answer{Status: http.StatusNoContent}, m.mentions())
	}
	return keep(says(http.StatusOK, `{"id":"1234567890123456789","type":0,"channel_id":"1234567890123456788","content":`+quote("%s", m.Content)+`}`, false), m.mentions())
}
