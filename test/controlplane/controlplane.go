// Package controlplane runs a Kubernetes control plane on this machine: etcd,
// kube-apiserver and, on request, kube-controller-manager, as child processes
// that listen on loopback only.
//
// It stands in for a cluster in the tests, the demo, the benchmarks and the
// fault scenarios. What it adds to envtest is what those need: every process
// can be paused, killed and restarted by itself with its port, certificates
// and data kept; etcd can write for real (fsync) and with a small quota; a
// controller manager collects garbage; and no process outlives its parent,
// however that one ends.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

const (
	// defaultStartTimeout bounds a start whose context has no deadline. The
	// API server is ready after about 2 s on two idle cores; this leaves room
	// for a machine that compiles something else at the same time.
	defaultStartTimeout = 2 * time.Minute

	// portAttempts is how often a start is tried when another process took
	// one of the chosen ports between the choice and the bind.
	portAttempts = 5
)

// Options says what to start. The zero value is right for tests: a temporary
// directory, no fsync, no controller manager.
type Options struct {
	// Assets is the directory of the binaries. Default: KUBEBUILDER_ASSETS, or
	// else bin/controlplane of the module around the working directory, which
	// `make control-plane` fills.
	Assets string

	// Dir keeps data, certificates, logs and the kubeconfig. It is created if
	// absent, and a later Start on the same Dir finds the objects again.
	// Default: a temporary directory that Stop removes.
	Dir string

	// Fsync makes etcd wait for the disk on every write. Off, a process may
	// still be killed without loss, but not the machine, and writes are
	// cheaper than in production: turn it on to measure or to prove
	// durability.
	Fsync bool

	// ControllerManager also starts kube-controller-manager with the
	// controllers that an operator's objects meet: garbage collection,
	// namespace deletion, service accounts, resource quotas, aggregated
	// cluster roles and the type checks of admission policies.
	ControllerManager bool

	// EtcdQuotaBytes limits the size of etcd's database. 0: etcd's default
	// (2 GiB).
	EtcdQuotaBytes int64

	// Further arguments, after the package's own: for a flag given twice the
	// last one wins.
	EtcdArgs              []string
	APIServerArgs         []string
	ControllerManagerArgs []string

	// APIServerEnv is added to the API server's environment, such as
	// "GOGC=400".
	APIServerEnv []string
}

// ControlPlane is a running control plane.
type ControlPlane struct {
	// Etcd, APIServer and ControllerManager are the processes.
	// ControllerManager is nil unless Options asked for it.
	Etcd, APIServer, ControllerManager *Process

	dir      *directory
	binaries binaries
	pki      *pki
	ports    chosenPorts

	stopOnce sync.Once
	stopErr  error
}

// Start starts a control plane and returns once its API server is ready, and
// healthy controllers run if they were asked for. The deadline of ctx bounds
// the start (two minutes if there is none); ctx does not end the control plane
// afterwards, Stop does. If the start fails, nothing is left running, and the
// error holds the last lines of the log of the process that failed, and the
// log's path. (In a temporary directory it stays until a later Start.)
func Start(ctx context.Context, o Options) (_ *ControlPlane, err error) {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()

	bin, err := findBinaries(o)
	if err != nil {
		return nil, err
	}
	dir, err := openDirectory(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the control plane's directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dir.release())
		}
	}()
	keys, err := newPKI(dir.path)
	if err != nil {
		return nil, fmt.Errorf("creating certificates: %w", err)
	}

	for attempt := 1; ; attempt++ {
		cp := &ControlPlane{dir: dir, binaries: bin, pki: keys}
		err = cp.start(ctx, o)
		if err == nil {
			return cp, nil
		}
		err = errors.Join(err, cp.stopProcesses())
		if !errors.Is(err, errPortTaken) || attempt == portAttempts {
			return nil, fmt.Errorf("starting the control plane: %w", err)
		}
	}
}

// start makes one attempt, with ports of its own.
func (cp *ControlPlane) start(ctx context.Context, o Options) error {
	var err error
	if cp.ports, err = choosePorts(); err != nil {
		return err
	}
	if err := WriteKubeconfig(cp.Kubeconfig(), cp.Config()); err != nil {
		return err
	}

	cp.Etcd = cp.etcd(o)
	cp.APIServer = cp.apiServer(o)
	if err := cp.Etcd.Start(ctx); err != nil {
		return err
	}
	if err := cp.APIServer.Start(ctx); err != nil {
		return err
	}
	if !o.ControllerManager {
		return nil
	}
	if cp.ControllerManager, err = cp.controllerManager(o); err != nil {
		return err
	}
	return cp.ControllerManager.Start(ctx)
}

// Stop ends the processes, the controller manager first and etcd last, and
// removes the directory if Start had created a temporary one. It may be called
// more than once.
func (cp *ControlPlane) Stop() error {
	cp.stopOnce.Do(func() {
		cp.stopErr = errors.Join(cp.stopProcesses(), cp.dir.close())
	})
	return cp.stopErr
}

func (cp *ControlPlane) stopProcesses() error {
	var errs []error
	for _, p := range []*Process{cp.ControllerManager, cp.APIServer, cp.Etcd} {
		if p != nil {
			errs = append(errs, p.retire())
		}
	}
	return errors.Join(errs...)
}

// WaitReady waits until every process that has not been stopped or killed says
// that it is ready: after etcd was restarted, say, until the API server has
// found it again.
func (cp *ControlPlane) WaitReady(ctx context.Context) error {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	for _, p := range []*Process{cp.Etcd, cp.APIServer, cp.ControllerManager} {
		if p == nil || p.Pid() == 0 {
			continue
		}
		if err := p.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Dir is the directory that holds data, certificates and logs.
func (cp *ControlPlane) Dir() string { return cp.dir.path }

// Kubeconfig is the path of a kubeconfig for the administrator, readable by
// its owner only.
func (cp *ControlPlane) Kubeconfig() string { return filepath.Join(cp.dir.path, "kubeconfig") }

// Kubectl is the path of kubectl: the one on PATH, or else the one beside the
// other binaries.
func (cp *ControlPlane) Kubectl() (string, error) { return cp.binaries.kubectl() }

// Config is a client configuration for the administrator, a member of
// system:masters: neither authorization nor API priority and fairness hold it
// back, and no client-side limit does (QPS -1).
func (cp *ControlPlane) Config() *rest.Config {
	return cp.config(cp.pki.admin)
}

// UserConfig is a client configuration for the named user, who may do what
// RBAC grants to the name and to the groups, and whose requests are subject to
// API priority and fairness. A service account goes by
// system:serviceaccount:NAMESPACE:NAME with the groups system:serviceaccounts
// and system:serviceaccounts:NAMESPACE. The server adds the group
// system:authenticated itself.
func (cp *ControlPlane) UserConfig(name string, groups ...string) (*rest.Config, error) {
	cert, err := cp.pki.cluster.issueClient(name, groups...)
	if err != nil {
		return nil, fmt.Errorf("issuing a client certificate for %q: %w", name, err)
	}
	return cp.config(cert), nil
}

func (cp *ControlPlane) config(client keyPair) *rest.Config {
	return &rest.Config{
		Host: cp.ports.url(cp.ports.apiServer),
		QPS:  -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   cp.pki.cluster.certPEM,
			CertData: client.certPEM,
			KeyData:  client.keyPEM,
		},
	}
}

func withDefaultTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, defaultStartTimeout)
}

// makeDir creates a directory that only its owner can enter: it holds keys.
func makeDir(elem ...string) (string, error) {
	path := filepath.Join(elem...)
	return path, os.MkdirAll(path, 0o700)
}
