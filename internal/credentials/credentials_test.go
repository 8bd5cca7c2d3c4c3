package credentials

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

var (
	now     = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	secrets = corev1.Resource("secrets")
)

// secretReader is an API server that knows Secrets, ConfigMaps and nothing else.
type secretReader struct {
	mu         sync.Mutex
	secrets    map[types.NamespacedName]*corev1.Secret
	configMaps map[types.NamespacedName]*corev1.ConfigMap
	err        error
	reads      []types.NamespacedName
	// during, if given, is called between the read and its answer.
	during func()
}

func (r *secretReader) Get(ctx context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	r.mu.Lock()
	r.reads = append(r.reads, key)
	s, isSecret := r.secrets[key]
	c, isConfigMap := r.configMaps[key]
	err, during := r.err, r.during
	r.mu.Unlock()
	if during != nil {
		during()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	switch into := object.(type) {
	case *corev1.Secret:
		if isSecret {
			s.DeepCopyInto(into)
			return nil
		}
	case *corev1.ConfigMap:
		if isConfigMap {
			c.DeepCopyInto(into)
			return nil
		}
	}
	return apierrors.NewNotFound(secrets, key.Name)
}

func (r *secretReader) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("nobody may list Secrets")
}

func (r *secretReader) put(namespace, name string, change func(s *corev1.Secret)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{}}
	change(s)
	if r.secrets == nil {
		r.secrets = map[types.NamespacedName]*corev1.Secret{}
	}
	r.secrets[client.ObjectKeyFromObject(s)] = s
}

func (r *secretReader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.reads)
}

func value(v string) func(s *corev1.Secret) {
	return func(s *corev1.Secret) { s.Data["token"] = []byte(v) }
}

func webhook(name string) *v1alpha1.Webhook {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{SecretRef: &v1alpha1.SecretKeyReference{Name: name, Key: "token"}}}
	w.Namespace, w.Name = "music", "smoke-tests"
	return w
}

func newReader() (*Reader, *secretReader, *clocktesting.FakeClock) {
	api, clock := &secretReader{}, clocktesting.NewFakeClock(now)
	return NewReader(api, clock), api, clock
}

func reveal(s *signing.Secret) string {
	if s == nil {
		return ""
	}
	return s.Reveal()
}

