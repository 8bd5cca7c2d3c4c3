package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	goodToken = "a-token-that-can-be-sent"
	goodKey   = "a-key-that-can-sign"
	// conditionMost is how long a Webhook may take to tell what is wrong with what it
	// names, and mendMost how long it takes until a repair is noticed.
	conditionMost = 10 * time.Second
	mendMost      = 35 * time.Second
)

// careless is what a Webhook names without a thought: one Secret or ConfigMap.
type careless struct {
	field, name string
	// reason of the Ready condition; Usable: there is nothing wrong with it.
	reason string
	kind   corev1.SecretType
	data   map[string][]byte // nil: there is no such object
}

// The fields that name something.
const (
	fieldToken       = "token"
	fieldSigning     = "signing"
	fieldURL         = "url"
	fieldCASecret    = "ca"
	fieldCAConfigMap = "ca-config"
	fieldCertificate = "cert"
)

// keys are where the fields find their value.
var keys = map[string]string{
	fieldToken: "token", fieldSigning: "key", fieldURL: "url", fieldCASecret: "ca.crt", fieldCAConfigMap: "ca.crt", fieldCertificate: corev1.TLSCertKey,
}

// secrets is what the inputs of this group share.
type secrets struct {
	*session
	namespace     string
	plain, secure *receiver.Receiver
	authority     *receiver.Authority
}

