package horizon

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// AdminPassword is that of the administrator, whose address is test@noreply.com.
const AdminPassword = "horizon-admin"

// sessionCookie is the name of the cookie of somebody who has logged in.
const sessionCookie = "horizon"

// shipped are the scopes that Horizon ships, as far as there are calls here that they allow:
// resources, and whether all verbs are.
var shipped = map[string]scope{
	"groups:read-only":        {resources: []string{"groups", "groups/groups"}},
	"groups:read-write":       {resources: []string{"groups", "groups/groups"}, write: true},
	"applications:read-only":  {resources: []string{"groups/applications", "applications"}},
	"applications:read-write": {resources: []string{"groups/applications", "applications"}, write: true},
	"clusters:read-only":      {resources: []string{"applications/clusters", "clusters"}},
	"clusters:read-write":     {resources: []string{"applications/clusters", "clusters"}, write: true},
}

// scope is what a token may do.
type scope struct {
	resources []string
	// write allows all verbs; without it, things that have a name may be read.
	write bool
}

// access is who may do what.
type access struct {
	mu       sync.Mutex // guards what follows
	scopes   map[string]scope
	tokens   map[string][]string // scopes by token
	sessions map[string]bool
	last     int
}

func (a *access) init(scopes map[string][]string) {
	a.tokens, a.sessions = map[string][]string{}, map[string]bool{}
	a.configure(scopes)
}

func (a *access) configure(scopes map[string][]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scopes = maps.Clone(shipped)
	for name, resources := range scopes {
		a.scopes[name] = scope{resources: resources, write: true}
	}
}

// secret makes up a token or a session.
func (a *access) secret(kind string) string {
	a.last++
	sum := sha256.Sum256([]byte(fmt.Sprint(kind, a.last)))
	return hex.EncodeToString(sum[:])[:40]
}

func (a *access) newToken(scopes []string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	token := "ha_" + a.secret("token")
	a.tokens[token] = slices.Clone(scopes)
	return token
}

func (a *access) newSession() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	session := a.secret("session")
	a.sessions[session] = true
	return session
}

func (a *access) revoke(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.tokens, token)
}

// bearer is how Horizon wants a token: one space, and no other.
var bearer = regexp.MustCompile(`^Bearer [^ ]*$`)

// check tells with which status a request is refused, and the code and the message of it; 0
// where it is not. What is below /apis/front wants a token, and does not look at it.
func (a *access) check(r *http.Request) (status int, code, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	header := r.Header.Get("Authorization")
	if !bearer.MatchString(header) {
		if cookie, err := r.Cookie(sessionCookie); err == nil && a.sessions[cookie.Value] {
			return 0, "", ""
		}
		return http.StatusUnauthorized, "Unauthorized", "please login"
	}
	if strings.HasPrefix(r.URL.Path, "/apis/front/") {
		return 0, "", ""
	}
	scopes, ok := a.tokens[strings.TrimPrefix(header, "Bearer ")]
	if !ok {
		return http.StatusUnauthorized, "Unauthorized", "TokenInDB not found: record not found"
	}
	for _, name := range scopes {
		if a.scopes[name].allows(r) {
			return 0, "", ""
		}
	}
	return http.StatusForbidden, "Forbidden", ""
}

// allows goes by the parts of the path: resource, name and what is below it.
func (s scope) allows(r *http.Request) bool {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 4 {
		return false
	}
	parts = parts[3:]
	resource := parts[0]
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	return slices.Contains(s.resources, resource) && (s.write || r.Method == http.MethodGet && len(parts) > 1)
}
