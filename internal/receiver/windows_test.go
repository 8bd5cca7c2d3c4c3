package receiver

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

// room is a registry on a clock of its own, with what was sent before it began.
type room struct {
	*testing.T
	*Registry
	clock  *clocktesting.FakeClock
	before map[types.UID][]time.Time
	// woken are the Webhooks that the queue was told of.
	woken []string
}

func newRoom(t *testing.T, webhooks ...client.Object) *room {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	r := &room{T: t, clock: clocktesting.NewFakeClock(start), before: map[types.UID][]time.Time{}}
	r.Registry = NewRegistry(fake.NewClientBuilder().WithScheme(scheme).WithObjects(webhooks...).Build(), r.clock)
	r.Sent = func(_ types.NamespacedName, uid types.UID, since, _ time.Time) []time.Time {
		return slices.DeleteFunc(slices.Clone(r.before[uid]), func(t time.Time) bool { return !t.After(since) })
	}
	r.Reconsider = func(w types.NamespacedName) {
		r.Admit(w) // as the queue does, so no lock may be held
		r.woken = append(r.woken, w.Name)
	}
	return r
}

const there = "https://example.com/robot?access_token=1"

// limited is a Webhook with a rate limit; 0 requests are none.
func limited(name string, requests, seconds int32) *v1alpha1.Webhook {
	w := webhookOf(types.UID("uid of "+name), start)
	w.Name, w.Spec.URL = name, there
	if requests > 0 {
		w.Spec.RateLimit = new(limitOfRate(requests, seconds))
	}
	return w
}

func at(w *v1alpha1.Webhook) receiverurl.Target { return receiverurl.Plain(w.Spec.URL) }

// send makes an attempt that ends at once, if it may begin.
func (r *room) send(w *v1alpha1.Webhook) bool {
	permit, ok := r.Of(w).Begin(at(w))
	if ok {
		r.Of(w).End(permit, &Report{Outcome: retry.Accepted, Generation: w.Generation, Target: at(w)})
	}
	return ok
}

// sends makes as many attempts as may begin, up to 100.
func (r *room) sends(w *v1alpha1.Webhook) (n int) {
	for n < 100 && r.send(w) {
		n++
	}
	return n
}

func (r *room) admit(w *v1alpha1.Webhook) queue.Admission {
	return r.Admit(types.NamespacedName{Namespace: w.Namespace, Name: w.Name})
}

func TestRateLimitOfOneWebhook(t *testing.T) {
	r := newRoom(t)
	w := limited("w", 3, 10)
	if got := r.sends(w); got != 3 {
		t.Fatalf("%d began, want 3", got)
	}
	permit, ok := r.Of(w).OnDemand(at(w))
	if ok || !permit.RateLimited() {
		t.Error("a resend does not obey the rate limit, or does not say so")
	}
	r.clock.Step(4 * time.Second)
	want := queue.Admission{
		Limit: defaultLimit, ResendLimit: defaultLimit, RateLimited: true, Wait: 6 * time.Second, ResendWait: 6 * time.Second,
	}
	if got := r.admit(w); got != want {
		t.Errorf("Admit = %+v, want %+v", got, want)
	}
	if why := r.Of(w).WaitReason(); why == nil || why.Reason != v1alpha1.ReasonRateLimited {
		t.Errorf("it waits for %v", why)
	}
	if got := r.Count(); got != (Counts{RateLimited: 1}) {
		t.Errorf("Count = %+v", got)
	}

	// An edit clears nothing, and counts from now on.
	w.Generation, w.Spec.RateLimit.Requests = 2, 4
	if got := r.sends(w); got != 1 {
		t.Errorf("%d began after an edit from 3 to 4, want 1", got)
	}
	r.clock.Step(6 * time.Second)
	if got := r.sends(w); got != 3 {
		t.Errorf("%d began when the first had passed, want 3", got)
	}
	if why := r.Of(w).WaitReason(); why != nil {
		t.Errorf("it waits for %v although nothing asks", why)
	}
}

