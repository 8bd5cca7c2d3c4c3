package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// completionTimeout bounds how long a shell waits for names.
const completionTimeout = 3 * time.Second

// maxCompletions bounds how many names of deliveries and events are offered: the latest.
const maxCompletions = 500

// completion completes an argument or a flag.
type completion = func(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective)

func (p *plugin) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	return p.names(cmd, list, "")
}

// completeWebhooks completes the first argument, or a flag, with names of Webhooks.
func (p *plugin) completeWebhooks(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.namesOf(cmd, "Webhook")
}

// completeManyWebhooks completes every argument with names of Webhooks.
func (p *plugin) completeManyWebhooks(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.namesOf(cmd, "Webhook")
}

func (p *plugin) completeDeliveries(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.namesOf(cmd, "WebhookDelivery")
}

func (p *plugin) completeEvents(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.namesOf(cmd, "WebhookEvent")
}

func (p *plugin) namesOf(cmd *cobra.Command, kind string) ([]cobra.Completion, cobra.ShellCompDirective) {
	namespace, err := p.namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
	return p.names(cmd, list, namespace)
}

// names lists the names of objects, the latest first.
func (p *plugin) names(
	cmd *cobra.Command, list *metav1.PartialObjectMetadataList, namespace string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	c, err := p.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	slices.SortStableFunc(list.Items, func(a, b metav1.PartialObjectMetadata) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	var names []cobra.Completion
	for _, item := range list.Items[:min(len(list.Items), maxCompletions)] {
		names = append(names, item.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
