package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// browser is somebody who fills in a form without a script.
type browser struct {
	*bed
	values url.Values
	action string
	body   string
	code   int
}

// open loads the page of a form.
func (b *bed) open(path string) *browser {
	b.Helper()
	w := &browser{bed: b}
	w.read(b.get(path))
	b.Expect(w.code).To(Equal(http.StatusOK), w.body)
	return w
}

// read takes the form of a page as a browser does: what is in its inputs.
func (w *browser) read(answer *httptest.ResponseRecorder) {
	w.Helper()
	w.code, w.body = answer.Code, answer.Body.String()
	for _, text := range []string{w.body, answer.Header().Get("Location")} {
		if strings.Contains(text, typedSecret) {
			w.Fatalf("the secret is shown:\n%s", text)
		}
	}
	root, err := html.Parse(strings.NewReader(w.body))
	w.Expect(err).NotTo(HaveOccurred())
	w.values, w.action = url.Values{}, ""
	for n := range root.Descendants() {
		if n.DataAtom == atom.Form && attr(n, "id") == "form" {
			w.action = attr(n, "action")
			w.collect(n)
		}
	}
}

func (w *browser) collect(form *html.Node) {
	for n := range form.Descendants() {
		name := attr(n, "name")
		switch n.DataAtom {
		case atom.Input:
			kind := attr(n, "type")
			if name != "" && (kind != "checkbox" && kind != "radio" || has(n, "checked")) {
				w.values.Add(name, attr(n, "value"))
			}
		case atom.Textarea:
			if n.FirstChild != nil {
				w.values.Add(name, n.FirstChild.Data)
			} else {
				w.values.Add(name, "")
			}
		case atom.Select:
			value, first := "", true
			for o := range n.Descendants() {
				if o.DataAtom != atom.Option || !first && !has(o, "selected") {
					continue
				}
				first = false
				if value = attr(o, "value"); !has(o, "value") {
					value = o.FirstChild.Data
				}
			}
			w.values.Add(name, value)
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// set fills in inputs; an empty value empties one, or unticks it.
func (w *browser) set(inputs ...string) *browser {
	for i := 0; i < len(inputs); i += 2 {
		w.values[inputs[i]] = strings.Split(inputs[i+1], "|")
		if inputs[i+1] == "" {
			w.values.Del(inputs[i])
		}
	}
	return w
}

// press sends the form with one of its buttons.
func (w *browser) press(action string) *browser {
	w.Helper()
	w.values.Set("action", action)
	answer := w.post(w.action, w.values)
	to := answer.Header().Get("Location")
	w.read(answer)
	if to != "" {
		w.action = to
	}
	return w
}

// submit sends a form that has to be stored, and returns the page that it leads to.
func (w *browser) submit() string {
	w.Helper()
	w.press("submit")
	if w.code != http.StatusSeeOther {
		w.Fatalf("%d: %s", w.code, w.mistakes())
	}
	w.Expect(w.action).To(HavePrefix(w.path("webhooks") + "/"))
	return w.page(w.action)
}

// mistakes are those that stand beside their fields, by these, and those in the list on top.
func (w *browser) mistakes() map[string]string {
	w.Helper()
	root, err := html.Parse(strings.NewReader(w.body))
	w.Expect(err).NotTo(HaveOccurred())
	all := map[string]string{}
	for n := range root.Descendants() {
		field, found := strings.CutSuffix(attr(n, "id"), "-mistake")
		if text := strings.TrimSpace(textOf(n)); found && text != "" {
			all[field] = text
			w.Expect(w.body).To(ContainSubstring(`<a href="#`+field+`">`), "the list leads to each")
		}
		if attr(n, "id") == "summary" {
			if text := strings.Join(strings.Fields(textOf(n)), " "); text != "" {
				all["summary"] = text
			}
		}
	}
	return all
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// text is what an element of the page says.
func (w *browser) text(id string) string {
	w.Helper()
	root, err := html.Parse(strings.NewReader(w.body))
	w.Expect(err).NotTo(HaveOccurred())
	for n := range root.Descendants() {
		if attr(n, "id") == id {
			return textOf(n)
		}
	}
	return ""
}

func (b *bed) stored(name string) *v1alpha1.Webhook {
	b.Helper()
	w := &v1alpha1.Webhook{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: name}, w)).To(Succeed())
	return w
}

func (b *bed) secrets() []corev1.Secret {
	b.Helper()
	var list corev1.SecretList
	b.Expect(b.Client.List(b.Ctx, &list, client.InNamespace(b.Namespace))).To(Succeed())
	return list.Items
}

// change changes the spec of a Webhook as somebody else does.
func (b *bed) change(name string, change func(*v1alpha1.WebhookSpec)) {
	b.Helper()
	b.Eventually(func() error {
		w := b.stored(name)
		change(&w.Spec)
		return b.Client.Update(b.Ctx, w, client.FieldOwner("somebody"))
	}).Should(Succeed())
}

func TestFormCreates(t *testing.T) {
	b := newBed(t)
	w := b.open(b.path("new"))
	b.Expect(w.body).To(And(ContainSubstring(`src="/assets/form.js"`), Not(ContainSubstring("data-live"))))
	w.set("name", "smoke-tests", "url", b.Receiver.URL("/smoke"), "description", "Start the smoke tests", "secret", typedSecret,
		"triggers", "applications_created|cluster_deleted", "timeout", "1m", "retryLimit", "0", "scope", "/music")
	w.press("check")
	b.Expect(w.mistakes()).To(BeEmpty())
	b.Expect(w.code).To(Equal(http.StatusOK))
	b.Expect(w.values.Get("secret")).To(BeEmpty())
	b.Expect(w.values["retype"]).To(Equal([]string{"secret"}))
	b.Expect(w.text("manifest")).To(And(ContainSubstring("name: smoke-tests-webhook"), ContainSubstring("A new Secret smoke-tests-webhook is made first, with token (Secret)")))
	b.Expect(w.text("preview")).To(And(ContainSubstring("Sent"), ContainSubstring("X-Horizon-Webhook-Secret: [redacted]"), ContainSubstring(`"priority": "P0"`)))
	b.Expect(b.secrets()).To(BeEmpty())

	// A page that has not the secret any more does not go on without it.
	w.press("submit")
	b.Expect(w.code).To(Equal(http.StatusUnprocessableEntity))
	b.Expect(w.mistakes()).To(HaveKeyWithValue("secret", "type it again: it is not shown"))
	b.Expect(w.body).To(ContainSubstring(`id="summary" data-part class="finding bad" tabindex="-1" autofocus`))

	page := w.set("secret", typedSecret).submit()
	b.Expect(page).To(And(ContainSubstring("The webhook smoke-tests is created."), Not(ContainSubstring(typedSecret))))
	made := b.stored("smoke-tests")
	b.Expect(made.Spec).To(Equal(v1alpha1.WebhookSpec{
		URL: b.Receiver.URL("/smoke"), SSLVerifyEnabled: new(true), Description: "Start the smoke tests", State: v1alpha1.WebhookEnabled,
		SecretRef: &v1alpha1.SecretKeyReference{Name: "smoke-tests-webhook", Key: "token"},
		Triggers:  []v1alpha1.Trigger{"applications_created", "cluster_deleted"}, Scope: "/music", TimeoutSeconds: 60, MaxInFlight: 10,
		Retry:     v1alpha1.RetryPolicy{Limit: new(int32(0)), MinBackoffSeconds: 10, MaxBackoffSeconds: 3600, GiveUpAfterSeconds: 259200},
		Retention: v1alpha1.RetentionPolicy{TTLSecondsAfterFinished: 604800, Limit: new(int32(200))},
	}))
	secrets := b.secrets()
	b.Expect(secrets).To(HaveLen(1))
	b.Expect(secrets[0].Data).To(Equal(map[string][]byte{"token": []byte(typedSecret)}))
	b.Expect(secrets[0].OwnerReferences).To(ConsistOf(metav1.OwnerReference{
		APIVersion: "horizoncd.io/v1alpha1", Kind: "Webhook", Name: made.Name, UID: made.UID,
	}))

	// It is sent to with the secret.
	b.Delivery("smoke-tests", b.Event(1, func(s *v1alpha1.WebhookEventSpec) { s.EventType = "applications_created" }), v1alpha1.DeliverySucceeded)
	b.Expect(b.Receiver.AllArrivals()[0].Header.Get("X-Horizon-Webhook-Secret")).To(Equal(typedSecret))
}

func TestFormTellsAllMistakesAtOnce(t *testing.T) {
	b := newBed(t)
	b.Webhook("there")
	b.Expect(b.Client.Create(b.Ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "taken-webhook"}, Data: map[string][]byte{"token": []byte("theirs")},
	})).To(Succeed())
	fine := []string{"name", "a", "url", "https://a", "triggers", "*"}
	for name, tc := range map[string]struct {
		inputs []string
		want   map[string]string
	}{
		"nothing": {nil, map[string]string{"name": "give the webhook a name", "url": "url is required", "triggers": "tick at least one event"}},
		"all": {[]string{"name", "A b", "url", "ci.example.com", "secret", typedSecret + "é", "triggers", "deployed", "scope", "music", "webhookID", "-1",
			"timeout", "1h", "retryLimit", "many", "retryMin", "2h", "keep", "99999", "signing-ref-name", "B", "maxInFlight", "0"},
			map[string]string{
				"name": "small letters", "url": "url must be absolute", "secret": "byte 29", "triggers": "did you mean clusters_deployed?",
				"scope": "write /music", "webhookID": "greater than or equal to 1", "timeout": "less than or equal to 300", "retryLimit": "a whole number",
				"retryMin": "must not exceed", "keep": "less than or equal to 10000", "signing": "the plain name of a Secret", "maxInFlight": "greater than or equal to 1",
			}},
		"what hides other rules": {append(fine, "url", "https://a/"+strings.Repeat("x", 3000), "scope", "music", "secret-ref-name", strings.Repeat("s", 300), "secret-ref-key", "a b"),
			map[string]string{"url": "may not be more than 2048", "scope": "write /music", "secret": "may not be more than 253 bytes; key must be"}},
		"a long name":        {append(fine, "name", strings.Repeat("a", 64)), map[string]string{"name": "no longer than 63 characters"}},
		"a name that is":     {append(fine, "name", "there"), map[string]string{"name": "there is a webhook there in the namespace " + b.Namespace + " already"}},
		"a Secret that is":   {append(fine, "name", "taken", "secret", typedSecret), map[string]string{"secret": "there is a Secret taken-webhook already, which is not overwritten"}},
		"a secret URL":       {append(fine, "url", "https://a/"+typedSecret+"#b", "url-is-secret", "yes"), map[string]string{"url": "must not have a fragment"}},
		"with a long secret": {append(fine, "secret", typedSecret+strings.Repeat("x", 5000)), map[string]string{"secret": "more than the"}},
	} {
		for _, action := range []string{"check", "submit"} {
			w := b.open(b.path("new")).set(tc.inputs...)
			sent := maps.Clone(w.values)
			w.press(action)
			b.Expect(w.code).To(Equal(map[string]int{"check": 200, "submit": 422}[action]), name)
			got := w.mistakes()
			delete(got, "summary")
			b.Expect(got).To(HaveLen(len(tc.want)), "%s: %v", name, got)
			for field, want := range tc.want {
				b.Expect(got).To(HaveKeyWithValue(field, ContainSubstring(want)), name)
			}
			for id, values := range sent {
				if !slices.Contains([]string{"secret", "base", "action"}, id) && (id != "url" || sent.Get("url-is-secret") == "") {
					b.Expect(w.values[id]).To(Equal(values), "%s: what was typed as %s", name, id)
				}
			}
		}
	}
	b.Expect(b.secrets()).To(HaveLen(1))
	b.Expect(b.secrets()[0].Data).To(HaveKeyWithValue("token", []byte("theirs")))
}

