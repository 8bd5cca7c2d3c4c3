// Command webhook-operator sends Horizon's events to the Webhooks of a cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/controllers"
	"github.com/horizoncd/webhook-operator/internal/generation"
	"github.com/horizoncd/webhook-operator/internal/leader"
	"github.com/horizoncd/webhook-operator/internal/retention"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// version is set by the linker.
var version = "dev"

// defaultSystemNamespace is where config/ installs the operator.
const defaultSystemNamespace = "horizon-webhooks"

// drainMargin is what the process gets, after its last request has ended, to
// store the records and release the lease.
const drainMargin = 5 * time.Second

func main() {
	if err := run(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "webhook-operator:", err)
		os.Exit(1)
	}
}

// leaseDuration is how long the others wait for a leader that does not renew.
const leaseDuration = 15 * time.Second

// leaseRetry is how often the lease is renewed, and how often the others look at
// it. They may be late by it twice, jitter included, and are to take over within
// 20 s.
const leaseRetry = time.Second

// bodiesLogged is the level from which on client-go logs what it receives.
const bodiesLogged = 8

// flags are the command line.
type flags struct {
	systemNamespace  string
	namespaces       []string
	metrics          metricsFlags
	probeAddress     string
	pprofAddress     string
	leaderElect      bool
	workers          int
	drain            int
	maxEventAge      time.Duration
	eventTTL         time.Duration
	egress           egressFlags
	requireSSLVerify bool
	zap              zap.Options
}

func parseFlags() flags {
	var f flags
	flag.StringVar(&f.systemNamespace, "system-namespace", systemNamespace(),
		"Namespace whose Webhooks follow the events of every namespace. Defaults to $POD_NAMESPACE.")
	flag.Func("namespaces", "Namespaces to watch: their `names`, with commas between them, where the operator may not watch all of them. May be given several times.",
		func(list string) (err error) {
			f.namespaces, err = addNamespaces(f.namespaces, list)
			return err
		})
	f.metrics.bind(flag.CommandLine)
	flag.StringVar(&f.probeAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz; 0 turns them off.")
	flag.StringVar(&f.pprofAddress, "pprof-bind-address", "0", "Address of profiles under /debug/pprof/, for everyone who can reach it; 0 turns them off.")
	flag.BoolVar(&f.leaderElect, "leader-elect", false, "Work only while holding the lease, so that several replicas can run.")
	flag.IntVar(&f.workers, "workers", 512, "How many deliveries are worked on at once.")
	flag.IntVar(&f.drain, "drain-seconds", 10, "How long requests under way may go on after SIGTERM.")
	flag.DurationVar(&f.maxEventAge, "max-event-age", 72*time.Hour, "Age beyond which an event that nobody worked on is not sent.")
	flag.DurationVar(&f.eventTTL, "event-ttl", 7*24*time.Hour, "Age, at least 15m, at which finished events are deleted; 0 keeps them for ever.")
	f.egress.bind(flag.CommandLine)
	flag.BoolVar(&f.requireSSLVerify, "require-ssl-verify", false, "Send nothing for Webhooks whose sslVerifyEnabled is false.")
	f.zap.BindFlags(flag.CommandLine)
	flag.Parse()
	return f
}

func systemNamespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	return defaultSystemNamespace
}

func run(ctx context.Context) error {
	f := parseFlags()
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&f.zap)))
	klog.SetLogger(ctrl.Log) // what client-go logs
	if ctrl.Log.V(bodiesLogged).Enabled() {
		return fmt.Errorf("--zap-log-level must be below %d: from there on, logs have the bodies of Secrets", bodiesLogged)
	}
	log := ctrl.Log.WithName("setup")
	if f.workers < 1 || f.drain < 0 || f.maxEventAge <= 0 {
		return errors.New("--workers and --max-event-age must be positive, --drain-seconds not negative")
	}
	if f.eventTTL != 0 && f.eventTTL < retention.MinAge {
		return fmt.Errorf("--event-ttl must be 0 or at least %s", retention.MinAge)
	}
	if f.eventTTL != 0 && f.eventTTL < f.maxEventAge {
		// Whoever creates an event again would have it sent again.
		return fmt.Errorf("--event-ttl (%s) must be 0 or at least --max-event-age (%s)", f.eventTTL, f.maxEventAge)
	}
	egress, err := f.egress.parse()
	if err != nil {
		return err
	}

	cfg, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	cfg.UserAgent = "horizon-webhook-operator/" + version
	cfg.DisableCompression = true // within a cluster, CPU is dearer than bytes
	drain := time.Duration(f.drain) * time.Second
	generations := &generation.Tracker{}
	options, err := managerOptions(f, drain, generations)
	if err != nil {
		return err
	}
	mayLead := func() error { return nil }
	var leaseRenewed func() time.Time
	var storeFull <-chan struct{}
	if f.leaderElect {
		fence, err := newFence(cfg, f.systemNamespace)
		if err != nil {
			return fmt.Errorf("making the lease: %w", err)
		}
		options.LeaderElection, options.LeaderElectionResourceLockInterface = true, fence
		mayLead, leaseRenewed, storeFull = fence.Check, fence.Renewed, fence.Full()
	}
	mgr, err := ctrl.NewManager(cfg, options)
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	outgoing, err := outbound(ctx, egress, cfg)
	if err != nil {
		return err
	}
	sender := sending.New(outgoing)
	defer sender.Close()
	err = controllers.Setup(mgr, controllers.Options{
		SystemNamespace:  f.systemNamespace,
		Namespaces:       f.namespaces,
		Workers:          f.workers,
		MaxEventAge:      f.maxEventAge,
		EventTTL:         f.eventTTL,
		Drain:            drain,
		RequireSSLVerify: f.requireSSLVerify,
		Sender:           sender,
		CheckLease:       mayLead,
		LeaseRenewed:     leaseRenewed,
		EtcdFull:         storeFull,
		Generations:      generations,
		Registry:         metrics.Registry,
	})
	if err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	log.Info("Starting", "version", version, "systemNamespace", f.systemNamespace, "namespaces", f.namespaces)
	return mgr.Start(ctx)
}

// addNamespaces returns some namespaces and those of a list.
func addNamespaces(namespaces []string, list string) ([]string, error) {
	for namespace := range strings.SplitSeq(list, ",") {
		namespace = strings.TrimSpace(namespace)
		if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
			return nil, fmt.Errorf("%q is no name of a namespace: %s", namespace, problems[0])
		}
		namespaces = append(namespaces, namespace)
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces), nil
}

func managerOptions(f flags, drain time.Duration, generations *generation.Tracker) (ctrl.Options, error) {
	metricsOptions, err := f.metrics.options()
	if err != nil {
		return ctrl.Options{}, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // the types of a package disagree with themselves
		}
	}
	return ctrl.Options{
		Scheme:                        scheme,
		Cache:                         generations.CacheOptions(f.namespaces...),
		Metrics:                       metricsOptions,
		HealthProbeBindAddress:        f.probeAddress,
		PprofBindAddress:              f.pprofAddress,
		LeaseDuration:                 new(leaseDuration),
		RetryPeriod:                   new(leaseRetry),
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       new(drain + drainMargin),
	}, nil
}

// newFence returns the lock that leaders are elected by.
func newFence(cfg *rest.Config, namespace string) (*leader.Fence, error) {
	leases, err := coordinationv1.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: "webhook-operator.horizoncd.io"},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}
	fence := leader.New(lock, leaseDuration, clock.RealClock{})
	return fence, countFull(metrics.Registry, fence)
}
