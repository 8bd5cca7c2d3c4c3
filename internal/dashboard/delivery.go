package dashboard

import (
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/roomview"
)

// deliveryPage is a delivery with its log.
type deliveryPage struct {
	*insight.Delivery
	// Resend says who asked for the last resend, and what became of it.
	Resend string
	// Earlier is how many attempts are not in the history.
	Earlier   int
	MessageID string
	Curl      string
	// NoCurl is why there is no such command.
	NoCurl   string
	Request  headersAndBody
	Response *headersAndBody
	// Room is the message that was sent as the room shows it; nil where it was none, or is not
	// known to be one.
	Room *roomview.View
	// Source is the event as Horizon's body, where the request has another one; nil otherwise.
	Source *body
	// Pending: something is yet to be sent.
	Pending bool
}

// headersAndBody are two of the four panels.
type headersAndBody struct {
	Headers    string
	HeadersCut bool
	Body       body
	BodyCut    bool
	// NoBody is why there is none.
	NoBody string
}

// showDelivery is the page of a delivery: what was sent, what was answered, and how it
// ended.
func showDelivery(q *request) (*view, error) {
	key := q.key()
	answer, err := q.cluster.reader.Delivery(q.Context(), key)
	if err != nil {
		return nil, err
	}
	d := answer.Object
	page := deliveryPage{
		Delivery:  answer,
		Resend:    insight.ResendOf(d, q.now),
		Earlier:   int(d.Status.Attempts) - len(d.Status.History),
		MessageID: delivery.MessageID(d.Spec.EventRef.UID, d.Spec.WebhookRef.UID),
		Pending:   answer.Outcome == insight.Waiting,
	}
	if r := d.Status.Response; r != nil {
		page.Response = &headersAndBody{
			Headers: strings.TrimSpace(r.Headers), HeadersCut: r.HeadersTruncated, Body: pretty(r.Body), BodyCut: r.BodyTruncated,
		}
	}
	q.store.begin(partDeliveries) // its changes make this page anew
	// Where nothing was sent yet, the Webhook tells the address.
	var w *v1alpha1.Webhook
	if q.store.wait(q.Context(), partWebhooks) == nil {
		if w, err = q.store.webhook(d.Spec.WebhookRef.Name); err != nil || w.UID != d.Spec.WebhookRef.UID {
			w = nil
		}
	}
	page.request(w)
	if page.Curl, err = insight.Curl(d, w); err != nil {
		page.NoCurl = err.Error()
	}
	return &view{template: "delivery", title: d.Name, tab: "webhooks", data: page}, nil
}

// request is what was sent last or, before that, what is known of what is to be sent to w,
// which may be nil.
func (p *deliveryPage) request(w *v1alpha1.Webhook) {
	d := p.Object
	if r := d.Status.Request; r != nil {
		p.Request.Headers = strings.TrimSpace(r.Headers)
	}
	event := pretty(d.Spec.Payload)
	p.Request.Body = event
	sent, err := insight.SentBody(d)
	switch {
	case err != nil && w != nil && w.Spec.Payload != nil && *w.Spec.Payload != (v1alpha1.PayloadSettings{Format: v1alpha1.PayloadHorizon}):
		p.Request.NoBody = "Nothing was sent yet."
	case err != nil:
	case sent.Cut && sent.Text == "":
		p.Request.NoBody = "It is not kept: the API server refused the record with it."
	default:
		p.Request.Body, p.Request.BodyCut = pretty(sent.Text), sent.Cut
		if w != nil && sent.Made && !sent.Cut {
			// The format may have been another one when it was sent.
			if room := roomOf(w, sent.Text); room != nil && room.Why == "" {
				p.Room = room
			}
		}
	}
	if p.Request.NoBody != "" || sent.Made {
		p.Source = &event
	}
}

// Test tells whether it is a test delivery, which no event stands behind.
func (p deliveryPage) Test() bool { return p.Object.Spec.EventType == v1alpha1.EventTypeTest }

// StatusCode is that of the last answer; 0 where there was none.
func (p deliveryPage) StatusCode() int32 {
	if len(p.Object.Status.History) > 0 {
		return p.Object.Status.History[0].StatusCode
	}
	return 0
}
