// Package routes says which namespace the events of a path go to. Horizon knows groups,
// applications and clusters, and the cluster knows namespaces; a file of routes joins them.
package routes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Bounds of a file of routes.
const (
	// MaxSize is how many bytes one may have: as many as fit into a ConfigMap.
	MaxSize = 1 << 20
	// MaxRoutes is how many routes one may have.
	MaxRoutes = 10_000
	// maxPath is how many characters a path may have, as in a Webhook's scope.
	maxPath = 1024
)

// validPath is what the CRD lets through as a scope, without a slash at its end.
var (
	validPath = regexp.MustCompile(`^(/[^/*?\[\]{},\pZ\p{Cc}\x{200b}\x{feff}]+)+$`)
	dotsAlone = regexp.MustCompile(`/\.+(/|$)`)
)

// Routes are the routes of a file. They do not nest, so each path has one namespace.
type Routes struct {
	byDefault string
	byPath    map[string]string
}

// New returns routes that send everything to one namespace.
func New(namespace string) *Routes { return &Routes{byDefault: namespace} }

// Parse reads a file of routes:
//
//	default: horizon-webhooks
//	routes:
//	  /music: team-music
//	  /video/player: team-player
//
// default is the system namespace, whose Webhooks follow the events of every namespace. It
// gets what no route is for. Parse fails where a key is unknown or stands there twice, where
// a path or a namespace is none, and where one route lies within another: a Webhook sees
// events of its own namespace, so those of the inner route would be hidden from Webhooks of
// the outer one.
func Parse(data []byte) (*Routes, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("reading routes: %d bytes, more than the %d that a file of routes may have", len(data), MaxSize)
	}
	var file struct {
		Default string            `yaml:"default"`
		Routes  map[string]string `yaml:"routes"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading routes: %w", err)
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading routes: a file of routes is one YAML document, and another follows")
	}
	r := &Routes{byDefault: file.Default, byPath: file.Routes}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("reading routes: %w", err)
	}
	return r, nil
}

// check looks for what would make the routes ambiguous or useless.
func (r *Routes) check() error {
	if r.byDefault == "" {
		return errors.New("default is missing: name the system namespace, which gets what no route is for")
	}
	if wrong := validation.IsDNS1123Label(r.byDefault); len(wrong) > 0 {
		return fmt.Errorf("default: %q is not the name of a namespace: %s", r.byDefault, wrong[0])
	}
	if len(r.byPath) > MaxRoutes {
		return fmt.Errorf("%d routes, more than the %d that a file may have", len(r.byPath), MaxRoutes)
	}
	for _, path := range slices.Sorted(maps.Keys(r.byPath)) {
		if err := checkPath(path); err != nil {
			return err
		}
		if wrong := validation.IsDNS1123Label(r.byPath[path]); len(wrong) > 0 {
			return fmt.Errorf("%s: %q is not the name of a namespace: %s", path, r.byPath[path], wrong[0])
		}
		if outer, ok := r.route(parent(path)); ok {
			return fmt.Errorf("routes must not nest, and %s (to %s) lies within %s (to %s): events of the former would be hidden "+
				"from the latter's Webhooks; take one of them out, or name its neighbours one by one",
				path, r.byPath[path], outer, r.byPath[outer])
		}
	}
	return nil
}

func checkPath(path string) error {
	switch {
	case path == "/":
		return errors.New("/ is the path of everything: default says where that goes")
	case utf8.RuneCountInString(path) > maxPath:
		return fmt.Errorf("the path %.40s… has %d characters, more than the %d that one may have", path, utf8.RuneCountInString(path), maxPath)
	case strings.HasSuffix(path, "/"):
		return fmt.Errorf("the path %q ends with a slash: write %q", path, strings.TrimRight(path, "/"))
	case !validPath.MatchString(path) || dotsAlone.MatchString(path):
		return fmt.Errorf("%q is not a full path, such as /music/player: it starts with a slash and has neither spaces, patterns nor empty parts", path)
	}
	return nil
}

// parent returns the path that a path is directly below; empty at the top.
func parent(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// route returns the path of the route that a path is in, which is itself or one above it.
func (r *Routes) route(path string) (string, bool) {
	for path = strings.TrimRight(path, "/"); path != ""; path = parent(path) {
		if _, ok := r.byPath[path]; ok {
			return path, true
		}
	}
	return "", false
}

// NamespaceOf returns the namespace that events of a path go to; an empty path is nobody's.
func (r *Routes) NamespaceOf(path string) string {
	if route, ok := r.route(path); ok {
		return r.byPath[route]
	}
	return r.byDefault
}

// Default returns the system namespace.
func (r *Routes) Default() string { return r.byDefault }

// Namespaces returns all namespaces that events may go to, in ascending order.
func (r *Routes) Namespaces() []string { return r.NamespacesOf("") }

// NamespacesOf returns the namespaces, in ascending order, that events of a scope go to: of
// the path itself and of all that is or will be below it. An empty scope is everything.
func (r *Routes) NamespacesOf(scope string) []string {
	scope = strings.TrimRight(scope, "/")
	all := []string{r.NamespaceOf(scope)}
	for path, namespace := range r.byPath {
		if strings.HasPrefix(path, scope+"/") {
			all = append(all, namespace)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
