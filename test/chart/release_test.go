package chart

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/crds"
)

const (
	// tenant is the namespace of a team.
	tenant = "music"
	// patience bounds every wait. It is far beyond what a step takes, also on a busy machine.
	patience = 2 * time.Minute
)

// cluster is a control plane and an administrator.
type cluster struct {
	*controlplane.ControlPlane
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	cp := startControlPlane(t)
	client, err := dynamic.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}
	return cluster{cp, client, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}
}

// helm runs Helm against the cluster.
func (c cluster) helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return helm(t, append(args, "--namespace", namespace, "--kubeconfig", c.Kubeconfig())...)
}

func (c cluster) mustHelm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.helm(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// resource returns where an object belongs.
func (c cluster) resource(obj *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := obj.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, err
	}
	if ns := obj.GetNamespace(); ns != "" {
		return c.client.Resource(mapping.Resource).Namespace(ns), nil
	}
	return c.client.Resource(mapping.Resource), nil
}

// apply does what `kubectl apply --server-side` does, again while the kind is not served yet. It
// returns what is stored.
func (c cluster) apply(t *testing.T, obj *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	data, err := obj.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stored *unstructured.Unstructured
	err = controlplane.Poll(ctx, 50*time.Millisecond, nil, func(ctx context.Context) error {
		resource, err := c.resource(obj)
		if err != nil {
			c.mapper.Reset() // the kind may be new
			return err
		}
		stored, err = resource.Patch(ctx, obj.GetName(), types.ApplyPatchType, data,
			metav1.PatchOptions{FieldManager: "kubectl", FieldValidation: metav1.FieldValidationStrict})
		return err
	})
	if err != nil {
		t.Fatalf("applying %s: %v", key(obj), err)
	}
	return stored
}

// live returns what the server has of the objects.
func (c cluster) live(t *testing.T, objs objects) objects {
	t.Helper()
	found := objects{}
	for name, obj := range objs {
		resource, err := c.resource(obj)
		if err != nil {
			t.Fatal(err)
		}
		got, err := resource.Get(t.Context(), obj.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		found[name] = got
	}
	return found
}

// records returns all that the kinds of this project have in store.
func (c cluster) records(t *testing.T) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, plural := range []string{"webhooks", "webhookevents", "webhookdeliveries"} {
		list, err := c.client.Resource(schema.GroupVersionResource{Group: "horizoncd.io", Version: "v1alpha1", Resource: plural}).
			List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range list.Items {
			all[key(&obj)] = obj.Object
		}
	}
	return all
}

// writeRecords writes one of each kind, as config/samples has them.
func (c cluster) writeRecords(t *testing.T) {
	t.Helper()
	var webhook *unstructured.Unstructured
	for _, name := range []string{"webhook", "webhookevent", "webhookdelivery"} {
		data, err := os.ReadFile(filepath.Join(root, "config/samples", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var obj unstructured.Unstructured
		if err := yaml.UnmarshalStrict(data, &obj.Object); err != nil {
			t.Fatal(err)
		}
		obj.SetNamespace(tenant)
		if name == "webhookdelivery" {
			// The garbage collector knows the owner of the sample as little as the server does.
			obj.SetOwnerReferences([]metav1.OwnerReference{{
				APIVersion: webhook.GetAPIVersion(), Kind: webhook.GetKind(), Name: webhook.GetName(), UID: webhook.GetUID(),
			}})
		}
		if stored := c.apply(t, &obj); name == "webhook" {
			webhook = stored
		}
	}
}

func (c cluster) createNamespace(t *testing.T, name string) {
	t.Helper()
	obj := &unstructured.Unstructured{}
	obj.SetAPIVersion("v1")
	obj.SetKind("Namespace")
	obj.SetName(name)
	c.apply(t, obj)
}

// createMonitoringKind creates a CRD of the Prometheus operator, which takes everything.
func (c cluster) createMonitoringKind(t *testing.T, kind string) {
	t.Helper()
	name := strings.ToLower(kind)
	c.apply(t, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": name + "s.monitoring.coreos.com", "annotations": map[string]any{
			"api-approved.kubernetes.io": "unapproved, for tests",
		}},
		"spec": map[string]any{
			"group": "monitoring.coreos.com", "scope": "Namespaced",
			"names": map[string]any{"kind": kind, "plural": name + "s", "singular": name},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	}}) // It is served a moment later.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := controlplane.Poll(ctx, 50*time.Millisecond, nil, func(context.Context) error {
		c.mapper.Reset()
		_, err := c.mapper.RESTMapping(schema.GroupKind{Group: "monitoring.coreos.com", Kind: kind}, "v1")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkUninstalled checks that all of the objects are gone but the CRDs and what the bridge