func TestGet(t *testing.T) {
	// Whatever is wrong with a value, this is in it, and in nothing that is said.
	const token = "s3cr3t-t0k3n"
	type outcome struct {
		Secret, Note, Reason, Message string
	}
	ofType := func(secretType corev1.SecretType) func(s *corev1.Secret) {
		return func(s *corev1.Secret) { s.Type = secretType; s.Data["token"] = []byte(token) }
	}
	carried := func(secretType string) outcome {
		return outcome{
			Reason:  v1alpha1.ReasonSecretInvalid,
			Message: `Secret "receiver" is of type ` + secretType + `, which must not be sent to receivers: use one of type Opaque`,
		}
	}
	invalid := func(why string) outcome {
		return outcome{Reason: v1alpha1.ReasonSecretInvalid, Message: `key "token" of Secret "receiver" cannot be used: ` + why}
	}
	const trimmed = `key "token" of Secret "receiver" ends in a line break, which is not sent`

	for name, tc := range map[string]struct {
		secret func(s *corev1.Secret)
		err    error
		want   outcome
	}{
		"usable":                {secret: value(token), want: outcome{Secret: token}},
		"of any other type":     {secret: ofType("example.com/token"), want: outcome{Secret: token}},
		"of no type":            {secret: ofType(""), want: outcome{Secret: token}},
		"basic auth":            {secret: ofType(corev1.SecretTypeBasicAuth), want: outcome{Secret: token}},
		"ends in a line feed":   {secret: value(token + "\n"), want: outcome{Secret: token, Note: trimmed}},
		"ends in CR LF":         {secret: value(token + "\r\n"), want: outcome{Secret: token, Note: trimmed}},
		"as long as can be":     {secret: value(token + strings.Repeat("x", 4096-len(token))), want: outcome{Secret: token + strings.Repeat("x", 4096-len(token))}},
		"a key":                 {secret: value("whsec_" + base64.StdEncoding.EncodeToString([]byte(token))), want: outcome{Secret: "whsec_" + base64.StdEncoding.EncodeToString([]byte(token))}},
		"does not exist":        {want: outcome{Reason: v1alpha1.ReasonSecretNotFound, Message: `Secret "receiver" does not exist in namespace "music": create it, or change spec.secretRef`}},
		"lacks the key":         {secret: func(s *corev1.Secret) { s.Data["Token"] = []byte(token) }, want: outcome{Reason: v1alpha1.ReasonSecretKeyNotFound, Message: `Secret "receiver" has no key "token": add it, or change spec.secretRef.key`}},
		"has no data":           {secret: func(s *corev1.Secret) { s.Data = nil }, want: outcome{Reason: v1alpha1.ReasonSecretKeyNotFound, Message: `Secret "receiver" has no key "token": add it, or change spec.secretRef.key`}},
		"may not be read":       {err: apierrors.NewForbidden(secrets, "receiver", errors.New(token)), want: outcome{Reason: v1alpha1.ReasonSecretNotFound, Message: `the operator may not read Secret "receiver": it needs permission to get secrets`}},
		"empty":                 {secret: value(""), want: invalid("the value is empty")},
		"only line breaks":      {secret: value("\r\n\n"), want: invalid("the value is empty")},
		"too long":              {secret: value(token + strings.Repeat("x", 4097-len(token))), want: invalid("the value has 4097 bytes, more than the 4096 that a header may have")},
		"1 MiB":                 {secret: value(token + strings.Repeat("x", 1<<20-len(token))), want: invalid("the value has 1048576 bytes, more than the 4096 that a header may have")},
		"begins with a space":   {secret: value(" " + token), want: invalid("the value begins with a space")},
		"CR LF inside":          {secret: value(token + "\r\nX-Evil: " + token), want: invalid("byte 13 of the value is a carriage return, which a header cannot carry")},
		"NUL inside":            {secret: value(token + "\x00" + token), want: invalid("byte 13 of the value is NUL, which a header cannot carry")},
		"a tab inside":          {secret: value(token + "\t" + token), want: invalid("byte 13 of the value is a tab, which a header cannot carry")},
		"binary":                {secret: value(token + "\xff\xfe"), want: invalid("byte 13 of the value is a byte order mark of UTF-16, which a header cannot carry")},
		"beyond ASCII":          {secret: value(token + "\u97f3"), want: invalid("byte 13 of the value is not ASCII, which a header cannot carry")},
		"a key that is none":    {secret: value("whsec_" + token + "!"), want: invalid("the value begins with whsec_, but what follows is not a base64 key")},
		"an empty key":          {secret: value("whsec_"), want: invalid("the value begins with whsec_, but what follows is not a base64 key")},
		"service account token": {secret: ofType(corev1.SecretTypeServiceAccountToken), want: carried("kubernetes.io/service-account-token")},
		"bootstrap token":       {secret: ofType(corev1.SecretTypeBootstrapToken), want: carried("bootstrap.kubernetes.io/token")},
		"certificate and key":   {secret: ofType(corev1.SecretTypeTLS), want: carried("kubernetes.io/tls")},
		"SSH key":               {secret: ofType(corev1.SecretTypeSSHAuth), want: carried("kubernetes.io/ssh-auth")},
		"dockercfg":             {secret: ofType(corev1.SecretTypeDockercfg), want: carried("kubernetes.io/dockercfg")},
		"dockerconfigjson":      {secret: ofType(corev1.SecretTypeDockerConfigJson), want: carried("kubernetes.io/dockerconfigjson")},
		"forbidden type, and lacks the key": {
			secret: func(s *corev1.Secret) { s.Type = corev1.SecretTypeServiceAccountToken }, want: carried("kubernetes.io/service-account-token"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, api, _ := newReader()
			api.err = tc.err
			if tc.secret != nil {
				api.put("music", "receiver", tc.secret)
			}
			for _, read := range []string{"read", "kept"} {
				with, err := r.Get(t.Context(), webhook("receiver"))
				got := outcome{Secret: reveal(with.Secret), Note: with.Note}
				if mistake, ok := errors.AsType[*Error](err); ok {
					got.Reason, got.Message = mistake.Reason, mistake.Message
				} else if err != nil {
					t.Fatalf("%s: %v is no mistake of a person", read, err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", read, diff)
				}
				if said := fmt.Sprintf("%v %+v %#v %v", err, err, err, with); strings.Contains(said, token) {
					t.Errorf("%s: the value is told: %s", read, said)
				}
			}
			if api.count() != 1 {
				t.Errorf("read %d times", api.count())
			}
		})
	}
}

// The key of signatures is held to the rules of the token, and what is wrong with it
// names its field.
func TestSigningKey(t *testing.T) {
	const token, key = "s3cr3t-t0k3n", "an0ther-s1gning-key"
	type outcome struct {
		Secret, Key, Note, Reason, Message string
	}
	ofType := func(secretType corev1.SecretType) func(s *corev1.Secret) {
		return func(s *corev1.Secret) { s.Type = secretType; s.Data["key"] = []byte(key) }
	}
	with := func(v string) func(s *corev1.Secret) { return func(s *corev1.Secret) { s.Data["key"] = []byte(v) } }
	invalid := func(why string) outcome {
		return outcome{Reason: v1alpha1.ReasonSecretInvalid, Message: `spec.signingSecretRef: key "key" of Secret "signing" cannot be used: ` + why}
	}
	const noKey = `Secret "signing" has no key "key": add it, or change spec.signingSecretRef.key`
	whsec := "whsec_" + base64.StdEncoding.EncodeToString([]byte(key))
	for name, tc := range map[string]struct {
		signing func(s *corev1.Secret)
		change  func(w *v1alpha1.WebhookSpec)
		want    outcome
	}{
		"usable":              {signing: with(key), want: outcome{Secret: token, Key: key}},
		"without a token":     {signing: with(key), change: func(w *v1alpha1.WebhookSpec) { w.SecretRef = nil }, want: outcome{Key: key}},
		"key of the standard": {signing: with(whsec), want: outcome{Secret: token, Key: whsec}},
		"ends in a line feed": {signing: with(key + "\n"), want: outcome{Secret: token, Key: key, Note: `key "key" of Secret "signing" ends in a line break, which is not sent`}},
		"beside the token": {
			change: func(w *v1alpha1.WebhookSpec) {
				w.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: "receiver", Key: "key"}
			},
			want: outcome{Secret: token, Key: "in-the-same-secret"},
		},
		"the token itself": {
			change: func(w *v1alpha1.WebhookSpec) { w.SigningSecretRef = w.SecretRef },
			want:   outcome{Secret: token, Key: token},
		},
		"does not exist":        {want: outcome{Reason: v1alpha1.ReasonSecretNotFound, Message: `Secret "signing" does not exist in namespace "music": create it, or change spec.signingSecretRef`}},
		"lacks the key":         {signing: value(key), want: outcome{Reason: v1alpha1.ReasonSecretKeyNotFound, Message: noKey}},
		"empty":                 {signing: with(""), want: invalid("the value is empty")},
		"only a line feed":      {signing: with("\n"), want: invalid("the value is empty")},
		"too long":              {signing: with(key + strings.Repeat("x", 4097-len(key))), want: invalid("the value has 4097 bytes, more than the 4096 that a header may have")},
		"a key that is none":    {signing: with("whsec_" + key + "!"), want: invalid("the value begins with whsec_, but what follows is not a base64 key")},
		"service account token": {signing: ofType(corev1.SecretTypeServiceAccountToken), want: outcome{Reason: v1alpha1.ReasonSecretInvalid, Message: `Secret "signing" is of type kubernetes.io/service-account-token, which spec.signingSecretRef must not name: use one of type Opaque`}},
		"private key":           {signing: ofType(corev1.SecretTypeTLS), want: outcome{Reason: v1alpha1.ReasonSecretInvalid, Message: `Secret "signing" is of type kubernetes.io/tls, which spec.signingSecretRef must not name: use one of type Opaque`}},
	} {
		t.Run(name, func(t *testing.T) {
			r, api, _ := newReader()
			api.put("music", "receiver", func(s *corev1.Secret) {
				s.Data["token"], s.Data["key"] = []byte(token), []byte("in-the-same-secret")
			})
			if tc.signing != nil {
				api.put("music", "signing", tc.signing)
			}
			w := webhook("receiver")
			w.Spec.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: "signing", Key: "key"}
			if tc.change != nil {
				tc.change(&w.Spec)
			}
			with, err := r.Get(t.Context(), w)
			got := outcome{Secret: reveal(with.Secret), Key: reveal(with.SigningKey), Note: with.Note}
			if mistake, ok := errors.AsType[*Error](err); ok {
				got.Reason, got.Message = mistake.Reason, mistake.Message
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			said := fmt.Sprintf("%v %+v %#v %v", err, err, err, with)
			if err == nil {
				said += with.Redactor.Redact(got.Key + " " + base64.StdEncoding.EncodeToString([]byte(got.Key)))
			}
			for _, secret := range []string{token, key, base64.StdEncoding.EncodeToString([]byte(key))} {
				if strings.Contains(said, secret) {
					t.Errorf("%s is told: %s", secret, said)
				}
			}
			if name == "beside the token" && api.count() != 1 {
				t.Errorf("read %d times: token and key may be of two versions", api.count())
			}
		})
	}
}

