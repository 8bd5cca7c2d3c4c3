package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
	"github.com/horizoncd/webhook-operator/test/hostile/fields"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// playFields edits every field of a Webhook in every way that makes no sense, and puts
// it back each time.
func playFields(ctx context.Context, t *session) (err error) {
	namespace, err := t.namespace(ctx)
	if err != nil {
		return err
	}
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w := webhook(namespace, "w", r.URL("/w"))
	w.Spec.Description, w.Spec.WebhookID = "Start the smoke tests", 7
	w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "token"}
	w.Spec.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "signing"}
	token := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "token"}, StringData: map[string]string{"token": goodToken, "signing": goodKey},
	}
	if err := errors.Join(t.client.Create(ctx, token), t.client.Create(ctx, w)); err != nil {
		return err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w)
	if err != nil {
		return err
	}
	original, _, err := unstructured.NestedMap(content, "spec")
	if err != nil {
		return err
	}
	schemas, err := fields.OfWebhook(t.Root)
	if err != nil {
		return err
	}
	for i, field := range slices.Sorted(maps.Keys(schemas)) {
		var problems []string
		for _, value := range fields.Odd(schemas[field], original[field]) {
			problem, err := t.edit(ctx, w, original, field, value)
			if err != nil {
				return err
			}
			if problem != "" {
				problems = append(problems, problem)
			}
		}
		event := fmt.Sprintf("horizon-%d", i+1)
		if err := t.event(ctx, namespace, event); err != nil {
			return err
		}
		records, err := t.settled(ctx, namespace, event, 1)
		if err != nil {
			return err
		}
		if d := records["w"]; d == nil || d.Status.Result != v1alpha1.DeliverySucceeded {
			problems = append(problems, "put back, it is not delivered")
		}
		arrived := r.Arrivals("/w")
		if len(arrived) != i+1 {
			problems = append(problems, fmt.Sprintf("%d requests of %d events", len(arrived), i+1))
		} else if last := arrived[i]; last.Header.Get(signing.HeaderSecret) != goodToken || !signedBy(goodKey, last) || !strings.Contains(string(last.Body), `"webhookID":7`) {
			problems = append(problems, "put back, it does not send what it did before: "+last.String())
		}
		t.judge(field, problems)
	}
	return nil
}

// edit puts a value into a field, puts the field back, and tells what was wrong with
// the answer.
func (t *session) edit(ctx context.Context, w *v1alpha1.Webhook, original map[string]any, field string, value fields.Value) (string, error) {
	data, err := json.Marshal(map[string]any{"spec": map[string]any{field: value.Is}})
	if err != nil {
		return "", err
	}
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	u.SetNamespace(w.Namespace)
	u.SetName(w.Name)
	switch err := t.client.Patch(ctx, u, client.RawPatch(types.MergePatchType, data)); {
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return "", nil
	case err != nil:
		return fmt.Sprintf("%.100s: refused with %.300v", data, err), nil
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error { // the operator writes the status meanwhile
		if err := t.client.Get(ctx, client.ObjectKeyFromObject(w), u); err != nil {
			return err
		}
		u.Object["spec"] = runtime.DeepCopyJSONValue(original)
		return t.client.Update(ctx, u)
	})
	if value.Beyond {
		return fmt.Sprintf("%.100s: accepted, beyond the bounds", data), err
	}
	return "", err
}
