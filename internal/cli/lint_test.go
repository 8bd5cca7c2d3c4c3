package cli

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const validWebhook = `apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata:
  name: a
spec:
  url: https://ci.example.com/hooks
  triggers:
  - clusters_deployed
`

const validEvent = `apiVersion: horizoncd.io/v1alpha1
kind: WebhookEvent
metadata:
  name: horizon-1
spec:
  eventID: 1
  eventType: clusters_deployed
  cluster: {id: 1, name: web, applicationName: web, env: online}
`

// manifests are valid or not: what is wrong with them, an API server finds as well.
var manifests = map[string]string{
	"valid":                     validWebhook,
	"valid event":               validEvent,
	"JSON":                      `{"apiVersion":"horizoncd.io/v1alpha1","kind":"Webhook","metadata":{"name":"a"},"spec":{"url":"https://a","triggers":["*"]}}`,
	"comment":                   "# a comment\n" + validWebhook,
	"nulls":                     validWebhook + "  scope: null\n  secretRef: null\n  retry: null\n",
	"empty texts":               validWebhook + "  scope: \"\"\n  description: \"\"\n",
	"defaults in part":          validWebhook + "  retry: {limit: 0}\n",
	"status":                    validWebhook + "status: {observedGeneration: 7}\n",
	"generated name":            strings.Replace(validWebhook, "name: a", "generateName: a-", 1),
	"long generated name":       strings.Replace(validWebhook, "name: a", "generateName: "+strings.Repeat("a", 70), 1),
	"labels":                    strings.Replace(validWebhook, "name: a", "name: a\n  labels: {a.b/c: d}\n  annotations: {a: \"1\"}", 1),
	"63 characters":             strings.Replace(validWebhook, "name: a", "name: "+strings.Repeat("a", 63), 1),
	"highest webhookID":         validWebhook + "  webhookID: 9007199254740991\n",
	"number as a float":         validWebhook + "  timeoutSeconds: 30.0\n",
	"anchor":                    validWebhook + "  secretRef: &ref {name: a, key: b}\n  signingSecretRef: *ref\n",
	"TLS":                       validWebhook + "  tls: {caSecretRef: {name: ca}}\n",
	"unknown field":             validWebhook + "  secret: a\n",
	"unknown field, deep":       validWebhook + "  retry: {limit: 1, backoff: 3}\n",
	"unknown field of metadata": strings.Replace(validWebhook, "name: a", "name: a\n  label: {a: b}", 1),
	"unknown field at the root": validWebhook + "specs: {}\n",
	"unknown field of status":   validWebhook + "status: {ready: true}\n",
	"key twice":                 validWebhook + "  url: https://b.example.com\n",
	"key twice, deep":           validWebhook + "  retry: {limit: 1, limit: 2}\n",
	"no YAML":                   validWebhook + "  scope: [\n",
	"tab":                       validWebhook + "\tscope: /a\n",
	"no url":                    strings.Replace(validWebhook, "  url: https://ci.example.com/hooks\n", "", 1),
	"both urls":                 validWebhook + "  urlSecretRef: {name: a, key: b}\n",
	"relative url":              strings.Replace(validWebhook, "https://", "", 1),
	"url with a space":          strings.Replace(validWebhook, "hooks", "hooks and more", 1),
	"url with a user":           strings.Replace(validWebhook, "https://", "https://me:you@", 1),
	"url with a bad port":       strings.Replace(validWebhook, ".com", ".com:0", 1),
	"url of a bad address":      strings.Replace(validWebhook, "ci.example.com", "\"[::g]\"", 1),
	"url is a number":           strings.Replace(validWebhook, "https://ci.example.com/hooks", "7", 1),
	"empty url":                 strings.Replace(validWebhook, "https://ci.example.com/hooks", `""`, 1),
	"long url":                  strings.Replace(validWebhook, "hooks", strings.Repeat("a", 2100), 1),
	"TLS with http":             strings.Replace(validWebhook, "https", "http", 1) + "  tls: {caSecretRef: {name: ca}}\n",
	"two authorities":           validWebhook + "  tls: {caSecretRef: {name: ca}, caConfigMapRef: {name: ca}}\n",
	"no triggers":               strings.Split(validWebhook, "  triggers")[0],
	"expressions": validWebhook + "  filter: event.cluster.env == \"online\"\n  payload: {format: CloudEvents, template: '{\"a\": 1}'}\n" +
		"  response: {acceptIf: response.json.ok, giveUpIf: response.statusCode == 404}\n",
	"empty filter":            validWebhook + "  filter: \"\"\n",
	"long filter":             validWebhook + "  filter: \"" + strings.Repeat("é", 4097) + "\"\n",
	"filter is a map":         validWebhook + "  filter: {a: b}\n",
	"unknown format":          validWebhook + "  payload: {format: Telegram}\n",
	"long template":           validWebhook + "  payload: {template: \"" + strings.Repeat("a", 16385) + "\"}\n",
	"unknown rule":            validWebhook + "  response: {retryIf: \"true\"}\n",
	"empty triggers":          strings.Split(validWebhook, "  triggers")[0] + "  triggers: []\n",
	"unknown trigger":         validWebhook + "  - clusters_deploy\n",
	"two unknown triggers":    validWebhook + "  - clusters_deploy\n  - nothing\n",
	"trigger twice":           validWebhook + "  - clusters_deployed\n",
	"trigger is a map":        validWebhook + "  - a: b\n",
	"triggers are a text":     strings.Split(validWebhook, "  triggers")[0] + "  triggers: clusters_deployed\n",
	"scope":                   validWebhook + "  scope: music/player\n",
	"scope with a pattern":    validWebhook + "  scope: /music/*\n",
	"state":                   validWebhook + "  state: On\n",
	"state is on":             validWebhook + "  state: on\n",
	"time is a text":          validWebhook + "  timeoutSeconds: \"30\"\n",
	"time is no integer":      validWebhook + "  timeoutSeconds: 1.5\n",
	"time out of bounds":      validWebhook + "  timeoutSeconds: 301\n",
	"backoff":                 validWebhook + "  retry: {minBackoffSeconds: 61, maxBackoffSeconds: 60}\n",
	"backoff below a default": validWebhook + "  retry: {maxBackoffSeconds: 5}\n",
	"reference without a key": validWebhook + "  secretRef: {name: a}\n",
	"reference to elsewhere":  validWebhook + "  secretRef: {name: other/a, key: b}\n",
	"long description":        validWebhook + "  description: " + strings.Repeat("ä", 1025) + "\n",
	"type and rule":           validWebhook + "  scope: music\n  timeoutSeconds: \"30\"\n",
	"name in capitals":        strings.Replace(validWebhook, "name: a", "name: A", 1),
	"no name":                 strings.Replace(validWebhook, "  name: a\n", "  labels: {}\n", 1),
	"no metadata":             strings.Replace(validWebhook, "metadata:\n  name: a\n", "", 1),
	"64 characters":           strings.Replace(validWebhook, "name: a", "name: "+strings.Repeat("a", 64), 1),
	"name is a number":        strings.Replace(validWebhook, "name: a", "name: 7", 1),
	"bad label":               strings.Replace(validWebhook, "name: a", "name: a\n  labels: {a: \"b c\"}", 1),
	"annotation is a number":  strings.Replace(validWebhook, "name: a", "name: a\n  annotations: {a: 1}", 1),
	"owner without a uid":     strings.Replace(validWebhook, "name: a", "name: a\n  ownerReferences: [{apiVersion: v1, kind: Secret, name: a}]", 1),
	"no spec":                 strings.Split(validWebhook, "spec:")[0],
	"spec is null":            strings.Split(validWebhook, "spec:")[0] + "spec: null\n",
	"spec is a text":          strings.Split(validWebhook, "spec:")[0] + "spec: a\n",
	"event without a type":    strings.Replace(validEvent, "  eventType: clusters_deployed\n", "", 1),
	"event of nothing":        strings.Split(validEvent, "  cluster:")[0],
	"event with a bad time":   validEvent + "  time: yesterday\n",
	"event with a bad number": strings.Replace(validEvent, "eventID: 1", "eventID: -1", 1),
	"event of two things":     validEvent + "  application: {id: 1, name: web}\n",
}

