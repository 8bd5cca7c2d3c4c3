package bridge

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Name is the name of the WebhookEvent that carries the event of a number. Horizon's
// numbers are its own: whoever bridges two of them gives each a prefix.
func Name(prefix string, eventID int64) string {
	return prefix + "horizon-" + strconv.FormatInt(eventID, 10)
}

// Kinds of things that have a path in Horizon, in the words of its REST calls.
const (
	clusters     = "clusters"
	applications = "applications"
	// memberships are of clusters and applications, and are looked up in another way:
	// nothing tells their names.
	clusterMembers     = "clusters/members"
	applicationMembers = "applications/members"
)

// thing is what an event happened to, as far as its path goes.
type thing struct {
	kind string
	id   int64
	name string // empty where the event does not tell it
}

// key is what a path is remembered by. A cluster is the same whoever tells of it.
func (t thing) key() string {
	return strings.TrimSuffix(t.kind, "/members")[:1] + strconv.FormatInt(t.id, 10)
}

func (t thing) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %d %s", t.kind, t.id, t.name))
}

// thingOf returns what an event's path is the path of: the cluster of a pipelinerun, the
// resource of a member. An event without a block, and a member of anything else, has none.
func thingOf(e *v1alpha1.WebhookEventSpec) (thing, bool) {
	switch {
	case e.Pipelinerun != nil:
		return thing{clusters, e.Pipelinerun.ClusterID, e.Pipelinerun.ClusterName}, true
	case e.Cluster != nil:
		return thing{clusters, number(e.Cluster.ID), e.Cluster.Name}, true
	case e.Application != nil:
		return thing{applications, number(e.Application.ID), e.Application.Name}, true
	case e.Member != nil && e.Member.ResourceType == clusters:
		return thing{kind: clusterMembers, id: e.Member.ResourceID}, true
	case e.Member != nil && e.Member.ResourceType == applications:
		return thing{kind: applicationMembers, id: e.Member.ResourceID}, true
	default:
		return thing{}, false
	}
}

// ownBlock returns the number in the block that an event is about, and what that block
// is called. It is nil where there is none.
func ownBlock(e *v1alpha1.WebhookEventSpec) (string, *int64) {
	switch {
	case e.Pipelinerun != nil:
		return "pipelinerun", e.Pipelinerun.ID
	case e.Member != nil:
		return "member", e.Member.ID
	case e.Cluster != nil:
		return "cluster", e.Cluster.ID
	case e.Application != nil:
		return "application", e.Application.ID
	default:
		return "", nil
	}
}

// difference tells why two events of one number cannot be the same; it is empty where
// they can. Horizon writes a body when it sends it, so names, users and roles may differ.
// Its type and the number of what it is about do not.
func difference(stored, got *v1alpha1.WebhookEventSpec) string {
	if stored.EventType != got.EventType {
		return fmt.Sprintf("its type is %s, and not %s", stored.EventType, got.EventType)
	}
	block, storedID := ownBlock(stored)
	other, id := ownBlock(got)
	// A block that is missing says nothing: what it was about may be gone.
	if storedID != nil && id != nil && (block != other || *storedID != *id) {
		return fmt.Sprintf("it is about %s %d, and not %s %d", block, *storedID, other, *id)
	}
	return ""
}

func number(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