// applied is the spec that kubectl apply makes of a manifest, as the API server would store it.
func (b *bed) applied(manifest string) map[string]any {
	b.Helper()
	kubectl, err := suite.ControlPlane.Kubectl()
	b.Expect(err).NotTo(HaveOccurred())
	cmd := exec.CommandContext(b.Ctx, kubectl, "--kubeconfig", suite.ControlPlane.Kubeconfig(), "apply", "--dry-run=server", "-o", "json", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	b.Expect(cmd.Run()).To(Succeed(), "%s\n%s", errOut.String(), manifest)
	var object map[string]any
	b.Expect(json.Unmarshal(out.Bytes(), &object)).To(Succeed())
	return object["spec"].(map[string]any)
}

func (b *bed) storedSpec(name string) map[string]any {
	b.Helper()
	data, err := json.Marshal(b.stored(name).Spec)
	b.Expect(err).NotTo(HaveOccurred())
	var spec map[string]any
	b.Expect(json.Unmarshal(data, &spec)).To(Succeed())
	return spec
}

// What Show YAML shows comes to the same as Submit: fields that are taken out included.
func TestFormYAMLIsWhatIsSubmitted(t *testing.T) {
	b := newBed(t)
	w := b.open(b.path("new")).set("name", "a", "url", "https://a/b", "triggers", "clusters_deployed|*", "secret-ref-name", "s", "retryLimit", "3",
		"description", "two\nlines: \"quoted\"", "state", "Paused", "sslVerify", "").press("check")
	applied := b.applied(w.text("yaml-text"))
	w.submit()
	b.Expect(applied).To(Equal(b.storedSpec("a")))

	for name, inputs := range map[string][]string{
		"nothing":          nil,
		"taken out":        {"description", "", "secret-remove", "yes", "retryLimit", "", "timeout", "", "keep", ""},
		"put in":           {"scope", "/music", "webhookID", "7", "retryMin", "20", "signing-ref-name", "t"},
		"what nobody sees": {"description", "a\u200bb\u202ec é"},
		"symbols":          {"description", "\U0001f4a1 \"a\" <b> \u200b\x7f\tc\nd"},
		"another address":  {"url", "", "url-ref-name", "room", "triggers", "members_*"},
	} {
		w := b.open(b.path("webhooks", "a", "edit")).set(inputs...).press("check")
		b.Expect(w.mistakes()).To(BeEmpty(), name)
		applied := b.applied(w.text("yaml-text"))
		w.submit()
		b.Expect(applied).To(Equal(b.storedSpec("a")), name)
		// The next one begins where the first one did.
		b.Expect(b.Client.Delete(b.Ctx, b.stored("a"))).To(Succeed())
		b.open(b.path("new")).set("name", "a", "url", "https://a/b", "triggers", "*", "description", "x", "secret-ref-name", "s", "retryLimit", "3").submit()
	}
}

func TestFormEdits(t *testing.T) {
	b := newBed(t)
	before := b.Webhook("a", func(s *v1alpha1.WebhookSpec) {
		s.TLS = &v1alpha1.TLSSettings{ClientCertSecretRef: &v1alpha1.SecretReference{Name: "cert"}}
		s.URL = "https://a"
		s.SecretRef = &v1alpha1.SecretKeyReference{Name: "old", Key: "k"}
		s.Triggers = []v1alpha1.Trigger{"clusters_deleted", "members_*"}
	})
	w := b.open(b.path("webhooks", "a", "edit"))
	b.Expect(w.body).To(And(ContainSubstring("spec.tls"), ContainSubstring("It is in the key k of the Secret old")))
	b.Expect(w.values["triggers"]).To(ConsistOf("clusters_deleted", "members_*"))

	// No change is none.
	page := w.submit()
	b.Expect(page).To(ContainSubstring("Nothing was changed"))
	b.Expect(b.stored("a").Generation).To(Equal(before.Generation))

	page = b.open(b.path("webhooks", "a", "edit")).set("description", "new", "secret", typedSecret, "triggers", "clusters_deleted|cluster_created").submit()
	b.Expect(page).To(ContainSubstring("The webhook a is saved."))
	after := b.stored("a")
	b.Expect(after.Spec.SecretRef.Name).To(HavePrefix("a-webhook-"))
	want := before.Spec.DeepCopy()
	want.Description, want.Triggers = "new", []v1alpha1.Trigger{"clusters_deleted", "cluster_created"}
	want.SecretRef = &v1alpha1.SecretKeyReference{Name: after.Spec.SecretRef.Name, Key: "token"}
	b.Expect(after.Spec).To(Equal(*want))
	secrets := b.secrets()
	b.Expect(secrets).To(HaveLen(1))
	b.Expect(secrets[0].Name).To(Equal(after.Spec.SecretRef.Name))
	b.Expect(secrets[0].Data).To(Equal(map[string][]byte{"token": []byte(typedSecret)}))
	b.Expect(secrets[0].OwnerReferences[0].UID).To(Equal(after.UID))

	// A URL becomes a secret, and stays one.
	b.open(b.path("webhooks", "a", "edit")).set("url", "https://a/"+typedSecret, "url-is-secret", "yes").submit()
	after = b.stored("a")
	b.Expect(after.Spec.URL).To(BeEmpty())
	b.Expect(after.Spec.URLSecretRef.Key).To(Equal("url"))
	b.open(b.path("webhooks", "a", "edit")).set("description", "").submit()
	b.Expect(b.stored("a").Spec.URLSecretRef).To(Equal(after.Spec.URLSecretRef))
	b.Expect(b.stored("a").Spec.Description).To(BeEmpty())
	b.Expect(b.secrets()).To(HaveLen(2))
}

// What the operator writes into the status is no conflict.
func TestFormIsNotInTheOperatorsWay(t *testing.T) {
	b := newBed(t)
	b.Webhook("a")
	w := b.open(b.path("webhooks", "a", "edit")).set("description", "mine")
	b.Delivery("a", b.Event(1), v1alpha1.DeliverySucceeded)
	b.Eventually(func() *v1alpha1.LastDelivery { return b.stored("a").Status.LastDelivery }).ShouldNot(BeNil())
	b.Expect(w.submit()).NotTo(ContainSubstring("Somebody else"))
	b.Expect(b.stored("a").Spec.Description).To(Equal("mine"))
}

func TestFormMergesWithAnotherEdit(t *testing.T) {
	b := newBed(t)
	b.Webhook("a")
	w := b.open(b.path("webhooks", "a", "edit")).set("description", "mine", "retryLimit", "4")
	b.change("a", func(s *v1alpha1.WebhookSpec) { s.Scope, s.TimeoutSeconds = "/music", 60 })
	b.Expect(w.submit()).To(And(ContainSubstring("Somebody else has changed it meanwhile (with somebody, "),
		ContainSubstring("their change of Scope, Timeout is kept; yours of Description, Retries, too")))
	spec := b.stored("a").Spec
	b.Expect([]any{spec.Description, *spec.Retry.Limit, spec.Scope, spec.TimeoutSeconds}).To(Equal([]any{"mine", int32(4), "/music", int32(60)}))
}

func TestFormConflict(t *testing.T) {
	b := newBed(t)
	b.Webhook("a", func(s *v1alpha1.WebhookSpec) { s.Description = "before" })
	edit := b.path("webhooks", "a", "edit")
	w := b.open(edit).set("description", "mine", "scope", "/mine", "timeout", "40s", "secret", typedSecret)
	theirs := func(s *v1alpha1.WebhookSpec) { s.Description, s.Scope, s.MaxInFlight = "theirs", "/theirs", 5 }
	b.change("a", theirs)
	w.press("submit")
	b.Expect(w.code).To(Equal(http.StatusConflict))
	b.Expect(b.stored("a").Spec.Description).To(Equal("theirs"), "nothing is stored yet")
	b.Expect(b.secrets()).To(BeEmpty())
	b.Expect(w.text("told")).To(And(ContainSubstring("Somebody else has changed the webhook meanwhile (with somebody, "),
		ContainSubstring("their change of Requests at once is kept; yours of Secret, Timeout, too")))
	rows := strings.Join(strings.Fields(w.text("conflicts")), " ")
	b.Expect(rows).To(Equal("Description It was: before Theirs theirs Yours mine Scope It was: nothing Theirs /theirs Yours /mine"))
	b.Expect(w.values.Get("maxInFlight")).To(Equal("5"))
	b.Expect(w.values.Get("description")).To(Equal("mine"))
	b.Expect(w.values.Get("timeout")).To(Equal("40s"))

	// Without a choice, nothing is stored; a choice that was made stays.
	w.set("secret", typedSecret, "choice-description", "theirs").press("submit")
	b.Expect(w.code).To(Equal(http.StatusUnprocessableEntity))
	b.Expect(w.mistakes()).To(HaveKeyWithValue("scope", ContainSubstring("choose theirs or yours")))
	b.Expect(w.values.Get("choice-description")).To(Equal("theirs"))

	// And somebody changes it once more.
	b.change("a", func(s *v1alpha1.WebhookSpec) { s.Scope = "/again" })
	w.set("secret", typedSecret, "choice-scope", "yours").press("submit")
	b.Expect(w.code).To(Equal(http.StatusConflict))
	b.Expect(w.values.Get("description")).To(Equal("theirs"), "it was chosen")
	b.Expect(w.values).NotTo(HaveKey("choice-scope"), "theirs is another one now")
	b.Expect(strings.Join(strings.Fields(w.text("conflicts")), " ")).To(Equal("Scope It was: /theirs Theirs /again Yours /mine"))
	w.set("secret", typedSecret, "choice-scope", "yours").submit()
	spec := b.stored("a").Spec
	b.Expect([]any{spec.Description, spec.Scope, spec.TimeoutSeconds, spec.MaxInFlight}).To(Equal([]any{"theirs", "/mine", int32(40), int32(5)}))
	b.Expect(b.secrets()).To(HaveLen(1))
}

// Another webhook of the name is not taken for the one that the form was made from.
func TestFormOfADeletedWebhook(t *testing.T) {
	b := newBed(t)
	old := b.Webhook("a")
	edit := b.path("webhooks", "a", "edit")
	again := b.open(edit).set("description", "mine")
	gone := b.open(edit).set("description", "mine")
	b.Expect(b.Client.Delete(b.Ctx, old)).To(Succeed())
	b.Webhook("a")
	again.press("submit")
	b.Expect(again.code).To(Equal(http.StatusConflict))
	b.Expect(again.text("told")).To(ContainSubstring("The webhook was deleted and made anew by somebody else meanwhile"))
	b.Expect(b.stored("a").Spec.Description).To(BeEmpty())
	again.submit()
	b.Expect(b.stored("a").Spec.Description).To(Equal("mine"))

	b.Expect(b.Client.Delete(b.Ctx, b.stored("a"))).To(Succeed())
	gone.press("submit")
	b.Expect(gone.code).To(Equal(http.StatusConflict))
	b.Expect(gone.text("told")).To(ContainSubstring("was deleted meanwhile"))
	b.Expect(gone.values.Get("description")).To(Equal("mine"))
	gone.submit()
	b.Expect(b.stored("a").Spec.Description).To(Equal("mine"))
	b.Expect(b.get(b.path("webhooks", "none", "edit")).Code).To(Equal(http.StatusNotFound))
}

func TestFormOnlyForThoseWhoMay(t *testing.T) {
	b := newBed(t)
	b.Webhook("a")
	viewer := b.as("form-viewer", "horizon-webhook-viewer")
	for _, path := range []string{b.path("new"), b.path("webhooks", "a", "edit")} {
		page := viewer.page(path)
		b.Expect(page).To(And(ContainSubstring("The role edit (or horizon-webhook-editor) allows it"), Not(ContainSubstring("data-form"))))
	}
	// Who posts all the same keeps what was typed.
	w := &browser{bed: viewer}
	w.read(viewer.post(b.path("new"), url.Values{
		"base": {`{"spec":{}}`}, "name": {"b"}, "url": {"https://b"}, "triggers": {"*"}, "action": {"submit"}, "sslVerify": {"yes"},
	}))
	b.Expect(w.code).To(Equal(http.StatusUnprocessableEntity))
	b.Expect(w.mistakes()["summary"]).To(And(ContainSubstring("forbidden"), ContainSubstring("horizon-webhook-editor")))
	b.Expect(w.values.Get("url")).To(Equal("https://b"))

	readOnly := *b
	readOnly.session = b.newSession(suite.ControlPlane.Config(), func(o *Options) { o.ReadOnly = true })
	b.Expect(readOnly.page(b.path("new"))).To(And(ContainSubstring("--read-only"), Not(ContainSubstring("data-form"))))
	b.Expect(readOnly.post(b.path("webhooks", "a", "edit"), url.Values{"action": {"submit"}}).Code).To(Equal(http.StatusForbidden))
	b.Expect(b.stored("a").Generation).To(Equal(int64(1)))
}

// Who may not create Secrets names one that is there.
func TestFormWithoutTheRightToCreateSecrets(t *testing.T) {
	b := newBed(t).as("form-editor", "horizon-webhook-editor", "horizon-webhook-viewer")
	b.Eventually(func() string { // the API server takes a moment to know of a role
		c, err := b.session.connect()
		b.Expect(err).NotTo(HaveOccurred())
		clear(c.rights.answers)
		return b.page(b.path("new"))
	}).Should(ContainSubstring("data-form"))
	w := b.open(b.path("new"))
	b.Expect(w.values).NotTo(Or(HaveKey("secret"), HaveKey("url-is-secret"), HaveKey("signing")))
	b.Expect(w.body).To(ContainSubstring("You may not create Secrets in the namespace"))
	w.set("name", "a", "url", "https://a", "triggers", "*", "secret-ref-name", "theirs", "secret-ref-key", "key").submit()
	b.Expect(b.stored("a").Spec.SecretRef).To(Equal(&v1alpha1.SecretKeyReference{Name: "theirs", Key: "key"}))
	// The right was lost while it was typed.
	w = b.open(b.path("new")).set("name", "b", "url", "https://b", "triggers", "*", "secret", typedSecret).press("submit")
	b.Expect(w.code).To(Equal(http.StatusUnprocessableEntity))
	b.Expect(w.mistakes()).To(HaveKeyWithValue("secret", ContainSubstring("you may not create Secrets")))
	err := b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "b"}, &v1alpha1.Webhook{})
	b.Expect(apierrors.IsNotFound(err)).To(BeTrue())
}

