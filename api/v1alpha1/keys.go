package v1alpha1

// Labels of a WebhookDelivery. They are for queries and counts: nothing is
// sent on the word of a label.
const (
	// LabelWebhook is the name of the Webhook that a delivery is for.
	LabelWebhook = "horizoncd.io/webhook"
	// LabelEventType is the type of the event that a delivery carries.
	LabelEventType = "horizoncd.io/event-type"
	// LabelEventUID is the metadata.uid of the event that a delivery carries.
	LabelEventUID = "horizoncd.io/event-uid"
	// LabelEventNamespace is the namespace of the event that a delivery carries,
	// where that is not its own: Webhooks of the system namespace follow all.
	LabelEventNamespace = "horizoncd.io/event-namespace"
	// LabelResult mirrors status.result.
	LabelResult = "horizoncd.io/result"
)

// Annotations of a WebhookDelivery.
const (
	// AnnotationResend asks for the delivery to be sent once more. Any value
	// that was not honoured before counts as a new request.
	AnnotationResend = "horizoncd.io/resend"
	// AnnotationResent tells which value of AnnotationResend was honoured, or
	// refused, last: its hash, 16 hex digits. The operator writes it.
	AnnotationResent = "horizoncd.io/resent"
	// AnnotationNextAttempt mirrors status.nextAttemptTime, so that metadata
	// alone tells when a delivery is due. The operator writes it.
	AnnotationNextAttempt = "horizoncd.io/next-attempt"
	// AnnotationFinished is the time a delivery got its final result, where
	// that is not the time of its creation. The operator writes it.
	AnnotationFinished = "horizoncd.io/finished"
)

// Annotations of a Webhook.
const (
	// AnnotationTest asks for one test delivery. Any value but the last one that was
	// asked for counts as a new request; an empty one asks for nothing.
	AnnotationTest = "horizoncd.io/test"
	// AnnotationReplaySince asks for the events since a time (RFC 3339) that the
	// Webhook follows and has no delivery for. Another value begins anew; without the
	// annotation, or with an empty value, nothing more is taken.
	AnnotationReplaySince = "horizoncd.io/replay-since"
)

// Condition types.
const (
	// ConditionReady is True when a Webhook can be sent to: all that it
	// names is usable.
	ConditionReady = "Ready"
	// ConditionHealthy is True when a Webhook's receiver accepted the last
	// delivery.
	ConditionHealthy = "Healthy"
	// ConditionOverflowing is True while as many deliveries of a Webhook wait as
	// may: what comes then is recorded as Failed and not sent. Absent otherwise.
	ConditionOverflowing = "Overflowing"
	// ConditionRateLimited is True while deliveries of a Webhook wait for its rate
	// limit, and absent else.
	ConditionRateLimited = "RateLimited"
	// ConditionFilterFailing is True once the filter of a Webhook has failed for an
	// event, which was not sent for that, until the Webhook is edited. Absent otherwise.
	ConditionFilterFailing = "FilterFailing"
	// ConditionDispatched is True when every Webhook that matches an event
	// has its delivery stored.
	ConditionDispatched = "Dispatched"
	// ConditionDelivered is True when a delivery was accepted, or when every
	// delivery of an event was.
	ConditionDelivered = "Delivered"
	// ConditionReconciling is present, and True, while the operator still
	// works on an object (kstatus).
	ConditionReconciling = "Reconciling"
	// ConditionStalled is present, and True, when an object got stuck and
	// somebody has to change something (kstatus).
	ConditionStalled = "Stalled"
)
