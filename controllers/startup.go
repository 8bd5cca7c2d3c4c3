package controllers

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// watch begins to read and watch what the controllers work on: Webhooks, events, and the
// metadata of deliveries, on standbys too, so that a takeover does not have to wait. When
// this process begins to lead, the begin of a controller enqueues what is unfinished.
func (op *operator) watch(mgr ctrl.Manager, namespaces []string) error {
	if _, err := mgr.GetCache().GetInformer(context.Background(), &v1alpha1.Webhook{}, cache.BlockUntilSynced(false)); err != nil {
		return fmt.Errorf("watching webhooks: %w", err)
	}
	eventClient, err := client.NewWithWatch(mgr.GetConfig(), client.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
	})
	if err != nil {
		return fmt.Errorf("making the client of events: %w", err)
	}
	metadataClient, err := metadata.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("making the metadata client: %w", err)
	}
	for _, w := range []struct {
		kind   string
		synced <-chan struct{}
		watch  func(ctx context.Context, namespace string)
	}{
		{"events", op.enqueuer.Events.Synced(), func(ctx context.Context, namespace string) {
			op.enqueuer.Events.Watch(ctx, eventClient, namespace)
		}},
		{"deliveries", op.enqueuer.Ledger.Synced(), func(ctx context.Context, namespace string) {
			op.enqueuer.Ledger.Watch(ctx, metadataClient, namespace)
		}},
	} {
		if err := mgr.Add(&namespaceWatches{namespaces, w.watch}); err != nil {
			return fmt.Errorf("watching %s: %w", w.kind, err)
		}
		err := mgr.AddReadyzCheck(w.kind, func(*http.Request) error {
			select {
			case <-w.synced:
				return nil
			default:
				return fmt.Errorf("the %s in store are not known yet", w.kind)
			}
		})
		if err != nil {
			return fmt.Errorf("adding the readiness check: %w", err)
		}
	}
	return nil
}

// namespaceWatches run a watch for each namespace, or, where none is named, one for
// all. They run on standbys too, so that a takeover does not have to wait for them.
type namespaceWatches struct {
	namespaces []string
	watch      func(ctx context.Context, namespace string)
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (w *namespaceWatches) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (w *namespaceWatches) Start(ctx context.Context) error {
	namespaces := w.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	var watches sync.WaitGroup
	for _, namespace := range namespaces {
		watches.Go(func() { w.watch(ctx, namespace) })
	}
	watches.Wait()
	return nil
}
