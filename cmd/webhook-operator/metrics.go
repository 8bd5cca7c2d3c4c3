package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/horizoncd/webhook-operator/controllers"
	"github.com/horizoncd/webhook-operator/internal/leader"
)

// metricsFlags say where metrics are served, and to whom.
type metricsFlags struct {
	address string
	secure  bool
	certDir string
}

func (f *metricsFlags) bind(to *flag.FlagSet) {
	to.StringVar(&f.address, "metrics-bind-address", ":8443", "Address of the metrics endpoint; 0 turns it off.")
	to.BoolVar(&f.secure, "metrics-secure", true, "Serve metrics over TLS, to clients whose token may get /metrics. When false: in plain HTTP, to everyone.")
	to.StringVar(&f.certDir, "metrics-cert-dir", "",
		"Directory of the metrics endpoint's certificate, tls.crt and tls.key, which may be replaced at any time. Without it, the certificate is self-signed.")
}

func (f *metricsFlags) options() (server.Options, error) {
	o := server.Options{BindAddress: f.address}
	if !f.secure {
		if f.certDir != "" {
			return o, errors.New("--metrics-cert-dir is of no use with --metrics-secure=false")
		}
		return o, nil
	}
	if f.certDir != "" {
		// Where there is none, the server would use a self-signed one instead.
		_, err := tls.LoadX509KeyPair(filepath.Join(f.certDir, corev1.TLSCertKey), filepath.Join(f.certDir, corev1.TLSPrivateKeyKey))
		if err != nil {
			return o, fmt.Errorf("--metrics-cert-dir: %w", err)
		}
	}
	o.SecureServing, o.CertDir = true, f.certDir
	o.FilterProvider = filters.WithAuthenticationAndAuthorization
	o.TLSOpts = []func(*tls.Config){func(cfg *tls.Config) {
		cfg.MinVersion = tls.VersionTLS12
		// A scrape is one request: HTTP/2 would be of no use to anyone but attackers.
		cfg.NextProtos = []string{"http/1.1"}
	}}
	return o, nil
}

// countFull counts, among the operator's metrics, the writes of the lease that failed
// since etcd has no space left. Standbys try them, too, so they tell of it for as long as
// it lasts.
func countFull(registry prometheus.Registerer, fence *leader.Fence) error {
	return registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: controllers.MetricsPrefix, Name: "lease_writes_without_space_total",
		Help: "Writes of the lease that failed since etcd has no space left.",
	}, func() float64 { return float64(fence.FullWrites()) }))
}
