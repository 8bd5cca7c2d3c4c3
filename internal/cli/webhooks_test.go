package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
)

// hostileText is what a tenant may write to confuse who reads it.
const hostileText = "\x1b[2J\x1b[31mred\x1b[0m \u202egnp.exe\u202c zero\u200bwidth\u2028line\x00\r\nnext\t宽"

// plugin returns what a command runs with, to be changed by a test.
func (b *bed) plugin(out, errOut io.Writer) *plugin {
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(b.stdin), Out: out, ErrOut: errOut}, "test")
	p.width, p.interactive = b.width, b.interactive
	return p
}

// with runs a command line after a change of what it runs with.
func (b *bed) with(change func(*plugin), args ...string) ran {
	b.Helper()
	var out, errOut bytes.Buffer
	p := b.plugin(&out, &errOut)
	change(p)
	code := execute(b.Ctx, p, append([]string{"--kubeconfig", b.kubeconfig, "--namespace", b.Namespace}, args...))
	return ran{out.String(), errOut.String(), code}
}

// observed waits until the operator has seen a Webhook as it is.
func (b *bed) observed(name string) *v1alpha1.Webhook {
	b.Helper()
	w := &v1alpha1.Webhook{}
	b.Eventually(func(g Gomega) {
		g.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: name}, w)).To(Succeed())
		g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation))
		g.Expect(meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy)).NotTo(BeNil())
	}).Should(Succeed())
	return w
}

// writeStatus writes what only the operator and administrators may.
func (b *bed) writeStatus(name string, change func(*v1alpha1.WebhookStatus)) {
	b.Helper()
	b.Eventually(func() error {
		w := b.observed(name)
		change(&w.Status)
		return b.Client.Status().Update(b.Ctx, w)
	}).Should(Succeed())
}

func (b *bed) get(name string) *v1alpha1.Webhook {
	b.Helper()
	w := &v1alpha1.Webhook{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: name}, w)).To(Succeed())
	return w
}

func (b *bed) gone(name string) bool {
	b.Helper()
	err := b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: name}, &v1alpha1.Webhook{})
	b.Expect(client.IgnoreNotFound(err)).NotTo(HaveOccurred())
	return apierrors.IsNotFound(err)
}

// anonymous replaces the namespace, which has another name in each run.
func (b *bed) anonymous(text string) string {
	return strings.ReplaceAll(text, b.Namespace, "cli-xxxxx")
}

func TestListAndShow(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) {
		s.URL = "https://ci.example.com/hooks/horizon?team=music%20ops"
		s.Description = "Start the smoke tests when a deploy task started"
		s.Triggers = []v1alpha1.Trigger{"clusters_builddeployed", "clusters_deployed"}
		s.Scope = "/music/player"
		s.WebhookID = 7
	})
	b.Webhook("hostile", func(s *v1alpha1.WebhookSpec) {
		s.URL = "http://ci.example.com/" + strings.Repeat("a", 300)
		s.Description = (hostileText + strings.Repeat(" and on", 200))[:1000]
		s.WebhookID = 8
		s.State = v1alpha1.WebhookPaused
	})
	b.Webhook("ops-room", func(s *v1alpha1.WebhookSpec) {
		s.URL = ""
		s.URLSecretRef = &v1alpha1.SecretKeyReference{Name: "ops-room", Key: "url"}
		s.SigningSecretRef = &v1alpha1.SecretKeyReference{Name: "ops-room", Key: "signing-key"}
		s.TLS = &v1alpha1.TLSSettings{CAConfigMapRef: &v1alpha1.CABundleReference{Name: "private-ca", Key: "ca.crt"}}
		s.Retry.Limit = new(int32(0))
		s.WebhookID = 9
		s.State = v1alpha1.WebhookDisabled
	})
	b.observed("ops-room")
	now := b.get("smoke-tests").CreationTimestamp.Add(100*24*time.Hour + time.Hour)
	b.writeStatus("smoke-tests", func(s *v1alpha1.WebhookStatus) {
		s.LastDelivery = &v1alpha1.LastDelivery{
			Name: "smoke-tests-6a22ac4f-5dd19687b07584db", Time: metav1.NewMicroTime(now.Add(-5 * time.Minute)),
			Result: v1alpha1.DeliverySucceeded, StatusCode: 204,
		}
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionHealthy, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted,
			Message: "the receiver answered 204 No Content", LastTransitionTime: metav1.NewTime(now.Add(-3 * time.Hour)),
		})
	})
	b.writeStatus("hostile", func(s *v1alpha1.WebhookStatus) {
		s.LastDelivery = &v1alpha1.LastDelivery{
			Name: "hostile-6a22ac4f-5dd19687b07584db", Time: metav1.NewMicroTime(now.Add(-90 * time.Second)), Result: v1alpha1.DeliveryWaiting,
		}
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionHealthy, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonFailing,
			Message: "the last attempt failed: " + hostileText, LastTransitionTime: metav1.NewTime(now.Add(-90 * time.Second)),
		})
	})

	for _, width := range []int{80, 160, 0} {
		b.width = width
		for name, args := range map[string][]string{
			"list":      {"list"},
			"list-wide": {"list", "-o", "wide"},
			"show":      {"show", "smoke-tests"},
			"hostile":   {"show", "hostile"},
			"ops-room":  {"show", "ops-room"},
		} {
			r := b.with(func(p *plugin) { p.now = func() time.Time { return now } }, args...)
			if r.code != 0 || r.err != "" {
				t.Fatalf("%v: exit code %d\n%s", args, r.code, r.err)
			}
			b.Expect(r.out).NotTo(ContainSubstring("\x1b"))
			golden(t, fmt.Sprintf("webhooks/%s-%d.txt", name, width), b.anonymous(r.out))
		}
	}
	b.width = 0
	all := b.mustRun("list", "-A")
	b.Expect(all).To(MatchRegexp(`(?m)^NAMESPACE +NAME +STATE`))
	b.Expect(all).To(MatchRegexp(`(?m)^` + b.Namespace + ` +smoke-tests +Enabled +True`))
	b.Expect(b.mustRun("ls", "--no-headers")).NotTo(ContainSubstring("NAME"))
}

