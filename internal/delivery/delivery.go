// Package delivery makes WebhookDeliveries and records attempts in them. Everything
// that a delivery says of itself (labels, annotations, conditions, result) is derived
// here and nowhere else.
package delivery

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// historyLength is how many attempts a delivery keeps.
const historyLength = 10

// digest identifies the delivery of one event to one webhook. The separator
// keeps two pairs of UIDs from ever reading the same.
func digest(event, webhook types.UID) [sha256.Size]byte {
	return sha256.Sum256([]byte(string(event) + "/" + string(webhook)))
}

// Name returns the name of the delivery of an event to a Webhook. It never
// changes, so the API server refuses a second one; it begins with the name of
// the Webhook and the time of the event, so lists come in order.
func Name(e *v1alpha1.WebhookEvent, w *v1alpha1.Webhook) string {
	return Key(e.UID, e.CreationTimestamp.Time, w).Name
}

// Key returns the namespace and the name of the delivery to a Webhook of an event of which
// no more is known than its UID and when it was created.
func Key(event types.UID, created time.Time, w *v1alpha1.Webhook) types.NamespacedName {
	sum := digest(event, w.UID)
	return types.NamespacedName{Namespace: w.Namespace, Name: fmt.Sprintf("%s-%08x-%x", w.Name, created.Unix(), sum[:8])}
}

// MessageID returns the webhook-id header of a delivery: the same for each of its
// attempts and resends, known before the delivery is stored. 128 bits of the hash
// that the name carries 64 of.
func MessageID(event, webhook types.UID) string {
	sum := digest(event, webhook)
	return "whd_" + hex.EncodeToString(sum[:16])
}

// New returns the delivery of an event to a Webhook, without attempts.
func New(e *v1alpha1.WebhookEvent, w *v1alpha1.Webhook, payload []byte) *v1alpha1.WebhookDelivery {
	d := &v1alpha1.WebhookDelivery{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "WebhookDelivery"},
		ObjectMeta: metav1.ObjectMeta{
			Name:      Name(e, w),
			Namespace: w.Namespace,
			Labels: map[string]string{
				v1alpha1.LabelWebhook:   w.Name,
				v1alpha1.LabelEventType: e.Spec.EventType,
				v1alpha1.LabelEventUID:  string(e.UID),
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.GroupVersion.String(),
				Kind:       "Webhook",
				Name:       w.Name,
				UID:        w.UID,
			}},
		},
		Spec: v1alpha1.WebhookDeliverySpec{
			WebhookRef:   v1alpha1.WebhookReference{Name: w.Name, UID: w.UID},
			EventRef:     v1alpha1.EventReference{Namespace: e.Namespace, Name: e.Name, UID: e.UID},
			EventType:    e.Spec.EventType,
			ResourceName: resourceName(&e.Spec),
			ResourcePath: e.Spec.ResourcePath,
			Time:         e.CreationTimestamp,
			Payload:      string(payload),
		},
	}
	if !e.Spec.Time.IsZero() {
		d.Spec.Time = e.Spec.Time
	}
	if e.Namespace != w.Namespace { // bytes of a record are API server time
		d.Labels[v1alpha1.LabelEventNamespace] = e.Namespace
	}
	return d
}

func resourceName(e *v1alpha1.WebhookEventSpec) string {
	switch {
	case e.Cluster != nil && e.Cluster.Name != "":
		return e.Cluster.Name
	case e.Application != nil && e.Application.Name != "":
		return e.Application.Name
	case e.Pipelinerun != nil && e.Pipelinerun.ClusterName != "":
		return e.Pipelinerun.ClusterName
	case e.Member != nil && e.Member.MemberName != "":
		return e.Member.MemberName
	case e.ResourcePath != "":
		if name := path.Base(e.ResourcePath); name != "/" {
			return cut(name, 253)
		}
	}
	return ""
}

// WaitReason is why a delivery is not sent now, as its conditions tell it.
type WaitReason struct{ Reason, Message string }

// Wait records that a delivery has to wait for its first attempt.
func Wait(d *v1alpha1.WebhookDelivery, why WaitReason, now time.Time) {
	settle(d, v1alpha1.DeliveryWaiting, why.Reason, why.Message, time.Time{}, now)
}

