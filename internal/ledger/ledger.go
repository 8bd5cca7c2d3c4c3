// Package ledger knows every delivery: those in store, from the watch of their metadata
// and, before that shows them, from the operator's own writes (an assume cache), and
// those that are pending, which are not stored yet. Whether something is sent is decided
// on the ledger, so a watch that lags behind never makes anything be sent again.
package ledger

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/testevent"
)

// Pending is a delivery that is not stored yet. The event it carries is its
// durable form.
type Pending struct {
	Event      types.NamespacedName
	EventUID   types.UID
	Webhook    types.NamespacedName
	WebhookUID types.UID
	// Replay is set where somebody has asked for the event to be sent, to a Webhook that
	// may have been created later.
	Replay bool
	// Refused says why the API server refuses to store the delivery.
	Refused string
}

func (d *Pending) source() source { return source{d.Webhook, d.Event.Namespace} }

// Entry is what the ledger knows of one delivery.
type Entry struct {
	Key types.NamespacedName
	// UID is empty as long as the delivery is pending.
	UID types.UID
	// Version is the resource version that this was read from. It is 0 while the delivery
	// is pending.
	Version uint64
	// Webhook and WebhookUID name the owner; the UID is empty where the
	// delivery was orphaned.
	Webhook    types.NamespacedName
	WebhookUID types.UID
	EventUID   types.UID
	// EventNamespace is that of the event, which Webhooks of the system namespace
	// do not share.
	EventNamespace string
	State          retry.State
	// Finished is when a delivery got its final result.
	Finished time.Time
	// Pending is set as long as the delivery is not stored.
	Pending *Pending
}

// Counts are numbers of stored deliveries.
type Counts struct {
	Waiting, Succeeded, Failed int
}

// Listener is told what changed, outside the ledger's lock where nothing else is said.
type Listener interface {
	// DeliveryChanged is called when a delivery may need something.
	DeliveryChanged(e Entry)
	// EventChanged is called when a delivery of the event was stored, finished,
	// removed or refused, unless more is to come: what is said of an event does
	// not change before the last of its pending deliveries is stored or refused.
	EventChanged(event types.UID)
	// DeliveryRemoved is called when a stored delivery was removed, under the
	// ledger's lock: whoever does not find it any more finds what this leaves.
	DeliveryRemoved(e Entry)
	// RoomAvailable is called when an event that found no room may go on.
	RoomAvailable(event types.UID)
	// WebhookChanged is called when the counts of the webhook changed, or when one of
	// its deliveries has ended.
	WebhookChanged(webhook types.NamespacedName)
}

// Ledger is safe for concurrent use.
type Ledger struct {
	listener Listener

	mu       sync.RWMutex
	entries  map[types.NamespacedName]*item
	events   map[types.UID]*event
	webhooks map[types.NamespacedName]*webhook
	total    Counts
	budget   *budget
	// unlisted are the namespaces whose deliveries were not listed yet.
	unlisted map[string]struct{}
	synced   chan struct{}
	once     sync.Once
}

// New returns an empty ledger with room for so many pending deliveries. Its deliveries are
// listed namespace by namespace, or, where none is named, all in one list.
func New(listener Listener, capacity int, namespaces ...string) *Ledger {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	unlisted := map[string]struct{}{}
	for _, namespace := range namespaces {
		unlisted[namespace] = struct{}{}
	}
	return &Ledger{
		unlisted: unlisted,
		listener: listener,
		entries:  map[types.NamespacedName]*item{},
		events:   map[types.UID]*event{},
		webhooks: map[types.NamespacedName]*webhook{},
		budget:   newBudget(capacity),
		synced:   make(chan struct{}),
	}
}

// Synced is closed when the deliveries in store are known.
func (l *Ledger) Synced() <-chan struct{} { return l.synced }

