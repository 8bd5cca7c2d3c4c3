package record

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

var policy = retry.Policy{Limit: 2, MinBackoff: 10 * time.Second, MaxBackoff: time.Minute, GiveUpAfter: time.Hour}

func event() *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{
		EventType:    "clusters_deployed",
		ResourcePath: "/music/player/web/web-prod",
		Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod"},
	}}
	e.Namespace, e.Name, e.UID = "music", "horizon-78402", "6f0a6a4e-4c7a-4a3b-9f6e-2f3d7b0f1c11"
	e.CreationTimestamp = metav1.NewTime(now)
	return e
}

func webhook() *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{}
	w.Namespace, w.Name, w.UID = "music", "smoke-tests", "0d8f3a52-86a4-4a42-9d8e-8a2d0c3f5e77"
	return w
}

func draft() *v1alpha1.WebhookDelivery {
	return New(event(), webhook(), []byte(`{"eventID":78402,"webhookID":7,"eventType":"clusters_deployed"}`))
}

// stored is what the API server makes of a record: times are whole seconds.
func stored(t testing.TB, d *v1alpha1.WebhookDelivery) *v1alpha1.WebhookDelivery {
	t.Helper()
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	read := &v1alpha1.WebhookDelivery{}
	if err := json.Unmarshal(data, read); err != nil {
		t.Fatal(err)
	}
	if read.CreationTimestamp.IsZero() {
		read.CreationTimestamp = metav1.NewTime(now)
	}
	return read
}

func exchange(code int, at time.Time) sending.Exchange {
	return sending.Exchange{
		Start: at, Duration: 12 * time.Millisecond,
		RequestHeader: "Content-Type: application/json;charset=utf-8\nX-Horizon-Webhook-Secret: [redacted]",
		Response:      &sending.Response{StatusCode: code, Header: "Date: Mon, 23 Nov 2026 09:00:00 GMT", Body: "ok"},
	}
}

func silence(at time.Time) sending.Exchange {
	return sending.Exchange{
		Start: at, Duration: 30 * time.Second, RequestHeader: "User-Agent: test", Err: context("timeout after 30s while connecting"),
	}
}

type context string

func (c context) Error() string { return string(c) }

func interrupted(at time.Time) sending.Exchange {
	x := silence(at)
	x.Interrupted = true
	return x
}

func attempt(cause v1alpha1.AttemptCause, x sending.Exchange) Attempt {
	return Attempt{Cause: cause, URL: "https://ci.example.com/hooks", Exchange: x, Policy: policy, Chance: 0.5}
}

// annotate asks for a resend, as kubectl annotate does.
func annotate(d *v1alpha1.WebhookDelivery, value string) {
	setAnnotation(d, v1alpha1.AnnotationResend, value)
}

func resend(d *v1alpha1.WebhookDelivery, value string, x sending.Exchange) retry.Verdict {
	annotate(d, value)
	a := attempt(v1alpha1.CauseResend, x)
	a.Resend = value
	return Add(d, a)
}

func kstatusOf(t testing.TB, d *v1alpha1.WebhookDelivery) status.Status {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(d)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetGeneration(3)
	result, err := status.Compute(u)
	if err != nil {
		t.Fatal(err)
	}
	return result.Status
}

