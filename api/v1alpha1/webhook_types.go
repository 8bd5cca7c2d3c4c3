package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WebhookState says what happens to events that match a Webhook.
// +kubebuilder:validation:Enum=Enabled;Paused;Disabled
type WebhookState string

const (
	// WebhookEnabled sends events as they come.
	WebhookEnabled WebhookState = "Enabled"
	// WebhookPaused stores deliveries and holds them until the Webhook is
	// enabled again.
	WebhookPaused WebhookState = "Paused"
	// WebhookDisabled lets events pass by.
	WebhookDisabled WebhookState = "Disabled"
)

// Reasons of a Webhook's Ready condition.
const (
	// ReasonUsable: the Webhook can be sent to.
	ReasonUsable = "Usable"
	// ReasonSecretNotFound: the spec names a Secret that does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretKeyNotFound: the Secret lacks the key that the spec names.
	ReasonSecretKeyNotFound = "SecretKeyNotFound"
	// ReasonSecretInvalid: the value cannot be sent in a header or be the key of
	// signatures, or the type of the Secret is not one that may be used so.
	ReasonSecretInvalid = "SecretInvalid"
	// ReasonURLInvalid: what spec.urlSecretRef names is not a URL that can be
	// sent to.
	ReasonURLInvalid = "URLInvalid"
	// ReasonConfigMapNotFound: spec.tls.caConfigMapRef names a ConfigMap that
	// does not exist.
	ReasonConfigMapNotFound = "ConfigMapNotFound"
	// ReasonConfigMapKeyNotFound: the ConfigMap lacks the key.
	ReasonConfigMapKeyNotFound = "ConfigMapKeyNotFound"
	// ReasonCAInvalid: the CA bundle that spec.tls names is too large, has no
	// certificate, or has one that cannot be read.
	ReasonCAInvalid = "CAInvalid"
	// ReasonClientCertificateInvalid: the client certificate of spec.tls cannot
	// be used, or has expired.
	ReasonClientCertificateInvalid = "ClientCertificateInvalid"
	// ReasonSSLVerifyRequired: spec.sslVerifyEnabled is false, which the
	// administrator has forbidden.
	ReasonSSLVerifyRequired = "SSLVerifyRequired"
	// ReasonFilterInvalid: spec.filter is no expression that can be evaluated. The
	// Webhook follows nothing until it is mended; what is stored goes on.
	ReasonFilterInvalid = "FilterInvalid"
	// ReasonPayloadInvalid: spec.payload.template is no expression that can be
	// evaluated, or spec.payload.format is of a later version than the operator.
	// Deliveries wait until that is mended.
	ReasonPayloadInvalid = "PayloadInvalid"
	// ReasonResponseRuleInvalid: a rule of spec.response is no expression that can be
	// evaluated. Deliveries wait until it is mended.
	ReasonResponseRuleInvalid = "ResponseRuleInvalid"
)

// Reasons of a Webhook's Healthy condition.
const (
	// ReasonAccepted: the receiver accepted the last delivery.
	ReasonAccepted = "Accepted"
	// ReasonFailing: the last attempt failed.
	ReasonFailing = "Failing"
	// ReasonCircuitOpen: attempts keep failing, or a rest is over. Deliveries wait,
	// and one of them is tried now and then until the receiver accepts it.
	ReasonCircuitOpen = "CircuitOpen"
	// ReasonReceiverResting: the receiver asked to be left alone for a while
	// (Retry-After, or 429 Too Many Requests). Deliveries wait until
	// status.restUntil. Deliveries have this reason, too.
	ReasonReceiverResting = "ReceiverResting"
	// ReasonGone: the receiver answered 410 Gone. Nothing is sent until the
	// Webhook is edited.
	ReasonGone = "Gone"
	// ReasonNothingSent: nothing was sent yet.
	ReasonNothingSent = "NothingSent"
)

// ReasonTooManyWaiting is the reason of a Webhook's Overflowing condition: as many
// deliveries wait as may.
const ReasonTooManyWaiting = "TooManyWaiting"

