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
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/testevent"
)

// attempt sends a delivery and records the outcome in it. It sends nothing, and made is
// false, where the receiver takes nothing any more; later is when to try again then.
func (r *Reconciler) attempt(
	ctx context.Context, request queue.Request, d *v1alpha1.WebhookDelivery,
	w *v1alpha1.Webhook, with credentials.Credentials, cause v1alpha1.AttemptCause,
) (made bool, later reconcile.Result, _ error) {
	id := delivery.MessageID(d.Spec.EventRef.UID, d.Spec.WebhookRef.UID)
	body, err := payload.Of(d, w, id)
	if err != nil { // the template compiles, or the delivery would wait
		if err := r.maySend(ctx); err != nil {
			return false, later, err
		}
		r.Metrics.ExpressionFailed("template")
		delivery.FailPayload(d, "spec.payload.template of the webhook made no body: "+err.Error(), r.Clock.Now())
		return true, later, nil
	}
	signed, err := format.Of(w).Request(with.Target.Reveal(), id, r.Clock.Now(), body, with.Secret, with.SigningKey)
	if err != nil {
		return false, later, fmt.Errorf("signing delivery %s: %w", d.Name, err)
	}
	if testevent.Is(d) {
		signed.Header.Set(testevent.Header, "true")
	}
	out := sending.Request{
		URL: signed.URL, Header: signed.Header, Body: signed.Body, Timeout: timeout(w), Judge: retry.Judge(w, d, id),
		InsecureSkipVerify: with.InsecureSkipVerify,
		Authorities:        with.Authorities, Certificate: with.Certificate, Redact: redactor(with.Redactor, signed.Derived),
	}
	if string(body) != d.Spec.Payload {
		out.KeepBody = body
	}
	if err := r.maySend(ctx); err != nil {
		return false, later, err
	}
	to := r.Receivers.Of(w)
	begin := to.Begin
	if cause == v1alpha1.CauseResend {
		begin = to.OnDemand
	}
	permit, made := begin(with.Target)
	if !made {
		return false, r.refused(request, permit), nil
	}
	var report *receiver.Report // nil if something panics
	defer func() {
		to.End(permit, report)
		r.Enqueuer.WebhookChanged(client.ObjectKeyFromObject(w))
	}()
	exchange := r.send(ctx, request, out)
	r.Metrics.attempt(cause, exchange)
	if exchange.Judgement.Failed {
		r.Metrics.ExpressionFailed("rule")
	}
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
	return true, later, nil
}

// closedInterval is how long a delivery stays out of the queue where its receiver took
// requests when a worker got the delivery, and no longer did when it was to be sent.
const closedInterval = time.Second

// refused returns when to try again what the receiver does not permit. What the rate limit
// does not is back in the queue at once, which knows when it does.
func (r *Reconciler) refused(request queue.Request, permit receiver.Permit) reconcile.Result {
	if permit.RateLimited() {
		r.Queue.Add(request)
		return reconcile.Result{}
	}
	if permit.Moved() {
		r.Enqueuer.WebhookChanged(request.Webhook) // its Secret has another address
	}
	return reconcile.Result{RequeueAfter: closedInterval}
}

// redactor returns what takes out of an answer all that must not be told: what the Webhook
// names, and what was made of that for this request.
func redactor(known *redaction.Redactor, derived []string) func(string) string {
	if len(derived) == 0 {
		return known.Redact
	}
	also := redaction.New(derived...)
	return func(s string) string { return also.Redact(known.Redact(s)) }
}

// maySend returns an error where the operator is told to stop, or may no longer lead.
func (r *Reconciler) maySend(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), r.CheckLease()); err != nil {
		return fmt.Errorf("not sending: %w", err)
	}
	return nil
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
