// Package table lists and watches deliveries and events as the rows of kubectl get, without
// the objects: of 30 000 deliveries that is 5.5 MB instead of 82.
package table

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/follow"
)

const (
	// pageSize is how many rows are asked for at a time. Memory depends on it, and not on
	// how many objects there are.
	pageSize = 2000
	// listTries is how often a list is begun anew whose pages the API server no longer
	// has: it keeps them for five minutes.
	listTries = 3
)

// codecs decode a Table, which is of meta.k8s.io/v1.
var codecs = func() runtime.NegotiatedSerializer {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, metav1.Unversioned)
	_ = metav1.AddMetaToScheme(s)
	return serializer.NewCodecFactory(s).WithoutConversion()
}()

// Client reads tables, with the rights of its configuration. It may be used concurrently.
type Client struct {
	api rest.Interface

	mu sync.Mutex
	// columns are those of each resource, as the API server last told them: it does so once
	// in a list or a watch, and not always with a row.
	columns map[string][]metav1.TableColumnDefinition
}

// NewClient returns a client of the cluster that a configuration names.
func NewClient(config *rest.Config) (*Client, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion = &v1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = codecs
	api, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &Client{api: api, columns: map[string][]metav1.TableColumnDefinition{}}, nil
}

// Query says which rows are asked for.
type Query struct {
	Resource  Resource
	Namespace string // empty: all
	// Labels and Fields are selectors, as kubectl takes them.
	Labels, Fields string
	// Metadata asks for the annotations, too: seven times as much to read.
	Metadata bool
	// Matches is asked for what the API server cannot select by; nil: everything does.
	Matches func(*Row) bool
}

// Wants tells whether a row that the API server has selected is among those asked for.
func (q Query) Wants(row *Row) bool { return q.Matches == nil || q.Matches(row) }

// request is a list or a watch. Rows of all namespaces need the metadata for theirs.
func (c *Client) request(q Query, options metav1.ListOptions) *rest.Request {
	include := metav1.IncludeNone
	if q.Metadata || q.Namespace == "" {
		include = metav1.IncludeMetadata
	}
	options.LabelSelector, options.FieldSelector = q.Labels, q.Fields
	return c.api.Get().Namespace(q.Namespace).Resource(q.Resource.Name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").
		VersionedParams(&options, metav1.ParameterCodec).
		Param("includeObject", string(include))
}

// Each calls each for every row, page by page, and returns the version from which a watch
// sees what has changed since. begin is called before the first page, and again where the
// list has to begin anew.
func (c *Client) Each(ctx context.Context, q Query, begin func(), each func(*Row)) (version string, err error) {
	for range listTries {
		begin()
		version, err = c.pages(ctx, q, each)
		if !follow.Expired(err) {
			return version, err
		}
	}
	return "", fmt.Errorf("listing %s takes longer than the API server keeps the list: %w", q.Resource.Name, err)
}

func (c *Client) pages(ctx context.Context, q Query, each func(*Row)) (version string, err error) {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		table := &metav1.Table{}
		if err := c.request(q, options).Do(ctx).Into(table); err != nil {
			return "", err
		}
		rows, err := c.Rows(q, table)
		if err != nil {
			return "", err
		}
		for _, row := range rows {
			if q.Wants(row) {
				each(row)
			}
		}
		version = table.ResourceVersion
		if options.Continue = table.Continue; options.Continue == "" {
			return version, nil
		}
	}
}

// Count returns how many rows there are.
func (c *Client) Count(ctx context.Context, q Query) (int, error) {
	n := 0
	if _, err := c.Each(ctx, q, func() { n = 0 }, func(*Row) { n++ }); err != nil {
		return 0, fmt.Errorf("counting %s: %w", q.Resource.Name, err)
	}
	return n, nil
}

// Watch watches rows from a version on. Its events have tables, which Rows reads; Matches is
// the caller's to ask.
func (c *Client) Watch(ctx context.Context, q Query, version string) (watch.Interface, error) {
	return c.request(q, metav1.ListOptions{Watch: true, ResourceVersion: version, AllowWatchBookmarks: true}).Watch(ctx)
}

// Rows reads the rows of a list's table, or of that of a watch's event, whatever Matches
// says of them.
func (c *Client) Rows(q Query, object runtime.Object) ([]*Row, error) {
	table, ok := object.(*metav1.Table)
	if !ok {
		return nil, fmt.Errorf("the API server sent a %T where a table was asked for", object)
	}
	c.mu.Lock()
	if len(table.ColumnDefinitions) > 0 {
		c.columns[q.Resource.Name] = table.ColumnDefinitions
	}
	columns := c.columns[q.Resource.Name]
	c.mu.Unlock()
	return q.Resource.rows(table, columns, q.Namespace)
}
