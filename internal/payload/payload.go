// Package payload is the wire format of a body: it renders one byte for byte as Horizon
// does, and parses one back.
package payload

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// maxID is the largest number that receivers written in JavaScript, and others
// that read JSON numbers as float64, get right: 2^53-1.
const maxID = 1<<53 - 1

// Render returns the body that tells a Webhook of an event: compact JSON,
// escaped as encoding/json does, with keys in Horizon's order. What the event
// does not give is left out, or sent empty where Horizon does so. The event's
// type keeps its own spelling.
func Render(e *v1alpha1.WebhookEvent, webhookID int64) ([]byte, error) {
	b := body{
		EventID:     EventID(e),
		WebhookID:   webhookID,
		Application: (*application)(e.Spec.Application),
		Cluster:     (*cluster)(e.Spec.Cluster),
		Pipelinerun: (*pipelinerun)(e.Spec.Pipelinerun),
		Member:      (*member)(e.Spec.Member),
		EventType:   e.Spec.EventType,
		User:        (*user)(e.Spec.User),
		Extra:       e.Spec.Extra,
	}
	data, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("rendering payload: %w", err)
	}
	return data, nil
}

// Payload is what a body tells.
type Payload struct {
	// LogID is the number of Horizon's log of the delivery, 0 in the operator's bodies.
	LogID int64
	// WebhookID is the number of the Webhook.
	WebhookID int64
	// Event is the event, with its number. A body tells neither its path nor its time.
	Event v1alpha1.WebhookEventSpec
}

// Parse reads a body: one of Horizon's, or one that Render has made. As encoding/json does,
// it leaves out keys that it does not know, takes them in any case, and null for a value
// that is not there. It fails where the body is not one JSON object or a value is of
// another type.
func Parse(data []byte) (Payload, error) {
	var b struct {
		ID int64 `json:"id"`
		body
	}
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return Payload{}, errors.New("parsing payload: it is no JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&b); err != nil {
		return Payload{}, fmt.Errorf("parsing payload: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Payload{}, errors.New("parsing payload: something follows the JSON object")
	}
	return Payload{
		LogID: b.ID, WebhookID: b.WebhookID,
		Event: v1alpha1.WebhookEventSpec{
			EventID:     b.EventID,
			EventType:   b.EventType,
			Application: (*v1alpha1.ApplicationInfo)(b.Application),
			Cluster:     (*v1alpha1.ClusterInfo)(b.Cluster),
			Pipelinerun: (*v1alpha1.PipelinerunInfo)(b.Pipelinerun),
			Member:      (*v1alpha1.MemberInfo)(b.Member),
			User:        (*v1alpha1.UserInfo)(b.User),
			Extra:       b.Extra,
		},
	}, nil
}

// EventID is the number that is sent as eventID: Horizon's own where the event
// gives it, otherwise one derived from its uid, from 1 to 2^53-1.
func EventID(e *v1alpha1.WebhookEvent) int64 {
	if e.Spec.EventID != 0 {
		return e.Spec.EventID
	}
	return derivedID(e.UID)
}

// WebhookID is the number that is sent as webhookID: Horizon's own where the
// Webhook gives it, otherwise one derived from its uid, from 1 to 2^53-1.
func WebhookID(w *v1alpha1.Webhook) int64 {
	if w.Spec.WebhookID != 0 {
		return w.Spec.WebhookID
	}
	return derivedID(w.UID)
}

// derivedID must never change: receivers recognise webhooks and events by it.
func derivedID(uid types.UID) int64 {
	sum := sha256.Sum256([]byte(uid))
	return int64(binary.BigEndian.Uint64(sum[:])%maxID) + 1
}

// body and the types below it are the wire format. They are not the API's own
// types, so that the API can grow a field without sending it, and are converted
// from them, so that it cannot do so unnoticed.
type body struct {
	EventID     int64        `json:"eventID"`
	WebhookID   int64        `json:"webhookID"`
	Application *application `json:"application,omitempty"`
	Cluster     *cluster     `json:"cluster,omitempty"`
	Pipelinerun *pipelinerun `json:"pipelinerun,omitempty"`
	Member      *member      `json:"member,omitempty"`
	EventType   string       `json:"eventType"`
	User        *user        `json:"user,omitempty"`
	Extra       string       `json:"extra,omitempty"`
}

type application struct {
	ID       *int64 `json:"id"`
	Name     string `json:"name,omitempty"`
	Priority string `json:"priority,omitempty"`
}

type cluster struct {
	ID              *int64 `json:"id"`
	Name            string `json:"name,omitempty"`
	ApplicationName string `json:"applicationName,omitempty"`
	Env             string `json:"env,omitempty"`
}

type pipelinerun struct {
	ID          *int64 `json:"id"`
	ClusterID   int64  `json:"clusterID,omitempty"`
	ClusterName string `json:"clusterName,omitempty"`
	Action      string `json:"action,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	GitRef      string `json:"gitRef,omitempty"`
	GitRefType  string `json:"gitRefType,omitempty"`
}

// Horizon sends every key of a member and of a user, also empty.
type member struct {
	ID           *int64 `json:"id"`
	ResourceID   int64  `json:"resourceID"`
	ResourceType string `json:"resourceType"`
	Role         string `json:"role"`
	MemberNameID int64  `json:"memberNameID"`
	MemberName   string `json:"memberName"`
}

type user struct {
	ID    *int64 `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}