// ReasonFilterError is the reason of a Webhook's FilterFailing condition.
const ReasonFilterError = "FilterError"

// WebhookSpec says where events are sent, and which.
// +kubebuilder:validation:XValidation:rule="!has(self.payload) || !has(self.payload.format) || self.payload.format in ['Horizon', 'CloudEvents'] || has(self.urlSecretRef)",messageExpression="'the format %s needs urlSecretRef in place of url: whoever knows the address of a chat room may write to it, so put it into a Secret'.format([self.payload.format])",message="the formats of chat services need urlSecretRef in place of url"
// +kubebuilder:validation:XValidation:rule="!has(self.payload) || !has(self.payload.format) || self.payload.format in ['Horizon', 'CloudEvents'] || !has(self.signingSecretRef)",messageExpression="('signingSecretRef is for webhook-signature, which the format %s does not send: ' + (self.payload.format in ['DingTalk', 'Feishu'] ? 'take it out; the signing key of the robot goes into secretRef' : 'take it out')).format([self.payload.format])",message="signingSecretRef is for webhook-signature, which the formats of chat services do not send: take it out"
// +kubebuilder:validation:XValidation:rule="!has(self.payload) || !has(self.payload.format) || !(self.payload.format in ['WeCom', 'Slack', 'Teams', 'Discord']) || !has(self.secretRef)",messageExpression="'%s knows no secret beside the address, and none is sent to it: take secretRef out'.format([self.payload.format])",message="this chat service knows no secret beside the address: take secretRef out"
// +kubebuilder:validation:XValidation:rule="has(self.url) || has(self.urlSecretRef)",message="url is required: the absolute address that events are posted to, such as https://ci.example.com/hooks/horizon; or urlSecretRef, where the address is a secret itself"
// +kubebuilder:validation:XValidation:rule="!(has(self.url) && has(self.urlSecretRef))",message="url and urlSecretRef exclude each other: take one of them out; where the manifest has one only, another field manager owns the other: change both in one step, kubectl patch webhook NAME --type=merge -p '{\"spec\":{\"url\":null,\"urlSecretRef\":{\"name\":\"…\",\"key\":\"…\"}}}' or the other way round, then apply again"
// +kubebuilder:validation:XValidation:rule=`!has(self.tls) || !has(self.url) || !self.url.matches(r"^(?i)http:")`,message="tls is for https, and url begins with http://: change url, or take tls out"
type WebhookSpec struct {
	// url is the absolute http or https address that events are posted to.
	// Special characters must be percent-encoded; user names, passwords and fragments are not allowed in it.
	// The operator sends to public addresses only, unless its administrator allows others.
	// Whoever may read the Webhook or its deliveries sees it: where it is a secret itself, use urlSecretRef instead.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^(?i)[^!-~]*https?://[^/?#]")`,message="url must be absolute: it starts with http:// or https:// and a host, such as https://ci.example.com/hooks/horizon"
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z]+://\[[^\]/?#]*%") || self.matches(r"^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*$")`,messageExpression=`"url must percent-encode special characters: character %d of %d is %s".format([self.find(r"^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*").size() + 1, self.size(), {" ": "a space: write %20, or take it out", "%": "a percent sign: write %25", "\t": "a tab: take it out", "\n": "a line feed: take it out", "\r": "a carriage return: take it out", "\ufeff": "a byte order mark (BOM): take it out", "\u00a0": "a no-break space: take it out", "\u200b": "a zero-width space: take it out"}[?self.charAt(self.find(r"^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*").size())].orValue(self.matches(r"^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*[\x22<>\\\^\x60{|}]") ? self.charAt(self.find(r"^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*").size()) : self.matches(r"^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*\p{Cc}") ? "a control character: take it out" : "not ASCII: encode it, or take the xn-- form of a host name")])`,message="url must percent-encode special characters: a space is %20, a percent sign %25; a host name beyond ASCII takes its xn-- form"
	// +kubebuilder:validation:XValidation:rule=`!self.contains("#")`,message="url must not have a fragment (#…): it is never sent"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"^[A-Za-z]+://[^/?#]*@")`,message="url must not contain a user name or password: put the receiver's token into a Secret and name it in secretRef"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"^[A-Za-z]+://\[[^\]/?#]*%")`,message="url must not have a zone (%…) in its IPv6 address: it means nothing to another machine"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"^(?i)[a-z]+://\[[0:]*:ffff:([0-9.]+|[0-9a-f]{1,4}:[0-9a-f]{1,4})\]")`,message="url must have an IPv4 address as it is: 192.0.2.1, not [::ffff:192.0.2.1]"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"^(?i)https?://[^/?#]") || self.matches(r"^[A-Za-z]+://[^/?#]*@") || self.matches(r"^[A-Za-z]+://\[[^\]/?#]*%") || self.matches(r"^(?i)[a-z]+://\[[0:]*:ffff:([0-9.]+|[0-9a-f]{1,4}:[0-9a-f]{1,4})\]") || (self.matches(r"^[A-Za-z]+://(([^./?#:\[\]@%!$&'()*+,;=~]+\.?)+|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\])(:[0-9]+)?([/?#]|$)") && (!self.matches(r"^[A-Za-z]+://\[") || isIP(self.find(r"\[[^\]]*").replace("[", ""))))`,message="url must name a host: a DNS name, an IPv4 address, or an IPv6 address in brackets; a port is a number after a colon"
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r"^[A-Za-z]+://[^/?#@]*:[0-9]+([/?#]|$)") || self.matches(r"^[A-Za-z]+://[^/?#]*:0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])([/?#]|$)")`,message="url must have a port from 1 to 65535"
	URL string `json:"url,omitempty"`

	// urlSecretRef names the address where it is a secret itself, as those of chat services are: a key of a Secret in the Webhook's own namespace.
	// The same rules hold for it as for url, and one of the two is required.
	// Deliveries show its host and [redacted]. The operator notices a change of the Secret within 30 seconds.
	// +optional
	URLSecretRef *SecretKeyReference `json:"urlSecretRef,omitempty"`

	// sslVerifyEnabled says whether the certificate of an https receiver is checked. Defaults to true.
	// The operator's administrator may forbid false.
	// +optional
	// +default=true
	SSLVerifyEnabled *bool `json:"sslVerifyEnabled,omitempty"`

	// tls says which authorities vouch for an https receiver, and which certificate is shown to it.
	// Without it, the system's authorities do, and none is.
	// +optional
	TLS *TLSSettings `json:"tls,omitempty"`

	// description tells people what the webhook is for. Up to 1024 characters.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=1024
	Description string `json:"description,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// secretRef names the token of the receiver: a key of a Secret in the Webhook's own namespace.
	// It is sent in the header X-Horizon-Webhook-Secret. It also signs each request (webhook-signature), unless signingSecretRef names another key for that.
	// With the formats DingTalk and Feishu it names the signing key of the robot instead, which is never sent.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`

	// signingSecretRef names the key that signs each request (webhook-signature) in place of the token: a key of a Secret in the Webhook's own namespace.
	// It is never sent, so whoever sees the token in a request cannot sign.
	// A value that begins with whsec_ is a key in base64, as Standard Webhooks has it. Without secretRef, requests are signed and carry no token.
	// Without either, they are not signed.
	// +optional
	SigningSecretRef *SecretKeyReference `json:"signingSecretRef,omitempty"`

	// triggers are the event types that the webhook follows, families of them such as clusters_*, or "*" for every event.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:XValidation:rule="self.size() > 0",message="triggers must name at least one event type, such as clusters_deployed, or \"*\" for every event"
	Triggers []Trigger `json:"triggers,omitempty"`

	// state says what happens to events that match.
	// Enabled sends them; Paused records them and waits; Disabled lets them pass by.
	// Defaults to Enabled.
	// +optional
	// +default="Enabled"
	State WebhookState `json:"state,omitempty"`

	// scope is the path of a group, an application or a cluster: only events of it and of what is below it are sent.
	// Without it, events of everything are. Example: /music/player.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^(/[^/*?\[\]{},\pZ\p{Cc}\x{200b}\x{feff}]+)*/?$") && !self.matches(r"/\.+(/|$)")`,messageExpression=`"scope must be a full path, such as /music/player: %s".format([self.contains(",") ? "a Webhook takes one of them; write another Webhook for the next" : self.matches(r"(^|/)\.+(/|$)") ? "it has no parts of dots alone" : self.matches(r"[*?\[\]{}]") ? "it takes no patterns, since all that is below it is followed; " + (self.find(r"^/?[^/*?\[\]{}]+(/[^/*?\[\]{}]+)*/") == "" ? "leave scope out to follow everything" : "write " + (self.startsWith("/") ? "" : "/") + self.find(r"^/?[^/*?\[\]{}]+(/[^/*?\[\]{}]+)*/")) : self.matches(r"[\pZ\p{Cc}\x{200b}\x{feff}]") ? "it has no spaces or control characters; it is made of paths, not of names" : self.startsWith("/") ? "it has no empty parts; write " + self.replace("//", "/") : "write /" + self])`,message="scope must be a full path, such as /music/player: it starts with a slash and has neither spaces nor empty parts"
	Scope string `json:"scope,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// filter is a CEL expression that says which of the matching events are sent, such as event.cluster.env == "online". Without it, all are.
	// It sees event and webhook, and is asked after triggers, scope and state.
	// One that does not compile follows nothing (Ready is False, FilterInvalid); where it fails for an event, that one is not sent (FilterError).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Filter string `json:"filter,omitempty"`

	// payload says what the body of a request is. Without it, the body is Horizon's.
	// +optional
	Payload *PayloadSettings `json:"payload,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// response says which answers count as accepted, and which end the retries. Without it, each 2xx is accepted.
	// +optional
	Response *ResponseRules `json:"response,omitempty"` //nolint:kubeapilinter // empty and absent mean the same

	// rateLimit bounds how many requests are made to the receiver in a span of time, retries, resends and tests included. What is over it waits, and goes out in the order of its age.
	// Requests of all Webhooks of the namespace to the same URL count. Without it, the limit is that of the format: chat services have one, others have none.
	// +optional
	RateLimit *RateLimit `json:"rateLimit,omitempty"`

	// webhookID is Horizon's own number of the webhook, sent as webhookID in the body.
	// Where it is missing, one is derived from metadata.uid; status.webhookID shows it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	WebhookID int64 `json:"webhookID,omitempty"`

	// timeoutSeconds bounds one attempt, from the connection to the last byte of the answer. Defaults to 30.
	// +optional
	// +default=30
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=300
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`

	// retry says how often and when a failed attempt is repeated.
	// +optional
	// +default={"limit": 10, "minBackoffSeconds": 10, "maxBackoffSeconds": 3600, "giveUpAfterSeconds": 259200}
	Retry RetryPolicy `json:"retry,omitempty,omitzero"`

	// maxInFlight is how many requests may be under way to the receiver at once. Defaults to 10.
	// +optional
	// +default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxInFlight int32 `json:"maxInFlight,omitempty"`

	// retention says how long finished deliveries are kept.
	// +optional
	// +default={"ttlSecondsAfterFinished": 604800, "limit": 200}
	Retention RetentionPolicy `json:"retention,omitempty,omitzero"`
}

// PayloadFormat is a form that events are sent in. It decides on all of a request: the body, what counts as accepted, the signature and the rate limit.
// +kubebuilder:validation:Enum=Horizon;CloudEvents;DingTalk;Feishu;WeCom;Slack;Teams;Discord
type PayloadFormat string

const (
	// PayloadHorizon is the body as Horizon writes it, byte for byte.
	PayloadHorizon PayloadFormat = "Horizon"
	// PayloadCloudEvents is a CloudEvent 1.0 in structured mode, with Horizon's body as
	// its data.
	PayloadCloudEvents PayloadFormat = "CloudEvents"
	// PayloadDingTalk is a message of a DingTalk group's custom robot.
	PayloadDingTalk PayloadFormat = "DingTalk"
	// PayloadFeishu is a message of a custom bot in a group of Feishu, or Lark.
	PayloadFeishu PayloadFormat = "Feishu"
	// PayloadWeCom is a message of a WeCom group's robot.
	PayloadWeCom PayloadFormat = "WeCom"
	// PayloadSlack is a message by an incoming webhook of Slack.
	PayloadSlack PayloadFormat = "Slack"
	// PayloadTeams is an Adaptive Card for a workflow of Microsoft Teams.
	PayloadTeams PayloadFormat = "Teams"
	// PayloadDiscord is a message by a webhook of Discord.
	PayloadDiscord PayloadFormat = "Discord"
)

// Language is that of the messages in chat rooms.
// +kubebuilder:validation:Enum=en;zh
type Language string

const (
	// LanguageEnglish is English, with times in UTC.
	LanguageEnglish Language = "en"
	// LanguageChinese is Chinese, with times of Beijing.
	LanguageChinese Language = "zh"
)

// PayloadSettings say what the body of a request is.
type PayloadSettings struct {
	// format of the request: Horizon's own body; CloudEvents, a CloudEvent 1.0 in structured mode (application/cloudevents+json) with Horizon's body as its data; or a message for a chat room: DingTalk, Feishu (also Lark), WeCom, Slack, Teams or Discord.
	// A chat format also knows what the service answers, signs as the service asks with the key that secretRef names (DingTalk and Feishu), sends neither X-Horizon-Webhook-Secret nor webhook-signature, and keeps the service's rate limit. It needs urlSecretRef.
	// Defaults to Horizon.
	// +optional
	// +default="Horizon"
	Format PayloadFormat `json:"format,omitempty"`

	// template is a CEL expression that makes the body in place of the format's own: a map, which is sent as JSON.
	// It sees event, webhook, delivery.id and message, which is what the chat formats say of the event, and nothing secret. All else stays that of the format.
	// While it does not compile, deliveries wait (Ready is False, PayloadInvalid); where it fails for an event, that delivery is Failed (PayloadError) and can be resent.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Template string `json:"template,omitempty"`

	// language of message: en, or zh, which is Chinese with times of Beijing. Without effect on a body that has no message in it.
	// Defaults to en.
	// +optional
	// +default="en"
	Language Language `json:"language,omitempty"`
}

// ResponseRules say what an answer of the receiver means. While one does not compile, deliveries wait (Ready is False, ResponseRuleInvalid).
type ResponseRules struct {
	// acceptIf is a CEL expression that is asked after a 2xx: the answer is accepted only where it is true, such as response.json.?errcode.orValue(-1) == 0.
	// It sees event, webhook, delivery.id and response (statusCode, headers, body, json). Where it fails, the answer is not accepted, and the delivery is tried again.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	AcceptIf string `json:"acceptIf,omitempty"`

	// giveUpIf is a CEL expression that is asked after each answer that is not accepted: where it is true, no retry would help, and the delivery is Failed (Rejected).
	// It sees the same as acceptIf. Where it fails, the delivery is tried again.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	GiveUpIf string `json:"giveUpIf,omitempty"`
}

// RateLimit bounds how many requests are made in a span of time: a request begins only when fewer have ended within the span, or are under way.
type RateLimit struct {
	// requests that may be made within the span.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Requests int32 `json:"requests,omitempty"`

	// perSeconds is the span.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=900
	PerSeconds int32 `json:"perSeconds,omitempty"`
}

// String writes the limit as people say it, such as "20 per 60 s"; it is empty where there is none.
func (l RateLimit) String() string {
	if l == (RateLimit{}) {
		return ""
	}
	return fmt.Sprintf("%d per %d s", l.Requests, l.PerSeconds)
}

// SecretKeyReference names a key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name of a Secret in the Webhook's own namespace. Secrets of other namespaces cannot be used.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="name must be the plain name of a Secret in the Webhook's own namespace; to use a Secret of another namespace, copy it here"
	Name string `json:"name,omitempty"`

	// key of the Secret whose value is used.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="key must be a key of the Secret's data: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// TLSSettings say which authorities vouch for a receiver, and which certificate is shown to it.
// +kubebuilder:validation:XValidation:rule="!(has(self.caSecretRef) && has(self.caConfigMapRef))",message="caSecretRef and caConfigMapRef exclude each other: take one of them out; where the manifest has one only, another field manager owns the other: kubectl edit takes it out, then apply again"
type TLSSettings struct {
	// caSecretRef names the private authorities that may vouch for the receiver: PEM certificates in a key of a Secret in the Webhook's own namespace.
	// They take the place of the system's authorities. Without effect where sslVerifyEnabled is false.
	// +optional
	CASecretRef *CABundleReference `json:"caSecretRef,omitempty"`

	// caConfigMapRef names the same in a ConfigMap.
	// +optional
	CAConfigMapRef *CABundleReference `json:"caConfigMapRef,omitempty"`

	// clientCertSecretRef names the certificate and key that the operator shows to a receiver that asks for one (mutual TLS): a Secret of type kubernetes.io/tls in the Webhook's own namespace.
	// +optional
	ClientCertSecretRef *SecretReference `json:"clientCertSecretRef,omitempty"`
}

// CABundleReference names a key of a Secret or a ConfigMap in the same namespace.
type CABundleReference struct {
	// name of a Secret or ConfigMap in the Webhook's own namespace. Those of other namespaces cannot be used.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="name must be the plain name of an object in the Webhook's own namespace; to use one of another namespace, copy it here"
	Name string `json:"name,omitempty"`

	// key whose value is one or more certificates in PEM. Defaults to ca.crt.
	// +optional
	// +default="ca.crt"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$')",message="key must be a key of the object's data: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name of a Secret in the Webhook's own namespace. Secrets of other namespaces cannot be used.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="name must be the plain name of a Secret in the Webhook's own namespace; to use a Secret of another namespace, copy it here"
	Name string `json:"name,omitempty"`
}

// RetryPolicy says how often and when a failed attempt is repeated.
// The wait doubles from minBackoffSeconds up to maxBackoffSeconds, give or take 20 %.
// A Retry-After of the receiver makes it longer, up to maxBackoffSeconds, never shorter; until then the receiver gets nothing else either (status.restUntil).
// +kubebuilder:validation:XValidation:rule="self.minBackoffSeconds <= self.maxBackoffSeconds",message="minBackoffSeconds (10 where it is not given) must not exceed maxBackoffSeconds (3600 where it is not given)"
type RetryPolicy struct {
	// limit is how often a failed attempt is repeated. 0 means never: only a person resends. Defaults to 10.
	// +optional
	// +default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Limit *int32 `json:"limit,omitempty"`

	// minBackoffSeconds is the wait before the first retry. Defaults to 10.
	// +optional
	// +default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	MinBackoffSeconds int32 `json:"minBackoffSeconds,omitempty"`

	// maxBackoffSeconds is the longest wait between two attempts. Defaults to 3600.
	// +optional
	// +default=3600
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	MaxBackoffSeconds int32 `json:"maxBackoffSeconds,omitempty"`

	// giveUpAfterSeconds is how long a delivery may wait; after that it has failed.
	// It counts from the delivery's creation, or from the resend that was asked for.
	// Defaults to 259200 (three days).
	// +optional
	// +default=259200
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2592000
	GiveUpAfterSeconds int32 `json:"giveUpAfterSeconds,omitempty"`
}

// RetentionPolicy says how long finished deliveries are kept. None goes in its first 15 minutes.
type RetentionPolicy struct {
	// ttlSecondsAfterFinished is how long a finished delivery is kept. Defaults to 604800 (a week).
	// +optional
	// +default=604800
	// +kubebuilder:validation:Minimum=900
	// +kubebuilder:validation:Maximum=31536000
	TTLSecondsAfterFinished int32 `json:"ttlSecondsAfterFinished,omitempty"`

	// limit is how many finished deliveries are kept; the oldest go first. Defaults to 200.
	// +optional
	// +default=200
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	Limit *int32 `json:"limit,omitempty"`
}

// WebhookStatus is what the operator knows of a Webhook. Counts and the last delivery follow at most every ten seconds.
type WebhookStatus struct {
	// conditions of the webhook: Ready (it can be sent to), Healthy (the receiver accepts), Overflowing while too many deliveries wait, RateLimited while some wait for the rate limit, and FilterFailing where the filter failed for an event.
	// While Ready is False, Reconciling is there for two minutes and Stalled after that.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the metadata.generation that the conditions are about.
	// It is -1 until the operator has seen the webhook.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// webhookID is the number that is sent as webhookID in the body.
	// +optional
	WebhookID int64 `json:"webhookID,omitempty"`

	// restUntil is when the receiver may be sent to again: it asked to be left alone until then, by Retry-After or by 429 Too Many Requests.
	// Deliveries wait meanwhile, but for a resend; then one is tried, and the others follow once the receiver accepts it.
	// Absent when the receiver is not resting. A change of the URL ends it.
	// +optional
	RestUntil metav1.Time `json:"restUntil,omitempty,omitzero"`

	// deliveries counts the deliveries in store by result.
	// +optional
	Deliveries DeliveryCounts `json:"deliveries,omitempty,omitzero"`

	// lastDelivery is the delivery that was attempted last.
	// +optional
	LastDelivery *LastDelivery `json:"lastDelivery,omitempty"`

	// lastTest tells of the test delivery that the annotation horizoncd.io/test asked for last.
	// +optional
	LastTest *LastTest `json:"lastTest,omitempty"`

	// replay tells of the replay that the annotation horizoncd.io/replay-since asked for last. Its numbers follow at most every five seconds.
	// +optional
	Replay *ReplayStatus `json:"replay,omitempty"`
}

// DeliveryCounts counts deliveries by result.
type DeliveryCounts struct {
	// waiting is the number of deliveries that are yet to be made.
	// +optional
	Waiting int32 `json:"waiting"`

	// succeeded is the number of deliveries that a receiver accepted.
	// +optional
	Succeeded int32 `json:"succeeded"`

	// failed is the number of deliveries that were given up.
	// +optional
	Failed int32 `json:"failed"`
}

// LastDelivery tells how the latest attempt of a Webhook ended.
type LastDelivery struct {
	// name of the WebhookDelivery.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// time when the attempt began.
	// +required
	Time metav1.MicroTime `json:"time,omitempty,omitzero"`

	// result of the delivery after the attempt.
	// +required
	Result DeliveryResult `json:"result,omitempty"`

	// statusCode of the answer; absent when there was none.
	// +optional
	StatusCode int32 `json:"statusCode,omitempty"`
}

// LastTest tells of a test delivery: a request with made-up content, which no event and no trigger is needed for.
type LastTest struct {
	// hash of the annotation's value, 16 hex digits. Another value asks for another test.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash,omitempty"`

	// time when the operator took the request. The name and the body of the delivery have it.
	// +required
	Time metav1.Time `json:"time,omitempty,omitzero"`

	// delivery is the name of the WebhookDelivery, which tells how the test went. Absent until it is stored.
	// It stays when the delivery is deleted, so that none is made for the same value again.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Delivery string `json:"delivery,omitempty"`

	// message says why the delivery cannot be stored, in up to 512 characters. Nothing is sent before it is; the operator tries again. Absent otherwise.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// ReplayState says where a replay stands: Running, Waiting, Completed, Stopped or Invalid. More may come.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
