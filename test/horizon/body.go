package horizon

import (
	"encoding/json"
	"errors"
)

// body is what Horizon sends, with the keys in its order.
type body struct {
	ID          int64            `json:"id,omitempty"`
	EventID     int64            `json:"eventID,omitempty"`
	WebhookID   int64            `json:"webhookID,omitempty"`
	Application *applicationInfo `json:"application,omitempty"`
	Cluster     *clusterInfo     `json:"cluster,omitempty"`
	Pipelinerun *pipelinerunInfo `json:"pipelinerun,omitempty"`
	Member      *memberInfo      `json:"member,omitempty"`
	EventType   string           `json:"eventType,omitempty"`
	User        *userInfo        `json:"user,omitempty"`
	Extra       *string          `json:"extra,omitempty"`
}

type applicationInfo struct {
	ID       int64  `json:"id"`
	Name     string `json:"name,omitempty"`
	Priority string `json:"priority,omitempty"`
}

type clusterInfo struct {
	ID              int64  `json:"id"`
	Name            string `json:"name,omitempty"`
	ApplicationName string `json:"applicationName,omitempty"`
	Env             string `json:"env,omitempty"`
}

type pipelinerunInfo struct {
	ID          int64  `json:"id"`
	ClusterID   int64  `json:"clusterID,omitempty"`
	ClusterName string `json:"clusterName,omitempty"`
	Action      string `json:"action,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	GitRef      string `json:"gitRef,omitempty"`
	GitRefType  string `json:"gitRefType,omitempty"`
}

type memberInfo struct {
	ID           int64  `json:"id"`
	ResourceID   int64  `json:"resourceID"`
	ResourceType string `json:"resourceType"`
	Role         string `json:"role"`
	MemberNameID int64  `json:"memberNameID"`
	MemberName   string `json:"memberName"`
}

type userInfo struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// errDropped says that Horizon makes no body of an event, and leaves it.
var errDropped = errors.New("no body can be made")

// render makes the body of a log, without its number, of what the database has now.
func (s *store) render(eventID, webhookID int64) (string, error) {
	e := s.events[eventID]
	b := body{EventID: eventID, WebhookID: webhookID, EventType: e.Type, Extra: &e.Extra}
	if e.User != 0 {
		u, ok := s.users[e.User]
		if !ok || u.deleted {
			return "", errDropped
		}
		b.User = &userInfo{ID: e.User, Name: u.name, Email: u.email}
	}
	switch bodyType(e.Type) {
	case Applications:
		if a := s.applications[e.ResourceID]; a != nil {
			b.Application = &applicationInfo{ID: e.ResourceID, Name: a.name, Priority: a.priority}
		}
	case Clusters:
		if c := s.clusters[e.ResourceID]; c != nil {
			b.Cluster = &clusterInfo{ID: e.ResourceID, Name: c.name, Env: c.environment}
			if a := s.applications[c.application]; a != nil {
				b.Cluster.ApplicationName = a.name
			}
		}
	case Pipelineruns:
		b.Pipelinerun = s.pipelinerunInfo(e.ResourceID)
	case Members:
		b.Member = s.memberInfo(e.ResourceID)
	}
	data, err := json.Marshal(b)
	return string(data), err
}

func (s *store) pipelinerunInfo(id int64) *pipelinerunInfo {
	p := s.pipelineruns[id]
	if p == nil {
		return nil
	}
	info := &pipelinerunInfo{
		ID: id, ClusterID: p.ClusterID, Action: p.Action, Title: p.Title, Description: p.Description,
		GitRef: p.GitRef, GitRefType: p.GitRefType,
	}
	if c := s.clusters[p.ClusterID]; c != nil {
		info.ClusterName = c.name
	}
	return info
}

func (s *store) memberInfo(id int64) *memberInfo {
	m := s.members[id]
	if m == nil {
		return nil
	}
	info := &memberInfo{ID: id, ResourceID: m.ResourceID, ResourceType: m.ResourceType, Role: m.Role, MemberNameID: m.User}
	if u := s.users[m.User]; u != nil {
		info.MemberName = u.name
	}
	return info
}

// numbered puts the number of the log into a body, for which Horizon reads and writes it
// anew.
func numbered(text string, id int64) ([]byte, error) {
	var b body
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return nil, err
	}
	b.ID = id
	return json.Marshal(b)
}
