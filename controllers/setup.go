// Package controllers connects the decisions of the internal packages to the API
// server: they read, decide, act, and write once.
//
//	WebhookEvent ──▶ eventReconciler ──draft──▶ ledger ──▶ fairqueue
//	                                                          │
//	WebhookDelivery ◀── recordWriter ◀── deliveryReconciler ◀─┘ ──▶ receiver
//	       └── deliveryWatch ──▶ ledger ──▶ webhookReconciler, retentionReconciler
package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/fairqueue"
	"github.com/horizoncd/webhook-operator/internal/ledger"
)

// Options are what the operator's flags say.
type Options struct {
	// SystemNamespace is the namespace whose Webhooks follow every namespace.
	SystemNamespace string
	// Workers is how many deliveries are worked on at once.
	Workers int
	// MaxEventAge is the age beyond which an event that nobody worked on is not
	// sent any more.
	MaxEventAge time.Duration
	// EventTTL is how old an event gets that nothing more happens to. Zero keeps
	// events for ever.
	EventTTL time.Duration
	// Drain is how long requests that are under way may go on when the operator
	// is told to stop.
	Drain time.Duration
	// Sender sends the requests.
	Sender Sender
	// MayLead returns an error when this process may no longer be the leader.
	MayLead func() error

	// maxWaiting is for tests to make smaller.
	maxWaiting int
}

const (
	// draftCapacity bounds how many deliveries are known that are not stored.
	draftCapacity = 20000
	// storeMargin is what records get, after the last request has ended, to be
	// stored when the operator stops.
	storeMargin = 4 * time.Second
	// maxWaiting bounds how many deliveries of one webhook may wait in store.
	maxWaiting = 10000
	// patience is how long drafts wait behind a receiver that does not answer
	// before they are stored as waiting.
	patience = 2 * time.Second
)

// failureBackoff spaces the tries of what failed. The longest wait is what the
// operator may take to go on after an outage.
func failureBackoff[T comparable]() workqueue.TypedRateLimiter[T] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[T](50*time.Millisecond, 30*time.Second)
}

// queueOn puts the delaying and rate-limiting layers of client-go on a queue that
// has an order of its own.
func queueOn[T comparable](
	name string, base workqueue.TypedInterface[T], limiter workqueue.TypedRateLimiter[T],
) workqueue.TypedRateLimitingInterface[T] {
	return workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[T]{
		Name:          name,
		DelayingQueue: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[T]{Name: name, Queue: base}),
	})
}

// Setup adds the controllers to a manager.
func Setup(mgr ctrl.Manager, o Options) error {
	_, err := setup(mgr, o)
	return err
}

// setup is Setup, and returns what tests look into.
func setup(mgr ctrl.Manager, o Options) (*deliveryReconciler, error) {
	// Watched on standbys too, so that a takeover does not have to wait.
	for _, kind := range []client.Object{&v1alpha1.Webhook{}, &v1alpha1.WebhookEvent{}} {
		if _, err := mgr.GetCache().GetInformer(context.Background(), kind, cache.BlockUntilSynced(false)); err != nil {
			return nil, fmt.Errorf("watching %T: %w", kind, err)
		}
	}
	if o.maxWaiting == 0 {
		o.maxWaiting = maxWaiting
	}
	now := clock.RealClock{}
	routes := &router{clock: now}
	known := ledger.New(routes, draftCapacity)
	targets := &endpoints{cache: mgr.GetCache(), clock: now}
	queue := fairqueue.New(fairqueue.Options{
		Limit:   targets.limit,
		Workers: o.Workers,
		Unstored: func(r fairqueue.Request) bool {
			e, ok := known.Get(r.Key())
			return ok && e.Draft != nil
		},
		Patience: patience,
	})
	secrets := &credentials.Reader{Client: mgr.GetAPIReader(), Clock: now}
	notify := newNotifier(mgr.GetEventRecorder("webhook-operator"))
	room := &refusals{}
	unready := &sync.Map{}

	metadataClient, err := metadata.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, fmt.Errorf("making the metadata client: %w", err)
	}
	if err := mgr.Add(&deliveryWatch{client: metadataClient, ledger: known}); err != nil {
		return nil, err
	}
	if err := mgr.AddReadyzCheck("deliveries", func(*http.Request) error {
		select {
		case <-known.Synced():
			return nil
		default:
			return errors.New("the deliveries in store are not known yet")
		}
	}); err != nil {
		return nil, fmt.Errorf("adding the readiness check: %w", err)
	}
	writer := &recordWriter{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), ledger: known, refusals: room, notify: notify,
		clock: now, drain: o.Drain + storeMargin,
	}
	deliveries := &deliveryReconciler{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), ledger: known, router: routes, queue: queue,
		writer: writer, credentials: secrets, endpoints: targets, refusals: room, unready: unready, sender: o.Sender, mayLead: o.MayLead,
		clock: now, drain: o.Drain, maxWaiting: o.maxWaiting,
	}
	if err := deliveries.setup(mgr, o.Workers); err != nil {
		return nil, fmt.Errorf("setting up the delivery controller: %w", err)
	}
	events := &eventReconciler{
		client: mgr.GetClient(), ledger: known, router: routes, clock: now,
		systemNamespace: o.SystemNamespace, maxAge: o.MaxEventAge, ttl: o.EventTTL,
	}
	if err := events.setup(mgr); err != nil {
		return nil, fmt.Errorf("setting up the event controller: %w", err)
	}
	webhooks := &webhookReconciler{
		client: mgr.GetClient(), ledger: known, router: routes, queue: queue, endpoints: targets,
		credentials: secrets, maxWaiting: o.maxWaiting, unready: unready, notify: notify, clock: now,
		known: map[types.NamespacedName]acted{},
	}
	if err := webhooks.setup(mgr); err != nil {
		return nil, fmt.Errorf("setting up the webhook controller: %w", err)
	}
	keeper := &retentionReconciler{
		client: mgr.GetClient(), live: mgr.GetAPIReader(), ledger: known, router: routes, clock: now,
	}
	if err := keeper.setup(mgr); err != nil {
		return nil, fmt.Errorf("setting up the retention controller: %w", err)
	}
	return deliveries, nil
}
