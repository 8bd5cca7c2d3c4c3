package ledger

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
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
func (l *told) DeliveryRemoved(e Entry)                     { l.add("removed %s", e.Key.Name) }
func (l *told) RoomAvailable(event types.UID)               { l.add("room for %s", event) }
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

func TestWhatIsTold(t *testing.T) {
	const delivery, event, webhook = "delivery d", "event e", "webhook w"
	for name, tc := range map[string]struct {
		before, do func(l *Ledger)
		want       []string
	}{
		"a pending delivery":                         {do: func(l *Ledger) { l.Add(key("d"), pendingOf("e")) }, want: []string{delivery}},
		"a pending delivery once more":               {before: func(l *Ledger) { l.Add(key("d"), pendingOf("e")) }, do: func(l *Ledger) { l.Add(key("d"), pendingOf("e")) }},
		"a pending delivery is stored":               {before: func(l *Ledger) { l.Add(key("d"), pendingOf("e")) }, do: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) }, want: []string{event, webhook}},
		"a pending delivery is stored, of no result": {before: func(l *Ledger) { l.Add(key("d"), pendingOf("e")) }, do: func(l *Ledger) { l.Observe(object("d", 1, "")) }, want: []string{event, webhook}},
		"a pending delivery is to wait":              {before: func(l *Ledger) { l.Add(key("d"), pendingOf("e")) }, do: func(l *Ledger) { l.Observe(object("d", 1, waiting)) }, want: []string{delivery, event, webhook}},
		"a pending delivery is withdrawn":            {before: func(l *Ledger) { l.Add(key("d"), pendingOf("e")) }, do: func(l *Ledger) { l.Withdraw(key("d")) }, want: []string{event}},
		"a pending delivery is refused":              {before: func(l *Ledger) { l.Add(key("d"), pendingOf("e")) }, do: func(l *Ledger) { l.Amend(key("d"), func(d *Pending) { d.Refused = "quota" }) }, want: []string{event}},
		"the same refusal again":                     {before: func(l *Ledger) { d := pendingOf("e"); d.Refused = "quota"; l.Add(key("d"), d) }, do: func(l *Ledger) { l.Amend(key("d"), func(d *Pending) { d.Refused = "quota" }) }},
		"one of two pending deliveries is stored": {
			before: func(l *Ledger) { l.Add(key("d"), pendingOf("e")); l.Add(key("x"), pendingOf("e")) },
			do:     func(l *Ledger) { l.Observe(object("x", 1, succeeded)) },
			want:   []string{webhook},
		},
		"the other one is withdrawn": {
			before: func(l *Ledger) {
				l.Add(key("d"), pendingOf("e"))
				l.Add(key("x"), pendingOf("e"))
				l.Observe(object("x", 1, succeeded))
			},
			do:   func(l *Ledger) { l.Withdraw(key("d")) },
			want: []string{event},
		},
		"one is stored beside one that is refused": {
			before: func(l *Ledger) {
				l.Add(key("d"), pendingOf("e"))
				l.Add(key("x"), pendingOf("e"))
				l.Amend(key("d"), func(d *Pending) { d.Refused = "quota" })
			},
			do:   func(l *Ledger) { l.Observe(object("x", 1, succeeded)) },
			want: []string{event, webhook},
		},
		"a refused one is stored beside a pending delivery": {
			before: func(l *Ledger) {
				l.Add(key("d"), pendingOf("e"))
				l.Add(key("x"), pendingOf("e"))
				l.Amend(key("x"), func(d *Pending) { d.Refused = "quota" })
			},
			do:   func(l *Ledger) { l.Observe(object("x", 1, succeeded)) },
			want: []string{webhook},
		},
		"what is stored cannot be amended": {
			before: func(l *Ledger) { l.Observe(object("d", 1, waiting)) },
			do:     func(l *Ledger) { l.Amend(key("d"), func(d *Pending) { d.Refused = "quota" }) },
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
		"a resend ends as before": {
			before: func(l *Ledger) { l.Observe(object("d", 1, succeeded, annotated(v1alpha1.AnnotationResend, "1"))) },
			do: func(l *Ledger) {
				l.Observe(object("d", 2, succeeded, annotated(v1alpha1.AnnotationFinished, "2026-01-02T03:04:05Z")))
			},
			want: []string{webhook},
		},
		"a note on a finished one": {
			before: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) },
			do:     func(l *Ledger) { l.Observe(object("d", 2, succeeded, annotated("example.com/note", "1"))) },
		},
		"what is old":     {before: func(l *Ledger) { l.Observe(object("d", 2, succeeded)) }, do: func(l *Ledger) { l.Observe(object("d", 1, waiting)) }},
		"one is removed":  {before: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) }, do: func(l *Ledger) { l.Remove(key("d"), "2") }, want: []string{event, "removed d", webhook}},
		"nobody is there": {do: func(l *Ledger) { l.Remove(key("d"), "2"); l.Amend(key("d"), func(*Pending) {}) }},
		"a list": {
			before: func(l *Ledger) { l.Observe(object("d", 1, succeeded)) },
			do:     func(l *Ledger) { l.Replace(metav1.NamespaceAll, objects(object("x", 2, waiting)), "2") },
			want:   []string{"delivery x", event, event, "removed d", webhook, webhook},
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
