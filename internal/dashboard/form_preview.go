package dashboard

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/roomview"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// previewEvents is how many of the namespace's events a form offers to try.
const previewEvents = 50

// inputEvent names the event of the preview: one of the namespace, or a sample of a type.
// Empty is the newest one that the Webhook follows.
const (
	inputEvent   = "event"
	sampleOfType = "sample:"
	eventOfName  = "event:"
)

// preview is the request that a form's Webhook would make.
type preview struct {
	*insight.Request
	// Of is the event that it is for, in words.
	Of string
	// Parts are what the filter's verdict came of.
	Parts []insight.Part
	// Head are the headers.
	Head string
	// Size is that of the body, in words, and Text the body to be read.
	Size string
	Text body
	// Room is the message as the room shows it; nil where the request has another body, or none.
	Room *roomview.View
	// Source is the event as Horizon's body, where the request has another one or none; nil
	// otherwise.
	Source *body
	// Missing is why there is no preview.
	Missing string
}

// sampleEvent returns an event of a type that never happened, with the numbers and names of
// the user's document. It happens within scope.
func sampleEvent(namespace, eventType, scope string) *v1alpha1.WebhookEvent {
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "sample"},
		Spec: v1alpha1.WebhookEventSpec{
			EventID:      1,
			EventType:    eventType,
			ResourcePath: strings.TrimRight(scope, "/") + "/test",
			User:         &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
		},
	}
	switch kind, _, _ := strings.Cut(eventType, "_"); strings.TrimSuffix(kind, "s") {
	case "application":
		e.Spec.Application = &v1alpha1.ApplicationInfo{ID: new(int64(1)), Name: "test", Priority: "P0"}
	case "cluster":
		e.Spec.Cluster = &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "test", ApplicationName: "test", Env: "test"}
	case "pipelinerun":
		e.Spec.Pipelinerun = &v1alpha1.PipelinerunInfo{
			ID: new(int64(1)), ClusterID: 1, ClusterName: "test", Action: "builddeploy", Title: "test", GitRef: "main", GitRefType: "branch",
		}
	case "member":
		e.Spec.Member = &v1alpha1.MemberInfo{
			ID: new(int64(1)), ResourceID: 1, ResourceType: "applications", Role: "maintainer", MemberNameID: 1, MemberName: "test",
		}
	}
	return e
}

// option is one of those to choose from.
type option struct {
	Value, Text string
	Chosen      bool
}

// events are those to try a form with: the latest of the namespace, and samples. newest is
// the latest that a Webhook follows as far as a row tells, "" where none is.
func (q *request) events(chosen string, w *v1alpha1.Webhook) (latest, samples []option, newest string) {
	w = w.DeepCopy()
	w.CreationTimestamp, w.Spec.State = metav1.Time{}, v1alpha1.WebhookEnabled
	rows := table.Newest{Limit: previewEvents}
	q.store.eachEvent(rows.Add)
	for _, row := range rows.Sorted() {
		text := row.Cells[table.EventColumnType]
		if at := row.Cells[table.EventColumnResource]; at != "" {
			text += " " + at
		}
		if !row.Time.IsZero() {
			text += ", " + ago(row.Time, q.now)
		}
		value := eventOfName + row.Name
		latest = append(latest, option{value, text, chosen == value})
		subject := matching.Subject{EventType: row.Cells[table.EventColumnType], ResourcePath: row.Cells[table.EventColumnResource]}
		if _, ok := subject.MayMatch(w); ok && newest == "" {
			newest = value
		}
	}
	for _, t := range sampleTypes() {
		samples = append(samples, option{sampleOfType + t, t, chosen == sampleOfType+t})
	}
	return latest, samples, newest
}

// preview renders the request that a Webhook would make for the event that was chosen, or
// else for the newest that it follows, or a sample of its first trigger. It reads that event.
func (q *request) preview(w *v1alpha1.Webhook, chosen, newest string) preview {
	name, isEvent := strings.CutPrefix(cmp.Or(chosen, newest), eventOfName)
	if isEvent {
		e := &v1alpha1.WebhookEvent{}
		err := q.cluster.client.Get(q.Context(), client.ObjectKey{Namespace: q.namespace, Name: name}, e)
		switch {
		case err == nil:
			return previewOf(w, e, q.session.options.SystemNamespace, q.now)
		case chosen != "" || !apierrors.IsNotFound(err):
			return preview{Missing: "There is no preview of this event: " + err.Error()}
		}
	}
	eventType, ok := strings.CutPrefix(chosen, sampleOfType)
	if !ok {
		eventType = firstType(w.Spec.Triggers)
	}
	return previewOf(w, sampleEvent(q.namespace, eventType, w.Spec.Scope), q.session.options.SystemNamespace, q.now)
}

// previewOf renders the request of an event as if it happened now and the Webhook was there
// and in order: neither when it was created nor its receiver is of interest in a form.
func previewOf(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, system string, now time.Time) preview {
	w, e = w.DeepCopy(), e.DeepCopy()
	w.CreationTimestamp, w.Status = metav1.Time{}, v1alpha1.WebhookStatus{}
	madeUp := w.UID == "" && w.Spec.WebhookID == 0
	if madeUp {
		w.Spec.WebhookID = 1
	}
	p := preview{Of: "A sample of " + e.Spec.EventType + ", which has not happened."}
	if !e.CreationTimestamp.IsZero() {
		p.Of = fmt.Sprintf("The event %s, created %s (%s).", e.Spec.EventType, ago(e.CreationTimestamp.Time, now), e.Name)
	} else {
		e.CreationTimestamp = metav1.NewTime(now)
	}
	r, err := insight.Render(w, e, system, now)
	if err != nil {
		return preview{Missing: "There is no preview: " + err.Error()}
	}
	p.Request = r
	// Its commands change a Webhook, and this is the form that does. What is wrong with an
	// expression stands beside its field.
	p.Parts, r.Parts = r.Parts, nil
	r.Help, r.Detail = "", ""
	if len(w.Spec.Triggers) == 0 {
		r.Message = "no trigger is ticked yet"
	}
	if w.Spec.URL == "" && w.Spec.URLSecretRef == nil {
		r.URL = "(no URL yet)"
	}
	if madeUp {
		r.Notes = append(r.Notes, "the webhookID in the body is made up: the webhook gets its own number once it is created")
	}
	var head strings.Builder
	for _, h := range r.Headers {
		fmt.Fprintf(&head, "%s: %s\n", h.Name, h.Value)
	}
	p.Head = strings.TrimSuffix(head.String(), "\n")
	if r.NoBody == nil {
		p.Text, p.Size = pretty(r.Body), count(len(r.Body), "byte", "bytes")
		p.Room = roomOf(w, r.Body)
	}
	if event, err := payload.Render(e, payload.WebhookID(w)); err == nil && string(event) != r.Body {
		p.Source = new(pretty(string(event)))
	}
	return p
}

// roomOf is a body as the room of a Webhook shows it; nil where it sends to none.
func roomOf(w *v1alpha1.Webhook, body string) *roomview.View {
	f := format.Of(w)
	if !f.Room {
		return nil
	}
	return new(roomview.Of(f.Name, []byte(body)))
}

// Said is what a preview says in a sentence, for those who do not see it change.
func (p preview) Said() string {
	switch {
	case p.Missing != "":
		return p.Missing
	case p.NoBody != nil && p.Outcome != insight.NotFollowed:
		return "Preview: " + p.NoBody.Message
	}
	return fmt.Sprintf("Preview: %s, %s", p.Outcome, cmp.Or(p.Reason, p.Size))
}
