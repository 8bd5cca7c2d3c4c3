package webhookstatus

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/test/object"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func webhook(changes ...func(w *v1alpha1.Webhook)) *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{
		Spec:   v1alpha1.WebhookSpec{WebhookID: 7},
		Status: v1alpha1.WebhookStatus{ObservedGeneration: -1},
	}
	w.Namespace, w.Name, w.UID, w.Generation = "music", "smoke-tests", "uid", 3
	for _, change := range changes {
		change(w)
	}
	return w
}

// written is a Webhook with a status, as the API server would have it.
func written(t testing.TB, w *v1alpha1.Webhook, s v1alpha1.WebhookStatus) *v1alpha1.Webhook {
	t.Helper()
	w = w.DeepCopy()
	w.Status = s
	return object.Stored(t, w)
}

func report(outcome retry.Outcome, explanation string) *receiver.Report {
	return &receiver.Report{
		Delivery: v1alpha1.LastDelivery{
			Name: "smoke-tests-1", Time: metav1.NewMicroTime(now.Add(123 * time.Millisecond)), Result: v1alpha1.DeliverySucceeded, StatusCode: 200,
		},
		Outcome: outcome, Explanation: explanation, Generation: 3,
	}
}

var missing = &Problem{Reason: v1alpha1.ReasonSecretNotFound, Message: `Secret "receiver" does not exist`}

