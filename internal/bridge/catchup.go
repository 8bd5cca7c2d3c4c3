package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"

	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

const (
	// ScanEvery is how often the logs are read, unless told otherwise.
	ScanEvery = 30 * time.Second
	// overlap is how far a scan goes back beyond where the last one has ended. Logs are
	// listed by the time of their event, and are made some seconds after it.
	overlap = 10 * time.Minute
	// doneKept is for how long, in the time of logs, finished events are remembered: as far
	// as a scan may go back, and some more.
	doneKept = 2 * overlap
	// waitingFor is how long Horizon may take to send what it has listed.
	waitingFor = time.Minute
	// restFor is how long a send that has failed is left alone. A create that nobody waits for
	// any more, since the bridge was killed, may still be on its way to the store.
	restFor = 5 * time.Second
	// pageSize is a power of two: a page that cannot be read is read by halves.
	pageSize = 128
	// mostOpen bounds how many logs are worked on. Where there are more, the newest are left
	// to a later scan.
	mostOpen = 20_000
	// beyondAll is the number of a page that no list has. It is empty, whatever is bad.
	beyondAll = 1 << 24
	// mostProbes bounds how many numbers are tried to find logs that no list shows.
	mostProbes = 500
	// catchUpPatience bounds the tries to create one event.
	catchUpPatience = 5 * time.Second
	// webhookTTL is for how long the bridge's own webhook counts once it was found.
	webhookTTL = 10 * time.Minute
)

// Logs are the calls that tell what Horizon has sent.
type Logs interface {
	Webhooks(ctx context.Context, kind horizon.Kind, id int64) ([]horizon.Webhook, error)
	Logs(ctx context.Context, webhook int64, pageNumber, pageSize int) ([]horizon.Log, int, error)
	Log(ctx context.Context, id int64) (horizon.Log, error)
}

// catchUp finds in Horizon's logs what the bridge has missed. Horizon never sends again by
// itself what has failed.
type catchUp struct {
	horizon Logs
	memory  *memory
	limit   flowcontrol.RateLimiter
	clock   clock.WithTicker
	log     logr.Logger
	quiet   *quiet
	metrics *metrics
	// every is how often the logs are read, waiting how long Horizon may take to send, and
	// rest how long what has failed is left alone.
	every, waiting, rest time.Duration
	// window is how far the first scan of all goes back.
	window time.Duration
	// webhookID is the bridge's own webhook; 0 is the one of the root group that has its secret.
	webhookID int64
	secrets   func() Secrets
	// exists tells whether there is an event of a number and type.
	exists func(ctx context.Context, eventID int64, eventType string) (bool, error)
	// claim makes this process the one that catches up for a while, and holds tells whether
	// it still is. release lets another one.
	claim   func(ctx context.Context, length time.Duration) (bool, error)
	holds   func() bool
	release func(ctx context.Context) error
	// place creates an event of a log.
	place func(ctx context.Context, p payload.Payload, logged time.Time) outcome

	// Of the goroutine that scans.
	found   int64 // the webhook
	foundAt time.Time
	mine    bool // it was the one that catches up
	claimed time.Time
	at      progress       // up to which every log is done, or is open
	fresh   map[int64]bool // logs that the last listing had above fromLog
	fromLog int64
	open    map[int64]*openLog
	sending map[int64]bool // events that Horizon is about to send, as of the last listing

	mu    sync.Mutex
	state catchUpState
}

// catchUpState is what is known of the right to read logs.
type catchUpState string

const (
	catchUpUnknown  catchUpState = "not tried yet"
	catchUpWorks    catchUpState = "works"
	catchUpDenied   catchUpState = "impossible: Horizon does not let the token read logs of webhooks (scopes); what the bridge misses is lost"
	catchUpFailing  catchUpState = "failing: see the log"
	catchUpDisabled catchUpState = "off: no address of Horizon is given"
)

// openLog is a log whose event is to be created.
type openLog struct {
	id, event int64
	eventType string
	status    string
	created   time.Time
	updated   time.Time
	// blocker is what keeps its event from being created: others with the same one are not
	// tried after one of them was, in vain.
	blocker string
	// tries is how many were in vain. The least tried one is the next, so that one that will
	// never be created does not stand for others that have got its blocker once.
	tries int
}

// Blockers that everybody has in common.
const (
	blockedByAPI     = "API server"
	blockedByHorizon = "Horizon"
	blockedByAge     = "" // it is too young, and blocks nobody
)

// run scans until the context ends.
func (c *catchUp) run(ctx context.Context) {
	for {
		if err := c.scan(ctx); err != nil && ctx.Err() == nil {
			c.metrics.scans.WithLabelValues("failed").Inc()
			c.quiet.Error("scan", err, "Failed to read what Horizon has sent; it is tried again")
		}
		select {
		case <-ctx.Done():
			return
		case <-c.clock.After(c.every):
		}
	}
}

