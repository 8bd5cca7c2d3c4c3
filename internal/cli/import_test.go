package cli

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	fake "github.com/horizoncd/webhook-operator/test/horizon"
)

// horizonScopes is what the guide has configured.
var horizonScopes = map[string][]string{"webhooks": {
	"groups/webhooks", "applications/webhooks", "clusters/webhooks", "webhooks", "webhooks/logs", "webhooklogs", "webhooklogs/resend",
}}

// newHorizon starts a Horizon, and returns a file with a token of it that has all scopes.
func newHorizon(t *testing.T) (h *fake.Horizon, tokenFile string) {
	t.Helper()
	h, err := fake.Start(fake.Options{Scopes: horizonScopes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	tokenFile = filepath.Join(t.TempDir(), "token")
	writeFile(t, tokenFile, h.Token("webhooks", "groups:read-only", "applications:read-only", "clusters:read-only"))
	return h, tokenFile
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// trouble is a kind of webhook, as databases have them.
type trouble struct {
	fake.Webhook
	// result is that of the table; written where it is empty.
	result string
	// reason is a part of what is told, where a hand is needed.
	reason string
}

// hidden is in all that is a secret.
const hidden = "hidden-word"

func troubles() []trouble {
	hook := func(url string) fake.Webhook {
		return fake.Webhook{Enabled: true, URL: url, SSLVerifyEnabled: true, Secret: hidden, Triggers: []string{"*"}}
	}
	with := func(change func(*fake.Webhook)) fake.Webhook {
		w := hook("https://8.8.8.8/" + hidden)
		change(&w)
		return w
	}
	const hand = "written, needs a hand"
	return []trouble{
		{Webhook: hook("https://8.8.8.8/hook")},
		{Webhook: hook("https://8.8.8.8/hook?token=" + hidden)},
		{Webhook: hook("https://[2001:4860:4860::8888]:8443/a%20b")},
		{Webhook: with(func(w *fake.Webhook) { w.Enabled = false })},
		{Webhook: with(func(w *fake.Webhook) { w.Secret = "" })},
		{Webhook: with(func(w *fake.Webhook) { w.SSLVerifyEnabled = false })},
		{Webhook: with(func(w *fake.Webhook) { w.URL, w.SSLVerifyEnabled = "http://8.8.8.8:8080", false })},
		{Webhook: with(func(w *fake.Webhook) { w.Description = "数据 \"quoted\": # and\n---\nlines" })},
		{Webhook: with(func(w *fake.Webhook) {
			w.Triggers = []string{"clusters_deployed", "clsuters_restarted", "clusters_deployed"}
		})},
		{Webhook: with(func(w *fake.Webhook) { w.Secret = hidden + "\n" })},
		{Webhook: with(func(w *fake.Webhook) { w.Triggers = []string{"clusters_freed", "clusters_later"} }), result: hand, reason: `left out: "clusters_later"`},
		{Webhook: hook("https://10.1.2.3/hook"), result: hand, reason: "--egress-allow=10.0.0.0/8"},
		{Webhook: hook("https://169.254.169.254/"), result: hand, reason: "the metadata service of AWS"},
		{Webhook: hook("https://localhost:3000/"), result: hand, reason: "localhost leads to "},
		{Webhook: hook("https://me:" + hidden + "@ci.example.com/hook"), result: "by hand", reason: "the URL must not contain a user name or password"},
		{Webhook: hook("https://ci.example.com/hook#" + hidden), result: "by hand", reason: "the URL must not have a fragment"},
		{Webhook: hook("https://ci.example.com/a b?" + hidden), result: "by hand", reason: "percent-encode special characters: character 25 of 38 is a space"},
		{Webhook: hook("https://ci.例え.jp/"), result: "by hand", reason: "percent-encode special characters: character 12"},
		{Webhook: hook("http:///" + hidden), result: "by hand", reason: "the URL must be absolute"},
		{Webhook: hook("https://ci.example.com:99999/"), result: "by hand", reason: "the URL must have a port from 1 to 65535"},
		{Webhook: with(func(w *fake.Webhook) { w.Secret = hidden + "-ü" }), result: "by hand", reason: "its secret cannot be sent: byte 13 of the value"},
		{Webhook: with(func(w *fake.Webhook) { w.Secret = " " + hidden }), result: "by hand", reason: "the value begins with a space"},
		{Webhook: with(func(w *fake.Webhook) { w.Secret = "whsec_" + hidden }), result: "by hand", reason: "not a base64 key"},
		{Webhook: with(func(w *fake.Webhook) { w.Secret = strings.Repeat(hidden, 400) }), result: "by hand", reason: "more than the 4096 that a header may have"},
		{Webhook: with(func(w *fake.Webhook) { w.Triggers = []string{""} }), result: "by hand", reason: "knows none of its triggers"},
	}
}

// A Horizon with a hundred webhooks comes over: the API server takes all manifests that are
// meant to be applied, and what needs a hand is named with the reason.
func TestImport(t *testing.T) {
	b := newBed(t)
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "cli-system-"}}
	b.Expect(b.Client.Create(b.Ctx, system)).To(Succeed())
	h, token := newHorizon(t)
	music, video := h.AddGroup(0, "music"), h.AddGroup(0, "video")
	web := h.AddApplication(music, "web", "P1")
	prod := h.AddCluster(web, "web-prod", "online")
	shop := h.AddApplication(h.AddGroup(video, "player"), "shop", "P1")
	type of struct {
		kind      string
		id        int64
		namespace string
	}
	resources := []of{
		{fake.Groups, 0, system.Name}, {fake.Groups, music, b.Namespace}, {fake.Applications, web, b.Namespace},
		{fake.Clusters, prod, b.Namespace}, {fake.Applications, shop, system.Name},
	}
	// 25 kinds of trouble on four resources; the fifth has the bridge's look-alike of a group.
	want := map[string]trouble{}
	namespaces := map[string]string{}
	for n := range 100 {
		trouble, of := troubles()[n%25], resources[(n+n/25)%5]
		name := fmt.Sprintf("horizon-%d", h.AddWebhook(of.kind, of.id, trouble.Webhook))
		want[name], namespaces[name] = trouble, of.namespace
	}
	bridge := h.AddWebhook(fake.Groups, 0, fake.Webhook{Enabled: true, URL: "https://8.8.8.8/horizon", Secret: hidden, Triggers: []string{"*"}})
	h.Delete(fake.Applications, h.AddApplication(music, "gone", "P1"))
	dir := filepath.Join(t.TempDir(), "imported")
	routes := filepath.Join(t.TempDir(), "routes.yaml")
	writeFile(t, routes, fmt.Sprintf("default: %s\nroutes:\n  /music: %s\n", system.Name, b.Namespace))
	args := []string{"import", "--from", h.URL(""), "--token-file", token, "--routes", routes, "--out", dir}
	got := b.run(args...)
	if got.code != 0 {
		t.Fatalf("exit code %d\n%s%s", got.code, got.out, got.err)
	}
	if strings.Contains(got.out+got.err, hidden) {
		t.Errorf("a secret is on the terminal:\n%s%s", got.out, got.err)
	}

	// The table and the report.
	rows, hands := map[string]string{}, map[string]string{}
	at := ""
	for line := range strings.Lines(got.out) {
		line = strings.TrimRight(line, "\n")
		switch name, _, _ := strings.Cut(strings.TrimSpace(line), " "); {
		case strings.HasPrefix(line, "horizon-"):
			rows[name] = line
		case strings.HasPrefix(line, "  horizon-"):
			at = name
		case strings.HasPrefix(line, "    "):
			hands[at] += line
		case line == "":
			at = ""
		}
	}
	for name, trouble := range want {
		result := trouble.result
		if result == "" {
			result = "written"
		}
		row := rows[name]
		if !strings.HasSuffix(row, "   "+result) || !strings.Contains(row, namespaces[name]+" ") {
			t.Errorf("%s (%s): %q", name, result, row)
		}
		if reason := hands[name]; (reason != "") != (trouble.reason != "") || !strings.Contains(reason, trouble.reason) {
			t.Errorf("%s: %q, want %q", name, reason, trouble.reason)
		}
	}
	if name := fmt.Sprintf("horizon-%d", bridge); !strings.HasSuffix(rows[name], "left out") {
		t.Errorf("the bridge's own: %q", rows[name])
	}
	if !strings.Contains(got.out, "\n101 webhooks of Horizon: 56 written, of which 16 need a hand; 44 by hand; 1 left out.\n") {
		t.Error(got.out)
	}

	// The API server takes what is meant for it.
	files := readTree(t, dir)
	written := 0
	for path, text := range files {
		if strings.HasPrefix(path, "by-hand/") {
			continue
		}
		var object unstructured.Unstructured
		b.Expect(yaml.UnmarshalStrict([]byte(text), &object.Object)).To(Succeed())
		b.Expect(b.Client.Create(b.Ctx, &object, client.DryRunAll, client.FieldValidation("Strict"))).To(Succeed(), path)
		if strings.HasPrefix(path, "webhooks/") {
			written++
			state, _, _ := unstructured.NestedString(object.Object, "spec", "state")
			b.Expect(state).To(Equal("Disabled"), path)
			b.Expect(object.GetNamespace()).To(Equal(namespaces[object.GetName()]), path)
			if secret := want[object.GetName()].Secret; strings.Contains(text, "secretRef") != (secret != "") ||
				(files[strings.Replace(path, "webhooks/", "secrets/", 1)] != "") != (secret != "") {
				t.Errorf("%s: %s", path, text)
			}
		}
	}
	if written != 56 {
		t.Errorf("%d Webhooks", written)
	}

	// Once more it is the same, also where some are in the cluster already; those keep their
	// state.
	first := slices.Sorted(maps.Keys(rows))[0]
	for name, trouble := range want {
		if trouble.result == "" {
			first = name
		}
	}
	b.Expect(b.run(args...).code).To(BeZero())
	if diff := cmp.Diff(files, readTree(t, dir)); diff != "" {
		t.Errorf("once more: %s", diff)
	}
	var object unstructured.Unstructured
	path := "webhooks/" + first + ".yaml"
	b.Expect(yaml.Unmarshal([]byte(files[path]), &object.Object)).To(Succeed())
	b.Expect(unstructured.SetNestedField(object.Object, "Paused", "spec", "state")).To(Succeed())
	b.Expect(b.Client.Create(b.Ctx, &object)).To(Succeed())
	again := b.run(args...)
	b.Expect(again.code).To(BeZero())
	b.Expect(again.out).To(ContainSubstring("it is in the cluster already, and stays Paused there:\n    " + first + "\n"))
	b.Expect(readTree(t, dir)[path]).To(Equal(strings.Replace(files[path], "state: Disabled", "state: Paused", 1)))
}

// readTree returns the files of a directory, which are for their owner alone.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %o", path, info.Mode().Perm())
		}
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Without a cluster manifests are written all the same, and it is said what is not known.
func TestImportWithoutCluster(t *testing.T) {
	h, token := newHorizon(t)
	group := h.AddGroup(0, "music")
	h.AddWebhook(fake.Groups, group, fake.Webhook{Enabled: true, URL: "https://8.8.8.8/", Triggers: []string{"*"}})
	secret := h.AddGroup(0, "secret")
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != fmt.Sprintf("/apis/core/v2/groups/%d/webhooks", secret) {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	b := offline(t)
	dir := filepath.Join(t.TempDir(), "imported")
	args := []string{"import", "--from", h.URL(""), "--token-file", token, "--out", dir, "--enabled"}
	got := b.run(args...)
	b.Expect(got.code).To(Equal(exitUnmet), got.err)
	b.Expect(got.err).To(ContainSubstring("the webhooks of the group /secret are missing"))
	b.Expect(got.out).To(ContainSubstring("It is not known which Webhooks are in the cluster already"))
	b.Expect(got.out).To(ContainSubstring("1 webhook of Horizon: 1 written"))
	files := readTree(t, dir)
	b.Expect(files["webhooks/horizon-1.yaml"]).To(And(ContainSubstring("namespace: horizon-webhooks\n"), Not(ContainSubstring("state:"))))
}

func TestImportRefuses(t *testing.T) {
	h, token := newHorizon(t)
	forbidden := filepath.Join(t.TempDir(), "token")
	writeFile(t, forbidden, h.Token("groups:read-only", "applications:read-only", "clusters:read-only"))
	h.AddApplication(h.AddGroup(0, "music"), "web", "P1")
	one := filepath.Join(t.TempDir(), "token")
	writeFile(t, one, h.Token("webhooks"))
	unknown := filepath.Join(t.TempDir(), "token")
	writeFile(t, unknown, "ha_"+hidden)
	nested := filepath.Join(t.TempDir(), "routes.yaml")
	writeFile(t, nested, "default: a\nroutes: {/music: b, /music/player: c}")
	good := filepath.Join(t.TempDir(), "routes.yaml")
	writeFile(t, good, "default: a")
	down, err := fake.Start(fake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = down.Close()
	b := offline(t)
	dir := filepath.Join(t.TempDir(), "out")
	from := []string{"--from", h.URL(""), "--token-file", token}
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":            {nil, exitUsage, "--from and --token-file"},
		"no token":           {[]string{"--from", h.URL(""), "--out", dir}, exitUsage, "--from and --token-file"},
		"nothing to do":      {from, exitUsage, "say one of --out"},
		"two things":         {append(slices.Clone(from), "--out", dir, "--undo", "a"), exitUsage, "say one of --out"},
		"an address":         {[]string{"--from", "horizon", "--token-file", token, "--out", dir}, exitUsage, "it has to be absolute"},
		"no file":            {[]string{"--from", h.URL(""), "--token-file", "/nowhere", "--out", dir}, exitError, "no such file"},
		"no authorities":     {append(slices.Clone(from), "--out", dir, "--ca-file", good), exitUsage, "no certificate"},
		"nested routes":      {append(slices.Clone(from), "--out", dir, "--routes", nested), exitError, "/music/player (to c) lies within /music (to b)"},
		"another namespace":  {append(slices.Clone(from), "--out", dir, "--routes", good, "--system-namespace", "b"), exitUsage, "is not the default of"},
		"no prefix":          {append(slices.Clone(from), "--out", dir, "--egress-allow", "ten"), exitUsage, "--egress-allow"},
		"a token without":    {[]string{"--from", h.URL(""), "--token-file", forbidden, "--out", dir}, exitError, "/apis/core/v2/groups/0/webhooks: 403"},
		"one scope only":     {[]string{"--from", h.URL(""), "--token-file", one, "--out", dir}, exitError, "The token needs the scope clusters:read-only"},
		"a token of nobody":  {[]string{"--from", h.URL(""), "--token-file", unknown, "--out", dir}, exitError, "does not know the token"},
		"nobody answers":     {[]string{"--from", down.URL(""), "--token-file", token, "--out", dir}, exitError, "asking Horizon: GET"},
		"a Webhook, no kube": {append(slices.Clone(from), "--cut-over", "horizon-12"), exitError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := b.run(append([]string{"import"}, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.err, tc.want) || strings.Contains(got.err+got.out, hidden) ||
				strings.Contains(tc.want, "asking Horizon") && strings.Contains(got.err, "API server") {
				t.Errorf("exit code %d, want %d: %s, want %q", got.code, tc.code, got.err, tc.want)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// A webhook is turned over and back: one of both sends at any time.
func TestCutOver(t *testing.T) {
	b := newBed(t)
	h, token := newHorizon(t)
	group := h.AddGroup(0, "music")
	hook := fake.Webhook{
		Enabled: true, URL: b.Receiver.URL("/hook"), Description: "CI", Secret: hidden, Triggers: []string{"clusters_deployed", "clusters_freed"},
	}
	id := h.AddWebhook(fake.Groups, group, hook)
	name := fmt.Sprintf("horizon-%d", id)
	b.Expect(b.Client.Create(b.Ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: name}, StringData: map[string]string{"token": hidden},
	})).To(Succeed())
	b.Webhook(name, func(spec *v1alpha1.WebhookSpec) {
		spec.URL, spec.State, spec.WebhookID = hook.URL, v1alpha1.WebhookDisabled, id
		spec.Triggers = []v1alpha1.Trigger{"clusters_freed", "clusters_deployed"}
		spec.SecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "token"}
	})
	run := func(args ...string) ran {
		t.Helper()
		got := b.run(append([]string{"import", "--from", h.URL(""), "--token-file", token}, args...)...)
		if strings.Contains(got.out+got.err, hidden) {
			t.Errorf("a secret is on the terminal:\n%s%s", got.out, got.err)
		}
		return got
	}
	is := func(name string, id int64, state v1alpha1.WebhookState, on bool) {
		t.Helper()
		var w v1alpha1.Webhook
		b.Expect(b.Client.Get(b.Ctx, types.NamespacedName{Namespace: b.Namespace, Name: name}, &w)).To(Succeed())
		want := hook
		want.Enabled = on
		theirs, _ := h.Webhook(id)
		if diff := cmp.Diff(want, theirs); w.Spec.State != state || diff != "" {
			t.Errorf("%s is %s; in Horizon: %s", name, w.Spec.State, diff)
		}
	}
	got := run("--cut-over", name)
	b.Expect(got.code).To(BeZero(), got.err)
	b.Expect(got.err).NotTo(ContainSubstring("warning"))
	b.Expect(got.out).To(And(ContainSubstring(name+" enabled\n"), ContainSubstring("turned off\n"), ContainSubstring("reaches the receiver twice")))
	is(name, id, v1alpha1.WebhookEnabled, false)
	got = run("--cut-over", "webhook.horizoncd.io/"+name)
	b.Expect(got.out).To(ContainSubstring("was cut over before"), got.err)
	is(name, id, v1alpha1.WebhookEnabled, false)

	got = run("--undo", name)
	b.Expect(got.code).To(BeZero(), got.err)
	b.Expect(got.out).To(And(ContainSubstring("turned on\n"), ContainSubstring(name+" disabled\n"), ContainSubstring("reaches the receiver twice")))
	is(name, id, v1alpha1.WebhookDisabled, true)
	got = run("--undo", name)
	b.Expect(got.out).To(And(ContainSubstring("is on already\n"), ContainSubstring("already disabled\n")))

	// Where Horizon does not store it, both go on, and that is said.
	h.Intercept(func(_ http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodPut })
	got = run("--cut-over", name)
	b.Expect(got.code).To(Equal(exitError))
	b.Expect(got.err).To(ContainSubstring("both may send"))
	is(name, id, v1alpha1.WebhookEnabled, true)
	h.Intercept(nil)
	got = run("--cut-over", name)
	b.Expect(got.code).To(BeZero(), got.err)
	is(name, id, v1alpha1.WebhookEnabled, false)

	// One that cannot be sent to stays with Horizon, and what was changed since is told.
	other := h.AddWebhook(fake.Groups, group, hook)
	otherName := fmt.Sprintf("horizon-%d", other)
	b.Webhook(otherName, func(spec *v1alpha1.WebhookSpec) {
		spec.State, spec.WebhookID = v1alpha1.WebhookDisabled, other
		spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "none", Key: "token"}
	})
	got = run("--cut-over", otherName, "--cut-over", "horizon-99", "--wait-timeout", "2s")
	b.Expect(got.code).NotTo(BeZero())
	b.Expect(got.err).To(And(ContainSubstring("SecretNotFound"), ContainSubstring("was not cut over"), ContainSubstring("its URL is not the one"),
		ContainSubstring("its triggers are *, and in Horizon clusters_deployed, clusters_freed"), ContainSubstring("there is no webhook horizon-99")))
	is(otherName, other, v1alpha1.WebhookDisabled, true)

	// Nor is there anything to turn over of one that is off, or was not made of one of Horizon's.
	b.Webhook("mine")
	b.Expect(run("--cut-over", "mine").err).To(ContainSubstring("was not made of one of Horizon's"))
	off := h.AddWebhook(fake.Groups, group, fake.Webhook{URL: hook.URL, Triggers: []string{"*"}})
	b.Webhook("off", func(spec *v1alpha1.WebhookSpec) { spec.State, spec.WebhookID = v1alpha1.WebhookDisabled, off })
	b.Expect(run("--cut-over", "off").err).To(ContainSubstring("it is off in Horizon, so there is nothing to cut over"))
	h.DeleteWebhook(off)
	b.Expect(run("--cut-over", "off").err).To(ContainSubstring("404 Not Found"))
}
