package dashboard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/follow"
	"github.com/horizoncd/webhook-operator/internal/table"
)

const (
	// maxRows bounds the deliveries, and the events, that are kept of a namespace: the
	// newest. A row takes about 500 bytes.
	maxRows = 50_000
	// slackRows is how many more there may be before the oldest are dropped, so that it is
	// not done for each row.
	slackRows = maxRows / 10
	// forbiddenPause is how long nobody asks again for what a person may not read.
	forbiddenPause = 5 * time.Second
)

// store follows a namespace, and keeps what its pages show: Webhooks, and the rows of
// deliveries and events. Bodies are never in it.
type store struct {
	namespace string
	cluster   *cluster
	ctx       context.Context
	stop      context.CancelFunc
	used      atomic.Int64
	failed    func(error) // is told why a part cannot be read

	mu       sync.RWMutex
	webhooks map[string]*v1alpha1.Webhook
	// deliveries are the rows by Webhook and name, and events by name.
	deliveries map[string]map[string]*table.Row
	events     map[string]*table.Row
	count      int // of deliveries
	parts      [numParts]part
	watchers   map[chan struct{}]bool
}

// What is followed of a namespace.
const (
	partWebhooks = iota
	partDeliveries
	partEvents
	numParts
)

// rowsOf are the resources of the parts that are rows.
var rowsOf = map[int]table.Resource{partDeliveries: table.Deliveries, partEvents: table.Events}

// part is how it stands with one of them.
type part struct {
	begun sync.Once
	// synced: a list has been read since the beginning.
	synced bool
	ready  chan struct{} // closed then, or when that fails
	// lost is why there is no contact with the API server now.
	lost error
	// err is why it cannot be read at all, such as a missing right.
	err error
	// cut: there are more than are kept.
	cut bool
}

func newStore(ctx context.Context, c *cluster, namespace string, failed func(error)) *store {
	s := &store{
		namespace: namespace, cluster: c,
		webhooks:   map[string]*v1alpha1.Webhook{},
		deliveries: map[string]map[string]*table.Row{},
		events:     map[string]*table.Row{},
		watchers:   map[chan struct{}]bool{},
		failed:     failed,
	}
	s.ctx, s.stop = context.WithCancel(ctx)
	for i := range s.parts {
		s.parts[i].ready = make(chan struct{})
	}
	return s
}

// end ends the store, and wakes the open pages, which turn to the next one.
func (s *store) end() {
	s.stop()
	s.notify()
}

// begin begins to follow a part, unless it is followed already. A page that reads what it
// shows by itself does so first: both at once would take twice as long.
func (s *store) begin(i int) {
	s.parts[i].begun.Do(func() {
		f := s.followWebhooks()
		if i != partWebhooks {
			f = s.followRows(table.Query{Resource: rowsOf[i], Namespace: s.namespace}, i)
		}
		go s.run(i, f)
	})
}

// run follows one part until the store ends. What may not be read is asked for again now
// and then, since rights change.
func (s *store) run(i int, f *follow.Follower) {
	f.Lost = func(why error) { s.lost(i, why) }
	for s.ctx.Err() == nil {
		err := f.Run(s.ctx, "")
		if s.ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		// Whoever refuses is there; the next Run does not know that contact was lost before.
		s.parts[i].err, s.parts[i].lost = err, nil
		s.readyLocked(i)
		s.mu.Unlock()
		s.notify()
		s.failed(err)
		select {
		case <-s.ctx.Done():
		case <-time.After(forbiddenPause):
		}
	}
}

// lost notes why the API server does not answer, or that it does again.
func (s *store) lost(i int, why error) {
	s.mu.Lock()
	s.parts[i].lost = why
	s.readyLocked(i)
	s.mu.Unlock()
	s.notify()
}

func (s *store) readyLocked(i int) {
	select {
	case <-s.parts[i].ready:
	default:
		close(s.parts[i].ready)
	}
}

