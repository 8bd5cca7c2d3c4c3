package replay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/fanout"
)

var now = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

func TestSince(t *testing.T) {
	for value, want := range map[string]string{
		"2026-11-29T08:00:00Z":        "2026-11-29T08:00:00Z",
		"2026-11-29T16:00:00+08:00":   "2026-11-29T08:00:00Z",
		"2026-11-29T08:00:00.125Z":    "2026-11-29T08:00:00Z",
		"2026-11-29T09:00:30Z":        "2026-11-29T09:00:30Z", // of a clock that is ahead
		"2026-11-29T09:02:00Z":        "in the future",
		"2026-11-29":                  "no time in the form of RFC 3339",
		"2026-11-29 08:00:00":         "no time in the form of RFC 3339",
		"1795939200":                  "no time in the form of RFC 3339",
		"2h":                          "no time in the form of RFC 3339",
		"\x1b[31m2026-11-29T08:00:00": `"\x1b[31m2026`,
	} {
		got, err := Since(value, now)
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", value, err, want)
			}
			continue
		}
		if s := got.UTC().Format(time.RFC3339); s != want {
			t.Errorf("%s: %s, want %s", value, s, want)
		}
	}
}

const (
	valueA = "2026-11-29T08:00:00Z"
	valueB = "2026-11-29T07:00:00Z"
)