// WaitSynced waits for Synced, or returns the error of a context that ends first.
func (l *Ledger) WaitSynced(ctx context.Context) error {
	select {
	case <-l.synced:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Get returns what is known of a delivery.
func (l *Ledger) Get(key types.NamespacedName) (Entry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if i, ok := l.entries[key]; ok {
		return i.entry(), true
	}
	return Entry{}, false
}

// OfEvent returns what is known of the deliveries of an event.
func (l *Ledger) OfEvent(event types.UID) []Entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if e, ok := l.events[event]; ok {
		return collect(e.items)
	}
	return nil
}

// OfWebhook returns what is known of the deliveries of a webhook, of all that
// ever had its name.
func (l *Ledger) OfWebhook(name types.NamespacedName) []Entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if w, ok := l.webhooks[name]; ok {
		return collect(w.items)
	}
	return nil
}

func collect(items []*item) []Entry {
	all := make([]Entry, 0, len(items))
	for _, i := range items {
		all = append(all, i.entry())
	}
	return all
}

// ByAge compares two deliveries by their age, the older one first.
func ByAge(a, b Entry) int {
	if c := a.State.Since.Compare(b.State.Since); c != 0 {
		return c
	}
	return strings.Compare(a.Key.Name, b.Key.Name) // which has the time of the event
}

// CountsOf returns how many deliveries of a Webhook are in store: not those of
// others that had its name before, nor those that were orphaned.
func (l *Ledger) CountsOf(name types.NamespacedName, owner types.UID) Counts {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if w, ok := l.webhooks[name]; ok {
		if o := w.known(owner); o != nil {
			return o.counts
		}
	}
	return Counts{}
}

// OldestFinished returns when the first one finished of those deliveries of a Webhook
// that were created before a time, and are finished and still in store; zero if there are
// none. Tests, which are of no event, do not count.
func (l *Ledger) OldestFinished(name types.NamespacedName, owner types.UID, before time.Time) time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	w, ok := l.webhooks[name]
	if !ok {
		return time.Time{}
	}
	var oldest int64
	for _, i := range w.items {
		counts := i.owner.uid == owner && i.finished != 0 && i.since < before.UnixNano() && !testevent.IsEvent(i.event.uid)
		if counts && (oldest == 0 || i.finished < oldest) {
			oldest = i.finished
		}
	}
	return toTime(oldest)
}

// Precision is that of the times in metadata, which are cut to whole seconds.
const Precision = time.Second

// SentBetween returns when requests of a Webhook have ended, in no order: too late rather than
// too early, and for too many rather than too few. Metadata tells when a delivery finished,
// but not of one that a resend is asked for, and that one which is to be tried again was
// attempted before that is due. One that waits for its first attempt was not sent. Of one that
// was attempted more than once, only the last attempt is known; one that is pending may have
// been sent by the process before this one.
func (l *Ledger) SentBetween(name types.NamespacedName, owner types.UID, since, now time.Time) []time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	w, ok := l.webhooks[name]
	if !ok {
		return nil
	}
	var ends []time.Time
	for _, i := range w.items {
		if i.owner.uid != owner || i.pending != nil {
			continue
		}
		end := toTime(max(i.finished, i.nextAttempt)).Add(Precision)
		if i.finished == 0 && i.nextAttempt == 0 && resultCodes[i.result] != v1alpha1.DeliveryWaiting {
			end = now
		}
		if end.After(now) {
			end = now
		}
		if end.After(since) {
			ends = append(ends, end)
		}
	}
	return ends
}

// Totals returns how many deliveries are in store, and how many pending deliveries there are.
func (l *Ledger) Totals() (stored Counts, pending int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.total, l.budget.pending()
}

// Webhooks returns the names of all webhooks that deliveries are known of.
func (l *Ledger) Webhooks() []types.NamespacedName {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := make([]types.NamespacedName, 0, len(l.webhooks))
	for name := range l.webhooks {
		all = append(all, name)
	}
	return all
}

