package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// language is about what teams say in CEL: which events, and how the body looks.
func (t *teller) language(ctx context.Context) error {
	t.chapter("7. Only some events, and another body")
	t.say("What a Webhook follows and what it sends can be said in CEL. For brokers there is a format.\n")
	if _, err := t.run(ctx, "kubectl create namespace films"); err != nil {
		return err
	}
	if err := t.apply(ctx, "filter.yaml"); err != nil {
		return err
	}
	if err := t.filtered(ctx); err != nil {
		return err
	}
	if err := t.asCloudEvent(ctx); err != nil {
		return err
	}
	return t.mended(ctx)
}

// filtered shows why an event passed a Webhook by.
func (t *teller) filtered(ctx context.Context) error {
	for _, command := range []string{
		"kubectl wait --for=condition=Delivered webhookevent/horizon-13 -n films --timeout=30s",
		"kubectl horizon why horizon-13 -n films",
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	var event v1alpha1.WebhookEvent
	if err := t.client.Get(ctx, client.ObjectKey{Namespace: "films", Name: "horizon-13"}, &event); err != nil {
		return err
	}
	t.check(slices.ContainsFunc(event.Status.Unmatched, func(u v1alpha1.Unmatched) bool {
		return u.Reason == v1alpha1.UnmatchedFilter && slices.Equal(u.Webhooks, []string{"ops-room"})
	}), "ops-room was not told, and the event says why: %s", v1alpha1.UnmatchedFilter)
	return nil
}

// asCloudEvent shows what the broker got.
func (t *teller) asCloudEvent(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := t.team.WaitRequests(waiting, "/broker", 1); err != nil {
		return err
	}
	arrived := t.team.Arrivals("/broker")[0]
	t.say("\nThe broker got a CloudEvent:")
	t.show(arrived.String())
	t.say("")
	var ce struct {
		ID, Type, Subject string
		Data              json.RawMessage
	}
	err := json.Unmarshal(arrived.Body, &ce)
	if err == nil && (arrived.Header.Get("Content-Type") != "application/cloudevents+json" || ce.ID != arrived.WebhookID ||
		ce.Type != "io.horizoncd.clusters_deployed" || ce.Subject != "/films/studio/cut/cut-beta" || !strings.Contains(string(ce.Data), `"eventID":13,`)) {
		err = errors.New("it is another one")
	}
	t.checkThat(err, "it is of the type io.horizoncd.clusters_deployed, and Horizon's body is its data")
	return nil
}

// mended shows a template with a mistake, and what waits until it is mended.
func (t *teller) mended(ctx context.Context) error {
	t.say("\nNow ops-room gets a text of its own, with a name misspelt, and a cluster is deployed:\n")
	if err := t.apply(ctx, "template.yaml"); err != nil {
		return err
	}
	event, err := t.render("release.yaml")
	if err != nil {
		return err
	}
	if err := t.write("release.yaml", event); err != nil {
		return err
	}
	for _, command := range []string{
		"kubectl create -f release.yaml",
		"kubectl wait --for=condition=Ready=false webhook/ops-room -n films --timeout=30s",
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	out, err := t.run(ctx, `kubectl get webhook ops-room -n films -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}{"\n"}'`)
	if err != nil {
		return err
	}
	t.check(strings.Contains(out, "spec.payload.template") && strings.Contains(out, "'nme'") && strings.Contains(out, "...^"),
		"the webhook says what is wrong, and where")
	waiting, err := t.delivery(ctx, "films", "ops-room")
	if err != nil {
		return err
	}
	t.check(waiting.Status.Result == v1alpha1.DeliveryWaiting && len(t.team.Arrivals("/ops-room")) == 0, "the delivery waits, and nothing was sent")

	t.say("\nlint would have said so before it was applied:\n")
	out, err = t.refused(ctx, "kubectl horizon lint --offline -f template.yaml")
	if err != nil {
		return err
	}
	t.check(strings.Contains(out, "'nme'"), "lint names the field, too")

	t.say("\nThe name is put right, and what waited arrives:\n")
	for _, command := range []string{
		"sed s/nme/name/ template.yaml | kubectl apply -f -",
		fmt.Sprintf("kubectl wait --for=condition=Delivered webhookdelivery/%s -n films --timeout=30s", waiting.Name),
		fmt.Sprintf("kubectl horizon log %s -n films --body request", waiting.Name),
	} {
		if out, err = t.run(ctx, command); err != nil {
			return err
		}
	}
	const want = `{"msgtype":"text","text":{"content":"cut-prod is out, by test"}}`
	arrived := t.team.Arrivals("/ops-room")
	t.check(len(arrived) == 1 && string(arrived[0].Body) == want && arrived[0].Header.Get("Content-Type") == contentType,
		"ops-room got it, once, in the words of its template")
	t.check(strings.TrimSpace(out) == want, "and the record has what was sent")
	return nil
}
