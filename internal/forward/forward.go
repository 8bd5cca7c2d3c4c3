// Package forward posts what happens in Horizon to a receiver of one's own, with the body
// and the headers that the operator would send. It reads no cluster: whoever watches one
// puts items into its queue.
package forward

import (
	"context"
	"fmt"
	"path"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// receiverUID stands for the UID of a Webhook in webhook-id: the receiver has none.
const receiverUID = types.UID("kubectl-horizon-listen")

// retryPause is the time between two tries to reach a receiver that is not up.
const retryPause = time.Second

// Item is one request to be posted.
type Item struct {
	Namespace, Event, EventType, Resource string
	// Delivery is the record that was asked to be sent again; empty for an event.
	Delivery string
	// ID is the header webhook-id: the same for an event and for each resend of it.
	ID   string
	Body []byte
}

// OfEvent returns the request that tells of an event.
func OfEvent(e *v1alpha1.WebhookEvent, webhookID int64) (Item, error) {
	body, err := payload.Render(e, webhookID)
	if err != nil {
		return Item{}, err
	}
	resource := delivery.New(e, &v1alpha1.Webhook{}, nil).Spec.ResourceName
	return Item{
		Namespace: e.Namespace, Event: e.Name, EventType: e.Spec.EventType, Resource: resource,
		ID: delivery.MessageID(e.UID, receiverUID), Body: body,
	}, nil
}

// OfDelivery returns the request that a record is sent again with in Horizon's format: the body
// that it carries.
func OfDelivery(d *v1alpha1.WebhookDelivery) Item {
	resource := d.Spec.ResourceName
	if resource == "" {
		resource = path.Base(d.Spec.ResourcePath)
	}
	return Item{
		Namespace: d.Spec.EventRef.Namespace, Event: d.Spec.EventRef.Name, EventType: d.Spec.EventType, Resource: resource,
		Delivery: d.Name, ID: delivery.MessageID(d.Spec.EventRef.UID, receiverUID), Body: []byte(d.Spec.Payload),
	}
}

// Receiver is where items are posted to.
type Receiver struct {
	URL string
	// Token is sent, and Key signs, as those of a Webhook; either may be nil.
	Token, Key *signing.Secret
	// Timeout bounds one exchange.
	Timeout time.Duration
	// Retry is for how long a receiver that gives no answer is tried again.
	Retry  time.Duration
	Sender *sending.Sender
	Now    func() time.Time
}

// Post posts an item, and returns the last exchange. failed is called for each that is
// followed by another.
func (r *Receiver) Post(ctx context.Context, item Item, failed func(sending.Exchange)) (sending.Exchange, error) {
	end := r.Now().Add(r.Retry)
	for {
		header, err := signing.Headers(item.ID, r.Now(), item.Body, r.Token, r.Key)
		if err != nil {
			return sending.Exchange{}, fmt.Errorf("signing %s: %w", item.Event, err)
		}
		x := r.Sender.Send(ctx, sending.Request{URL: r.URL, Header: header, Body: item.Body, Timeout: r.Timeout})
		if x.Response != nil || x.Interrupted || !r.Now().Add(retryPause).Before(end) {
			return x, nil
		}
		failed(x)
		timer := time.NewTimer(retryPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return x, nil
		case <-timer.C:
		}
	}
}