func TestStatus(t *testing.T) {
	const usable, unsent = "True Usable: the webhook can be sent to", "Unknown NothingSent: nothing was sent yet"
	const resting = "False ReceiverResting: the receiver asked for rest: it answered 429 Too Many Requests; " +
		"deliveries wait until status.restUntil, then one is tried first"
	const noSecret = `SecretNotFound: Secret "receiver" does not exist`
	for name, tc := range map[string]struct {
		view View
		// want are the conditions: status, reason, message.
		want        map[string]string
		wantRest    time.Time
		wantKstatus status.Status
	}{
		"new":       {want: map[string]string{"Ready": usable, "Healthy": unsent}, wantKstatus: status.CurrentStatus},
		"with note": {view: View{Note: "a line break is not sent"}, want: map[string]string{"Ready": usable + "; a line break is not sent", "Healthy": unsent}, wantKstatus: status.CurrentStatus},
		"without its Secret": {
			view:        View{Problem: missing},
			want:        map[string]string{"Ready": "False " + noSecret, "Reconciling": "True " + noSecret, "Healthy": unsent},
			wantKstatus: status.InProgressStatus,
		},
		"accepted": {
			view:        View{Health: receiver.Health{Last: report(retry.Accepted, "answered 200 OK")}},
			want:        map[string]string{"Ready": usable, "Healthy": "True Accepted: the receiver answered 200 OK"},
			wantKstatus: status.CurrentStatus,
		},
		"rate-limited": {
			view: View{Health: receiver.Health{Last: report(retry.Accepted, "answered 200 OK"), RateLimited: v1alpha1.RateLimit{Requests: 20, PerSeconds: 60}}},
			want: map[string]string{"Ready": usable, "Healthy": "True Accepted: the receiver answered 200 OK",
				"RateLimited": "True RateLimited: deliveries wait for the rate limit of 20 per 60 s"},
			wantKstatus: status.CurrentStatus,
		},
		"failing": {
			view:        View{Health: receiver.Health{Last: report(retry.Failed, "timeout after 30s while connecting")}},
			want:        map[string]string{"Ready": usable, "Healthy": "False Failing: the last attempt failed: timeout after 30s while connecting"},
			wantKstatus: status.CurrentStatus,
		},
		"failing again and again": {
			view: View{Health: receiver.Health{Last: report(retry.Failed, "answered 500 Internal Server Error"), Open: true}},
			want: map[string]string{"Ready": usable, "Healthy": "False CircuitOpen: attempts keep failing (the last one: answered 500 Internal Server Error); " +
				"deliveries wait, and one is tried now and then, 30s apart at most, until the receiver accepts it"},
			wantKstatus: status.CurrentStatus,
		},
		"as many waiting as may": {
			view: View{MaxWaiting: 1},
			want: map[string]string{"Ready": usable, "Healthy": unsent,
				"Overflowing": "True TooManyWaiting: 1 deliveries wait, which is the most there may be: what comes now is recorded as Failed and can be resent"},
			wantKstatus: status.CurrentStatus,
		},
		"one less": {
			view:        View{MaxWaiting: 2},
			want:        map[string]string{"Ready": usable, "Healthy": unsent},
			wantKstatus: status.CurrentStatus,
		},
		"rejected": {
			view:        View{Health: receiver.Health{Last: report(retry.Rejected, "answered 200 OK; by spec.response.giveUpIf, no retry would help")}},
			want:        map[string]string{"Ready": usable, "Healthy": "False Rejected: the last delivery was rejected: the receiver answered 200 OK; by spec.response.giveUpIf, no retry would help"},
			wantKstatus: status.CurrentStatus,
		},
		"its filter failed": {
			view: View{FilterFailure: &FilterFailure{Generation: 3, Event: "e", Message: "division by zero"}},
			want: map[string]string{"Ready": usable, "Healthy": unsent,
				"FilterFailing": "True FilterError: spec.filter failed for the event e, which was not sent: division by zero; once the filter is mended, a replay brings it"},
			wantKstatus: status.CurrentStatus,
		},
		"its filter failed before an edit": {
			view:        View{FilterFailure: &FilterFailure{Generation: 2, Event: "e", Message: "division by zero"}},
			want:        map[string]string{"Ready": usable, "Healthy": unsent},
			wantKstatus: status.CurrentStatus,
		},
		"gone": {
			view:        View{Health: receiver.Health{Last: report(retry.Gone, "answered 410 Gone"), Gone: true}},
			want:        map[string]string{"Ready": usable, "Healthy": "False Gone: the receiver answered 410 Gone: nothing is sent until the webhook is edited"},
			wantKstatus: status.CurrentStatus,
		},
		"gone, and accepted beside": {
			view:        View{Health: receiver.Health{Last: report(retry.Accepted, "answered 200 OK"), Gone: true}},
			want:        map[string]string{"Ready": usable, "Healthy": "False Gone: the receiver answered 410 Gone: nothing is sent until the webhook is edited"},
			wantKstatus: status.CurrentStatus,
		},
		"resting": {
			view: View{Health: receiver.Health{
				Last: report(retry.Failed, "answered 500 Internal Server Error"), Open: true,
				RestUntil: now.Add(2*time.Hour + time.Millisecond), RestReason: "answered 429 Too Many Requests",
			}},
			want:        map[string]string{"Ready": usable, "Healthy": resting},
			wantRest:    now.Add(2*time.Hour + time.Second),
			wantKstatus: status.CurrentStatus,
		},
		"resting, and accepted beside": {
			view: View{Health: receiver.Health{
				Last: report(retry.Accepted, "answered 200 OK"), Open: true,
				RestUntil: now.Add(2 * time.Hour), RestReason: "answered 429 Too Many Requests",
			}},
			want:        map[string]string{"Ready": usable, "Healthy": resting},
			wantRest:    now.Add(2 * time.Hour),
			wantKstatus: status.CurrentStatus,
		},
		"a rest is over": {
			view: View{Health: receiver.Health{Last: report(retry.Failed, "answered 429 Too Many Requests"), Open: true, RestUntil: now}},
			want: map[string]string{"Ready": usable, "Healthy": "False CircuitOpen: the rest that the receiver asked for is over; " +
				"one delivery is tried, and the others wait until the receiver accepts it"},
			wantKstatus: status.CurrentStatus,
		},
		"denied after a rest": {
			view:        View{Health: receiver.Health{Last: report(retry.Denied, "10.1.2.3 is denied"), Open: true, RestUntil: now}},
			want:        map[string]string{"Ready": usable, "Healthy": "False EgressDenied: nothing was sent: 10.1.2.3 is denied"},
			wantKstatus: status.CurrentStatus,
		},
		"denied": {
			view:        View{Health: receiver.Health{Last: report(retry.Denied, "10.1.2.3 is denied"), Open: true}},
			want:        map[string]string{"Ready": usable, "Healthy": "False EgressDenied: nothing was sent: 10.1.2.3 is denied"},
			wantKstatus: status.CurrentStatus,
		},
		"interrupted before anything else": {
			view:        View{Health: receiver.Health{Last: report(retry.Interrupted, "interrupted while connecting")}},
			want:        map[string]string{"Ready": usable, "Healthy": unsent},
			wantKstatus: status.CurrentStatus,
		},
		"failing, without its Secret": {
			view: View{Health: receiver.Health{Last: report(retry.Failed, "answered 401 Unauthorized")}, Problem: missing},
			want: map[string]string{
				"Ready": "False " + noSecret, "Reconciling": "True " + noSecret,
				"Healthy": "False Failing: the last attempt failed: answered 401 Unauthorized",
			},
			wantKstatus: status.InProgressStatus,
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := tc.view
			v.Webhook, v.Now = webhook(), now.Add(500*time.Millisecond)
			v.Counts = ledger.Counts{Waiting: 1, Succeeded: 2, Failed: 3}
			before := v.Webhook.DeepCopy()
			got := Status(v)
			if diff := cmp.Diff(tc.want, conditions(got)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			want := v1alpha1.WebhookStatus{
				Conditions: got.Conditions, ObservedGeneration: 3, WebhookID: 7,
				Deliveries: v1alpha1.DeliveryCounts{Waiting: 1, Succeeded: 2, Failed: 3},
			}
			if !tc.wantRest.IsZero() {
				want.RestUntil = metav1.NewTime(tc.wantRest)
			}
			if v.Last != nil {
				last := v.Last.Delivery
				last.Time = metav1.NewMicroTime(last.Time.Truncate(time.Microsecond))
				want.LastDelivery = &last
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the rest (-want +got):\n%s", diff)
			}
			for _, c := range got.Conditions {
				if c.ObservedGeneration != 3 || !c.LastTransitionTime.Time.Equal(now) {
					t.Errorf("%s is of generation %d and of %s", c.Type, c.ObservedGeneration, c.LastTransitionTime)
				}
			}
			if diff := cmp.Diff(before, v.Webhook); diff != "" {
				t.Errorf("the webhook was changed:\n%s", diff)
			}
			if kstatus := object.Kstatus(t, written(t, v.Webhook, got)); kstatus != tc.wantKstatus {
				t.Errorf("kstatus %s, want %s", kstatus, tc.wantKstatus)
			}

			// Looked at again, there is nothing to write, also later where nothing is to
			// become of it with time.
			later := time.Hour
			if v.Problem != nil {
				later = stallsAfter - time.Second
			}
			v.Webhook, v.Now = written(t, v.Webhook, got), v.Now.Add(later)
			if again := Status(v); !Equal(v.Webhook.Status, again) || Urgent(v.Webhook.Status, again, v.Now) {
				t.Errorf("it does not settle (-stored +planned):\n%s", cmp.Diff(v.Webhook.Status, again))
			}
		})
	}
}

