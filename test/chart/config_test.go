package chart

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// differences are all that there may be between what the chart renders and what kustomize
// builds. Each takes itself out of both.
var differences = []struct {
	what, why string
	remove    func(t *testing.T, chart, config objects)
}{
	{
		"the Namespace", "Helm creates it, or finds it there: it cannot be part of what is stored in it",
		func(_ *testing.T, _, config objects) { delete(config, "Namespace "+namespace) },
	},
	{
		"the name of the NetworkPolicy", "that of config/network-policy is a sample for one installation and has no prefix",
		func(_ *testing.T, _, config objects) {
			const sample = "NetworkPolicy " + namespace + "/webhook-operator"
			if obj := config[sample]; obj != nil {
				delete(config, sample)
				obj.SetName(release + "-webhook-operator")
				config[key(obj)] = obj
			}
		},
	},
	{
		"labels", "the chart has more, which people look for in a release; selectors are the same",
		func(_ *testing.T, chart, config objects) {
			for key, obj := range chart {
				if config[key] == nil {
					continue
				}
				labels, wanted := obj.GetLabels(), config[key].GetLabels()
				for _, name := range []string{"name", "instance", "version", "managed-by", "part-of"} {
					if name := "app.kubernetes.io/" + name; wanted[name] == "" {
						delete(labels, name)
					}
				}
				delete(labels, "helm.sh/chart")
				obj.SetLabels(orNone(labels))
			}
		},
	},
	{
		"newlines in expressions", "kustomize doubles those of folded text, which means the same in CEL",
		func(_ *testing.T, chart, config objects) {
			for _, objs := range []objects{chart, config} {
				for _, obj := range objs {
					if obj.GetKind() == "ValidatingAdmissionPolicy" {
						spec := obj.Object["spec"].(map[string]any)
						for _, expressions := range []string{"matchConditions", "variables", "validations"} {
							for _, e := range spec[expressions].([]any) {
								e := e.(map[string]any)
								e["expression"] = strings.Join(strings.Fields(e["expression"].(string)), " ")
							}
						}
					}
				}
			}
		},
	},
	{
		"helm.sh/resource-policy", "what Helm is not to delete is told by an annotation",
		func(_ *testing.T, chart, _ objects) {
			for _, obj := range chart {
				annotations := obj.GetAnnotations()
				delete(annotations, "helm.sh/resource-policy")
				obj.SetAnnotations(orNone(annotations))
			}
		},
	},
	{
		"the image", "that of a release rather than the latest, pulled once, as is the default for such a tag",
		func(t *testing.T, chart, config objects) {
			for _, deployment := range deployments(chart) {
				c := container(t, deployment)
				image, found := strings.CutSuffix(c["image"].(string), ":v"+appVersion(t))
				if !found {
					t.Errorf("the image is %s", c["image"])
				}
				c["image"] = image + ":latest"
				delete(c, "imagePullPolicy")
			}
		},
	},
	{
		"flags with their default", "the chart spells out every value, config/ what differs from the default",
		func(t *testing.T, chart, config objects) {
			for command, defaults := range map[string]map[string]string{
				"operator": flags(t, "webhook-operator"), "bridge": flags(t, "horizon-bridge"),
			} {
				for _, deployment := range append(deployments(chart), deployments(config)...) {
					if c := container(t, deployment); c["name"] == command {
						c["args"] = withoutDefaults(t, defaults, c["args"].([]any))
					}
				}
			}
		},
	},
	{
		"the type of a Service", "the chart spells out the default of the API",
		func(_ *testing.T, chart, config objects) {
			for key, obj := range chart {
				if spec, _ := obj.Object["spec"].(map[string]any); obj.GetKind() == "Service" && spec["type"] == "ClusterIP" && config[key] != nil {
					delete(spec, "type")
				}
			}
		},
	},
	{
		"comments in data", "the routes are a file of YAML in a ConfigMap: what it says counts",
		func(t *testing.T, chart, config objects) {
			for _, objs := range []objects{chart, config} {
				for _, obj := range objs {
					data, _ := obj.Object["data"].(map[string]any)
					for name, text := range data {
						if strings.HasSuffix(name, ".yaml") {
							var parsed map[string]any
							if err := yaml.Unmarshal([]byte(text.(string)), &parsed); err != nil {
								t.Error(err)
							}
							data[name] = parsed
						}
					}
				}
			}
		},
	},
}

// orNone returns nil for what is empty, which takes it out of an object.
func orNone(strings map[string]string) map[string]string {
	if len(strings) == 0 {
		return nil
	}
	return strings
}

func deployments(objs objects) []*unstructured.Unstructured {
	return slices.DeleteFunc(slices.Collect(maps.Values(objs)), func(obj *unstructured.Unstructured) bool {
		return obj.GetKind() != "Deployment"
	})
}

