package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

func newShow(p *plugin) *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:        "show WEBHOOK",
		SuggestFor: []string{"describe", "status"},
		GroupID:    groupWebhooks,
		Short:      "Show a webhook: what it does, and how it fares",
		Long: `Show all about one webhook: where it sends, what it follows, whether it can be sent to and what its receiver
answers, how many deliveries there are, and what was sent last. The operator writes these numbers, and they are up to ten
seconds old. Of Secrets, their names are shown, never what is in them.`,
		Example: `  kubectl horizon show smoke-tests

  # As kubectl get prints it
  kubectl horizon show smoke-tests -o yaml`,
		Args:              one("a webhook"),
		ValidArgsFunction: p.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.show(cmd.Context(), &o, args[0])
		},
	}
	o.addTo(cmd, false)
	return cmd
}

func (p *plugin) show(ctx context.Context, o *output, name string) error {
	if err := o.checkFormat(); err != nil {
		return err
	}
	object, err := p.getWebhook(ctx, name)
	if err != nil {
		return err
	}
	if !o.own() {
		return o.print(p, object)
	}
	w, err := webhookFrom(object)
	if err != nil {
		return err
	}
	return p.printWebhook(w)
}

// getWebhook reads a Webhook of the namespace, as the API server has it.
func (p *plugin) getWebhook(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	namespace, err := p.namespace()
	if err != nil {
		return nil, err
	}
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	object.SetNamespace(namespace)
	object.SetName(name)
	if err := c.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return nil, absent("reading", kindWebhook, client.ObjectKeyFromObject(object), err)
	}
	return object, nil
}

// facts are lines of a name and a value, the values one below the other.
type facts struct {
	rows  []fact
	width int
}

// fact is a line of a name and a value. All is empty between two groups.
type fact struct {
	name, value string
	// lines are values of lines of their own, which are not wrapped.
	lines string
}

// add adds a line. What somebody else has written must be printable already.
func (f *facts) add(name, format string, args ...any) {
	f.rows = append(f.rows, fact{name: name, value: fmt.Sprintf(format, args...)})
	f.width = max(f.width, cellWidth(name))
}

// text adds what somebody has written, as it stands there.
func (f *facts) text(name, text string) {
	f.rows = append(f.rows, fact{name: name, lines: printable(strings.TrimRight(text, "\n"))})
	f.width = max(f.width, cellWidth(name))
}

// section begins a new group of lines.
func (f *facts) section() { f.rows = append(f.rows, fact{}) }

