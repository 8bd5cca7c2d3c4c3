package dashboard

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/testbed"
)

const (
	root     = "../.."
	patience = testbed.Patience
)

// suite is what the tests on a real API server share. It is started by the first of them.
var suite operator.Stack

func TestMain(m *testing.M) { os.Exit(testbed.Run(m, suite.Stop)) }

// bed is what one test has for itself, with somebody's session.
type bed struct {
	testbed.Bed

	session *Session
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{Bed: *testbed.New(t, &suite, root, "pages-")}
	b.session = b.newSession(suite.ControlPlane.Config(), nil)
	return b
}

// newSession returns the session of a person, with options changed.
func (b *bed) newSession(config *rest.Config, change func(*Options)) *Session {
	b.Helper()
	options := Options{
		Connect: func() (*rest.Config, error) {
			config := rest.CopyConfig(config)
			config.QPS = -1
			return config, nil
		},
		Client: func(config *rest.Config) (client.WithWatch, error) {
			return client.NewWithWatch(config, client.Options{Scheme: suite.Install.Client.Scheme()})
		},
		Namespace: b.Namespace,
		Version:   "test",
		Now:       time.Now,
	}
	if change != nil {
		change(&options)
	}
	s := NewSession(options)
	b.Cleanup(s.Close)
	return s
}

// as returns the same bed for a person who has the given ClusterRoles in the namespace.
func (b *bed) as(user string, clusterRoles ...string) *bed {
	b.Helper()
	other := *b
	other.session = b.newSession(b.Person(user, clusterRoles...), nil)
	return &other
}

// path is that of a page of the namespace.
func (b *bed) path(parts ...string) string { return link(b.Namespace, parts...) }

// get loads a page.
func (b *bed) get(path string) *httptest.ResponseRecorder {
	b.Helper()
	w := httptest.NewRecorder()
	b.session.ServeHTTP(w, httptest.NewRequestWithContext(b.Ctx, http.MethodGet, path, nil))
	return w
}

// page loads a page that has to be there, and returns it.
func (b *bed) page(path string) string {
	b.Helper()
	w := b.get(path)
	if w.Code != http.StatusOK {
		b.Fatalf("GET %s: %d\n%s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// post sends a form.
func (b *bed) post(path string, form url.Values) *httptest.ResponseRecorder {
	b.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(b.Ctx, http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	b.session.ServeHTTP(w, r)
	return w
}
