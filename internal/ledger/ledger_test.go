package ledger

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

const (
	waiting   = v1alpha1.DeliveryWaiting
	succeeded = v1alpha1.DeliverySucceeded
	failed    = v1alpha1.DeliveryFailed
)

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

// ownedBy gives a delivery another owner, or none.
func ownedBy(owner string) func(m *metav1.ObjectMeta) {
	return func(m *metav1.ObjectMeta) {
		m.OwnerReferences[0].UID = types.UID(owner)
		if owner == "" {
			m.OwnerReferences = nil
		}
	}
}

func labelled(key, value string) func(m *metav1.ObjectMeta) {
	return func(m *metav1.ObjectMeta) { m.Labels[key] = value }
}

func pendingOf(event string) Pending {
	return Pending{
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

// results are what a ledger knows: name → result, or "pending".
func results(l *Ledger) map[string]string {
	all := map[string]string{}
	for _, w := range l.Webhooks() {
		for _, e := range l.OfWebhook(w) {
			all[e.Key.Name] = string(e.State.Result)
			if e.Pending != nil {
				all[e.Key.Name] = "pending"
			}
		}
	}
	return all
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
		"a pending delivery, then what is stored": {
			do:   func(l *Ledger) { l.Add(key("d"), pendingOf("e")); l.Observe(object("d", 1, waiting)) },
			want: map[string]string{"d": "Waiting"},
		},
		"what is stored, then a pending delivery": {
			do: func(l *Ledger) {
				l.Observe(object("d", 1, waiting))
				if !l.Add(key("d"), pendingOf("e")) {
					panic("no room")
				}
			},
			want: map[string]string{"d": "Waiting"},
		},
		"a pending delivery, then a list that lacks it": {
			do:   func(l *Ledger) { l.Add(key("d"), pendingOf("e")); l.Replace(metav1.NamespaceAll, nil, "9") },
			want: map[string]string{"d": "pending"},
		},
		"a pending delivery, then a delete of an earlier one": {
			do:   func(l *Ledger) { l.Add(key("d"), pendingOf("e")); l.Remove(key("d"), "9") },
			want: map[string]string{"d": "pending"},
		},
		"a pending delivery is withdrawn":    {do: func(l *Ledger) { l.Add(key("d"), pendingOf("e")); l.Withdraw(key("d")) }, want: gone},
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

func TestAmendLeavesWhatWasHandedOutAlone(t *testing.T) {
	l := New(&told{}, 10)
	l.Add(key("d"), pendingOf("e"))
	before, _ := l.Get(key("d"))
	l.Amend(key("d"), func(d *Pending) { d.Refused = "quota" })
	after, _ := l.Get(key("d"))
	if before.Pending.Refused != "" || after.Pending.Refused != "quota" {
		t.Errorf("before: %q, after: %q", before.Pending.Refused, after.Pending.Refused)
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

// A Webhook that has the name of an earlier one begins with nothing, whatever has
// become of the deliveries of that.
func TestCountsAreThoseOfTheOwner(t *testing.T) {
	l := New(&told{}, 10)
	for i := range 3 {
		l.Observe(object(fmt.Sprint("old", i), 1, waiting, ownedBy("before")))
		l.Observe(object(fmt.Sprint("orphan", i), 1, failed, ownedBy("")))
	}
	want := func(owner types.UID, counts Counts) {
		t.Helper()
		if got := l.CountsOf(key("w"), owner); got != counts {
			t.Errorf("%q has %+v, want %+v", owner, got, counts)
		}
	}
	want("uid of w", Counts{})
	want("before", Counts{Waiting: 3})
	want("", Counts{Failed: 3})
	l.Observe(object("new", 1, waiting))
	l.Observe(object("old0", 2, failed, ownedBy("before")))
	l.Observe(object("old1", 2, waiting, ownedBy(""))) // orphaned
	want("uid of w", Counts{Waiting: 1})
	want("before", Counts{Waiting: 1, Failed: 1})
	want("", Counts{Waiting: 1, Failed: 3})
	if total, _ := l.Totals(); total != (Counts{Waiting: 3, Failed: 4}) {
		t.Errorf("in all %+v", total)
	}
	for _, name := range []string{"old0", "old1", "old2"} {
		l.Remove(key(name), "")
	}
	want("before", Counts{})
	if owners := l.webhooks[key("w")].owners; len(owners) != 2 {
		t.Errorf("%d owners are known, want the two that have deliveries", len(owners))
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	l := New(&told{}, 10)
	l.Add(key("a"), pendingOf("e"))
	l.Add(key("b"), pendingOf("f"))
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
	if len(l.entries)+len(l.events)+len(l.webhooks)+l.budget.waiters.Len()+l.budget.pending() != 0 {
		t.Errorf("entries %v, events %v, webhooks %v, waiters %d, pending %d", l.entries, l.events, l.webhooks, l.budget.waiters.Len(), l.budget.pending())
	}
	if len(l.OfEvent("e")) != 0 || len(l.OfWebhook(key("w"))) != 0 || l.CountsOf(key("w"), "uid of w") != (Counts{}) {
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

func TestOldestFinished(t *testing.T) {
	l := New(&told{}, 10)
	at := func(minutes int) string { return now.Add(time.Duration(minutes) * time.Minute).Format(time.RFC3339) }
	later := now.Add(time.Hour)
	if got := l.OldestFinished(key("w"), "uid of w", later); !got.IsZero() {
		t.Errorf("nothing is known: %s", got)
	}
	l.Observe(object("waits", 1, waiting))
	l.Add(key("pending"), pendingOf("e"))
	if got := l.OldestFinished(key("w"), "uid of w", later); !got.IsZero() {
		t.Errorf("nothing has finished: %s", got)
	}
	l.Observe(object("a", 2, succeeded, annotated(v1alpha1.AnnotationFinished, at(5))))
	l.Observe(object("b", 3, failed, annotated(v1alpha1.AnnotationFinished, at(3))))
	l.Observe(object("of a test", 4, succeeded, of("w", "test-0123"), annotated(v1alpha1.AnnotationFinished, at(1))))
	l.Observe(object("of another owner", 4, succeeded, ownedBy("another"), annotated(v1alpha1.AnnotationFinished, at(1))))
	l.Observe(object("of another webhook", 5, succeeded, of("v", "e"), annotated(v1alpha1.AnnotationFinished, at(1))))
	if got := l.OldestFinished(key("w"), "uid of w", later); !got.Equal(now.Add(3 * time.Minute)) {
		t.Errorf("got %s", got)
	}
	created := object("c", 6, succeeded).GetCreationTimestamp().Time
	if got := l.OldestFinished(key("w"), "uid of w", created); !got.IsZero() {
		t.Errorf("none was created before that: %s", got)
	}
	l.Remove(key("b"), "")
	if got := l.OldestFinished(key("w"), "uid of w", later); !got.Equal(now.Add(5 * time.Minute)) {
		t.Errorf("got %s", got)
	}
}

func TestSentBetween(t *testing.T) {
	at := func(seconds int) string {
		return now.Add(time.Duration(seconds) * time.Second).UTC().Format(time.RFC3339)
	}
	created := func(seconds int) func(m *metav1.ObjectMeta) {
		return func(m *metav1.ObjectMeta) {
			m.CreationTimestamp = metav1.NewTime(now.Add(time.Duration(seconds) * time.Second))
		}
	}
	const finished, next = v1alpha1.AnnotationFinished, v1alpha1.AnnotationNextAttempt
	for name, tc := range map[string]struct {
		object *metav1.ObjectMeta
		want   []int // seconds from now, rounded up
	}{
		"created finished":                       {object("d", 1, succeeded, created(-5)), []int{-4}},
		"at the edge":                            {object("d", 1, succeeded, created(-10)), []int{-9}},
		"before the span":                        {object("d", 1, succeeded, created(-11)), nil},
		"finished later":                         {object("d", 1, failed, created(-60), annotated(finished, at(-3))), []int{-2}},
		"waits for its first attempt":            {object("d", 1, waiting, created(-5)), nil},
		"is to be tried again":                   {object("d", 1, waiting, created(-5), annotated(next, at(20))), []int{0}},
		"is due since":                           {object("d", 1, waiting, created(-5), annotated(next, at(-2))), []int{-1}},
		"was due before the span":                {object("d", 1, waiting, created(-60), annotated(next, at(-20))), nil},
		"a resend is asked for":                  {object("d", 1, succeeded, created(-60), annotated(finished, at(-3)), annotated(v1alpha1.AnnotationResend, "now")), []int{0}},
		"a resend has failed and is tried again": {object("d", 1, succeeded, created(-60), annotated(next, at(9))), []int{0}},
		"of another webhook of the name":         {object("d", 1, succeeded, created(-5), ownedBy("other")), nil},
		"of another webhook":                     {object("d", 1, succeeded, created(-5), of("other", "e")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := New(&told{}, 9)
			l.Add(key("pending"), pendingOf("p"))
			l.Observe(tc.object)
			var got []int
			for _, end := range l.SentBetween(key("w"), "uid of w", now.Add(-10*time.Second), now) {
				got = append(got, int(end.Sub(now).Seconds()))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