func TestWhatDoesNotCount(t *testing.T) {
	r := newRoom(t)
	w := limited("w", 1, 10)
	permit, _ := r.Of(w).Begin(at(w))
	r.Of(w).End(permit, &Report{Outcome: retry.Denied, Generation: 1, Target: at(w)})
	if !r.send(w) {
		t.Fatal("what was denied, and not sent, counts")
	}
	r.clock.Step(10 * time.Second)
	permit, _ = r.Of(w).Begin(at(w))
	r.Of(w).End(permit, nil) // a panic, perhaps after it was sent
	if r.send(w) {
		t.Error("what ended in a panic does not count")
	}
	r.clock.Step(10 * time.Second)
	if !r.send(w) {
		t.Error("what ended in a panic keeps its place")
	}
}

// One robot often has several Webhooks. One without a limit is counted and does not wait.
func TestWebhooksOfOneAddressShare(t *testing.T) {
	r := newRoom(t)
	a, b, free := limited("a", 3, 10), limited("b", 5, 10), limited("free", 0, 0)
	elsewhere, foreign := limited("elsewhere", 3, 10), limited("foreign", 3, 10)
	elsewhere.Spec.URL, foreign.Namespace = "https://example.com/other", "film"
	for w, want := range map[*v1alpha1.Webhook]int{elsewhere: 3, foreign: 3} {
		if got := r.sends(w); got != want {
			t.Errorf("%s/%s began %d, want %d", w.Namespace, w.Name, got, want)
		}
	}
	if !r.send(a) || !r.send(free) || !r.send(b) {
		t.Fatal("less than a limit does not begin")
	}
	if r.send(a) {
		t.Error("a does not count what others send")
	}
	if got := r.sends(b); got != 2 {
		t.Errorf("b began %d more, want 2", got)
	}
	if got := r.sends(free); got != 100 {
		t.Errorf("the one without a limit began %d, want 100", got)
	}
	if got := len(r.windows.byAddress[digest("music", at(a))].window.ended); got != 5 {
		t.Errorf("%d ends are kept, want the 5 that a limit asks for", got)
	}
}

// Where no Webhook has a limit, nothing is kept, computed or allocated.
func TestWithoutALimitNothingIsKept(t *testing.T) {
	r := newRoom(t)
	w, other := limited("w", 0, 0), limited("other", 1, 10)
	other.Namespace = "film"
	r.send(other)
	r.Of(w).SetTarget(at(w))
	to, target := r.Of(w), at(w)
	report := &Report{Outcome: retry.Accepted, Generation: 1, Target: target}
	allocated := testing.AllocsPerRun(100, func() {
		permit, _ := to.Begin(target)
		to.End(permit, report)
		to.Admit()
	})
	if allocated != 0 {
		t.Errorf("%v allocations for an attempt", allocated)
	}
	if len(r.windows.byAddress) != 1 || to.digestOf != (receiverurl.Target{}) || to.window != nil {
		t.Errorf("%d windows, digest of %v", len(r.windows.byAddress), to.digestOf)
	}
}

// All places are under way: when there is one depends on an end, which is told.
func TestWaitForAnEndIsWoken(t *testing.T) {
	r := newRoom(t)
	a, b := limited("a", 1, 10), limited("b", 1, 10)
	r.Of(a).SetTarget(at(a))
	r.Of(b).SetTarget(at(b))
	permit, _ := r.Of(a).Begin(at(a))
	r.clock.Step(time.Hour)
	if got := r.admit(b); got.Places != 0 || got.Wait != 0 || !got.RateLimited {
		t.Fatalf("Admit = %+v, want no place and no time", got)
	}
	if len(r.woken) != 0 {
		t.Fatalf("%v were woken", r.woken)
	}
	r.Of(a).End(permit, nil)
	if !slices.Equal(r.woken, []string{"b"}) {
		t.Fatalf("woken: %v, want b", r.woken)
	}
	if got := r.admit(b); got.Wait != 10*time.Second {
		t.Errorf("Admit = %+v, want the time when the place is free", got)
	}
}

