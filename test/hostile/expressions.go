package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/validation"
	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// toldMost is how many bytes a condition or an error may have.
const toldMost = 32 << 10

// hostileExpression is one that is being played.
type hostileExpression struct {
	inputs.Expression
	name, field string
	webhook     *v1alpha1.Webhook
	event       string
	// refused is what the API server said.
	refused error
	// broken is what validation says.
	broken *validation.Problem
}

// expressionGroup has what the plays of expressions share.
type expressionGroup struct {
	*flood
	namespace string
	all       []*hostileExpression
	extras    map[string]string // by the name of their event
}

// playExpressions lets tenants compute: filters, templates and rules that want more time
// and memory than there is, all at once, while something is delivered in another namespace.
func playExpressions(ctx context.Context, t *session) (err error) {
	f, err := t.newFlood(ctx, receiver.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.receiver.Close()) }()
	before := f.worst
	watch, err := t.watchMemory(ctx)
	if err != nil {
		return err
	}
	for _, field := range []string{"filter", "template", "rule"} {
		g, err := f.newExpressionGroup(ctx, field)
		if err != nil {
			return err
		}
		f.worst = 0
		if err := f.beside(ctx, g.play); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		var problems []string
		if f.worst > neighbourMost {
			problems = append(problems, fmt.Sprintf("a delivery in another namespace took %v, more than %v; %v before", f.worst, neighbourMost, before))
		}
		t.Say("expressions: %d of the kind %s: in another namespace, a delivery took %v at most; %v before",
			len(g.all), field, f.worst.Round(time.Millisecond), before.Round(time.Millisecond))
		t.judge("neighbour of "+field, problems)
		if err := g.judgeAll(ctx); err != nil {
			return err
		}
	}
	if err := f.receiver.Close(); err != nil { // so that no connection of it is left
		return err
	}
	problems, err := watch(ctx)
	t.judge("memory", problems)
	return err
}

// newExpressionGroup makes the Webhooks of a kind of expressions up.
func (f *flood) newExpressionGroup(ctx context.Context, field string) (*expressionGroup, error) {
	namespace, err := f.session.namespace(ctx, field)
	if err != nil {
		return nil, err
	}
	g := &expressionGroup{flood: f, namespace: namespace, extras: map[string]string{}}
	events := map[string]string{}
	for i, input := range inputs.Expressions() {
		if (field == "rule") != (input.Answer != "") {
			continue
		}
		if events[input.Extra] == "" {
			name := fmt.Sprintf("horizon-%d", len(events)+1)
			events[input.Extra], g.extras[name] = name, input.Extra
		}
		x := &hostileExpression{Expression: input, name: fmt.Sprintf("%s-%03d", field, i), field: field, event: events[input.Extra]}
		x.webhook = webhook(namespace, x.name, f.receiver.URL("/"+x.name))
		x.webhook.Spec.Scope = "/" + x.event
		switch field {
		case "filter":
			x.webhook.Spec.Filter = input.Text + " == {}"
		case "template":
			x.webhook.Spec.Payload = &v1alpha1.PayloadSettings{Template: input.Text}
		case "rule":
			x.webhook.Spec.Response = &v1alpha1.ResponseRules{AcceptIf: input.Text, GiveUpIf: input.GiveUpIf}
			f.receiver.Script("/"+x.name, receiver.Answer{Body: input.Answer})
		}
		if problems := validation.Expressions(x.webhook); len(problems) > 0 {
			x.broken = &problems[0]
		}
		g.all = append(g.all, x)
	}
	return g, nil
}

// play applies all, lets the events come, and waits until each has a verdict.
func (g *expressionGroup) play(ctx context.Context) error {
	if err := each(ctx, len(g.all), func(ctx context.Context, i int) error {
		x := g.all[i]
		err := g.client.Create(ctx, x.webhook)
		if apierrors.IsInvalid(err) {
			x.refused, err = err, nil
		}
		return err
	}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(g.extras)) {
		if err := g.client.Create(ctx, &v1alpha1.WebhookEvent{
			ObjectMeta: metav1.ObjectMeta{Namespace: g.namespace, Name: name},
			Spec: v1alpha1.WebhookEventSpec{
				EventType: "clusters_deployed", ResourcePath: "/" + name, Extra: g.extras[name],
				Cluster: &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "web", Env: "online"},
				User:    &v1alpha1.UserInfo{ID: new(int64(1)), Name: strings.Repeat("ü", 100), Email: "test@noreply.com"},
			},
		}); err != nil {
			return err
		}
	}
	return g.until(ctx, "a verdict on each", func(ctx context.Context) (bool, error) {
		v, err := g.look(ctx)
		if err != nil {
			return false, err
		}
		for _, x := range g.all {
			if !v.isSettled(x) {
				return false, nil
			}
		}
		return true, nil
	})
}

