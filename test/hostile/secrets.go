package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/record"
	"github.com/horizoncd/webhook-operator/internal/signing"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// playURLs applies Webhooks with URLs that cannot be.
func playURLs(ctx context.Context, t *trial) error {
	namespace, err := t.namespace(ctx)
	if err != nil {
		return err
	}
	for name, input := range map[string]struct{ url, says string }{
		"empty":            {"", "url is required"},
		"relative":         {"hooks/horizon", "url must be absolute"},
		"path":             {"/hooks", "url must be absolute"},
		"no scheme":        {"//ci.example.com/", "url must be absolute"},
		"file":             {"file:///etc/passwd", "url must be absolute"},
		"gopher":           {"gopher://ci.example.com:70/1", "url must be absolute"},
		"javascript":       {"javascript:alert(1)", "url must be absolute"},
		"data":             {"data:text/html,x", "url must be absolute"},
		"unix socket":      {"http+unix://%2Fvar%2Frun%2Fdocker.sock/", "url must be absolute"},
		"user info":        {"https://me:secret@ci.example.com/", "url must not contain a user name"},
		"port 0":           {"https://ci.example.com:0/", "url must have a port from 1 to 65535"},
		"port 65536":       {"https://ci.example.com:65536/", "url must have a port from 1 to 65535"},
		"port of words":    {"https://ci.example.com:http/", "url must name a host"},
		"2 MiB":            {"https://ci.example.com/" + strings.Repeat("a", 2<<20), "may not be more than 2048"},
		"fragment":         {"https://ci.example.com/#music", "url must not have a fragment"},
		"CR LF":            {"https://ci.example.com/\r\nX-Other:%201", "url must percent-encode"},
		"NUL":              {"https://ci.example.com/\x00", "url must percent-encode"},
		"space":            {"https://ci.example.com/music ops", "url must percent-encode"},
		"full-width":       {"https://１２７.0.0.1/", "url must percent-encode"},
		"backslash":        {`https://ci.example.com\@other.example.com/`, "url must percent-encode"},
		"zone":             {"https://[fe80::1%25lo]/", "url must name a host"},
		"IPv4 in brackets": {"https://[127.0.0.1]/", "url must name a host"},
	} {
		var problems []string
		err := t.client.Create(ctx, webhook(namespace, "url", input.url), client.DryRunAll)
		switch {
		case err == nil:
			problems = append(problems, "accepted")
		case !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), input.says):
			problems = append(problems, fmt.Sprintf("refused with %.300q, want %q in it", err, input.says))
		}
		t.judge(name, problems)
	}
	return nil
}

const (
	goodToken = "a-token-that-can-be-sent"
	// conditionMost is how long a Webhook may take to tell what is wrong with its
	// Secret, and mendMost how long one that was mended takes to be noticed.
	conditionMost = 10 * time.Second
	mendMost      = 35 * time.Second
)

// careless is a Secret that cannot be used.
type careless struct {
	name, reason string
	secret       *corev1.Secret // nil: there is none
	hidden       string         // what must not be told of it
}

func carelessSecrets(namespace string) []careless {
	of := func(name, reason, value string) careless {
		return careless{name, reason, &corev1.Secret{Data: map[string][]byte{"token": []byte(value)}}, strings.TrimPrefix(strings.Trim(value, " \r\n\x00"), "whsec_")}
	}
	typed := func(name string, kind corev1.SecretType, more map[string][]byte) careless {
		c := of(name, v1alpha1.ReasonSecretInvalid, "a-credential-of-the-cluster")
		maps.Copy(c.secret.Data, more)
		c.secret.Type = kind
		c.secret.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
		return c
	}
	all := []careless{
		{name: "missing", reason: v1alpha1.ReasonSecretNotFound},
		{name: "no-key", reason: v1alpha1.ReasonSecretKeyNotFound, secret: &corev1.Secret{Data: map[string][]byte{"other": []byte("x")}}},
		of("empty", v1alpha1.ReasonSecretInvalid, ""),
		of("binary", v1alpha1.ReasonSecretInvalid, "hidden\x00\x01\x02\xff\xfe"),
		of("mebibyte", v1alpha1.ReasonSecretInvalid, strings.Repeat("hidden--", 1<<17)),
		of("line-break", v1alpha1.ReasonSecretInvalid, "hidden\r\nX-Other: value"),
		of("nul", v1alpha1.ReasonSecretInvalid, "hidden\x00value"),
		of("not-ascii", v1alpha1.ReasonSecretInvalid, "hidden-välue"),
		of("spaces", v1alpha1.ReasonSecretInvalid, " hidden-value "),
		of("broken-whsec", v1alpha1.ReasonSecretInvalid, "whsec_hidden*value"),
		of("empty-whsec", v1alpha1.ReasonSecretInvalid, "whsec_"),
		typed("account-token", corev1.SecretTypeServiceAccountToken, nil),
		typed("docker-config", corev1.SecretTypeDockerConfigJson, map[string][]byte{corev1.DockerConfigJsonKey: []byte("{}")}),
		typed("bootstrap-token", corev1.SecretTypeBootstrapToken, nil),
		typed("private-key", corev1.SecretTypeSSHAuth, map[string][]byte{corev1.SSHAuthPrivateKey: []byte("hidden")}),
	}
	for i := range all {
		if s := all[i].secret; s != nil {
			s.Namespace, s.Name = namespace, all[i].name
		}
	}
	return all
}

