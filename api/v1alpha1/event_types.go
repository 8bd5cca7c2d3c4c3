package v1alpha1

// Trigger names a type of event that a Webhook follows, or "*" for any event.
// Of an application: applications_created, applications_updated, applications_deleted, applications_transferred.
// Of a cluster: clusters_created, clusters_updated, clusters_deleted, clusters_freed, clusters_action.
// Of a deployment: clusters_builddeployed, clusters_deployed, clusters_rollbacked.
// Of what runs in a cluster: clusters_restarted, clusters_rescheduled, clusters_kubernetes_event.
// Of a member: members_created, members_updated, members_deleted.
// Of a pipelinerun: pipelineruns_created, pipelineruns_cancelled, pipelineruns_executed.
// The singular and the plural spelling of a type (cluster_deleted, clusters_deleted) mean the same.
// +kubebuilder:validation:Enum="*";application_created;application_deleted;application_transferred;application_updated;applications_created;applications_deleted;applications_transferred;applications_updated;clsuters_restarted;cluster_action;cluster_builddeployed;cluster_created;cluster_deleted;cluster_deployed;cluster_freed;cluster_kubernetes_event;cluster_rescheduled;cluster_restarted;cluster_rollbacked;cluster_updated;clusters_action;clusters_builddeployed;clusters_created;clusters_deleted;clusters_deployed;clusters_freed;clusters_kubernetes_event;clusters_rescheduled;clusters_restarted;clusters_rollbacked;clusters_updated;member_created;member_deleted;member_updated;members_created;members_deleted;members_updated;pipelinerun_cancelled;pipelinerun_created;pipelinerun_executed;pipelineruns_cancelled;pipelineruns_created;pipelineruns_executed
type Trigger string

// TriggerAny follows every event, also of types this version does not know.
const TriggerAny Trigger = "*"