func (s *store) followWebhooks() *follow.Follower {
	in := client.InNamespace(s.namespace)
	return &follow.Follower{
		Watch: func(ctx context.Context, version string) (watch.Interface, error) {
			return s.cluster.client.Watch(ctx, &v1alpha1.WebhookList{}, in,
				&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true}})
		},
		Relist: func(ctx context.Context) (string, error) {
			var list v1alpha1.WebhookList
			if err := s.cluster.client.List(ctx, &list, in); err != nil {
				return "", err
			}
			all := map[string]*v1alpha1.Webhook{}
			for i := range list.Items {
				w := &list.Items[i]
				w.ManagedFields = nil
				all[w.Name] = w
			}
			s.replaced(partWebhooks, func() { s.webhooks = all })
			return list.ResourceVersion, nil
		},
		Each: func(event watch.Event) error {
			w, ok := event.Object.(*v1alpha1.Webhook)
			if !ok {
				return fmt.Errorf("the API server sent a %T where a Webhook was asked for", event.Object)
			}
			w.ManagedFields = nil
			s.mu.Lock()
			if event.Type == watch.Deleted {
				delete(s.webhooks, w.Name)
			} else {
				s.webhooks[w.Name] = w
			}
			s.mu.Unlock()
			s.notify()
			return nil
		},
	}
}

func (s *store) followRows(q table.Query, i int) *follow.Follower {
	return &follow.Follower{
		Watch: func(ctx context.Context, version string) (watch.Interface, error) {
			return s.cluster.tables.Watch(ctx, q, version)
		},
		Relist: func(ctx context.Context) (string, error) { return s.relist(ctx, q, i) },
		Each: func(event watch.Event) error {
			rows, err := s.cluster.tables.Rows(q, event.Object)
			if err != nil {
				return err
			}
			s.mu.Lock()
			for _, row := range rows {
				s.set(i, row, event.Type == watch.Deleted)
			}
			s.trim(i)
			s.mu.Unlock()
			s.notify()
			return nil
		},
	}
}

// relist reads all rows. Pages go on showing what was there before until all are read.
func (s *store) relist(ctx context.Context, q table.Query, i int) (string, error) {
	fresh := &store{}
	begin := func() {
		fresh.deliveries, fresh.events, fresh.count = map[string]map[string]*table.Row{}, map[string]*table.Row{}, 0
	}
	version, err := s.cluster.tables.Each(ctx, q, begin, func(row *table.Row) {
		fresh.set(i, row, false)
		fresh.trim(i)
	})
	if err != nil {
		return "", err
	}
	s.replaced(i, func() {
		if i == partEvents {
			s.events = fresh.events
		} else {
			s.deliveries, s.count = fresh.deliveries, fresh.count
		}
		s.parts[i].cut = fresh.parts[i].cut
	})
	return version, nil
}

func (s *store) replaced(i int, put func()) {
	s.mu.Lock()
	put()
	s.parts[i].synced, s.parts[i].err = true, nil
	s.readyLocked(i)
	s.mu.Unlock()
	s.notify()
}

// set puts a row in its place, or takes it away.
func (s *store) set(i int, row *table.Row, deleted bool) {
	shorten(row)
	if i == partEvents {
		if deleted {
			delete(s.events, row.Name)
		} else {
			s.events[row.Name] = row
		}
		return
	}
	webhook := row.Cells[table.ColumnWebhook]
	of := s.deliveries[webhook]
	_, known := of[row.Name]
	switch {
	case deleted && known:
		delete(of, row.Name)
		s.count--
		if len(of) == 0 {
			delete(s.deliveries, webhook)
		}
	case deleted:
	default:
		if of == nil {
			of = map[string]*table.Row{}
			s.deliveries[webhook] = of
		}
		of[row.Name] = row
		if !known {
			s.count++
		}
	}
}

// shorten makes a row small: most cells are the same in many rows, and the age, in words,
// is that of the moment it was read.
func shorten(row *table.Row) {
	for i, cell := range row.Cells {
		row.Cells[i] = unique.Make(cell).Value()
	}
}

// trim drops the oldest rows where there are too many.
func (s *store) trim(i int) {
	if i == partEvents {
		if len(s.events) <= maxRows+slackRows {
			return
		}
		s.parts[i].cut = true
		for _, row := range oldest(slices.Collect(maps.Values(s.events)), len(s.events)-maxRows) {
			delete(s.events, row.Name)
		}
		return
	}
	if s.count <= maxRows+slackRows {
		return
	}
	s.parts[i].cut = true
	all := make([]*table.Row, 0, s.count)
	for _, of := range s.deliveries {
		all = slices.AppendSeq(all, maps.Values(of))
	}
	for _, row := range oldest(all, s.count-maxRows) {
		s.set(i, row, true)
	}
}

