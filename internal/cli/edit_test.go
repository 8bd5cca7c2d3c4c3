package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestEditByFlags(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	b.Webhook("a", func(s *v1alpha1.WebhookSpec) {
		s.Description, s.Scope, s.WebhookID = "as it was", "/music", 7
		s.Retry.MaxBackoffSeconds = 60
		s.SecretRef = &v1alpha1.SecretKeyReference{Name: "old", Key: "token"}
	})
	want := b.get("a").Spec
	edit := func(args ...string) string { return b.mustRun(append([]string{"edit", "a"}, args...)...) }
	same := func(step string) {
		b.Helper()
		b.Expect(b.get("a").Spec).To(Equal(want), step)
	}

	b.Expect(edit("--url", b.Receiver.URL("/b"), "--retries", "3", "--timeout", "45")).To(Equal("webhook.horizoncd.io/a edited\n"))
	want.URL, want.Retry.Limit, want.TimeoutSeconds = b.Receiver.URL("/b"), new(int32(3)), 45
	same("only what was given")
	b.Expect(edit("--retries", "3")).To(Equal("webhook.horizoncd.io/a unchanged\n"))

	edit("--add-trigger", "clusters_freed,members_created", "--remove-trigger", "*", "--scope", "", "--webhook-id", "0", "--paused")
	want.Triggers, want.Scope, want.WebhookID, want.State = []v1alpha1.Trigger{"clusters_freed", "members_created"}, "", 0, v1alpha1.WebhookPaused
	same("triggers, and what was taken out")
	edit("--add-trigger", "clusters_freed", "--remove-trigger", "clusters_created", "--paused=false", "--no-ssl-verify")
	want.State, want.SSLVerifyEnabled = v1alpha1.WebhookEnabled, new(false)
	same("nothing twice")
	edit("--trigger", "clusters_deployed", "--no-ssl-verify=false", "--description", "as it is")
	want.Triggers, want.SSLVerifyEnabled, want.Description = []v1alpha1.Trigger{"clusters_deployed"}, new(true), "as it is"
	same("all triggers")

	edit("--url-ref", "hidden")
	want.URL, want.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "hidden", Key: "url"}
	same("the URL of a Secret")
	edit("--url", "https://a")
	want.URL, want.URLSecretRef = "https://a", nil
	same("and back")
	edit("--no-secret", "--signing-secret-ref", "old/key")
	want.SecretRef, want.SigningSecretRef = nil, &v1alpha1.SecretKeyReference{Name: "old", Key: "key"}
	same("without a token")

	before := b.get("a").Generation
	b.Expect(edit("--scope", "/video", "--dry-run=server")).To(Equal("webhook.horizoncd.io/a edited (server dry run)\n"))
	r := b.run("edit", "a", "--scope", "video", "--add-trigger", "deployed")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(And(ContainSubstring("--scope (spec.scope): "), ContainSubstring("--add-trigger (spec.triggers[1]): ")))
	for _, args := range [][]string{
		{"edit", "a", "--trigger", "*", "--add-trigger", "*"}, {"edit", "a", "--no-secret", "--secret-ref", "b"}, {"edit"},
	} {
		b.Expect(b.run(args...).code).To(Equal(exitUsage), "%v", args)
	}
	b.Expect(b.get("a").Generation).To(Equal(before))
	b.Expect(b.mustRun("edit", "a", "--scope", "/video", "-o", "jsonpath={.spec.scope}")).To(Equal("/video"))
}

func TestEditMakesNewSecrets(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	b.mustRun("create", "a", "--url", b.Receiver.URL("/a"), "--trigger", "*", "--secret-file", b.file("token", "the-first-one"), "--wait")
	first := b.secret("a-webhook").ResourceVersion

	r := b.run("edit", "a", "--secret-file", b.file("token", secretValue), "--scope", "music")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(b.secretNames()).To(Equal([]string{"a-webhook"}))

	r = b.run("edit", "a", "--secret-file", b.file("token", secretValue), "--wait")
	b.Expect(r.code).To(Equal(0), r.err)
	name := b.get("a").Spec.SecretRef.Name
	b.Expect(name).To(MatchRegexp("^a-webhook-[a-z0-9]{5}$"))
	b.Expect(r.out).To(Equal("secret/" + name + " created\nwebhook.horizoncd.io/a edited\n"))
	b.Expect(r.err).To(ContainSubstring("The Secret a-webhook stays"))
	b.Expect(string(b.secret(name).Data["token"])).To(Equal(secretValue))
	b.Expect(b.secret(name).OwnerReferences).To(HaveLen(1))
	b.Expect(b.secret("a-webhook").ResourceVersion).To(Equal(first))
}