func golden(t *testing.T, name string, object any) {
	t.Helper()
	got, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// Names and ids must never change: a name that did would make a second record,
// an id that did would make a receiver take a repetition for news.
func TestNameAndMessageIDNeverChange(t *testing.T) {
	if got, want := Name(event(), webhook()), "smoke-tests-6b040090-2540c9f399e11854"; got != want {
		t.Errorf("Name = %q, want %q", got, want)
	}
	got := MessageID(event().UID, webhook().UID)
	if want := "whd_2540c9f399e118540ad4047c57dc1e4a"; got != want {
		t.Errorf("MessageID = %q, want %q", got, want)
	}
	if got != MessageID(draft().Spec.EventRef.UID, draft().Spec.WebhookRef.UID) {
		t.Error("the id that a delivery's references give is another one")
	}
}

func TestName(t *testing.T) {
	for name, tc := range map[string]struct {
		webhook string
		at      time.Time
	}{
		"short":               {webhook: "a", at: now},
		"longest":             {webhook: strings.Repeat("a", 63), at: now},
		"with dots":           {webhook: "a.b-c.d", at: now},
		"beginning of time":   {webhook: "a", at: time.Unix(0, 0)},
		"the year 2105":       {webhook: strings.Repeat("a", 63), at: time.Date(2105, 12, 31, 0, 0, 0, 0, time.UTC)},
		"the year 9999":       {webhook: strings.Repeat("a", 63), at: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
		"an event of no time": {webhook: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			e, w := event(), webhook()
			e.CreationTimestamp, w.Name = metav1.NewTime(tc.at), tc.webhook
			got := Name(e, w)
			if problems := validation.IsDNS1123Subdomain(got); problems != nil {
				t.Errorf("%q: %v", got, problems)
			}
			if len(got) > 253 {
				t.Errorf("%q has %d characters", got, len(got))
			}
			if got != Name(e, w) {
				t.Error("it is not the same twice")
			}
		})
	}
}

func TestNamesSortInTimeOrder(t *testing.T) {
	var names []string
	for _, at := range []time.Time{
		time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC), now, now.Add(time.Second), now.Add(time.Minute),
		now.Add(240 * time.Hour), time.Date(2039, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2105, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		for n := range 20 {
			e := event()
			e.CreationTimestamp, e.UID = metav1.NewTime(at), types.UID(fmt.Sprint(n))
			names = append(names, Name(e, webhook())[:len("smoke-tests-00000000")])
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %q", names)
	}
}

func TestNamesAndIDsTellPairsApart(t *testing.T) {
	names, ids := map[string]string{}, map[string]string{}
	uids := []types.UID{"", "a", "b", "ab", "ba", "aa", "a/", "/a", "event", "webhook"}
	for _, eventUID := range uids {
		for _, webhookUID := range uids {
			if strings.Contains(string(eventUID+webhookUID), "/") {
				continue // no UID contains one
			}
			e, w := event(), webhook()
			e.UID, w.UID = eventUID, webhookUID
			pair := fmt.Sprintf("%q %q", eventUID, webhookUID)
			if other, ok := names[Name(e, w)]; ok {
				t.Errorf("%s and %s have the same name", pair, other)
			}
			if other, ok := ids[MessageID(e.UID, w.UID)]; ok {
				t.Errorf("%s and %s have the same id", pair, other)
			}
			names[Name(e, w)], ids[MessageID(e.UID, w.UID)] = pair, pair
		}
	}
}

func TestNew(t *testing.T) {
	golden(t, "new", draft())
}

// A delivery that succeeds at once is one write, and this is all of it.
func TestDeliveredAtOnce(t *testing.T) {
	d := draft()
	if verdict := Add(d, attempt(v1alpha1.CauseInitial, exchange(200, now))); verdict != retry.Accepted {
		t.Errorf("verdict %d", verdict)
	}
	golden(t, "delivered", d)
}

func TestFailedAtOnceAndRetried(t *testing.T) {
	d := draft()
	Add(d, attempt(v1alpha1.CauseInitial, silence(now)))
	golden(t, "retrying", d)
}

func TestResourceName(t *testing.T) {
	for name, tc := range map[string]struct {
		event v1alpha1.WebhookEventSpec
		want  string
	}{
		"nothing": {},
		"cluster before application": {
			event: v1alpha1.WebhookEventSpec{
				Cluster: &v1alpha1.ClusterInfo{Name: "web-prod"}, Application: &v1alpha1.ApplicationInfo{Name: "web"},
			},
			want: "web-prod",
		},
		"cluster without a name": {
			event: v1alpha1.WebhookEventSpec{Cluster: &v1alpha1.ClusterInfo{}, Application: &v1alpha1.ApplicationInfo{Name: "web"}},
			want:  "web",
		},
		"pipelinerun":       {event: v1alpha1.WebhookEventSpec{Pipelinerun: &v1alpha1.PipelinerunInfo{ClusterName: "web-prod"}}, want: "web-prod"},
		"member":            {event: v1alpha1.WebhookEventSpec{Member: &v1alpha1.MemberInfo{MemberName: "alice"}}, want: "alice"},
		"path":              {event: v1alpha1.WebhookEventSpec{ResourcePath: "/music/player"}, want: "player"},
		"path with a slash": {event: v1alpha1.WebhookEventSpec{ResourcePath: "/music/player/"}, want: "player"},
		"root":              {event: v1alpha1.WebhookEventSpec{ResourcePath: "/"}},
		"slashes":           {event: v1alpha1.WebhookEventSpec{ResourcePath: "///"}},
		"long path":         {event: v1alpha1.WebhookEventSpec{ResourcePath: "/" + strings.Repeat("a", 1023)}, want: strings.Repeat("a", 253)},
		"long path beyond ASCII": {
			event: v1alpha1.WebhookEventSpec{ResourcePath: "/" + strings.Repeat("\u97f3", 1023)},
			want:  strings.Repeat("\u97f3", 253),
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := event()
			e.Spec = tc.event
			got := New(e, webhook(), []byte("{}")).Spec.ResourceName
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("resourceName (-want +got):\n%s", diff)
			}
			if !utf8.ValidString(got) {
				t.Errorf("%q is not valid UTF-8", got)
			}
		})
	}
}

