// Package controllers wires the controllers to a manager. Each has a package of its own;
// they share two caches, the queue of deliveries and what is known of receivers.
//
//	WebhookEvent ──▶ eventcache ──▶ webhookevent ──pending──▶ ledger ──▶ queue
//	                                                           ▲          │
//	WebhookDelivery ────────────watch of metadata──────────────┘          ▼
//	       ▲                                                        webhookdelivery ──▶ receiver
//	       └──────────────────────stored with its outcome─────────────────┘
package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/controllers/replay"
	"github.com/horizoncd/webhook-operator/controllers/retention"
	"github.com/horizoncd/webhook-operator/controllers/testdelivery"
	"github.com/horizoncd/webhook-operator/controllers/webhook"
	"github.com/horizoncd/webhook-operator/controllers/webhookdelivery"
	"github.com/horizoncd/webhook-operator/controllers/webhookevent"
	"github.com/horizoncd/webhook-operator/internal/apiwriter"
	"github.com/horizoncd/webhook-operator/internal/credentials"
	"github.com/horizoncd/webhook-operator/internal/enqueue"
	"github.com/horizoncd/webhook-operator/internal/generation"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/queue"
	"github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/internal/rematch"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/writelimit"
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
	Sender webhookdelivery.Sender
	// CheckLease returns an error when this process may no longer be the leader.
	CheckLease func() error
	// LeaseRenewed returns when the lease was last renewed, which tells that the API
	// server stores things. Nil without a lease.
	LeaseRenewed func() time.Time
	// EtcdFull tells, each time anew, that nothing can be written any more
	// for want of space, the lease included. Nil is never.
	EtcdFull <-chan struct{}
	// Generations are those that the cache of the manager tells of.
	Generations *generation.Tracker
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

// operator is what Setup adds to a manager.
type operator struct {
	webhooks   *webhook.Reconciler
	events     *webhookevent.Reconciler
	deliveries *webhookdelivery.Reconciler
	retention  *retention.Deliveries
	expiry     *retention.Events
	replays    *replay.Reconciler
	tests      *testdelivery.Reconciler
	crds       *crdCheck

	enqueuer *enqueue.Enqueuer
	limiter  *writelimit.Limiter
	queue    *queue.Queue
}

// Setup adds the controllers to a manager.
func Setup(mgr ctrl.Manager, o Options) error {
	op, err := newOperator(mgr, o)
	if err != nil {
		return err
	}
	return op.addTo(mgr, o)
}