// Add takes in a pending delivery, unless it is known already. It returns false when its
// webhook has no room for one more: the listener is told when there is room for the event.
func (l *Ledger) Add(key types.NamespacedName, d Pending) bool {
	l.mu.Lock()
	if _, ok := l.entries[key]; ok {
		l.budget.forget(d.source(), d.EventUID)
		l.mu.Unlock()
		return true
	}
	if l.budget.room(d.source()) < 1 {
		l.budget.enqueue(d.source(), d.EventUID)
		l.mu.Unlock()
		return false
	}
	snapshot := Entry{
		Key: key, Webhook: d.Webhook, WebhookUID: d.WebhookUID, EventUID: d.EventUID, EventNamespace: d.Event.Namespace, Pending: &d,
	}
	l.budget.forget(d.source(), d.EventUID)
	l.insert(snapshot, 0)
	l.mu.Unlock()
	l.listener.DeliveryChanged(snapshot)
	return true
}

// Withdraw forgets a pending delivery that is not to be made.
func (l *Ledger) Withdraw(key types.NamespacedName) {
	l.mu.Lock()
	i, ok := l.entries[key]
	if !ok || i.pending == nil {
		l.mu.Unlock()
		return
	}
	l.remove(i)
	room, settled := l.budget.wake(), i.event.settled()
	l.mu.Unlock()
	if settled {
		l.listener.EventChanged(i.event.uid)
	}
	l.tellRoom(room)
}

// Amend replaces what is known of a pending delivery.
func (l *Ledger) Amend(key types.NamespacedName, change func(*Pending)) {
	l.mu.Lock()
	i, ok := l.entries[key]
	if !ok || i.pending == nil {
		l.mu.Unlock()
		return
	}
	pending := *i.pending // the one before was handed out
	change(&pending)
	told := pending.Refused != i.pending.Refused
	l.count(i, -1)
	i.pending = &pending
	l.count(i, 1)
	// A pending delivery that cannot be stored is tried again and again. That is all that happens
	// where none can be, and who waits for room must be asked meanwhile.
	room := l.budget.wake()
	l.mu.Unlock()
	if told {
		l.listener.EventChanged(i.event.uid)
	}
	l.tellRoom(room)
}

// Observe takes in a delivery as the API server has it: from the watch, or from
// the answer to a read or a write of the operator's own. What is older than what
// is known already changes nothing.
func (l *Ledger) Observe(m metav1.Object) { l.take(m, false) }

// Assume takes in the answer to a write, unless the delivery was deleted since.
func (l *Ledger) Assume(m metav1.Object) { l.take(m, true) }

func (l *Ledger) take(m metav1.Object, onlyKnown bool) {
	l.mu.Lock()
	if _, known := l.entries[keyOf(m)]; onlyKnown && !known {
		l.mu.Unlock()
		return
	}
	c, changed := l.observe(m)
	l.mu.Unlock()
	if changed {
		l.tell(c)
		l.tellRoom(c.room)
	}
}

// change is what taking in a delivery has changed.
type change struct {
	now, was Entry
	settled  bool        // of the event
	room     []types.UID // events that there is room for now
}

// ended tells whether a delivery has finished, or has finished once more.
func (c change) ended() bool {
	return !c.now.Finished.IsZero() && !c.now.Finished.Equal(c.was.Finished)
}

func (l *Ledger) observe(m metav1.Object) (c change, changed bool) {
	key := keyOf(m)
	version := parseVersion(m.GetResourceVersion())
	old, known := l.entries[key]
	if known && old.pending == nil && old.version >= version {
		return change{}, false
	}
	if known {
		c.was = old.entry()
		l.remove(old)
	}
	c.now = entryOf(key, m)
	c.settled = l.insert(c.now, version).event.settled()
	c.room = l.budget.wake()
	return c, true
}

