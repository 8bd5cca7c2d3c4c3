// Package apiwriter makes the writes that there are many of, and asks for metadata only
// in the answers: whoever has sent an object knows the rest, and to write and to
// read it takes an eighth of all CPU time of a delivery.
package apiwriter

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Writer writes to the API server. What was written is brought up to date with the
// metadata of the answer.
type Writer struct {
	rest rest.Interface
	// last is when the last write succeeded, in nanoseconds since 1970.
	last atomic.Int64
}

// onlyMetadata is the media type of an answer with nothing but metadata.
const onlyMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// NewWriter returns a writer to the API server of a configuration, over connections
// that others may share. The scheme has to have this project's kinds.
//
//nolint:forbidigo // what is sent goes to the API server, not to a receiver
func NewWriter(c *rest.Config, connections *http.Client, scheme *runtime.Scheme) (*Writer, error) {
	r, err := apiutil.RESTClientForGVK(v1alpha1.GroupVersion.WithKind("WebhookDelivery"), false, false,
		c, serializer.NewCodecFactory(scheme), connections)
	if err != nil {
		return nil, err
	}
	return &Writer{rest: r}, nil
}

// LastWrite returns when the last write succeeded; the zero time if none has.
func (w *Writer) LastWrite() time.Time {
	if last := w.last.Load(); last != 0 {
		return time.Unix(0, last)
	}
	return time.Time{}
}

// CreateDelivery creates a delivery.
func (w *Writer) CreateDelivery(ctx context.Context, d *v1alpha1.WebhookDelivery) error {
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return w.do(ctx, w.rest.Post().SetHeader("Content-Type", "application/json").Resource("webhookdeliveries"), data, d)
}

// PatchDelivery stores what is new of a delivery. It fails with a conflict where the
// one in store is not as base any more.
func (w *Writer) PatchDelivery(ctx context.Context, base, d *v1alpha1.WebhookDelivery) error {
	return w.patch(ctx, w.rest.Patch(types.MergePatchType).Resource("webhookdeliveries").Name(d.Name), base, d)
}

// PatchEventStatus stores what is new of an event's status. It fails with a conflict
// where the one in store is not as base any more.
func (w *Writer) PatchEventStatus(ctx context.Context, base, e *v1alpha1.WebhookEvent) error {
	return w.patch(ctx, w.rest.Patch(types.MergePatchType).Resource("webhookevents").Name(e.Name).SubResource("status"), base, e)
}

func (w *Writer) patch(ctx context.Context, r *rest.Request, base, o client.Object) error {
	data, err := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}).Data(o)
	if err != nil {
		return err
	}
	return w.do(ctx, r, data, o)
}

func (w *Writer) do(ctx context.Context, r *rest.Request, data []byte, o client.Object) error {
	result := r.Namespace(o.GetNamespace()).SetHeader("Accept", onlyMetadata).Body(data).Do(ctx)
	// Raw has only the status code in its error. Error reads the Status in the body,
	// which has the words of a quota or a policy.
	if err := result.Error(); err != nil {
		return err
	}
	w.last.Store(time.Now().UnixNano())
	answer, err := result.Raw()
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