// Whoever asks first each time does not get all places, whatever the limits are.
func TestWebhooksOfOneAddressDoNotStarveEachOther(t *testing.T) {
	for name, tc := range map[string]struct{ a, b v1alpha1.RateLimit }{
		"the same limit":    {limitOfRate(4, 2), limitOfRate(4, 2)},
		"a lower one":       {limitOfRate(20, 2), limitOfRate(2, 2)},
		"a longer span":     {limitOfRate(4, 2), limitOfRate(4, 6)},
		"one at a time":     {limitOfRate(1, 1), limitOfRate(1, 1)},
		"lower, and longer": {limitOfRate(20, 1), limitOfRate(1, 10)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t)
			a, b := limited("a", tc.a.Requests, tc.a.PerSeconds), limited("b", tc.b.Requests, tc.b.PerSeconds)
			sent := map[string]int{}
			// Each tick a asks first; its requests begin as soon as they may.
			const ticks = 2000
			for range ticks {
				for _, w := range []*v1alpha1.Webhook{a, b} {
					for r.Of(w).SetTarget(at(w)); r.admit(w).Places > 0 && r.send(w); {
						sent[w.Name]++
					}
				}
				r.clock.Step(50 * time.Millisecond)
			}
			spans := int(ticks * 50 * time.Millisecond / spanOf(tc.b))
			if sent["b"] < spans/3 || sent["a"] < spans/3 {
				t.Errorf("a sent %d, b %d, in %d spans of b", sent["a"], sent["b"], spans)
			}
			t.Logf("a sent %d, b %d, in %d spans of b", sent["a"], sent["b"], spans)
		})
	}
}

// Whose turn it is may have nothing to send any more.
func TestPlaceIsNotKeptForLong(t *testing.T) {
	r := newRoom(t)
	a, b := limited("a", 1, 10), limited("b", 1, 10)
	r.Of(a).SetTarget(at(a))
	r.Of(b).SetTarget(at(b))
	r.send(a)
	r.admit(b)
	r.admit(a)
	r.clock.Step(10 * time.Second)
	if got := r.admit(a); got.Places != 0 || got.Wait != turnTime {
		t.Fatalf("Admit = %+v, want that it is the turn of b", got)
	}
	r.clock.Step(turnTime)
	if !r.send(a) {
		t.Error("a waits for b, which does not want the place")
	}
	if r.admit(a).Wait != 10*time.Second {
		t.Error("the request of a does not count")
	}
}

// One that waits for an end is woken by it, though it had to let others pass meanwhile.
func TestWhoLetsOthersPassIsWoken(t *testing.T) {
	r := newRoom(t)
	low, mid, high := limited("low", 1, 10), limited("mid", 2, 10), limited("high", 3, 10)
	for _, w := range []*v1alpha1.Webhook{low, mid, high} {
		r.Of(w).SetTarget(at(w))
	}
	permit, _ := r.Of(high).Begin(at(high))
	r.admit(low)
	r.clock.Step(10 * time.Second) // its whole span
	if got := r.admit(mid); got.Places != 0 || got.Wait != 0 {
		t.Fatalf("Admit = %+v, want that mid waits for an end, since low does", got)
	}
	r.Forget(types.NamespacedName{Namespace: low.Namespace, Name: low.Name})
	r.admit(high)
	r.clock.Step(turnTime)
	if got := r.admit(high); got.Places < 1 {
		t.Fatalf("Admit = %+v, want that high does not wait for mid", got)
	}
	r.Of(high).End(permit, nil)
	if !slices.Contains(r.woken, "mid") {
		t.Errorf("woken: %v, want mid", r.woken)
	}
}

