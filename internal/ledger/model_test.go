package ledger

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// model is a ledger that is too simple to be wrong.
type model struct {
	capacity int
	stored   map[string]modelled
	pending  map[string]string // name → event
}

type modelled struct {
	version               int
	result                v1alpha1.DeliveryResult
	webhook, owner, event string
}

func (m *model) results() map[string]string {
	all := map[string]string{}
	for name, d := range m.stored {
		all[name] = string(d.result)
	}
	for name := range m.pending {
		all[name] = "pending"
	}
	return all
}

func (m *model) counts(webhook, owner string) (c Counts) {
	for _, d := range m.stored {
		switch {
		case d.webhook != webhook || d.owner != owner:
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
	for name, e := range m.pending {
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
	delete(m.pending, name)
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
		l := New(&told{}, 16) // a quarter for one webhook alone
		m := &model{capacity: 4, stored: map[string]modelled{}, pending: map[string]string{}}
		for step := range 200 {
			name, version := fmt.Sprint("d", chance.IntN(10)), chance.IntN(step+1)+1
			result := []v1alpha1.DeliveryResult{waiting, succeeded, failed, ""}[chance.IntN(4)]
			webhook, owner, event := pick("w", "v"), pick("uid of w", "before", ""), pick("e", "f", "g")
			switch chance.IntN(6) {
			case 0:
				_, stored := m.stored[name]
				_, known := m.pending[name]
				room := len(m.pending) < m.capacity
				if !stored && !known && room {
					m.pending[name] = event
				}
				if got, want := l.Add(key(name), pendingOf(event)), stored || known || room; got != want {
					t.Fatalf("Add = %t, want %t", got, want)
				}
			case 1, 2:
				m.observe(name, modelled{version, result, webhook, owner, event})
				l.Observe(object(name, version, result, of(webhook, event), ownedBy(owner)))
			case 3:
				m.remove(name, version)
				l.Remove(key(name), strconv.Itoa(version))
			case 4:
				delete(m.pending, name)
				l.Withdraw(key(name))
			case 5:
				listed := map[string]modelled{}
				var list []metav1.Object
				for range chance.IntN(6) {
					name := fmt.Sprint("d", chance.IntN(10))
					if _, ok := listed[name]; ok {
						continue
					}
					listed[name] = modelled{chance.IntN(version) + 1, result, webhook, owner, event}
					list = append(list, object(name, listed[name].version, result, of(webhook, event), ownedBy(owner)))
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
	if l.budget.pending() != len(m.pending) {
		t.Fatalf("%d pending deliveries, want %d", l.budget.pending(), len(m.pending))
	}
	for _, w := range []string{"w", "v"} {
		for _, owner := range []string{"uid of w", "before", ""} {
			if diff := cmp.Diff(m.counts(w, owner), l.CountsOf(key(w), types.UID(owner))); diff != "" {
				t.Fatalf("counts of %s owned by %q (-want +got):\n%s", w, owner, diff)
			}
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
	l := New(listener, 4*capacity) // a quarter for one webhook alone
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(worker), 6))
			for range 400 {
				name, version := fmt.Sprint("d", chance.IntN(12)), chance.IntN(1000)+1
				result := []v1alpha1.DeliveryResult{waiting, succeeded, failed}[version%3]
				switch chance.IntN(8) {
				case 0, 1:
					l.Add(key(name), pendingOf("e"))
				case 2, 3:
					l.Observe(object(name, version, result))
				case 4:
					l.Remove(key(name), strconv.Itoa(version))
				case 5:
					l.Withdraw(key(name))
				case 6:
					l.Amend(key(name), func(d *Pending) { d.Refused = name })
				case 7:
					l.Replace(metav1.NamespaceAll, objects(object(name, version, result)), strconv.Itoa(version))
				}
				if c := l.CountsOf(key("w"), "uid of w"); c.Waiting < 0 || c.Succeeded < 0 || c.Failed < 0 || c.Waiting+c.Succeeded+c.Failed > 12 {
					t.Errorf("counts %+v", c)
				}
				pending := 0
				for _, e := range l.OfEvent("e") {
					if e.Pending != nil {
						pending++
					}
				}
				if pending > capacity {
					t.Errorf("%d pending deliveries", pending)
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
		case e.Pending != nil:
		case e.State.Result == succeeded:
			counts.Succeeded++
		case e.State.Result == failed:
			counts.Failed++
		default:
			counts.Waiting++
		}
	}
	if diff := cmp.Diff(counts, l.CountsOf(key("w"), "uid of w")); diff != "" {
		t.Errorf("counts (-entries +counted):\n%s", diff)
	}
	for n := range 12 {
		l.Withdraw(key(fmt.Sprint("d", n)))
		l.Remove(key(fmt.Sprint("d", n)), "")
	}
	if len(l.entries)+len(l.events)+len(l.webhooks)+l.budget.pending() != 0 {
		t.Errorf("left: entries %v, events %v, webhooks %v, pending %d", l.entries, l.events, l.webhooks, l.budget.pending())
	}
}
