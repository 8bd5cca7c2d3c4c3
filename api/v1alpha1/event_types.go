package v1alpha1

// Trigger names a type of event that a Webhook follows, a family of types, or "*" for any event.
// Of an application: applications_created, applications_updated, applications_deleted, applications_transferred.
// Of a cluster: clusters_created, clusters_updated, clusters_deleted, clusters_freed, clusters_action.
// Of a deployment: clusters_builddeployed, clusters_deployed, clusters_rollbacked.
// Of what runs in a cluster: clusters_restarted, clusters_rescheduled, clusters_kubernetes_event.
// Of a member: members_created, members_updated, members_deleted.
// Of a pipelinerun: pipelineruns_created, pipelineruns_cancelled, pipelineruns_executed.
// A family: applications_*, clusters_*, members_*, pipelineruns_*; it follows types that a later Horizon adds, too.
// The singular and the plural spelling of a type (cluster_deleted, clusters_deleted) mean the same.
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule=`self.matches(r"^(\*|(applications?|clusters?|members?|pipelineruns?)_\*|applications?_(created|updated|deleted|transferred)|clusters?_(created|updated|deleted|builddeployed|deployed|rollbacked|restarted|rescheduled|freed|kubernetes_event|action)|clsuters_restarted|members?_(created|updated|deleted)|pipelineruns?_(created|cancelled|executed))$")`,messageExpression=`'not an event type: did you mean ' + (self.matches(r"(?i)[a-z*]\s*[,;|]\s*[a-z*]") ? "a list with one type to an item" : self.matches(r"(?i)b[ui]") ? "clusters_builddeployed" : self.matches(r"(?i)dep|pl?oy|dpl") ? "clusters_deployed" : self.matches(r"(?i)rol|back") ? "clusters_rollbacked" : self.matches(r"(?i)sch|hed") ? "clusters_rescheduled" : self.matches(r"(?i)rest|start") ? "clusters_restarted" : self.matches(r"(?i)tran|fer") ? "applications_transferred" : self.matches(r"(?i)fr|ree") ? "clusters_freed" : self.matches(r"(?i)kub|k8s") ? "clusters_kubernetes_event" : self.matches(r"(?i)ca[nc]|cel") ? "pipelineruns_cancelled" : self.matches(r"(?i)exe|xec|excu") ? "pipelineruns_executed" : self.matches(r"(?i)act|atc") ? "clusters_action" : self.matches(r"(?i)pip|run") ? "pipelineruns_" + (self.matches(r"(?i)cr|rea") ? "created" : "*") : self.matches(r"(?i)app|pli|mem|emb|meb|cl|lus|ste") ? (self.matches(r"(?i)app|pli") ? "applications_" : self.matches(r"(?i)mem|emb|meb") ? "members_" : "clusters_") + (self.matches(r"(?i)cr|rea") ? "created" : self.matches(r"(?i)up|pda") ? "updated" : self.matches(r"(?i)del|ele") ? "deleted" : "*") : '"*", which follows any') + '? kubectl explain webhook.spec.triggers lists all'`,message="not an event type: kubectl explain webhook.spec.triggers lists all"
type Trigger string

// TriggerAny follows every event, also of types this version does not know.
const TriggerAny Trigger = "*"

// EventTypeTest is the type that a test delivery tells of. No trigger names it, and no
// WebhookEvent is made for it.
const EventTypeTest = "webhook_test"
