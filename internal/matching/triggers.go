package matching

import "github.com/horizoncd/webhook-operator/api/v1alpha1"

// Family is what a trigger for a whole family follows.
type Family struct {
	Trigger v1alpha1.Trigger
	// Types are those that Horizon has, in the order of a life.
	Types []v1alpha1.Trigger
}

// Families are all types of events that spec.triggers lists.
var Families = []Family{
	{"applications_*", []v1alpha1.Trigger{
		"applications_created", "applications_updated", "applications_deleted", "applications_transferred",
	}},
	{"clusters_*", []v1alpha1.Trigger{
		"clusters_created", "clusters_updated", "clusters_deleted", "clusters_freed", "clusters_action",
		"clusters_builddeployed", "clusters_deployed", "clusters_rollbacked",
		"clusters_restarted", "clusters_rescheduled", "clusters_kubernetes_event",
	}},
	{"members_*", []v1alpha1.Trigger{"members_created", "members_updated", "members_deleted"}},
	{"pipelineruns_*", []v1alpha1.Trigger{"pipelineruns_created", "pipelineruns_cancelled", "pipelineruns_executed"}},
}

// Triggers are all that spec.triggers can name, in one spelling: for everything, for each
// family, and for each type.
func Triggers() []v1alpha1.Trigger {
	all := []v1alpha1.Trigger{v1alpha1.TriggerAny}
	for _, family := range Families {
		all = append(all, family.Trigger)
	}
	for _, family := range Families {
		all = append(all, family.Types...)
	}
	return all
}