// verdicts is what is stored.
type verdicts struct {
	webhooks  map[string]*v1alpha1.Webhook
	records   map[string]*v1alpha1.WebhookDelivery // by Webhook
	unmatched map[string]v1alpha1.Unmatched        // by Webhook, in the event that is in its scope
	events    map[string]*v1alpha1.WebhookEvent
}

func (g *expressionGroup) look(ctx context.Context) (*verdicts, error) {
	var webhooks v1alpha1.WebhookList
	var records v1alpha1.WebhookDeliveryList
	var events v1alpha1.WebhookEventList
	in := client.InNamespace(g.namespace)
	if err := errors.Join(g.client.List(ctx, &webhooks, in), g.client.List(ctx, &records, in), g.client.List(ctx, &events, in)); err != nil {
		return nil, err
	}
	v := &verdicts{
		webhooks: map[string]*v1alpha1.Webhook{}, records: map[string]*v1alpha1.WebhookDelivery{},
		unmatched: map[string]v1alpha1.Unmatched{}, events: map[string]*v1alpha1.WebhookEvent{},
	}
	for i := range webhooks.Items {
		v.webhooks[webhooks.Items[i].Name] = &webhooks.Items[i]
	}
	for i := range records.Items {
		v.records[records.Items[i].Spec.WebhookRef.Name] = &records.Items[i]
	}
	for i := range events.Items {
		e := &events.Items[i]
		v.events[e.Name] = e
		for _, u := range e.Status.Unmatched {
			if u.Reason == v1alpha1.UnmatchedScope {
				continue
			}
			for _, name := range u.Webhooks {
				v.unmatched[name] = u
			}
		}
	}
	return v, nil
}

// isSettled tells whether all is known that there will be.
func (v *verdicts) isSettled(x *hostileExpression) bool {
	if x.refused != nil {
		return true
	}
	w, d, e := v.webhooks[x.name], v.records[x.name], v.events[x.event]
	if w == nil || e == nil || !meta.IsStatusConditionTrue(e.Status.Conditions, v1alpha1.ConditionDispatched) {
		return false
	}
	if x.broken != nil && !meta.IsStatusConditionFalse(w.Status.Conditions, v1alpha1.ConditionReady) {
		return false
	}
	_, unmatched := v.unmatched[x.name]
	return unmatched || d != nil && (x.broken != nil || d.Status.Result != v1alpha1.DeliveryWaiting)
}

func (g *expressionGroup) judgeAll(ctx context.Context) error {
	v, err := g.look(ctx)
	if err != nil {
		return err
	}
	for _, x := range g.all {
		name := x.field + " " + x.Name
		switch {
		case x.refused != nil:
			g.judge(name, words("the refusal", x.refused.Error()))
		case x.broken != nil:
			g.judge(name, g.ofMistake(x, v))
		case x.field == "filter":
			g.judge(name, ofFilter(x, v))
		case v.records[x.name] == nil:
			g.judge(name, []string{"there is no record"})
		case x.field == "template":
			g.judge(name, g.ofTemplate(x, v.records[x.name]))
		default:
			g.judge(name, ofRule(x, v.records[x.name]))
		}
	}
	return nil
}

// words are what is wrong with something that is to tell a person why.
func words(what, text string) []string {
	unprintable := strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })
	if text == "" || len(text) > toldMost || unprintable {
		return []string{fmt.Sprintf("%s is not for people (%d bytes): %.200q", what, len(text), text)}
	}
	return nil
}