// print writes the lines; values that are wider than the terminal go on below.
func (f *facts) print(out io.Writer, terminal int) error {
	var b strings.Builder
	for _, row := range f.rows {
		if row == (fact{}) {
			b.WriteByte('\n')
			continue
		}
		indent := f.width + 3
		name := row.name + ":"
		if row.name == "" {
			name = ""
		}
		lines := wrap(row.value, terminal-indent)
		if row.lines != "" {
			lines = strings.Split(row.lines, "\n")
		}
		for i, line := range lines {
			if i > 0 {
				name = ""
			}
			text := name + strings.Repeat(" ", indent-cellWidth(name)) + line
			b.WriteString(strings.TrimRight(text, " ") + "\n")
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printWebhook prints all about a Webhook, and what helps where something is wrong.
func (p *plugin) printWebhook(w *v1alpha1.Webhook) error {
	f := &facts{}
	f.add("Webhook", "%s in namespace %s", w.Name, w.Namespace)
	if w.Spec.Description != "" {
		f.add("Description", "%s", oneLine(w.Spec.Description))
	}
	f.section()
	p.addReceiver(f, &w.Spec)
	f.section()
	p.addWanted(f, w)
	f.section()
	p.addHealth(f, w)
	for _, finding := range insight.OfWebhook(w, p.now()) {
		if finding.Help != "" {
			f.add("Help", "%s", oneLine(finding.Help))
		}
	}
	f.section()
	f.add("Logs", "`kubectl horizon logs %s -n %s`", w.Name, w.Namespace)
	f.add("Why", "`kubectl horizon why webhook/%s -n %s`", w.Name, w.Namespace)
	return f.print(p.Out, p.width)
}

// addReceiver says where a Webhook sends, and how it proves who sends.
func (p *plugin) addReceiver(f *facts, spec *v1alpha1.WebhookSpec) {
	if ref := spec.URLSecretRef; ref != nil {
		f.add("URL", "from Secret %s, key %s", oneLine(ref.Name), oneLine(ref.Key))
	} else {
		f.add("URL", "%s", dash(oneLine(spec.URL)))
	}
	switch {
	case isPlain(spec.URL):
		f.add("SSL verify", "without effect: the URL begins with http://, and nothing is encrypted")
	case ptr.Deref(spec.SSLVerifyEnabled, true):
		f.add("SSL verify", "yes")
	default:
		f.add("SSL verify", "no: whoever is in between can read and change requests")
	}
	if tls := spec.TLS; tls != nil {
		if ref := tls.CASecretRef; ref != nil {
			f.add("Authorities", "those of Secret %s, key %s", oneLine(ref.Name), oneLine(ref.Key))
		}
		if ref := tls.CAConfigMapRef; ref != nil {
			f.add("Authorities", "those of ConfigMap %s, key %s", oneLine(ref.Name), oneLine(ref.Key))
		}
		if ref := tls.ClientCertSecretRef; ref != nil {
			f.add("Client certificate", "from Secret %s", oneLine(ref.Name))
		}
	}
	w := &v1alpha1.Webhook{Spec: *spec}
	switch token, key := spec.SecretRef, spec.SigningSecretRef; {
	case format.Of(w).Room && token == nil:
		f.add("Secret", "none; requests are %s", insight.SignedBy(w))
	case format.Of(w).Room:
		f.add("Secret", "Secret %s, key %s: requests are %s, and it is never sent", oneLine(token.Name), oneLine(token.Key), insight.SignedBy(w))
	case token == nil && key == nil:
		f.add("Secret", "none: requests carry no token and are not signed")
	case token == nil:
		f.add("Secret", "none: requests carry no token")
	case key == nil:
		f.add("Secret", "Secret %s, key %s: sent as a token, and signs requests", oneLine(token.Name), oneLine(token.Key))
	default:
		f.add("Secret", "Secret %s, key %s: sent as a token", oneLine(token.Name), oneLine(token.Key))
	}
	if key := spec.SigningSecretRef; key != nil {
		f.add("Signing secret", "Secret %s, key %s: signs requests, and is never sent", oneLine(key.Name), oneLine(key.Key))
	}
}

// isPlain tells whether a URL is sent to without TLS.
func isPlain(url string) bool { return len(url) >= 5 && strings.EqualFold(url[:5], "http:") }

// addWanted says which events a Webhook follows, and how it goes about failures.
func (p *plugin) addWanted(f *facts, w *v1alpha1.Webhook) {
	spec := &w.Spec
	f.add("Triggers", "%s", oneLine(strings.ReplaceAll(joinTriggers(spec.Triggers), ",", ", ")))
	if spec.Scope == "" {
		f.add("Scope", "everything")
	} else {
		f.add("Scope", "%s, and what is below it", oneLine(spec.Scope))
	}
	if spec.Filter != "" {
		f.text("Filter", spec.Filter)
	}
	if body := spec.Payload; body != nil {
		f.add("Format", "%s", dash(oneLine(string(body.Format))))
		if body.Language != "" && format.Of(w).Room {
			f.add("Language", "%s", oneLine(string(body.Language)))
		}
		if body.Template != "" {
			f.text("Template", body.Template)
		}
	}
	if rules := spec.Response; rules != nil {
		if rules.AcceptIf != "" {
			f.text("Accept if", rules.AcceptIf)
		}
		if rules.GiveUpIf != "" {
			f.text("Give up if", rules.GiveUpIf)
		}
	}
	switch spec.State {
	case v1alpha1.WebhookPaused:
		f.add("State", "Paused: deliveries are recorded and wait")
	case v1alpha1.WebhookDisabled:
		f.add("State", "Disabled: events pass by")
	default:
		f.add("State", "%s", dash(string(spec.State)))
	}
	if id := cmp.Or(spec.WebhookID, w.Status.WebhookID); id != 0 {
		f.add("Webhook ID", "%d", id)
	}
	if limit := insight.RateLimitOf(w); limit != "" {
		f.add("Rate limit", "%s", limit)
	}
	f.add("Requests", "%d at once, each for %s at most", spec.MaxInFlight, seconds(spec.TimeoutSeconds))
	if retry := spec.Retry; ptr.Deref(retry.Limit, 0) == 0 {
		f.add("Retries", "none: only a person sends again")
	} else {
		f.add("Retries", "%d, the first after %s, each after twice as long, up to %s; given up after %s",
			*retry.Limit, seconds(retry.MinBackoffSeconds), seconds(retry.MaxBackoffSeconds), seconds(retry.GiveUpAfterSeconds))
	}
	f.add("Retention", "%s, and the latest %s",
		seconds(spec.Retention.TTLSecondsAfterFinished), count(int(ptr.Deref(spec.Retention.Limit, 0)), "delivery", "deliveries"))
	f.add("Age", "%s", age(w.CreationTimestamp.Time, p.now()))
}

// seconds writes a number of seconds as people say it.
func seconds(n int32) string { return duration.HumanDuration(time.Duration(n) * time.Second) }

// addHealth says how a Webhook fares, by what the operator wrote.
func (p *plugin) addHealth(f *facts, w *v1alpha1.Webhook) {
	status := &w.Status
	switch {
	case !w.DeletionTimestamp.IsZero():
		f.add("Ready", "no: it is being deleted")
	case status.ObservedGeneration < 0:
		f.add("Ready", "not known: the operator has not seen it yet")
	default:
		p.addCondition(f, w, "Ready", v1alpha1.ConditionReady)
	}
	p.addCondition(f, w, "Healthy", v1alpha1.ConditionHealthy)
	if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionOverflowing); c != nil && c.Status == metav1.ConditionTrue {
		f.add("Overflowing", "yes: %s", oneLine(c.Message))
	}
	if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionRateLimited); c != nil && c.Status == metav1.ConditionTrue {
		f.add("Rate-limited", "yes, since %s ago: %s", age(c.LastTransitionTime.Time, p.now()), oneLine(c.Message))
	}
	if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionFilterFailing); c != nil && c.Status == metav1.ConditionTrue {
		f.add("Filter failing", "yes, since %s ago: %s", age(c.LastTransitionTime.Time, p.now()), oneLine(c.Message))
	}
	if until := status.RestUntil; until.After(p.now()) {
		f.add("Rests until", "%s, %s from now", until.UTC().Format(time.RFC3339), duration.HumanDuration(until.Sub(p.now())))
	}
	n := status.Deliveries
	f.add("Deliveries", "%d waiting, %d succeeded, %d failed", n.Waiting, n.Succeeded, n.Failed)
	last := status.LastDelivery
	if last == nil {
		f.add("Last", "nothing was sent yet")
		return
	}
	answer := "no answer"
	if last.StatusCode != 0 {
		answer = "answered " + strconv.Itoa(int(last.StatusCode))
	}
	f.add("Last", "%s ago: %s, %s; `kubectl horizon log %s -n %s`",
		age(last.Time.Time, p.now()), last.Result, answer, oneLine(last.Name), w.Namespace)
}

