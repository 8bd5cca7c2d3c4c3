// Package chart tests charts/webhook-operator with Helm itself: what it renders, which is what
// config/ says; each value; and what becomes of a cluster by install, upgrade, rollback and
// uninstall.
package chart

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/test/controlplane"
)

const (
	root = "../.."
	dir  = root + "/charts/webhook-operator"

	// release and namespace give the objects the names that they have in config/.
	release   = "horizon"
	namespace = "horizon-webhooks"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopControlPlane(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
		code = 1
	}
	os.Exit(code)
}

// shared is the control plane, which starts with the first test that asks for it.
var shared struct {
	sync.Once
	*controlplane.ControlPlane
	dir string // with the audit log
	err error
}

// auditPolicy logs writes of what has to come in a certain order.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch]
  resources:
  - group: apiextensions.k8s.io
    resources: [customresourcedefinitions]
  - group: apps
    resources: [deployments]
- level: None
`

func startControlPlane(t *testing.T) *controlplane.ControlPlane {
	t.Helper()
	shared.Do(func() { shared.err = start(context.Background()) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.ControlPlane
}

func start(ctx context.Context) (err error) {
	if shared.dir, err = os.MkdirTemp("", "chart-test-"); err != nil {
		return err
	}
	policy := filepath.Join(shared.dir, "audit.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	shared.ControlPlane, err = controlplane.Start(ctx, controlplane.Options{
		ControllerManager: true, // deletes namespaces, and what owners leave
		APIServerArgs:     []string{"--audit-policy-file=" + policy, "--audit-log-path=" + auditLog()},
	})
	return err
}

func auditLog() string { return filepath.Join(shared.dir, "audit.log") }

func stopControlPlane() error {
	if shared.dir == "" {
		return nil
	}
	defer func() { _ = os.RemoveAll(shared.dir) }()
	if shared.ControlPlane == nil {
		return nil
	}
	return shared.Stop()
}

// tools are the paths of tools: those that environment variables name, as `make test` sets them,
// or else those that make builds.
var tools = map[string]func() (string, error){
	"helm":      sync.OnceValues(func() (string, error) { return findTool("HELM", "helm") }),
	"kustomize": sync.OnceValues(func() (string, error) { return findTool("KUSTOMIZE", "kustomize") }),
}

func findTool(variable, name string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	path, err := filepath.Abs(filepath.Join(root, "bin/tools", name))
	if err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(context.Background(), "make", "-C", root, path).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return path, nil
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := tools[name]()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// helm runs Helm, and returns what it prints. The error has what it says was wrong.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), tool(t, "helm"), args...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("helm %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

// objects are manifests by kind, namespace and name.
type objects map[string]*unstructured.Unstructured

func key(obj *unstructured.Unstructured) string {
	if ns := obj.GetNamespace(); ns != "" {
		return obj.GetKind() + " " + ns + "/" + obj.GetName()
	}
	return obj.GetKind() + " " + obj.GetName()
}

func parse(manifests string) (objects, error) {
	all := objects{}
	docs := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifests)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, doc)
		}
		if string(data) == "null" {
			continue // a template that came to nothing but a comment
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(data); err != nil {
			return nil, fmt.Errorf("%w\n%s", err, doc)
		}
		if all[key(obj)] != nil {
			return nil, fmt.Errorf("%s is there twice", key(obj))
		}
		all[key(obj)] = obj
	}
}

// template renders the chart with values, each of which is a path and JSON: `workers=7`.
func template(t *testing.T, values ...string) (objects, error) {
	t.Helper()
	args := []string{"template", release, dir, "--namespace", namespace}
	for _, value := range values {
		args = append(args, "--set-json", value)
	}
	out, err := helm(t, args...)
	if err != nil {
		return nil, err
	}
	return parse(out)
}

func mustTemplate(t *testing.T, values ...string) objects {
	t.Helper()
	objs, err := template(t, values...)
	if err != nil {
		t.Fatal(err)
	}
	return objs
}

// kustomize builds one of the kustomizations of config/.
func kustomize(t *testing.T, name string) objects {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), tool(t, "kustomize"), "build", filepath.Join(root, "config", name))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kustomize build config/%s: %v\n%s", name, err, &stderr)
	}
	objs, err := parse(string(out))
	if err != nil {
		t.Fatal(err)
	}
	return objs
}

var (
	flagLine    = regexp.MustCompile(`^ {2}-([a-z-]+)( \w+)?$`)
	defaultText = regexp.MustCompile(`\(default "?([^"()]*)"?\)$`)
)

// help has what the two commands print.
var help = map[string]func() (string, error){
	"webhook-operator": sync.OnceValues(func() (string, error) { return runHelp("webhook-operator") }),
	"horizon-bridge":   sync.OnceValues(func() (string, error) { return runHelp("horizon-bridge") }),
}

func runHelp(command string) (string, error) {
	cmd := exec.CommandContext(context.Background(), "go", "run", "./cmd/"+command, "--help")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "POD_NAMESPACE="+namespace)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s --help: %w\n%s", command, err, out)
	}
	return string(out), nil
}

// flags returns the flags of a command with their defaults.
func flags(t *testing.T, command string) map[string]string {
	t.Helper()
	help, err := help[command]()
	if err != nil {
		t.Fatal(err)
	}
	all, name := map[string]string{}, ""
	for line := range strings.Lines(help) {
		line = strings.TrimRight(line, "\n")
		if m := flagLine.FindStringSubmatch(line); m != nil {
			name = "--" + m[1]
			all[name] = ""
			if m[2] == "" {
				all[name] = "false" // only a bool has no type
			}
		} else if m := defaultText.FindStringSubmatch(line); m != nil && name != "" {
			all[name] = m[1]
		}
	}
	if len(all) < 10 {
		t.Fatalf("%s --help has %d flags:\n%s", command, len(all), help)
	}
	return all
}

// sameValue tells whether two values of a flag mean the same.
func sameValue(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := time.ParseDuration(a)
	y, errY := time.ParseDuration(b)
	// An int that is 0 unless given has no default in the help.
	return errX == nil && errY == nil && x == y || a == "0" && b == ""
}

// toJSON makes values comparable: a number is a number, whatever its type is.
func toJSON(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