// What waits for less than two seconds is not stored as waiting, and not told. What was told
// is taken back.
func TestShortRateLimitIsNotTold(t *testing.T) {
	before := webhook(func(w *v1alpha1.Webhook) {
		w.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionRateLimited, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRateLimited}}
	})
	got := Status(View{
		Webhook: before, Now: now,
		Health: receiver.Health{Last: report(retry.Accepted, "answered 200 OK"), RateLimited: v1alpha1.RateLimit{Requests: 20, PerSeconds: 60}},
	})
	if got, ok := conditions(got)["RateLimited"]; ok {
		t.Errorf("RateLimited: %s", got)
	}
}

func conditions(s v1alpha1.WebhookStatus) map[string]string {
	all := map[string]string{}
	for _, c := range s.Conditions {
		all[c.Type] = string(c.Status) + " " + c.Reason + ": " + c.Message
	}
	return all
}

func TestUnseenWebhook(t *testing.T) {
	if got := object.Kstatus(t, webhook()); got != status.InProgressStatus {
		t.Errorf("kstatus %s", got)
	}
}

// What becomes of a webhook whose Secret is mended, and whose receiver is.
func TestStatusFollows(t *testing.T) {
	w := webhook()
	look := func(change func(v *View), later time.Duration) {
		v := View{Webhook: w, Now: now.Add(later)}
		change(&v)
		w = written(t, w, Status(v))
	}
	look(func(v *View) { v.Problem = missing }, 0)
	look(func(v *View) {}, time.Minute)
	if meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionStalled) != nil {
		t.Error("it is still stalled")
	}
	ready := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
	if ready.Status != metav1.ConditionTrue || !ready.LastTransitionTime.Time.Equal(now.Add(time.Minute)) {
		t.Errorf("Ready %+v", ready)
	}

	look(func(v *View) { v.Last = report(retry.Failed, "answered 500 Internal Server Error") }, 2*time.Minute)
	look(func(v *View) { v.Last = report(retry.Failed, "answered 503 Service Unavailable") }, 3*time.Minute)
	healthy := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
	if !healthy.LastTransitionTime.Time.Equal(now.Add(2 * time.Minute)) {
		t.Errorf("it fails since %s", healthy.LastTransitionTime)
	}

	// A process that has just started has sent nothing: what is known stays.
	before := w.Status
	look(func(v *View) {}, 4*time.Minute)
	if diff := cmp.Diff(before, w.Status); diff != "" {
		t.Errorf("after a start (-before +after):\n%s", diff)
	}
	// So does what an interrupted attempt cannot tell.
	look(func(v *View) { v.Last = report(retry.Interrupted, "interrupted") }, 5*time.Minute)
	if diff := cmp.Diff(conditions(before), conditions(w.Status)); diff != "" {
		t.Errorf("interrupted (-before +after):\n%s", diff)
	}
}

