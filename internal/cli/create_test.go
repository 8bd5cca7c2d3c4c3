package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

const secretValue = "s3cr3t-t0ken-of-the-receiver"

// file writes a file and returns its path.
func (b *bed) file(name, text string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	b.Expect(os.WriteFile(path, []byte(text), 0o600)).To(Succeed())
	return path
}

// secretNames are the Secrets of the namespace.
func (b *bed) secretNames() []string {
	b.Helper()
	var list corev1.SecretList
	b.Expect(b.Client.List(b.Ctx, &list, client.InNamespace(b.Namespace))).To(Succeed())
	names := []string{}
	for _, s := range list.Items {
		names = append(names, s.Name)
	}
	return names
}

func (b *bed) secret(name string) *corev1.Secret {
	b.Helper()
	s := &corev1.Secret{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: name}, s)).To(Succeed())
	return s
}

func TestCreate(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	r := b.run("create", "smoke-tests", "--url", b.Receiver.URL("/smoke"), "--trigger", "clusters_builddeployed,clusters_deployed",
		"--trigger", "members_created", "--description", "Start the smoke tests", "--scope", "/music", "--webhook-id", "7",
		"--timeout", "1m", "--retries", "0", "--max-in-flight", "3", "--no-ssl-verify", "--paused",
		"--secret-file", b.file("token", secretValue+"\n"), "--signing-secret-ref", "other/key", "--wait", "--wait-timeout", "5s")
	b.Expect(r.code).To(Equal(exitUnmet), "the Secret other is not there")
	b.Expect(r.out).To(Equal("secret/smoke-tests-webhook created\nwebhook.horizoncd.io/smoke-tests created\n"))
	b.Expect(r.err).To(And(ContainSubstring("not ready after 5s"), ContainSubstring("(SecretNotFound)"), ContainSubstring("other")))
	b.Expect(r.out + r.err).NotTo(ContainSubstring(secretValue))

	w := b.get("smoke-tests")
	b.Expect(w.Spec).To(Equal(v1alpha1.WebhookSpec{
		URL:              b.Receiver.URL("/smoke"),
		SSLVerifyEnabled: new(false),
		Description:      "Start the smoke tests",
		SecretRef:        &v1alpha1.SecretKeyReference{Name: "smoke-tests-webhook", Key: "token"},
		SigningSecretRef: &v1alpha1.SecretKeyReference{Name: "other", Key: "key"},
		Triggers:         []v1alpha1.Trigger{"clusters_builddeployed", "clusters_deployed", "members_created"},
		State:            v1alpha1.WebhookPaused,
		Scope:            "/music",
		WebhookID:        7,
		TimeoutSeconds:   60,
		Retry:            v1alpha1.RetryPolicy{Limit: new(int32(0)), MinBackoffSeconds: 10, MaxBackoffSeconds: 3600, GiveUpAfterSeconds: 259200},
		MaxInFlight:      3,
		Retention:        v1alpha1.RetentionPolicy{TTLSecondsAfterFinished: 604800, Limit: new(int32(200))},
	}))
	s := b.secret("smoke-tests-webhook")
	b.Expect(s.Data).To(Equal(map[string][]byte{"token": []byte(secretValue)}))
	b.Expect(s.OwnerReferences).To(Equal([]metav1.OwnerReference{{
		APIVersion: "horizoncd.io/v1alpha1", Kind: "Webhook", Name: w.Name, UID: w.UID,
	}}))
	b.Expect(s.Labels).To(HaveKeyWithValue("app.kubernetes.io/managed-by", "kubectl-horizon"))

	// It goes with the Webhook.
	b.mustRun("delete", "smoke-tests", "--yes")
	b.Eventually(b.secretNames).ShouldNot(ContainElement("smoke-tests-webhook"))
}

