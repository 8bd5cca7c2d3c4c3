// Package eventcache knows every WebhookEvent: as a whole object for as long as
// something is to be done for it, and in some 300 bytes once it is finished.
package eventcache

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/fanout"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// Window is the age up to which Recent tells of events.
const Window = 10 * time.Minute

// Event is what is known of one event.
type Event struct {
	Key types.NamespacedName
	UID types.UID
	// Version is the resource version that this is known from.
	Version uint64
	Created time.Time
	// Counts are those that its status tells.
	Counts v1alpha1.DeliveryCounts
	// Dispatched is when every Webhook that matched had its delivery; zero before.
	Dispatched time.Time
	// Finished events have no Object: whoever needs more of one reads it from the
	// API server. A type without a spec can be neither matched nor rendered.
	Finished bool
	// Object is not a copy: it is only to be read.
	Object *v1alpha1.WebhookEvent
	// Removed are the results of its deliveries that were removed since Counts were
	// written, by name.
	Removed map[string]v1alpha1.DeliveryResult
}

// Load returns all of an event, which is only to be read, or nil if it is gone. from
// reads from the API server itself.
func (e Event) Load(ctx context.Context, from client.Reader) (*v1alpha1.WebhookEvent, error) {
	if e.Object != nil {
		return e.Object, nil
	}
	whole := &v1alpha1.WebhookEvent{}
	if err := from.Get(ctx, e.Key, whole); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if whole.UID != e.UID {
		return nil, nil
	}
	return whole, nil
}

// CountsDiffer tells whether the counts of an event are not those of its deliveries any
// more, such as after a resend.
func (e Event) CountsDiffer(deliveries []ledger.Entry) bool {
	counts, _ := fanout.Count(e.Counts, nil, e.Key.Namespace, deliveries, e.Removed)
	return counts != e.Counts
}

// Recent is an event of the last minutes, finished or not.
type Recent struct {
	Key     types.NamespacedName
	UID     types.UID
	Subject matching.Subject
	// Version is the resource version that the event was created with, or, where
	// it came with a list, one that is no lower.
	Version uint64
	// Dispatched is when every Webhook that matched had its delivery; zero before.
	Dispatched time.Time
}

// Listener is told what others have changed, outside the cache's lock.
type Listener interface {
	// EventAdded is told of an event that was not known.
	EventAdded(Event)
	// EventUpdated is told of a change, unless it was an own write.
	EventUpdated(Event)
	// EventRemoved is told of an event that is gone.
	EventRemoved(Event)
}

// Cache is safe for concurrent use.
type Cache struct {
	listener Listener
	clock    clock.PassiveClock

	mu     sync.RWMutex
	events map[types.UID]*entry
	// recent are the events of the last minutes as they came; those before head are
	// forgotten.
	recent []recent
	head   int
	// finished are those that are, the oldest first.
	finished byAge
	// namespaces are shared by the events in them.
	namespaces map[string]string
	// unlisted are the namespaces whose events were not listed yet.
	unlisted map[string]struct{}
	synced   chan struct{}
	once     sync.Once
}

// entry is an Event as it is kept. Nearly all are finished.
type entry struct {
	namespace, name string
	uid             types.UID
	version         uint64
	// Seconds since 1970; 0 is none.
	created, dispatched int64
	counts              v1alpha1.DeliveryCounts
	// place in the list of finished events.
	place int32
	gone  bool
	// work is nil of nearly all that are finished.
	work *work
}

type work struct {
	// object is nil once the event is finished.
	object  *v1alpha1.WebhookEvent
	removed map[string]v1alpha1.DeliveryResult
}

type recent struct {
	*entry
	subject matching.Subject
	version uint64
}

// New returns an empty cache. Its events are listed namespace by namespace, or,
// where none is named, all in one list.
func New(listener Listener, clock clock.PassiveClock, namespaces ...string) *Cache {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	c := &Cache{
		listener: listener, clock: clock,
		events: map[types.UID]*entry{}, namespaces: map[string]string{},
		unlisted: map[string]struct{}{}, synced: make(chan struct{}),
	}
	for _, namespace := range namespaces {
		c.unlisted[namespace] = struct{}{}
	}
	return c
}