// playSecrets names Secrets that cannot be used, and then mends them.
func playSecrets(ctx context.Context, t *trial) (err error) {
	namespace, err := t.namespace(ctx)
	if err != nil {
		return err
	}
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	all := carelessSecrets(namespace)
	for _, c := range all {
		if c.secret != nil {
			if err := t.client.Create(ctx, c.secret.DeepCopy()); err != nil {
				return err
			}
		}
		if err := t.signed(ctx, namespace, c.name, r); err != nil {
			return err
		}
	}
	if err := t.trailing(ctx, namespace, r); err != nil {
		return err
	}
	if err := t.event(ctx, namespace, "horizon-1"); err != nil {
		return err
	}
	problems := map[string][]string{}
	told, cancel := context.WithTimeout(ctx, conditionMost)
	defer cancel()
	for _, c := range all {
		problems[c.name] = t.unready(told, namespace, c)
		if n := len(r.Arrivals("/" + c.name)); n > 0 {
			problems[c.name] = append(problems[c.name], fmt.Sprintf("%d requests with a Secret that cannot be used", n))
		}
	}
	for _, c := range all { // the type of a Secret cannot be changed
		if c.secret != nil {
			if err := t.client.Delete(ctx, c.secret.DeepCopy()); err != nil {
				return err
			}
		}
		good := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: c.name}, StringData: map[string]string{"token": goodToken}}
		if err := t.client.Create(ctx, good); err != nil {
			return err
		}
	}
	mended, cancel := context.WithTimeout(ctx, mendMost)
	defer cancel()
	records, err := t.settled(mended, namespace, "horizon-1", len(all)+1)
	if err != nil {
		return err
	}
	for _, c := range append(all, careless{name: "trailing"}) {
		if d := records[c.name]; d == nil || d.Status.Result != v1alpha1.DeliverySucceeded {
			problems[c.name] = append(problems[c.name], fmt.Sprintf("not delivered within %v of being mended", mendMost))
		}
		for _, a := range r.Arrivals("/" + c.name) {
			if a.Header.Get(signing.HeaderSecret) != goodToken || a.Header.Get(signing.HeaderSignature) == "" {
				problems[c.name] = append(problems[c.name], "sent without the right secret and a signature")
			}
		}
		t.judge(c.name, problems[c.name])
	}
	return nil
}

// signed makes a Webhook whose Secret has its own name.
func (t *trial) signed(ctx context.Context, namespace, name string, r *receiver.Receiver) error {
	w := webhook(namespace, name, r.URL("/"+name))
	w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "token"}
	return t.client.Create(ctx, w)
}

// trailing makes one whose Secret ends in a line break, which is left out.
func (t *trial) trailing(ctx context.Context, namespace string, r *receiver.Receiver) error {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "trailing"}, StringData: map[string]string{"token": goodToken + "\r\n"}}
	return errors.Join(t.client.Create(ctx, s), t.signed(ctx, namespace, "trailing", r))
}

