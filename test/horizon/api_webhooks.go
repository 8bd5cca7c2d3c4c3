package horizon

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// urlPattern is all that Horizon wants of a URL.
var urlPattern = regexp.MustCompile(`^http(s)?://.+$`)

// webhookAnswer is a webhook as Horizon answers it: without its resource.
type webhookAnswer struct {
	Webhook
	ID        int64     `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

func (w *webhook) answer(id int64) webhookAnswer {
	return webhookAnswer{w.Webhook, id, w.createdAt, w.updatedAt}
}

func (h *Horizon) listWebhooks(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	var all []webhookAnswer // null where there are none
	for number, w := range h.store.webhooks {
		if w.resourceType == r.PathValue("type") && w.resourceID == id {
			all = append(all, w.answer(number))
		}
	}
	slices.SortFunc(all, func(a, b webhookAnswer) int { return int(b.ID - a.ID) })
	return withTotal{len(all), all}, nil
}

func (h *Horizon) createWebhook(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	var w Webhook
	kind := r.PathValue("type")
	switch err := json.NewDecoder(r.Body).Decode(&w); {
	case err != nil:
		return nil, invalid("invalid request body, err: " + err.Error())
	case !slices.Contains([]string{Groups, Applications, Clusters}, kind):
		return nil, invalid("invalid resource type " + kind)
	case !urlPattern.MatchString(w.URL):
		return nil, invalid("invalid url, should satisfies the pattern " + urlPattern.String())
	case w.SSLVerifyEnabled && !strings.HasPrefix(w.URL, "https"):
		return nil, invalid("sslVerifyEnabled is only valid for https")
	case len(w.Triggers) == 0:
		return nil, invalid("events should not be empty")
	}
	if no := checkTriggers(w.Triggers); no != nil {
		return nil, no
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	number := h.store.addWebhook(kind, id, w)
	return h.store.webhooks[number].answer(number), nil
}

func checkTriggers(triggers []string) *refusal {
	for _, trigger := range triggers {
		if _, ok := supported[trigger]; !ok && trigger != "*" {
			return invalid("invalid event: " + trigger)
		}
	}
	return nil
}

func (h *Horizon) getWebhook(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	w := h.store.webhooks[id]
	if w == nil {
		return nil, notFound
	}
	return w.answer(id), nil
}

func (h *Horizon) updateWebhook(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	var given struct {
		Enabled                  *bool
		URL, Description, Secret *string
		SSLVerifyEnabled         *bool
		Triggers                 []string
	}
	if err := json.NewDecoder(r.Body).Decode(&given); err != nil {
		return nil, invalid("invalid request body, err: " + err.Error())
	}
	if given.URL != nil && !urlPattern.MatchString(*given.URL) {
		return nil, invalid("invalid url, should satisfies the pattern " + urlPattern.String())
	}
	if no := checkTriggers(given.Triggers); no != nil {
		return nil, no
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	w := h.store.webhooks[id]
	if w == nil {
		return nil, notFound
	}
	set(&w.Enabled, given.Enabled)
	set(&w.URL, given.URL)
	set(&w.Description, given.Description)
	set(&w.Secret, given.Secret)
	if len(given.Triggers) > 0 {
		w.Triggers = given.Triggers
	}
	w.updatedAt = h.store.now()
	told := w.answer(id)
	set(&told.SSLVerifyEnabled, given.SSLVerifyEnabled) // answered, and not stored
	return told, nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (h *Horizon) removeWebhook(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no == nil {
		h.DeleteWebhook(id)
	}
	return nil, no
}

// logSummary is a log as a list has it.
type logSummary struct {
	ID           int64     `json:"id"`
	WebhookID    int64     `json:"webhookID"`
	EventID      int64     `json:"eventID"`
	URL          string    `json:"url"`
	Status       string    `json:"status"`
	ResourceType string    `json:"resourceType"`
	ResourceName string    `json:"resourceName"`
	ResourceID   int64     `json:"resourceID"`
	EventType    string    `json:"eventType"`
	Extra        *string   `json:"extra"`
	ErrorMessage string    `json:"errorMessage"`
	CreatedAt    time.Time `json:"createdAt"`
	UpdatedAt    time.Time `json:"updatedAt"`
}

func (l *Log) summary() logSummary {
	return logSummary{
		ID: l.ID, WebhookID: l.WebhookID, EventID: l.EventID, URL: l.URL, Status: l.Status, ErrorMessage: l.ErrorMessage,
		CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt,
	}
}

func (h *Horizon) listLogs(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	pageNumber, pageSize, _ := pageOf(r, 0)
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.webhooks[id] == nil {
		return nil, notFound // of who is asked whether it may be read
	}
	all := s.logsOf(id)
	slices.SortStableFunc(all, s.byEvent)
	var items []logSummary
	for _, l := range cut(all, pageNumber, pageSize) {
		e := s.events[l.EventID]
		item := l.summary()
		item.ResourceType, item.ResourceID, item.EventType = e.resourceType, e.ResourceID, e.Type
		switch e.resourceType {
		case Applications:
			a := s.applications[e.ResourceID]
			if a == nil {
				return nil, &refusal{http.StatusNotFound, "NotFound", "ApplicationInDB not found: record not found"}
			}
			item.ResourceName = a.name
		case Clusters:
			c := s.clusters[e.ResourceID]
			if c == nil {
				return nil, &refusal{http.StatusNotFound, "NotFound", "ClusterInDB not found: record not found"}
			}
			item.ResourceName = c.name
		}
		items = append(items, item)
	}
	return withTotal{len(all), items}, nil
}

func (h *Horizon) getLog(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	l := h.store.logs[id]
	if l == nil {
		return nil, notFound
	}
	return struct { // which does not say what the event was
		logSummary
		RequestHeaders  string `json:"requestHeaders"`
		RequestData     string `json:"requestData"`
		ResponseHeaders string `json:"responseHeaders"`
		ResponseBody    string `json:"responseBody"`
	}{l.summary(), l.headers, l.Body, l.responseHeaders, l.ResponseBody}, nil
}

func (h *Horizon) resendLog(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	again, ok := h.Resend(id)
	if !ok {
		return nil, notFound
	}
	return map[string]any{"ID": again, "Status": Waiting}, nil
}
