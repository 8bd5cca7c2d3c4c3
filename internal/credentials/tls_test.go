package credentials

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func (r *secretReader) putConfigMap(name string, data map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &corev1.ConfigMap{Data: data}
	c.Namespace, c.Name = "music", name
	if r.configMaps == nil {
		r.configMaps = map[types.NamespacedName]*corev1.ConfigMap{}
	}
	r.configMaps[types.NamespacedName{Namespace: "music", Name: name}] = c
}

func keys(data map[string]string) func(s *corev1.Secret) {
	return func(s *corev1.Secret) {
		for key, value := range data {
			s.Data[key] = []byte(value)
		}
	}
}

func tlsPair(certificate, key []byte) func(s *corev1.Secret) {
	return func(s *corev1.Secret) {
		s.Type = corev1.SecretTypeTLS
		s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey] = certificate, key
	}
}

// secretURL is a Webhook whose address is in a Secret.
func secretURL(change ...func(s *v1alpha1.WebhookSpec)) *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{URLSecretRef: &v1alpha1.SecretKeyReference{Name: "chat", Key: "url"}}}
	w.Namespace, w.Name = "music", "chat"
	for _, f := range change {
		f(&w.Spec)
	}
	return w
}

func withTLS(settings v1alpha1.TLSSettings) *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{URL: "https://ci.example.com/hooks", TLS: &settings}}
	w.Namespace, w.Name = "music", "smoke-tests"
	return w
}

