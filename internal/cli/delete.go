package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/table"
)

func newDelete(p *plugin) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete WEBHOOK…",
		GroupID: groupWebhooks,
		Short:   "Delete webhooks, and their deliveries with them",
		Long: `Delete webhooks. Their deliveries go along, those that wait are not sent any more, and so does a Secret that
create or edit has made for one. It is asked for first; where there is no terminal to ask on, --yes is needed.`,
		Example: `  kubectl horizon delete smoke-tests

  # In a script
  kubectl horizon delete smoke-tests chat --yes`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("name a webhook")
			}
			return nil
		},
		ValidArgsFunction: p.completeManyWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.deleteWebhooks(cmd.Context(), args, yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (p *plugin) deleteWebhooks(ctx context.Context, names []string, yes bool) error {
	if !yes && !p.interactive {
		return usagef("there is no terminal to ask on: say --yes to delete %s", strings.Join(names, ", "))
	}
	webhooks, problems, err := (&choice{}).webhooks(ctx, p, names)
	if err != nil {
		return err
	}
	for i := range webhooks {
		if err := p.deleteWebhook(ctx, &webhooks[i], yes); err != nil {
			problems = append(problems, err)
		}
	}
	return p.joined(problems)
}

// deleteWebhook deletes one Webhook, the very one that was asked about.
func (p *plugin) deleteWebhook(ctx context.Context, object *unstructured.Unstructured, yes bool) error {
	name := object.GetName()
	along := p.deliveriesOf(ctx, object)
	if !yes {
		ok, err := p.confirmed(ctx, fmt.Sprintf("Delete webhook %s, and %s with it?", name, along))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("webhook %s was not deleted", name)
		}
	}
	api, err := p.client()
	if err != nil {
		return err
	}
	if err := change.Delete(ctx, api, object); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Out, "webhook.horizoncd.io/%s deleted, and %s with it\n", name, along)
	return err
}

// deliveriesOf says how many deliveries a Webhook has, and how many of them wait.
func (p *plugin) deliveriesOf(ctx context.Context, object *unstructured.Unstructured) string {
	label := v1alpha1.LabelWebhook + "=" + object.GetName()
	all, err := p.countRows(ctx, object.GetNamespace(), label)
	if err != nil {
		return "its deliveries"
	}
	if all == 0 {
		return "no delivery"
	}
	text := count(all, "delivery", "deliveries")
	waiting, err := p.countRows(ctx, object.GetNamespace(), label+","+v1alpha1.LabelResult+"="+string(v1alpha1.DeliveryWaiting))
	switch {
	case err != nil || waiting == 0:
	case waiting == 1:
		text += " (1 waits and will not be sent)"
	default:
		text += fmt.Sprintf(" (%d wait and will not be sent)", waiting)
	}
	return text
}

// countRows counts the deliveries with labels.
func (p *plugin) countRows(ctx context.Context, namespace, labels string) (int, error) {
	t, err := p.table()
	if err != nil {
		return 0, err
	}
	return t.Count(ctx, table.Query{Resource: table.Deliveries, Namespace: namespace, Labels: labels})
}