// addCondition says what a condition says.
func (p *plugin) addCondition(f *facts, w *v1alpha1.Webhook, title, conditionType string) {
	c := meta.FindStatusCondition(w.Status.Conditions, conditionType)
	if c == nil {
		f.add(title, "not known yet")
		return
	}
	word, ok := map[metav1.ConditionStatus]string{metav1.ConditionTrue: "yes", metav1.ConditionFalse: "no"}[c.Status]
	if !ok {
		word = "not known"
	}
	message, detail := insight.Detailed(c.Message)
	text := fmt.Sprintf("%s, for %s: %s (%s)", word, age(c.LastTransitionTime.Time, p.now()), oneLine(message), oneLine(c.Reason))
	switch {
	case conditionType == v1alpha1.ConditionReady && c.Status == metav1.ConditionFalse && isStalled(w):
		text += "; it has been so for a while: somebody has to change something"
	case conditionType == v1alpha1.ConditionReady && w.Status.ObservedGeneration != w.Generation:
		text += "; the operator has not seen the latest edit yet"
	}
	f.add(title, "%s", text)
	if detail != "" {
		f.text("", detail)
	}
}

// isStalled tells whether a Webhook got stuck.
func isStalled(w *v1alpha1.Webhook) bool {
	return slices.ContainsFunc(w.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue
	})
}
