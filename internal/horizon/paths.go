package horizon

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
)

const (
	// pageSize is the most that Horizon gives at once of what is in a group.
	pageSize = 50
	// maxItems bounds a list that is read page by page.
	maxItems = 100_000
	// readings is how often a list is read that changes meanwhile.
	readings = 6
	// maxDepth bounds how deep groups lie in each other. Their paths have 1024 characters
	// at most.
	maxDepth = 512
)

// ClusterPath returns the full path of a cluster, such as /music/player/web/web-prod. Names
// may be used again: where the living cluster of that name has another number, the one that
// is asked for is gone, and the error is one of IsNotFound.
func (c *Client) ClusterPath(ctx context.Context, name string, id int64) (string, error) {
	path := "/apis/front/v2/clusters/" + url.PathEscape(name)
	if isNoName(name) {
		return "", gone(path, "no cluster has such a name")
	}
	var cluster struct {
		ID       int64  `json:"id"`
		FullPath string `json:"fullPath"`
	}
	if err := c.get(ctx, path, nil, &cluster); err != nil {
		return "", err
	}
	if cluster.ID != id {
		return "", gone(path, fmt.Sprintf("the cluster of that name has the number %d, not %d", cluster.ID, id))
	}
	return full(path, cluster.FullPath)
}

// ApplicationPath returns the full path of an application, such as /music/player/web. Where
// no living application has that name and number, the error is one of IsNotFound.
func (c *Client) ApplicationPath(ctx context.Context, name string, id int64) (string, error) {
	const path = "/apis/front/v2/applications/searchapplications"
	if isNoName(name) { // an empty filter finds all
		return "", gone(path, "no application has such a name")
	}
	// The filter finds names that contain it, so the one may be on a later page.
	for n := 1; n <= maxItems/pageSize; n++ {
		query := page(n, pageSize)
		query.Set("filter", name)
		var list struct {
			Total int `json:"total"`
			Items []struct {
				ID       int64  `json:"id"`
				FullPath string `json:"fullPath"`
			} `json:"items"`
		}
		if err := c.get(ctx, path, query, &list); err != nil {
			return "", err
		}
		for _, a := range list.Items {
			if a.ID == id {
				return full(path, a.FullPath)
			}
		}
		if n*pageSize >= list.Total {
			break
		}
	}
	return "", gone(path, fmt.Sprintf("no application of that name has the number %d", id))
}

// ResourcePath returns the full path of an application or a cluster by its number. Horizon
// asks GitLab for it, and the call hangs while that is down.
func (c *Client) ResourcePath(ctx context.Context, kind Kind, id int64) (string, error) {
	path := "/apis/core/v2/" + string(kind) + "/" + number(id)
	var resource struct {
		FullPath string `json:"fullPath"`
	}
	if err := c.get(ctx, path, nil, &resource); err != nil {
		return "", err
	}
	return full(path, resource.FullPath)
}

// isNoName tells what would ask for something else in a path.
func isNoName(name string) bool { return name == "" || name == "." || name == ".." }

// gone is the error where Horizon has something else in the place of what was asked for.
func gone(path, message string) error {
	return &StatusError{Code: http.StatusNotFound, Method: http.MethodGet, Path: path, Message: message}
}

// full returns a full path, and an error where Horizon leaves it out.
func full(asked, path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("asking Horizon: GET %s: the answer has no fullPath", asked)
	}
	return path, nil
}

// Resource is a group, an application or a cluster.
type Resource struct {
	Kind Kind
	ID   int64
	Name string
	// Path is the full one, such as /music/player; / for the root group.
	Path string
}

// Walk goes over all that Horizon has: each group from the root on, and then what is in it,
// so that a resource comes after the one that it is in. What is deleted meanwhile may be
// missing. It ends with the first error.
func (c *Client) Walk(ctx context.Context) iter.Seq2[Resource, error] {
	return func(yield func(Resource, error) bool) {
		c.walk(ctx, Resource{Kind: Groups, ID: RootGroup, Path: "/"}, 0, yield)
	}
}

