package horizon

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kinds of resources, as Horizon calls them.
const (
	Groups       = "groups"
	Applications = "applications"
	Clusters     = "clusters"
	Pipelineruns = "pipelineruns"
	Members      = "members"
)

// Admin is the number of the administrator.
const Admin int64 = 1

// Webhook is what can be written of a webhook.
type Webhook struct {
	Enabled          bool     `json:"enabled"`
	URL              string   `json:"url"`
	SSLVerifyEnabled bool     `json:"sslVerifyEnabled"`
	Description      string   `json:"description"`
	Secret           string   `json:"secret"`
	Triggers         []string `json:"triggers"`
}

// Event is something that happens.
type Event struct {
	// Type, such as clusters_deployed. It may be one that Horizon does not know.
	Type string
	// ResourceID is the number of what the type is about: an application, a cluster, a
	// pipelinerun or a member.
	ResourceID int64
	// User who did it; 0 for nobody.
	User  int64
	Extra string
}

// Pipelinerun is one of a cluster's.
type Pipelinerun struct {
	ClusterID                                      int64
	Action, Title, Description, GitRef, GitRefType string
}

// Member is a user's role in an application or a cluster.
type Member struct {
	// ResourceType is Groups, Applications or Clusters.
	ResourceType string
	ResourceID   int64
	Role         string
	User         int64
}

// Statuses of a log.
const (
	Waiting = "waiting"
	Success = "success"
	Failed  = "failed"
)

// Log is the record of one send.
type Log struct {
	ID, WebhookID, EventID int64
	URL                    string
	// Secret and Body are those of the time when the log was made. The body gets the
	// log's number when it is sent.
	Secret, Body             string
	Status                   string
	ErrorMessage             string
	ResponseBody             string
	CreatedAt, UpdatedAt     time.Time
	responseHeaders, headers string
}

// store is Horizon's database. Rows that are deleted stay, but for those that are purged.
type store struct {
	now func() time.Time

	mu           sync.Mutex // guards what follows
	groups       map[int64]*group
	applications map[int64]*application
	clusters     map[int64]*cluster
	pipelineruns map[int64]*Pipelinerun
	members      map[int64]*Member
	users        map[int64]*user
	webhooks     map[int64]*webhook
	events       map[int64]*event
	logs         map[int64]*Log
	last         map[string]int64 // the last number of each table
	// firstCursor is the oldest row of the table of cursors, -1 before there is one.
	firstCursor int64
	// position is up to which number events were read in this life.
	position int64
}

type group struct {
	parent    int64
	name      string
	deleted   bool
	updatedAt time.Time
}

type application struct {
	group                int64
	name, priority       string
	deleted              bool
	createdAt, updatedAt time.Time
}

type cluster struct {
	application          int64
	name, environment    string
	deleted              bool
	createdAt, updatedAt time.Time
}

type user struct {
	name, email string
	deleted     bool
}

type webhook struct {
	Webhook
	resourceType         string
	resourceID           int64
	createdAt, updatedAt time.Time
}

type event struct {
	Event
	// resourceType is that of the row, which for one type is not that of the body.
	resourceType string
	createdAt    time.Time
}

func (s *store) init(now func() time.Time) {
	s.now = func() time.Time { return now().UTC().Truncate(time.Second) } // the database keeps whole seconds
	s.groups, s.applications, s.clusters = map[int64]*group{}, map[int64]*application{}, map[int64]*cluster{}
	s.pipelineruns, s.members = map[int64]*Pipelinerun{}, map[int64]*Member{}
	s.users = map[int64]*user{Admin: {name: "admin", email: "test@noreply.com"}}
	s.webhooks, s.events, s.logs = map[int64]*webhook{}, map[int64]*event{}, map[int64]*Log{}
	s.last = map[string]int64{"users": Admin}
	s.firstCursor = -1
}

// next is the next number of a table.
func (s *store) next(table string) int64 {
	s.last[table]++
	return s.last[table]
}

// AddGroup adds a group to another; 0 is the root.
func (h *Horizon) AddGroup(parent int64, name string) int64 {
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next(Groups)
	s.groups[id] = &group{parent: parent, name: name, updatedAt: s.now()}
	return id
}

// AddApplication adds an application to a group.
func (h *Horizon) AddApplication(group int64, name, priority string) int64 {
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next(Applications)
	s.applications[id] = &application{group: group, name: name, priority: priority, createdAt: s.now(), updatedAt: s.now()}
	return id
}

// AddCluster adds a cluster to an application.
func (h *Horizon) AddCluster(application int64, name, environment string) int64 {
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next(Clusters)
	s.clusters[id] = &cluster{application: application, name: name, environment: environment, createdAt: s.now(), updatedAt: s.now()}
	return id
}

// AddPipelinerun adds a pipelinerun.
func (h *Horizon) AddPipelinerun(p Pipelinerun) int64 {
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next(Pipelineruns)
	s.pipelineruns[id] = &p
	return id
}

// AddMember adds a member.
func (h *Horizon) AddMember(m Member) int64 {
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next(Members)
	s.members[id] = &m
	return id
}

// AddUser adds a user.
func (h *Horizon) AddUser(name, email string) int64 {
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next("users")
	s.users[id] = &user{name: name, email: email}
	return id
}

