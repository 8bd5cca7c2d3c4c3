package dashboard

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// templates has a set for each page: the layout, the pieces that several share, and the page.
var templates = parseTemplates()

func parseTemplates() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/pieces.html"))
	names, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err)
	}
	all := map[string]*template.Template{}
	for _, file := range names {
		switch name := strings.TrimSuffix(file.Name(), ".html"); name {
		case "layout", "pieces":
		default:
			all[name] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, path.Join("templates", file.Name())))
		}
	}
	return all
}

// request is a request for a page of a namespace, with what it takes to answer it.
type request struct {
	*http.Request
	session   *Session
	cluster   *cluster
	namespace string
	store     *store
	may       permissions
	now       time.Time
}

// view is a page that is ready to be shown.
type view struct {
	// template names the page's file in templates.
	template string
	title    string
	// tab is which of the tabs on top it belongs to.
	tab string
	// static pages are not shown anew when something changes: whoever types in them is
	// not to be disturbed.
	static bool
	// script is one of assets that the page needs besides that of all; empty for none.
	script string
	// status of the answer; 0 is 200.
	status int
	data   any
}

// shown is what templates get.
type shown struct {
	Title, Tab, Namespace string
	Namespaces            []string
	Version, User         string
	ReadOnly, Live        bool
	May                   permissions
	Now                   time.Time
	Path, Script          string
	Notice                *notice
	Lost                  bool
	Data                  any
}

// Link returns the path of a page of the namespace.
func (s shown) Link(parts ...string) string { return link(s.Namespace, parts...) }

// link returns the path of a page of a namespace.
func link(namespace string, parts ...string) string {
	p := []string{"/ns", url.PathEscape(namespace)}
	for _, part := range parts {
		p = append(p, url.PathEscape(part))
	}
	return strings.Join(p, "/")
}

type fragmentKey struct{}

// isFragment tells whether only the main part of a page is wanted, for one that is shown
// already.
func isFragment(ctx context.Context) bool { return ctx.Value(fragmentKey{}) != nil }

// page serves a page of a namespace.
func (s *Session) page(show func(*request) (*view, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
		defer cancel()
		q, err := s.request(r.WithContext(ctx))
		if err != nil {
			s.fail(w, q, err)
			return
		}
		v, err := show(q)
		if err != nil {
			s.fail(w, q, err)
			return
		}
		s.render(w, q, v)
	}
}

// request gathers what a page needs. Where that fails, what is known is returned, too.
func (s *Session) request(r *http.Request) (*request, error) {
	q := &request{Request: r, session: s, namespace: r.PathValue("namespace"), now: s.now()}
	if problems := validation.IsDNS1123Label(q.namespace); len(problems) > 0 {
		return q, notFoundError(fmt.Sprintf("%q is no name of a namespace", q.namespace))
	}
	var err error
	if q.cluster, err = s.connect(); err != nil {
		return q, err
	}
	q.store = s.store(q.cluster, q.namespace)
	q.may = q.cluster.rights.of(r.Context(), q.namespace)
	if s.options.ReadOnly {
		q.may = permissions{}
	}
	return q, nil
}

// render writes a page, or its main part.
func (s *Session) render(w http.ResponseWriter, q *request, v *view) {
	page := shown{
		Title: v.title, Tab: v.tab, Namespace: q.namespace, Version: s.options.Version, ReadOnly: s.options.ReadOnly,
		Live: !v.static, May: q.may, Now: q.now, Path: q.URL.RequestURI(), Script: v.script, Data: v.data,
	}
	if q.store != nil {
		page.Lost = q.store.contactLost()
	}
	name := "main"
	if !isFragment(q.Context()) {
		name = "layout"
		page.Notice = s.notices.take(q.URL.Query().Get("notice"))
		if q.cluster != nil {
			page.Namespaces = q.cluster.rights.namespaces(q.Context())
			// One that does not exist is on the page all the same.
			if len(page.Namespaces) > 0 && !slices.Contains(page.Namespaces, q.namespace) {
				page.Namespaces = append([]string{q.namespace}, page.Namespaces...)
			}
			page.User = q.cluster.user(q.Context())
		}
	}
	var b bytes.Buffer
	if err := templates[v.template].ExecuteTemplate(&b, name, page); err != nil {
		http.Error(w, "This page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if v.status != 0 {
		w.WriteHeader(v.status)
	}
	_, _ = w.Write(b.Bytes())
}

// action serves a form that changes something, and leads to the page that shows what came
// of it.
func (s *Session) action(do func(*request) (to string, said *notice, err error)) http.HandlerFunc {
	return s.posted(func(w http.ResponseWriter, q *request) error {
		to, said, err := do(q)
		if err != nil {
			return err
		}
		if said != nil {
			to = s.notices.add(to, said)
		}
		http.Redirect(w, q.Request, to, http.StatusSeeOther)
		return nil
	})
}

// posted serves what is posted, where anything may be changed. What was begun is done whole,
// whether the browser waits for it or not, but for a check of a form: the next one replaces it.
func (s *Session) posted(do func(http.ResponseWriter, *request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		malformed := r.ParseForm()
		ctx := r.Context()
		if r.PostForm.Get(inputAction) != actionCheck {
			ctx = context.WithoutCancel(ctx)
		}
		ctx, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		q, err := s.request(r.WithContext(ctx))
		switch {
		case err != nil:
		case s.options.ReadOnly:
			err = errReadOnly
		case malformed != nil:
			err = badRequest("What was sent is no form: " + malformed.Error())
		default:
			err = do(w, q)
		}
		if err != nil {
			s.fail(w, q, err)
		}
	}
}