// knows.
func (c cluster) checkUninstalled(t *testing.T, objs objects) {
	t.Helper()
	want := []string{}
	for name, obj := range objs {
		if obj.GetKind() == "CustomResourceDefinition" || name == "ConfigMap "+namespace+"/horizon-bridge-state" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(c.live(t, objs)))); diff != "" {
		t.Errorf("what is there after the uninstall (-want +got):\n%s", diff)
	}
}

// copyChart returns a copy of the chart with another version, and with CRDs that are changed.
func copyChart(t *testing.T, version string, change func(kind string, s crds.Schema)) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "webhook-operator")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	version = regexp.MustCompile(`(?m)^(version|appVersion): .*$`).ReplaceAllString(readFile(t, "Chart.yaml"), "${1}: "+version)
	if err := os.WriteFile(filepath.Join(to, "Chart.yaml"), []byte(version), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := crds.Write(root, filepath.Join(to, "files/crds"), change); err != nil {
		t.Fatal(err)
	}
	return to
}

// addField makes a CRD that of a later version: one optional field more.
func addField(_ string, s crds.Schema) { s.At("spec").Add("remark") }

// hasField tells how many of the CRDs in the cluster have the field that addField adds.
func hasField(live objects) (int, error) {
	with := 0
	for _, crd := range live {
		if crd.GetKind() == "CustomResourceDefinition" {
			if _, ok := at(crd.Object, "spec.versions.0.schema.openAPIV3Schema.properties.spec.properties.remark"); ok {
				with++
			}
		}
	}
	if with != 0 && with != 3 {
		return with, fmt.Errorf("%d of three CRDs have the new field", with)
	}
	return with, nil
}

// write is a request of Helm that the API server has logged.
type write struct {
	UserAgent string
	ObjectRef struct{ Resource, Name string }
	// When it came, and when it was answered.
	RequestReceivedTimestamp, StageTimestamp metav1.MicroTime
}

// writes returns all of them, in no particular order.
func writes(t *testing.T) []write {
	t.Helper()
	data, err := os.ReadFile(auditLog())
	if err != nil {
		t.Fatal(err)
	}
	var all []write
	for line := range strings.Lines(string(data)) {
		var w write
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if strings.HasPrefix(w.UserAgent, "Helm/") {
			all = append(all, w)
		}
	}
	return all
}

// crdsCameFirst checks that the three CRDs were written before each Deployment, among the
// writes since there were `before`.
func crdsCameFirst(t *testing.T, before int) {
	t.Helper()
	var written time.Time // when the last CRD was
	names, deployments := map[string]bool{}, 0
	since := writes(t)[before:]
	for _, w := range since {
		if w.ObjectRef.Resource == "customresourcedefinitions" {
			names[w.ObjectRef.Name] = true
			if w.StageTimestamp.After(written) {
				written = w.StageTimestamp.Time
			}
		}
	}
	for _, w := range since {
		if w.ObjectRef.Resource == "deployments" {
			deployments++
			if w.RequestReceivedTimestamp.Time.Before(written) {
				t.Errorf("Helm wrote %s at %s, and the last CRD was there at %s", w.ObjectRef.Name, w.RequestReceivedTimestamp, written)
			}
		}
	}
	if len(names) != 3 || deployments == 0 {
		t.Errorf("Helm wrote the CRDs %v and %d Deployments", names, deployments)
	}
}

// One after the other, since CRDs belong to the cluster.
func TestOnAPIServer(t *testing.T) {
	t.Parallel()
	t.Run("release", testRelease)
	t.Run("install over CRDs of kubectl", testInstallOverCRDsOfKubectl)
	t.Run("guide", testGuide)
}

