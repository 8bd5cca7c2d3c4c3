package delivery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestCarryOver(t *testing.T) {
	// The operator stored that it waits, and its answer was lost; then somebody
	// annotated it; now its outcome is to be stored.
	d := fresh()
	AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(500, now.Add(time.Hour))))
	current := fresh()
	Wait(current, WaitReason{v1alpha1.ReasonPaused, "the webhook is Paused"}, now)
	current = stored(t, current)
	current.UID, current.ResourceVersion = "uid", "7"
	annotate(current, "1")
	setAnnotation(current, "example.com/note", "mine")
	setLabel(current, "example.com/team", "music")

	want := current.DeepCopy()
	want.Status = *d.Status.DeepCopy()
	want.Annotations[v1alpha1.AnnotationNextAttempt] = "2026-11-23T10:00:11Z"
	CarryOver(d, current)
	if diff := cmp.Diff(want, current); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	AddAttempt(d, attempt(v1alpha1.CauseRetry, exchange(200, now.Add(2*time.Hour))))
	if current.Status.Attempts != 1 {
		t.Error("the two share a log")
	}
}

// A record that was stored long before its outcome did not finish when it was
// created: it would be deleted too early.
func TestCarryTellsWhenItFinished(t *testing.T) {
	d := fresh()
	AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(200, now.Add(time.Hour))))
	current := fresh()
	Wait(current, WaitReason{v1alpha1.ReasonPaused, "the webhook is Paused"}, now)
	current = stored(t, current)
	CarryOver(d, current)
	if got, want := current.Annotations[v1alpha1.AnnotationFinished], "2026-11-23T10:00:00Z"; got != want {
		t.Errorf("finished %q, want %q", got, want)
	}
}

func TestSameAttempts(t *testing.T) {
	delivered := func() *v1alpha1.WebhookDelivery {
		d := fresh()
		AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(200, now.Add(123*time.Millisecond))))
		return d
	}
	held := func(reason string) *v1alpha1.WebhookDelivery {
		d := fresh()
		Wait(d, WaitReason{reason, ""}, now)
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
		"both empty":              {a: fresh(), b: fresh(), want: true},
		"the same":                {a: delivered(), b: delivered(), want: true},
		"as stored":               {a: delivered(), b: stored(t, delivered()), want: true},
		"annotated meanwhile":     {a: delivered(), b: change(delivered(), func(d *v1alpha1.WebhookDelivery) { annotate(d, "1") }), want: true},
		"held for another reason": {a: held(v1alpha1.ReasonPaused), b: held(v1alpha1.ReasonQueued), want: true},
		"held and delivered":      {a: held(v1alpha1.ReasonPaused), b: delivered()},
		"resent":                  {a: delivered(), b: change(delivered(), func(d *v1alpha1.WebhookDelivery) { resend(d, "1", exchange(200, now)) })},
		"another second": {a: delivered(), b: change(fresh(), func(d *v1alpha1.WebhookDelivery) {
			AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(200, now.Add(time.Second))))
		})},
		"another duration": {a: delivered(), b: change(fresh(), func(d *v1alpha1.WebhookDelivery) {
			x := exchange(200, now)
			x.Duration++
			x.Duration += time.Millisecond
			AddAttempt(d, attempt(v1alpha1.CauseInitial, x))
		})},
		"another cause": {a: delivered(), b: change(fresh(), func(d *v1alpha1.WebhookDelivery) { AddAttempt(d, attempt(v1alpha1.CauseRetry, exchange(200, now))) })},
		"another code":  {a: delivered(), b: change(fresh(), func(d *v1alpha1.WebhookDelivery) { AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(201, now))) })},
		"full histories": {
			a: change(fresh(), func(d *v1alpha1.WebhookDelivery) {
				for n := range 12 {
					AddAttempt(d, attempt(v1alpha1.CauseRetry, exchange(500, now.Add(time.Duration(n)*time.Second))))
				}
			}),
			b: change(fresh(), func(d *v1alpha1.WebhookDelivery) {
				for n := range 13 {
					AddAttempt(d, attempt(v1alpha1.CauseRetry, exchange(500, now.Add(time.Duration(n)*time.Second))))
				}
			}),
		},
		"given up since": {a: held(v1alpha1.ReasonPaused), b: change(held(v1alpha1.ReasonPaused), func(d *v1alpha1.WebhookDelivery) { GiveUp(d, v1alpha1.ReasonWaitedTooLong, "", now) })},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]*v1alpha1.WebhookDelivery{{tc.a, tc.b}, {tc.b, tc.a}} {
				if got := SameAttempts(pair[0], pair[1]); got != tc.want {
					t.Errorf("SameAttempts = %t, want %t", got, tc.want)
				}
			}
		})
	}
}

func TestSame(t *testing.T) {
	otherEvent, otherWebhook := fresh(), fresh()
	otherEvent.Spec.EventRef.UID, otherWebhook.Spec.WebhookRef.UID = "other", "other"
	for name, tc := range map[string]struct {
		other *v1alpha1.WebhookDelivery
		want  bool
	}{
		"same":            {other: fresh(), want: true},
		"another event":   {other: otherEvent},
		"another webhook": {other: otherWebhook},
		"a foreign one":   {other: &v1alpha1.WebhookDelivery{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := SameDelivery(fresh(), tc.other); got != tc.want {
				t.Errorf("Same = %t, want %t", got, tc.want)
			}
		})
	}
}
