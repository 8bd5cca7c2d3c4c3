package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// inFlight is how many requests a Webhook may have under way by default.
	inFlight = 10
	// fanOut is how many Webhooks follow an event where nothing else is said.
	fanOut = 5
	// fullSpeed is the rate of a load whose events are created as fast as its
	// creators can.
	fullSpeed = 0
	creators  = 8

	// retryDelay is how long a creator waits after an error before it tries
	// again, as Horizon would.
	retryDelay = 200 * time.Millisecond

	// patience is how long after its last event a load may take to be done.
	patience = 90 * time.Second
	// reachPatience is how long it may take to come to the moment of a fault.
	reachPatience = time.Minute
	// aftermath is how long duplicates may come after everything is done.
	aftermath = 500 * time.Millisecond
)

// everyone is how many sends are in flight at most when a process ends, with the
// Webhooks of one load.
const everyone = fanOut * inFlight

// pair is an event, by its number, and a Webhook that follows it.
type pair struct {
	event   int64
	webhook string
}

func (p pair) String() string { return fmt.Sprintf("%s at %s", eventName(p.event), p.webhook) }

func eventName(number int64) string { return fmt.Sprintf("horizon-%d", number) }

// loadOptions say what kind of load to make.
type loadOptions struct {
	// webhooks is how many follow each event.
	webhooks int
	// delay is how long receivers take to answer, so that something is under way
	// whenever a process ends.
	delay time.Duration
	// change changes the Webhooks.
	change func(*v1alpha1.WebhookSpec)
	// receiver has the hooks of the receiver.
	receiver receiver.Options
	// patience, where it is not 0, takes the place of the default.
	patience time.Duration
}

// load is a namespace with Webhooks, what happens in it, and the receiver that
// they all lead to.
type load struct {
	trial     *trial
	namespace string
	receiver  *receiver.Receiver
	webhooks  []string
	patience  time.Duration

	creating sync.WaitGroup

	mu           sync.Mutex         // guards what follows
	planned      int64              // number of the last event that is to be created
	acknowledged map[pair]time.Time // when the creation was first asked for
	err          error
}

// newLoad makes a namespace, a receiver and Webhooks that follow every event; no
// events yet.
func (t *trial) newLoad(ctx context.Context, o loadOptions) (*load, error) {
	t.namespaces++
	l := &load{
		trial:     t,
		namespace: fmt.Sprintf("chaos-%s-%d", strings.ToLower(t.scenario.id), t.namespaces),
		patience:  patience, acknowledged: map[pair]time.Time{},
	}
	if o.patience > 0 {
		l.patience = o.patience
	}
	var err error
	if l.receiver, err = receiver.Start(o.receiver); err != nil {
		return nil, err
	}
	t.loads = append(t.loads, l)
	if err := t.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: l.namespace}}); err != nil {
		return nil, fmt.Errorf("making a namespace: %w", err)
	}
	for i := range o.webhooks {
		name := fmt.Sprintf("webhook-%d", i)
		l.webhooks = append(l.webhooks, name)
		l.receiver.Script("/"+name, receiver.Answer{Delay: o.delay})
		w := l.webhook(name)
		if o.change != nil {
			o.change(&w.Spec)
		}
		if err := t.admin.Create(ctx, w); err != nil {
			return nil, fmt.Errorf("making a webhook: %w", err)
		}
	}
	return l, nil
}

// webhook is one that follows every event, and leads to the path of its name.
func (l *load) webhook(name string) *v1alpha1.Webhook {
	return &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name},
		Spec: v1alpha1.WebhookSpec{
			URL: l.receiver.URL("/" + name), Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny},
			// What fails for a moment comes back within the scenario.
			Retry: v1alpha1.RetryPolicy{Limit: new(int32(50)), MinBackoffSeconds: 1, MaxBackoffSeconds: 2},
		},
	}
}

// event is the event of a number.
func (l *load) event(number int64) *v1alpha1.WebhookEvent {
	return &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: eventName(number)},
		Spec: v1alpha1.WebhookEventSpec{
			EventID:      number,
			EventType:    "clusters_deployed",
			ResourcePath: "/music/player/web/web-prod",
			Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:         &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
		},
	}
}