// What a Webhook says of a rest, from its beginning to its end and over a change of
// the leader.
func TestStatusFollowsARest(t *testing.T) {
	w := webhook()
	look := func(later time.Duration, change func(v *View)) metav1.Condition {
		t.Helper()
		v := View{Webhook: w, Now: now.Add(later), Health: receiver.Health{RestUntil: now.Add(time.Minute), Open: true}}
		change(&v)
		w = written(t, w, Status(v))
		return *meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
	}
	first := look(0, func(v *View) {
		v.Last, v.RestReason = report(retry.Failed, "answered 429 Too Many Requests"), "answered 429 Too Many Requests"
	})
	for name, change := range map[string]func(v *View){
		"another answer":     func(v *View) { v.Last, v.RestReason = report(retry.Failed, "timeout"), "answered 503" },
		"an acceptance":      func(v *View) { v.Last = report(retry.Accepted, "answered 200 OK") },
		"the next leader":    func(*View) {},
		"an interrupted one": func(v *View) { v.Last = report(retry.Interrupted, "interrupted") },
	} {
		if diff := cmp.Diff(first, look(time.Second, change)); diff != "" {
			t.Errorf("%s (-before +after):\n%s", name, diff)
		}
	}
	w.Generation++
	if c := look(2*time.Second, func(*View) {}); c.ObservedGeneration != w.Generation || c.Message != first.Message {
		t.Errorf("after an edit that leaves the URL alone: %+v", c)
	}
	if w.Status.RestUntil.IsZero() {
		t.Error("the next leader forgets the rest")
	}
	over := *w
	if c := look(time.Minute, func(*View) {}); c.Reason != v1alpha1.ReasonCircuitOpen || !w.Status.RestUntil.IsZero() {
		t.Errorf("after the rest: %+v, until %s", c, w.Status.RestUntil)
	}
	w = &over
	if c := look(3*time.Second, func(v *View) { v.RestUntil, v.Open = time.Time{}, false }); c.Reason != v1alpha1.ReasonNothingSent {
		t.Errorf("after a change of the URL: %+v", c)
	}
}

