package controllers

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