// Two Webhooks that differ in nothing but the key of signatures do not share it.
func TestSigningKeysAreToldApart(t *testing.T) {
	r, api, _ := newReader()
	api.put("music", "receiver", func(s *corev1.Secret) {
		s.Data["token"], s.Data["one"], s.Data["two"] = []byte("token"), []byte("key-one"), []byte("key-two")
	})
	for range 2 {
		for key, want := range map[string]string{"one": "key-one", "two": "key-two", "": ""} {
			w := webhook("receiver")
			if key != "" {
				w.Spec.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: "receiver", Key: key}
			}
			with, err := r.Get(t.Context(), w)
			if err != nil || reveal(with.SigningKey) != want {
				t.Errorf("%q: %q, %v", key, reveal(with.SigningKey), err)
			}
		}
	}
}

func TestWithoutSecretNothingIsRead(t *testing.T) {
	r, api, _ := newReader()
	w := webhook("receiver")
	w.Spec.SecretRef = nil
	w.Spec.URL = "https://ci.example.com/hooks"
	with, err := r.Get(t.Context(), w)
	r.Forget(w)
	if with.Secret != nil || with.Note != "" || with.Redactor != nil || err != nil || api.count() != 0 {
		t.Errorf("%v, %v after %d reads", with, err, api.count())
	}
	if with.Target.Reveal() != w.Spec.URL || with.Target.String() != w.Spec.URL {
		t.Errorf("sent to %s", with.Target)
	}
}