func TestFormPreview(t *testing.T) {
	b := newBed(t)
	e := b.Event(7)
	var w *browser
	b.Eventually(func() string {
		w = b.open(b.path("new"))
		return w.body
	}).Should(ContainSubstring(`value="event:` + e.Name + `"`))
	w.set("name", "a", "url", "https://a", "triggers", "clusters_deployed", "event", "event:"+e.Name).press("check")
	b.Expect(w.text("preview")).To(And(ContainSubstring("Sent"), ContainSubstring(`"eventID": 7`), ContainSubstring(`"web-prod"`)))
	b.Expect(w.values.Get("event")).To(Equal("event:" + e.Name))
	w.set("triggers", "members_created").press("check")
	b.Expect(w.text("preview")).To(And(ContainSubstring("Not followed"), ContainSubstring("do not include clusters_deployed")))
	w.set("event", "sample:pipelineruns_created").press("check")
	b.Expect(w.text("preview")).To(ContainSubstring(`"pipelinerun"`))
	w.set("event", "event:none").press("check")
	b.Expect(w.text("preview")).To(ContainSubstring("There is no preview of this event"))
}

// The script goes to the next page itself, since it must not lose what was typed on the way.
func TestFormForTheScript(t *testing.T) {
	b := newBed(t)
	w := b.open(b.path("new")).set("name", "a", "url", "https://a", "triggers", "*", "script", "yes", "action", "submit")
	answer := b.post(w.action, w.values)
	b.Expect(answer.Code).To(Equal(http.StatusNoContent))
	b.Expect(b.page(answer.Header().Get("Location"))).To(ContainSubstring("The webhook a is created."))
}

