package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// eventIDs are the events that arrived at a path, in order.
func eventIDs(r *receiver.Receiver, path string) []string {
	var all []string
	for _, a := range r.Arrivals(path) {
		_, rest, _ := strings.Cut(string(a.Body), `"eventID":`)
		id, _, _ := strings.Cut(rest, ",")
		all = append(all, id)
	}
	return all
}

func TestListen(t *testing.T) {
	b := newBed(t)
	token := filepath.Join(b.TempDir(), "token")
	b.Expect(os.WriteFile(token, []byte("the token\n"), 0o600)).To(Succeed())
	vera := b.as("vera", "view")
	b.Eventually(func() int { return vera.run("logs").code }).Should(Equal(0))
	b.Webhook("other")
	before := b.Event(1)
	b.Delivery("other", before, v1alpha1.DeliverySucceeded)
	b.Event(2, func(s *v1alpha1.WebhookEventSpec) { s.EventType = "members_created" })

	r := vera.start("listen", "--triggers", "cluster_deployed,applications_*", "--scope", "/music/player", "--since", "1h",
		"--forward-to", strings.TrimPrefix(b.Receiver.URL("/local"), "http://"), "--secret-file", token, "--verbose")
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/local") }).Should(Equal([]string{"1"}))
	b.Event(3)
	b.Event(4, func(s *v1alpha1.WebhookEventSpec) { s.ResourcePath = "/music/radio/x" })
	b.Event(5, func(s *v1alpha1.WebhookEventSpec) { s.EventType = "applications_created" })
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/local") }).Should(Equal([]string{"1", "3", "5"}))
	arrivals := b.Receiver.Arrivals("/local")
	b.Expect(arrivals[0].Header.Get("X-Horizon-Webhook-Secret")).To(Equal("the token"))
	b.Expect(arrivals[0].Header.Get("webhook-signature")).To(HavePrefix("v1,"))

	// A resend arrives with the body that is stored, and once, however often its record changes.
	d := b.Delivery("other", before, v1alpha1.DeliverySucceeded)
	b.mustRun("resend", d.Name, "--wait")
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/local") }).Should(Equal([]string{"1", "3", "5", "1"}))
	b.annotate(d, "team", "blue")
	b.Event(6)
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/local") }).Should(Equal([]string{"1", "3", "5", "1", "6"}))
	arrivals = b.Receiver.Arrivals("/local")
	b.Expect(string(arrivals[3].Body)).To(Equal(d.Spec.Payload))
	b.Expect(arrivals[3].WebhookID).To(Equal(arrivals[0].WebhookID))
	b.Eventually(r.out.String).Should(ContainSubstring("(resend of " + d.Name + ")  answered 200 OK"))
	b.Expect(r.out.String()).NotTo(ContainSubstring("the token"))

	// A receiver that is not up is told, and the next event goes on.
	b.Receiver.Script("/local", receiver.Answer{Reset: true}, receiver.Answer{})
	b.Event(7)
	b.Event(8)
	b.Eventually(r.out.String).Should(MatchRegexp(`horizon-7  .*\n(?s:.*)horizon-8  answered 200 OK`))
	b.Eventually(func() int { return len(eventIDs(b.Receiver, "/local")) }).Should(Equal(7))
	b.Expect(r.interrupt(b)).To(Equal(0))
	b.Expect(r.err.String()).To(ContainSubstring("7 requests posted: 6 accepted, 1 not; 1 resend among them."))
}

func TestListenPrints(t *testing.T) {
	b := newBed(t)
	b.Event(1, func(s *v1alpha1.WebhookEventSpec) { s.Cluster.Name, s.Extra = hostile, hostile })
	b.Event(2)
	r := b.run("listen", "--since", "1h", "--once", "2")
	b.Expect(r.code).To(Equal(0))
	b.Expect(r.out).To(And(ContainSubstring("horizon-1\n"), ContainSubstring(`"eventID": 2`)))
	for _, c := range r.out {
		if c != '\n' && c < ' ' || c == '\u202e' || c == '\u009b' {
			t.Errorf("%q gets to the terminal", c)
		}
	}
	for _, wrong := range [][]string{
		{"--forward-to", "ftp://localhost/x"}, {"--forward-to", "http://user:pw@localhost/"}, {"--secret-file", "x"}, {"--scope", "music"},
		{"--once", "-1"}, {"--parallel", "0"}, {"--since", "soon"},
	} {
		b.Expect(b.run(append([]string{"listen"}, wrong...)...).code).To(Equal(exitUsage), "%v", wrong)
	}
}

