package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/importer"
)

// pair is a Webhook, and the one of Horizon that it was made of.
type pair struct {
	object *unstructured.Unstructured
	ours   *v1alpha1.Webhook
	theirs horizon.Webhook
}

// each turns some Webhooks over or back, and goes on after a mistake.
func (i *importCommand) each(ctx context.Context, names []string, c *horizon.Client, turn func(context.Context, *horizon.Client, *pair) error) error {
	var problems []error
	for _, text := range names {
		name, err := nameOf(text, kindWebhook)
		if err != nil {
			return err
		}
		var both *pair
		if both, err = i.pair(ctx, c, name); err == nil {
			err = turn(ctx, c, both)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !errors.Is(err, errUnmet):
			err = fmt.Errorf("webhook %s: %w", name, err)
			fallthrough
		case err != nil:
			problems = append(problems, err)
		}
	}
	if slices.ContainsFunc(problems, func(err error) bool { return !errors.Is(err, errUnmet) }) {
		problems = slices.DeleteFunc(problems, func(err error) bool { return errors.Is(err, errUnmet) })
	}
	return i.joined(problems)
}

// pair reads both, before anything is changed.
func (i *importCommand) pair(ctx context.Context, c *horizon.Client, name string) (*pair, error) {
	object, err := i.getWebhook(ctx, name)
	if err != nil {
		return nil, err
	}
	ours, err := webhookFrom(object)
	if err != nil {
		return nil, err
	}
	id, err := importer.Number(ours)
	if err != nil {
		return nil, err
	}
	theirs, err := c.Webhook(ctx, id)
	if err != nil {
		return nil, horizonError{explainHorizon(err)}
	}
	return &pair{object, ours, theirs}, nil
}

// turnOver enables ours, and then turns theirs off, so that one of them sends at any time.
func (i *importCommand) turnOver(ctx context.Context, c *horizon.Client, both *pair) error {
	enabled := both.ours.Spec.State == v1alpha1.WebhookEnabled
	switch {
	case !both.theirs.Enabled && enabled:
		_, err := fmt.Fprintf(i.Out, "webhook.horizoncd.io/%s was cut over before: it is enabled, and off in Horizon\n", both.ours.Name)
		return err
	case !both.theirs.Enabled:
		return fmt.Errorf("it is off in Horizon, so there is nothing to cut over: `kubectl horizon resume %s -n %s` enables it",
			both.ours.Name, both.ours.Namespace)
	}
	for _, difference := range i.differences(ctx, both) {
		fmt.Fprintf(i.ErrOut, "warning: webhook %s: %s\n", both.ours.Name, oneLine(difference))
	}
	api, err := i.client()
	if err != nil {
		return err
	}
	if !enabled {
		if err := change.SetState(ctx, api, both.object, v1alpha1.WebhookEnabled); err != nil {
			return err
		}
	}
	begun := i.now()
	if err := i.untilReady(ctx, i.plugin, both.object); err != nil {
		return i.leave(ctx, both, enabled, err)
	}
	fmt.Fprintf(i.Out, "webhook.horizoncd.io/%s enabled\n", both.ours.Name)
	if _, err := importer.Switch(ctx, c, both.theirs.ID, false); err != nil {
		fmt.Fprintf(i.ErrOut, "warning: webhook %s is enabled here and may be on in Horizon, so both may send: cut it over again, or --undo it\n",
			both.ours.Name)
		return horizonError{explainHorizon(err)}
	}
	fmt.Fprintf(i.Out, "webhook %d of Horizon turned off\n", both.theirs.ID)
	_, err = fmt.Fprintf(i.Out, "Both sent for %s: what happened meanwhile, and what Horizon has still to send, reaches the receiver twice, "+
		"with the same eventID.\n", i.now().Sub(begun).Round(time.Second/10))
	return err
}