// Synced is closed when the events in store are known.
func (c *Cache) Synced() <-chan struct{} { return c.synced }

// WaitSynced waits for Synced, or returns the error of a context that ends first.
func (c *Cache) WaitSynced(ctx context.Context) error {
	select {
	case <-c.synced:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get returns what is known of an event.
func (c *Cache) Get(uid types.UID) (Event, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if e, ok := c.events[uid]; ok {
		return e.event(), true
	}
	return Event{}, false
}

// All returns what is known of all events.
func (c *Cache) All() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		c.mu.RLock()
		all := make([]*entry, 0, len(c.events))
		for _, e := range c.events {
			all = append(all, e)
		}
		c.mu.RUnlock()
		for _, e := range all {
			c.mu.RLock()
			event := e.event()
			c.mu.RUnlock()
			if !yield(event) {
				return
			}
		}
	}
}

// Recent returns the events of a namespace, or of all where that is empty, that
// are no older than Window.
func (c *Cache) Recent(namespace string) []Recent {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trim()
	var all []Recent
	for _, r := range c.recent[c.head:] {
		if r.gone || namespace != "" && r.namespace != namespace {
			continue
		}
		all = append(all, Recent{
			Key: r.key(), UID: r.uid, Subject: r.subject, Version: r.version, Dispatched: toTime(r.dispatched),
		})
	}
	return all
}

// trim forgets what is no longer recent. Events come nearly in the order of their
// age; one that does not stays as long as those before it.
func (c *Cache) trim() {
	oldest := c.clock.Now().Add(-Window).Unix()
	for c.head < len(c.recent) && (c.recent[c.head].gone || c.recent[c.head].created < oldest) {
		c.recent[c.head] = recent{}
		c.head++
	}
	if c.head > len(c.recent)/2 {
		c.recent, c.head = slices.Clone(c.recent[c.head:]), 0
	}
}

// Observe takes in an event as the API server has it. What is older than what is
// known already changes nothing. The object must not be changed any more.
func (c *Cache) Observe(o *v1alpha1.WebhookEvent) {
	c.mu.Lock()
	known, ok := c.events[o.UID]
	if ok && known.version >= parseVersion(o.ResourceVersion) {
		c.mu.Unlock()
		return
	}
	if !ok {
		known = c.add(o)
	}
	c.update(known, o)
	event := known.event()
	c.mu.Unlock()
	if ok {
		c.listener.EventUpdated(event)
	} else {
		c.listener.EventAdded(event)
	}
}

// Assume takes in the answer to a write of the operator's own, ahead of the watch.
// counted are the removed deliveries that it has taken into its counts.
func (c *Cache) Assume(o *v1alpha1.WebhookEvent, counted map[string]v1alpha1.DeliveryResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.events[o.UID]
	if !ok {
		return // it was deleted meanwhile
	}
	if known.work != nil && len(counted) > 0 {
		rest := map[string]v1alpha1.DeliveryResult{} // a copy: the one before was handed out
		for name, result := range known.work.removed {
			if _, ok := counted[name]; !ok {
				rest[name] = result
			}
		}
		known.work.removed = rest
		known.shrink()
	}
	if known.version < parseVersion(o.ResourceVersion) {
		c.update(known, o)
	}
}

// DeliveryRemoved takes in that a stored delivery of an event was removed, until the
// event's counts tell of it. Those of a finished event do already, unless the delivery
// waited: then it came after they were written.
func (c *Cache) DeliveryRemoved(event types.UID, delivery types.NamespacedName, result v1alpha1.DeliveryResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, ok := c.events[event]
	ended := result == v1alpha1.DeliverySucceeded || result == v1alpha1.DeliveryFailed
	if !ok || known.namespace != delivery.Namespace || known.finished() && ended {
		return
	}
	if known.work == nil {
		known.work = &work{}
	}
	removed := map[string]v1alpha1.DeliveryResult{delivery.Name: result}
	maps.Copy(removed, known.work.removed) // a copy: the one before was handed out
	known.work.removed = removed
}

