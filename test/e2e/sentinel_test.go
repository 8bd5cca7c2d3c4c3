package e2e

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/sentinel"
)

// unusable is the beginning of values that cannot be sent.
const unusable = "sentinel-that-cannot-be-sent"

// After everything that can happen to a secret, it stands nowhere but in its
// Secret.
func TestSecretIsNowhere(t *testing.T) {
	for name, secret := range sentinel.Secrets {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.secret(sentinel.Name, []byte(secret))
			all := sentinel.Features(secret)
			for _, f := range all {
				s.feature(f, secret)
			}
			for name, value := range map[string]string{
				"line-break": unusable + "\r\nX: y", "nul": unusable + "\x00", "binary": unusable + "\xff", "space": unusable + " ",
				"long": strings.Repeat(unusable, 200), "broken-key": "whsec_" + unusable + "*",
			} {
				s.secret(name, []byte(value))
				s.webhook(name, func(w *v1alpha1.WebhookSpec) { sentinel.Refer(w, secret, name) })
			}
			s.webhook("missing", func(w *v1alpha1.WebhookSpec) { sentinel.Refer(w, secret, "missing") })
			s.webhook("paused", func(w *v1alpha1.WebhookSpec) {
				w.State = v1alpha1.WebhookPaused
				sentinel.Refer(w, secret, sentinel.Name)
			})
			s.event(1)
			for _, f := range all {
				s.record(f.Name, f.Result)
			}
			for _, name := range []string{"line-break", "nul", "binary", "space", "long", "broken-key", "missing", "paused"} {
				s.record(name, v1alpha1.DeliveryWaiting)
			}
			// What people do then.
			for _, name := range []string{"echoes", "unauthorized", "redirects", "garbage", "refused"} {
				s.resend(&s.records(name)[0], "again")
				s.Eventually(func() *v1alpha1.ResendCycle { return s.records(name)[0].Status.Resend }).Should(HaveField("Value", "again"))
			}
			s.kubectl("patch", "webhook", "paused", "--type=merge", "-p", `{"spec":{"state":"Enabled"}}`)
			s.record("paused", v1alpha1.DeliverySucceeded)
			s.kubectl("patch", "webhook", "gone", "--type=merge", "-p", `{"spec":{"description":"mended"}}`)
			s.Eventually(func() string { return s.kubectl("get", "webhook", "line-break", "-o", "yaml") }).Should(ContainSubstring("SecretInvalid"))
			s.lookFor(t, map[string]string{"the secret": secret, "a value that cannot be sent": unusable})
			s.kubectl("delete", "webhook", "missing", "binary")
			s.kubectl("delete", "webhookevent", "horizon-1")
			s.lookFor(t, map[string]string{"the secret": secret, "a value that cannot be sent": unusable})
			s.kubectl("delete", "webhooks", "--all") // nothing is left for other tests
		})
	}
}

// From some level on, client-go writes into the log what it reads.
func TestLogLevelThatShowsSecretsIsRefused(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), suite.options.Binary, "--zap-log-level=8").CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "--zap-log-level must be below 8") {
		t.Errorf("%v\n%s", err, out)
	}
}

func (s *scene) secret(name string, value []byte) {
	s.Helper()
	s.Expect(suite.client.Create(s.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}, Data: map[string][]byte{"token": value},
	})).To(Succeed())
}

// feature applies the Webhook of a feature.
func (s *scene) feature(f sentinel.Feature, secret string) {
	s.Helper()
	raw, spec, secretURL, err := f.Start(secret)
	s.Expect(err).NotTo(HaveOccurred())
	s.Cleanup(func() { raw.Close() })
	if secretURL != "" {
		s.secret(f.Name, []byte(secretURL))
	}
	s.webhook(f.Name, func(w *v1alpha1.WebhookSpec) { *w = spec })
}

// lookFor looks for secrets in everything that the API server stores but Secrets,
// and in all that the operator says.
func (s *scene) lookFor(t *testing.T, secrets map[string]string) {
	t.Helper()
	told, err := sentinel.Objects(s.ctx, suite.clients.Discovery(), suite.dynamic)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(len(told)).To(BeNumerically(">", 100), "objects that were looked at")
	log, err := os.ReadFile(suite.options.Log)
	s.Expect(err).NotTo(HaveOccurred())
	told["the operator's log"] = string(log)
	told["/metrics"], err = suite.operator.Metrics(s.ctx)
	s.Expect(err).NotTo(HaveOccurred())
	for what, secret := range secrets {
		for _, problem := range sentinel.Find(told, secret) {
			t.Errorf("%s, %s", what, problem)
		}
	}
}
