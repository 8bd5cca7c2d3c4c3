package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Kinds of objects that commands take names of.
const (
	kindEvent    = "event"
	kindWebhook  = "webhook"
	kindDelivery = "delivery"
)

// kinds are what people and kubectl call them.
var kinds = map[string]string{
	"event": kindEvent, "events": kindEvent, "webhookevent": kindEvent, "webhookevents": kindEvent, "whe": kindEvent,
	"webhook": kindWebhook, "webhooks": kindWebhook, "wh": kindWebhook,
	"delivery": kindDelivery, "deliveries": kindDelivery, "webhookdelivery": kindDelivery, "webhookdeliveries": kindDelivery, "whd": kindDelivery,
}

// takesNames are the kinds that commands take names of; why tells by itself.
var takesNames = map[string][]string{
	"show": {kindWebhook}, "edit": {kindWebhook}, "pause": {kindWebhook}, "resume": {kindWebhook}, "disable": {kindWebhook},
	"delete": {kindWebhook}, "logs": {kindWebhook}, "log": {kindDelivery, kindWebhook}, "resend": {kindDelivery},
	"test": {kindWebhook}, "replay": {kindWebhook}, "render": {kindWebhook},
}

// kindAndName divides what -o name prints, such as webhook.horizoncd.io/chat. kind is
// empty where text has none, or one that nobody knows.
func kindAndName(text string) (kind, name string) {
	before, name, ok := strings.Cut(text, "/")
	if !ok {
		return "", text
	}
	resource, group, _ := strings.Cut(before, ".")
	if group != "" && group != v1alpha1.GroupVersion.Group && group != v1alpha1.GroupVersion.Version+"."+v1alpha1.GroupVersion.Group {
		return "", text
	}
	return kinds[strings.ToLower(resource)], name
}

// nameOf returns the name in NAME, or in KIND/NAME as -o name prints it for one of some
// kinds.
func nameOf(text string, of ...string) (string, error) {
	if !strings.Contains(text, "/") {
		return text, nil
	}
	kind, name := kindAndName(text)
	if !slices.Contains(of, kind) || name == "" {
		return "", usagef("%s is not the name of a %s", text, strings.Join(of, " or a "))
	}
	return name, nil
}

// takeKinds lets a command take names as -o name prints them.
func takeKinds(c *cobra.Command) {
	takes, run := takesNames[c.Name()], c.RunE
	if takes == nil {
		return
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		for i, arg := range args {
			name, err := nameOf(arg, takes...)
			if err != nil {
				return usagef("%w\nUsage: %s", err, cmd.UseLine())
			}
			args[i] = name
		}
		return run(cmd, args)
	}
}
