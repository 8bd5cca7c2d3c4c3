package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	oldToken = "the-token-before"
	newToken = "the-token-afterwards"
	// rotationMost is how long after a change an attempt may still have the value of
	// before.
	rotationMost = 30 * time.Second
)

// rotation is a change of Secrets. What has to come of it within half a minute is
// judged when the other groups have been played.
type rotation struct {
	namespace string
	receiver  *receiver.Receiver
	changed   time.Time
}

// rotations are what receivers answer to the event before the change, to the one after
// it, and from then on; and which value comes with each request.
var rotations = []struct {
	name, script string
	want         []string
}{
	{"after-401", "200,401,200", []string{"old", "either", "new", "new"}},
	{"after-403", "200,403,200", []string{"old", "either", "new", "new"}},
	{"in-time", "200", []string{"old", "either", "new"}},
}

// The receiver is asked for the old and the new URL of a Webhook.
func oldPath(name string) string { return "/" + name + "-old" }
func newPath(name string) string { return "/" + name + "-new" }

// beginRotation lets everything be sent once, changes the Secrets, and lets something
// happen again.
func beginRotation(ctx context.Context, t *session) error {
	var err error
	r := &rotation{}
	if r.namespace, err = t.namespace(ctx); err != nil {
		return err
	}
	if r.receiver, err = receiver.Start(receiver.Options{}); err != nil {
		return err
	}
	t.rotated = r
	for _, of := range rotations {
		token, url, signing := of.name+"-token", of.name+"-url", of.name+"-signing"
		r.receiver.Script("/"+token, receiver.MustParseScript(of.script)...)
		r.receiver.Script("/"+signing, receiver.MustParseScript(of.script)...)
		r.receiver.Script(oldPath(url), receiver.MustParseScript(of.script)...)
		w := webhook(r.namespace, token, r.receiver.URL("/"+token))
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: token, Key: "value"}
		u := webhook(r.namespace, url, "")
		u.Spec.URLSecretRef = &v1alpha1.SecretKeyReference{Name: url, Key: "value"}
		k := webhook(r.namespace, signing, r.receiver.URL("/"+signing))
		k.Spec.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: signing, Key: "value"}
		w.Spec.Retry.Limit, u.Spec.Retry.Limit, k.Spec.Retry.Limit = new(int32(1)), new(int32(1)), new(int32(1))
		if err := errors.Join(
			t.client.Create(ctx, r.secret(token, oldToken)), t.client.Create(ctx, w),
			t.client.Create(ctx, r.secret(url, r.receiver.URL(oldPath(url)))), t.client.Create(ctx, u),
			t.client.Create(ctx, r.secret(signing, oldToken)), t.client.Create(ctx, k),
		); err != nil {
			return err
		}
	}
	if err := t.event(ctx, r.namespace, "horizon-1"); err != nil {
		return err
	}
	if _, err := t.settled(ctx, r.namespace, "horizon-1", 3*len(rotations)); err != nil {
		return err
	}
	for _, of := range rotations {
		if err := errors.Join(
			t.client.Update(ctx, r.secret(of.name+"-token", newToken)),
			t.client.Update(ctx, r.secret(of.name+"-signing", newToken)),
			t.client.Update(ctx, r.secret(of.name+"-url", r.receiver.URL(newPath(of.name+"-url")))),
		); err != nil {
			return err
		}
	}
	r.changed = time.Now()
	return t.event(ctx, r.namespace, "horizon-2") // and now to other things
}

func (r *rotation) secret(name, value string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name}, StringData: map[string]string{"value": value}}
}

// playRotation judges what has come of the change, and an event after half a minute.
func playRotation(ctx context.Context, t *session) (err error) {
	r := t.rotated
	defer func() { err = errors.Join(err, r.receiver.Close()) }()
	select {
	case <-time.After(time.Until(r.changed.Add(rotationMost))):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, event := range []string{"horizon-2", "horizon-3"} {
		if event == "horizon-3" {
			if err := t.event(ctx, r.namespace, event); err != nil {
				return err
			}
		}
		if _, err := t.settled(ctx, r.namespace, event, 3*len(rotations)); err != nil {
			return err
		}
	}
	for _, of := range rotations {
		for _, name := range []string{of.name + "-token", of.name + "-url", of.name + "-signing"} {
			var problems []string
			got := r.values(name)
			same := slices.EqualFunc(got, of.want, func(got, want string) bool { return got == want || want == "either" })
			if !same {
				problems = append(problems, fmt.Sprintf("requests with the values %q, want %q", got, of.want))
			}
			t.judge(name, problems)
		}
	}
	return nil
}

// signedBy tells whether a key made the signature of a request.
func signedBy(key string, a receiver.Arrival) bool {
	v, err := standardwebhooks.NewWebhookRaw([]byte(key))
	return err == nil && v.VerifyIgnoringTimestamp(a.Body, a.Header) == nil
}

// values are which value came with each request of a Webhook.
func (r *rotation) values(name string) []string {
	var all []string
	for _, a := range r.receiver.AllArrivals() {
		token := a.Header.Get(signing.HeaderSecret)
		for _, key := range []string{oldToken, newToken} {
			if token == "" && signedBy(key, a) {
				token = key
			}
		}
		switch {
		case a.Path == oldPath(name), a.Path == "/"+name && token == oldToken:
			all = append(all, "old")
		case a.Path == newPath(name), a.Path == "/"+name && token == newToken:
			all = append(all, "new")
		case a.Path == "/"+name:
			all = append(all, token)
		}
	}
	return all
}
