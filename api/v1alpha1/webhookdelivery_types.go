package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// DeliveryResult sums up a delivery: Waiting, Succeeded or Failed. More may come.
// Horizon calls them waiting, success and failed.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
type DeliveryResult string

const (
	// DeliveryWaiting: an attempt is yet to be made.
	DeliveryWaiting DeliveryResult = "Waiting"
	// DeliverySucceeded: the receiver accepted it: it answered 2xx, and spec.response of the
	// Webhook has nothing against it.
	DeliverySucceeded DeliveryResult = "Succeeded"
	// DeliveryFailed: it was given up.
	DeliveryFailed DeliveryResult = "Failed"
)

// Reasons of a WebhookDelivery's conditions.
const (
	// ReasonRetrying: an attempt failed and another one follows.
	ReasonRetrying = "Retrying"
	// ReasonQueued: the receiver is busy with earlier deliveries.
	ReasonQueued = "Queued"
	// ReasonPaused: the Webhook is Paused or Disabled.
	ReasonPaused = "Paused"
	// ReasonRateLimited: as many requests as the rate limit allows were made lately.
	ReasonRateLimited = "RateLimited"
	// ReasonNotReady: the Webhook cannot be sent to; its Ready condition says
	// why.
	ReasonNotReady = "NotReady"
	// ReasonStoredFirst: the record is stored before the first attempt, since
	// another one could not be stored.
	ReasonStoredFirst = "StoredFirst"
	// ReasonRetriesExhausted: every attempt that spec.retry allows failed.
	ReasonRetriesExhausted = "RetriesExhausted"
	// ReasonWaitedTooLong: it waited longer than spec.retry.giveUpAfterSeconds.
	ReasonWaitedTooLong = "WaitedTooLong"
	// ReasonOverflow: too many deliveries of the Webhook were waiting.
	ReasonOverflow = "Overflow"
	// ReasonEgressDenied: the operator sends nothing to the address of the
	// receiver, unless an administrator allows it. Healthy has this reason, too.
	ReasonEgressDenied = "EgressDenied"
	// ReasonRejected: spec.response.giveUpIf of the Webhook says that no retry would help.
	ReasonRejected = "Rejected"
	// ReasonPayloadError: spec.payload.template of the Webhook made no body of the event.
	// Nothing was sent.
	ReasonPayloadError = "PayloadError"
	// ReasonWebhookGone: the Webhook was deleted while the delivery waited.
	ReasonWebhookGone = "WebhookGone"
)

// AttemptCause says why an attempt was made: Initial, Retry or Resend. More may come.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
type AttemptCause string

const (
	// CauseInitial: the first attempt.
	CauseInitial AttemptCause = "Initial"
	// CauseRetry: the attempt before it failed.
	CauseRetry AttemptCause = "Retry"
	// CauseResend: a person asked for it by annotation.
	CauseResend AttemptCause = "Resend"
)

// WebhookDeliverySpec is what is sent to whom. It cannot be changed.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec cannot be changed: a delivery is a record; to send it again, set the annotation horizoncd.io/resend"
type WebhookDeliverySpec struct {
	// webhookRef names the Webhook that it is for.
	// +required
	WebhookRef WebhookReference `json:"webhookRef,omitzero"`

	// eventRef names the WebhookEvent that it carries.
	// +required
	EventRef EventReference `json:"eventRef,omitzero"`

	// eventType is the type of the event.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	EventType string `json:"eventType,omitempty"`

	// resourceName is the name of what it happened to.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ResourceName string `json:"resourceName,omitempty"`

	// resourcePath is the full path of what it happened to, where the event has it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	ResourcePath string `json:"resourcePath,omitempty"`

	// time when it happened: that of the event, or, where it has none, when the event was created.
	// +optional
	Time metav1.Time `json:"time,omitempty,omitzero"`

	// payload is the event as Horizon's body, from which each attempt makes what it sends. In that format, it is the body itself, byte for byte.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=524288
	Payload string `json:"payload,omitempty"`
}

// WebhookReference names a Webhook of the same namespace.
type WebhookReference struct {
	// name of the Webhook.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// uid of the Webhook: a new one of the same name never gets the delivery.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID types.UID `json:"uid,omitempty"`
}

// EventReference names a WebhookEvent.
type EventReference struct {
	// namespace of the event. It is not the delivery's own where the Webhook follows every namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// name of the event.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// uid of the event.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID types.UID `json:"uid,omitempty"`
}

// WebhookDeliveryStatus is the log of a delivery.
type WebhookDeliveryStatus struct {
	// conditions of the delivery: Delivered, and Reconciling or Stalled while they are True.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// result sums the delivery up: Waiting, Succeeded or Failed.
	// +optional
	Result DeliveryResult `json:"result,omitempty"`

	// attempts is how many requests were made in all.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempts int32 `json:"attempts,omitempty"`

	// nextAttemptTime is when the next attempt is due; absent when none is, or when its time depends on the Webhook.
	// +optional
	NextAttemptTime metav1.Time `json:"nextAttemptTime,omitempty,omitzero"`

	// resend tells of the last resend that was made, and of the cycle of attempts that it began.
	// +optional
	Resend *ResendCycle `json:"resend,omitempty"`

	// request is the request as it was last sent.
	// +optional
	Request *RequestRecord `json:"request,omitempty"`

	// response is the answer to it; absent when there was none.
	// +optional
	Response *ResponseRecord `json:"response,omitempty"`

	// history tells of the last 10 attempts, the latest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	History []Attempt `json:"history,omitempty"`
}