// The life of a release, on the real API server: nothing that people or the operator have
// stored is lost or changed by any step.
func testRelease(t *testing.T) {
	c := newCluster(t)
	c.createNamespace(t, tenant)
	for _, kind := range []string{"ServiceMonitor", "PrometheusRule"} {
		c.createMonitoringKind(t, kind)
	}
	// With everything that there is on request.
	settings := slices.Concat(bridgeOn, networkOn, withPDB, monitored,
		[]string{"metrics.prometheusRule.enabled=true", "metrics.grafanaDashboard.enabled=true"})
	var values []string
	for _, setting := range settings {
		values = append(values, "--set-json", setting)
	}
	objs := mustTemplate(t, settings...)

	if out, err := helm(t, "lint", "--strict", dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before := len(writes(t))
	notes := c.mustHelm(t, append([]string{"install", release, dir, "--create-namespace"}, values...)...)
	if !strings.Contains(notes, "kubectl rollout status deployment/horizon-webhook-operator -n "+namespace) {
		t.Errorf("the notes do not say how to see that it works:\n%s", notes)
	}
	if missing := len(objs) - len(c.live(t, objs)); missing > 0 {
		t.Fatalf("%d of %d objects are missing after the install", missing, len(objs))
	}
	crdsCameFirst(t, before)
	c.writeRecords(t)
	written := c.records(t)
	if len(written) != 3 {
		t.Fatalf("%d records", len(written))
	}
	same := func(step string) {
		t.Helper()
		if diff := cmp.Diff(written, c.records(t)); diff != "" {
			t.Errorf("records after %s (-before +after):\n%s", step, diff)
		}
	}
	version := func(want string, fields int) {
		t.Helper()
		live := c.live(t, objs)
		if got := container(t, live[operatorDeployment])["image"]; got != "horizoncd/webhook-operator:v"+want {
			t.Errorf("the operator is %s, want %s", got, want)
		}
		if got, err := hasField(live); err != nil || got != fields {
			t.Errorf("%d CRDs have the field of 0.2.0, want %d (%v)", got, fields, err)
		}
	}
	version("0.1.0", 0)

	next := copyChart(t, "0.2.0", addField)
	before = len(writes(t))
	c.mustHelm(t, append([]string{"upgrade", release, next}, values...)...)
	crdsCameFirst(t, before)
	version("0.2.0", 3)
	same("the upgrade")

	c.mustHelm(t, "rollback", release)
	version("0.1.0", 0)
	same("the rollback")

	t.Run("a second operator in the namespace", func(t *testing.T) {
		_, err := c.helm(t, "install", "second", dir, "--set", "crds.enabled=false", "--set", "namePrefix=other")
		if err == nil || !strings.Contains(err.Error(), "has an operator already, the Deployment horizon-webhook-operator") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("an upgrade that fails", func(t *testing.T) {
		// The API server refuses this CRD. Helm goes on to the other objects all the same.
		broken := copyChart(t, "0.3.0", func(kind string, s crds.Schema) {
			addField(kind, s)
			s.At("spec", "remark")["type"] = "nothing"
		})
		if _, err := c.helm(t, append([]string{"upgrade", release, broken}, values...)...); err == nil || !strings.Contains(err.Error(), "remark") {
			t.Errorf("got %v, want a refusal of the CRD", err)
		}
		same("an upgrade that failed")
		c.mustHelm(t, "rollback", release)
		version("0.1.0", 0)
		same("the rollback of an upgrade that failed")
	})

	c.mustHelm(t, "uninstall", release)
	c.checkUninstalled(t, objs)
	same("the uninstall")

	c.mustHelm(t, append([]string{"install", release, dir}, values...)...)
	version("0.1.0", 0)
	same("another install")
	c.mustHelm(t, "uninstall", release)
	c.removeCRDs(t, objs)
}

// removeCRDs removes the CRDs, and waits until they are gone.
func (c cluster) removeCRDs(t *testing.T, objs objects) {
	t.Helper()
	kept := maps.Clone(objs)
	maps.DeleteFunc(kept, func(_ string, obj *unstructured.Unstructured) bool {
		return obj.GetKind() != "CustomResourceDefinition"
	})
	for _, obj := range kept {
		resource, err := c.resource(obj)
		if err != nil {
			t.Fatal(err)
		}
		if err := resource.Delete(t.Context(), obj.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := controlplane.Poll(ctx, 50*time.Millisecond, nil, func(context.Context) error {
		if left := c.live(t, kept); len(left) > 0 {
			return fmt.Errorf("there are still %v", slices.Sorted(maps.Keys(left)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever began with kubectl goes on with Helm, and keeps what is stored.
func testInstallOverCRDsOfKubectl(t *testing.T) {
	c := newCluster(t)
	c.createNamespace(t, tenant)
	objs := mustTemplate(t)
	for _, crd := range kustomize(t, "crd") {
		c.apply(t, crd)
	}
	c.writeRecords(t)
	written := c.records(t)

	if _, err := c.helm(t, "install", release, dir, "--create-namespace"); err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") {
		t.Fatalf("got %v: do the documents still have to name a flag?", err)
	}
	c.mustHelm(t, "install", release, dir, "--create-namespace", "--take-ownership", "--force-conflicts")
	// kubectl owns the old CRDs, too, until the first upgrade that changes them.
	next := copyChart(t, "0.2.0", addField)
	if _, err := c.helm(t, "upgrade", release, next); err == nil || !strings.Contains(err.Error(), `conflict with "kubectl"`) {
		t.Fatalf("got %v: do the documents still have to name a flag?", err)
	}
	c.mustHelm(t, "upgrade", release, next, "--force-conflicts")
	if got, err := hasField(c.live(t, objs)); got != 3 {
		t.Errorf("%d CRDs have the field of 0.2.0 (%v)", got, err)
	}
	c.mustHelm(t, "upgrade", release, dir)
	if got, err := hasField(c.live(t, objs)); err != nil || got != 0 {
		t.Errorf("%d CRDs still have the field of 0.2.0 (%v)", got, err)
	}
	if diff := cmp.Diff(written, c.records(t)); diff != "" {
		t.Errorf("records (-before +after):\n%s", diff)
	}
	c.mustHelm(t, "uninstall", release)
	c.checkUninstalled(t, objs)
	c.removeCRDs(t, objs)
}