// Only Secrets of the Webhook's own namespace.
func TestNamespaceOfTheWebhook(t *testing.T) {
	r, api, _ := newReader()
	api.put("video", "receiver", value("theirs"))
	_, err := r.Get(t.Context(), webhook("receiver"))
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("no mistake: %v", err)
	}
	theirs := webhook("receiver")
	theirs.Namespace = "video"
	with, err := r.Get(t.Context(), theirs)
	if err != nil || reveal(with.Secret) != "theirs" {
		t.Errorf("%q, %v", reveal(with.Secret), err)
	}
	want := []types.NamespacedName{{Namespace: "music", Name: "receiver"}, {Namespace: "video", Name: "receiver"}}
	if diff := cmp.Diff(want, api.reads); diff != "" {
		t.Errorf("reads (-want +got):\n%s", diff)
	}
}

func TestKeysAreToldApart(t *testing.T) {
	r, api, _ := newReader()
	api.put("music", "receiver", func(s *corev1.Secret) {
		s.Data["token"], s.Data["other"] = []byte("one-one"), []byte("two-two")
	})
	other := webhook("receiver")
	other.Spec.SecretRef.Key = "other"
	for range 2 {
		one, _ := r.Get(t.Context(), webhook("receiver"))
		two, _ := r.Get(t.Context(), other)
		if reveal(one.Secret) != "one-one" || reveal(two.Secret) != "two-two" {
			t.Errorf("%q, %q", reveal(one.Secret), reveal(two.Secret))
		}
	}
}

