package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// objectPage is how many whole deliveries are read at a time, of a few kB each.
const objectPage = 100

func (l *logs) format() string { return *l.flags.OutputFormat }

// streams tells whether the objects are printed one after the other, so that they need not
// be in memory together: a JSONPath or a template is asked of the whole list.
func (l *logs) streams() bool { return slices.Contains([]string{"json", "yaml", "name"}, l.format()) }

// printEach prints each delivery by itself, as kubectl get -w does.
func (l *logs) printEach(ctx context.Context, rows []*table.Row) error {
	for _, row := range rows {
		object, err := l.object(ctx, row)
		if object == nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := l.print(l.plugin, object); err != nil {
			return err
		}
	}
	return nil
}

// printList prints deliveries as kubectl get prints a list.
func (l *logs) printList(ctx context.Context, rows []*table.Row) error {
	if !l.streams() {
		list := listOf()
		for _, row := range rows {
			object, err := l.object(ctx, row)
			if err != nil {
				return err
			}
			if object != nil {
				list.Items = append(list.Items, *object)
			}
		}
		return l.print(l.plugin, list)
	}
	s := &objectStream{logs: l, out: l.Out}
	for _, row := range rows {
		object, err := l.object(ctx, row)
		if err != nil {
			return err
		}
		if object == nil {
			continue
		}
		if err := s.add(object); err != nil {
			return err
		}
	}
	return s.end()
}

// object reads a whole delivery; nil for one that is gone. Its name is all of it that -o
// name takes.
func (l *logs) object(ctx context.Context, row *table.Row) (*unstructured.Unstructured, error) {
	object := newUnstructuredDelivery()
	object.SetNamespace(row.Namespace)
	object.SetName(row.Name)
	if l.format() == "name" {
		return object, nil
	}
	c, err := l.client()
	if err != nil {
		return nil, err
	}
	err = c.Get(ctx, client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the delivery %s: %w", row.Name, err)
	}
	return object, nil
}

// streamAll prints all deliveries that match, a page of them in memory at a time, in the
// order of the API.
func (l *logs) streamAll(ctx context.Context) error {
	c, err := l.client()
	if err != nil {
		return err
	}
	s := &objectStream{logs: l, out: l.Out}
	options := &client.ListOptions{Namespace: l.query.Namespace, Limit: objectPage}
	if options.LabelSelector, err = labels.Parse(l.query.Labels); err != nil {
		return err
	}
	if options.FieldSelector, err = fields.ParseSelector(l.query.Fields); err != nil {
		return err
	}
	for {
		page := newUnstructuredList()
		if err := c.List(ctx, page, options); err != nil {
			return err
		}
		for i := range page.Items {
			object := &page.Items[i]
			if !l.query.Wants(table.RowOf(object)) {
				continue
			}
			if err := s.add(object); err != nil {
				return err
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return s.end()
		}
	}
}

func newUnstructuredDelivery() *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookDelivery"))
	return object
}

func newUnstructuredList() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookDeliveryList"))
	return list
}

// What kubectl writes around the items of a list.
const (
	jsonHead = "{\n    \"apiVersion\": \"v1\",\n    \"items\": ["
	jsonTail = "],\n    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n"
	yamlHead = "apiVersion: v1\nitems:"
	yamlTail = "kind: List\nmetadata:\n  resourceVersion: \"\"\n"
)

// objectStream writes a list of objects one after the other, as kubectl writes it at one
// go.
type objectStream struct {
	*logs
	out   io.Writer
	items int
}

func (s *objectStream) add(object *unstructured.Unstructured) error {
	text, err := s.item(object)
	if err != nil {
		return err
	}
	between := ""
	switch format := s.format(); {
	case format == "json" && s.items == 0:
		between = jsonHead
	case format == "json":
		between = ","
	case format == "yaml" && s.items == 0:
		between = yamlHead + "\n"
	}
	s.items++
	_, err = io.WriteString(s.out, between+text)
	return err
}

// item is an object as the printer writes it in a list: where lines are broken depends on
// how far it is indented.
func (s *objectStream) item(object *unstructured.Unstructured) (string, error) {
	printer, err := s.flags.ToPrinter()
	if err != nil {
		return "", usageError{err}
	}
	var b bytes.Buffer
	if s.format() == "name" {
		err := printer.PrintObj(object, &b)
		return b.String(), err
	}
	if err := printer.PrintObj(listOf(*object), &b); err != nil {
		return "", err
	}
	head, tail := jsonHead, "\n    "+jsonTail
	if s.format() == "yaml" {
		head, tail = yamlHead+"\n", yamlTail
	}
	text, begins := strings.CutPrefix(b.String(), head)
	text, ends := strings.CutSuffix(text, tail)
	if !begins || !ends {
		return "", fmt.Errorf("printing %s: a list looks otherwise than expected", object.GetName())
	}
	return text, nil
}

// listOf is a list as kubectl prints it.
func listOf(items ...unstructured.Unstructured) *unstructured.UnstructuredList {
	return &unstructured.UnstructuredList{Items: items, Object: map[string]any{
		"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""},
	}}
}

func (s *objectStream) end() error {
	text := ""
	switch format := s.format(); {
	case format == "json" && s.items == 0:
		text = jsonHead + jsonTail
	case format == "json":
		text = "\n    " + jsonTail
	case format == "yaml" && s.items == 0:
		text = yamlHead + " []\n" + yamlTail
	case format == "yaml":
		text = yamlTail
	}
	_, err := io.WriteString(s.out, text)
	return err
}

// margin is what is indented by.
const margin = "  "

// indent puts a margin before each line that is not empty.
func indent(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = margin + line
		}
	}
	return strings.Join(lines, "\n")
}
