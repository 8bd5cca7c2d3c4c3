package eventcache

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// told writes down what a listener is told.
type told []string

func (t *told) EventAdded(e Event)   { *t = append(*t, "added "+e.Key.Name) }
func (t *told) EventUpdated(e Event) { *t = append(*t, "updated "+e.Key.Name) }
func (t *told) EventRemoved(e Event) { *t = append(*t, "removed "+e.Key.Name) }

func newCache() (*Cache, *told, *clocktesting.FakeClock) {
	listener, clock := &told{}, clocktesting.NewFakeClock(now)
	return New(listener, clock), listener, clock
}

func event(name string, version int, changes ...func(*v1alpha1.WebhookEvent)) *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "music", Name: name, UID: types.UID("uid-" + name), ResourceVersion: strconv.Itoa(version), CreationTimestamp: metav1.NewTime(now),
		},
		Spec:   v1alpha1.WebhookEventSpec{EventType: "clusters_deployed", ResourcePath: "/music/player"},
		Status: v1alpha1.WebhookEventStatus{ObservedGeneration: -1, Result: v1alpha1.EventPending},
	}
	for _, change := range changes {
		change(e)
	}
	return e
}

func result(r v1alpha1.EventResult, counts v1alpha1.DeliveryCounts) func(*v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) {
		e.Status = v1alpha1.WebhookEventStatus{
			ObservedGeneration: 1, Result: r, Counts: counts,
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDispatched, Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(now)}},
		}
	}
}

func succeeded(e *v1alpha1.WebhookEvent) {
	result(v1alpha1.EventSucceeded, v1alpha1.DeliveryCounts{Succeeded: 1})(e)
}

func waiting(e *v1alpha1.WebhookEvent) {
	result(v1alpha1.EventWaiting, v1alpha1.DeliveryCounts{Waiting: 1})(e)
}

func failedAndWaiting(e *v1alpha1.WebhookEvent) {
	result(v1alpha1.EventFailed, v1alpha1.DeliveryCounts{Failed: 1, Waiting: 1})(e)
}

func failedAndDone(e *v1alpha1.WebhookEvent) {
	result(v1alpha1.EventFailed, v1alpha1.DeliveryCounts{Succeeded: 1, Failed: 1})(e)
}

func aged(age time.Duration) func(*v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) { e.CreationTimestamp = metav1.NewTime(now.Add(-age)) }
}

func TestObjectIsKeptWhileTheEventIsNotFinished(t *testing.T) {
	c, _, _ := newCache()
	for i, step := range []struct {
		change       func(*v1alpha1.WebhookEvent)
		wantFinished bool
	}{
		{func(*v1alpha1.WebhookEvent) {}, false},
		{waiting, false},
		{failedAndWaiting, false},
		{succeeded, true},
		{waiting, false}, // a resend, say
		{result(v1alpha1.EventFailed, v1alpha1.DeliveryCounts{Failed: 1}), true},
		{result(v1alpha1.EventUnmatched, v1alpha1.DeliveryCounts{}), true},
		{result(v1alpha1.EventExpired, v1alpha1.DeliveryCounts{}), true},
	} {
		e := event("e", i+1, step.change)
		c.Observe(e)
		got, ok := c.Get(e.UID)
		if !ok || got.Finished != step.wantFinished || (got.Object == e) == step.wantFinished {
			t.Errorf("step %d: %+v", i, got)
		}
		if got.Counts != e.Status.Counts || got.Key.Name != "e" || got.Version != uint64(i+1) || got.Dispatched.IsZero() != (i == 0) {
			t.Errorf("step %d: %+v", i, got)
		}
		if due, _ := c.Oldest(1, now, func(types.UID) bool { return false }); (len(due) == 1) != step.wantFinished {
			t.Errorf("step %d: %d finished", i, len(due))
		}
	}
}

