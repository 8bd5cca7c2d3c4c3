package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

// readyInterval is how often a Webhook is looked at that is waited for.
const readyInterval = 200 * time.Millisecond

// Values of --dry-run.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// creator is the command create.
type creator struct {
	*plugin
	output
	webhookFlags
	waiter
	dryRun string
}

func newCreate(p *plugin) *cobra.Command {
	c := &creator{plugin: p}
	cmd := &cobra.Command{
		Use:     "create NAME --url URL --trigger TYPE",
		GroupID: groupWebhooks,
		Short:   "Create a webhook",
		Long: `Create a webhook: events of the namespace that match a trigger are posted to its URL.

A secret is never given on the command line, where others on the machine see it. What is read from a file or from
standard input becomes a new Secret, NAME-webhook, which is deleted together with the webhook; one that is there
already is never overwritten. Or name one that exists with --secret-ref.

With --format of a chat service (see kubectl horizon template list), people read what has happened in a room. The address
of a room is a secret, since whoever knows it may write there. DingTalk and Feishu can ask for signatures: --secret-file
has the key of the robot then, which is never sent.`,
		Example: `  # Tell a CI system of deployments; its token is in a file
  kubectl horizon create smoke-tests --url https://ci.example.com/hooks/horizon \
    --trigger clusters_builddeployed --trigger clusters_deployed --secret-file token.txt

  # Follow everything below /music, with a Secret that exists, and wait until it can be sent to
  kubectl horizon create chat --url https://chat.example.com/hooks --trigger '*' --scope /music \
    --secret-ref chat/token --wait

  # Only what reaches production, as a CloudEvent
  kubectl horizon create broker --url https://broker.example.com/music --trigger 'clusters_*' \
    --filter 'event.cluster.env == "online"' --format CloudEvents

  # Messages in a room of DingTalk: the address of its robot and the key that it signs with become one Secret
  pass show ops-room | kubectl horizon create ops-room --format dingtalk --url-from-stdin --secret-file key.txt \
    --trigger clusters_deployed --trigger clusters_rollbacked --language zh

  # A URL that is a secret itself
  pass show hook | kubectl horizon create hook --url-from-stdin --trigger clusters_rollbacked

  # Only print the manifest
  kubectl horizon create chat --url https://chat.example.com/hooks --trigger '*' --dry-run=client -o yaml`,
		Args:              one("the new webhook"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	c.output.addTo(cmd, false)
	c.webhookFlags.addTo(cmd)
	c.waiter.addTo(cmd)
	cmd.Flags().StringVar(&c.dryRun, "dry-run", dryRunNone,
		"none; client, which asks nobody; or server, which has the API server check it and store nothing")
	_ = cmd.RegisterFlagCompletionFunc("dry-run",
		cobra.FixedCompletions([]string{dryRunNone, dryRunClient, dryRunServer}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *creator) run(ctx context.Context, name string) error {
	if err := oneOf("dry-run", c.dryRun, dryRunNone, dryRunClient, dryRunServer); err != nil {
		return err
	}
	if err := c.checkFormat(); err != nil {
		return err
	}
	if err := c.checkRoom(true); err != nil {
		return err
	}
	namespace, err := c.namespace()
	if err != nil {
		return err
	}
	values, refs, err := c.secrets(c.plugin)
	if err != nil {
		return err
	}
	fields, err := c.fields(c.plugin)
	if err != nil {
		return err
	}
	c.hint(c.plugin, values, name, c.format)
	secret := change.NewSecret(namespace, name, values)
	object := change.NewWebhook(namespace, name, fields, refs, secret.Name)
	if c.dryRun == dryRunClient {
		return c.report(object, secret, " (dry run)")
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	dry := c.dryRun == dryRunServer
	notice, err := change.Create(ctx, api, object, secret, dry)
	switch {
	case err != nil:
		return notCreated(name, err)
	case dry:
		return c.report(object, secret, " (server dry run)")
	case notice != nil:
		fmt.Fprintf(c.ErrOut, "warning: the Secret %s will stay when the webhook is deleted: %s\n",
			secret.Name, printable(explain(errors.Unwrap(notice))))
	}
	report := func() error { return c.report(object, secret, "") }
	if !c.wait {
		return report()
	}
	return c.waited(ctx, c.plugin, object, c.own(), report)
}

// notCreated says why a Webhook was not created, and with which commands and flags it would be.
func notCreated(name string, err error) error {
	if left, ok := errors.AsType[*change.LeftoverError](err); ok {
		left.Why = notCreated(name, left.Why)
		return left
	}
	if exists, ok := errors.AsType[*change.WebhookExistsError](err); ok {
		return fmt.Errorf("%w: `kubectl horizon edit %s -n %s` changes it", exists, exists.Name, exists.Namespace)
	}
	if _, ok := change.Problems(err); ok {
		return fmt.Errorf("creating webhook %s: %w", name, refusal(err))
	}
	return secretNotCreated(err)
}

// secretNotCreated says what to do about a Secret that is in the way of a new one.
func secretNotCreated(err error) error {
	exists, ok := errors.AsType[*change.SecretExistsError](err)
	if !ok {
		return err
	}
	flags := map[string]string{"token": "--secret-ref", "signing-key": "--signing-secret-ref", "url": "--url-ref"}
	var refs []string
	for _, key := range exists.Keys {
		refs = append(refs, fmt.Sprintf("%s %s/%s", flags[key], exists.Name, key))
	}
	slices.Sort(refs)
	return fmt.Errorf("%w: if it is the one, name it with %s; if nobody needs it, kubectl delete secret %s -n %s",
		exists, strings.Join(refs, " "), exists.Name, exists.Namespace)
}

// report says what was created.
func (c *creator) report(object *unstructured.Unstructured, secret *corev1.Secret, how string) error {
	if !c.own() {
		if len(secret.Data) > 0 && how != "" {
			fmt.Fprintf(c.ErrOut, "The Secret %s would be created, too; it is not printed.\n", secret.Name)
		}
		return c.output.print(c.plugin, object)
	}
	if len(secret.Data) > 0 {
		fmt.Fprintf(c.Out, "secret/%s created%s\n", secret.Name, how)
	}
	_, err := fmt.Fprintf(c.Out, "webhook.horizoncd.io/%s created%s\n", object.GetName(), how)
	return err
}

// waiter waits until a Webhook can be sent to.
type waiter struct {
	wait    bool
	timeout time.Duration
}

func (w *waiter) addTo(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until the webhook can be sent to; if not, say why and exit with 3")
	cmd.Flags().DurationVar(&w.timeout, "wait-timeout", 30*time.Second, "how long --wait waits")
	_ = cmd.RegisterFlagCompletionFunc("wait-timeout", cobra.NoFileCompletions)
}

// waited reports what was done, and waits. In words that is said at once; -o prints what is
// known after that.
func (w *waiter) waited(ctx context.Context, p *plugin, object *unstructured.Unstructured, inWords bool, report func() error) error {
	if inWords {
		if err := report(); err != nil {
			return err
		}
		return w.untilReady(ctx, p, object)
	}
	err := w.untilReady(ctx, p, object)
	if printed := report(); printed != nil {
		return printed
	}
	return err
}

// untilReady waits until the operator has seen a Webhook as it is now and can send to it.
func (w *waiter) untilReady(ctx context.Context, p *plugin, object *unstructured.Unstructured) error {
	api, err := p.client()
	if err != nil {
		return err
	}
	generation := object.GetGeneration()
	why := "the operator has not looked at it; is one running?"
	told := ""
	err = wait.PollUntilContextTimeout(ctx, readyInterval, w.timeout, true, func(ctx context.Context) (bool, error) {
		if err := api.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return false, fmt.Errorf("reading webhook %s: %w", object.GetName(), err)
		}
		webhook, err := webhookFrom(object)
		if err != nil {
			return false, err
		}
		if webhook.Status.ObservedGeneration < generation {
			return false, nil
		}
		ready := meta.FindStatusCondition(webhook.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status == metav1.ConditionTrue {
			return ready != nil, nil
		}
		message, detail := insight.Detailed(ready.Message)
		if why = fmt.Sprintf("%s (%s)", oneLine(message), oneLine(ready.Reason)); why != told {
			fmt.Fprintf(p.ErrOut, "Waiting: %s\n", why)
			if detail != "" {
				fmt.Fprintln(p.ErrOut, printable(detail))
			}
			told = why
		}
		return false, nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		fmt.Fprintf(p.ErrOut, "webhook %s is ready: it can be sent to\n", object.GetName())
		return nil
	case !wait.Interrupted(err):
		return err
	}
	fmt.Fprintf(p.ErrOut, "webhook %s is not ready after %s: %s\n", object.GetName(), w.timeout, why)
	return errUnmet
}
