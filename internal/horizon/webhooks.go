package horizon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Kind is what Horizon calls a kind of resource in its paths.
type Kind string

// The kinds that have webhooks and a path.
const (
	Groups       Kind = "groups"
	Applications Kind = "applications"
	Clusters     Kind = "clusters"
)

// RootGroup is the number of the group that all others are in. It has webhooks and no row of
// its own: asking for it is an error.
const RootGroup int64 = 0

// Webhook is a webhook of Horizon. Printing it shows its number alone.
type Webhook struct {
	ID      int64
	Enabled bool
	// URL may be a secret itself, as those of chat services are.
	URL              string
	SSLVerifyEnabled bool
	Description      string
	// Secret is in clear, and empty where there is none.
	Secret string
	// Triggers are types of events, or "*".
	Triggers             []string
	CreatedAt, UpdatedAt time.Time
}

// String names the webhook.
func (w Webhook) String() string { return "webhook " + strconv.FormatInt(w.ID, 10) }

// Format hides the secret whatever the verb.
func (w Webhook) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, w.String()) }

// MarshalJSON hides the secret from structured logs.
func (w Webhook) MarshalJSON() ([]byte, error) { return json.Marshal(w.String()) }

// webhookBody is a webhook as Horizon writes and reads it.
type webhookBody struct {
	ID               int64     `json:"id"`
	Enabled          bool      `json:"enabled"`
	URL              string    `json:"url"`
	SSLVerifyEnabled bool      `json:"sslVerifyEnabled"`
	Description      string    `json:"description"`
	Secret           string    `json:"secret"`
	Triggers         []string  `json:"triggers"`
	CreatedAt        time.Time `json:"createdAt"`
	UpdatedAt        time.Time `json:"updatedAt"`
}

// webhookUpdate is the body of a PUT: all of it, since what is left out is not defined.
type webhookUpdate struct {
	Enabled          bool     `json:"enabled"`
	URL              string   `json:"url"`
	SSLVerifyEnabled bool     `json:"sslVerifyEnabled"`
	Description      string   `json:"description"`
	Secret           string   `json:"secret"`
	Triggers         []string `json:"triggers"`
}

// Webhooks returns all webhooks of a resource itself, not of what is above or below it.
func (c *Client) Webhooks(ctx context.Context, kind Kind, id int64) ([]Webhook, error) {
	var list struct {
		Items []webhookBody `json:"items"`
	}
	if err := c.get(ctx, "/apis/core/v2/"+string(kind)+"/"+number(id)+"/webhooks", nil, &list); err != nil {
		return nil, err
	}
	all := make([]Webhook, len(list.Items))
	for i, w := range list.Items {
		all[i] = Webhook(w)
	}
	return all, nil
}

// Webhook returns a webhook by its number. The answer does not say whose it is.
func (c *Client) Webhook(ctx context.Context, id int64) (Webhook, error) {
	var w webhookBody
	err := c.get(ctx, "/apis/core/v2/webhooks/"+number(id), nil, &w)
	return Webhook(w), err
}

// PutWebhook writes all that can be written of a webhook, its secret included, so it has to
// be read first. Horizon answers that it has stored SSLVerifyEnabled, and has not; and it
// keeps the triggers where there are none. Read back what matters.
func (c *Client) PutWebhook(ctx context.Context, w Webhook) error {
	return c.do(ctx, call{
		method: http.MethodPut,
		path:   "/apis/core/v2/webhooks/" + number(w.ID),
		body: webhookUpdate{
			Enabled: w.Enabled, URL: w.URL, SSLVerifyEnabled: w.SSLVerifyEnabled, Description: w.Description,
			Secret: w.Secret, Triggers: w.Triggers,
		},
		secrets: []string{w.Secret, w.URL},
	}, nil)
}

// Statuses of a Log.
const (
	StatusWaiting = "waiting"
	StatusSuccess = "success"
	StatusFailed  = "failed"
)

// Log is Horizon's record of one send.
type Log struct {
	ID, WebhookID, EventID int64
	URL                    string
	// Status is waiting, success or failed. Horizon never sends a failed one again by
	// itself. A resend is another log with the same event.
	Status       string
	ErrorMessage string
	// EventType, ResourceType, ResourceName and ResourceID come from Logs only.
	EventType, ResourceType, ResourceName string
	ResourceID                            int64
	// Created is when Horizon made the log, 3 to 5 s after the event by default.
	Created, Updated time.Time
	// RequestData, the body but for its id, and ResponseBody come from Log only.
	RequestData, ResponseBody string
}

// logBody is a log as Horizon writes it. Its requestHeaders carry the webhook's secret, and
// are not read.
type logBody struct {
	ID           int64     `json:"id"`
	WebhookID    int64     `json:"webhookID"`
	EventID      int64     `json:"eventID"`
	URL          string    `json:"url"`
	Status       string    `json:"status"`
	ErrorMessage string    `json:"errorMessage"`
	EventType    string    `json:"eventType"`
	ResourceType string    `json:"resourceType"`
	ResourceName string    `json:"resourceName"`
	ResourceID   int64     `json:"resourceID"`
	CreatedAt    time.Time `json:"createdAt"`
	UpdatedAt    time.Time `json:"updatedAt"`
	RequestData  string    `json:"requestData"`
	ResponseBody string    `json:"responseBody"`
}

func (l logBody) log() Log {
	return Log{
		ID: l.ID, WebhookID: l.WebhookID, EventID: l.EventID, URL: l.URL, Status: l.Status, ErrorMessage: l.ErrorMessage,
		EventType: l.EventType, ResourceType: l.ResourceType, ResourceName: l.ResourceName, ResourceID: l.ResourceID,
		Created: l.CreatedAt, Updated: l.UpdatedAt, RequestData: l.RequestData, ResponseBody: l.ResponseBody,
	}
}

// Logs returns a page of a webhook's logs, the latest events first, and how many there are
// in all. Pages count from 1. A log whose event has lost its object makes its whole page
// a 404.
func (c *Client) Logs(ctx context.Context, webhook int64, pageNumber, pageSize int) (logs []Log, total int, err error) {
	var list struct {
		Total int       `json:"total"`
		Items []logBody `json:"items"`
	}
	err = c.get(ctx, "/apis/core/v2/webhooks/"+number(webhook)+"/logs", page(pageNumber, pageSize), &list)
	if err != nil {
		return nil, 0, err
	}
	for _, l := range list.Items {
		logs = append(logs, l.log())
	}
	return logs, list.Total, nil
}

// Log returns a log by its number, with the body.
func (c *Client) Log(ctx context.Context, id int64) (Log, error) {
	var l logBody
	err := c.get(ctx, "/apis/core/v2/webhooklogs/"+number(id), nil, &l)
	return l.log(), err
}

func number(id int64) string { return strconv.FormatInt(id, 10) }

func page(pageNumber, pageSize int) url.Values {
	return url.Values{"pageNumber": {strconv.Itoa(pageNumber)}, "pageSize": {strconv.Itoa(pageSize)}}
}
