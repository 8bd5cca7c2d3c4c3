package controlplane

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	etcdName              = "etcd"
	apiServerName         = "kube-apiserver"
	controllerManagerName = "kube-controller-manager"
)

// The flags below exist in Kubernetes 1.32 and in the etcd that came with it,
// so that binaries of one's own may be as old as the oldest cluster supported.

// etcd speaks gRPC and HTTP on ports of their own: on a shared port with TLS
// it serves gRPC through net/http, which is slower and can starve watches.
func (cp *ControlPlane) etcd(o Options) *Process {
	client := cp.ports.url(cp.ports.etcdClient)
	http := cp.ports.url(cp.ports.etcdHTTP)
	peer := cp.ports.url(cp.ports.etcdPeer)
	args := []string{
		"--name=horizon",
		"--data-dir=" + filepath.Join(cp.dir.path, "etcd"),
		"--log-level=warn",

		"--listen-client-urls=" + client,
		"--advertise-client-urls=" + client,
		"--listen-client-http-urls=" + http,
		"--client-cert-auth",
		"--trusted-ca-file=" + cp.pki.file("etcd-ca.crt"),
		"--cert-file=" + cp.pki.file("etcd.crt"),
		"--key-file=" + cp.pki.file("etcd.key"),

		// The only member has no peers, yet it listens for them.
		"--listen-peer-urls=" + peer,
		"--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=horizon=" + peer,
		"--peer-client-cert-auth",
		"--peer-trusted-ca-file=" + cp.pki.file("etcd-ca.crt"),
		"--peer-cert-file=" + cp.pki.file("etcd.crt"),
		"--peer-key-file=" + cp.pki.file("etcd.key"),
	}
	if !o.Fsync {
		args = append(args, "--unsafe-no-fsync")
	}
	if o.EtcdQuotaBytes > 0 {
		args = append(args, fmt.Sprintf("--quota-backend-bytes=%d", o.EtcdQuotaBytes))
	}
	p := cp.process(etcdName, append(args, o.EtcdArgs...))
	p.keepsData = true
	// Not /health, which is about alarms too: a full etcd is up.
	p.ready = probe(http+"/readyz", cp.EtcdTLS(), "")
	return p
}

func (cp *ControlPlane) apiServer(o Options) *Process {
	args := []string{
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", cp.ports.apiServer),
		"--tls-cert-file=" + cp.pki.file("serving.crt"),
		"--tls-private-key-file=" + cp.pki.file("serving.key"),
		"--client-ca-file=" + cp.pki.file("ca.crt"),
		"--authorization-mode=RBAC",

		"--etcd-servers=" + cp.ports.url(cp.ports.etcdClient),
		"--etcd-cafile=" + cp.pki.file("etcd-ca.crt"),
		"--etcd-certfile=" + cp.pki.file("etcd-client.crt"),
		"--etcd-keyfile=" + cp.pki.file("etcd-client.key"),

		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + cp.pki.file("service-account.key"),
		"--service-account-key-file=" + cp.pki.file("service-account.key"),
		"--service-cluster-ip-range=10.0.0.0/24",

		// No pods run here, and nobody reaches the server through a service:
		// without these it would look for an address beyond loopback.
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--disable-admission-plugins=ServiceAccount",

		// Without a limit, a server told to stop waits up to a minute for
		// clients to end their watches, which they do not.
		"--shutdown-watch-termination-grace-period=1s",
	}
	p := cp.process(apiServerName, append(args, o.APIServerArgs...))
	p.env = append(p.env, o.APIServerEnv...)
	p.ready = probe(cp.ports.url(cp.ports.apiServer)+"/readyz", cp.clientTLS(cp.pki.admin), "")
	return p
}

// controllers are those that meet an operator's objects. Each would otherwise
// be one more client that lists and watches.
var controllers = []string{
	"garbage-collector-controller",
	"namespace-controller",
	"serviceaccount-controller",
	"resourcequota-controller",
	"clusterrole-aggregation-controller",
	"validatingadmissionpolicy-status-controller",
}

// The controllers use service accounts of their own, as in any real cluster:
// admission policies know the garbage collector by its name.
func (cp *ControlPlane) controllerManager(o Options) (*Process, error) {
	user, err := cp.UserConfig("system:kube-controller-manager")
	if err != nil {
		return nil, err
	}
	kubeconfig := filepath.Join(cp.pki.dir, "kube-controller-manager.kubeconfig")
	if err := WriteKubeconfig(kubeconfig, user); err != nil {
		return nil, err
	}
	args := []string{
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", cp.ports.controllerManager),
		"--tls-cert-file=" + cp.pki.file("serving.crt"),
		"--tls-private-key-file=" + cp.pki.file("serving.key"),
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--use-service-account-credentials",
		// There is one, and it is to work at once after a restart.
		"--leader-elect=false",
		"--controllers=" + strings.Join(controllers, ","),
	}
	p := cp.process(controllerManagerName, append(args, o.ControllerManagerArgs...))
	// /healthz is fine before there is any controller, when the process still
	// gives up if the API server goes away. The controllers' checks join the
	// list once all are built.
	p.ready = probe(cp.ports.url(cp.ports.controllerManager)+"/healthz?verbose", cp.clientTLS(cp.pki.admin),
		"[+]"+controllers[0]+" ok")
	return p, nil
}

func (cp *ControlPlane) process(name string, args []string) *Process {
	return &Process{
		name: name,
		path: cp.binaries.path(name),
		args: args,
		env:  environment(),
		log:  filepath.Join(cp.dir.path, name+".log"),
	}
}

// environment is this process's, without what etcd would take for flags: it
// refuses to start when one contradicts the command line.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ETCD_") {
			env = append(env, kv)
		}
	}
	return env
}

// EtcdEndpoint is where etcd serves its gRPC API.
func (cp *ControlPlane) EtcdEndpoint() string { return cp.ports.url(cp.ports.etcdClient) }

// EtcdGateway is where etcd serves the same API as JSON over HTTP, for whoever
// wants to compact or to disarm an alarm without a gRPC client. EtcdTLS is what
// a client needs there too.
func (cp *ControlPlane) EtcdGateway() string { return cp.ports.url(cp.ports.etcdHTTP) }

// EtcdTLS is what a client of etcd needs, to compact or to disarm an alarm.
func (cp *ControlPlane) EtcdTLS() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      cp.pki.etcd.pool(),
		Certificates: []tls.Certificate{cp.pki.etcdClient},
	}
}

func (cp *ControlPlane) clientTLS(client keyPair) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	cfg.RootCAs.AddCert(cp.pki.cluster.cert)
	if cert, err := tls.X509KeyPair(client.certPEM, client.keyPEM); err == nil {
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg
}