func TestUrgent(t *testing.T) {
	was := func(changes ...func(s *v1alpha1.WebhookStatus)) v1alpha1.WebhookStatus {
		s := Status(View{Webhook: webhook(), Health: receiver.Health{Last: report(retry.Accepted, "answered 200 OK")}, Now: now})
		for _, change := range changes {
			change(&s)
		}
		return s
	}
	set := func(conditionType string, status metav1.ConditionStatus, reason string) func(s *v1alpha1.WebhookStatus) {
		return func(s *v1alpha1.WebhookStatus) {
			meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: conditionType, Status: status, Reason: reason})
		}
	}
	rest := func(of time.Duration) func(s *v1alpha1.WebhookStatus) {
		return func(s *v1alpha1.WebhookStatus) { s.RestUntil = metav1.NewTime(now.Add(of)) }
	}
	message := func(s *v1alpha1.WebhookStatus) {
		for i := range s.Conditions {
			s.Conditions[i].Message = "another"
		}
	}
	for name, tc := range map[string]struct {
		was, planned v1alpha1.WebhookStatus
		later        time.Duration
		want         bool
	}{
		"the same":          {was: was(), planned: was(), later: time.Hour},
		"counts":            {was: was(), planned: was(func(s *v1alpha1.WebhookStatus) { s.Deliveries.Failed = 9 }), later: time.Hour},
		"the last delivery": {was: was(), planned: was(func(s *v1alpha1.WebhookStatus) { s.LastDelivery.Name = "another" }), later: time.Hour},
		"the first one":     {was: was(func(s *v1alpha1.WebhookStatus) { s.LastDelivery = nil }), planned: was(), later: time.Hour},
		"messages":          {was: was(), planned: was(message), later: time.Hour},
		"never seen":        {was: v1alpha1.WebhookStatus{ObservedGeneration: -1}, planned: was(), want: true},
		"edited":            {was: was(), planned: was(func(s *v1alpha1.WebhookStatus) { s.ObservedGeneration = 4 }), want: true},
		"another number":    {was: was(), planned: was(func(s *v1alpha1.WebhookStatus) { s.WebhookID = 8 }), want: true},
		"no longer ready": {
			was: was(), planned: was(set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)), want: true,
		},
		"not ready for another reason": {
			was:     was(set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)),
			planned: was(set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretInvalid)), want: true,
		},
		"a long rest":          {was: was(), planned: was(rest(time.Hour)), want: true},
		"a short rest":         {was: was(), planned: was(rest(steadiness - 1))},
		"a longer rest":        {was: was(rest(time.Minute)), planned: was(rest(time.Hour)), want: true},
		"a little longer rest": {was: was(rest(time.Minute)), planned: was(rest(time.Minute + time.Second))},
		"the end of a rest":    {was: was(rest(time.Minute)), planned: was(), later: time.Minute},
		"resting at once":      {was: was(), planned: was(set(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonReceiverResting))},
		"resting after a while": {
			was: was(), planned: was(set(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonReceiverResting)), later: steadiness, want: true,
		},
		"reconciling":       {was: was(), planned: was(set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, "Any")), want: true},
		"stalled":           {was: was(), planned: was(set(v1alpha1.ConditionStalled, metav1.ConditionTrue, "Any")), want: true},
		"no longer stalled": {was: was(set(v1alpha1.ConditionStalled, metav1.ConditionTrue, "Any")), planned: was(), want: true},
		"failing after a while": {
			was: was(), planned: was(set(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonFailing)), later: steadiness, want: true,
		},
		"failing at once": {
			was: was(), planned: was(set(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonFailing)), later: steadiness - 1,
		},
		"flapping, and no longer ready": {
			was: was(),
			planned: was(set(v1alpha1.ConditionHealthy, metav1.ConditionFalse, v1alpha1.ReasonFailing),
				set(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)),
			want: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Urgent(tc.was, tc.planned, now.Add(tc.later)); got != tc.want {
				t.Errorf("Urgent = %t, want %t", got, tc.want)
			}
		})
	}
}

