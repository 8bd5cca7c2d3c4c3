package operator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// serviceAccount is the operator's, as config/default names it.
const serviceAccount = "horizon-webhook-operator"

// Installation is what the operator and its users find on a control plane.
type Installation struct {
	// Kubeconfig is the path of the operator's kubeconfig. It is one for its
	// service account: the operator may do what its roles grant, and no more.
	Kubeconfig string
	// Client is the administrator's. It knows the project's types.
	Client client.Client

	cp *controlplane.ControlPlane
}

// Install installs what `make deploy` installs on a cluster, from the
// repository in root: the CRDs, the operator's namespace, its account and
// roles. (The Deployment too, but nobody here makes Pods of it.)
func Install(ctx context.Context, cp *controlplane.ControlPlane, root string) (*Installation, error) {
	// These first, and until they are served.
	if err := cp.InstallCRDs(ctx, filepath.Join(root, "config", "crd", "bases")); err != nil {
		return nil, err
	}
	c, err := NewClient(cp)
	if err != nil {
		return nil, err
	}
	i := &Installation{
		Kubeconfig: filepath.Join(cp.Dir(), "webhook-operator.kubeconfig"),
		Client:     c,
		cp:         cp,
	}
	if err := i.kubectl(ctx, "apply", "--server-side", "-k", filepath.Join(root, "config", "default")); err != nil {
		return nil, fmt.Errorf("installing config/default: %w", err)
	}
	account, err := cp.UserConfig(
		"system:serviceaccount:"+DefaultSystemNamespace+":"+serviceAccount,
		"system:serviceaccounts", "system:serviceaccounts:"+DefaultSystemNamespace)
	if err != nil {
		return nil, err
	}
	if err := controlplane.WriteKubeconfig(i.Kubeconfig, account); err != nil {
		return nil, err
	}
	return i, nil
}

// kubectl runs kubectl as the administrator.
func (i *Installation) kubectl(ctx context.Context, args ...string) error {
	path, err := i.cp.Kubectl()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	if cmd.Env, err = i.Environment(""); err != nil {
		return err
	}
	// A Ctrl-C is for this process to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
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
// administrator: kubectl is on PATH, before it the directory of plugin if there is one,
// and kubectl keeps what it caches with the control plane.
func (i *Installation) Environment(plugin string) ([]string, error) {
	kubectl, err := i.cp.Kubectl()
	if err != nil {
		return nil, err
	}
	path := filepath.SplitList(os.Getenv("PATH"))
	path = append(path, filepath.Dir(kubectl))
	if plugin != "" {
		directory, err := filepath.Abs(filepath.Dir(plugin))
		if err != nil {
			return nil, err
		}
		path = slices.Insert(path, 0, directory)
	}
	return append(os.Environ(),
		"KUBECONFIG="+i.cp.Kubeconfig(),
		"KUBECACHEDIR="+filepath.Join(i.cp.Dir(), "kubectl"),
		"PATH="+strings.Join(path, string(os.PathListSeparator)),
	), nil
}
