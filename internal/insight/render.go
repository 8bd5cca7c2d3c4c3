package insight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/roomview"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// madeUpUID stands for that of an event which is not in the cluster.
const madeUpUID = types.UID("00000000-0000-0000-0000-000000000000")

// Header is a line of a request's header.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Request is what would be sent to a Webhook for an event.
type Request struct {
	Webhook Ref `json:"webhook"`
	Event   Ref `json:"event"`
	// Finding tells whether it would be sent, and if not, why. Where it was sent, it
	// tells what became of that.
	Finding
	Method string `json:"method"`
	// URL is [redacted], with its host where that is known, where it is a secret.
	URL string `json:"url"`
	// Headers are sorted by name. What proves the sender is [redacted]. Host and
	// Content-Length, which follow from URL and body, and User-Agent, which tells the
	// operator's version, are left out.
	Headers []Header `json:"headers"`
	// Body is what is sent, byte for byte.
	Body string `json:"body"`
	// NoBody says why there is no body: the template does not compile, or fails for the
	// event. It is nil where there is one.
	NoBody *Finding `json:"noBody,omitempty"`
	// Shown is the message in the words that a room shows, where the format is that of a chat
	// service and the body is a message of it.
	Shown string `json:"shown,omitempty"`
	// Delivery is the name of the record, where there is one.
	Delivery string `json:"delivery,omitempty"`
	// Notes are what was made up, and what else is worth knowing.
	Notes []string `json:"notes,omitempty"`
}

// Render returns the request of an event for a Webhook, rendered by the operator's own
// packages. system is the system namespace. An event that is not in the cluster lacks a
// UID and a time of creation: these are made up, and a note says so.
func Render(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, system string, now time.Time) (*Request, error) {
	e = e.DeepCopy()
	request := &Request{Webhook: refOf(w), Event: refOf(e), Method: http.MethodPost, URL: w.Spec.URL}
	if e.UID == "" {
		e.UID = madeUpUID
		request.Notes = append(request.Notes, "made up, since the event is not in the cluster: "+signing.HeaderID)
		if e.Spec.EventID == 0 {
			request.Notes[0] += ", and eventID in the body"
		}
	}
	if e.CreationTimestamp.IsZero() {
		e.CreationTimestamp = metav1.NewTime(now)
	}
	event, err := payload.Render(e, payload.WebhookID(w))
	if err != nil {
		return nil, err
	}
	id := delivery.MessageID(e.UID, w.UID)
	body, err := payload.Of(delivery.New(e, w, event), w, id)
	if err != nil {
		request.NoBody = withoutBody(w, err)
	}
	request.Body = string(body)
	if f := format.Of(w); f.Room {
		request.Notes = append(request.Notes, "the request is "+SignedBy(w))
		if view := roomview.Of(f.Name, body); request.NoBody == nil && view.Why == "" {
			request.Shown = view.Text()
		} else if request.NoBody == nil {
			request.Notes = append(request.Notes, "the room may refuse the body: "+view.Why)
		}
	}
	if request.Headers, err = headersOf(w, id, body, now); err != nil {
		return nil, err
	}
	request.Finding = wouldBeSent(w, e, system, now)
	if request.NoBody != nil && request.Outcome == Sent {
		parts := request.Parts
		request.Finding = *request.NoBody
		request.Parts, request.Message = parts, "nothing would be sent: "+request.Message
	}
	if len(request.Parts) > 0 && request.Outcome != NotFollowed {
		request.Notes = append(request.Notes, "its filter is true for the event: "+values(request.Parts))
	}
	if ref := w.Spec.URLSecretRef; ref != nil {
		request.URL = redaction.Placeholder
		request.Notes = append(request.Notes, fmt.Sprintf("the URL is in the key %s of the Secret %s", ref.Key, ref.Name))
	}
	request.Notes = append(request.Notes, signing.HeaderTimestamp+
		" is the time of each attempt, and here that of this answer; Host, Content-Length and User-Agent are sent, too")
	return request, nil
}