// dryRun posts a manifest as it is, and returns what the API server has against it.
func (b *bed) dryRun(text string) error {
	b.Helper()
	config := rest.CopyConfig(suite.ControlPlane.Config())
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c, err := rest.RESTClientFor(config)
	b.Expect(err).NotTo(HaveOccurred())
	resource := "webhooks"
	if strings.Contains(text, "kind: WebhookEvent") {
		resource = "webhookevents"
	}
	return c.Post().Namespace(b.Namespace).Resource(resource).
		Param("dryRun", "All").Param("fieldValidation", "Strict").
		SetHeader("Content-Type", "application/yaml").Body([]byte(text)).Do(b.Ctx).Error()
}

// Without a cluster, lint refuses what an API server refuses, in the same words.
func TestLintSaysWhatTheServerSays(t *testing.T) {
	b := newBed(t)
	for name, text := range manifests {
		b.sameVerdict(name, text)
	}
}

// The same for Webhooks that are put together at random.
func TestLintSaysWhatTheServerSaysAtRandom(t *testing.T) {
	b := newBed(t)
	random := rand.New(rand.NewPCG(16, 7))
	fields := map[string][]string{
		"url":              {"https://a", "https://a/b?c=%20", "http://[::1]:8080/", "https://a b", "ftp://a", "https://a:65536", "https://a#b", `"https://é"`, "7", `""`},
		"urlSecretRef":     {"{name: a, key: b}", "{name: a}", "{name: A, key: b}", "{}", "null"},
		"triggers":         {`["*"]`, "[clusters_*, members_created]", "[cluster_created, clusters_created]", "[deployed]", "[]", "[clusters_deployed, clusters_deployed]", "[1]", "null"},
		"scope":            {"/music", "/music/", "music", "/a//b", "/a/*", `""`, "[]"},
		"state":            {"Enabled", "Paused", "enabled", "off"},
		"description":      {"text", `"\e[31m"`, strings.Repeat("x", 1025), "true"},
		"sslVerifyEnabled": {"true", "no", `"true"`, "0"},
		"timeoutSeconds":   {"1", "300", "0", "1e2", "1.0", "99999999999", "-1"},
		"maxInFlight":      {"100", "101", "{}"},
		"webhookID":        {"1", "0", "9007199254740992", "1.5"},
		"retry":            {"{}", "{limit: 0}", "{limit: 101}", "{minBackoffSeconds: 4000}", "{max: 1}", "null", "[]"},
		"retention":        {"{limit: 0}", "{ttlSecondsAfterFinished: 899}", "{limit: -1, ttlSecondsAfterFinished: x}"},
		"secretRef":        {"{name: a, key: b}", "{name: a, key: b c}", "a/b"},
		"tls":              {"{}", "{caSecretRef: {name: a}}", "{caSecretRef: {name: a}, caConfigMapRef: {name: b}}", "{ca: a}"},
		"unknown":          {"1"},
	}
	names := slices.Sorted(maps.Keys(fields))
	verdicts := map[bool]int{} // by whether it was refused
	for i := range 150 {
		text := strings.Split(validWebhook, "spec:")[0] + "spec:\n"
		for _, name := range names {
			chance := 0.15
			if name == "url" || name == "triggers" {
				chance = 0.9
			}
			values := fields[name]
			if random.Float64() < chance {
				// The first values are those that pass.
				text += fmt.Sprintf("  %s: %s\n", name, values[random.IntN(len(values))*random.IntN(2)])
			}
		}
		verdicts[b.sameVerdict(fmt.Sprintf("%d:\n%s", i, text), text)]++
	}
	b.Expect(verdicts[true]).To(BeNumerically(">", 15))
	b.Expect(verdicts[false]).To(BeNumerically(">", 15))
}