// begin creates more events, at a rate per second, and returns at once.
func (l *load) begin(ctx context.Context, events int, rate float64) {
	l.mu.Lock()
	first := l.planned + 1
	l.planned += int64(events)
	l.mu.Unlock()
	began := time.Now()
	numbers := make(chan int64)
	l.creating.Go(func() {
		defer close(numbers)
		for i := range int64(events) {
			if rate > 0 && sleep(ctx, time.Until(began.Add(time.Duration(float64(i)/rate*float64(time.Second))))) != nil {
				return
			}
			select {
			case numbers <- first + i:
			case <-ctx.Done():
				return
			}
		}
	})
	for range creators {
		l.creating.Go(func() {
			for number := range numbers {
				posted := time.Now()
				if err := l.persist(ctx, func() client.Object { return l.event(number) }); err != nil {
					l.failed(err)
					return
				}
				for _, webhook := range l.webhooks {
					l.acknowledge(pair{number, webhook}, posted)
				}
			}
		})
	}
}

// persist creates an object and tries again until that is acknowledged, as
// Horizon does: an object that is there already is its own, from a try whose
// answer was lost.
func (l *load) persist(ctx context.Context, object func() client.Object) error {
	return insist(ctx, func() error {
		err := l.trial.admin.Create(ctx, object())
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
}

// acknowledge notes that the API server has taken an event which a Webhook
// follows.
func (l *load) acknowledge(p pair, posted time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged[p] = posted
}

func (l *load) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

// created waits until all events that were begun have been acknowledged.
func (l *load) created(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		l.creating.Wait()
		close(done)
	}()
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("not every event in %s could be created: %w", l.namespace, context.Cause(ctx))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// total is how many deliveries there are to be of all that was begun.
func (l *load) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.planned) * len(l.webhooks)
}

// reach waits until so many deliveries have been accepted.
func (l *load) reach(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	return l.receiver.WaitAccepted(ctx, n)
}

// reachAll waits until all that was begun has been accepted.
func (l *load) reachAll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	return l.receiver.WaitAccepted(ctx, l.total())
}

// burst begins more events at full speed and waits until a random part of them
// has arrived.
func (l *load) burst(ctx context.Context, events int) error {
	before := l.total()
	l.begin(ctx, events, fullSpeed)
	share := 0.1 + 0.5*l.trial.rng.Float64()
	return l.reach(ctx, before+int(share*float64(l.total()-before)))
}

// requests is how many have arrived.
func (l *load) requests() int { return l.receiver.Total().Requests }

// next waits until more requests have arrived than before, and returns how long
// that took since a time: 0 if there were some already.
func (l *load) next(ctx context.Context, before int, since time.Time, most time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if l.requests() > before {
		return 0, nil
	}
	if l.receiver.Wait(ctx, func() bool { return l.requests() > before }) != nil {
		return 0, fmt.Errorf("nothing arrived within %.0f s", time.Since(since).Seconds())
	}
	return time.Since(since), nil
}

// close ends the receiver. Creators end with their context.
func (l *load) close() error { return l.receiver.Close() }

// discard removes what would go on to be delivered.
func (l *load) discard(ctx context.Context) error {
	return errors.Join(
		l.trial.admin.DeleteAllOf(ctx, &v1alpha1.WebhookEvent{}, client.InNamespace(l.namespace)),
		l.trial.admin.DeleteAllOf(ctx, &v1alpha1.Webhook{}, client.InNamespace(l.namespace)))
}

// count is what came of a load.
type count struct {
	pairs, lost, duplicates int
	// samples are pairs that were lost, and what is known of them.
	samples []string
	// oddities are things that must never be.
	oddities []string
}

// settle waits until all that was acknowledged has arrived and is recorded, for
// as long as its patience lasts, and counts.
func (l *load) settle(ctx context.Context) (count, error) {
	if err := l.created(ctx); err != nil {
		return count{}, err
	}
	l.mu.Lock()
	acknowledged := maps.Clone(l.acknowledged)
	l.mu.Unlock()

	waiting, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	err := l.receiver.WaitAccepted(waiting, len(acknowledged))
	if err == nil {
		err = wait.PollUntilContextCancel(waiting, 500*time.Millisecond, true, func(context.Context) (bool, error) {
			n, err := l.stored(waiting, v1alpha1.DeliverySucceeded)
			return n >= len(acknowledged), err
		})
	}
	if err != nil && waiting.Err() == nil {
		return count{}, err
	}
	if err := sleep(ctx, aftermath); err != nil {
		return count{}, err
	}
	var records v1alpha1.WebhookDeliveryList
	if err := l.trial.install.Client.List(ctx, &records, client.InNamespace(l.namespace)); err != nil {
		return count{}, fmt.Errorf("listing deliveries: %w", err)
	}
	return tally(acknowledged, l.receiver.AllArrivals(), records.Items), nil
}

// stored counts the records of a result.
func (l *load) stored(ctx context.Context, result v1alpha1.DeliveryResult) (int, error) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookDeliveryList"))
	err := l.trial.admin.List(ctx, &list, client.InNamespace(l.namespace), client.MatchingLabels{v1alpha1.LabelResult: string(result)})
	return len(list.Items), err
}