func TestCreateIsSentTo(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	b.stdin = secretValue + "\n"
	b.mustRun("create", "ops-room", "--url-file", b.file("url", b.Receiver.URL("/hidden")), "--trigger", "*",
		"--secret-from-stdin", "--signing-secret-file", b.file("key", "another-key"), "--wait")
	b.Expect(b.get("ops-room").Spec.URL).To(BeEmpty())
	b.Expect(b.secret("ops-room-webhook").Data).To(HaveLen(3))
	b.Delivery("ops-room", b.Event(1), v1alpha1.DeliverySucceeded)
}

func TestCreateMistakes(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	token := b.file("token", secretValue)
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		want  []string
		code  int
	}{
		"no flags":      {args: []string{"a"}, want: []string{"--trigger (spec.triggers): Required value", "Mend these first"}},
		"no URL":        {args: []string{"a", "--trigger", "*"}, want: []string{"--url (spec.url): url is required"}},
		"a long name":   {args: []string{strings.Repeat("a", 64), "--trigger", "*", "--url", "https://a"}, want: []string{"NAME (metadata.name): metadata.name must be no longer"}},
		"URL":           {args: []string{"a", "--url", "ci.example.com", "--trigger", "*", "--secret-file", token}, want: []string{"--url (spec.url): ", "url must be absolute"}},
		"triggers":      {args: []string{"a", "--url", "https://a", "--trigger", "*,deployed"}, want: []string{"--trigger (spec.triggers[1]): ", "did you mean clusters_deployed?"}},
		"several":       {args: []string{"a", "--url", "https://a", "--trigger", "*", "--timeout", "1h", "--max-in-flight", "0"}, want: []string{"--timeout (spec.timeoutSeconds): ", "--max-in-flight (spec.maxInFlight): "}},
		"retries":       {args: []string{"a", "--url", "https://a", "--trigger", "*", "--retries", "101"}, want: []string{"--retries (spec.retry.limit): "}},
		"scope":         {args: []string{"a", "--url", "https://a", "--trigger", "*", "--scope", "music"}, want: []string{"--scope (spec.scope): ", "write /music"}},
		"name":          {args: []string{"A", "--url", "https://a", "--trigger", "*"}, want: []string{"NAME (metadata.name): "}},
		"reference":     {args: []string{"a", "--url", "https://a", "--trigger", "*", "--secret-ref", "B/c d"}, want: []string{"--secret-ref (spec.secretRef.name): ", "--secret-ref (spec.secretRef.key): "}},
		"both URLs":     {args: []string{"a", "--url", "https://a", "--url-ref", "b", "--trigger", "*"}, code: exitUsage, want: []string{"give one of --url, --url-file, --url-from-stdin, --url-ref, not more"}},
		"two secrets":   {args: []string{"a", "--secret-file", token, "--secret-ref", "b"}, code: exitUsage, want: []string{"give one of --secret-file, --secret-from-stdin, --secret-ref, not more"}},
		"stdin twice":   {args: []string{"a", "--secret-from-stdin", "--url-from-stdin"}, code: exitUsage, want: []string{"exclude each other"}},
		"empty secret":  {args: []string{"a", "--secret-from-stdin"}, stdin: "\n", want: []string{"--secret-from-stdin: the value is empty"}},
		"secret":        {args: []string{"a", "--secret-file", b.file("bad", secretValue+"\x00")}, want: []string{"--secret-file: byte 29 of the value is NUL"}},
		"secret URL":    {args: []string{"a", "--url-from-stdin"}, stdin: "https://ci.example.com/" + secretValue + " x", want: []string{"--url-from-stdin: the URL must percent-encode"}},
		"no file":       {args: []string{"a", "--secret-file", "/nonexistent"}, want: []string{"--secret-file: open /nonexistent"}},
		"time":          {args: []string{"a", "--timeout", "1.5s"}, code: exitUsage, want: []string{"a whole number of seconds"}},
		"dry run":       {args: []string{"a", "--dry-run", "maybe"}, code: exitUsage, want: []string{"none, client, server"}},
		"no name":       {code: exitUsage, want: []string{"name the new webhook"}},
		"server dryrun": {args: []string{"a", "--url", "ftp://a", "--trigger", "*", "--dry-run=server"}, want: []string{"--url (spec.url): "}},
	} {
		b.stdin = tc.stdin
		r := b.run(append([]string{"create"}, tc.args...)...)
		b.Expect(r.code).To(Equal(max(tc.code, exitError)), "%s: %s", name, r.err)
		for _, want := range tc.want {
			b.Expect(r.err).To(ContainSubstring(want), name)
		}
		b.Expect(r.out+r.err).NotTo(ContainSubstring(secretValue), name)
	}
	b.Expect(b.secretNames()).To(BeEmpty())
	b.Expect(b.mustRun("list", "-o", "name")).To(BeEmpty())
}