func TestWhatIsTold(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*Cache)
		want told
	}{
		"a new one":           {func(c *Cache) { c.Observe(event("n", 5)) }, told{"added n"}},
		"the same once more":  {func(c *Cache) { c.Observe(event("e", 2)) }, nil},
		"an old view":         {func(c *Cache) { c.Observe(event("e", 1, waiting)) }, nil},
		"a change":            {func(c *Cache) { c.Observe(event("e", 3)) }, told{"updated e"}},
		"an own write":        {func(c *Cache) { c.Assume(event("e", 3, succeeded), nil); c.Observe(event("e", 3, succeeded)) }, nil},
		"own write of a gone": {func(c *Cache) { c.Assume(event("gone", 3, succeeded), nil) }, nil},
		"removed":             {func(c *Cache) { c.Remove("uid-e"); c.Remove("uid-e") }, told{"removed e"}},
		"a list": {
			func(c *Cache) { c.Replace("", []*v1alpha1.WebhookEvent{event("b", 7), event("a", 8, aged(time.Hour))}) },
			told{"removed e", "added a", "added b"},
		},
		"a list of another namespace": {func(c *Cache) { c.Replace("video", nil) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c, listener, _ := newCache()
			c.Observe(event("e", 2))
			*listener = nil
			tc.do(c)
			if diff := cmp.Diff(tc.want, *listener); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A watch that lags behind an own write must not bring back what was before it.
func TestOwnWriteIsNotUndone(t *testing.T) {
	c, _, _ := newCache()
	c.Observe(event("e", 1))
	c.Assume(event("e", 5, succeeded), nil)
	c.Observe(event("e", 3, waiting))
	if e, _ := c.Get("uid-e"); !e.Finished {
		t.Errorf("%+v", e)
	}
}

func TestRecent(t *testing.T) {
	c, _, clock := newCache()
	names := func(namespace string) (all []string) {
		for _, r := range c.Recent(namespace) {
			all = append(all, fmt.Sprintf("%s %d %t", r.Key.Name, r.Version, r.Dispatched.IsZero()))
		}
		return all
	}
	c.Observe(event("old", 1, aged(Window+time.Second)))
	c.Observe(event("a", 2, aged(Window-time.Minute)))
	c.Observe(event("b", 3))
	c.Observe(event("other", 4, func(e *v1alpha1.WebhookEvent) { e.Namespace = "video" }))
	c.Observe(event("b", 9, succeeded)) // its version is that of its creation all the same
	if diff := cmp.Diff([]string{"a 2 true", "b 3 false"}, names("music")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a 2 true", "b 3 false", "other 4 true"}, names("")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	clock.Step(2 * time.Minute)
	c.Remove("uid-b")
	if diff := cmp.Diff([]string{"other 4 true"}, names("")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i := range 1000 { // what is forgotten takes no room
		clock.Step(time.Minute)
		c.Observe(event(fmt.Sprint(i), 10+i, func(e *v1alpha1.WebhookEvent) { e.CreationTimestamp = metav1.NewTime(clock.Now()) }))
	}
	if len(c.recent) > 4*int(Window/time.Minute) {
		t.Errorf("%d are kept", len(c.recent))
	}
}

func TestRemovedRecordsAreToldUntilTheyAreCounted(t *testing.T) {
	c, _, _ := newCache()
	c.Observe(event("e", 1, waiting))
	record := func(namespace, name string) types.NamespacedName {
		return types.NamespacedName{Namespace: namespace, Name: name}
	}
	c.DeliveryRemoved("uid-e", record("music", "d1"), v1alpha1.DeliveryWaiting)
	first, _ := c.Get("uid-e")
	c.DeliveryRemoved("uid-e", record("music", "d2"), v1alpha1.DeliverySucceeded)
	c.DeliveryRemoved("uid-e", record("horizon-system", "d3"), v1alpha1.DeliveryWaiting) // does not count for the event
	c.DeliveryRemoved("nobody", record("music", "d4"), v1alpha1.DeliveryWaiting)
	second, _ := c.Get("uid-e")
	want := map[string]v1alpha1.DeliveryResult{"d1": v1alpha1.DeliveryWaiting, "d2": v1alpha1.DeliverySucceeded}
	if diff := cmp.Diff(want, second.Removed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.Assume(event("e", 2, waiting), first.Removed)
	third, _ := c.Get("uid-e")
	if diff := cmp.Diff(map[string]v1alpha1.DeliveryResult{"d2": v1alpha1.DeliverySucceeded}, third.Removed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.Assume(event("e", 3, succeeded), third.Removed)
	c.DeliveryRemoved("uid-e", record("music", "d1"), v1alpha1.DeliverySucceeded) // finished: its counts tell of that
	if last, _ := c.Get("uid-e"); last.Removed != nil || c.events["uid-e"].work != nil {
		t.Errorf("%+v", last)
	}
	c.DeliveryRemoved("uid-e", record("music", "late"), v1alpha1.DeliveryWaiting) // and not of what came later
	last, _ := c.Get("uid-e")
	if diff := cmp.Diff(map[string]v1alpha1.DeliveryResult{"late": v1alpha1.DeliveryWaiting}, last.Removed); diff != "" || !last.Finished {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.Assume(event("e", 4, failedAndDone), last.Removed)
	if last, _ := c.Get("uid-e"); !last.Finished || c.events["uid-e"].work != nil {
		t.Errorf("%+v", last)
	}
}

func TestOldest(t *testing.T) {
	c, _, _ := newCache()
	for i, hours := range []int{3, 1, 5, 2, 4} {
		c.Observe(event(strconv.Itoa(hours), i+1, succeeded, aged(time.Duration(hours)*time.Hour)))
	}
	c.Observe(event("waits", 9, waiting, aged(9*time.Hour)))
	c.Observe(event("5", 10, waiting, aged(5*time.Hour))) // it is not finished after all
	c.Remove("uid-3")
	leaveOut := func(types.UID) bool { return false }
	names := func(n int, age time.Duration) (all []string, next time.Time) {
		due, next := c.Oldest(n, now.Add(-age), leaveOut)
		for _, e := range due {
			all = append(all, e.Key.Name)
		}
		return all, next
	}
	for range 2 { // looking changes nothing
		if due, _ := names(10, 90*time.Minute); strings.Join(due, " ") != "4 2" {
			t.Errorf("due: %v", due)
		}
		if due, _ := names(1, 0); strings.Join(due, " ") != "4" {
			t.Errorf("due: %v", due)
		}
		leaveOut = func(uid types.UID) bool { return uid == "uid-4" }
		if due, _ := names(1, 0); strings.Join(due, " ") != "2" {
			t.Errorf("due: %v", due)
		}
		leaveOut = func(types.UID) bool { return false }
		if due, next := names(10, 6*time.Hour); len(due) > 0 || !next.Equal(now.Add(-4*time.Hour)) {
			t.Errorf("due: %v, next %s", due, next)
		}
	}
}

func TestSynced(t *testing.T) {
	c := New(&told{}, clocktesting.NewFakeClock(now), "music", "video")
	known := func() bool {
		select {
		case <-c.Synced():
			return true
		default:
			return false
		}
	}
	c.Replace("music", nil)
	if known() {
		t.Error("one of two namespaces was listed")
	}
	c.Replace("video", nil)
	c.Replace("video", nil)
	if !known() {
		t.Error("both were listed")
	}
}

// What a finished event takes, its name and its timer included.
func TestFinishedEventsTakeLittleMemory(t *testing.T) {
	const n, most = 20000, 512
	c, _, _ := newCache()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range n {
		e := event(fmt.Sprintf("horizon-%d", 78402+i), i+1, aged(time.Hour))
		e.UID = types.UID(fmt.Sprintf("6741f2a0-4f0c-4a1b-8e7d-%012x", i))
		e.Spec.Extra = strings.Repeat("x", 4<<10)
		c.Observe(e)
		e = e.DeepCopy()
		e.ResourceVersion = strconv.Itoa(n + i + 1)
		succeeded(e)
		c.Observe(e)
	}
	per := float64(heap()-before) / n
	t.Logf("%.0f bytes for each", per)
	if per > most {
		t.Errorf("%.0f bytes for each, more than %d", per, most)
	}
	runtime.KeepAlive(c)
}
