package cli

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Names are taken as -o name prints them, where they are of the right kind.
func TestNamesOfKinds(t *testing.T) {
	b := newBed(t)
	b.Webhook("chat")
	e := b.Event(1)
	d := b.Delivery("chat", e, v1alpha1.DeliverySucceeded)
	for _, args := range [][]string{
		{"show", "webhook.horizoncd.io/chat"}, {"show", "webhooks/chat"}, {"logs", "wh/chat"}, {"log", "webhookdelivery.horizoncd.io/" + d.Name},
		{"log", "webhook/chat", "--last"}, {"pause", "webhook.v1alpha1.horizoncd.io/chat"}, {"why", "webhookevent.horizoncd.io/" + e.Name},
		{"render", "webhook/chat", "--event", e.Name},
	} {
		b.mustRun(args...)
	}
	for _, args := range [][]string{
		{"show", "webhookdelivery/" + d.Name}, {"resend", "webhook/chat"}, {"show", "secret/chat"}, {"show", "webhook/"}, {"show", "webhook.example.com/chat"},
	} {
		r := b.run(args...)
		b.Expect(r.code).To(Equal(exitUsage), "%v", args)
		b.Expect(r.err).To(ContainSubstring("is not the name of a"))
	}
}
