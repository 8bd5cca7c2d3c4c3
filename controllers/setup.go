// Package controllers connects the decisions of the internal packages to the API
// server: they read, decide, act, and write once.
//
//	WebhookEvent ──▶ eventcache ──▶ eventReconciler ──draft──▶ ledger ──▶ fairqueue
//	                                                          │
//	WebhookDelivery ◀── recordWriter ◀── deliveryReconciler ◀─┘ ──▶ receiver
//	       └── deliveryWatch ──▶ ledger ──▶ webhookReconciler, retentionReconciler
package controllers

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/apiwriter"
	"github.com/horizoncd/webhook-operator/internal/courtesy"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/retry"
)

// Options are what the operator's flags say.
type Options struct {
	// SystemNamespace is the namespace whose Webhooks follow every namespace, if
	// it is watched.
	SystemNamespace string
	// Namespaces are those that the manager's cache is bound to; none means all.
	Namespaces []string
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
	// RequireSSLVerify lets nothing be sent for Webhooks that do not check
	// certificates.
	RequireSSLVerify bool
	// Sender sends the requests.
	Sender Sender
	// MayLead returns an error when this process may no longer be the leader.
	MayLead func() error
	// LeaseRenewed returns when the lease was last renewed, which tells that the API
	// server stores things. Nil without a lease.
	LeaseRenewed func() time.Time
	// StoreFull tells, each time anew, that nothing can be written any more
	// for want of space, the lease included. Nil is never.
	StoreFull <-chan struct{}
	// Edits are those that the cache of the manager tells of.
	Edits *Edits
	// Registry takes the operator's own metrics.
	Registry prometheus.Registerer
}

// watchedSystemNamespace is empty where the Webhooks of the system namespace cannot
// be seen.
func (o Options) watchedSystemNamespace() string {
	if len(o.Namespaces) > 0 && !slices.Contains(o.Namespaces, o.SystemNamespace) {
		return ""
	}
	return o.SystemNamespace
}