// claimFor is for how long a replica that scans now and then is believed to go on.
func (c *catchUp) claimFor() time.Duration { return max(3*c.every, 5*time.Second) }

// errTakenOver ends a scan of a replica that is believed to be gone.
var errTakenOver = errors.New("another replica catches up")

// turn waits until Horizon may be asked once more. A scan may take longer than a claim lasts:
// it is renewed meanwhile.
func (c *catchUp) turn(ctx context.Context) error {
	if err := c.limit.Wait(ctx); err != nil {
		return err
	}
	if !c.mine || c.clock.Since(c.claimed) < c.claimFor()/2 {
		return nil
	}
	began := c.clock.Now()
	mine, err := c.claim(ctx, c.claimFor())
	switch {
	case err != nil:
		return err
	case !mine:
		return errTakenOver
	}
	c.claimed = began
	return nil
}

// scan reads what is new in the logs, and creates what is missing, unless another replica
// does so.
func (c *catchUp) scan(ctx context.Context) error {
	began := c.clock.Now()
	mine, err := c.claim(ctx, c.claimFor())
	if err != nil {
		return err
	}
	if !mine || !c.mine {
		// What this process knew is what it knew when it was its turn.
		c.at = progress{}
		clear(c.open)
	}
	if c.mine, c.claimed = mine, began; !mine {
		c.metrics.open.Set(0)
		c.metrics.scans.WithLabelValues("other").Inc()
		c.tell(c.tryLogs(ctx))
		return nil
	}
	webhook, err := c.ownWebhook(ctx)
	if err == nil {
		err = c.list(ctx, webhook)
	}
	c.tell(err)
	if err != nil {
		// Another replica may reach Horizon.
		c.mine = false
		return errors.Join(err, c.release(ctx))
	}
	c.settle(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.conclude(began)
	return nil
}

// tryLogs tells whether the list of logs can be read.
func (c *catchUp) tryLogs(ctx context.Context) error {
	webhook, err := c.ownWebhook(ctx)
	if err != nil {
		return err
	}
	_, err = c.total(ctx, webhook)
	return err
}

// total returns how many logs a webhook has. All that Horizon says of a webhook that is gone
// is 404, as it is of a page with a bad log: then the webhook is looked for anew.
func (c *catchUp) total(ctx context.Context, webhook int64) (int, error) {
	if err := c.turn(ctx); err != nil {
		return 0, err
	}
	_, n, err := c.horizon.Logs(ctx, webhook, beyondAll, 1)
	if horizon.IsNotFound(err) {
		c.found = 0
		return 0, fmt.Errorf("reading the logs of webhook %d, which Horizon does not have: %w", webhook, err)
	}
	return n, err
}

// tell notes down whether logs can be read, and says so when that changes.
func (c *catchUp) tell(err error) {
	state := catchUpWorks
	switch {
	case horizon.IsForbidden(err) || horizon.IsUnauthorized(err):
		state = catchUpDenied
		c.quiet.Error("denied", err, "Horizon does not let the token read logs: WHAT THE BRIDGE MISSES IS LOST. horizon-bridge check says what to do")
	case err != nil:
		state = catchUpFailing
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == catchUpFailing && c.state == catchUpDenied {
		return // nothing new about the rights
	}
	c.state = state
	if state == catchUpWorks {
		c.metrics.possible.Set(1)
	} else if state == catchUpDenied {
		c.metrics.possible.Set(0)
	}
}

// denied tells whether Horizon refuses to show logs.
func (c *catchUp) denied() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == catchUpDenied || c.state == catchUpDisabled
}

func (c *catchUp) describe() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.state)
}

// behind returns the age of the oldest send that may have been missed and is not dealt
// with, by whichever replica; 0 before the first scan of all.
func (c *catchUp) behind() time.Duration {
	current := c.memory.scanned().Current
	if current.IsZero() {
		return 0
	}
	return max(c.clock.Since(current), 0)
}

// ownWebhook returns the number of the webhook that Horizon sends to the bridge by.
func (c *catchUp) ownWebhook(ctx context.Context) (int64, error) {
	if c.webhookID != 0 {
		return c.webhookID, nil
	}
	if c.found != 0 && c.clock.Since(c.foundAt) < webhookTTL {
		return c.found, nil
	}
	if err := c.turn(ctx); err != nil {
		return 0, err
	}
	all, err := c.horizon.Webhooks(ctx, horizon.Groups, horizon.RootGroup)
	if err != nil {
		return 0, fmt.Errorf("looking for the bridge's own webhook: %w", err)
	}
	id, err := ownWebhook(all, c.secrets())
	if err == nil {
		c.found, c.foundAt = id, c.clock.Now()
	}
	return id, err
}