// A process that takes over counts what was sent before, by all Webhooks of the address.
func TestWhatWasSentBeforeCounts(t *testing.T) {
	ago := func(seconds ...int) (times []time.Time) {
		for _, s := range seconds {
			times = append(times, start.Add(-time.Duration(s)*time.Second))
		}
		return times
	}
	a, b, other, bySecret := limited("a", 6, 10), limited("b", 6, 10), limited("other", 6, 10), limited("by-secret", 6, 10)
	other.Spec.URL = "https://example.com/other"
	bySecret.Spec.URL, bySecret.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "robot", Key: "url"}
	for name, tc := range map[string]struct {
		sent map[types.UID][]time.Time
		want int
	}{
		"nothing":                   {want: 6},
		"some in the span":          {sent: map[types.UID][]time.Time{a.UID: ago(1, 9, 10, 11)}, want: 4},
		"more than there may be":    {sent: map[types.UID][]time.Time{a.UID: ago(1, 2, 3, 4, 5, 6, 7, 8)}},
		"by another of the address": {sent: map[types.UID][]time.Time{a.UID: ago(1), b.UID: ago(2, 3)}, want: 3},
		"by one of another address": {sent: map[types.UID][]time.Time{other.UID: ago(2, 3)}, want: 6},
		"that is not read yet":      {sent: map[types.UID][]time.Time{bySecret.UID: ago(2, 3)}, want: 6},
		"rounded up to come":        {sent: map[types.UID][]time.Time{a.UID: ago(-1)}, want: 5},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, a.DeepCopy(), b.DeepCopy(), other.DeepCopy(), bySecret.DeepCopy())
			r.before = tc.sent
			if got := r.sends(a); got != tc.want {
				t.Errorf("%d began, want %d", got, tc.want)
			}
			if tc.sent[b.UID] != nil {
				r.clock.Step(9 * time.Second) // all but what began here has passed
				if got := r.sends(b); got != 3 {
					t.Errorf("%d of b began, want 3: nothing counts twice", got)
				}
			}
		})
	}
}

// A Secret has the address: nobody knows that two are the same before both were read.
func TestWhatWasSentBeforeCountsOnceTheAddressIsKnown(t *testing.T) {
	a, b := limited("a", 3, 10), limited("b", 3, 10)
	r := newRoom(t, a.DeepCopy())
	r.before[b.UID] = []time.Time{start.Add(-time.Second)}
	r.send(a)
	if got := r.sends(b); got != 1 {
		t.Errorf("%d of b began, want 1 beside that of a and the one before", got)
	}
}

func TestALimitThatGrowsRecalls(t *testing.T) {
	r := newRoom(t)
	w, free := limited("w", 2, 10), limited("free", 0, 0)
	r.before[w.UID] = []time.Time{start.Add(-20 * time.Second), start.Add(-5 * time.Second)}
	r.send(w)
	r.Of(free).SetTarget(at(free))
	if r.send(w) {
		t.Fatal("what was sent before does not count")
	}
	w.Generation, w.Spec.RateLimit = 2, new(limitOfRate(4, 60))
	if got := r.sends(w); got != 1 {
		t.Errorf("%d began by 4 in 60 s, want 1 beside the three", got)
	}
}

// One that joins with a longer span has what the others sent in it counted, and its own once.
func TestALongerSpanCountsEachRequestOnce(t *testing.T) {
	a, b := limited("a", 3, 10), limited("b", 6, 60)
	r := newRoom(t, a.DeepCopy())
	r.before[a.UID] = []time.Time{start.Add(-30 * time.Second)}
	r.before[b.UID] = []time.Time{start.Add(-20 * time.Second), start.Add(-15 * time.Second)}
	r.send(a)
	if got := r.sends(b); got != 2 {
		t.Errorf("%d of b began, want 2 beside two of a and two of its own", got)
	}
}

// Whoever has the receiver of a Webhook that was deleted does not keep its window.
func TestReceiverThatIsGoneJoinsNoWindow(t *testing.T) {
	r := newRoom(t)
	w := limited("w", 2, 10)
	old := r.Of(w)
	next := limited("w", 2, 10)
	next.UID, next.CreationTimestamp.Time = "next", start.Add(time.Second)
	r.Of(next)
	for name, is := range map[string]*Receiver{"held": old, "asked for too late": r.Of(w)} {
		permit, ok := is.Begin(at(w))
		if is.Admit(); !ok || is.window != nil {
			t.Errorf("%s: begun: %t, window %v", name, ok, is.window)
		}
		is.End(permit, nil)
	}
}