// DeleteUser deletes a user: what they did and was not told yet never is.
func (h *Horizon) DeleteUser(id int64) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	h.store.users[id].deleted = true
}

// SetPriority changes an application. Bodies that are rendered from now on have it.
func (h *Horizon) SetPriority(id int64, priority string) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	h.store.applications[id].priority = priority
	h.store.applications[id].updatedAt = h.store.now()
}

// Transfer puts a group or an application into another group. Nobody is told.
func (h *Horizon) Transfer(kind string, id, group int64) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	switch kind {
	case Groups:
		h.store.groups[id].parent = group
	case Applications:
		h.store.applications[id].group = group
	}
}

// Delete deletes a group, an application or a cluster, and tells nobody. Its name may be
// used again.
func (h *Horizon) Delete(kind string, id int64) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	switch kind {
	case Groups:
		h.store.groups[id].deleted = true
	case Applications:
		h.store.applications[id].deleted = true
	case Clusters:
		h.store.clusters[id].deleted = true
	}
}

// Purge takes an application or a cluster out of the database, as if it had never been. Pages
// of logs with an event of it are 404 from now on.
func (h *Horizon) Purge(kind string, id int64) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	switch kind {
	case Applications:
		delete(h.store.applications, id)
	case Clusters:
		delete(h.store.clusters, id)
	}
}

// AddWebhook adds a webhook to a resource, without the checks of the REST call: databases
// have what older versions let through.
func (h *Horizon) AddWebhook(kind string, id int64, w Webhook) int64 {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.store.addWebhook(kind, id, w)
}

func (s *store) addWebhook(kind string, id int64, w Webhook) int64 {
	number := s.next("webhooks")
	w.Triggers = slices.Clone(w.Triggers)
	s.webhooks[number] = &webhook{Webhook: w, resourceType: kind, resourceID: id, createdAt: s.now(), updatedAt: s.now()}
	return number
}

// Webhook returns a webhook by its number, and whether there is one.
func (h *Horizon) Webhook(id int64) (Webhook, bool) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	w, ok := h.store.webhooks[id]
	if !ok {
		return Webhook{}, false
	}
	return w.Webhook, true
}

// DeleteWebhook deletes a webhook and its logs.
func (h *Horizon) DeleteWebhook(id int64) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	h.store.deleteWebhook(id)
}

func (s *store) deleteWebhook(id int64) {
	delete(s.webhooks, id)
	maps.DeleteFunc(s.logs, func(_ int64, l *Log) bool { return l.WebhookID == id })
}

// Record lets something happen, and returns the number of the event.
func (h *Horizon) Record(e Event) int64 {
	id := h.Reserve()
	h.Commit(id, e)
	return id
}

// Reserve takes the number of an event that commits later. Where a higher one is read before
// it commits, it is never told, until a restart.
func (h *Horizon) Reserve() int64 {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.store.next("events")
}

// Commit stores the event of a reserved number.
func (h *Horizon) Commit(id int64, e Event) {
	s := &h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[id] = &event{Event: e, resourceType: rowType(e.Type), createdAt: s.now()}
}

// bodyType is the kind of resource that the body of an event has a block of.
func bodyType(eventType string) string {
	family, _, _ := strings.Cut(eventType, "_")
	if family == "clsuters" {
		return Clusters
	}
	return family
}

// rowType is the kind that the row of an event names. That of a restart is the application's,
// with the number of the cluster.
func rowType(eventType string) string {
	if kind := bodyType(eventType); !strings.HasPrefix(eventType, "clsuters_") {
		return kind
	}
	return Applications
}

// Path returns the full path of what lives, and whether it does.
func (h *Horizon) Path(kind string, id int64) (string, bool) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.store.path(kind, id)
}

func (s *store) path(kind string, id int64) (string, bool) {
	switch kind {
	case Groups:
		if id == 0 {
			return "", true
		}
		if g, ok := s.groups[id]; ok && !g.deleted {
			return s.below(Groups, g.parent, g.name)
		}
	case Applications:
		if a, ok := s.applications[id]; ok && !a.deleted {
			return s.below(Groups, a.group, a.name)
		}
	case Clusters:
		if c, ok := s.clusters[id]; ok && !c.deleted {
			return s.below(Applications, c.application, c.name)
		}
	}
	return "", false
}

func (s *store) below(kind string, id int64, name string) (string, bool) {
	parent, ok := s.path(kind, id)
	return parent + "/" + name, ok
}

// Logs returns the logs of a webhook, in the order of their numbers.
func (h *Horizon) Logs(webhook int64) []Log {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	var all []Log
	for _, l := range h.store.logsOf(webhook) {
		all = append(all, *l)
	}
	return all
}

func (s *store) logsOf(webhook int64) []*Log {
	var all []*Log
	for _, l := range s.logs {
		if l.WebhookID == webhook {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b *Log) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// EventIDs returns the numbers of the events that a webhook has logs of, in ascending order,
// each once.
func (h *Horizon) EventIDs(webhook int64) []int64 {
	var all []int64
	for _, l := range h.Logs(webhook) {
		all = append(all, l.EventID)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
