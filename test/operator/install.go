package operator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// Installation is what the operator and its users find on a control plane.
type Installation struct {
	// Kubeconfig is the path of the kubeconfig that the operator uses.
	Kubeconfig string
	// Client is the administrator's. It knows the project's types.
	Client client.Client

	cp *controlplane.ControlPlane
}

// Install installs the CRDs of the repository in root, and creates the
// namespaces: the system namespace and those that are named.
func Install(ctx context.Context, cp *controlplane.ControlPlane, root string, namespaces ...string) (*Installation, error) {
	if err := cp.InstallCRDs(ctx, filepath.Join(root, "config", "crd", "bases")); err != nil {
		return nil, err
	}
	c, err := NewClient(cp)
	if err != nil {
		return nil, err
	}
	for _, name := range append([]string{DefaultSystemNamespace}, namespaces...) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := c.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("creating the namespace %s: %w", name, err)
		}
	}
	return &Installation{Kubeconfig: cp.Kubeconfig(), Client: c, cp: cp}, nil
}

// NewClient returns an administrator's client that knows the project's types.
func NewClient(cp *controlplane.ControlPlane) (client.Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("filling a scheme: %w", err)
		}
	}
	c, err := client.New(cp.Config(), client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("creating a client: %w", err)
	}
	return c, nil
}

// Environment is this process's, for commands that use kubectl as the
// administrator: kubectl is on PATH and keeps what it caches with the control
// plane.
func (i *Installation) Environment() ([]string, error) {
	kubectl, err := i.cp.Kubectl()
	if err != nil {
		return nil, err
	}
	return append(os.Environ(),
		"KUBECONFIG="+i.cp.Kubeconfig(),
		"KUBECACHEDIR="+filepath.Join(i.cp.Dir(), "kubectl"),
		"PATH="+os.Getenv("PATH")+string(os.PathListSeparator)+filepath.Dir(kubectl),
	), nil
}
