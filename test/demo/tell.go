package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"text/template"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// stepTimeout bounds what takes a second.
const stepTimeout = 30 * time.Second

// The tokens that the receivers expect.
const (
	diaryToken = "diary-4f1d2a90"
	smokeToken = "smoke-9c2e71b3"
	pagerToken = "pager-77aa03c5"
)

// tell tells the story, chapter by chapter.
func (t *teller) tell(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{
		t.webhooks, t.events, t.silence, t.failure, t.retry, t.mistakes, t.language, t.room, t.bridge, t.end,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) webhooks(ctx context.Context) error {
	t.chapter("1. Teams say what they want to be told")
	t.say("A Webhook follows the events of its own namespace; a receiver's token is in a Secret beside it.\n")
	for _, command := range []string{
		"kubectl create namespace music",
		"kubectl create secret generic everything -n music --from-literal=token=" + diaryToken,
		"kubectl create secret generic smoke-tests -n music --from-literal=token=" + smokeToken,
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	if err := t.apply(ctx, "webhooks.yaml"); err != nil {
		return err
	}
	if _, err := t.run(ctx, "kubectl wait --for=condition=Ready webhook --all -A --timeout=30s"); err != nil {
		return err
	}
	_, err := t.run(ctx, "kubectl get webhooks -A")
	return err
}

func (t *teller) events(ctx context.Context) error {
	t.chapter("2. Horizon says what happened")
	t.say("These are the nine types of events that its manual lists.\n")
	events, err := t.render("events.yaml")
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(events, "---\n")
	t.say("events.yaml begins with this one, which is the manual's example:")
	t.show(first)
	t.say("")
	if err := t.write("events.yaml", events); err != nil {
		return err
	}
	for _, command := range []string{
		"kubectl create -f events.yaml",
		"kubectl wait --for=condition=Delivered webhookevent --all -n music --timeout=30s",
		"kubectl get webhookevents -n music",
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	// What follows every namespace is nobody's to wait for in music.
	heard := t.audited(ctx, len(documented))

	if arrived := t.team.Arrivals("/everything"); len(arrived) > 0 {
		t.say("The first request, as it arrived:")
		t.show(arrived[0].String())
		t.say("")
	}
	t.checkDocumented()
	t.checkTriggers()
	t.checkThat(heard, "audit, in the system namespace, was told of all %d", len(documented))
	t.say("")
	if _, err := t.run(ctx, "kubectl get webhookdeliveries -n music --field-selector spec.webhookRef.name=smoke-tests"); err != nil {
		return err
	}
	return t.checkRecords(ctx)
}

// silence is about the most common question of all: why was I not told?
func (t *teller) silence(ctx context.Context) error {
	t.chapter("3. Why was nobody told?")
	if _, err := t.run(ctx, "kubectl create namespace books"); err != nil {
		return err
	}
	if err := t.apply(ctx, "silence.yaml"); err != nil {
		return err
	}
	for _, command := range []string{
		"kubectl wait --for=condition=Delivered webhookevent/horizon-10 -n books --timeout=30s",
		"kubectl horizon why horizon-10 -n books",
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	var event v1alpha1.WebhookEvent
	if err := t.client.Get(ctx, client.ObjectKey{Namespace: "books", Name: "horizon-10"}, &event); err != nil {
		return err
	}
	t.check(event.Status.Result == v1alpha1.EventUnmatched, "the event's result is %s", v1alpha1.EventUnmatched)
	for _, want := range []struct {
		reason       v1alpha1.UnmatchedReason
		webhook, why string
	}{
		{v1alpha1.UnmatchedTrigger, "releases", "it follows other types"},
		{v1alpha1.UnmatchedScope, "print-shop", "it follows another group"},
		{v1alpha1.UnmatchedDisabled, "on-holiday", "it is disabled"},
	} {
		t.check(slices.ContainsFunc(event.Status.Unmatched, func(u v1alpha1.Unmatched) bool {
			return u.Reason == want.reason && slices.Equal(u.Webhooks, []string{want.webhook})
		}), "%s was not told, and the event says why: %s", want.webhook, want.why)
	}
	// Nine events of music, and this one. (A Webhook there is nobody of this
	// namespace, so that the event does not count it.)
	t.checkThat(t.audited(ctx, len(documented)+1), "audit, which follows every namespace, heard of it all the same")
	return nil
}

func (t *teller) failure(ctx context.Context) error {
	t.chapter("4. A receiver is broken; its owner repairs it and has the delivery sent again")
	t.pager.Script("/page", receiver.Answer{
		Status: http.StatusServiceUnavailable,
		Header: http.Header{"Content-Type": {"application/json"}, "Server": {"pager/2.1"}},
		Body:   `{"error":"the pager's database is down"}`,
	})
	for _, command := range []string{
		"kubectl create namespace games",
		"kubectl create secret generic pager -n games --from-literal=token=" + pagerToken,
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	if err := t.apply(ctx, "failure.yaml"); err != nil {
		return err
	}
	for _, command := range []string{
		"kubectl wait --for=condition=Delivered=false webhookevent/horizon-11 -n games --timeout=30s",
		"kubectl horizon logs -n games --failed",
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	failed, err := t.delivery(ctx, "games", "pager")
	if err != nil {
		return err
	}
	told := t.toldOf(ctx, failed)
	if _, err := t.run(ctx, "kubectl get events -n games"); err != nil {
		return err
	}
	t.checkThat(told, "the failure is among the namespace's events")
	t.say("\nWhat was sent, and what was answered:\n")
	if err := t.showLog(ctx, failed); err != nil {
		return err
	}

	t.say("The pager's database is repaired, and somebody asks for the delivery once more:\n")
	t.pager.Script("/page", receiver.Answer{Status: http.StatusAccepted, Body: `{"paged":"whoever is on call"}`})
	for _, command := range []string{
		fmt.Sprintf("kubectl horizon resend %s -n games --wait", failed.Name),
		"kubectl horizon logs -n games",
		"kubectl wait --for=condition=Delivered webhookevent/horizon-11 -n games --timeout=30s",
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	return t.checkResent(ctx, failed)
}

// toldOf waits until a Kubernetes Event tells of a delivery.
func (t *teller) toldOf(ctx context.Context, d *v1alpha1.WebhookDelivery) error {
	return poll(ctx, func(ctx context.Context) (bool, error) {
		var list corev1.EventList
		err := t.client.List(ctx, &list, client.InNamespace(d.Namespace))
		return slices.ContainsFunc(list.Items, func(e corev1.Event) bool {
			return e.InvolvedObject.UID == d.UID && e.Type == corev1.EventTypeWarning
		}), err
	})
}

// showLog shows what Horizon's page shows of a delivery when it is opened.
func (t *teller) showLog(ctx context.Context, d *v1alpha1.WebhookDelivery) error {
	out, err := t.run(ctx, fmt.Sprintf("kubectl horizon log %s -n games", d.Name))
	if err != nil {
		return err
	}
	for _, part := range []struct{ title, says string }{
		{"request headers", "Content-Type: application/json;charset=utf-8"},
		{"request body", `"eventType": "clusters_rollbacked"`},
		{"response headers", "Server: pager/2.1"},
		{"response body", "the pager's database is down"},
	} {
		t.check(strings.Contains(out, part.says), "the log has the %s", part.title)
	}
	t.check(strings.Contains(out, "[redacted]") && !strings.Contains(out, pagerToken),
		"the token is not in the log, although the pager got it")
	t.check(len(t.pager.Arrivals("/page")) == 1, "with retry.limit 0, one attempt was made")
	t.say("")
	return nil
}

func (t *teller) checkResent(ctx context.Context, failed *v1alpha1.WebhookDelivery) error {
	sent := t.pager.Arrivals("/page")
	t.check(len(sent) == 2 && sent[0].WebhookID == sent[1].WebhookID && bytes.Equal(sent[0].Body, sent[1].Body),
		"the pager got the same request twice, with one webhook-id")
	d := &v1alpha1.WebhookDelivery{}
	if err := t.client.Get(ctx, client.ObjectKeyFromObject(failed), d); err != nil {
		return err
	}
	var history []string
	for _, a := range d.Status.History {
		history = append(history, fmt.Sprintf("%s %d", a.Cause, a.StatusCode))
	}
	t.check(slices.Equal(history, []string{"Resend 202", "Initial 503"}) && d.Status.Result == v1alpha1.DeliverySucceeded,
		"the record tells both attempts: %s", strings.Join(history, ", "))
	return nil
}

func (t *teller) retry(ctx context.Context) error {
	t.chapter("5. Most failures mend themselves")
	if err := t.chat.Down(); err != nil {
		return err
	}
	t.say("The chat server refuses connections. What cannot be delivered is tried again, and waits longer each time.\n")
	if err := t.apply(ctx, "retry.yaml"); err != nil {
		return err
	}
	waiting, err := t.delivery(ctx, "games", "chat")
	if err != nil {
		return err
	}
	if _, err := t.run(ctx, "kubectl get webhookdeliveries -n games -l horizoncd.io/webhook=chat"); err != nil {
		return err
	}
	t.check(waiting.Status.Result == v1alpha1.DeliveryWaiting, "the delivery waits for its next attempt")
	t.say("\nThe chat server is back.\n")
	if err := t.chat.Up(); err != nil {
		return err
	}
	for _, command := range []string{
		fmt.Sprintf("kubectl wait --for=condition=Delivered webhookdelivery/%s -n games --timeout=60s", waiting.Name),
		fmt.Sprintf(`kubectl get webhookdelivery %s -n games -o jsonpath='{range .status.history[*]}{.time}  {.cause}  {.statusCode}  {.error}{"\n"}{end}'`, waiting.Name),
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	t.check(len(t.chat.Arrivals("/rooms/chess")) == 1, "the message arrived once, by itself")
	return nil
}

func (t *teller) mistakes(ctx context.Context) error {
	t.chapter("6. Mistakes are told when they are made")
	for _, mistake := range []struct{ file, line, want string }{
		{"misspelt.yaml", "  triggers: [clusters_deploid]", "clusters_deployed"},
		{"relative.yaml", "  url: /hooks/horizon", "url must be absolute"},
	} {
		text, err := t.render(mistake.file)
		if err != nil {
			return err
		}
		if err := t.write(mistake.file, text); err != nil {
			return err
		}
		t.say("%s has the line", mistake.file)
		t.show(mistake.line)
		t.say("")
		out, err := t.refused(ctx, "kubectl apply -f "+mistake.file)
		if err != nil {
			return err
		}
		t.check(strings.Contains(out, mistake.want), "it is refused, and the message says what would be right")
		t.say("")
	}
	return nil
}

func (t *teller) end(ctx context.Context) error {
	t.chapter("10. A webhook that is deleted takes its records along")
	if _, err := t.run(ctx, "kubectl delete webhook smoke-tests -n music"); err != nil {
		return err
	}
	gone := poll(ctx, func(ctx context.Context) (bool, error) {
		list, err := t.deliveries(ctx, "music", "smoke-tests")
		return len(list) == 0, err
	})
	for _, command := range []string{
		"kubectl get webhookdeliveries -n music -l horizoncd.io/webhook=smoke-tests",
		"kubectl get webhooks -A",
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	t.checkThat(gone, "the records of smoke-tests are gone")
	left, err := t.deliveries(ctx, "music", "everything")
	t.check(len(left) == len(documented)+bridged, "the others are still there, such as the %d of everything", len(documented)+bridged)
	return err
}

// audited waits until audit was told n times.
func (t *teller) audited(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return t.team.WaitRequests(ctx, "/audit", n)
}

// apply shows a manifest and applies it.
func (t *teller) apply(ctx context.Context, name string) error {
	text, err := t.render(name)
	if err != nil {
		return err
	}
	t.say("%s:", name)
	t.show(text)
	t.say("")
	if err := t.write(name, text); err != nil {
		return err
	}
	_, err = t.run(ctx, "kubectl apply -f "+name)
	return err
}

// render fills the receivers' addresses and the time into a manifest.
func (t *teller) render(name string) (string, error) {
	tmpl, err := template.ParseFS(manifests, "manifests/"+name)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = tmpl.Execute(&text, map[string]string{
		"Team":   t.team.URL(""),
		"Secure": t.secure.URL(""),
		"Pager":  t.pager.URL(""),
		"Chat":   t.chat.URL(""),
		"Now":    time.Now().UTC().Format(time.RFC3339),
	})
	return text.String(), err
}

// delivery waits for the first delivery of a Webhook to be stored.
func (t *teller) delivery(ctx context.Context, namespace, webhook string) (*v1alpha1.WebhookDelivery, error) {
	var first *v1alpha1.WebhookDelivery
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		list, err := t.deliveries(ctx, namespace, webhook)
		if len(list) > 0 {
			first = &list[0]
		}
		return first != nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for the first delivery of %s: %w", webhook, err)
	}
	return first, nil
}

func (t *teller) deliveries(ctx context.Context, namespace, webhook string) ([]v1alpha1.WebhookDelivery, error) {
	var list v1alpha1.WebhookDeliveryList
	err := t.client.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelWebhook: webhook})
	return list.Items, err
}

// poll asks until the answer is yes. What cannot be asked is asked again.
func poll(ctx context.Context, ask wait.ConditionWithContextFunc) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		var ok bool
		ok, last = ask(ctx)
		return ok && last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}

// verify holds a request against Standard Webhooks' own verifier.
func verify(token string, a receiver.Arrival) error {
	verifier, err := standardwebhooks.NewWebhookRaw([]byte(token))
	if err != nil {
		return err
	}
	return verifier.Verify(a.Body, a.Header)
}
