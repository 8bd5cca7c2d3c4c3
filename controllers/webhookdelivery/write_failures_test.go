package webhookdelivery

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestClassify(t *testing.T) {
	of := v1alpha1.GroupVersion.WithResource("webhookdeliveries").GroupResource()
	status := func(s metav1.Status) error { return &apierrors.StatusError{ErrStatus: s} }
	invalid := func(message, field string) error {
		return status(metav1.Status{
			Code: 422, Reason: metav1.StatusReasonInvalid, Message: message,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: field}}},
		})
	}
	for name, tc := range map[string]struct {
		err  error
		want outcome
	}{
		"stored":                      {nil, stored},
		"too large":                   {apierrors.NewRequestEntityTooLargeError("too large"), tooLarge},
		"too large for a policy":      {status(metav1.Status{Code: 413, Reason: metav1.StatusReasonRequestEntityTooLarge, Message: "ValidatingAdmissionPolicy"}), tooLarge},
		"too large for etcd":          {status(metav1.Status{Code: 500, Message: "etcdserver: request is too large"}), tooLarge},
		"body is invalid":             {invalid("", "status.response.body"), tooLarge},
		"an error is invalid":         {invalid("", "status.history[0].error"), tooLarge},
		"a condition is invalid":      {invalid("", "status.conditions[0].message"), tooLarge},
		"the payload is invalid":      {invalid("", "spec.payload"), refused},
		"a label is invalid":          {invalid("", "metadata.labels"), refused},
		"invalid for a policy":        {invalid("ValidatingAdmissionPolicy 'x' denied request: y", ""), refused},
		"invalid without details":     {status(metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid}), refused},
		"invalid for a webhook":       {invalid(`admission webhook "x" denied the request: y`, "status.response.body"), refused},
		"bad request":                 {apierrors.NewBadRequest("no"), refused},
		"denied with 429":             {status(metav1.Status{Code: 429, Message: `admission webhook "x" denied the request: y`}), refused},
		"forbidden":                   {apierrors.NewForbidden(of, "d", errors.New("exceeded quota")), refused},
		"no such namespace":           {apierrors.NewNotFound(corev1.Resource("namespaces"), "n"), refused},
		"unauthorized":                {apierrors.NewUnauthorized("no"), refused},
		"expired":                     {apierrors.NewResourceExpired("no"), refused},
		"overload":                    {apierrors.NewTooManyRequestsError("later"), unanswered},
		"etcd has no leader":          {status(metav1.Status{Code: 500, Message: "etcdserver: no leader"}), unanswered},
		"etcd is full":                {status(metav1.Status{Code: 500, Message: "etcdserver: mvcc: database space exceeded"}), unanswered},
		"a webhook fails":             {apierrors.NewInternalError(errors.New(`failed calling webhook "x"`)), unanswered},
		"timeout":                     {apierrors.NewTimeoutError("timeout", 0), unanswered},
		"no connection":               {syscall.ECONNREFUSED, unanswered},
		"it has changed meanwhile":    {fmt.Errorf("%w: %w", errAgain, apierrors.NewNotFound(of, "d")), unanswered},
		"another object has the name": {apierrors.NewForbidden(of, "d", errors.New("another object has this name")), refused},
	} {
		t.Run(name, func(t *testing.T) {
			if got := classify(tc.err); got != tc.want {
				t.Errorf("classify(%v) = %d, want %d", tc.err, got, tc.want)
			}
		})
	}
}
