package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/bridge"
	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/routes"
)

// defaultNamespace is where config/bridge installs the bridge, beside the operator.
const defaultNamespace = "horizon-webhooks"

// checkCommand tries what the bridge needs, and ends.
const checkCommand = "check"

// bodiesLogged is the level from which on client-go logs what it receives.
const bodiesLogged = 8

// options are the command line.
type options struct {
	check bool

	horizonURL        string
	tokenFile         string
	caFile            string
	proxy             bool
	secretFile        string
	routesFile        string
	namespace         string
	configMap         string
	namePrefix        string
	webhookID         int64
	publicURL         string
	requestsPerMinute int
	every             time.Duration
	window            time.Duration

	address        string
	certFile       string
	keyFile        string
	connections    int
	drain          int
	metricsAddress string
	probeAddress   string
	zap            zap.Options
}

// parseOptions reads the command line: flags, and check before them or none.
func parseOptions(flags *flag.FlagSet, args []string) (options, error) {
	var o options
	if len(args) > 0 && args[0] == checkCommand {
		o.check, args = true, args[1:]
	}
	flags.StringVar(&o.horizonURL, "horizon-url", "", "Address of Horizon's core, such as https://horizon.example.com. Without it, events have no path, and what is missed is lost.")
	flags.StringVar(&o.tokenFile, "horizon-token-file", "/etc/horizon-bridge/token", "`File` with the token of a robot of Horizon. It is read again for each request.")
	flags.StringVar(&o.caFile, "horizon-ca-file", "", "`File` of PEM certificates of authorities that vouch for Horizon in place of the system's.")
	flags.BoolVar(&o.proxy, "horizon-proxy-from-environment", false, "Reach Horizon by the proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name.")
	flags.StringVar(&o.secretFile, "secret-file", "/etc/horizon-bridge/secret", "`File` with the secret of Horizon's webhook; with the old and the new one, on a line each, during a rotation. It is read again while the bridge runs.")
	flags.StringVar(&o.routesFile, "routes-file", "", "`File` that says which namespace the events of a path go to. It is read again while the bridge runs. Without it, all go to --namespace.")
	flags.StringVar(&o.namespace, "namespace", cmp.Or(os.Getenv("POD_NAMESPACE"), defaultNamespace), "Namespace of the bridge's ConfigMap. Defaults to $POD_NAMESPACE.")
	flags.StringVar(&o.configMap, "state-configmap", "horizon-bridge-state", "Name of the ConfigMap that replicas share what they know in. It has to exist.")
	flags.StringVar(&o.namePrefix, "name-prefix", "", "Start of the names of events, for a second Horizon, or one whose database was reset.")
	flags.Int64Var(&o.webhookID, "webhook-id", 0, "Number of the webhook that posts to the bridge; 0 is the one of the root group that has its secret.")
	flags.StringVar(&o.publicURL, "public-url", "", "Address that Horizon posts to, for check to compare with the webhook's.")
	flags.IntVar(&o.requestsPerMinute, "catch-up-requests-per-minute", 600, "How many requests a minute the reading of logs and the walk over all paths may make, in each replica.")
	flags.DurationVar(&o.every, "catch-up-every", bridge.ScanEvery, "How often Horizon's logs are read.")
	flags.DurationVar(&o.window, "catch-up-window", 72*time.Hour, "How far back the first reading of logs goes. Later ones go back to where the last one has ended.")
	flags.StringVar(&o.address, "listen-address", ":8000", "Address that Horizon's requests come to, under /horizon.")
	flags.StringVar(&o.certFile, "tls-cert-file", "", "`File` with the certificate to serve HTTPS with, and those between it and an authority. It is read again when it changes.")
	flags.StringVar(&o.keyFile, "tls-key-file", "", "`File` with the key of --tls-cert-file.")
	flags.IntVar(&o.connections, "max-connections", 256, "How many connections there may be at a time. Others wait.")
	flags.IntVar(&o.drain, "drain-seconds", 25, "How long requests under way may go on after SIGTERM.")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "Address of the metrics endpoint; 0 turns it off.")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz; 0 turns them off.")
	o.zap.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: there is one command, %s, and it comes first", flags.Arg(0), checkCommand)
	}
	return o, o.validate()
}

func (o options) validate() error {
	switch {
	case o.requestsPerMinute < 1 || o.connections < 1 || o.every <= 0 || o.window <= 0 || o.drain < 0 || o.webhookID < 0:
		return errors.New("--catch-up-requests-per-minute, --catch-up-every, --catch-up-window and --max-connections must be positive, --drain-seconds and --webhook-id not negative")
	case (o.certFile == "") != (o.keyFile == ""):
		return errors.New("--tls-cert-file and --tls-key-file go together")
	}
	if wrong := validation.IsDNS1123Label(o.namespace); len(wrong) > 0 {
		return fmt.Errorf("--namespace: %s", wrong[0])
	}
	if err := bridge.ValidPrefix(o.namePrefix); err != nil {
		return fmt.Errorf("--name-prefix: %w", err)
	}
	return nil
}

// setLogger has everything logged as the flags say.
func (o *options) setLogger() error {
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.zap)))
	klog.SetLogger(ctrl.Log) // what client-go logs
	if ctrl.Log.V(bodiesLogged).Enabled() {
		return fmt.Errorf("--zap-log-level must be below %d: from there on, logs have the bodies of events", bodiesLogged)
	}
	return nil
}

// kubernetes returns a client of the API server, without a cache.
func kubernetes() (client.Client, error) {
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	cfg.UserAgent = "horizon-bridge/" + version
	cfg.DisableCompression = true // within a cluster, CPU is dearer than bytes
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return client.New(cfg, client.Options{Scheme: scheme, Mapper: mapper()})
}

// horizon returns a client of Horizon; nil without an address.
func (o *options) horizon() (*horizon.Client, error) {
	if o.horizonURL == "" {
		return nil, nil
	}
	settings := []horizon.Option{horizon.WithUserAgent("horizon-bridge/" + version)}
	if o.caFile != "" {
		settings = append(settings, horizon.WithCAFile(o.caFile))
	}
	if o.proxy {
		settings = append(settings, horizon.WithProxyFromEnvironment())
	}
	return horizon.New(o.horizonURL, horizon.TokenFile(o.tokenFile), settings...)
}

func (o *options) secrets() (*bridge.File[bridge.Secrets], error) {
	f, err := bridge.OpenFile(o.secretFile, bridge.ParseSecrets, clock.RealClock{})
	if err != nil {
		return nil, fmt.Errorf("reading the secret of the webhook: %w", err)
	}
	return f, nil
}

func (o *options) routes() (*bridge.File[*routes.Routes], error) {
	if o.routesFile == "" {
		return bridge.Constant(routes.New(o.namespace)), nil
	}
	return bridge.OpenFile(o.routesFile, routes.Parse, clock.RealClock{})
}

func (o *options) state() types.NamespacedName {
	return types.NamespacedName{Namespace: o.namespace, Name: o.configMap}
}
