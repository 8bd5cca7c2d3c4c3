package manifests

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	fakehorizon "github.com/horizoncd/webhook-operator/test/horizon"
)

const bridgeName = "horizon-bridge"

var bridgeAccount = serviceAccount(systemNamespace, bridgeName)

// bridge applies config/bridge-routed, and returns its Deployment.
func bridge(t *testing.T) *appsv1.Deployment {
	t.Helper()
	for _, name := range []string{tenant, "video"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := cluster.admin.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil && !strings.Contains(err.Error(), "already exists") {
			t.Fatal(err)
		}
	}
	objs := rendered(t, "bridge-routed")
	objects, err := newObjects(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objs {
		if _, err := objects.apply(t.Context(), obj, metav1.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	d, err := cluster.admin.AppsV1().Deployments(systemNamespace).Get(t.Context(), bridgeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The bridge may create events where routes lead, and keep its ConfigMap: no more.
func TestBridgePermissions(t *testing.T) {
	bridge(t)
	anyone := serviceAccount(tenant, "nobody").permissions(t, tenant)
	events := permissions{"webhookevents.horizoncd.io": "create get"}
	NewWithT(t).Eventually(func() permissions {
		return bridgeAccount.permissions(t, tenant, "horizoncd.io")
	}).WithTimeout(patience).Should(Equal(events))
	for namespace, want := range map[string]permissions{systemNamespace: events, tenant: events, "video": events, "default": {}} {
		got := bridgeAccount.permissions(t, namespace)
		maps.DeleteFunc(got, func(key, verbs string) bool { return anyone[key] == verbs })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in %s (-want +got):\n%s", namespace, diff)
		}
	}
	for _, tt := range []struct {
		verb, name, namespace string
		want                  bool
	}{
		{"get", "horizon-bridge-state", systemNamespace, true},
		{"update", "horizon-bridge-state", systemNamespace, true},
		{"delete", "horizon-bridge-state", systemNamespace, false},
		{"get", "horizon-bridge-routes", systemNamespace, false},
		{"get", "horizon-bridge-state", tenant, false},
	} {
		got := bridgeAccount.may(t, authorizationv1.ResourceAttributes{
			Namespace: tt.namespace, Verb: tt.verb, Version: "v1", Resource: "configmaps", Name: tt.name,
		})
		if got != tt.want {
			t.Errorf("%s ConfigMap %s/%s: %t, want %t", tt.verb, tt.namespace, tt.name, got, tt.want)
		}
	}
}

// Its own Role fits in fifteen lines, and each rule says why it is there.
func TestBridgeRulesHaveReasons(t *testing.T) {
	all := lines(t, "../../config/bridge/role.yaml")
	if len(all) > 15 {
		t.Errorf("the bridge's role has %d lines", len(all))
	}
	for i, line := range all {
		if strings.HasPrefix(line, "- apiGroups:") && !strings.HasPrefix(all[i-1], "# To ") {
			t.Errorf("role.yaml:%d: no comment that says why", i+1)
		}
	}
}

// check, as the bridge's account and against a Horizon, finds all that the manifests grant,
// and says what Horizon lacks.
func TestBridgeCheck(t *testing.T) {
	bridge(t)
	dir := t.TempDir()
	binary := filepath.Join(dir, "horizon-bridge")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/horizon-bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	account, err := cluster.UserConfig(bridgeAccount.user, bridgeAccount.groups...)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := controlplane.WriteKubeconfig(kubeconfig, account); err != nil {
		t.Fatal(err)
	}
	routes, err := os.ReadFile("../../config/bridge-routed/routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const secret = "the-secret-of-the-webhook"
	h, err := fakehorizon.Start(fakehorizon.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	args := []string{
		"check", "--kubeconfig=" + kubeconfig, "--horizon-url=" + h.URL(""), "--secret-file=" + write("secret", secret),
		"--horizon-token-file=" + filepath.Join(dir, "token"), "--public-url=https://bridge.example.com/horizon",
	}
	check := func(token string, more ...string) (string, bool) {
		t.Helper()
		write("token", token)
		out, err := exec.CommandContext(t.Context(), binary, append(slices.Clone(args), more...)...).CombinedOutput()
		if strings.Contains(string(out), secret) || strings.Contains(string(out), token) {
			t.Errorf("it prints a secret:\n%s", out)
		}
		return string(out), err == nil
	}
	routed := "--routes-file=" + write("routes", string(routes))
	basic := []string{"groups:read-only", "applications:read-only", "clusters:read-only"}
	expect := func(step, out string, ok, want bool, has ...string) {
		t.Helper()
		if ok != want {
			t.Errorf("%s: ended well: %t, want %t\n%s", step, ok, want, out)
		}
		for _, text := range has {
			if !strings.Contains(out, text) {
				t.Errorf("%s: it does not say %q:\n%s", step, text, out)
			}
		}
	}

	// The roles take effect in a moment.
	NewWithT(t).Eventually(func() string {
		out, _ := check("ha_unknown", routed)
		return out
	}).WithTimeout(patience).ShouldNot(ContainSubstring("cannot be created in the namespace"))
	out, ok := check("ha_unknown", routed)
	expect("an unknown token", out, ok, false, "Horizon does not know the token", "/apis/core/v2/groups/0/accesstokens")
	out, ok = check(h.Token(basic...), routed)
	expect("no scope", out, ok, false, "the token may not read webhooks and logs", "resources: [groups/webhooks,")
	h.Configure(map[string][]string{"webhooks:read-write": {"groups/webhooks", "webhooks", "webhooks/logs", "webhooklogs"}})
	token := h.Token(append(basic, "webhooks:read-write")...)
	out, ok = check(token, routed)
	expect("no webhook", out, ok, false, "none of the 0 webhooks of the root group has the bridge's secret", "/apis/core/v2/groups/0/webhooks", "https://bridge.example.com/horizon")
	id := h.AddWebhook(fakehorizon.Groups, 0, fakehorizon.Webhook{URL: "https://other.example.com/", Secret: secret, Triggers: []string{"clusters_deployed"}})
	out, ok = check(token, routed)
	expect("a wrong webhook", out, ok, false, "is off", "follows clusters_deployed only", "posts to another address")
	h.DeleteWebhook(id)
	h.AddWebhook(fakehorizon.Groups, 0, fakehorizon.Webhook{Enabled: true, URL: "https://bridge.example.com/horizon", Secret: secret, Triggers: []string{"*"}})
	out, ok = check(token, routed)
	expect("all is there", out, ok, true, "events can be created in the namespace "+tenant, "events can be created in the namespace "+systemNamespace, "ConfigMap horizon-webhooks/horizon-bridge-state can be read and written")
	out, ok = check(token, "--routes-file="+write("other", "default: horizon-webhooks\nroutes:\n  /a: default\n  /b: no-such-namespace\n"))
	expect("routes without roles", out, ok, false,
		"kubectl create rolebinding horizon-bridge --clusterrole=horizon-event-creator --serviceaccount=horizon-webhooks:horizon-bridge -n default", "no-such-namespace")
}

// The bridge's pods are admitted where the restricted standard is enforced, and have no
// privileges.
func TestBridgeDeployment(t *testing.T) {
	d := bridge(t)
	var warned warnings
	cfg := rest.CopyConfig(cluster.Config())
	cfg.WarningHandler = &warned
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bridge", Labels: d.Spec.Template.Labels}, Spec: d.Spec.Template.Spec}
	opts := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	if _, err := client.CoreV1().Pods(systemNamespace).Create(t.Context(), pod, opts); err != nil || len(warned) > 0 {
		t.Errorf("a pod of the deployment: %v, warnings %q", err, warned)
	}
	c := d.Spec.Template.Spec.Containers[0]
	if diff := cmp.Diff(deployment(t).Spec.Template.Spec.Containers[0].SecurityContext, c.SecurityContext); diff != "" {
		t.Errorf("the container's security context differs from the operator's (-operator +bridge):\n%s", diff)
	}
	if memory, limit := goMemoryLimit(t, c.Env), c.Resources.Limits.Memory(); memory.Value() < limit.Value()*8/10 || memory.Value() > limit.Value()*95/100 {
		t.Errorf("GOMEMLIMIT is %s of %s", memory, limit)
	}
	help, err := exec.CommandContext(t.Context(), "go", "run", "../../cmd/horizon-bridge", "-help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	for _, arg := range c.Args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.Contains(string(help), fmt.Sprintf("\n  -%s ", name)) {
			t.Errorf("there is no flag --%s", name)
		}
	}
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.Secret == nil && v.ConfigMap == nil {
			t.Errorf("the volume %s is neither a Secret nor a ConfigMap", v.Name)
		}
	}
	budget, err := client.PolicyV1().PodDisruptionBudgets(systemNamespace).Get(t.Context(), bridgeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	service, err := client.CoreV1().Services(systemNamespace).Get(t.Context(), bridgeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := client.NetworkingV1().NetworkPolicies(systemNamespace).Get(t.Context(), bridgeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	labels := d.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{
		"budget": budget.Spec.Selector.MatchLabels, "Service": service.Spec.Selector, "NetworkPolicy": policy.Spec.PodSelector.MatchLabels,
	} {
		if diff := cmp.Diff(labels, selector); diff != "" {
			t.Errorf("whom the %s is about (-pods +selector):\n%s", what, diff)
		}
	}
}