func TestURLFromASecret(t *testing.T) {
	const address = "https://chat.example.com/hooks/t0k3n?key=s3cr3t"
	type outcome struct{ URL, Shown, Note, Reason, Message string }
	usable := outcome{URL: address, Shown: "https://chat.example.com/[redacted]"}
	withNote := usable
	withNote.Note = `key "url" of Secret "chat" ends in a line break, which is not sent`
	invalid := func(why string) outcome {
		return outcome{Reason: v1alpha1.ReasonURLInvalid, Message: `key "url" of Secret "chat" cannot be used: ` + why}
	}
	ofType := func(secretType corev1.SecretType) func(s *corev1.Secret) {
		return func(s *corev1.Secret) { s.Type = secretType; s.Data["url"] = []byte(address) }
	}
	carried := func(secretType string) outcome {
		return outcome{Reason: v1alpha1.ReasonSecretInvalid, Message: `Secret "chat" is of type ` + secretType + `, which must not be sent to receivers: use one of type Opaque`}
	}
	inChat := func(url string) func(s *corev1.Secret) { return keys(map[string]string{"url": url}) }
	for name, tc := range map[string]struct {
		secret func(s *corev1.Secret)
		change func(s *v1alpha1.WebhookSpec)
		want   outcome
	}{
		"usable":                {secret: inChat(address), want: usable},
		"ends in a line feed":   {secret: inChat(address + "\n"), want: withNote},
		"does not exist":        {want: outcome{Reason: v1alpha1.ReasonSecretNotFound, Message: `Secret "chat" does not exist in namespace "music": create it, or change spec.urlSecretRef`}},
		"lacks the key":         {secret: keys(map[string]string{"URL": address}), want: outcome{Reason: v1alpha1.ReasonSecretKeyNotFound, Message: `Secret "chat" has no key "url": add it, or change spec.urlSecretRef.key`}},
		"empty":                 {secret: inChat(""), want: invalid("the value is empty")},
		"relative":              {secret: inChat("t0k3n/s3cr3t"), want: invalid("the URL must be absolute: it starts with http:// or https:// and a host")},
		"user and password":     {secret: inChat("https://t0k3n:s3cr3t@chat.example.com/"), want: invalid("the URL must not contain a user name or password: put the receiver's token into a Secret and name it in spec.secretRef")},
		"too long":              {secret: inChat(address + strings.Repeat("x", 2048)), want: invalid(fmt.Sprintf("the URL has %d bytes, more than the 2048 that one may have", len(address)+2048))},
		"service account token": {secret: ofType(corev1.SecretTypeServiceAccountToken), want: carried("kubernetes.io/service-account-token")},
		"certificate and key":   {secret: ofType(corev1.SecretTypeTLS), want: carried("kubernetes.io/tls")},
		"http and TLS": {
			secret: inChat("http://chat.example.com/t0k3n"),
			change: func(s *v1alpha1.WebhookSpec) {
				s.TLS = &v1alpha1.TLSSettings{CASecretRef: &v1alpha1.CABundleReference{Name: "ca"}}
			},
			want: invalid("the URL begins with http://, and spec.tls is for https"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, api, _ := newReader()
			if tc.secret != nil {
				api.put("music", "chat", tc.secret)
			}
			w := secretURL()
			if tc.change != nil {
				tc.change(&w.Spec)
			}
			with, err := r.Get(t.Context(), w)
			got := outcome{URL: with.Target.Reveal(), Shown: with.Target.String(), Note: with.Note}
			if mistake, ok := errors.AsType[*Error](err); ok {
				got.Reason, got.Message = mistake.Reason, mistake.Message
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, secret := range []string{"t0k3n", "s3cr3t"} {
				if said := fmt.Sprintf("%v %+v %#v %v", err, err, err, with); strings.Contains(said, secret) {
					t.Errorf("the value is told: %s", said)
				}
			}
		})
	}
}

// What of token and address a receiver echoes is redacted, all of it.
func TestRedactorKnowsTokenAndAddress(t *testing.T) {
	r, api, _ := newReader()
	api.put("music", "chat", keys(map[string]string{"url": "https://chat.example.com/hooks/t0k3n-p4th", "token": "t0k3n-h34d3r"}))
	w := secretURL(func(s *v1alpha1.WebhookSpec) { s.SecretRef = &v1alpha1.SecretKeyReference{Name: "chat", Key: "token"} })
	with, err := r.Get(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("([redacted]) ([redacted])", with.Redactor.Redact("(t0k3n-p4th) (t0k3n-h34d3r)")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// They are of one Secret, and so of one version: a new token must not go to the
	// old address.
	if api.count() != 1 {
		t.Errorf("read %d times", api.count())
	}
}

func TestTLS(t *testing.T) {
	ours, err := receiver.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	issued := func(from, to time.Time) (certificate, key []byte) {
		certificate, key, err := ours.Issue(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to })
		if err != nil {
			t.Fatal(err)
		}
		return certificate, key
	}
	certificate, key := issued(now.AddDate(0, -1, 0), now.AddDate(0, 1, 0))
	_, otherKey := issued(now.AddDate(0, -1, 0), now.AddDate(0, 1, 0))
	expired, expiredKey := issued(now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1))

	caSecret := v1alpha1.TLSSettings{CASecretRef: &v1alpha1.CABundleReference{Name: "ca", Key: "ca.crt"}}
	caConfigMap := v1alpha1.TLSSettings{CAConfigMapRef: &v1alpha1.CABundleReference{Name: "ca", Key: "ca.crt"}}
	client := v1alpha1.TLSSettings{ClientCertSecretRef: &v1alpha1.SecretReference{Name: "client"}}
	both := v1alpha1.TLSSettings{CASecretRef: &v1alpha1.CABundleReference{Name: "client"}, ClientCertSecretRef: client.ClientCertSecretRef}
	type outcome struct {
		Authorities, Certificate bool
		Reason, Message          string
	}
	for name, tc := range map[string]struct {
		settings   v1alpha1.TLSSettings
		secrets    map[string]func(s *corev1.Secret)
		configMaps map[string]map[string]string
		want       outcome
	}{
		"nothing named":              {},
		"authorities in a Secret":    {settings: caSecret, secrets: map[string]func(s *corev1.Secret){"ca": keys(map[string]string{"ca.crt": string(ours.PEM())})}, want: outcome{Authorities: true}},
		"authorities in a ConfigMap": {settings: caConfigMap, configMaps: map[string]map[string]string{"ca": {"ca.crt": string(ours.PEM())}}, want: outcome{Authorities: true}},
		"a client certificate":       {settings: client, secrets: map[string]func(s *corev1.Secret){"client": tlsPair(certificate, key)}, want: outcome{Certificate: true}},
		"both of one Secret": {
			settings: both,
			secrets: map[string]func(s *corev1.Secret){"client": func(s *corev1.Secret) {
				tlsPair(certificate, key)(s)
				s.Data["ca.crt"] = ours.PEM()
			}},
			want: outcome{Authorities: true, Certificate: true},
		},
		"no such Secret":    {settings: caSecret, configMaps: map[string]map[string]string{"ca": {"ca.crt": string(ours.PEM())}}, want: outcome{Reason: "SecretNotFound", Message: `Secret "ca" does not exist in namespace "music": create it, or change spec.tls.caSecretRef`}},
		"no such ConfigMap": {settings: caConfigMap, secrets: map[string]func(s *corev1.Secret){"ca": keys(map[string]string{"ca.crt": string(ours.PEM())})}, want: outcome{Reason: "ConfigMapNotFound", Message: `ConfigMap "ca" does not exist in namespace "music": create it, or change spec.tls.caConfigMapRef`}},
		"no such client":    {settings: client, want: outcome{Reason: "SecretNotFound", Message: `Secret "client" does not exist in namespace "music": create it, or change spec.tls.clientCertSecretRef`}},
		"no key of Secret":  {settings: caSecret, secrets: map[string]func(s *corev1.Secret){"ca": keys(nil)}, want: outcome{Reason: "SecretKeyNotFound", Message: `Secret "ca" has no key "ca.crt": add it, or change spec.tls.caSecretRef.key`}},
		"no key of map":     {settings: caConfigMap, configMaps: map[string]map[string]string{"ca": {}}, want: outcome{Reason: "ConfigMapKeyNotFound", Message: `ConfigMap "ca" has no key "ca.crt": add it, or change spec.tls.caConfigMapRef.key`}},
		"no certificate":    {settings: caConfigMap, configMaps: map[string]map[string]string{"ca": {"ca.crt": "s3cr3t"}}, want: outcome{Reason: "CAInvalid", Message: `key "ca.crt" of ConfigMap "ca" cannot be used: there is no certificate in it; one in PEM begins with -----BEGIN CERTIFICATE-----`}},
		"client of another type": {
			settings: client,
			secrets:  map[string]func(s *corev1.Secret){"client": keys(map[string]string{"tls.crt": string(certificate), "tls.key": string(key)})},
			want:     outcome{Reason: "SecretInvalid", Message: `Secret "client" is not of type kubernetes.io/tls, which spec.tls.clientCertSecretRef asks for: kubectl create secret tls makes one`},
		},
		"client without key":     {settings: client, secrets: map[string]func(s *corev1.Secret){"client": func(s *corev1.Secret) { tlsPair(certificate, nil)(s); delete(s.Data, "tls.key") }}, want: outcome{Reason: "SecretKeyNotFound", Message: `Secret "client" has no key "tls.key": add it, or change spec.tls.clientCertSecretRef`}},
		"client of two":          {settings: client, secrets: map[string]func(s *corev1.Secret){"client": tlsPair(certificate, otherKey)}, want: outcome{Reason: "ClientCertificateInvalid", Message: `Secret "client" of spec.tls.clientCertSecretRef cannot be used: the private key in tls.key is not that of the certificate in tls.crt`}},
		"client that is none":    {settings: client, secrets: map[string]func(s *corev1.Secret){"client": tlsPair([]byte("s3cr3t"), key)}, want: outcome{Reason: "ClientCertificateInvalid", Message: `Secret "client" of spec.tls.clientCertSecretRef cannot be used: there is no certificate in tls.crt; one in PEM begins with -----BEGIN CERTIFICATE-----`}},
		"client that is expired": {settings: client, secrets: map[string]func(s *corev1.Secret){"client": tlsPair(expired, expiredKey)}, want: outcome{Reason: "ClientCertificateInvalid", Message: `Secret "client" of spec.tls.clientCertSecretRef cannot be used: the certificate expired on 2026-11-22`}},
	} {
		t.Run(name, func(t *testing.T) {
			r, api, _ := newReader()
			for secret, change := range tc.secrets {
				api.put("music", secret, change)
			}
			for configMap, data := range tc.configMaps {
				api.putConfigMap(configMap, data)
			}
			with, err := r.Get(t.Context(), withTLS(tc.settings))
			got := outcome{Authorities: with.Authorities != nil, Certificate: with.Certificate != nil}
			if mistake, ok := errors.AsType[*Error](err); ok {
				got.Reason, got.Message = mistake.Reason, mistake.Message
			} else if err != nil {
				t.Fatal(err)
			} else if with.Target.Reveal() != "https://ci.example.com/hooks" {
				t.Errorf("sent to %s", with.Target)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(tc.secrets)+len(tc.configMaps) > 0 && api.count() != 1 {
				t.Errorf("read %d times", api.count())
			}
		})
	}
}

// An address, a bundle and a certificate that were changed are used within 30 s, at
// once when they are forgotten, and a certificate that expires is noticed as soon.
func TestTLSIsReloaded(t *testing.T) {
	ours, err := receiver.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	r, api, clock := newReader()
	pair := func(until time.Time) func(s *corev1.Secret) {
		certificate, key, err := ours.Issue(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(-1, 0, 0), until })
		if err != nil {
			t.Fatal(err)
		}
		return tlsPair(certificate, key)
	}
	w := secretURL(func(s *v1alpha1.WebhookSpec) {
		s.TLS = &v1alpha1.TLSSettings{
			CAConfigMapRef:      &v1alpha1.CABundleReference{Name: "ca"},
			ClientCertSecretRef: &v1alpha1.SecretReference{Name: "client"},
		}
	})
	api.put("music", "chat", keys(map[string]string{"url": "https://a.example/one"}))
	api.putConfigMap("ca", map[string]string{"ca.crt": string(ours.PEM())})
	api.put("music", "client", pair(now.Add(time.Hour)))
	get := func() Credentials {
		t.Helper()
		with, err := r.Get(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		return with
	}
	before := get()
	api.put("music", "chat", keys(map[string]string{"url": "https://a.example/two"}))
	api.putConfigMap("ca", map[string]string{"ca.crt": string(ours.PEM()) + "\n"})
	api.put("music", "client", pair(now.Add(TTL+time.Second)))
	clock.Step(TTL - 1)
	if kept := get(); kept != before {
		t.Error("it is read more often than it need be")
	}
	clock.Step(1)
	after := get()
	if after.Target.Reveal() != "https://a.example/two" || after.Authorities == before.Authorities || after.Certificate == before.Certificate {
		t.Errorf("after 30 s it is as before: %s", after.Target.Reveal())
	}

	api.put("music", "chat", keys(map[string]string{"url": "https://a.example/three"}))
	r.Forget(w)
	if forgotten := get(); forgotten.Target.Reveal() != "https://a.example/three" {
		t.Errorf("%s after it was forgotten", forgotten.Target.Reveal())
	}
	clock.Step(TTL)
	_, err = r.Get(t.Context(), w)
	if mistake, ok := errors.AsType[*Error](err); !ok || mistake.Reason != v1alpha1.ReasonClientCertificateInvalid {
		t.Errorf("a certificate that has expired meanwhile: %v", err)
	}
}

func TestRequireSSLVerify(t *testing.T) {
	for name, tc := range map[string]struct {
		required bool
		verify   *bool
		want     string
	}{
		"not required, not given": {},
		"not required, off":       {verify: new(false)},
		"required, not given":     {required: true},
		"required, on":            {required: true, verify: new(true)},
		"required, off":           {required: true, verify: new(false), want: "SSLVerifyRequired: spec.sslVerifyEnabled is false, which the administrator has forbidden (--require-ssl-verify): leave it out, and name a private authority in spec.tls"},
	} {
		t.Run(name, func(t *testing.T) {
			r, api, _ := newReader()
			r.RequireSSLVerify = tc.required
			api.put("music", "receiver", value("token"))
			w := webhook("receiver")
			w.Spec.SSLVerifyEnabled = tc.verify
			_, err := r.Get(t.Context(), w)
			got := ""
			if mistake, ok := errors.AsType[*Error](err); ok {
				got = mistake.Reason + ": " + mistake.Message
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tc.want != "" && api.count() > 0 {
				t.Error("something was read")
			}
		})
	}
}