// unready waits until a Webhook tells what is wrong with its Secret.
func (t *trial) unready(ctx context.Context, namespace string, c careless) []string {
	var ready *metav1.Condition
	err := wait.PollUntilContextCancel(ctx, interval, true, func(context.Context) (bool, error) {
		var w v1alpha1.Webhook
		err := t.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: c.name}, &w)
		ready = meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Status == metav1.ConditionFalse, err
	})
	var problems []string
	if err != nil {
		return append(problems, fmt.Sprintf("the Webhook does not tell: %v", err))
	}
	if ready.Reason != c.reason || !strings.Contains(ready.Message, c.name) {
		problems = append(problems, fmt.Sprintf("it tells %s: %s; want %s, and the name", ready.Reason, ready.Message, c.reason))
	}
	if strings.Contains(ready.Message, "hidden") || c.hidden != "" && strings.Contains(ready.Message, c.hidden) {
		problems = append(problems, "it tells the value: "+ready.Message)
	}
	return problems
}

// playAnnotations asks for resends in every way.
func playAnnotations(ctx context.Context, t *trial) (err error) {
	namespace, err := t.namespace(ctx)
	if err != nil {
		return err
	}
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := errors.Join(t.client.Create(ctx, webhook(namespace, "w", r.URL("/w"))), t.event(ctx, namespace, "horizon-1")); err != nil {
		return err
	}
	records, err := t.settled(ctx, namespace, "horizon-1", 1)
	if err != nil {
		return err
	}
	d := records["w"]
	if d == nil {
		return errors.New("nothing was delivered")
	}
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprint("value-", i)
	}
	again := make([]string, 200)
	for i := range again {
		again[i] = "the same"
	}
	for _, input := range []struct {
		name   string
		values []string
		least  int // cycles
		most   int
	}{
		{"empty", []string{""}, 0, 0},
		{"one value", []string{"1"}, 1, 1},
		{"the same, 200 times", again, 1, 1},
		{"200 KiB", []string{strings.Repeat("x", 200<<10)}, 1, 1},
		{"control characters", []string{"\x00\x1b[2J\r\n\u202e"}, 1, 1},
		{"500 values", many, 1, len(many)},
		{"empty after a value", []string{""}, 0, 0},
		{"after all that", []string{"last"}, 1, 1},
	} {
		t.judge(input.name, t.annotate(ctx, d, r, input.values, input.least, input.most))
	}
	return nil
}

// annotate asks for resends and tells whether there were as many as there may be.
func (t *trial) annotate(ctx context.Context, d *v1alpha1.WebhookDelivery, r *receiver.Receiver, values []string, least, most int) []string {
	before := r.Tally("/w").Requests
	for _, value := range values {
		patched := d.DeepCopy()
		patched.Annotations = map[string]string{v1alpha1.AnnotationResend: value}
		base := d.DeepCopy()
		base.Annotations = nil
		if err := t.client.Patch(ctx, patched, client.MergeFrom(base)); err != nil {
			return []string{fmt.Sprintf("annotating: %v", err)}
		}
	}
	last := values[len(values)-1]
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var now v1alpha1.WebhookDelivery
	err := wait.PollUntilContextCancel(waiting, interval, true, func(context.Context) (bool, error) {
		err := t.client.Get(waiting, client.ObjectKeyFromObject(d), &now)
		return last == "" || now.Annotations[v1alpha1.AnnotationResent] == record.ResendHash(last), err
	})
	if err != nil {
		return []string{fmt.Sprintf("the last value is not honoured: %v", err)}
	}
	// Another delivery goes the same way: by the time it is done, so would one more
	// cycle of this one be.
	namespace, event := d.Namespace, fmt.Sprintf("after-%d", len(r.AllArrivals()))
	if err := t.event(ctx, namespace, event); err != nil {
		return []string{err.Error()}
	}
	if _, err := t.settled(ctx, namespace, event, 1); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	if cycles := r.Tally("/w").Requests - before - 1; cycles < least || cycles > most {
		problems = append(problems, fmt.Sprintf("%d cycles, want %d to %d", cycles, least, most))
	}
	if now.Status.Result != v1alpha1.DeliverySucceeded || len([]rune(now.Status.LastResend)) > 128 {
		problems = append(problems, fmt.Sprintf("result %s, lastResend of %d bytes", now.Status.Result, len(now.Status.LastResend)))
	}
	if code := now.Status.History[0].StatusCode; code != http.StatusOK {
		problems = append(problems, fmt.Sprintf("status code %d", code))
	}
	return problems
}
