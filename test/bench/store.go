package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/apiwriter"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/ports"
)

const (
	// settling is for how long after its start an operator reads each delivery
	// before the first attempt, since the one before may have stored it: events
	// from its first 15 s, in the API server's whole seconds.
	settling = 17 * time.Second

	// cleaners delete at once.
	cleaners = 32

	secretName, secretKey = "receiver", "token"
)

// store is a control plane and what belongs to it. At most one operator runs on
// it at a time.
type store struct {
	cp      *controlplane.ControlPlane
	install *operator.Installation
	admin   client.WithWatch   // makes the load
	crowd   client.Client      // the same, with a connection for each request under way
	account client.WithWatch   // has the operator's permissions
	writer  *apiwriter.Writer  // writes as the operator does
	rest    rest.Interface     // the administrator's
	etcd    string             // URL of etcd's metrics
	pprof   string             // the address of the operator's profiles; empty if none are wanted
	options operator.Options   // of the operator
	stopped chan struct{}      // closed when the operator is about to be stopped
	op      *operator.Operator // nil while none runs
	scenes  []*scene           // not cleaned away yet
}

func openStore(ctx context.Context, o options, dir string) (_ *store, err error) {
	// A directory beside the results, not in a temporary one, which is often
	// kept in memory, where waiting for the disk costs nothing.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	metrics, err := ports.Others.FreeAddress()
	if err != nil {
		return nil, err
	}
	cp, err := controlplane.Start(ctx, controlplane.Options{
		Dir: dir, Fsync: true, EtcdArgs: []string{"--listen-metrics-urls=http://" + metrics},
	})
	if err != nil {
		return nil, err
	}
	s := &store{cp: cp, etcd: "http://" + metrics + "/metrics"}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	install, err := operator.Install(ctx, cp, o.Root)
	if err != nil {
		return nil, err
	}
	s.install = install
	scheme := install.Client.Scheme()
	if s.admin, err = client.NewWithWatch(cp.Config(), client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	// Requests of one HTTP/2 client share a connection, and wait there for each other.
	several := rest.CopyConfig(cp.Config())
	several.NextProtos = []string{"http/1.1"}
	if s.crowd, err = client.New(several, client.Options{Scheme: scheme}); err != nil {
		return nil, err
	}
	clients, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		return nil, err
	}
	s.rest = clients.RESTClient()
	account, err := clientcmd.BuildConfigFromFlags("", install.Kubeconfig)
	if err != nil {
		return nil, err
	}
	account.QPS, account.DisableCompression = -1, true // as the operator's
	connections, err := rest.HTTPClientFor(account)
	if err != nil {
		return nil, err
	}
	// Those of the operator and of the bare client, which goes by the same file.
	if err := install.Verify(ctx, connections); err != nil {
		return nil, err
	}
	if s.account, err = client.NewWithWatch(account, client.Options{HTTPClient: connections, Scheme: scheme}); err != nil {
		return nil, err
	}
	if s.writer, err = apiwriter.NewWriter(account, connections, scheme); err != nil {
		return nil, err
	}
	s.options = operator.Options{
		Binary: o.Operator, Kubeconfig: install.Kubeconfig, Log: filepath.Join(o.Out, logName),
		// As config/manager has it, but without ten seconds for what hangs.
		Args: append([]string{"--leader-elect", "--drain-seconds=1"}, o.Args()...),
	}
	if o.profile {
		if s.pprof, err = ports.Others.FreeAddress(); err != nil {
			return nil, err
		}
		s.options.Args = append(s.options.Args, "--pprof-bind-address="+s.pprof)
	}
	return s, nil
}

// close ends all processes and removes what they have stored.
func (s *store) close() error {
	return errors.Join(s.stop(), s.cp.Stop(), os.RemoveAll(s.cp.Dir()))
}

// stop ends the operator, if one runs.
func (s *store) stop() error {
	if s.op == nil {
		return nil
	}
	op := s.op
	s.op = nil
	close(s.stopped)
	if state := op.State(); state != "" {
		return fmt.Errorf("the operator has ended by itself: %s", state)
	}
	return op.Stop()
}

// scene is a namespace with Webhooks that follow all of its events, the first
// of them at the first receiver and so on.
type scene struct {
	store     *store
	client    client.Client // creates its events
	namespace string
	eventType string
	webhooks  []*v1alpha1.Webhook
}

// newScene makes a scene. What its Webhooks are to have otherwise than usual, adjust
// gives them.
func (b *bench) newScene(ctx context.Context, s *store, webhooks int, adjust ...func(i int, w *v1alpha1.Webhook)) (*scene, error) {
	b.number++
	c := &scene{store: s, client: s.admin, namespace: fmt.Sprintf("bench-%d", b.number), eventType: "clusters_deployed"}
	if err := s.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}); err != nil {
		return nil, fmt.Errorf("making a namespace: %w", err)
	}
	s.scenes = append(s.scenes, c)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: secretName},
		Data:       map[string][]byte{secretKey: []byte(secretValue)},
	}
	if err := s.admin.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("making a secret: %w", err)
	}
	for i := range webhooks {
		w := &v1alpha1.Webhook{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: fmt.Sprintf("webhook-%d", i)},
			Spec: v1alpha1.WebhookSpec{
				URL:       b.receivers.url(i % manyWebhooks),
				Triggers:  []v1alpha1.Trigger{v1alpha1.TriggerAny},
				SecretRef: &v1alpha1.SecretKeyReference{Name: secretName, Key: secretKey},
				// Nothing is to be deleted while figures are taken.
				Retention: v1alpha1.RetentionPolicy{Limit: new(int32(10000))},
			},
		}
		for _, change := range adjust {
			change(i, w)
		}
		if err := s.admin.Create(ctx, w); err != nil {
			return nil, fmt.Errorf("making a webhook: %w", err)
		}
		c.webhooks = append(c.webhooks, w)
	}
	return c, nil
}

// clean deletes what the scenes have left in store.
func (s *store) clean(ctx context.Context) error {
	// Without its event, no delivery is made again.
	for _, kind := range []string{"WebhookEvent", "Webhook", "WebhookDelivery"} {
		for _, c := range s.scenes {
			if err := s.deleteAll(ctx, c.namespace, kind); err != nil {
				return fmt.Errorf("cleaning up: %w", err)
			}
		}
	}
	s.scenes = nil
	return nil
}

func (s *store) deleteAll(ctx context.Context, namespace, kind string) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
	if err := s.admin.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return err
	}
	return each(ctx, cleaners, len(list.Items), func(ctx context.Context, i int) error {
		object := &list.Items[i]
		object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
		return client.IgnoreNotFound(s.admin.Delete(ctx, object))
	})
}
