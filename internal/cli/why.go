package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

func newWhy(p *plugin) *cobra.Command {
	var webhook, output string
	cmd := &cobra.Command{
		Use:     "why EVENT|WEBHOOK|DELIVERY",
		Short:   "Say why something was or was not sent",
		GroupID: groupTry,
		Long: `Say why something was or was not sent.

Of an event: what became of it at each Webhook of the namespace, and of the operator's own namespace where you may
read that: delivered, waiting for what, failed how, or why it was not followed. Of a Webhook: whether it is ready and
healthy, what waits for it and why. Of a delivery: what became of it.

Where a name is that of more than one of these, say which: event/NAME, webhook/NAME or delivery/NAME.`,
		Example: `  # Why did nothing arrive?
  kubectl horizon why horizon-78402

  # At one Webhook
  kubectl horizon why horizon-78402 --webhook smoke-tests

  # What is wrong with a Webhook, and what waits for it?
  kubectl horizon why smoke-tests`,
		Args:              one("an event, a webhook or a delivery"),
		ValidArgsFunction: p.completeWhy,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("output", output, "", "json", "yaml"); err != nil {
				return err
			}
			return p.why(cmd.Context(), args[0], webhook, output)
		},
	}
	cmd.Flags().StringVar(&webhook, "webhook", "", "of an event: ask about this Webhook only")
	addAnswerOutput(cmd, &output)
	_ = cmd.RegisterFlagCompletionFunc("webhook", asFlag(p.completeWebhooks))
	return cmd
}

// addAnswerOutput adds -o to a command whose answer is no object of the cluster.
func addAnswerOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "", "print the answer as json or yaml")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// asFlag completes a flag as the first argument, whatever arguments there are.
func asFlag(complete completion) completion {
	return func(cmd *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return complete(cmd, nil, toComplete)
	}
}

func (p *plugin) completeWhy(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	events, directive := p.completeEvents(cmd, args, toComplete)
	webhooks, _ := p.completeWebhooks(cmd, args, toComplete)
	return append(webhooks, events...), directive
}

func (p *plugin) why(ctx context.Context, arg, webhook, output string) error {
	namespace, err := p.namespace()
	if err != nil {
		return err
	}
	kind, name, err := p.subject(ctx, namespace, arg)
	if err != nil {
		return err
	}
	if webhook != "" && kind != kindEvent {
		return usagef("--webhook is for events, and %s is a %s", name, kind)
	}
	if webhook, err = nameOf(webhook, kindWebhook); err != nil {
		return err
	}
	reader, err := p.reader()
	if err != nil {
		return err
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	switch kind {
	case kindWebhook:
		answer, err := reader.Webhook(ctx, key)
		if apierrors.IsNotFound(err) {
			err = absent("reading", kind, key, err)
		}
		return p.tell(answer, output, err, func(t *teller) { tellWebhook(t, answer) })
	case kindDelivery:
		answer, err := reader.Delivery(ctx, key)
		if apierrors.IsNotFound(err) {
			err = absent("reading", kind, key, err)
		}
		return p.tell(answer, output, err, func(t *teller) { tellDelivery(t, answer) })
	default:
		answer, err := reader.Event(ctx, key, webhook)
		if apierrors.IsNotFound(err) && !unknownResource(err) && name == arg {
			return fmt.Errorf("there is no event, webhook or delivery %s in the namespace %s that you may read", name, namespace)
		}
		if apierrors.IsNotFound(err) {
			err = absent("reading", kind, key, err)
		}
		return p.tell(answer, output, err, func(t *teller) { tellEvent(t, answer) })
	}
}

// subject tells what an argument is: by the kind before its slash, or else by what there
// is. What nobody finds counts as an event: records may tell of one that is gone.
func (p *plugin) subject(ctx context.Context, namespace, arg string) (kind, name string, _ error) {
	if strings.Contains(arg, "/") {
		kind, name := kindAndName(arg)
		if kind == "" || name == "" {
			return "", "", usagef("%q is neither event/NAME nor webhook/NAME nor delivery/NAME", arg)
		}
		return kind, name, nil
	}
	c, err := p.client()
	if err != nil {
		return "", "", err
	}
	var found []string
	for _, kind := range []string{kindEvent, kindWebhook, kindDelivery} {
		o := &metav1.PartialObjectMetadata{}
		o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(map[string]string{
			kindEvent: "WebhookEvent", kindWebhook: "Webhook", kindDelivery: "WebhookDelivery",
		}[kind]))
		switch err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: arg}, o); {
		case err == nil:
			found = append(found, kind)
		case apierrors.IsForbidden(err), apierrors.IsNotFound(err) && !unknownResource(err):
		default:
			return "", "", fmt.Errorf("looking for %s: %w", arg, err)
		}
	}
	switch len(found) {
	case 0:
		return kindEvent, arg, nil
	case 1:
		return found[0], arg, nil
	}
	return "", "", usagef("%s is the name of more than one: ask with %s/%s or %s/%s", arg, found[0], arg, found[1], arg)
}

// tell prints an answer: in words, or as it is.
func (p *plugin) tell(answer any, output string, err error, inWords func(*teller)) error {
	if err != nil {
		return err
	}
	if output != "" {
		return printAnswer(p.Out, answer, output)
	}
	t := &teller{width: p.width}
	inWords(t)
	_, err = io.WriteString(p.Out, t.String())
	return err
}

// printAnswer prints an answer as JSON or YAML.
func printAnswer(out io.Writer, answer any, format string) error {
	data, err := json.MarshalIndent(answer, "", "    ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if format == "yaml" {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return err
		}
	}
	_, err = out.Write(data)
	return err
}

