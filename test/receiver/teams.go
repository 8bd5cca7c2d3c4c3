package receiver

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// teams is a workflow of Microsoft Teams: it answers before it posts anything, so a card that
// Teams does not take is answered 202, too
// (https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using).
var teams = service{
	name:   Teams,
	prefix: "/workflows/",
	address: func(key string) string {
		return "/workflows/0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=" + url.QueryEscape(key)
	},
	keyOf: func(r *http.Request) string { return r.URL.Query().Get("sig") },

	limits: []limit{{4, time.Second}},
	tooFast: func(limit, time.Duration) Answer {
		return flow(http.StatusTooManyRequests, "TooManyRequests", "The number of requests is over the limit of the trigger. Please retry later.")
	},
	unknown: flow(http.StatusUnauthorized, "AuthorizationFailed", "The authentication credentials are not valid."),
	closed:  flow(http.StatusBadRequest, "WorkflowTriggerIsNotEnabled", "Could not execute workflow '0123456789abcdef' trigger 'manual' with state 'Disabled': trigger is not enabled."),
	check:   checkTeams,
}

func flow(status int, code, text string) Answer {
	return says(status, `{"error":{"code":`+quote("%s", code)+`,"message":`+quote("%s", text)+`}}`, true)
}

type teamsMessage struct {
	Type        string `json:"type"`
	Attachments []struct {
		ContentType string     `json:"contentType"`
		ContentURL  *string    `json:"contentUrl"`
		Content     *teamsCard `json:"content"`
	} `json:"attachments"`
}

type teamsCard struct {
	Schema  string         `json:"$schema"`
	Type    string         `json:"type"`
	Version string         `json:"version"`
	Body    []teamsElement `json:"body"`
	MSTeams struct {
		Width    string            `json:"width"`
		Entities []json.RawMessage `json:"entities"`
	} `json:"msteams"`
	FallbackText string `json:"fallbackText"`
	Speak        string `json:"speak"`
	Lang         string `json:"lang"`
}

type teamsElement struct {
	Type      string         `json:"type"`
	Items     []teamsElement `json:"items"`
	Columns   []teamsElement `json:"columns"`
	Text      string         `json:"text"`
	Wrap      bool           `json:"wrap"`
	Weight    string         `json:"weight"`
	Size      string         `json:"size"`
	Color     string         `json:"color"`
	Style     string         `json:"style"`
	Spacing   string         `json:"spacing"`
	Bleed     bool           `json:"bleed"`
	IsSubtle  bool           `json:"isSubtle"`
	Separator bool           `json:"separator"`
	MaxLines  int            `json:"maxLines"`
	Width     string         `json:"width"`
	FontType  string         `json:"fontType"`
	Inlines   []teamsElement `json:"inlines"`
	Facts     []struct {
		Title string `json:"title"`
		Value string `json:"value"`
	} `json:"facts"`
}

func (e teamsElement) ok() bool {
	all := slices.Concat(e.Items, e.Columns)
	switch e.Type {
	case "TextBlock":
		return e.Text != "" && len(all) == 0
	case "RichTextBlock":
		return len(e.Inlines) > 0 && !slices.ContainsFunc(e.Inlines, func(e teamsElement) bool { return e.Type != "TextRun" || e.Text == "" })
	case "FactSet":
		return len(e.Facts) > 0 && len(all) == 0
	case "Container", "Column", "ColumnSet":
		return !slices.ContainsFunc(all, func(e teamsElement) bool { return !e.ok() })
	}
	return false
}

func checkTeams(p posted, _ RoomOptions) outcome {
	if p.Method != http.MethodPost || !isJSON(p.Request) || !json.Valid(p.body) {
		return refuse(flow(http.StatusBadRequest, "InvalidRequestContent", "The request content is not valid and could not be deserialized."))
	}
	accepted := Answer{Status: http.StatusAccepted}
	var m teamsMessage
	if read(p.body, &m) != nil || len(p.body) > 28<<10 || m.Type != "message" || len(m.Attachments) != 1 {
		return refuse(accepted)
	}
	a := m.Attachments[0]
	if a.ContentType != "application/vnd.microsoft.card.adaptive" || a.Content == nil || a.Content.Type != "AdaptiveCard" ||
		!strings.HasPrefix(a.Content.Version, "1.") || len(a.Content.Body) == 0 ||
		slices.ContainsFunc(a.Content.Body, func(e teamsElement) bool { return !e.ok() }) {
		return refuse(accepted)
	}
	var mentions []string
	for _, e := range a.Content.MSTeams.Entities {
		mentions = append(mentions, string(e))
	}
	return keep(accepted, mentions)
}
