package cli

import (
	"context"
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
	// deliveryColumns are those of the API server's table of deliveries, as it last told
	// them.
	deliveryColumns []metav1.TableColumnDefinition
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

// config says how the API server is reached. A command makes few requests at a time, and
// is not to be slowed down by a limit of its own.
func (p *plugin) config() (*rest.Config, error) {
	if p.restConfig != nil {
		return p.restConfig, nil
	}
	config, err := p.kube.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	config.UserAgent = "kubectl-horizon/" + p.version
	config.WarningHandler = rest.NewWarningWriter(p.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	p.restConfig = config
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
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	p.cluster = c
	return c, nil
}

// reader returns what says what objects mean.
func (p *plugin) reader() (*insight.Reader, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	return &insight.Reader{Client: c, Now: p.now}, nil
}

// table lists a resource as the rows that kubectl get prints, without the objects: -A
// needs their metadata (PartialObjectMetadata), for the namespace.
func (p *plugin) table(
	ctx context.Context, resource, namespace string, options metav1.ListOptions, include metav1.IncludeObjectPolicy,
) (*metav1.Table, error) {
	request, err := p.tableRequest(resource, namespace, options, include)
	if err != nil {
		return nil, err
	}
	table := &metav1.Table{}
	if err := request.Do(ctx).Into(table); err != nil {
		return nil, err
	}
	return table, nil
}

// tableRequest is a list or a watch of a resource as rows.
func (p *plugin) tableRequest(
	resource, namespace string, options metav1.ListOptions, include metav1.IncludeObjectPolicy,
) (*rest.Request, error) {
	config, err := p.config()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.GroupVersion = &v1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = tableCodecs
	c, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return c.Get().Namespace(namespace).Resource(resource).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").
		VersionedParams(&options, metav1.ParameterCodec).
		Param("includeObject", string(include)), nil
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