func TestListAsKubectl(t *testing.T) {
	b := newBed(t)
	b.Webhook("one")
	b.Webhook("two")
	b.observed("one")
	b.observed("two")
	want := unstructuredWebhooks()
	b.Expect(b.Client.List(b.Ctx, want, client.InNamespace(b.Namespace))).To(Succeed())
	for i := range want.Items {
		want.Items[i].SetManagedFields(nil)
	}

	for _, format := range []string{"yaml", "json"} {
		var got map[string]any
		b.Expect(yaml.Unmarshal([]byte(b.mustRun("get", "-o", format)), &got)).To(Succeed())
		b.Expect(got).To(HaveKeyWithValue("apiVersion", "v1"))
		b.Expect(got).To(HaveKeyWithValue("kind", "List"))
		b.Expect(got).To(HaveKeyWithValue("metadata", map[string]any{"resourceVersion": ""}))
		data, err := json.Marshal(want.Items)
		b.Expect(err).NotTo(HaveOccurred())
		items, err := json.Marshal(got["items"])
		b.Expect(err).NotTo(HaveOccurred())
		b.Expect(items).To(MatchJSON(data), format)

		var one map[string]any
		b.Expect(yaml.Unmarshal([]byte(b.mustRun("show", "two", "-o", format)), &one)).To(Succeed())
		data, err = json.Marshal(want.Items[1].Object)
		b.Expect(err).NotTo(HaveOccurred())
		shown, err := json.Marshal(one)
		b.Expect(err).NotTo(HaveOccurred())
		b.Expect(shown).To(MatchJSON(data), format)
	}
	b.Expect(b.mustRun("list", "-o", "yaml", "--show-managed-fields")).To(ContainSubstring("managedFields"))
	b.Expect(b.mustRun("list", "-o", "name")).To(Equal("webhook.horizoncd.io/one\nwebhook.horizoncd.io/two\n"))
	b.Expect(b.mustRun("list", "-o", "jsonpath={.items[*].metadata.name}")).To(Equal("one two"))
	b.Expect(b.mustRun("show", "two", "-o", "name")).To(Equal("webhook.horizoncd.io/two\n"))
	b.Expect(b.run("list", "-o", "xml").code).To(Equal(exitUsage))
}

func TestListNothing(t *testing.T) {
	b := newBed(t)
	r := b.run("list")
	b.Expect(r).To(Equal(ran{"", "No webhooks in namespace " + b.Namespace +
		". Create one: kubectl horizon create NAME --url https://… --trigger clusters_deployed -n " + b.Namespace + "\n", 0}))
	b.Expect(b.run("list", "-l", "team=music").err).To(ContainSubstring("No webhooks with such labels"))
	b.Expect(b.mustRun("list", "-o", "json")).To(MatchJSON(`{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":""},"items":[]}`))

	r = b.run("list", "smoke-tests")
	b.Expect(r.code).To(Equal(exitUsage))
	b.Expect(r.err).To(ContainSubstring("kubectl horizon show WEBHOOK"))
	b.Expect(b.run("list", "-l", "a in (").code).To(Equal(exitUsage))
	r = b.run("show", "nobody")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("there is no webhook nobody in the namespace "))
}

