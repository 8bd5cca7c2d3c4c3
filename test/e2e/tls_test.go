package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func secureReceiver(s *scene) *receiver.Receiver {
	s.Helper()
	secure, err := receiver.Start(receiver.Options{TLS: true})
	s.Expect(err).NotTo(HaveOccurred())
	s.Cleanup(func() {
		if err := secure.Close(); err != nil {
			s.Error(err)
		}
	})
	return secure
}

// An address that is a secret, and a private authority: what the operator's role
// lets it read, and its log tells nothing of.
func TestPrivateReceiver(t *testing.T) {
	s := newScene(t)
	secure := secureReceiver(s)
	ca := filepath.Join(s.TempDir(), "ca.crt")
	s.Expect(os.WriteFile(ca, secure.CertificatePEM(), 0o600)).To(Succeed())
	s.kubectl("create", "configmap", "private-ca", "--from-file="+ca)
	s.kubectl("create", "secret", "generic", "audit", "--from-literal=url="+secure.URL("/hooks/s3cr3t-p4th"))
	secure.Script("/hooks/s3cr3t-p4th", receiver.Answer{Status: http.StatusOK, Body: "this is /hooks/s3cr3t-p4th"})
	s.apply(`
apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata: {name: audit}
spec:
  urlSecretRef: {name: audit, key: url}
  tls: {caConfigMapRef: {name: private-ca}}
  triggers: ["*"]
`)
	s.kubectl("wait", "--for=condition=Ready", "webhook/audit", "--timeout=60s")
	s.event(1)
	d := s.record("audit", v1alpha1.DeliverySucceeded)
	s.Expect(d.Status.Request.URL).To(Equal(secure.URL("/[redacted]")))
	s.Expect(d.Status.Response.Body).To(Equal("this is [redacted]"))
	out, err := suite.operator.Output()
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(out).NotTo(ContainSubstring("s3cr3t-p4th"))
}

func TestAdministratorRequiresVerification(t *testing.T) {
	s := newScene(t)
	secure := secureReceiver(s)
	w := s.webhook("trusts", func(w *v1alpha1.WebhookSpec) {
		w.URL, w.SSLVerifyEnabled = secure.URL("/trusts"), new(false)
	})
	s.event(1)
	s.record("trusts", v1alpha1.DeliverySucceeded)

	before := suite.options
	restartWith := func(options operator.Options) {
		s.Expect(suite.operator.Terminate()).To(Succeed())
		s.Eventually(suite.operator.Done()).Should(BeClosed())
		suite.options = options
		restart(s)
	}
	forbidding := before
	forbidding.Args = append([]string{"--require-ssl-verify"}, before.Args...)
	restartWith(forbidding)
	s.kubectl("wait", "--for=condition=Ready=False", "webhook/trusts", "--timeout=60s")
	s.event(2)
	s.Eventually(func() []v1alpha1.DeliveryResult { return results(s.records("trusts")) }).
		Should(ConsistOf(v1alpha1.DeliverySucceeded, v1alpha1.DeliveryWaiting))
	s.Expect(s.kubectl("describe", "webhook", w.Name)).To(ContainSubstring("--require-ssl-verify"))
	s.Expect(secure.Tally("/trusts").Requests).To(Equal(1))

	restartWith(before)
	s.Eventually(func() []v1alpha1.DeliveryResult { return results(s.records("trusts")) }).
		Should(And(HaveLen(2), HaveEach(v1alpha1.DeliverySucceeded)))
}
