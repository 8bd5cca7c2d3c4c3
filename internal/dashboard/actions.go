package dashboard

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// deletePage asks before a Webhook is deleted.
type deletePage struct {
	*v1alpha1.Webhook
	// Counted: it is known how many deliveries there are.
	Counted             bool
	Deliveries, Waiting int
}

// confirmDelete is the page that asks whether a Webhook is to be deleted.
func confirmDelete(q *request) (*view, error) {
	w, err := q.webhook()
	if err != nil {
		return nil, err
	}
	q.patient(partDeliveries)
	s := q.store.spark(w.Name)
	page := deletePage{
		Webhook: w, Counted: q.store.deliveriesSynced() && !q.store.isCut(partDeliveries),
		Deliveries: s.Succeeded + s.Failed + s.Waiting, Waiting: s.Waiting,
	}
	return &view{template: "delete", title: "Delete " + w.Name, tab: "webhooks", static: true, data: page}, nil
}

// webhook reads the Webhook that a request names, as it is now.
func (q *request) webhook() (*v1alpha1.Webhook, error) {
	w := &v1alpha1.Webhook{}
	if err := q.cluster.client.Get(q.Context(), q.key(), w); err != nil {
		return nil, err
	}
	return w, nil
}

func (q *request) key() client.ObjectKey {
	return client.ObjectKey{Namespace: q.namespace, Name: q.PathValue("name")}
}

// stamp is the value of an annotation that asks for something: when, and who.
func (q *request) stamp() string { return change.Request(q.now, q.cluster.user(q.Context())) }

// deleteWebhook deletes a Webhook, the very one that was shown.
func deleteWebhook(q *request) (string, *notice, error) {
	w, err := q.webhook()
	if err != nil {
		return "", nil, err
	}
	if uid := q.PostFormValue("uid"); uid != string(w.UID) {
		return "", nil, badRequest("The webhook " + w.Name + " was deleted and made anew meanwhile. Nothing was done.")
	}
	if err := change.Delete(q.Context(), q.cluster.client, w); err != nil {
		return "", nil, err
	}
	q.store.deleted(w)
	return link(q.namespace, "webhooks"), &notice{Text: "The webhook " + w.Name + " is deleted, and its deliveries with it."}, nil
}

// stateNotices say what becomes of events in a state.
var stateNotices = map[v1alpha1.WebhookState]string{
	v1alpha1.WebhookEnabled:  "%s is enabled: what waits is sent as it is due, and so is what comes.",
	v1alpha1.WebhookPaused:   "%s is paused: what comes is recorded and waits until it is resumed.",
	v1alpha1.WebhookDisabled: "%s is disabled: events pass by, and what waited is held until it is resumed.",
}

// setState pauses, resumes or disables a Webhook.
func setState(q *request) (string, *notice, error) {
	state := v1alpha1.WebhookState(q.PostFormValue("state"))
	said, ok := stateNotices[state]
	if !ok {
		return "", nil, badRequest(fmt.Sprintf("%q is no state of a webhook.", state))
	}
	w, err := q.webhook()
	if err != nil {
		return "", nil, err
	}
	if err := change.SetState(q.Context(), q.cluster.client, w, state); err != nil {
		return "", nil, err
	}
	q.store.written(w)
	return q.back(link(q.namespace, "webhooks", w.Name)), &notice{Text: fmt.Sprintf(said, w.Name)}, nil
}

// back is the page that a form was on, where the form says so.
func (q *request) back(to string) string {
	if from := q.PostFormValue("from"); strings.HasPrefix(from, link(q.namespace)+"/") {
		return from
	}
	return to
}

// testWebhook asks for a test delivery. The page of the Webhook shows what comes of it.
func testWebhook(q *request) (string, *notice, error) {
	key := q.key()
	if err := change.Test(q.Context(), q.cluster.client, key, q.stamp()); err != nil {
		return "", nil, err
	}
	return link(q.namespace, "webhooks", key.Name), nil, nil
}

// replayWebhook asks for what a Webhook has missed since a time, or stops that.
func replayWebhook(q *request) (string, *notice, error) {
	w, err := q.webhook()
	if err != nil {
		return "", nil, err
	}
	to := link(q.namespace, "webhooks", w.Name)
	if q.PostFormValue("stop") != "" {
		if err := change.StopReplay(q.Context(), q.cluster.client, q.key()); err != nil {
			return "", nil, err
		}
		return to, &notice{Text: "The replay is stopped. Deliveries that are stored already are sent."}, nil
	}
	since, err := table.Moment(q.PostFormValue("since"), q.now)
	if err != nil {
		return "", nil, badRequest("Since when? " + err.Error())
	}
	if _, err := change.Replay(q.Context(), q.cluster.client, w, since, q.now); err != nil {
		if _, ok := errors.AsType[*change.FutureError](err); ok {
			err = badRequest("That time is yet to come: a replay is of what has happened.")
		}
		return "", nil, err
	}
	return to, nil, nil
}

// resendOne asks for a delivery to be sent again.
func resendOne(q *request) (string, *notice, error) {
	key := q.key()
	if err := change.Resend(q.Context(), q.cluster.client, key, q.stamp()); err != nil {
		return "", nil, err
	}
	return link(q.namespace, "deliveries", key.Name), &notice{Text: "A resend is asked for. This page shows what comes of it."}, nil
}

// resendMany begins to send again those that are ticked, or all that failed of those that
// the page's filter leaves.
func resendMany(q *request) (string, *notice, error) {
	webhook := q.PathValue("name")
	to := q.back(link(q.namespace, "webhooks", webhook))
	names := q.PostForm["delivery"]
	if q.PostFormValue("failed") != "" {
		f := filterOf(q.PostForm)
		f.Result, f.before = string(v1alpha1.DeliveryFailed), ""
		query, err := f.query(q.namespace, webhook, q.now)
		if err != nil {
			return "", nil, err
		}
		names = nil
		begin := func() { names = nil }
		each := func(row *table.Row) { names = append(names, row.Name) }
		if _, err := q.cluster.tables.Each(q.Context(), query, begin, each); err != nil {
			return "", nil, err
		}
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) == 0 {
		return to, &notice{Bad: true, Text: "Nothing is sent again: no delivery is ticked, or none has failed."}, nil
	}
	if !q.session.jobs.begin(q, webhook, names) {
		return to, &notice{Text: "These are being sent again already."}, nil
	}
	return to, nil, nil
}

// stopJob ends what is still to be asked for.
func stopJob(q *request) (string, *notice, error) {
	webhook := q.session.jobs.stop(q.namespace, q.PathValue("job"))
	if webhook == "" {
		return "", nil, notFoundError("That has ended, and nothing is known of it any more.")
	}
	return link(q.namespace, "webhooks", webhook), nil, nil
}