// What a Webhook lacks may come a moment later, so tools that wait for it go on doing
// so for two minutes.
func TestStalled(t *testing.T) {
	const reconciling, stalled, neither = status.InProgressStatus, status.FailedStatus, status.CurrentStatus
	noKey := &Problem{Reason: v1alpha1.ReasonSecretKeyNotFound, Message: `Secret "receiver" has no key "token"`}
	forbidden := &Problem{Reason: v1alpha1.ReasonSSLVerifyRequired, Message: "forbidden"}
	edit := func(w *v1alpha1.Webhook) { w.Generation++ }
	condition := func(conditionType string, since time.Duration) metav1.Condition {
		return metav1.Condition{
			Type: conditionType, Status: metav1.ConditionFalse, Reason: missing.Reason, Message: missing.Message,
			ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(now.Add(since)),
		}
	}
	type look struct {
		at      time.Duration
		change  func(*v1alpha1.Webhook)
		problem *Problem
		want    status.Status
		// wait is when it becomes stalled.
		wait time.Duration
	}
	for name, tc := range map[string]struct {
		before []metav1.Condition
		looks  []look
	}{
		"for long": {looks: []look{
			{problem: missing, want: reconciling, wait: 2 * time.Minute},
			{at: time.Minute, problem: missing, want: reconciling, wait: time.Minute},
			{at: 2*time.Minute - time.Millisecond, problem: missing, want: reconciling, wait: time.Millisecond},
			{at: 2 * time.Minute, problem: missing, want: stalled},
			{at: time.Hour, problem: missing, want: stalled},
			{at: 2 * time.Hour, want: neither},
			{at: 3 * time.Hour, problem: missing, want: reconciling, wait: 2 * time.Minute},
		}},
		"what cannot mend itself": {looks: []look{
			{problem: forbidden, want: reconciling, wait: 2 * time.Minute},
			{at: 2 * time.Minute, problem: forbidden, want: stalled},
		}},
		"for another reason meanwhile": {looks: []look{
			{problem: missing, want: reconciling, wait: 2 * time.Minute},
			{at: 90 * time.Second, problem: noKey, want: reconciling, wait: 30 * time.Second},
			{at: 2 * time.Minute, problem: noKey, want: stalled},
			{at: 3 * time.Minute, problem: missing, want: stalled},
		}},
		"mended in between": {looks: []look{
			{problem: missing, want: reconciling, wait: 2 * time.Minute},
			{at: 90 * time.Second, want: neither},
			{at: 100 * time.Second, problem: missing, want: reconciling, wait: 2 * time.Minute},
		}},
		"edited, which is another try": {looks: []look{
			{problem: missing, want: reconciling, wait: 2 * time.Minute},
			{at: 90 * time.Second, change: edit, problem: missing, want: reconciling, wait: 2 * time.Minute},
			{at: 4 * time.Minute, problem: missing, want: stalled},
			{at: time.Hour, change: edit, problem: noKey, want: reconciling, wait: 2 * time.Minute},
			{at: time.Hour + time.Minute, problem: noKey, want: reconciling, wait: time.Minute},
			{at: time.Hour + 2*time.Minute, problem: noKey, want: stalled},
		}},
		"once ready": {looks: []look{
			{want: neither},
			{at: time.Hour, problem: missing, want: reconciling, wait: 2 * time.Minute},
		}},
		"stalled by an operator that did not wait": {
			before: []metav1.Condition{condition(v1alpha1.ConditionReady, -time.Second), condition(v1alpha1.ConditionStalled, -time.Second)},
			looks: []look{
				{problem: missing, want: reconciling, wait: 2 * time.Minute},
				{at: 2 * time.Minute, problem: missing, want: stalled},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := webhook()
			w.Status.Conditions = tc.before
			for _, look := range tc.looks {
				if look.change != nil {
					look.change(w)
				}
				v := View{Webhook: w, Problem: look.problem, Now: now.Add(look.at)}
				planned := Status(v)
				if !Equal(w.Status, planned) && !Urgent(w.Status, planned, v.Now) {
					t.Errorf("after %s: that may wait", look.at)
				}
				if wait := UntilStalled(planned, v.Now); wait != look.wait {
					t.Errorf("after %s: stalled after %s, want %s", look.at, wait, look.wait)
				}
				w = written(t, w, planned)
				if got := object.Kstatus(t, w); got != look.want {
					t.Errorf("after %s: kstatus %s, want %s", look.at, got, look.want)
				}
				if c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady); (c.Status == metav1.ConditionTrue) != (look.problem == nil) {
					t.Errorf("after %s: Ready %s", look.at, c.Status)
				}
			}
		})
	}
}