// Each of many who add a trigger at the same time has it in the end.
func TestEditAtTheSameTime(t *testing.T) {
	b := newBed(t)
	b.Webhook("a", func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"clusters_deployed"} })
	added := []string{"clusters_freed", "clusters_created", "clusters_deleted", "members_created"}
	var wg sync.WaitGroup
	for _, trigger := range added {
		wg.Go(func() {
			if r := b.run("edit", "a", "--add-trigger", trigger); r.code != 0 {
				b.Errorf("%s: %s", trigger, r.err)
			}
		})
	}
	wg.Wait()
	for _, trigger := range append(added, "clusters_deployed") {
		b.Expect(b.get("a").Spec.Triggers).To(ContainElement(v1alpha1.Trigger(trigger)))
	}
}

// editor makes a script the editor. It runs once for each time that the file is opened,
// with the number of that in $n, and keeps what it was shown.
func (b *bed) editor(script string) (shown func(n int) string) {
	b.Helper()
	dir := b.TempDir()
	path := filepath.Join(dir, "editor")
	text := fmt.Sprintf("#!/bin/sh\nset -e\ncd '%s'\nn=$(($(cat n 2>/dev/null || echo 0) + 1))\necho $n >n\ncp \"$1\" shown.$n\n%s\n", dir, script)
	b.Expect(os.WriteFile(path, []byte(text), 0o700)).To(Succeed())
	b.Setenv("KUBE_EDITOR", path)
	b.Setenv("TMPDIR", b.TempDir())
	return func(n int) string {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("shown.%d", n)))
		b.Expect(err).NotTo(HaveOccurred())
		return string(data)
	}
}

// keptFiles are those that edit has left.
func (b *bed) keptFiles() []string {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(os.TempDir(), "kubectl-horizon-edit-*"))
	b.Expect(err).NotTo(HaveOccurred())
	return files
}

func TestEditInEditor(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	b.Webhook("a", func(s *v1alpha1.WebhookSpec) { s.URL, s.Description = "https://a", "as it was\nin two lines" })
	b.observed("a")
	shown := b.editor(`sed -i 's/as it was/as it is/; s/limit: 10$/limit: 9/' "$1"`)
	b.Expect(b.mustRun("edit", "a")).To(Equal("webhook.horizoncd.io/a edited\n"))
	b.Expect(b.get("a").Spec.Description).To(Equal("as it is\nin two lines"))
	b.Expect(*b.get("a").Spec.Retry.Limit).To(BeEquivalentTo(9))
	b.Expect(shown(1)).To(And(HavePrefix("# Edit the webhook below"), ContainSubstring("url: https://a"), Not(ContainSubstring("managedFields")),
		Not(ContainSubstring("observedGeneration"))))
	b.Expect(b.keptFiles()).To(BeEmpty())

	before := b.observed("a").ResourceVersion
	for name, script := range map[string]string{
		"nothing": "true", "a comment": `sed -i 's/^# Edit/# Edited/' "$1"`, "an empty file": `: >"$1"`, "comments only": `sed -i '/^[^#]/d' "$1"`,
	} {
		b.editor(script)
		r := b.run("edit", "a")
		b.Expect(r).To(Equal(ran{"", "Edit cancelled: nothing was changed.\n", 0}), name)
		b.Expect(b.keptFiles()).To(BeEmpty(), name)
	}
	b.Expect(b.get("a").ResourceVersion).To(Equal(before))

	b.editor(`echo 'more: of it' >>"$1"; exit 1`)
	r := b.run("edit", "a")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(And(ContainSubstring("ended with an error"), ContainSubstring("What you wrote is in "+b.keptFiles()[0])))
	t.Setenv("KUBE_EDITOR", "/nonexistent/editor")
	b.Expect(b.run("edit", "a").err).To(ContainSubstring("set KUBE_EDITOR"))
}

func TestEditRefused(t *testing.T) {
	b := newBed(t)
	b.Webhook("a", func(s *v1alpha1.WebhookSpec) { s.URL = "https://a" })

	// Each time, one thing more is put right.
	shown := b.editor(`case $n in
1) sed -i 's#url: https://a#url: ftp://b#' "$1" ;;
2) sed -i 's#url: ftp://b#url: https://b#; s#^spec:#spec:\n  unknown: 1#' "$1" ;;
3) sed -i '/unknown: 1/d; s#^spec:#spec: [#' "$1" ;;
4) sed -i 's#^spec: \[#spec:#; s#  name: a$#  name: b#' "$1" ;;
5) sed -i 's#  name: b$#  name: a#' "$1" ;;
esac`)
	b.Expect(b.mustRun("edit", "a")).To(Equal("webhook.horizoncd.io/a edited\n"))
	b.Expect(b.get("a").Spec.URL).To(Equal("https://b"))
	b.Expect(shown(2)).To(And(HavePrefix("# the API server refuses the webhook:\n#   --url (spec.url): "), ContainSubstring("url: ftp://b"),
		Not(ContainSubstring("Edit the webhook below"))))
	b.Expect(shown(3)).To(MatchRegexp(`(?m)^# .*unknown field "spec.unknown"`))
	b.Expect(shown(4)).To(HavePrefix("# This cannot be read: "))
	b.Expect(shown(5)).To(HavePrefix(`# This cannot be read: metadata.name cannot be changed: it is "a"`))
	b.Expect(b.keptFiles()).To(BeEmpty())

	// Who gives up finds what was written.
	b.editor(`[ $n -gt 1 ] || sed -i 's#url: https://b#url: ftp://c#' "$1"`)
	r := b.run("edit", "a")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("edit cancelled"))
	file := regexp.MustCompile(`What you wrote is in (\S+)`).FindStringSubmatch(r.err)
	b.Expect(file).To(HaveLen(2), r.err)
	data, err := os.ReadFile(file[1])
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(string(data)).To(ContainSubstring("url: ftp://c"))
}