// ResendCycle is a cycle of attempts that a person asked for. It has a retry budget of its own.
type ResendCycle struct {
	// value of the annotation horizoncd.io/resend that asked for it, cut to 128 characters.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value,omitempty"`

	// time when the cycle began.
	// +required
	Time metav1.MicroTime `json:"time,omitempty,omitzero"`

	// attempts is how many requests the cycle has made.
	// +required
	// +kubebuilder:validation:Minimum=0
	Attempts int32 `json:"attempts"`
}

// RequestRecord is a request as it was sent.
type RequestRecord struct {
	// url it was sent to. Where it is a secret itself, its host and [redacted].
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url,omitempty"`

	// headers of the request, a line each. Secrets are shown as [redacted].
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Headers string `json:"headers,omitempty"`

	// body of the request, where it is not spec.payload. Secrets are shown as [redacted]; what goes beyond 16 KiB is cut.
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	Body string `json:"body,omitempty"`

	// bodyTruncated is True when the body was cut.
	// +optional
	BodyTruncated bool `json:"bodyTruncated,omitempty"`
}

// ResponseRecord is an answer of the receiver, bounded and made printable.
type ResponseRecord struct {
	// statusCode of the answer, as the receiver sent it.
	// +required
	StatusCode int32 `json:"statusCode"`

	// headers of the answer, a line each. What goes beyond 8 KiB is cut.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Headers string `json:"headers,omitempty"`

	// headersTruncated is True when headers were cut.
	// +optional
	HeadersTruncated bool `json:"headersTruncated,omitempty"`

	// body of the answer. What goes beyond 16 KiB is cut.
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	Body string `json:"body,omitempty"`

	// bodyTruncated is True when the body was cut or could not be read to its end.
	// +optional
	BodyTruncated bool `json:"bodyTruncated,omitempty"`
}

// Attempt is one request.
type Attempt struct {
	// time when it began.
	// +required
	Time metav1.MicroTime `json:"time,omitempty,omitzero"`

	// cause of it: Initial, Retry or Resend.
	// +required
	Cause AttemptCause `json:"cause,omitempty"`

	// statusCode of the answer; absent when there was none.
	// +optional
	StatusCode int32 `json:"statusCode,omitempty"`

	// milliseconds from the start of the connection to the last byte of the answer.
	// +required
	// +kubebuilder:validation:Minimum=0
	Milliseconds int32 `json:"milliseconds"`

	// error says what went wrong, in up to 1 KiB.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Error string `json:"error,omitempty"`
}

// WebhookDelivery is the record of one event for one Webhook: what was sent, what was answered, how it ended.
// The operator writes it; to send it again, set the annotation horizoncd.io/resend to a new value.
//
// It has no status subresource, and will have none: it is created together with its first outcome, in one write, which a create
// through a subresource could not do. Who may write it is told by the permission to create webhookdeliveries/record instead.
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=whd,categories=horizon
// +kubebuilder:selectablefield:JSONPath=`.spec.webhookRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.eventRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.eventType`
// +kubebuilder:selectablefield:JSONPath=`.status.result`
// +kubebuilder:printcolumn:name="Webhook",type=string,JSONPath=`.spec.webhookRef.name`
// +kubebuilder:printcolumn:name="Resource",type=string,JSONPath=`.spec.resourceName`
// +kubebuilder:printcolumn:name="Event Type",type=string,JSONPath=`.spec.eventType`
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.result`
// +kubebuilder:printcolumn:name="Code",type=integer,JSONPath=`.status.history[0].statusCode`
// +kubebuilder:printcolumn:name="Attempts",type=integer,JSONPath=`.status.attempts`
// +kubebuilder:printcolumn:name="ms",type=integer,JSONPath=`.status.history[0].milliseconds`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Next",type=string,JSONPath=`.status.nextAttemptTime`,priority=1
// +kubebuilder:printcolumn:name="Event",type=string,JSONPath=`.spec.eventRef.name`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Delivered")].reason`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Delivered")].message`,priority=1
type WebhookDelivery struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is sent to whom.
	// +required
	// +structType=atomic
	Spec WebhookDeliverySpec `json:"spec,omitzero"`

	// status is the log.
	// +optional
	// +structType=atomic
	Status WebhookDeliveryStatus `json:"status,omitempty,omitzero"`
}

// WebhookDeliveryList is a list of WebhookDeliveries.
// +kubebuilder:object:root=true
type WebhookDeliveryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []WebhookDelivery `json:"items"`
}