// syncBuffer can be read while a command still writes to it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// background runs a command until the test ends it.
func (b *bed) background(change func(*plugin), args ...string) (out *syncBuffer, end func() int) {
	b.Helper()
	out = &syncBuffer{}
	ctx, cancel := context.WithCancel(b.Ctx)
	b.Cleanup(cancel)
	p := b.plugin(out, out)
	if change != nil {
		change(p)
	}
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, p, append([]string{"--kubeconfig", b.kubeconfig, "--namespace", b.Namespace}, args...))
	}()
	return out, func() int {
		cancel()
		return <-done
	}
}

func TestListWatch(t *testing.T) {
	b := newBed(t)
	out, end := b.background(nil, "list", "-w")
	names, endNames := b.background(nil, "list", "-w", "-o", "name")
	b.Eventually(out.String).Should(ContainSubstring("No webhooks in namespace"))
	b.Webhook("smoke-tests")
	b.Eventually(out.String).Should(MatchRegexp(`(?m)^NAME +STATE.*\n(smoke-tests +Enabled .*\n)*smoke-tests +Enabled +True`))
	b.mustRun("pause", "smoke-tests")
	b.Eventually(out.String).Should(MatchRegexp(`(?m)^smoke-tests +Paused +True`))
	b.mustRun("delete", "smoke-tests", "--yes")
	b.Eventually(out.String).Should(MatchRegexp(`(?m)^smoke-tests +Deleted `))
	b.Expect(strings.Count(out.String(), "NAME  ")).To(Equal(1), out.String())
	b.Expect(end()).To(Equal(0))
	b.Eventually(names.String).Should(MatchRegexp(`^(webhook.horizoncd.io/smoke-tests\n){3,}$`))
	b.Expect(endNames()).To(Equal(0))
}

// The API server ends watches, and forgets old versions.
func TestListWatchGoesOn(t *testing.T) {
	b := newBed(t)
	b.Webhook("first", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookPaused })
	b.observed("first")
	admin, err := client.NewWithWatch(suite.ControlPlane.Config(), client.Options{Scheme: scheme, Mapper: mapper()})
	b.Expect(err).NotTo(HaveOccurred())
	watches := make(chan watch.Interface)
	begin := func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
		select {
		case w, ok := <-watches:
			if ok {
				return w, nil
			}
			return c.Watch(ctx, list, options...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	out, end := b.background(func(p *plugin) { p.cluster = interceptor.NewClient(admin, interceptor.Funcs{Watch: begin}) }, "list", "-w")

	b.Eventually(out.String).Should(ContainSubstring("first "))
	b.Webhook("second", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookPaused })
	b.observed("second")
	watches <- watch.NewEmptyWatch() // it ends at once
	b.Eventually(out.String).Should(MatchRegexp(`(?m)^second +Paused`))
	b.Webhook("third", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookPaused })
	b.observed("third")
	expired := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 1})
	expired.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
	watches <- expired
	b.Eventually(out.String).Should(MatchRegexp(`(?m)^third +Paused`))
	close(watches)
	b.mustRun("resume", "first")
	b.Eventually(out.String).Should(MatchRegexp(`(?m)^first +Enabled`))
	b.Expect(end()).To(Equal(0))
	b.Expect(regexp.MustCompile(`(?m)^first +Paused`).FindAllString(out.String(), -1)).To(HaveLen(1), "nothing is told twice")
}

func TestViewersReadAndDoNotWrite(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	b.observed("smoke-tests")
	viewer := b.as("viewer", "view")
	b.Expect(viewer.mustRun("list")).To(ContainSubstring("smoke-tests"))
	b.Expect(viewer.mustRun("show", "smoke-tests")).To(ContainSubstring("Triggers"))
	before := b.get("smoke-tests").ResourceVersion
	t.Setenv("KUBE_EDITOR", "sed -i s/Enabled/Paused/")
	t.Setenv("TMPDIR", t.TempDir())
	for _, args := range [][]string{
		{"pause", "smoke-tests"}, {"resume", "smoke-tests"}, {"disable", "--all"},
		{"edit", "smoke-tests", "--scope", "/music"}, {"edit", "smoke-tests"},
		{"delete", "smoke-tests", "--yes"},
		{"create", "chat", "--url", "https://chat.example.com", "--trigger", "*"},
	} {
		r := viewer.run(args...)
		if args[0] == "resume" { // it is enabled already, and nothing is written
			b.Expect(r.code).To(Equal(0), r.err)
			continue
		}
		b.Expect(r.code).To(Equal(exitError), "%v: %s", args, r.out)
		b.Expect(r.err).To(ContainSubstring("You need the role edit (or horizon-webhook-editor) in the namespace "+b.Namespace), "%v", args)
	}
	b.Expect(b.get("smoke-tests").ResourceVersion).To(Equal(before))

	nobody := b.as("nobody")
	r := nobody.run("list")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("You need the role view (or horizon-webhook-viewer) in the namespace " + b.Namespace))
	b.Expect(viewer.run("list", "-A").err).To(ContainSubstring("in every namespace (a ClusterRoleBinding)"))
}

