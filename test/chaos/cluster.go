package main

import (
	"context"
	"errors"
	"os"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
)

const (
	// logPattern matches the files that collect the operators' output.
	logPattern = "chaos-*.log"

	// requestTimeout bounds a request of the load, so that one to an API server
	// that is paused is made again.
	requestTimeout = 5 * time.Second

	// leaseName is the operator's.
	leaseName = "webhook-operator.horizoncd.io"
)

// clusterOptions say what kind of control plane a scenario needs.
type clusterOptions struct {
	// quota of etcd's database in bytes; 0: etcd's default.
	quota int64
}

// cluster is a control plane with the project installed.
type cluster struct {
	*chaos
	cp      *controlplane.ControlPlane
	install *operator.Installation
	admin   client.Client // makes the load; its requests time out
	account *rest.Config  // the operator's

	namespaces int // made so far
}

func (c *chaos) openCluster(ctx context.Context, dir string, o clusterOptions) (_ *cluster, err error) {
	// A directory beside the logs, not in a temporary one, which is often kept
	// in memory, where nothing waits for the disk.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	cp, err := controlplane.Start(ctx, controlplane.Options{Dir: dir, Fsync: true, EtcdQuotaBytes: o.quota})
	if err != nil {
		return nil, err
	}
	s := &cluster{chaos: c, cp: cp}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.install, err = operator.Install(ctx, cp, c.Root); err != nil {
		return nil, err
	}
	cfg := cp.Config()
	cfg.Timeout = requestTimeout
	if s.admin, err = client.New(cfg, client.Options{Scheme: s.install.Client.Scheme()}); err != nil {
		return nil, err
	}
	s.account, err = clientcmd.BuildConfigFromFlags("", s.install.Kubeconfig)
	return s, err
}

// close ends all processes of the control plane and removes what they stored.
func (s *cluster) close() error { return errors.Join(s.cp.Stop(), os.RemoveAll(s.cp.Dir())) }

// mend makes the control plane whole again, whatever a scenario has left.
func (s *cluster) mend(ctx context.Context) error {
	for _, p := range []*controlplane.Process{s.cp.Etcd, s.cp.APIServer} {
		if p.Pid() == 0 {
			if err := p.Start(ctx); err != nil {
				return err
			}
			continue
		}
		if err := p.Resume(); err != nil {
			return err
		}
	}
	return s.cp.WaitReady(ctx)
}

// lease is the operator's, with nothing but its name.
func lease() *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: operator.DefaultSystemNamespace, Name: leaseName,
	}}
}

// forgetLease deletes the operator's lease: that of a killed one would hold up
// the next.
func (s *cluster) forgetLease(ctx context.Context) error {
	return client.IgnoreNotFound(s.admin.Delete(ctx, lease()))
}
