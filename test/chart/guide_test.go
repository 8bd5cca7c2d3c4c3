package chart

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// guide is docs/install.md and a place where its commands can be run.
type guide struct {
	cluster
	blocks          map[string][]string // what is to be run, by the heading above it
	overlay, values string              // the files that it shows
	dir             string              // as a checkout of the repository has it
	env             []string
	binary          string // the operator
	receiver        *receiver.Receiver
}

var (
	section   = regexp.MustCompile(`(?m)^##+ (.*)$`)
	codeBlock = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")
)

func newGuide(t *testing.T) *guide {
	t.Helper()
	g := &guide{cluster: newCluster(t), blocks: map[string][]string{}, dir: t.TempDir()}
	text, err := os.ReadFile(filepath.Join(root, "docs/install.md"))
	if err != nil {
		t.Fatal(err)
	}
	headings := section.FindAllStringSubmatchIndex(string(text), -1)
	for i, at := range headings {
		end := len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		heading := string(text[at[2]:at[3]])
		for _, block := range codeBlock.FindAllStringSubmatch(string(text[at[1]:end]), -1) {
			switch {
			case block[1] == "sh":
				g.blocks[heading] = append(g.blocks[heading], block[2])
			case strings.Contains(block[2], "kind: Kustomization"):
				g.overlay = block[2]
			default:
				g.values = block[2]
			}
		}
	}

	for _, tree := range []string{"charts", "config"} {
		if err := os.CopyFS(filepath.Join(g.dir, tree), os.DirFS(filepath.Join(root, tree))); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"token": "t", "secret": "s", "my-cluster/kustomization.yaml": g.overlay, "values.yaml": g.values, "dist/.keep": "", "bin/.keep": ""} {
		path := filepath.Join(g.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kubectl, err := g.Kubectl()
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"helm": tool(t, "helm"), "kubectl": kubectl} {
		if err := os.Symlink(path, filepath.Join(g.dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	g.env = append(os.Environ(), "PATH="+filepath.Join(g.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+g.Kubeconfig(), "KUBECACHEDIR="+filepath.Join(g.dir, "cache"), "KUSTOMIZE="+tool(t, "kustomize"),
		"HELM_CACHE_HOME="+g.dir, "HELM_CONFIG_HOME="+g.dir, "HELM_DATA_HOME="+g.dir)
	if g.binary, err = operator.Build(t.Context(), root, g.dir); err != nil {
		t.Fatal(err)
	}
	if g.receiver, err = receiver.Start(receiver.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.receiver.Close() })
	return g
}

// prelude stands in for what make builds from a checkout.
const prelude = `set -eu
make() {
	[ "$1" = build-installer ]
	"$KUSTOMIZE" build config/default | sed "s#image: horizoncd/webhook-operator:latest#image: ${2#IMG=}#" >dist/install.yaml
}
`

// run runs one of the blocks below a heading, counted from 0.
func (g *guide) run(t *testing.T, heading string, block int, env ...string) {
	t.Helper()
	if block >= len(g.blocks[heading]) {
		t.Fatalf("docs/install.md has %d blocks of commands below %q", len(g.blocks[heading]), heading)
	}
	script := strings.ReplaceAll(g.blocks[heading][block], "https://example.com/hook", g.receiver.URL("/hook"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", prelude+script)
	cmd.Dir, cmd.Env = g.dir, slices.Concat(g.env, env)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", heading, err, script, out)
	}
	g.blocks[heading][block] += "# done\n"
}

var deploymentsResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// kubelet says of all Deployments that their pods are ready, until ctx ends.
func (g *guide) kubelet(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		list, err := g.client.Resource(deploymentsResource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, d := range list.Items {
			replicas, _ := at(d.Object, "spec.replicas")
			status := fmt.Sprintf(`{"status":{"observedGeneration":%d,"replicas":%[2]v,"updatedReplicas":%[2]v,"readyReplicas":%[2]v,"availableReplicas":%[2]v}}`,
				d.GetGeneration(), replicas)
			// What fails is tried again.
			_, _ = g.client.Resource(deploymentsResource).Namespace(namespace).
				Patch(ctx, d.GetName(), types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
		}
	}
}

// check runs the operator with the rights that an installation has given it, and the commands
// that show whether it works.
func (g *guide) check(t *testing.T) {
	t.Helper()
	account, err := g.UserConfig("system:serviceaccount:"+namespace+":horizon-webhook-operator", "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go g.kubelet(ctx)
	op := g.start(t, account)
	const heading = "Does it work?"
	before := len(g.receiver.Arrivals("/hook"))
	for block := range g.blocks[heading] {
		g.run(t, heading, block)
	}
	if got := len(g.receiver.Arrivals("/hook")) - before; got != 1 {
		t.Errorf("%d test deliveries arrived", got)
	}
	if err := op.Stop(); err != nil {
		t.Error(err)
	}
}

// start starts the operator as an account, and returns when it leads.
func (g *guide) start(t *testing.T, account *rest.Config) *operator.Operator {
	t.Helper()
	dir := t.TempDir()
	options := operator.Options{
		Binary: g.binary, Kubeconfig: filepath.Join(dir, "kubeconfig"), Log: filepath.Join(dir, "operator.log"),
		SystemNamespace: namespace, Args: []string{"--leader-elect"},
	}
	if err := controlplane.WriteKubeconfig(options.Kubeconfig, account); err != nil {
		t.Fatal(err)
	}
	op, err := operator.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = op.Kill()
		if t.Failed() {
			log, err := os.ReadFile(options.Log)
			t.Logf("the operator's log (%v):\n%s", err, log)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = controlplane.Poll(ctx, 50*time.Millisecond, nil, func(ctx context.Context) error {
		lease, err := g.client.Resource(schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}).
			Namespace(namespace).Get(ctx, "webhook-operator.horizoncd.io", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if holder, _ := at(lease.Object, "spec.holderIdentity"); holder == nil || holder == "" {
			return fmt.Errorf("nobody leads")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// checkOnlyRecordsStay checks what an uninstall has to leave, and what not.
func (g *guide) checkOnlyRecordsStay(t *testing.T) {
	t.Helper()
	for name, obj := range kustomize(t, "default") {
		resource, err := g.resource(obj)
		if err != nil {
			t.Fatal(err)
		}
		_, err = resource.Get(t.Context(), obj.GetName(), metav1.GetOptions{})
		stays := obj.GetKind() == "CustomResourceDefinition" || obj.GetKind() == "Namespace"
		if stays && err != nil || !stays && !apierrors.IsNotFound(err) {
			t.Errorf("after the uninstall, %s: %v", name, err)
		}
	}
}

// A reader of docs/install.md installs in three ways, sees that it works, and uninstalls, by the
// commands that are there. Each of them is run.
func testGuide(t *testing.T) {
	g := newGuide(t)
	for _, name := range []string{"music", "video", "books"} {
		g.createNamespace(t, name)
	}
	const uninstall = "Uninstalling, and what stays"

	g.run(t, "A single file", 0)
	g.check(t)
	g.run(t, "Helm", 3) // takes it over
	g.check(t)
	g.run(t, uninstall, 0)
	g.checkOnlyRecordsStay(t)

	g.run(t, "Helm", 0)
	g.check(t)
	with, err := helm(t, "template", release, dir, "--namespace", namespace, "--values", filepath.Join(g.dir, "values.yaml"))
	if err != nil {
		t.Error(err)
	} else if objs, err := parse(with); err != nil || objs[serviceMonitor] == nil || objs[prometheusRule] == nil {
		t.Errorf("the values of the guide give no monitor and no alerts (%v)", err)
	}
	g.run(t, "Helm", 1)
	if live := g.live(t, mustTemplate(t, bridgeOn...)); live[bridgeDeployment] == nil {
		t.Error("the bridge is not there")
	}
	g.run(t, "Helm", 2)
	g.run(t, uninstall, 0)
	g.checkOnlyRecordsStay(t)

	for _, kind := range []string{"ServiceMonitor", "PrometheusRule"} {
		g.createMonitoringKind(t, kind)
	}
	g.run(t, "Kustomize", 0)
	g.check(t)
	g.run(t, uninstall, 1)
	g.checkOnlyRecordsStay(t)

	g.run(t, "Some namespaces only", 0)
	g.run(t, "Some namespaces only", 1)
	if _, err := helm(t, "uninstall", "second", "--namespace", "second-webhooks", "--kubeconfig", g.Kubeconfig()); err != nil {
		t.Fatal(err)
	}
	g.run(t, uninstall, 0)
	g.checkOnlyRecordsStay(t)

	g.run(t, "Without rights on the cluster", 0)
	g.run(t, "Without rights on the cluster", 1, "KUBECONFIG="+g.tenant(t, namespace, "music"))
	g.run(t, uninstall, 0)

	g.run(t, uninstall, 2)
	for heading, blocks := range g.blocks {
		for _, block := range blocks {
			if !strings.HasSuffix(block, "# done\n") {
				t.Errorf("not tried, below %q:\n%s", heading, block)
			}
		}
	}
}

// tenant returns the kubeconfig of somebody who may do everything in some namespaces, and nothing
// else.
func (g *guide) tenant(t *testing.T, namespaces ...string) string {
	t.Helper()
	for _, name := range namespaces {
		meta := map[string]any{"name": "everything", "namespace": name}
		g.apply(t, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta,
			"rules": []any{map[string]any{"apiGroups": []any{"*"}, "resources": []any{"*"}, "verbs": []any{"*"}}},
		}})
		g.apply(t, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
			"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "everything"},
			"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tenant"}},
		}})
	}
	cfg, err := g.UserConfig("tenant")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := controlplane.WriteKubeconfig(path, cfg); err != nil {
		t.Fatal(err)
	}
	return path
}
