// Package insight says what a Webhook, a delivery and an event mean to a person: what
// became of them, why, and what helps. Commands and pages read through it, so that they
// never disagree; and it asks the packages that the operator decides with, so that its
// answers are the operator's.
package insight

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Reader reads what an answer needs, with the rights of its client.
type Reader struct {
	Client client.Reader
	Now    func() time.Time
}

// Outcome sums up what became of something.
type Outcome string

const (
	// Delivered: the receiver accepted it.
	Delivered Outcome = "Delivered"
	// Waiting: it is yet to be sent, or to be sent again.
	Waiting Outcome = "Waiting"
	// Failed: it was given up.
	Failed Outcome = "Failed"
	// NotFollowed: the Webhook does not want the event.
	NotFollowed Outcome = "Not followed"
	// Removed: it was there, and is not any more.
	Removed Outcome = "Removed"
	// Unknown: what can be read does not tell.
	Unknown Outcome = "Unknown"
)

// Finding is what became of something, and why.
type Finding struct {
	Outcome Outcome `json:"outcome"`
	// Reason is the API's own word, such as Trigger, Paused or RetriesExhausted, or one
	// of this package's.
	Reason string `json:"reason,omitempty"`
	// Message says it in a sentence, without a full stop.
	Message string `json:"message,omitempty"`
	// Help says what can be done, likewise; empty where nothing has to be.
	Help string `json:"help,omitempty"`
	// Next is when the next attempt is due; zero where none is, or where its time
	// depends on something else.
	Next time.Time `json:"next,omitzero"`
}

// EventWebhook is what became of an event at one Webhook.
type EventWebhook struct {
	Webhook types.NamespacedName `json:"webhook"`
	// Delivery is the name of the record, in the Webhook's namespace; empty without one.
	Delivery string `json:"delivery,omitempty"`
	Finding
}

// Event is what became of an event.
type Event struct {
	Object *v1alpha1.WebhookEvent `json:"-"`
	Finding
	// Webhooks are those of the namespace, and of the system namespace where that may
	// be read: what was sent first, then what was not by how near it was to it.
	Webhooks []EventWebhook `json:"webhooks"`
	// Notes are what could not be looked at, and what else is worth knowing.
	Notes []string `json:"notes,omitempty"`
}

// Webhook is how a Webhook fares.
type Webhook struct {
	Object *v1alpha1.Webhook `json:"-"`
	Finding
	// Findings are what keeps it from being sent to, and what is wrong with its
	// receiver, the gravest first.
	Findings []Finding `json:"findings,omitempty"`
	// Waiting are deliveries that wait, those that are due first before the others; at
	// most MaxWaiting of them.
	Waiting []WaitingDelivery `json:"waiting,omitempty"`
	Notes   []string          `json:"notes,omitempty"`
}

// MaxWaiting bounds how many deliveries that wait a Webhook's answer names.
const MaxWaiting = 10

// WaitingDelivery is a delivery that waits.
type WaitingDelivery struct {
	Name string `json:"name"`
	Finding
}