// ofMistake judges what does not compile: the Webhook says so, with a caret, and nothing
// is sent.
func (g *expressionGroup) ofMistake(x *hostileExpression, v *verdicts) []string {
	ready := meta.FindStatusCondition(v.webhooks[x.name].Status.Conditions, v1alpha1.ConditionReady)
	problems := words("the condition Ready", ready.Message)
	if ready.Reason != x.broken.Reason || ready.Message != x.broken.Message() || !strings.HasSuffix(strings.TrimSpace(ready.Message), "^") && !strings.Contains(ready.Message, "^\n") {
		problems = append(problems, fmt.Sprintf("Ready is %s, %q; want %s, %q", ready.Reason, ready.Message, x.broken.Reason, x.broken.Message()))
	}
	if n := g.receiver.Tally("/" + x.name).Requests; n > 0 {
		problems = append(problems, fmt.Sprintf("%d requests", n))
	}
	if u := v.unmatched[x.name]; x.field == "filter" && (u.Reason != v1alpha1.UnmatchedFilterInvalid || u.Message == "") {
		problems = append(problems, fmt.Sprintf("the event does not say why: %+v", u))
	}
	return problems
}

// ofFilter judges what compiles. Where it fails, event and Webhook say so.
func ofFilter(x *hostileExpression, v *verdicts) []string {
	u, unmatched := v.unmatched[x.name]
	if !unmatched || u.Reason == v1alpha1.UnmatchedFilter {
		return nil
	}
	problems := words("the event's message", u.Message)
	if u.Reason != v1alpha1.UnmatchedFilterError {
		problems = append(problems, fmt.Sprintf("the reason is %s", u.Reason))
	}
	failing := meta.FindStatusCondition(v.webhooks[x.name].Status.Conditions, v1alpha1.ConditionFilterFailing)
	if failing == nil || failing.Status != metav1.ConditionTrue || !strings.Contains(failing.Message, x.event) {
		problems = append(problems, fmt.Sprintf("FilterFailing is %+v", failing))
	} else {
		problems = append(problems, words("the condition FilterFailing", failing.Message)...)
	}
	return problems
}

// ofTemplate judges what compiles: there is a body within the bounds, or a reason.
func (g *expressionGroup) ofTemplate(x *hostileExpression, d *v1alpha1.WebhookDelivery) []string {
	delivered := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
	arrived := g.receiver.Arrivals("/" + x.name)
	if d.Status.Result == v1alpha1.DeliveryFailed {
		problems := words("the condition Delivered", delivered.Message)
		if delivered.Reason != v1alpha1.ReasonPayloadError || len(arrived) > 0 {
			problems = append(problems, fmt.Sprintf("it is %s after %d requests: %s", delivered.Reason, len(arrived), delivered.Message))
		}
		if x.Sent {
			problems = append(problems, "it is to be sent")
		}
		return problems
	}
	if len(arrived) != 1 || d.Status.Request == nil {
		return []string{fmt.Sprintf("%d requests, of which the record has %+v", len(arrived), d.Status.Request)}
	}
	var problems []string
	body, kept := arrived[0].Body, d.Status.Request
	if len(body) > expression.MaxBody || !json.Valid(body) {
		problems = append(problems, fmt.Sprintf("%d bytes that begin with %.100q", len(body), body))
	}
	if len(kept.Body) > sending.MaxBody || kept.BodyTruncated != (len(body) > sending.MaxBody) || !kept.BodyTruncated && kept.Body != string(body) {
		problems = append(problems, fmt.Sprintf("the record keeps %d of %d bytes, truncated: %v", len(kept.Body), len(body), kept.BodyTruncated))
	}
	return problems
}

// ofRule judges what an answer came to. Where the rule fails, it is not accepted, and the
// record says why.
func ofRule(x *hostileExpression, d *v1alpha1.WebhookDelivery) []string {
	delivered := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
	var problems []string
	if delivered.Reason != x.Want {
		problems = append(problems, fmt.Sprintf("it is %s, want %s: %s", delivered.Reason, x.Want, delivered.Message))
	}
	if x.Want == v1alpha1.ReasonAccepted {
		return problems
	}
	if len(d.Status.History) == 0 {
		return append(problems, "no attempt")
	}
	told := d.Status.History[0].Error
	if !strings.HasPrefix(told, "not accepted: ") || len(told) > sending.MaxError {
		problems = append(problems, fmt.Sprintf("the attempt says %q", told))
	}
	return append(problems, words("the attempt", told)...)
}
