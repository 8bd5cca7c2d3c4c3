package delivery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

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
			AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(code, now)))
			*d = *stored(t, d)
		}
	}
	retried := func(code int, later time.Duration) func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		return func(t *testing.T, d *v1alpha1.WebhookDelivery) {
			AddAttempt(d, attempt(v1alpha1.CauseRetry, exchange(code, now.Add(later))))
		}
	}
	resent := func(value string, code int, later time.Duration) func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		return func(t *testing.T, d *v1alpha1.WebhookDelivery) { resend(d, value, exchange(code, now.Add(later))) }
	}
	hold := func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		Wait(d, WaitReason{v1alpha1.ReasonPaused, "the webhook is Paused"}, now)
		*d = *stored(t, d)
	}
	giveUp := func(reason string) func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		return func(t *testing.T, d *v1alpha1.WebhookDelivery) { GiveUp(d, reason, "given up", now.Add(time.Hour)) }
	}
	denied := func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		x := silence(now)
		x.Denied = true
		AddAttempt(d, attempt(v1alpha1.CauseInitial, x))
		*d = *stored(t, d)
	}
	noBody := func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		FailPayload(d, "no body", now.Add(time.Hour))
		if ResendPending(d.Annotations) {
			t.Error("the resend is still asked for")
		}
	}
	stepStored := func(t *testing.T, d *v1alpha1.WebhookDelivery) { *d = *stored(t, d) }
	asked := func(value string) func(t *testing.T, d *v1alpha1.WebhookDelivery) {
		return func(_ *testing.T, d *v1alpha1.WebhookDelivery) { setAnnotation(d, v1alpha1.AnnotationResend, value) }
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
		"rejected": {
			steps: steps{func(t *testing.T, d *v1alpha1.WebhookDelivery) {
				x := exchange(200, now)
				x.Judgement = sending.Judgement{Refused: true, Final: true}
				AddAttempt(d, attempt(v1alpha1.CauseInitial, x))
			}},
			want: summary{
				Result: v1alpha1.DeliveryFailed, Reason: v1alpha1.ReasonRejected, Delivered: metav1.ConditionFalse,
				Kstatus: status.FailedStatus, Attempts: 1, Resend: -1,
			},
		},
		"without a body": {
			steps: steps{noBody},
			want: summary{
				Result: v1alpha1.DeliveryFailed, Reason: v1alpha1.ReasonPayloadError, Delivered: metav1.ConditionFalse,
				Kstatus: status.FailedStatus, Resend: -1,
			},
		},
		"without a body, then resent and delivered": {
			steps: steps{noBody, stepStored, resent("1", 200, time.Minute)},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 1, Resend: 1, Finished: "2026-11-23T09:01:00Z",
			},
		},
		"delivered, then resent without a body": {
			steps: steps{initial(200), asked("1"), noBody},
			want: summary{
				Result: v1alpha1.DeliverySucceeded, Reason: v1alpha1.ReasonAccepted, Delivered: metav1.ConditionTrue,
				Kstatus: status.CurrentStatus, Attempts: 1, Resend: 0, Finished: "2026-11-23T10:00:00Z",
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
			d := fresh()
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
		d := fresh()
		if outcome := AddAttempt(d, attempt(v1alpha1.CauseInitial, interrupted(now))); outcome != retry.Interrupted {
			t.Errorf("outcome %d", outcome)
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
		d := fresh()
		for range 30 {
			AddAttempt(d, attempt(v1alpha1.CauseInitial, interrupted(now)))
		}
		if d.Status.Result != v1alpha1.DeliveryWaiting || d.Status.Attempts != 0 {
			t.Errorf("result %s after %d attempts", d.Status.Result, d.Status.Attempts)
		}
	})
	t.Run("resend of a delivered one", func(t *testing.T) {
		d := fresh()
		AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(200, now)))
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
		step := retry.Decide(StateOf(d), webhook(), false, now.Add(time.Hour))
		if diff := cmp.Diff(retry.Decision{Action: retry.Send, Cause: v1alpha1.CauseRetry}, step); diff != "" {
			t.Errorf("what comes next (-want +got):\n%s", diff)
		}
	})
}

// A condition changes its time when its status changes, and only then.
func TestConditionTimes(t *testing.T) {
	d := fresh()
	var got []string
	for n := range 2 {
		AddAttempt(d, attempt(v1alpha1.CauseRetry, exchange(500, now.Add(time.Duration(n)*time.Minute))))
		for _, c := range d.Status.Conditions {
			got = append(got, c.Type+" "+c.LastTransitionTime.UTC().Format(time.TimeOnly))
		}
	}
	AddAttempt(d, attempt(v1alpha1.CauseRetry, exchange(500, now.Add(2*time.Minute))))
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
		d := fresh()
		AddAttempt(d, attempt(v1alpha1.CauseInitial, sending.Exchange{Start: now.Add(fraction), Err: context("refused")}))
		next := stored(t, d).Status.NextAttemptTime.Time
		if wait := next.Sub(now.Add(fraction)); wait < 10*time.Second || wait >= 11*time.Second {
			t.Errorf("failed at +%s: the next is due %s later", fraction, wait)
		}
		if got, want := d.Annotations[v1alpha1.AnnotationNextAttempt], next.UTC().Format(time.RFC3339); got != want {
			t.Errorf("annotation %q, status %q", got, want)
		}
	}
}

// A record that is made smaller still tells that a 2xx was no success, and once it is small,
// there is nothing more to take out.
func TestShrinkKeepsWhatWasNotAccepted(t *testing.T) {
	d := &v1alpha1.WebhookDelivery{Status: v1alpha1.WebhookDeliveryStatus{
		Request: &v1alpha1.RequestRecord{URL: "https://example.com", Body: "{}"},
		History: []v1alpha1.Attempt{{StatusCode: 200, Error: retry.NotAccepted + "response.body is \"no\""}, {StatusCode: 500, Error: "answered 500"}, {StatusCode: 200}},
	}}
	for _, want := range []bool{true, true, false} {
		if got := Shrink(d); got != want {
			t.Fatalf("made smaller: %t, want %t", got, want)
		}
	}
	const left = "left out: the API server refused the delivery with it"
	want := []string{retry.NotAccepted + left, left, ""}
	var got []string
	for _, e := range d.Status.History {
		got = append(got, e.Error)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}