// A Secret that was made in vain is removed; one that stays is told of, and so is why it was
// in vain.
func TestFormCleansUp(t *testing.T) {
	b := newBed(t)
	refuse := func(ctx context.Context, api client.WithWatch, object client.Object, options ...client.CreateOption) error {
		if object.GetObjectKind().GroupVersionKind().Kind == "Webhook" && !slices.Contains(options, client.CreateOption(client.DryRunAll)) {
			return apierrors.NewForbidden(v1alpha1.GroupVersion.WithResource("webhooks").GroupResource(), object.GetName(), errors.New("policy"))
		}
		return api.Create(ctx, object, options...)
	}
	keep := func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
		return errors.New("kept")
	}
	fill := func() *browser {
		return b.open(b.path("new")).set("name", "a", "url", "https://a", "triggers", "*", "secret", typedSecret)
	}
	w := fill()
	b.intercept(interceptor.Funcs{Create: refuse})
	w.press("submit")
	b.Expect(w.mistakes()["summary"]).To(And(ContainSubstring("You may not do this"), ContainSubstring("policy")))
	b.Expect(b.secrets()).To(BeEmpty())
	b.intercept(interceptor.Funcs{Create: refuse, Delete: keep})
	w = fill().press("submit")
	b.Expect(w.mistakes()["summary"]).To(And(ContainSubstring("The Secret a-webhook was made in vain and could not be removed: kept"), ContainSubstring("policy")))
	b.Expect(b.secrets()).To(HaveLen(1))
}