// Remove takes in that a delivery was deleted, at the given resource version, or,
// where that is empty, for certain.
func (l *Ledger) Remove(key types.NamespacedName, resourceVersion string) {
	l.mu.Lock()
	i, ok := l.entries[key]
	if !ok || i.pending != nil || (resourceVersion != "" && parseVersion(resourceVersion) < i.version) {
		l.mu.Unlock()
		return
	}
	l.listener.DeliveryRemoved(i.entry())
	l.remove(i)
	settled := i.event.settled()
	l.mu.Unlock()
	if settled {
		l.listener.EventChanged(i.event.uid)
	}
	l.listener.WebhookChanged(i.owner.webhook.name)
}

// Replace takes in a list of all deliveries of a namespace, or of all namespaces.
// What it lacks of these is gone, unless it was stored after the list was made.
func (l *Ledger) Replace(namespace string, all []metav1.Object, resourceVersion string) {
	listed := make(map[types.NamespacedName]struct{}, len(all))
	for _, m := range all {
		listed[keyOf(m)] = struct{}{}
	}
	l.mu.RLock()
	var gone []types.NamespacedName
	for key := range l.entries {
		if _, ok := listed[key]; !ok && (namespace == metav1.NamespaceAll || namespace == key.Namespace) {
			gone = append(gone, key)
		}
	}
	l.mu.RUnlock()
	for _, key := range gone {
		l.Remove(key, resourceVersion)
	}
	for _, m := range all {
		l.Observe(m)
	}
	l.mu.Lock()
	delete(l.unlisted, namespace)
	complete := len(l.unlisted) == 0
	l.mu.Unlock()
	if complete {
		l.once.Do(func() { close(l.synced) })
	}
}

func (l *Ledger) tell(c change) {
	if c.now.NeedsAttention() {
		l.listener.DeliveryChanged(c.now)
	}
	if c.now.State.Result == c.was.State.Result && c.was.Pending == nil {
		if c.ended() { // a resend, with the result of before; the counts are the same
			l.listener.WebhookChanged(c.now.Webhook)
		}
		return
	}
	if c.settled {
		l.listener.EventChanged(c.now.EventUID)
	}
	l.listener.WebhookChanged(c.now.Webhook)
}

// NeedsAttention is false for what is finished: the great majority.
func (e Entry) NeedsAttention() bool {
	return e.Pending != nil || e.State.Result == v1alpha1.DeliveryWaiting || e.State.Resend || !e.State.NextAttempt.IsZero()
}

func (l *Ledger) tellRoom(events []types.UID) {
	for _, uid := range events {
		l.listener.RoomAvailable(uid)
	}
}

func keyOf(m metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: m.GetNamespace(), Name: m.GetName()}
}

// entryOf reads a delivery's metadata, which mirrors what the ledger needs of its
// status.
func entryOf(key types.NamespacedName, m metav1.Object) Entry {
	labels, annotations := m.GetLabels(), m.GetAnnotations()
	e := Entry{
		Key:      key,
		UID:      m.GetUID(),
		Webhook:  types.NamespacedName{Namespace: key.Namespace, Name: labels[v1alpha1.LabelWebhook]},
		EventUID: types.UID(labels[v1alpha1.LabelEventUID]),

		EventNamespace: cmp.Or(labels[v1alpha1.LabelEventNamespace], key.Namespace),
		State: retry.State{
			Result:      v1alpha1.DeliveryResult(labels[v1alpha1.LabelResult]),
			NextAttempt: parseTime(annotations[v1alpha1.AnnotationNextAttempt]),
			Since:       m.GetCreationTimestamp().Time,
			Resend:      delivery.ResendPending(annotations),
		},
	}
	for _, owner := range m.GetOwnerReferences() {
		if owner.Kind == "Webhook" {
			e.WebhookUID = owner.UID
		}
	}
	if !e.NeedsAttention() {
		e.Finished = parseTime(annotations[v1alpha1.AnnotationFinished])
		if e.Finished.IsZero() {
			e.Finished = e.State.Since
		}
	}
	return e
}

func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// parseVersion reads a resource version, which since Kubernetes 1.35 is a number
// that grows. What is none counts as the oldest.
func parseVersion(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