func TestBeginAndAsked(t *testing.T) {
	at, before := metav1.NewTime(now), metav1.NewTime(now.Add(-time.Hour))
	status := func(state v1alpha1.ReplayState, ended bool) *v1alpha1.ReplayStatus {
		s := &v1alpha1.ReplayStatus{
			Value: valueA, State: state, StartTime: before, Sent: 7,
			Cursor: &v1alpha1.ReplayCursor{Time: before, Namespace: "music", Name: "e"},
		}
		if ended {
			s.CompletionTime = before
		}
		return s
	}
	changed := func(s *v1alpha1.ReplayStatus, change func(*v1alpha1.ReplayStatus)) *v1alpha1.ReplayStatus {
		change(s)
		return s
	}
	begun := &v1alpha1.ReplayStatus{Value: valueB, State: v1alpha1.ReplayRunning, StartTime: at}
	running, waiting := status(v1alpha1.ReplayRunning, false), status(v1alpha1.ReplayWaiting, false)
	completed, stopped := status(v1alpha1.ReplayCompleted, true), status(v1alpha1.ReplayStopped, true)
	invalid := status(v1alpha1.ReplayInvalid, true)
	stop := func(s *v1alpha1.ReplayStatus) {
		s.State, s.Message, s.CompletionTime = v1alpha1.ReplayStopped, "the annotation was taken away", at
	}
	for name, tc := range map[string]struct {
		was   *v1alpha1.ReplayStatus
		value string
		want  *v1alpha1.ReplayStatus
		asked bool
	}{
		"nothing":                    {nil, "", nil, false},
		"a first value":              {nil, valueB, begun, true},
		"the same while it runs":     {running, valueA, running, true},
		"the same while it waits":    {waiting, valueA, waiting, true},
		"the same once it is done":   {completed, valueA, completed, false},
		"the same that is invalid":   {invalid, valueA, invalid, false},
		"another while one runs":     {running, valueB, begun, true},
		"another once one is done":   {completed, valueB, begun, true},
		"taken away while it runs":   {running, "", changed(running.DeepCopy(), stop), true},
		"taken away while it waits":  {waiting, "", changed(waiting.DeepCopy(), stop), true},
		"taken away once it is done": {completed, "", completed, false},
		"stopped already":            {stopped, "", stopped, false},
		"the same once it was stopped": {stopped, valueA, changed(stopped.DeepCopy(), func(s *v1alpha1.ReplayStatus) {
			s.State, s.Message, s.CompletionTime = v1alpha1.ReplayRunning, "", metav1.Time{}
		}), true},
		"no time": {running, "yesterday", &v1alpha1.ReplayStatus{
			Value: "yesterday", State: v1alpha1.ReplayInvalid, StartTime: at, CompletionTime: at,
			Message: `"yesterday" is no time in the form of RFC 3339, such as 2026-11-29T09:00:00Z`,
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			untouched := tc.was.DeepCopy()
			if diff := cmp.Diff(tc.want, Begin(tc.was, tc.value, now)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(untouched, tc.was); diff != "" {
				t.Errorf("the status before was changed (-want +got):\n%s", diff)
			}
			w := &v1alpha1.Webhook{Status: v1alpha1.WebhookStatus{Replay: tc.was}}
			w.Annotations = map[string]string{v1alpha1.AnnotationReplaySince: tc.value}
			if got := Asked(w); got != tc.asked {
				t.Errorf("asked: %t", got)
			}
		})
	}
}

// A value that the status could not hold would be begun with again and again.
func TestLongValueIsTheSameAgain(t *testing.T) {
	for _, character := range []string{"é", "\U0010ffff", "\x1b"} {
		w := &v1alpha1.Webhook{}
		w.Annotations = map[string]string{v1alpha1.AnnotationReplaySince: strings.Repeat(character, 1000)}
		w.Status.Replay = Begin(nil, ValueOf(w), now)
		if s := w.Status.Replay; s.State != v1alpha1.ReplayInvalid || len([]rune(s.Value)) != 128 || len([]rune(s.Message)) > 1024 {
			t.Errorf("%+v", s)
		}
		if Asked(w) {
			t.Error("it is asked for again")
		}
	}
}

func TestDecide(t *testing.T) {
	const maxAge = 72 * time.Hour
	hour := func(n int) metav1.Time { return metav1.NewTime(now.Add(time.Duration(n) * time.Hour)) }
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Triggers: []v1alpha1.Trigger{"clusters_*"}, Scope: "/music"}}
	w.Namespace, w.Name, w.UID, w.CreationTimestamp = "music", "w", "w", hour(-10)
	event := func(change ...func(*v1alpha1.WebhookEvent)) *v1alpha1.WebhookEvent {
		e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{EventType: "clusters_deployed", ResourcePath: "/music/player"}}
		e.Namespace, e.Name, e.UID, e.CreationTimestamp = "music", "e", "e", hour(-5)
		e.Status = v1alpha1.WebhookEventStatus{ObservedGeneration: 1, Result: v1alpha1.EventUnmatched}
		for _, f := range change {
			f(e)
		}
		return e
	}
	created := func(at metav1.Time) func(*v1alpha1.WebhookEvent) {
		return func(e *v1alpha1.WebhookEvent) { e.CreationTimestamp = at }
	}
	elsewhere := func(e *v1alpha1.WebhookEvent) { e.Namespace = "video" }
	named := func(e *v1alpha1.WebhookEvent) {
		e.Status.Deliveries = []string{delivery.Name(e, w)}
	}
	manyNames := func(e *v1alpha1.WebhookEvent) {
		for i := range fanout.MaxNames {
			e.Status.Deliveries = append(e.Status.Deliveries, fmt.Sprintf("a-%d", i))
		}
	}
	unobserved := func(e *v1alpha1.WebhookEvent) {
		e.Status = v1alpha1.WebhookEventStatus{ObservedGeneration: -1, Result: v1alpha1.EventPending}
	}
	expired := func(e *v1alpha1.WebhookEvent) { e.Status.Result = v1alpha1.EventExpired }
	last := hour(-4)
	for name, tc := range map[string]struct {
		event  *v1alpha1.WebhookEvent
		oldest metav1.Time
		last   metav1.Time
		state  v1alpha1.WebhookState
		want   Verdict
	}{
		"it had none":                             {event: event(), want: Send},
		"its status names it":                     {event: event(named), want: Pass},
		"from before the webhook":                 {event: event(created(hour(-20))), want: Send},
		"from before the webhook, and named":      {event: event(created(hour(-20)), named), want: Pass},
		"of another type":                         {event: event(func(e *v1alpha1.WebhookEvent) { e.Spec.EventType = "members_created" }), want: Pass},
		"out of scope":                            {event: event(func(e *v1alpha1.WebhookEvent) { e.Spec.ResourcePath = "/video" }), want: Pass},
		"going":                                   {event: event(func(e *v1alpha1.WebhookEvent) { e.DeletionTimestamp = new(hour(0)) }), want: Pass},
		"the webhook is disabled":                 {event: event(), state: v1alpha1.WebhookDisabled, want: Pass},
		"the webhook is paused":                   {event: event(), state: v1alpha1.WebhookPaused, want: Send},
		"dispatched long ago":                     {event: event(created(hour(-100))), want: Send},
		"expired":                                 {event: event(expired), want: Expired},
		"expired, and of another type":            {event: event(expired, func(e *v1alpha1.WebhookEvent) { e.Spec.EventType = "members_created" }), want: Pass},
		"old, and nobody worked on it":            {event: event(unobserved, created(hour(-100))), want: Expired},
		"young, and nobody worked on it":          {event: event(unobserved), want: Send},
		"too many names, nothing finished":        {event: event(manyNames), want: Send},
		"too many names, before the oldest":       {event: event(manyNames), oldest: hour(-3), want: Pass},
		"too many names, after the oldest":        {event: event(manyNames), oldest: hour(-6), want: Send},
		"elsewhere, nothing finished":             {event: event(elsewhere), want: Send},
		"elsewhere, before the oldest":            {event: event(elsewhere), oldest: hour(-3), want: Pass},
		"elsewhere, with the oldest":              {event: event(elsewhere), oldest: hour(-5), want: Pass},
		"elsewhere, after the oldest":             {event: event(elsewhere), oldest: hour(-6), want: Send},
		"elsewhere, from before the webhook":      {event: event(elsewhere, created(hour(-20))), oldest: hour(-3), want: Send},
		"elsewhere, none left, before the last":   {event: event(elsewhere), last: last, want: Pass},
		"elsewhere, none left, after the last":    {event: event(elsewhere, created(hour(-3))), last: last, want: Send},
		"here, before the oldest, and not named":  {event: event(), oldest: hour(-3), last: last, want: Send},
		"elsewhere, what its status names is not": {event: event(elsewhere, named), want: Send},
	} {
		t.Run(name, func(t *testing.T) {
			of := w.DeepCopy()
			of.Spec.State = tc.state
			got := Decide(View{
				Event: tc.event, Webhook: of, MaxAge: maxAge, Now: now,
				OldestFinished: func() time.Time { return tc.oldest.Time }, LastAttempt: tc.last.Time,
			})
			if got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}

// What a replay has attempted itself, and tests, tell nothing of what was before.
func TestLastAttempt(t *testing.T) {
	began := now.Truncate(time.Second)
	for name, tc := range map[string]struct {
		last     time.Duration // since the replay began
		test     string
		resumed  bool
		finished int
		want     time.Time
	}{
		"before":                                {last: -time.Hour, want: began.Add(-time.Hour)},
		"a moment before, the clock says after": {last: time.Second, want: began.Add(time.Second)},
		"before, taken over":                    {last: -time.Hour, resumed: true, finished: 10, want: began.Add(-time.Hour)},
		"its own":                               {last: time.Minute, resumed: true, finished: 9, want: began.Add(-24 * time.Hour)},
		"its own, and more may be gone":         {last: time.Minute, resumed: true, finished: 10, want: began},
		"a test":                                {last: -time.Hour, test: "d", finished: 9, want: began.Add(-24 * time.Hour)},
		"a test, and more may be gone":          {last: -time.Hour, test: "d", finished: 10, want: began},
		"there was another test":                {last: -time.Hour, test: "e", want: began.Add(-time.Hour)},
	} {
		w := &v1alpha1.Webhook{}
		w.Spec.Retention = v1alpha1.RetentionPolicy{Limit: new(int32(10)), TTLSecondsAfterFinished: 24 * 60 * 60}
		w.Status.LastDelivery = &v1alpha1.LastDelivery{Name: "d", Time: metav1.NewMicroTime(began.Add(tc.last))}
		if tc.test != "" {
			w.Status.LastTest = &v1alpha1.LastTest{Delivery: tc.test}
		}
		s := &v1alpha1.ReplayStatus{StartTime: metav1.NewTime(began)}
		if got := LastAttempt(w, s, tc.resumed, tc.finished); !got.Equal(tc.want) {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
		w.Status.LastDelivery = nil
		if got := LastAttempt(w, s, tc.resumed, tc.finished); !got.IsZero() {
			t.Errorf("%s, but there was none: %s", name, got)
		}
	}
}
