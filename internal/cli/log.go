package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// logOne is the command log.
type logOne struct {
	*plugin
	output
	headers, body   string
	raw, curl, last bool
}

func newLog(p *plugin) *cobra.Command {
	l := &logOne{plugin: p}
	cmd := &cobra.Command{
		Use:     "log DELIVERY",
		Short:   "Show a delivery: how it ended, its attempts, the request and the answer",
		GroupID: groupLogs,
		Long: `Show a delivery: how it ended, its attempts, the headers and bodies of the request and of the answer, and who asked for
it to be sent again.

The request's body is the one that was sent last. Where a format or a template of the webhook made it of the event, the
event is shown, too, as Horizon's body; a resend makes the body anew.

Bodies that are JSON are indented. --headers and --body print a part as it is stored, byte for byte; on a terminal,
control characters are escaped unless --raw is given.`,
		Example: `  # One delivery of the list that kubectl horizon logs shows
  kubectl horizon log smoke-tests-692ab7f0-0f3c5d5e7a1b2c3d

  # The latest delivery of a webhook
  kubectl horizon log smoke-tests --last

  # What was sent, for a tool of your own
  kubectl horizon log smoke-tests --last --body request | jq .cluster

  # The same request by hand, to see what the receiver makes of it
  kubectl horizon log smoke-tests --last --curl`,
		Args: func(cmd *cobra.Command, args []string) error {
			if l.last {
				return one("a webhook")(cmd, args)
			}
			return one("a delivery, which `kubectl horizon logs` lists, or a webhook with --last")(cmd, args)
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
			switch {
			case l.last:
				return p.completeWebhooks(cmd, args, toComplete)
			case len(args) > 0:
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return p.completeDeliveries(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := exclusive(cmd, "headers", "body", "curl", "output"); err != nil {
				return err
			}
			return l.run(cmd.Context(), args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&l.headers, "headers", "", "print the headers only: those of the request or of the response")
	flags.StringVar(&l.body, "body", "", "print the body only: that of the request or of the response; or the event, as Horizon's body")
	flags.BoolVar(&l.raw, "raw", false, "print bodies as they are, without indentation")
	flags.BoolVar(&l.curl, "curl", false, "print a curl command that sends the same request")
	flags.BoolVar(&l.last, "last", false, "the argument is a webhook: show its newest delivery")
	sides := cobra.FixedCompletions([]string{sideRequest, sideResponse}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("headers", sides)
	_ = cmd.RegisterFlagCompletionFunc("body", cobra.FixedCompletions([]string{sideRequest, sideResponse, sideEvent}, cobra.ShellCompDirectiveNoFileComp))
	l.output.addTo(cmd, false)
	return cmd
}

// exclusive lets one of some flags be set.
func exclusive(cmd *cobra.Command, flags ...string) error {
	set := slices.DeleteFunc(slices.Clone(flags), func(flag string) bool { return !cmd.Flags().Changed(flag) })
	if len(set) > 1 {
		return usagef("--%s exclude each other", strings.Join(set, " and --"))
	}
	return nil
}

// Sides of an exchange.
const (
	sideRequest  = "request"
	sideResponse = "response"
	// sideEvent is what the request was made of.
	sideEvent = "event"
)

func (l *logOne) run(ctx context.Context, name string) error {
	if l.headers != "" {
		if err := oneOf("headers", l.headers, sideRequest, sideResponse); err != nil {
			return err
		}
	}
	if l.body != "" {
		if err := oneOf("body", l.body, sideRequest, sideResponse, sideEvent); err != nil {
			return err
		}
	}
	namespace, err := l.namespace()
	if err != nil {
		return err
	}
	if l.last {
		if name, err = l.newestOf(ctx, namespace, name); err != nil {
			return err
		}
	}
	c, err := l.client()
	if err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: namespace, Name: name}
	if !l.own() {
		object := newUnstructuredDelivery()
		if err := c.Get(ctx, key, object); err != nil {
			return l.missing(ctx, c, key, err)
		}
		return l.print(l.plugin, object)
	}
	reader, err := l.reader()
	if err != nil {
		return err
	}
	answer, err := reader.Delivery(ctx, key)
	if err != nil {
		return l.missing(ctx, c, key, err)
	}
	d := answer.Object
	switch {
	case l.headers != "":
		return l.part(headersOf(d, l.headers))
	case l.body != "":
		return l.onlyBody(d)
	case l.curl:
		return l.script(ctx, c, d)
	}
	return l.page(answer)
}

// script prints a script that sends the same request.
func (l *logOne) script(ctx context.Context, c client.Reader, d *v1alpha1.WebhookDelivery) error {
	w, err := webhookOf(ctx, c, d)
	if err != nil {
		return err
	}
	script, err := insight.Curl(d, w)
	if unquotable, ok := errors.AsType[*insight.UnquotableError](err); ok {
		return fmt.Errorf("%w: save it with --body request, and send that", unquotable)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(l.Out, script)
	return err
}

// newestOf is the name of the newest delivery of a Webhook.
func (l *logOne) newestOf(ctx context.Context, namespace, webhook string) (string, error) {
	q, err := (&filters{}).query(namespace, webhook, l.now())
	if err != nil {
		return "", err
	}
	t, err := l.table()
	if err != nil {
		return "", err
	}
	var found table.Newest
	begin := func() { found = table.Newest{Limit: 1} }
	if _, err := t.Each(ctx, q, begin, found.Add); err != nil {
		return "", err
	}
	newest := found.Sorted()
	if len(newest) == 0 {
		if err := l.webhookIsThere(ctx, namespace, webhook); err != nil {
			return "", err
		}
		return "", fmt.Errorf("the webhook %s has no deliveries in the namespace %s", webhook, namespace)
	}
	return newest[0].Name, nil
}

// missing says more of a delivery that is not found where its name is that of a Webhook.
func (l *logOne) missing(ctx context.Context, c client.Reader, key client.ObjectKey, err error) error {
	if !apierrors.IsNotFound(err) || unknownResource(err) {
		return err
	}
	if c.Get(ctx, key, &v1alpha1.Webhook{}) == nil {
		return fmt.Errorf("%s is a webhook, not a delivery: `kubectl horizon logs %s -n %s` lists its deliveries, and `kubectl horizon log %s --last -n %s` shows the newest",
			key.Name, key.Name, key.Namespace, key.Name, key.Namespace)
	}
	return fmt.Errorf("%w: finished deliveries are removed after a while (spec.retention of their webhook)", absent("reading", kindDelivery, key, err))
}

// webhookOf returns the Webhook that a delivery is of; nil where it is gone, or may not be
// read.
func webhookOf(ctx context.Context, c client.Reader, d *v1alpha1.WebhookDelivery) (*v1alpha1.Webhook, error) {
	w := &v1alpha1.Webhook{}
	err := c.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: d.Spec.WebhookRef.Name}, w)
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, err
	case w.UID != d.Spec.WebhookRef.UID:
		return nil, nil
	}
	return w, nil
}

var errNotAnswered = errors.New("there was no answer to the last request")

func headersOf(d *v1alpha1.WebhookDelivery, side string) (string, error) {
	s := &d.Status
	switch {
	case side == sideRequest && s.Request == nil:
		return "", insight.ErrNotSent
	case side == sideRequest:
		return s.Request.Headers, nil
	case s.Response == nil:
		return "", errNotAnswered
	}
	return s.Response.Headers, nil
}

// onlyBody prints one of the bodies.
func (l *logOne) onlyBody(d *v1alpha1.WebhookDelivery) error {
	switch {
	case l.body == sideRequest:
		return l.requestBody(d)
	case l.body == sideEvent:
		return l.part(d.Spec.Payload, nil)
	case d.Status.Response == nil:
		return errNotAnswered
	}
	return l.part(d.Status.Response.Body, nil)
}

// requestBody prints the body that was sent last. What is not as it was sent is told beside
// it.
func (l *logOne) requestBody(d *v1alpha1.WebhookDelivery) error {
	sent, err := insight.SentBody(d)
	switch {
	case err != nil:
		return fmt.Errorf("%w: --body event prints what it will be made of", err)
	case sent.Cut && sent.Text == "":
		return fmt.Errorf("the body of %s is not kept: the API server refused the record with it; --body event prints what it was made of", d.Name)
	case sent.Cut:
		fmt.Fprintln(l.ErrOut, "The body is cut: at most 16 KiB of it are kept.")
	}
	if sent.Redacted {
		fmt.Fprintln(l.ErrOut, "Secrets in the body are kept as "+redaction.Placeholder+".")
	}
	return l.part(sent.Text, nil)
}

// part prints a part of a record byte for byte. A terminal gets it escaped, and with a line
// break at its end.
func (l *logOne) part(text string, err error) error {
	if err != nil {
		return err
	}
	if l.width > 0 && !l.raw {
		text = printable(text)
		if !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
	}
	_, err = io.WriteString(l.Out, text)
	return err
}
