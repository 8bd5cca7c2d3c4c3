// Package manifests tests config/: the rendered manifests are applied to a real
// API server with RBAC on, and people and the operator try what they may do.
package manifests

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
)

const (
	// systemNamespace is where config/default installs the operator.
	systemNamespace = "horizon-webhooks"
	// tenant is the namespace of a team.
	tenant = "music"

	operatorName = "horizon-webhook-operator"
	operatorUser = "system:serviceaccount:" + systemNamespace + ":" + operatorName

	// patience bounds every wait for something that the control plane does by
	// itself.
	patience = 30 * time.Second
)

// cluster is the control plane that the tests of this package share, with
// config/default applied.
var cluster struct {
	*controlplane.ControlPlane
	// admin may do everything.
	admin kubernetes.Interface
	// rendered are the objects of config/default.
	rendered []*unstructured.Unstructured
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx := context.Background()
	cp, err := controlplane.Start(ctx, controlplane.Options{ControllerManager: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := cp.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
			code = 1
		}
	}()
	cluster.ControlPlane = cp
	if err := install(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "installing config/default:", err)
		return 1
	}
	return m.Run()
}

// install does what `make deploy` does.
func install(ctx context.Context) error {
	var err error
	if cluster.admin, err = kubernetes.NewForConfig(cluster.Config()); err != nil {
		return err
	}
	manifests, err := render(ctx, "../../config/default")
	if err != nil {
		return err
	}
	if cluster.rendered, err = parse(manifests); err != nil {
		return err
	}
	objects, err := newObjects(cluster.Config())
	if err != nil {
		return err
	}
	for _, obj := range cluster.rendered {
		if _, err := objects.apply(ctx, obj, metav1.ApplyOptions{}); err != nil {
			return err
		}
	}
	namespace := &unstructured.Unstructured{}
	namespace.SetAPIVersion("v1")
	namespace.SetKind("Namespace")
	namespace.SetName(tenant)
	if _, err := objects.apply(ctx, namespace, metav1.ApplyOptions{}); err != nil {
		return err
	}
	return waitServed(ctx)
}

// render builds a kustomization with the kustomize that hack/tools pins.
func render(ctx context.Context, dir string) ([]byte, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "-C", "../../hack/tools", "tool", "kustomize", "build", dir)
	cmd.Stderr = &stderr
	manifests, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kustomize build %s: %w\n%s", dir, err, &stderr)
	}
	return manifests, nil
}

// rendered returns the objects of a directory of config.
func rendered(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	manifests, err := render(t.Context(), "../../config/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	objs, err := parse(manifests)
	if err != nil {
		t.Fatal(err)
	}
	return objs
}

// parse reads the objects of a YAML stream.
func parse(manifests []byte) ([]*unstructured.Unstructured, error) {
	var objs []*unstructured.Unstructured
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return objs, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, err
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(data); err != nil {
			return nil, err
		}
		objs = append(objs, obj)
	}
}

// waitServed waits until the API of config/crd answers.
func waitServed(ctx context.Context) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		for _, plural := range []string{"webhooks", "webhookevents", "webhookdeliveries"} {
			err := cluster.admin.Discovery().RESTClient().Get().
				AbsPath("/apis", v1alpha1.GroupVersion.Group, v1alpha1.GroupVersion.Version, plural).Do(ctx).Error()
			if err != nil {
				return false, nil //nolint:nilerr // it will be, or the time is over
			}
		}
		return true, nil
	})
}

// objects writes objects of any kind on behalf of one user.
type objects struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

// newObjects returns the objects of the user of cfg.
func newObjects(cfg *rest.Config) (*objects, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	// Not everyone is allowed all that discovery asks for, and the mapping is
	// the same for all.
	disco, err := discovery.NewDiscoveryClientForConfig(cluster.Config())
	if err != nil {
		return nil, err
	}
	return &objects{client, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}, nil
}

// resource is where obj belongs.
func (o *objects) resource(obj *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := obj.GroupVersionKind()
	mapping, err := o.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, err
	}
	// Where an object names a namespace and its kind has none, or the other way
	// round, the server says so.
	if obj.GetNamespace() != "" {
		return o.client.Resource(mapping.Resource).Namespace(obj.GetNamespace()), nil
	}
	return o.client.Resource(mapping.Resource), nil
}

// apply applies on the server's side as `kubectl apply --server-side` does:
// unknown fields are errors.
func (o *objects) apply(ctx context.Context, obj *unstructured.Unstructured, opts metav1.ApplyOptions) (*unstructured.Unstructured, error) {
	resource, err := o.resource(obj)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	opts.FieldManager = "manifests-test"
	data, err := obj.MarshalJSON()
	if err != nil {
		return nil, err
	}
	applied, err := resource.Patch(ctx, obj.GetName(), "application/apply-patch+yaml", data, metav1.PatchOptions{
		FieldManager:    "manifests-test",
		FieldValidation: metav1.FieldValidationStrict,
		DryRun:          opts.DryRun,
	})
	if err != nil {
		return nil, fmt.Errorf("applying %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	return applied, nil
}