// A rotation is noticed after 30 s, and a mistake that was mended after 5 s.
func TestKeptForAWhile(t *testing.T) {
	for name, tc := range map[string]struct {
		before, after         func(s *corev1.Secret)
		wantBefore, wantAfter string
		wantKept              time.Duration
	}{
		"rotated": {before: value("before"), after: value("after1"), wantBefore: "before", wantAfter: "after1", wantKept: TTL},
		"mended":  {before: value(""), after: value("after1"), wantBefore: "SecretInvalid", wantAfter: "after1", wantKept: mistakeTTL},
		"created": {after: value("after1"), wantBefore: "SecretNotFound", wantAfter: "after1", wantKept: mistakeTTL},
		"spoilt":  {before: value("before"), after: value("\x00"), wantBefore: "before", wantAfter: "SecretInvalid", wantKept: TTL},
	} {
		t.Run(name, func(t *testing.T) {
			r, api, clock := newReader()
			if tc.before != nil {
				api.put("music", "receiver", tc.before)
			}
			get := func() string {
				with, err := r.Get(t.Context(), webhook("receiver"))
				if mistake, ok := errors.AsType[*Error](err); ok {
					return mistake.Reason
				}
				return reveal(with.Secret)
			}
			var got []string
			got = append(got, get())
			api.put("music", "receiver", tc.after)
			clock.Step(tc.wantKept - 1)
			got = append(got, get())
			clock.Step(1)
			got = append(got, get())
			if diff := cmp.Diff([]string{tc.wantBefore, tc.wantBefore, tc.wantAfter}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if api.count() != 2 {
				t.Errorf("read %d times", api.count())
			}
		})
	}
}

func TestForget(t *testing.T) {
	r, api, _ := newReader()
	api.put("music", "receiver", value("before"))
	api.put("music", "another", value("another"))
	get := func(name string) string {
		with, _ := r.Get(t.Context(), webhook(name))
		return reveal(with.Secret)
	}
	get("receiver")
	get("another")
	api.put("music", "receiver", value("after1"))
	r.Forget(webhook("receiver"))
	if got := get("receiver"); got != "after1" {
		t.Errorf("%q after it was forgotten", got)
	}
	get("another")
	if api.count() != 3 {
		t.Errorf("read %d times: another one was forgotten too", api.count())
	}
	r.Forget(webhook("unknown"))
}

// What was read before a rotation is not kept by whoever was slow, once a 401
// has made it known that it is old.
func TestForgetWhileItIsRead(t *testing.T) {
	r, api, _ := newReader()
	api.put("music", "receiver", value("before"))
	api.during = func() {
		api.put("music", "receiver", value("after1"))
		r.Forget(webhook("receiver"))
	}
	if _, err := r.Get(t.Context(), webhook("receiver")); err != nil {
		t.Fatal(err)
	}
	api.mu.Lock()
	api.during = nil
	api.mu.Unlock()
	with, err := r.Get(t.Context(), webhook("receiver"))
	if err != nil || reveal(with.Secret) != "after1" {
		t.Errorf("%q, %v", reveal(with.Secret), err)
	}
}

// What one Webhook forgets is nothing to the others.
func TestForgetOfAnotherWhileItIsRead(t *testing.T) {
	r, api, _ := newReader()
	api.put("music", "receiver", value("value1"))
	api.during = func() { r.Forget(webhook("another")) }
	for range 2 {
		if _, err := r.Get(t.Context(), webhook("receiver")); err != nil {
			t.Fatal(err)
		}
	}
	if api.count() != 1 {
		t.Errorf("read %d times", api.count())
	}
}

// However many requests need it at once, it is read once.
func TestManyWaitForOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, api, _ := newReader()
		api.put("music", "receiver", value("value1"))
		answer := make(chan struct{})
		api.during = func() { <-answer }
		var found atomic.Int32
		for range 100 {
			go func() {
				if with, err := r.Get(t.Context(), webhook("receiver")); err == nil && reveal(with.Secret) == "value1" {
					found.Add(1)
				}
			}()
		}
		synctest.Wait() // one of them reads
		impatient, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() {
			_, err := r.Get(impatient, webhook("receiver"))
			gaveUp <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("whoever waits no longer: %v", err)
		}
		close(answer)
		synctest.Wait()
		if found.Load() != 100 || api.count() != 1 {
			t.Errorf("%d found it, after %d reads", found.Load(), api.count())
		}
	})
}

// Whoever gives up while reading for all does not break it off.
func TestReadThatIsGivenUpGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, api, _ := newReader()
		api.put("music", "receiver", value("token"))
		answer := make(chan struct{})
		api.during = func() { <-answer }
		impatient, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := r.Get(impatient, webhook("receiver")); !errors.Is(err, context.Canceled) {
				t.Errorf("whoever gave up: %v", err)
			}
		}()
		synctest.Wait() // it reads
		go func() {
			if with, err := r.Get(t.Context(), webhook("receiver")); err != nil || reveal(with.Secret) != "token" {
				t.Errorf("whoever waited for it: %q, %v", reveal(with.Secret), err)
			}
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(answer)
		synctest.Wait()
		if api.count() != 1 {
			t.Errorf("%d reads", api.count())
		}
	})
}

