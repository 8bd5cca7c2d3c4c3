package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/internal/change"
)

// maxEditTries bounds how often a change of triggers is tried, since each try can find
// that somebody else has changed the Webhook.
const maxEditTries = 10

// changer is the command edit.
type changer struct {
	*plugin
	output
	webhookFlags
	waiter
	dryRun                      string
	addTriggers, removeTriggers []string
	noSecret, noSigningSecret   bool
}

func newEdit(p *plugin) *cobra.Command {
	c := &changer{plugin: p}
	cmd := &cobra.Command{
		Use:     "edit WEBHOOK",
		GroupID: groupWebhooks,
		Short:   "Edit a webhook, by flags or in an editor",
		Long: `Edit a webhook. Flags change just the fields that they name; an empty value takes a field out. Without flags, the
webhook is opened in the editor that KUBE_EDITOR or EDITOR names, as kubectl edit does. What the API server refuses, and
an expression that does not compile, is opened again with the words on top, and nothing that was written gets lost.`,
		Example: `  # Another address
  kubectl horizon edit smoke-tests --url https://ci.example.com/hooks/v2

  # Follow one more event type, and everything again, whatever the scope was
  kubectl horizon edit smoke-tests --add-trigger clusters_freed --scope ''

  # Another body, and what its receiver means by an answer
  kubectl horizon edit smoke-tests --template-file template.cel --accept-if 'response.json.?errcode.orValue(-1) == 0'

  # A room in Chinese that takes ten messages a minute
  kubectl horizon edit chat --language zh --rate-limit 10/60s

  # A new token: it becomes a new Secret, and the old one stays as it is
  kubectl horizon edit smoke-tests --secret-file token.txt

  # In an editor
  KUBE_EDITOR=nano kubectl horizon edit smoke-tests`,
		Args:              one("a webhook"),
		ValidArgsFunction: p.completeWebhooks,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	c.output.addTo(cmd, false)
	c.webhookFlags.addTo(cmd)
	c.waiter.addTo(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&c.addTriggers, "add-trigger", nil, "an event type to follow as well")
	f.StringSliceVar(&c.removeTriggers, "remove-trigger", nil, "an event type to follow no longer")
	f.BoolVar(&c.noSecret, "no-secret", false, "send no token")
	f.BoolVar(&c.noSigningSecret, "no-signing-secret", false, "sign with the token, or not at all where there is none")
	f.StringVar(&c.dryRun, "dry-run", dryRunNone, "none; or server, which has the API server check the edit and store nothing")
	_ = cmd.RegisterFlagCompletionFunc("add-trigger", completeTriggers)
	_ = cmd.RegisterFlagCompletionFunc("remove-trigger", completeTriggers)
	_ = cmd.RegisterFlagCompletionFunc("dry-run",
		cobra.FixedCompletions([]string{dryRunNone, dryRunServer}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *changer) run(ctx context.Context, name string) error {
	if err := oneOf("dry-run", c.dryRun, dryRunNone, dryRunServer); err != nil {
		return err
	}
	if err := c.checkFormat(); err != nil {
		return err
	}
	if err := c.checkRoom(false); err != nil {
		return err
	}
	if c.changed("trigger") && len(c.addTriggers)+len(c.removeTriggers) > 0 {
		return usagef("--trigger sets all triggers: it excludes --add-trigger and --remove-trigger")
	}
	values, refs, err := c.secrets(c.plugin)
	if err != nil {
		return err
	}
	spec, err := c.fields(c.plugin)
	if err != nil {
		return err
	}
	if err := c.takeOut(spec, refs); err != nil {
		return err
	}
	object, err := c.getWebhook(ctx, name)
	if err != nil {
		return err
	}
	format, _, _ := unstructured.NestedString(object.Object, "spec", "payload", "format")
	c.hint(c.plugin, values, name, cmp.Or(c.format, format))
	before := object.GetGeneration()
	byHand := false
	switch {
	case len(spec) == 0 && len(refs) == 0 && len(c.addTriggers) == 0 && len(c.removeTriggers) == 0:
		byHand = true
		// Ctrl-C is the editor's while it is open, and must not end what is done after it.
		object, err = c.inEditor(context.WithoutCancel(ctx), object)
	case len(values) > 0:
		object, err = c.patchWithSecret(ctx, object, spec, refs, values)
	default:
		change.ApplyRefs(spec, refs, "")
		object, err = c.patch(ctx, object, spec, c.options()...)
	}
	if err != nil || object == nil {
		return err
	}
	// The operator writes the status all the time: the resource version tells nothing.
	changed := byHand || object.GetGeneration() != before
	report := func() error { return c.report(object, changed) }
	if !c.wait || c.dryRun != dryRunNone {
		return report()
	}
	return c.waited(ctx, c.plugin, object, c.own(), report)
}

// takeOut adds what --no-secret and --no-signing-secret say.
func (c *changer) takeOut(spec map[string]any, refs map[string]change.SecretRef) error {
	for field, no := range map[string]bool{"secretRef": c.noSecret, "signingSecretRef": c.noSigningSecret} {
		if !no {
			continue
		}
		if _, ok := refs[field]; ok {
			return usagef("a secret is either given or taken out")
		}
		spec[field] = nil
	}
	return nil
}

func (c *changer) options() []client.PatchOption {
	options := []client.PatchOption{client.FieldOwner(change.FieldManager), client.FieldValidation(metav1.FieldValidationStrict)}
	if c.dryRun == dryRunServer {
		options = append(options, client.DryRunAll)
	}
	return options
}

// patch changes the fields of spec and nothing else. A list of triggers can only be
// changed as a whole, so it is written only over the version that it was made from.
func (c *changer) patch(
	ctx context.Context, object *unstructured.Unstructured, spec map[string]any, options ...client.PatchOption,
) (*unstructured.Unstructured, error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		body := map[string]any{"spec": spec}
		if len(c.addTriggers) > 0 || len(c.removeTriggers) > 0 {
			spec["triggers"] = anyStrings(c.triggersOf(object))
			body["metadata"] = map[string]any{"resourceVersion": object.GetResourceVersion()}
		}
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("writing the patch: %w", err)
		}
		changed := object.DeepCopy()
		err = api.Patch(ctx, changed, client.RawPatch(types.MergePatchType, data), options...)
		switch {
		case err == nil:
			return changed, nil
		case !apierrors.IsConflict(err) || try == maxEditTries:
			refused := refusal(err)
			if len(c.addTriggers) > 0 && apierrors.IsInvalid(err) { // that is the flag that was given
				refused = errors.New(strings.ReplaceAll(refused.Error(), "\n  --trigger (", "\n  --add-trigger ("))
			}
			return nil, fmt.Errorf("changing webhook %s: %w", object.GetName(), refused)
		}
		if object, err = c.getWebhook(ctx, object.GetName()); err != nil {
			return nil, err
		}
	}
}

// triggersOf returns the triggers of a Webhook with those that are added, and without
// those that are removed.
func (c *changer) triggersOf(object *unstructured.Unstructured) []string {
	triggers, _, _ := unstructured.NestedStringSlice(object.Object, "spec", "triggers")
	for _, t := range c.addTriggers {
		if !slices.Contains(triggers, t) {
			triggers = append(triggers, t)
		}
	}
	return slices.DeleteFunc(triggers, func(t string) bool { return slices.Contains(c.removeTriggers, t) })
}

// patchWithSecret makes a new Secret and changes the reference to it, so that a request is
// made with the old one or with the new one. The old one stays: others may use it.
func (c *changer) patchWithSecret(
	ctx context.Context, object *unstructured.Unstructured, spec map[string]any, refs map[string]change.SecretRef, values map[string][]byte,
) (*unstructured.Unstructured, error) {
	api, err := c.client()
	if err != nil {
		return nil, err
	}
	secret := change.NewSecret(object.GetNamespace(), object.GetName(), values)
	dryRun := c.dryRun == dryRunServer
	var changed *unstructured.Unstructured
	err = change.WithSecret(ctx, api, secret, object, dryRun, func(name string, dry bool) error {
		change.ApplyRefs(spec, refs, name)
		options := c.options()
		if dry {
			options = append(options, client.DryRunAll)
		}
		var err error
		changed, err = c.patch(ctx, object, spec, options...)
		return err
	})
	if err != nil {
		return nil, secretNotCreated(err)
	}
	if dryRun {
		return changed, nil
	}
	if c.own() {
		fmt.Fprintf(c.Out, "secret/%s created\n", secret.Name)
	}
	c.nameOldSecrets(object, changed, secret)
	return changed, nil
}

// nameOldSecrets says which Secrets the Webhook does not use any more.
func (c *changer) nameOldSecrets(before, after *unstructured.Unstructured, made *corev1.Secret) {
	inUse := secretsOf(after)
	for _, name := range secretsOf(before) {
		if !slices.Contains(inUse, name) && name != made.Name {
			fmt.Fprintf(c.ErrOut, "The Secret %s stays, and this webhook does not use it any more; if nobody does: kubectl delete secret %s -n %s\n",
				printable(name), printable(name), before.GetNamespace())
		}
	}
}

// secretsOf returns the names of the Secrets that a Webhook names.
func secretsOf(object *unstructured.Unstructured) []string {
	var names []string
	for _, field := range []string{"secretRef", "signingSecretRef", "urlSecretRef"} {
		name, _, _ := unstructured.NestedString(object.Object, "spec", field, "name")
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// report says what became of the edit.
func (c *changer) report(object *unstructured.Unstructured, changed bool) error {
	if !c.own() {
		return c.output.print(c.plugin, object)
	}
	what := "edited"
	switch {
	case c.dryRun == dryRunServer:
		what = "edited (server dry run)"
	case !changed:
		what = "unchanged"
	}
	_, err := fmt.Fprintf(c.Out, "webhook.horizoncd.io/%s %s\n", object.GetName(), what)
	return err
}

// keptError ends an edit whose file was kept.
type keptError struct {
	error
	file string
}

func (e keptError) Error() string {
	return fmt.Sprintf("%v\nWhat you wrote is in %s", e.error, e.file)
}

func (e keptError) Unwrap() error { return e.error }

var errNoChange = errors.New("edit cancelled: nothing was changed")
