package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

// test is the command test.
type test struct {
	*plugin
	wait    bool
	timeout time.Duration
}

func newTest(p *plugin) *cobra.Command {
	t := &test{plugin: p}
	cmd := &cobra.Command{
		Use:     "test WEBHOOK",
		Short:   "Send a webhook a test delivery",
		GroupID: groupTry,
		Long: `Send a webhook one delivery with made-up content, of the type webhook_test and with the header
X-Horizon-Webhook-Test: true. It is sent whatever the webhook's triggers and scope are, also while it is Paused or
Disabled, and is recorded like any other.

--wait waits until the receiver has accepted it or it was given up, and ends with the exit code 3 unless it was accepted.`,
		Example: `  # Is the receiver there, and does it take the secret?
  kubectl horizon test smoke-tests --wait`,
		Args:              one("a webhook"),
		ValidArgsFunction: p.completeWebhooks,
		RunE:              func(cmd *cobra.Command, args []string) error { return t.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().BoolVar(&t.wait, "wait", false, "wait for the outcome")
	cmd.Flags().DurationVar(&t.timeout, "timeout", time.Minute, "how long --wait waits; 0: as long as it takes")
	return cmd
}

func (t *test) run(ctx context.Context, webhook string) error {
	namespace, err := t.namespace()
	if err != nil {
		return err
	}
	c, err := t.client()
	if err != nil {
		return err
	}
	key, value := client.ObjectKey{Namespace: namespace, Name: webhook}, t.request(ctx)
	if err := change.Test(ctx, c, key, value); err != nil {
		return absent("changing", kindWebhook, key, err)
	}
	if !t.wait {
		fmt.Fprintf(t.Out, "A test of %s is asked for. `kubectl horizon logs %s -n %s` shows it.\n",
			oneLine(webhook), oneLine(webhook), oneLine(key.Namespace))
		return nil
	}
	bounded, cancel := withTimeout(ctx, t.timeout)
	defer cancel()
	name, err := t.taken(bounded, key, delivery.ResendHash(value))
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return t.interrupted()
	case name == "":
		return t.notTaken(ctx, key)
	}
	return t.outcome(ctx, bounded, client.ObjectKey{Namespace: key.Namespace, Name: name})
}

// taken waits until the operator has stored the test delivery, and returns its name; empty
// where that takes too long.
func (t *test) taken(ctx context.Context, key client.ObjectKey, hash string) (name string, _ error) {
	said := ""
	_, err := t.await(ctx, key, &v1alpha1.WebhookList{}, func(object runtime.Object) (bool, error) {
		last := object.(*v1alpha1.Webhook).Status.LastTest
		if last == nil || last.Hash != hash {
			return false, nil
		}
		if last.Message != "" && last.Message != said {
			said = last.Message
			fmt.Fprintln(t.ErrOut, oneLine(last.Message))
		}
		name = last.Delivery
		return name != "", nil
	})
	return name, err
}

// notTaken says why nothing has come of the request.
func (t *test) notTaken(ctx context.Context, key client.ObjectKey) error {
	c, err := t.client()
	if err != nil {
		return err
	}
	w := &v1alpha1.Webhook{}
	if err := c.Get(ctx, key, w); err != nil {
		return err
	}
	fmt.Fprintf(t.Out, "No test delivery of %s was made within %s. %s\n", oneLine(key.Name), lasting(t.timeout), t.operatorWorks(ctx, w))
	return errUnmet
}

// outcome waits for the end of the delivery, and says what became of it.
func (t *test) outcome(ctx, bounded context.Context, key client.ObjectKey) error {
	var d *v1alpha1.WebhookDelivery
	attempts := int32(0)
	ended, err := t.plugin.await(bounded, key, &v1alpha1.WebhookDeliveryList{}, func(object runtime.Object) (bool, error) {
		d = object.(*v1alpha1.WebhookDelivery)
		if d.Status.Result != v1alpha1.DeliveryWaiting && d.Status.NextAttemptTime.IsZero() {
			return true, nil
		}
		if d.Status.Attempts > attempts { // a failed one is told at once
			attempts = d.Status.Attempts
			fmt.Fprint(t.ErrOut, t.verdict(insight.OfRecord(d, t.now()), nil))
		}
		return false, nil
	})
	switch {
	case err != nil:
		return err
	case !ended && ctx.Err() != nil:
		return t.interrupted()
	case d == nil:
		return fmt.Errorf("the delivery %s cannot be read", key.Name)
	}
	if !ended {
		fmt.Fprintf(t.ErrOut, "The test is not over after %s, and goes on.\n", lasting(t.timeout))
	}
	reader, err := t.reader()
	if err != nil {
		return err
	}
	answer, err := reader.Delivery(ctx, key)
	if err != nil {
		return err
	}
	d = answer.Object
	var b strings.Builder
	b.WriteString(t.verdict(answer.Finding, answer.Notes))
	if err := writeAttempts(&b, d, t.width); err != nil {
		return err
	}
	fmt.Fprintf(&b, "Log: `kubectl horizon log %s -n %s`\n", oneLine(d.Name), oneLine(d.Namespace))
	fmt.Fprint(t.Out, b.String())
	if d.Status.Result != v1alpha1.DeliverySucceeded {
		return errUnmet
	}
	return nil
}

func (t *test) interrupted() error {
	fmt.Fprintln(t.ErrOut, "No longer waiting. The test goes on.")
	return errUnmet
}