// A read that never ends is given up for all, and one that panics ends no process.
func TestReadThatFailsIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, api, _ := newReader()
		api.put("music", "receiver", value("token"))
		for name, during := range map[string]func(){
			"hangs":  func() { time.Sleep(2 * readTimeout) },
			"panics": func() { panic("in a read") },
		} {
			api.mu.Lock()
			api.during = during
			api.mu.Unlock()
			if _, err := r.Get(t.Context(), webhook("receiver")); err == nil {
				t.Errorf("%s: no error", name)
			}
			api.mu.Lock()
			api.during = nil
			api.mu.Unlock()
			if with, err := r.Get(t.Context(), webhook("receiver")); err != nil || reveal(with.Secret) != "token" {
				t.Errorf("%s, then %q, %v", name, reveal(with.Secret), err)
			}
			r.Forget(webhook("receiver"))
		}
	})
}

// An API server that does not answer is nobody's mistake, and not remembered.
func TestErrorsAreNotKept(t *testing.T) {
	for name, err := range map[string]error{
		"timeout":      apierrors.NewTimeoutError("later", 1),
		"unavailable":  apierrors.NewServiceUnavailable("etcd"),
		"unauthorized": apierrors.NewUnauthorized("who are you"),
		"canceled":     context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			r, api, _ := newReader()
			api.put("music", "receiver", value("token"))
			api.err = err
			_, got := r.Get(t.Context(), webhook("receiver"))
			if _, mistake := errors.AsType[*Error](got); mistake || !errors.Is(got, err) {
				t.Errorf("error %v", got)
			}
			api.err = nil
			with, got := r.Get(t.Context(), webhook("receiver"))
			if got != nil || reveal(with.Secret) != "token" {
				t.Errorf("%q, %v", reveal(with.Secret), got)
			}
		})
	}
}

// Values of webhooks that are gone do not stay in memory.
func TestWhatIsKeptExpires(t *testing.T) {
	r, api, clock := newReader()
	for n := range 100 {
		name := fmt.Sprint("receiver-", n)
		api.put("music", name, value("token"))
		if _, err := r.Get(t.Context(), webhook(name)); err != nil {
			t.Fatal(err)
		}
	}
	if r.kept.Len() != 100 {
		t.Fatalf("%d are kept", r.kept.Len())
	}
	clock.Step(TTL + 1)
	if _, err := r.Get(t.Context(), webhook("receiver-0")); err != nil {
		t.Fatal(err)
	}
	if r.kept.Len() != 1 {
		t.Errorf("%d are kept", r.kept.Len())
	}
}

func TestConcurrently(t *testing.T) {
	r, api, clock := newReader()
	api.put("music", "receiver", value("token"))
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for n := range 200 {
				with, err := r.Get(t.Context(), webhook("receiver"))
				if err != nil || reveal(with.Secret) != "token" {
					t.Errorf("%q, %v", reveal(with.Secret), err)
				}
				switch (worker + n) % 5 {
				case 0:
					r.Forget(webhook("receiver"))
				case 1:
					clock.Step(time.Second)
				}
			}
		})
	}
	workers.Wait()
}

// The value is in memory of the Reader, and in no text that it makes.
func TestPrintingTheReaderTellsNothing(t *testing.T) {
	r, api, _ := newReader()
	api.put("music", "receiver", func(s *corev1.Secret) {
		s.Data["token"], s.Data["url"] = []byte("s3cr3t-t0k3n"), []byte("https://chat.example.com/hooks/s3cr3t-p4th")
	})
	w := webhook("receiver")
	w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "receiver", Key: "url"}
	with, err := r.Get(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&out, verb+"\n", r.known(referencesOf(w)))
		fmt.Fprintf(&out, verb+"\n", with)
	}
	if strings.Contains(out.String(), "s3cr3t") || strings.Contains(out.String(), fmt.Sprintf("%x", "s3cr3t")) {
		t.Errorf("the value is told: %s", out.String())
	}
}