// ownWebhook picks the one webhook that has the bridge's secret.
func ownWebhook(all []horizon.Webhook, secrets Secrets) (int64, error) {
	var found []int64
	for _, w := range all {
		if secrets.Match(w.Secret) {
			found = append(found, w.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, errors.New("no webhook of Horizon's root group has the bridge's secret; horizon-bridge check says how to make one")
	default:
		return 0, fmt.Errorf("the webhooks %d of Horizon's root group have the bridge's secret: name one with --webhook-id", found)
	}
}

// settle creates the events of what is open, the least tried and oldest first.
func (c *catchUp) settle(ctx context.Context) {
	blocked := map[string]bool{}
	open := byAge(c.open)
	slices.SortStableFunc(open, func(a, b *openLog) int { return cmp.Compare(a.tries, b.tries) })
	for _, o := range open {
		if ctx.Err() != nil || blocked[blockedByAPI] || blocked[blockedByHorizon] || !c.holds() {
			return
		}
		if o.blocker != blockedByAge && blocked[o.blocker] {
			continue
		}
		done, blocker := c.one(ctx, o)
		if done {
			delete(c.open, o.id)
			c.memory.finish(o.event, o.created)
			continue
		}
		if o.blocker = blocker; blocker != blockedByAge {
			o.tries++
			blocked[blocker] = true
		}
	}
}

// one creates the event of a log, or tells what keeps it from that.
func (c *catchUp) one(ctx context.Context, o *openLog) (done bool, blocker string) {
	if c.memory.finished(o.event) {
		return true, ""
	}
	// Two that create the same event at a time may not agree where it belongs.
	if c.sending[o.event] || o.status == horizon.StatusFailed && c.clock.Since(o.updated) < c.rest {
		return false, blockedByAge
	}
	if there, err := c.exists(ctx, o.event, o.eventType); err != nil {
		c.quiet.Error("looking", err, "Failed to look for the event of a log", "log", o.id)
		return false, blockedByAPI
	} else if there {
		return true, ""
	}
	if err := c.turn(ctx); err != nil {
		return false, blockedByHorizon
	}
	log, err := c.horizon.Log(ctx, o.id)
	switch {
	case horizon.IsNotFound(err):
		c.log.Info("Skipped a log that Horizon has deleted", "log", o.id, "eventID", o.event)
		return true, ""
	case err != nil:
		c.quiet.Error("log", err, "Failed to read a log of Horizon", "log", o.id)
		return false, blockedByHorizon
	case log.Status == horizon.StatusSuccess:
		return true, ""
	case log.Status == horizon.StatusWaiting && c.clock.Since(log.Created) < c.waiting:
		return false, blockedByAge
	case log.Status == horizon.StatusFailed && c.clock.Since(log.Updated) < c.rest:
		return false, blockedByAge
	}
	return c.create(ctx, o, log)
}

func (c *catchUp) create(ctx context.Context, o *openLog, log horizon.Log) (done bool, blocker string) {
	p, err := payload.Parse([]byte(log.RequestData))
	if err != nil {
		c.log.Error(err, "Skipped a log without a valid body", "log", o.id, "eventID", o.event)
		return true, ""
	}
	result := c.place(ctx, p, o.created)
	switch {
	case result.result.final():
		return true, ""
	case result.result == refused:
		return false, "namespace " + result.key.Namespace
	case result.result == unknownPath:
		t, _ := thingOf(&p.Event)
		return false, "look-ups of " + t.kind
	default:
		return false, blockedByAPI
	}
}

// conclude notes down how far the scan has come.
func (c *catchUp) conclude(began time.Time) {
	stored := c.memory.scanned()
	p := c.at
	p.Scan, p.Current = stored.Scan+1, began
	tried, lowest := 0, p.LastLog+1
	for _, o := range c.open {
		lowest = min(lowest, o.id)
		if o.blocker != blockedByAge {
			tried++
		}
		if o.created.Before(p.Scanned) {
			p.Scanned = o.created
		}
		if o.created.Before(p.Current) {
			p.Current = o.created
		}
	}
	// Another process has to find what is open again, wherever in the list it is.
	switch {
	case lowest > c.fromLog:
		for id := range c.fresh {
			if id >= lowest && id <= p.LastLog {
				p.Logs--
			}
		}
		p.LastLog = lowest - 1
	case stored.Webhook == p.Webhook:
		p.Logs, p.LastLog = stored.Logs, stored.LastLog
	default:
		p.Logs, p.LastLog = 0, 0
	}
	c.memory.advance(p)
	c.metrics.open.Set(float64(tried))
	if tried > 0 {
		c.metrics.scans.WithLabelValues("open").Inc()
		c.quiet.Info("open", "Some events in Horizon's logs could not be created yet", "events", tried, "current", p.Current)
	} else {
		c.metrics.scans.WithLabelValues("complete").Inc()
	}
}