// Another address is another window; what was sent to the one does not count for the other.
func TestAddressChanges(t *testing.T) {
	r := newRoom(t)
	w := limited("w", 2, 10)
	r.Of(w).SetTarget(at(w))
	r.sends(w)
	r.before[w.UID] = []time.Time{r.clock.Now(), r.clock.Now()} // as the ledger tells
	old := at(w)
	w.Generation, w.Spec.URL = 2, "https://example.com/moved"
	permit, ok := r.Of(w).Begin(at(w)) // before the controller has seen it
	if ok || permit.RateLimited() {
		t.Fatal("it began at an address that the queue does not ask about")
	}
	r.clock.Step(time.Second)
	r.Of(w).SetTarget(at(w))
	if got := r.sends(w); got != 2 {
		t.Errorf("%d began at the new address, want 2", got)
	}
	w.Generation, w.Spec.URL = 3, old.Reveal()
	r.Of(w).SetTarget(old)
	if r.send(w) {
		t.Error("to move to and fro clears the window")
	}
}

func TestWindowsAreDropped(t *testing.T) {
	r := newRoom(t)
	for i := range 50 {
		w := limited(fmt.Sprint("w", i), 2, 10)
		w.Spec.URL += fmt.Sprint(i)
		r.Of(w).SetTarget(at(w))
		r.sends(w)
	}
	again := limited("w7", 2, 10)
	again.Spec.URL += "7"
	again.UID = "another"
	for i := range 50 {
		r.Forget(types.NamespacedName{Namespace: "music", Name: fmt.Sprint("w", i)})
	}
	if r.send(again) {
		t.Error("to delete and create a webhook clears the window")
	}
	r.Forget(types.NamespacedName{Namespace: "music", Name: "w7"})
	r.clock.Step(10 * time.Second)
	r.Of(again)
	r.send(again)
	w := limited("last", 2, 10)
	if r.send(w); len(r.windows.byAddress) != 2 || r.windows.inNamespace["music"] != 2 {
		t.Errorf("%d windows are left, want 2", len(r.windows.byAddress))
	}
	w.Generation, w.Spec.RateLimit = 2, nil
	r.Forget(types.NamespacedName{Namespace: "music", Name: "w7"})
	r.Of(w)
	r.clock.Step(10 * time.Second)
	r.send(w)
	if r.windows.sweep(r.clock.Now()); len(r.windows.byAddress) != 0 || len(r.windows.inNamespace) != 0 {
		t.Errorf("%d windows are left, want none", len(r.windows.byAddress))
	}
}

// The rate limit holds beside a rest and an open circuit, whose probe takes a place.
func TestRateLimitBesideCircuit(t *testing.T) {
	r := newRoom(t)
	w := limited("w", FailureThreshold, 60)
	for range FailureThreshold {
		permit, ok := r.Of(w).Begin(at(w))
		if !ok {
			t.Fatal("it does not begin")
		}
		r.Of(w).End(permit, &Report{Outcome: retry.Failed, Generation: 1, Target: at(w)})
	}
	got := r.admit(w)
	if !got.OneResend || got.ResendWait != time.Minute || got.Wait != time.Minute {
		t.Errorf("Admit = %+v, want one resend and probe in a minute", got)
	}
	if r.Of(w).WaitReason() != circuitOpen {
		t.Error("the circuit is not the reason")
	}
	r.clock.Step(30 * time.Second)
	for range 2 { // a probe that was refused does not stand in the way of the next
		if permit, ok := r.Of(w).Begin(at(w)); ok || !permit.RateLimited() {
			t.Fatal("the probe is not refused by the rate limit")
		}
	}
	r.clock.Step(30 * time.Second)
	permit, ok := r.Of(w).Begin(at(w))
	if !ok {
		t.Fatal("the probe is refused")
	}
	r.Of(w).End(permit, &Report{Outcome: retry.Failed, Generation: 1, Target: at(w), Rest: time.Hour})
	if got := r.admit(w); got.Wait != time.Hour || got.ResendWait != 0 || got.Places != FailureThreshold-1 {
		t.Errorf("Admit = %+v, want a rest, and places for resends", got)
	}
	if _, ok := r.Of(w).OnDemand(at(w)); !ok {
		t.Error("a resend is refused although there is a place")
	}
}