func oldest(rows []*table.Row, n int) []*table.Row {
	slices.SortFunc(rows, table.Compare)
	return rows[:n]
}

// notify wakes those who wait for changes. One that is busy is woken once more later.
func (s *store) notify() {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for watcher := range s.watchers {
		select {
		case watcher <- struct{}{}:
		default:
		}
	}
}

// changes returns a channel that tells of changes, until release is called.
func (s *store) changes() (changes <-chan struct{}, release func()) {
	watcher := make(chan struct{}, 1)
	s.mu.Lock()
	s.watchers[watcher] = true
	s.mu.Unlock()
	return watcher, func() {
		s.mu.Lock()
		delete(s.watchers, watcher)
		s.mu.Unlock()
	}
}

func (s *store) watched() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.watchers) > 0
}

// wait waits until a part has been read, or cannot be, or ctx ends, and returns why it
// cannot.
func (s *store) wait(ctx context.Context, i int) error {
	s.begin(i)
	select {
	case <-s.parts[i].ready:
	case <-s.ctx.Done():
		return errAgain
	case <-ctx.Done():
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch p := &s.parts[i]; {
	case p.err != nil:
		return p.err
	case !p.synced && p.lost != nil:
		return p.lost
	case !p.synced:
		return errNotRead
	}
	return nil
}

var (
	// errNotRead: the API server has not answered in time.
	errNotRead = errors.New("the API server has not answered yet")
	// errAgain: the credentials were renewed meanwhile.
	errAgain = errors.New("the connection was renewed: load the page again")
)

// deliveriesSynced tells whether the deliveries have been read.
func (s *store) deliveriesSynced() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.parts[partDeliveries].synced && s.parts[partDeliveries].err == nil
}

// contactLost tells whether the API server does not answer now.
func (s *store) contactLost() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.parts {
		if s.parts[i].lost != nil {
			return true
		}
	}
	return false
}

// sortedWebhooks returns the Webhooks by name.
func (s *store) sortedWebhooks() []*v1alpha1.Webhook {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.webhooks), func(a, b *v1alpha1.Webhook) int { return strings.Compare(a.Name, b.Name) })
}

// webhook returns a Webhook, or an error as the API server would give it.
func (s *store) webhook(name string) (*v1alpha1.Webhook, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if w, ok := s.webhooks[name]; ok {
		return w, nil
	}
	return nil, apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("webhooks").GroupResource(), name)
}

// deliveriesOf calls each for every row of a Webhook that is kept.
func (s *store) deliveriesOf(webhook string, each func(*table.Row)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, row := range s.deliveries[webhook] {
		each(row)
	}
}

// delivery returns a row of a Webhook; nil where it is not kept.
func (s *store) delivery(webhook, name string) *table.Row {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.deliveries[webhook][name]
}

// eachEvent calls each for every event that is kept.
func (s *store) eachEvent(each func(*table.Row)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, row := range s.events {
		each(row)
	}
}

// isCut tells whether more rows are in the cluster than are kept.
func (s *store) isCut(i int) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.parts[i].cut
}

// written puts a Webhook that was just written where pages find it, which would be told of
// it a moment later.
func (s *store) written(w *v1alpha1.Webhook) {
	w.ManagedFields = nil
	s.mu.Lock()
	// One that is not known and is not new was deleted meanwhile.
	if known := s.webhooks[w.Name]; known == nil && w.Generation == 1 || known != nil && known.UID == w.UID && known.Generation < w.Generation {
		s.webhooks[w.Name] = w
	}
	s.mu.Unlock()
	s.notify()
}

func (s *store) writtenObject(object *unstructured.Unstructured) {
	w := &v1alpha1.Webhook{}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, w) == nil {
		s.written(w)
	}
}

// deleted takes a Webhook away that was just deleted.
func (s *store) deleted(w *v1alpha1.Webhook) {
	s.mu.Lock()
	if known := s.webhooks[w.Name]; known != nil && known.UID == w.UID {
		delete(s.webhooks, w.Name)
	}
	s.mu.Unlock()
	s.notify()
}
