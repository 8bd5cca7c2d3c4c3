package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// LongestRequest is how many characters the value of an annotation that asks for something
// may have.
const LongestRequest = 128

// writeTimeout bounds a resend that is being asked for when ctx ends: that is ended first, so
// that what is said of it is true.
const writeTimeout = 30 * time.Second

// writeBackoff is how often a resend is asked for while the API server is in trouble: within
// about six seconds.
var writeBackoff = wait.Backoff{Steps: 6, Duration: 200 * time.Millisecond, Factor: 2}

// Request is the value of an annotation that asks for something: when, and who.
func Request(now time.Time, user string) string {
	value := []rune(now.UTC().Format("2006-01-02T15:04:05.000Z07:00") + "/")
	for _, r := range user {
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar {
			r = '_'
		}
		value = append(value, r)
	}
	return string(value[:min(len(value), LongestRequest)])
}

// User is who the API server takes the caller for; empty where it does not tell.
func User(ctx context.Context, api client.Client) string {
	review := &authenticationv1.SelfSubjectReview{}
	if err := api.Create(ctx, review); err != nil {
		return ""
	}
	return review.Status.UserInfo.Username
}

// Resend asks for a delivery to be sent again; value is one of Request. While the API server
// is in trouble, it tries again until ctx ends, for about six seconds.
func Resend(ctx context.Context, api client.Client, key client.ObjectKey, value string) error {
	var last error
	_ = wait.ExponentialBackoffWithContext(ctx, writeBackoff, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
		defer cancel()
		last = annotate(ctx, api, "WebhookDelivery", key, v1alpha1.AnnotationResend, value)
		return last == nil || !passing(last), nil
	})
	return last
}

// passing tells whether another try may help: the API server is in trouble, or starts.
func passing(err error) bool {
	if _, answered := errors.AsType[*apierrors.StatusError](err); !answered {
		return true
	}
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}

// Test asks for a test delivery of a Webhook; value is one of Request. The operator names it
// in status.lastTest, with the hash of value (see delivery.ResendHash).
func Test(ctx context.Context, api client.Client, key client.ObjectKey, value string) error {
	return annotate(ctx, api, "Webhook", key, v1alpha1.AnnotationTest, value)
}

// Replay asks for the events since a time that a Webhook follows and has no delivery for, and
// returns the value that does: that of status.replay, too, once the operator has taken it. A
// time that is yet to come is a FutureError.
func Replay(ctx context.Context, api client.Client, w *v1alpha1.Webhook, since, now time.Time) (value string, err error) {
	if since.After(now) {
		return "", &FutureError{since}
	}
	value = since.UTC().Format(time.RFC3339)
	// The operator answers each value once. One that is a second earlier asks anew.
	if last := w.Status.Replay; last != nil && last.Value == value && !last.CompletionTime.IsZero() {
		value = since.Add(-time.Second).UTC().Format(time.RFC3339)
	}
	return value, annotate(ctx, api, "Webhook", client.ObjectKeyFromObject(w), v1alpha1.AnnotationReplaySince, value)
}

// FutureError says that the time of a replay is yet to come.
type FutureError struct{ Since time.Time }

func (e *FutureError) Error() string {
	return fmt.Sprintf("since %s is yet to come", e.Since.Format(time.RFC3339))
}

// StopReplay stops a replay. Deliveries that are stored already are sent.
func StopReplay(ctx context.Context, api client.Client, key client.ObjectKey) error {
	return annotate(ctx, api, "Webhook", key, v1alpha1.AnnotationReplaySince, "")
}

// annotate sets an annotation or, with an empty value, takes it away.
func annotate(ctx context.Context, api client.Client, kind string, key client.ObjectKey, annotation, value string) error {
	annotations := map[string]any{annotation: value}
	if value == "" {
		annotations[annotation] = nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return err
	}
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.Namespace, object.Name = key.Namespace, key.Name
	return api.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))
}
