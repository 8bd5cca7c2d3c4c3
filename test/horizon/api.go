package horizon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxPageSize is the most that is given of what is in a group at once.
const maxPageSize = 50

// serve answers a request.
func (h *Horizon) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	intercept := h.intercept
	h.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	h.routes.ServeHTTP(w, r)
}

// handler answers a request with data, or refuses it.
type handler func(h *Horizon, r *http.Request) (any, *refusal)

// refusal is an answer that says no.
type refusal struct {
	status        int
	code, message string
}

var (
	notFound  = &refusal{http.StatusNotFound, "NotFound", "not found: record not found"}
	noSuchRow = &refusal{http.StatusNotFound, "RecordNotFound", "record not found"}
)

func invalid(message string) *refusal {
	return &refusal{http.StatusBadRequest, "InvalidParam", message}
}

// paths are the calls that there are.
var paths = map[string]handler{
	"GET /apis/core/v2/{type}/{id}/webhooks":             (*Horizon).listWebhooks,
	"POST /apis/core/v2/{type}/{id}/webhooks":            (*Horizon).createWebhook,
	"GET /apis/core/v2/webhooks/{id}":                    (*Horizon).getWebhook,
	"PUT /apis/core/v2/webhooks/{id}":                    (*Horizon).updateWebhook,
	"DELETE /apis/core/v2/webhooks/{id}":                 (*Horizon).removeWebhook,
	"GET /apis/core/v2/webhooks/{id}/logs":               (*Horizon).listLogs,
	"GET /apis/core/v2/webhooklogs/{id}":                 (*Horizon).getLog,
	"POST /apis/core/v2/webhooklogs/{id}/resend":         (*Horizon).resendLog,
	"GET /apis/core/v2/groups/{id}":                      (*Horizon).getGroup,
	"GET /apis/core/v2/groups/{id}/groups":               (*Horizon).listGroups,
	"GET /apis/front/v2/groups/{id}/children":            (*Horizon).listChildren,
	"GET /apis/core/v2/applications/{id}":                (*Horizon).getApplication,
	"GET /apis/core/v2/applications/{id}/clusters":       (*Horizon).listClusters,
	"GET /apis/core/v2/clusters/{id}":                    (*Horizon).getCluster,
	"GET /apis/front/v2/clusters/{name}":                 (*Horizon).getClusterByName,
	"GET /apis/front/v2/applications/searchapplications": (*Horizon).searchApplications,
	"GET /apis/core/v2/supportevents":                    (*Horizon).listSupportEvents,
	"POST /apis/core/v2/{type}/{id}/accesstokens":        (*Horizon).createToken,
}

// newRoutes joins the calls; all but the log-in want a token or a session.
func (h *Horizon) newRoutes() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range paths {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if status, code, message := h.access.check(r); status != 0 {
				answer(w, status, map[string]any{"errorCode": code, "errorMessage": message, "requestID": "0"})
				return
			}
			data, no := handle(h, r)
			if no != nil {
				answer(w, no.status, map[string]any{"errorCode": no.code, "errorMessage": no.message, "requestID": "0"})
				return
			}
			if data == nil {
				answer(w, http.StatusOK, map[string]any{})
				return
			}
			answer(w, http.StatusOK, map[string]any{"data": data})
		})
	}
	mux.HandleFunc("POST /apis/core/v2/users/login", h.login)
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	return mux
}

func answer(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	data, err := json.Marshal(content)
	if err != nil {
		status, data = http.StatusInternalServerError, nil
	}
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// withTotal is how Horizon answers with a list.
type withTotal struct {
	Total int `json:"total"`
	Items any `json:"items"`
}

// idOf is the number in the path.
func idOf(r *http.Request) (int64, *refusal) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 0 {
		return 0, invalid("invalid id: " + r.PathValue("id"))
	}
	return id, nil
}