// A receiver that is slow holds back nothing but itself, and gets everything in order.
func TestListenToSlowReceiver(t *testing.T) {
	const n = 2*listenQueue + 20
	b := newBed(t)
	begin := make(chan struct{})
	b.Receiver.Script("/local", receiver.Answer{Until: begin})
	r := b.start("listen", "--forward-to", b.Receiver.URL("/local"))
	b.Eventually(r.err.String).Should(ContainSubstring("Listening"))
	var want []string
	for i := range n {
		b.Event(int64(i + 1))
		want = append(want, fmt.Sprint(i+1))
	}
	b.Eventually(r.err.String).Should(ContainSubstring("slower than the events come"))
	b.Expect(b.Receiver.Total().Requests).To(Equal(1), "one at a time")
	close(begin)
	b.Eventually(func() []string { return eventIDs(b.Receiver, "/local") }).Should(HaveLen(n))
	b.Expect(eventIDs(b.Receiver, "/local")).To(Equal(want))
	b.Eventually(r.err.String).Should(ContainSubstring("caught up"))
	b.Expect(r.interrupt(b)).To(Equal(0))
}

// Each event comes once, in whatever way contact is lost: cut connections, an API server
// that is restarted, a version that is too old.
func TestListenThroughRestarts(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("other")
	gate := startGate(b, suite.ControlPlane.Config().Host)
	b.Event(1)
	r := b.startWith(gate.kubeconfig(b), "listen", "--forward-to", b.Receiver.URL("/local"), "--retry", "1m")
	b.Eventually(r.err.String).Should(ContainSubstring("Listening"))
	arrived := func() []string { return eventIDs(b.Receiver, "/local") }
	b.Event(2)
	b.Eventually(arrived).Should(Equal([]string{"2"}))

	// The network, and a resend meanwhile.
	d := b.Delivery(w.Name, b.Event(3), v1alpha1.DeliverySucceeded)
	b.Eventually(arrived).Should(Equal([]string{"2", "3"}))
	gate.shut()
	b.Eventually(r.err.String).Should(ContainSubstring("Lost contact"))
	b.Event(4)
	b.mustRun("resend", d.Name, "--wait")
	gate.open()
	b.Eventually(arrived).Should(ConsistOf("2", "3", "4", "3"))

	// A version that is too old, for events and for records.
	gate.expireNext(2)
	gate.cut()
	b.Event(5)
	b.Eventually(arrived).Should(ConsistOf("2", "3", "4", "3", "5"))
	b.Eventually(gate.expired).Should(BeTrue())

	// The API server.
	ctx, cancel := context.WithTimeout(b.Ctx, 2*time.Minute)
	defer cancel()
	b.Expect(suite.ControlPlane.APIServer.Restart(ctx)).To(Succeed())
	b.Eventually(func() error {
		e := &v1alpha1.WebhookEvent{}
		e.Namespace, e.Name = b.Namespace, "horizon-6"
		e.Spec = v1alpha1.WebhookEventSpec{EventID: 6, EventType: "clusters_deployed", ResourcePath: "/music"}
		return b.Client.Create(b.Ctx, e)
	}).Should(Succeed())
	b.Eventually(arrived).Should(ConsistOf("2", "3", "4", "3", "5", "6"))
	b.Event(7)
	b.Eventually(arrived).Should(ConsistOf("2", "3", "4", "3", "5", "6", "7"))
	b.Consistently(arrived, time.Second).Should(HaveLen(7))
	b.Expect(r.interrupt(b)).To(Equal(0))
	b.Expect(r.out.String()).To(ContainSubstring("(resend of " + d.Name + ")"))
	for _, a := range b.Receiver.Arrivals("/local") {
		b.Expect(a.Answer.Accepts()).To(BeTrue(), http.StatusText(a.Answer.Status))
	}
}
