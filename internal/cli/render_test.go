package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

func TestTellRequest(t *testing.T) {
	answer := &insight.Request{
		Finding: insight.Finding{Outcome: insight.NotFollowed, Reason: "Scope", Message: "its scope is /video, and the event's path " + hostileAnswer + " is not below that",
			Help: "to follow events of this path, change spec.scope: `kubectl horizon edit chat -n music`"},
		Method: "POST", URL: "https://ci.example.com/[redacted]",
		Headers: []insight.Header{{Name: "Content-Type", Value: "application/json;charset=utf-8"}, {Name: "X-Horizon-Webhook-Secret", Value: "[redacted]"}},
		Body:    `{"eventID":78402,"cluster":{"name":"` + hostileAnswer + strings.Repeat("long ", 40) + `"}}`,
		Notes:   []string{"the URL is in the key url of the Secret room", "Webhook-Timestamp is the time of each attempt; here it is that of this answer"},
	}
	everyWidth(t, "render/request", false, func(te *teller) { tellRequest(te, answer) })
}

func TestParseEvent(t *testing.T) {
	const head = "apiVersion: horizoncd.io/v1alpha1\nkind: WebhookEvent\n"
	for name, tc := range map[string]struct{ file, want string }{
		"one":                {head + "spec: {eventType: clusters_deployed}", ""},
		"between separators": {"# a comment\n---\n" + head + "spec: {eventType: clusters_deployed}\n---\n", ""},
		"JSON":               {`{"apiVersion":"horizoncd.io/v1alpha1","kind":"WebhookEvent","spec":{"eventType":"clusters_deployed"}}`, ""},
		"two":                {head + "spec: {eventType: a}\n---\n" + head + "spec: {eventType: b}", "more than one object"},
		"nothing":            {"# a comment\n", "it is empty"},
		"another kind":       {"apiVersion: v1\nkind: Secret\n", "Secret"},
		"an unknown field":   {head + "spec: {eventType: a, evenID: 7}", "evenID"},
		"without type":       {head + "spec: {eventID: 7}", "spec.eventType is required"},
		"no YAML":            {"\t{", "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			e, err := parseEvent([]byte(tc.file))
			if tc.want != "" {
				g.Expect(err).To(MatchError(ContainSubstring(tc.want)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(e.Spec.EventType).To(Equal("clusters_deployed"))
		})
	}
}

func TestRender(t *testing.T) {
	b := newBed(t)
	b.tokens(map[string]string{"token": "open sesame", "url": b.Receiver.URL("/secret-path")})
	b.Webhook("w", named)
	e := b.Event(1)
	d := b.Delivery("w", e, v1alpha1.DeliverySucceeded)
	viewer := b.as("viewer", "view")
	b.Eventually(func() int { return viewer.run("render", "w", "--event", e.Name).code }).Should(Equal(0))
	arrived := b.Receiver.Arrivals("/w")[0]

	out := viewer.mustRun("render", "w", "--event", e.Name)
	b.Expect(out).To(And(HavePrefix("Delivered (Accepted): "), ContainSubstring("\nPOST "+b.Receiver.URL("/w")+"\n"),
		ContainSubstring("\nX-Horizon-Webhook-Secret: [redacted]\n"), ContainSubstring("\nWebhook-Id: "+arrived.WebhookID+"\n"),
		HaveSuffix("\n\n"+string(arrived.Body)+"\n"), ContainSubstring("the delivery "+d.Name+" is in store; a resend makes its body anew")))
	b.Expect(viewer.mustRun("render", "w", "--event", e.Name, "--body")).To(Equal(string(arrived.Body)))

	// The number of the Webhook is that of the event that is in store.
	b.spec(func(s *v1alpha1.WebhookSpec) { s.WebhookID = 12345 })
	b.Expect(viewer.mustRun("render", "w", "--event", e.Name)).To(And(
		ContainSubstring("which now is not the body above: the webhook was edited since"),
		ContainSubstring("what was sent last is not the body above: `kubectl horizon log "+d.Name+" --body request")))

	// An address that is a secret shows its host at most.
	b.Webhook("hidden", func(s *v1alpha1.WebhookSpec) {
		s.URL, s.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "token", Key: "url"}
	})
	e = b.Event(2)
	b.Delivery("hidden", e, v1alpha1.DeliverySucceeded)
	b.Eventually(func() string { return viewer.mustRun("render", "hidden", "--event", e.Name) }).Should(
		ContainSubstring("\nPOST http://" + b.Receiver.Addr() + "/[redacted]\n"))
	b.Expect(viewer.mustRun("render", "hidden", "--event", e.Name)).NotTo(ContainSubstring("secret-path"))
}

func TestRenderOfFile(t *testing.T) {
	b := newBed(t)
	b.Webhook("w", func(s *v1alpha1.WebhookSpec) { s.WebhookID, s.Triggers = 7, []v1alpha1.Trigger{"clusters_*"} })
	const manifest = "apiVersion: horizoncd.io/v1alpha1\nkind: WebhookEvent\nmetadata: {name: x}\nspec: {eventType: clusters_deployed, extra: hello}\n"
	file := filepath.Join(t.TempDir(), "event.yaml")
	b.Expect(os.WriteFile(file, []byte(manifest), 0o600)).To(Succeed())
	request := b.request("render", "w", "-f", file)
	b.Expect(request.Outcome).To(Equal(insight.Sent))
	b.Expect(request.Notes[0]).To(Equal("made up, since the event is not in the cluster: Webhook-Id, and eventID in the body"))
	b.Expect(request.Body).To(MatchRegexp(`^{"eventID":\d+,"webhookID":7,"eventType":"clusters_deployed","extra":"hello"}$`))

	b.stdin = strings.Replace(manifest, "clusters_deployed", "members_created", 1)
	request = b.request("render", "w", "-f", "-")
	b.Expect(request.Outcome).To(Equal(insight.NotFollowed))
	b.Expect(request.Message).To(HavePrefix("its triggers (clusters_*) do not include members_created"))

	for args, want := range map[string]struct {
		code int
		err  string
	}{
		"w":                          {exitUsage, "give one of --event and -f"},
		"w --event a -f b":           {exitUsage, "give one of --event and -f"},
		"w --event a --body -o json": {exitUsage, "--body and -o exclude each other"},
		"w --event a -o wide":        {exitUsage, `--output "wide" is not one of`},
		"w --event nothing":          {exitError, "there is no event nothing in the namespace "},
		"nothing -f " + file:         {exitError, "there is no webhook nothing in the namespace "},
		"w -f /does/not/exist":       {exitError, "no such file"},
	} {
		r := b.run(append([]string{"render"}, strings.Fields(args)...)...)
		b.Expect(r.code).To(Equal(want.code), args)
		b.Expect(r.err).To(ContainSubstring(want.err))
	}
}