// arrived is what a receiver has got of a pair.
type arrived struct {
	accepted   bool
	requests   int
	duplicates int
	ids        []string
}

// arrivals sums up requests by what they were about.
func arrivals(all []receiver.Arrival) map[pair]*arrived {
	of := map[pair]*arrived{}
	for _, a := range all {
		p := pair{number(a), strings.TrimPrefix(a.Path, "/")}
		got := of[p]
		if got == nil {
			got = &arrived{}
			of[p] = got
		}
		got.requests++
		if got.accepted {
			got.duplicates++
		}
		got.accepted = got.accepted || a.Answer.Accepts()
		if !slices.Contains(got.ids, a.WebhookID) {
			got.ids = append(got.ids, a.WebhookID)
		}
	}
	return of
}

// number is that of the event that a request is about.
func number(a receiver.Arrival) int64 {
	var body struct {
		EventID int64 `json:"eventID"`
	}
	_ = json.Unmarshal(a.Body, &body) // 0 is no event's
	return body.EventID
}

// tally counts what was lost and what came twice. It goes by what the requests
// say, not by their webhook-id, so that one that changed cannot hide anything.
func tally(acknowledged map[pair]time.Time, requests []receiver.Arrival, records []v1alpha1.WebhookDelivery) count {
	got := arrivals(requests)
	stored := map[pair][]v1alpha1.DeliveryResult{}
	for _, d := range records {
		var event int64
		_, _ = fmt.Sscanf(d.Spec.EventRef.Name, "horizon-%d", &event)
		p := pair{event, d.Spec.WebhookRef.Name}
		stored[p] = append(stored[p], d.Status.Result)
	}

	c := count{pairs: len(acknowledged)}
	for _, p := range slices.SortedFunc(maps.Keys(acknowledged), comparePairs) {
		a := got[p]
		if a == nil {
			a = &arrived{}
		}
		if !a.accepted || !slices.Contains(stored[p], v1alpha1.DeliverySucceeded) {
			c.lost++
			c.samples = append(c.samples, fmt.Sprintf("%v (requests %d, accepted %t, records %v)", p, a.requests, a.accepted, stored[p]))
		}
		if n := len(stored[p]); n > 1 {
			c.oddities = append(c.oddities, fmt.Sprintf("%v has %d records", p, n))
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(got), comparePairs) {
		c.duplicates += got[p].duplicates
		if _, ok := acknowledged[p]; !ok {
			c.oddities = append(c.oddities, fmt.Sprintf("%v arrived and was never asked for", p))
		}
		if len(got[p].ids) > 1 {
			c.oddities = append(c.oddities, fmt.Sprintf("%v has %d webhook-ids", p, len(got[p].ids)))
		}
	}
	for p := range stored {
		if _, ok := acknowledged[p]; !ok {
			c.oddities = append(c.oddities, fmt.Sprintf("%v has a record and was never asked for", p))
		}
	}
	return c
}

func comparePairs(a, b pair) int {
	if a.event != b.event {
		return int(a.event - b.event)
	}
	return strings.Compare(a.webhook, b.webhook)
}

// judge settles a load and enters what came of it into the verdict.
func (t *trial) judge(ctx context.Context, l *load, bound int) error {
	c, err := l.settle(ctx)
	if err != nil {
		return err
	}
	t.lost += c.lost
	t.duplicates += c.duplicates
	t.duplicatesBound += bound
	t.complain(l, c, bound)
	return nil
}

// judgeAside does the same with a load that runs beside the one that the scenario
// is about: its duplicates go into a note.
func (t *trial) judgeAside(ctx context.Context, l *load, bound int) error {
	c, err := l.settle(ctx)
	if err != nil {
		return err
	}
	t.lost += c.lost
	t.note("beside it: %d deliveries, lost %d, duplicates %d (bound %d)", c.pairs, c.lost, c.duplicates, bound)
	t.complain(l, c, bound)
	return nil
}

func (t *trial) complain(l *load, c count, bound int) {
	t.say("%d deliveries, lost %d, duplicates %d (bound %d)", c.pairs, c.lost, c.duplicates, bound)
	if c.lost > 0 {
		t.fail("lost %d of %d in %s, such as %s", c.lost, c.pairs, l.namespace, few(c.samples))
	}
	if c.duplicates > bound {
		t.fail("%d duplicates in %s", c.duplicates, l.namespace)
	}
	if len(c.oddities) > 0 {
		t.fail("%s", few(c.oddities))
	}
}

// few are the first of many, as text.
func few(all []string) string {
	const most = 3
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}
