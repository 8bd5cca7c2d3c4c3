package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
)

// stateCommand is pause, resume or disable.
type stateCommand struct {
	name, short, long string
	state             v1alpha1.WebhookState
	// done is what a Webhook is then, and consequence what that means for the deliveries
	// that wait.
	done        string
	consequence func(waiting int32) string
}

var stateCommands = map[string]stateCommand{
	"pause": {
		name: "pause", state: v1alpha1.WebhookPaused, done: "paused",
		short: "Hold deliveries until the webhook is resumed",
		long: `Hold deliveries, for a receiver that is being repaired: what comes is recorded and waits, and so does what was
waiting already, until the webhook is resumed. What waits longer than spec.retry.giveUpAfterSeconds (three days unless
changed) is given up. A delivery that is resent is sent all the same.`,
		consequence: func(waiting int32) string {
			if waiting == 0 {
				return "what comes from now on waits until it is resumed"
			}
			return fmt.Sprintf("%s, and so does what comes, until it is resumed", waits(waiting))
		},
	},
	"resume": {
		name: "resume", state: v1alpha1.WebhookEnabled, done: "enabled",
		short: "Send again what a paused or disabled webhook holds",
		long: `Enable a webhook that was paused or disabled: what waits is sent, and so is what comes. Events that passed by while it
was disabled are not sent.`,
		consequence: func(waiting int32) string {
			if waiting == 0 {
				return "nothing was waiting"
			}
			return fmt.Sprintf("%s, and will be sent as they are due", waits(waiting))
		},
	},
	"disable": {
		name: "disable", state: v1alpha1.WebhookDisabled, done: "disabled",
		short: "Let events pass by a webhook",
		long: `Let events pass by: none is recorded and none is sent, now or later. What was waiting already is held until the webhook
is resumed. To keep what comes meanwhile, pause it instead.`,
		consequence: func(waiting int32) string {
			if waiting == 0 {
				return "events pass by from now on"
			}
			return fmt.Sprintf("events pass by from now on; %s until it is resumed", waits(waiting))
		},
	},
}

// waits says how many deliveries wait.
func waits(n int32) string {
	if n == 1 {
		return "1 delivery waits"
	}
	return fmt.Sprintf("%d deliveries wait", n)
}

func newPause(p *plugin) *cobra.Command   { return newState(p, stateCommands["pause"]) }
func newResume(p *plugin) *cobra.Command  { return newState(p, stateCommands["resume"]) }
func newDisable(p *plugin) *cobra.Command { return newState(p, stateCommands["disable"]) }

func newState(p *plugin, s stateCommand) *cobra.Command {
	var chosen choice
	cmd := &cobra.Command{
		Use:     s.name + " WEBHOOK… | --all | -l SELECTOR",
		GroupID: groupWebhooks,
		Short:   s.short,
		Long:    s.long,
		Example: fmt.Sprintf(`  kubectl horizon %[1]s smoke-tests

  # All of the namespace
  kubectl horizon %[1]s --all`, s.name),
		Args:              chosen.check,
		ValidArgsFunction: p.completeManyWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.setStates(cmd.Context(), s, &chosen, args)
		},
	}
	chosen.addTo(cmd)
	return cmd
}

// choice is which Webhooks a command is about: those that are named, all, or those with
// labels.
type choice struct {
	all      bool
	selector string
}

func (s *choice) addTo(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.all, "all", false, "all webhooks of the namespace")
	cmd.Flags().StringVarP(&s.selector, "selector", "l", "", "those with such labels, such as team=music")
	_ = cmd.RegisterFlagCompletionFunc("selector", cobra.NoFileCompletions)
}

// check is asked with the flags parsed.
func (s *choice) check(_ *cobra.Command, names []string) error {
	ways := 0
	for _, given := range []bool{len(names) > 0, s.all, s.selector != ""} {
		if given {
			ways++
		}
	}
	switch ways {
	case 0:
		return errors.New("name a webhook, or say --all or -l SELECTOR")
	case 1:
		return nil
	default:
		return errors.New("names, --all and -l exclude each other")
	}
}

// webhooks reads those that are meant. A name that there is no Webhook of is an error in
// the result, and the others are there all the same.
func (s *choice) webhooks(ctx context.Context, p *plugin, names []string) (found []unstructured.Unstructured, missing []error, err error) {
	if len(names) > 0 {
		for _, name := range names {
			object, err := p.getWebhook(ctx, name)
			if err != nil {
				missing = append(missing, err)
				continue
			}
			found = append(found, *object)
		}
		return found, missing, nil
	}
	namespace, err := p.namespace()
	if err != nil {
		return nil, nil, err
	}
	options := []client.ListOption{client.InNamespace(namespace)}
	selector, err := webhookSelector(s.selector)
	if err != nil {
		return nil, nil, err
	}
	if selector != nil {
		options = append(options, client.MatchingLabelsSelector{Selector: selector})
	}
	api, err := p.client()
	if err != nil {
		return nil, nil, err
	}
	list := unstructuredWebhooks()
	if err := api.List(ctx, list, options...); err != nil {
		return nil, nil, fmt.Errorf("listing webhooks: %w", err)
	}
	if len(list.Items) == 0 {
		fmt.Fprintf(p.ErrOut, "There are no such webhooks in namespace %s.\n", namespace)
	}
	return list.Items, nil, nil
}

func (p *plugin) setStates(ctx context.Context, s stateCommand, chosen *choice, names []string) error {
	webhooks, problems, err := chosen.webhooks(ctx, p, names)
	if err != nil {
		return err
	}
	for i := range webhooks {
		if err := p.setState(ctx, s, &webhooks[i]); err != nil {
			problems = append(problems, err)
		}
	}
	return p.joined(problems)
}

// setState changes spec.state of one Webhook, unless it is so already.
func (p *plugin) setState(ctx context.Context, s stateCommand, object *unstructured.Unstructured) error {
	w, err := webhookFrom(object)
	if err != nil {
		return err
	}
	// The count in the status is up to ten seconds old, too old for what is told here.
	waiting := w.Status.Deliveries.Waiting
	label := v1alpha1.LabelWebhook + "=" + w.Name + "," + v1alpha1.LabelResult + "=" + string(v1alpha1.DeliveryWaiting)
	if n, err := p.countRows(ctx, w.Namespace, label); err == nil {
		waiting = int32(min(n, math.MaxInt32)) //nolint:gosec // bounded
	}
	if w.Spec.State == s.state {
		if s.state == v1alpha1.WebhookEnabled { // what waits does so for another reason
			_, err := fmt.Fprintf(p.Out, "webhook.horizoncd.io/%s already enabled\n", w.Name)
			return err
		}
		return sayState(p.Out, w.Name, "already "+s.done, s.consequence(waiting))
	}
	api, err := p.client()
	if err != nil {
		return err
	}
	if err := change.SetState(ctx, api, object, s.state); err != nil {
		return err
	}
	return sayState(p.Out, w.Name, s.done, s.consequence(waiting))
}

func sayState(out io.Writer, name, is, consequence string) error {
	_, err := fmt.Fprintf(out, "webhook.horizoncd.io/%s %s: %s\n", name, is, consequence)
	return err
}

// joined makes one error of several, so that each is told and explained.
func (p *plugin) joined(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	last := len(problems) - 1
	for _, err := range problems[:last] {
		fmt.Fprintln(p.ErrOut, "error: "+printable(explain(err)))
	}
	return problems[last]
}
