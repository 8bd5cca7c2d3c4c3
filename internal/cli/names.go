package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Kinds of what commands are asked about.
const (
	askEvent    = "event"
	askWebhook  = "webhook"
	askDelivery = "delivery"
)

// kinds are what people call them.
var kinds = map[string]string{
	"event": askEvent, "events": askEvent, "webhookevent": askEvent, "webhookevents": askEvent, "whe": askEvent,
	"webhook": askWebhook, "webhooks": askWebhook, "wh": askWebhook,
	"delivery": askDelivery, "deliveries": askDelivery, "webhookdelivery": askDelivery, "webhookdeliveries": askDelivery, "whd": askDelivery,
}

// splitKind splits KIND/NAME, as -o name prints it and kubectl takes it. An argument without
// a slash has no kind. ok is false where there is a slash and not both.
func splitKind(arg string) (kind, name string, ok bool) {
	before, after, found := strings.Cut(arg, "/")
	if !found {
		return "", arg, true
	}
	kind = kinds[strings.TrimSuffix(strings.ToLower(before), "."+v1alpha1.GroupVersion.Group)]
	return kind, after, kind != "" && after != ""
}

// nameOf returns the name in an argument that is NAME or KIND/NAME.
func nameOf(kind, arg string) (string, error) {
	is, name, ok := splitKind(arg)
	if !ok || is != "" && is != kind {
		return "", usagef("%q is neither NAME nor %s/NAME", arg, kind)
	}
	return name, nil
}

// takesNames lets the arguments of a command be KIND/NAME as well as NAME.
func takesNames(cmd *cobra.Command, kind func() string) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		names := make([]string, len(args))
		for i, arg := range args {
			var err error
			if names[i], err = nameOf(kind(), arg); err != nil {
				return err
			}
		}
		return run(cmd, names)
	}
	return cmd
}

// takesWebhooks is takesNames for commands about Webhooks.
func takesWebhooks(cmd *cobra.Command) *cobra.Command {
	return takesNames(cmd, func() string { return askWebhook })
}

// one takes one argument, and says what it is where it is missing.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fmt.Errorf("name %s", what)
		case 1:
			return nil
		}
		return fmt.Errorf("one name at a time, and these are %d", len(args))
	}
}

// none takes no arguments.
func none(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, and %q is one", cmd.Name(), args[0])
	}
	return nil
}

// webhookIsThere returns an error where there is no Webhook of a name, which may be misspelt.
// Whoever may not read Webhooks is told nothing.
func (p *plugin) webhookIsThere(ctx context.Context, namespace, name string) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: namespace, Name: name}
	err = c.Get(ctx, key, &v1alpha1.Webhook{})
	if apierrors.IsForbidden(err) {
		return nil
	}
	return absent("reading", askWebhook, key, err)
}

// absent says of an object that is not there where it was looked for. Other errors are
// returned as they are, after what was done.
func absent(doing, kind string, key client.ObjectKey, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err) && !unknownResource(err):
		return fmt.Errorf("there is no %s %s in the namespace %s", kind, key.Name, key.Namespace)
	}
	return fmt.Errorf("%s %s %s: %w", doing, kind, key.Name, err)
}
