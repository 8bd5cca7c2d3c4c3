package controllers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// ready waits for the Ready condition of a Webhook, and returns its message.
func (b *testbed) ready(w *v1alpha1.Webhook, status metav1.ConditionStatus, reason string) string {
	b.t.Helper()
	message := ""
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Status).To(Equal(status), c.Message)
		g.Expect(c.Reason).To(Equal(reason), c.Message)
		message = c.Message
	}).Should(Succeed())
	return message
}

func (b *testbed) secret(name string, data map[string]string) *corev1.Secret {
	b.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name}, StringData: data}
	b.Expect(b.client.Create(b.ctx, s)).To(Succeed())
	return s
}

// written is all that is stored in the namespace and that the operator may write.
func (b *testbed) written() string {
	b.t.Helper()
	var all strings.Builder
	for _, list := range []client.ObjectList{&v1alpha1.WebhookList{}, &v1alpha1.WebhookEventList{}, &v1alpha1.WebhookDeliveryList{}} {
		b.Expect(b.client.List(b.ctx, list, client.InNamespace(b.namespace))).To(Succeed())
		b.Expect(json.NewEncoder(&all).Encode(list)).To(Succeed())
	}
	b.Expect(json.NewEncoder(&all).Encode(b.kubernetesEvents())).To(Succeed())
	return all.String()
}

func (b *testbed) kubernetesEvents() []eventsv1.Event {
	b.t.Helper()
	c, err := kubernetes.NewForConfig(restConfig)
	b.Expect(err).NotTo(HaveOccurred())
	list, err := c.EventsV1().Events(b.namespace).List(b.ctx, metav1.ListOptions{})
	b.Expect(err).NotTo(HaveOccurred())
	return list.Items
}

// An address that is a secret is used, and told to nobody, also where the receiver
// repeats it in every way; and a change of it is noticed.
func TestURLOfASecret(t *testing.T) {
	b := newTestbed(t)
	b.start()
	const path, query = "/hooks/B0123456/s3cr3t-p4th%2Fx", "key=qu3ry-s3cr3t"
	secrets := []string{"s3cr3t-p4th", "qu3ry-s3cr3t", "B0123456", "n3xt-s3cr3t"}
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "chat", Key: "url"}
		w.Spec.Retry.Limit = new(int32(0))
	})
	b.Expect(b.ready(w, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)).To(ContainSubstring("change spec.urlSecretRef"))
	b.event("a")
	b.settled("a", v1alpha1.EventWaiting)

	address := b.receiver.URL(path + "?" + query)
	b.receiver.Script("/hooks/B0123456/s3cr3t-p4th/x", receiver.Answer{
		Status: http.StatusFound,
		Header: http.Header{
			"Location": {address + "&again"}, "X-Path": {path}, "X-Escaped": {url.QueryEscape(path)},
			"Retry-After": {"s3cr3t-p4th"},
		},
		Body: fmt.Sprintf("no hook %s, %q, %x, %s", address, query, "s3cr3t-p4th", base64.StdEncoding.EncodeToString([]byte(address))),
	})
	chat := b.secret("chat", map[string]string{"url": address + "\n"})
	b.settled("a", v1alpha1.EventFailed) // by itself, within 30 s
	b.Expect(b.ready(w, metav1.ConditionTrue, v1alpha1.ReasonUsable)).To(ContainSubstring(`key "url" of Secret "chat" ends in a line break`))
	arrived := b.receiver.Arrivals("/hooks/B0123456/s3cr3t-p4th/x")
	b.Expect(arrived).To(HaveLen(1))
	b.Expect(arrived[0].URI).To(Equal(path + "?" + query))

	d := b.delivery(v1alpha1.DeliveryFailed)
	b.Expect(d.Status.Request.URL).To(Equal(b.receiver.URL("/[redacted]")))
	b.Expect(d.Status.Response.Headers).To(ContainSubstring("X-Path: [redacted]"))
	b.Expect(d.Status.Response.Body).To(HavePrefix("no hook [redacted]"))
	b.Expect(d.Status.History[0].Error).To(ContainSubstring("it points to [redacted]"))
	b.Eventually(b.kubernetesEvents).ShouldNot(BeEmpty())

	// A rotation: the answer that makes the operator look at the Secret again, and
	// the next attempt, which a person asks for.
	b.receiver.Script("/hooks/B0123456/s3cr3t-p4th/x", receiver.MustParseScript("403")...)
	chat.StringData = map[string]string{"url": b.receiver.URL("/n3xt-s3cr3t")}
	b.Expect(b.client.Update(b.ctx, chat)).To(Succeed())
	b.resend(d, "one")
	b.Eventually(func() int {
		return len(b.receiver.Arrivals("/hooks/B0123456/s3cr3t-p4th/x")) + b.requests("n3xt-s3cr3t")
	}).Should(Equal(2))
	b.Eventually(func() int32 { return b.deliveries()[0].Status.Attempts }).Should(Equal(int32(2)))
	b.resend(d, "two")
	b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(b.requests("n3xt-s3cr3t")).NotTo(BeZero())

	written := b.written()
	for _, secret := range secrets {
		for _, told := range []string{secret, fmt.Sprintf("%x", secret), base64.RawStdEncoding.EncodeToString([]byte(secret))} {
			b.Expect(written).NotTo(ContainSubstring(told))
		}
	}
}

