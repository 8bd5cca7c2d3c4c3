// Package testevent makes the test deliveries that people ask for: of an event that never
// happened, and that says so. It is pure.
package testevent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

// Header marks the requests of test deliveries, with the value "true".
const Header = "X-Horizon-Webhook-Test"

// name is what a test is about, wherever a name is needed.
const name = "webhook-test"

// uidPrefix tells the UIDs of such events from those that the API server makes.
const uidPrefix = "test-"

// maxResend is how long the value of the resend annotation may be, in characters.
const maxResend = 128

// Asked tells whether a test of a Webhook was asked for that has no delivery yet.
func Asked(w *v1alpha1.Webhook) bool {
	value, last := w.Annotations[v1alpha1.AnnotationTest], w.Status.LastTest
	return value != "" && (last == nil || last.Hash != Hash(value) || last.Delivery == "")
}

// Hash is what the status says of a value of the annotation.
func Hash(value string) string { return delivery.ResendHash(value) }

// Is tells whether a delivery is a test.
func Is(d *v1alpha1.WebhookDelivery) bool {
	return d.Spec.EventType == v1alpha1.EventTypeTest && IsEvent(d.Spec.EventRef.UID)
}

// IsEvent tells whether an event is that of a test.
func IsEvent(uid types.UID) bool { return strings.HasPrefix(string(uid), uidPrefix) }

// Delivery returns the test delivery that a value of the annotation asks for. It waits,
// with a resend asked for, which no state of the Webhook holds back. The same value at
// the same second gives the same name; at is when the request was taken, now when the
// delivery is made.
func Delivery(w *v1alpha1.Webhook, value string, at, now time.Time) (*v1alpha1.WebhookDelivery, error) {
	e := event(w, value, at)
	body, err := payload.Render(e, payload.WebhookID(w))
	if err != nil {
		return nil, fmt.Errorf("rendering the body of a test: %w", err)
	}
	d := delivery.New(e, w, body)
	delivery.Wait(d, waitReason(w), now)
	asked := []rune(value)
	d.Annotations = map[string]string{v1alpha1.AnnotationResend: string(asked[:min(len(asked), maxResend)])}
	return d, nil
}

// event is what a test tells of. Its UID depends on the time, too, so that a value that
// comes again after another one is a message of its own.
func event(w *v1alpha1.Webhook, value string, at time.Time) *v1alpha1.WebhookEvent {
	at = at.UTC().Truncate(time.Second)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s", w.UID, at.Unix(), value))
	return &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace, Name: name, CreationTimestamp: metav1.NewTime(at),
			UID: types.UID(uidPrefix + hex.EncodeToString(sum[:16])),
		},
		Spec: v1alpha1.WebhookEventSpec{
			EventType:    v1alpha1.EventTypeTest,
			Time:         metav1.NewTime(at),
			ResourcePath: "/" + name,
			Application:  &v1alpha1.ApplicationInfo{ID: new(int64(0)), Name: name},
			Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(0)), Name: name, ApplicationName: name, Env: "test"},
			User:         &v1alpha1.UserInfo{ID: new(int64(0)), Name: name, Email: name + "@noreply.invalid"},
			Extra: fmt.Sprintf("This is a test of the webhook %s/%s, asked for at %s. Nothing has happened.",
				w.Namespace, w.Name, at.Format(time.RFC3339)),
		},
	}
}

// waitReason is why a test waits until its request has ended.
func waitReason(w *v1alpha1.Webhook) delivery.WaitReason {
	if c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status == metav1.ConditionFalse {
		return delivery.WaitReason{Reason: v1alpha1.ReasonNotReady, Message: c.Message}
	}
	return delivery.WaitReason{Reason: v1alpha1.ReasonQueued, Message: "a test was asked for and is about to be sent"}
}