type ReplayState string

const (
	// ReplayRunning: events are looked at, and those that lack a delivery get one.
	ReplayRunning ReplayState = "Running"
	// ReplayWaiting: no event is taken now, for what the message says. It goes on by
	// itself once that is over.
	ReplayWaiting ReplayState = "Waiting"
	// ReplayCompleted: all events were looked at, and what was found has its delivery.
	ReplayCompleted ReplayState = "Completed"
	// ReplayStopped: the annotation was taken away before it was complete.
	ReplayStopped ReplayState = "Stopped"
	// ReplayInvalid: the value of the annotation is no time that events may be since.
	ReplayInvalid ReplayState = "Invalid"
)

// ReplayStatus tells how far a replay is: the Webhook is held against the events since a time, the oldest first, and gets those that it follows now and has no delivery for.
type ReplayStatus struct {
	// value of the annotation horizoncd.io/replay-since, cut to 128 characters. Another one begins anew.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value,omitempty"`

	// state says where the replay stands: Running, Waiting, Completed, Stopped or Invalid.
	// +required
	State ReplayState `json:"state,omitempty"`

	// message says why it waits, or what is wrong with the value.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// startTime is when the operator began with the value.
	// +required
	StartTime metav1.Time `json:"startTime,omitempty,omitzero"`

	// completionTime is when it ended: completed, stopped or refused. Absent before.
	// +optional
	CompletionTime metav1.Time `json:"completionTime,omitempty,omitzero"`

	// cursor is the event up to which all is done. After a restart, the operator goes on behind it. Absent at the beginning.
	// +optional
	Cursor *ReplayCursor `json:"cursor,omitempty"`

	// remaining is how many events were yet to be looked at. Most of them may need nothing.
	// +optional
	Remaining int32 `json:"remaining"`

	// found is how many events the Webhook follows and had no delivery for: sent, and those that are on their way.
	// +optional
	Found int32 `json:"found"`

	// sent is for how many of these a delivery was stored, up to the cursor. The deliveries tell whether they arrived.
	// +optional
	Sent int32 `json:"sent"`

	// expired is how many events up to the cursor the Webhook follows and does not get, since they expired: nobody had worked on them before they were older than the operator's --max-event-age.
	// +optional
	Expired int32 `json:"expired"`
}