// pageOf are the number and the size of a page. Where atMost is not 0, mistakes are refused;
// elsewhere they are defaults.
func pageOf(r *http.Request, atMost int) (pageNumber, pageSize int, no *refusal) {
	values := [2]int{1, 20}
	for i, name := range []string{"pageNumber", "pageSize"} {
		text := r.URL.Query().Get(name)
		n, err := strconv.Atoi(text)
		switch {
		case text != "" && atMost > 0 && (err != nil || n <= 0 || i == 1 && n > atMost):
			return 0, 0, &refusal{http.StatusBadRequest, "InvalidRequestParam", "invalid param, " + name + ": " + text}
		case err == nil && n > 0:
			values[i] = n
		}
	}
	return values[0], values[1], nil
}

// cut returns a page of a list.
func cut[T any](all []T, pageNumber, pageSize int) []T {
	from := min((pageNumber-1)*pageSize, len(all))
	return all[from:min(from+pageSize, len(all))]
}

// login begins a session of the administrator's.
func (h *Horizon) login(w http.ResponseWriter, r *http.Request) {
	var given struct{ Email, Password string }
	if err := json.NewDecoder(r.Body).Decode(&given); err != nil || given.Email == "" || given.Password == "" {
		answer(w, http.StatusBadRequest, map[string]any{"errorCode": "InvalidParam", "errorMessage": "request body is invalid"})
		return
	}
	sum := sha256.Sum256([]byte(AdminPassword))
	if given.Email != "test@noreply.com" || !strings.EqualFold(given.Password, hex.EncodeToString(sum[:])) {
		answer(w, http.StatusUnauthorized, map[string]any{
			"errorCode": "Unauthorized", "errorMessage": "login failed: email or password is incorrect!",
		})
		return
	}
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Value: h.access.newSession(), Path: "/", HttpOnly: true})
	answer(w, http.StatusOK, map[string]any{})
}

func (h *Horizon) createToken(r *http.Request) (any, *refusal) {
	var given struct {
		Name      string   `json:"name"`
		Role      string   `json:"role"`
		Scopes    []string `json:"scopes"`
		ExpiresAt string   `json:"expiresAt"`
	}
	if err := json.NewDecoder(r.Body).Decode(&given); err != nil || given.Name == "" {
		return nil, invalid("invalid request body")
	}
	if given.ExpiresAt != "never" {
		if _, err := time.Parse(time.DateOnly, given.ExpiresAt); err != nil {
			return nil, invalid("invalid expiration time")
		}
	}
	return map[string]any{
		"name": given.Name, "role": given.Role, "scopes": given.Scopes, "expiresAt": given.ExpiresAt, "id": 1,
		"createdAt": h.store.now(), "token": h.access.newToken(given.Scopes),
	}, nil
}

// supported are the types that Horizon knows.
var supported = map[string]string{
	"applications_created":      "New application has been created",
	"applications_deleted":      "Application has been deleted",
	"applications_transferred":  "Application has been transferred to another group",
	"applications_updated":      "Application has been updated",
	"clusters_created":          "New cluster has been created",
	"clusters_deleted":          "Cluster has been deleted",
	"clusters_updated":          "Cluster has been updated",
	"clusters_builddeployed":    "Cluster has completed a build task and triggered a deploy task",
	"clusters_deployed":         "Cluster has triggered a deploying task",
	"clusters_rollbacked":       "Cluster has triggered a rollback task",
	"clusters_freed":            "Cluster has been freed",
	"clsuters_restarted":        "Cluster has been restarted",
	"clusters_action":           "Cluster has triggered an action",
	"clusters_rescheduled":      "Pods has been deleted to reschedule",
	"clusters_kubernetes_event": "Kubernetes event associated with cluster has been triggered",
	"members_created":           "New member has been created",
	"members_updated":           "Member has been updated",
	"members_deleted":           "Member has been deleted",
	"pipelineruns_created":      "New pipelinerun has been created",
	"pipelineruns_cancelled":    "Pipelinerun has been cancelled",
	"pipelineruns_executed":     "Pipelinerun has been executed",
}

func (h *Horizon) listSupportEvents(*http.Request) (any, *refusal) { return supported, nil }
