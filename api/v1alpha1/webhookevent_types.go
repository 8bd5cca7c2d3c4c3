package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EventResult sums up what became of an event: Pending, Waiting, Succeeded, Failed,
// Unmatched or Expired. More may come.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
type EventResult string

const (
	// EventPending: not every matching Webhook has its delivery yet.
	EventPending EventResult = "Pending"
	// EventWaiting: every delivery is stored, and some are yet to be made.
	EventWaiting EventResult = "Waiting"
	// EventSucceeded: every delivery was made.
	EventSucceeded EventResult = "Succeeded"
	// EventFailed: a delivery failed for good.
	EventFailed EventResult = "Failed"
	// EventUnmatched: no Webhook of the namespace matches; there is nothing to
	// deliver.
	EventUnmatched EventResult = "Unmatched"
	// EventExpired: the event was too old when it was first worked on.
	EventExpired EventResult = "Expired"
)

// Reasons of a WebhookEvent's conditions.
const (
	// ReasonDispatched: every matching Webhook has its delivery stored.
	ReasonDispatched = "Dispatched"
	// ReasonDispatching: deliveries are being made or stored.
	ReasonDispatching = "Dispatching"
	// ReasonRecordRefused: the API server refused to store a delivery; nothing
	// more is sent until one can be stored.
	ReasonRecordRefused = "RecordRefused"
	// ReasonExpired: the event is older than the operator's --max-event-age.
	ReasonExpired = "Expired"
	// ReasonDelivered: every delivery was made.
	ReasonDelivered = "Delivered"
	// ReasonNothingToDeliver: no Webhook matches.
	ReasonNothingToDeliver = "NothingToDeliver"
	// ReasonWaiting: deliveries are yet to be made.
	ReasonWaiting = "Waiting"
	// ReasonFailed: a delivery failed for good.
	ReasonFailed = "Failed"
)

// UnmatchedReason says why a Webhook does not get an event: Trigger, Scope, Disabled,
// CreatedLater, Deleting, Filter, FilterError or FilterInvalid. More may come.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
type UnmatchedReason string

const (
	// UnmatchedTrigger: its triggers name neither the event's type, nor a family of
	// types that it is in, nor "*".
	UnmatchedTrigger UnmatchedReason = "Trigger"
	// UnmatchedScope: the event's resourcePath is outside its scope.
	UnmatchedScope UnmatchedReason = "Scope"
	// UnmatchedDisabled: its state is Disabled.
	UnmatchedDisabled UnmatchedReason = "Disabled"
	// UnmatchedCreatedLater: it was created after the event.
	UnmatchedCreatedLater UnmatchedReason = "CreatedLater"
	// UnmatchedDeleting: it is being deleted.
	UnmatchedDeleting UnmatchedReason = "Deleting"
	// UnmatchedFilter: its filter is false for the event.
	UnmatchedFilter UnmatchedReason = "Filter"
	// UnmatchedFilterError: its filter failed for the event; the message says how. Once it
	// is mended, a replay brings the event.
	UnmatchedFilterError UnmatchedReason = "FilterError"
	// UnmatchedFilterInvalid: its filter does not compile. Once it is mended, a replay
	// brings the event.
	UnmatchedFilterInvalid UnmatchedReason = "FilterInvalid"
)

// WebhookEventSpec is something that happened in Horizon. It cannot be changed.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec cannot be changed: an event is what happened; create another WebhookEvent instead"
type WebhookEventSpec struct {
	// eventID is Horizon's own number of the event, sent as eventID in the body.
	// Where it is missing, one is derived from metadata.uid.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	EventID int64 `json:"eventID,omitempty"`

	// eventType is what happened, such as clusters_deployed: lower-case words joined by underscores.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]+(_[a-z]+)+$')",message="eventType must be lower-case words joined by underscores, such as clusters_deployed"
	EventType string `json:"eventType,omitempty"`

	// time when it happened: always say so. An event that happened more than a minute before it was created reaches no Webhook that was created since.
	// The earlier of the two times says when it is too old to be sent. Where it is missing, the time of creation counts.
	// +optional
	Time metav1.Time `json:"time,omitempty,omitzero"`

	// resourcePath is the full path of what it happened to, such as /music/player/web/web-prod.
	// Webhooks with a scope match by it.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^(/|(/[^/\pZ\p{Cc}\x{200b}\x{feff}]+)+)?$")`,messageExpression=`"resourcePath must be a full path, such as /music/player/web/web-prod: %s".format([self.matches(r"[\pZ\p{Cc}\x{200b}\x{feff}]") ? "it has no spaces or control characters; it is made of paths, not of names" : !self.startsWith("/") ? "write /" + self : self.contains("//") ? "it has no empty parts; write " + self.replace("//", "/") : "it has no slash at its end; write " + self.find(r"^(/[^/]+)+")])`,message="resourcePath must be a full path, such as /music/player/web/web-prod: it starts with a slash and has neither spaces nor empty parts"
	ResourcePath string `json:"resourcePath,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// application that it happened to.
	// +optional
	Application *ApplicationInfo `json:"application,omitempty"`

	// cluster that it happened to.
	// +optional
	Cluster *ClusterInfo `json:"cluster,omitempty"`

	// pipelinerun that it happened to.
	// +optional
	Pipelinerun *PipelinerunInfo `json:"pipelinerun,omitempty"`

	// member that it happened to.
	// +optional
	Member *MemberInfo `json:"member,omitempty"`

	// user who did it.
	// +optional
	User *UserInfo `json:"user,omitempty"`

	// extra is passed through to the body as it is. Up to 32768 characters.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=32768
	Extra string `json:"extra,omitempty"` //nolint:kubeapilinter // empty and absent mean the same
}

// ApplicationInfo identifies an application of Horizon.
type ApplicationInfo struct {
	// id of the application.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	ID *int64 `json:"id,omitempty"`

	// name of the application.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// priority of the application, such as P0.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=64
	Priority string `json:"priority,omitempty"` //nolint:kubeapilinter // empty and absent mean the same
}

// ClusterInfo identifies a cluster of Horizon.
type ClusterInfo struct {
	// id of the cluster.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	ID *int64 `json:"id,omitempty"`

	// name of the cluster.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// applicationName is the name of the application that the cluster belongs to.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=253
	ApplicationName string `json:"applicationName,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// env is the environment of the cluster, such as online.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=128
	Env string `json:"env,omitempty"` //nolint:kubeapilinter // empty and absent mean the same
}