// headersOf returns the header of a request. No Secret is read for it: what would be in
// there is not shown anyway.
func headersOf(w *v1alpha1.Webhook, id string, body []byte, now time.Time) ([]Header, error) {
	anything, _, err := signing.ParseSecret([]byte(redaction.Placeholder))
	if err != nil {
		return nil, err
	}
	f := format.Of(w)
	var token, key *signing.Secret
	if w.Spec.SecretRef != nil && !f.Room { // what a room gets is in no header
		token = &anything
	}
	if w.Spec.SigningSecretRef != nil {
		key = &anything
	}
	sent, err := f.Request("", id, now, body, token, key)
	if err != nil {
		return nil, err
	}
	h := sent.Header
	for _, name := range []string{signing.HeaderSecret, signing.HeaderSignature} {
		if h.Get(name) != "" {
			h.Set(name, redaction.Placeholder)
		}
	}
	var all []Header
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			all = append(all, Header{name, value})
		}
	}
	return all, nil
}

// withoutBody says why a template makes no body.
func withoutBody(w *v1alpha1.Webhook, err error) *Finding {
	if mistake, ok := errors.AsType[*expression.Mistake](err); ok {
		f := mistaken(w, v1alpha1.ReasonPayloadInvalid, "", Caret(mistake))
		f.Outcome, f.Message = Waiting, sayMistake("spec.payload.template", mistake)
		return &f
	}
	return &Finding{Outcome: Failed, Reason: v1alpha1.ReasonPayloadError,
		Message: "spec.payload.template makes no body of the event: " + err.Error(),
		Help:    "mend spec.payload.template: " + command("edit", w.Namespace, w.Name)}
}

// wouldBeSent tells whether an event would be sent to a Webhook if it happened now.
func wouldBeSent(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, system string, now time.Time) Finding {
	if w.Namespace != e.Namespace && w.Namespace != system {
		return Finding{Outcome: NotFollowed, Reason: ReasonOtherNamespace,
			Message: fmt.Sprintf("the webhook follows the events of its own namespace, %s, and the event is in %s", w.Namespace, e.Namespace)}
	}
	if verdict := matching.Match(w, e); !verdict.Follows() {
		return unfollowed(w, e, verdict, now)
	}
	if h := hold(w, now); h != nil {
		f := *h
		f.Outcome, f.Message, f.Parts = Waiting, "it would be recorded and wait: "+h.Message, partsOf(w, e)
		return f
	}
	return Finding{Outcome: Sent, Parts: partsOf(w, e), Message: "the webhook follows the event, and nothing keeps it from being sent"}
}

// Render returns the request of an event for a Webhook, as Render does, with what became
// of it where there is a record. It makes at most two requests: for the record, and for
// the last one of the Webhook, which tells the host of an address that is a secret.
func (r *Reader) Render(ctx context.Context, w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent) (*Request, error) {
	now := r.Now()
	request, err := Render(w, e, r.systemNamespace(), now)
	if err != nil {
		return nil, err
	}
	if w.Spec.URLSecretRef != nil && w.Status.LastDelivery != nil {
		last, err := r.record(ctx, w.Namespace, w.Status.LastDelivery.Name)
		if err != nil {
			return nil, err
		}
		if last != nil && last.Status.Request != nil && strings.Contains(last.Status.Request.URL, redaction.Placeholder) {
			request.URL = last.Status.Request.URL
			request.Notes = append(request.Notes, "its host is that of the last delivery, "+last.Name)
		}
	}
	if e.UID == "" {
		return request, nil
	}
	d, err := r.record(ctx, w.Namespace, delivery.Name(e, w))
	if d == nil || err != nil {
		return request, err
	}
	request.Delivery, request.Finding = d.Name, OfDelivery(d, w, now)
	request.Notes = append(request.Notes, stored(d, w, request))
	return request, nil
}

// stored says how a delivery in store differs from the request that is rendered: what was
// sent of it, and what a resend would send.
func stored(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, request *Request) string {
	note := "the delivery " + d.Name + " is in store; a resend makes its body anew of the event that it carries, with the webhook as it is then"
	again, err := payload.Of(d, w, delivery.MessageID(d.Spec.EventRef.UID, d.Spec.WebhookRef.UID))
	if err == nil && request.NoBody == nil && string(again) != request.Body {
		note += ", which now is not the body above: the webhook was edited since (spec.webhookID)"
	}
	if sent, err := SentBody(d); err == nil && !sent.Cut && !sent.Redacted && sent.Text != request.Body {
		note += "; what was sent last is not the body above: " + command("log", d.Namespace, d.Name, "--body request") + " prints it"
	}
	return note
}

// record returns a delivery, or nil where it is gone or may not be read.
func (r *Reader) record(ctx context.Context, namespace, name string) (*v1alpha1.WebhookDelivery, error) {
	d := &v1alpha1.WebhookDelivery{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, d)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading delivery %s: %w", name, err)
	}
	return d, nil
}