// GiveUp records that a delivery will not be attempted again. One that was
// delivered before stays delivered.
func GiveUp(d *v1alpha1.WebhookDelivery, reason, message string, now time.Time) {
	if d.Status.Result == v1alpha1.DeliverySucceeded {
		settle(d, v1alpha1.DeliverySucceeded, reason, message, time.Time{}, now)
		return
	}
	settle(d, v1alpha1.DeliveryFailed, reason, message, time.Time{}, now)
}

// Attempt is an attempt to be recorded.
type Attempt struct {
	Cause v1alpha1.AttemptCause
	// URL that the request went to.
	URL      string
	Exchange sending.Exchange
	// Resend is the value of the resend annotation that the attempt honours.
	Resend string
	Policy retry.Policy
	// Chance moves the next backoff, from 0 to 1.
	Chance float64
}

// AddAttempt records an attempt in a delivery, with what follows from it.
func AddAttempt(d *v1alpha1.WebhookDelivery, a Attempt) retry.Outcome {
	s := &d.Status
	x := a.Exchange
	now := x.Start.Add(x.Duration)
	outcome := retry.OutcomeOf(x)
	counts := int32(1)
	if outcome == retry.Interrupted {
		counts = 0
	}
	delivered := s.Result == v1alpha1.DeliverySucceeded

	if a.Cause == v1alpha1.CauseResend {
		setAnnotation(d, v1alpha1.AnnotationResent, ResendHash(a.Resend))
		s.Resend = &v1alpha1.ResendCycle{Value: cut(a.Resend, 128), Time: metav1.NewMicroTime(x.Start)}
	}
	if s.Resend != nil {
		s.Resend.Attempts += counts
	}
	s.Attempts += counts
	s.Request = &v1alpha1.RequestRecord{
		URL: a.URL, Headers: x.RequestHeader, Body: x.RequestBody, BodyTruncated: x.RequestBodyTruncated,
	}
	s.Response = nil
	entry := v1alpha1.Attempt{
		Time:         metav1.NewMicroTime(x.Start),
		Cause:        a.Cause,
		Milliseconds: int32(min(max(x.Duration.Milliseconds(), 0), 1<<30)),
	}
	if r := x.Response; r != nil {
		entry.StatusCode = int32(r.StatusCode) //nolint:gosec // three digits
		s.Response = &v1alpha1.ResponseRecord{
			StatusCode:       entry.StatusCode,
			Headers:          r.Header,
			HeadersTruncated: r.HeaderTruncated,
			Body:             r.Body,
			BodyTruncated:    r.BodyTruncated,
		}
	}
	explanation := retry.Explain(x)
	if outcome != retry.Accepted || x.Err != nil {
		entry.Error = explanation
	}
	if quote := retry.Quote(x); quote != "" {
		entry.Error = quote
	}
	entry.Error = strings.ToValidUTF8(entry.Error[:min(len(entry.Error), sending.MaxError)], "")
	s.History = append([]v1alpha1.Attempt{entry}, s.History...)
	s.History = s.History[:min(len(s.History), historyLength)]

	if outcome == retry.Accepted {
		settle(d, v1alpha1.DeliverySucceeded, v1alpha1.ReasonAccepted, explanation, time.Time{}, now)
		return outcome
	}
	retryAfter := ""
	if x.Response != nil {
		retryAfter = x.Response.RetryAfter
	}
	next := retry.After(outcome, a.Policy, retry.CycleOf(d), retryAfter, now, a.Chance)
	switch {
	case !next.At.IsZero() && delivered:
		settle(d, v1alpha1.DeliverySucceeded, next.Reason, explanation, next.At, now)
	case !next.At.IsZero():
		settle(d, v1alpha1.DeliveryWaiting, next.Reason, explanation, next.At, now)
	default:
		GiveUp(d, next.Reason, explanation, now)
	}
	return outcome
}

// FailPayload records that no body could be made of a delivery, so that nothing was sent.
// It honours a resend that was asked for.
func FailPayload(d *v1alpha1.WebhookDelivery, message string, now time.Time) {
	if value := d.Annotations[v1alpha1.AnnotationResend]; ResendPending(d.Annotations) {
		setAnnotation(d, v1alpha1.AnnotationResent, ResendHash(value))
		d.Status.Resend = &v1alpha1.ResendCycle{Value: cut(value, 128), Time: metav1.NewMicroTime(now)}
	}
	GiveUp(d, v1alpha1.ReasonPayloadError, message, now)
}

