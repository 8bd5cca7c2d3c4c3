// Package insight says what a Webhook, a delivery and an event mean to a person: what
// became of them, why, and what helps. Commands and pages read through it, so that they
// never disagree; and it asks the packages that the operator decides with, so that its
// answers are the operator's.
//
// OfDelivery, OfWebhook and Render are pure. Reader reads what an answer needs. Where
// the person may not read something, the answer says so in a note and tells the rest.
package insight

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// DefaultSystemNamespace is where config/ installs the operator. Webhooks in there follow
// the events of every namespace.
const DefaultSystemNamespace = "horizon-webhooks"

// Reader reads what an answer needs, with the rights of its client.
type Reader struct {
	Client client.Reader
	Now    func() time.Time
	// SystemNamespace is the operator's own. Defaults to DefaultSystemNamespace.
	SystemNamespace string
}

func (r *Reader) systemNamespace() string {
	if r.SystemNamespace != "" {
		return r.SystemNamespace
	}
	return DefaultSystemNamespace
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
	// Sent: it would be sent.
	Sent Outcome = "Sent"
	// Working: the Webhook can be sent to, and nothing is known to be wrong with its
	// receiver.
	Working Outcome = "Working"
	// Troubled: something is wrong with the receiver of a Webhook, which is tried still.
	Troubled Outcome = "Troubled"
	// Stopped: nothing is sent to a Webhook until somebody changes something.
	Stopped Outcome = "Stopped"
	// Unknown: what can be read does not tell.
	Unknown Outcome = "Unknown"
)

// Reasons that the API has no word for.
const (
	// ReasonResendAsked: a resend was asked for and has not begun.
	ReasonResendAsked = "ResendAsked"
	// ReasonResendRefused: a resend was asked for that cannot be made.
	ReasonResendRefused = "ResendRefused"
	// ReasonResendFailed: it was delivered before, and the last resend failed.
	ReasonResendFailed = "ResendFailed"
	// ReasonEditedLater: the Webhook was edited after the event, which it follows now.
	ReasonEditedLater = "EditedLater"
	// ReasonWebhookDeleted: the Webhook has been deleted since.
	ReasonWebhookDeleted = "WebhookDeleted"
	// ReasonWebhookReplaced: the record was that of an earlier Webhook of the name.
	ReasonWebhookReplaced = "WebhookReplaced"
	// ReasonRecordRemoved: the record was removed, by retention or by a person.
	ReasonRecordRemoved = "RecordRemoved"
	// ReasonEventRemoved: the event was removed; records of it are left.
	ReasonEventRemoved = "EventRemoved"
	// ReasonNotObserved: no operator has looked at it yet.
	ReasonNotObserved = "NotObserved"
	// ReasonNoOperator: no operator works.
	ReasonNoOperator = "NoOperator"
	// ReasonNoWebhooks: there is no Webhook that could follow the event.
	ReasonNoWebhooks = "NoWebhooks"
	// ReasonNotPermitted: the person may not read what would tell.
	ReasonNotPermitted = "NotPermitted"
	// ReasonOtherNamespace: the Webhook is in another namespace than the event.
	ReasonOtherNamespace = "OtherNamespace"
)

// Finding is what became of something, and why.
type Finding struct {
	Outcome Outcome `json:"outcome"`
	// Reason is the API's own word, such as Trigger, Paused or RetriesExhausted, or one
	// of this package's.
	Reason string `json:"reason,omitempty"`
	// Message says it in a sentence, without a full stop. It may have text of receivers
	// and tenants in it, which nobody has made harmless for a terminal.
	Message string `json:"message,omitempty"`
	// Detail goes on below the message, in lines of its own that are to be shown as they
	// are: the line of an expression that a mistake is in, with a caret under its place.
	Detail string `json:"detail,omitempty"`
	// Parts are what the verdict of a filter on an event came of.
	Parts []Part `json:"parts,omitempty"`
	// Help says what can be done, likewise, with commands in backquotes; empty where
	// nothing has to be.
	Help string `json:"help,omitempty"`
	// Next is when the next attempt is due; zero where none is, or where its time
	// depends on something else.
	Next time.Time `json:"next,omitzero"`
}

// Ref names an object.
type Ref struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func refOf(o client.Object) Ref { return Ref{o.GetNamespace(), o.GetName()} }

// EventWebhook is what became of an event at one Webhook.
type EventWebhook struct {
	Webhook Ref `json:"webhook"`
	// Delivery is the name of the record, in the Webhook's namespace; empty without one.
	Delivery string `json:"delivery,omitempty"`
	Finding
}

// Event is what became of an event.
type Event struct {
	// Object is nil where the event is gone or may not be read.
	Object *v1alpha1.WebhookEvent `json:"-"`
	Event  Ref                    `json:"event"`
	Finding
	// Webhooks are those of the namespace, and of the system namespace where that may
	// be read: what was sent comes first, and then what was not by how near it was to it.
	Webhooks []EventWebhook `json:"webhooks"`
	// Notes are what could not be looked at, and what else is worth knowing.
	Notes []string `json:"notes,omitempty"`
}

// Webhook is how a Webhook fares.
type Webhook struct {
	Object  *v1alpha1.Webhook `json:"-"`
	Webhook Ref               `json:"webhook"`
	// Finding is the first of Findings, or that all is well.
	Finding
	// Findings are what keeps it from being sent to, and what is wrong with its
	// receiver, the gravest first.
	Findings []Finding `json:"findings,omitempty"`
	// Count counts its deliveries that are yet to be sent.
	Count WaitingCount `json:"count"`
	// Waiting are some of them, those that are due first before the others; at most
	// MaxWaiting.
	Waiting []WaitingDelivery `json:"waiting,omitempty"`
	Notes   []string          `json:"notes,omitempty"`
}

// Delivery is what became of a delivery.
type Delivery struct {
	Object   *v1alpha1.WebhookDelivery `json:"-"`
	Delivery Ref                       `json:"delivery"`
	Webhook  Ref                       `json:"webhook"`
	Event    Ref                       `json:"event"`
	Finding
	Notes []string `json:"notes,omitempty"`
}

// MaxWaiting bounds how many deliveries that wait a Webhook's answer names.
const MaxWaiting = 10

// WaitingCount counts the deliveries of a Webhook that are yet to be sent. One is counted
// once.
type WaitingCount struct {
	// Resends were asked for and have not begun.
	Resends int `json:"resends"`
	// Due could be sent now, if nothing kept them.
	Due int `json:"due"`
	// Later are sent again when their time has come.
	Later int `json:"later"`
}

// Total is the number of all.
func (c WaitingCount) Total() int { return c.Resends + c.Due + c.Later }

// WaitingDelivery is a delivery that waits.
type WaitingDelivery struct {
	Name string `json:"name"`
	Finding
}