// playSecrets names Secrets and ConfigMaps that cannot be used, and then mends them.
func playSecrets(ctx context.Context, t *session) (err error) {
	s := &secrets{session: t}
	if s.namespace, err = t.namespace(ctx); err != nil {
		return err
	}
	if s.plain, err = receiver.Start(receiver.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.plain.Close()) }()
	if s.secure, err = receiver.Start(receiver.Options{TLS: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.secure.Close()) }()
	if s.authority, err = receiver.NewAuthority("hostile"); err != nil {
		return err
	}
	all, err := s.inputs()
	if err != nil {
		return err
	}
	if err := t.client.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "authority"}, BinaryData: map[string][]byte{"ca.crt": s.secure.CertificatePEM()},
	}); err != nil {
		return err
	}
	for _, c := range all {
		if c.data != nil {
			if err := t.client.Create(ctx, s.object(c)); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		if err := t.client.Create(ctx, s.webhook(c)); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if err := t.event(ctx, s.namespace, "horizon-1"); err != nil {
		return err
	}
	return s.mend(ctx, all)
}

// mend judges what is told of the inputs, puts something good in their place, and
// judges what comes of that.
func (s *secrets) mend(ctx context.Context, all []careless) error {
	problems := map[string][]string{}
	told, cancel := context.WithTimeout(ctx, conditionMost)
	defer cancel()
	for _, c := range all {
		problems[c.name] = s.told(told, c)
		if n := len(s.arrivals(c)); n > 0 && c.reason != v1alpha1.ReasonUsable {
			problems[c.name] = append(problems[c.name], fmt.Sprintf("%d requests with what cannot be used", n))
		}
	}
	for _, c := range all {
		if c.reason == v1alpha1.ReasonUsable {
			continue
		}
		if c.data != nil { // the type of a Secret cannot be changed
			if err := s.client.Delete(ctx, s.object(c)); err != nil {
				return err
			}
		}
		c, err := s.mended(c)
		if err != nil {
			return err
		}
		if err := s.client.Create(ctx, s.object(c)); err != nil {
			return err
		}
	}
	mended, cancel := context.WithTimeout(ctx, mendMost)
	defer cancel()
	records, err := s.settled(mended, s.namespace, "horizon-1", len(all))
	if mended.Err() != nil && ctx.Err() == nil {
		err = nil // which of them are late is judged
	}
	if err != nil {
		return err
	}
	for _, c := range all {
		if d := records[c.name]; d == nil || d.Status.Result != v1alpha1.DeliverySucceeded {
			problems[c.name] = append(problems[c.name], fmt.Sprintf("not delivered within %v of being mended", mendMost))
		}
		arrived := s.arrivals(c)
		if len(arrived) != 1 {
			problems[c.name] = append(problems[c.name], fmt.Sprintf("%d requests, want 1", len(arrived)))
		}
		for _, a := range arrived {
			if c.field == fieldToken && (a.Header.Get(signing.HeaderSecret) != goodToken || a.Header.Get(signing.HeaderSignature) == "") {
				problems[c.name] = append(problems[c.name], "sent without the right secret and a signature")
			}
			if c.field == fieldSigning && (len(a.Header.Values(signing.HeaderSecret)) != 0 || !signedBy(goodKey, a)) {
				problems[c.name] = append(problems[c.name], "sent with a token, or not signed with the right key")
			}
		}
		s.judge(c.name, problems[c.name])
	}
	return nil
}

func (s *secrets) inputs() ([]careless, error) {
	certificates, err := s.certificates()
	if err != nil {
		return nil, err
	}
	all := append(proofs(fieldToken, goodToken), proofs(fieldSigning, goodKey)...)
	all = append(all, s.urls()...)
	for _, field := range []string{fieldCASecret, fieldCAConfigMap} {
		all = append(all, bundles(field)...)
	}
	authority := s.secure.CertificatePEM()
	of := func(name string, kind corev1.SecretType, more map[string][]byte) careless {
		c := careless{field: fieldCASecret, name: "ca-" + name, reason: v1alpha1.ReasonUsable, kind: kind, data: map[string][]byte{"ca.crt": authority}}
		maps.Copy(c.data, more)
		return c
	}
	// Nothing of a bundle is sent, so it may be in any Secret.
	all = append(all,
		of("among-others", "", map[string][]byte{"ca.crt": append([]byte("# hidden\n"), authority...)}),
		of("in-tls", corev1.SecretTypeTLS, map[string][]byte{corev1.TLSCertKey: {}, corev1.TLSPrivateKeyKey: {}}),
		of("in-dockercfg", corev1.SecretTypeDockercfg, map[string][]byte{corev1.DockerConfigKey: []byte("{}")}))
	return append(all, certificates...), nil
}

// typed are Secrets that must not be sent, whatever is under a key of them.
func typed(field string) []careless {
	var all []careless
	for kind, more := range map[corev1.SecretType]map[string][]byte{
		corev1.SecretTypeServiceAccountToken: nil,
		corev1.SecretTypeBootstrapToken:      nil,
		corev1.SecretTypeDockerConfigJson:    {corev1.DockerConfigJsonKey: []byte("{}")},
		corev1.SecretTypeDockercfg:           {corev1.DockerConfigKey: []byte("{}")},
		corev1.SecretTypeSSHAuth:             {corev1.SSHAuthPrivateKey: []byte("hidden")},
		corev1.SecretTypeTLS:                 {corev1.TLSCertKey: []byte("hidden"), corev1.TLSPrivateKeyKey: []byte("hidden")},
	} {
		_, last, _ := strings.Cut(string(kind), "/")
		c := careless{field: field, name: field + "-of-" + last, reason: v1alpha1.ReasonSecretInvalid, kind: kind, data: map[string][]byte{
			keys[field]: []byte("https://a-credential-of-the-cluster.example.com/"),
		}}
		maps.Copy(c.data, more)
		all = append(all, c)
	}
	return all
}

// absent are no object, and one without the key.
func absent(field, noObject, noKey string) []careless {
	return []careless{
		{field: field, name: field + "-missing", reason: noObject},
		{field: field, name: field + "-no-key", reason: noKey, data: map[string][]byte{"other": []byte("hidden")}},
	}
}

// values are objects that have the key.
func values(field, reason string, of map[string]string) []careless {
	var all []careless
	for name, value := range of {
		all = append(all, careless{field: field, name: field + "-" + name, reason: reason, data: map[string][]byte{keys[field]: []byte(value)}})
	}
	return all
}

// proofs are tokens and keys of signatures, for which the same rules hold.
func proofs(field, good string) []careless {
	all := append(absent(field, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonSecretKeyNotFound), typed(field)...)
	all = append(all, values(field, v1alpha1.ReasonSecretInvalid, map[string]string{
		"empty":        "",
		"binary":       "hidden\x00\x01\x02\xff\xfe",
		"mebibyte":     strings.Repeat("hidden--", 1<<17),
		"line-break":   "hidden\r\nX-Other: value",
		"nul":          "hidden\x00value",
		"not-ascii":    "hidden-välue",
		"spaces":       " hidden-value ",
		"broken-whsec": "whsec_hidden*value",
		"empty-whsec":  "whsec_",
	})...)
	return append(all, values(field, v1alpha1.ReasonUsable, map[string]string{"trailing": good + "\r\n"})...)
}

func (s *secrets) urls() []careless {
	all := append(absent(fieldURL, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonSecretKeyNotFound), typed(fieldURL)...)
	all = append(all, values(fieldURL, v1alpha1.ReasonURLInvalid, map[string]string{
		"empty":      "",
		"garbage":    "hidden garbage",
		"binary":     "hidden\x00\x01\x02\xff\xfe",
		"relative":   "/hidden",
		"file":       "file:///etc/hidden",
		"user-info":  "https://me:hidden@ci.example.com/",
		"fragment":   "https://ci.example.com/#hidden",
		"line-break": "https://ci.example.com/hidden\r\nX-Other: value",
		"port":       "https://ci.example.com:99999/hidden",
		"long":       "https://ci.example.com/" + strings.Repeat("hidden--", 1000),
	})...)
	return append(all, values(fieldURL, v1alpha1.ReasonUsable, map[string]string{"trailing": s.plain.URL("/url-trailing") + "\n"})...)
}

func bundles(field string) []careless {
	all := absent(field, v1alpha1.ReasonSecretNotFound, v1alpha1.ReasonSecretKeyNotFound)
	if field == fieldCAConfigMap {
		all = absent(field, v1alpha1.ReasonConfigMapNotFound, v1alpha1.ReasonConfigMapKeyNotFound)
	}
	return append(all, values(field, v1alpha1.ReasonCAInvalid, map[string]string{
		"empty":          "",
		"garbage":        "hidden garbage \xff\xfe",
		"no-certificate": "-----BEGIN PRIVATE KEY-----\naGlkZGVuaGlkZGVu\n-----END PRIVATE KEY-----\n",
		"broken":         "-----BEGIN CERTIFICATE-----\naGlkZGVuaGlkZGVu\n-----END CERTIFICATE-----\n",
		"large":          strings.Repeat("hidden--", 1<<16),
	})...)
}

func (s *secrets) certificates() ([]careless, error) {
	good, err := s.pair(nil)
	if err != nil {
		return nil, err
	}
	another, err := s.pair(nil)
	if err != nil {
		return nil, err
	}
	expired, err := s.pair(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	if err != nil {
		return nil, err
	}
	early, err := s.pair(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) })
	if err != nil {
		return nil, err
	}
	const crt, key = corev1.TLSCertKey, corev1.TLSPrivateKeyKey
	docker := maps.Clone(good)
	docker[corev1.DockerConfigKey] = []byte("{}")
	of := func(name, reason string, kind corev1.SecretType, data map[string][]byte) careless {
		return careless{field: fieldCertificate, name: fieldCertificate + "-" + name, reason: reason, kind: kind, data: data}
	}
	invalid := v1alpha1.ReasonClientCertificateInvalid
	return []careless{
		of("missing", v1alpha1.ReasonSecretNotFound, "", nil),
		of("opaque", v1alpha1.ReasonSecretInvalid, "", good),
		of("of-dockercfg", v1alpha1.ReasonSecretInvalid, corev1.SecretTypeDockercfg, docker),
		of("empty", invalid, corev1.SecretTypeTLS, map[string][]byte{crt: {}, key: {}}),
		of("garbage", invalid, corev1.SecretTypeTLS, map[string][]byte{crt: []byte("hidden"), key: []byte("hidden")}),
		of("no-certificate", invalid, corev1.SecretTypeTLS, map[string][]byte{crt: good[key], key: good[key]}),
		of("no-private-key", invalid, corev1.SecretTypeTLS, map[string][]byte{crt: good[crt], key: good[crt]}),
		of("key-of-another", invalid, corev1.SecretTypeTLS, map[string][]byte{crt: good[crt], key: another[key]}),
		of("expired", invalid, corev1.SecretTypeTLS, expired),
		of("not-yet-valid", invalid, corev1.SecretTypeTLS, early),
	}, nil
}