func TestInvalidURLOfASecretIsNotTold(t *testing.T) {
	b := newTestbed(t)
	b.start()
	b.secret("chat", map[string]string{"url": "ftp://chat.example.com/s3cr3t-p4th"})
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "chat", Key: "url"}
	})
	b.Expect(b.ready(w, metav1.ConditionFalse, v1alpha1.ReasonURLInvalid)).
		To(Equal(`key "url" of Secret "chat" cannot be used: the URL must be absolute: it starts with http:// or https:// and a host`))
	b.event("e")
	b.settled("e", v1alpha1.EventWaiting)
	b.Expect(b.written()).NotTo(ContainSubstring("s3cr3t-p4th"))
}

// A private authority and a client certificate: what is missing holds deliveries,
// what is there is used, and what was changed is used from the next attempt on.
func TestMutualTLS(t *testing.T) {
	b := newTestbed(t)
	ours, err := receiver.NewAuthority("ours")
	b.Expect(err).NotTo(HaveOccurred())
	seen := &atomic.Value{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
		if r.TLS.PeerCertificates[0].Subject.CommonName == "before" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	certificate, key, err := ours.Issue(nil)
	b.Expect(err).NotTo(HaveOccurred())
	pair, err := tls.X509KeyPair(certificate, key)
	b.Expect(err).NotTo(HaveOccurred())
	pool := x509.NewCertPool()
	pool.AddCert(ours.Certificate())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)

	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.URL = server.URL
		w.Spec.TLS = &v1alpha1.TLSSettings{
			CAConfigMapRef:      &v1alpha1.CABundleReference{Name: "ca"},
			ClientCertSecretRef: &v1alpha1.SecretReference{Name: "client"},
		}
	})
	b.ready(w, metav1.ConditionFalse, v1alpha1.ReasonConfigMapNotFound)
	b.event("e")
	b.settled("e", v1alpha1.EventWaiting)
	b.Expect(b.client.Create(b.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "ca"}, Data: map[string]string{"ca.crt": string(ours.PEM())},
	})).To(Succeed())
	named := func(name string) map[string][]byte {
		certificate, key, err := ours.Issue(func(c *x509.Certificate) { c.Subject.CommonName = name })
		b.Expect(err).NotTo(HaveOccurred())
		return map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}
	}
	client := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "client"}, Type: corev1.SecretTypeTLS, Data: named("before"),
	}
	b.Expect(b.client.Create(b.ctx, client)).To(Succeed())
	b.edit(w, map[string]any{"spec": map[string]any{"description": "it was mended"}}) // so that it is looked at now
	b.ready(w, metav1.ConditionTrue, v1alpha1.ReasonUsable)
	b.Eventually(seen.Load).Should(Equal("before"))
	client.Data = named("after") // which the receiver accepts, and the operator reads after its 403
	b.Expect(b.client.Update(b.ctx, client)).To(Succeed())
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(seen.Load()).To(Equal("after"))
	b.Expect(b.written()).NotTo(ContainSubstring("PRIVATE KEY"))
}

// An administrator who asks for certificates to be checked is obeyed, and the owner
// of the Webhook is told.
func TestSSLVerifyCanBeRequired(t *testing.T) {
	b := newTestbed(t)
	secure, err := receiver.Start(receiver.Options{TLS: true})
	b.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = secure.Close() })
	b.flags = func(o *Options) { o.RequireSSLVerify = true }
	b.start()
	w := b.webhook("w", func(w *v1alpha1.Webhook) {
		w.Spec.URL, w.Spec.SSLVerifyEnabled = secure.URL("/w"), new(false)
	})
	b.Expect(b.ready(w, metav1.ConditionFalse, v1alpha1.ReasonSSLVerifyRequired)).To(ContainSubstring("--require-ssl-verify"))
	b.event("e")
	b.settled("e", v1alpha1.EventWaiting)
	d := b.delivery(v1alpha1.DeliveryWaiting)
	b.resend(d, "now") // nor does a person who asks for it get around that
	b.webhook("other") // by when this has got an event, the annotation was seen
	b.event("next")
	b.Eventually(func() int { return b.requests("other") }).Should(BeNumerically(">=", 1))
	b.Expect(secure.Arrivals("/w")).To(BeEmpty())

	b.secret("ca", map[string]string{"ca.crt": string(secure.CertificatePEM())})
	b.edit(w, map[string]any{"spec": map[string]any{
		"sslVerifyEnabled": true, "tls": map[string]any{"caSecretRef": map[string]any{"name": "ca"}},
	}})
	b.settled("e", v1alpha1.EventSucceeded)
	b.settled("next", v1alpha1.EventSucceeded)
	b.Expect(secure.Arrivals("/w")).To(HaveLen(2))
}
