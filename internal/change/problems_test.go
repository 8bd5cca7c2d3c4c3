package change

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Each problem is at the field that has to change, in the words of the rule.
func TestProblems(t *testing.T) {
	refused := apierrors.NewInvalid(schema.GroupKind{Group: "horizoncd.io", Kind: "Webhook"}, "chat", nil)
	refused.ErrStatus.Details.Causes = []metav1.StatusCause{
		{Field: "spec.url", Message: `Invalid value: "string": url must be absolute`},
		{Field: "spec", Message: `Invalid value: "object": url is required: the absolute address`},
		{Field: "spec", Message: `Invalid value: "object": tls is for https`},
		{Field: "spec", Message: `Invalid value: "object": everything is wrong`},
		{Field: "spec", Message: `Invalid value: "object": the format Slack needs urlSecretRef in place of url`},
		{Field: "spec", Message: `Invalid value: "object": Slack knows no secret beside the address: take secretRef out`},
		{Field: "<nil>", Message: `Invalid value: "object": metadata.name must be no longer than 63 characters`},
		{Field: "spec.maxInFlight", Message: "Invalid value: 0: spec.maxInFlight in body should be greater than or equal to 1"},
		{Field: "<nil>", Message: "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"},
	}
	got, ok := Problems(&LeftoverError{Why: fmt.Errorf("creating webhook chat: %w", refused), Err: errors.New("forbidden")})
	want := []Problem{
		{"spec.url", "url must be absolute"},
		{"spec.url", "url is required: the absolute address"},
		{"spec.tls", "tls is for https"},
		{"spec", "everything is wrong"},
		{"spec.urlSecretRef", "the format Slack needs urlSecretRef in place of url"},
		{"spec.secretRef", "Slack knows no secret beside the address: take secretRef out"},
		{"metadata.name", "metadata.name must be no longer than 63 characters"},
		{"spec.maxInFlight", "0: it should be greater than or equal to 1"},
		{"", "Mend these first: other rules were not asked yet."},
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	for _, err := range []error{nil, errors.New("no route to host"), apierrors.NewForbidden(schema.GroupResource{}, "chat", nil)} {
		if got, ok := Problems(err); ok {
			t.Errorf("problems of %v: %v", err, got)
		}
	}
}