// ReplayCursor is a place in the order of events: by the time of their creation, then by namespace and name.
type ReplayCursor struct {
	// time when the event was created.
	// +required
	Time metav1.Time `json:"time,omitempty,omitzero"`

	// namespace of the event.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// name of the event. It may be deleted since.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// Webhook tells another system what happens in Horizon: events that match its triggers are posted to its URL.
// In the operator's own namespace it follows the events of every namespace.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=wh,categories=horizon
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63",message="metadata.name must be no longer than 63 characters, because its deliveries carry it as a label"
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.state`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Health",type=string,JSONPath=`.status.conditions[?(@.type=="Healthy")].reason`
// +kubebuilder:printcolumn:name="Waiting",type=integer,JSONPath=`.status.deliveries.waiting`,priority=1
// +kubebuilder:printcolumn:name="Succeeded",type=integer,JSONPath=`.status.deliveries.succeeded`,priority=1
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.deliveries.failed`,priority=1
// +kubebuilder:printcolumn:name="Last",type=date,JSONPath=`.status.lastDelivery.time`
// +kubebuilder:printcolumn:name="Code",type=integer,JSONPath=`.status.lastDelivery.statusCode`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Triggers",type=string,JSONPath=`.spec.triggers`
// +kubebuilder:printcolumn:name="Scope",type=string,JSONPath=`.spec.scope`,priority=1
// +kubebuilder:printcolumn:name="Description",type=string,JSONPath=`.spec.description`,priority=1
type Webhook struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says where events are sent, and which.
	// +required
	Spec WebhookSpec `json:"spec,omitzero"`

	// status is what the operator knows of the webhook.
	// +optional
	// +default={"observedGeneration": -1}
	Status WebhookStatus `json:"status,omitempty,omitzero"`
}

// WebhookList is a list of Webhooks.
// +kubebuilder:object:root=true
type WebhookList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Webhook `json:"items"`
}
