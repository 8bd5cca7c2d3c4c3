package dashboard

import (
	"slices"
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// triggerRow is a trigger to tick.
type triggerRow struct {
	Type, Text string
	Ticked     bool
}

// triggerGroup are some of them. The first group is the table of the user's document.
type triggerGroup struct {
	ID, Title string
	Rows      []triggerRow
	// Folded groups are shown when somebody opens them, or when one of them is ticked.
	Folded bool
}

// triggerGroups are the triggers in the words of the user's document, and those that it does
// not name. They are spelt as there: the other spelling means the same.
var triggerGroups = []triggerGroup{
	{ID: "document", Title: "Events", Rows: []triggerRow{
		{Type: "applications_created", Text: "A new application is created."},
		{Type: "application_deleted", Text: "An application is deleted."},
		{Type: "application_transferred", Text: "An application is transferred to another group."},
		{Type: "cluster_created", Text: "A new cluster is created."},
		{Type: "cluster_deleted", Text: "A cluster is deleted."},
		{Type: "clusters_builddeployed", Text: "A cluster has completed a build task and triggered a deploy task."},
		{Type: "clusters_deployed", Text: "A cluster has triggered a deploy task."},
		{Type: "clusters_rollbacked", Text: "A cluster has triggered a rollback task."},
		{Type: "clusters_freed", Text: "A cluster has been freed."},
	}},
	{ID: "any", Title: "Any event", Rows: []triggerRow{
		{Type: "*", Text: "“*” indicates that you want to follow any event. The other ticks make no difference then."},
	}},
	{ID: "more", Title: "More events", Folded: true, Rows: []triggerRow{
		{Type: "applications_updated", Text: "An application is updated."},
		{Type: "clusters_updated", Text: "A cluster is updated."},
		{Type: "clusters_restarted", Text: "A cluster has been restarted."},
		{Type: "clusters_rescheduled", Text: "A cluster has been rescheduled."},
		{Type: "clusters_kubernetes_event", Text: "Kubernetes has told of something in a cluster."},
		{Type: "clusters_action", Text: "Something else was done to a cluster. Horizon lists this type and sends none so far."},
		{Type: "members_created", Text: "A member is added."},
		{Type: "members_updated", Text: "The role of a member is changed."},
		{Type: "members_deleted", Text: "A member is removed."},
		{Type: "pipelineruns_created", Text: "A pipelinerun is created."},
		{Type: "pipelineruns_cancelled", Text: "A pipelinerun is cancelled."},
		{Type: "pipelineruns_executed", Text: "A pipelinerun is executed."},
	}},
	{ID: "families", Title: "Families of events", Folded: true, Rows: []triggerRow{
		{Type: "applications_*", Text: "Whatever happens to applications, also what a later Horizon adds."},
		{Type: "clusters_*", Text: "Whatever happens to clusters, also what a later Horizon adds."},
		{Type: "members_*", Text: "Whatever happens to members, also what a later Horizon adds."},
		{Type: "pipelineruns_*", Text: "Whatever happens to pipelineruns, also what a later Horizon adds."},
	}},
}

// sameType tells whether two triggers mean the same in whichever spelling.
func sameType(a, b string) bool {
	return matching.Follows(v1alpha1.Trigger(a), b) && matching.Follows(v1alpha1.Trigger(b), a)
}

// triggerRows returns the triggers to tick, with those that are. A trigger of the Webhook
// keeps its spelling; those that no row has, such as one in both spellings, get rows of
// their own. known are all that the Webhook or the form names.
func triggerRows(ticked, known []string) []triggerGroup {
	left := slices.Clone(known)
	groups := make([]triggerGroup, 0, len(triggerGroups)+1)
	for _, g := range triggerGroups {
		g.Rows = slices.Clone(g.Rows)
		for i := range g.Rows {
			row := &g.Rows[i]
			if at := slices.IndexFunc(left, func(t string) bool { return sameType(t, row.Type) }); at >= 0 {
				row.Type = left[at]
				left = slices.DeleteFunc(left, func(t string) bool { return t == row.Type })
			}
			row.Ticked = slices.Contains(ticked, row.Type)
			g.Folded = g.Folded && !row.Ticked
		}
		groups = append(groups, g)
	}
	if len(left) == 0 {
		return groups
	}
	others := triggerGroup{ID: "others", Title: "Others of this webhook"}
	for _, t := range slices.Compact(slices.Sorted(slices.Values(left))) {
		others.Rows = append(others.Rows, triggerRow{Type: t, Text: "The webhook has it already.", Ticked: slices.Contains(ticked, t)})
	}
	return append(groups, others)
}

// triggersOf returns the triggers that are ticked: those that were there in their order, then
// the others. nil is none.
func triggersOf(ticked, was []string) any {
	all := []any{}
	for _, t := range was {
		if slices.Contains(ticked, t) && !slices.Contains(all, any(t)) {
			all = append(all, t)
		}
	}
	for _, t := range ticked {
		if !slices.Contains(all, any(t)) {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// firstType returns the type of an event that triggers follow, to try them with.
func firstType(triggers []v1alpha1.Trigger) string {
	for _, t := range triggers {
		if !strings.Contains(string(t), "*") {
			return string(t)
		}
		for _, eventType := range sampleTypes() {
			if t != v1alpha1.TriggerAny && matching.Follows(t, eventType) {
				return eventType
			}
		}
	}
	return sampleTypes()[0]
}

// sampleTypes are all types of events, those of the user's document first.
func sampleTypes() []string {
	var all []string
	for _, g := range triggerGroups {
		for _, row := range g.Rows {
			if !strings.Contains(row.Type, "*") {
				all = append(all, row.Type)
			}
		}
	}
	return all
}
