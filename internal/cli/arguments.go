package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

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
	return absent("reading", kindWebhook, key, err)
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
