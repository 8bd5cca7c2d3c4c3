// Package cloudevents holds the format CloudEvents against the receiver of the CloudEvents
// project's own SDK for Go.
package cloudevents

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	sdk "github.com/cloudevents/sdk-go/v2"
	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/signing"
	"github.com/horizoncd/webhook-operator/internal/testevent"
)

const token = "change-me"

// happened is in another time zone than UTC.
var happened = time.Date(2026, 11, 27, 9, 30, 0, 0, time.FixedZone("CST", 8*60*60))

// received is what the SDK's receiver made of a request, with the request itself.
type received struct {
	event  sdk.Event
	header http.Header
	body   []byte
}

// startReceiver starts the SDK's receiver, which answers 2xx to what it takes for a valid
// CloudEvent only.
func startReceiver(t *testing.T) (url string, got func() []received) {
	t.Helper()
	var events []sdk.Event
	protocol, err := sdk.NewHTTP()
	if err != nil {
		t.Fatal(err)
	}
	handler, err := sdk.NewHTTPReceiveHandler(t.Context(), protocol, func(_ context.Context, e sdk.Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	var all []received
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		handler.ServeHTTP(w, r)
		if len(events) > len(all) {
			all = append(all, received{events[len(events)-1], r.Header, body})
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []received { return all }
}

// send sends a delivery as the operator does.
func send(t *testing.T, url string, w *v1alpha1.Webhook, d *v1alpha1.WebhookDelivery) sending.Exchange {
	t.Helper()
	id := delivery.MessageID(d.Spec.EventRef.UID, d.Spec.WebhookRef.UID)
	body, err := payload.Of(d, w, id)
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := signing.ParseSecret([]byte(token))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := format.Of(w).Request(url, id, time.Now(), body, &secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	sender := sending.New(sending.Options{})
	t.Cleanup(sender.Close)
	return sender.Send(t.Context(), sending.Request{URL: signed.URL, Header: signed.Header, Body: signed.Body, Timeout: 10 * time.Second})
}

// deliveries are those of all bodies that Horizon sent, of an event without anything that
// may be left out, of one of a type that nobody knows yet, and a test.
func deliveries(t *testing.T, w *v1alpha1.Webhook) map[string]*v1alpha1.WebhookDelivery {
	t.Helper()
	all := map[string]*v1alpha1.WebhookDelivery{}
	add := func(name string, spec v1alpha1.WebhookEventSpec) {
		e := &v1alpha1.WebhookEvent{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "music", Name: "horizon-78402", UID: "0d1f4c9e-6a55-4a0a-9d1b-3b8f2f0e7a11",
				CreationTimestamp: metav1.NewTime(happened),
			},
			Spec: spec,
		}
		body, err := payload.Render(e, payload.WebhookID(w))
		if err != nil {
			t.Fatal(err)
		}
		all[name] = delivery.New(e, w, body)
	}
	const captured = "../../internal/payload/testdata/horizon"
	for _, family := range matching.Families {
		for _, eventType := range family.Types {
			name := string(eventType)
			if name == "clusters_restarted" {
				name = "clsuters_restarted" // Horizon's own spelling
			}
			data, err := os.ReadFile(filepath.Join(captured, name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			p, err := payload.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			p.Event.Time, p.Event.ResourcePath = metav1.NewTime(happened), "/music/player/wéb"
			add(name, p.Event)
		}
	}
	add("the least", v1alpha1.WebhookEventSpec{EventType: "clusters_action"})
	add("another type", v1alpha1.WebhookEventSpec{EventType: "templates_released", Time: metav1.NewTime(happened), Extra: "<a> & \u2028 \"b\" 猫"})
	tested, err := testevent.Delivery(w, "now", happened, happened)
	if err != nil {
		t.Fatal(err)
	}
	all["a test"] = tested
	return all
}

// The SDK accepts each event, and reads in it what the operator has said.
func TestReceiverOfTheSDK(t *testing.T) {
	w := &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "broker", UID: "a6c5f9de-0f2e-4f3f-8a0c-5f2f7c1c9f0b"},
		Spec: v1alpha1.WebhookSpec{
			Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}, Payload: &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadCloudEvents},
		},
	}
	for name, d := range deliveries(t, w) {
		t.Run(name, func(t *testing.T) {
			url, got := startReceiver(t)
			x := send(t, url, w, d)
			if x.Err != nil || x.Response.StatusCode < 200 || x.Response.StatusCode > 299 {
				t.Fatalf("the SDK does not accept it: %+v, %v", x.Response, x.Err)
			}
			all := got()
			if len(all) != 1 {
				t.Fatalf("%d events", len(all))
			}
			r := all[0]
			if err := r.event.Validate(); err != nil {
				t.Error(err)
			}
			type attributes struct{ SpecVersion, ID, Source, Type, Subject, ContentType, Data string }
			want := attributes{
				"1.0", r.header.Get(signing.HeaderID), "/horizon/music", "io.horizoncd." + d.Spec.EventType, d.Spec.ResourcePath,
				"application/json", d.Spec.Payload,
			}
			read := attributes{
				r.event.SpecVersion(), r.event.ID(), r.event.Source(), r.event.Type(), r.event.Subject(), r.event.DataContentType(),
				string(r.event.Data()),
			}
			if diff := cmp.Diff(want, read); diff != "" {
				t.Errorf("attributes and data (-operator +SDK):\n%s", diff)
			}
			if !r.event.Time().Equal(happened) {
				t.Errorf("time %v, want %v", r.event.Time(), happened)
			}
			if len(r.event.Extensions()) > 0 {
				t.Errorf("extensions %v", r.event.Extensions())
			}
			verifier, err := standardwebhooks.NewWebhookRaw([]byte(token))
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier.Verify(r.body, r.header); err != nil {
				t.Errorf("the signature: %v", err)
			}
		})
	}
}

// The same receiver refuses what is none, or it would prove nothing.
func TestReceiverRefusesOthers(t *testing.T) {
	for name, template := range map[string]string{
		"no id":     `{"specversion": "1.0", "source": "/horizon/music", "type": "io.horizoncd.clusters_deployed"}`,
		"no source": `{"specversion": "1.0", "id": delivery.id, "type": "io.horizoncd.clusters_deployed"}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Webhook{
				ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "broker", UID: "a6c5f9de-0f2e-4f3f-8a0c-5f2f7c1c9f0b"},
				Spec:       v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadCloudEvents, Template: template}},
			}
			url, got := startReceiver(t)
			if x := send(t, url, w, deliveries(t, w)["clusters_deployed"]); x.Response == nil || x.Response.StatusCode != http.StatusBadRequest {
				t.Errorf("answered %+v, %v; want 400", x.Response, x.Err)
			}
			if all := got(); len(all) > 0 {
				t.Errorf("it took %v", all)
			}
		})
	}
}
