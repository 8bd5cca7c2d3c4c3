package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	// fieldManager owns the fields that commands write.
	fieldManager = "kubectl-horizon"
	// labelManagedBy marks Secrets that commands have made.
	labelManagedBy = "app.kubernetes.io/managed-by"
	// cleanupTimeout bounds how long it may take to remove what a command has made in vain.
	cleanupTimeout = 10 * time.Second
	// readyInterval is how often a Webhook is looked at that is waited for.
	readyInterval = 200 * time.Millisecond
)

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
already is never overwritten. Or name one that exists with --secret-ref.`,
		Example: `  # Tell a CI system of deployments; its token is in a file
  kubectl horizon create smoke-tests --url https://ci.example.com/hooks/horizon \
    --trigger clusters_builddeployed --trigger clusters_deployed --secret-file token.txt

  # Follow everything below /music, with a Secret that exists, and wait until it can be sent to
  kubectl horizon create chat --url https://chat.example.com/hooks --trigger '*' --scope /music \
    --secret-ref chat/token --wait

  # A URL that is a secret itself
  pass show ops-room | kubectl horizon create ops-room --url-from-stdin --trigger clusters_rollbacked

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
	namespace, err := c.namespace()
	if err != nil {
		return err
	}
	values, refs, err := c.secrets(c.plugin)
	if err != nil {
		return err
	}
	secret := newSecret(namespace, name, values)
	secret.Name = name + "-webhook"
	object := newWebhook(namespace, name, c.fields(), refs, secret.Name)
	if c.dryRun == dryRunClient {
		return c.report(object, secret, " (dry run)")
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	if c.dryRun == dryRunServer {
		if err := dryCreate(ctx, api, object, secret); err != nil {
			return err
		}
		return c.report(object, secret, " (server dry run)")
	}
	if err := c.create(ctx, api, object, secret); err != nil {
		return err
	}
	report := func() error { return c.report(object, secret, "") }
	if !c.wait {
		return report()
	}
	return c.waited(ctx, c.plugin, object, c.own(), report)
}

// newWebhook returns the Webhook that flags describe, with nothing but what they say: the
// API server knows the defaults.
func newWebhook(namespace, name string, fields map[string]any, refs map[string]secretRef, secret string) *unstructured.Unstructured {
	applyRefs(fields, refs, secret)
	spec := map[string]any{}
	for field, value := range fields {
		if value != nil {
			spec[field] = value
		}
	}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// newSecret returns the Secret for values that were given, yet without a name.
func newSecret(namespace, webhook string, values map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Labels:    map[string]string{labelManagedBy: fieldManager, v1alpha1.LabelWebhook: webhook},
		},
		Data: values,
	}
}

// dryCreate has the API server check both, and store nothing.
func dryCreate(ctx context.Context, api client.Client, object *unstructured.Unstructured, secret *corev1.Secret) error {
	if err := api.Create(ctx, object, client.FieldOwner(fieldManager), client.DryRunAll); err != nil {
		return notCreated(object, err)
	}
	if len(secret.Data) == 0 {
		return nil
	}
	return createSecret(ctx, api, secret.DeepCopy(), client.DryRunAll)
}

// create creates the Secret before the Webhook, which is then Ready at once: without it,
// the operator would look for it again only after a while. Mistakes are found before that
// by a dry run, and a Secret that was made in vain all the same is removed.
func (c *creator) create(ctx context.Context, api client.Client, object *unstructured.Unstructured, secret *corev1.Secret) error {
	if len(secret.Data) == 0 {
		if err := api.Create(ctx, object, client.FieldOwner(fieldManager)); err != nil {
			return notCreated(object, err)
		}
		return nil
	}
	if err := dryCreate(ctx, api, object.DeepCopy(), secret); err != nil {
		return err
	}
	if err := createSecret(ctx, api, secret); err != nil {
		return err
	}
	if err := api.Create(ctx, object, client.FieldOwner(fieldManager)); err != nil {
		return fmt.Errorf("creating webhook %s: %w", object.GetName(), withCleanup(ctx, api, secret, refusal(err)))
	}
	c.bindSecret(ctx, api, object, secret)
	return nil
}

// notCreated says why a Webhook was not created, and how one that is there already is changed.
func notCreated(object *unstructured.Unstructured, err error) error {
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("there is a webhook %s in the namespace %s already: `kubectl horizon edit %s -n %s` changes it",
			object.GetName(), object.GetNamespace(), object.GetName(), object.GetNamespace())
	}
	return fmt.Errorf("creating webhook %s: %w", object.GetName(), refusal(err))
}

// createSecret creates a Secret that must not be there yet.
func createSecret(ctx context.Context, api client.Client, secret *corev1.Secret, options ...client.CreateOption) error {
	err := api.Create(ctx, secret, append(options, client.FieldOwner(fieldManager))...)
	switch {
	case apierrors.IsAlreadyExists(err):
		return fmt.Errorf("secret %s exists already and is not overwritten: if it is the one, name it with %s; "+
			"if nobody needs it, kubectl delete secret %s -n %s", secret.Name, refFlags(secret), secret.Name, secret.Namespace)
	case err != nil:
		return fmt.Errorf("creating secret %s: %w", secret.Name, err)
	}
	return nil
}

// refFlags are the flags that name a Secret's keys.
func refFlags(secret *corev1.Secret) string {
	flags := map[string]string{"token": "--secret-ref", "signing-key": "--signing-secret-ref", "url": "--url-ref"}
	var all []string
	for key := range secret.Data {
		all = append(all, fmt.Sprintf("%s %s/%s", flags[key], secret.Name, key))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// withCleanup removes a Secret that was made in vain, also when the command is interrupted,
// and returns the error that made it so.
func withCleanup(ctx context.Context, api client.Client, secret *corev1.Secret, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	err := api.Delete(ctx, secret, client.Preconditions{UID: &secret.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("%w\nThe Secret %s was made for it and could not be removed (%w): kubectl delete secret %s -n %s",
			why, secret.Name, err, secret.Name, secret.Namespace)
	}
	return why
}

// bindSecret makes the Webhook own the Secret that was made for it, so that both go together. It
// can be done only now, since an owner is named by its UID; whoever may create Secrets and
// not change them has one that stays.
func (c *creator) bindSecret(ctx context.Context, api client.Client, object *unstructured.Unstructured, secret *corev1.Secret) {
	if err := ownSecret(ctx, api, object, secret); err != nil {
		fmt.Fprintf(c.ErrOut, "warning: the Secret %s will stay when the webhook is deleted: %s\n", secret.Name, printable(explain(err)))
	}
}

// ownSecret makes a Webhook the owner of a Secret.
func ownSecret(ctx context.Context, api client.Client, object *unstructured.Unstructured, secret *corev1.Secret) error {
	before := secret.DeepCopy()
	secret.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: object.GetAPIVersion(), Kind: object.GetKind(), Name: object.GetName(), UID: object.GetUID(),
	}}
	return api.Patch(ctx, secret, client.MergeFrom(before), client.FieldOwner(fieldManager))
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
		if why = fmt.Sprintf("%s (%s)", oneLine(ready.Message), oneLine(ready.Reason)); why != told {
			fmt.Fprintf(p.ErrOut, "Waiting: %s\n", why)
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