// Shrink makes a delivery smaller, so that one that the API server refused may still be
// stored: first it takes out the body of the request, which can be made again, then what the
// receiver wrote. It returns false where neither is left.
func Shrink(d *v1alpha1.WebhookDelivery) bool {
	if r := d.Status.Request; r != nil && r.Body != "" {
		r.Body, r.BodyTruncated = "", true
		return true
	}
	before := d.DeepCopy()
	if r := d.Status.Response; r != nil {
		d.Status.Response = &v1alpha1.ResponseRecord{
			StatusCode: r.StatusCode, HeadersTruncated: true, BodyTruncated: true,
		}
	}
	for i := range d.Status.History {
		e := &d.Status.History[i]
		if e.Error == "" {
			continue
		}
		refused := strings.HasPrefix(e.Error, retry.NotAccepted) // which tells that the 2xx was no success
		if e.Error = "left out: the API server refused the delivery with it"; refused {
			e.Error = retry.NotAccepted + e.Error
		}
	}
	for i := range d.Status.Conditions {
		d.Status.Conditions[i].Message = cut(d.Status.Conditions[i].Message, 64)
	}
	return !equality.Semantic.DeepEqual(before.Status, d.Status)
}

// settle writes the result and all that follows from it.
func settle(
	d *v1alpha1.WebhookDelivery, result v1alpha1.DeliveryResult, reason, message string, next, now time.Time,
) {
	s := &d.Status
	s.Result = result
	setLabel(d, v1alpha1.LabelResult, string(result))

	// Times are stored in whole seconds: rounded up, so that no attempt is early.
	s.NextAttemptTime = metav1.Time{}
	setAnnotation(d, v1alpha1.AnnotationNextAttempt, "")
	if !next.IsZero() {
		s.NextAttemptTime = metav1.NewTime(next.Add(time.Second - time.Nanosecond).Truncate(time.Second))
		setAnnotation(d, v1alpha1.AnnotationNextAttempt, s.NextAttemptTime.UTC().Format(time.RFC3339))
	}

	// One that is created finished needs no time of its own for it.
	finished := result != v1alpha1.DeliveryWaiting && next.IsZero()
	setAnnotation(d, v1alpha1.AnnotationFinished, "")
	if finished && !d.CreationTimestamp.IsZero() {
		setAnnotation(d, v1alpha1.AnnotationFinished, now.UTC().Format(time.RFC3339))
	}

	status := map[v1alpha1.DeliveryResult]metav1.ConditionStatus{
		v1alpha1.DeliverySucceeded: metav1.ConditionTrue,
		v1alpha1.DeliveryFailed:    metav1.ConditionFalse,
		v1alpha1.DeliveryWaiting:   metav1.ConditionUnknown,
	}[result]
	set := func(conditionType string, status metav1.ConditionStatus, reason, message string) {
		// SetStatusCondition leaves the time alone where the status stays.
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: conditionType, Status: status, Reason: reason, Message: message,
			LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
		})
	}
	if result == v1alpha1.DeliverySucceeded && reason != v1alpha1.ReasonAccepted {
		// What went wrong since is told by Reconciling while it is tried again,
		// and by the history.
		set(v1alpha1.ConditionDelivered, status, v1alpha1.ReasonAccepted, "it was delivered before; the last resend failed: "+message)
	} else {
		set(v1alpha1.ConditionDelivered, status, reason, message)
	}
	for conditionType, present := range map[string]bool{
		v1alpha1.ConditionReconciling: !finished,
		v1alpha1.ConditionStalled:     finished && result == v1alpha1.DeliveryFailed,
	} {
		if present {
			set(conditionType, metav1.ConditionTrue, reason, message)
		} else {
			meta.RemoveStatusCondition(&s.Conditions, conditionType)
		}
	}
}

// ResendHash is what the resent annotation says of a value of the resend
// annotation. Values may be long, and only their difference matters.
func ResendHash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:8])
}