// leave turns ours back, which cannot be sent to: Horizon goes on sending.
func (i *importCommand) leave(ctx context.Context, both *pair, enabled bool, why error) error {
	if !enabled {
		api, err := i.client()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clusterTimeout)
		defer cancel()
		if err := change.SetState(ctx, api, both.object, both.ours.Spec.State); err != nil {
			return errors.Join(why, err)
		}
	}
	fmt.Fprintf(i.ErrOut, "webhook %s was not cut over: it is %s, and on in Horizon\n", both.ours.Name, both.ours.Spec.State)
	return why
}

// turnBack turns theirs on, and then disables ours.
func (i *importCommand) turnBack(ctx context.Context, c *horizon.Client, both *pair) error {
	begun := i.now()
	changed, err := importer.Switch(ctx, c, both.theirs.ID, true)
	if err != nil {
		return horizonError{explainHorizon(err)}
	}
	word := "turned on"
	if !changed {
		word = "is on already"
	}
	fmt.Fprintf(i.Out, "webhook %d of Horizon %s\n", both.theirs.ID, word)
	if both.ours.Spec.State == v1alpha1.WebhookDisabled {
		_, err := fmt.Fprintf(i.Out, "webhook.horizoncd.io/%s already disabled\n", both.ours.Name)
		return err
	}
	api, err := i.client()
	if err != nil {
		return err
	}
	if err := change.SetState(ctx, api, both.object, v1alpha1.WebhookDisabled); err != nil {
		fmt.Fprintf(i.ErrOut, "warning: webhook %s is on in Horizon and here, so both send: --undo it again\n", both.ours.Name)
		return err
	}
	_, err = fmt.Fprintf(i.Out, "webhook.horizoncd.io/%s disabled\nBoth sent for %s: what happened meanwhile reaches the receiver twice, "+
		"with the same eventID. What was waiting here is held until it is enabled.\n", both.ours.Name, i.now().Sub(begun).Round(time.Second/10))
	return err
}

// differences says in what ours differs from theirs, which may have been changed since the
// import. Nothing of a secret is in it.
func (i *importCommand) differences(ctx context.Context, both *pair) []string {
	var all []string
	if both.ours.Spec.URL != both.theirs.URL {
		all = append(all, "its URL is not the one that it has in Horizon")
	}
	var triggers []string
	for _, trigger := range both.ours.Spec.Triggers {
		triggers = append(triggers, string(trigger))
	}
	if theirs := slices.Clone(both.theirs.Triggers); !sameSet(triggers, theirs) {
		all = append(all, fmt.Sprintf("its triggers are %s, and in Horizon %s", strings.Join(triggers, ", "), strings.Join(theirs, ", ")))
	}
	secure := strings.HasPrefix(strings.ToLower(both.theirs.URL), "https:")
	if verify := both.ours.Spec.SSLVerifyEnabled; secure && (verify == nil || *verify) != both.theirs.SSLVerifyEnabled {
		all = append(all, "its sslVerifyEnabled is not the one that it has in Horizon")
	}
	if i.otherSecret(ctx, both) {
		all = append(all, "its secret is not the one that it has in Horizon")
	}
	return all
}

// otherSecret tells whether the token is known to be another one. Whoever may not read
// Secrets is told nothing.
func (i *importCommand) otherSecret(ctx context.Context, both *pair) bool {
	ref := both.ours.Spec.SecretRef
	if ref == nil {
		return both.theirs.Secret != ""
	}
	api, err := i.client()
	if err != nil {
		return false
	}
	var secret corev1.Secret
	if err := api.Get(ctx, types.NamespacedName{Namespace: both.ours.Namespace, Name: ref.Name}, &secret); err != nil {
		return false
	}
	return !bytes.Equal(bytes.TrimRight(secret.Data[ref.Key], "\r\n"), []byte(strings.TrimRight(both.theirs.Secret, "\r\n")))
}

// sameSet tells whether two lists have the same members.
func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
