package ledger

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/record"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

const (
	waiting   = v1alpha1.DeliveryWaiting
	succeeded = v1alpha1.DeliverySucceeded
	failed    = v1alpha1.DeliveryFailed
)

// told is a listener that writes down what it is told.
type told struct {
	mu    sync.Mutex
	calls []string
}

func (l *told) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, fmt.Sprintf(format, args...))
}

func (l *told) DeliveryChanged(e Entry)                     { l.add("delivery %s", e.Key.Name) }
func (l *told) EventChanged(event types.UID)                { l.add("event %s", event) }
func (l *told) RoomFor(event types.UID)                     { l.add("room for %s", event) }
func (l *told) WebhookChanged(webhook types.NamespacedName) { l.add("webhook %s", webhook.Name) }

// since returns what was told since it was last asked, in order of the alphabet.
func (l *told) since() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	slices.Sort(calls)
	return calls
}

func key(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "music", Name: name}
}

// object is the metadata of a delivery of event "e" for webhook "w".
func object(name string, version int, result v1alpha1.DeliveryResult, changes ...func(m *metav1.ObjectMeta)) *metav1.ObjectMeta {
	m := &metav1.ObjectMeta{
		Namespace: "music", Name: name, UID: types.UID("uid of " + name), ResourceVersion: strconv.Itoa(version),
		CreationTimestamp: metav1.NewTime(now),
		Labels: map[string]string{
			v1alpha1.LabelWebhook: "w", v1alpha1.LabelEventUID: "e", v1alpha1.LabelResult: string(result),
		},
		Annotations:     map[string]string{},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Webhook", Name: "w", UID: "uid of w"}},
	}
	for _, change := range changes {
		change(m)
	}
	return m
}

func annotated(key, value string) func(m *metav1.ObjectMeta) {
	return func(m *metav1.ObjectMeta) { m.Annotations[key] = value }
}

func of(webhook, event string) func(m *metav1.ObjectMeta) {
	return func(m *metav1.ObjectMeta) {
		m.Labels[v1alpha1.LabelWebhook], m.Labels[v1alpha1.LabelEventUID] = webhook, event
	}
}

func draft(event string) Draft {
	return Draft{
		Event: key(event), EventUID: types.UID(event), Webhook: key("w"), WebhookUID: "uid of w",
	}
}

func objects(all ...*metav1.ObjectMeta) []metav1.Object {
	list := make([]metav1.Object, 0, len(all))
	for _, m := range all {
		list = append(list, m)
	}
	return list
}

// results are what a ledger knows: name → result, or "draft".
func results(l *Ledger) map[string]string {
	all := map[string]string{}
	for _, w := range l.Webhooks() {
		for _, e := range l.OfWebhook(w) {
			all[e.Key.Name] = string(e.State.Result)
			if e.Draft != nil {
				all[e.Key.Name] = "draft"
			}
		}
	}
	return all
}