// walk goes over a resource and what is in it, and tells whether to go on.
func (c *Client) walk(ctx context.Context, r Resource, depth int, yield func(Resource, error) bool) bool {
	if depth > maxDepth {
		yield(Resource{}, fmt.Errorf("asking Horizon: %s lies in more than %d groups", r.Path, maxDepth))
		return false
	}
	if !yield(r, nil) {
		return false
	}
	var inside []Resource
	var err error
	switch r.Kind {
	case Groups:
		inside, err = c.Children(ctx, r.ID)
	case Applications:
		inside, err = c.ClustersOf(ctx, r)
	default:
		return true
	}
	if IsNotFound(err) && r.ID != RootGroup {
		return true
	}
	if err != nil {
		yield(Resource{}, err)
		return false
	}
	for _, child := range inside {
		if !c.walk(ctx, child, depth+1, yield) {
			return false
		}
	}
	return true
}

// Children returns the groups and the applications directly in a group.
func (c *Client) Children(ctx context.Context, group int64) ([]Resource, error) {
	type child struct {
		ID       int64  `json:"id"`
		Name     string `json:"name"`
		FullPath string `json:"fullPath"`
		Type     string `json:"type"`
	}
	path := "/apis/front/v2/groups/" + number(group) + "/children"
	return list(ctx, c, path, func(item child) (Resource, error) {
		r := Resource{ID: item.ID, Name: item.Name, Path: item.FullPath}
		switch item.Type {
		case "group":
			r.Kind = Groups
		case "application":
			r.Kind = Applications
		default:
			return r, fmt.Errorf("asking Horizon: GET %s: %d is of the type %q, which is not known", path, item.ID, item.Type)
		}
		return r, nil
	})
}

// ClustersOf returns the clusters of an application. Horizon's list has no paths: they are
// made of the application's.
func (c *Client) ClustersOf(ctx context.Context, application Resource) ([]Resource, error) {
	type cluster struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}
	path := "/apis/core/v2/applications/" + number(application.ID) + "/clusters"
	return list(ctx, c, path, func(item cluster) (Resource, error) {
		return Resource{Kind: Clusters, ID: item.ID, Name: item.Name, Path: application.Path + "/" + item.Name}, nil
	})
}

// list reads all pages of a list. Horizon sorts by the time of the latest change, so what is
// deleted or changed between two requests moves others from one page to another, unseen. A
// list of several pages is read until it is the same twice.
func list[T any](ctx context.Context, c *Client, path string, read func(T) (Resource, error)) ([]Resource, error) {
	var before []Resource
	for range readings {
		all, pages, err := listOnce(ctx, c, path, read)
		if err != nil || pages == 1 || slices.Equal(all, before) {
			return all, err
		}
		before = all
	}
	return nil, fmt.Errorf("asking Horizon: GET %s: the list changed while it was read, %d times", path, readings)
}

// listOnce reads all pages, and tells how many there were.
func listOnce[T any](ctx context.Context, c *Client, path string, read func(T) (Resource, error)) (all []Resource, pages int, err error) {
	for n := 1; ; n++ {
		var answer struct {
			Total int `json:"total"`
			Items []T `json:"items"`
		}
		if err := c.get(ctx, path, page(n, pageSize), &answer); err != nil {
			return nil, 0, err
		}
		if answer.Total > maxItems {
			return nil, 0, fmt.Errorf("asking Horizon: GET %s: %d items, more than the %d that are read", path, answer.Total, maxItems)
		}
		for _, item := range answer.Items {
			r, err := read(item)
			if err != nil {
				return nil, 0, err
			}
			all = append(all, r)
		}
		if n*pageSize >= answer.Total {
			return all, n, nil
		}
	}
}