func newOperator(mgr ctrl.Manager, o Options) (*operator, error) {
	counts, err := newMetrics(o.Registry)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	deliveryMetrics, err := webhookdelivery.NewMetrics(o.Registry, MetricsPrefix, durations)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	writer, err := apiwriter.NewWriter(mgr.GetConfig(), mgr.GetHTTPClient(), mgr.GetScheme())
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	var (
		now             = clock.RealClock{}
		enqueuer        = enqueue.New(now, maxPending, o.Namespaces...)
		receivers       = receiver.NewRegistry(mgr.GetCache(), now)
		rematches       = rematch.New(enqueuer.WebhookChanged)
		limiter         = writelimit.New()
		recorder        = newLimitedRecorder(mgr.GetEventRecorder("webhook-operator"))
		recheckLimit    = credentials.NewRecheckLimit()
		secrets         = credentials.NewReader(mgr.GetAPIReader(), now)
		systemNamespace = o.watchedSystemNamespace()
	)
	secrets.RequireSSLVerify, secrets.Rechecks = o.RequireSSLVerify, recheckLimit
	op := &operator{enqueuer: enqueuer, limiter: limiter}
	if op.crds, err = newCRDCheck(mgr, func(ctx context.Context) error { return op.webhooks.EnqueueAll(ctx) }); err != nil {
		return nil, fmt.Errorf("making the check of the CRDs: %w", err)
	}
	filters := matching.NewFilters(func(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, message string) {
		deliveryMetrics.ExpressionFailed("filter")
		op.webhooks.FilterFailed(w, e, message)
	})
	op.queue = queue.New(queue.Options{
		Admit:      receivers.Admit,
		Describe:   op.describe,
		Workers:    o.Workers,
		StoreAfter: storeAfter,
		Waited:     func(d time.Duration) { counts.queueWait.Observe(d.Seconds()) },
	})
	receivers.Sent, receivers.Reconsider = enqueuer.Ledger.SentBetween, op.queue.Reconsider
	op.webhooks = &webhook.Reconciler{
		Client: mgr.GetClient(), Clock: now, Recorder: recorder, Ledger: enqueuer.Ledger, Events: enqueuer.Events,
		Enqueuer: enqueuer, Queue: op.queue, Receivers: receivers, Credentials: secrets,
		Rechecks: credentials.NewRecheckQueue(recheckLimit), Generations: o.Generations, Rematches: rematches,
		SystemNamespace: systemNamespace, MaxWaiting: maxWaiting, ClusterNote: op.crds.note,
	}
	op.events = &webhookevent.Reconciler{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Clock: now, Writer: writer, Limiter: limiter,
		Ledger: enqueuer.Ledger, Events: enqueuer.Events, Enqueuer: enqueuer, Rematches: rematches, Filters: filters,
		Handled: counts.events, SystemNamespace: systemNamespace, MaxAge: o.MaxEventAge,
	}
	op.deliveries = &webhookdelivery.Reconciler{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Clock: now, Recorder: recorder, Writer: writer, Limiter: limiter,
		Sender: o.Sender, Ledger: enqueuer.Ledger, Events: enqueuer.Events, Enqueuer: enqueuer, Queue: op.queue,
		Receivers: receivers, Credentials: secrets, Filters: filters, Metrics: deliveryMetrics,
		MaxWaiting: maxWaiting, CheckLease: o.CheckLease, LeaseRenewed: o.LeaseRenewed, Drain: o.Drain, RefuseAfter: refuseAfter,
	}
	op.retention = &retention.Deliveries{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Clock: now, Ledger: enqueuer.Ledger, Events: enqueuer.Events,
		Enqueuer: enqueuer, Deleted: counts.deleted, EtcdFull: o.EtcdFull,
	}
	op.replays = &replay.Reconciler{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Clock: now, Recorder: recorder, Ledger: enqueuer.Ledger,
		Events: enqueuer.Events, Enqueuer: enqueuer, Rematches: rematches, SystemNamespace: systemNamespace, MaxAge: o.MaxEventAge,
		Settling: replaySettling,
	}
	op.tests = &testdelivery.Reconciler{
		Client: mgr.GetClient(), APIReader: mgr.GetAPIReader(), Clock: now, Recorder: recorder, Writer: writer, Limiter: limiter,
		Ledger: enqueuer.Ledger,
	}
	op.expiry = &retention.Events{Client: mgr.GetClient(), Clock: now, Events: enqueuer.Events, TTL: o.EventTTL}
	err = o.Registry.Register(gauges{
		ledger: enqueuer.Ledger, queue: op.queue, receivers: receivers, unstored: op.deliveries.Unstored,
		crdsLack: func() int { return len(op.crds.lacking()) },
	})
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return op, nil
}

// describe tells the queue what the order of a delivery depends on. One that waits in
// store has been due since its event, as before it was stored.
func (op *operator) describe(request queue.Request) queue.Delivery {
	e, _ := op.enqueuer.Ledger.Get(request.Key())
	d := queue.Delivery{
		EventNamespace: e.EventNamespace, Pending: e.Pending != nil, Resend: e.State.Resend, Due: e.State.NextAttempt,
	}
	if d.Due.IsZero() {
		d.Due = e.State.Since
		if event, ok := op.enqueuer.Events.Get(e.EventUID); ok {
			d.Due = event.Created
		}
	}
	if d.Pending {
		return d
	}
	w := &v1alpha1.Webhook{}
	if err := op.webhooks.Client.Get(context.Background(), e.Webhook, w, client.UnsafeDisableDeepCopy); err == nil {
		d.Expires = retry.Deadline(e.State, w)
	}
	return d
}

func (op *operator) addTo(mgr ctrl.Manager, o Options) error {
	if err := op.watch(mgr, o.Namespaces); err != nil {
		return err
	}
	if err := op.deliveries.Setup(mgr, o.Workers); err != nil {
		return fmt.Errorf("setting up the delivery controller: %w", err)
	}
	for _, c := range []struct {
		name  string
		setup func(ctrl.Manager) error
	}{
		{"event", op.events.Setup}, {"webhook", op.webhooks.Setup}, {"replay", op.replays.Setup},
		{"test", op.tests.Setup}, {"retention", op.retention.Setup},
	} {
		if err := c.setup(mgr); err != nil {
			return fmt.Errorf("setting up the %s controller: %w", c.name, err)
		}
	}
	if err := mgr.Add(op.crds); err != nil {
		return fmt.Errorf("setting up the check of the CRDs: %w", err)
	}
	if err := mgr.Add(op.expiry); err != nil {
		return fmt.Errorf("setting up the expiry of events: %w", err)
	}
	stopped := manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		op.limiter.Open()
		return nil
	})
	if err := mgr.Add(stopped); err != nil {
		return fmt.Errorf("waiting for the end: %w", err)
	}
	return nil
}