var lintLine = regexp.MustCompile(`^stdin:([0-9]+): (.*)$`)

// sameVerdict holds what lint says offline against what the API server says, and returns
// whether that refuses it.
func (b *bed) sameVerdict(name, text string) bool {
	b.Helper()
	b.stdin = text
	r := b.run("lint", "--offline", "-f", "-")
	refused := b.dryRun(text)
	if want := map[bool]int{true: exitUnmet, false: 0}[refused != nil]; r.code != want {
		b.Errorf("%s: lint exits with %d, and the API server says: %v\n%s%s", name, r.code, refused, r.out, r.err)
		return refused != nil
	}
	var got []string
	lines := strings.Count(text, "\n") + 1
	for l := range strings.Lines(r.out) {
		found := lintLine.FindStringSubmatch(strings.TrimSpace(l))
		if found == nil {
			b.Errorf("%s: %q", name, l)
			continue
		}
		if at, err := strconv.Atoi(found[1]); err != nil || at < 1 || at > lines {
			b.Errorf("%s: line %s of %d", name, found[1], lines)
		}
		if !strings.HasPrefix(found[2], "warning: ") {
			got = append(got, found[2])
		}
	}
	status, ok := errors.AsType[*apierrors.StatusError](refused)
	if !ok || !apierrors.IsInvalid(refused) {
		return refused != nil
	}
	var want []string
	for _, cause := range status.Status().Details.Causes {
		switch {
		case strings.Contains(cause.Message, "some validation rules were not checked"):
		case cause.Field == "<nil>":
			want = append(want, oneLine(cause.Message))
		default:
			want = append(want, oneLine(cause.Field+": "+cause.Message))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.Errorf("%s: lint says\n%s\nthe API server\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return true
}

func TestLintLines(t *testing.T) {
	b := newBed(t)
	b.stdin = `# two documents, and a list
---
` + validWebhook + `--- # the second
apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata:
  name: b
spec:
  url: https://b
  triggers: ["*",
    deployed]
  unknown: 1
  timeoutSeconds: 0
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
- apiVersion: horizoncd.io/v1alpha1
  kind: Webhook
  metadata: {name: c}
  spec:
    url: https://c
    triggers: ["*"]
    scope: c
---
apiVersion: horizoncd.io/v1
kind: Webhook
---
kind: WebHook
`
	r := b.run("lint", "--offline", "-f", "-")
	b.Expect(r.code).To(Equal(exitUnmet))
	b.Expect(r.out).To(Equal(`stdin:18: warning: spec.triggers[0]: it follows everything: the other triggers make no difference
stdin:19: spec.triggers[1]: Invalid value: "deployed": not an event type: did you mean clusters_deployed? kubectl explain webhook.spec.triggers lists all
stdin:20: spec.unknown: unknown field
stdin:21: spec.timeoutSeconds: Invalid value: 0: spec.timeoutSeconds in body should be greater than or equal to 1
stdin:35: spec.scope: Invalid value: "c": scope must be a full path, such as /music/player: write /c
stdin:38: kind: there is no kind "Webhook" of apiVersion "horizoncd.io/v1": Webhook and WebhookEvent are of horizoncd.io/v1alpha1
stdin:40: kind: there is no kind "WebHook" of apiVersion "": Webhook and WebhookEvent are of horizoncd.io/v1alpha1
`))
}

func TestLintSamples(t *testing.T) {
	b := newBed(t)
	samples := filepath.Join(root, "config/samples")
	r := b.run("lint", "--offline", samples)
	b.Expect(r.code).To(Equal(0), r.out)
	b.Expect(r.out).NotTo(MatchRegexp(`(?m)^[^:]+:[0-9]+: [^w]`))
	b.Expect(r.err).To(And(ContainSubstring("no API server was asked (--offline)"), ContainSubstring("8 manifests in 10 files: 0 errors, ")))

	r = b.as("editor", "edit").run("lint", "-f", samples)
	b.Expect(r.code).To(Equal(0), r.out)
	b.Expect(r.out).To(And(
		ContainSubstring("webhook_private.yaml:13: warning: spec.urlSecretRef: there is no Secret audit in namespace "+b.Namespace),
		ContainSubstring("webhookdelivery.yaml:8: warning: kind: the operator writes deliveries"),
		ContainSubstring("webhookevent.yaml:17: warning: spec.time: this was "),
		Not(ContainSubstring("smoke-tests in"))), "the Secret smoke-tests is among the files")
}

func TestLintAsksTheServer(t *testing.T) {
	b := newBed(t)
	editor := b.as("editor", "edit")
	b.Expect(b.Client.Create(b.Ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "there"}, Data: map[string][]byte{"token": []byte("a")},
	})).To(Succeed())
	lint := func(b *bed, text string, args ...string) ran {
		b.stdin = text
		return b.run(append([]string{"lint", "-f", "-"}, args...)...)
	}

	r := lint(editor, validWebhook+"  secretRef: {name: there, key: token}\n")
	b.Expect(r).To(Equal(ran{"", "1 manifest in 1 file: 0 errors, 0 warnings\n", 0}))
	b.Expect(lint(editor, validWebhook+"  secretRef: {name: there, key: url}\n").out).To(
		Equal("stdin:9: warning: spec.secretRef.key: the Secret there in namespace " + b.Namespace + " has no key url\n"))
	b.Expect(lint(editor, validWebhook+"  secretRef: {name: gone, key: url}\n").out).To(
		Equal("stdin:9: warning: spec.secretRef: there is no Secret gone in namespace " + b.Namespace + ", or it is empty\n"))

	// One that exists is valid, too.
	b.Webhook("a")
	b.Expect(lint(editor, validWebhook).code).To(Equal(0))

	// Who may not create Webhooks, or read Secrets, is told that this was not checked.
	r = lint(b.as("viewer", "view"), validWebhook+"  secretRef: {name: gone, key: url}\n")
	b.Expect(r.code).To(Equal(0))
	b.Expect(r.out).To(BeEmpty())
	b.Expect(r.err).To(And(ContainSubstring("was not checked by the API server"), ContainSubstring("You need the role edit")))
	r = lint(b, strings.Replace(validWebhook, "name: a", "name: a\n  namespace: nowhere", 1))
	b.Expect(r.code).To(Equal(0))
	b.Expect(r.err).To(ContainSubstring("there is no namespace nowhere"))

	// Nor is it an error that there is no cluster.
	b.stdin = validWebhook
	r = b.run("lint", "-f", "-", "--server", "https://127.0.0.1:1")
	b.Expect(r.code).To(Equal(0), r.out)
	b.Expect(r.err).To(ContainSubstring("Only the manifests themselves were checked, and no API server: "))
}

func TestLintWarnings(t *testing.T) {
	b := newBed(t)
	secret := "---\napiVersion: v1\nkind: Secret\nmetadata: {name: there}\nstringData: {token: a}\n"
	for name, tc := range map[string]struct{ text, want string }{
		"token over http":   {strings.Replace(validWebhook, "https", "http", 1) + "  secretRef: {name: a, key: b}\n", "spec.url: it begins with http://"},
		"no check":          {validWebhook + "  sslVerifyEnabled: false\n", "spec.sslVerifyEnabled: the receiver's certificate is not checked"},
		"no check for http": {strings.Replace(validWebhook, "https", "http", 1) + "  sslVerifyEnabled: false\n", "spec.sslVerifyEnabled: without effect"},
		"authorities":       {validWebhook + "  sslVerifyEnabled: false\n  tls: {caSecretRef: {name: ca}}\n", "spec.tls: the authorities are without effect"},
		"never sent":        {validWebhook + "  - cluster_action\n", "spec.triggers[1]: cluster_action is in Horizon's list"},
		"covered":           {validWebhook + "  - clusters_*\n", "spec.triggers[0]: clusters_* follows it already"},
		"covered by all":    {validWebhook + "  - '*'\n", "spec.triggers[1]: it follows everything"},
		"family twice":      {validWebhook + "  - members_*\n  - member_*\n", "spec.triggers[2]: members_* follows it already"},
		"two spellings":     {validWebhook + "  - cluster_deployed\n", "spec.triggers[1]: clusters_deployed follows it already"},
		"root":              {validWebhook + "  scope: /\n", "spec.scope: / is everything"},
		"slash":             {validWebhook + "  scope: /music/\n", "spec.scope: the slash at its end makes no difference: /music itself"},
		"one key for both":  {validWebhook + "  secretRef: {name: a, key: b}\n  signingSecretRef: {name: a, key: b}\n", "spec.signingSecretRef: it is the key of secretRef"},
		"status":            {validWebhook + "status: {webhookID: 1}\n", "status: the operator writes it"},
		"key of a file":     {validWebhook + "  secretRef: {name: there, key: b}\n" + secret, "spec.secretRef.key: the Secret there in these files has no key b"},
		"the same twice":    {validWebhook + "---\n" + validWebhook, "metadata.name: stdin:4 has it, too"},
		"constant filter":   {validWebhook + "  filter: \"true\"\n", "spec.filter: it is always true: without effect"},
		"empty payload":     {validWebhook + "  payload: {}\n", "spec.payload: without effect"},
		"useless rule":      {validWebhook + "  response: {giveUpIf: response.statusCode == 200}\n", "spec.response.giveUpIf: without effect"},
		"an old event":      {validEvent + "  time: \"2020-01-01T00:00:00Z\"\n", "spec.time: this was "},
	} {
		b.stdin = tc.text
		r := b.run("lint", "--offline", "-f", "-")
		b.Expect(r.code).To(Equal(0), "%s: %s", name, r.out)
		b.Expect(r.out).To(MatchRegexp(`(?m)^stdin:[0-9]+: warning: `+regexp.QuoteMeta(tc.want)), name)
	}
	for name, text := range map[string]string{
		"valid": validWebhook, "two families": validWebhook + "  - members_*\n", "key of a file": validWebhook + "  secretRef: {name: there, key: token}\n" + secret,
	} {
		b.stdin = text
		b.Expect(b.run("lint", "--offline", "-f", "-").out).To(BeEmpty(), name)
	}
}

func TestLintFiles(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	for file, text := range map[string]string{
		"a.yaml": validWebhook, "b.yml": validEvent, "c.json": manifests["JSON"], "d.txt": "no: [", "below/e.yaml": validWebhook + "  x: 1\n",
	} {
		path := filepath.Join(dir, file)
		b.Expect(os.MkdirAll(filepath.Dir(path), 0o700)).To(Succeed())
		b.Expect(os.WriteFile(path, []byte(text), 0o600)).To(Succeed())
	}
	r := b.run("lint", "--offline", dir)
	b.Expect(r.code).To(Equal(0), r.out)
	b.Expect(r.err).To(ContainSubstring("3 manifests in 3 files: 0 errors, 1 warning\n")) // two have one name
	r = b.run("lint", "--offline", "-R", "-f", dir)
	b.Expect(r.code).To(Equal(exitUnmet))
	b.Expect(r.out).To(ContainSubstring(filepath.Join(dir, "below/e.yaml") + ":9: spec.x: unknown field\n"))
	r = b.run("lint", "--offline", "-f", filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yml"))
	b.Expect(r.err).To(ContainSubstring("2 manifests in 2 files"))

	b.stdin = "apiVersion: v1\nkind: ConfigMap\n"
	r = b.run("lint", "--offline", "-f", "-")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("there is no manifest of Horizon's in -"))
	b.Expect(b.run("lint").code).To(Equal(exitUsage))
	b.Expect(b.run("lint", "-f", "/nonexistent").code).To(Equal(exitError))
}

// Findings come in the order of the files, whatever found them, and a file whose rules were
// not asked yet is told of.
func TestLintOrder(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	for file, text := range map[string]string{
		"a.yaml": validWebhook + "  scope: a\n",
		"b.yaml": "kind: WebHook\n",
		"c.yaml": validWebhook + "  timeoutSeconds: ten\n",
	} {
		b.Expect(os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600)).To(Succeed())
	}
	r := b.run("lint", "--offline", dir)
	b.Expect(r.code).To(Equal(exitUnmet))
	b.Expect(r.out).To(MatchRegexp(`(?s)a\.yaml:\d+: spec\.scope.*b\.yaml:1: kind.*c\.yaml:\d+: spec\.timeoutSeconds`))
	b.Expect(r.err).To(ContainSubstring("c.yaml: mend these first: the rules, such as that of the URL, were not asked yet."))
	b.Expect(r.err).NotTo(ContainSubstring("a.yaml: mend"))
}
