package format

import (
	_ "embed" // the template
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

//go:embed templates/cloudevents.cel
var cloudEventsTemplate string

// cloudEvents is a CloudEvent 1.0 (https://cloudevents.io) in structured mode.
var cloudEvents = Format{
	Name:    v1alpha1.PayloadCloudEvents,
	Title:   "CloudEvents",
	Summary: "a CloudEvent 1.0 in structured mode, Horizon's body as its data",

	ContentType: "application/cloudevents+json",
	Proof:       proof,
	differences: "Keys are sorted, and <, > and & are not escaped.",
	template: strings.TrimSuffix(strings.ReplaceAll(cloudEventsTemplate, "HORIZON",
		strings.ReplaceAll(strings.TrimSuffix(horizonTemplate, "\n"), "\n", "\n  ")), "\n"),
	write: cloudEvent,
}

// cloudEvent returns a delivery as a CloudEvent. The type is open, as that of the event is.
func cloudEvent(d *v1alpha1.WebhookDelivery, id string) ([]byte, error) {
	data, err := json.Marshal(struct {
		SpecVersion     string          `json:"specversion"`
		ID              string          `json:"id"`
		Source          string          `json:"source"`
		Type            string          `json:"type"`
		Subject         string          `json:"subject,omitempty"`
		Time            string          `json:"time"`
		DataContentType string          `json:"datacontenttype"`
		Data            json.RawMessage `json:"data"`
	}{
		SpecVersion: "1.0", ID: id, Source: "/horizon/" + d.Spec.EventRef.Namespace,
		Type: "io.horizoncd." + d.Spec.EventType, Subject: d.Spec.ResourcePath,
		Time: d.Spec.Time.UTC().Format(time.RFC3339), DataContentType: "application/json", Data: json.RawMessage(d.Spec.Payload),
	})
	if err != nil {
		return nil, fmt.Errorf("writing the CloudEvent: %w", err)
	}
	return data, nil
}
