package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

type chartYAML struct {
	Version     string            `json:"version"`
	AppVersion  string            `json:"appVersion"`
	Annotations map[string]string `json:"annotations"`
}

func chartFile(t *testing.T) chartYAML {
	t.Helper()
	var c chartYAML
	if err := yaml.Unmarshal([]byte(readFile(t, "Chart.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// value is what can be set.
type value struct {
	description string
	standard    any
}

// values returns what the schema says of each value, by its path.
func values(t *testing.T) map[string]value {
	t.Helper()
	var schema map[string]any
	if err := json.Unmarshal([]byte(readFile(t, "values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	all := map[string]value{}
	collect(t, schema, "", all)
	if len(all) < 50 {
		t.Fatalf("the schema has %d values", len(all))
	}
	return all
}

func collect(t *testing.T, schema map[string]any, path string, all map[string]value) {
	t.Helper()
	_, refers := schema["$ref"] // to what is closed
	if open, given := schema["additionalProperties"].(bool); (open || !given) && !refers {
		t.Errorf("the schema of %q is not closed", path)
	}
	for name, property := range schema["properties"].(map[string]any) {
		property := property.(map[string]any)
		description, _ := property["description"].(string)
		if !strings.HasSuffix(description, ".") {
			t.Errorf("%s%s is described as %q", path, name, description)
		}
		if standard, ok := property["default"]; ok {
			all[path+name] = value{description, standard}
		} else {
			collect(t, property, path+name+".", all)
		}
	}
}

// lookUp returns the value at a path of keys with dots between them.
func lookUp(in map[string]any, path string) (any, bool) {
	name, rest, more := strings.Cut(path, ".")
	found, ok := in[name]
	if !ok || !more {
		return found, ok
	}
	below, ok := found.(map[string]any)
	if !ok {
		return nil, false
	}
	return lookUp(below, rest)
}

// The schema, values.yaml and the table of the README say the same.
func TestValuesAreDescribed(t *testing.T) {
	t.Parallel()
	var file map[string]any
	if err := yaml.UnmarshalStrict([]byte(readFile(t, "values.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	all := values(t)
	defaults, descriptions := map[string]string{}, map[string]string{}
	for path, v := range all {
		defaults[path], descriptions[path] = toJSON(t, v.standard), v.description
		if got, ok := lookUp(file, path); !ok || toJSON(t, got) != toJSON(t, v.standard) {
			t.Errorf("values.yaml has %v for %s, the schema %v", got, path, v.standard)
		}
	}
	walk(file, "", func(path string) bool {
		_, known := all[path]
		return known
	}, func(path string) { t.Errorf("values.yaml has %s, the schema has not", path) })

	inTable, told := map[string]string{}, map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(readFile(t, "README.md"), -1) {
		inTable[row[1]], told[row[1]] = row[2], row[3]
	}
	if diff := cmp.Diff(defaults, inTable); diff != "" {
		t.Errorf("defaults (-schema +README):\n%s", diff)
	}
	if diff := cmp.Diff(descriptions, told); diff != "" {
		t.Errorf("descriptions (-schema +README):\n%s", diff)
	}
}

// walk calls unknown for each leaf that is neither known nor below what is.
func walk(in map[string]any, path string, known func(string) bool, unknown func(string)) {
	for name, v := range in {
		if known(path + name) {
			continue
		}
		if below, ok := v.(map[string]any); ok && len(below) > 0 {
			walk(below, path+name+".", known, unknown)
		} else {
			unknown(path + name)
		}
	}
}

// The templates ask for no value that does not exist.
func TestTemplatesUseValuesThatExist(t *testing.T) {
	t.Parallel()
	all := values(t)
	exists := func(path string) bool {
		for known := range all {
			if known == path || strings.HasPrefix(known, path+".") || strings.HasPrefix(path, known+".") {
				return true
			}
		}
		return false
	}
	found := 0
	for _, pattern := range []string{"templates/*", "templates/bridge/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || info.IsDir() {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`\.Values\.([A-Za-z][A-Za-z.]*)`).FindAllStringSubmatch(string(data), -1) {
				found++
				if !exists(m[1]) {
					t.Errorf("%s asks for %s, which is no value", path, m[1])
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("found %d values in the templates", found)
	}
}

// Every flag of the two commands has a value, but for a few.
func TestFlagsHaveValues(t *testing.T) {
	t.Parallel()
	helpers := readFile(t, "templates/_helpers.tpl")
	operator, bridge, found := strings.Cut(helpers, `define "webhook-operator.bridge.args"`)
	if !found {
		t.Fatal("the bridge's flags are elsewhere")
	}
	without := map[string]map[string]string{
		"webhook-operator": {
			"--kubeconfig":       "the pod has its service account",
			"--system-namespace": "it is the namespace of the release, by POD_NAMESPACE",
		},
		"horizon-bridge": {
			"--kubeconfig":         "the pod has its service account",
			"--namespace":          "it is the namespace of the release, by POD_NAMESPACE",
			"--horizon-token-file": "the Secret is mounted where the default is",
			"--secret-file":        "the Secret is mounted where the default is",
		},
	}
	for command, templates := range map[string]string{"webhook-operator": operator, "horizon-bridge": bridge} {
		for name := range flags(t, command) {
			there := regexp.MustCompile(regexp.QuoteMeta(name) + `\b[^-]`).MatchString(templates)
			if command == "horizon-bridge" && strings.HasPrefix(name, "--zap-") {
				there = strings.Contains(templates, "webhook-operator.logArgs") // as the operator's
			}
			if reason := without[command][name]; there == (reason != "") {
				t.Errorf("%s has the flag %s, which is in the templates: %t (without a value, because %q)", command, name, there, reason)
			}
		}
	}
}

// The oldest Kubernetes that the README names is taken, and the one before it refused.
func TestKubernetesVersion(t *testing.T) {
	t.Parallel()
	for version, taken := range map[string]bool{"1.31.14": false, "1.32.0": true, "1.32.13-eks-1234567": true, "1.37.2": true} {
		_, err := helm(t, "template", release, dir, "--kube-version", version)
		if (err == nil) != taken {
			t.Errorf("Kubernetes %s: %v", version, err)
		}
	}
}

// What Artifact Hub shows is what the chart installs.
func TestChartFile(t *testing.T) {
	t.Parallel()
	c := chartFile(t)
	rendered := mustTemplate(t, "bridge.enabled=true", `bridge.horizonURL="https://horizon.example.com"`)

	var images []struct{ Image string }
	if err := yaml.Unmarshal([]byte(c.Annotations["artifacthub.io/images"]), &images); err != nil {
		t.Fatal(err)
	}
	listed, used := map[string]bool{}, map[string]bool{}
	for _, image := range images {
		listed[image.Image] = true
	}
	for _, deployment := range deployments(rendered) {
		used[container(t, deployment)["image"].(string)] = true
	}
	if diff := cmp.Diff(used, listed); diff != "" {
		t.Errorf("images (-used +listed):\n%s", diff)
	}

	var crds []struct{ Kind, Version, Name, DisplayName, Description string }
	if err := yaml.Unmarshal([]byte(c.Annotations["artifacthub.io/crds"]), &crds); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, crd := range crds {
		names["CustomResourceDefinition "+crd.Name] = crd.Kind
		if crd.DisplayName == "" || crd.Description == "" || crd.Version != "v1alpha1" {
			t.Errorf("a CRD is listed as %+v", crd)
		}
	}
	installed := map[string]string{}
	for name, obj := range rendered {
		if obj.GetKind() == "CustomResourceDefinition" {
			kind, _ := lookUp(obj.Object, "spec.names.kind")
			installed[name] = kind.(string)
		}
	}
	if diff := cmp.Diff(installed, names); diff != "" {
		t.Errorf("CRDs (-installed +listed):\n%s", diff)
	}
}
