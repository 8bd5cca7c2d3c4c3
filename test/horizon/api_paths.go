package horizon

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// child is what is in a group.
type child struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	Path      string    `json:"path"`
	ParentID  int64     `json:"parentID"`
	UpdatedAt time.Time `json:"updatedAt"`
	FullName  string    `json:"fullName"`
	FullPath  string    `json:"fullPath"`
	Type      string    `json:"type"`
	Children  []child   `json:"children"`
}

// children returns what lives in a group: groups first, the latest change first.
func (s *store) children(id int64, applications bool) ([]child, bool) {
	parent, ok := s.path(Groups, id)
	if !ok {
		return nil, false
	}
	all := []child{}
	add := func(kind string, number int64, name string, updated time.Time) {
		all = append(all, child{
			ID: number, Name: name, Path: name, ParentID: id, UpdatedAt: updated, FullName: parent + "/" + name,
			FullPath: parent + "/" + name, Type: kind,
		})
	}
	for number, g := range s.groups {
		if g.parent == id && !g.deleted {
			add("group", number, g.name, g.updatedAt)
		}
	}
	if applications {
		for number, a := range s.applications {
			if a.group == id && !a.deleted {
				add("application", number, a.name, a.updatedAt)
			}
		}
	}
	slices.SortFunc(all, func(a, b child) int {
		if a.Type != b.Type {
			return strings.Compare(b.Type, a.Type)
		}
		if order := b.UpdatedAt.Compare(a.UpdatedAt); order != 0 {
			return order
		}
		return int(a.ID - b.ID)
	})
	return all, true
}

func (h *Horizon) inGroup(r *http.Request, applications bool) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	pageNumber, pageSize, no := pageOf(r, maxPageSize)
	if no != nil {
		return nil, no
	}
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	all, ok := h.store.children(id, applications)
	if !ok {
		return nil, noSuchRow
	}
	return withTotal{len(all), cut(all, pageNumber, pageSize)}, nil
}

func (h *Horizon) listGroups(r *http.Request) (any, *refusal)   { return h.inGroup(r, false) }
func (h *Horizon) listChildren(r *http.Request) (any, *refusal) { return h.inGroup(r, true) }

func (h *Horizon) getGroup(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	path, ok := h.Path(Groups, id)
	if !ok || id == 0 { // the root has no row
		return nil, noSuchRow
	}
	return map[string]any{"id": id, "name": path[strings.LastIndexByte(path, '/')+1:], "fullPath": path}, nil
}

// clusterAnswer is a cluster as lists and look-ups have it.
type clusterAnswer struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	FullPath  string    `json:"fullPath,omitempty"`
}

func (h *Horizon) listClusters(r *http.Request) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	pageNumber, pageSize, _ := pageOf(r, 0)
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	all := []clusterAnswer{}
	for number, c := range h.store.clusters {
		if c.application == id && !c.deleted {
			all = append(all, clusterAnswer{ID: number, Name: c.name, CreatedAt: c.createdAt, UpdatedAt: c.updatedAt})
		}
	}
	slices.SortFunc(all, func(a, b clusterAnswer) int { return int(a.ID - b.ID) })
	return withTotal{len(all), cut(all, pageNumber, pageSize)}, nil
}

func (h *Horizon) getClusterByName(r *http.Request) (any, *refusal) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	for number, c := range h.store.clusters {
		if c.name == r.PathValue("name") && !c.deleted {
			path, _ := h.store.path(Clusters, number)
			return clusterAnswer{number, c.name, c.createdAt, c.updatedAt, path}, nil
		}
	}
	return nil, &refusal{http.StatusNotFound, "NotFound", "ClusterInDB not found: record not found"}
}

// searchApplications finds names that contain the filter.
func (h *Horizon) searchApplications(r *http.Request) (any, *refusal) {
	pageNumber, pageSize, _ := pageOf(r, 0)
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	type found struct {
		FullPath string `json:"fullPath"`
		FullName string `json:"fullName"`
		Name     string `json:"name"`
		ID       int64  `json:"id"`
		GroupID  int64  `json:"groupID"`
	}
	all := []found{}
	for number, a := range h.store.applications {
		path, ok := h.store.path(Applications, number)
		if ok && strings.Contains(a.name, r.URL.Query().Get("filter")) {
			all = append(all, found{path, path, a.name, number, a.group})
		}
	}
	slices.SortFunc(all, func(a, b found) int { return int(b.ID - a.ID) })
	return withTotal{len(all), cut(all, pageNumber, pageSize)}, nil
}

func (h *Horizon) getApplication(r *http.Request) (any, *refusal) {
	return h.withGitLab(r, Applications)
}
func (h *Horizon) getCluster(r *http.Request) (any, *refusal) { return h.withGitLab(r, Clusters) }

// withGitLab returns an application or a cluster with its path, once GitLab has been asked
// about it.
func (h *Horizon) withGitLab(r *http.Request, kind string) (any, *refusal) {
	id, no := idOf(r)
	if no != nil {
		return nil, no
	}
	path, ok := h.Path(kind, id)
	if !ok {
		return nil, notFound
	}
	if err := h.askGitLab(r.Context()); err != nil {
		return nil, &refusal{http.StatusInternalServerError, "InternalError", err.Error()}
	}
	return map[string]any{"id": id, "name": path[strings.LastIndexByte(path, '/')+1:], "fullPath": path}, nil
}
