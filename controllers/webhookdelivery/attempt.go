package webhookdelivery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/signing"
	"github.com/horizoncd/webhook-operator/internal/testevent"
)

// attempt sends a delivery and records the outcome in it. It sends nothing, and made is
// false, where the receiver takes nothing any more.
func (r *Reconciler) attempt(
	ctx context.Context, request queue.Request, d *v1alpha1.WebhookDelivery,
	w *v1alpha1.Webhook, with credentials.Credentials, cause v1alpha1.AttemptCause,
) (made bool, _ error) {
	id := delivery.MessageID(d.Spec.EventRef.UID, d.Spec.WebhookRef.UID)
	header, err := signing.Headers(id, r.Clock.Now(), []byte(d.Spec.Payload), with.Secret, with.SigningKey)
	if err != nil {
		return false, fmt.Errorf("signing delivery %s: %w", d.Name, err)
	}
	if testevent.Is(d) {
		header.Set(testevent.Header, "true")
	}
	out := sending.Request{
		URL: with.Target.Reveal(), Header: header, Body: []byte(d.Spec.Payload), Timeout: timeout(w),
		InsecureSkipVerify: with.InsecureSkipVerify,
		Authorities:        with.Authorities, Certificate: with.Certificate, Redact: with.Redactor.Redact,
	}
	if err := errors.Join(ctx.Err(), r.CheckLease()); err != nil {
		return false, fmt.Errorf("not sending: %w", err)
	}
	to := r.Receivers.Of(w)
	var permit receiver.Permit
	if cause == v1alpha1.CauseResend {
		permit = to.OnDemand()
	} else if permit, made = to.Begin(); !made {
		return false, nil
	}
	var report *receiver.Report // nil if something panics
	defer func() {
		to.End(permit, report)
		r.Enqueuer.WebhookChanged(client.ObjectKeyFromObject(w))
	}()
	exchange := r.send(ctx, request, out)
	r.Metrics.attempt(cause, exchange)
	policy := retry.PolicyOf(w)
	outcome := delivery.AddAttempt(d, delivery.Attempt{
		Cause: cause, URL: with.Target.String(), Exchange: exchange, Policy: policy,
		Resend: d.Annotations[v1alpha1.AnnotationResend], Chance: rand.Float64(), //nolint:gosec // it spreads retries
	})
	if rejected(exchange) {
		r.Credentials.Forget(w)
	}
	explanation := retry.Explain(exchange)
	if location := retry.PointsTo(exchange); location != "" {
		explanation += "; it points to " + location
	}
	report = &receiver.Report{
		Delivery: v1alpha1.LastDelivery{
			Name: d.Name, Time: d.Status.History[0].Time, Result: d.Status.Result, StatusCode: d.Status.History[0].StatusCode,
		},
		Outcome: outcome, Explanation: explanation, Generation: w.Generation, Target: with.Target, Rest: policy.Rest(exchange),
	}
	log.FromContext(ctx).V(1).Info("Sent delivery", "webhook", w.Name, "delivery", d.Name, "result", d.Status.Result)
	return true, nil
}

func (r *Reconciler) send(ctx context.Context, request queue.Request, out sending.Request) sending.Exchange {
	ctx, cancel := withGracePeriod(ctx, r.Drain)
	defer cancel()
	defer r.Queue.Sending(request)()
	return r.Sender.Send(ctx, out)
}

// rejected tells whether the receiver did not accept the secret: it may have been
// rotated since it was read.
func rejected(x sending.Exchange) bool {
	return x.Response != nil &&
		(x.Response.StatusCode == http.StatusUnauthorized || x.Response.StatusCode == http.StatusForbidden)
}

func timeout(w *v1alpha1.Webhook) time.Duration {
	if w.Spec.TimeoutSeconds > 0 {
		return time.Duration(w.Spec.TimeoutSeconds) * time.Second
	}
	return 30 * time.Second
}

// withGracePeriod returns a context that outlives ctx by a while: what has begun when the
// operator is told to stop gets that long to end.
func withGracePeriod(ctx context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	extended, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(while, cancel)
		context.AfterFunc(extended, func() { timer.Stop() })
	})
	return extended, func() { stop(); cancel() }
}
