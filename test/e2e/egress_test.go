package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// restartAllowing starts the operator anew with other prefixes that requests may
// go to.
func (s *scene) restartAllowing(prefixes string) {
	s.Helper()
	s.Expect(suite.operator.Stop()).To(Succeed())
	suite.options.EgressAllow = prefixes
	restart(s)
}

// honeypot listens where nobody may connect to, and returns its port. That nobody
// has is checked when the test ends.
func (s *scene) honeypot(address string) (port string) {
	s.Helper()
	r, err := receiver.StartRaw(receiver.RawOptions{Addr: address, Serve: func(net.Conn) {}})
	s.Expect(err).NotTo(HaveOccurred())
	s.Cleanup(func() {
		r.Close()
		s.Expect(r.Connections()).To(BeZero(), "connections to the honeypot at "+address)
	})
	_, port, err = net.SplitHostPort(r.Addr())
	s.Expect(err).NotTo(HaveOccurred())
	return port
}

// What is denied gets no connection and no second attempt, and says why; once an
// administrator allows it, it can be resent.
func TestDeniedAddresses(t *testing.T) {
	s := newScene(t)
	defer s.restartAllowing("")
	s.restartAllowing("127.0.0.1/32")

	port := s.honeypot("127.0.0.2:0")
	later, err := receiver.Start(receiver.Options{Addr: "127.0.0.3:0"})
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = later.Close() })
	api, err := url.Parse(suite.clients.RESTClient().Get().URL().String())
	s.Expect(err).NotTo(HaveOccurred())
	s.receiver.Script("/redirects", receiver.Answer{
		Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"http://127.0.0.2:" + port + "/"}},
	})

	const loopback = "127.0.0.0/8 is loopback (RFC 1122)"
	allowed := func(prefix string) string {
		return "; to allow it, an administrator starts the operator with --egress-allow=" + prefix
	}
	denied := map[string]string{}
	deny := func(name, url, message string) {
		s.webhook(name, func(w *v1alpha1.WebhookSpec) { w.URL, w.Retry.MinBackoffSeconds = url, 1 })
		denied[name] = message
	}
	deny("literal", "http://127.0.0.2:"+port+"/", "127.0.0.2 is denied: "+loopback+allowed("127.0.0.0/8"))
	deny("tls", "https://127.0.0.2:"+port+"/", "127.0.0.2 is denied: "+loopback+allowed("127.0.0.0/8"))
	deny("later", later.URL("/later"), "127.0.0.3 is denied: "+loopback+allowed("127.0.0.0/8"))
	deny("compatible", "http://[::7f00:2]:"+port+"/", "::7f00:2 is denied: ::/96 is for IPv4-compatible addresses, which are deprecated (RFC 4291)"+allowed("::7f00:2/128"))
	deny("nat64", "http://[64:ff9b::7f00:2]:"+port+"/", "64:ff9b::7f00:2 is denied: it carries 127.0.0.2, and "+loopback+allowed("64:ff9b::7f00:0/104"))
	deny("api-server", "https://"+api.Host+"/", fmt.Sprintf("127.0.0.1 is denied: port %s of it is the API server's", api.Port()))
	const spelling = "the host of the URL is denied: it ends in a number, as addresses do and names do not, and is not the usual form of an address"
	for i, host := range []string{"2130706434", "0x7f000002", "017700000002", "127.2", "0x7f.0.0.2"} {
		deny(fmt.Sprintf("spelling-%d", i), "http://"+host+":"+port+"/", spelling)
	}
	if six, err := net.Listen("tcp", "[::1]:0"); err == nil { // the machine speaks IPv6
		six.Close()
		deny("six", "http://[::1]:"+s.honeypot("[::1]:0")+"/", "::1 is denied: ::1 is loopback (RFC 4291)"+allowed("::1/128"))
	}
	s.webhook("redirects", func(w *v1alpha1.WebhookSpec) { w.Retry.Limit = new(int32(0)) })
	s.webhook("allowed", nil)
	s.event(1)

	for name, message := range denied {
		d := s.record(name, v1alpha1.DeliveryFailed)
		c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered)
		s.Expect(c.Reason).To(Equal(v1alpha1.ReasonEgressDenied), name)
		s.Expect(c.Message).To(Equal(message), name)
		s.Expect(d.Status.NextAttemptTime.IsZero()).To(BeTrue(), name)
		s.Expect(history(d)).To(Equal([]string{"Initial 0"}), name)
		s.Eventually(func(g Gomega) {
			var w v1alpha1.Webhook
			g.Expect(suite.client.Get(s.ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &w)).To(Succeed())
			c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)
			g.Expect(c).NotTo(BeNil(), name) // it was not looked at yet
			g.Expect(c.Status).To(Equal(metav1.ConditionFalse), name)
			g.Expect(c.Reason).To(Equal(v1alpha1.ReasonEgressDenied), name)
			g.Expect(c.Message).To(Equal("nothing was sent: "+message), name)
		}).Should(Succeed())
	}
	s.record("allowed", v1alpha1.DeliverySucceeded)
	d := s.record("redirects", v1alpha1.DeliveryFailed)
	s.Expect(d.Status.History[0].StatusCode).To(BeEquivalentTo(http.StatusTemporaryRedirect))
	s.Expect(later.Total().Requests).To(BeZero())

	s.restartAllowing("127.0.0.1,127.0.0.3/32")
	s.resend(s.record("later", v1alpha1.DeliveryFailed), "allowed")
	s.Expect(history(s.record("later", v1alpha1.DeliverySucceeded))).To(Equal([]string{"Resend 200", "Initial 0"}))
	s.Expect(later.Total().Requests).To(Equal(1))
}
