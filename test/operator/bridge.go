package operator

import (
	"context"
	"fmt"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/ports"
)

// bridgeAccount is the bridge's, as config/bridge names it.
const bridgeAccount = "horizon-bridge"

// InstallBridge installs config/bridge from the repository in root, lets the bridge create
// events in further namespaces, which have to exist, and returns the path of a kubeconfig
// for its account.
func (i *Installation) InstallBridge(ctx context.Context, root string, namespaces ...string) (string, error) {
	if err := i.kubectl(ctx, "apply", "--server-side", "-k", filepath.Join(root, "config", "bridge")); err != nil {
		return "", fmt.Errorf("installing config/bridge: %w", err)
	}
	for _, namespace := range namespaces {
		binding := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "horizon-bridge-events"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "horizon-event-creator"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: DefaultSystemNamespace, Name: bridgeAccount}},
		}
		if err := i.Client.Create(ctx, binding); err != nil {
			return "", fmt.Errorf("letting the bridge create events: %w", err)
		}
	}
	account, err := i.cp.UserConfig(
		"system:serviceaccount:"+DefaultSystemNamespace+":"+bridgeAccount,
		"system:serviceaccounts", "system:serviceaccounts:"+DefaultSystemNamespace)
	if err != nil {
		return "", err
	}
	kubeconfig := filepath.Join(i.cp.Dir(), "horizon-bridge.kubeconfig")
	return kubeconfig, controlplane.WriteKubeconfig(kubeconfig, account)
}

// BridgeOptions says which bridge from Horizon to start, and how.
type BridgeOptions struct {
	// Binary is the path of its program, Kubeconfig that of the kubeconfig to work with,
	// and Log that of the file that its output is added to.
	Binary, Kubeconfig, Log string
	// Address is where Horizon posts to.
	Address string
	// HorizonURL is the address of Horizon, and TokenFile has its token.
	HorizonURL, TokenFile string
	// SecretFile has the secret of the webhook. RoutesFile may be empty.
	SecretFile, RoutesFile string
	// Args are further flags, after the package's own.
	Args []string
	// Env is added to the environment.
	Env []string
}

// LaunchBridge starts the bridge and returns at once. What it returns is one life of the
// program, and is stopped, killed and paused as one of the operator is.
func LaunchBridge(o BridgeOptions) (*Operator, error) {
	free, err := ports.Others.Free(2)
	if err != nil {
		return nil, fmt.Errorf("starting the bridge: %w", err)
	}
	health, metrics := ports.Address(free[0]), ports.Address(free[1])
	args := append([]string{
		"--kubeconfig=" + o.Kubeconfig,
		"--namespace=" + DefaultSystemNamespace,
		"--listen-address=" + o.Address,
		"--horizon-url=" + o.HorizonURL,
		"--horizon-token-file=" + o.TokenFile,
		"--secret-file=" + o.SecretFile,
		"--routes-file=" + o.RoutesFile,
		"--health-probe-bind-address=" + health,
		"--metrics-bind-address=" + metrics,
	}, o.Args...)
	p, err := launch(o.Binary, args, o.Env, o.Log)
	if err != nil {
		return nil, fmt.Errorf("starting the bridge (run `make build-bridge` first): %w", err)
	}
	return &Operator{options: Options{Log: o.Log}, health: health, metrics: metrics, process: p}, nil
}