func TestEntryOf(t *testing.T) {
	const later, done = "2026-11-23T10:00:00Z", "2026-11-23T11:00:00Z"
	base := Entry{
		Key: key("d"), UID: "uid of d", Webhook: key("w"), WebhookUID: "uid of w", EventUID: "e",
		State: retry.State{Since: now},
	}
	want := func(change func(e *Entry)) Entry { e := base; change(&e); return e }
	for name, tc := range map[string]struct {
		object        *metav1.ObjectMeta
		want          Entry
		wantAttention bool
	}{
		"succeeded": {
			object: object("d", 1, succeeded),
			want:   want(func(e *Entry) { e.State.Result, e.Finished = succeeded, now }),
		},
		"failed later": {
			object: object("d", 1, failed, annotated(v1alpha1.AnnotationFinished, done)),
			want:   want(func(e *Entry) { e.State.Result, e.Finished = failed, now.Add(2*time.Hour) }),
		},
		"waiting": {
			object: object("d", 1, waiting, annotated(v1alpha1.AnnotationNextAttempt, later)),
			want:   want(func(e *Entry) { e.State.Result, e.State.NextAttempt = waiting, now.Add(time.Hour) }), wantAttention: true,
		},
		"to be resent": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationResend, "1")),
			want:   want(func(e *Entry) { e.State.Result, e.State.Resend = succeeded, true }), wantAttention: true,
		},
		"was resent": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationResend, "1"),
				annotated(v1alpha1.AnnotationResent, record.ResendHash("1")), annotated(v1alpha1.AnnotationFinished, done)),
			want: want(func(e *Entry) { e.State.Result, e.Finished = succeeded, now.Add(2*time.Hour) }),
		},
		"being resent": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationNextAttempt, later)),
			want:   want(func(e *Entry) { e.State.Result, e.State.NextAttempt = succeeded, now.Add(time.Hour) }), wantAttention: true,
		},
		"times that are none": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationNextAttempt, "soon"), annotated(v1alpha1.AnnotationFinished, "lately")),
			want:   want(func(e *Entry) { e.State.Result, e.Finished = succeeded, now }),
		},
		"an orphan": {
			object: object("d", 1, succeeded, func(m *metav1.ObjectMeta) { m.OwnerReferences = nil }),
			want:   want(func(e *Entry) { e.State.Result, e.Finished, e.WebhookUID = succeeded, now, "" }),
		},
		"an orphan to be resent": {
			object: object("d", 1, succeeded, annotated(v1alpha1.AnnotationResend, "1"), func(m *metav1.ObjectMeta) { m.OwnerReferences = nil }),
			want:   want(func(e *Entry) { e.State.Result, e.Finished, e.WebhookUID = succeeded, now, "" }),
		},
		"nothing but a name": {
			object: &metav1.ObjectMeta{Namespace: "music", Name: "d"},
			want:   Entry{Key: key("d"), Webhook: key("")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := entryOf(key("d"), tc.object)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.NeedsAttention() != tc.wantAttention {
				t.Errorf("needs attention: %t", got.NeedsAttention())
			}
		})
	}
}