const (
	// draftCapacity bounds how many deliveries are known that are not stored.
	draftCapacity = 20000
	// storeMargin is what records get, after the last request has ended, to be
	// stored when the operator stops.
	storeMargin = 4 * time.Second
	// maxWaiting bounds how many deliveries of one webhook may wait in store.
	maxWaiting = 10000
	// storeAfter is how long a receiver may keep a draft from being sent before the
	// draft is stored as waiting.
	storeAfter = 2 * time.Second
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

// shared is what the controllers have in common.
type shared struct {
	client client.Client
	// live reads from the API server itself.
	live        client.Reader
	writer      *apiwriter.Writer
	ledger      *ledger.Ledger
	events      *eventcache.Cache
	edits       *Edits
	rematches   *rematches
	router      *router
	queue       *queue.Queue
	endpoints   *endpoints
	credentials *credentials.Reader
	rechecks    *credentials.RecheckQueue
	refusals    *refusals
	notify      *notifier
	meters      *meters
	// writes take turns by the namespace of the event, whoever follows it.
	writes *courtesy.Gate
	clock  clock.Clock
	// systemNamespace is empty where it is not watched.
	systemNamespace string

	// unready has the UIDs of Webhooks that a delivery could not be sent to,
	// until the webhook controller finds them usable.
	unready *sync.Map
	// maxWaiting bounds what one Webhook may keep waiting.
	maxWaiting int
}

func newShared(mgr ctrl.Manager, o Options) (*shared, error) {
	now := clock.RealClock{}
	s := &shared{
		client:      mgr.GetClient(),
		live:        mgr.GetAPIReader(),
		router:      newRouter(o.Namespaces...),
		endpoints:   newEndpoints(mgr.GetCache(), now),
		credentials: credentials.NewReader(mgr.GetAPIReader(), now),
		refusals:    &refusals{},
		notify:      newNotifier(mgr.GetEventRecorder("webhook-operator")),
		writes:      courtesy.New(now),
		clock:       now,
		unready:     &sync.Map{},
		maxWaiting:  maxWaiting,

		edits: o.Edits, systemNamespace: o.watchedSystemNamespace(),
	}
	s.credentials.RequireSSLVerify = o.RequireSSLVerify
	limit := credentials.NewRecheckLimit()
	s.credentials.Rechecks, s.rechecks = limit, credentials.NewRecheckQueue(limit)
	s.ledger = ledger.New(s.router, draftCapacity, o.Namespaces...)
	s.events = s.router.events
	s.rematches = &rematches{settled: s.router.WebhookChanged}
	var err error
	if s.writer, err = apiwriter.NewWriter(mgr.GetConfig(), mgr.GetHTTPClient(), mgr.GetScheme()); err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	if s.meters, err = newMeters(o.Registry); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	s.queue = queue.New(queue.Options{
		Admit:      s.endpoints.admit,
		Describe:   s.describe,
		Workers:    o.Workers,
		StoreAfter: storeAfter,
		Waited:     func(d time.Duration) { s.meters.queueWait.Observe(d.Seconds()) },
	})
	if err := o.Registry.Register(gauges{ledger: s.ledger, queue: s.queue, endpoints: s.endpoints, refusals: s.refusals}); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return s, nil
}

// describe tells the queue what the order of a delivery depends on. One that waits in
// store has been due since its event, as before it was stored.
func (r *shared) describe(request queue.Request) queue.Delivery {
	e, _ := r.ledger.Get(request.Key())
	d := queue.Delivery{
		EventNamespace: e.EventNamespace, Pending: e.Draft != nil, Resend: e.State.Resend, Due: e.State.NextAttempt,
	}
	if d.Due.IsZero() {
		d.Due = e.State.Since
		if event, ok := r.events.Get(e.EventUID); ok {
			d.Due = event.Created
		}
	}
	if d.Pending {
		return d
	}
	w := &v1alpha1.Webhook{}
	if err := r.client.Get(context.Background(), e.Webhook, w, client.UnsafeDisableDeepCopy); err == nil {
		d.Expires = retry.Deadline(e.State, w)
	}
	return d
}

// Setup adds the controllers to a manager.
func Setup(mgr ctrl.Manager, o Options) error {
	_, err := setup(mgr, o)
	return err
}

// setup is Setup, and returns what tests look into.
func setup(mgr ctrl.Manager, o Options) (*deliveryReconciler, error) {
	s, err := newShared(mgr, o)
	if err != nil {
		return nil, err
	}
	if err := watchAll(mgr, s, o.Namespaces); err != nil {
		return nil, err
	}
	records := &recordWriter{shared: s, drain: o.Drain + storeMargin, refuseAfter: refuseAfter, leaseRenewed: o.LeaseRenewed}
	if err := records.followWebhooks(mgr.GetCache()); err != nil {
		return nil, fmt.Errorf("watching webhooks: %w", err)
	}
	deliveries := &deliveryReconciler{shared: s, records: records, sender: o.Sender, mayLead: o.MayLead, drain: o.Drain}
	if err := deliveries.setup(mgr, o.Workers); err != nil {
		return nil, fmt.Errorf("setting up the delivery controller: %w", err)
	}
	events := &eventReconciler{shared: s, maxAge: o.MaxEventAge}
	if err := events.setup(mgr); err != nil {
		return nil, fmt.Errorf("setting up the event controller: %w", err)
	}
	if err := mgr.Add(newEventExpiry(s, o.EventTTL)); err != nil {
		return nil, fmt.Errorf("setting up the expiry of events: %w", err)
	}
	webhooks := &webhookReconciler{shared: s, known: map[types.NamespacedName]acted{}}
	if err := webhooks.setup(mgr); err != nil {
		return nil, fmt.Errorf("setting up the webhook controller: %w", err)
	}
	keeper := &retentionReconciler{shared: s, storeFull: o.StoreFull}
	if err := keeper.setup(mgr); err != nil {
		return nil, fmt.Errorf("setting up the retention controller: %w", err)
	}
	stopped := manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		s.writes.Open()
		return nil
	})
	if err := mgr.Add(stopped); err != nil {
		return nil, fmt.Errorf("waiting for the end: %w", err)
	}
	return deliveries, nil
}

// watchAll begins to watch what the controllers work on, on standbys too, so that a
// takeover does not have to wait.
func watchAll(mgr ctrl.Manager, s *shared, namespaces []string) error {
	if _, err := mgr.GetCache().GetInformer(context.Background(), &v1alpha1.Webhook{}, cache.BlockUntilSynced(false)); err != nil {
		return fmt.Errorf("watching webhooks: %w", err)
	}
	eventClient, err := client.NewWithWatch(mgr.GetConfig(), client.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
	})
	if err != nil {
		return fmt.Errorf("making the client of events: %w", err)
	}
	if err := mgr.Add(&namespaceWatches{namespaces, (&eventWatch{client: eventClient, events: s.events}).watch}); err != nil {
		return err
	}
	metadataClient, err := metadata.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("making the metadata client: %w", err)
	}
	if err := mgr.Add(&namespaceWatches{namespaces, (&deliveryWatch{client: metadataClient, ledger: s.ledger}).watch}); err != nil {
		return err
	}
	for name, synced := range map[string]<-chan struct{}{"deliveries": s.ledger.Synced(), "events": s.events.Synced()} {
		err = mgr.AddReadyzCheck(name, func(*http.Request) error {
			select {
			case <-synced:
				return nil
			default:
				return fmt.Errorf("the %s in store are not known yet", name)
			}
		})
		if err != nil {
			return fmt.Errorf("adding the readiness check: %w", err)
		}
	}
	return nil
}