func TestCreateNeverOverwrites(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	theirs := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "a-webhook"}, Data: map[string][]byte{"token": []byte("theirs")},
	}
	b.Expect(b.Client.Create(b.Ctx, theirs)).To(Succeed())
	args := []string{"create", "a", "--url", "https://a", "--trigger", "*", "--secret-file", b.file("token", secretValue)}
	for _, more := range [][]string{nil, {"--dry-run=server"}} {
		r := b.run(append(args, more...)...)
		b.Expect(r.code).To(Equal(exitError))
		b.Expect(r.err).To(ContainSubstring("secret a-webhook exists already and is not overwritten: if it is the one, name it with --secret-ref a-webhook/token"))
	}
	b.Expect(b.secret("a-webhook").ResourceVersion).To(Equal(theirs.ResourceVersion))
	b.Expect(b.gone("a")).To(BeTrue())

	// Nor is a Webhook, and its Secret stays what it was.
	b.mustRun("create", "c", "--url", "https://a", "--trigger", "*", "--secret-file", b.file("token", secretValue))
	before := b.secret("c-webhook").ResourceVersion
	r := b.run("create", "c", "--url", "https://b", "--trigger", "*", "--secret-file", b.file("token", "another"))
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("there is a webhook c in the namespace " + b.Namespace + " already: `kubectl horizon edit c"))
	b.Expect(b.secret("c-webhook").ResourceVersion).To(Equal(before))
}

func TestCreateCleansUp(t *testing.T) {
	b := newBed(t)
	admin, err := client.NewWithWatch(suite.ControlPlane.Config(), client.Options{Scheme: scheme, Mapper: mapper()})
	b.Expect(err).NotTo(HaveOccurred())
	args := []string{"create", "a", "--url", "https://a", "--trigger", "*", "--secret-file", b.file("token", secretValue)}
	refuse := func(_ context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption) error {
		all := client.CreateOptions{}
		all.ApplyOptions(options)
		if object.GetObjectKind().GroupVersionKind().Kind == "Webhook" && len(all.DryRun) == 0 {
			if names := b.secretNames(); len(names) != 1 || names[0] != "a-webhook" {
				b.Errorf("Secrets before the Webhook: %v", names)
			}
			return apierrors.NewInternalError(errors.New("refused by the test"))
		}
		return c.Create(b.Ctx, object, options...)
	}

	r := b.with(func(p *plugin) { p.cluster = interceptor.NewClient(admin, interceptor.Funcs{Create: refuse}) }, args...)
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("refused by the test"))
	b.Expect(b.secretNames()).To(BeEmpty())

	// Where even that fails, it is said.
	keep := func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
		return errors.New("kept by the test")
	}
	r = b.with(func(p *plugin) {
		p.cluster = interceptor.NewClient(admin, interceptor.Funcs{Create: refuse, Delete: keep})
	}, args...)
	b.Expect(r.err).To(ContainSubstring("kubectl delete secret a-webhook -n " + b.Namespace))
}

