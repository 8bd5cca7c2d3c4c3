package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// sentinels are secrets that nobody would write by chance: as they are, as a key of
// Standard Webhooks, and as a part of a URL. Tokens are full of what encodings change.
var sentinels = map[string]string{
	"plain": `sen+inel/<&>"'%= ~\value?0123456789`,
	"URL":   urlSentinel,
	"key":   "whsec_" + base64.StdEncoding.EncodeToString([]byte("\xfb\xff\xbe-sentinel-key-of-bytes-\xfe\xed")),
}

// urlSentinel is in the path and in the query of URLs in Secrets.
const urlSentinel = "sentinel-of-a-URL-0123456789~abc"

// unusable is the beginning of values that cannot be sent.
const unusable = "sentinel-that-cannot-be-sent"

// spellings are the ways to write a text that are looked for, and its halves.
func spellings(text string) map[string]string {
	quoted, _ := json.Marshal(text) //nolint:errchkjson // texts can be written as JSON
	all := map[string]string{
		"as it is": text, "first half": text[:len(text)/2], "second half": text[len(text)/2:],
		"query": url.QueryEscape(text), "path": url.PathEscape(text), "JSON": string(quoted[1 : len(quoted)-1]), "HTML": html.EscapeString(text),
		"hex": hex.EncodeToString([]byte(text)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(text))),
	}
	for place := range 3 { // in a group of four base64 characters
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", place) + text))
		inner := encoded[4 : len(encoded)-4] // what does not depend on its neighbours
		all[fmt.Sprint("base64 ", place)] = inner
		all[fmt.Sprint("base64url ", place)] = strings.NewReplacer("+", "-", "/", "_").Replace(inner)
	}
	return all
}

// echo is everything that a receiver may say of a secret.
func echo(secret string) string {
	var all []string
	for name, text := range spellings(secret) {
		if !strings.HasSuffix(name, "half") && !strings.HasPrefix(name, "base64") {
			all = append(all, text)
		}
	}
	for _, before := range []string{"", "a", "me:"} {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(before+secret)), base64.URLEncoding.EncodeToString([]byte(before+secret+"x")))
	}
	slices.Sort(all)
	return strings.Join(all, " | ")
}

// feature is a Webhook that does something with its secret. Add one for whatever may
// carry a secret from now on.
type feature struct {
	name   string
	answer func(net.Conn) // of its receiver
	change func(*v1alpha1.WebhookSpec)
	result v1alpha1.DeliveryResult
}

func features(secret string) []feature {
	const ok = "HTTP/1.1 200 OK\r\n"
	said := echo(secret)
	head := "X-Echo: " + said + "\r\n"
	failed, succeeded := v1alpha1.DeliveryFailed, v1alpha1.DeliverySucceeded
	sent := func(name string, result v1alpha1.DeliveryResult, steps ...func(net.Conn)) feature {
		return feature{name: name, result: result, answer: inputs.Sequence(steps...)}
	}
	to := func(name, target string) feature {
		return feature{name: name, result: failed, change: func(w *v1alpha1.WebhookSpec) { w.URL = target }}
	}
	retried := sent("retried", failed, inputs.Say("HTTP/1.1 500 No\r\n"+head+"\r\n"+said))
	retried.change = func(w *v1alpha1.WebhookSpec) { w.Retry.Limit = new(int32(2)) }
	tls := sent("not-tls", failed, inputs.Wait)
	tls.change = func(w *v1alpha1.WebhookSpec) { w.URL = strings.Replace(w.URL, "http:", "https:", 1) }
	all := []feature{
		sent("echoes", succeeded, inputs.Say(ok+head+"\r\n"+said)),
		sent("echoes-across-the-cut", succeeded, inputs.Say(ok+"\r\n"+strings.Repeat(".", inputs.MaxBody-20)+said)),
		retried,
		sent("unauthorized", failed, inputs.Say("HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\""+secret+"\"\r\n"+head+"\r\n"+said)),
		sent("not-allowed", failed, inputs.Say("HTTP/1.1 403 No\r\n\r\n"+said)),
		sent("gone", failed, inputs.Say("HTTP/1.1 410 Gone\r\n"+head+"\r\n"+said)),
		sent("redirects", failed, inputs.Say("HTTP/1.1 302 Elsewhere\r\nLocation: http://x/"+url.PathEscape(secret)+"?q="+url.QueryEscape(secret)+"&r="+secret+"\r\n\r\n")),
		sent("retry-after", failed, inputs.Say("HTTP/1.1 503 Busy\r\nRetry-After: "+secret+"\r\n\r\n")),
		sent("hangs", failed, inputs.Wait),
		sent("hangs-in-the-body", succeeded, inputs.Write(ok+head+"\r\n"+said), inputs.Wait),
		sent("breaks-off", succeeded, inputs.Say(ok+"Content-Length: 100000\r\n\r\n"+said+secret[:len(secret)-3])),
		sent("resets", failed, inputs.Reset),
		sent("garbage", failed, inputs.Say(secret+"\r\n"+said+"\r\n\r\n")),
		sent("status", failed, inputs.Say("HTTP/1.1 "+secret+"\r\n\r\n")),
		sent("version", failed, inputs.Say(secret+" 200 OK\r\n\r\n")),
		sent("header", failed, inputs.Say(ok+secret+"\r\n\r\n")),
		sent("length", failed, inputs.Say(ok+"Content-Length: "+secret+"\r\n\r\n")),
		sent("encoding", failed, inputs.Say(ok+"Transfer-Encoding: "+secret+"\r\n\r\n")),
		sent("chunk", succeeded, inputs.Say(ok+"Transfer-Encoding: chunked\r\n\r\n"+secret+"\r\n")),
		sent("unasked", succeeded, inputs.Write(ok+"Content-Length: 0\r\n\r\n"+secret)),
		sent("reason", succeeded, inputs.Say("HTTP/1.1 200 "+secret+"\r\n\r\n")),
		tls,
		to("refused", "http://127.0.0.1:1/"),
		to("no-such-host", "http://no-such-host.invalid/"),
		to("denied", "http://10.0.0.1/"),
	}
	return all
}