// afterWrites calls after each write of a Webhook that is no dry run, with its context, and
// returns what after returns.
func afterWrites(after func(context.Context) error) interceptor.Funcs {
	then := func(ctx context.Context, object client.Object, dry bool, err error) error {
		if err == nil && !dry && object.GetObjectKind().GroupVersionKind().Kind == "Webhook" {
			return after(ctx)
		}
		return err
	}
	return interceptor.Funcs{
		Create: func(ctx context.Context, api client.WithWatch, object client.Object, options ...client.CreateOption) error {
			return then(ctx, object, slices.Contains(options, client.CreateOption(client.DryRunAll)), api.Create(ctx, object, options...))
		},
		Update: func(ctx context.Context, api client.WithWatch, object client.Object, options ...client.UpdateOption) error {
			return then(ctx, object, slices.Contains(options, client.UpdateOption(client.DryRunAll)), api.Update(ctx, object, options...))
		},
	}
}

// A Webhook keeps the Secret that was made for it, whether its browser has gone meanwhile or
// the API server's answer has been lost.
func TestFormKeepsTheSecretInUse(t *testing.T) {
	for name, lose := range map[string]func(leave context.CancelFunc) func(context.Context) error{
		"the browser leaves": func(leave context.CancelFunc) func(context.Context) error {
			return func(ctx context.Context) error { leave(); return ctx.Err() }
		},
		"the answer is lost": func(context.CancelFunc) func(context.Context) error {
			return func(context.Context) error { return &url.Error{Op: "Post", URL: "https://api", Err: errors.New("EOF")} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			send := func(w *browser) {
				ctx, leave := context.WithCancel(b.Ctx)
				defer leave()
				waits := *b
				waits.Ctx = ctx
				b.intercept(afterWrites(lose(leave)))
				w.values.Set("action", "submit")
				b.Expect(waits.post(w.action, w.values).Code).To(Equal(http.StatusSeeOther))
			}
			send(b.open(b.path("new")).set("name", "a", "url", "https://a", "triggers", "*", "secret", typedSecret))
			b.Expect(b.secrets()).To(ConsistOf(HaveField("Name", b.stored("a").Spec.SecretRef.Name)))
			b.Expect(b.secrets()[0].OwnerReferences).To(ConsistOf(HaveField("UID", b.stored("a").UID)))
			send(b.open(b.path("webhooks", "a", "edit")).set("secret", typedSecret))
			b.Expect(b.stored("a").Spec.SecretRef.Name).NotTo(Equal("a-webhook"))
			b.Expect(b.secrets()).To(ContainElement(HaveField("Name", b.stored("a").Spec.SecretRef.Name)))
		})
	}
}

