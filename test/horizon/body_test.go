package horizon

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// captured is where a body of each type is that Horizon has sent.
const captured = "../../internal/payload/testdata/horizon"

// The bodies are those that Horizon itself has sent of the same rows.
func TestBodies(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(captured, "*.json"))
	if err != nil || len(files) != len(supported) {
		t.Fatalf("%d bodies (%v), want one of each of %d types", len(files), err, len(supported))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.TrimSpace(string(data))
			var b body
			if err := json.Unmarshal(data, &b); err != nil {
				t.Fatal(err)
			}
			s := rows(b)
			if s.events[b.EventID].Type != name {
				t.Errorf("type %s", s.events[b.EventID].Type)
			}
			text, err := s.render(b.EventID, b.WebhookID)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(text, `{"id"`) {
				t.Errorf("the stored body has the number of the log: %s", text)
			}
			got, err := numbered(text, b.ID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("body (-Horizon +got):\n%s", diff)
			}
		})
	}
}

// rows are those that a body was made of.
func rows(b body) *store {
	s := &store{}
	s.init(time.Now)
	e := &event{Event: Event{Type: b.EventType}}
	if b.Extra != nil {
		e.Extra = *b.Extra
	}
	if u := b.User; u != nil {
		e.User = u.ID
		s.users[u.ID] = &user{name: u.Name, email: u.Email}
	}
	if a := b.Application; a != nil {
		e.ResourceID = a.ID
		s.applications[a.ID] = &application{name: a.Name, priority: a.Priority}
	}
	if c := b.Cluster; c != nil {
		e.ResourceID = c.ID
		s.clusters[c.ID] = &cluster{name: c.Name, environment: c.Env, application: 77}
		s.applications[77] = &application{name: c.ApplicationName}
	}
	if p := b.Pipelinerun; p != nil {
		e.ResourceID = p.ID
		s.pipelineruns[p.ID] = &Pipelinerun{p.ClusterID, p.Action, p.Title, p.Description, p.GitRef, p.GitRefType}
		s.clusters[p.ClusterID] = &cluster{name: p.ClusterName}
	}
	if m := b.Member; m != nil {
		e.ResourceID = m.ID
		s.members[m.ID] = &Member{m.ResourceType, m.ResourceID, m.Role, m.MemberNameID}
		if s.users[m.MemberNameID] == nil {
			s.users[m.MemberNameID] = &user{name: m.MemberName}
		}
	}
	s.events[b.EventID] = e
	return s
}