// ResendPending tells from its annotations whether a resend of a delivery was
// asked for and has not begun.
func ResendPending(annotations map[string]string) bool {
	value, ok := annotations[v1alpha1.AnnotationResend]
	return ok && value != "" && annotations[v1alpha1.AnnotationResent] != ResendHash(value)
}

// RefuseResend records that the resend which was asked for is not made. Another
// value asks again.
func RefuseResend(d *v1alpha1.WebhookDelivery) {
	setAnnotation(d, v1alpha1.AnnotationResent, ResendHash(d.Annotations[v1alpha1.AnnotationResend]))
}

// StateOf returns what retry.Decide has to know of a delivery.
func StateOf(d *v1alpha1.WebhookDelivery) retry.State {
	cycle := retry.CycleOf(d)
	return retry.State{
		Result:      d.Status.Result,
		NextAttempt: d.Status.NextAttemptTime.Time,
		Since:       cycle.Since,
		Resend:      ResendPending(d.Annotations),
		// A resend begins with an attempt, also where that was interrupted and
		// does not count.
		Attempted: cycle.Attempts > 0 || d.Status.Resend != nil,
	}
}

// cut shortens a text to at most n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

func setLabel(d *v1alpha1.WebhookDelivery, key, value string) {
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	d.Labels[key] = value
}

func setAnnotation(d *v1alpha1.WebhookDelivery, key, value string) {
	if value == "" {
		delete(d.Annotations, key)
		return
	}
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[key] = value
}

// CarryOver writes the attempts of d, and what is derived from them, into current: the
// same delivery as it is in store now. What others have annotated stays.
func CarryOver(d, current *v1alpha1.WebhookDelivery) {
	current.Status = *d.Status.DeepCopy()
	setLabel(current, v1alpha1.LabelResult, d.Labels[v1alpha1.LabelResult])
	for _, key := range []string{
		v1alpha1.AnnotationNextAttempt, v1alpha1.AnnotationFinished, v1alpha1.AnnotationResent,
	} {
		setAnnotation(current, key, d.Annotations[key])
	}
	// d may have been made without knowing that one was stored long before.
	finished := d.Status.Result != v1alpha1.DeliveryWaiting && d.Status.NextAttemptTime.IsZero()
	delivered := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
	if finished && delivered != nil && current.Annotations[v1alpha1.AnnotationFinished] == "" {
		setAnnotation(current, v1alpha1.AnnotationFinished, delivered.LastTransitionTime.UTC().Format(time.RFC3339))
	}
}

// SameAttempts tells whether two states of a delivery tell of the same attempts, and
// of the same resend.
func SameAttempts(a, b *v1alpha1.WebhookDelivery) bool {
	if a.Status.Result != b.Status.Result || len(a.Status.History) != len(b.Status.History) ||
		a.Annotations[v1alpha1.AnnotationResent] != b.Annotations[v1alpha1.AnnotationResent] {
		return false
	}
	if len(a.Status.History) == 0 {
		return true
	}
	x, y := a.Status.History[0], b.Status.History[0]
	return x.Time.Truncate(time.Microsecond).Equal(y.Time.Truncate(time.Microsecond)) &&
		x.Cause == y.Cause && x.StatusCode == y.StatusCode && x.Milliseconds == y.Milliseconds
}

// SameDelivery tells whether two objects are of the same event for the same Webhook.
func SameDelivery(a, b *v1alpha1.WebhookDelivery) bool {
	return a.Spec.WebhookRef.UID == b.Spec.WebhookRef.UID && a.Spec.EventRef.UID == b.Spec.EventRef.UID
}

// Genuine tells whether a delivery is one of those that are made for a Webhook: its
// name follows from what it says it is of. Who carries one over to another Webhook, or
// makes one up, would have it sent with a secret that is not theirs.
func Genuine(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook) bool {
	of := d.Spec.WebhookRef
	sum := digest(d.Spec.EventRef.UID, of.UID)
	return d.Namespace == w.Namespace && of.Name == w.Name && of.UID == w.UID &&
		strings.HasPrefix(d.Name, w.Name+"-") && strings.HasSuffix(d.Name, fmt.Sprintf("-%x", sum[:8]))
}
