// Package dashboard is the pages of kubectl horizon: webhooks, their logs, and what became
// of events, in a browser and with the rights of whoever runs it.
//
// A Session has one person's credentials and all that was read with them, and serves the
// pages. A Server is what stands before it: it listens on loopback, lets one browser in and
// keeps everything else out. What objects mean is said by internal/insight, and what people
// ask for is written by internal/change, as for the commands, so that pages and commands
// never disagree.
package dashboard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/table"
)

const (
	// reconnectPause is the least time between two looks at a kubeconfig whose credentials
	// the API server refuses.
	reconnectPause = 2 * time.Second
	// maxNamespaces bounds the namespaces that are followed at once. The one that was not
	// looked at for longest goes first.
	maxNamespaces = 4
	// idle is how long a namespace is followed that nobody looks at.
	idle = 2 * time.Minute
	// readTimeout bounds what a page asks the API server for.
	readTimeout = 20 * time.Second
)

// Options say what a session shows, and with whose rights.
type Options struct {
	// Connect says how the API server is reached. It is asked again when the API server no
	// longer takes the credentials.
	Connect func() (*rest.Config, error)
	// Client makes the client of a config.
	Client func(*rest.Config) (client.WithWatch, error)
	// Namespace is where it begins.
	Namespace string
	// SystemNamespace is the operator's own. Defaults to insight.DefaultSystemNamespace.
	SystemNamespace string
	// ReadOnly leaves out all that would change something.
	ReadOnly bool
	Version  string
	Now      func() time.Time
}

// Session serves the pages to one person.
type Session struct {
	options Options
	pages   *http.ServeMux
	jobs    jobs
	notices notices
	streams chan struct{} // a place for each open page that is kept up to date
	trials  *rate.Limiter // of forms with expressions

	ctx  context.Context // ends with the session
	stop context.CancelFunc

	mu      sync.Mutex
	cluster *cluster
	tried   time.Time // when credentials were last looked for
	failed  error     // what came of it
	stores  map[string]*store
}

// cluster is the API server as a person's credentials reach it.
type cluster struct {
	client client.WithWatch
	tables *table.Client
	reader *insight.Reader
	// rights are what the API server has said of these credentials.
	rights *rights
	// name is who the API server takes the person for, once it has told.
	name atomic.Pointer[string]
}

// user is who the API server takes the person for; empty where it does not tell.
func (c *cluster) user(ctx context.Context) string {
	if known := c.name.Load(); known != nil {
		return *known
	}
	name := change.User(ctx, c.client)
	if name != "" {
		c.name.Store(&name)
	}
	return name
}

// NewSession returns a session, which has asked nobody for anything yet.
func NewSession(options Options) *Session {
	options.SystemNamespace = cmp.Or(options.SystemNamespace, insight.DefaultSystemNamespace)
	ctx, stop := context.WithCancel(context.Background())
	s := &Session{options: options, ctx: ctx, stop: stop, stores: map[string]*store{}, streams: make(chan struct{}, maxStreams), trials: newTrials()}
	s.pages = s.routes()
	return s
}

// Close ends what the session follows and does.
func (s *Session) Close() { s.stop() }

// ServeHTTP serves the pages.
func (s *Session) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.pages.ServeHTTP(w, r) }

func (s *Session) now() time.Time { return s.options.Now() }

// connect returns the cluster as the credentials of the moment reach it.
func (s *Session) connect() (*cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster != nil {
		return s.cluster, nil
	}
	if s.failed != nil && s.now().Sub(s.tried) < reconnectPause {
		return nil, s.failed
	}
	s.tried = s.now()
	s.cluster, s.failed = s.newCluster()
	return s.cluster, s.failed
}

func (s *Session) newCluster() (*cluster, error) {
	config, err := s.options.Connect()
	if err != nil {
		return nil, err
	}
	api, err := s.options.Client(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	tables, err := table.NewClient(config)
	if err != nil {
		return nil, err
	}
	return &cluster{
		client: api,
		tables: tables,
		rights: newRights(api, s.options.Now),
		reader: &insight.Reader{Client: api, Now: s.options.Now, SystemNamespace: s.options.SystemNamespace},
	}, nil
}

// refused forgets credentials that the API server does not take any more, so that the next
// page looks for better ones: whoever logs in again need not start anew.
func (s *Session) refused(c *cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster != c || c == nil || s.now().Sub(s.tried) < reconnectPause {
		return
	}
	s.cluster, s.failed = nil, nil
	for namespace, st := range s.stores {
		st.end()
		delete(s.stores, namespace)
	}
}

// store returns what is followed of a namespace, and begins to follow it.
func (s *Session) store(c *cluster, namespace string) *store {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	st, ok := s.stores[namespace]
	if !ok {
		if len(s.stores) >= maxNamespaces {
			s.dropLeastUsed()
		}
		st = newStore(s.ctx, c, namespace, func(err error) {
			if apierrors.IsUnauthorized(err) {
				s.refused(c)
			}
		})
		s.stores[namespace] = st
		go s.expire(st)
	}
	st.used.Store(now.UnixNano())
	return st
}

// dropLeastUsed ends what was not looked at for longest; what an open page shows, last.
func (s *Session) dropLeastUsed() {
	least := slices.MinFunc(slices.Collect(maps.Values(s.stores)), func(a, b *store) int {
		if a.watched() != b.watched() {
			if a.watched() {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.used.Load(), b.used.Load())
	})
	least.end()
	delete(s.stores, least.namespace)
}

// expire ends what nobody looks at.
func (s *Session) expire(st *store) {
	ticker := time.NewTicker(idle / 4)
	defer ticker.Stop()
	for {
		select {
		case <-st.ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		if s.now().UnixNano()-st.used.Load() > int64(idle) && !st.watched() {
			st.end()
			if s.stores[st.namespace] == st {
				delete(s.stores, st.namespace)
			}
		}
		s.mu.Unlock()
	}
}

// errReadOnly refuses a change where --read-only was given.
var errReadOnly = errors.New("this dashboard was started with --read-only: it shows everything and changes nothing")