// container returns the only container of a Deployment.
func container(t *testing.T, deployment *unstructured.Unstructured) map[string]any {
	t.Helper()
	containers, _, err := unstructured.NestedFieldNoCopy(deployment.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers.([]any)) != 1 {
		t.Fatalf("%s has the containers %v (%v)", key(deployment), containers, err)
	}
	return containers.([]any)[0].(map[string]any)
}

// withoutDefaults returns arguments, each with its value, without those that say what is so
// anyway.
func withoutDefaults(t *testing.T, defaults map[string]string, args []any) []any {
	t.Helper()
	var left []any
	for _, arg := range args {
		name, value, found := strings.Cut(arg.(string), "=")
		if !found {
			value = "true"
		}
		standard, known := defaults[name]
		if !known {
			t.Errorf("there is no flag %s", name)
		}
		if !sameValue(value, standard) {
			left = append(left, name+"="+value)
		}
	}
	slices.SortFunc(left, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	return left
}

func appVersion(t *testing.T) string {
	t.Helper()
	return chartFile(t).AppVersion
}

// The chart is what config/ says, object by object.
func TestChartIsConfig(t *testing.T) {
	t.Parallel()
	bridge := []string{"bridge.enabled=true", `bridge.horizonURL="https://horizon.example.com"`}
	network := []string{"networkPolicy.enabled=true", `networkPolicy.apiServer.cidrs=["192.0.2.10/32"]`}
	monitoring := []string{"metrics.prometheusRule.enabled=true", "metrics.grafanaDashboard.enabled=true"}
	for _, tc := range []struct {
		name string
		// config are kustomizations, or files, which have no object in common.
		config []string
		values []string
	}{
		{"default", []string{"default"}, nil},
		{
			"namespaced", []string{"namespaced"},
			[]string{`watchNamespaces=["music","video"]`, "metrics.secure=false", "metrics.port=8080"},
		},
		{"disruption budget", []string{"default", "disruption-budget"}, []string{"podDisruptionBudget.enabled=true"}},
		{"monitoring", []string{"default", "monitoring"}, append(slices.Clone(monitoring), "metrics.serviceMonitor.enabled=true")},
		{
			"monitoring by a PodMonitor", []string{"default", "monitoring", "monitoring/pod_monitor.yaml"},
			append(slices.Clone(monitoring), "metrics.podMonitor.enabled=true"),
		},
		{
			"monitoring of plain metrics", []string{"namespaced", "monitoring-plain"},
			append(slices.Clone(monitoring), `watchNamespaces=["music","video"]`, "metrics.secure=false", "metrics.port=8080", "metrics.serviceMonitor.enabled=true"),
		},
		{"bridge", []string{"default", "bridge"}, bridge},
		{"network policy", []string{"default", "network-policy"}, network},
		{
			"routed bridge with network policies", []string{"default", "network-policy", "bridge-routed"},
			slices.Concat(bridge, network, []string{
				`bridge.horizonURL="http://horizon-core.horizon.svc"`,
				`bridge.routes={"/music":"music","/video/player":"video"}`,
			}),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			chart, config := mustTemplate(t, tc.values...), objects{}
			for _, name := range tc.config {
				if strings.HasSuffix(name, ".yaml") {
					// Where there is a PodMonitor, the ServiceMonitor is left out.
					delete(config, "ServiceMonitor "+namespace+"/"+release+"-webhook-operator")
					maps.Copy(config, file(t, name))
				} else {
					maps.Copy(config, kustomize(t, name))
				}
			}
			for _, d := range differences {
				d.remove(t, chart, config)
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(config)), slices.Sorted(maps.Keys(chart))); diff != "" {
				t.Errorf("objects (-config +chart):\n%s", diff)
			}
			for name, want := range config {
				if got := chart[name]; got != nil {
					if diff := cmp.Diff(want.Object, got.Object); diff != "" {
						t.Errorf("%s (-config +chart):\n%s", name, diff)
					}
				}
			}
		})
	}
}

// file reads a manifest of config/monitoring that no kustomization has, with the label that it
// would give.
func file(t *testing.T, name string) objects {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "config", name))
	if err != nil {
		t.Fatal(err)
	}
	objs, err := parse(string(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objs {
		labels := obj.GetLabels()
		labels["app.kubernetes.io/part-of"] = "horizon"
		obj.SetLabels(labels)
	}
	return objs
}

// Whoever applies what helm template prints, as Argo CD does, has CRDs first: it prints objects
// in the order in which Helm installs them.
func TestCRDsComeFirst(t *testing.T) {
	t.Parallel()
	out, err := helm(t, "template", release, dir, "--namespace", namespace)
	if err != nil {
		t.Fatal(err)
	}
	if crd, operator := strings.LastIndex(out, "kind: CustomResourceDefinition"), strings.Index(out, "kind: Deployment"); crd < 0 || operator < crd {
		t.Errorf("the last CRD is at %d, the operator at %d", crd, operator)
	}
}
