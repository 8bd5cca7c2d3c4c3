package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// plugin is what all commands share: where they read and write, and how they reach the
// cluster.
type plugin struct {
	genericiooptions.IOStreams
	kube    *genericclioptions.ConfigFlags
	version string
	now     func() time.Time
	// width is that of the terminal in columns; 0 where the output is no terminal, and
	// nothing is cut.
	width int
	// interactive tells whether somebody can be asked on standard input.
	interactive bool

	restConfig *rest.Config
	cluster    client.WithWatch
	tables     *table.Client
}

// scheme has the kinds that commands read and write.
var scheme = runtime.NewScheme()

func init() {
	log.SetLogger(klog.Logger{}) // without one, a command that lasts half a minute prints a stack
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	utilruntime.Must(corev1.AddToScheme(scheme))
	utilruntime.Must(authenticationv1.AddToScheme(scheme))
	utilruntime.Must(authorizationv1.AddToScheme(scheme))
	utilruntime.Must(coordinationv1.AddToScheme(scheme))
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
}

// mapper knows the kinds without asking the API server, which would take longer than most
// commands do.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Webhook", "WebhookEvent", "WebhookDelivery"} {
		m.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	m.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(coordinationv1.SchemeGroupVersion.WithKind("Lease"), meta.RESTScopeNamespace)
	m.Add(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), meta.RESTScopeRoot)
	m.Add(authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview"), meta.RESTScopeRoot)
	return m
}

// namespace is that of -n, or of the kubeconfig's context.
func (p *plugin) namespace() (string, error) {
	namespace, _, err := p.kube.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return namespace, nil
}

// config says how the API server is reached, for as long as the command runs.
func (p *plugin) config() (*rest.Config, error) {
	if p.restConfig != nil {
		return p.restConfig, nil
	}
	config, err := p.readConfig()
	if err != nil {
		return nil, err
	}
	config.WarningHandler = rest.NewWarningWriter(p.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	p.restConfig = config
	return config, nil
}

// readConfig reads from the kubeconfig how the API server is reached. A command makes few
// requests at a time, and is not to be slowed down by a limit of its own.
func (p *plugin) readConfig() (*rest.Config, error) {
	config, err := p.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	config.UserAgent = "kubectl-horizon/" + p.version
	return config, nil
}

// client returns the client of the cluster, with the rights of the kubeconfig.
func (p *plugin) client() (client.WithWatch, error) {
	if p.cluster != nil {
		return p.cluster, nil
	}
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	p.cluster, err = newClient(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return p.cluster, nil
}

// newClient returns a client that knows the kinds that are read and written here.
func newClient(config *rest.Config) (client.WithWatch, error) {
	return client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper()})
}

// reader returns what says what objects mean.
func (p *plugin) reader() (*insight.Reader, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	return &insight.Reader{Client: c, Now: p.now}, nil
}

// table returns the client of tables, with the rights of the kubeconfig.
func (p *plugin) table() (*table.Client, error) {
	if p.tables != nil {
		return p.tables, nil
	}
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	p.tables, err = table.NewClient(config)
	return p.tables, err
}

// terminalWidth returns the width of a terminal, or 0 for anything else.
func terminalWidth(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}