// A Webhook that has the name of nothing is no mistake of one that has no name.
func TestFormWithoutName(t *testing.T) {
	b := newBed(t)
	b.Webhook("webhook")
	w := b.open(b.path("new")).set("url", "https://a", "triggers", "*").press("submit")
	b.Expect(w.mistakes()).To(HaveKeyWithValue("name", "give the webhook a name"))
}

// intercept puts something between the session and the API server.
func (b *bed) intercept(funcs interceptor.Funcs) {
	b.session.mu.Lock()
	defer b.session.mu.Unlock()
	c := b.session.cluster
	b.session.cluster = &cluster{client: interceptor.NewClient(c.client, funcs), tables: c.tables, reader: c.reader, rights: c.rights}
}

// What was typed stays when the API server does not answer.
func TestFormWithoutAPIServer(t *testing.T) {
	b := newBed(t)
	b.Webhook("a")
	w := b.open(b.path("new")).set("name", "b", "url", "https://a", "triggers", "*")
	edit := b.open(b.path("webhooks", "a", "edit")).set("description", "mine")
	away := &url.Error{Op: "Post", URL: "https://api", Err: errors.New("connection refused")}
	b.intercept(interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return away },
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return away
		},
	})
	edit.press("submit")
	b.Expect(edit.code).To(Equal(http.StatusUnprocessableEntity))
	b.Expect(edit.mistakes()["summary"]).To(ContainSubstring("No connection to the cluster"))
	b.Expect(edit.values.Get("description")).To(Equal("mine"))
	w.press("submit")
	b.Expect(w.code).To(Equal(http.StatusUnprocessableEntity))
	b.Expect(w.mistakes()["summary"]).To(ContainSubstring("No connection to the cluster"))
	b.Expect(w.values.Get("url")).To(Equal("https://a"))
}