func (s *secrets) pair(change func(*x509.Certificate)) (map[string][]byte, error) {
	certificate, key, err := s.authority.Issue(change)
	return map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}, err
}

// mended is an input with a value that is as it should be.
func (s *secrets) mended(c careless) (careless, error) {
	value := map[string]string{
		fieldToken: goodToken, fieldSigning: goodKey, fieldURL: s.plain.URL("/" + c.name),
		fieldCASecret: string(s.secure.CertificatePEM()), fieldCAConfigMap: string(s.secure.CertificatePEM()),
	}[c.field]
	c.kind, c.data = "", map[string][]byte{keys[c.field]: []byte(value)}
	if c.field != fieldCertificate {
		return c, nil
	}
	var err error
	c.kind = corev1.SecretTypeTLS
	c.data, err = s.pair(nil)
	return c, err
}

func (s *secrets) object(c careless) client.Object {
	about := metav1.ObjectMeta{Namespace: s.namespace, Name: c.name}
	if c.field == fieldCAConfigMap {
		return &corev1.ConfigMap{ObjectMeta: about, BinaryData: c.data}
	}
	if c.kind == corev1.SecretTypeServiceAccountToken {
		about.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
	}
	return &corev1.Secret{ObjectMeta: about, Type: c.kind, Data: c.data}
}