func TestEditConflict(t *testing.T) {
	b := newBed(t)
	b.Webhook("a", func(s *v1alpha1.WebhookSpec) { s.URL, s.Description = "https://a", "as it was" })
	// somebody changes the Webhook while the file is open.
	somebody := func(dir, patch string) {
		b.Eventually(filepath.Join(dir, "open")).Should(BeAnExistingFile())
		err := b.Client.Patch(b.Ctx, b.get("a"), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("somebody"))
		if err != nil {
			b.Error(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
			b.Error(err)
		}
	}
	edit := func(patch, script string) (ran, func(int) string) {
		dir := b.TempDir()
		shown := b.editor(fmt.Sprintf(`if [ $n = 1 ]; then : >'%[1]s/open'; i=0; until [ -e '%[1]s/go' ] || [ $i -gt 1200 ]; do sleep 0.05; i=$((i + 1)); done; fi
%[2]s`, dir, script))
		var wg sync.WaitGroup
		wg.Go(func() { somebody(dir, patch) })
		r := b.run("edit", "a")
		wg.Wait()
		return r, shown
	}

	r, shown := edit(`{"spec":{"description":"theirs","scope":"/music","maxInFlight":3}}`, `case $n in
1) sed -i 's/as it was/mine/; s#url: https://a#url: https://mine#' "$1" ;;
2) sed -i '/take this line out/d' "$1" ;;
esac`)
	b.Expect(r.code).To(Equal(0), r.err)
	spec := b.get("a").Spec
	b.Expect([]any{spec.URL, spec.Description, spec.Scope, spec.MaxInFlight}).To(Equal([]any{"https://mine", "mine", "/music", int32(3)}))
	b.Expect(shown(2)).To(And(
		HavePrefix("# Nothing was stored: somebody else has changed the webhook meanwhile (with somebody, at "),
		ContainSubstring(`#   spec.description was "as it was", and is "theirs"`),
		ContainSubstring(`#   spec.scope was absent, and is "/music"`),
		ContainSubstring("#   spec.maxInFlight was 10, and is 3")))

	// Who does not confirm changes nothing, and keeps the file.
	r, _ = edit(`{"spec":{"description":"theirs"}}`, `[ $n != 1 ] || sed -i 's/description: mine/description: again/' "$1"`)
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(b.get("a").Spec.Description).To(Equal("theirs"))
	b.Expect(b.keptFiles()).To(HaveLen(1))

	// What the operator writes is no conflict.
	b.observed("a")
	dir := b.TempDir()
	b.editor(fmt.Sprintf(`: >'%[1]s/open'; i=0; until [ -e '%[1]s/go' ] || [ $i -gt 1200 ]; do sleep 0.05; i=$((i + 1)); done; sed -i 's/description: theirs/description: done/' "$1"`, dir))
	var wg sync.WaitGroup
	wg.Go(func() {
		b.Eventually(filepath.Join(dir, "open")).Should(BeAnExistingFile())
		b.writeStatus("a", func(s *v1alpha1.WebhookStatus) {
			meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionHealthy).Message = "changed"
		})
		b.Expect(os.WriteFile(filepath.Join(dir, "go"), nil, 0o600)).To(Succeed())
	})
	r = b.run("edit", "a")
	wg.Wait()
	b.Expect(r.code).To(Equal(0), r.err)
	b.Expect(b.get("a").Spec.Description).To(Equal("done"))
}

func TestDifferences(t *testing.T) {
	g := NewWithT(t)
	before := map[string]any{"a": int64(1), "b": map[string]any{"c": "x", "d": "same"}, "gone": true}
	after := map[string]any{"a": int64(2), "b": map[string]any{"c": hostileText, "d": "same"}, "new": []any{"*"}}
	g.Expect(strings.Join(differences("", before, after), "\n")).To(And(
		HavePrefix("a was 1, and is 2\nb.c was \"x\", and is "), Not(ContainSubstring("\x1b")),
		HaveSuffix("gone was true, and is absent\nnew was absent, and is [\"*\"]")))
}
