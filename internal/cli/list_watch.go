package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// follow prints Webhooks as they change, until the context ends: that is how one stops it.
func (l *lister) follow(ctx context.Context, c client.WithWatch, list *unstructured.UnstructuredList, options []client.ListOption) error {
	s := &webhookStream{lister: l, grid: l.grid(), rows: map[types.UID]int{}, versions: map[types.UID]string{}}
	if err := s.begin(list); err != nil {
		return err
	}
	for {
		err := s.watchOnce(ctx, c, list.GetResourceVersion(), options)
		if err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			return unlessEnded(ctx, fmt.Errorf("watching webhooks: %w", err))
		}
		// The API server ends watches now and then. What changed since is in a new list.
		list = unstructuredWebhooks()
		if err := c.List(ctx, list, options...); err != nil {
			return unlessEnded(ctx, fmt.Errorf("listing webhooks: %w", err))
		}
		if err := s.catchUp(list); err != nil {
			return err
		}
	}
}

// unlessEnded returns an error unless it comes of the end of the context.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // Ctrl-C is how one stops it
	}
	return err
}

// webhookStream prints a row for each change.
type webhookStream struct {
	*lister
	grid *grid
	// rows are where Webhooks stand in the grid, and versions what was printed of them.
	rows     map[types.UID]int
	versions map[types.UID]string
}

// begin prints what is there. Titles come with the first row, if only later.
func (s *webhookStream) begin(list *unstructured.UnstructuredList) error {
	if !s.own() {
		return s.catchUp(list)
	}
	for i := range list.Items {
		if err := s.take(&list.Items[i], ""); err != nil {
			return err
		}
	}
	if len(list.Items) == 0 {
		return s.nothing()
	}
	return s.grid.print(s.Out, s.width)
}

// take remembers a Webhook as the row that it has.
func (s *webhookStream) take(object *unstructured.Unstructured, state string) error {
	g := s.lister.grid()
	if err := s.add(g, object); err != nil {
		return err
	}
	row := g.rows[0]
	if state != "" {
		at := slices.IndexFunc(g.columns, func(c column) bool { return c.title == "STATE" })
		row[at] = state
	}
	uid := object.GetUID()
	if _, ok := s.rows[uid]; !ok {
		s.rows[uid] = len(s.grid.rows)
		s.grid.rows = append(s.grid.rows, nil)
	}
	s.grid.rows[s.rows[uid]] = row
	s.versions[uid] = object.GetResourceVersion()
	return nil
}

// catchUp prints what a list has that was not printed.
func (s *webhookStream) catchUp(list *unstructured.UnstructuredList) error {
	for i := range list.Items {
		object := &list.Items[i]
		if s.versions[object.GetUID()] == object.GetResourceVersion() {
			continue
		}
		if err := s.changed(object, ""); err != nil {
			return err
		}
	}
	return nil
}

// watchOnce prints changes until the watch ends.
func (s *webhookStream) watchOnce(ctx context.Context, c client.WithWatch, version string, options []client.ListOption) error {
	from := &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}}
	w, err := c.Watch(ctx, unstructuredWebhooks(), slices.Concat(options, []client.ListOption{from})...)
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			if event.Type == watch.Error {
				return apierrors.FromObject(event.Object)
			}
			object, ok := event.Object.(*unstructured.Unstructured)
			if !ok {
				return errors.New("the API server sent something else than webhooks")
			}
			state := ""
			if event.Type == watch.Deleted {
				state = "Deleted"
			}
			if err := s.changed(object, state); err != nil {
				return err
			}
		}
	}
}

// changed prints a Webhook that has changed. Columns are as wide as all rows so far want.
func (s *webhookStream) changed(object *unstructured.Unstructured, state string) error {
	if !s.own() {
		s.versions[object.GetUID()] = object.GetResourceVersion()
		return s.print(s.plugin, object)
	}
	first := len(s.grid.rows) == 0
	if err := s.take(object, state); err != nil {
		return err
	}
	if first {
		return s.grid.print(s.Out, s.width)
	}
	// The row goes last, and only that line is printed.
	row := s.grid.rows[s.rows[object.GetUID()]]
	all := &grid{columns: s.grid.columns, rows: slices.Concat(s.grid.rows, [][]string{row}), noHeaders: s.NoHeaders}
	var b bytes.Buffer
	if err := all.print(&b, s.width); err != nil {
		return err
	}
	text := strings.TrimSuffix(b.String(), "\n")
	_, err := fmt.Fprintln(s.Out, text[strings.LastIndexByte(text, '\n')+1:])
	return err
}