func TestCreateDryRun(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	args := []string{"create", "a", "--url", "https://a", "--trigger", "*", "--secret-file", b.file("token", secretValue)}
	r := b.run(append(args, "--dry-run=client", "-o", "yaml")...)
	b.Expect(r.code).To(Equal(0), r.err)
	b.Expect(r.out).To(MatchYAML(`
apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata: {name: a, namespace: ` + b.Namespace + `}
spec: {url: "https://a", triggers: ["*"], secretRef: {name: a-webhook, key: token}}`))
	b.Expect(r.err).To(ContainSubstring("The Secret a-webhook would be created, too; it is not printed."))

	r = b.run(append(args, "--dry-run=server", "-o", "yaml")...)
	b.Expect(r.code).To(Equal(0), r.err)
	var w v1alpha1.Webhook
	b.Expect(yaml.UnmarshalStrict([]byte(r.out), &w)).To(Succeed())
	b.Expect(w.Spec.TimeoutSeconds).To(BeEquivalentTo(30))
	b.Expect(r.out).NotTo(ContainSubstring("managedFields"))
	b.Expect(b.mustRun(append(args, "--dry-run=server")...)).To(Equal(
		"secret/a-webhook created (server dry run)\nwebhook.horizoncd.io/a created (server dry run)\n"))
	b.Expect(b.gone("a")).To(BeTrue())
	b.Expect(b.secretNames()).To(BeEmpty())
	b.Expect(b.mustRun(append(args, "-o", "name")...)).To(Equal("webhook.horizoncd.io/a\n"))
}

func TestCreateWithoutRightsToSecrets(t *testing.T) {
	b := newBed(t).as("writer", "horizon-webhook-editor")
	r := b.run("create", "a", "--url", "https://a", "--trigger", "*", "--secret-file", b.file("token", secretValue))
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("You need the role edit in the namespace " + b.Namespace))
	b.Expect(b.gone("a")).To(BeTrue())
	b.mustRun("create", "a", "--url", "https://a", "--trigger", "*", "--secret-ref", "b")
	b.Expect(b.get("a").Spec.SecretRef).To(Equal(&v1alpha1.SecretKeyReference{Name: "b", Key: "token"}))
}

// Who may create Secrets and not change them has one that stays, and is told so.
func TestCreateWithoutRightToOwn(t *testing.T) {
	b := newBed(t)
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "secrets"}
	b.Expect(b.Client.Create(b.Ctx, &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: role.Name},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}}},
	})).To(Succeed())
	b.Expect(b.Client.Create(b.Ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: role.Name}, RoleRef: role,
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "writer"}},
	})).To(Succeed())
	var r ran
	b.Eventually(func() int { // roles take effect a moment later
		r = b.as("writer", "horizon-webhook-editor").
			run("create", "a", "--url", "https://a", "--trigger", "*", "--secret-file", b.file("token", secretValue))
		return r.code
	}).Should(Equal(0))
	b.Expect(r.err).To(ContainSubstring("warning: the Secret a-webhook will stay when the webhook is deleted: "))
	b.Expect(b.secret("a-webhook").OwnerReferences).To(BeEmpty())
}

func TestEventTypes(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("all", func(s *v1alpha1.WebhookSpec) {
		s.Triggers = matching.Triggers()
	})
	b.Expect(w.Spec.Triggers).To(HaveLen(len(matching.Triggers())))
	// None of those that kubectl explain lists is missing.
	source, err := os.ReadFile(filepath.Join(root, "api/v1alpha1/event_types.go"))
	b.Expect(err).NotTo(HaveOccurred())
	comment, _, _ := strings.Cut(string(source), "The singular and the plural")
	for word := range strings.FieldsFuncSeq(comment, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz_*", r) }) {
		if strings.Contains(word, "_") {
			b.Expect(matching.Triggers()).To(ContainElement(v1alpha1.Trigger(word)))
		}
	}
}
