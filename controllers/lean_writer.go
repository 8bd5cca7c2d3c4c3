package controllers

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// writer makes the writes that there are many of. What was written is brought up
// to date with the metadata of the answer.
type writer interface {
	createDelivery(ctx context.Context, d *v1alpha1.WebhookDelivery) error
	// The patches fail with a conflict where the object is not as base any more.
	patchDelivery(ctx context.Context, base, d *v1alpha1.WebhookDelivery) error
	patchEventStatus(ctx context.Context, base, e *v1alpha1.WebhookEvent) error
}

// leanWriter asks for metadata only in the answers: whoever has sent an object
// knows the rest, and to write and to read it takes an eighth of all CPU time of a
// delivery.
type leanWriter struct{ rest rest.Interface }

var _ writer = leanWriter{}

// onlyMetadata is the media type of an answer with nothing but metadata.
const onlyMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

func newLeanWriter(mgr manager.Manager) (leanWriter, error) {
	c, err := apiutil.RESTClientForGVK(v1alpha1.GroupVersion.WithKind("WebhookDelivery"), false, false,
		mgr.GetConfig(), serializer.NewCodecFactory(mgr.GetScheme()), mgr.GetHTTPClient())
	return leanWriter{c}, err
}

func (w leanWriter) createDelivery(ctx context.Context, d *v1alpha1.WebhookDelivery) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return w.do(ctx, w.rest.Post().SetHeader("Content-Type", "application/json").Resource("webhookdeliveries"), data, d)
}

func (w leanWriter) patchDelivery(ctx context.Context, base, d *v1alpha1.WebhookDelivery) error {
	return w.patch(ctx, w.rest.Patch(types.MergePatchType).Resource("webhookdeliveries").Name(d.Name), base, d)
}

func (w leanWriter) patchEventStatus(ctx context.Context, base, e *v1alpha1.WebhookEvent) error {
	return w.patch(ctx, w.rest.Patch(types.MergePatchType).Resource("webhookevents").Name(e.Name).SubResource("status"), base, e)
}

func (w leanWriter) patch(ctx context.Context, r *rest.Request, base, o client.Object) error {
	data, err := locked(base).Data(o)
	if err != nil {
		return err
	}
	return w.do(ctx, r, data, o)
}

func (w leanWriter) do(ctx context.Context, r *rest.Request, data []byte, o client.Object) error {
	answer, err := r.Namespace(o.GetNamespace()).SetHeader("Accept", onlyMetadata).Body(data).Do(ctx).Raw()
	if err != nil {
		return err
	}
	var m metav1.PartialObjectMetadata
	if err := json.Unmarshal(answer, &m); err != nil {
		return fmt.Errorf("reading the answer to a write: %w", err)
	}
	switch o := o.(type) {
	case *v1alpha1.WebhookDelivery:
		o.ObjectMeta = m.ObjectMeta
	case *v1alpha1.WebhookEvent:
		o.ObjectMeta = m.ObjectMeta
	}
	return nil
}

// locked is a merge patch that fails with a conflict where the object has changed:
// a process that only believes in its lease does not write over a newer log.
func locked(base client.Object) client.Patch {
	return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
}