// PipelinerunInfo identifies a pipelinerun of Horizon.
type PipelinerunInfo struct {
	// id of the pipelinerun.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	ID *int64 `json:"id,omitempty"`

	// clusterID is the id of the cluster that it runs for.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	ClusterID int64 `json:"clusterID,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// clusterName is the name of the cluster that it runs for.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=253
	ClusterName string `json:"clusterName,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// action of the pipelinerun, such as builddeploy.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=64
	Action string `json:"action,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// title that the user gave it.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=256
	Title string `json:"title,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// description that the user gave it.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=4096
	Description string `json:"description,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// gitRef is the branch, tag or commit that was built.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=256
	GitRef string `json:"gitRef,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// gitRefType says what gitRef is: branch, tag or commit.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=64
	GitRefType string `json:"gitRefType,omitempty"` //nolint:kubeapilinter // empty and absent mean the same
}

// MemberInfo identifies a membership of a user or a group in a resource of Horizon.
type MemberInfo struct {
	// id of the membership.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	ID *int64 `json:"id,omitempty"`

	// resourceID is the id of the resource.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	ResourceID int64 `json:"resourceID,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// resourceType is the kind of the resource, such as applications.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=64
	ResourceType string `json:"resourceType,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// role of the member.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=64
	Role string `json:"role,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// memberNameID is the id of the member.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	MemberNameID int64 `json:"memberNameID,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// memberName is the name of the member.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=253
	MemberName string `json:"memberName,omitempty"` //nolint:kubeapilinter // empty and absent mean the same
}

// UserInfo identifies a user of Horizon.
type UserInfo struct {
	// id of the user.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=9007199254740991
	ID *int64 `json:"id,omitempty"`

	// name of the user.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// email of the user.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=320
	Email string `json:"email,omitempty"` //nolint:kubeapilinter // empty and absent mean the same
}

// WebhookEventStatus is what became of an event. Only Webhooks of the event's own namespace count here.
type WebhookEventStatus struct {
	// conditions of the event: Dispatched (every matching Webhook has its delivery) and Delivered (all arrived).
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that the conditions are about.
	// It is -1 until the operator has seen the event.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// result sums the event up: Pending, Waiting, Succeeded, Failed, Unmatched or Expired.
	// +optional
	Result EventResult `json:"result,omitempty"`

	// counts of the event's deliveries by result. Those of a waiting event follow at most every ten seconds.
	// +optional
	Counts DeliveryCounts `json:"counts,omitempty,omitzero"`

	// deliveries are the names of the event's deliveries, at most 50.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Deliveries []string `json:"deliveries,omitempty"`

	// unmatched tells why the other Webhooks of the namespace do not get the event.
	// At most 50 are named in all, near misses first.
	// +optional
	// +listType=map
	// +listMapKey=reason
	// +kubebuilder:validation:MaxItems=8
	Unmatched []Unmatched `json:"unmatched,omitempty"`
}

// Unmatched names Webhooks that do not get an event for one reason.
type Unmatched struct {
	// reason why they do not get it: Trigger, Scope, Disabled, CreatedLater, Deleting, Filter, FilterError or FilterInvalid.
	// +required
	Reason UnmatchedReason `json:"reason,omitempty"`

	// message says more, where there is more to say: how the filter of the first one failed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// count is how many Webhooks there are; not all of them may be named.
	// +required
	// +kubebuilder:validation:Minimum=1
	Count int32 `json:"count,omitempty"`

	// webhooks are names of Webhooks.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=50
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Webhooks []string `json:"webhooks,omitempty"`
}

// WebhookEvent is something that happened in Horizon.
// Horizon creates it, and the operator sends it to every Webhook of the namespace that matches.
// Its status tells which Webhooks did, which did not, and why.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=whe,categories=horizon
// +kubebuilder:selectablefield:JSONPath=`.spec.eventType`
// +kubebuilder:selectablefield:JSONPath=`.status.result`
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.eventType`
// +kubebuilder:printcolumn:name="Resource",type=string,JSONPath=`.spec.resourcePath`
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.result`
// +kubebuilder:printcolumn:name="Succeeded",type=integer,JSONPath=`.status.counts.succeeded`
// +kubebuilder:printcolumn:name="Waiting",type=integer,JSONPath=`.status.counts.waiting`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.counts.failed`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user.name`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Delivered")].message`,priority=1
// +kubebuilder:printcolumn:name="Created",type=string,JSONPath=`.metadata.creationTimestamp`,priority=1
type WebhookEvent struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what happened.
	// +required
	// +structType=atomic
	Spec WebhookEventSpec `json:"spec,omitzero"`

	// status is what became of it.
	// +optional
	// +structType=atomic
	// +default={"observedGeneration": -1, "result": "Pending"}
	Status WebhookEventStatus `json:"status,omitempty,omitzero"`
}

// WebhookEventList is a list of WebhookEvents.
// +kubebuilder:object:root=true
type WebhookEventList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []WebhookEvent `json:"items"`
}