// After everything that can happen to a secret, it stands nowhere but in its
// Secret.
func TestSecretIsNowhere(t *testing.T) {
	for name, secret := range sentinels {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.secret("sentinel", []byte(secret))
			all := features(secret)
			for _, f := range all {
				s.feature(f, secret == urlSentinel)
			}
			for name, value := range map[string]string{
				"line-break": unusable + "\r\nX: y", "nul": unusable + "\x00", "binary": unusable + "\xff", "space": unusable + " ",
				"long": strings.Repeat(unusable, 200), "broken-key": "whsec_" + unusable + "*",
			} {
				s.secret(name, []byte(value))
				s.webhook(name, func(w *v1alpha1.WebhookSpec) { w.SecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "token"} })
			}
			s.webhook("missing", func(w *v1alpha1.WebhookSpec) {
				w.SecretRef = &v1alpha1.SecretKeyReference{Name: "missing", Key: "token"}
			})
			s.webhook("paused", func(w *v1alpha1.WebhookSpec) {
				w.SecretRef, w.State = &v1alpha1.SecretKeyReference{Name: "sentinel", Key: "token"}, v1alpha1.WebhookPaused
			})
			s.event(1)
			for _, f := range all {
				s.record(f.name, f.result)
			}
			for _, name := range []string{"line-break", "nul", "binary", "space", "long", "broken-key", "missing", "paused"} {
				s.record(name, v1alpha1.DeliveryWaiting)
			}
			// What people do then.
			for _, name := range []string{"echoes", "unauthorized", "redirects", "garbage", "refused"} {
				s.resend(&s.records(name)[0], "again")
				s.Eventually(func() string { return s.records(name)[0].Status.LastResend }).Should(Equal("again"))
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

// feature applies the Webhook of a feature. Its URL may be in a Secret, too.
func (s *scene) feature(f feature, secretURL bool) {
	s.Helper()
	raw, err := receiver.StartRaw(receiver.RawOptions{Answer: f.answer})
	s.Expect(err).NotTo(HaveOccurred())
	s.Cleanup(func() { raw.Close() })
	s.webhook(f.name, func(w *v1alpha1.WebhookSpec) {
		w.URL, w.TimeoutSeconds = "http://"+raw.Addr()+"/", 2
		w.SecretRef = &v1alpha1.SecretKeyReference{Name: "sentinel", Key: "token"}
		w.Retry = v1alpha1.RetryPolicy{Limit: new(int32(0)), MinBackoffSeconds: 1, MaxBackoffSeconds: 1}
		if f.change != nil {
			f.change(w)
		}
		if secretURL {
			s.secret(f.name, []byte(w.URL+"hooks/"+urlSentinel+"?key="+urlSentinel))
			w.URL, w.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: f.name, Key: "token"}
		}
	})
}

// lookFor looks for secrets in everything that the API server stores but Secrets,
// and in all that the operator says.
func (s *scene) lookFor(t *testing.T, secrets map[string]string) {
	t.Helper()
	told := map[string]string{}
	log, err := os.ReadFile(suite.options.Log)
	s.Expect(err).NotTo(HaveOccurred())
	told["the operator's log"] = string(log)
	told["/metrics"], err = suite.operator.Metrics(s.ctx)
	s.Expect(err).NotTo(HaveOccurred())
	objects := s.objects(told)
	s.Expect(objects).To(BeNumerically(">", 100), "objects that were looked at")
	for what, secret := range secrets {
		for how, text := range spellings(secret) {
			for where, all := range told {
				if at := strings.Index(all, text); at >= 0 {
					t.Errorf("%s, %s, is in %s: …%q…", what, how, where, all[max(0, at-100):min(len(all), at+200)])
				}
			}
		}
	}
}

// objects adds the texts of all objects, and returns how many there are.
func (s *scene) objects(told map[string]string) int {
	s.Helper()
	lists, err := suite.clients.Discovery().ServerPreferredResources()
	s.Expect(err).NotTo(HaveOccurred())
	all := suite.dynamic
	n := 0
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		s.Expect(err).NotTo(HaveOccurred())
		for _, resource := range list.APIResources {
			if resource.Name == "secrets" || !slices.Contains(resource.Verbs, "list") {
				continue
			}
			found, err := all.Resource(version.WithResource(resource.Name)).List(s.ctx, metav1.ListOptions{})
			s.Expect(err).NotTo(HaveOccurred())
			for _, o := range found.Items {
				n++
				var texts []string
				gather(o.Object, &texts)
				told[fmt.Sprintf("%s %s/%s", resource.Name, o.GetNamespace(), o.GetName())] = strings.Join(texts, "\n")
			}
		}
	}
	return n
}

// gather takes all texts out of an object, as they are, not as JSON writes them.
func gather(value any, texts *[]string) {
	switch value := value.(type) {
	case string:
		*texts = append(*texts, value)
	case []any:
		for _, v := range value {
			gather(v, texts)
		}
	case map[string]any:
		for k, v := range value {
			*texts = append(*texts, k)
			gather(v, texts)
		}
	}
}
