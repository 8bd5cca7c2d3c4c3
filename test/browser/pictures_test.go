package browser

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// The pictures of the documentation, with -update.
func TestPictures(t *testing.T) {
	if !*update {
		t.Skip("run it with -update to write docs/images anew")
	}
	b := newBed(t)
	b.Namespace = "music"
	b.Expect(b.Client.Create(b.Ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.Namespace}})).To(Succeed())
	ok := receiver.Answer{Body: `{"queued": true, "run": 1841}`, Header: map[string][]string{"Content-Type": {"application/json"}}}
	broken := receiver.Answer{
		Status: 503, Body: `{"error": "no runner is free", "retry": true}`, Header: map[string][]string{"Content-Type": {"application/json"}, "Server": {"ci"}},
	}
	b.Receiver.Script("/smoke-tests", ok, ok, broken, ok, ok, ok, broken, ok, ok, broken, ok)
	b.Receiver.Script("/audit", broken)
	b.Webhook("smoke-tests", func(spec *v1alpha1.WebhookSpec) {
		once(spec)
		spec.Description = "Starts the smoke tests when a deploy task started."
		spec.Triggers = []v1alpha1.Trigger{"clusters_deployed", "clusters_rollbacked"}
		spec.Scope = "/music"
	})
	b.Webhook("team-chat", func(spec *v1alpha1.WebhookSpec) {
		spec.Description = "Tells the people on duty when a cluster is deleted."
		spec.Triggers = []v1alpha1.Trigger{"cluster_deleted", "clusters_freed"}
	})
	b.Webhook("audit", func(spec *v1alpha1.WebhookSpec) {
		spec.Description = "Keeps a record of everything."
		spec.Retry.MinBackoffSeconds = 60
	})
	b.Webhook("inventory", func(spec *v1alpha1.WebhookSpec) {
		spec.Triggers = []v1alpha1.Trigger{"cluster_created", "cluster_deleted", "applications_created", "application_deleted", "clusters_freed"}
		spec.State = v1alpha1.WebhookPaused
	})
	var last *v1alpha1.WebhookEvent
	for i := range int64(10) {
		last = b.Event(4170+i, func(spec *v1alpha1.WebhookEventSpec) {
			name := []string{"web-prod", "web-staging", "api-prod"}[i%3]
			spec.EventType = []string{"clusters_deployed", "clusters_deployed", "clusters_rollbacked"}[i%3]
			spec.Cluster.Name, spec.ResourcePath = name, "/music/player/"+strings.Split(name, "-")[0]+"/"+name
			spec.User.Name, spec.User.Email = "jane", "jane@example.com"
		})
		var list v1alpha1.WebhookDeliveryList
		b.Eventually(func() (int, error) { // one after the other: the receiver's answers are in order
			err := b.Client.List(b.Ctx, &list)
			ended := 0
			for _, d := range list.Items {
				if d.Namespace == b.Namespace && d.Spec.WebhookRef.Name == "smoke-tests" && d.Status.Result != v1alpha1.DeliveryWaiting && d.Status.Result != "" {
					ended++
				}
			}
			return ended, err
		}).Should(BeEquivalentTo(i + 1))
	}
	b.Event(4190, func(spec *v1alpha1.WebhookEventSpec) { spec.EventType = "cluster_deleted" })

	p := b.dashboard("", false).signIn("/webhooks")
	p.live()
	p.waitFor("succeeded")
	p.picture("webhooks")
	p.open(b.path("/webhooks/smoke-tests"))
	p.live()
	p.waitFor("10 deliveries")
	p.picture("logs")
	d := b.Delivery("smoke-tests", last, v1alpha1.DeliveryFailed)
	p.open(b.path("/deliveries/" + d.Name))
	p.live()
	p.waitFor("Response body")
	p.picture("log")
	p.open(b.path("/events/horizon-4190"))
	p.live()
	p.until(`!document.body.innerText.includes("NotObserved")`)
	p.picture("event")
	p.open(b.path("/new"))
	p.fill("Name", "smoke-tests-2")
	p.fill("URL", "https://ci.example.com/hooks/smoke-tests")
	p.fill("Description", "Starts the smoke tests when a deploy task started.")
	p.fill("Secret", "something to be kept")
	p.check("clusters_deployed A cluster has triggered a deploy task.", true)
	p.waitFor("https://ci.example.com/hooks/smoke-tests")
	p.picture("form")
	p.click("DisclosureTriangle", "Beyond Horizon")
	p.fill("Filter", "event.cluster.env == \"online\" &&\n!event.user.mail.endsWith(\"@bot\")")
	p.fill("Template", "{\n  \"text\": event.cluster.name + \" is out, says \" + event.user.name,\n  \"path\": event.resourcePath\n}")
	p.waitFor("undefined field 'mail'")
	p.until(`document.getElementById("preview-body-text")?.textContent.includes("is out")`)
	p.pictureFrom("expressions", "[data-field=filter]")
}