// Remove takes in that an event is gone.
func (c *Cache) Remove(uid types.UID) {
	c.mu.Lock()
	known, ok := c.events[uid]
	if !ok {
		c.mu.Unlock()
		return
	}
	delete(c.events, uid)
	c.leaveFinished(known)
	known.gone = true
	event := known.event()
	c.mu.Unlock()
	c.listener.EventRemoved(event)
}

// Replace takes in a list of all events of a namespace, or of all namespaces. What
// it lacks of these is gone.
func (c *Cache) Replace(namespace string, all []*v1alpha1.WebhookEvent) {
	listed := make(map[types.UID]struct{}, len(all))
	for _, o := range all {
		listed[o.UID] = struct{}{}
	}
	c.mu.RLock()
	var gone []types.UID
	for uid, e := range c.events {
		if _, ok := listed[uid]; !ok && (namespace == metav1.NamespaceAll || namespace == e.namespace) {
			gone = append(gone, uid)
		}
	}
	c.mu.RUnlock()
	for _, uid := range gone {
		c.Remove(uid)
	}
	slices.SortFunc(all, func(a, b *v1alpha1.WebhookEvent) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	for _, o := range all {
		c.Observe(o)
	}
	c.mu.Lock()
	delete(c.unlisted, namespace)
	complete := len(c.unlisted) == 0
	c.mu.Unlock()
	if complete {
		c.once.Do(func() { close(c.synced) })
	}
}

func (c *Cache) add(o *v1alpha1.WebhookEvent) *entry {
	namespace, ok := c.namespaces[o.Namespace]
	if !ok {
		namespace = o.Namespace
		c.namespaces[namespace] = namespace
	}
	e := &entry{namespace: namespace, name: o.Name, uid: o.UID, created: o.CreationTimestamp.Unix(), place: none, work: &work{}}
	c.events[e.uid] = e
	c.trim()
	if c.clock.Since(o.CreationTimestamp.Time) <= Window && o.Spec.EventType != "" { // what is stripped has no type
		c.recent = append(c.recent, recent{entry: e, subject: matching.SubjectOf(o), version: parseVersion(o.ResourceVersion)})
	}
	return e
}

func (c *Cache) update(e *entry, o *v1alpha1.WebhookEvent) {
	e.version = parseVersion(o.ResourceVersion)
	e.counts = o.Status.Counts
	if e.dispatched == 0 && fanout.Dispatched(o) {
		e.dispatched = meta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionDispatched).LastTransitionTime.Unix()
	}
	if fanout.Finished(o) {
		c.joinFinished(e)
		if e.work != nil {
			e.work.object = nil
		}
		e.shrink()
		return
	}
	c.leaveFinished(e)
	if e.work == nil {
		e.work = &work{}
	}
	e.work.object = o
}

func (e *entry) key() types.NamespacedName {
	return types.NamespacedName{Namespace: e.namespace, Name: e.name}
}

func (e *entry) finished() bool { return e.place != none }

// shrink drops what a finished event has no use for.
func (e *entry) shrink() {
	if e.finished() && e.work != nil && len(e.work.removed) == 0 {
		e.work = nil
	}
}

func (e *entry) event() Event {
	event := Event{
		Key: e.key(), UID: e.uid, Version: e.version, Created: toTime(e.created), Counts: e.counts,
		Dispatched: toTime(e.dispatched), Finished: e.finished(),
	}
	if e.work != nil {
		event.Object, event.Removed = e.work.object, e.work.removed
	}
	return event
}

func toTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// parseVersion reads a resource version, a number that grows. What is none counts as
// the oldest.
func parseVersion(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