// teller writes an answer in words, wrapped to a terminal.
type teller struct {
	strings.Builder
	width int
}

// say writes a line.
func (t *teller) say(format string, args ...any) { t.indented("", fmt.Sprintf(format, args...)) }

// indented writes a text with something in front of its first line and as much space in
// front of the others.
func (t *teller) indented(first, text string) {
	lines := wrap(oneLine(text), t.width-cellWidth(first))
	for i, line := range lines {
		if i > 0 {
			first = strings.Repeat(" ", cellWidth(first))
		}
		t.WriteString(strings.TrimRight(first+line, " ") + "\n")
	}
}

// verdict writes a finding in the words of summary, with what belongs to it below.
func (t *teller) verdict(f insight.Finding) {
	t.say("%s", summary(f))
	t.asItIs("", f.Detail)
	if f.Help != "" {
		t.indented("Help: ", f.Help)
	}
}

// asItIs writes lines that must not be wrapped, each with something in front.
func (t *teller) asItIs(before, lines string) {
	if lines == "" {
		return
	}
	for line := range strings.SplitSeq(printable(lines), "\n") {
		t.WriteString(before + line + "\n")
	}
}

// finding writes a finding below a line that names what it is about.
func (t *teller) finding(f insight.Finding) {
	if f.Message != "" {
		t.indented("  ", f.Message)
	}
	t.asItIs("  ", f.Detail)
	if f.Help != "" {
		t.indented("  Help: ", f.Help)
	}
}

func (t *teller) notes(notes []string) {
	if len(notes) > 0 {
		t.WriteByte('\n')
	}
	for _, note := range notes {
		t.indented("Note: ", note)
	}
}

// verdict is what became of something in a word or two.
func verdict(f insight.Finding) string {
	if f.Reason == "" || f.Reason == string(f.Outcome) {
		return string(f.Outcome)
	}
	return fmt.Sprintf("%s (%s)", f.Outcome, f.Reason)
}

// summary is a finding in one line.
func summary(f insight.Finding) string {
	if f.Message == "" {
		return verdict(f)
	}
	return verdict(f) + ": " + f.Message
}

func tellEvent(t *teller, e *insight.Event) {
	about := "event " + e.Event.Name
	if e.Object != nil {
		about += ", " + e.Object.Spec.EventType
		if path := e.Object.Spec.ResourcePath; path != "" {
			about += " of " + path
		}
	}
	t.verdict(e.Finding)
	t.WriteByte('\n')
	t.say("This is about the %s.", about)
	for _, w := range e.Webhooks {
		name := w.Webhook.Name
		if w.Webhook.Namespace != e.Event.Namespace {
			name += " of the namespace " + w.Webhook.Namespace
		}
		t.WriteByte('\n')
		t.say("%s: %s", name, verdict(w.Finding))
		if len(e.Webhooks) == 1 && w.Message == e.Message {
			w.Message, w.Detail = "", ""
		}
		if w.Help == e.Help {
			w.Help = ""
		}
		t.finding(w.Finding)
		if w.Delivery != "" {
			t.indented("  Log: ", fmt.Sprintf("`kubectl horizon log %s -n %s`", w.Delivery, w.Webhook.Namespace))
		}
	}
	t.notes(e.Notes)
}

func tellWebhook(t *teller, w *insight.Webhook) {
	t.verdict(w.Finding)
	for _, f := range w.Findings[1:] {
		t.WriteByte('\n')
		t.say("%s", verdict(f))
		t.finding(f)
	}
	t.WriteByte('\n')
	if last := w.Object.Status.LastDelivery; last != nil {
		t.say("Last delivery: %s, %s at %s", last.Name, last.Result, last.Time.UTC().Format("2006-01-02T15:04:05Z"))
	}
	t.say("%s", waitingWords(w.Count))
	for _, d := range w.Waiting {
		t.WriteByte('\n')
		t.say("%s: %s", d.Name, verdict(d.Finding))
		var above bool
		if d.Message, above = strings.CutPrefix(d.Message, w.Message+"; "); above { // it is said above
			d.Detail = ""
		}
		if d.Help == w.Help {
			d.Help = ""
		}
		t.finding(d.Finding)
	}
	if more := w.Count.Total() - len(w.Waiting); more > 0 && len(w.Waiting) > 0 {
		t.WriteByte('\n')
		t.say("and %d more", more)
	}
	t.notes(w.Notes)
}

func waitingWords(c insight.WaitingCount) string {
	if c.Total() == 0 {
		return "Nothing waits."
	}
	var parts []string
	for _, part := range []struct {
		n     int
		words string
	}{{c.Resends, "asked to be resent"}, {c.Due, "due"}, {c.Later, "to be sent again later"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.words))
		}
	}
	wait := "deliveries wait"
	if c.Total() == 1 {
		wait = "delivery waits"
	}
	return fmt.Sprintf("%d %s: %s.", c.Total(), wait, strings.Join(parts, ", "))
}

func tellDelivery(t *teller, d *insight.Delivery) {
	t.verdict(d.Finding)
	t.WriteByte('\n')
	t.say("This is about the delivery %s of the event %s to the webhook %s.", d.Delivery.Name, d.Event.Name, d.Webhook.Name)
	t.indented("Log: ", fmt.Sprintf("`kubectl horizon log %s -n %s`", d.Delivery.Name, d.Delivery.Namespace))
	t.notes(d.Notes)
}