func (s *secrets) webhook(c careless) *v1alpha1.Webhook {
	w := webhook(s.namespace, c.name, s.receiver(c).URL("/"+c.name))
	bundle := &v1alpha1.CABundleReference{Name: c.name}
	switch c.field {
	case fieldToken:
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: c.name, Key: keys[fieldToken]}
	case fieldSigning:
		w.Spec.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: c.name, Key: keys[fieldSigning]}
	case fieldURL:
		w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: c.name, Key: keys[fieldURL]}
	case fieldCASecret:
		w.Spec.TLS = &v1alpha1.TLSSettings{CASecretRef: bundle}
	case fieldCAConfigMap:
		w.Spec.TLS = &v1alpha1.TLSSettings{CAConfigMapRef: bundle}
	case fieldCertificate:
		w.Spec.TLS = &v1alpha1.TLSSettings{
			CAConfigMapRef: &v1alpha1.CABundleReference{Name: "authority"}, ClientCertSecretRef: &v1alpha1.SecretReference{Name: c.name},
		}
	}
	return w
}

func (s *secrets) receiver(c careless) *receiver.Receiver {
	if c.field == fieldToken || c.field == fieldSigning || c.field == fieldURL {
		return s.plain
	}
	return s.secure
}

func (s *secrets) arrivals(c careless) []receiver.Arrival {
	return s.receiver(c).Arrivals("/" + c.name)
}

// told waits until a Webhook tells what is wrong with what it names, or that nothing
// is, and returns what is wrong with that.
func (s *secrets) told(ctx context.Context, c careless) []string {
	var ready *metav1.Condition
	err := wait.PollUntilContextCancel(ctx, interval, true, func(context.Context) (bool, error) {
		var w v1alpha1.Webhook
		err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: c.name}, &w)
		ready = meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil, err
	})
	if err != nil {
		return []string{fmt.Sprintf("the Webhook does not tell: %v", err)}
	}
	var problems []string
	if ready.Reason != c.reason || c.reason != v1alpha1.ReasonUsable && !strings.Contains(ready.Message, c.name) {
		problems = append(problems, fmt.Sprintf("it tells %s: %s; want %s, and the name", ready.Reason, ready.Message, c.reason))
	}
	tells := strings.Contains(ready.Message, "hidden")
	for _, value := range c.data {
		for line := range strings.Lines(string(value)) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "whsec_")
			tells = tells || len(line) > 5 && !strings.HasPrefix(line, "-----BEGIN") && strings.Contains(ready.Message, line)
		}
	}
	if tells {
		problems = append(problems, "it tells the value: "+ready.Message)
	}
	return problems
}