// summary is what a table compares of a delivery.
type summary struct {
	Result    v1alpha1.DeliveryResult
	Reason    string
	Delivered metav1.ConditionStatus
	Kstatus   status.Status
	Attempts  int32
	// Resend is the attempts of the resend cycle, -1 where there is none.
	Resend int32
	// Next is how long after now the next attempt is due, 0 where none is.
	Next     time.Duration
	Finished string
}

func summarise(t *testing.T, d *v1alpha1.WebhookDelivery) summary {
	t.Helper()
	c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
	if c == nil {
		t.Fatal("Delivered is missing")
	}
	s := summary{
		Result: d.Status.Result, Reason: c.Reason, Delivered: c.Status, Kstatus: kstatusOf(t, d),
		Attempts: d.Status.Attempts, Resend: -1, Finished: d.Annotations[v1alpha1.AnnotationFinished],
	}
	if d.Status.Resend != nil {
		s.Resend = d.Status.Resend.Attempts
	}
	if !d.Status.NextAttemptTime.IsZero() {
		s.Next = d.Status.NextAttemptTime.Sub(now)
	}
	return s
}

// What sequences of operations make of a delivery, and of what kstatus says.
func TestSequences(t *testing.T) {
	initial := func(code int) func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		return func(t *testing.T, d *v1alpha1.WebhookDelivery) {
			Add(d, attempt(v1alpha1.CauseInitial, exchange(code, now)))
			*d = *stored(t, d)
		}
	}
	retried := func(code int, later time.Duration) func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		return func(t *testing.T, d *v1alpha1.WebhookDelivery) {
			Add(d, attempt(v1alpha1.CauseRetry, exchange(code, now.Add(later))))
		}
	}
	resent := func(value string, code int, later time.Duration) func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		return func(t *testing.T, d *v1alpha1.WebhookDelivery) { resend(d, value, exchange(code, now.Add(later))) }
	}
	hold := func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		Hold(d, v1alpha1.ReasonPaused, "the webhook is Paused", now)
		*d = *stored(t, d)
	}
	giveUp := func(reason string) func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		return func(t *testing.T, d *v1alpha1.WebhookDelivery) { GiveUp(d, reason, "given up", now.Add(time.Hour)) }
	}
	denied := func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		x := silence(now)
		x.Denied = true
		Add(d, attempt(v1alpha1.CauseInitial, x))
		*d = *stored(t, d)
	}
	type steps []func(t *testing.T, d *v1alpha1.WebhookDelivery)

	for name, tc := range map[string]struct {
		steps steps
		want  summary
	}{
		"delivered at once": {
			steps: steps{initial(200)},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 1, Resend: -1,
			},
		},
		"held": {
			steps: steps{hold},
			want: summary{
				Result: v1alpha1.DeliveryWaiting, Reason: v1alpha1.ReasonPaused, Delivered: metav1.ConditionUnknown,
				Kstatus: status.InProgressStatus, Resend: -1,
			},
		},
		"held, then delivered": {
			steps: steps{hold, retried(200, time.Hour)},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 1, Resend: -1, Finished: "2026-11-23T10:00:00Z",
			},
		},
		"held, then given up": {
			steps: steps{hold, giveUp(v1alpha1.ReasonWaitedTooLong)},
			want: summary{
				Result: v1alpha1.DeliveryFailed, Reason: v1alpha1.ReasonWaitedTooLong, Delivered: metav1.ConditionFalse,
				Kstatus: status.FailedStatus, Resend: -1, Finished: "2026-11-23T10:00:00Z",
			},
		},
		"failed once": {
			steps: steps{initial(500)},
			want: summary{
				Result: v1alpha1.DeliveryWaiting, Reason: v1alpha1.ReasonRetrying, Delivered: metav1.ConditionUnknown,
				Kstatus: status.InProgressStatus, Attempts: 1, Resend: -1, Next: 11 * time.Second, // rounded up
			},
		},
		"failed twice": {
			steps: steps{initial(500), retried(500, 11*time.Second)},
			want: summary{
				Result: v1alpha1.DeliveryWaiting, Reason: v1alpha1.ReasonRetrying, Delivered: metav1.ConditionUnknown,
				Kstatus: status.InProgressStatus, Attempts: 2, Resend: -1, Next: 32 * time.Second,
			},
		},
		"retries exhausted": {
			steps: steps{initial(500), retried(500, 11*time.Second), retried(503, 32*time.Second)},
			want: summary{
				Result: v1alpha1.DeliveryFailed, Reason: v1alpha1.ReasonRetriesExhausted, Delivered: metav1.ConditionFalse,
				Kstatus: status.FailedStatus, Attempts: 3, Resend: -1, Finished: "2026-11-23T09:00:32Z",
			},
		},
		"gone at once": {
			steps: steps{initial(410)},
			want: summary{
				Result: v1alpha1.DeliveryFailed, Reason: v1alpha1.ReasonGone, Delivered: metav1.ConditionFalse,
				Kstatus: status.FailedStatus, Attempts: 1, Resend: -1,
			},
		},
		"denied": {
			steps: steps{denied},
			want: summary{
				Result: v1alpha1.DeliveryFailed, Reason: v1alpha1.ReasonEgressDenied, Delivered: metav1.ConditionFalse,
				Kstatus: status.FailedStatus, Attempts: 1, Resend: -1,
			},
		},
		"denied, then resent and delivered": {
			steps: steps{denied, resent("1", 200, time.Minute)},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 2, Resend: 1, Finished: "2026-11-23T09:01:00Z",
			},
		},
		"a failed one is resent and delivered": {
			steps: steps{initial(410), resent("1", 200, time.Minute)},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 2, Resend: 1, Finished: "2026-11-23T09:01:00Z",
			},
		},
		"the budget of a resend is fresh": {
			steps: steps{initial(500), retried(500, 11*time.Second), retried(503, 32*time.Second), resent("1", 500, time.Hour*100)},
			want: summary{
				Result: v1alpha1.DeliveryWaiting, Reason: v1alpha1.ReasonRetrying, Delivered: metav1.ConditionUnknown,
				Kstatus: status.InProgressStatus, Attempts: 4, Resend: 1, Next: 100*time.Hour + 11*time.Second,
			},
		},
		"and ends like the first": {
			steps: steps{
				initial(410), resent("1", 500, time.Minute), retried(500, 72*time.Second), retried(500, 93*time.Second),
			},
			want: summary{
				Result: v1alpha1.DeliveryFailed, Reason: v1alpha1.ReasonRetriesExhausted, Delivered: metav1.ConditionFalse,
				Kstatus: status.FailedStatus, Attempts: 4, Resend: 3, Finished: "2026-11-23T09:01:33Z",
			},
		},
		"a delivered one is resent and fails": {
			steps: steps{initial(200), resent("1", 500, time.Minute)},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.InProgressStatus, Attempts: 2, Resend: 1, Next: 71 * time.Second,
			},
		},
		"a delivered one is resent and fails for good": {
			steps: steps{
				initial(200), resent("1", 500, time.Minute), retried(500, 72*time.Second), retried(500, 93*time.Second),
			},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 4, Resend: 3, Finished: "2026-11-23T09:01:33Z",
			},
		},
		"a delivered one is resent and gone": {
			steps: steps{initial(200), resent("1", 410, time.Minute)},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 2, Resend: 1, Finished: "2026-11-23T09:01:00Z",
			},
		},
		"a delivered one is given up in its resend": {
			steps: steps{initial(200), resent("1", 500, time.Minute), giveUp(v1alpha1.ReasonWebhookGone)},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 2, Resend: 1, Finished: "2026-11-23T10:00:00Z",
			},
		},
		"a resend during retries begins a new cycle": {
			steps: steps{initial(500), retried(500, 11*time.Second), resent("1", 500, 20*time.Second)},
			want: summary{
				Result: v1alpha1.DeliveryWaiting, Reason: v1alpha1.ReasonRetrying, Delivered: metav1.ConditionUnknown,
				Kstatus: status.InProgressStatus, Attempts: 3, Resend: 1, Next: 31 * time.Second,
			},
		},
		"a second resend begins another": {
			steps: steps{initial(410), resent("1", 500, 0), retried(500, 11*time.Second), resent("2", 500, 20*time.Second)},
			want: summary{
				Result: v1alpha1.DeliveryWaiting, Reason: v1alpha1.ReasonRetrying, Delivered: metav1.ConditionUnknown,
				Kstatus: status.InProgressStatus, Attempts: 4, Resend: 1, Next: 31 * time.Second,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := draft()
			for _, step := range tc.steps {
				step(t, d)
			}
			if diff := cmp.Diff(tc.want, summarise(t, d)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestInterruptedDoesNotCount(t *testing.T) {
	t.Run("first attempt", func(t *testing.T) {
		d := draft()
		if verdict := Add(d, attempt(v1alpha1.CauseInitial, interrupted(now))); verdict != retry.Interrupted {
			t.Errorf("verdict %d", verdict)
		}
		d = stored(t, d)
		want := summary{
			Result: v1alpha1.DeliveryWaiting, Reason: v1alpha1.ReasonRetrying, Delivered: metav1.ConditionUnknown,
			Kstatus: status.InProgressStatus, Resend: -1, Next: 30 * time.Second,
		}
		if diff := cmp.Diff(want, summarise(t, d)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if len(d.Status.History) != 1 || d.Status.History[0].Error == "" {
			t.Errorf("the log says nothing of it: %+v", d.Status.History)
		}
	})
	t.Run("again and again", func(t *testing.T) {
		d := draft()
		for range 30 {
			Add(d, attempt(v1alpha1.CauseInitial, interrupted(now)))
		}
		if d.Status.Result != v1alpha1.DeliveryWaiting || d.Status.Attempts != 0 {
			t.Errorf("result %s after %d attempts", d.Status.Result, d.Status.Attempts)
		}
	})
	t.Run("resend of a delivered one", func(t *testing.T) {
		d := draft()
		Add(d, attempt(v1alpha1.CauseInitial, exchange(200, now)))
		d = stored(t, d)
		resend(d, "1", interrupted(now.Add(time.Minute)))
		want := summary{
			Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
			Kstatus: status.InProgressStatus, Attempts: 1, Resend: 0, Next: 90 * time.Second,
		}
		if diff := cmp.Diff(want, summarise(t, d)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		// It goes on by itself, and not as if nothing had been sent before.
		step := retry.Next(StateOf(d), webhook(), false, now.Add(time.Hour))
		if diff := cmp.Diff(retry.Step{Deed: retry.Send, Cause: v1alpha1.CauseRetry}, step); diff != "" {
			t.Errorf("what comes next (-want +got):\n%s", diff)
		}
	})
}

func TestHistoryTellsOfTheLastTen(t *testing.T) {
	d := draft()
	for n := range 25 {
		Add(d, attempt(v1alpha1.CauseRetry, exchange(500+n, now.Add(time.Duration(n)*time.Minute))))
	}
	var got []int32
	for _, a := range d.Status.History {
		got = append(got, a.StatusCode)
	}
	if diff := cmp.Diff([]int32{524, 523, 522, 521, 520, 519, 518, 517, 516, 515}, got); diff != "" {
		t.Errorf("status codes (-want +got):\n%s", diff)
	}
	if d.Status.Attempts != 25 {
		t.Errorf("%d attempts", d.Status.Attempts)
	}
}

func TestErrorOfAnAttempt(t *testing.T) {
	code := func(code int, change func(x *sending.Exchange)) sending.Exchange {
		x := exchange(code, now)
		if change != nil {
			change(&x)
		}
		return x
	}
	pointing := func(to string) func(x *sending.Exchange) {
		return func(x *sending.Exchange) { x.Response.Location = to }
	}
	for name, tc := range map[string]struct {
		exchange sending.Exchange
		want     string
	}{
		"accepted":      {exchange: code(200, nil)},
		"created there": {exchange: code(201, pointing("https://ci.example.com/runs/1"))},
		"accepted, body broken off": {
			exchange: code(200, func(x *sending.Exchange) { x.Err = context("the answer broke off") }),
			want:     "answered 200 OK, but the body could not be read: the answer broke off",
		},
		"refused": {exchange: code(404, nil), want: "answered 404 Not Found"},
		"moved":   {exchange: code(301, nil), want: "answered 301 Moved Permanently; redirects are not followed"},
		"moved there": {
			exchange: code(308, pointing("https://new.example.com/")),
			want:     "answered 308 Permanent Redirect; redirects are not followed; it points to https://new.example.com/",
		},
		"silent": {exchange: silence(now), want: "timeout after 30s while connecting"},
	} {
		t.Run(name, func(t *testing.T) {
			d := draft()
			Add(d, attempt(v1alpha1.CauseInitial, tc.exchange))
			if diff := cmp.Diff(tc.want, d.Status.History[0].Error); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("bounded", func(t *testing.T) {
		d := draft()
		Add(d, attempt(v1alpha1.CauseInitial, code(301, pointing(strings.Repeat("\u97f3", sending.MaxLocation/3)))))
		got := d.Status.History[0].Error
		if len(got) > sending.MaxError || !utf8.ValidString(got) {
			t.Errorf("%d bytes, valid: %t", len(got), utf8.ValidString(got))
		}
		if !strings.HasPrefix(got, "answered 301 Moved Permanently; redirects are not followed; it points to \u97f3") {
			t.Errorf("what is left: %q", got)
		}
	})
}

// What the receiver wrote is in the log, where it is data, and nowhere else.
func TestReceiversWordsStayInTheLog(t *testing.T) {
	d := draft()
	x := exchange(302, now)
	x.Response = &sending.Response{StatusCode: 302, Header: "A: words", Body: "words", Location: "https://words", RetryAfter: "words"}
	Add(d, attempt(v1alpha1.CauseInitial, x))
	if text := fmt.Sprint(d.Status.Conditions, d.Labels, d.Annotations); strings.Contains(text, "words") {
		t.Errorf("the receiver's words got out: %s", text)
	}
}

// A condition changes its time when its status changes, and only then.
func TestConditionTimes(t *testing.T) {
	d := draft()
	var got []string
	for n := range 2 {
		Add(d, attempt(v1alpha1.CauseRetry, exchange(500, now.Add(time.Duration(n)*time.Minute))))
		for _, c := range d.Status.Conditions {
			got = append(got, c.Type+" "+c.LastTransitionTime.UTC().Format(time.TimeOnly))
		}
	}
	Add(d, attempt(v1alpha1.CauseRetry, exchange(500, now.Add(2*time.Minute))))
	GiveUp(d, v1alpha1.ReasonWebhookGone, "", now.Add(3*time.Minute))
	for _, c := range d.Status.Conditions {
		got = append(got, c.Type+" "+c.LastTransitionTime.UTC().Format(time.TimeOnly))
	}
	want := []string{
		"Delivered 09:00:00", "Reconciling 09:00:00",
		"Delivered 09:00:00", "Reconciling 09:00:00",
		"Delivered 09:02:00", "Stalled 09:02:00",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// No attempt is early: times are stored in whole seconds.
func TestNextAttemptIsNotEarly(t *testing.T) {
	for _, fraction := range []time.Duration{0, 1, time.Millisecond, time.Second - 1} {
		d := draft()
		Add(d, attempt(v1alpha1.CauseInitial, sending.Exchange{Start: now.Add(fraction), Err: context("refused")}))
		next := stored(t, d).Status.NextAttemptTime.Time
		if wait := next.Sub(now.Add(fraction)); wait < 10*time.Second || wait >= 11*time.Second {
			t.Errorf("failed at +%s: the next is due %s later", fraction, wait)
		}
		if got, want := d.Annotations[v1alpha1.AnnotationNextAttempt], next.UTC().Format(time.RFC3339); got != want {
			t.Errorf("annotation %q, status %q", got, want)
		}
	}
}

func TestResendPending(t *testing.T) {
	resent := func(value string) map[string]string {
		return map[string]string{v1alpha1.AnnotationResend: value, v1alpha1.AnnotationResent: ResendHash(value)}
	}
	long := strings.Repeat("x", 200<<10)
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        bool
	}{
		"no annotations":                 {},
		"not asked for":                  {annotations: map[string]string{v1alpha1.AnnotationResent: ResendHash("1")}},
		"empty":                          {annotations: map[string]string{v1alpha1.AnnotationResend: ""}},
		"emptied":                        {annotations: map[string]string{v1alpha1.AnnotationResend: "", v1alpha1.AnnotationResent: ResendHash("1")}},
		"asked for":                      {annotations: map[string]string{v1alpha1.AnnotationResend: "1"}, want: true},
		"a space":                        {annotations: map[string]string{v1alpha1.AnnotationResend: " "}, want: true},
		"honoured":                       {annotations: resent("1")},
		"asked for again":                {annotations: map[string]string{v1alpha1.AnnotationResend: "2", v1alpha1.AnnotationResent: ResendHash("1")}, want: true},
		"200 KiB":                        {annotations: map[string]string{v1alpha1.AnnotationResend: long}, want: true},
		"200 KiB, honoured":              {annotations: resent(long)},
		"200 KiB that differ at the end": {annotations: map[string]string{v1alpha1.AnnotationResend: long + "y", v1alpha1.AnnotationResent: ResendHash(long)}, want: true},
		"unicode":                        {annotations: map[string]string{v1alpha1.AnnotationResend: "\u97f3\U0001f3b5\u0000"}, want: true},
		"unicode, honoured":              {annotations: resent("\u97f3\U0001f3b5\u0000")},
		"the hash is not the value":      {annotations: map[string]string{v1alpha1.AnnotationResend: ResendHash("1"), v1alpha1.AnnotationResent: ResendHash("1")}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ResendPending(tc.annotations); got != tc.want {
				t.Errorf("ResendPending = %t, want %t", got, tc.want)
			}
		})
	}
}

// Each distinct value is honoured once, whatever it is made of.
func TestEachValueOfTheAnnotationIsOneResend(t *testing.T) {
	d := draft()
	Add(d, attempt(v1alpha1.CauseInitial, exchange(200, now)))
	d = stored(t, d)
	values := []string{"\u97f3\U0001f3b5", strings.Repeat("\U0001f3b5", 50<<10), strings.Repeat("y", 200<<10), "x\x00y", " ", "\n"}
	for n := range 1000 {
		values = append(values, fmt.Sprint(n))
	}
	for n, value := range values {
		annotate(d, value)
		if !ResendPending(d.Annotations) {
			t.Fatalf("value %d is not seen", n)
		}
		resend(d, value, exchange(200, now))
		if ResendPending(d.Annotations) {
			t.Fatalf("value %d is not honoured", n)
		}
		if got := utf8.RuneCountInString(d.Status.LastResend); got > 128 || !strings.HasPrefix(value, d.Status.LastResend) {
			t.Fatalf("lastResend has %d characters: %.40q", got, d.Status.LastResend)
		}
		d = stored(t, d)
	}
	if got, want := d.Status.Attempts, int32(1+len(values)); got != want {
		t.Errorf("%d attempts, want %d", got, want)
	}
	if size := len(d.Status.History); size != 10 {
		t.Errorf("a history of %d", size)
	}
}

func TestCarry(t *testing.T) {
	// The operator stored that it waits, and its answer was lost; then somebody
	// annotated it; now its outcome is to be stored.
	d := draft()
	Add(d, attempt(v1alpha1.CauseInitial, exchange(500, now.Add(time.Hour))))
	current := draft()
	Hold(current, v1alpha1.ReasonPaused, "the webhook is Paused", now)
	current = stored(t, current)
	current.UID, current.ResourceVersion = "uid", "7"
	annotate(current, "1")
	setAnnotation(current, "example.com/note", "mine")
	setLabel(current, "example.com/team", "music")

	want := current.DeepCopy()
	want.Status = *d.Status.DeepCopy()
	want.Annotations[v1alpha1.AnnotationNextAttempt] = "2026-11-23T10:00:11Z"
	Carry(d, current)
	if diff := cmp.Diff(want, current); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	Add(d, attempt(v1alpha1.CauseRetry, exchange(200, now.Add(2*time.Hour))))
	if current.Status.Attempts != 1 {
		t.Error("the two share a log")
	}
}

// A record that was stored long before its outcome did not finish when it was
// created: it would be deleted too early.
func TestCarryTellsWhenItFinished(t *testing.T) {
	d := draft()
	Add(d, attempt(v1alpha1.CauseInitial, exchange(200, now.Add(time.Hour))))
	current := draft()
	Hold(current, v1alpha1.ReasonPaused, "the webhook is Paused", now)
	current = stored(t, current)
	Carry(d, current)
	if got, want := current.Annotations[v1alpha1.AnnotationFinished], "2026-11-23T10:00:00Z"; got != want {
		t.Errorf("finished %q, want %q", got, want)
	}
}

func TestSameLog(t *testing.T) {
	delivered := func() *v1alpha1.WebhookDelivery {
		d := draft()
		Add(d, attempt(v1alpha1.CauseInitial, exchange(200, now.Add(123*time.Millisecond))))
		return d
	}
	held := func(reason string) *v1alpha1.WebhookDelivery {
		d := draft()
		Hold(d, reason, "", now)
		return d
	}
	change := func(d *v1alpha1.WebhookDelivery, change func(d *v1alpha1.WebhookDelivery)) *v1alpha1.WebhookDelivery {
		change(d)
		return d
	}
	for name, tc := range map[string]struct {
		a, b *v1alpha1.WebhookDelivery
		want bool
	}{
		"both empty":              {a: draft(), b: draft(), want: true},
		"the same":                {a: delivered(), b: delivered(), want: true},
		"as stored":               {a: delivered(), b: stored(t, delivered()), want: true},
		"annotated meanwhile":     {a: delivered(), b: change(delivered(), func(d *v1alpha1.WebhookDelivery) { annotate(d, "1") }), want: true},
		"held for another reason": {a: held(v1alpha1.ReasonPaused), b: held(v1alpha1.ReasonQueued), want: true},
		"held and delivered":      {a: held(v1alpha1.ReasonPaused), b: delivered()},
		"resent":                  {a: delivered(), b: change(delivered(), func(d *v1alpha1.WebhookDelivery) { resend(d, "1", exchange(200, now)) })},
		"another second": {a: delivered(), b: change(draft(), func(d *v1alpha1.WebhookDelivery) {
			Add(d, attempt(v1alpha1.CauseInitial, exchange(200, now.Add(time.Second))))
		})},
		"another duration": {a: delivered(), b: change(draft(), func(d *v1alpha1.WebhookDelivery) {
			x := exchange(200, now)
			x.Duration++
			x.Duration += time.Millisecond
			Add(d, attempt(v1alpha1.CauseInitial, x))
		})},
		"another cause": {a: delivered(), b: change(draft(), func(d *v1alpha1.WebhookDelivery) { Add(d, attempt(v1alpha1.CauseRetry, exchange(200, now))) })},
		"another code":  {a: delivered(), b: change(draft(), func(d *v1alpha1.WebhookDelivery) { Add(d, attempt(v1alpha1.CauseInitial, exchange(201, now))) })},
		"full histories": {
			a: change(draft(), func(d *v1alpha1.WebhookDelivery) {
				for n := range 12 {
					Add(d, attempt(v1alpha1.CauseRetry, exchange(500, now.Add(time.Duration(n)*time.Second))))
				}
			}),
			b: change(draft(), func(d *v1alpha1.WebhookDelivery) {
				for n := range 13 {
					Add(d, attempt(v1alpha1.CauseRetry, exchange(500, now.Add(time.Duration(n)*time.Second))))
				}
			}),
		},
		"given up since": {a: held(v1alpha1.ReasonPaused), b: change(held(v1alpha1.ReasonPaused), func(d *v1alpha1.WebhookDelivery) { GiveUp(d, v1alpha1.ReasonWaitedTooLong, "", now) })},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]*v1alpha1.WebhookDelivery{{tc.a, tc.b}, {tc.b, tc.a}} {
				if got := SameLog(pair[0], pair[1]); got != tc.want {
					t.Errorf("SameLog = %t, want %t", got, tc.want)
				}
			}
		})
	}
}

func TestSame(t *testing.T) {
	otherEvent, otherWebhook := draft(), draft()
	otherEvent.Spec.EventRef.UID, otherWebhook.Spec.WebhookRef.UID = "other", "other"
	for name, tc := range map[string]struct {
		other *v1alpha1.WebhookDelivery
		want  bool
	}{
		"same":            {other: draft(), want: true},
		"another event":   {other: otherEvent},
		"another webhook": {other: otherWebhook},
		"a foreign one":   {other: &v1alpha1.WebhookDelivery{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Same(draft(), tc.other); got != tc.want {
				t.Errorf("Same = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestShrink(t *testing.T) {
	d := draft()
	for n := range 12 {
		x := exchange(302, now.Add(time.Duration(n)*time.Second))
		x.Response.Body, x.Response.Header = strings.Repeat("words", 3000), "A: words"
		x.Response.Location = "https://words.example.com"
		Add(d, attempt(v1alpha1.CauseRetry, x))
	}
	before := d.DeepCopy()
	Shrink(d)
	data, err := json.Marshal(d.Status)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "words") {
		t.Errorf("the receiver's words are still there: %s", data)
	}
	if !SameLog(before, d) {
		t.Error("it is no longer the same log")
	}
	want := &v1alpha1.ResponseRecord{StatusCode: 302, BodyTruncated: true, HeadersTruncated: true}
	if diff := cmp.Diff(want, d.Status.Response); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if d.Spec.Payload != before.Spec.Payload || d.Status.Attempts != before.Status.Attempts || d.Status.Result != before.Status.Result {
		t.Error("more than the receiver's words was taken out")
	}
	again := d.DeepCopy()
	Shrink(again)
	if diff := cmp.Diff(d, again); diff != "" {
		t.Errorf("it shrinks further (-once +twice):\n%s", diff)
	}
	Shrink(draft()) // has no log
}