func TestStates(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	b.Webhook("one")
	b.Webhook("two")
	labels := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"team":"music"}}}`))
	b.Expect(b.Client.Patch(b.Ctx, b.get("two"), labels)).To(Succeed())
	state := func(name string) v1alpha1.WebhookState { return b.get(name).Spec.State }

	b.Expect(b.mustRun("pause", "one")).To(Equal("webhook.horizoncd.io/one paused: what comes from now on waits until it is resumed\n"))
	b.Expect(state("one")).To(Equal(v1alpha1.WebhookPaused))
	before := b.observed("one").ResourceVersion
	b.Expect(b.mustRun("pause", "one")).To(HavePrefix("webhook.horizoncd.io/one already paused: "))
	b.Expect(b.get("one").ResourceVersion).To(Equal(before))

	b.Event(1)
	// The status counts it later.
	b.Eventually(func() string { return b.mustRun("logs", "one", "-o", "name") }).ShouldNot(BeEmpty())
	b.Expect(b.mustRun("pause", "one")).To(ContainSubstring("1 delivery waits, and so does what comes, until it is resumed"))
	b.Expect(b.mustRun("disable", "one")).To(ContainSubstring("events pass by from now on; 1 delivery waits until it is resumed"))
	b.Expect(b.mustRun("resume", "one")).To(ContainSubstring("1 delivery waits, and will be sent as they are due"))
	b.Expect(b.mustRun("resume", "one")).To(Equal("webhook.horizoncd.io/one already enabled\n"))

	b.Expect(b.mustRun("disable", "--all")).To(And(ContainSubstring("/one disabled"), ContainSubstring("/two disabled")))
	b.Expect(b.mustRun("pause", "-l", "team=music")).NotTo(ContainSubstring("/one"))
	b.Expect([]v1alpha1.WebhookState{state("one"), state("two")}).To(Equal([]v1alpha1.WebhookState{v1alpha1.WebhookDisabled, v1alpha1.WebhookPaused}))
	owner := ""
	for _, entry := range b.get("two").ManagedFields {
		if entry.Manager == change.FieldManager {
			owner = entry.FieldsV1.GetRawString()
		}
	}
	b.Expect(owner).To(ContainSubstring("f:state"))

	// One that is not there keeps no other one from being done.
	r := b.run("pause", "nobody", "one")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("there is no webhook nobody in the namespace "))
	b.Expect(state("one")).To(Equal(v1alpha1.WebhookPaused))
	b.Expect(b.run("pause", "-l", "team=nobody").err).To(ContainSubstring("There are no such webhooks"))
	for _, args := range [][]string{{"pause"}, {"pause", "one", "--all"}, {"pause", "--all", "-l", "a=b"}, {"pause", "-l", "!!"}} {
		b.Expect(b.run(args...).code).To(Equal(exitUsage), "%v", args)
	}
}

func TestDelete(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	b.Webhook("one")
	b.Webhook("two", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookPaused })
	b.Webhook("three", func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"members_created"} })
	e := b.Event(1)
	b.Delivery("one", e, v1alpha1.DeliverySucceeded)
	b.Delivery("two", e, v1alpha1.DeliveryWaiting)

	r := b.run("delete", "one")
	b.Expect(r.code).To(Equal(exitUsage))
	b.Expect(r.err).To(ContainSubstring("say --yes to delete one"))
	b.Expect(b.gone("one")).To(BeFalse())

	r = b.run("delete", "one", "nobody", "two", "three", "--yes")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("there is no webhook nobody in the namespace "))
	b.Expect(r.out).To(Equal(`webhook.horizoncd.io/one deleted, and 1 delivery with it
webhook.horizoncd.io/two deleted, and 1 delivery (1 waits and will not be sent) with it
webhook.horizoncd.io/three deleted, and no delivery with it
`))
	for _, name := range []string{"one", "two", "three"} {
		b.Expect(b.gone(name)).To(BeTrue(), name)
	}
}