func TestWhatIsOlderChangesNothing(t *testing.T) {
	gone := map[string]string{}
	for name, tc := range map[string]struct {
		do   func(l *Ledger)
		want map[string]string
	}{
		"an own write, then an older event": {
			do:   func(l *Ledger) { l.Observe(object("d", 5, waiting)); l.Observe(object("d", 4, succeeded)) },
			want: map[string]string{"d": "Waiting"},
		},
		"the same version": {
			do:   func(l *Ledger) { l.Observe(object("d", 5, waiting)); l.Observe(object("d", 5, succeeded)) },
			want: map[string]string{"d": "Waiting"},
		},
		"a newer event": {
			do:   func(l *Ledger) { l.Observe(object("d", 5, waiting)); l.Observe(object("d", 6, succeeded)) },
			want: map[string]string{"d": "Succeeded"},
		},
		"versions are numbers": {
			do:   func(l *Ledger) { l.Observe(object("d", 9, waiting)); l.Observe(object("d", 10, succeeded)) },
			want: map[string]string{"d": "Succeeded"},
		},
		"versions beyond 32 bits": {
			do: func(l *Ledger) {
				l.Observe(object("d", 1<<40+1, waiting))
				l.Observe(object("d", 1<<40, succeeded))
			},
			want: map[string]string{"d": "Waiting"},
		},
		"a list that is older": {
			do: func(l *Ledger) {
				l.Observe(object("d", 5, succeeded))
				l.Replace(metav1.NamespaceAll, objects(object("d", 3, waiting)), "4")
			},
			want: map[string]string{"d": "Succeeded"},
		},
		"an older list that lacks it": {
			do:   func(l *Ledger) { l.Observe(object("d", 5, succeeded)); l.Replace(metav1.NamespaceAll, nil, "4") },
			want: map[string]string{"d": "Succeeded"},
		},
		"a list of its version that lacks it": {
			do: func(l *Ledger) { l.Observe(object("d", 5, succeeded)); l.Replace(metav1.NamespaceAll, nil, "5") }, want: gone,
		},
		"a newer list that lacks it": {
			do: func(l *Ledger) { l.Observe(object("d", 5, succeeded)); l.Replace(metav1.NamespaceAll, nil, "6") }, want: gone,
		},
		"a newer list that has it": {
			do: func(l *Ledger) {
				l.Observe(object("d", 5, waiting))
				l.Replace(metav1.NamespaceAll, objects(object("d", 6, succeeded), object("f", 1, failed)), "6")
			},
			want: map[string]string{"d": "Succeeded", "f": "Failed"},
		},
		"an older delete": {
			do: func(l *Ledger) { l.Observe(object("d", 5, succeeded)); l.Remove(key("d"), "4") }, want: map[string]string{"d": "Succeeded"},
		},
		"a newer delete": {
			do: func(l *Ledger) { l.Observe(object("d", 5, succeeded)); l.Remove(key("d"), "6") }, want: gone,
		},
		"a delete for certain": {
			do: func(l *Ledger) { l.Observe(object("d", 5, succeeded)); l.Remove(key("d"), "") }, want: gone,
		},
		"a delete of what is not known": {do: func(l *Ledger) { l.Remove(key("d"), "6") }, want: gone},
		"a draft, then what is stored": {
			do:   func(l *Ledger) { l.Add(key("d"), draft("e")); l.Observe(object("d", 1, waiting)) },
			want: map[string]string{"d": "Waiting"},
		},
		"what is stored, then a draft": {
			do: func(l *Ledger) {
				l.Observe(object("d", 1, waiting))
				if !l.Add(key("d"), draft("e")) {
					panic("no room")
				}
			},
			want: map[string]string{"d": "Waiting"},
		},
		"a draft, then a list that lacks it": {
			do:   func(l *Ledger) { l.Add(key("d"), draft("e")); l.Replace(metav1.NamespaceAll, nil, "9") },
			want: map[string]string{"d": "draft"},
		},
		"a draft, then a delete of an earlier one": {
			do:   func(l *Ledger) { l.Add(key("d"), draft("e")); l.Remove(key("d"), "9") },
			want: map[string]string{"d": "draft"},
		},
		"a draft is withdrawn":               {do: func(l *Ledger) { l.Add(key("d"), draft("e")); l.Withdraw(key("d")) }, want: gone},
		"what is stored cannot be withdrawn": {do: func(l *Ledger) { l.Observe(object("d", 1, waiting)); l.Withdraw(key("d")) }, want: map[string]string{"d": "Waiting"}},
		"what is not known can":              {do: func(l *Ledger) { l.Withdraw(key("d")) }, want: gone},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(&told{}, 10)
			tc.do(l)
			if diff := cmp.Diff(tc.want, results(l)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Where namespaces are listed one by one, a list says nothing of the others, and
// what is in store is known when all have been listed.
func TestListsOfNamespaces(t *testing.T) {
	in := func(namespace string) func(m *metav1.ObjectMeta) {
		return func(m *metav1.ObjectMeta) { m.Namespace = namespace }
	}
	l := New(&told{}, 10, "music", "video")
	synced := func() bool {
		select {
		case <-l.Synced():
			return true
		default:
			return false
		}
	}
	for _, step := range []struct {
		namespace string
		list      []metav1.Object
		version   string
		want      map[string]string
		synced    bool
	}{
		{"music", objects(object("d", 1, waiting)), "1", map[string]string{"d": "Waiting"}, false},
		{"music", objects(object("d", 2, succeeded)), "2", map[string]string{"d": "Succeeded"}, false},
		{"video", objects(object("v", 3, failed, in("video"))), "3", map[string]string{"d": "Succeeded", "v": "Failed"}, true},
		{"video", nil, "4", map[string]string{"d": "Succeeded"}, true},
		{"music", nil, "5", map[string]string{}, true},
	} {
		l.Replace(step.namespace, step.list, step.version)
		if diff := cmp.Diff(step.want, results(l)); diff != "" {
			t.Errorf("after version %s (-want +got):\n%s", step.version, diff)
		}
		if synced() != step.synced {
			t.Errorf("after version %s: synced %t", step.version, synced())
		}
	}
}

func TestWhatIsTold(t *testing.T) {
	const delivery, event, webhook = "delivery d", "event e", "webhook w"
	for name, tc := range map[string]struct {
		before, do func(l *Ledger)
		want       []string
	}{
		"a draft":                         {do: func(l *Ledger) { l.Add(key("d"), draft("e")) }, want: []string{delivery}},
		"a draft once more":               {before: func(l *Ledger) { l.Add(key("d"), draft("e")) }, do: func(l *Ledger) { l.Add(key("d"), draft("e")) }},
		"a draft is stored":               {before: func(l *Ledger) { l.Add(key("d"), draft("e")) }, do: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) }, want: []string{event, webhook}},
		"a draft is stored, of no result": {before: func(l *Ledger) { l.Add(key("d"), draft("e")) }, do: func(l *Ledger) { l.Observe(object("d", 1, "")) }, want: []string{event, webhook}},
		"a draft is to wait":              {before: func(l *Ledger) { l.Add(key("d"), draft("e")) }, do: func(l *Ledger) { l.Observe(object("d", 1, waiting)) }, want: []string{delivery, event, webhook}},
		"a draft is withdrawn":            {before: func(l *Ledger) { l.Add(key("d"), draft("e")) }, do: func(l *Ledger) { l.Withdraw(key("d")) }, want: []string{event}},
		"a draft is refused":              {before: func(l *Ledger) { l.Add(key("d"), draft("e")) }, do: func(l *Ledger) { l.Amend(key("d"), func(d *Draft) { d.Refused = "quota" }) }, want: []string{event}},
		"the same refusal again":          {before: func(l *Ledger) { d := draft("e"); d.Refused = "quota"; l.Add(key("d"), d) }, do: func(l *Ledger) { l.Amend(key("d"), func(d *Draft) { d.Refused = "quota" }) }},
		"one of two drafts is stored": {
			before: func(l *Ledger) { l.Add(key("d"), draft("e")); l.Add(key("x"), draft("e")) },
			do:     func(l *Ledger) { l.Observe(object("x", 1, succeeded)) },
			want:   []string{webhook},
		},
		"the other one is withdrawn": {
			before: func(l *Ledger) {
				l.Add(key("d"), draft("e"))
				l.Add(key("x"), draft("e"))
				l.Observe(object("x", 1, succeeded))
			},
			do:   func(l *Ledger) { l.Withdraw(key("d")) },
			want: []string{event},
		},
		"one is stored beside one that is refused": {
			before: func(l *Ledger) {
				l.Add(key("d"), draft("e"))
				l.Add(key("x"), draft("e"))
				l.Amend(key("d"), func(d *Draft) { d.Refused = "quota" })
			},
			do:   func(l *Ledger) { l.Observe(object("x", 1, succeeded)) },
			want: []string{event, webhook},
		},
		"a refused one is stored beside a draft": {
			before: func(l *Ledger) {
				l.Add(key("d"), draft("e"))
				l.Add(key("x"), draft("e"))
				l.Amend(key("x"), func(d *Draft) { d.Refused = "quota" })
			},
			do:   func(l *Ledger) { l.Observe(object("x", 1, succeeded)) },
			want: []string{webhook},
		},
		"what is stored cannot be amended": {
			before: func(l *Ledger) { l.Observe(object("d", 1, waiting)) },
			do:     func(l *Ledger) { l.Amend(key("d"), func(d *Draft) { d.Refused = "quota" }) },
		},
		"a finished one appears": {do: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) }, want: []string{event, webhook}},
		"a waiting one appears":  {do: func(l *Ledger) { l.Observe(object("d", 1, waiting)) }, want: []string{delivery, event, webhook}},
		"one is finished":        {before: func(l *Ledger) { l.Observe(object("d", 1, waiting)) }, do: func(l *Ledger) { l.Observe(object("d", 2, failed)) }, want: []string{event, webhook}},
		"a retry is put off":     {before: func(l *Ledger) { l.Observe(object("d", 1, waiting)) }, do: func(l *Ledger) { l.Observe(object("d", 2, waiting)) }, want: []string{delivery}},
		"a resend is asked for": {
			before: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) },
			do:     func(l *Ledger) { l.Observe(object("d", 2, succeeded, annotated(v1alpha1.AnnotationResend, "1"))) },
			want:   []string{delivery},
		},
		"a note on a finished one": {
			before: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) },
			do:     func(l *Ledger) { l.Observe(object("d", 2, succeeded, annotated("example.com/note", "1"))) },
		},
		"what is old":     {before: func(l *Ledger) { l.Observe(object("d", 2, succeeded)) }, do: func(l *Ledger) { l.Observe(object("d", 1, waiting)) }},
		"one is removed":  {before: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) }, do: func(l *Ledger) { l.Remove(key("d"), "2") }, want: []string{event, webhook}},
		"nobody is there": {do: func(l *Ledger) { l.Remove(key("d"), "2"); l.Amend(key("d"), func(*Draft) {}) }},
		"a list": {
			before: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) },
			do:     func(l *Ledger) { l.Replace(metav1.NamespaceAll, objects(object("x", 2, waiting)), "2") },
			want:   []string{"delivery x", event, event, webhook, webhook},
		},
	} {
		t.Run(name, func(t *testing.T) {
			listener := &told{}
			l := New(listener, 10)
			if tc.before != nil {
				tc.before(l)
			}
			listener.since()
			tc.do(l)
			if diff := cmp.Diff(tc.want, listener.since()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAmendLeavesWhatWasHandedOutAlone(t *testing.T) {
	l := New(&told{}, 10)
	l.Add(key("d"), draft("e"))
	before, _ := l.Get(key("d"))
	l.Amend(key("d"), func(d *Draft) { d.Refused = "quota" })
	after, _ := l.Get(key("d"))
	if before.Draft.Refused != "" || after.Draft.Refused != "quota" {
		t.Errorf("before: %q, after: %q", before.Draft.Refused, after.Draft.Refused)
	}
}

func TestSynced(t *testing.T) {
	l := New(&told{}, 10)
	l.Observe(object("d", 1, waiting))
	select {
	case <-l.Synced():
		t.Fatal("synced before there was a list")
	default:
	}
	for range 2 { // a watch lists again
		l.Replace(metav1.NamespaceAll, objects(object("d", 1, waiting)), "1")
		select {
		case <-l.Synced():
		default:
			t.Fatal("not synced")
		}
	}
}

// What a receiver refuses must not always be what it is tried with.
func TestAnyDue(t *testing.T) {
	l := New(&told{}, 10)
	later := func(m *metav1.ObjectMeta) {
		m.Annotations[v1alpha1.AnnotationNextAttempt] = now.Add(time.Minute).Format(time.RFC3339)
	}
	l.Observe(object("a", 1, waiting))
	l.Observe(object("b", 1, waiting))
	l.Observe(object("not yet", 1, waiting, later))
	l.Observe(object("done", 1, succeeded))
	l.Observe(object("of another", 1, waiting, func(m *metav1.ObjectMeta) { m.OwnerReferences[0].UID = "before" }))
	l.Add(key("draft"), draft("e"))
	seen := map[string]int{}
	for range 100 {
		e, ok := l.AnyDue(key("w"), "uid of w", now)
		if !ok {
			t.Fatal("nothing is due")
		}
		seen[e.Key.Name]++
	}
	if len(seen) != 2 || seen["a"] == 0 || seen["b"] == 0 {
		t.Errorf("due are %v, want a and b", seen)
	}
	if _, ok := l.AnyDue(key("unknown"), "", now); ok {
		t.Error("something is due of a webhook that is not known")
	}
}

// An event that finds no room is told once there is as much as its webhook has
// taken: less would not be worth the work.
func TestRoom(t *testing.T) {
	for name, free := range map[string]func(l *Ledger, name string){
		"stored":    func(l *Ledger, name string) { l.Observe(object(name, 1, succeeded)) },
		"withdrawn": func(l *Ledger, name string) { l.Withdraw(key(name)) },
	} {
		t.Run(name, func(t *testing.T) {
			listener := &told{}
			l := New(listener, 24) // a third for one webhook alone
			for n := range 8 {
				if !l.Add(key(fmt.Sprint("d", n)), draft("e")) {
					t.Fatalf("no room for %d", n)
				}
			}
			if l.Add(key("x"), draft("short")) || l.Add(key("y"), draft("shorter")) {
				t.Fatal("there is more room than there should be")
			}
			if _, ok := l.Get(key("x")); ok {
				t.Error("it is known though there was no room")
			}
			if !l.Add(key("d0"), draft("e")) {
				t.Error("what is known needs no room")
			}
			listener.since()
			free(l, "d0")
			for _, call := range listener.since() {
				if call == "room for short" {
					t.Error("told while there was hardly any room")
				}
			}
			free(l, "d1")
			calls := listener.since()
			if !slices.Contains(calls, "room for short") || !slices.Contains(calls, "room for shorter") {
				t.Errorf("not told: %v", calls)
			}
			free(l, "d2")
			if calls := listener.since(); slices.Contains(calls, "room for short") {
				t.Errorf("told twice: %v", calls)
			}
			if !l.Add(key("x"), draft("short")) {
				t.Error("there is no room after all")
			}
		})
	}
	t.Run("for one", func(t *testing.T) {
		listener := &told{}
		l := New(listener, 1)
		l.Add(key("d"), draft("e"))
		l.Add(key("x"), draft("short"))
		listener.since()
		l.Observe(object("d", 1, waiting))
		if calls := listener.since(); !slices.Contains(calls, "room for short") {
			t.Errorf("not told: %v", calls)
		}
	})
}

func TestNothingIsLeftBehind(t *testing.T) {
	l := New(&told{}, 10)
	l.Add(key("a"), draft("e"))
	l.Add(key("b"), draft("f"))
	l.Observe(object("a", 1, waiting))
	l.Observe(object("a", 2, succeeded))
	l.Observe(object("c", 3, failed, of("v", "g")))
	l.Observe(object("c", 4, failed, of("u", "h"))) // somebody has changed its labels
	if diff := cmp.Diff([]string{"u", "w"}, webhookNames(l)); diff != "" {
		t.Errorf("webhooks (-want +got):\n%s", diff)
	}
	l.Withdraw(key("b"))
	l.Remove(key("a"), "5")
	l.Remove(key("c"), "")
	if len(l.entries)+len(l.events)+len(l.webhooks)+len(l.budget.short)+l.budget.drafts != 0 {
		t.Errorf("entries %v, events %v, webhooks %v, short %v, drafts %d", l.entries, l.events, l.webhooks, l.budget.short, l.budget.drafts)
	}
	if len(l.OfEvent("e")) != 0 || len(l.OfWebhook(key("w"))) != 0 || l.CountsOf(key("w")) != (Counts{}) {
		t.Error("something is known of what is gone")
	}
}

func webhookNames(l *Ledger) []string {
	var names []string
	for _, w := range l.Webhooks() {
		names = append(names, w.Name)
	}
	slices.Sort(names)
	return names
}

// model is a ledger that is too simple to be wrong.
type model struct {
	capacity int
	stored   map[string]modelled
	drafts   map[string]string // name → event
}

type modelled struct {
	version        int
	result         v1alpha1.DeliveryResult
	webhook, event string
}

func (m *model) results() map[string]string {
	all := map[string]string{}
	for name, d := range m.stored {
		all[name] = string(d.result)
	}
	for name := range m.drafts {
		all[name] = "draft"
	}
	return all
}

func (m *model) counts(webhook string) (c Counts) {
	for _, d := range m.stored {
		switch {
		case d.webhook != webhook:
		case d.result == succeeded:
			c.Succeeded++
		case d.result == failed:
			c.Failed++
		default:
			c.Waiting++
		}
	}
	return c
}

func (m *model) ofEvent(event string) (names []string) {
	for name, d := range m.stored {
		if d.event == event {
			names = append(names, name)
		}
	}
	for name, e := range m.drafts {
		if e == event {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (m *model) observe(name string, d modelled) {
	if old, ok := m.stored[name]; ok && old.version >= d.version {
		return
	}
	delete(m.drafts, name)
	m.stored[name] = d
}

func (m *model) remove(name string, version int) {
	if d, ok := m.stored[name]; ok && d.version <= version {
		delete(m.stored, name)
	}
}

func TestLikeTheModel(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 4))
	pick := func(of ...string) string { return of[chance.IntN(len(of))] }
	for range 100 {
		l := New(&told{}, 12) // a third for one webhook alone
		m := &model{capacity: 4, stored: map[string]modelled{}, drafts: map[string]string{}}
		for step := range 200 {
			name, version := fmt.Sprint("d", chance.IntN(10)), chance.IntN(step+1)+1
			result := []v1alpha1.DeliveryResult{waiting, succeeded, failed, ""}[chance.IntN(4)]
			webhook, event := pick("w", "v"), pick("e", "f", "g")
			switch chance.IntN(6) {
			case 0:
				_, stored := m.stored[name]
				_, drafted := m.drafts[name]
				room := len(m.drafts) < m.capacity
				if !stored && !drafted && room {
					m.drafts[name] = event
				}
				if got, want := l.Add(key(name), draft(event)), stored || drafted || room; got != want {
					t.Fatalf("Add = %t, want %t", got, want)
				}
			case 1, 2:
				m.observe(name, modelled{version, result, webhook, event})
				l.Observe(object(name, version, result, of(webhook, event)))
			case 3:
				m.remove(name, version)
				l.Remove(key(name), strconv.Itoa(version))
			case 4:
				delete(m.drafts, name)
				l.Withdraw(key(name))
			case 5:
				listed := map[string]modelled{}
				var list []metav1.Object
				for range chance.IntN(6) {
					name := fmt.Sprint("d", chance.IntN(10))
					if _, ok := listed[name]; ok {
						continue
					}
					listed[name] = modelled{chance.IntN(version) + 1, result, webhook, event}
					list = append(list, object(name, listed[name].version, result, of(webhook, event)))
				}
				for name := range maps.Clone(m.stored) {
					if _, ok := listed[name]; !ok {
						m.remove(name, version)
					}
				}
				for name, d := range listed {
					m.observe(name, d)
				}
				l.Replace(metav1.NamespaceAll, list, strconv.Itoa(version))
			}
			compare(t, l, m)
		}
	}
}

func compare(t *testing.T, l *Ledger, m *model) {
	t.Helper()
	if diff := cmp.Diff(m.results(), results(l)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if l.budget.drafts != len(m.drafts) {
		t.Fatalf("%d drafts, want %d", l.budget.drafts, len(m.drafts))
	}
	for _, w := range []string{"w", "v"} {
		if diff := cmp.Diff(m.counts(w), l.CountsOf(key(w))); diff != "" {
			t.Fatalf("counts of %s (-want +got):\n%s", w, diff)
		}
	}
	for _, e := range []string{"e", "f", "g"} {
		var names []string
		for _, known := range l.OfEvent(types.UID(e)) {
			names = append(names, known.Key.Name)
		}
		slices.Sort(names)
		if diff := cmp.Diff(m.ofEvent(e), names, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("of event %s (-want +got):\n%s", e, diff)
		}
	}
}

// Counts are never negative, the budget is kept, and indexes agree, whoever does
// what at once; and where the versions decide, the order of arrival does not.
func TestConcurrently(t *testing.T) {
	const capacity = 5
	listener := &told{}
	l := New(listener, 3*capacity) // a third for one webhook alone
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(worker), 6))
			for range 400 {
				name, version := fmt.Sprint("d", chance.IntN(12)), chance.IntN(1000)+1
				result := []v1alpha1.DeliveryResult{waiting, succeeded, failed}[version%3]
				switch chance.IntN(8) {
				case 0, 1:
					l.Add(key(name), draft("e"))
				case 2, 3:
					l.Observe(object(name, version, result))
				case 4:
					l.Remove(key(name), strconv.Itoa(version))
				case 5:
					l.Withdraw(key(name))
				case 6:
					l.Amend(key(name), func(d *Draft) { d.Refused = name })
				case 7:
					l.Replace(metav1.NamespaceAll, objects(object(name, version, result)), strconv.Itoa(version))
				}
				if c := l.CountsOf(key("w")); c.Waiting < 0 || c.Succeeded < 0 || c.Failed < 0 || c.Waiting+c.Succeeded+c.Failed > 12 {
					t.Errorf("counts %+v", c)
				}
				drafts := 0
				for _, e := range l.OfEvent("e") {
					if e.Draft != nil {
						drafts++
					}
				}
				if drafts > capacity {
					t.Errorf("%d drafts", drafts)
				}
				l.Get(key(name))
				l.Webhooks()
			}
		})
	}
	workers.Wait()

	counts := Counts{}
	for _, e := range l.OfWebhook(key("w")) {
		switch {
		case e.Draft != nil:
		case e.State.Result == succeeded:
			counts.Succeeded++
		case e.State.Result == failed:
			counts.Failed++
		default:
			counts.Waiting++
		}
	}
	if diff := cmp.Diff(counts, l.CountsOf(key("w"))); diff != "" {
		t.Errorf("counts (-entries +counted):\n%s", diff)
	}
	for n := range 12 {
		l.Withdraw(key(fmt.Sprint("d", n)))
		l.Remove(key(fmt.Sprint("d", n)), "")
	}
	if len(l.entries)+len(l.events)+len(l.webhooks)+l.budget.drafts != 0 {
		t.Errorf("left: entries %v, events %v, webhooks %v, drafts %d", l.entries, l.events, l.webhooks, l.budget.drafts)
	}
}
