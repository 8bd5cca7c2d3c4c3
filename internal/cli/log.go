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
	flags.StringVar(&l.body, "body", "", "print the body only: that of the request or of the response")
	flags.BoolVar(&l.raw, "raw", false, "print bodies as they are, without indentation")
	flags.BoolVar(&l.curl, "curl", false, "print a curl command that sends the same request")
	flags.BoolVar(&l.last, "last", false, "the argument is a webhook: show its newest delivery")
	sides := cobra.FixedCompletions([]string{sideRequest, sideResponse}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("headers", sides)
	_ = cmd.RegisterFlagCompletionFunc("body", sides)
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
)

func (l *logOne) run(ctx context.Context, name string) error {
	for flag, side := range map[string]string{"headers": l.headers, "body": l.body} {
		if side != "" {
			if err := oneOf(flag, side, sideRequest, sideResponse); err != nil {
				return err
			}
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
		return l.part(bodyOf(d, l.body))
	}
	if !l.curl {
		return l.page(answer)
	}
	w, err := webhookOf(ctx, c, d)
	if err != nil {
		return err
	}
	return l.printCurl(d, w)
}

// newestOf is the name of the newest delivery of a Webhook.
func (l *logOne) newestOf(ctx context.Context, namespace, webhook string) (string, error) {
	q, err := (&filters{}).query(namespace, webhook, l.now())
	if err != nil {
		return "", err
	}
	var found newest
	begin := func() { found = newest{limit: 1} }
	if _, err := l.rows(ctx, q, begin, found.add); err != nil {
		return "", err
	}
	if len(found.rows) == 0 {
		if err := l.webhookIsThere(ctx, namespace, webhook); err != nil {
			return "", err
		}
		return "", fmt.Errorf("the webhook %s has no deliveries in the namespace %s", webhook, namespace)
	}
	return found.rows[0].name, nil
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

var (
	errNotSent     = errors.New("nothing has been sent yet, so there is no request")
	errNotAnswered = errors.New("there was no answer to the last request")
)

func headersOf(d *v1alpha1.WebhookDelivery, side string) (string, error) {
	s := &d.Status
	switch {
	case side == sideRequest && s.Request == nil:
		return "", errNotSent
	case side == sideRequest:
		return s.Request.Headers, nil
	case s.Response == nil:
		return "", errNotAnswered
	}
	return s.Response.Headers, nil
}

func bodyOf(d *v1alpha1.WebhookDelivery, side string) (string, error) {
	switch {
	case side == sideRequest:
		return d.Spec.Payload, nil
	case d.Status.Response == nil:
		return "", errNotAnswered
	}
	return d.Status.Response.Body, nil
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
