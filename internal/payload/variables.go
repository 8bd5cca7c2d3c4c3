package payload

import (
	"fmt"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
)

// EventOf returns what expressions see of an event. Where it has no time, that is when it
// was created.
func EventOf(e *v1alpha1.WebhookEvent) *expression.Event {
	event := variables(&e.Spec)
	event.EventID, event.Namespace = EventID(e), e.Namespace
	if event.Time = e.Spec.Time.UTC(); e.Spec.Time.IsZero() {
		event.Time = e.CreationTimestamp.UTC()
	}
	return event
}

// EventOfDelivery returns what expressions see of the event that a delivery carries: the
// same as EventOf returns of the event itself, which may be gone.
func EventOfDelivery(d *v1alpha1.WebhookDelivery) (*expression.Event, error) {
	p, err := Parse([]byte(d.Spec.Payload))
	if err != nil {
		return nil, fmt.Errorf("reading spec.payload: %w", err)
	}
	event := variables(&p.Event)
	event.EventID, event.Namespace = p.Event.EventID, d.Spec.EventRef.Namespace
	event.ResourcePath, event.Time = d.Spec.ResourcePath, d.Spec.Time.UTC()
	return event, nil
}

// WebhookOf returns what expressions see of a Webhook.
func WebhookOf(w *v1alpha1.Webhook) expression.Webhook {
	return expression.Webhook{Name: w.Name, Namespace: w.Namespace, ID: WebhookID(w)}
}

func variables(e *v1alpha1.WebhookEventSpec) *expression.Event {
	event := &expression.Event{EventType: e.EventType, ResourcePath: e.ResourcePath, Extra: e.Extra}
	if a := e.Application; a != nil {
		event.Application = &expression.Application{ID: number(a.ID), Name: a.Name, Priority: a.Priority}
	}
	if c := e.Cluster; c != nil {
		event.Cluster = &expression.Cluster{ID: number(c.ID), Name: c.Name, ApplicationName: c.ApplicationName, Env: c.Env}
	}
	if p := e.Pipelinerun; p != nil {
		event.Pipelinerun = &expression.Pipelinerun{
			ID: number(p.ID), ClusterID: p.ClusterID, ClusterName: p.ClusterName, Action: p.Action,
			Title: p.Title, Description: p.Description, GitRef: p.GitRef, GitRefType: p.GitRefType,
		}
	}
	if m := e.Member; m != nil {
		event.Member = &expression.Member{
			ID: number(m.ID), ResourceID: m.ResourceID, ResourceType: m.ResourceType, Role: m.Role,
			MemberNameID: m.MemberNameID, MemberName: m.MemberName,
		}
	}
	if u := e.User; u != nil {
		event.User = &expression.User{ID: number(u.ID), Name: u.Name, Email: u.Email}
	}
	return event
}

func number(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
