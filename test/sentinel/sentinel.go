// Package sentinel has secrets that nobody would write by chance, receivers that say
// them again in every way, and a search for them in all that is stored.
package sentinel

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net"
	"net/url"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// Secrets are as they are, as a key of Standard Webhooks, as a key that only signs, and
// as a part of a URL. Tokens are full of what encodings change.
var Secrets = map[string]string{
	"plain": `sen+inel/<&>"'%= ~\value?0123456789`,
	"url":   inURL,
	"sign":  signs,
	"key":   "whsec_" + base64.StdEncoding.EncodeToString([]byte("\xfb\xff\xbe-sentinel-key-of-bytes-\xfe\xed")),
}

// inURL is in the path and in the query of URLs in Secrets.
const inURL = "sentinel-of-a-URL-0123456789~abc"

// signs is the key of signatures of Webhooks without a token.
const signs = `sentinel-that-signs/<&>"'%= ~\value?9876543210`

const (
	// Name is that of the Kubernetes Secret that features expect. A secret URL is in
	// one of the feature's name.
	Name = "sentinel"
	// Key is what the value is under in both.
	Key = "token"
)

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

// Echo is everything that a receiver may say of a secret.
func Echo(secret string) string {
	var all []string
	for name, text := range spellings(secret) {
		if !strings.HasSuffix(name, "half") && !strings.HasPrefix(name, "base64") {
			all = append(all, text)
		}
	}
	for _, before := range []string{"", "a", "me:"} {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, encoding.EncodeToString([]byte(before+secret)), encoding.EncodeToString([]byte(before+secret+"x")))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " | ")
}

// Feature is a Webhook that does something with its secret. Add one for whatever may
// carry a secret from now on.
type Feature struct {
	Name   string
	Result v1alpha1.DeliveryResult // of its delivery

	answer func(net.Conn) // of its receiver
	change func(*v1alpha1.WebhookSpec)
}

// Features returns all of them.
func Features(secret string) []Feature {
	const ok = "HTTP/1.1 200 OK\r\n"
	said := Echo(secret)
	head := "X-Echo: " + said + "\r\n"
	failed, succeeded := v1alpha1.DeliveryFailed, v1alpha1.DeliverySucceeded
	sent := func(name string, result v1alpha1.DeliveryResult, steps ...func(net.Conn)) Feature {
		return Feature{Name: name, Result: result, answer: inputs.Sequence(steps...)}
	}
	to := func(name, target string) Feature {
		return Feature{Name: name, Result: failed, change: func(w *v1alpha1.WebhookSpec) { w.URL = target }}
	}
	retried := sent("retried", failed, inputs.Say("HTTP/1.1 500 No\r\n"+head+"\r\n"+said))
	retried.change = func(w *v1alpha1.WebhookSpec) { w.Retry.Limit = new(int32(2)) }
	tls := sent("not-tls", failed, inputs.Wait)
	tls.change = func(w *v1alpha1.WebhookSpec) { w.URL = strings.Replace(w.URL, "http:", "https:", 1) }
	return []Feature{
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
}

// Start starts the receiver of a feature and returns the spec of its Webhook. Where
// the secret is one of URLs, so is the URL: it is the value of a Secret.
func (f Feature) Start(secret string) (r *receiver.Raw, spec v1alpha1.WebhookSpec, secretURL string, err error) {
	if r, err = receiver.StartRaw(receiver.RawOptions{Answer: f.answer}); err != nil {
		return nil, spec, "", err
	}
	spec = v1alpha1.WebhookSpec{
		URL: "http://" + r.Addr() + "/", Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}, TimeoutSeconds: 2,
		Retry: v1alpha1.RetryPolicy{Limit: new(int32(0)), MinBackoffSeconds: 1, MaxBackoffSeconds: 1},
	}
	Refer(&spec, secret, Name)
	if f.change != nil {
		f.change(&spec)
	}
	if secret == inURL {
		secretURL = spec.URL + "hooks/" + inURL + "?key=" + inURL
		spec.URL, spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: f.Name, Key: Key}
	}
	return r, spec, secretURL, nil
}

// Refer lets a Webhook use the value of a Secret as the sentinel is used.
func Refer(spec *v1alpha1.WebhookSpec, sentinel, name string) {
	ref := &v1alpha1.SecretKeyReference{Name: name, Key: Key}
	if sentinel == signs {
		spec.SigningSecretRef = ref
	} else {
		spec.SecretRef = ref
	}
}

// Objects are the texts of all objects that the API server stores, but of Secrets.
func Objects(ctx context.Context, kinds discovery.DiscoveryInterface, objects dynamic.Interface) (map[string]string, error) {
	lists, err := kinds.ServerPreferredResources()
	if err != nil {
		return nil, err
	}
	told := map[string]string{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range list.APIResources {
			if resource.Name == "secrets" || !slices.Contains(resource.Verbs, "list") {
				continue
			}
			found, err := objects.Resource(version.WithResource(resource.Name)).List(ctx, metav1.ListOptions{})
			if err != nil {
				return nil, err
			}
			for _, o := range found.Items {
				var texts []string
				gather(o.Object, &texts)
				told[fmt.Sprintf("%s %s/%s", resource.Name, o.GetNamespace(), o.GetName())] = strings.Join(texts, "\n")
			}
		}
	}
	return told, nil
}

// Find tells which spelling of a secret is where.
func Find(told map[string]string, secret string) []string {
	var problems []string
	for how, text := range spellings(secret) {
		for where, all := range told {
			if at := strings.Index(all, text); at >= 0 {
				problems = append(problems, fmt.Sprintf("%s, it is in %s: …%q…", how, where, all[max(0, at-100):min(len(all), at+200)]))
			}
		}
	}
	return problems
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
