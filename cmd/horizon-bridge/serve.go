package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/horizoncd/webhook-operator/internal/bridge"
)

// serve takes events from Horizon until the context ends.
func serve(ctx context.Context, o options) error {
	if err := o.setLogger(); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b, err := o.bridge(registry)
	if err != nil {
		return err
	}
	security, watch, err := o.tls()
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.address)
	if err != nil {
		return err
	}
	ctrl.Log.Info("Starting", "version", version, "address", l.Addr().String(), "tls", security != nil, "horizon", o.horizonURL != "")

	group, ctx := errgroup.WithContext(ctx)
	// What is known is stored after the last request.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group.Go(func() error {
		b.Run(working)
		return nil
	})
	group.Go(func() error {
		defer stop()
		drain := time.Duration(o.drain) * time.Second
		return (&bridge.Server{Handler: b.Handler(), TLS: security, Connections: o.connections, Drain: drain}).Serve(ctx, l)
	})
	if watch != nil {
		group.Go(func() error { return watch.Start(ctx) })
	}
	group.Go(func() error {
		mux := http.NewServeMux()
		mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
		return serveAside(working, o.metricsAddress, mux)
	})
	group.Go(func() error { return serveAside(working, o.probeAddress, probes(ctx, b)) })
	return group.Wait()
}

// bridge puts the bridge together.
func (o *options) bridge(registry prometheus.Registerer) (*bridge.Bridge, error) {
	kube, err := kubernetes()
	if err != nil {
		return nil, err
	}
	secrets, err := o.secrets()
	if err != nil {
		return nil, err
	}
	routes, err := o.routes()
	if err != nil {
		return nil, err
	}
	h, err := o.horizon()
	if err != nil {
		return nil, err
	}
	options := bridge.Options{
		Client: kube, Secrets: secrets, Routes: routes, State: o.state(), NamePrefix: o.namePrefix, WebhookID: o.webhookID,
		RequestsPerMinute: o.requestsPerMinute, Every: o.every, Window: o.window, Log: ctrl.Log.WithName("bridge"), Registry: registry, Clock: clock.RealClock{},
	}
	if h != nil {
		options.Horizon = h
	}
	return bridge.New(options)
}

// tls returns how to serve HTTPS, and what looks for renewed certificates; nil for HTTP.
func (o *options) tls() (*tls.Config, *certwatcher.CertWatcher, error) {
	if o.certFile == "" {
		return nil, nil, nil
	}
	watch, err := certwatcher.New(o.certFile, o.keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: watch.GetCertificate, NextProtos: []string{"http/1.1"}}, watch, nil
}

// probes answers the kubelet. A bridge that drains is not ready.
func probes(ctx context.Context, b *bridge.Bridge) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		detail, err := b.Ready()
		if err == nil && ctx.Err() != nil {
			err = errors.New("it is ending")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n"+detail+"\n") //nolint:gosec // plain text, and none of it from outside
	})
	return mux
}

// serveAside serves what is not for Horizon, at an address that may be 0 for none.
func serveAside(ctx context.Context, address string, h http.Handler) error {
	if address == "0" {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
